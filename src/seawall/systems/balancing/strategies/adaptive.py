"""`adaptive`: by what instances answer to probes, after Prequal."""

import random
from collections.abc import Callable, Sequence

from seawall.core.request import Request
from seawall.systems.balancing.counters import Instance, Pool
from seawall.systems.balancing.probes import ProbePool
from seawall.systems.balancing.strategies.latency_based import LatencyBased

__all__ = ["Adaptive"]


class Adaptive:
    """Choose by the freshest probe answers; without them as `latency-based` does.

    Probes tell what all workers and gateways together have put on an instance, where a worker's own counters know only
    its own part; and they tell it before a request has to suffer for it.

    Args:
        clock: monotonic seconds.
        rng: source of randomness.

    Attributes:
        probes: the answers; the engine feeds it.
    """

    __slots__ = ("_fallback", "probes")

    def __init__(self, clock: Callable[[], float], rng: random.Random) -> None:
        self.probes = ProbePool(clock, rng)
        self._fallback = LatencyBased(clock, rng)

    def prepare(self, pool: Pool) -> None:
        """Take the current candidates."""
        self.probes.prepare(pool.candidates, pool.snapshot.probe_rate)
        self._fallback.prepare(pool)

    def pick(self, pool: Pool, request: Request, tried: Sequence[Instance]) -> Instance | None:
        """Return the best instance by its probe answer that was not tried, or the one of lowest expected latency."""
        return self.probes.choose(tried) or self._fallback.pick(pool, request, tried)
