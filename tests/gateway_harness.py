"""A gateway in the test's own process, upstreams scripted byte by byte, and clients that see every byte."""

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from seawall.config.gateway import GatewaySettings
from seawall.core.clock import SystemClock
from seawall.core.system import System
from seawall.gateway.worker import Worker
from seawall.systems.balancing.counters import Instance
from seawall.systems.balancing.engine import BalancingEngine
from seawall.systems.balancing.model import (
    BalancingReport,
    BalancingSnapshot,
    InstanceReport,
    InstanceSnapshot,
    Outcome,
    PoolSnapshot,
    RouteSnapshot,
)
from seawall.systems.ratelimit.counts import Counts
from seawall.systems.ratelimit.engine import RateLimitEngine
from seawall.systems.ratelimit.model import RateLimitReport, RateLimitSnapshot, RuleSnapshot

DEADLINE = 10.0
"""Seconds after which anything that a test waits for has failed."""

BALANCING = System(
    name="balancing",
    settings=object,
    snapshot=BalancingSnapshot,
    report=BalancingReport,
    engine=lambda context: BalancingEngine(context.clock.monotonic, context.rng),
    controller=lambda _: (_ for _ in ()).throw(AssertionError("no controller in a worker")),
    instruments=(),
)


RATELIMIT = System(
    name="ratelimit",
    settings=object,
    snapshot=RateLimitSnapshot,
    report=RateLimitReport,
    engine=lambda context: RateLimitEngine(context.clock.wall),
    controller=lambda _: (_ for _ in ()).throw(AssertionError("no controller in a worker")),
    instruments=(),
)


async def until(condition: Callable[[], Any], what: str = "the condition") -> None:
    """Poll until the condition holds; fail at the deadline."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about"
        await asyncio.sleep(0.005)


def timely(coroutine: Awaitable[Any]) -> Awaitable[Any]:
    return asyncio.wait_for(coroutine, DEADLINE)


# messages, read by a parser that shares nothing with the gateway's


@dataclass
class Message:
    line: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    chunked: bool = False
    until_close: bool = False

    @property
    def status(self) -> int:
        return int(self.line.split(b" ")[1])

    @property
    def method(self) -> bytes:
        return self.line.split(b" ")[0]

    @property
    def target(self) -> bytes:
        return self.line.split(b" ")[1]

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name]

    def get(self, name: bytes) -> bytes | None:
        values = self.all(name)
        assert len(values) <= 1, f"{name!r} is repeated: {values}"
        return values[0] if values else None

    @property
    def problem(self) -> dict[str, Any]:
        assert self.get(b"content-type") == b"application/problem+json", (self.line, self.fields, self.body)
        decoded: dict[str, Any] = msgspec.json.decode(self.body)
        assert decoded["status"] == self.status
        assert decoded["type"] == f"urn:seawall:problem:{decoded['code']}"
        assert decoded["detail"]
        assert decoded["title"]
        request_id = self.get(b"x-request-id")
        assert request_id is not None
        assert decoded["request_id"] == request_id.decode()
        return decoded


class Wire:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await timely(self.writer.drain())

    async def read_head(self) -> Message:
        raw = await timely(self.reader.readuntil(b"\r\n\r\n"))
        line, *rest = raw[:-4].split(b"\r\n")
        fields = []
        for text in rest:
            name, colon, value = text.partition(b":")
            assert colon, raw
            assert name, raw
            assert name == name.strip(), raw
            fields.append((name, value.strip()))
        assert b"\n" not in raw.replace(b"\r\n", b""), raw
        return Message(line, fields)

    async def read_chunk(self) -> bytes:
        size = int((await timely(self.reader.readuntil(b"\r\n")))[:-2], 16)
        data: bytes = await timely(self.reader.readexactly(size))
        assert await timely(self.reader.readexactly(2)) == b"\r\n"
        return data

    async def read_body(self, message: Message) -> Message:
        coding = message.get(b"transfer-encoding")
        length = message.get(b"content-length")
        assert coding is None or length is None, message
        if coding is not None:
            assert coding == b"chunked"
            message.chunked = True
            while chunk := await self.read_chunk():
                message.body += chunk
        elif length is not None:
            message.body = await timely(self.reader.readexactly(int(length)))
        return message

    async def rest(self) -> bytes:
        """Everything up to an orderly end; a reset raises `ConnectionError`."""
        data: bytes = await timely(self.reader.read())
        return data

    async def closed(self) -> None:
        """Wait until the other side is gone, orderly or not."""
        with contextlib.suppress(ConnectionError):
            await self.rest()

    async def silent(self, seconds: float = 0.05) -> None:
        """Assert that nothing comes within this time (for what must not come, there is nothing to poll for)."""
        try:
            data = await asyncio.wait_for(self.reader.read(1), seconds)
        except TimeoutError:
            return
        raise AssertionError(f"unexpected {data!r}")

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()


class Client(Wire):
    async def response(self, *, head: bool = False) -> Message:
        """Read one final response; `head` when it answers HEAD."""
        message = await self.read_head()
        if head or message.status in {204, 304} or message.status < 200:
            return message
        if message.get(b"content-length") is None and message.get(b"transfer-encoding") is None:
            assert message.get(b"connection") == b"close", message
            message.until_close = True
            message.body = await self.rest()
            return message
        return await self.read_body(message)

    async def ask(self, data: bytes, *, head: bool = False) -> Message:
        await self.send(data)
        return await self.response(head=head)

    async def broken(self) -> bytes:
        """Read up to a reset and return what came; an orderly end fails."""
        got = b""
        try:
            while data := await timely(self.reader.read(65_536)):
                got += data
        except ConnectionError:
            return got
        raise AssertionError(f"an orderly end after {got[-200:]!r}")


class Peer(Wire):
    """The upstream's end of one connection from the gateway."""

    async def request(self) -> Message:
        return await self.read_body(await self.read_head())

    async def serve(self, answer: bytes | None = None) -> None:
        """Answer every request alike until the gateway closes."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self.upstream.requests.append(await self.request())
                await self.send(ok(self.upstream.name.encode()) if answer is None else answer)

    upstream: "Upstream"


Script = Callable[[Peer], Awaitable[None]]


def ok(body: bytes = b"ok", *fields: bytes, status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, *fields, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def get(target: bytes = b"/", *fields: bytes, method: bytes = b"GET", host: bytes = b"example.test") -> bytes:
    return b"\r\n".join([method + b" " + target + b" HTTP/1.1", b"Host: " + host, *fields]) + b"\r\n\r\n"


def post(body: bytes, *fields: bytes, target: bytes = b"/", method: bytes = b"POST") -> bytes:
    return get(target, *fields, b"Content-Length: %d" % len(body), method=method) + body


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + trailers + b"\r\n"


class Upstream:
    """A server that runs one script per connection: the scripts in order, the last one for all that follow."""

    def __init__(self, name: str, scripts: tuple[Script, ...]) -> None:
        self.name = name
        self.scripts = list(scripts)
        self.peers: list[Peer] = []
        self.requests: list[Message] = []
        self.failures: list[BaseException] = []
        self.url = ""
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(
        self, *, path: str = "", ssl: Any = None, receive_buffer: int = 0, at: tuple[str, int] = ("127.0.0.1", 0)
    ) -> "Upstream":
        if path:
            self._server = await asyncio.start_unix_server(self._serve, path)
            self.url = f"unix:{path}"
        else:
            listener = socket.socket()
            if receive_buffer:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            listener.bind(at)
            limit = receive_buffer or 2**20
            self._server = await asyncio.start_server(self._serve, sock=listener, ssl=ssl, limit=limit)
            self.port = self._server.sockets[0].getsockname()[1]
            self.url = f"{'https' if ssl else 'http'}://127.0.0.1:{self.port}"
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        peer.upstream = self
        script = self.scripts[min(len(self.peers), len(self.scripts) - 1)]
        self.peers.append(peer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await script(peer)
        except asyncio.CancelledError:
            pass  # the end of the test
        except BaseException as error:  # noqa: BLE001 - told by `stop`
            self.failures.append(error)
        finally:
            self._tasks.discard(task)
            with contextlib.suppress(RuntimeError):
                writer.close()

    def refuse(self) -> None:
        """Stop listening; connections that are open stay."""
        assert self._server is not None
        self._server.close()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await until(lambda: not self._tasks, "the end of the scripts")
        for peer in self.peers:
            peer.writer.transport.abort()
        if self.failures:
            raise self.failures[0]


@dataclass
class Gateway:
    """A running worker and what surrounds it."""

    worker: Worker
    settings: dict[str, Any]
    pool: dict[str, Any]
    routes: tuple[RouteSnapshot, ...]
    version: int = 0
    port: int = 0
    path: str = ""
    upstreams: list[Upstream] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)

    @property
    def engine(self) -> BalancingEngine:
        return self.worker.runtime.balancing

    @property
    def instances(self) -> list[Instance]:
        return self.engine.pools["default"].instances

    def apply(self, urls: list[str], *, addresses: tuple[str, ...] = (), **pool: Any) -> None:
        """Publish a snapshot in which the pool has these instances, named a, b, c, ..., found at these addresses."""
        self.pool.update(pool)
        self.version += 1
        instances = tuple(
            InstanceSnapshot(id="abcdefgh"[i], url=url, addresses=addresses) for i, url in enumerate(urls)
        )
        snapshot = BalancingSnapshot(
            version=self.version,
            pools=(PoolSnapshot(name="default", instances=instances, **self.pool),),
            routes=self.routes,
        )
        self.worker.apply("balancing", msgspec.msgpack.encode(snapshot))

    def limit(self, *rules: RuleSnapshot, **snapshot: Any) -> None:
        """Publish these rate limits."""
        self.version += 1
        limits = RateLimitSnapshot(version=self.version, rules=rules, **snapshot)
        self.worker.apply("ratelimit", msgspec.msgpack.encode(limits))

    def limits(self) -> RateLimitReport:
        """What the limiter reports."""
        reports = dict(self.worker.collect(full=True))
        report = reports["ratelimit"]
        assert isinstance(report, RateLimitReport)
        return report

    def configure(self, **settings: Any) -> None:
        self.settings.update(settings)
        payload = GatewaySettings(**self.settings).model_dump(mode="json")
        self.worker.apply("gateway", msgspec.msgpack.encode(payload))

    async def client(self, *, receive_buffer: int = 0) -> Client:
        raw = socket.socket(socket.AF_UNIX if self.path else socket.AF_INET)
        raw.setblocking(False)
        if receive_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            await asyncio.get_running_loop().sock_connect(raw, self.path or ("127.0.0.1", self.port))
        except OSError:
            raw.close()
            raise
        limit = {"limit": 1024} if receive_buffer else {"limit": 2**20}
        client = Client(*await asyncio.open_connection(sock=raw, **limit))
        self.clients.append(client)
        return client

    async def ask(self, data: bytes, *, head: bool = False) -> Message:
        client = await self.client()
        try:
            return await client.ask(data, head=head)
        finally:
            client.close()

    def outcomes(self, instance: int = 0) -> dict[Outcome, int]:
        """How attempts on one instance ended, as the engine reports it; zeros left out."""
        report = self.engine.report(full=True)
        assert report is not None
        row: InstanceReport = report.instances[self.instances[instance].key]
        return {outcome: count for outcome, count in zip(Outcome, row.counts, strict=False) if count}

    def responses(self) -> tuple[int, ...]:
        report = self.engine.report(full=True)
        assert report is not None
        return report.pools["default"].responses

    async def quiesce(self) -> None:
        """Close every client and wait until no trace of them is left; this is what every test ends with."""
        for client in self.clients:
            client.writer.transport.abort()
        runtime = self.worker.runtime
        await until(lambda: not runtime.connections, "the end of all client connections")
        await until(lambda: not runtime.probes, "the end of all probes")
        pool = self.engine.pools["default"]
        assert pool.active == 0
        assert [instance.active for instance in pool.instances] == [0] * len(pool.instances)
        endpoints = list(runtime._endpoints)
        for endpoint in endpoints:
            assert not endpoint._waiting, endpoint
            await until(lambda endpoint=endpoint: not endpoint._connecting, "the end of all attempts to connect")
            assert 0 <= endpoint.open <= endpoint.max_connections, endpoint
            await until(
                lambda endpoint=endpoint: endpoint.open == len(endpoint._idle), f"idle connections only in {endpoint}"
            )
        await self.worker.close()
        for endpoint in endpoints:
            await until(lambda endpoint=endpoint: endpoint.open == 0, f"no open connection in {endpoint}")
        assert self.errors == []


@contextlib.contextmanager
def loop_errors() -> Iterator[list[dict[str, Any]]]:
    """Collect what reaches the loop's exception handler: an exception in a callback is a defect."""
    loop = asyncio.get_running_loop()
    errors: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    try:
        yield errors
    finally:
        loop.set_exception_handler(None)


@contextlib.asynccontextmanager
async def gateway(
    *upstreams: Script | tuple[Script, ...] | Upstream | str,
    settings: dict[str, Any] | None = None,
    routes: tuple[RouteSnapshot, ...] = (RouteSnapshot(name="all", pool="default"),),
    path: str = "",
    send_buffer: int = 0,
    check: bool = True,
    systems: Sequence[System] = (BALANCING, RATELIMIT),
    counts: Counts | None = None,
    **pool: Any,
) -> AsyncIterator[Gateway]:
    """Run a worker in front of these upstreams: a script or one per connection, a server already started, or a url.

    At the end everything is closed and nothing may be left over: no connection, no active request, no loop error.
    """
    worker = Worker(GatewaySettings(**(settings or {})), systems, SystemClock(), random.Random(1), counts)
    running = Gateway(worker, settings or {}, pool, routes, path=path)
    urls = []
    with loop_errors() as running.errors:
        for index, upstream in enumerate(upstreams):
            if isinstance(upstream, str):
                urls.append(upstream)
                continue
            if not isinstance(upstream, Upstream):
                scripts = upstream if isinstance(upstream, tuple) else (upstream,)
                upstream = await Upstream("abcdefgh"[index], scripts).start()  # noqa: PLW2901
            running.upstreams.append(upstream)
            urls.append(upstream.url)
        running.apply(urls)
        listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        if send_buffer:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        listener.bind(path or ("127.0.0.1", 0))
        listener.setblocking(False)
        listener.listen(128)
        if not path:
            running.port = listener.getsockname()[1]
        await worker.start([listener])
        try:
            yield running
            if check:
                await running.quiesce()
        finally:
            await worker.close()
            for client in running.clients:
                client.writer.transport.abort()
            for upstream in running.upstreams:
                await upstream.stop()
        if check:
            assert running.errors == []


def closed_port() -> int:
    """A port that nobody listens on (and that nobody is given soon: ports are handed out in turn)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
