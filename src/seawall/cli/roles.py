"""The processes behind `seawall serve`: control, worker, or both in one, each one coroutine."""

import argparse
import asyncio
import contextlib
import logging
import random
import select
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from seawall.admin.server import AdminServer
from seawall.cli.logs import configure_logging
from seawall.config.gateway import GatewaySettings
from seawall.config.loader import Loaded
from seawall.control.channel import ChannelClient
from seawall.control.channel_local import LocalChannel
from seawall.control.channel_server import ChannelServer
from seawall.control.child import ChildDescriptors
from seawall.control.lastknown import LastKnownSnapshots
from seawall.control.listeners import Listeners
from seawall.control.load import load_settings
from seawall.control.plane import GATEWAY, ControlPlane
from seawall.control.runtime import Launch, RuntimeDirectory
from seawall.control.signals import say_ready, stop_requested
from seawall.control.storage import open_configured_store
from seawall.control.supervisor import EXIT_CONFIGURATION, EXIT_START, listening_line
from seawall.control.systems import SYSTEMS
from seawall.control.tree import Settings
from seawall.core.clock import SystemClock
from seawall.core.errors import ConfigurationError, SeawallError
from seawall.core.snapshot import Report
from seawall.gateway.worker import Worker

__all__ = ["child_command", "main", "run_on_loop", "serve_in_one_process"]

_log = logging.getLogger("seawall.serve")

_FRESH_WAIT = 0.5
"""Seconds that a worker waits for the control process before it begins with the last known snapshots on disk."""


def child_command(
    runtime: RuntimeDirectory, role: str, name: str, descriptors: ChildDescriptors, admin: str
) -> Sequence[str]:
    """Return the argv of a child process; nothing secret is in it."""
    return [
        sys.executable,
        "-P",  # never import from the working directory
        "-m",
        "seawall.cli.roles",
        role,
        name,
        str(runtime.path),
        f"--lifeline={descriptors.lifeline}",
        f"--status={descriptors.status}",
        f"--listener={descriptors.listener}",
        f"--admin={admin}",
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one child process of `seawall serve` and return its exit status."""
    parser = argparse.ArgumentParser(prog="seawall-role", description="A child process of seawall serve.")
    parser.add_argument("role", choices=["control", "worker"])
    parser.add_argument("name")
    parser.add_argument("runtime", type=Path)
    for option in ("--lifeline", "--status", "--listener"):
        parser.add_argument(option, type=int, required=True)
    parser.add_argument("--admin", default="")
    given = parser.parse_args(argv)
    runtime = RuntimeDirectory(given.runtime)
    descriptors = ChildDescriptors(given.lifeline, given.status, given.listener)
    try:
        launch = runtime.read_launch()
        configure_logging(launch.log_level, given.name)
        if given.role == "control":
            run_on_loop(_control(runtime, launch, descriptors, given.admin))
        else:
            run_on_loop(_worker(runtime, launch, descriptors, given.name))
    except ConfigurationError as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_CONFIGURATION
    except SeawallError as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_START
    return 0


def run_on_loop(role: Coroutine[Any, Any, None]) -> None:
    """Run a role to its end on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(role)


async def _control(runtime: RuntimeDirectory, launch: Launch, descriptors: ChildDescriptors, admin: str) -> None:
    loaded = load_settings(launch.config, launch.overrides)
    kept = LastKnownSnapshots(runtime.snapshots)
    async with _plane(loaded, kept=[kept]) as plane:
        stop = stop_requested(lifeline=descriptors.lifeline, on_hangup=_reloader(plane))
        channel = ChannelServer(runtime.channel, plane)
        plane.subscribe(channel.announce)
        await channel.start()
        try:
            async with _admin(plane, loaded.settings, admin) as address:
                say_ready(descriptors.status, address)
                await stop.wait()
        finally:
            await channel.stop()
    if not _supervised(descriptors.lifeline):
        runtime.remove()


async def _worker(runtime: RuntimeDirectory, launch: Launch, descriptors: ChildDescriptors, name: str) -> None:
    stop = stop_requested(lifeline=descriptors.lifeline)
    intake = _Intake()
    channel = ChannelClient(runtime.channel, name, intake.take, intake.collect, report_interval=launch.report_interval)
    await channel.start()
    try:
        if not await _either(intake.complete, stop, within=_FRESH_WAIT):
            for system, payload in LastKnownSnapshots(runtime.snapshots).read(intake.missing()).items():
                _log.warning("the control process is away: beginning with the last known snapshot of %s", system)
                intake.take(system, payload)
            await _either(intake.complete, stop)
        if intake.worker is None:
            return
        try:
            await intake.worker.start([socket.socket(fileno=descriptors.listener)])
            say_ready(descriptors.status)
            await stop.wait()
            _log.info("draining, for at most %g s", launch.drain_timeout)
            await intake.worker.drain(launch.drain_timeout)
        finally:
            await intake.worker.close()
    finally:
        await channel.close()


async def serve_in_one_process(loaded: Loaded[Settings], announce: Callable[[str], None]) -> None:
    """Run the control plane and one worker on this loop until a signal; for development and tests."""
    settings = loaded.settings
    listeners = Listeners(settings.gateway.listen, 1)
    try:
        async with _plane(loaded) as plane:
            stop = stop_requested(on_hangup=_reloader(plane))
            intake = _Intake()
            interval = settings.control.report_interval_ms / 1000
            channel = LocalChannel(plane, "worker-0", intake.take, intake.collect, report_interval=interval)
            plane.subscribe(channel.announce)
            await channel.start()
            await intake.complete.wait()
            if intake.worker is None:
                raise RuntimeError("a complete intake has no worker")
            try:
                await intake.worker.start([listeners.take(0)])
                async with _admin(plane, settings, "") as address:
                    announce(listening_line(listeners.url, address, 1))
                    await stop.wait()
                    _log.info("draining, for at most %g s", settings.gateway.drain_timeout_ms / 1000)
                    await intake.worker.drain(settings.gateway.drain_timeout_ms / 1000)
            finally:
                await intake.worker.close()
                await channel.close()
    finally:
        listeners.close()


class _Intake:
    """Gather the first snapshot of every system, make the worker from them, then pass on whatever is newer."""

    def __init__(self) -> None:
        self.worker: Worker | None = None
        self.complete = asyncio.Event()
        self._first: dict[str, bytes] = {}

    def missing(self) -> list[str]:
        return [name for name in (GATEWAY, *(system.name for system in SYSTEMS)) if name not in self._first]

    def take(self, system: str, payload: bytes) -> None:
        if self.worker is not None:
            self.worker.apply(system, payload)
            return
        self._first[system] = payload
        if not self.missing():
            settings = GatewaySettings.model_validate(msgspec.msgpack.decode(self._first[GATEWAY]))
            # Which instance is picked needs no secrecy.
            self.worker = Worker(settings, SYSTEMS, SystemClock(), random.Random())  # noqa: S311
            for name, first in self._first.items():
                self.worker.apply(name, first)
            self.complete.set()

    def collect(self, *, full: bool) -> Iterable[tuple[str, Report]]:
        return self.worker.collect(full=full) if self.worker is not None else ()


@contextlib.asynccontextmanager
async def _plane(loaded: Loaded[Settings], *, kept: Sequence[LastKnownSnapshots] = ()) -> AsyncIterator[ControlPlane]:
    store = open_configured_store(loaded.settings.state)
    try:
        # Jitter and tie-breaks need no secrecy; what does draws from `secrets`.
        rng = random.Random()  # noqa: S311
        plane = ControlPlane(loaded.settings, loaded, store, SYSTEMS, SystemClock(), rng, kept=kept)
        await plane.start()
        try:
            yield plane
        finally:
            await plane.stop()
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def _admin(plane: ControlPlane, settings: Settings, listen: str) -> AsyncIterator[str]:
    """Run the admin API; `listen` overrides where, so that a restarted control process keeps the port it was given."""
    if not settings.admin.enabled:
        yield ""
        return
    server = AdminServer(plane, settings.admin.model_copy(update={"listen": listen} if listen else {}))
    await server.start()
    try:
        yield server.address
    finally:
        await server.stop()


def _reloader(plane: ControlPlane) -> Callable[[], None]:
    """Return what SIGHUP calls: it reloads in a task of its own."""
    running: set[asyncio.Task[None]] = set()

    async def reload() -> None:
        with contextlib.suppress(SeawallError):  # the plane has logged it and shows it in its health
            await plane.reload()

    def begin() -> None:
        task = asyncio.create_task(reload())
        running.add(task)
        task.add_done_callback(running.discard)

    return begin


async def _either(first: asyncio.Event, second: asyncio.Event, *, within: float | None = None) -> bool:
    """Wait until one of two events is set; return False when neither is after `within` seconds."""
    waits = [asyncio.create_task(event.wait()) for event in (first, second)]
    done, left = await asyncio.wait(waits, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    return bool(done)


def _supervised(lifeline: int) -> bool:
    """Return whether the supervisor still lives: its end of the lifeline is open, so there is nothing to read."""
    readable, _, _ = select.select([lifeline], [], [], 0)
    return not readable


if __name__ == "__main__":
    sys.exit(main())
