"""Totals over many workers from cumulative reports: a repeated, lost or late report never counts twice."""

from collections.abc import Iterator, Sequence

__all__ = ["CumulativeTotals"]


class CumulativeTotals:
    """Sum rows of cumulative integers over sources that may restart.

    A source is one worker process in one life, for example `("worker-0", 48211)`. Each of its rows only grows while it
    lives, so the increase since the row was last seen is what counts; a restarted worker is a new source and starts
    from nought.
    Rows are kept when a source is forgotten: totals never fall.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], dict[str, list[int]]] = {}
        self._totals: dict[str, list[int]] = {}

    def update(self, source: tuple[str, int], key: str, row: Sequence[int], *, baseline: bool = False) -> list[int]:
        """Take one cumulative row, add its increase to the total, and return what happened just now by element.

        Args:
            source: the worker process.
            key: names the row.
            row: cumulative counts, always of one width.
            baseline: when the source's row is new here, it tells of a past that somebody else has already acted on: it
                counts in the total, and nothing of it happened just now.
        """
        seen = self._seen.setdefault(source, {})
        last = seen.get(key)
        added = list(row) if last is None else [max(new - old, 0) for new, old in zip(row, last, strict=True)]
        total = self._totals.get(key)
        if total is None:
            self._totals[key] = list(added)
        else:
            for index, amount in enumerate(added):
                total[index] += amount
        seen[key] = list(row) if last is None else [max(new, old) for new, old in zip(row, last, strict=True)]
        return [0] * len(added) if baseline and last is None else added

    def forget_source(self, source: tuple[str, int]) -> None:
        """Drop what is remembered of a source that is gone; its part of the totals stays."""
        self._seen.pop(source, None)

    def forget_key(self, key: str) -> None:
        """Drop a row everywhere, for something that is no longer exported."""
        self._totals.pop(key, None)
        for seen in self._seen.values():
            seen.pop(key, None)

    def total(self, key: str) -> list[int] | None:
        """Return the summed row, or None when nothing was seen under this key."""
        return self._totals.get(key)

    def __iter__(self) -> Iterator[tuple[str, list[int]]]:
        return iter(self._totals.items())
