"""How long an attempt took, and how long its instance took to answer: two figures, and the client's part in neither."""

import asyncio

import pytest

from gateway_harness import Client, Gateway, Peer, gateway, get, until
from seawall.gateway import exchange
from seawall.systems.balancing.counters import DURATION_US
from seawall.systems.balancing.model import Outcome

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


class Watch:
    """What exchanges measure with; it moves only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    monkeypatch.setattr(exchange, "_monotonic", watch)
    return watch


def slow_body(watch: Watch, go_on: asyncio.Event, body: bytes | None):
    """Answer after 50 ms, and send the body once allowed; None breaks the connection instead."""

    async def script(peer: Peer) -> None:
        await peer.request()
        watch.now += 0.05
        await peer.send(HEAD % len(body or b"gone"))
        await go_on.wait()
        if body is None:
            peer.writer.transport.abort()
            return
        await peer.send(body)
        await peer.closed()

    return script


async def head_of_an_answer(client: Client) -> None:
    await client.send(get())
    assert (await client.read_head()).status == 200


def measured(running: Gateway) -> tuple[float, float]:
    """The summed durations, and the estimate that strategies go by, both in seconds."""
    instance = running.instances[0]
    return instance.counts[DURATION_US] / 1e6, instance.ewma


async def test_a_duration_runs_to_the_end_of_the_response_and_the_latency_to_its_head(watch):
    go_on = asyncio.Event()
    async with gateway(slow_body(watch, go_on, b"body")) as running:
        client = await running.client()
        await head_of_an_answer(client)
        watch.now += 0.2
        go_on.set()
        assert await client.reader.readexactly(4) == b"body"
        assert running.outcomes() == {Outcome.SUCCESS: 1}
        assert measured(running) == (pytest.approx(0.25, abs=1e-5), pytest.approx(0.05))
        assert sum(running.instances[0].buckets[:7]) == 0, "nothing below 100 ms"


async def test_the_time_of_a_client_that_held_the_response_up_counts_nowhere(watch):
    go_on = asyncio.Event()
    go_on.set()
    body = b"x" * 8_000_000
    async with gateway(slow_body(watch, go_on, body), send_buffer=65_536) as running:
        client = await running.client(receive_buffer=4096)
        await client.send(get())
        (connection,) = running.worker.runtime.connections
        await until(lambda: connection._exchange is not None and connection._exchange._client_paused, "the pause")
        watch.now += 100
        assert (await client.response()).body == body
        assert running.outcomes() == {Outcome.SUCCESS: 1}
        assert measured(running) == (pytest.approx(0.05, abs=1e-5), pytest.approx(0.05))


async def test_a_body_that_breaks_off_late_is_no_latency(watch):
    go_on = asyncio.Event()
    async with gateway(slow_body(watch, go_on, None)) as running:
        client = await running.client()
        await head_of_an_answer(client)
        watch.now += 100
        go_on.set()
        await client.broken()
        assert running.outcomes() == {Outcome.RESET: 1}
        assert measured(running) == (pytest.approx(100.05, abs=1e-5), pytest.approx(0.05))


async def test_a_client_that_leaves_a_long_stream_does_not_make_the_instance_look_slow(watch):
    go_on = asyncio.Event()
    async with gateway(slow_body(watch, go_on, b"body")) as running:
        client = await running.client()
        await head_of_an_answer(client)
        watch.now += 600
        client.writer.transport.abort()
        await until(lambda: running.outcomes() == {Outcome.CANCELLED: 1}, "the end of the attempt")
        assert measured(running) == (0, pytest.approx(0.05))
        go_on.set()
