"""The last minute of an instance: error rate and latency percentiles from counts, without keeping samples."""

from collections import deque
from collections.abc import Sequence

from seawall.core.instruments import DURATION_BUCKETS

__all__ = ["MinuteWindow", "percentile"]

_SLICE = 5.0
_SLICES = 12


class MinuteWindow:
    """Attempts, errors and duration buckets of the last 60 s, in slices of 5 s. Adding costs O(buckets)."""

    __slots__ = ("_slices",)

    def __init__(self) -> None:
        self._slices: deque[tuple[int, list[int]]] = deque()

    def add(self, now: float, attempts: int, errors: int, buckets: Sequence[int]) -> None:
        """Add what happened since the last call; `now` in monotonic seconds."""
        number = int(now // _SLICE)
        if not self._slices or self._slices[-1][0] != number:
            self._slices.append((number, [0, 0, *(0 for _ in buckets)]))
            self._expire(number)
        row = self._slices[-1][1]
        row[0] += attempts
        row[1] += errors
        for index, amount in enumerate(buckets, start=2):
            row[index] += amount

    def totals(self, now: float) -> tuple[int, int, list[int]]:
        """Return (attempts, errors, observations per bucket) of the last minute."""
        self._expire(int(now // _SLICE))
        if not self._slices:
            return 0, 0, []
        summed = [sum(column) for column in zip(*(row for _, row in self._slices), strict=True)]
        return summed[0], summed[1], summed[2:]

    def _expire(self, number: int) -> None:
        while self._slices and self._slices[0][0] <= number - _SLICES:
            self._slices.popleft()


def percentile(buckets: Sequence[int], share: float) -> float | None:
    """Return the latency in seconds below which `share` (0..1) of the observations lie, or None without any.

    Interpolated within its bucket, as Prometheus' `histogram_quantile` does; what lies in the infinite bucket is given
    as the largest finite bound.
    """
    total = sum(buckets)
    if total == 0:
        return None
    rank = share * total
    below = 0
    lower = 0.0
    for bound, count in zip(DURATION_BUCKETS, buckets, strict=False):
        if count and below + count >= rank:
            return lower + (bound - lower) * max(rank - below, 0.0) / count
        below += count
        lower = bound
    return DURATION_BUCKETS[-1]
