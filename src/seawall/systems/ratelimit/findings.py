"""What an operator should know about the limits, in words."""

import math
from collections.abc import Mapping

from seawall.systems.ratelimit.rulebook import Rulebook

__all__ = ["Growth", "findings"]

_MAX_UNREADABLE = 10
_OF_LATE = 10.0


class Growth:
    """Counts that only grow, and which of them did in the last ten seconds."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._grew: dict[str, float] = {}

    def look(self, name: str, count: int, now: float) -> None:
        """Take a count at `now`, monotonic seconds."""
        if count > self._seen.get(name, 0):
            self._grew[name] = now
        self._seen[name] = count

    def of_late(self, name: str, now: float) -> bool:
        """Return whether it grew of late."""
        return now - self._grew.get(name, -math.inf) < _OF_LATE


def findings(
    book: Rulebook, left_out: Mapping[str, str], growth: Growth, now: float, *, failure: str
) -> dict[str, str]:
    """Return what is wrong by where it was found; empty when all is well.

    Args:
        book: what the store says.
        left_out: run-time rules that do not fit the file's, with the reason.
        growth: of decisions that shared counts did not answer (`away`), messages to other gateways that were `lost`,
            and penalties that were `let-off`.
        now: monotonic seconds.
        failure: of the controller's step; empty for none.
    """
    found: dict[str, str] = {}
    if book.trouble:
        found["state"] = f"going on with the last known limits: {book.trouble}"
    for key, reason in list(book.unreadable.items())[:_MAX_UNREADABLE]:
        found[f"record:{key}"] = f"this record cannot be read and is left out: {reason}"
    for rule, reason in left_out.items():
        found[f"rule:{rule}"] = f"set at run time, and left out: {reason}"
    if growth.of_late("away", now):
        found["counts"] = "shared counts did not answer in time of late; each rule's on_store_failure applies"
    if growth.of_late("lost", now):
        found["gateways"] = (
            "other gateways were not told all of late: which keys were blocked here, and that this gateway is alive"
        )
    if growth.of_late("let-off", now):
        found["penalties"] = "some were dropped of late, because too many keys had one at once"
    if failure:
        found["step"] = f"factors and penalties stand still: {failure}"
    return found
