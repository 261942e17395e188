"""Connections per instance are capped, the queue is bounded, and shutting down loses nothing that can be kept."""

import asyncio

import pytest

from gateway_harness import BALANCING, Peer, closed_port, gateway, get, ok, post, until
from seawall.systems.balancing.model import Outcome

pytestmark = pytest.mark.anyio


class Gate:
    """An upstream that answers when it is told to."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def script(self, peer: Peer) -> None:
        while True:
            try:
                peer.upstream.requests.append(await peer.request())
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            await self.open.wait()
            await peer.send(ok(b"late"))


async def test_requests_beyond_the_cap_wait_for_a_connection():
    gate = Gate()
    async with gateway(gate.script, max_connections=2, queue_timeout=5.0) as running:
        clients = [await running.client() for _ in range(6)]
        for client in clients:
            await client.send(get())
        endpoint = running.instances[0].transport
        await until(lambda: running.instances[0].active == 6)
        await until(lambda: len(running.upstreams[0].requests) == 2)
        assert (endpoint.open, len(endpoint._waiting)) == (2, 4)
        gate.open.set()
        assert [(await client.response()).body for client in clients] == [b"late"] * 6
        assert len(running.upstreams[0].peers) == 2
        assert running.outcomes() == {Outcome.SUCCESS: 6}


async def test_a_full_queue_refuses_at_once():
    gate = Gate()
    async with gateway(gate.script, max_connections=1, max_queue=1, queue_timeout=5.0) as running:
        first, second, third = [await running.client() for _ in range(3)]
        await first.send(get())
        await until(lambda: running.instances[0].active == 1)
        await second.send(get())
        await until(lambda: running.instances[0].active == 2)
        answer = await third.ask(get())
        assert (answer.status, answer.problem["code"]) == (503, "upstream-queue-full")
        assert answer.get(b"retry-after") == b"1"
        gate.open.set()
        assert [(await client.response()).status for client in (first, second)] == [200, 200]
        assert (await third.ask(get())).status == 200


async def test_another_instance_is_asked_when_the_queue_of_one_is_full():
    gate = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            try:
                request = await peer.request()
            except asyncio.IncompleteReadError:
                return
            if request.target == b"/slow":
                await gate.wait()
            await peer.send(ok(peer.upstream.name.encode()))

    async with gateway(script, script, max_connections=1, max_queue=0) as running:
        first = await running.client()
        await first.send(get(b"/slow"))
        await until(lambda: any(instance.active for instance in running.instances))
        others = {(await running.ask(post(b"x"))).body for _ in range(4)}
        gate.set()
        assert {(await first.response()).body, *others} == {b"a", b"b"}
        assert len(others) == 1


async def test_the_wait_for_a_connection_is_bounded():
    gate = Gate()
    async with gateway(gate.script, max_connections=1, queue_timeout=0.2, connect_timeout=60.0) as running:
        first, second = [await running.client() for _ in range(2)]
        await first.send(get())
        await until(lambda: running.instances[0].active == 1)
        answer = await second.ask(get())
        assert (answer.status, answer.problem["code"]) == (503, "upstream-queue-timeout")
        assert not running.instances[0].transport._waiting
        gate.open.set()
        assert (await first.response()).status == 200
        assert running.outcomes() == {Outcome.SUCCESS: 1, Outcome.CANCELLED: 1}


async def test_a_client_that_leaves_the_queue_is_not_served():
    gate = Gate()
    async with gateway(gate.script, max_connections=1, queue_timeout=5.0) as running:
        first, second, third = [await running.client() for _ in range(3)]
        for number, client in enumerate((first, second, third)):
            await client.send(get(b"/%d" % number))
            await until(lambda number=number: running.instances[0].active == number + 1)
        second.close()
        await until(lambda: running.instances[0].active == 2)
        gate.open.set()
        assert (await first.response()).status == 200
        assert (await third.response()).status == 200
        assert [request.target for request in running.upstreams[0].requests] == [b"/0", b"/2"]


async def test_a_broken_connection_makes_room_for_who_waits():
    async def broken(peer: Peer) -> None:
        await peer.request()
        await until(lambda: len(waiting._waiting) == 1)
        peer.reset()

    async with gateway((broken, Peer.serve), max_connections=1, queue_timeout=5.0) as running:
        first, second = [await running.client() for _ in range(2)]
        await first.send(post(b"x"))
        await until(lambda: running.instances[0].transport is not None)
        waiting = running.instances[0].transport
        await second.send(post(b"x"))
        assert (await first.response()).status == 502
        assert (await second.response()).status == 200


async def test_nothing_queues_up_when_everything_is_down():
    async with gateway(*[f"http://127.0.0.1:{closed_port()}" for _ in range(2)], max_connections=2) as running:
        clients = [await running.client() for _ in range(20)]
        for client in clients:
            client.write(get() * 3)
        for client in clients:
            assert [(await client.response()).status for _ in range(3)] == [503] * 3
        for instance in running.instances:
            assert (instance.transport.open, len(instance.transport._waiting), instance.active) == (0, 0, 0)


async def test_draining_finishes_what_is_under_way_and_closes_the_rest():
    gate = Gate()
    async with gateway(gate.script) as running:
        busy, idle, heading, piped = [await running.client() for _ in range(4)]
        await busy.send(get())
        await piped.send(get(b"/1") + get(b"/2"))
        await heading.send(b"GET / HTTP/1.1\r\n")
        runtime = running.worker.runtime
        await until(lambda: running.instances[0].active == 2 and len(runtime.connections) == 4)
        await until(lambda: any(connection._in_head for connection in runtime.connections))
        drained = asyncio.ensure_future(running.worker.drain(10.0))
        assert await idle.rest() == b""
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await running.client()
        assert not drained.done()
        gate.open.set()
        for client in (busy, piped):
            answer = await client.response()
            assert (answer.body, answer.get(b"connection")) == (b"late", b"close")
            assert await client.rest() == b""
            client.close()
        await heading.send(b"Host: a\r\n\r\n")
        answer = await heading.response()
        assert (answer.body, answer.get(b"connection")) == (b"late", b"close")
        heading.close()
        await asyncio.wait_for(drained, 10)
        assert not runtime.connections


async def test_draining_announces_the_end_in_an_answer_that_has_not_begun_only():
    gate = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        await gate.wait()
        await peer.send(b"body")
        await peer.closed()

    async with gateway(script) as running:
        client = await running.client()
        await client.send(get())
        head = await client.read_head()
        drained = asyncio.ensure_future(running.worker.drain(10.0))
        await until(lambda: running.worker.runtime.draining)
        gate.set()
        assert (await client.read_body(head)).body == b"body"
        assert await client.rest() == b""
        client.close()
        await asyncio.wait_for(drained, 10)


async def test_draining_breaks_off_what_does_not_finish(caplog):
    gate = Gate()
    async with gateway(gate.script) as running:
        client = await running.client()
        await client.send(get())
        await until(lambda: running.instances[0].active == 1)
        await running.worker.drain(0.1)
        await client.broken()
        await until(lambda: running.instances[0].active == 0)
        assert "broken off" in caplog.text


async def test_settings_change_while_running():
    async with gateway(Peer.serve) as running:
        client = await running.client()
        assert (await client.ask(get(b"/", b"X: " + b"a" * 2000))).status == 200
        running.configure(max_header_bytes=1024, via="other")
        assert (await client.ask(get())).get(b"via") == b"1.1 other"
        assert (await client.ask(get(b"/", b"X: " + b"a" * 2000))).status == 431


async def test_a_snapshot_of_an_unknown_system_is_left_alone(caplog):
    async with gateway(Peer.serve) as running:
        running.worker.apply("tides", b"\x80")
        assert "unknown system 'tides'" in caplog.text
        assert (await running.ask(get())).status == 200


async def test_changed_limits_hold_for_endpoints_that_exist():
    gate = Gate()
    async with gateway(gate.script, max_connections=4) as running:
        first = await running.client()
        await first.send(get())
        await until(lambda: running.upstreams[0].requests)
        running.apply([running.upstreams[0].url], max_connections=1, max_queue=0)
        assert (await running.ask(get())).problem["code"] == "upstream-queue-full"
        gate.open.set()
        assert (await first.response()).status == 200


async def test_the_worker_reports_what_it_saw():
    async with gateway(Peer.serve, systems=(BALANCING,)) as running:
        assert (await running.ask(get())).status == 200
        ((name, report),) = list(running.worker.collect(full=False))
        assert name == "balancing"
        assert report.pools["default"].requests == 1
        assert list(running.worker.collect(full=False)) == []
        assert len(list(running.worker.collect(full=True))) == 1


async def test_the_gateway_needs_balancing():
    import random

    from seawall.config.gateway import GatewaySettings
    from seawall.core.clock import SystemClock
    from seawall.core.errors import SeawallError
    from seawall.gateway.worker import Worker

    with pytest.raises(SeawallError, match="balancing"):
        Worker(GatewaySettings(), [], SystemClock(), random.Random(1))
