"""The threat controller: bans, floods, baselines and events; one class, since its step needs all that it knows."""

import asyncio
import logging
import math
import secrets
from collections.abc import Callable, Iterable

import msgspec

from seawall.core.errors import NotFoundError, StateError
from seawall.core.instruments import Sample
from seawall.core.system import ControllerContext, WorkerId
from seawall.core.tasks import end_tasks
from seawall.state.scripts import PUT_IF_ABSENT
from seawall.systems.threats.actions import Action, ActionResult
from seawall.systems.threats.alerting import AlertGate
from seawall.systems.threats.book import ThreatBook
from seawall.systems.threats.clients import threshold_of
from seawall.systems.threats.consequences import Consequences
from seawall.systems.threats.events import EventPage, EventQuery, ThreatEvent
from seawall.systems.threats.floods import Flood, FloodWatch
from seawall.systems.threats.inspection.policy import Exclusion
from seawall.systems.threats.instruments import samples_of
from seawall.systems.threats.merge import bans_of, merged_snapshot
from seawall.systems.threats.messages import ChallengeKey, FloodPolicy, ThreatReport, ThreatSnapshot
from seawall.systems.threats.model import Action as Done
from seawall.systems.threats.model import Level, Mode, ThreatClass
from seawall.systems.threats.notices import Notices
from seawall.systems.threats.offences import Offences
from seawall.systems.threats.operations import Operations
from seawall.systems.threats.overview import Learned, ThreatStatus, overview
from seawall.systems.threats.plan import client_watch_of, flood_limits_of, oddity_of, response_of, snapshot_of
from seawall.systems.threats.proof import Proof
from seawall.systems.threats.recorder import Recorder
from seawall.systems.threats.records import AnyRecord, BanRecord, ExclusionsRecord, OffencesRecord
from seawall.systems.threats.settings import ThreatDetectionSettings
from seawall.systems.threats.tally import Tally
from seawall.systems.threats.usual import Usual

__all__ = ["ThreatController"]

_log = logging.getLogger("seawall.threats")

_STEP = 0.25
_LOOK = 0.5
"""Seconds between two looks at the rates of routes; workers report more often."""
_COALESCE = 0.02
_MOST_COALESCED = 0.4
_SECRET = "threats/secret"  # noqa: S105 - a key's name
_MAX_BANS_SENT = 20_000


class ThreatController:
    """Learn from all guards, and tell them whom to refuse.

    Implements `seawall.core.system.Controller`.

    Args:
        context: settings, store, clocks, tools and where to publish.

    Raises:
        ConfigurationError: alerts cannot be sent as configured.
    """

    def __init__(self, context: ControllerContext) -> None:
        self._context = context
        self._clock = context.clock
        self._settings: ThreatDetectionSettings = context.settings
        self._book = ThreatBook(context.store, context.clock, self._on_book)
        self._base = snapshot_of(self._settings)
        self._proof = Proof(context.threat_tools.patterns, secrets.token_bytes)
        self._tally = Tally()
        self._recorder = self._open_recorder()
        self._notices = Notices(self._tally, self._recorder, self._clock)
        self._notices.country = context.threat_tools.countries(self._settings)
        self._consequences = Consequences(self._book, self._clock, response_of(self._settings))
        self._offences = Offences(self._consequences, self._notices, self._clock)
        self._floods = FloodWatch(flood_limits_of(self._settings))
        self._flooded: tuple[Flood, ...] = ()
        self._usual = Usual(oddity_of(self._settings))
        self._clients = client_watch_of(context.threat_tools.client_scores(self._settings, context.rng), self._settings)
        self._looked = -math.inf
        self._operations = Operations(
            self._book,
            self._recorder,
            self._clock,
            lambda: self._settings,
            self._consequences.forgive,
            self._proof.prove,
            self._consequences.is_allowed,
            self._on_feedback,
        )
        self._challenge: ChallengeKey | None = None
        self._published: ThreatSnapshot | None = None
        self._resumed: ThreatSnapshot | None = None
        self._resuming = False
        self._useless: dict[Exclusion, str] = {}
        self._stale = True
        self._coalesce = _COALESCE
        self._timer: asyncio.TimerHandle | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._failure = ""

    # -- life ----------------------------------------------------------------------------------------------------------

    def resume(self, snapshot: ThreatSnapshot) -> None:
        """Take the last known snapshot before `start`, which then does without the store until it is back."""
        self._resumed, self._resuming = snapshot, True
        self._challenge = snapshot.challenge
        for subject, ban in snapshot.bans.items():
            until = None if math.isinf(ban.until) else ban.until
            self._book.recall(BanRecord(name=subject, until=until, reason=ban.reason, challenge=ban.challenge))

    async def start(self) -> None:
        """Read the store, publish the first snapshot and start the step.

        The first start on a machine compiles the patterns, which takes seconds; workers then find them compiled.

        Raises:
            SeawallError: the settings cannot be put in force, as when an exclusion has no effect.
            StateUnavailableError: the store cannot be reached and there is no last known snapshot to go on with.
        """
        await asyncio.to_thread(self._proof.check, self._base)
        try:
            await self._book.load()
            self._challenge = await self._challenge_key()
        except StateError as error:
            if self._resumed is None:
                raise
            self._book.troubled(error)
            self._challenge = self._challenge or self._own_key()
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
        await self._book.stop()
        await self._recorder.stop()

    async def reconfigure(self, settings: ThreatDetectionSettings) -> None:
        """Take another settings section; what was learned stays where it still means the same.

        Where events are kept changes with the next start only.

        Raises:
            SeawallError: the settings cannot be put in force; nothing has changed then.
        """
        base = snapshot_of(settings)
        await asyncio.to_thread(self._proof.check, base)
        # Opened anew even where the path is the same: a database is replaced by a newer one every few weeks.
        judging = settings.judge_clients != self._settings.judge_clients
        scores = None
        if judging:  # not for nothing: a model takes a moment and some 100 MB to load
            scores = await asyncio.to_thread(self._context.threat_tools.client_scores, settings, self._context.rng)
        country = await asyncio.to_thread(self._context.threat_tools.countries, settings)
        if settings.alerts != self._settings.alerts:
            tools = self._context.threat_tools
            await self._recorder.tell_by(tools.alerts(settings, self._clock, self._context.rng))
        self._notices.country = country
        if judging:
            self._clients = client_watch_of(scores, settings)
        old, self._settings, self._base = self._settings, settings, base
        self._consequences.configure(response_of(settings))
        if settings.floods != old.floods:
            self._floods = FloodWatch(flood_limits_of(settings))
            self._flooded = ()
        if settings.anomaly_threshold != old.anomaly_threshold:
            self._usual = Usual(oddity_of(settings))
            if self._clients is not None:
                self._clients.threshold = threshold_of(settings.anomaly_threshold)
        if self._challenge is not None:
            self._challenge = msgspec.structs.replace(self._challenge, bits=settings.challenge.bits)
        self._recorder.max_age = settings.events.max_age_ms / 1000
        self._recorder.max_events = settings.events.max_events
        self._recorder.log = self._context.threat_tools.log(settings)
        if (settings.alerts, settings.alert_on_high) != (old.alerts, old.alert_on_high):
            self._recorder.gate = _gate(settings)
        self._stale = True
        self._publish()

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
        if await store.get(_SECRET) is None:
            await store.run(PUT_IF_ABSENT, (_SECRET,), (secrets.token_bytes(32), None))
        secret = await store.get(_SECRET)
        return self._own_key() if secret is None else ChallengeKey(secret, self._settings.challenge.bits)

    def _own_key(self) -> ChallengeKey:
        return ChallengeKey(secrets.token_bytes(32), self._settings.challenge.bits)

    # -- what comes in -------------------------------------------------------------------------------------------------

    @property
    def on_threat(self) -> Callable[[str, float], None] | None:
        """What is told a subject and a severity 0 to 1, for the limiter's threat factor."""
        return self._consequences.on_threat

    @on_threat.setter
    def on_threat(self, told: Callable[[str, float], None] | None) -> None:
        self._consequences.on_threat = told

    def on_report(self, worker: WorkerId, report: ThreatReport) -> None:
        """Take one worker's report; never blocks."""
        report = self._notices.placed(report)
        self._tally.add(worker, report)
        self._recorder.take(report.events)
        self._offences.take(report)
        if self._clients is not None:
            self._clients.take(report.deeds)

    def on_worker_gone(self, worker: WorkerId) -> None:
        """Forget a worker's gauges; its counts stay in the totals."""
        self._tally.forget_worker(worker)

    def on_abuse(self, key: str, rule: str) -> None:
        """Take a key that went on after the limiter had blocked it again and again."""
        self._offences.abuse(key, rule)

    def _on_feedback(self, false_positive: bool) -> None:  # noqa: FBT001 - called with the verdict alone
        self._tally.judged["false-positive" if false_positive else "attack"] += 1

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
        if now - self._looked >= _LOOK:
            self._looked = now
            self._look(now)
        if self._clients is not None:
            for odd in self._clients.step(now):
                self._offences.odd(odd)
        self._book.forget_expired()
        if self._resuming and self._book.loaded:
            self._resuming, self._stale = False, True
        if self._timer is None or self._coalesce <= _COALESCE:
            self._publish()

    def _look(self, now: float) -> None:
        look = self._tally.look(now)
        if self._settings.floods.enabled:
            flooded = tuple(self._floods.step(now, look.asked, look.talkers, look.sources))
            self._offences.floods(flooded)
            self._stale |= bool(flooded or self._flooded)
            self._flooded = flooded
        elif self._flooded:
            self._flooded, self._stale = (), True
        self._usual.gather(look.seen)
        for anomaly in self._usual.step(now, self._clock.wall()):
            self._notices.tell(ThreatClass.ANOMALY, Level.LOW, Done.ALLOW, anomaly.text, route=anomaly.route)

    # -- what goes out -------------------------------------------------------------------------------------------------

    def _on_book(self, before: AnyRecord | None, after: AnyRecord | None) -> None:
        if isinstance(before, BanRecord) and after is None:
            # Deleted before its time: somebody lifted it.
            if before.until is None or before.until > self._clock.wall() + 0.5:
                self._consequences.forgive(before.name)
        elif isinstance(after, OffencesRecord):
            self._consequences.recall(after)
        if isinstance(before or after, OffencesRecord):
            return  # guards are not told of these
        self._stale = True
        if self._timer is None and self._ticker is not None:
            self._timer = asyncio.get_running_loop().call_later(self._coalesce, self._publish)

    def _publish(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._stale and self._published is not None:
            return
        self._stale = False
        began = self._clock.monotonic()
        snapshot = msgspec.structs.replace(
            self._merged(),
            floods=tuple(
                FloodPolicy(flood.route, flood.allowances, flood.stranger, flood.network) for flood in self._flooded
            ),
            challenge=self._challenge if self._settings.challenge.enabled else None,
        )
        last = self._published
        if last is None or msgspec.structs.replace(snapshot, version=last.version) != last:
            floor = max((known.version for known in (last, self._resumed) if known is not None), default=0)
            # Wall-clock milliseconds make versions grow across restarts.
            version = max(floor + 1, int(self._clock.wall() * 1000))
            self._published = msgspec.structs.replace(snapshot, version=version)
            self._consequences.follow(self._published)
            self._offences.follow(self._published)
            self._context.publish(self._published)
        # Of many thousand bans a snapshot takes long to make: a storm of them must not take all the time there is.
        self._coalesce = min(max(_COALESCE, 10.0 * (self._clock.monotonic() - began)), _MOST_COALESCED)

    def _merged(self) -> ThreatSnapshot:
        if self._resuming and self._resumed is not None and not self._book.loaded:
            # What operators said at run time is known from the last snapshot only.
            return msgspec.structs.replace(self._resumed, bans=bans_of(self._book, _MAX_BANS_SENT))
        record = self._book.find(ExclusionsRecord)
        exclusions = record.exclusions if record is not None and self._base.policy.mode is not Mode.OFF else ()
        refused = {exclusion: self._proof.refusal(exclusion) for exclusion in exclusions}
        self._useless = {exclusion: why for exclusion, why in refused.items() if why}
        useful = [exclusion for exclusion in exclusions if exclusion not in self._useless]
        return merged_snapshot(self._base, self._settings, self._book, useful, _MAX_BANS_SENT)

    # -- what is shown and asked ---------------------------------------------------------------------------------------

    def samples(self) -> Iterable[Sample]:
        """Yield every series for a scrape."""
        return samples_of(self._tally, self._book, self._recorder, self._flooded, self._clients)

    def health(self) -> dict[str, str]:
        """Return findings that an operator should see; empty when all is well."""
        book = self._book
        found = {
            "state": book.trouble,
            "events": self._recorder.trouble,
            "step": self._failure,
            "records": f"{len(book.unreadable)} records cannot be read" if book.unreadable else "",
            "unsent": f"{book.unsent} records are known to this gateway only" if book.trouble and book.unsent else "",
        }
        if self._useless:
            exclusion, why = next(iter(self._useless.items()))
            found["exclusions"] = f"{len(self._useless)} without effect are left out; of {exclusion.rule}: {why}"
        return {part: text for part, text in found.items() if text}

    def status(self, top: int = 10) -> ThreatStatus:
        """Return what was seen, who is banned, and what is usual."""
        return overview(
            self._published or self._base,
            self._tally,
            self._book,
            self._recorder,
            Learned(self._usual, self._flooded, self._clients),
            self.health(),
            top,
        )

    async def events(self, query: EventQuery) -> EventPage:
        """Search the events.

        Raises:
            StateError: they cannot be read.
        """
        return await self._recorder.store.search(query)

    async def event(self, event_id: str) -> ThreatEvent:
        """Return one event.

        Raises:
            NotFoundError: there is no such event.
            StateError: it cannot be read.
        """
        found = await self._recorder.store.get(event_id)
        if found is None:
            raise NotFoundError(f"there is no event {event_id}", hint="it may have been dropped by age")
        return found

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
            ConflictError: the configuration, or the allow-list, says otherwise.
            StateUnavailableError: the store cannot be reached; nothing was changed.
        """
        return await self._operations.perform(action)


def _gate(settings: ThreatDetectionSettings) -> AlertGate | None:
    if not settings.alert_on_high:
        return None
    return AlertGate(quiet=settings.alerts.quiet_ms / 1000, per_minute=settings.alerts.per_minute)
