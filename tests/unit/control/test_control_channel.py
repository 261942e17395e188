"""The channel between control process and workers, over real Unix sockets."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from seawall.control.channel import ChannelClient
from seawall.control.channel_local import LocalChannel
from seawall.control.channel_server import ChannelServer
from seawall.control.framing import ChannelError, FrameReader, encode_frame
from seawall.control.messages import PROTOCOL_VERSION, Frame, Hello, ReportFrame, SnapshotFrame, Welcome
from seawall.core.snapshot import Report
from seawall.core.system import WorkerId

pytestmark = pytest.mark.anyio


class Seen(Report, frozen=True, kw_only=True):
    count: int
    full: bool


class MemoryFeed:
    """A feed that keeps what it is told."""

    def __init__(self) -> None:
        self.snapshots: dict[str, bytes] = {}
        self.workers: list[WorkerId] = []
        self.reports: list[tuple[WorkerId, str, Seen]] = []
        self.lost: list[WorkerId] = []

    def newest(self) -> dict[str, bytes]:
        return self.snapshots

    def on_worker(self, worker: WorkerId) -> None:
        self.workers.append(worker)

    def on_report(self, worker: WorkerId, system: str, raw: bytes) -> None:
        try:
            self.reports.append((worker, system, msgspec.msgpack.decode(raw, type=Seen)))
        except msgspec.MsgspecError as error:
            raise ChannelError("not a report") from error

    def on_worker_lost(self, worker: WorkerId) -> None:
        self.lost.append(worker)


class Engine:
    """Keeps the snapshots it gets; each report counts up."""

    def __init__(self) -> None:
        self.applied: list[tuple[str, object]] = []
        self.count = 0

    def take(self, system: str, raw: bytes) -> None:
        self.applied.append((system, msgspec.msgpack.decode(raw)))

    def collect(self, *, full: bool) -> Iterator[tuple[str, Report]]:
        self.count += 1
        yield "balancing", Seen(count=self.count, full=full)


async def until(condition: Callable[[], bool], *, within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.005)


@pytest.fixture
def feed() -> MemoryFeed:
    return MemoryFeed()


@pytest.fixture
async def server(feed, tmp_path):
    server = ChannelServer(tmp_path / "control.sock", feed, hello_timeout=0.2)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def connect(tmp_path):
    clients = []

    async def connect(slot: str = "worker-0", engine: Engine | None = None, pid: int = 41) -> Engine:
        engine = engine or Engine()
        path = tmp_path / "control.sock"
        client = ChannelClient(path, slot, engine.take, engine.collect, report_interval=0.01, pid=pid)
        await client.start()
        clients.append(client)
        engine.client = client
        return engine

    yield connect
    for client in clients:
        await client.close()


def post(feed: MemoryFeed, server: ChannelServer, system: str, value: object) -> None:
    feed.snapshots[system] = msgspec.msgpack.encode(value)
    server.announce(system)


class RawWorker:
    """A worker of bytes, for what the client would never do."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._frames = FrameReader()
        self._ready: list[Frame] = []

    @classmethod
    async def open(cls, path: Path) -> "RawWorker":
        return cls(*await asyncio.open_unix_connection(path))

    async def next(self) -> Frame:
        while not self._ready:
            received = await self.reader.read(65536)
            if not received:
                raise EOFError
            self._ready = self._frames.feed(received)
        return self._ready.pop(0)

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def test_a_worker_gets_every_system_at_once_and_then_what_is_newer(feed, server, connect):
    feed.snapshots = {"balancing": msgspec.msgpack.encode(1), "gateway": msgspec.msgpack.encode("a")}
    engine = await connect()
    await until(lambda: len(engine.applied) == 2)
    assert sorted(engine.applied) == [("balancing", 1), ("gateway", "a")]
    post(feed, server, "balancing", 2)
    await until(lambda: len(engine.applied) == 3)
    assert engine.applied[-1] == ("balancing", 2)


async def test_the_first_report_is_full_and_the_others_are_not(feed, server, connect):
    await connect(slot="worker-3", pid=77)
    await until(lambda: len(feed.reports) >= 3)
    assert feed.workers == [("worker-3", 77)]
    assert [(worker, system) for worker, system, _ in feed.reports[:3]] == [(("worker-3", 77), "balancing")] * 3
    assert [report.full for _, _, report in feed.reports[:3]] == [True, False, False]
    assert [report.count for _, _, report in feed.reports[:3]] == [1, 2, 3]


async def test_a_closing_worker_sends_a_last_report(feed, server, connect):
    engine = await connect()
    await until(lambda: len(feed.reports) >= 1)
    await engine.client.close()
    await until(lambda: feed.lost == [("worker-0", 41)])
    assert feed.reports[-1][2].count == engine.count


async def test_a_worker_goes_on_alone_and_reports_everything_when_control_is_back(feed, server, connect, tmp_path):
    engine = await connect()
    await until(lambda: len(feed.reports) >= 2)
    await server.stop()
    await until(lambda: not engine.client.connected)
    later = MemoryFeed()
    later.snapshots = {"balancing": msgspec.msgpack.encode("after")}
    successor = ChannelServer(tmp_path / "control.sock", later)
    await successor.start()
    try:
        await until(lambda: len(later.reports) >= 1)
        assert later.reports[0][2].full
        await until(lambda: ("balancing", "after") in engine.applied)
    finally:
        await successor.stop()


async def test_a_worker_may_start_before_the_control_process(feed, connect, tmp_path):
    engine = await connect()
    feed.snapshots = {"balancing": msgspec.msgpack.encode(1)}
    server = ChannelServer(tmp_path / "control.sock", feed)
    await server.start()
    try:
        await until(lambda: engine.applied == [("balancing", 1)])
    finally:
        await server.stop()


async def test_a_stale_socket_file_is_replaced(feed, tmp_path):
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    server = ChannelServer(path, feed)
    await server.start()
    assert path.stat().st_mode & 0o777 == 0o600
    await server.stop()
    assert not path.exists()


async def test_a_worker_that_does_not_read_gets_the_newest_snapshot_and_never_a_queue(feed, server, tmp_path):
    filler = b"x" * 4_000_000  # more than the kernel's socket buffers hold
    feed.snapshots["balancing"] = msgspec.msgpack.encode([0, filler])
    worker = await RawWorker.open(tmp_path / "control.sock")
    worker.writer.write(encode_frame(Hello(PROTOCOL_VERSION, "worker-0", 1)))
    assert isinstance(await worker.next(), Welcome)
    worker.reader._transport.pause_reading()
    other = await RawWorker.open(tmp_path / "control.sock")
    other.writer.write(encode_frame(Hello(PROTOCOL_VERSION, "worker-1", 2)))
    assert isinstance(await other.next(), Welcome)
    # While the first one stands still, the second gets its snapshots.
    for version in range(1, 31):
        post(feed, server, "balancing", [version, filler])
        seen = -1
        while seen != version:
            seen = msgspec.msgpack.decode((await other.next()).payload)[0]
    worker.reader._transport.resume_reading()
    versions = []
    while not versions or versions[-1] != 30:
        versions.append(msgspec.msgpack.decode((await worker.next()).payload)[0])
    # The one that was on its way when it stopped reading, at most one that waited for room, and the newest.
    assert len(versions) <= 3
    assert versions == sorted(versions)
    await worker.close()
    await other.close()


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"\xff\xff\xff\xff", id="oversized"),
        pytest.param((3).to_bytes(4, "big") + b"abc", id="malformed"),
        pytest.param(encode_frame(Welcome(1, 1)), id="no greeting"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="another protocol"),
    ],
)
async def test_bytes_that_are_no_greeting_close_their_connection_only(feed, server, connect, tmp_path, sent):
    engine = await connect()
    await until(lambda: len(feed.reports) >= 1)
    intruder = await RawWorker.open(tmp_path / "control.sock")
    intruder.writer.write(sent)
    with pytest.raises((EOFError, ConnectionResetError)):
        await intruder.next()
    await intruder.close()
    count = len(feed.reports)
    await until(lambda: len(feed.reports) > count)
    assert engine.client.connected
    assert feed.workers == [("worker-0", 41)]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(encode_frame(ReportFrame("balancing", msgspec.Raw(msgspec.msgpack.encode("x")))), id="no report"),
        pytest.param(encode_frame(SnapshotFrame("balancing", msgspec.Raw(b"\x01"))), id="wrong direction"),
        pytest.param(encode_frame(Hello(1, "worker-9", 9)), id="a second greeting"),
    ],
)
async def test_a_worker_that_breaks_the_protocol_loses_its_connection(feed, server, tmp_path, sent):
    worker = await RawWorker.open(tmp_path / "control.sock")
    worker.writer.write(encode_frame(Hello(PROTOCOL_VERSION, "worker-9", 9)) + sent)
    assert isinstance(await worker.next(), Welcome)
    with pytest.raises((EOFError, ConnectionResetError)):
        await worker.next()
    await worker.close()
    await until(lambda: feed.lost == [("worker-9", 9)])
    assert feed.reports == []


async def test_a_connection_that_says_nothing_is_closed(feed, server, tmp_path):
    silent = await RawWorker.open(tmp_path / "control.sock")
    with pytest.raises((EOFError, ConnectionResetError)):
        await silent.next()
    await silent.close()
    assert feed.workers == []


async def test_another_version_is_refused_and_told_so(feed, server, tmp_path, caplog):
    newer = await RawWorker.open(tmp_path / "control.sock")
    newer.writer.write(encode_frame(Hello(PROTOCOL_VERSION + 1, "worker-0", 5)))
    welcome = await newer.next()
    assert welcome.protocol == PROTOCOL_VERSION
    with pytest.raises((EOFError, ConnectionResetError)):
        await newer.next()
    await newer.close()
    await until(lambda: f"speaks version {PROTOCOL_VERSION + 1} of the channel" in caplog.text)
    assert feed.workers == []


async def test_a_worker_says_when_the_control_process_speaks_another_version(tmp_path, connect, caplog):
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(encode_frame(Welcome(PROTOCOL_VERSION + 1, 12)))
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(greet, tmp_path / "control.sock")
    try:
        engine = await connect()
        await until(lambda: "restart seawall: its processes run different releases" in caplog.text)
        assert engine.applied == []
    finally:
        server.close()
        await server.wait_closed()


async def test_a_snapshot_that_the_worker_refuses_leaves_the_channel_open(feed, server, connect, caplog):
    class Picky(Engine):
        def take(self, system: str, raw: bytes) -> None:
            if msgspec.msgpack.decode(raw) == "bad":
                raise msgspec.ValidationError("no")
            super().take(system, raw)

    feed.snapshots["balancing"] = msgspec.msgpack.encode("bad")
    engine = await connect(engine=Picky())
    await until(lambda: "a snapshot of balancing is refused" in caplog.text)
    post(feed, server, "balancing", "good")
    await until(lambda: engine.applied == [("balancing", "good")])
    assert feed.workers == [("worker-0", 41)]


async def test_a_defect_in_a_report_does_not_cut_the_worker_off_for_good(feed, server, connect, caplog):
    class Flawed(Engine):
        def collect(self, *, full: bool) -> Iterator[tuple[str, Report]]:
            if self.count == 1:
                self.count += 1
                raise ZeroDivisionError("a defect")
            yield from super().collect(full=full)

    await connect(engine=Flawed())
    await until(lambda: len(feed.reports) >= 3)
    assert "the conversation with the control process failed" in caplog.text
    assert [report.full for _, _, report in feed.reports[:3]] == [True, True, False]


async def test_without_a_socket_the_same_goes_through(feed):
    feed.snapshots["balancing"] = msgspec.msgpack.encode("first")
    engine = Engine()
    channel = LocalChannel(feed, "worker-0", engine.take, engine.collect, report_interval=0.01)
    await channel.start()
    assert engine.applied == [("balancing", "first")]
    await until(lambda: len(feed.reports) >= 2)
    assert [report.full for _, _, report in feed.reports[:2]] == [True, False]
    feed.snapshots["balancing"] = msgspec.msgpack.encode("second")
    channel.announce("balancing")
    assert engine.applied[-1] == ("balancing", "second")
    await channel.close()
    assert feed.reports[-1][2].count == engine.count
    assert [worker[0] for worker in feed.lost] == ["worker-0"]
