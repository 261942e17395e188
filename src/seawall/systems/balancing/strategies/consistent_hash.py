"""`consistent-hash`: the same key to the same instance, with bounded loads."""

import random
from bisect import bisect_left
from collections.abc import Callable, Sequence

from seawall.core.request import Request
from seawall.systems.balancing.counters import Instance, Pool
from seawall.systems.balancing.ring import HashRing, ring_position
from seawall.systems.balancing.strategies.least_loaded import LeastLoaded

__all__ = ["ConsistentHash"]


class ConsistentHash:
    """Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, 2016).

    A key goes to the first instance clockwise on the ring that, with this request, has at most `hash_load_bound` times
    its fair part (by weight) of the attempts in flight on the pool, rounded up. A request without the key goes to the
    least loaded instance. One hash and one bisection per pick.
    """

    __slots__ = ("_factor", "_key", "_least_loaded", "_ring", "_rng")

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._ring = HashRing()
        self._factor = 0.0
        self._key: Callable[[Request], bytes | None] = _client
        self._least_loaded = LeastLoaded((), rng)

    def prepare(self, pool: Pool) -> None:
        """Put the current candidates on the ring."""
        candidates = pool.candidates
        self._ring.set_members(candidates)
        self._key = _key_reader(pool.snapshot.hash_key)
        self._least_loaded = LeastLoaded(candidates, self._rng)
        total = sum(instance.weight for instance in candidates)
        # Below 1 the bounds would not add up to the load.
        self._factor = max(pool.snapshot.hash_load_bound, 1.0) / total if candidates else 0.0

    def pick(self, pool: Pool, request: Request, tried: Sequence[Instance]) -> Instance | None:
        """Return the key's instance, or the next on the ring when it is full or was tried."""
        key = self._key(request)
        if not key:
            return self._least_loaded.choose(tried)
        ring = self._ring
        points = ring.points
        start = bisect_left(points, ring_position(key))
        if start == len(points):
            start = 0
        bound = self._factor * (pool.active + 1)
        instance = ring.owner(start)
        if instance.active < bound * instance.weight and instance not in tried:
            return instance
        return self._next(start, bound, tried) or self._least_loaded.choose(tried)

    def _next(self, start: int, bound: float, tried: Sequence[Instance]) -> Instance | None:
        ring = self._ring
        size = len(ring.points)
        refused = {ring.owner(start)}
        for step in range(start + 1, start + size):
            instance = ring.owner(step if step < size else step - size)
            if instance in refused:
                continue
            if instance.active < bound * instance.weight and instance not in tried:
                return instance
            refused.add(instance)
        return None


def _key_reader(hash_key: str) -> Callable[[Request], bytes | None]:
    kind, _, name = hash_key.partition(":")
    field = name.encode()
    if kind == "header":
        lower = field.lower()
        return lambda request: request.header(lower)
    if kind == "cookie":
        return lambda request: request.cookie(field)
    return _client


def _client(request: Request) -> bytes:
    return request.client.encode()
