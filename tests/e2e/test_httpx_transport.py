"""An httpx client over a pool of real servers, some of which die, hang or break."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from seawall import DynamicLoadBalancer
from seawall.middleware.httpx import BalancingTransport
from seawall.systems.balancing.model import InstanceState

pytestmark = pytest.mark.anyio


class Server:
    """A keep-alive HTTP server that says its name; `kill` drops the listener and every connection."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.mode = "ok"
        self.seen: list[bytes] = []
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> "Server":
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def kill(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _connected(self, reader, writer):
        self._writers.add(writer)
        try:
            while True:
                await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        body = await reader.readexactly(length)
        self.seen.append(head + body)
        await asyncio.sleep(0.002)
        if self.mode == "break":
            writer.transport.abort()
            raise ConnectionError
        if self.mode == "half":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
            await writer.drain()
            writer.transport.abort()
            raise ConnectionError
        status = b"500 Oops" if self.mode == "500" else b"200 OK"
        writer.write(b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n%s" % (status, len(self.name), self.name.encode()))
        await writer.drain()


@asynccontextmanager
async def servers(count: int):
    async with AsyncExitStack() as stack:
        started = []
        for number in range(count):
            server = await Server(f"s{number}").start()
            stack.callback(server.kill)
            started.append(server)
        yield started


def counts(balancer: DynamicLoadBalancer) -> dict[str, tuple[int, int, int]]:
    pool = balancer.status()[0]
    return {shown.url: (shown.totals.requests, shown.totals.errors, shown.active) for shown in pool.instances}


async def test_calls_are_spread_and_keep_their_host():
    async with servers(3) as pool:
        transport = BalancingTransport([server.url for server in pool])
        async with httpx.AsyncClient(transport=transport, base_url="http://orders/") as client:
            names = Counter([(await client.get("/list?page=2")).text for _ in range(30)])
            assert (await client.post("/new", json={"n": 1})).status_code == 200
        assert names == {"s0": 10, "s1": 10, "s2": 10}
        heads = [head for server in pool for head in server.seen]
        assert sum(head.startswith(b"GET /list?page=2 HTTP/1.1\r\nHost: orders\r\n") for head in heads) == 30
        assert any(head.startswith(b"POST /new") and head.endswith(b'{"n":1}') for head in heads)
        assert sorted(counts(transport.balancer).values()) == [(10, 0, 0), (10, 0, 0), (11, 0, 0)]


async def test_a_server_killed_in_mid_traffic_costs_no_idempotent_request():
    async with servers(3) as pool:
        health = {"interval_ms": 50, "timeout_ms": 500}
        retry = {"budget": 1.0, "floor_per_second": 1000}
        table = {"pools": {"default": {"instances": [server.url for server in pool], "health": health, "retry": retry}}}
        transport = BalancingTransport(table)
        answered: Counter[str] = Counter()
        killed = asyncio.Event()
        stop = asyncio.Event()

        async def traffic(client):
            while not stop.is_set():
                response = await client.get("/")
                assert response.status_code == 200
                answered[response.text] += 1
                if sum(answered.values()) > 100:
                    killed.set()

        async with httpx.AsyncClient(transport=transport, base_url="http://orders/") as client:
            tasks = [asyncio.create_task(traffic(client)) for _ in range(8)]
            await killed.wait()
            pool[0].kill()
            before = answered["s0"]

            def state():
                return {found.url: found.state for found in transport.balancer.pool().instances}[pool[0].url]

            async with asyncio.timeout(10.0):
                while state() is InstanceState.HEALTHY:  # noqa: ASYNC110 - what is awaited has no event
                    await asyncio.sleep(0.005)
                at_death = sum(answered.values())
                while sum(answered.values()) < at_death + 100:  # noqa: ASYNC110 - the same
                    await asyncio.sleep(0.005)
            stop.set()
            await asyncio.gather(*tasks)
        assert answered["s0"] - before <= 8
        assert counts(transport.balancer)[pool[0].url][1] > 0
        assert {active for _, _, active in counts(transport.balancer).values()} == {0}


async def test_one_that_answers_500_is_ejected_and_its_answers_are_handed_on():
    async with servers(3) as pool:
        pool[0].mode = "500"
        balancer = DynamicLoadBalancer([server.url for server in pool])
        async with httpx.AsyncClient(transport=BalancingTransport(balancer), base_url="http://orders/") as client:
            statuses = Counter([(await client.get("/")).status_code for _ in range(60)])
        assert statuses == {500: 5, 200: 55}
        assert balancer.pool().instances[0].state is InstanceState.EJECTED


async def test_what_may_not_be_repeated_is_not():
    async with servers(2) as pool:
        for server in pool:
            server.mode = "break"
        transport = BalancingTransport([server.url for server in pool])
        async with httpx.AsyncClient(transport=transport, base_url="http://orders/") as client:
            with pytest.raises(httpx.TransportError):
                await client.post("/pay", content=b"10")
            assert len(pool[0].seen) + len(pool[1].seen) == 1

            async def parts():
                yield b"10"

            with pytest.raises(httpx.TransportError):
                await client.put("/stream", content=parts())
            assert len(pool[0].seen) + len(pool[1].seen) == 2
            with pytest.raises(httpx.TransportError):
                await client.put("/whole", content=b"10")
            assert len(pool[0].seen) + len(pool[1].seen) == 4


async def test_an_unsent_post_goes_to_another_server():
    async with servers(2) as pool:
        pool[0].kill()
        # Both first turns of a pool of two may fall to the dead one, more often than a small budget covers.
        table = {"instances": [server.url for server in pool], "retry": {"budget": 1.0, "floor_per_second": 100}}
        transport = BalancingTransport({"pools": {"default": table}})
        async with httpx.AsyncClient(transport=transport, base_url="http://orders/") as client:
            assert [(await client.post("/pay", content=b"1")).text for _ in range(4)] == ["s1"] * 4


async def test_all_servers_down_is_a_connect_error():
    async with servers(2) as pool:
        for server in pool:
            server.kill()
        transport = BalancingTransport([server.url for server in pool])
        async with httpx.AsyncClient(transport=transport, base_url="http://orders/") as client:
            with pytest.raises(httpx.ConnectError):
                await client.get("/")
        assert {active for _, _, active in counts(transport.balancer).values()} == {0}


async def test_a_body_that_breaks_off_is_counted_and_raised():
    async with servers(1) as pool:
        pool[0].mode = "half"
        transport = BalancingTransport([pool[0].url])
        async with httpx.AsyncClient(transport=transport, base_url="http://orders/") as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get("/")
        assert counts(transport.balancer) == {pool[0].url: (1, 1, 0)}


async def test_a_response_that_is_closed_early_is_no_error():
    async with servers(1) as pool:
        transport = BalancingTransport([pool[0].url])
        client = httpx.AsyncClient(transport=transport, base_url="http://orders/")
        async with client, client.stream("GET", "/") as response:
            assert response.status_code == 200
        assert counts(transport.balancer) == {pool[0].url: (1, 0, 0)}


async def test_a_cancelled_call_says_nothing_about_the_server():
    async def hang(reader, writer):
        await reader.read()
        writer.close()

    hanging = await asyncio.start_server(hang, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{hanging.sockets[0].getsockname()[1]}"
    transport = BalancingTransport([url])
    async with httpx.AsyncClient(transport=transport, base_url="http://orders/") as client:
        task = asyncio.create_task(client.get("/"))
        async with asyncio.timeout(5.0):
            while counts(transport.balancer)[url] != (0, 0, 1):  # noqa: ASYNC110 - what is awaited has no event
                await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert counts(transport.balancer) == {url: (1, 0, 0)}
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/", timeout=0.05)
        assert counts(transport.balancer)[url][1] >= 1
    hanging.close()


async def test_the_instances_own_authority_can_be_sent():
    async with servers(1) as pool:
        table = {"pools": {"default": {"instances": [pool[0].url], "preserve_host": False}}}
        async with httpx.AsyncClient(transport=BalancingTransport(table), base_url="http://orders/") as client:
            await client.get("/")
        assert f"host: 127.0.0.1:{pool[0].port}\r\n".encode() in pool[0].seen[-1].lower()


async def test_a_unix_socket_is_an_instance_too(tmp_path):
    path = tmp_path / "app.sock"

    async def answer(reader, writer):
        if await reader.read(4096):  # a health check connects and sends nothing
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nunix")
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, path)
    async with httpx.AsyncClient(transport=BalancingTransport([f"unix:{path}"]), base_url="http://orders/") as client:
        assert (await client.get("/")).text == "unix"
    server.close()
