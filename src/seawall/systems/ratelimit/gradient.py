"""How many requests an upstream can have in flight, found from its latency: Gradient2.

Source: Netflix concurrency-limits, `Gradient2Limit`. Latency above its long-term mean says that a queue is building,
and the limit falls with the ratio of the two; otherwise it grows by the square root of itself, the queue that is
tolerated for the sake of finding more room. Refusals by the upstream itself teach it nothing.

It differs in time: the long-term mean is over seconds instead of over a number of samples, and a step is scaled to the
time since the last one, so that neither the number of samples nor a late one changes the speed.
"""

import math

from seawall.core.errors import SeawallError
from seawall.systems.ratelimit.verdict import require_positive

__all__ = ["Gradient2"]

_MIN_GRADIENT = 0.5
"""No step takes away more than half, so that one outlier does not."""
_RECOVERY = 0.95
"""The long-term mean falls by this per step while it is over twice the present latency: an overload has just ended."""
_STEP = 1.0
"""Seconds that the smoothing refers to: `WindowedLimit` samples once a second."""


class Gradient2:
    """A limit on requests in flight for one upstream; not for concurrent use.

    Args:
        initial: the limit to begin with.
        smallest: bound from below, at least 1.
        largest: bound from above.
        tolerance: ratio of latency to its long-term mean that is no cause for alarm, 1 or more.
        smoothing: share of a step taken per second, 0..1.
        long_window: seconds of the long-term mean.

    Raises:
        SeawallError: a number is out of range or the bounds are out of order.
    """

    __slots__ = (
        "_at",
        "_largest",
        "_limit",
        "_long",
        "_long_window",
        "_smallest",
        "_smoothing",
        "_tolerance",
    )

    def __init__(
        self,
        *,
        initial: float = 20.0,
        smallest: float = 4.0,
        largest: float = 1000.0,
        tolerance: float = 1.5,
        smoothing: float = 0.9,
        long_window: float = 60.0,
    ) -> None:
        require_positive(
            initial=initial, smallest=smallest, largest=largest, smoothing=smoothing, long_window=long_window
        )
        if not 1 <= smallest <= initial <= largest or smoothing > 1 or not tolerance >= 1:
            raise SeawallError(
                f"a limit on requests in flight cannot begin at {initial} within {smallest}..{largest},"
                f" with a tolerance of {tolerance} and a smoothing of {smoothing}",
                hint="Let 1 <= smallest <= initial <= largest, tolerance at least 1 and smoothing at most 1.",
            )
        self._limit = initial
        self._smallest = smallest
        self._largest = largest
        self._tolerance = tolerance
        self._smoothing = smoothing
        self._long_window = long_window
        self._long = 0.0
        self._at: float | None = None

    @property
    def limit(self) -> float:
        """Requests that may be in flight."""
        return self._limit

    @property
    def long_latency(self) -> float:
        """Long-term mean latency in seconds; 0 before the first sample."""
        return self._long

    def step(self, now: float, latency: float, in_flight: float) -> float:
        """Take a sample and return the limit.

        Args:
            now: monotonic seconds.
            latency: mean of the requests that ended since the last step, seconds; no number above 0 changes nothing.
            in_flight: the most that were in flight since the last step.
        """
        if not 0.0 < latency < math.inf or not in_flight >= 0.0:
            return self._limit
        if self._at is None:
            self._at = now
            self._long = latency
            return self._limit
        elapsed = min(max(now - self._at, 0.0), _STEP)
        self._at = now
        self._long += (latency - self._long) * -math.expm1(-elapsed / self._long_window)
        if self._long > 2.0 * latency:
            self._long *= _RECOVERY
        if in_flight < self._limit / 2.0:
            return self._limit  # the limit is not what holds traffic back, so nothing is learned about it
        gradient = max(_MIN_GRADIENT, min(1.0, self._tolerance * self._long / latency))
        wanted = self._limit * gradient + math.sqrt(self._limit)
        share = 1.0 - (1.0 - self._smoothing) ** (elapsed / _STEP)
        self._limit += (wanted - self._limit) * share
        self._limit = max(self._smallest, min(self._largest, self._limit))
        return self._limit
