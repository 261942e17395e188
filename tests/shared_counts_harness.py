"""What tests of shared counts use: asking and waiting, a control process, and a road to Redis that can be closed."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from seawall.control.channel_server import Feed
from seawall.control.framing import ChannelError
from seawall.core.system import WorkerId
from seawall.systems.ratelimit.counts import CountAnswer, CountAsk, Counts, WindowAsk
from seawall.systems.ratelimit.embedded import EmbeddedCounts
from seawall.systems.ratelimit.model import Algorithm

Answers = tuple[CountAnswer, ...] | None


def gcra(limit: float = 10.0, *, window: float = 3600.0, burst: float = 10.0, cost: float = 1.0) -> WindowAsk:
    return WindowAsk(Algorithm.GCRA, limit, window, burst, cost)


def ask(key: str, *windows: WindowAsk, lease: float = 0.0, binding: bool = True) -> CountAsk:
    return CountAsk(key, windows or (gcra(),), lease, binding)


def asking(counts: Counts, *asks: CountAsk) -> "asyncio.Future[Answers]":
    """Ask, and return what comes; a second reply fails whoever waits for the loop to be idle."""
    future: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()
    counts.take(asks, future.set_result)
    assert not future.done(), "the reply came from within the call"
    return future


async def taken(counts: Counts, *asks: CountAsk) -> Answers:
    async with asyncio.timeout(20):
        return await asking(counts, *asks)


async def until(condition: Callable[[], object], *, within: float = 20.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.002)


async def eventually(attempt: Callable[[], Awaitable[bool]], *, within: float = 20.0) -> None:
    deadline = time.monotonic() + within
    while not await attempt():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.01)


class CountingFeed(Feed):
    """A control process that does nothing but count."""

    def __init__(self) -> None:
        self.counts = EmbeddedCounts(time.monotonic)
        self.asked: list[WorkerId] = []
        self.failing: Exception | None = None

    def newest(self) -> dict[str, bytes]:
        return {}

    def on_worker(self, worker: WorkerId) -> None:
        pass

    def on_report(self, worker: WorkerId, system: str, raw: bytes) -> None:
        raise ChannelError("nobody reports here")

    def on_ask(self, worker: WorkerId, system: str, raw: bytes) -> bytes:
        self.asked.append(worker)
        if self.failing is not None:
            raise self.failing
        return self.counts.answer(raw)

    def on_worker_lost(self, worker: WorkerId) -> None:
        pass


def no_reports(*, full: bool) -> Iterable[tuple[str, object]]:
    return ()


def no_snapshots(system: str, raw: bytes) -> None:
    raise AssertionError("nobody sends snapshots here")


class Road:
    """Carry bytes to a server and back, on a port, a Unix socket or under TLS; hold the way back until told.

    Attributes:
        connections: how often somebody came.
        sent: what they said, all together.
    """

    def __init__(self, host: str, port: int) -> None:
        self._goal = host, port
        self._server: asyncio.Server | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.sent = b""
        self.answer: bytes | None = None
        """What everything is answered with, in place of what the server says."""

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def build(self, *, path: Path | None = None, tls: ssl.SSLContext | None = None, port: int = 0) -> "Road":
        if path is not None:
            self._server = await asyncio.start_unix_server(self._travel, path)
        else:
            self._server = await asyncio.start_server(self._travel, "127.0.0.1", port, ssl=tls)
        return self

    def hold(self) -> None:
        """Let nothing come back until `let_through`."""
        self._open.clear()

    def let_through(self) -> None:
        self._open.set()

    def cut(self) -> None:
        """End every connection at once."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _travel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self._writers.append(writer)
        there_writer: asyncio.StreamWriter | None = None
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._goal)
            self._writers.append(there_writer)
            back = asyncio.create_task(self._back(there_reader, writer))
            with contextlib.suppress(OSError):
                while data := await reader.read(65536):
                    self.sent += data
                    there_writer.write(data)
            back.cancel()
            await asyncio.wait([back])
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in (writer, there_writer):
                if end is not None:
                    end.transport.abort()
            self._tasks.discard(task)

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._open.wait()
                writer.write(data if self.answer is None else self.answer)
            writer.transport.abort()
