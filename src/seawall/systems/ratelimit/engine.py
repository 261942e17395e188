"""The limiter's decision: blocks, then shedding, then the rules in order, all of them or nothing."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from seawall.systems.ratelimit.corrections import correct, refund, release
from seawall.systems.ratelimit.gcra import IDLE, Gcra
from seawall.systems.ratelimit.guard import Guard, blocked
from seawall.systems.ratelimit.keys import KeyBuilder, LimitContext, subject_builders
from seawall.systems.ratelimit.model import (
    ANONYMOUS,
    Algorithm,
    Decision,
    Factors,
    LimitResult,
    Override,
    Penalty,
    RateLimitReport,
    RateLimitSnapshot,
    Reason,
    RuleReport,
)
from seawall.systems.ratelimit.rules import CompiledRule, Limits, compile_rules
from seawall.systems.ratelimit.verdict import SLACK, CostError, Verdict

__all__ = ["RateLimitEngine"]

_ALLOWED, _QUOTA, _CONCURRENCY, _SHADOW = range(4)
_NO_FACTORS = Factors()
_ALLOWED_REASON, _QUOTA_REASON = Reason.ALLOWED, Reason.QUOTA_EXCEEDED
"""Names of this module are found faster than attributes of a class."""


class _Trial(NamedTuple):
    """What one rule would do, before anything is stored."""

    rule: CompiledRule
    key: str
    limits: tuple[float, ...]
    factors: Factors
    verdicts: tuple[Verdict[Any], ...]
    allowed: bool


class RateLimitEngine:
    """Decide on requests under the newest snapshot; counts are this engine's own.

    Args:
        wall: gives seconds since the Unix epoch, for what an operator set until a certain time.
        max_keys: keys per rule whose states are kept at most.

    Attributes:
        penalties: what keys have earned by violations; the owner of the ladder sets them with `penalise`.

    For one thread at a time. A decision costs about 1 us with one GCRA rule and grows with the rules that match.
    """

    def __init__(self, wall: Callable[[], float], *, max_keys: int = 65_536) -> None:
        self.snapshot = RateLimitSnapshot(version=-1)
        self.penalties: dict[str, Penalty] = {}
        self._wall = wall
        self._max_keys = max_keys
        self._rules: tuple[CompiledRule, ...] = ()
        self._guard = Guard()
        self._personal = False
        self._overridden: tuple[KeyBuilder, ...] = ()
        self._threatened: tuple[KeyBuilder, ...] = ()
        self._unlimited = 0

    # -- what is in force ----------------------------------------------------------------------------------------------

    def apply(self, snapshot: RateLimitSnapshot) -> None:
        """Swap in a newer snapshot; states of rules that keep their key and windows are kept.

        Raises:
            ConfigurationError: a rule cannot be compiled; the old snapshot stays in force.
        """
        old = self.snapshot
        if snapshot.version <= old.version:
            return
        self._max_keys = snapshot.max_keys or self._max_keys
        if snapshot.rules is not old.rules:
            self._rules = compile_rules(snapshot.rules, self._max_keys, self._rules)
        elif snapshot.load != old.load or snapshot.threat != old.threat:
            for rule in self._rules:
                rule.cache.clear()
        self._guard.apply(snapshot, old)
        self.snapshot = snapshot
        self._personal = bool(snapshot.overrides or snapshot.threats)
        self._overridden = subject_builders(snapshot.overrides)
        self._threatened = subject_builders(snapshot.threats)

    def penalise(self, key: str, penalty: Penalty | None) -> None:
        """Throttle or block a key until the penalty expires; None forgives it."""
        self.penalties.pop(key, None)
        if penalty is not None:
            if len(self.penalties) >= self._max_keys:
                del self.penalties[next(iter(self.penalties))]
            self.penalties[key] = penalty

    # -- deciding ------------------------------------------------------------------------------------------------------

    def check(self, context: LimitContext, now: float) -> LimitResult:
        """Decide on one request at `now`, in monotonic seconds, and take what it costs; a refused one takes nothing.

        Raises:
            CostError: the cost is negative, infinite or not a number; nothing was taken.
        """
        refusal = self._check_guard(context, now) if self._guard.closed else None
        if refusal is not None or self._personal:
            return refusal or self._check_rules(context, now)
        # The first rule that matches is nearly always one GCRA window and the last to be asked. That case must be fast,
        # so it is decided right here; whatever else there is goes the general way, which decides alike.
        for rule in self._rules:
            if rule.matches is not None and not rule.matches(context):
                continue
            if not rule.plain:
                break
            key = rule.build(context)
            if self.penalties and key in self.penalties:
                break
            role = context.role or ("user" if context.identifier or context.user or context.api_key else ANONYMOUS)
            limits, factors, interval, burst = rule.cache.get(
                (role, context.method, context.pool)
            ) or self._shared_limits(rule, context, role)
            before = rule.table.get(key)
            cost = context.cost
            verdict = Gcra.check(IDLE if before is None else before, now, interval, burst, cost * rule.unit)
            allowed, tat, left, reset, wait = verdict
            if allowed or tat != before:  # a refused key's state changes where the clock went backwards
                rule.table.put(key, tat, now)
            left = int(left + SLACK)
            took = ((rule, key, now, limits, (verdict,)),)
            if allowed:
                rule.counts[0] += 1
                return LimitResult(
                    True, left, limits[0], reset, 0.0, rule.id, _ALLOWED_REASON, factors, key, took, cost
                )
            rule.counts[1] += 1
            return LimitResult(False, left, limits[0], reset, wait, rule.id, _QUOTA_REASON, factors, key, took)
        return self._check_rules(context, now)

    def _check_guard(self, context: LimitContext, now: float) -> LimitResult | None:
        if not 0.0 <= context.cost < math.inf:
            raise CostError(context.cost)
        return self._guard.check(context, now, self._wall())

    def _check_rules(self, context: LimitContext, now: float) -> LimitResult:
        if not 0.0 <= context.cost < math.inf:
            raise CostError(context.cost)
        trials: list[_Trial] = []
        shadows: list[_Trial] = []
        for rule in self._rules:
            if rule.matches is not None and not rule.matches(context):
                continue
            trial = self._try(rule, context, now)
            if isinstance(trial, LimitResult):
                return trial
            if not rule.enforced:
                shadows.append(trial)
                continue
            if not trial.allowed:
                return self._refusal(trial, now)
            trials.append(trial)
            if not rule.snapshot.fallthrough:
                break
        return self._admit(trials, shadows, context.cost, now)

    def _try(self, rule: CompiledRule, context: LimitContext, now: float) -> _Trial | LimitResult:
        """Return what a rule would do; a refusal where the key is blocked for its violations."""
        key = rule.build(context)
        penalty = self.penalties.get(key) if self.penalties else None
        if penalty is not None and now >= penalty.until:
            self.penalise(key, None)
            penalty = None
        if penalty is not None and penalty.factor <= 0.0 and rule.enforced:
            self._guard.blocked += 1
            return blocked(penalty.until - now, key, "repeated violations", rule.id)
        role = context.effective_role
        if self._personal or penalty is not None:
            limits, factors, _, _ = self._personal_limits(rule, context, key, role, penalty)
        else:
            limits, factors, _, _ = self._shared_limits(rule, context, role)
        state = rule.table.get(key)
        states = (state,) if rule.simple else state or (None,) * len(rule.quotas)
        cost = context.cost
        verdicts = tuple(
            [
                quota.check(one, now, limit, 1.0 if window.algorithm is Algorithm.CONCURRENCY else cost * window.cost)
                for quota, one, limit, window in zip(rule.quotas, states, limits, rule.windows, strict=True)
            ]
        )
        return _Trial(rule, key, limits, factors, verdicts, all(verdict[0] for verdict in verdicts))

    def _admit(self, trials: Sequence[_Trial], shadows: Sequence[_Trial], cost: float, now: float) -> LimitResult:
        shadow = None
        taken: list[Decision] = []
        for trial in (*trials, *shadows):
            if trial.allowed:
                _store(trial, now)
                trial.rule.counts[_ALLOWED] += 1
                taken.append((trial.rule, trial.key, now, trial.limits, trial.verdicts))
            else:
                shadow = shadow or _reason(trial)
                trial.rule.counts[_SHADOW] += 1
        reason = Reason.ALLOWED if shadow is None else Reason.SHADOW
        holds = any(trial.allowed and trial.rule.holds for trial in (*trials, *shadows))
        looked = [trial for trial in trials if trial.verdicts] or [trial for trial in shadows if trial.verdicts]
        if not looked:
            self._unlimited += 1
            rule = trials[0].rule.id if trials else ""
            return LimitResult(True, 0, math.inf, 0.0, 0.0, rule, reason, _NO_FACTORS, "", tuple(taken), cost, holds)
        share = math.inf
        decisive, index = looked[0], 0
        for trial in looked:
            for at, verdict in enumerate(trial.verdicts):
                if verdict[2] / trial.limits[at] < share:
                    share = verdict[2] / trial.limits[at]
                    decisive, index = trial, at
        verdict = decisive.verdicts[index]
        return LimitResult(
            allowed=True,
            remaining=int(verdict[2] + SLACK),
            limit=decisive.limits[index],
            reset_after=verdict[3],
            retry_after=0.0,
            rule=decisive.rule.id,
            reason=reason,
            factors=decisive.factors,
            key=decisive.key,
            decisions=tuple(taken),
            cost=cost,
            holds=holds,
            shadow=shadow,
        )

    def _refusal(self, trial: _Trial, now: float) -> LimitResult:
        refusing = [index for index, verdict in enumerate(trial.verdicts) if not verdict[0]]
        index = max(refusing, key=lambda at: trial.verdicts[at][4])
        verdict = trial.verdicts[index]
        reason = _reason(trial)
        verdicts = _as_they_are(trial, now)
        # States are kept although nothing was taken: they tell that the clock went backwards, where it did.
        _store(trial._replace(verdicts=verdicts), now)
        trial.rule.counts[_QUOTA if reason is Reason.QUOTA_EXCEEDED else _CONCURRENCY] += 1
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

    # -- factors -------------------------------------------------------------------------------------------------------

    def _shared_limits(self, rule: CompiledRule, context: LimitContext, role: str) -> Limits:
        if rule.by_method:
            found = rule.cache.get((role, context.method, context.pool))
            if found is not None:
                return found
        snapshot = self.snapshot
        load = snapshot.load.get(context.pool, snapshot.load.get("", 1.0))
        return rule.limits(context, role, load, snapshot.threat)

    def _personal_limits(
        self, rule: CompiledRule, context: LimitContext, key: str, role: str, penalty: Penalty | None
    ) -> Limits:
        snapshot = self.snapshot
        shared = self._shared_limits(rule, context, role)
        override, threat = None, 1.0
        if self._overridden:
            subjects = (key, *[build(context) for build in self._overridden])
            own = [snapshot.overrides[subject] for subject in subjects if subject in snapshot.overrides]
            override = _override(own, rule.id, self._wall())
        if self._threatened:
            subjects = (key, *[build(context) for build in self._threatened])
            threat = min([snapshot.threats.get(subject, 1.0) for subject in subjects])
        if not rule.snapshot.adaptive:
            threat = 1.0
        if override is None and threat >= 1.0 and penalty is None:
            return shared
        factors = Factors(
            role=shared[1].role,
            endpoint=shared[1].endpoint,
            load=shared[1].load,
            threat=shared[1].threat * threat,
            violations=1.0 if penalty is None else penalty.factor,
        )
        return rule.scale(factors, override)

    # -- afterwards ----------------------------------------------------------------------------------------------------

    def refund(self, result: LimitResult, now: float, cost: float | None = None) -> None:
        """Give back what a request took, or `cost` of it; permits of requests in flight are `release`d instead.

        Raises:
            CostError: the cost is negative, infinite or not a number.
        """
        refund(result, now, cost)

    def correct(self, result: LimitResult, now: float, cost: float) -> None:
        """Say what an admitted request cost in truth: the difference is given back, or taken unasked.

        Raises:
            CostError: the cost is negative, infinite or not a number.
        """
        correct(result, now, cost)

    def release(self, result: LimitResult, now: float) -> None:
        """Give back a request's permits, once; nothing when it holds none."""
        release(result, now)

    def reset(self, key: str) -> bool:
        """Forget a key's counts under every rule, and its penalty; tell whether there was any."""
        known = key in self.penalties
        self.penalise(key, None)
        for rule in self._rules:
            known = known or rule.table.get(key) is not None
            rule.table.remove(key)
        return known

    # -- what was seen -------------------------------------------------------------------------------------------------

    def report(self, *, full: bool) -> RateLimitReport:  # noqa: ARG002 - a report is small, so it is always whole
        """Return the cumulative counts."""
        return RateLimitReport(
            rules={rule.id: RuleReport(*rule.counts) for rule in self._rules},
            blocked=self._guard.blocked,
            offered=tuple(self._guard.offered),
            shed=tuple(self._guard.shed),
            unlimited=self._unlimited,
            keys=sum(len(rule.table) for rule in self._rules),
            evicted=sum(rule.table.forgotten_limiting for rule in self._rules),
        )


def _store(trial: _Trial, now: float) -> None:
    if trial.verdicts:
        states = tuple([verdict[1] for verdict in trial.verdicts])
        trial.rule.table.put(trial.key, states[0] if trial.rule.simple else states, now)


def _as_they_are(trial: _Trial, now: float) -> tuple[Verdict[Any], ...]:
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


def _reason(trial: _Trial) -> Reason:
    """Return why a trial refuses; a quota says more to a client than requests in flight, so it goes first."""
    for window, verdict in zip(trial.rule.windows, trial.verdicts, strict=True):
        if not verdict[0] and window.algorithm is not Algorithm.CONCURRENCY:
            return Reason.QUOTA_EXCEEDED
    return Reason.CONCURRENCY


def _override(overrides: Sequence[Override], rule: str, wall: float) -> float | None:
    """Return the limit of the first override in force for a rule; one for that very rule goes before one for all."""
    usable = [one for one in overrides if one.rule in {"", rule} and wall < one.until]
    usable.sort(key=lambda one: not one.rule)
    return usable[0].limit if usable else None
