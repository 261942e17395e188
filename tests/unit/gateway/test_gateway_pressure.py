"""Backpressure: whoever is slow slows the other side down, and nothing piles up in between."""

import asyncio

import pytest

from gateway_harness import Peer, Upstream, chunked, gateway, get, ok, post, until
from seawall.systems.balancing.model import RouteSnapshot

pytestmark = pytest.mark.anyio

BOUND = 2_000_000
"""Bytes that may lie in the gateway for one connection: some reads of 256 KiB, never a share of a large body."""


def piled_up(running) -> int:
    """Bytes that the gateway holds for its clients and upstreams."""
    runtime = running.worker.runtime
    held = [connection._transport.get_write_buffer_size() for connection in runtime.connections]
    for connection in runtime.connections:
        exchange = connection._exchange
        if exchange is not None:
            held.append(sum(map(len, exchange._body or ())))
            if exchange._connection is not None:
                held.append(exchange._connection.transport.get_write_buffer_size())
    return sum(held)


async def settled(running) -> int:
    """Wait until nothing moves any more and return what has piled up."""
    last, same = -1, 0
    while same < 10:
        now = piled_up(running)
        same = same + 1 if now == last else 0
        last = now
        await asyncio.sleep(0.01)
    return last


async def deaf(peer: Peer) -> None:
    """Take a head and nothing more (the reader stops by itself at twice its limit)."""
    await peer.read_head()
    await gates[peer.upstream].wait()
    peer.reader._limit = 2**20
    await peer.send(ok(b"%d" % await drain(peer)))
    await peer.serve()


gates: dict[Upstream, asyncio.Event] = {}


async def drain(peer: Peer) -> int:
    """Read chunks to the end; return their sum."""
    total = 0
    while chunk := await peer.read_chunk():
        total += len(chunk)
    return total


@pytest.mark.parametrize("pipelined", [False, True])
async def test_a_slow_upstream_slows_the_client_down(pipelined):
    """Pipelined, the body begins before its request has its turn; it must be held back all the same."""
    upstream = await Upstream("a", ((gated_first if pipelined else deaf), deaf)).start(receive_buffer=4096)
    gates[upstream] = asyncio.Event()
    size = 8_000_000
    async with gateway(upstream, total_timeout=60.0, idle_timeout=60.0) as running:
        client = await running.client()
        if pipelined:
            client.write(get(b"/first"))
        client.write(get(b"/", b"Transfer-Encoding: chunked", method=b"POST"))
        client.write(b"".join([chunked(b"x" * 100_000)[:-5]] * (size // 100_000)) + b"0\r\n\r\n")
        if pipelined:
            assert (await client.response()).body == b"first"
        await until(lambda: upstream.peers)
        assert await settled(running) < BOUND
        gates[upstream].set()
        assert (await client.response()).body == b"%d" % size
        assert (await client.ask(get())).status == 200


async def gated_first(peer: Peer) -> None:
    await peer.request()
    await asyncio.sleep(0.05)
    await peer.send(ok(b"first"))
    await deaf(peer)


@pytest.mark.parametrize("pipelined", [False, True])
async def test_a_slow_client_slows_the_upstream_down(pipelined):
    """Pipelined, the client is behind already when the large answer begins."""
    sent = 0
    total = 40_000_000

    async def script(peer: Peer) -> None:
        nonlocal sent
        request = await peer.request()
        while request.target == b"/small":
            await peer.send(ok(b"y" * 100_000))
            request = await peer.request()
        peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        while sent < total:
            peer.write(b"x" * 100_000)
            await peer.writer.drain()
            sent += 100_000
        await peer.closed()

    async with gateway(script, send_buffer=65_536) as running:
        client = await running.client(receive_buffer=4096)
        if pipelined:
            await client.send(get(b"/small") * 3)
        await client.send(get(b"/large"))
        await until(lambda: running.upstreams[0].peers)
        assert await settled(running) < BOUND
        assert sent < total / 2
        client.reader._limit = 2**20
        for _ in range(3 if pipelined else 0):
            assert len((await client.response()).body) == 100_000
        head = await client.read_head()
        assert head.get(b"content-length") == b"%d" % total
        for _ in range(total // 100_000):
            assert await client.reader.readexactly(100_000) == b"x" * 100_000


async def test_refusals_do_not_pile_up_before_a_client_that_does_not_read():
    routes = (RouteSnapshot(name="none", pool="default", path_prefix="/none"),)
    async with gateway(Peer.serve, routes=routes, send_buffer=4096) as running:
        client = await running.client(receive_buffer=4096)
        for _ in range(100):
            client.write(get() * 1000)
        await until(lambda: any(connection._write_paused for connection in running.worker.runtime.connections))
        assert await settled(running) < BOUND


async def test_small_answers_do_not_pile_up_before_a_client_that_does_not_read():
    async with gateway(lambda peer: peer.serve(ok(b"z" * 10_000)), send_buffer=4096) as running:
        client = await running.client(receive_buffer=4096)
        client.write(get() * 200)
        await until(lambda: any(connection._write_paused for connection in running.worker.runtime.connections))
        assert await settled(running) < BOUND
        before = len(running.upstreams[0].requests)
        assert before < 200
        client.reader._limit = 2**20
        for _ in range(200):
            assert len((await client.response()).body) == 10_000


async def test_a_client_that_leaves_is_noticed_though_the_instance_was_slow_to_take_its_body():
    async def script(peer: Peer) -> None:
        head = await peer.read_head()
        await gates[peer.upstream].wait()
        await peer.read_body(head)
        taken.set()
        await peer.closed()

    taken = asyncio.Event()
    upstream = await Upstream("a", (script,)).start(receive_buffer=4096)
    gates[upstream] = asyncio.Event()
    async with gateway(upstream) as running:
        client = await running.client()
        client.write(post(b"x" * 8_000_000))  # more than the sockets between take, so nobody waits for it to be gone
        await until(lambda: any(connection.held for connection in running.worker.runtime.connections))
        gates[upstream].set()
        await asyncio.wait_for(taken.wait(), 10)
        client.close()
        await until(lambda: running.instances[0].active == 0)
