"""Load that does not wait for answers: requests leave at their times whatever became of those before them."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

__all__ = ["Answer", "Plan", "send"]

_CONNECTIONS = 4000


class Plan(NamedTuple):
    """One request: when it leaves, in seconds from the start, and what it is."""

    at: float
    tier: int


class Answer(NamedTuple):
    """What became of a request.

    Attributes:
        status: 0 when no answer came in time.
        seconds: until the answer, counted from when the request was due.
    """

    at: float
    tier: int
    status: int
    seconds: float


class _Link(asyncio.Protocol):
    """One connection that carries one request at a time."""

    def __init__(self, pool: "list[_Link]") -> None:
        self._pool = pool
        self._received = b""
        self._waiter: asyncio.Future[int] | None = None
        self.closed = False

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvloop's transport is no asyncio.Transport
        self.transport = transport

    async def ask(self, request: bytes) -> int:
        self._waiter = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self._waiter

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        fields = head.lower()
        _, _, rest = fields.partition(b"content-length:")
        if len(body) < int(rest.split(b"\r\n", 1)[0] or 0):
            return
        self._received = b""
        if b"connection: close" in fields:
            self.closed = True
            self.transport.close()
        else:
            self._pool.append(self)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(int(head.split(b" ", 2)[1]))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - part of the Protocol
        self.closed = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(0)


async def send(port: int, plans: Sequence[Plan], *, patience: float) -> list[Answer]:
    """Send every request at its time and return what became of each, in the order of `plans`.

    Args:
        port: on 127.0.0.1.
        plans: in order of time; the tier goes into the path and into the field `x-tier`.
        patience: seconds after which a client gives up and closes its connection.
    """
    loop = asyncio.get_running_loop()
    idle: list[_Link] = []
    started = time.monotonic() + 0.1
    room = asyncio.Semaphore(_CONNECTIONS)

    async def one(plan: Plan) -> Answer:
        due = started + plan.at
        status = 0
        link: _Link | None = None
        try:
            async with room, asyncio.timeout_at(loop.time() + due + patience - time.monotonic()):
                while idle and (link := idle.pop()).closed:
                    link = None
                if link is None:
                    _, link = await loop.create_connection(lambda: _Link(idle), "127.0.0.1", port)
                request = b"GET /tier/%d HTTP/1.1\r\nhost: bench\r\nx-tier: %d\r\n\r\n" % (plan.tier, plan.tier)
                status = await link.ask(request)
        except TimeoutError:
            if link is not None:
                link.transport.abort()
        except OSError:
            status = 0
        return Answer(plan.at, plan.tier, status, time.monotonic() - due)

    tasks = []
    for plan in plans:
        wait = started + plan.at - time.monotonic()
        if wait > 0.0005:
            await asyncio.sleep(wait)
        tasks.append(loop.create_task(one(plan)))
    return list(await asyncio.gather(*tasks))
