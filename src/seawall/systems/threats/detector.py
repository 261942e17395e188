"""What a detector is: triggers that make it worth asking, and a judgement on one decoded value."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["Detector", "Signal"]


class Signal(NamedTuple):
    """What a detector saw in a value.

    Attributes:
        rule: stable id, prefixed by the detector's name.
        severity: if it is what it seems to be.
        confidence: probability 0 to 1 that it is an attack, judged by this value alone. 0.9 and above: no honest text
            has this form. 0.5: ambiguous, to be weighed with others. Below 0.3: not worth a signal.
        start: index of the first character of the span that says so.
        end: index after its last character.
        category: where it differs from the detector's own.
    """

    rule: str
    severity: Severity
    confidence: float
    start: int
    end: int
    category: ThreatClass | None = None


class Detector(msgspec.Struct, frozen=True):
    """One detector.

    Attributes:
        name: stable; the prefix of its rules.
        category: of its findings, unless a signal says otherwise.
        owasp: category of the OWASP Top Ten 2021.
        triggers: patterns, one of which every value that it could find anything in contains. They are matched without
            regard to case against the value in each decoded view, and use only what Hyperscan, RE2 and `re` have in
            common and can match in linear time: literals, classes, bounded or simple repetitions, alternations,
            anchors; no look-around, no back-reference.
        scan: judges one view of a value: (text, kind of place) to signals, strongest first, at most 8. Linear in the
            text; pure; never raises. It is called only when a trigger matched.
        kinds: kinds of places that it looks at; empty for all.
    """

    name: str
    category: ThreatClass
    owasp: str
    triggers: tuple[str, ...]
    scan: Callable[[str, PlaceKind], Sequence[Signal]]
    kinds: frozenset[PlaceKind] = frozenset()
