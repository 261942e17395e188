"""The control process: the control plane, the channel to the workers, the admin API."""

import asyncio
import contextlib
import os
import random
import select
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import uvloop

from seawall.adapters.pattern_cache import PatternCache
from seawall.admin.listener import Listener
from seawall.admin.server import AdminServer
from seawall.config.loader import Loaded, load
from seawall.control.channel_server import ChannelServer
from seawall.control.child import ChildDescriptors
from seawall.control.lastknown import LastKnownSnapshots
from seawall.control.plane import ControlPlane
from seawall.control.runtime import Launch, RuntimeDirectory
from seawall.control.signals import say_ready, stop_requested
from seawall.control.storage import open_configured_store
from seawall.control.systems import SYSTEMS
from seawall.control.tree import Settings
from seawall.core.clock import SystemClock
from seawall.core.errors import SeawallError, StateUnavailableError
from seawall.state.sqlite_schema import StateFileError

__all__ = ["admin_api", "admin_socket", "control_plane", "reloader", "run_control"]


def run_control(runtime: RuntimeDirectory, launch: Launch, descriptors: ChildDescriptors, admin: str) -> None:
    """Run the control process to its end.

    Args:
        runtime: where the channel's socket and the last known snapshots for the workers are.
        launch: how the gateway was started; decides the configuration.
        descriptors: lifeline and status pipe.
        admin: where the admin API answered in an earlier life, so that it keeps a port that was free then; empty at
        first.

    Raises:
        ConfigurationError: the configuration is refused.
        SeawallError: the store, the admin API's address or the last snapshots stand in the way of a start.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_control(runtime, launch, descriptors, admin))


async def _control(runtime: RuntimeDirectory, launch: Launch, descriptors: ChildDescriptors, admin: str) -> None:
    file = None if launch.config is None else Path(launch.config)
    loaded = load(Settings, file=file, environ=os.environ, overrides=launch.overrides)
    kept = LastKnownSnapshots(runtime.snapshots)
    # The socket comes first: a worker listens as soon as it has a snapshot, and must not when the start fails here.
    async with (
        admin_socket(loaded.settings, admin) as listener,
        control_plane(loaded, kept=[kept], workers=launch.workers, patterns=PatternCache.open(runtime.path)) as plane,
    ):
        stop = stop_requested(lifeline=descriptors.lifeline, on_hangup=reloader(plane))
        channel = ChannelServer(runtime.channel, plane)
        plane.subscribe(channel.announce)
        await channel.start()
        try:
            async with admin_api(plane, loaded.settings, listener) as address:
                say_ready(descriptors.status, address)
                await stop.wait()
        finally:
            await channel.stop()
    if not _supervised(descriptors.lifeline):
        runtime.remove()


@contextlib.asynccontextmanager
async def control_plane(
    loaded: Loaded[Settings],
    *,
    kept: Sequence[LastKnownSnapshots] = (),
    workers: int = 1,
    patterns: PatternCache | None = None,
) -> AsyncIterator[ControlPlane]:
    """Run the control plane over the configured store; `kept`, `workers` and `patterns` as `ControlPlane` takes them.

    Raises:
        StateUnavailableError: the store is away and there is no snapshot to go on from; a `StateFileError` says what is
            wrong with the file's place.
        StateError: the store refuses its file.
    """
    store = open_configured_store(loaded.settings.state)
    try:
        # Jitter and tie-breaks need no secrecy; what does draws from `secrets`.
        rng = random.Random()  # noqa: S311
        plane = ControlPlane(
            loaded.settings, loaded, store, SYSTEMS, SystemClock(), rng, kept=kept, workers=workers, patterns=patterns
        )
        try:
            await plane.start()
        except StateUnavailableError as error:
            # Nobody can "start" a file: what is wrong with its place says more than that the store is away.
            if isinstance(error.__cause__, StateFileError):
                raise error.__cause__ from None
            raise
        try:
            yield plane
        finally:
            await plane.stop()
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def admin_socket(settings: Settings, listen: str = "") -> AsyncIterator[Listener | None]:
    """Take the admin API's address, None where it is off; to be done before anything starts that others can see.

    Args:
        settings: what says where.
        listen: another place than `admin.listen`, so that a restarted control process keeps the port it was given.

    Raises:
        SeawallError: the address is taken, not permitted, or not one of this machine.
    """
    if not settings.admin.enabled:
        yield None
        return
    listener = await Listener.open(listen or settings.admin.listen)
    try:
        yield listener
    finally:
        listener.close()


@contextlib.asynccontextmanager
async def admin_api(plane: ControlPlane, settings: Settings, listener: Listener | None) -> AsyncIterator[str]:
    """Run the admin API on what `admin_socket` took, and yield its address; empty where it is off."""
    if listener is None:
        yield ""
        return
    server = AdminServer(plane, settings.admin.model_copy(update={"listen": listener.address}), listener=listener)
    await server.start()
    try:
        yield server.address
    finally:
        await server.stop()


def reloader(plane: ControlPlane) -> Callable[[], None]:
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


def _supervised(lifeline: int) -> bool:
    """Return whether the supervisor still lives: its end of the lifeline is open, so there is nothing to read."""
    readable, _, _ = select.select([lifeline], [], [], 0)
    return not readable
