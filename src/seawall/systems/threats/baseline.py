"""What is usual, learned: a mean that follows slowly, and how far from the median of late a value is.

The modified z-score is that of Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993: 0.6745 (x - median) by
MAD, suspicious above 3.5. The median and the median absolute deviation bear nearly half of the values being attacks.
"""

import math
from collections import deque
from statistics import median

import msgspec

__all__ = ["SUSPICIOUS", "Baseline", "Oddity"]

SUSPICIOUS = 3.5
_SCALE = 0.6745
_MEAN_SCALE = 1.2533
"""Where the median deviation is 0, the mean one takes its place; as in the source."""
_HOURS = 168
_WEEKS = 2


class Oddity(msgspec.Struct, frozen=True):
    """A value beside what is usual.

    Attributes:
        value: what came.
        usual: the median.
        score: modified z; positive above the median, infinite where everything before was the same.
        odd: whether it is suspicious.
    """

    value: float
    usual: float
    score: float
    odd: bool


class _Rush:
    """Odd values of an hour of the week: their mean in earlier weeks, and in how many there were enough of them."""

    __slots__ = ("_count", "_enough", "_mean", "_week", "mean", "weeks")

    def __init__(self, enough: int) -> None:
        self.mean = 0.0
        self.weeks = 0
        self._enough = enough
        self._week = 0
        self._mean = 0.0
        self._count = 0

    def turn(self, week: int) -> None:
        """Take what came up to the end of the last week that there was something as known; what comes now is not."""
        if week == self._week:
            return
        if self._count >= self._enough:
            self.weeks += 1
            self.mean = self._mean if self.weeks == 1 else (self.mean + self._mean) / 2.0
        self._week, self._mean, self._count = week, 0.0, 0

    def note(self, value: float) -> None:
        self._count += 1
        self._mean += (value - self._mean) / self._count


class Baseline:
    """What is usual of one number, such as requests per second of a route.

    Learning freezes while values are odd, so that an attack does not become the usual; after `patience` odd values in a
    row it goes on, since then the world has changed. What was odd at the same hour of two weeks is usual in the third.

    Args:
        floor: deviation below which nothing is odd, in the unit of the values: a quiet route's first two requests are
            no attack.
        warm_up: values that must be known before any is called odd.
        window: values that the median is taken of.
        patience: odd values in a row after which they are learned.
        threshold: modified z above which a value is odd.

    One value costs about 30 us: it is meant for one in some seconds.
    """

    __slots__ = ("_floor", "_frozen", "_patience", "_recent", "_rushes", "_threshold", "_warm_up", "_weekly", "mean")

    def __init__(
        self,
        *,
        floor: float,
        warm_up: int = 30,
        window: int = 120,
        patience: int = 360,
        threshold: float = SUSPICIOUS,
    ) -> None:
        self._floor = floor
        self._warm_up = max(warm_up, 3)
        self._patience = patience
        self._threshold = threshold
        self._recent: deque[float] = deque(maxlen=max(window, self._warm_up))
        self._frozen = 0
        self._rushes: dict[int, _Rush] = {}
        self._weekly: dict[int, tuple[float, int]] = {}
        self.mean = math.nan
        """Exponentially weighted mean of what was learned; not a number before the first value."""

    @property
    def warm(self) -> bool:
        """Whether enough is known to judge."""
        return len(self._recent) >= self._warm_up

    def judge(self, value: float, hour: int | None = None) -> Oddity:
        """Say how odd a value is, without learning it.

        Args:
            value: finite.
            hour: hours since some Monday; where this hour of earlier weeks is known, a value near its mean is not odd.
        """
        if not self.warm:
            return Oddity(value, self.mean, 0.0, odd=False)
        usual = median(self._recent)
        score = _score(value, usual, self._recent)
        odd = abs(score) > self._threshold and abs(value - usual) > self._floor
        if odd and hour is not None:
            odd = not self._is_of_this_hour(value, hour)
        return Oddity(value, usual, score, odd)

    def _is_of_this_hour(self, value: float, hour: int) -> bool:
        week, slot = divmod(hour, _HOURS)
        mean, count = self._weekly.get(slot, (0.0, 0))
        if count >= self._warm_up and abs(value - mean) <= max(self._floor, 0.5 * abs(mean)):
            return True
        rush = self._rushes.get(slot)
        if rush is None:
            return False
        rush.turn(week)
        return rush.weeks >= _WEEKS and abs(value - rush.mean) <= max(self._floor, 0.5 * abs(rush.mean))

    def observe(self, value: float, hour: int | None = None) -> Oddity:
        """Judge a value and learn it, unless it is odd. A value that is not finite is neither judged nor learned."""
        if not math.isfinite(value):
            return Oddity(value, self.mean, 0.0, odd=False)
        oddity = self.judge(value, hour)
        if oddity.odd and self._frozen < self._patience:
            self._frozen += 1
            if hour is not None:
                week, slot = divmod(hour, _HOURS)
                rush = self._rushes.setdefault(slot, _Rush(self._warm_up))
                rush.turn(week)
                rush.note(value)
            return oddity
        if not oddity.odd:
            self._frozen = 0
        self._recent.append(value)
        self.mean = value if math.isnan(self.mean) else self.mean + (value - self.mean) / 32.0
        if hour is not None:
            mean, count = self._weekly.get(hour % _HOURS, (value, 0))
            count += 1
            self._weekly[hour % _HOURS] = (mean + (value - mean) / min(count, 720), count)
        return oddity


def _score(value: float, usual: float, values: "deque[float]") -> float:
    deviations = [abs(one - usual) for one in values]
    spread = median(deviations)
    if spread > 0.0:
        return _SCALE * (value - usual) / spread
    spread = _MEAN_SCALE * math.fsum(deviations) / len(deviations)
    if spread > 0.0:
        return (value - usual) / spread
    return math.copysign(math.inf, value - usual) if value != usual else 0.0
