"""Rate-limit controllers over stores, as several gateways have them."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from pydantic import TypeAdapter

from seawall.core.clock import Clock, SystemClock
from seawall.core.system import ControllerContext
from seawall.state.memory import MemoryStore
from seawall.systems.ratelimit.actions import Action
from seawall.systems.ratelimit.controller import RateLimitController
from seawall.systems.ratelimit.model import (
    Offence,
    PoolLoad,
    RateLimitReport,
    RateLimitSnapshot,
    RuleReport,
)
from seawall.systems.ratelimit.settings import RateLimitSettings

ACTIONS: TypeAdapter[Action] = TypeAdapter(Action)
RULE = {"id": "login", "match": {"paths": ["/login"]}, "windows": [{"limit": 5}]}


class Site:
    """A controller, what it published, and how to wait for it."""

    def __init__(self, controller: RateLimitController, published: list[RateLimitSnapshot]) -> None:
        self.controller = controller
        self.published = published

    @property
    def newest(self) -> RateLimitSnapshot:
        return self.published[-1]

    @property
    def rules(self) -> list[str]:
        return [rule.id for rule in self.newest.rules]

    async def perform(self, action: str, **fields):
        return await self.controller.perform(ACTIONS.validate_python({"action": action, **fields}))

    async def until(self, condition: Callable[["Site"], object], seconds: float = 5.0) -> None:
        async with asyncio.timeout(seconds):
            while not (self.published and condition(self)):  # noqa: ASYNC110 - what is awaited has no event
                await asyncio.sleep(0.005)


@pytest.fixture
async def limit_sites() -> AsyncIterator[Callable[..., Awaitable[Site]]]:
    """Start controllers over a `[ratelimit]` table; those that share a `store` share what operators set."""
    async with AsyncExitStack() as stack:

        async def start(table=None, store=None, *, resume=None, workers=1, clock: Clock | None = None) -> Site:
            published: list[RateLimitSnapshot] = []
            clock = clock or SystemClock()
            if store is None:
                store = MemoryStore(clock=clock)
                stack.push_async_callback(store.close)
            context = ControllerContext(
                settings=RateLimitSettings.model_validate(table or {}),
                store=store,
                clock=clock,
                rng=random.Random(7),
                publish=published.append,
                workers=workers,
            )
            controller = RateLimitController(context)
            if resume is not None:
                controller.resume(resume)
            await controller.start()
            stack.push_async_callback(controller.stop)
            return Site(controller, published)

        yield start


def limit_report(*, allowed: int = 0, refused: int = 0, rule: str = "base", pools=None, **fields) -> RateLimitReport:
    """A worker's report of one rule; `pools` gives (in flight, ended, failed, seconds) by name."""
    loads = {name: PoolLoad(*row) for name, row in (pools or {}).items()}
    rules = {rule: RuleReport(allowed, refused, 0, 0)}
    return RateLimitReport(rules=rules, pools=loads, **fields)


def offence(key: str, count: int, *, rule: str = "base", error: int = 0) -> Offence:
    return Offence(key, rule, count, error)
