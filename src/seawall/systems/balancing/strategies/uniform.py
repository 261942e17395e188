"""`random`: every usable instance with the same chance."""

import random
from collections.abc import Sequence

from seawall.core.request import Request
from seawall.systems.balancing.counters import Instance, Pool

__all__ = ["Uniform"]


class Uniform:
    """Choose uniformly; weights are not looked at, so neither slow start nor reported load have an effect. O(1)."""

    __slots__ = ("_random",)

    def __init__(self, rng: random.Random) -> None:
        self._random = rng.random

    def prepare(self, pool: Pool) -> None:
        """Nothing to precompute."""

    def pick(self, pool: Pool, request: Request, tried: Sequence[Instance]) -> Instance | None:  # noqa: ARG002 - Protocol
        """Return any candidate that was not tried."""
        candidates = pool.candidates
        if tried:
            candidates = [instance for instance in candidates if instance not in tried]
            if not candidates:
                return None
        return candidates[int(self._random() * len(candidates))]
