"""All of rate limiting within one process: the engine, and what the controller does for it, stepped by the clock."""

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from seawall.core.clock import Clock
from seawall.core.errors import InvalidError
from seawall.systems.ratelimit.counts import CountAnswer, GiveBack
from seawall.systems.ratelimit.engine import Ask, RateLimitEngine
from seawall.systems.ratelimit.factors import LoadController, LoadSample, ThreatFactors
from seawall.systems.ratelimit.gradient import Gradient2
from seawall.systems.ratelimit.keys import LimitContext, parse_subject
from seawall.systems.ratelimit.ladder import Ladder
from seawall.systems.ratelimit.meter import LoadMeter
from seawall.systems.ratelimit.model import Block, LimitResult, Override, RateLimitSnapshot, Reason
from seawall.systems.ratelimit.plan import RateLimitPlan
from seawall.systems.ratelimit.shedding import AdaptiveThrottle, Shedder, ShedSample
from seawall.systems.ratelimit.sketch import SpaceSaving
from seawall.systems.ratelimit.violations import Escalation, Violations

__all__ = ["STEP", "LocalLimits"]

STEP = 0.1
"""Seconds between two looks at load and threat."""

_EVERYBODY = ""
_TOP_KEYS = 256
_MAX_SUBJECTS = 100_000
"""Blocks and overrides that may be in force at once."""


class LocalLimits:
    """One process's limiter: decides, measures, and follows load, threats and violations; counts are its own.

    Args:
        plan: the settings.
        clock: time.
        on_escalation: told each step that a key goes up.

    Attributes:
        engine: the decisions.
        meter: the server's own requests, for whoever serves them to count.
        escalations: steps of the ladder that were reached, by name.
        refused: the keys that were refused most.

    For one thread at a time. Nothing runs by itself: factors are stepped by the first decision of each 100 ms.
    """

    def __init__(self, plan: RateLimitPlan, clock: Clock, on_escalation: Callable[[Escalation], None]) -> None:
        self.engine = RateLimitEngine(clock.wall, max_keys=plan.max_keys)
        self.meter = LoadMeter()
        self.escalations: Counter[str] = Counter()
        self.refused = SpaceSaving(_TOP_KEYS)
        self._clock = clock
        self._on_escalation = on_escalation
        self._due = 0.0
        self._observed: LoadSample | None = None
        self._ended = (0, 0)
        self._offered: tuple[int, ...] = ()
        self._violations: Violations | None = None
        if plan.ladder is not None:
            self._violations = Violations(Ladder(plan.ladder), self.engine.penalise, plan.max_keys)
        self._load = LoadController(plan.tolerances)
        self._capacity = Gradient2()
        self._max_in_flight = plan.max_in_flight
        self._threats = ThreatFactors(half_life=plan.threat_half_life, floor=plan.threat_floor)
        self._shedder = None
        if plan.shed_slack is not None:
            self._shedder = Shedder(throttle=AdaptiveThrottle(k=plan.shed_slack))
        self.publish(rules=plan.rules, priorities=plan.priorities, shedding=self._shedder is not None)

    @property
    def violations(self) -> Violations | None:
        """The keys on the ladder; None when violations are not acted on."""
        return self._violations

    @property
    def snapshot(self) -> RateLimitSnapshot:
        """What is in force."""
        return self.engine.snapshot

    def publish(self, **changes: object) -> None:
        """Put a changed snapshot in force.

        Raises:
            ConfigurationError: the rules are refused; what was in force stays.
        """
        old = self.engine.snapshot
        self.engine.apply(msgspec.structs.replace(old, version=old.version + 1, **changes))

    def check(self, context: LimitContext) -> LimitResult:
        """Decide on one request, and step the factors when it is time.

        Raises:
            CostError: the cost is negative, infinite or not a number; nothing was taken.
        """
        now = self._clock.monotonic()
        if not self._due - STEP <= now < self._due:  # a clock that went backwards steps as well
            self.step(now)
        result = self.engine.check(context, now)
        if not result.allowed and result.key:
            self._count(result, now)
        return result

    def begin(self, context: LimitContext) -> LimitResult | Ask:
        """Decide on one request, or say what shared counts are to be asked about it; see `RateLimitEngine.begin`.

        Raises:
            CostError: the cost is negative, infinite or not a number; nothing was taken.
        """
        now = self._clock.monotonic()
        if not self._due - STEP <= now < self._due:
            self.step(now)
        begun = self.engine.begin(context, now)
        if isinstance(begun, LimitResult) and not begun.allowed and begun.key:
            self._count(begun, now)
        return begun

    def settle(self, ask: Ask, answers: Sequence[CountAnswer] | None) -> LimitResult:
        """Decide on a request whose shared counts were asked; see `RateLimitEngine.settle`."""
        now = self._clock.monotonic()
        result = self.engine.settle(ask, answers, now)
        if not result.allowed and result.key:
            self._count(result, now)
        return result

    def put_back(self, result: LimitResult) -> None:
        """Give back all that a request took, permits included, as if it had never been."""
        now = self._clock.monotonic()
        self.engine.refund(result, now)
        self.engine.release(result, now)

    def sweep(self) -> list[GiveBack]:
        """Return what goes back to shared counts, expired leases included; to be called every 100 ms."""
        return self.engine.sweep(self._clock.monotonic())

    def step(self, now: float) -> None:
        """Take in what was measured and reported, and publish the factors that follow."""
        self._due = now + STEP
        if self._violations is not None:
            self._violations.advance(now)
        capacity = self._max_in_flight
        sample = self._observed
        own = self._measure(now)
        if sample is None or now - sample.at > 1.0:
            sample = own
        factor = self._load.step(now, sample)
        threats = self._threats.step(now)
        everybody = threats.pop(_EVERYBODY, 1.0)
        changes: dict[str, object] = {}
        old = self.engine.snapshot
        if factor != old.load.get("", 1.0):
            changes["load"] = {"": factor}
        if threats != old.threats or everybody != old.threat:
            changes.update(threats=threats, threat=everybody)
        if self._shedder is not None:
            shares = self._shed(now, sample, capacity or self._capacity.limit)
            if shares != old.admission:
                changes["admission"] = shares
        if changes:
            self.publish(**changes)

    def observe(self, sample: LoadSample) -> None:
        """Take a measure of load from elsewhere; for a second it goes before the limiter's own."""
        self._observed = sample

    def report_threat(self, subject: str, severity: float) -> None:
        """Lower the limits of a subject, or of everybody when it is empty, for a while.

        Raises:
            InvalidError: the subject is none, or the severity is not within 0 to 1.
        """
        if not 0.0 <= severity <= 1.0:
            raise InvalidError(f"a threat cannot have the severity {severity}", hint="Give a number from 0 to 1.")
        now = self._clock.monotonic()
        self._threats.report(now, parse_subject(subject) if subject else _EVERYBODY, severity)
        self._due = now

    def block(self, subject: str, seconds: float, reason: str) -> None:
        """Refuse a subject for some seconds.

        Raises:
            InvalidError: the subject is none, the time is not above 0, or too many are blocked.
        """
        name = parse_subject(subject)
        if not seconds > 0.0:
            raise InvalidError(f"nobody can be blocked for {seconds} s", hint="Give a time above 0, or none for good.")
        wall = self._clock.wall()
        blocks = {other: block for other, block in self.snapshot.blocks.items() if wall < block.until}
        _refuse_too_many(blocks)
        self.publish(blocks={**blocks, name: Block(until=wall + seconds, reason=reason)})

    def unblock(self, subject: str) -> bool:
        """Lift a block of a subject, or forget the violations of a key; tell whether there was anything."""
        if self._forgive(subject):
            return True
        name = parse_subject(subject)
        known = name in self.snapshot.blocks
        if known:
            self.publish(blocks={other: block for other, block in self.snapshot.blocks.items() if other != name})
        return self._forgive(name) or known

    def override(self, subject: str, limit: float | None, seconds: float, rule: str) -> None:
        """Give a subject a limit of its own, or take it away again when the limit is None.

        Raises:
            InvalidError: the subject is none, the limit or the time is not above 0, or there are too many.
        """
        name = parse_subject(subject)
        wall = self._clock.wall()
        overrides = {other: one for other, one in self.snapshot.overrides.items() if wall < one.until and other != name}
        if limit is not None:
            if not 0.0 < limit < float("inf") or not seconds > 0.0:
                raise InvalidError(
                    f"an override cannot have the limit {limit} for {seconds} s", hint="Give numbers above 0."
                )
            _refuse_too_many(overrides)
            overrides[name] = Override(limit=limit, until=wall + seconds, rule=rule)
        self.publish(overrides=overrides)

    def reset(self, key: str) -> bool:
        """Forget a key's counts and violations; tell whether there were any."""
        known = self.engine.reset(key)
        return self._forgive(key) or known

    def _forgive(self, key: str) -> bool:
        return self._violations is not None and self._violations.forgive(key, self._clock.monotonic())

    def _count(self, result: LimitResult, now: float) -> None:
        self.refused.add(result.key.encode())
        if self._violations is None or result.reason not in {Reason.QUOTA_EXCEEDED, Reason.CONCURRENCY}:
            return
        escalation = self._violations.violate(result.key, result.rule, now)
        if escalation is not None:
            self.escalations[escalation.step] += 1
            self._on_escalation(escalation)

    def _measure(self, now: float) -> LoadSample:
        peak = self.meter.peak
        sample = self.meter.sample(now, self._max_in_flight)
        self._capacity.step(now, sample.latency, peak)
        return sample

    def _shed(self, now: float, sample: LoadSample | None, capacity: float) -> tuple[float, ...]:
        if self._shedder is None or sample is None:
            return self.snapshot.admission
        offered = self.engine.report(full=False).offered
        ended, failed = self.meter.ended, self.meter.failed
        before = self._offered or (0,) * len(offered)
        shares = self._shedder.step(
            now,
            ShedSample(
                at=now,
                offered=tuple(new - old for new, old in zip(offered, before, strict=True)),
                ended=ended - self._ended[0],
                accepted=(ended - failed) - (self._ended[0] - self._ended[1]),
                in_flight=sample.in_flight,
                capacity=sample.capacity or capacity,
            ),
        )
        self._offered, self._ended = offered, (ended, failed)
        return shares


def _refuse_too_many(subjects: dict[str, Block] | dict[str, Override]) -> None:
    if len(subjects) >= _MAX_SUBJECTS:
        raise InvalidError(
            f"there are {len(subjects)} of them already", hint="Let some expire, or name networks instead of addresses."
        )
