"""The prefilter: one scan with every trigger of every detector tells which detectors are worth asking."""

from collections.abc import Callable, Sequence
from typing import Protocol

from seawall.systems.threats.detector import Detector

__all__ = ["CompileGroups", "Matcher", "trigger_groups"]


class Matcher(Protocol):
    """Patterns in groups, matched all at once.

    Attributes:
        backend: the library that does it: `hyperscan`, `re2` or `re`.
    """

    backend: str

    def match(self, text: str) -> Sequence[int]:
        """Return the indexes of the groups of which a pattern matches somewhere in the text, each once.

        A text with very many matches may be said to match every group.

        Case does not matter, `.` matches everything, `^` and `$` match at lines as well. Linear; never raises.
        """
        ...

    def candidates(self, texts: Sequence[str]) -> Sequence[int]:
        """Return the indexes of texts in which a pattern matches, and perhaps of some more, in ascending order.

        One scan over all of them, so that the usual case, that nothing matches anywhere, costs one call.
        """
        ...

    def ends(self, raw: bytes) -> Sequence[int] | None:
        """Return the index after each match of any pattern, ascending; None when that is not told.

        It is told by libraries that say so in one scan, and not of a text with very many matches.
        """
        ...


CompileGroups = Callable[[Sequence[Sequence[str]]], Matcher]
"""Makes a matcher of groups of patterns; an adapter chooses the library and keeps what it compiled."""


def trigger_groups(detectors: Sequence[Detector]) -> tuple[tuple[str, ...], ...]:
    """Return the triggers of detectors as groups, one per detector and in their order."""
    return tuple(detector.triggers for detector in detectors)
