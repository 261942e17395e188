"""What is found and left out, and which rules only report."""

from collections.abc import Sequence

from seawall.systems.threats.inspection.policy import Exclusion
from seawall.systems.threats.model import Finding, Mode, Place

__all__ = ["Excluder", "names"]


class Excluder:
    """Exclusions by route, parameter and rule, and modes by rule; each finding costs a look at each of them."""

    __slots__ = ("_exclusions", "_modes")

    def __init__(self, exclusions: Sequence[Exclusion], rules: Sequence[tuple[str, Mode]]) -> None:
        self._exclusions = tuple((exclusion, exclusion.path.rstrip("/").encode()) for exclusion in exclusions)
        self._modes = tuple(rules)

    def excludes(self, finding: Finding, place: Place, path: bytes) -> bool:
        """Tell whether a finding at a place is to be left out."""
        if self._modes and self._mode(finding) is Mode.OFF:
            return True
        return any(
            names(exclusion.rule, finding)
            and (not exclusion.kinds or place.kind in exclusion.kinds)
            and exclusion.name in {"", place.name}
            and _under(path, prefix)
            for exclusion, prefix in self._exclusions
        )

    def acts(self, finding: Finding) -> bool:
        """Tell whether a finding counts, rather than being reported only."""
        return not self._modes or self._mode(finding) is Mode.BLOCK

    def _mode(self, finding: Finding) -> Mode:
        return next((mode for rule, mode in self._modes if names(rule, finding)), Mode.BLOCK)


def names(rule: str, finding: Finding) -> bool:
    """Tell whether a rule's id, prefix or class names a finding."""
    if rule.endswith("*"):
        return finding.rule.startswith(rule[:-1])
    return rule in {finding.rule, finding.category.value}


def _under(path: bytes, prefix: bytes) -> bool:
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in {b"", b"/"}
