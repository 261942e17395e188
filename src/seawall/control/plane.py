"""The control plane: runs controllers, publishes what they know, takes what workers saw; one class, mostly words."""

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from seawall.adapters.geoip import open_locations
from seawall.adapters.jwks import fetch_keys
from seawall.adapters.jwt import open_token_keys
from seawall.adapters.pattern_cache import PatternCache
from seawall.adapters.threat_tools import ThreatTools
from seawall.config.changes import changed_paths, needs_restart
from seawall.config.loader import Loaded
from seawall.control.counts import RATELIMIT
from seawall.control.framing import ChannelError
from seawall.control.instruments import (
    RELOADS,
    REPORTS,
    SHARED_KEYS,
    SHARED_KEYS_FORGOTTEN,
    SNAPSHOT_VERSION,
    STATE_UP,
    WORKERS,
)
from seawall.control.lastknown import LastKnownSnapshots
from seawall.control.links import link_controllers
from seawall.control.messages import GATEWAY, MAX_FRAME_BYTES
from seawall.control.stages import StageFailures
from seawall.control.storage import state_directory, state_url
from seawall.control.tasks import cancel_and_wait
from seawall.control.tree import Settings
from seawall.control.workers import WorkerRoll, WorkerStatus
from seawall.core.clock import Clock
from seawall.core.errors import InvalidError, SeawallError, StateError, StateUnavailableError
from seawall.core.instruments import Sample
from seawall.core.snapshot import Snapshot
from seawall.core.system import Controller, ControllerContext, System, WorkerId
from seawall.pipeline.failures import PIPELINE, PipelineReport
from seawall.state.store import StateStore
from seawall.systems.ratelimit.embedded import EmbeddedCounts

__all__ = ["ControlPlane", "PlaneHealth", "ReloadResult", "Resumable"]

_log = logging.getLogger("seawall.control")

_MAX_SNAPSHOT_BYTES = MAX_FRAME_BYTES - 1024
"""A snapshot travels in a frame with its system's name."""
_WATCH_INTERVAL = 0.5
_NO_ANSWER = msgspec.msgpack.encode(None)
_KEEP_INTERVAL = 1.0
"""Seconds between two writes of the last known snapshots."""


@runtime_checkable
class Resumable(Protocol):
    """A controller that can go on from a snapshot of an earlier run while the store is away."""

    def resume(self, snapshot: Any) -> None:  # noqa: ANN401 - each controller has its own type
        """Take the last known snapshot as the truth until the store answers; called before `start`."""
        ...


class PlaneHealth(msgspec.Struct, frozen=True):
    """Whether requests can be served, and what an operator should know, by the part that found it."""

    ready: bool
    findings: dict[str, str]


class ReloadResult(msgspec.Struct, frozen=True):
    """What a reload did: dotted key paths in force now, and those that wait for the next start."""

    changed: list[str]
    needs_restart: list[str]


class ControlPlane:
    """Run one controller per system, on one event loop.

    Args:
        settings: the tree to run with.
        loaded: the load that gave the tree; `reload` repeats it.
        store: shared state; the plane does not close it.
        systems: what to run.
        kept: directories besides the state directory in which the newest snapshots are kept for a start without us.
        workers: worker processes that are to run.
        patterns: makes the matchers of threat detection.
    """

    def __init__(  # noqa: PLR0913 - what a process wires together
        self,
        settings: Settings,
        loaded: Loaded[Settings],
        store: StateStore,
        systems: Sequence[System],
        clock: Clock,
        rng: random.Random,
        *,
        kept: Sequence[LastKnownSnapshots] = (),
        workers: int = 1,
        patterns: PatternCache | None = None,
    ) -> None:
        self.settings = settings
        self.loaded = loaded
        self.store = store
        self.systems = tuple(systems)
        self._clock = clock
        self._by_name = {system.name: system for system in self.systems}
        self._decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {
            system.name: msgspec.msgpack.Decoder(system.report) for system in self.systems
        }
        self._decoders[PIPELINE] = msgspec.msgpack.Decoder(PipelineReport)
        self._started_with = settings
        self._workers = workers
        # Where state ends with this process, so do events.
        events = store.url if store.url.startswith("memory:") else state_url(settings.state)
        self._threat_tools = ThreatTools(
            events,
            state_directory(settings.state),
            patterns or PatternCache.open(),
            geoip_database=next(
                (pool.geoip_database for pool in settings.balancing.pools.values() if pool.geoip_database), ""
            ),
        )
        self._last_known = LastKnownSnapshots(state_directory(settings.state))
        # A store in memory is never away, so nothing would ever be read from the state directory.
        self._kept = tuple(kept) if store.url.startswith("memory:") else (self._last_known, *kept)
        self._unkept: dict[str, None] = {}
        self._kept_at = 0.0
        self._newest: dict[str, bytes] = {}
        self._versions: dict[str, int] = {}
        self._listeners: list[Callable[[str], None]] = []
        self._roll = WorkerRoll(clock, self._on_gone)
        self.counts = EmbeddedCounts(clock.monotonic)
        self._answering: dict[str, Callable[[bytes], bytes]] = {RATELIMIT: self.counts.answer}
        self._findings: dict[str, str] = {}
        self._reloads = {"ok": 0, "refused": 0}
        self._reports = dict.fromkeys(self._decoders, 0)
        self._stages = StageFailures()
        self._reloading = asyncio.Lock()
        self._watcher: asyncio.Task[None] | None = None
        self.controllers: dict[str, Controller] = {
            system.name: system.controller(self._context(system, rng)) for system in self.systems
        }
        link_controllers(self.controllers)

    def _context(self, system: System, rng: random.Random) -> ControllerContext:
        return ControllerContext(
            settings=getattr(self.settings, system.name),
            store=self.store,
            clock=self._clock,
            rng=rng,
            publish=lambda snapshot: self.publish(system.name, snapshot),
            locations=open_locations,
            token_keys=open_token_keys,
            fetch_keys=fetch_keys,
            workers=self._workers,
            threat_tools=self._threat_tools,
        )

    async def start(self) -> None:
        """Start every controller; from the last known snapshots when the store is away.

        Raises:
            StateUnavailableError: the store is away and there is no snapshot to go on from.
            StateError: the store refuses its file.
        """
        last = self._last_known.read(self._by_name)
        for name, raw in last.items():
            self._versions[name] = msgspec.msgpack.decode(raw, type=Snapshot).version
        self._publish_gateway()
        try:
            await self.store.ping()
        except StateUnavailableError as error:
            self._resume(last, error)
        started: list[Controller] = []
        try:
            for controller in self.controllers.values():
                await controller.start()
                started.append(controller)
        except BaseException:
            for controller in started:
                await controller.stop()
            raise
        self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Stop every controller and keep the last snapshots."""
        if self._watcher is not None:
            await cancel_and_wait(self._watcher)
            self._watcher = None
        for controller in reversed(self.controllers.values()):
            await controller.stop()
        self._keep()

    def publish(self, system: str, snapshot: Snapshot) -> None:
        """Make this the newest snapshot of its system and tell every worker.

        The version is set here, from the wall clock in milliseconds: it goes on growing over restarts of this process,
        which workers outlive, and over those of the machine.
        """
        version = max(self._versions.get(system, 0) + 1, int(self._clock.wall() * 1000))
        raw = msgspec.msgpack.encode(msgspec.structs.replace(snapshot, version=version))
        part = f"{system}.snapshot"
        if len(raw) > _MAX_SNAPSHOT_BYTES:
            finding = (
                f"the newest snapshot has {len(raw)} bytes, at most {_MAX_SNAPSHOT_BYTES} can be sent; the last stays"
            )
            _log.error("%s: %s", part, finding)
            self._findings[part] = finding
            return
        self._findings.pop(part, None)
        self._versions[system] = version
        self._post(system, raw)

    def subscribe(self, listener: Callable[[str], None]) -> None:
        """Call this with a system's name whenever it has a newer snapshot."""
        self._listeners.append(listener)

    def newest(self) -> Mapping[str, bytes]:
        """Return the newest encoded snapshot of each system, the gateway's settings among them."""
        return self._newest

    @property
    def workers(self) -> list[WorkerStatus]:
        """Return the workers that live, by slot."""
        return list(self._roll)

    def on_worker(self, worker: WorkerId) -> None:
        """Take note that a worker is connected."""
        self._roll.joined(worker)

    def on_worker_lost(self, worker: WorkerId) -> None:
        """Take note that a worker's connection ended."""
        self._roll.lost(worker)

    def on_report(self, worker: WorkerId, system: str, raw: bytes) -> None:
        """Hand a system's report to its controller, or add up a pipeline's; raise `ChannelError` when it is none."""
        decoder = self._decoders.get(system)
        if decoder is None:
            raise ChannelError(f"{worker[0]} reports about {system!r}, which does not run here")
        try:
            report = decoder.decode(raw)
        except msgspec.MsgspecError as error:
            raise ChannelError(f"a report of {worker[0]} about {system!r} is malformed: {error}") from error
        self._roll.reported(worker)
        self._reports[system] += 1
        part = f"{system}.reports"
        try:
            (self._stages if system == PIPELINE else self.controllers[system]).on_report(worker, report)
        except Exception as error:  # noqa: BLE001 - a defect in one controller must not cut workers off from snapshots
            if part not in self._findings:
                _log.exception("a report of %s about %s cannot be taken", worker[0], system)
            self._findings[part] = f"a report of {worker[0]} could not be taken: {error!r}"
        else:
            self._findings.pop(part, None)

    def on_ask(self, worker: WorkerId, system: str, raw: bytes) -> bytes:
        """Answer a worker's question to a system; raise `ChannelError` when it is none."""
        answer = self._answering.get(system)
        if answer is None:
            raise ChannelError(f"{worker[0]} asks {system!r}, which answers no questions")
        part = f"{system}.questions"
        try:
            answered = answer(raw)
        except (msgspec.MsgspecError, InvalidError) as error:
            raise ChannelError(f"a question of {worker[0]} to {system!r} is malformed: {error}") from error
        except Exception as error:  # noqa: BLE001 - a defect in one system must not cut workers off from snapshots
            if part not in self._findings:
                _log.exception("a question of %s to %s cannot be answered", worker[0], system)
            self._findings[part] = f"a question of {worker[0]} could not be answered: {error!r}"
            return _NO_ANSWER
        self._findings.pop(part, None)
        return answered

    async def reload(self) -> ReloadResult:
        """Load the configuration again, provision it, then swap it in; the old one stays in force when that fails.

        Raises:
            ConfigurationError: the new configuration is refused.
        """
        async with self._reloading:
            try:
                loaded = self.loaded.again()
                changed = changed_paths(self.settings, loaded.settings)
                await self._reconfigure(loaded.settings)
            except SeawallError as error:
                self._reloads["refused"] += 1
                self._findings["configuration"] = f"the last reload was refused: {error.message}"
                _log.error("the configuration is not reloaded, the running one stays in force: %s", error)
                raise
            self.settings, self.loaded = loaded.settings, loaded
            if any(key.startswith(f"{GATEWAY}.") for key in changed):
                self._publish_gateway()
            self._reloads["ok"] += 1
            waiting = [key for key in changed_paths(self._started_with, self.settings) if needs_restart(key)]
            self._findings.pop("configuration", None)
            if waiting:
                self._findings["configuration"] = f"needs a restart to take effect: {', '.join(waiting)}"
            in_force = [key for key in changed if not needs_restart(key)]
            _log.info("reloaded the configuration: %s", ", ".join(in_force) or "nothing changed")
            for warning in loaded.warnings:
                _log.warning("%s", warning)
            if waiting:
                _log.warning("these settings wait for a restart: %s", ", ".join(waiting))
            return ReloadResult(in_force, waiting)

    async def _reconfigure(self, settings: Settings) -> None:
        """Hand each controller its section; when one refuses, those before it get their old one back."""
        done: list[str] = []
        try:
            for name, controller in self.controllers.items():
                section = getattr(settings, name)
                if section != getattr(self.settings, name):
                    await controller.reconfigure(section)
                    done.append(name)
        except SeawallError:
            for name in reversed(done):
                await self.controllers[name].reconfigure(getattr(self.settings, name))
            raise

    def health(self) -> PlaneHealth:
        """Return the plane's state; cheap."""
        findings = dict(self._findings)
        missing = [name for name in self._by_name if name not in self._newest]
        if missing:
            findings["snapshots"] = f"nothing published yet by {', '.join(missing)}"
        if not self._roll.connected:
            findings["workers"] = "no worker is connected"
        ready = not findings.keys() & {"snapshots", "workers"}
        for name, controller in self.controllers.items():
            for part, finding in controller.health().items():
                findings[f"{name}.{part}"] = finding
        return PlaneHealth(ready, findings)

    def samples(self) -> Iterator[Sample]:
        """Yield every series of the plane and of its controllers."""
        workers = self.workers
        connected = sum(worker.connected for worker in workers)
        yield Sample(WORKERS, ("connected",), connected)
        yield Sample(WORKERS, ("disconnected",), len(workers) - connected)
        yield Sample(STATE_UP, (), 0.0 if "state" in self._findings else 1.0)
        for name, version in self._versions.items():
            yield Sample(SNAPSHOT_VERSION, (name,), version)
        for result, count in self._reloads.items():
            yield Sample(RELOADS, (result,), count)
        for name, count in self._reports.items():
            yield Sample(REPORTS, (name,), count)
        yield from self._stages.samples()
        yield Sample(SHARED_KEYS, (), len(self.counts))
        yield Sample(SHARED_KEYS_FORGOTTEN, (), self.counts.forgotten)
        for controller in self.controllers.values():
            yield from controller.samples()

    def _resume(self, last: Mapping[str, bytes], error: StateUnavailableError) -> None:
        missing = [name for name in self._by_name if name not in last]
        if missing:
            raise StateUnavailableError(
                f"the state store {self.store.url} is away ({error.message}), and {self._last_known.directory} holds "
                f"no last known snapshot of {', '.join(missing)} to go on from",
                hint="start the store, or set state.url to one that answers",
            ) from error
        for name, raw in last.items():
            snapshot = msgspec.msgpack.decode(raw, type=self._by_name[name].snapshot)
            self.publish(name, snapshot)
            controller = self.controllers[name]
            if isinstance(controller, Resumable):
                controller.resume(snapshot)
        self._state_away(error)
        _log.warning("started from the last known snapshots in %s", self._last_known.directory)

    def _state_away(self, error: StateError) -> None:
        if "state" not in self._findings:
            _log.warning(
                "the state store %s is away, going on with the last snapshot: %s", self.store.url, error.message
            )
        self._findings["state"] = f"{self.store.url} is away, the last known snapshot is in force: {error.message}"

    def _publish_gateway(self) -> None:
        self._post(GATEWAY, msgspec.msgpack.encode(self.settings.gateway.model_dump(mode="json")))

    def _post(self, system: str, raw: bytes) -> None:
        self._newest[system] = raw
        self._unkept[system] = None
        for listener in self._listeners:
            listener(system)

    def _on_gone(self, worker: WorkerId) -> None:
        _log.info("%s (pid %d) is gone", *worker)
        self._stages.on_worker_gone(worker)
        for controller in self.controllers.values():
            controller.on_worker_gone(worker)

    async def _watch(self) -> None:
        while True:
            try:
                self._roll.sweep()
                self._keep_when_due()
                await self._look_at_store()
            except Exception:  # noqa: BLE001 - one failed look must not end the later ones
                _log.exception("the control plane's watch failed")
            await asyncio.sleep(_WATCH_INTERVAL)

    async def _look_at_store(self) -> None:
        try:
            await self.store.ping()
        except StateError as error:
            self._state_away(error)
        else:
            if self._findings.pop("state", None):
                _log.info("the state store %s answers again", self.store.url)

    def _keep_when_due(self) -> None:
        if self._unkept and self._clock.monotonic() - self._kept_at >= _KEEP_INTERVAL:
            self._keep()

    def _keep(self) -> None:
        """Write the snapshots that changed since they were last written."""
        self._kept_at = self._clock.monotonic()
        unkept = {system: self._newest[system] for system in self._unkept}
        try:
            for place in self._kept:
                place.write(unkept, now=self._clock.wall())
        except StateError as error:
            if self._findings.get("last-snapshot") != error.message:
                _log.warning("%s", error)
            self._findings["last-snapshot"] = error.message
            return
        self._unkept.clear()
        self._findings.pop("last-snapshot", None)
