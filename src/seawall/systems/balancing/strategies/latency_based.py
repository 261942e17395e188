"""`latency-based`: the lowest expected latency, by peak-EWMA."""

import math
import random
from collections.abc import Callable, Sequence

from seawall.core.request import Request
from seawall.systems.balancing.counters import Instance, Pool

__all__ = ["LatencyBased"]

_COMPARED = 8
"""Instances compared per pick: neighbours in a circle that each worker shuffles for itself.

Measured in the simulations of `benchmarks/balancing.py` against two independent choices: half to two thirds of the slow
requests when one of eleven instances is pinned, and two thirds of the p99.9 when a third of 24 are contended, with 1
worker as with 16. Sixteen or all are no better. No herding was seen, as each worker counts what it has sent itself.
"""
_UNMEASURED = 1e6
"""Cost per attempt in flight, in seconds, of an instance that has not answered yet: it gets one request as soon as it
comes up for choice, and no second before the first is answered (Finagle's rule for newcomers)."""
_SWEEP_SHARE = 0.01
"""Estimates fade in steps of this share of the decay time, so that a pick computes no exponential."""
_FLOOR = 1e-6
"""An estimate never fades below a microsecond: 0 means never measured."""


class LatencyBased:
    """Lowest decayed round-trip time x (active + 1) / weight, doubled per consecutive error.

    The estimate is Finagle's peak EWMA: a sample above it is taken at once, lower ones pull it down with the pool's
    decay time, and without samples it fades, so that an instance that was slow is tried again later. O(1).

    Args:
        clock: monotonic seconds.
        rng: source of randomness.
    """

    __slots__ = ("_circle", "_clock", "_random", "_rng", "_size", "_sweep_at", "_window")

    def __init__(self, clock: Callable[[], float], rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._random = rng.random
        self._circle: list[Instance] = []
        self._size = 0
        self._window = 0
        self._sweep_at = -math.inf

    def prepare(self, pool: Pool) -> None:
        """Take the current candidates, in an order of this worker's own."""
        order = list(pool.candidates)
        self._rng.shuffle(order)
        self._size = len(order)
        self._window = min(self._size, _COMPARED)
        self._circle = order + order[: self._window]

    def pick(self, pool: Pool, request: Request, tried: Sequence[Instance]) -> Instance | None:  # noqa: ARG002 - Protocol
        """Return the candidate with the lowest expected latency that was not tried."""
        now = self._clock()
        if now >= self._sweep_at:
            self._fade(pool, now)
        if tried:
            return _lowest(pool.candidates, tried)
        start = int(self._random() * self._size)
        return _lowest(self._circle[start : start + self._window], tried)

    def _fade(self, pool: Pool, now: float) -> None:
        decay = pool.snapshot.ewma_decay
        self._sweep_at = now + decay * _SWEEP_SHARE
        for instance in pool.instances:
            ewma = instance.ewma
            if ewma > _FLOOR:
                instance.ewma = max(ewma * math.exp((instance.stamp - now) / decay), _FLOOR)
                instance.stamp = now


def _lowest(instances: Sequence[Instance], tried: Sequence[Instance]) -> Instance | None:
    best = None
    lowest = math.inf
    for instance in instances:
        active = instance.active
        cost = (instance.ewma or (active and _UNMEASURED)) * (active + 1) * instance.handicap
        if cost < lowest and instance not in tried:
            best = instance
            lowest = cost
    return best
