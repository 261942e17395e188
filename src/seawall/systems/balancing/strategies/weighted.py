"""`weighted`: at random, in proportion to weight."""

import random
from collections.abc import Sequence

from seawall.core.request import Request
from seawall.systems.balancing.counters import Instance, Pool

__all__ = ["Weighted", "alias_table"]


def alias_table(weights: Sequence[float]) -> list[tuple[float, int]]:
    """Return Walker's alias table by Vose's method (1991): column i gives i below its threshold, else its alias.

    Args:
        weights: above 0.

    Returns:
        Per column (threshold 0..1, index of the alias); drawing a column uniformly and then a side costs O(1).
    """
    count = len(weights)
    mean = sum(weights) / count
    share = [weight / mean for weight in weights]
    table = [(1.0, index) for index in range(count)]
    small = [index for index in range(count) if share[index] < 1.0]
    large = [index for index in range(count) if share[index] >= 1.0]
    while small and large:
        low = small.pop()
        high = large[-1]
        table[low] = (share[low], high)
        share[high] -= 1.0 - share[low]
        if share[high] < 1.0:
            small.append(large.pop())
    return table


class Weighted:
    """Weighted random choice by an alias table: O(n) when a snapshot arrives, one random number per pick."""

    __slots__ = ("_random", "_size", "_table")

    def __init__(self, rng: random.Random) -> None:
        self._random = rng.random
        self._size = 0
        self._table: list[tuple[float, Instance, Instance]] = []

    def prepare(self, pool: Pool) -> None:
        """Build the table for the current candidates and weights."""
        candidates = pool.candidates
        self._size = len(candidates)
        columns = alias_table([instance.weight for instance in candidates]) if candidates else []
        self._table = [
            (index + threshold, candidates[index], candidates[alias])
            for index, (threshold, alias) in enumerate(columns)
        ]

    def pick(self, pool: Pool, request: Request, tried: Sequence[Instance]) -> Instance | None:  # noqa: ARG002 - Protocol
        """Return a candidate that was not tried, with a chance in proportion to its weight."""
        if tried:
            return self._pick_untried(pool, tried)
        point = self._random() * self._size
        threshold, instance, alias = self._table[int(point)]
        return instance if point < threshold else alias

    def _pick_untried(self, pool: Pool, tried: Sequence[Instance]) -> Instance | None:
        others = [instance for instance in pool.candidates if instance not in tried]
        point = self._random() * sum(instance.weight for instance in others)
        for instance in others:
            point -= instance.weight
            if point < 0.0:
                return instance
        return others[-1] if others else None
