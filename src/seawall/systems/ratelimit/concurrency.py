"""Limits on requests in flight, whose permits expire when they leak; constant size per key.

A permit that is never released (a worker that died, a lost report) must not count for ever, and a time per permit
would make the state grow. So permits are counted by generation: one generation lasts `ttl` seconds, the current and
the previous one count, older ones are forgotten. A leaked permit is free again after one to two `ttl`; so is one that
is merely slow, hence `ttl` is at least the longest a request may take.

**When the clock jumps.** Backwards: the generation goes on, restarted at the earlier time, and permits live up to one
jump longer. Forwards by two `ttl` or more: every permit is forgotten, as if it had leaked.
"""

import math

from seawall.systems.ratelimit.verdict import SLACK, CostError, Verdict

__all__ = ["Concurrency", "ConcurrencyState"]

ConcurrencyState = tuple[float, float, float]
"""(start of the generation in seconds, cost in flight that was admitted in it, and in the one before)."""


class Concurrency:
    """Decisions over the permits in flight: pure functions, constant time."""

    @staticmethod
    def acquire(
        state: ConcurrencyState | None, now: float, limit: float, ttl: float, cost: float = 1.0
    ) -> Verdict[ConcurrencyState]:
        """Take a permit for `cost` at `now`, the time to release it with; `state` is None for a key never seen.

        When to retry depends on when others finish, so `retry_after` of a refusal is 0, or infinite when the cost
        exceeds the limit. `reset_after` is when everything in flight would have expired.

        Raises:
            CostError: the cost is negative, infinite or not a number.
        """
        if not 0.0 <= cost < math.inf:
            raise CostError(cost)
        state = start, current, previous = _advance(state, now, ttl)
        left = limit - current - previous
        allowed = cost <= left + SLACK
        if allowed:
            current += cost
            left -= cost
            state = (start, current, previous)
        reset = start + (2.0 if current else 1.0 if previous else 0.0) * ttl - now
        return allowed, state, max(left, 0.0), max(reset, 0.0), 0.0 if cost <= limit + SLACK else math.inf

    @staticmethod
    def release(
        state: ConcurrencyState, admitted_at: float, now: float, ttl: float, cost: float = 1.0
    ) -> ConcurrencyState:
        """Give back a permit taken at `admitted_at`; nothing when it has expired.

        Raises:
            CostError: the cost is negative, infinite or not a number.
        """
        if not 0.0 <= cost < math.inf:
            raise CostError(cost)
        start, current, previous = _advance(state, now, ttl)
        if admitted_at >= start:
            # After the clock went backwards, a permit of the previous generation looks like one of the current.
            previous = max(previous - max(cost - current, 0.0), 0.0)
            current = max(current - cost, 0.0)
        elif admitted_at >= start - ttl:
            previous = max(previous - cost, 0.0)
        return start, current, previous

    @staticmethod
    def in_flight(state: ConcurrencyState | None, now: float, ttl: float) -> float:
        """Return the cost in flight; permits that have expired are left out."""
        _, current, previous = _advance(state, now, ttl)
        return current + previous


def _advance(state: ConcurrencyState | None, now: float, ttl: float) -> ConcurrencyState:
    if state is None:
        return now, 0.0, 0.0
    start, current, previous = state
    if now < start:
        return now, current, previous
    if now - start < ttl:
        return state
    if now - start < 2.0 * ttl:
        return start + ttl, 0.0, current
    return now, 0.0, 0.0
