"""The general way of deciding: rules in order, all of them or nothing, by counts of here and by shared ones."""

import math
from collections.abc import Callable, Iterator, Sequence

from seawall.systems.ratelimit.asking import (
    NOWHERE,
    Ask,
    Step,
    answered,
    count_ask,
    forget_pending,
    from_lease,
    recalled,
    remembered,
    undo,
)
from seawall.systems.ratelimit.counts import CountAnswer, GiveBack
from seawall.systems.ratelimit.effective import EffectiveLimits
from seawall.systems.ratelimit.guard import blocked
from seawall.systems.ratelimit.keys import LimitContext
from seawall.systems.ratelimit.model import (
    Algorithm,
    LimitResult,
    Offence,
    Penalty,
    PenaltySnapshot,
    StoreFailure,
)
from seawall.systems.ratelimit.rules import CompiledRule, Whole
from seawall.systems.ratelimit.sketch import SpaceSaving
from seawall.systems.ratelimit.trial import Trial, admission, granted, refusal, unavailable
from seawall.systems.ratelimit.verdict import CostError

__all__ = ["Decisions"]

_OFFENDERS = 256
"""Keys that a report tells of as refused most, at most."""


class Decisions:
    """Decide on requests by any number of rules.

    Args:
        wall: gives seconds since the Unix epoch.

    Attributes:
        rules: in order.
        limits: the effective limits under the newest snapshot.
        penalties: what keys have earned by violations, until a monotonic time.
        sentences: the same of the snapshot, until a wall-clock time.
        returns: what goes back to shared counts.
        asked: decisions that asked shared counts.
        leased: decisions that leases paid for.
        remembered: refusals that were answered from an earlier one.
        away: decisions that shared counts did not answer.
        unlimited: requests that no rule with windows took.
        blocked: requests refused for the violations of their key.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self.rules: tuple[CompiledRule, ...] = ()
        self.limits = EffectiveLimits(wall)
        self.penalties: dict[str, Penalty] = {}
        self.sentences: dict[str, PenaltySnapshot] = {}
        self.returns: list[GiveBack] = []
        self.asked = self.leased = self.remembered = self.away = self.unlimited = self.blocked = 0
        self._wall = wall
        self._sink = self.returns.append
        self._offenders = SpaceSaving(_OFFENDERS)

    def check(self, context: LimitContext, now: float) -> LimitResult:
        """Decide by counts of here alone.

        Raises:
            CostError: the cost is negative, infinite or not a number; nothing was taken.
        """
        if not 0.0 <= context.cost < math.inf:
            raise CostError(context.cost)
        trials: list[Trial] = []
        for rule in self.rules:
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

    def begin(self, context: LimitContext, now: float) -> LimitResult | Ask:
        """Decide, or say what shared counts are to be asked.

        Raises:
            CostError: the cost is negative, infinite or not a number; nothing was taken.
        """
        cost = context.cost
        if not 0.0 <= cost < math.inf:
            raise CostError(cost)
        sink = self._sink
        steps: list[Step] = []
        open_steps: list[int] = []
        refused: Trial | LimitResult | None = None
        for rule in self.rules:
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
            self.leased += 1
            return self._admit([step.trial for step in steps if step.trial is not None], cost, now)
        asks = []
        for place, index in enumerate(open_steps):
            step = steps[index]
            asks.append(count_ask(step.rule, step.key, step.whole, cost, now, sink))
            steps[index] = step._replace(place=place)
        self.asked += 1
        return Ask(tuple(asks), context, tuple(steps))

    def begin_alone(
        self, rule: CompiledRule, key: str, whole: Whole, context: LimitContext, now: float
    ) -> LimitResult | Ask:
        """Say what shared counts are to be asked under one rule alone, for which nothing else decides.

        Raises:
            CostError: the cost is negative, infinite or not a number; nothing was taken.
        """
        if not 0.0 <= context.cost < math.inf:
            raise CostError(context.cost)
        found = rule.refused.get(key)
        if found is not None and found.holds(whole[0], context.cost, now):
            self.remembered += 1
            self.offend(rule, key)
            return recalled(rule, key, whole[1], found, now)
        self.asked += 1
        asked = count_ask(rule, key, whole, context.cost, now, self._sink)
        return Ask((asked,), context, (Step(rule, key, whole, None, 0),))

    def settle(self, ask: Ask, answers: Sequence[CountAnswer] | None, now: float) -> LimitResult:
        """Decide on a request whose shared counts were asked, and take what it costs.

        Args:
            ask: as `begin` returned it.
            answers: in the order of its `asks`; None when the counts are away, which each rule bears in its own way.
            now: monotonic seconds.
        """
        cost, sink = ask.context.cost, self._sink
        if answers is None:
            self.away += 1
            forget_pending(ask.steps)
        elif len(ask.steps) == 1 and ask.steps[0].rule.enforced:
            alone = answered(ask.steps[0], ask.asks[0], answers[0], cost, now, sink)
            return granted(alone, cost, now) if alone.allowed else self._refuse(alone, now)
        steps, refused = self._resolve(ask, answers, now)
        if refused is None:
            return self._admit([step.trial for step in steps if step.trial is not None], cost, now)
        # Where binding asks were refused, those that had room have taken nothing.
        took = answers is not None and all(
            answer.allowed for one, answer in zip(ask.asks, answers, strict=True) if one.binding
        )
        undo([step for step in steps if step.place < 0 or took or not step.rule.enforced], cost, sink)
        return self._refuse(refused, now)

    def _resolve(
        self, ask: Ask, answers: Sequence[CountAnswer] | None, now: float
    ) -> tuple[list[Step], Trial | LimitResult | None]:
        """Return what each rule does, now that the answers have come, and which of them refuses first."""
        context, cost, sink = ask.context, ask.context.cost, self._sink
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
        return steps, refused

    def _step(self, rule: CompiledRule, context: LimitContext, now: float) -> Step | LimitResult:
        """Return what a rule does with a request as far as this process knows; a refusal where the key is blocked."""
        if not rule.shared:
            tried = self._try(rule, context, now)
            if isinstance(tried, LimitResult):
                return tried
            return Step(rule, tried.key, NOWHERE, tried, local=True)
        key = rule.build(context)
        penalty = self._penalty(key, now)
        if penalty is not None and penalty.factor <= 0.0 and rule.enforced:
            return self._blocked(key, penalty, rule, now)
        role = context.effective_role
        if self.limits.personal or penalty is not None:
            whole = self.limits.own_whole(rule, context, key, role, penalty)
        else:
            whole = self.limits.common_whole(rule, context, role)
        trial = from_lease(rule, whole[2], key, context.cost, now) if rule.leasing else None
        if trial is None:
            trial = remembered(rule, key, whole[0], whole[1], context.cost, now)
            self.remembered += trial is not None
        return Step(rule, key, whole, trial)

    def _without_counts(self, step: Step, context: LimitContext, now: float) -> Trial | LimitResult:
        """Return what a rule does while its shared counts are away."""
        rule = step.rule
        failure = rule.snapshot.on_store_failure
        if failure is StoreFailure.LOCAL:
            return self._try(rule, context, now)
        if failure is StoreFailure.CLOSED and rule.enforced:
            return unavailable(rule.id, step.key)
        return Trial(rule, step.key, step.whole[0], step.whole[1], (), allowed=True, shared=True)

    def _try(self, rule: CompiledRule, context: LimitContext, now: float) -> Trial | LimitResult:
        """Return what a rule would do by its counts here; a refusal where the key is blocked for its violations."""
        key = rule.build(context)
        penalty = self._penalty(key, now) if self.penalties or self.sentences else None
        if penalty is not None and penalty.factor <= 0.0 and rule.enforced:
            return self._blocked(key, penalty, rule, now)
        role = context.effective_role
        if self.limits.personal or penalty is not None:
            limits, factors, _, _ = self.limits.own(rule, context, key, role, penalty)
        else:
            limits, factors, _, _ = self.limits.common(rule, context, role)
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
            del self.penalties[key]
            penalty = None
        sentence = self.sentences.get(key)
        if sentence is not None:
            left = sentence.until - self._wall()
            if left > 0.0 and (penalty is None or sentence.factor < penalty.factor):
                return Penalty(sentence.factor, now + left)
        return penalty

    def _blocked(self, key: str, penalty: Penalty, rule: CompiledRule, now: float) -> LimitResult:
        self.blocked += 1
        return blocked(penalty.until - now, key, "repeated violations", rule.id)

    def _admit(self, trials: Sequence[Trial], cost: float, now: float) -> LimitResult:
        enforced = [trial for trial in trials if trial.rule.enforced]
        shadows = [trial for trial in trials if not trial.rule.enforced]
        if not any(trial.verdicts for trial in trials):
            self.unlimited += 1
        return admission(enforced, shadows, cost, now)

    def _refuse(self, refused: Trial | LimitResult, now: float) -> LimitResult:
        if isinstance(refused, LimitResult):
            return refused
        self.offend(refused.rule, refused.key)
        return refusal(refused, now)

    def offend(self, rule: CompiledRule, key: str) -> None:
        """Count a refusal that says something against a key."""
        self._offenders.add(f"{rule.id}\n{key}".encode("utf-8", "surrogatepass"))

    def offences(self) -> Iterator[Offence]:
        """Yield the keys that were refused most since the last call."""
        if not self._offenders.total:
            return
        offenders, self._offenders = self._offenders, SpaceSaving(_OFFENDERS)
        for hitter in offenders.top(_OFFENDERS):
            rule, _, key = hitter.key.decode("utf-8", "surrogatepass").partition("\n")
            yield Offence(key, rule, hitter.weight, hitter.error)
