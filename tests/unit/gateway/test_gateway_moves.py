"""An instance that moves to another address leaves its connections behind."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from gateway_harness import Gateway, Peer, Upstream, gateway, get, ok, until
from seawall.gateway.endpoint import Endpoint

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def two_places(*scripts, **pool) -> AsyncIterator[tuple[Gateway, Upstream, Upstream]]:
    """One instance by name, and servers at two addresses that the name may lead to."""
    old = await Upstream("a", scripts or (Peer.serve,)).start()
    new = await Upstream("b", (Peer.serve,)).start(at=("127.0.0.2", old.port))
    old.url = f"http://service.test:{old.port}"
    try:
        async with gateway(old, **pool) as running:
            running.apply([old.url], addresses=("127.0.0.1",))
            yield running, old, new
    finally:
        await new.stop()


async def test_idle_connections_are_not_used_after_the_address_has_changed():
    async with two_places() as (running, old, _):
        client = await running.client()
        assert (await client.ask(get())).body == b"a"
        running.apply([old.url], addresses=("127.0.0.2",))
        assert (await client.ask(get())).body == b"b"
        await until(old.peers[0].reader.at_eof, "the end of the idle connection")


async def test_a_busy_connection_to_the_old_address_finishes_its_request_and_is_closed():
    go_on = asyncio.Event()

    async def slow(peer):
        await peer.request()
        await go_on.wait()
        await peer.send(ok(b"a"))
        assert await peer.rest() == b""

    async with two_places(slow, max_connections=1) as (running, old, new):
        first, second = await running.client(), await running.client()
        await first.send(get())
        await until(lambda: old.peers, "the request")
        running.apply([old.url], addresses=("127.0.0.2",))
        await second.send(get())
        endpoint = running.instances[0].transport
        await until(lambda: endpoint._waiting, "the second request to wait for room")
        go_on.set()
        assert (await first.response()).body == b"a"
        assert (await second.response()).body == b"b"
        assert (await first.ask(get())).body == b"b"
        assert len(new.peers) == 1


async def test_connections_stay_where_nothing_or_only_the_order_of_addresses_changed(monkeypatch):
    async with two_places() as (running, old, new):
        running.apply([old.url], addresses=("127.0.0.1", "127.0.0.2"))
        client = await running.client()
        assert (await client.ask(get())).body == b"a"
        running.apply([old.url], addresses=("127.0.0.2", "127.0.0.1"), tls_ca_file="/nowhere")
        assert (await client.ask(get())).body == b"a"
        moves = []
        monkeypatch.setattr(Endpoint, "move", lambda endpoint, address: moves.append((endpoint, address)))
        running.apply([old.url], addresses=("127.0.0.2", "127.0.0.1"), max_connections=7)
        assert moves == []  # a snapshot that changes no address makes none
        assert running.instances[0].transport.max_connections == 7
        assert (await client.ask(get())).body == b"a"
        assert len(old.peers) == 1
        assert new.peers == []


async def test_a_connection_that_was_being_opened_for_the_old_address_serves_one_request_only():
    loop = asyncio.get_running_loop()
    begun, go_on = asyncio.Event(), asyncio.Event()

    class SlowLoop:
        """The loop, with connections that take until `go_on`."""

        create_task = staticmethod(loop.create_task)

        async def create_connection(self, *arguments, **options):
            begun.set()
            await go_on.wait()
            return await loop.create_connection(*arguments, **options)

    async with two_places() as (running, old, _):
        client = await running.client()
        endpoint = running.worker.runtime.endpoint(running.instances[0])
        endpoint._loop = SlowLoop()
        await client.send(get())
        await begun.wait()
        running.apply([old.url], addresses=("127.0.0.2",))
        go_on.set()
        assert (await client.response()).body == b"a"
        assert (await client.ask(get())).body == b"b"
