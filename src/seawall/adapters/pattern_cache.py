"""Compiled patterns, made once a process and, where there is a safe folder, once a machine."""

from collections.abc import Sequence
from pathlib import Path

from seawall.adapters.patterns import cache_folder, compile_patterns
from seawall.systems.threats.inspection.prefilter import Matcher

__all__ = ["PatternCache"]


class PatternCache:
    """Makes matchers, and gives the same one for the same patterns.

    The first one on a machine takes some seconds, in which Hyperscan compiles; one from the folder takes 2 ms.

    Args:
        folder: where compiled patterns are kept; None keeps them in this process only.

    A matcher is for one thread at a time, and so is this.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._known: tuple[tuple[tuple[str, ...], ...], Matcher] | None = None

    @classmethod
    def open(cls, instead: Path | None = None) -> "PatternCache":
        """Return one over the user's own folder, or over another private folder where that one is not safe."""
        return cls(cache_folder() or instead)

    def __call__(self, groups: Sequence[Sequence[str]]) -> Matcher:
        """Return the matcher of groups of patterns.

        Raises:
            ConfigurationError: no library can match them.
        """
        wanted = tuple(tuple(group) for group in groups)
        if self._known is None or self._known[0] != wanted:
            self._known = wanted, compile_patterns(wanted, cache=self._folder)
        return self._known[1]
