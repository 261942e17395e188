"""The threat controller: bans, floods, baselines and events, from what all guards saw."""

import asyncio
import logging
import math
import secrets
from collections.abc import Callable, Iterable

import msgspec

from seawall.core.errors import InvalidError, StateError
from seawall.core.instruments import Sample
from seawall.core.system import ControllerContext, WorkerId
from seawall.core.tasks import end_tasks
from seawall.state.scripts import PUT_IF_ABSENT
from seawall.systems.threats.actions import Action, ActionResult
from seawall.systems.threats.alerting import AlertGate
from seawall.systems.threats.book import ThreatBook
from seawall.systems.threats.events import EventPage, EventQuery, ThreatEvent, redacted
from seawall.systems.threats.floods import Flood, FloodWatch
from seawall.systems.threats.instruments import samples_of
from seawall.systems.threats.logins import LoginAlarm, LoginWatch
from seawall.systems.threats.merge import merged_snapshot
from seawall.systems.threats.messages import ChallengeKey, FloodPolicy, ThreatReport, ThreatSnapshot
from seawall.systems.threats.model import Action as Done
from seawall.systems.threats.model import Level, Severity, ThreatClass
from seawall.systems.threats.networks import parse_network
from seawall.systems.threats.operations import Operations
from seawall.systems.threats.overview import ThreatStatus, overview
from seawall.systems.threats.plan import flood_limits_of, oddity_of, response_of, snapshot_of
from seawall.systems.threats.recorder import Recorder
from seawall.systems.threats.records import AnyRecord, BanRecord
from seawall.systems.threats.response import Response, ResponseLadder, Step
from seawall.systems.threats.settings import ThreatDetectionSettings
from seawall.systems.threats.tally import Tally
from seawall.systems.threats.usual import Usual

__all__ = ["ThreatController"]

_log = logging.getLogger("seawall.threats")

_STEP = 0.25
_COALESCE = 0.02
_SECRET = "threats/secret"  # noqa: S105 - a key's name
_MAX_BANS_SENT = 20_000
_SEVERITIES = {
    Level.LOW: Severity.LOW,
    Level.MEDIUM: Severity.MEDIUM,
    Level.HIGH: Severity.HIGH,
    Level.CRITICAL: Severity.CRITICAL,
}
_THROTTLED = {Severity.LOW: 0.2, Severity.MEDIUM: 0.5, Severity.HIGH: 0.8, Severity.CRITICAL: 1.0}


class ThreatController:
    """Learn from all guards, and tell them whom to refuse.

    Implements `seawall.core.system.Controller`.

    Args:
        context: settings, store, clocks, tools and where to publish.

    Attributes:
        on_threat: told a subject and a severity 0 to 1, for the limiter's threat factor.
    """

    def __init__(self, context: ControllerContext) -> None:
        self._context = context
        self._clock = context.clock
        self._settings: ThreatDetectionSettings = context.settings
        self._book = ThreatBook(context.store, context.clock, self._on_book)
        self._base = snapshot_of(self._settings)
        self._tally = Tally()
        self._ladder = ResponseLadder(response_of(self._settings))
        self._floods = FloodWatch(flood_limits_of(self._settings))
        self._flooded: tuple[Flood, ...] = ()
        self._usual = Usual(oddity_of(self._settings))
        self._logins = self._login_watch()
        self._recorder = self._open_recorder()
        self._operations = Operations(self._book, self._recorder, self._clock, lambda: self._settings, self._forgive)
        self._challenge: ChallengeKey | None = None
        self._published: ThreatSnapshot | None = None
        self._resumed: ThreatSnapshot | None = None
        self._stale = True
        self._timer: asyncio.TimerHandle | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._writes: set[asyncio.Task[None]] = set()
        self._worker = secrets.token_hex(3)
        self._count = 0
        self._failure = ""
        self._unsent = 0
        self.on_threat: Callable[[str, float], None] | None = None

    # -- life ----------------------------------------------------------------------------------------------------------

    def resume(self, snapshot: ThreatSnapshot) -> None:
        """Take the last known snapshot before `start`, which then does without the store until it is back."""
        self._resumed = snapshot
        self._challenge = snapshot.challenge
        for subject, ban in snapshot.bans.items():
            until = None if math.isinf(ban.until) else ban.until
            self._book.keep(BanRecord(name=subject, until=until, reason=ban.reason, challenge=ban.challenge))

    async def start(self) -> None:
        """Read the store, publish the first snapshot and start the step.

        Raises:
            StateUnavailableError: the store cannot be reached and there is no last known snapshot to go on with.
        """
        try:
            await self._book.load()
            self._challenge = await self._challenge_key()
        except StateError as error:
            if self._resumed is None:
                raise
            self._book.troubled(error)
        self._publish()
        self._book.start()
        self._recorder.start()
        self._ticker = asyncio.get_running_loop().create_task(self._tick(), name="seawall-threats-step")

    async def stop(self) -> None:
        """End the loops; the last snapshot stays in force in the workers."""
        ticker, self._ticker = self._ticker, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if ticker is not None:
            await end_tasks([ticker])
        if self._writes:
            await asyncio.wait(self._writes, timeout=1.0)
            await end_tasks(list(self._writes))
        await self._book.stop()
        await self._recorder.stop()

    async def reconfigure(self, settings: ThreatDetectionSettings) -> None:
        """Take another settings section; what was learned stays where it still means the same.

        Raises:
            SeawallError: a list is too long; nothing has changed then.
        """
        base = snapshot_of(settings)
        old, self._settings, self._base = self._settings, settings, base
        if response_of(settings) != response_of(old):
            self._ladder = ResponseLadder(response_of(settings))
        if settings.floods != old.floods:
            self._floods = FloodWatch(flood_limits_of(settings))
        if settings.anomaly_threshold != old.anomaly_threshold:
            self._usual = Usual(oddity_of(settings))
        if settings.logins != old.logins:
            self._logins = self._login_watch()
        if settings.challenge != old.challenge and self._challenge is not None:
            self._challenge = msgspec.structs.replace(self._challenge, bits=settings.challenge.bits)
        self._recorder.max_age = settings.events.max_age_ms / 1000
        self._recorder.max_events = settings.events.max_events
        self._recorder.gate = _gate(settings)
        self._stale = True
        self._publish()

    def _login_watch(self) -> LoginWatch | None:
        policy = self._base.logins
        return None if policy is None else LoginWatch(policy.limits)

    def _open_recorder(self) -> Recorder:
        tools = self._context.threat_tools
        events = self._settings.events
        return Recorder(
            tools.events(self._settings),
            self._clock,
            max_age=events.max_age_ms / 1000,
            max_events=events.max_events,
            gate=_gate(self._settings),
            alerts=tools.alerts(self._settings, self._clock, self._context.rng),
            log=tools.log(self._settings),
        )

    async def _challenge_key(self) -> ChallengeKey:
        """Return the key that all gateways on this store share; made by whichever comes first."""
        store = self._context.store
        if (secret := await store.get(_SECRET)) is None:
            await store.run(PUT_IF_ABSENT, (_SECRET,), (secrets.token_bytes(32), None))
            secret = await store.get(_SECRET)
        return ChallengeKey(secret or secrets.token_bytes(32), self._settings.challenge.bits)

    # -- what comes in -------------------------------------------------------------------------------------------------

    def on_report(self, worker: WorkerId, report: ThreatReport) -> None:
        """Take one worker's report; never blocks."""
        self._tally.add(worker, report)
        self._recorder.take(report.events)
        now = self._clock.monotonic()
        for event in report.events:
            severity = _SEVERITIES.get(event.level)
            # Log-ins and floods are judged here from all workers' counts; that a ban holds is no new offence.
            known = {ThreatClass.BRUTE_FORCE, ThreatClass.BLOCKED, ThreatClass.DDOS, ThreatClass.CSRF}
            if severity is None or event.shadow or event.category in known or not event.client:
                continue
            subject = f"client:{event.client}"
            if event.action in {Done.BLOCK, Done.CHALLENGE} or event.category is ThreatClass.PROBING:
                self._respond(subject, severity, now, event.category.value, shared=False)
            elif event.action is not Done.ALLOW and self.on_threat is not None:
                # Suspicion alone is nothing to be refused for later: many people may stand behind an address.
                self.on_threat(subject, _THROTTLED[severity])
        self._watch_logins(report, now)

    def on_worker_gone(self, worker: WorkerId) -> None:
        """Forget a worker's gauges; its counts stay in the totals."""
        self._tally.forget_worker(worker)

    def on_abuse(self, key: str, rule: str) -> None:
        """Take a key that went on after the limiter had blocked it again and again."""
        kind, _, value = key.partition(":")
        client = value if kind == "client" else ""
        self._tell(
            ThreatClass.RATE_ABUSE,
            Level.HIGH,
            f"{key} goes on although rule {rule} has blocked it several times",
            client=client,
        )
        if client and "/" not in client:
            self._respond(f"client:{client}", Severity.HIGH, self._clock.monotonic(), "rate abuse", shared=False)

    def _watch_logins(self, report: ThreatReport, now: float) -> None:
        watch = self._logins
        if watch is None:
            return
        for client, account in report.logged_in:
            watch.succeed(client, account)
        for failures in report.failures:
            network = _network(failures.client)
            alarms: dict[str, LoginAlarm] = {}
            for _ in range(min(failures.count, 100)):
                for alarm in watch.fail(failures.client, network, failures.account, now):
                    alarms[alarm.kind + alarm.subject] = alarm
            for alarm in alarms.values():
                self._on_alarm(alarm, failures.client, failures.account, now)

    def _on_alarm(self, alarm: LoginAlarm, client: str, account: str, now: float) -> None:
        before = self._ladder.standing(alarm.subject, now).step
        severity = Severity.MEDIUM if alarm.kind == "slow-guessing" else Severity.HIGH
        after = self._respond(alarm.subject, severity, now, alarm.kind, shared=alarm.shared)
        if after.step > before:
            about_client = alarm.subject.startswith("client:")
            self._tell(
                ThreatClass.BRUTE_FORCE,
                Level.HIGH,
                f"{alarm.kind} on {alarm.subject}: {alarm.count:.0f}",
                client=client if about_client else "",
                account=account if alarm.subject.startswith("account:") else "",
            )

    # -- the step ------------------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_STEP)
            try:
                self.step(self._clock.monotonic())
            except Exception as error:  # noqa: BLE001 - logged and told; one failed step must not end the later ones
                if not self._failure:
                    _log.exception("the step of threat detection failed")
                self._failure = repr(error)
            else:
                self._failure = ""

    def step(self, now: float) -> None:
        """Bring floods, baselines and bans up to `now`, monotonic seconds, and publish what changed."""
        seen, talkers = self._tally.look()
        if self._settings.floods.enabled:
            requests = {route: row.requests for route, row in seen.items()}
            floods = self._floods.step(now, requests, talkers)
            self._on_floods(floods, now)
        self._usual.gather(seen)
        for anomaly in self._usual.step(now, self._clock.wall()):
            self._tell(ThreatClass.ANOMALY, Level.LOW, anomaly.text, route=anomaly.route)
        if self._book.forget_expired():
            self._stale = True
        self._publish()

    def _on_floods(self, floods: list[Flood], now: float) -> None:
        known = {flood.route for flood in self._flooded}
        for flood in floods:
            if flood.route not in known:
                text = f"{flood.rate:.0f} requests/s on {flood.route}, usually {flood.usual:.0f}"
                self._tell(ThreatClass.DDOS, Level.HIGH, text, route=flood.route)
            for subject, rate in flood.offenders[:1000]:
                allowed = flood.allowances.get(subject, flood.stranger)
                # Whoever asks a little too much is only limited; ten times as much is an attack.
                if rate > 10.0 * allowed:
                    self._respond(subject, Severity.HIGH, now, "flood", shared=False)
        if {flood.route for flood in floods} != known or floods:
            self._stale = True
        self._flooded = tuple(floods)

    def _respond(self, subject: str, severity: Severity, now: float, reason: str, *, shared: bool) -> Response:
        """Report a subject to the ladder, and do what follows."""
        before = self._ladder.standing(subject, now)
        response = self._ladder.report(subject, severity, now, shared=shared)
        if self.on_threat is not None and response.step >= Step.THROTTLE and subject.startswith("client:"):
            self.on_threat(subject, _THROTTLED[severity])
        grew = response.step > before.step or response.bans > before.bans
        if response.step >= Step.CHALLENGE and (grew or response.until - before.until > 1.0):
            record = BanRecord(
                name=subject,
                until=self._clock.wall() + response.until - now,
                reason=reason,
                challenge=response.step is Step.CHALLENGE,
                by="seawall",
                bans=response.bans,
            )
            known = self._book.find(BanRecord, subject)
            if known is None or (known.by != "operator" and _is_harder(record, known)):
                self._book.keep(record)
                self._write(record)
        if grew and response.step is Step.BAN:
            _log.warning("%s is banned for %.0f s: %s", subject, response.until - now, reason)
        return response

    def _write(self, record: BanRecord) -> None:
        task = asyncio.get_running_loop().create_task(self._put(record), name="seawall-threats-ban")
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def _put(self, record: BanRecord) -> None:
        try:
            await self._book.put(record)
        except StateError as error:
            self._unsent += 1
            _log.info("other gateways are not told of the ban of %s: %s", record.name, error)

    def _forgive(self, subject: str) -> bool:
        return self._ladder.forgive(subject)

    def _tell(
        self,
        category: ThreatClass,
        level: Level,
        detail: str,
        *,
        client: str = "",
        account: str = "",
        route: str = "",
    ) -> None:
        """Write down something that is about no single request."""
        wall = self._clock.wall()
        self._count += 1
        event = redacted(
            ThreatEvent(
                id=f"{int(wall * 1e6):014x}-{self._worker}-{self._count:x}",
                at=wall,
                category=category,
                level=level,
                action=Done.THROTTLE,
                client=client,
                account=account,
                route=route,
                detail=detail,
            )
        )
        self._tally.note(client, route, "", level.value)
        self._recorder.take([event])

    # -- what goes out -------------------------------------------------------------------------------------------------

    def _on_book(self, before: AnyRecord | None, after: AnyRecord | None) -> None:
        self._stale = True
        wall = self._clock.wall()
        if isinstance(before, BanRecord) and after is None and (before.until is None or before.until > wall + 0.5):
            self._ladder.forgive(before.name)  # deleted before its time: somebody lifted it
        if self._timer is None and self._ticker is not None:
            self._timer = asyncio.get_running_loop().call_later(_COALESCE, self._publish)

    def _publish(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._stale and self._published is not None:
            return
        self._stale = False
        snapshot = merged_snapshot(self._base, self._settings, self._book, _MAX_BANS_SENT)
        snapshot = msgspec.structs.replace(
            snapshot,
            floods=tuple(FloodPolicy(flood.route, flood.allowances, flood.stranger) for flood in self._flooded),
            challenge=self._challenge if self._settings.challenge.enabled else None,
        )
        last = self._published
        if last is not None and msgspec.structs.replace(snapshot, version=last.version) == last:
            return
        floor = max((known.version for known in (last, self._resumed) if known is not None), default=0)
        # Wall-clock milliseconds make versions grow across restarts.
        version = max(floor + 1, int(self._clock.wall() * 1000))
        self._published = msgspec.structs.replace(snapshot, version=version)
        self._context.publish(self._published)

    # -- what is shown and asked ---------------------------------------------------------------------------------------

    def samples(self) -> Iterable[Sample]:
        """Yield every series for a scrape."""
        return samples_of(self._tally, self._book, self._recorder, self._flooded)

    def health(self) -> dict[str, str]:
        """Return findings that an operator should see; empty when all is well."""
        found = {
            "state": self._book.trouble,
            "events": self._recorder.trouble,
            "step": self._failure,
            "records": f"{len(self._book.unreadable)} records cannot be read" if self._book.unreadable else "",
        }
        return {part: text for part, text in found.items() if text}

    def status(self, top: int = 10) -> ThreatStatus:
        """Return what was seen, who is banned, and what is usual."""
        return overview(
            self._published or self._base, self._tally, self._book, self._usual, self._flooded, self.health(), top
        )

    async def events(self, query: EventQuery) -> EventPage:
        """Search the events.

        Raises:
            StateError: they cannot be read.
        """
        return await self._recorder.store.search(query)

    @property
    def recorder(self) -> Recorder:
        """Where events go; for whoever wants to listen."""
        return self._recorder

    def describe(self, action: Action) -> object:
        """Return what an action is about, as the audit trail shows it."""
        return self._operations.describe(action)

    async def perform(self, action: Action) -> ActionResult:
        """Carry out one action; what it changed is in the next snapshot, within 20 ms.

        Raises:
            InvalidError: it names nobody, or is refused.
            NotFoundError: there is no such event.
            StateUnavailableError: the store cannot be reached; nothing was changed.
        """
        return await self._operations.perform(action)


def _gate(settings: ThreatDetectionSettings) -> AlertGate | None:
    if not settings.alert_on_high:
        return None
    return AlertGate(quiet=settings.alerts.quiet_ms / 1000, per_minute=settings.alerts.per_minute)


def _network(client: str) -> str:
    """Return the /24 or /64 of an address; empty for what is none."""
    try:
        version, first, _ = parse_network(client)
    except InvalidError:
        return ""
    if version == 4:
        return f"{first >> 24}.{first >> 16 & 255}.{first >> 8 & 255}.0/24"
    upper = first >> 64
    return ":".join(f"{upper >> shift & 0xFFFF:x}" for shift in (48, 32, 16, 0)) + "::/64"


def _is_harder(new: BanRecord, old: BanRecord) -> bool:
    if new.challenge != old.challenge:
        return old.challenge
    return old.until is not None and (new.until is None or new.until > old.until)
