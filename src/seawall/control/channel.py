"""A worker's end of the channel: it reconnects by itself, and a lost connection costs freshness only."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import msgspec

from seawall.control.framing import ChannelError, FrameReader, encode_frame
from seawall.control.messages import (
    PROTOCOL_VERSION,
    AnswerFrame,
    AskFrame,
    Frame,
    Hello,
    ReportFrame,
    SnapshotFrame,
    Welcome,
)
from seawall.control.tasks import cancel_and_wait
from seawall.core.errors import SeawallError
from seawall.core.snapshot import Report

__all__ = ["ChannelClient", "Collect", "OnAnswer"]

_log = logging.getLogger("seawall.worker.channel")

_READ_BYTES = 256 * 1024
_MAX_ASKED = 4096
"""Questions that may wait for their answers."""
_FIRST_RETRY = 0.02
_LAST_RETRY = 0.5


OnAnswer = Callable[[bytes | None], None]
"""Takes an encoded answer; None when the connection ended before it came."""


class Collect(Protocol):
    """What a worker has to report."""

    def __call__(self, *, full: bool) -> Iterable[tuple[str, Report]]:
        """Yield (system, report) of what changed since the last call, or of everything when `full`."""
        ...


class ChannelClient:
    """Connect to the control process, take snapshots, send reports; again and again until closed.

    Args:
        path: the control process's Unix socket.
        slot: the worker's name, which stays over restarts, such as `worker-0`.
        on_snapshot: called with (system, encoded snapshot) on the event loop, for each that arrives.
        collect: gives the reports to send, everything at each new connection.
        report_interval: seconds between two reports.
        pid: the worker's process id; this process by default.
    """

    def __init__(
        self,
        path: Path,
        slot: str,
        on_snapshot: Callable[[str, bytes], None],
        collect: Collect,
        *,
        report_interval: float = 0.1,
        pid: int | None = None,
    ) -> None:
        self._path = path
        self._hello = Hello(PROTOCOL_VERSION, slot, os.getpid() if pid is None else pid)
        self._on_snapshot = on_snapshot
        self._collect = collect
        self._interval = report_interval
        self._task: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._complained = ""
        self._greetings = 0
        self._asked: dict[int, OnAnswer] = {}
        self._last_asked = 0

    @property
    def connected(self) -> bool:
        """Return whether the control process is there and has greeted us."""
        return self._writer is not None

    def ask(self, system: str, payload: bytes, on_answer: OnAnswer) -> bool:
        """Ask the control process something.

        Args:
            system: who is asked.
            payload: msgpack, of one value.
            on_answer: called once from the event loop, never from within this call.

        Returns:
            False when nothing was asked, as there is no connection or too much is unanswered; `on_answer` is not
            called then.
        """
        writer = self._writer
        if writer is None or len(self._asked) >= _MAX_ASKED:
            return False
        self._last_asked += 1
        self._asked[self._last_asked] = on_answer
        writer.write(encode_frame(AskFrame(system, self._last_asked, msgspec.Raw(payload))))
        return True

    async def start(self) -> None:
        """Begin to connect; does not wait until it succeeds."""
        self._task = asyncio.create_task(self._run())

    async def close(self, *, timeout: float = 1.0) -> None:  # noqa: ASYNC109 - bounds one write, not the caller
        """Send a last report when connected, then end; waits at most `timeout` seconds for the report to leave."""
        writer = self._writer
        if writer is not None:
            # A control process that is gone or stuck loses this report; waiting longer delays the shutdown for a count.
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(timeout):
                    self._send_reports(writer, full=False)
                    await writer.drain()
                    writer.write_eof()
        if self._task is not None:
            await cancel_and_wait(self._task)
            self._task = None

    async def _run(self) -> None:
        retry = _FIRST_RETRY
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                await self._converse()
                self._complain("the control process closed the connection; going on with the last snapshot")
            except (ConnectionRefusedError, FileNotFoundError):
                self._complain("the control process is away; going on with the last snapshot")
            except OSError as error:
                self._complain(f"lost the control process ({error}); going on with the last snapshot")
            except SeawallError as error:
                self._greetings = max(self._greetings, 1)  # somebody is there, but wrong: never quiet
                self._complain(str(error))
            except Exception:  # noqa: BLE001 - it is logged with its trace, and see below
                # A defect in one report must not cut the worker off from every later snapshot.
                _log.exception("the conversation with the control process failed; beginning a new one")
            # A conversation that ends as soon as it began is no reason to hurry.
            retry = _FIRST_RETRY if clock() - began >= _LAST_RETRY else retry
            await asyncio.sleep(retry)
            retry = min(retry * 2, _LAST_RETRY)

    def _complain(self, message: str) -> None:
        """Log a state once, not once a try."""
        if message != self._complained:
            self._complained = message
            # At the first start all processes start together, and nobody is missed yet.
            _log.log(logging.WARNING if self._greetings else logging.DEBUG, "%s", message)

    async def _converse(self) -> None:
        reader, writer = await asyncio.open_unix_connection(self._path)
        reporter: asyncio.Task[None] | None = None
        broken: BaseException | None = None
        try:
            # A report is only collected when the one before it has left: counters are cumulative, so waiting loses
            # nothing.
            writer.transport.set_write_buffer_limits(high=0)
            writer.write(encode_frame(self._hello))
            frames = FrameReader()
            while received := await reader.read(_READ_BYTES):
                for frame in frames.feed(received):
                    if self._writer is None:
                        self._greeted(frame)
                        self._writer = writer
                        reporter = asyncio.create_task(self._report(writer))
                        reporter.add_done_callback(lambda _: writer.transport.abort())
                    else:
                        self._take(frame)
        finally:
            self._writer = None
            self._forget_asked()
            if reporter is not None:
                broken = await cancel_and_wait(reporter)
            writer.transport.abort()
        if broken is not None and not isinstance(broken, OSError):  # a broken connection is known by now
            raise broken

    def _greeted(self, frame: Frame) -> None:
        if not isinstance(frame, Welcome):
            raise ChannelError(f"the control process's first frame is a {type(frame).__name__}, not a Welcome")
        if frame.protocol != PROTOCOL_VERSION:
            raise ChannelError(
                f"the control process (pid {frame.control_pid}) speaks version {frame.protocol} of the channel, this "
                f"worker version {PROTOCOL_VERSION}",
                hint="restart seawall: its processes run different releases",
            )
        self._complained = ""
        self._greetings += 1
        if self._greetings > 1:
            _log.info("connected to the control process (pid %d) again", frame.control_pid)

    def _forget_asked(self) -> None:
        asked, self._asked = self._asked, {}
        for on_answer in asked.values():
            on_answer(None)

    def _take(self, frame: Frame) -> None:
        if isinstance(frame, AnswerFrame):
            on_answer = self._asked.pop(frame.number, None)
            if on_answer is None:
                raise ChannelError(f"the control process answers the question {frame.number}, which nobody asked")
            on_answer(bytes(frame.payload))
            return
        if not isinstance(frame, SnapshotFrame):
            raise ChannelError(f"the control process may send snapshots and answers, not a {type(frame).__name__}")
        try:
            self._on_snapshot(frame.system, bytes(frame.payload))
        except (msgspec.MsgspecError, SeawallError):
            # The engine still has its last snapshot; traffic goes on.
            _log.exception("a snapshot of %s is refused; going on with the last one", frame.system)

    async def _report(self, writer: asyncio.StreamWriter) -> None:
        full = True
        while True:
            self._send_reports(writer, full=full)
            full = False
            await writer.drain()
            await asyncio.sleep(self._interval)

    def _send_reports(self, writer: asyncio.StreamWriter, *, full: bool) -> None:
        for system, report in self._collect(full=full):
            writer.write(encode_frame(ReportFrame(system, msgspec.Raw(msgspec.msgpack.encode(report)))))
