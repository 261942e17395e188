"""Leaky buckets by key: how much of something came lately, in bounded memory."""

from seawall.core.errors import InvalidError

__all__ = ["LeakyBuckets"]


class LeakyBuckets:
    """Buckets that fill by what comes and leak at a steady rate; one overflows above its capacity.

    A bucket is a level and the time that it is from. A bucket that has run empty is the same as none, so when the table
    is full, those are dropped first, then the ones that were touched longest ago.

    Args:
        capacity: what a bucket holds; the drop after that overflows it.
        leak: what runs out per second.
        max_keys: buckets that are kept at most; each takes some 250 bytes.

    Raises:
        InvalidError: a number is not above 0.

    One pour costs about 0.5 us. Not for concurrent use.
    """

    __slots__ = ("_buckets", "_max_keys", "capacity", "leak")

    def __init__(self, capacity: float, leak: float, *, max_keys: int = 65_536) -> None:
        if not (capacity > 0.0 and leak > 0.0 and max_keys > 0):
            raise InvalidError(
                f"a bucket cannot hold {capacity}, leak {leak} per second and be one of {max_keys}",
                hint="Give numbers above 0.",
            )
        self.capacity = capacity
        self.leak = leak
        self._max_keys = max_keys
        self._buckets: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def pour(self, key: str, now: float, amount: float = 1.0) -> bool:
        """Add to a bucket and tell whether it overflows; an overflowing one stays full to the brim and `amount`.

        A clock that goes backwards leaks nothing.
        """
        level = self.level(key, now) + amount
        overflows = level > self.capacity
        # A flood must not keep its bucket full for hours after it has ended.
        level = min(level, self.capacity + amount)
        self._buckets.pop(key, None)  # the order of a dictionary is that of insertion: the last touched stands last
        self._buckets[key] = (level, now)
        if len(self._buckets) > self._max_keys:
            self._make_room(now)
        return overflows

    def level(self, key: str, now: float) -> float:
        """Return what is in a bucket."""
        bucket = self._buckets.get(key)
        if bucket is None:
            return 0.0
        level, at = bucket
        return max(level - max(now - at, 0.0) * self.leak, 0.0)

    def empty(self, key: str) -> bool:
        """Forget a key; tell whether it was known."""
        return self._buckets.pop(key, None) is not None

    def _make_room(self, now: float) -> None:
        """Drop what has run empty; when that is less than an eighth, the oldest up to that, so that it pays."""
        leak = self.leak
        kept = {key: bucket for key, bucket in self._buckets.items() if bucket[0] > (now - bucket[1]) * leak}
        surplus = len(kept) - (self._max_keys - self._max_keys // 8)
        for key in list(kept)[: max(surplus, 0)]:
            del kept[key]
        self._buckets = kept
