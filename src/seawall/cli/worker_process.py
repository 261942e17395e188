"""A worker process: the data plane, fed by the channel; it begins to listen when it knows what to do with a request."""

import asyncio
import logging
import random
import socket
from collections.abc import Iterable

import msgspec
import uvloop

from seawall.adapters.pattern_cache import PatternCache
from seawall.config.gateway import GatewaySettings
from seawall.control.channel import ChannelClient
from seawall.control.child import ChildDescriptors
from seawall.control.counts import open_counts
from seawall.control.lastknown import LastKnownSnapshots
from seawall.control.messages import GATEWAY
from seawall.control.runtime import Launch, RuntimeDirectory
from seawall.control.signals import say_ready, stop_requested
from seawall.control.systems import SYSTEMS
from seawall.core.clock import SystemClock
from seawall.core.snapshot import Report
from seawall.gateway.worker import Worker
from seawall.systems.ratelimit.counts import Counts

__all__ = ["Intake", "run_worker"]

_log = logging.getLogger("seawall.serve")

_FRESH_WAIT = 0.5
"""Seconds that a worker waits for a control process that once answered, before it begins with what is on disk."""
_FIRST_WAIT = 10.0
"""The same while the gateway starts: the control process begins together with the workers, which is no failure."""


def run_worker(runtime: RuntimeDirectory, launch: Launch, descriptors: ChildDescriptors, name: str) -> None:
    """Run a worker process to its end."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_worker(runtime, launch, descriptors, name))


async def _worker(runtime: RuntimeDirectory, launch: Launch, descriptors: ChildDescriptors, name: str) -> None:
    stop = stop_requested(lifeline=descriptors.lifeline)
    # What the control process compiled at its start lies in the same folder.
    intake = Intake(patterns=PatternCache.open(runtime.path))
    channel = ChannelClient(runtime.channel, name, intake.take, intake.collect, report_interval=launch.report_interval)
    intake.counts = counts = open_counts(launch.state_url, channel)
    await channel.start()
    try:
        await intake.gather(runtime, stop)
        if intake.worker is None:
            return
        try:
            if counts is not None:
                await counts.start()  # not before: the channel is connected now, if it can be
            await intake.worker.start([socket.socket(fileno=descriptors.listener)])
            say_ready(descriptors.status)
            await stop.wait()
            _log.info("draining, for at most %g s", launch.drain_timeout)
            await intake.worker.drain(launch.drain_timeout)
        finally:
            await intake.worker.close()
    finally:
        if counts is not None:
            await counts.close()
        await channel.close()


class Intake:
    """Gather the first snapshot of every system, make the worker from them, then pass on whatever is newer.

    Args:
        fresh_wait: seconds to wait for a control process that once answered a worker.
        first_wait: seconds to wait for one that is starting with its gateway.
        patterns: as `Worker` takes it.

    Attributes:
        worker: None until every first snapshot is there.
        counts: where the worker asks for shared counts; to be set before the first snapshot.
        complete: set when it is.
    """

    def __init__(
        self,
        *,
        fresh_wait: float = _FRESH_WAIT,
        first_wait: float = _FIRST_WAIT,
        patterns: PatternCache | None = None,
    ) -> None:
        self._patterns = patterns
        self._fresh_wait = fresh_wait
        self._first_wait = first_wait
        self.worker: Worker | None = None
        self.counts: Counts | None = None
        self.complete = asyncio.Event()
        self._first: dict[str, bytes] = {}

    async def gather(self, runtime: RuntimeDirectory, stop: asyncio.Event) -> None:
        """Wait until every first snapshot is there, or `stop`; those on disk help out while nobody sends one."""
        within = self._fresh_wait if runtime.was_ready else self._first_wait
        if await _either(self.complete, stop, within=within):
            if self.complete.is_set():
                runtime.mark_ready()
        else:
            found = LastKnownSnapshots(runtime.snapshots).read(self.missing())
            if found:
                names = ", ".join(found)
                _log.warning(
                    "no word from the control process for %g s: beginning with the last snapshots of %s", within, names
                )
            for system, payload in found.items():
                self.take(system, payload)
            await _either(self.complete, stop)

    def missing(self) -> list[str]:
        """Return the names of what has not arrived yet."""
        return [name for name in (GATEWAY, *(system.name for system in SYSTEMS)) if name not in self._first]

    def take(self, system: str, payload: bytes) -> None:
        """Take an encoded snapshot; raise `msgspec.MsgspecError` when it is none."""
        if self.worker is not None:
            self.worker.apply(system, payload)
            return
        self._first[system] = payload
        if not self.missing():
            settings = GatewaySettings.model_validate(msgspec.msgpack.decode(self._first[GATEWAY]))
            # Which instance is picked needs no secrecy.
            rng = random.Random()  # noqa: S311
            self.worker = Worker(settings, SYSTEMS, SystemClock(), rng, self.counts, self._patterns)
            for name, first in self._first.items():
                self.worker.apply(name, first)
            self.complete.set()

    def collect(self, *, full: bool) -> Iterable[tuple[str, Report]]:
        """Return what the worker has to report; nothing while there is none."""
        return self.worker.collect(full=full) if self.worker is not None else ()


async def _either(first: asyncio.Event, second: asyncio.Event, *, within: float | None = None) -> bool:
    """Wait until one of two events is set; return False when neither is after `within` seconds."""
    waits = [asyncio.create_task(event.wait()) for event in (first, second)]
    done, left = await asyncio.wait(waits, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    return bool(done)
