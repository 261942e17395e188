"""How many retries a pool may send: a share of its requests, so that retries never multiply an outage."""

import math

__all__ = ["RetryBudget"]

_WINDOW = 10.0
"""Seconds over which requests and retries are weighed, as in Finagle's RetryBudget."""


class RetryBudget:
    """Requests and retries as exponentially decayed counts with a time constant of 10 s, plus a floor per second.

    A count that decays with time constant T holds about T seconds of a steady rate, so that comparing the two counts
    compares rates over the last 10 s. Over any long time retries stay at or under `share` of requests plus `floor` per
    second; an unused floor is saved up for 10 s, so that a pool without history survives the loss of an instance.
    O(1), and nothing to do per request: arrivals are read from the pool's cumulative count when a retry asks.

    Args:
        now: monotonic seconds.
    """

    __slots__ = ("_floor_tokens", "_requests", "_retries", "_seen", "_stamp")

    def __init__(self, now: float) -> None:
        self._stamp = now
        self._seen = 0
        self._requests = 0.0
        self._retries = 0.0
        self._floor_tokens = math.inf

    def withdraw(self, now: float, total_requests: int, share: float, floor: int) -> bool:
        """Take one retry if the budget allows it.

        Args:
            now: monotonic seconds.
            total_requests: the pool's cumulative count of requests.
            share: retries allowed per request, 0..1 or above.
            floor: retries per second that are always allowed.
        """
        elapsed = max(now - self._stamp, 0.0)
        arrived = total_requests - self._seen
        fade = math.exp(-elapsed / _WINDOW)
        # Arrivals since the last call are taken as spread evenly over the time since then.
        kept = (1.0 - fade) * _WINDOW / elapsed if elapsed > 0.0 else 1.0
        self._requests = self._requests * fade + arrived * kept
        self._retries *= fade
        self._stamp = now
        self._seen = total_requests
        self._floor_tokens = min(self._floor_tokens + elapsed * floor, floor * _WINDOW)
        if self._retries + 1.0 <= share * self._requests:
            self._retries += 1.0
            return True
        if self._floor_tokens >= 1.0:
            self._floor_tokens -= 1.0
            self._retries += 1.0
            return True
        return False
