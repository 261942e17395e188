"""`latency-based`: the lowest expected latency, by peak-EWMA."""

import math
import random
from collections.abc import Callable, Sequence
from itertools import cycle

from seawall.core.request import Request
from seawall.systems.balancing.counters import Instance, Pool
from seawall.systems.balancing.strategies.least_loaded import rotations

__all__ = ["LatencyBased"]

_SCAN_LIMIT = 16
"""Up to this many instances all are compared, above two at random."""
_UNMEASURED = 1e6
"""Cost per attempt in flight, in seconds, of an instance that has not answered yet: it gets one request as soon as it
comes up for choice, and no second before the first is answered (Finagle's rule for newcomers)."""
_SWEEP_SHARE = 0.01
"""Estimates fade in steps of this share of the decay time, so that a pick computes no exponential."""
_LOWEST = 1e-6
"""An estimate never fades below a microsecond: 0 means never measured."""


class LatencyBased:
    """Lowest decayed round-trip time x (active + 1) / weight, doubled per consecutive error.

    The estimate is Finagle's peak EWMA: a sample above it is taken at once, lower ones pull it down with the pool's
    decay time, and without samples it fades, so that an instance that was slow is tried again later. O(1).

    Args:
        clock: monotonic seconds.
        rng: source of randomness.
    """

    __slots__ = ("_clock", "_next_rotation", "_pairs", "_peers", "_random", "_rng", "_sweep_at")

    def __init__(self, clock: Callable[[], float], rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._random = rng.random
        self._pairs = 0
        self._peers = 0
        self._next_rotation: Callable[[], tuple[Instance, ...]] | None = None
        self._sweep_at = -math.inf

    def prepare(self, pool: Pool) -> None:
        """Take the current candidates."""
        count = len(pool.candidates)
        self._peers = count - 1
        self._pairs = count * (count - 1)
        turns = rotations(pool.candidates) if count <= _SCAN_LIMIT else []
        self._rng.shuffle(turns)
        self._next_rotation = cycle(turns).__next__ if turns else None

    def pick(self, pool: Pool, request: Request, tried: Sequence[Instance]) -> Instance | None:  # noqa: ARG002 - Protocol
        """Return the candidate with the lowest expected latency that was not tried."""
        now = self._clock()
        if now >= self._sweep_at:
            self._fade(pool, now)
        if self._next_rotation is not None:
            instances: Sequence[Instance] = self._next_rotation()
        elif tried:
            instances = pool.candidates
        else:
            first, second = divmod(int(self._random() * self._pairs), self._peers)
            if second >= first:
                second += 1
            instances = (pool.candidates[first], pool.candidates[second])
        best = None
        lowest = math.inf
        for instance in instances:
            active = instance.active
            cost = (instance.ewma or (active and _UNMEASURED)) * (active + 1) * instance.handicap
            if cost < lowest and instance not in tried:
                best = instance
                lowest = cost
        return best

    def _fade(self, pool: Pool, now: float) -> None:
        decay = pool.snapshot.ewma_decay
        self._sweep_at = now + decay * _SWEEP_SHARE
        for instance in pool.instances:
            ewma = instance.ewma
            if ewma > _LOWEST:
                instance.ewma = max(ewma * math.exp((instance.stamp - now) / decay), _LOWEST)
                instance.stamp = now
