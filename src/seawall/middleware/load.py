"""What a server knows about its own load: requests in flight, and how long one more would take."""

import math
import statistics
from collections import deque
from collections.abc import Callable

__all__ = ["LoadTracker"]

_SAMPLES_PER_LEVEL = 16
_ENOUGH = 16
_MAX_LEVEL = 255
_FRESH = 2.0
"""Seconds for which a sample speaks for its level."""
_DECAY = 10.0
"""Time constant in seconds by which an old estimate fades, so that a server that was slow is tried again."""


class LoadTracker:
    """Estimate latency at the present load, as Prequal's servers do (NSDI 2024, section 4).

    Each request's duration is remembered under the number of requests in flight when it came. The estimate is the
    median of the recent durations at the level nearest to the present one. Memory is bounded (256 levels of 16
    samples).

    Args:
        clock: monotonic seconds.

    Attributes:
        in_flight: requests being served now.

    Not thread-safe; `start` and `finish` cost well under a microsecond, `latency` a few.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.in_flight = 0
        self._clock = clock
        self._levels: dict[int, deque[tuple[float, float]]] = {}
        self._newest: tuple[float, float] | None = None

    def start(self) -> tuple[float, int]:
        """Count a request as in flight; return the token that `finish` wants back."""
        level = min(self.in_flight, _MAX_LEVEL)
        self.in_flight += 1
        return self._clock(), level

    def finish(self, token: tuple[float, int]) -> None:
        """Count a request as served."""
        started, level = token
        self.in_flight -= 1
        now = self._clock()
        samples = self._levels.get(level)
        if samples is None:
            samples = self._levels[level] = deque(maxlen=_SAMPLES_PER_LEVEL)
        self._newest = (now, now - started)
        samples.append(self._newest)

    def latency(self) -> float:
        """Return the seconds that a request coming now would take; 0 when none was ever served."""
        if self._newest is None:
            return 0.0
        now = self._clock()
        level = min(self.in_flight, _MAX_LEVEL)
        fresh: list[float] = []
        for near in sorted(self._levels, key=lambda known: abs(known - level)):
            fresh += [seconds for at, seconds in self._levels[near] if now - at <= _FRESH]
            if len(fresh) >= _ENOUGH:
                break
        if fresh:
            return statistics.median(fresh)
        at, seconds = self._newest
        return seconds * math.exp((at + _FRESH - now) / _DECAY)
