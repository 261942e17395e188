"""What one rule would do with a request, and the answer that several of them make together."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from seawall.systems.ratelimit.model import Algorithm, Decision, Factors, LimitResult, Reason
from seawall.systems.ratelimit.rules import CompiledRule
from seawall.systems.ratelimit.verdict import SLACK, Verdict

__all__ = [
    "ALLOWED",
    "CONCURRENCY",
    "QUOTA",
    "SHADOW",
    "Trial",
    "admission",
    "decisive",
    "granted",
    "refusal",
    "unavailable",
]

ALLOWED, QUOTA, CONCURRENCY, SHADOW = range(4)
"""Places in the counts of a rule."""

_NO_FACTORS = Factors()
_ALLOWED = Reason.ALLOWED
_RETRY_WHEN_AWAY = 1.0
"""Seconds after which a request may try again that counts could not be asked for; they are probed more often."""


class Trial(NamedTuple):
    """What one rule would do, before anything is stored.

    Attributes:
        shared: whether shared counts decided, which keep their states themselves; each verdict has the `Claim` then.
    """

    rule: CompiledRule
    key: str
    limits: tuple[float, ...]
    factors: Factors
    verdicts: tuple[Verdict[Any], ...]
    allowed: bool
    shared: bool = False


def _commit(trial: Trial, now: float) -> None:
    """Keep the states that a trial's windows came to; shared counts have kept theirs."""
    if trial.verdicts and not trial.shared:
        states = tuple([verdict[1] for verdict in trial.verdicts])
        trial.rule.table.put(trial.key, states[0] if trial.rule.simple else states, now)


def admission(trials: Sequence[Trial], shadows: Sequence[Trial], cost: float, now: float) -> LimitResult:
    """Take what the trials of an admitted request cost, and return its answer."""
    shadow = None
    taken: list[Decision] = []
    for trial in (*trials, *shadows):
        if trial.allowed:
            _commit(trial, now)
            trial.rule.counts[ALLOWED] += 1
            taken.append((trial.rule, trial.key, now, trial.limits, trial.verdicts))
        else:
            shadow = shadow or _reason(trial)
            trial.rule.counts[SHADOW] += 1
    reason = Reason.ALLOWED if shadow is None else Reason.SHADOW
    holds = any(trial.allowed and trial.verdicts and trial.rule.holds for trial in (*trials, *shadows))
    looked = [trial for trial in trials if trial.verdicts] or [trial for trial in shadows if trial.verdicts]
    if not looked:
        rule = trials[0].rule.id if trials else ""
        return LimitResult(True, 0, math.inf, 0.0, 0.0, rule, reason, _NO_FACTORS, "", tuple(taken), cost, holds)
    share = math.inf
    tightest, index = looked[0], 0
    for trial in looked:
        for at, verdict in enumerate(trial.verdicts):
            if verdict[2] / trial.limits[at] < share:
                share = verdict[2] / trial.limits[at]
                tightest, index = trial, at
    verdict = tightest.verdicts[index]
    return LimitResult(
        allowed=True,
        remaining=int(verdict[2] + SLACK),
        limit=tightest.limits[index],
        reset_after=verdict[3],
        retry_after=0.0,
        rule=tightest.rule.id,
        reason=reason,
        factors=tightest.factors,
        key=tightest.key,
        decisions=tuple(taken),
        cost=cost,
        holds=holds,
        shadow=shadow,
    )


def granted(trial: Trial, cost: float, now: float) -> LimitResult:
    """Return the answer to a request that shared counts admit under one rule alone."""
    rule, key, limits, factors, verdicts = trial[:5]
    rule.counts[ALLOWED] += 1
    index = 0
    if len(verdicts) > 1:
        shares = [verdict[2] / limit for verdict, limit in zip(verdicts, limits, strict=True)]
        index = shares.index(min(shares))
    _, _, left, reset, _ = verdicts[index]
    taken = ((rule, key, now, limits, verdicts),)
    left = int(left + SLACK)
    return LimitResult(True, left, limits[index], reset, 0.0, rule.id, _ALLOWED, factors, key, taken, cost, rule.holds)


def refusal(trial: Trial, now: float) -> LimitResult:
    """Return the answer to a request that a trial refuses; nothing is taken."""
    index, reason = decisive(trial)
    verdict = trial.verdicts[index]
    verdicts = trial.verdicts
    if not trial.shared:
        verdicts = _as_they_are(trial, now)
        # States are kept although nothing was taken: they tell that the clock went backwards, where it did.
        _commit(trial._replace(verdicts=verdicts), now)
    trial.rule.counts[QUOTA if reason is Reason.QUOTA_EXCEEDED else CONCURRENCY] += 1
    return LimitResult(
        allowed=False,
        remaining=int(verdict[2] + SLACK),
        limit=trial.limits[index],
        reset_after=verdict[3],
        retry_after=verdict[4],
        rule=trial.rule.id,
        reason=reason,
        factors=trial.factors,
        key=trial.key,
        decisions=((trial.rule, trial.key, now, trial.limits, verdicts),),
    )


def decisive(trial: Trial) -> tuple[int, Reason]:
    """Return the window that refuses for longest, and why the trial refuses."""
    refusing = [index for index, verdict in enumerate(trial.verdicts) if not verdict[0]]
    return max(refusing, key=lambda at: trial.verdicts[at][4]), _reason(trial)


def unavailable(rule: str, key: str) -> LimitResult:
    """Return the refusal by a rule whose counts are away."""
    return LimitResult(False, 0, math.inf, 0.0, _RETRY_WHEN_AWAY, rule, Reason.UNAVAILABLE, _NO_FACTORS, key=key)


def _as_they_are(trial: Trial, now: float) -> tuple[Verdict[Any], ...]:
    """Return the verdicts of a refused trial; the windows that had room took nothing, and are looked at again."""
    rule = trial.rule
    if rule.simple:
        return trial.verdicts
    states = rule.table.get(trial.key) or (None,) * len(rule.quotas)
    return tuple(
        [
            quota.check(state, now, limit, 0.0) if verdict[0] else verdict
            for quota, state, limit, verdict in zip(rule.quotas, states, trial.limits, trial.verdicts, strict=True)
        ]
    )


def _reason(trial: Trial) -> Reason:
    """Return why a trial refuses; a quota says more to a client than requests in flight, so it goes first."""
    for window, verdict in zip(trial.rule.windows, trial.verdicts, strict=True):
        if not verdict[0] and window.algorithm is not Algorithm.CONCURRENCY:
            return Reason.QUOTA_EXCEEDED
    return Reason.CONCURRENCY
