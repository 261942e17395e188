"""Ask a detector as inspection does: only when one of its triggers is in the value."""

import re
from collections.abc import Callable

from seawall.systems.threats.detector import Detector
from seawall.systems.threats.model import PlaceKind

__all__ = ["asking"]


def asking(detector: Detector, kind: PlaceKind = PlaceKind.QUERY) -> Callable[[str], tuple[str, float]]:
    """Return what tells the strongest rule of a value and its confidence, or an empty name and zero."""
    triggers = [re.compile(trigger, re.IGNORECASE) for trigger in detector.triggers]

    def ask(text: str) -> tuple[str, float]:
        if not any(trigger.search(text) for trigger in triggers):
            return "", 0.0
        signals = detector.scan(text, kind)
        assert len(signals) <= 8
        assert all(0 <= signal.start <= signal.end <= len(text) for signal in signals)
        return (signals[0].rule, signals[0].confidence) if signals else ("", 0.0)

    return ask
