"""The strategies by name; each is one small class behind `Strategy`."""

import random
from collections.abc import Callable
from typing import NamedTuple

from seawall.systems.balancing.counters import Strategy
from seawall.systems.balancing.geo import Location
from seawall.systems.balancing.model import StrategyName
from seawall.systems.balancing.strategies.adaptive import Adaptive
from seawall.systems.balancing.strategies.consistent_hash import ConsistentHash
from seawall.systems.balancing.strategies.geographic import Geographic
from seawall.systems.balancing.strategies.latency_based import LatencyBased
from seawall.systems.balancing.strategies.least_connections import LeastConnections
from seawall.systems.balancing.strategies.round_robin import RoundRobin
from seawall.systems.balancing.strategies.uniform import Uniform
from seawall.systems.balancing.strategies.weighted import Weighted

__all__ = ["Tools", "make_strategy"]


class Tools(NamedTuple):
    """What strategies may use besides the pool.

    Attributes:
        clock: monotonic seconds.
        rng: source of randomness.
        locate: client address to (latitude, longitude), None without a location database.
    """

    clock: Callable[[], float]
    rng: random.Random
    locate: Callable[[str], Location | None] | None = None


_MAKERS: dict[StrategyName, Callable[[Tools], Strategy]] = {
    StrategyName.ROUND_ROBIN: lambda tools: RoundRobin(tools.rng),
    StrategyName.LEAST_CONNECTIONS: lambda tools: LeastConnections(tools.rng),
    StrategyName.WEIGHTED: lambda tools: Weighted(tools.rng),
    StrategyName.LATENCY_BASED: lambda tools: LatencyBased(tools.clock, tools.rng),
    StrategyName.GEOGRAPHIC: lambda tools: Geographic(tools.rng, tools.locate),
    StrategyName.CONSISTENT_HASH: lambda tools: ConsistentHash(tools.rng),
    StrategyName.RANDOM: lambda tools: Uniform(tools.rng),
    StrategyName.ADAPTIVE: lambda tools: Adaptive(tools.clock, tools.rng),
}


def make_strategy(name: StrategyName, tools: Tools) -> Strategy:
    """Return a fresh strategy of this name."""
    return _MAKERS[name](tools)
