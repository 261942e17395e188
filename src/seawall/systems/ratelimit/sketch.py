"""The heaviest keys of a stream in constant space: Space-Saving.

Source: Metwally, Agrawal, El Abbadi, "Efficient computation of frequent and top-k elements in data streams", 2005;
merging after Agarwal et al., "Mergeable summaries", 2012.

**Bound.** Of a stream of weight `n`, a sketch of capacity `k` gives every key that it holds `true <= count <= true +
error` with `error <= n / k`, and holds every key whose true weight exceeds `n / k`. Merging keeps both, with the sum
of the streams as `n`.
"""

from collections.abc import Iterator
from typing import NamedTuple

from seawall.core.errors import SeawallError
from seawall.systems.ratelimit.verdict import require_positive

__all__ = ["HeavyHitter", "SpaceSaving"]


class HeavyHitter(NamedTuple):
    """A key with bounds on its weight: `weight - error <= true <= weight`."""

    key: bytes
    weight: int
    error: int


class SpaceSaving:
    """Counts by key, for one thread.

    Keys of equal count share a bucket, so the smallest is at hand: `add` is constant time for a weight of 1, and
    linear in the number of different counts for others.

    Args:
        capacity: keys held at most, above 0.

    Raises:
        SeawallError: the capacity is not above 0.
    """

    __slots__ = ("_buckets", "_counts", "_smallest", "capacity", "total")

    def __init__(self, capacity: int) -> None:
        require_positive(capacity=capacity)
        self.capacity = capacity
        self.total = 0
        """Weight of the stream so far."""
        self._counts: dict[bytes, int] = {}
        self._buckets: dict[int, dict[bytes, int]] = {}
        """Count to the keys that have it, each with its error."""
        self._smallest = 0

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, key: bytes, weight: int = 1) -> None:
        """Count a key; a weight below 1 counts nothing."""
        if weight < 1:
            return
        self.total += weight
        count = self._counts.get(key)
        if count is None:
            if len(self._counts) < self.capacity:
                self._insert(key, weight, 0)
                return
            count = error = self._smallest
            bucket = self._buckets[count]
            del self._counts[bucket.popitem()[0]]
        else:
            bucket = self._buckets[count]
            error = bucket.pop(key)
        self._counts[key] = raised = count + weight
        target = self._buckets.get(raised)
        if bucket:
            if target is None:
                self._buckets[raised] = {key: error}
            else:
                target[key] = error
            return
        del self._buckets[count]
        if target is None:
            bucket[key] = error
            self._buckets[raised] = bucket
        else:
            target[key] = error
        if count == self._smallest:
            self._smallest = raised if weight == 1 else min(self._buckets)

    def top(self, number: int) -> list[HeavyHitter]:
        """Return the heaviest keys, heaviest first; O(capacity log capacity)."""
        return sorted(self, key=lambda hitter: (-hitter.weight, hitter.error, hitter.key))[:number]

    def merged(self, other: "SpaceSaving") -> "SpaceSaving":
        """Return a sketch of both streams together, such as of two workers or two minutes.

        Raises:
            SeawallError: the capacities differ, so that no bound would hold.
        """
        if other.capacity != self.capacity:
            raise SeawallError(f"sketches of capacity {self.capacity} and {other.capacity} cannot be merged")
        # A key that a full sketch does not hold weighs at most its smallest count there.
        ours, theirs = self._unseen(), other._unseen()  # noqa: SLF001 - one of its own kind
        both = {hitter.key: (hitter.weight + theirs, hitter.error + theirs) for hitter in self}
        for key, count, error in other:
            mine = both.get(key)
            if mine is None:
                both[key] = (count + ours, error + ours)
            else:
                both[key] = (mine[0] + count - theirs, mine[1] + error - theirs)
        result = SpaceSaving(self.capacity)
        result.total = self.total + other.total
        for key, (count, error) in sorted(both.items(), key=lambda entry: -entry[1][0])[: self.capacity]:
            result._insert(key, count, error)
        return result

    def __iter__(self) -> Iterator[HeavyHitter]:
        for count, bucket in self._buckets.items():
            for key, error in bucket.items():
                yield HeavyHitter(key, count, error)

    def _unseen(self) -> int:
        return self._smallest if len(self._counts) == self.capacity else 0

    def _insert(self, key: bytes, count: int, error: int) -> None:
        if not self._counts or count < self._smallest:
            self._smallest = count
        self._counts[key] = count
        self._buckets.setdefault(count, {})[key] = error
