"""`least-connections`: the fewest attempts in flight, by weight."""

import random
from collections.abc import Sequence

from seawall.core.request import Request
from seawall.systems.balancing.counters import Instance, Pool
from seawall.systems.balancing.strategies.least_loaded import LeastLoaded

__all__ = ["LeastConnections"]


class LeastConnections:
    """Lowest (active + 1) / weight: all of up to 8 instances compared, else the better of two at random. O(1)."""

    __slots__ = ("_choose", "_rng")

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._choose = LeastLoaded((), rng).choose

    def prepare(self, pool: Pool) -> None:
        """Take the current candidates."""
        self._choose = LeastLoaded(pool.candidates, self._rng).choose

    def pick(self, pool: Pool, request: Request, tried: Sequence[Instance]) -> Instance | None:  # noqa: ARG002 - Protocol
        """Return the least loaded candidate that was not tried."""
        return self._choose(tried)
