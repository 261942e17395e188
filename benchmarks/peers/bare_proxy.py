"""The ceiling: the least that a uvloop + httptools proxy can do, round robin and keep-alive without check or count.

It assumes well-formed requests without bodies, one at a time on a connection, as wrk sends them. It is no gateway.
Usage: bare_proxy.py LISTEN_PORT UPSTREAM_PORT...
"""

import asyncio
import sys
from collections import deque
from typing import cast

import httptools
import uvloop

__all__ = ["main"]


class Upstream(asyncio.Protocol):
    """One keep-alive connection to an upstream; passes on bytes as they come and watches for the response's end."""

    def __init__(self, idle: deque["Upstream"]) -> None:
        self.idle = idle
        self.transport = asyncio.Transport()
        self.parser = httptools.HttpResponseParser(self)
        self.client: Client | None = None
        self.complete = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass

    def send(self, client: "Client", head: bytes) -> None:
        self.client = client
        self.complete = False
        self.transport.write(head)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)
        client = self.client
        if client is not None:
            client.transport.write(data)
            if self.complete:
                self.client = None
                self.idle.append(self)

    def on_message_complete(self) -> None:
        self.complete = True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self in self.idle:
            self.idle.remove(self)
        if self.client is not None:
            self.client.transport.close()


class Pool:
    """Idle connections per upstream, taken in turn."""

    def __init__(self, ports: list[int]) -> None:
        self.ports = ports
        self.idle: list[deque[Upstream]] = [deque() for _ in ports]
        self.turn = 0
        self.tasks: set[asyncio.Task[None]] = set()

    def send(self, client: "Client", head: bytes) -> None:
        self.turn = turn = (self.turn + 1) % len(self.ports)
        idle = self.idle[turn]
        if idle:
            idle.pop().send(client, head)
        else:
            task = asyncio.get_running_loop().create_task(self._connect(turn, client, head))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _connect(self, turn: int, client: "Client", head: bytes) -> None:
        loop = asyncio.get_running_loop()
        _, upstream = await loop.create_connection(lambda: Upstream(self.idle[turn]), "127.0.0.1", self.ports[turn])
        upstream.send(client, head)


class Client(asyncio.Protocol):
    """One client connection."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.transport = asyncio.Transport()
        self.parser = httptools.HttpRequestParser(self)
        self.target = b""
        self.lines: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.target = url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() != b"connection":
            self.lines.append(b"%b: %b\r\n" % (name, value))

    def on_message_complete(self) -> None:
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (self.parser.get_method(), self.target, b"".join(self.lines))
        self.lines.clear()
        self.pool.send(self, head)


async def main(port: int, upstreams: list[int]) -> None:
    """Serve until the process is ended."""
    pool = Pool(upstreams)
    server = await asyncio.get_running_loop().create_server(lambda: Client(pool), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), [int(port) for port in sys.argv[2:]]))
