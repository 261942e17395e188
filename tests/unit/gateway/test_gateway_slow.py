"""Clients that hold connections by hardly doing anything are cut off, and threat detection is told of them."""

import pytest
from test_gateway_threats import SYSTEMS, head, seen, watch

from gateway_harness import Peer, gateway, get, until
from seawall.gateway import exchange
from seawall.systems.threats.inspection.policy import Policy
from seawall.systems.threats.messages import Ban, SlowClient
from seawall.systems.threats.model import Mode

pytestmark = pytest.mark.anyio

HERE = "127.0.0.1"


async def test_heads_that_never_end_are_counted_by_client():
    async with gateway(Peer.serve, systems=SYSTEMS, settings={"header_timeout_ms": 100}) as running:
        watch(running)
        clients = [await running.client() for _ in range(3)]
        for client in clients:
            await client.send(b"GET / HTTP/1.1\r\nHost: exam")
        assert [(await client.response()).status for client in clients] == [408] * 3
        assert seen(running).slow == (SlowClient(HERE, "head", 3),)
        assert seen(running).slow == ()


async def test_a_connection_on_which_nothing_is_asked_is_no_attack():
    async with gateway(Peer.serve, systems=SYSTEMS, settings={"header_timeout_ms": 100}) as running:
        watch(running)
        client = await running.client()
        await client.closed()
        assert seen(running).slow == ()


@pytest.mark.parametrize("hold", [65_536, 0], ids=["held back", "streamed"])
async def test_bodies_that_stop_are_counted(hold):
    async with gateway(Peer.serve, systems=SYSTEMS, settings={"body_timeout_ms": 100}) as running:
        watch(running, hold_bytes=hold)
        client = await running.client()
        await client.send(head(100) + b"half")
        assert (await client.response()).status == 408
        assert seen(running).slow == (SlowClient(HERE, "body", 1),)


async def test_a_held_body_that_comes_in_drops_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(exchange, "_DROPS_AFTER", 0.2)
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        watch(running)
        client = await running.client()
        await client.send(head(1000))
        answered = running.worker.runtime

        async def drip():
            while answered.connections:
                await client.send(b"x")
                await client.silent(0.02)

        with pytest.raises((AssertionError, ConnectionError)):  # an answer comes while it still sends
            await drip()
        await until(lambda: seen(running).slow == (SlowClient(HERE, "body", 1),))


async def test_a_client_that_takes_no_answer_is_counted():
    async with gateway(
        lambda peer: peer.serve(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 50_000_000),
        systems=SYSTEMS,
        settings={"body_timeout_ms": 200},
    ) as running:
        watch(running)
        client = await running.client(receive_buffer=4096)
        await client.send(get())
        await until(lambda: not running.worker.runtime.connections, "the connection is broken off")
        assert seen(running).slow == (SlowClient(HERE, "read", 1),)


async def test_what_comes_through_a_trusted_proxy_is_not_held_against_the_proxy():
    settings = {"header_timeout_ms": 100, "trusted_proxies": ["127.0.0.0/8"]}
    async with gateway(Peer.serve, systems=SYSTEMS, settings=settings) as running:
        watch(running, bans={f"client:{HERE}": Ban(float("inf"))})
        client = await running.client()
        await client.send(b"GET / HTTP/1.1\r\nHost: exam")
        assert (await client.response()).status == 408
        assert seen(running).slow == ()


@pytest.mark.parametrize(("fields", "short"), [({}, True), ({"policy": Policy(mode=Mode.LOG)}, False)])
async def test_whoever_is_banned_holds_a_connection_for_a_second_at_most_and_is_told_why(fields, short):
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        watch(running, bans={f"client:{HERE}": Ban(float("inf"))}, **fields)
        client = await running.client()
        connection = next(iter(running.worker.runtime.connections))
        assert connection._head_time() == (1.0 if short else 10.0)
        assert (await client.ask(get())).status == (403 if short else 200)


async def test_where_threats_are_not_looked_for_nothing_is_counted():
    async with gateway(Peer.serve, systems=SYSTEMS, settings={"header_timeout_ms": 100}) as running:
        watch(running, policy=Policy(mode=Mode.OFF))
        client = await running.client()
        await client.send(b"GET / HTTP/1.1\r\nHost: exam")
        assert (await client.response()).status == 408
        assert seen(running).slow == ()
