"""Small real servers, and a controller over a store in memory."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from seawall.adapters.geoip import open_locations
from seawall.core.clock import SystemClock
from seawall.core.system import ControllerContext
from seawall.state.memory import MemoryStore
from seawall.systems.balancing.controller import BalancingController
from seawall.systems.balancing.model import BalancingSnapshot, InstanceReport, InstanceState
from seawall.systems.balancing.settings import BalancingSettings

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def replying(payload: bytes) -> Answer:
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(payload)
        await writer.drain()

    return answer


def response(status: int = 200, body: bytes = b"ok") -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body)


@asynccontextmanager
async def serving(answer: Answer, **where) -> AsyncIterator[int]:
    """Answer each connection with `answer` on a free port (or a Unix socket with `path`); give the port."""
    writers = set()

    async def connected(reader, writer):
        writers.add(writer)
        try:
            await answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writers.discard(writer)
            writer.close()

    if "path" in where:
        server = await asyncio.start_unix_server(connected, where["path"])
        port = 0
    else:
        server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=where.get("ssl"))
        port = server.sockets[0].getsockname()[1]
    try:
        yield port
    finally:
        server.close()
        for writer in list(writers):
            writer.transport.abort()


class Site:
    """A controller, what it published, and how to wait for it."""

    def __init__(self, controller: BalancingController, published: list[BalancingSnapshot]) -> None:
        self.controller = controller
        self.published = published

    def states(self, pool: str = "default") -> dict[str, InstanceState]:
        newest = next(found for found in self.published[-1].pools if found.name == pool)
        return {instance.id: instance.state for instance in newest.instances}

    async def until(self, condition: Callable[["Site"], object], seconds: float = 5.0) -> None:
        async with asyncio.timeout(seconds):
            while not (self.published and condition(self)):  # noqa: ASYNC110 - what is awaited has no event
                await asyncio.sleep(0.005)


@pytest.fixture
async def sites() -> AsyncIterator[Callable[..., Awaitable[Site]]]:
    """Start controllers over a `[balancing]` table; those that share a `store` share the registry."""
    async with AsyncExitStack() as stack:

        async def start(table, store=None, *, resume=None, **options) -> Site:
            published: list[BalancingSnapshot] = []
            if store is None:
                store = MemoryStore(clock=SystemClock())
                stack.push_async_callback(store.close)
            context = ControllerContext(
                settings=BalancingSettings.model_validate(table),
                store=store,
                clock=SystemClock(),
                rng=random.Random(7),
                publish=published.append,
                locations=open_locations,
            )
            controller = BalancingController(context, **options)
            if resume is not None:
                controller.resume(resume)
            await controller.start()
            stack.push_async_callback(controller.stop)
            return Site(controller, published)

        yield start


def report_row(good: int = 0, bad: int = 0, *, active: int = 0, run: int = 0, load: float = -1.0) -> InstanceReport:
    """A worker's cumulative row: `good` successes of 20 ms and `bad` answers with a 5xx."""
    buckets = [0] * 15
    buckets[4] = good + bad
    return InstanceReport(
        active=active,
        ewma=0.02,
        consecutive_errors=run,
        counts=(good, bad, 0, 0, 0, 0, 0, 0),
        buckets=tuple(buckets),
        duration_us=(good + bad) * 20_000,
        load=load,
    )
