"""The channel without a socket, for a control plane and a worker on one event loop; the same bytes go through it."""

import asyncio
import logging
import os
from collections.abc import Callable

import msgspec

from seawall.control.channel import Collect, OnAnswer
from seawall.control.channel_server import Feed
from seawall.control.framing import ChannelError
from seawall.control.tasks import cancel_and_wait

__all__ = ["LocalChannel"]

_log = logging.getLogger("seawall.worker.channel")


class LocalChannel:
    """Hand snapshots and reports over by direct call.

    Args:
        feed: the control plane; pass `announce` to its `subscribe`.
        slot: the worker's name.
        on_snapshot: called with (system, encoded snapshot).
        collect: gives the reports.
        report_interval: seconds between two reports.
    """

    def __init__(
        self,
        feed: Feed,
        slot: str,
        on_snapshot: Callable[[str, bytes], None],
        collect: Collect,
        *,
        report_interval: float = 0.1,
    ) -> None:
        self._feed = feed
        self._worker = slot, os.getpid()
        self._on_snapshot = on_snapshot
        self._collect = collect
        self._interval = report_interval
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Return whether it was started and not closed."""
        return self._task is not None

    def ask(self, system: str, payload: bytes, on_answer: OnAnswer) -> bool:
        """Ask the control plane something; as `ChannelClient.ask`."""
        if self._task is None:
            return False
        asyncio.get_running_loop().call_soon(self._answer, system, payload, on_answer)
        return True

    async def start(self) -> None:
        """Deliver the newest snapshots now, then report at the interval."""
        self._feed.on_worker(self._worker)
        for system in self._feed.newest():
            self.announce(system)
        self._report(full=True)
        self._task = asyncio.create_task(self._run())

    def announce(self, system: str) -> None:
        """Deliver this system's newest snapshot."""
        self._on_snapshot(system, self._feed.newest()[system])

    async def close(self) -> None:
        """Send a last report and end."""
        if self._task is not None:
            await cancel_and_wait(self._task)
            self._task = None
            self._report(full=False)
            self._feed.on_worker_lost(self._worker)

    def _answer(self, system: str, payload: bytes, on_answer: OnAnswer) -> None:
        try:
            answer = self._feed.on_ask(self._worker, system, payload)
        except ChannelError as error:
            _log.warning("a question to %s is refused: %s", system, error)
            on_answer(None)
        else:
            on_answer(answer)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            self._report(full=False)

    def _report(self, *, full: bool) -> None:
        for system, report in self._collect(full=full):
            self._feed.on_report(self._worker, system, msgspec.msgpack.encode(report))
