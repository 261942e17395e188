"""Open-loop load: requests leave when they are due, whatever became of those before them.

A closed loop (send, wait, send) slows down with the server and so hides its worst moments. Here the latency of a
request runs from the moment at which it was due, so a stall shows in every request that it held up.
"""

import asyncio
import contextlib
import itertools
import math
import os
import random
from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple, cast

import httptools

__all__ = ["Answer", "LatencyCounts", "OpenLoopLoad"]

_IDLE_SECONDS = 20.0
"""A pooled connection that was idle for longer is not used again: the gateway may be about to close it."""

_RESOLUTION = math.log(1.01)


class Answer(NamedTuple):
    """What became of one request; times in seconds on the event loop's clock.

    Attributes:
        due: when it was to be sent.
        server: name of the upstream that answered; empty when it failed.
    """

    due: float
    latency: float
    server: str
    failed: bool


class LatencyCounts:
    """Counts of latencies in buckets one percent wide, for quantiles over any length of run."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self._total = 0

    def add(self, seconds: float) -> None:
        """Count one latency."""
        self._buckets[round(math.log(max(seconds, 1e-6)) / _RESOLUTION)] += 1
        self._total += 1

    def quantile(self, share: float) -> float:
        """Return the latency in seconds below which this share (0..1) of all lies, to one percent; 0 when empty."""
        wanted = math.ceil(self._total * share)
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return math.exp(bucket * _RESOLUTION)
        return 0.0


class OpenLoopLoad:
    """Sends GET requests at a fixed mean rate, Poisson distributed, over as many connections as that takes.

    Args:
        host: address of the gateway.
        port: its port.
        rate: requests per second.
        rng: source of the gaps between requests.
        clients: addresses that take turns as the one that asks, named in `X-Forwarded-For`; this machine by default.
        recent_seconds: how long an answer counts as recent.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        rate: float,
        rng: random.Random,
        clients: Sequence[str] = (),
        recent_seconds: float = 2.0,
    ) -> None:
        self._address = (host, port)
        self._rate = rate
        self._rng = rng
        self._recent_seconds = recent_seconds
        self._loop = asyncio.get_running_loop()
        self._idle: list[_Connection] = []
        self._dialling: set[asyncio.Task[None]] = set()
        self._settled = asyncio.Event()
        head = f"GET /demo HTTP/1.1\r\nhost: {host}:{port}\r\naccept: */*\r\n"
        asking = [f"x-forwarded-for: {client}\r\n" for client in clients] or [""]
        self.heads = itertools.cycle([f"{head}{field}\r\n".encode() for field in asking])
        self.sent = 0
        self.failed = 0
        self.in_flight = 0
        self.latencies = LatencyCounts()
        self.by_server: Counter[str] = Counter()
        self.recent: deque[Answer] = deque()
        self.failures: Counter[str] = Counter()

    async def run(self) -> None:
        """Send until cancelled; requests under way then are left to `drain`."""
        due = self._loop.time()
        while True:
            due += self._rng.expovariate(self._rate)
            delay = due - self._loop.time()
            if delay > 0:
                await asyncio.sleep(delay)
            self._send(due)

    async def drain(self, *, seconds: float) -> None:
        """Wait for the answers under way; what is not there in time has failed. Closes every connection."""
        if self.in_flight:
            self._settled.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._settled.wait(), seconds)
        if self.in_flight:
            self.failures["no answer by the end"] += self.in_flight
            self.failed += self.in_flight
        for task in tuple(self._dialling):
            task.cancel()
        for connection in self._idle:
            connection.close()

    def finish(self, due: float, server: str, failure: str) -> None:
        """Take the end of one request; `failure` is empty when the answer was complete and its status 200."""
        now = self._loop.time()
        self.in_flight -= 1
        if not self.in_flight:
            self._settled.set()
        answer = Answer(due, now - due, server, bool(failure))
        if failure:
            self.failed += 1
            self.failures[failure] += 1
        else:
            self.latencies.add(answer.latency)
            self.by_server[server] += 1
        self.recent.append(answer)
        while self.recent and self.recent[0].due < now - self._recent_seconds:
            self.recent.popleft()

    def release(self, connection: "_Connection") -> None:
        """Put a connection back for the next request."""
        self._idle.append(connection)

    def forget(self, connection: "_Connection") -> None:
        """Take a closed connection out of the pool."""
        if connection in self._idle:
            self._idle.remove(connection)

    def _send(self, due: float) -> None:
        self.sent += 1
        self.in_flight += 1
        while self._idle:
            connection = self._idle.pop()
            if self._loop.time() - connection.used_at < _IDLE_SECONDS:
                connection.send(due)
                return
            connection.close()
        task = self._loop.create_task(self._dial(due))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)

    async def _dial(self, due: float) -> None:
        try:
            _, connection = await self._loop.create_connection(lambda: _Connection(self), *self._address)
        except OSError as error:
            self.finish(due, "", f"connect: {os.strerror(error.errno) if error.errno else error}")
        else:
            connection.send(due)


class _Connection(asyncio.Protocol):
    """One keep-alive connection to the gateway, one request on it at a time."""

    def __init__(self, load: OpenLoopLoad) -> None:
        self._load = load
        self._loop = asyncio.get_running_loop()
        self._transport = asyncio.Transport()
        self._parser = httptools.HttpResponseParser(self)
        self._due: float | None = None
        self._server = ""
        self.used_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass

    def send(self, due: float) -> None:
        self._due = due
        self._server = ""
        self.used_at = self._loop.time()
        self._transport.write(next(self._load.heads))

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(f"malformed response: {error}")
            self._transport.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-demo-server":
            self._server = value.decode("ascii")

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        self._end("" if status == 200 else f"status {status}")
        if self._parser.should_keep_alive():
            self._load.release(self)
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.forget(self)
        self._end(f"connection lost: {exc}" if exc else "connection closed without an answer")

    def _end(self, failure: str) -> None:
        if self._due is not None:
            due, self._due = self._due, None
            self._load.finish(due, self._server, failure)
