"""Threat controllers over stores, as several gateways have them."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from pydantic import TypeAdapter

from seawall.adapters.pattern_cache import PatternCache
from seawall.adapters.threat_tools import ThreatTools
from seawall.core.clock import Clock, SystemClock
from seawall.core.system import ControllerContext
from seawall.state.memory import MemoryStore
from seawall.systems.threats.actions import Action
from seawall.systems.threats.controller import ThreatController
from seawall.systems.threats.events import EventQuery, ThreatEvent
from seawall.systems.threats.messages import ThreatReport, ThreatSnapshot
from seawall.systems.threats.model import Action as Done
from seawall.systems.threats.model import Level, ThreatClass
from seawall.systems.threats.settings import ThreatDetectionSettings

ACTIONS: TypeAdapter[Action] = TypeAdapter(Action)
W0, W1 = ("worker-0", 11), ("worker-1", 12)
PATTERNS = PatternCache.open()


class ThreatSite:
    """A controller, what it published, and how to wait for it."""

    def __init__(self, controller: ThreatController, published: list[ThreatSnapshot], clock: Clock) -> None:
        self.controller = controller
        self.published = published
        self.clock = clock
        self.threats: list[tuple[str, float]] = []
        controller.on_threat = lambda subject, severity: self.threats.append((subject, severity))

    @property
    def newest(self) -> ThreatSnapshot:
        return self.published[-1]

    @property
    def bans(self):
        return self.newest.bans

    async def perform(self, action: str, **fields):
        return await self.controller.perform(ACTIONS.validate_python({"action": action, **fields}))

    def step(self, seconds: float = 0.25) -> None:
        self.clock.advance(seconds)
        self.controller.step(self.clock.monotonic())

    async def until(self, condition: Callable[["ThreatSite"], object], seconds: float = 5.0) -> None:
        async with asyncio.timeout(seconds):
            while not (self.published and condition(self)):  # noqa: ASYNC110 - what is awaited has no event
                await asyncio.sleep(0.005)

    async def events(self, **query) -> list[ThreatEvent]:
        """The events that are kept, oldest first, once all that were told are written."""
        recorder = self.controller.recorder
        async with asyncio.timeout(5.0):
            while recorder.waiting:  # noqa: ASYNC110 - written by a task of its own
                await asyncio.sleep(0.01)
        page = await self.controller.events(EventQuery(**query))
        return list(reversed(page.events))


@pytest.fixture
async def threat_sites(tmp_path) -> AsyncIterator[Callable[..., Awaitable[ThreatSite]]]:
    """Start controllers over a `[threats]` table; those that share a `store` share what is known."""
    async with AsyncExitStack() as stack:
        made = 0

        async def start(table=None, store=None, *, resume=None, clock: Clock | None = None, events="") -> ThreatSite:
            nonlocal made
            made += 1
            published: list[ThreatSnapshot] = []
            clock = clock or SystemClock()
            if store is None:
                store = MemoryStore(clock=clock)
                stack.push_async_callback(store.close)
            context = ControllerContext(
                settings=ThreatDetectionSettings.model_validate(table or {}),
                store=store,
                clock=clock,
                rng=random.Random(7),
                publish=published.append,
                threat_tools=ThreatTools(events or "memory://", tmp_path / str(made), PATTERNS),
            )
            controller = ThreatController(context)
            if resume is not None:
                controller.resume(resume)
            await controller.start()
            stack.push_async_callback(controller.stop)
            return ThreatSite(controller, published, clock)

        yield start


_count = 0


def seen(client="192.0.2.7", level=Level.HIGH, action=Done.BLOCK, category=ThreatClass.SQL_INJECTION, **fields):
    """A guard's event."""
    global _count  # noqa: PLW0603 - ids are unique
    _count += 1
    default = {"id": f"0644f1b2c3d4e5-aabb-{_count:x}", "at": time.time()}
    return ThreatEvent(**{**default, **fields}, client=client, level=level, action=action, category=category)


def told(*events: ThreatEvent, **fields) -> ThreatReport:
    """A guard's report."""
    return ThreatReport(events=events, **fields)
