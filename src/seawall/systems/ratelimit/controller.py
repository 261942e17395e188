"""The rate-limit controller: rules, factors and penalties; one class, since its step needs all that it knows."""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from seawall.core.errors import InvalidError, StateError
from seawall.core.instruments import Sample
from seawall.core.system import ControllerContext, WorkerId
from seawall.core.tasks import end_tasks
from seawall.systems.ratelimit.actions import Action, ActionResult
from seawall.systems.ratelimit.composition import Composer, records_of, size_of
from seawall.systems.ratelimit.courier import Courier
from seawall.systems.ratelimit.factors import ThreatFactors
from seawall.systems.ratelimit.findings import Growth, findings
from seawall.systems.ratelimit.fleet import Fleet
from seawall.systems.ratelimit.history import History
from seawall.systems.ratelimit.instruments import gateway_samples
from seawall.systems.ratelimit.keys import parse_subject
from seawall.systems.ratelimit.model import RateLimitReport, RateLimitSnapshot
from seawall.systems.ratelimit.operations import Operations, target_of
from seawall.systems.ratelimit.overview import Facts, RateLimitStatus, overview, refused_by_reason
from seawall.systems.ratelimit.penalties import Penalties
from seawall.systems.ratelimit.plan import BASE, RateLimitPlan, make_plan
from seawall.systems.ratelimit.pressure import Pressure, quantised
from seawall.systems.ratelimit.records import (
    GatewayRecord,
    PardonRecord,
    PenaltyRecord,
    Record,
    ResetRecord,
    RulesRecord,
)
from seawall.systems.ratelimit.rulebook import Rulebook
from seawall.systems.ratelimit.ruleset import Merged, merge_what_fits
from seawall.systems.ratelimit.settings import RateLimitSettings
from seawall.systems.ratelimit.toplist import TopList
from seawall.systems.ratelimit.violations import Escalation

__all__ = ["RateLimitController"]

_log = logging.getLogger("seawall.ratelimit")

_STEP = 0.1
_COALESCE = 0.02
"""Seconds that changes are gathered before a snapshot is published."""
_ENTRIES_PER_SECOND = 10_000
"""Entries of snapshots that workers are given each second at most: one that is large is told less often."""
_ANNOUNCE = 2.0
_ANNOUNCED_FOR = 6.0
"""Seconds between two signs of life among gateways that share a store, and how long one holds."""
_MAX_TOLD = 20
"""Escalations logged each second."""
_EVERYBODY = ""


class RateLimitController:
    """Learn about load, violations and what operators want, and tell the engines.

    Implements `seawall.core.system.Controller`.

    Args:
        context: settings, store, clocks and where to publish.

    Attributes:
        on_escalation: told each step that a key goes up the ladder; for threat detection.
    """

    def __init__(self, context: ControllerContext) -> None:
        self._context = context
        self._clock = context.clock
        self._id = secrets.token_hex(8)
        self._many = context.store.url.startswith("redis")
        """Whether other gateways may share the limits."""
        self._book = Rulebook(context.store, context.clock, self._on_book)
        self._courier = Courier(self._book)
        self._file: RateLimitSettings = context.settings
        self._merged = Merged(context.settings, {})
        self._plan = self._planned()
        self._fleet = Fleet(self._plan.max_in_flight)
        self._pressure = Pressure(self._plan)
        self._penalties = Penalties(self._plan.ladder, self._clock, self._escalated)
        self._threats = self._threat_factors(self._plan)
        self._threat = 1.0
        self._threatened: dict[str, float] = {}
        self._history = History()
        self._top = TopList()
        self._operations = Operations(self._book, self._clock, lambda: self._file, self._rule_ids, self._forgive)
        self._escalations: Counter[str] = Counter()
        self._told = (0.0, 0)
        self._published: RateLimitSnapshot | None = None
        self._resumed: RateLimitSnapshot | None = None
        self._publish_at = 0.0
        self._stale_rules = False
        self._composer = Composer(self._book, self._penalties, self._clock, self._id, context.workers)
        self._announce_at = 0.0
        self._growth = Growth()
        self._timer: asyncio.TimerHandle | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._failure = ""
        self.on_escalation: Callable[[Escalation], None] | None = None

    # -- life ----------------------------------------------------------------------------------------------------------

    def resume(self, snapshot: RateLimitSnapshot) -> None:
        """Take the last known snapshot before `start`, which then does without the store until it is back."""
        self._resumed = snapshot
        self._book.resume(records_of(snapshot, self._clock.wall()))

    async def start(self) -> None:
        """Read the store, publish the first snapshot and start the step.

        Raises:
            StateUnavailableError: the store cannot be reached and there is no last known snapshot to go on with.
        """
        try:
            await self._book.load()
        except StateError as error:
            if self._resumed is None:
                raise
            self._book.troubled(error)
        self._swap(self._file)
        self._publish()
        self._book.start()
        self._courier.start()
        self._ticker = asyncio.get_running_loop().create_task(self._tick(), name="seawall-ratelimit-step")

    async def stop(self) -> None:
        """End the loops; the last snapshot stays in force in the workers."""
        ticker, self._ticker = self._ticker, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if ticker is not None:
            await end_tasks([ticker])
        await self._courier.stop()
        await self._book.stop()

    async def reconfigure(self, settings: RateLimitSettings) -> None:
        """Take another settings section; run-time rules that no longer fit it are left out, and a finding says so."""
        self._swap(settings)
        self._publish_at = 0.0
        self._publish()

    def _swap(self, file: RateLimitSettings) -> None:
        """Put settings and run-time rules in force; what cannot be has been sorted out before anything changes."""
        merged = merge_what_fits(file, self._book.rules)
        for rule, reason in merged.left_out.items():
            if self._merged.left_out.get(rule) != reason:
                _log.warning("rule %s, set at run time, is left out: %s", rule, reason)
        self._file, self._merged = file, merged
        before, self._plan = self._plan, self._planned()
        plan = self._plan
        self._pressure.configure(plan)
        self._penalties.configure(plan.ladder)
        self._fleet.capacity = plan.max_in_flight
        if (plan.threat_half_life, plan.threat_floor) != (before.threat_half_life, before.threat_floor):
            self._threats = self._threat_factors(plan)
        self._fleet.forget_rules({rule.id for rule in before.rules} - {rule.id for rule in plan.rules})
        self._stale_rules = False
        self._composer.plan = plan
        self._composer.stale = True

    def _planned(self) -> RateLimitPlan:
        return make_plan(self._merged.settings, shared=self._many or self._context.workers > 1)

    @staticmethod
    def _threat_factors(plan: RateLimitPlan) -> ThreatFactors:
        return ThreatFactors(half_life=plan.threat_half_life, floor=plan.threat_floor)

    # -- what comes in -------------------------------------------------------------------------------------------------

    def on_report(self, worker: WorkerId, report: RateLimitReport) -> None:
        """Take one worker's report; never blocks."""
        now = self._clock.monotonic()
        self._fleet.on_report(worker, report, now, {rule.id for rule in self._plan.rules})
        for offence in report.offences:
            self._top.add(offence, now)
            self._penalties.take(offence, now)

    def on_worker_gone(self, worker: WorkerId) -> None:
        """Forget a worker's gauges; its counts stay in the totals."""
        self._fleet.on_worker_gone(worker)

    def report_threat(self, subject: str, severity: float) -> None:
        """Lower the limits of a subject, or of everybody when it is empty, for a while.

        Raises:
            InvalidError: the subject is none, or the severity is not within 0 to 1.
        """
        if not 0.0 <= severity <= 1.0:
            raise InvalidError(f"a threat cannot have the severity {severity}", hint="Give a number from 0 to 1.")
        name = parse_subject(subject) if subject else _EVERYBODY
        self._threats.report(self._clock.monotonic(), name, severity)

    def _on_book(self, before: Record | None, after: Record | None) -> None:
        self._composer.stale = True
        match before, after:
            case (RulesRecord(), _) | (_, RulesRecord()):
                self._stale_rules = True
            case PenaltyRecord(name=name, until=until), None:
                # Deleted before its time: somebody lifted it.
                if until is None or until > self._clock.wall() + 0.5:
                    self._forgive(name)
            case _, ResetRecord(name=name) | PardonRecord(name=name):
                self._forgive(name)
        self._soon()

    def _forgive(self, key: str) -> bool:
        return self._penalties.forgive(key, self._clock.monotonic())

    def _escalated(self, escalation: Escalation) -> None:
        self._escalations[escalation.step] += 1
        if escalation.step in {"block", "report"}:
            record = PenaltyRecord(name=escalation.key, until=self._clock.wall() + escalation.seconds, gateway=self._id)
            self._courier.note(record, escalation.seconds)
        self._log_escalation(escalation)
        if self.on_escalation is not None:
            self.on_escalation(escalation)

    def _log_escalation(self, escalation: Escalation) -> None:
        now = self._clock.monotonic()
        since, told = self._told
        if now - since >= 1.0:
            if told > _MAX_TOLD:
                _log.warning("%d further keys went up the ladder of violations", told - _MAX_TOLD)
            since, told = now, 0
        self._told = (since, told + 1)
        if told < _MAX_TOLD:
            _log.warning(
                "%s: %s after %.0f violations, last of rule %s, for %.0f s",
                escalation.key,
                escalation.step,
                escalation.score,
                escalation.rule,
                escalation.seconds,
            )

    # -- the step ------------------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_STEP)
            try:
                self.step(self._clock.monotonic())
            except Exception as error:  # noqa: BLE001 - logged and told; one failed step must not end the later ones
                if not self._failure:
                    _log.exception("the rate limiter's step failed")
                self._failure = repr(error)
            else:
                self._failure = ""

    def step(self, now: float) -> None:
        """Bring factors and penalties up to `now`, monotonic seconds, and publish what changed."""
        self._penalties.step(now)
        self._pressure.step(now, self._fleet.look(now))
        threats = self._threats.step(now)
        self._threat = quantised(threats.pop(_EVERYBODY, 1.0))
        self._threatened = {subject: quantised(factor) for subject, factor in threats.items()}
        wall = self._clock.wall()
        load = self._pressure.load.get("", 1.0)
        if self._history.step(now, wall, load, self._threat, min(self._pressure.admission)):
            report = self._report()
            allowed = sum(row.allowed for row in report.rules.values())
            self._history.close({"allowed": allowed, **refused_by_reason(report)})
        self._growth.look("away", self._fleet.count("away"), now)
        self._growth.look("lost", self._courier.lost, now)
        self._growth.look("let-off", self._penalties.let_off, now)
        self._announce(now)
        self._publish()

    def _announce(self, now: float) -> None:
        """Tell gateways that share the store how many processes this one has."""
        if self._many and now >= self._announce_at:
            self._announce_at = now + _ANNOUNCE
            # Without an end of its own: while the store is away the others count as they last did.
            self._courier.note(GatewayRecord(name=self._id, processes=self._context.workers), _ANNOUNCED_FOR)

    # -- what goes out -------------------------------------------------------------------------------------------------

    def _soon(self) -> None:
        if self._timer is None and self._ticker is not None:
            self._timer = asyncio.get_running_loop().call_later(_COALESCE, self._publish)

    def _publish(self) -> None:
        """Publish what is in force now, unless it is what was published last, or that was large and just now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock.monotonic()
        if self._published is not None and now < self._publish_at:
            return
        snapshot = self._composed(now)
        last = self._published
        if last is not None and msgspec.structs.replace(snapshot, version=last.version) == last:
            return
        floor = max((known.version for known in (last, self._resumed) if known is not None), default=0)
        # Wall-clock milliseconds make versions grow across restarts.
        version = max(floor + 1, int(self._clock.wall() * 1000))
        self._published = msgspec.structs.replace(snapshot, version=version)
        self._publish_at = now + size_of(self._published) / _ENTRIES_PER_SECOND
        self._context.publish(self._published)

    def _composed(self, now: float) -> RateLimitSnapshot:
        """Return what is in force, of the version 0."""
        if self._stale_rules:
            self._swap(self._file)
        return self._composer.compose(
            now,
            load=self._pressure.load,
            threat=self._threat,
            threats=self._threatened,
            admission=self._pressure.admission,
        )

    # -- what is shown and asked ---------------------------------------------------------------------------------------

    def samples(self) -> Iterable[Sample]:
        """Yield every series for a scrape."""
        snapshot = self._published or self._composer.parts
        return gateway_samples(self._report(), snapshot, self._escalations, self._composer.processes)

    def health(self) -> dict[str, str]:
        """Return findings that an operator should see; empty when all is well."""
        now = self._clock.monotonic()
        return findings(self._book, self._merged.left_out, self._growth, now, failure=self._failure)

    def status(self, top: int = 10) -> RateLimitStatus:
        """Return rules, factors, and the `top` keys that were refused most."""
        now = self._clock.monotonic()
        version = self._published.version if self._published is not None else 0
        sources = dict.fromkeys((rule.id for rule in self._book.rules), "run-time")
        return overview(
            Facts(
                # What an operator has just set is shown, though the workers may hear of it a few milliseconds later.
                snapshot=msgspec.structs.replace(self._composed(now), version=version),
                report=self._report(),
                sources={BASE: "base", **sources},
                left_out=self._merged.left_out,
                findings=self.health(),
                book_version=self._book.version,
                processes=self._composer.processes,
                top=self._top.top(top, now),
                offenders=self._penalties.offenders(now),
                points=self._history.points(),
            )
        )

    async def perform(self, action: Action) -> ActionResult:
        """Carry out one action; what it changed is in the next snapshot, within 20 ms.

        Raises:
            ConfigurationError: a rule cannot stand among the others; tells why.
            ConflictError: the version has moved on, or the action is at odds with what exists.
            InvalidError: a subject is none, or there are too many.
            NotFoundError: there is no such rule.
            StateUnavailableError: the store cannot be reached; nothing was changed.
        """
        changed = await self._operations.perform(action)
        if self._stale_rules:
            self._swap(self._file)
        self._soon()
        return ActionResult(
            action=action.action, target=target_of(action), changed=changed, book_version=self._book.version
        )

    def describe(self, action: Action) -> dict[str, object] | None:
        """Return what an action is about as the audit trail shows it, or None."""
        return self._operations.describe(action)

    def _rule_ids(self) -> list[str]:
        return [rule.id for rule in self._plan.rules]

    def _report(self) -> RateLimitReport:
        return self._fleet.report(rule.id for rule in self._plan.rules)
