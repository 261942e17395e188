"""The control process's end of the channel: newest snapshots down, reports up, one connection a worker."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from seawall.control.framing import ChannelError, FrameReader, encode_frame
from seawall.control.messages import (
    MAX_FRAME_BYTES,
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
from seawall.core.system import WorkerId

__all__ = ["ChannelServer", "Feed"]

_log = logging.getLogger("seawall.control.channel")

_READ_BYTES = 256 * 1024


class Feed(Protocol):
    """What the channel carries: the control plane, as its workers see it."""

    def newest(self) -> Mapping[str, bytes]:
        """Return the newest encoded snapshot of each system."""
        ...

    def on_worker(self, worker: WorkerId) -> None:
        """Take note that a worker is connected."""
        ...

    def on_report(self, worker: WorkerId, system: str, raw: bytes) -> None:
        """Take one report; raise `ChannelError` when it is not one."""
        ...

    def on_ask(self, worker: WorkerId, system: str, raw: bytes) -> bytes:
        """Answer a worker's question with msgpack of one value, at once; raise `ChannelError` when it is none."""
        ...

    def on_worker_lost(self, worker: WorkerId) -> None:
        """Take note that a worker's connection ended; the worker may live on and come back."""
        ...


class ChannelServer:
    """Serve the channel on a Unix socket.

    A worker that reads slowly is never sent a backlog: each connection only remembers of which systems it has not yet
    been sent the newest snapshot, and a snapshot is taken at the moment the socket has room for it.

    Args:
        path: where to listen; a stale file is replaced. Whoever may open its directory may speak, so keep that at 0700.
        hello_timeout: seconds within which a new connection must say who it is.
    """

    def __init__(self, path: Path, feed: Feed, *, hello_timeout: float = 5.0) -> None:
        self._path = path
        self._feed = feed
        self._hello_timeout = hello_timeout
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._frames: dict[str, tuple[bytes, bytes]] = {}

    async def start(self) -> None:
        """Listen."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._accepted, self._path)
        self._path.chmod(0o600)

    async def stop(self) -> None:
        """Stop listening and close every connection; workers go on with what they have."""
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None
        self._path.unlink(missing_ok=True)

    def announce(self, system: str) -> None:
        """Tell every connection that this system has a newer snapshot; costs nothing but a mark each."""
        for connection in self._connections.values():
            connection.mark(system)

    def frame(self, system: str) -> bytes:
        """Return the newest snapshot's frame, encoded once for all workers."""
        payload = self._feed.newest()[system]
        cached = self._frames.get(system)
        if cached is None or cached[0] is not payload:
            cached = payload, encode_frame(SnapshotFrame(system, msgspec.Raw(payload)))
            self._frames[system] = cached
        return cached[1]

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection is accepted outside of a task")
        connection = _Connection(self, self._feed, reader, writer)
        self._connections[task] = connection
        try:
            await connection.serve(self._hello_timeout)
        except ChannelError as error:
            _log.warning("closed the connection of %s: %s", connection.name, error.message)
        except TimeoutError:
            _log.warning("closed a connection that did not say who it is within %g s", self._hello_timeout)
        except OSError as error:
            _log.info("lost the connection of %s: %s", connection.name, error)
        except asyncio.CancelledError:
            # Only `stop` cancels this task; streams would log the cancellation as an error of ours.
            _log.debug("closed the connection of %s: stopping", connection.name)
        finally:
            del self._connections[task]
            writer.transport.abort()
            with contextlib.suppress(OSError):  # the peer's end may be gone already
                await writer.wait_closed()


class _Connection:
    """One worker's connection."""

    def __init__(
        self, server: ChannelServer, feed: Feed, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self._feed = feed
        self._reader = reader
        self._writer = writer
        self._frames = FrameReader()
        self._dirty: dict[str, None] = {}
        self._wake = asyncio.Event()
        self.name = "an unnamed worker"
        # With a limit of nought `drain` waits until the kernel took everything: at most one snapshot waits in memory.
        writer.transport.set_write_buffer_limits(high=0)

    def mark(self, system: str) -> None:
        self._dirty[system] = None
        self._wake.set()

    async def serve(self, hello_timeout: float) -> None:
        async with asyncio.timeout(hello_timeout):
            early = await self._read()
        if not early:
            return
        worker = await self._greet(early.pop(0))
        self.name = f"{worker[0]} (pid {worker[1]})"
        self._feed.on_worker(worker)
        sender = asyncio.create_task(self._send_snapshots())
        # Without a sender the worker would grow stale unnoticed; it reconnects.
        sender.add_done_callback(lambda _: self._writer.transport.abort())
        try:
            for system in self._feed.newest():
                self.mark(system)
            await self._receive(worker, early)
        finally:
            # Marked first, so that no await lies between the end and the note of it.
            self._feed.on_worker_lost(worker)
            broken = await cancel_and_wait(sender)
        if broken is not None:
            raise broken

    async def _greet(self, hello: Frame) -> WorkerId:
        if not isinstance(hello, Hello):
            raise ChannelError(f"the first frame is a {type(hello).__name__}, not a Hello")
        # The answer goes out even to another version, so that the worker can say what is wrong.
        self._writer.write(encode_frame(Welcome(PROTOCOL_VERSION, os.getpid())))
        await self._writer.drain()
        if hello.protocol != PROTOCOL_VERSION:
            raise ChannelError(
                f"{hello.slot} (pid {hello.pid}) speaks version {hello.protocol} of the channel, this process version "
                f"{PROTOCOL_VERSION}",
                hint="restart seawall: its processes run different releases",
            )
        return hello.slot, hello.pid

    async def _receive(self, worker: WorkerId, early: list[Frame]) -> None:
        frames = early
        while True:
            for frame in frames:
                if isinstance(frame, AskFrame):
                    self._answer(worker, frame)
                elif isinstance(frame, ReportFrame):
                    self._feed.on_report(worker, frame.system, bytes(frame.payload))
                else:
                    raise ChannelError(f"a worker may send reports and questions, not a {type(frame).__name__}")
            frames = await self._read()
            if not frames:
                return

    def _answer(self, worker: WorkerId, ask: AskFrame) -> None:
        # Besides answers at most one snapshot is waiting, so more than this is a worker that asks and does not listen.
        if self._writer.transport.get_write_buffer_size() > 2 * MAX_FRAME_BYTES:
            raise ChannelError(f"{worker[0]} asks, but does not read the answers")
        answer = self._feed.on_ask(worker, ask.system, bytes(ask.payload))
        self._writer.write(encode_frame(AnswerFrame(ask.number, msgspec.Raw(answer))))

    async def _read(self) -> list[Frame]:
        """Return the next frames, at least one; none at the end of the stream."""
        while True:
            received = await self._reader.read(_READ_BYTES)
            if not received:
                if self._frames.pending:
                    raise ChannelError(f"the connection ended within a frame, after {self._frames.pending} bytes")
                return []
            frames = self._frames.feed(received)
            if frames:
                return frames

    async def _send_snapshots(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._dirty:
                system = next(iter(self._dirty))
                del self._dirty[system]
                self._writer.write(self._server.frame(system))
                await self._writer.drain()
