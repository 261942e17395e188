"""A request whose decision waits for shared counts: what they are asked, and what is kept until they have answered."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from seawall.systems.ratelimit.corrections import Sink, restore
from seawall.systems.ratelimit.counts import CountAnswer, CountAsk
from seawall.systems.ratelimit.keys import LimitContext
from seawall.systems.ratelimit.leases import Claim, Lease, Lot, most_tokens, window_asks
from seawall.systems.ratelimit.model import Factors, LimitResult, Reason
from seawall.systems.ratelimit.rules import CompiledRule, Refused, Whole
from seawall.systems.ratelimit.trial import ALLOWED, CONCURRENCY, QUOTA, Trial, decisive
from seawall.systems.ratelimit.verdict import SLACK, Verdict

__all__ = [
    "NOWHERE",
    "Ask",
    "Step",
    "answered",
    "count_ask",
    "forget_pending",
    "from_lease",
    "paid",
    "recalled",
    "remembered",
    "undo",
]

_ALLOWED_REASON = Reason.ALLOWED

NOWHERE: Whole = ((), Factors(), {}, ())
"""The limits that a rule without shared counts has for all processes together."""


class Step(NamedTuple):
    """One rule on the way of a request, in the order in which rules are tried.

    Attributes:
        whole: the effective limits of all processes together; empty for a rule that counts here.
        trial: what it does; None where shared counts are asked.
        place: of its `CountAsk`; -1 where none is.
        local: whether it counts here, so that it is tried again when the answers have come.
    """

    rule: CompiledRule
    key: str
    whole: Whole
    trial: Trial | None
    place: int = -1
    local: bool = False


class Ask(msgspec.Struct):
    """What shared counts are to be asked about one request; to be settled exactly once, whatever they answer.

    Attributes:
        asks: for `Counts.take`.
        context: the request.
        steps: the engine's own.
    """

    asks: tuple[CountAsk, ...]
    context: LimitContext
    steps: tuple[Step, ...]


def from_lease(rule: CompiledRule, lot: Lot, key: str, cost: float, now: float) -> Trial | None:
    """Pay for a request with what is leased; None where that does not suffice."""
    lease = lot.get(key)
    if lease is None or lease.claim is None or cost > lease.tokens or not lease.since <= now < lease.until:
        return None
    lease.tokens -= cost
    return Trial(rule, key, lease.limits, lease.factors, lease.told(), allowed=True, shared=True)


def paid(rule: CompiledRule, lease: Lease, key: str, cost: float, now: float) -> LimitResult:
    """Return the answer to a request that a lease has paid for, under one rule alone."""
    rule.counts[ALLOWED] += 1
    if len(rule.windows) == 1:
        left = lease.left + lease.tokens * rule.unit
        verdicts: tuple[Verdict[Any], ...] = ((True, lease.claim, left, lease.reset, 0.0),)
    else:
        verdicts = lease.told()
        left = verdicts[lease.index][2]
    return LimitResult(
        True,
        int(left + SLACK),
        lease.limit,
        lease.reset,
        0.0,
        rule.id,
        _ALLOWED_REASON,
        lease.factors,
        key,
        ((rule, key, now, lease.limits, verdicts),),
        cost,
    )


def remembered(
    rule: CompiledRule, key: str, limits: tuple[float, ...], factors: Factors, cost: float, now: float
) -> Trial | None:
    """Return an earlier refusal of shared counts that still holds for a request, with the time that is left of it."""
    found = rule.refused.get(key)
    if found is None or not found.holds(limits, cost, now):
        return None
    return Trial(rule, key, limits, factors, found.told(now), allowed=False, shared=True)


def recalled(rule: CompiledRule, key: str, factors: Factors, found: Refused, now: float) -> LimitResult:
    """Return the answer to a request that an earlier refusal refuses."""
    verdicts = found.told(now)
    index = found.decisive
    verdict = verdicts[index]
    rule.counts[QUOTA if found.reason is Reason.QUOTA_EXCEEDED else CONCURRENCY] += 1
    return LimitResult(
        False,
        int(verdict[2] + SLACK),
        found.limits[index],
        verdict[3],
        verdict[4],
        rule.id,
        found.reason,
        factors,
        key,
        ((rule, key, now, found.limits, verdicts),),
    )


def count_ask(rule: CompiledRule, key: str, whole: Whole, cost: float, now: float, sink: Sink) -> CountAsk:
    """Return what shared counts are asked under one rule, along with a lease where the key is busy."""
    limits, _, lot, windows = whole
    lease = 0.0
    if rule.leasing and cost:
        most = most_tokens(rule.windows, limits, rule.share)
        lease, back = rule.leases.want(lot, key, cost, most, now)
        if back is not None:
            sink(back)
    if cost != 1.0:
        windows = window_asks(rule.windows, limits, cost)
    return CountAsk(f"{rule.id}\n{key}", windows, lease, rule.enforced)


def answered(step: Step, ask: CountAsk, answer: CountAnswer, cost: float, now: float, sink: Sink) -> Trial:
    """Return what shared counts decided under one rule; puts away a lease, and remembers a refusal."""
    rule, key, (limits, factors, lot, _) = step.rule, step.key, step.whole
    claim = Claim(ask.key, rule.windows, limits, answer.at)
    verdicts = tuple([(one.allowed, claim, one.remaining, one.reset_after, one.retry_after) for one in answer.windows])
    trial = Trial(rule, key, limits, factors, verdicts, answer.allowed, shared=True)
    if rule.leasing:
        back = rule.leases.grant(lot, key, claim, factors, answer, cost, now)
        if back is not None:
            sink(back)
    if not answer.allowed and cost:
        _remember(trial, cost, now)
    return trial


def forget_pending(steps: Sequence[Step]) -> None:
    """Let leases be asked for again, when none was answered."""
    for step in steps:
        lease = step.whole[2].get(step.key) if step.place >= 0 else None
        if lease is not None:
            lease.pending = float("-inf")


def undo(steps: Sequence[Step], cost: float, sink: Sink) -> None:
    """Put back what the steps of a request took from leases, or from shared counts, because it is refused."""
    for step in steps:
        trial = step.trial
        if trial is not None and trial.shared and trial.allowed and trial.verdicts:
            restore(trial.verdicts[0][1], cost, sink)
            trial.rule.refused.remove(trial.key)


def _remember(trial: Trial, cost: float, now: float) -> None:
    """Keep a refusal until its time to retry; one by requests in flight has none, as any of them may end."""
    rule = trial.rule
    index, reason = decisive(trial)
    # What can never pass is asked again after a window, since limits change.
    wait = min(trial.verdicts[index][4], max(window.window for window in rule.windows))
    if wait > 0.0:
        # Without the claims, which would be kept for as long.
        verdicts = tuple([(allowed, None, left, reset, after) for allowed, _, left, reset, after in trial.verdicts])
        rule.refused.put(trial.key, Refused(now, now + wait, cost, trial.limits, verdicts, index, reason), now)
