"""The limiter's decision: blocks, then shedding, then the rules in order, all of them or nothing."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from seawall.systems.ratelimit.asking import (
    Ask,
    Step,
    answered,
    count_ask,
    forget_pending,
    from_lease,
    remembered,
    undo,
)
from seawall.systems.ratelimit.corrections import correct, refund, release
from seawall.systems.ratelimit.counts import CountAnswer, GiveBack
from seawall.systems.ratelimit.effective import EffectiveLimits
from seawall.systems.ratelimit.gcra import IDLE, Gcra
from seawall.systems.ratelimit.guard import Guard, blocked
from seawall.systems.ratelimit.keys import LimitContext
from seawall.systems.ratelimit.model import (
    ANONYMOUS,
    Algorithm,
    LimitResult,
    Offence,
    Penalty,
    PenaltySnapshot,
    PoolLoad,
    RateLimitReport,
    RateLimitSnapshot,
    Reason,
    RuleReport,
    StoreFailure,
)
from seawall.systems.ratelimit.rules import CompiledRule, compile_rules
from seawall.systems.ratelimit.sketch import SpaceSaving
from seawall.systems.ratelimit.trial import Trial, admission, refusal, unavailable
from seawall.systems.ratelimit.verdict import SLACK, CostError, Verdict

__all__ = ["Ask", "RateLimitEngine"]

_ALLOWED_REASON, _QUOTA_REASON = Reason.ALLOWED, Reason.QUOTA_EXCEEDED
"""Names of this module are found faster than attributes of a class."""

_OFFENDERS = 256
"""Keys that a report tells of as refused most, at most."""


class RateLimitEngine:
    """Decide on requests under the newest snapshot.

    `check` decides at once, by counts of this engine alone. `begin` also follows rules whose counts several processes
    share: it decides where it can, and else says what to ask; `settle` decides when that is answered.

    Args:
        wall: gives seconds since the Unix epoch, for what an operator set until a certain time.
        max_keys: keys per rule whose states are kept at most.

    Attributes:
        penalties: what keys have earned by violations, besides those of the snapshot; set with `penalise`.
        pools: load by pool, for whoever serves requests to set before a report.
        lag: seconds by which the event loop was late at most since the last report, alike.

    For one thread at a time. A decision costs about 1 us with one GCRA rule and grows with the rules that match.
    """

    def __init__(self, wall: Callable[[], float], *, max_keys: int = 65_536) -> None:
        self.snapshot = RateLimitSnapshot(version=-1)
        self.penalties: dict[str, Penalty] = {}
        self.pools: dict[str, PoolLoad] = {}
        self.lag = 0.0
        self._wall = wall
        self._max_keys = max_keys
        self._rules: tuple[CompiledRule, ...] = ()
        self._guard = Guard()
        self._limits = EffectiveLimits(wall)
        self._sentences: dict[str, PenaltySnapshot] = {}
        self._resets: dict[str, float] = {}
        self._shared = False
        self._returns: list[GiveBack] = []
        self._offenders = SpaceSaving(_OFFENDERS)
        self._unlimited = self._asked = self._leased = self._remembered = self._away = 0

    # -- what is in force ----------------------------------------------------------------------------------------------

    def apply(self, snapshot: RateLimitSnapshot) -> None:
        """Swap in a newer snapshot; states of rules that keep their key and windows are kept.

        Raises:
            ConfigurationError: a rule cannot be compiled; the old snapshot stays in force.
        """
        old = self.snapshot
        if snapshot.version <= old.version:
            return
        max_keys = snapshot.max_keys or self._max_keys
        if snapshot.rules is not old.rules:
            rules = compile_rules(snapshot.rules, max_keys, self._rules, snapshot.share)
            kept = {id(rule.leases) for rule in rules if rule.leasing}
            for rule in self._rules:
                if rule.leasing and id(rule.leases) not in kept:
                    rule.leases.close(self._returns.append)
            self._rules = rules
        elif snapshot.load != old.load or snapshot.threat != old.threat or snapshot.share != old.share:
            for rule in self._rules:
                rule.forget_limits(snapshot.share)
        self._max_keys = max_keys
        self._guard.apply(snapshot, old)
        self._limits.apply(snapshot)
        self._sentences = snapshot.penalties
        self._shared = any(rule.shared for rule in self._rules)
        self.snapshot = snapshot
        for key, at in snapshot.resets.items():
            if self._resets.get(key) != at:
                self.reset(key)
        self._resets = snapshot.resets

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

        Rules with shared counts are counted here, under this process's share of their limits.

        Raises:
            CostError: the cost is negative, infinite or not a number; nothing was taken.
        """
        refusal = self._check_guard(context, now) if self._guard.closed else None
        if refusal is not None or self._limits.personal:
            return refusal or self._check_rules(context, now)
        # The first rule that matches is nearly always one GCRA window and the last to be asked. That case must be fast,
        # so it is decided right here; whatever else there is goes the general way, which decides alike.
        for rule in self._rules:
            if rule.matches is not None and not rule.matches(context):
                continue
            if not rule.plain:
                break
            key = rule.build(context)
            if (self.penalties and key in self.penalties) or (self._sentences and key in self._sentences):
                break
            role = context.role or ("user" if context.identifier or context.user or context.api_key else ANONYMOUS)
            limits, factors, interval, burst = rule.cache.get(
                (role, context.method, context.pool)
            ) or self._limits.common(rule, context, role)
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
            self._offenders.add(f"{rule.id}\n{key}".encode("utf-8", "surrogatepass"))
            return LimitResult(False, left, limits[0], reset, wait, rule.id, _QUOTA_REASON, factors, key, took)
        return self._check_rules(context, now)

    def begin(self, context: LimitContext, now: float) -> LimitResult | Ask:
        """Decide on one request at `now`, in monotonic seconds, or say what shared counts are to be asked about it.

        An `Ask` must be given to `settle` exactly once, also when nobody waits for the answer any more; what that
        admits is then `refund`ed. Costs about 2 us where a lease pays, 10 us and more where counts are asked.

        Raises:
            CostError: the cost is negative, infinite or not a number; nothing was taken.
        """
        if not self._shared:
            return self.check(context, now)
        refusal = self._check_guard(context, now) if self._guard.closed else None
        if refusal is not None:
            return refusal
        if self._limits.personal:
            return self._begin_rules(context, now)
        # As in `check`: one leased rule, which is the last to be asked, and a lease that pays.
        for rule in self._rules:
            if rule.matches is not None and not rule.matches(context):
                continue
            if not rule.sole:
                break
            key = rule.build(context)
            if (self.penalties and key in self.penalties) or (self._sentences and key in self._sentences):
                break
            role = context.role or ("user" if context.identifier or context.user or context.api_key else ANONYMOUS)
            whole = rule.whole.get((role, context.method, context.pool)) or self._limits.common_whole(
                rule, context, role
            )
            lease = whole[2].get(key)
            cost = context.cost
            if lease is None or not 0.0 <= cost <= lease.tokens or not lease.since <= now < lease.until:
                break
            lease.tokens = tokens = lease.tokens - cost
            self._leased += 1
            rule.counts[0] += 1
            if len(rule.windows) == 1:
                left = lease.left + tokens * rule.unit
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
        return self._begin_rules(context, now)

    def settle(self, ask: Ask, answers: Sequence[CountAnswer] | None, now: float) -> LimitResult:
        """Decide on a request whose shared counts were asked, and take what it costs.

        Args:
            ask: as `begin` returned it.
            answers: in the order of its `asks`; None when the counts are away, which each rule bears in its own way.
            now: monotonic seconds.
        """
        context, cost, sink = ask.context, ask.context.cost, self._returns.append
        if answers is None:
            self._away += 1
            forget_pending(ask.steps)
        steps: list[Step] = []
        refused: Trial | LimitResult | None = None
        for step in ask.steps:
            trial: Trial | LimitResult | None = step.trial
            if step.local:
                trial = None if refused else self._try(step.rule, context, now)
            elif trial is None and answers is not None:
                trial = answered(step, ask.asks[step.place], answers[step.place], cost, now, sink)
            elif trial is None:
                trial = None if refused else self._without_counts(step, context, now)
            if isinstance(trial, Trial):
                steps.append(step._replace(trial=trial))
                if step.rule.enforced and not trial.allowed:
                    refused = refused or trial
            elif trial is not None:
                refused = refused or trial
        if refused is None:
            return self._admit([step.trial for step in steps if step.trial is not None], cost, now)
        # Where binding asks were refused, those that had room have taken nothing.
        took = answers is not None and all(
            answer.allowed for one, answer in zip(ask.asks, answers, strict=True) if one.binding
        )
        undo([step for step in steps if step.place < 0 or took or not step.rule.enforced], cost, sink)
        return self._refuse(refused, now)

    def _check_guard(self, context: LimitContext, now: float) -> LimitResult | None:
        if not 0.0 <= context.cost < math.inf:
            raise CostError(context.cost)
        return self._guard.check(context, now, self._wall())

    def _check_rules(self, context: LimitContext, now: float) -> LimitResult:
        if not 0.0 <= context.cost < math.inf:
            raise CostError(context.cost)
        trials: list[Trial] = []
        for rule in self._rules:
            if rule.matches is not None and not rule.matches(context):
                continue
            trial = self._try(rule, context, now)
            if isinstance(trial, LimitResult):
                return trial
            if rule.enforced and not trial.allowed:
                return self._refuse(trial, now)
            trials.append(trial)
            if rule.enforced and not rule.snapshot.fallthrough:
                break
        return self._admit(trials, context.cost, now)

    def _begin_rules(self, context: LimitContext, now: float) -> LimitResult | Ask:
        cost = context.cost
        if not 0.0 <= cost < math.inf:
            raise CostError(cost)
        sink = self._returns.append
        steps: list[Step] = []
        open_steps: list[int] = []
        refused: Trial | LimitResult | None = None
        for rule in self._rules:
            if rule.matches is not None and not rule.matches(context):
                continue
            step = self._step(rule, context, now)
            trial = step.trial if isinstance(step, Step) else None
            if isinstance(step, LimitResult) or (trial is not None and rule.enforced and not trial.allowed):
                refused = step if isinstance(step, LimitResult) else trial
                break
            if trial is None:
                open_steps.append(len(steps))
            steps.append(step)
            if rule.enforced and not rule.snapshot.fallthrough:
                break
        if refused is not None:
            undo(steps, cost, sink)
            return self._refuse(refused, now)
        if not open_steps:
            self._leased += 1
            return self._admit([step.trial for step in steps if step.trial is not None], cost, now)
        asks = []
        for place, index in enumerate(open_steps):
            step = steps[index]
            asks.append(count_ask(step.rule, step.key, (step.limits, step.factors, step.lot), cost, now, sink))
            steps[index] = step._replace(place=place)
        self._asked += 1
        return Ask(tuple(asks), context, tuple(steps))

    def _step(self, rule: CompiledRule, context: LimitContext, now: float) -> Step | LimitResult:
        """Return what a rule does with a request as far as this process knows; a refusal where the key is blocked."""
        if not rule.shared:
            tried = self._try(rule, context, now)
            if isinstance(tried, LimitResult):
                return tried
            return Step(rule, tried.key, tried.limits, tried.factors, {}, tried, local=True)
        key = rule.build(context)
        penalty = self._penalty(key, now)
        if penalty is not None and penalty.factor <= 0.0 and rule.enforced:
            return self._blocked(key, penalty, rule, now)
        role = context.effective_role
        if self._limits.personal or penalty is not None:
            limits, factors, lot = self._limits.own_whole(rule, context, key, role, penalty)
        else:
            limits, factors, lot = self._limits.common_whole(rule, context, role)
        trial = from_lease(rule, lot, key, context.cost, now) if rule.leasing else None
        if trial is None:
            trial = remembered(rule, key, limits, factors, context.cost, now)
            self._remembered += trial is not None
        return Step(rule, key, limits, factors, lot, trial)

    def _without_counts(self, step: Step, context: LimitContext, now: float) -> Trial | LimitResult:
        """Return what a rule does while its shared counts are away."""
        rule = step.rule
        failure = rule.snapshot.on_store_failure
        if failure is StoreFailure.LOCAL:
            return self._try(rule, context, now)
        if failure is StoreFailure.CLOSED and rule.enforced:
            return unavailable(rule.id, step.key)
        return Trial(rule, step.key, step.limits, step.factors, (), allowed=True, shared=True)

    def _try(self, rule: CompiledRule, context: LimitContext, now: float) -> Trial | LimitResult:
        """Return what a rule would do by its counts here; a refusal where the key is blocked for its violations."""
        key = rule.build(context)
        penalty = self._penalty(key, now) if self.penalties or self._sentences else None
        if penalty is not None and penalty.factor <= 0.0 and rule.enforced:
            return self._blocked(key, penalty, rule, now)
        role = context.effective_role
        if self._limits.personal or penalty is not None:
            limits, factors, _, _ = self._limits.own(rule, context, key, role, penalty)
        else:
            limits, factors, _, _ = self._limits.common(rule, context, role)
        state = rule.table.get(key)
        states = (state,) if rule.simple else state or (None,) * len(rule.quotas)
        cost = context.cost
        verdicts = tuple(
            [
                quota.check(one, now, limit, 1.0 if window.algorithm is Algorithm.CONCURRENCY else cost * window.cost)
                for quota, one, limit, window in zip(rule.quotas, states, limits, rule.windows, strict=True)
            ]
        )
        return Trial(rule, key, limits, factors, verdicts, all(verdict[0] for verdict in verdicts))

    def _penalty(self, key: str, now: float) -> Penalty | None:
        """Return the severest penalty of a key that is in force."""
        penalty = self.penalties.get(key)
        if penalty is not None and now >= penalty.until:
            self.penalise(key, None)
            penalty = None
        sentence = self._sentences.get(key)
        if sentence is not None:
            left = sentence.until - self._wall()
            if left > 0.0 and (penalty is None or sentence.factor < penalty.factor):
                return Penalty(sentence.factor, now + left)
        return penalty

    def _blocked(self, key: str, penalty: Penalty, rule: CompiledRule, now: float) -> LimitResult:
        self._guard.blocked += 1
        return blocked(penalty.until - now, key, "repeated violations", rule.id)

    def _admit(self, trials: Sequence[Trial], cost: float, now: float) -> LimitResult:
        enforced = [trial for trial in trials if trial.rule.enforced]
        shadows = [trial for trial in trials if not trial.rule.enforced]
        if not any(trial.verdicts for trial in trials):
            self._unlimited += 1
        return admission(enforced, shadows, cost, now)

    def _refuse(self, refused: Trial | LimitResult, now: float) -> LimitResult:
        if isinstance(refused, LimitResult):
            return refused
        self._offenders.add(f"{refused.rule.id}\n{refused.key}".encode("utf-8", "surrogatepass"))
        return refusal(refused, now)

    # -- afterwards ----------------------------------------------------------------------------------------------------

    def refund(self, result: LimitResult, now: float, cost: float | None = None) -> None:
        """Give back what a request took, or `cost` of it; permits of requests in flight are `release`d instead.

        Raises:
            CostError: the cost is negative, infinite or not a number.
        """
        refund(result, now, cost, self._returns.append)

    def correct(self, result: LimitResult, now: float, cost: float) -> None:
        """Say what an admitted request cost in truth: the difference is given back, or taken unasked.

        Raises:
            CostError: the cost is negative, infinite or not a number.
        """
        correct(result, now, cost, self._returns.append)

    def release(self, result: LimitResult, now: float) -> None:
        """Give back a request's permits, once; nothing when it holds none."""
        release(result, now, self._returns.append)

    def reset(self, key: str) -> bool:
        """Forget a key's counts under every rule, its leases and its penalty; tell whether there was any.

        What shared counts keep of it is theirs to forget.
        """
        known = key in self.penalties
        self.penalise(key, None)
        for rule in self._rules:
            known = known or rule.table.get(key) is not None or rule.refused.get(key) is not None
            rule.table.remove(key)
            rule.refused.remove(key)
            known = rule.leases.forget(key) or known
        return known

    def sweep(self, now: float) -> list[GiveBack]:
        """End the leases that are over, and return what goes back to shared counts; to be called every 100 ms."""
        if self._shared:
            for rule in self._rules:
                if rule.leasing:
                    rule.leases.sweep(now, self._returns.append)
        return self.returns()

    def returns(self) -> list[GiveBack]:
        """Return what refunds and releases gave back to shared counts since the last call, for `Counts.give_back`."""
        returns = self._returns
        if returns:
            self._returns = []
            return returns
        return []

    # -- what was seen -------------------------------------------------------------------------------------------------

    def report(self, *, full: bool) -> RateLimitReport:  # noqa: ARG002 - a report is small, so it is always whole
        """Return the cumulative counts, and what is told once: the offences and the lag since the last report."""
        report = RateLimitReport(
            rules={rule.id: RuleReport(*rule.counts) for rule in self._rules},
            blocked=self._guard.blocked,
            offered=tuple(self._guard.offered),
            shed=tuple(self._guard.shed),
            unlimited=self._unlimited,
            keys=sum(len(rule.table) for rule in self._rules),
            evicted=sum(rule.table.forgotten_limiting for rule in self._rules),
            pools=self.pools,
            lag=self.lag,
            offences=tuple(self._offences()),
            asked=self._asked,
            leased=self._leased,
            remembered=self._remembered,
            away=self._away,
        )
        self.lag = 0.0
        if self._offenders.total:
            self._offenders = SpaceSaving(_OFFENDERS)
        return report

    def _offences(self) -> Iterator[Offence]:
        for hitter in self._offenders.top(_OFFENDERS):
            rule, _, key = hitter.key.decode("utf-8", "surrogatepass").partition("\n")
            yield Offence(key, rule, hitter.weight, hitter.error)
