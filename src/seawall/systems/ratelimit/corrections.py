"""Afterwards: what a request took is given back, what it cost beyond that is taken, its permits are released.

What was taken from shared counts goes back to the lease that it came from while that lasts, else to the counts.
"""

import math
from collections.abc import Callable
from typing import Any

from seawall.systems.ratelimit.counts import GiveBack
from seawall.systems.ratelimit.gcra import IDLE, Gcra
from seawall.systems.ratelimit.leases import Claim
from seawall.systems.ratelimit.model import Algorithm, Decision, LimitResult, WindowSnapshot
from seawall.systems.ratelimit.verdict import CostError
from seawall.systems.ratelimit.windows import Quota

__all__ = ["Sink", "correct", "refund", "release", "restore"]

Sink = Callable[[GiveBack], None]
"""Takes what goes back to shared counts."""


def refund(result: LimitResult, now: float, cost: float | None, sink: Sink) -> None:
    """Give back what a request took, or `cost` of it; permits of requests in flight are `release`d instead.

    Raises:
        CostError: the cost is negative, infinite or not a number.
    """
    if cost is None:
        cost = result.cost
    elif not 0.0 <= cost < math.inf:
        raise CostError(cost)
    correct(result, now, max(result.cost - cost, 0.0), sink)


def correct(result: LimitResult, now: float, cost: float, sink: Sink) -> None:
    """Say what an admitted request cost in truth: the difference is given back, or taken unasked.

    Raises:
        CostError: the cost is negative, infinite or not a number.
    """
    if not 0.0 <= cost < math.inf:
        raise CostError(cost)
    more = cost - result.cost
    if not result.allowed or not more:
        return
    result.cost = cost
    for decision in result.decisions:
        claim = _claim(decision)
        if claim is None:
            _change(decision, now, more)
            continue
        restore(claim, -more, sink)
        if more < 0.0:  # what was refused since may pass sooner than it was told
            decision[0].refused.remove(decision[1])


def release(result: LimitResult, now: float, sink: Sink) -> None:
    """Give back a request's permits, once; nothing when it holds none."""
    if not result.holds:
        return
    result.holds = False
    for decision in result.decisions:
        if not decision[0].holds:
            continue
        claim = _claim(decision)
        if claim is None:
            _change(decision, now, None)
        else:
            sink(claim.give_back(0.0, 1.0))


def restore(claim: Claim, cost: float, sink: Sink) -> None:
    """Give back some cost to the lease that it was taken from, or to the counts; take more when it is below 0."""
    lease = claim.lease
    if lease is not None and lease.tokens + cost >= 0.0:
        lease.tokens += cost
    elif cost:
        sink(claim.give_back(cost))


def _claim(decision: Decision) -> Claim | None:
    """Return what a decision took from shared counts; None when its counts are here."""
    verdicts = decision[4]
    state = verdicts[0][1] if verdicts else None
    return state if isinstance(state, Claim) else None


def _change(decision: Decision, now: float, more: float | None) -> None:
    """Take `more` from every quota of a key, or give it back; None releases one permit of each."""
    rule, key, at, limits, verdicts = decision
    state = rule.table.get(key) if verdicts else None
    if state is None:  # nothing was counted, or it was forgotten meanwhile, as the key was idle
        return
    states = list((state,) if rule.simple else state)
    for index, (window, quota) in enumerate(zip(rule.windows, rule.quotas, strict=True)):
        if (window.algorithm is Algorithm.CONCURRENCY) is not (more is None):
            continue
        if more is None:
            states[index] = quota.refund(states[index], at, now, limits[index], 1.0)
        elif more < 0.0:
            states[index] = quota.refund(states[index], at, now, limits[index], -more * window.cost)
        else:
            states[index] = _charge(window, quota, states[index], now, limits[index], more * window.cost)
    rule.table.put(key, states[0] if rule.simple else tuple(states), now)


def _charge(
    window: WindowSnapshot,
    quota: Quota[Any],
    state: Any,  # noqa: ANN401 - a state is its algorithm's own
    now: float,
    limit: float,
    cost: float,
) -> Any:  # noqa: ANN401 - the same
    """Return a window's state with `cost` taken although nobody asked whether there is room."""
    if window.algorithm is Algorithm.GCRA:
        burst = max(limit * window.burst_share, 1.0)
        return Gcra.charge(IDLE if state is None else state, now, window.window / limit, burst, cost)
    return quota.check(state, now, math.inf, cost)[1]
