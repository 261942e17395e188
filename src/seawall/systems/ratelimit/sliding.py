"""The sliding-window counter: two counts per key stand in for a log of every request.

The requests of the last window are estimated as the current bucket's count plus the previous bucket's, weighted by how
much of that bucket the window still covers, as if its requests had been spread evenly.

**Error.** With `p` the previous bucket's count and `f` the elapsed share of the current one, the estimate is off from
a log of every request by at most `p * max(f, 1 - f)`, hence never by more than `p`, and by nothing when arrivals are
even. The estimate never passes the limit; the true count of any window may, and stays below twice the limit.

**When the clock jumps.** Backwards: the current bucket goes on, restarted at the earlier time. Forwards: buckets that
have passed are empty. A wait is never longer than two windows.
"""

import math

from seawall.systems.ratelimit.verdict import SLACK, CostError, Verdict

__all__ = ["SlidingState", "SlidingWindow"]

SlidingState = tuple[float, float, float]
"""(start of the current bucket in seconds, cost admitted in it, cost admitted in the one before)."""


class SlidingWindow:
    """Decisions over two buckets: pure functions, constant time."""

    @staticmethod
    def check(
        state: SlidingState | None, now: float, limit: float, window: float, cost: float = 1.0
    ) -> Verdict[SlidingState]:
        """Decide on one request of `cost` at `now`; `state` is None for a key never seen, `window` in seconds.

        Raises:
            CostError: the cost is negative, infinite or not a number.
        """
        if not 0.0 <= cost < math.inf:
            raise CostError(cost)
        state = start, current, previous = _advance(state, now, window)
        elapsed = now - start
        estimate = current + previous * (1.0 - elapsed / window)
        left = limit - estimate
        if cost <= left + SLACK:
            current += cost
            reset = (2.0 if current else 1.0 if previous else 0.0) * window
            left -= cost
            return True, (start, current, previous), max(left, 0.0), max(reset - elapsed, 0.0), 0.0
        reset = (2.0 if current else 1.0) * window - elapsed
        return False, state, max(left, 0.0), reset, _wait(state, elapsed, limit, window, cost)

    @staticmethod
    def refund(state: SlidingState, admitted_at: float, window: float, cost: float) -> SlidingState:
        """Give back the cost of a request admitted at `admitted_at`; nothing when both buckets came after it.

        Raises:
            CostError: the cost is negative, infinite or not a number.
        """
        if not 0.0 <= cost < math.inf:
            raise CostError(cost)
        start, current, previous = state
        if admitted_at >= start:
            return start, max(current - cost, 0.0), previous
        if admitted_at >= start - window:
            return start, current, max(previous - cost, 0.0)
        return state


def _advance(state: SlidingState | None, now: float, window: float) -> SlidingState:
    if state is not None:
        start, current, previous = state
        if now < start:
            return now, current, previous
        elapsed = now - start
        if elapsed < window:
            return state
        if elapsed < 2.0 * window:
            return start + window, 0.0, current
    return now // window * window, 0.0, 0.0


def _wait(state: SlidingState, elapsed: float, limit: float, window: float, cost: float) -> float:
    """Return the seconds until `cost` passes when nothing else is asked."""
    _, current, previous = state
    if cost > limit + SLACK:
        return math.inf
    room = max(limit - cost, 0.0)  # a cost may exceed the limit by the slack
    if current <= room:
        return (1.0 - (room - current) / previous) * window - elapsed
    return window - elapsed + (1.0 - room / current) * window
