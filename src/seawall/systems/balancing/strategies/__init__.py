"""The strategies by name; each is one small class behind `Strategy`."""

import random
from collections.abc import Callable
from typing import NamedTuple

from seawall.systems.balancing.counters import Strategy
from seawall.systems.balancing.model import StrategyName
from seawall.systems.balancing.strategies.round_robin import RoundRobin

__all__ = ["Tools", "make_strategy"]


class Tools(NamedTuple):
    """What strategies may use besides the pool: monotonic seconds and randomness."""

    clock: Callable[[], float]
    rng: random.Random


def make_strategy(name: StrategyName, tools: Tools) -> Strategy:
    """Return a fresh strategy of this name."""
    return RoundRobin(tools.rng)
