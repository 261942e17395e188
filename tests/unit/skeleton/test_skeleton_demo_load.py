"""The demo's load is open: it is sent when due, and what is held up counts from then."""

import asyncio
import random

import pytest

from seawall.cli.demo_load import LatencyCounts, OpenLoopLoad

pytestmark = pytest.mark.anyio

ANSWER = b"HTTP/1.1 %b\r\ncontent-length: 2\r\nx-demo-server: one\r\n\r\nok"


class Server:
    """Answers requests when it is let; counts them all the same."""

    def __init__(self, status: bytes = b"200 OK") -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.requests = 0
        self.arrived = asyncio.Condition()
        self.status = status

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                async with self.arrived:
                    self.requests += 1
                    self.arrived.notify_all()
                await self.open.wait()
                if self.status == b"cut":
                    return
                writer.write(ANSWER % self.status)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def wait_for(self, requests: int) -> None:
        async with self.arrived:
            await self.arrived.wait_for(lambda: self.requests >= requests)


async def run_against(server: Server, *, until: int, rate: float = 500.0) -> OpenLoopLoad:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    async with listening:
        load = OpenLoopLoad("127.0.0.1", listening.sockets[0].getsockname()[1], rate=rate, rng=random.Random(1))
        traffic = asyncio.create_task(load.run())
        await server.wait_for(until)
        traffic.cancel()
        server.open.set()
        await load.drain(seconds=5)
    return load


async def test_every_request_is_answered_and_attributed() -> None:
    load = await run_against(Server(), until=50)
    assert load.failed == 0
    assert load.in_flight == 0
    assert load.by_server["one"] == load.sent >= 50


async def test_requests_go_out_while_earlier_ones_wait_and_their_wait_counts() -> None:
    server = Server()
    server.open.clear()
    load = await run_against(server, until=20)  # a closed loop would have stopped at the first
    assert load.failed == 0
    by_due = sorted(load.recent)
    # All were answered at once in the end, so whoever was due first waited longest.
    assert by_due[0].latency > by_due[-1].latency
    assert by_due[0].latency >= by_due[-1].due - by_due[0].due


@pytest.mark.parametrize(
    ("status", "cause"),
    [(b"503 Service Unavailable", "status 503"), (b"cut", "connection closed without an answer")],
)
async def test_an_answer_other_than_200_has_failed(status: bytes, cause: str) -> None:
    load = await run_against(Server(status), until=10)
    assert load.failed == load.sent == load.failures[cause]
    assert not load.by_server


async def test_what_is_not_answered_by_the_end_has_failed() -> None:
    server = Server()
    server.open.clear()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    load = OpenLoopLoad("127.0.0.1", listening.sockets[0].getsockname()[1], rate=500, rng=random.Random(1))
    traffic = asyncio.create_task(load.run())
    await server.wait_for(3)
    traffic.cancel()
    await load.drain(seconds=0.01)
    assert load.failed == load.sent == load.failures["no answer by the end"]
    server.open.set()
    listening.close()


async def test_nobody_listening_is_a_failure_with_its_cause() -> None:
    listening = await asyncio.start_server(Server().serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    listening.close()
    await listening.wait_closed()
    load = OpenLoopLoad("127.0.0.1", port, rate=1000, rng=random.Random(1))
    traffic = asyncio.create_task(load.run())
    deadline = asyncio.get_running_loop().time() + 10
    while not load.failed:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0)
    traffic.cancel()
    await load.drain(seconds=5)
    assert load.failures["connect: Connection refused"] == load.sent


def test_quantiles_are_right_to_one_percent() -> None:
    counts = LatencyCounts()
    assert counts.quantile(0.5) == 0.0
    for thousandth in range(1, 1001):
        counts.add(thousandth / 1000)
    assert counts.quantile(0.5) == pytest.approx(0.5, rel=0.01)
    assert counts.quantile(0.99) == pytest.approx(0.99, rel=0.01)
    assert counts.quantile(1.0) == pytest.approx(1.0, rel=0.01)
