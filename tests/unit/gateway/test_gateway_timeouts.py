"""What takes too long ends: with the right answer, and counted against the right side."""

import asyncio

import pytest

from gateway_harness import Peer, Upstream, gateway, get, ok, post, until
from seawall.systems.balancing.model import Outcome

pytestmark = pytest.mark.anyio

SHORT = 0.2


async def mute(peer: Peer) -> None:
    await peer.read_head()
    await peer.closed()


async def test_an_instance_that_never_answers_costs_504_and_is_counted():
    async with gateway(mute, header_timeout=SHORT) as running:
        client = await running.client()
        answer = await client.ask(get())
        assert (answer.status, answer.problem["code"]) == (504, "upstream-timeout")
        assert running.outcomes() == {Outcome.TIMEOUT: 1}
        assert running.responses()[4] == 1
        await running.upstreams[0].peers[0].closed()
        assert (await client.ask(get())).status == 504  # the connection is in step


async def test_a_head_that_comes_in_drops_does_not_postpone_the_time_out():
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.write(b"HTTP/1.1 200 OK\r\n")
        try:
            while not peer.reader.at_eof():
                await peer.send(b"X: y\r\n")
                await asyncio.sleep(0.02)
        except ConnectionError:
            return

    async with gateway(script, header_timeout=SHORT) as running:
        assert (await running.ask(get())).status == 504


async def test_an_instance_that_stops_within_its_body_breaks_the_connection():
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await peer.closed()

    async with gateway(script, idle_timeout=SHORT) as running:
        client = await running.client()
        await client.send(get())
        await client.read_head()
        assert await client.broken() == b"half"
        assert running.outcomes() == {Outcome.TIMEOUT: 1}


async def test_a_response_that_keeps_coming_is_not_idle():
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            await asyncio.sleep(0.1)
            await peer.send(b"x")
        await peer.closed()

    async with gateway(script, idle_timeout=0.4, header_timeout=0.4) as running:
        assert (await running.ask(get())).body == b"x" * 8


async def test_the_total_time_is_bounded_however_it_is_spent():
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while not peer.reader.at_eof():
                await peer.send(b"1\r\nx\r\n")
                await asyncio.sleep(0.02)
        except ConnectionError:
            return

    async with gateway(script, total_timeout=SHORT) as running:
        client = await running.client()
        await client.send(get())
        await client.read_head()
        assert b"0\r\n\r\n" not in await client.broken()
        assert running.outcomes() == {Outcome.TIMEOUT: 1}


async def test_a_connection_that_cannot_be_made_in_time(tmp_path):
    """A listener whose queue is full drops what comes: the handshake is never finished."""
    import socket

    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        plugs = []
        for _ in range(4):
            plug = socket.socket()
            plug.setblocking(False)
            plug.connect_ex(("127.0.0.1", port))
            plugs.append(plug)
        async with gateway(f"http://127.0.0.1:{port}", connect_timeout=SHORT) as running:
            answer = await running.ask(post(b"x"))
            assert (answer.status, answer.problem["code"]) == (503, "upstream-unreachable")
            assert answer.get(b"retry-after") == b"1"
            assert running.outcomes() == {Outcome.TIMEOUT: 1}
        for plug in plugs:
            plug.close()


async def test_a_client_that_does_not_finish_its_head():
    async with gateway(Peer.serve, settings={"header_timeout_ms": 200}) as running:
        client = await running.client()
        await client.send(b"GET / HTTP/1.1\r\nHost: a")
        answer = await client.response()
        assert (answer.status, answer.problem["code"], answer.get(b"connection")) == (408, "request-timeout", b"close")
        assert await client.rest() == b""


async def test_a_head_in_drops_does_not_postpone_its_time_out():
    async with gateway(Peer.serve, settings={"header_timeout_ms": 200}) as running:
        client = await running.client()
        await client.send(b"GET / HTTP/1.1\r\n")
        drops = 0
        while not client.reader._buffer and drops < 500:
            client.write(b"X: y\r\n")
            drops += 1
            await asyncio.sleep(0.01)
        assert (await client.response()).status == 408


async def test_the_head_after_an_answer_has_its_own_time_out():
    """It came while the request before it was under way; the keep-alive time is not what it gets."""
    gate = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await gate.wait()
        await peer.send(ok(b"first"))
        await peer.closed()

    async with gateway(script, settings={"header_timeout_ms": 200, "keepalive_timeout_ms": 60_000}) as running:
        client = await running.client()
        await client.send(get() + b"GET / HT")
        await client.silent()
        gate.set()
        assert (await client.response()).body == b"first"
        assert (await client.response()).status == 408


async def test_a_connection_that_says_nothing_is_closed_without_a_word():
    async with gateway(Peer.serve, settings={"header_timeout_ms": 200}) as running:
        client = await running.client()
        assert await client.rest() == b""


async def test_an_idle_connection_is_closed_without_a_word():
    async with gateway(Peer.serve, settings={"keepalive_timeout_ms": 200}) as running:
        client = await running.client()
        assert (await client.ask(get())).status == 200
        assert await client.rest() == b""


@pytest.mark.parametrize("begun", [False, True])
async def test_a_client_that_stops_within_its_body(begun):
    async def script(peer: Peer) -> None:
        await peer.read_head()
        if begun:
            await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.closed()

    settings = {"body_timeout_ms": 200}
    async with gateway(script, settings=settings, header_timeout=30.0, idle_timeout=SHORT) as running:
        client = await running.client()
        await client.send(get(b"/", b"Content-Length: 10", method=b"POST") + b"half")
        if begun:
            await client.read_head()
            await client.broken()
        else:
            answer = await client.response()
            assert (answer.status, answer.problem["code"]) == (408, "request-timeout")
            assert answer.get(b"connection") == b"close"
            assert await client.rest() == b""
        assert running.outcomes() == {Outcome.CANCELLED: 1}
        await running.upstreams[0].peers[0].closed()


async def test_a_body_that_keeps_coming_is_not_idle():
    async with gateway(Peer.serve, settings={"body_timeout_ms": 300}, header_timeout=0.3) as running:
        client = await running.client()
        await client.send(get(b"/", b"Content-Length: 8", method=b"POST"))
        for _ in range(8):
            await asyncio.sleep(0.08)
            await client.send(b"x")
        assert (await client.response()).status == 200


async def test_a_client_that_does_not_read_its_answer_is_let_go():
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.write(ok(b"x" * 8_000_000))
        await peer.closed()

    async with gateway(script, settings={"body_timeout_ms": 300}, idle_timeout=60.0) as running:
        client = await running.client(receive_buffer=4096)
        await client.send(get())
        await until(lambda: running.worker.runtime.connections)
        await until(lambda: not running.worker.runtime.connections, "the end of the slow reader")
        assert running.outcomes() == {Outcome.CANCELLED: 1}


async def test_a_client_that_does_not_read_the_answer_that_is_all_there_is_let_go():
    """The upstream is done, so no request is under way: the connection's own deadline must end it."""

    async def script(peer: Peer) -> None:
        await peer.serve(ok(b"x" * 60_000))

    async with gateway(script, settings={"body_timeout_ms": 200, "keepalive_timeout_ms": 200}) as running:
        client = await running.client(receive_buffer=4096)
        for _ in range(200):
            client.write(get())
        await until(lambda: running.upstreams[0].requests)
        await until(lambda: not running.worker.runtime.connections, "the end of the slow reader")


@pytest.mark.parametrize("field", [b"Connection: close", b"X: y"])
async def test_a_slow_reader_cannot_hold_a_connection_whose_last_answer_is_sent(field):
    async def script(peer: Peer) -> None:
        await peer.serve(ok(b"x" * 100_000))

    settings = {"body_timeout_ms": 200, "keepalive_timeout_ms": 60_000}
    async with gateway(script, settings=settings, send_buffer=4096) as running:
        client = await running.client(receive_buffer=4096)
        await client.send(get(b"/", field))
        await until(lambda: running.upstreams[0].requests)
        await until(lambda: not running.worker.runtime.connections, "the end of the slow reader")
        assert len(await client.broken()) < 100_000


async def test_a_slow_reader_that_goes_on_reading_gets_its_last_answer_whole():
    async with gateway(lambda peer: peer.serve(ok(b"x" * 100_000)), send_buffer=4096) as running:
        client = await running.client(receive_buffer=4096)
        await client.send(get(b"/", b"Connection: close"))
        got = b""
        while data := await client.reader.read(3000):
            got += data
            await asyncio.sleep(0.08)
        assert len(got) > 100_000


async def test_an_idle_upstream_connection_is_closed():
    async with gateway(Peer.serve, keepalive=SHORT) as running:
        assert (await running.ask(get())).status == 200
        await until(running.upstreams[0].peers[0].reader.at_eof)
        assert (await running.ask(get())).status == 200
        assert len(running.upstreams[0].peers) == 2


async def test_a_time_out_is_not_retried_and_the_time_for_retries_is_bounded():
    async with gateway(mute, mute, header_timeout=SHORT, total_timeout=SHORT) as running:
        assert (await running.ask(get())).status == 504
        assert sum(len(upstream.peers) for upstream in running.upstreams) == 1


async def test_a_silent_probe_is_given_up():
    async def script(peer: Peer) -> None:
        while not peer.reader.at_eof():
            try:
                head = await peer.read_head()
            except asyncio.IncompleteReadError:
                return
            if head.target != b"/load":
                await peer.send(ok(b"fine"))

    upstream = await Upstream("a", (script,)).start()
    async with gateway(upstream, strategy="adaptive", probe_path="/load") as running:
        for _ in range(4):
            assert (await running.ask(get())).status == 200
        await until(lambda: not running.worker.runtime.probes)
