"""Fixed windows: a count that starts anew at each multiple of the window; one pair per key.

Exact within a window: never more than the limit. Over two windows up to twice the limit may pass in a span of one
window, half of it at the end of one and half at the start of the next; where that matters, use GCRA or a sliding
window. Feed wall-clock time for windows that start on the minute.

**When the clock jumps.** Backwards: the window that is open goes on, restarted at the earlier time, so that its count
neither grows nor is forgotten, and it ends within one window. Forwards: a new window, as if the time had passed.
"""

import math

from seawall.systems.ratelimit.verdict import SLACK, CostError, Verdict

__all__ = ["FixedState", "FixedWindow"]

FixedState = tuple[float, float]
"""(start of the window in seconds, cost admitted in it)."""


class FixedWindow:
    """Decisions over a window's count: pure functions, constant time."""

    @staticmethod
    def check(
        state: FixedState | None, now: float, limit: float, window: float, cost: float = 1.0
    ) -> Verdict[FixedState]:
        """Decide on one request of `cost` at `now`; `state` is None for a key never seen, `window` in seconds.

        Raises:
            CostError: the cost is negative, infinite or not a number.
        """
        if not 0.0 <= cost < math.inf:
            raise CostError(cost)
        start, count = _advance(state, now, window)
        ends = start + window - now
        if count + cost <= limit + SLACK:
            count += cost
            return True, (start, count), max(limit - count, 0.0), ends if count else 0.0, 0.0
        return False, (start, count), max(limit - count, 0.0), ends, ends if cost <= limit + SLACK else math.inf

    @staticmethod
    def refund(state: FixedState, admitted_at: float, cost: float) -> FixedState:
        """Give back the cost of a request admitted at `admitted_at`; nothing when its window is over.

        Raises:
            CostError: the cost is negative, infinite or not a number.
        """
        if not 0.0 <= cost < math.inf:
            raise CostError(cost)
        start, count = state
        return (start, max(count - cost, 0.0)) if admitted_at >= start else state


def _advance(state: FixedState | None, now: float, window: float) -> FixedState:
    if state is not None:
        start, count = state
        if now < start:
            return now, count
        if now - start < window:
            return state
    return now // window * window, 0.0
