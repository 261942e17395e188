"""The keys that were refused most of late: two sketches that take turns, so that old offences fade."""

from seawall.systems.ratelimit.model import Offence
from seawall.systems.ratelimit.sketch import HeavyHitter, SpaceSaving

__all__ = ["CAPACITY", "TopList"]

CAPACITY = 256
_TURN = 300.0


class TopList:
    """Heavy hitters of the last five to ten minutes; constant space."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._now = SpaceSaving(CAPACITY)
        self._before = SpaceSaving(CAPACITY)

    def add(self, offence: Offence, now: float) -> None:
        """Count the certain refusals of one key at `now`, monotonic seconds."""
        self._turn(now)
        self._now.add(offence.key.encode("utf-8", "surrogatepass"), offence.count - offence.error)

    def top(self, number: int, now: float) -> list[HeavyHitter]:
        """Return the keys that were refused most, worst first."""
        self._turn(now)
        return self._now.merged(self._before).top(number)

    def _turn(self, now: float) -> None:
        if self._since is None:
            self._since = now
        passed = now - self._since
        if passed >= _TURN:
            self._before = self._now if passed < 2 * _TURN else SpaceSaving(CAPACITY)
            self._now = SpaceSaving(CAPACITY)
            self._since = now
