"""The least loaded of a set of instances: what several strategies end in."""

import math
import random
from collections.abc import Sequence
from itertools import cycle

from seawall.systems.balancing.counters import Instance

__all__ = ["LeastLoaded", "rotations"]

_SCAN_LIMIT = 8
"""Up to this many instances all are looked at, above two at random: the scan is as cheap there, and exact."""


def rotations(instances: Sequence[Instance]) -> list[tuple[Instance, ...]]:
    """Return every rotation of the sequence: scanning them in turn breaks ties fairly without drawing a number."""
    return [(*instances[start:], *instances[:start]) for start in range(len(instances))]


class LeastLoaded:
    """Choose by attempts in flight: (active + 1) / weight, doubled per consecutive error.

    In a large set the better of two at random (Mitzenmacher, "The power of two choices", 2001), which keeps many
    workers that see only their own attempts from all choosing the same instance. O(1).

    Args:
        instances: at least one.
        rng: source of randomness.
    """

    __slots__ = ("_instances", "_next_rotation", "_pairs", "_peers", "_random")

    def __init__(self, instances: Sequence[Instance], rng: random.Random) -> None:
        self._instances = instances
        self._random = rng.random
        count = len(instances)
        self._peers = count - 1
        self._pairs = count * (count - 1)
        turns = rotations(instances) if count <= _SCAN_LIMIT else []
        rng.shuffle(turns)
        self._next_rotation = cycle(turns).__next__ if turns else None

    def choose(self, tried: Sequence[Instance]) -> Instance | None:
        """Return the least loaded that was not tried."""
        if self._next_rotation is not None:
            return _scan(self._next_rotation(), tried)
        if tried:
            return _scan(self._instances, tried)
        first, second = divmod(int(self._random() * self._pairs), self._peers)
        if second >= first:
            second += 1
        one = self._instances[first]
        other = self._instances[second]
        return one if (one.active + 1) * one.handicap <= (other.active + 1) * other.handicap else other


def _scan(instances: Sequence[Instance], tried: Sequence[Instance]) -> Instance | None:
    best = None
    lowest = math.inf
    for instance in instances:
        cost = (instance.active + 1) * instance.handicap
        if cost < lowest and instance not in tried:
            best = instance
            lowest = cost
    return best
