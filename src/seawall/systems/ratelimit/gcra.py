"""The generic cell rate algorithm: an exact token bucket in one float per key.

The state of a key is its theoretical arrival time (TAT): the moment at which its bucket is whole again. A request that
costs `c` pushes it `c` emission intervals forward, and passes when what is owed then is at most `burst` intervals.
Hence in any span of `s` seconds at most `burst + s / interval` (+ `SLACK`) requests pass, whatever the arrivals.
Source: ITU-T I.371 annex A, as virtual scheduling.

**When a limit changes.** What is owed is owed in seconds, at the price of when it was admitted, so a change takes
effect at once, exactly, and without touching any key: a bucket that is half full before a factor halves rate and burst
is half full after it. What exceeds a smaller bucket is forgiven at the next request, which bounds every wait by that
request's own price. To keep the number of used requests instead, as an operator's override may want, `rescale` the
key.

**When the clock jumps.** Forwards: at most the one burst that an idle key has anyway. Backwards: a key that was used
since the time it went back to counts as full, so a request waits for its own price and never for the clock to catch up;
other keys do not notice.

**Resolution.** A float of a day's seconds resolves 15 ps, one of Unix time 0.24 us; feed monotonic time where
intervals are below a millisecond.
"""

import math

from seawall.systems.ratelimit.verdict import SLACK, CostError, Verdict

__all__ = ["IDLE", "Gcra"]

IDLE = -math.inf
"""The state of a key that was never seen."""


class Gcra:
    """Decisions over a TAT: pure functions, constant time, no allocation beyond the answer."""

    @staticmethod
    def check(tat: float, now: float, interval: float, burst: float, cost: float = 1.0) -> Verdict[float]:
        """Decide on one request.

        Args:
            tat: the key's state, `IDLE` at first.
            now: seconds on the clock that wrote `tat`.
            interval: the emission interval in seconds, above 0.
            burst: requests that an idle key may make at once, above 0; below a request's cost nothing of that cost
                passes.
            cost: requests that this one counts for; 0 takes nothing and always passes.

        Raises:
            CostError: the cost is negative, infinite or not a number.
        """
        if not 0.0 <= cost < math.inf:
            raise CostError(cost)
        span = interval * burst
        ceiling = now + span
        # Comparisons, because a call of max or min costs as much as the rest of the decision.
        base = now if now > tat else tat  # noqa: FURB136 - see above
        if base > ceiling:  # noqa: PLR1730 - see above
            base = ceiling
        after = base + cost * interval
        excess = after - ceiling
        if excess <= interval * SLACK:
            left = -excess / interval
            return True, after, left if left > 0.0 else 0.0, after - now, 0.0  # noqa: FURB136 - see above
        if cost > burst + SLACK:
            excess = math.inf
        return False, base, (ceiling - base) / interval, base - now, excess

    @staticmethod
    def refund(tat: float, now: float, interval: float, cost: float) -> float:
        """Return the state with `cost` requests given back; never more than a whole bucket.

        Args:
            tat: the key's state.
            now: seconds on the clock that wrote `tat`.
            interval: the emission interval at which the requests were admitted.
            cost: requests to give back.

        Raises:
            CostError: the cost is negative, infinite or not a number.
        """
        if not 0.0 <= cost < math.inf:
            raise CostError(cost)
        return max(tat - cost * interval, now) if tat > now else tat

    @staticmethod
    def charge(tat: float, now: float, interval: float, burst: float, cost: float) -> float:
        """Return the state with `cost` requests taken unasked, for a request that proved dearer than foreseen.

        What exceeds the bucket is forgiven, as after a change of limits.

        Raises:
            CostError: the cost is negative, infinite or not a number.
        """
        if not 0.0 <= cost < math.inf:
            raise CostError(cost)
        return min(max(tat, now) + cost * interval, now + interval * burst)

    @staticmethod
    def rescale(tat: float, changed_at: float, old_interval: float, new_interval: float) -> float:
        """Return the state that keeps the number of used requests over a change of the interval.

        Exact also when called later than the change, as long as the key was not used in between.
        """
        return changed_at + (tat - changed_at) * (new_interval / old_interval) if tat > changed_at else tat
