"""One upstream of the demo: a real HTTP server process that takes a known time to answer.

Run as `python -m seawall.cli.demo_server NAME PORT LATENCY_MS`. It ends when its standard input does, so that it never
outlives the demo that started it.
"""

import asyncio
import json
import random
import signal
import sys
from typing import cast

import httptools
import uvloop

__all__ = ["main"]

_JITTER = 0.2
"""Share of the latency by which a single answer may be earlier or later."""


class _Load:
    """What the server knows of itself: requests in flight and the time that it takes to answer."""

    def __init__(self, name: str, latency: float) -> None:
        self.name = name
        self.latency = latency
        self.active = 0
        self.served = 0


class _Connection(asyncio.Protocol):
    """One client connection; answers requests in order, each after the server's latency."""

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport = asyncio.Transport()
        self._target = b""
        self._waiting: list[bytes] = []
        self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_message_begin(self) -> None:
        self._target = b""

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_message_complete(self) -> None:
        self._waiting.append(self._target.partition(b"?")[0])
        if not self._busy:
            self._next()

    def _next(self) -> None:
        if not self._waiting:
            return
        path = self._waiting.pop(0)
        if path == b"/health":
            self._write({"status": "up"})
            self._next()
        elif path == b"/probe":
            self._write({"in_flight": self._load.active, "latency_ms": self._load.latency * 1e3})
            self._next()
        else:
            self._busy = True
            self._load.active += 1
            spread = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - jitter, not a secret
            self._loop.call_later(self._load.latency * spread, self._answer)

    def _answer(self) -> None:
        self._busy = False
        self._load.active -= 1
        self._load.served += 1
        self._write({"server": self._load.name, "served": self._load.served})
        self._next()

    def _write(self, content: dict[str, str | float]) -> None:
        if self._transport.is_closing():
            return
        body = json.dumps(content).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self._transport.write(f"{head}x-demo-server: {self._load.name}\r\n\r\n".encode() + body)


async def _serve(name: str, port: int, latency: float) -> None:
    loop = asyncio.get_running_loop()
    load = _Load(name, latency)
    # The demo holds the port while this process is dead, so that nothing else can take it.
    server = await loop.create_server(lambda: _Connection(load), "127.0.0.1", port, reuse_port=True, backlog=1024)
    orphaned = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), orphaned.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, orphaned.set)
    async with server:
        await orphaned.wait()


def main() -> None:
    """Serve until told to stop."""
    name, port, latency_ms = sys.argv[1:]
    uvloop.run(_serve(name, int(port), float(latency_ms) / 1e3))


if __name__ == "__main__":
    main()
