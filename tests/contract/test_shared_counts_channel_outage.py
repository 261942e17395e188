"""Shared counts in the control process while it is away, frozen, failing or of another release."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from seawall.control.channel import ChannelClient
from seawall.control.channel_local import LocalChannel
from seawall.control.channel_server import ChannelServer
from seawall.control.counts import ChannelCounts, open_counts
from seawall.control.framing import FrameReader, encode_frame
from seawall.control.messages import PROTOCOL_VERSION, AnswerFrame, AskFrame, Hello
from seawall.systems.ratelimit.embedded import CountsBatch, encode_batch
from shared_counts_harness import (
    CountingFeed,
    ask,
    asking,
    gcra,
    no_reports,
    no_snapshots,
    taken,
    until,
)

pytestmark = pytest.mark.anyio

BUDGET = 1.0
PATIENT = 20.0

CONTROL = """
import asyncio, sys
from pathlib import Path
from seawall.control.channel_server import ChannelServer
from shared_counts_harness import CountingFeed

async def serve():
    await ChannelServer(Path(sys.argv[1]), CountingFeed()).start()
    await asyncio.Event().wait()

asyncio.run(serve())
"""


class ControlProcess:
    """A process that counts, to be killed and frozen."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        harness = str(Path(__file__).parent.parent)
        program = f"import sys; sys.path.insert(0, {harness!r})\n{CONTROL}"
        self._process = subprocess.Popen([sys.executable, "-c", program, str(self.path)])

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ControlProcess]:
    process = ControlProcess(tmp_path / "control.sock")
    yield process
    process.kill()


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[ChannelClient]:
    channel = ChannelClient(tmp_path / "control.sock", "worker-0", no_snapshots, no_reports)
    await channel.start()
    yield channel
    await channel.close()


async def opened(line: ChannelClient | LocalChannel, *, budget: float = BUDGET) -> ChannelCounts:
    counts = open_counts("memory://", line, budget=budget)
    assert isinstance(counts, ChannelCounts)
    await counts.start()
    return counts


async def test_two_workers_of_a_control_process_share_counts_and_outlive_it(
    control: ControlProcess, line: ChannelClient, tmp_path: Path
) -> None:
    control.start()
    other_line = ChannelClient(tmp_path / "control.sock", "worker-1", no_snapshots, no_reports)
    await other_line.start()
    counts, other = await opened(line), await opened(other_line)
    await until(lambda: counts.available and other.available)
    for one in (counts, other):
        for _ in range(5):
            assert (await taken(one, ask("k")))[0].allowed
    assert not (await taken(counts, ask("k")))[0].allowed
    assert not (await taken(other, ask("k")))[0].allowed

    control.kill()
    await until(lambda: not line.connected)
    waiting = [asking(counts, ask("k")) for _ in range(5)]
    async with asyncio.timeout(20):
        assert [await one for one in waiting] == [None] * 5
    await until(lambda: not counts.available)

    control.start()
    await until(lambda: counts.available and other.available)
    assert (await taken(counts, ask("k")))[0].allowed, "counts begin anew with the process that keeps them"
    for one, channel in ((counts, line), (other, other_line)):
        await one.close()
        if channel is other_line:
            await channel.close()


async def test_a_frozen_control_process_makes_nobody_wait_and_late_answers_come_back(
    control: ControlProcess, line: ChannelClient
) -> None:
    control.start()
    counts = await opened(line, budget=0.05)
    await until(lambda: counts.available)
    control.signal(signal.SIGSTOP)
    while counts.available:
        assert await taken(counts, ask("k", lease=1.0)) is None
    assert "no answer within 50 ms" in counts.reason
    waiting = [asking(counts, ask("k")) for _ in range(10)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert all(one.done() for one in waiting)
    control.signal(signal.SIGCONT)
    await until(lambda: counts.available)
    assert counts.late > 0
    patient = await opened(line, budget=PATIENT)
    (look,) = await taken(patient, ask("k", gcra(cost=0.0)))
    assert look.windows[0].remaining == pytest.approx(10.0, abs=0.01)
    await counts.close()
    await patient.close()


async def test_without_a_control_process_there_are_no_counts_yet(line: ChannelClient) -> None:
    counts = await opened(line)
    assert (counts.available, counts.reason) == (False, "it is not connected")
    assert await taken(counts, ask("k")) is None
    await counts.close()


async def test_a_control_process_that_fails_harms_the_request_only(tmp_path: Path, line: ChannelClient) -> None:
    feed = CountingFeed()
    server = ChannelServer(tmp_path / "control.sock", feed)
    await server.start()
    counts = await opened(line)
    await until(lambda: counts.available)
    feed.on_ask = lambda worker, system, raw: msgspec.msgpack.encode(None)  # as the plane does for a defect
    assert await taken(counts, ask("k")) is None
    assert counts.failed == 1
    del feed.on_ask
    assert (await taken(counts, ask("k")))[0].allowed
    await counts.close()
    await server.stop()


async def test_a_worker_that_asks_nonsense_is_cut_off(tmp_path: Path) -> None:
    from seawall.control.framing import ChannelError

    feed = CountingFeed()
    feed.failing = ChannelError("no question")
    server = ChannelServer(tmp_path / "control.sock", feed)
    await server.start()
    reader, writer = await asyncio.open_unix_connection(tmp_path / "control.sock")
    writer.write(encode_frame(Hello(PROTOCOL_VERSION, "worker-0", 1)))
    writer.write(encode_frame(AskFrame("ratelimit", 1, msgspec.Raw(b"\xc0"))))
    async with asyncio.timeout(20):
        frames = FrameReader().feed(await reader.read())
    assert [type(frame).__name__ for frame in frames] == ["Welcome"]
    writer.close()
    await server.stop()


async def test_answers_carry_the_number_of_their_question(tmp_path: Path) -> None:
    server = ChannelServer(tmp_path / "control.sock", CountingFeed())
    await server.start()
    reader, writer = await asyncio.open_unix_connection(tmp_path / "control.sock")
    writer.write(encode_frame(Hello(PROTOCOL_VERSION, "worker-0", 1)))
    batch = encode_batch(CountsBatch(((ask("k"),),)))
    for number in (7, 3):
        writer.write(encode_frame(AskFrame("ratelimit", number, msgspec.Raw(batch))))
    frames = FrameReader()
    answers: list[int] = []
    async with asyncio.timeout(20):
        while len(answers) < 2:
            answers += [
                frame.number for frame in frames.feed(await reader.read(65536)) if isinstance(frame, AnswerFrame)
            ]
    assert answers == [7, 3]
    writer.close()
    await server.stop()


async def test_an_answer_that_nobody_asked_for_ends_the_conversation(
    tmp_path: Path, line: ChannelClient, caplog: pytest.LogCaptureFixture
) -> None:
    from seawall.control.messages import Welcome

    async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(encode_frame(Welcome(PROTOCOL_VERSION, 1)))
        writer.write(encode_frame(AnswerFrame(99, msgspec.Raw(b"\x90"))))
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(lie, tmp_path / "control.sock")
    await until(lambda: "question 99, which nobody asked" in caplog.text)
    server.close()
    await line.close()


async def test_a_line_without_a_loop_of_its_own_refuses_while_closed() -> None:
    channel = LocalChannel(CountingFeed(), "worker-0", no_snapshots, no_reports)
    assert not channel.connected
    assert not channel.ask("ratelimit", b"\x90", lambda _: None)
    counts = await opened(channel)
    assert not counts.available
    await channel.start()
    await until(lambda: counts.available)
    await channel.close()
    assert await taken(counts, ask("k")) is None
    assert not counts.available
    await counts.close()


def test_without_redis_and_without_a_channel_there_is_nobody_to_ask() -> None:
    assert open_counts("sqlite:///state.db", None) is None
    assert open_counts("memory://", None) is None
