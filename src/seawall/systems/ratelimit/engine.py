"""The limiter's decision: blocks, then shedding, then the rules in order, all of them or nothing."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from seawall.systems.ratelimit.asking import Ask, paid
from seawall.systems.ratelimit.corrections import correct, refund, release
from seawall.systems.ratelimit.counts import CountAnswer, GiveBack
from seawall.systems.ratelimit.decisions import Decisions
from seawall.systems.ratelimit.gcra import IDLE, Gcra
from seawall.systems.ratelimit.guard import Guard
from seawall.systems.ratelimit.keys import LimitContext
from seawall.systems.ratelimit.leases import Lot, window_asks
from seawall.systems.ratelimit.model import (
    ANONYMOUS,
    Factors,
    LimitResult,
    Penalty,
    PoolLoad,
    RateLimitReport,
    RateLimitSnapshot,
    Reason,
    RuleReport,
)
from seawall.systems.ratelimit.rules import CompiledRule, compile_rules
from seawall.systems.ratelimit.verdict import SLACK, CostError

__all__ = ["Admission", "Ask", "Place", "RateLimitEngine"]

Place = tuple[CompiledRule, str, tuple[float, ...], float, float, Lot | None]
"""What decides on requests alike: rule, key, effective limit, emission interval, burst, leases of shared counts."""

Admission = tuple[CompiledRule, str, float, tuple[float, ...], Any, float, float]
"""What let a request pass: rule, key, monotonic seconds, effective limit, state, remaining, reset_after."""

_ALLOWED_REASON, _QUOTA_REASON = Reason.ALLOWED, Reason.QUOTA_EXCEEDED
"""Names of this module are found faster than attributes of a class."""
_NO_FACTORS = Factors()


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
        self.pools: dict[str, PoolLoad] = {}
        self.lag = 0.0
        self._wall = wall
        self._max_keys = max_keys
        self._rules: tuple[CompiledRule, ...] = ()
        self._guard = Guard()
        self._general = Decisions(wall)
        self.penalties = self._general.penalties
        self._returns = self._general.returns
        self._sentences = self._general.sentences
        self._resets: dict[str, float] = {}
        self._shared = False
        self._leased = 0

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
        snapshot = _with_known_parts(snapshot, old)
        if snapshot.rules is not old.rules or max_keys != self._max_keys:
            rules = compile_rules(snapshot.rules, max_keys, self._rules, snapshot.share)
            kept = {id(rule.leases) for rule in rules if rule.leasing}
            for rule in self._rules:
                if rule.leasing and id(rule.leases) not in kept:
                    rule.leases.close(self._returns.append)
            self._rules = self._general.rules = rules
        elif snapshot.load != old.load or snapshot.threat != old.threat or snapshot.share != old.share:
            for rule in self._rules:
                rule.forget_limits(snapshot.share)
        self._max_keys = max_keys
        self._guard.apply(snapshot, old)
        self._general.limits.apply(snapshot)
        self._general.sentences = self._sentences = snapshot.penalties
        self._shared = any(rule.shared for rule in self._rules)
        self.snapshot = snapshot
        for key, at in snapshot.resets.items():
            # An engine that has just begun has nothing to forget, and those before it have told shared counts.
            if old.version >= 0 and self._resets.get(key) != at:
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
        if refusal is not None or self._general.limits.personal:
            return refusal or self._general.check(context, now)
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
            ) or self._general.limits.common(rule, context, role)
            before = rule.table.get(key)
            cost = context.cost
            # Nearly always there is room, and the call of `Gcra.check` would be a tenth of the decision; see `admit`.
            tat = (now if before is None or now > before else before) + cost * rule.unit * interval
            reset = tat - now
            left = burst - reset / interval
            allowed = left >= 0.0 <= cost
            if allowed:
                verdict = (True, tat, left, reset, 0.0)
                rule.table.put(key, tat, now)
            else:
                verdict = Gcra.check(IDLE if before is None else before, now, interval, burst, cost * rule.unit)
                allowed, tat, left, reset, _ = verdict
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
            self._general.offend(rule, key)
            return LimitResult(False, left, limits[0], reset, verdict[4], rule.id, _QUOTA_REASON, factors, key, took)
        return self._general.check(context, now)

    def begin(self, context: LimitContext, now: float) -> LimitResult | Ask:
        """Decide on one request at `now`, in monotonic seconds, or say what shared counts are to be asked about it.

        An `Ask` must be given to `settle` exactly once, also when nobody waits for the answer any more; what that
        admits is then `refund`ed and `release`d. The context must not change until then. Costs about 1 us where a lease
        pays, 2 us for an earlier refusal, 10 us where counts are asked, that included.

        Raises:
            CostError: the cost is negative, infinite or not a number; nothing was taken.
        """
        if not self._shared:
            return self.check(context, now)
        refusal = self._check_guard(context, now) if self._guard.closed else None
        if refusal is not None:
            return refusal
        if self._general.limits.personal:
            return self._general.begin(context, now)
        # As in `check`: one rule with shared counts, the last to be asked, and a lease that pays or not.
        for rule in self._rules:
            if rule.matches is not None and not rule.matches(context):
                continue
            if not rule.sole:
                break
            key = rule.build(context)
            if (self.penalties and key in self.penalties) or (self._sentences and key in self._sentences):
                break
            role = context.role or ("user" if context.identifier or context.user or context.api_key else ANONYMOUS)
            whole = rule.whole.get((role, context.method, context.pool)) or self._general.limits.common_whole(
                rule, context, role
            )
            lease = whole[2].get(key)
            cost = context.cost
            if lease is None or not 0.0 <= cost <= lease.tokens or not lease.since <= now < lease.until:
                return self._general.begin_alone(rule, key, whole, context, now)
            lease.tokens -= cost
            self._leased += 1
            return paid(rule, lease, key, cost, now)
        return self._general.begin(context, now)

    def find(self, context: LimitContext) -> Place | None:
        """Return the rule that decides alone on requests like this one, for `admit`; None where it is not that simple.

        It does so where it is one enforced GCRA window, the first that matches and the last to be asked. What is
        returned holds for as long as the snapshot, and for every request that rules cannot tell from this one.
        """
        if self._guard.closed or self._general.limits.personal or context.cost != 1.0:
            return None
        for rule in self._rules:
            if rule.matches is not None and not rule.matches(context):
                continue
            if not rule.plain:
                return None
            place = context.effective_role, context.method, context.pool
            if not rule.by_method:
                return self._find_apart(rule, context)
            if rule.shared:
                whole = rule.whole.get(place)
                return None if whole is None else (rule, rule.build(context), whole[0], 0.0, 0.0, whole[2])
            known = rule.cache.get(place)
            return None if known is None else (rule, rule.build(context), known[0], known[2], known[3], None)
        return None

    def _find_apart(self, rule: CompiledRule, context: LimitContext) -> Place:
        """Return the same for a rule whose limits are not remembered by method, as paths decide on them, too."""
        key, role, limits = rule.build(context), context.effective_role, self._general.limits
        if rule.shared:
            whole = limits.common_whole(rule, context, role)
            return rule, key, whole[0], 0.0, 0.0, whole[2]
        common = limits.common(rule, context, role)
        return rule, key, common[0], common[2], common[3], None

    def admit(self, place: Place, now: float) -> Admission | None:
        """Let a request of cost 1 pass if there is room in this process; else `begin` decides, and nothing is taken.

        For those who decide on every request and need no `LimitResult` of most. Decides as `begin` does, in a third of
        the time.
        """
        rule, key, limits, interval, burst, lot = place
        if (self.penalties and key in self.penalties) or (self._sentences and key in self._sentences):
            return None
        if lot is not None:
            lease = lot.get(key)
            if lease is None or lease.tokens < 1.0 or not lease.since <= now < lease.until:
                return None
            lease.tokens = tokens = lease.tokens - 1.0
            self._leased += 1
            rule.counts[0] += 1
            return rule, key, now, lease.limits, lease.claim, lease.left + tokens * rule.unit, lease.reset
        before = rule.table.get(key)
        if before is None:
            return None
        tat = (now if now > before else before) + rule.unit * interval  # noqa: FURB136 - as in `Gcra.check`
        reset = tat - now
        left = burst - reset / interval
        if left < 0.0:  # no room, or nearly none, or the clock went backwards
            return None
        rule.table.put(key, tat, now)
        rule.counts[0] += 1
        return rule, key, now, limits, tat, left, reset

    def settle(self, ask: Ask, answers: Sequence[CountAnswer] | None, now: float) -> LimitResult:
        """Decide on a request whose shared counts were asked, and take what it costs.

        Args:
            ask: as `begin` returned it.
            answers: in the order of its `asks`; None when the counts are away, which each rule bears in its own way.
            now: monotonic seconds.
        """
        return self._general.settle(ask, answers, now)

    def _check_guard(self, context: LimitContext, now: float) -> LimitResult | None:
        if not 0.0 <= context.cost < math.inf:
            raise CostError(context.cost)
        return self._guard.check(context, now, self._wall())

    # -- afterwards ----------------------------------------------------------------------------------------------------

    def refund_admission(self, admission: Admission, now: float) -> None:
        """Give back what a request took that `admit` let pass."""
        rule, key, at, limits, state, left, reset = admission
        took = ((rule, key, at, limits, ((True, state, left, reset, 0.0),)),)
        result = LimitResult(
            True, int(left), limits[0], reset, 0.0, rule.id, _ALLOWED_REASON, _NO_FACTORS, key, took, 1.0
        )
        refund(result, now, None, self._returns.append)

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

        Shared counts are told to forget it as well, by what `returns` gives.
        """
        known = key in self.penalties
        self.penalise(key, None)
        for rule in self._rules:
            known = known or rule.table.get(key) is not None or rule.refused.get(key) is not None
            rule.table.remove(key)
            rule.refused.remove(key)
            known = rule.leases.forget(key) or known
            if rule.shared:
                windows = window_asks(rule.windows, (1.0,) * len(rule.windows), math.inf, math.inf)
                self._returns.append(GiveBack(f"{rule.id}\n{key}", windows, 0.0))
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
        if not self._returns:
            return []
        returns = self._returns.copy()
        self._returns.clear()
        return returns

    # -- what was seen -------------------------------------------------------------------------------------------------

    def report(self, *, full: bool) -> RateLimitReport:  # noqa: ARG002 - a report is small, so it is always whole
        """Return the cumulative counts, and what is told once: the offences and the lag since the last report."""
        general = self._general
        report = RateLimitReport(
            rules={rule.id: RuleReport(*rule.counts) for rule in self._rules},
            blocked=self._guard.blocked + general.blocked,
            offered=tuple(self._guard.offered),
            shed=tuple(self._guard.shed),
            unlimited=general.unlimited,
            keys=sum(len(rule.table) for rule in self._rules),
            evicted=sum(rule.table.forgotten_limiting for rule in self._rules),
            pools=self.pools,
            lag=self.lag,
            offences=tuple(general.offences()),
            asked=general.asked,
            leased=self._leased + general.leased,
            remembered=general.remembered,
            away=general.away,
        )
        self.lag = 0.0
        return report


def _with_known_parts(snapshot: RateLimitSnapshot, old: RateLimitSnapshot) -> RateLimitSnapshot:
    """Return a snapshot whose unchanged parts are the old ones themselves: those that travelled are only equal.

    Factors change ten times a second, and compiling a hundred rules anew takes 20 ms.
    """
    known: dict[str, object] = {}
    for name in ("rules", "priorities", "blocks"):
        part, before = getattr(snapshot, name), getattr(old, name)
        if part is not before and part == before:
            known[name] = before
    return msgspec.structs.replace(snapshot, **known) if known else snapshot
