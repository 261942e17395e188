"""The windows of a rule, each with its algorithm: what the engine checks all of before it keeps any state.

A window object holds what does not change between requests; the effective limit is an argument, because roles,
endpoints, load and threat scale it per request. A bucket's burst scales with its limit and is never below one request.
"""

import math
from typing import Protocol, TypeVar

from seawall.systems.ratelimit.concurrency import Concurrency, ConcurrencyState
from seawall.systems.ratelimit.fixed import FixedState, FixedWindow
from seawall.systems.ratelimit.gcra import IDLE, Gcra
from seawall.systems.ratelimit.sliding import SlidingState, SlidingWindow
from seawall.systems.ratelimit.verdict import Verdict, require_positive

__all__ = [
    "FixedQuota",
    "GcraQuota",
    "InFlightQuota",
    "Quota",
    "SlidingQuota",
]


State = TypeVar("State")


class Quota(Protocol[State]):
    """One window of a rule; a state is the algorithm's own, None for a key never seen."""

    name: str
    limit: float
    window: float

    def check(self, state: State | None, now: float, limit: float, cost: float) -> Verdict[State]:
        """Decide under the effective `limit`, in requests per window."""
        ...

    def refund(self, state: State, admitted_at: float, now: float, limit: float, cost: float) -> State:
        """Return the state with `cost` given back of a request admitted at `admitted_at` under `limit`."""
        ...


class GcraQuota:
    """A rate and a burst.

    Args:
        limit: requests per window.
        window: seconds.
        burst: requests an idle key may make at once; the limit when None.

    Raises:
        SeawallError: a number is not finite and above 0.
    """

    __slots__ = ("_share", "limit", "name", "window")

    def __init__(self, name: str, limit: float, window: float, burst: float | None = None) -> None:
        burst = limit if burst is None else burst
        require_positive(limit=limit, window=window, burst=burst)
        self.name = name
        self.limit = limit
        self.window = window
        self._share = burst / limit

    def check(self, state: float | None, now: float, limit: float, cost: float) -> Verdict[float]:
        """Decide under the effective `limit`; nothing passes under a limit of 0."""
        if not 0.0 < limit < math.inf:
            return False, IDLE if state is None else state, 0.0, math.inf, math.inf
        burst = limit * self._share
        return Gcra.check(IDLE if state is None else state, now, self.window / limit, max(burst, 1.0), cost)

    def refund(self, state: float, admitted_at: float, now: float, limit: float, cost: float) -> float:  # noqa: ARG002 - the time is part of the Protocol
        """Give back at the price of the admission."""
        return Gcra.refund(state, now, self.window / limit, cost) if limit > 0.0 else state


class _Quota:
    """A limit over a window.

    Raises:
        SeawallError: a number is not finite and above 0.
    """

    __slots__ = ("limit", "name", "window")

    def __init__(self, name: str, limit: float, window: float) -> None:
        require_positive(limit=limit, window=window)
        self.name = name
        self.limit = limit
        self.window = window


class FixedQuota(_Quota):
    """A count per fixed window of `window` seconds."""

    __slots__ = ()

    def check(self, state: FixedState | None, now: float, limit: float, cost: float) -> Verdict[FixedState]:
        """Decide under the effective `limit`."""
        return FixedWindow.check(state, now, limit, self.window, cost)

    def refund(self, state: FixedState, admitted_at: float, now: float, limit: float, cost: float) -> FixedState:  # noqa: ARG002 - part of the Protocol
        """Give back while the window of the admission lasts."""
        return FixedWindow.refund(state, admitted_at, cost)


class SlidingQuota(_Quota):
    """A count over the last `window` seconds, estimated from two buckets."""

    __slots__ = ()

    def check(self, state: SlidingState | None, now: float, limit: float, cost: float) -> Verdict[SlidingState]:
        """Decide under the effective `limit`."""
        return SlidingWindow.check(state, now, limit, self.window, cost)

    def refund(self, state: SlidingState, admitted_at: float, now: float, limit: float, cost: float) -> SlidingState:  # noqa: ARG002 - part of the Protocol
        """Give back while one of the two buckets holds the admission."""
        return SlidingWindow.refund(state, admitted_at, self.window, cost)


class InFlightQuota(_Quota):
    """Requests in flight; `window` is the seconds after which a permit that was not released expires."""

    __slots__ = ()

    def check(self, state: ConcurrencyState | None, now: float, limit: float, cost: float) -> Verdict[ConcurrencyState]:
        """Take a permit under the effective `limit`."""
        return Concurrency.acquire(state, now, limit, self.window, cost)

    def refund(
        self,
        state: ConcurrencyState,
        admitted_at: float,
        now: float,
        limit: float,  # noqa: ARG002 - part of the Protocol
        cost: float,
    ) -> ConcurrencyState:
        """Release the permit that was taken at `admitted_at`."""
        return Concurrency.release(state, admitted_at, now, self.window, cost)
