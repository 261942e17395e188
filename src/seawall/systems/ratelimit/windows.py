"""Several windows on one key, all or nothing: check all, then commit all.

A window object holds what does not change between requests; the effective limit is an argument, because roles,
endpoints, load and threat scale it per request. A bucket's burst scales with its limit and is never below one request.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from seawall.systems.ratelimit.concurrency import Concurrency, ConcurrencyState
from seawall.systems.ratelimit.fixed import FixedState, FixedWindow
from seawall.systems.ratelimit.gcra import IDLE, Gcra
from seawall.systems.ratelimit.sliding import SlidingState, SlidingWindow
from seawall.systems.ratelimit.verdict import Verdict, require_positive

__all__ = [
    "FixedQuota",
    "GcraQuota",
    "InFlightQuota",
    "Outcome",
    "Quota",
    "SlidingQuota",
    "check_all",
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


class Outcome(NamedTuple):
    """The decision of all windows together.

    Attributes:
        states: to keep, also after a refusal: nothing is taken then, but a clock that went backwards is allowed for.
        verdicts: each window's own, in order.
        decisive: index of the window to report: the refusing one with the longest wait, else the one with the smallest
            share of its limit left.
        retry_after: seconds until every window would allow; 0 when allowed.
    """

    allowed: bool
    states: tuple[Any, ...]
    verdicts: tuple[Verdict[Any], ...]
    decisive: int
    retry_after: float


def check_all(
    quotas: Sequence[Quota[Any]], states: tuple[Any, ...] | None, now: float, limits: Sequence[float], cost: float = 1.0
) -> Outcome:
    """Decide over every window of a key; a refusal by one takes nothing from the others.

    Args:
        quotas: the windows, at least one.
        states: one per window, as the last call returned them; None for a key never seen.
        now: seconds on the clock that wrote the states.
        limits: effective limits, one per window.
        cost: what the request counts for in every window.

    Raises:
        CostError: the cost is negative, infinite or not a number; no state has changed then.
    """
    if states is None:
        states = (None,) * len(quotas)
    verdicts = []
    decisive = tightest = -1
    retry_after = 0.0
    least = math.inf
    for index, (quota, state, limit) in enumerate(zip(quotas, states, limits, strict=True)):
        verdict = quota.check(state, now, limit, cost)
        verdicts.append(verdict)
        if not verdict[0]:
            if decisive < 0 or verdict[4] > retry_after:
                decisive, retry_after = index, verdict[4]
        else:
            left = verdict[2] / limit if limit > 0.0 else 0.0
            if tightest < 0 or left < least:
                tightest, least = index, left
    if decisive >= 0:
        # What allowed has taken the cost in its new state; a look, which costs nothing, gives the state without it.
        kept = tuple(
            quota.check(state, now, limit, 0.0)[1] if verdict[0] else verdict[1]
            for quota, state, limit, verdict in zip(quotas, states, limits, verdicts, strict=True)
        )
        return Outcome(False, kept, tuple(verdicts), decisive, retry_after)
    return Outcome(True, tuple([verdict[1] for verdict in verdicts]), tuple(verdicts), tightest, 0.0)
