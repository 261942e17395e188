"""A real identity controller with a worker's engine behind it."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from identity_tokens import AUDIENCE, ISSUER, bearing, claims, signed
from seawall.adapters.jwks import fetch_keys
from seawall.adapters.jwt import open_token_keys
from seawall.core.clock import SystemClock
from seawall.core.principal import Identity
from seawall.core.system import ControllerContext
from seawall.state.memory import MemoryStore
from seawall.state.store import StateStore
from seawall.systems.identity.controller import IdentityController
from seawall.systems.identity.engine import IdentityEngine
from seawall.systems.identity.model import IdentityRefusal, IdentitySnapshot, RefusalReason
from seawall.systems.identity.settings import IdentitySettings

WORKER = ("worker-0", 4711)


def jwt_table(**changes: Any) -> dict[str, Any]:
    """Return a `[identity]` table with tokens; the shortest interval between fetches makes tests quick."""
    jwt = {"enabled": True, "issuer": ISSUER, "audience": [AUDIENCE], "jwks_min_interval_ms": 100, **changes}
    return {"jwt": jwt}


class Desk:
    """A controller, what it published, and the engine that took it."""

    def __init__(self, table: dict[str, Any], store: StateStore) -> None:
        self.published: list[IdentitySnapshot] = []
        self.engine = IdentityEngine(open_token_keys)
        self.clock = SystemClock()
        self.store = store
        self.controller = IdentityController(
            ControllerContext(
                settings=IdentitySettings.model_validate(table),
                store=store,
                clock=self.clock,
                rng=random.Random(1),
                publish=self._take,
                token_keys=open_token_keys,
                fetch_keys=fetch_keys,
            )
        )

    def _take(self, snapshot: IdentitySnapshot) -> None:
        self.published.append(snapshot)
        self.engine.apply(snapshot)

    def report(self) -> None:
        """Carry the engine's report to the controller."""
        report = self.engine.report(full=False)
        if report is not None:
            self.controller.on_report(WORKER, report)

    def verdict(self, request: Any) -> Identity | RefusalReason:
        """Return what the engine says of a request now."""
        found = self.engine.identify(request, self.clock.wall())
        return found.reason if isinstance(found, IdentityRefusal) else found

    def token_verdict(self, key: Any, algorithm: str, **changes: Any) -> Identity | RefusalReason:
        """Return what the engine says of a token that is valid for a minute, and carry its report up."""
        token = signed(key, algorithm, claims(exp=self.clock.wall() + 60, **changes))
        found = self.verdict(bearing(token))
        self.report()
        return found

    async def until(self, condition: Callable[[], object], seconds: float = 10.0) -> None:
        """Wait until a condition holds."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - what is awaited has no event
                await asyncio.sleep(0.01)


OpenDesk = Callable[..., Any]


@pytest.fixture
async def desks() -> AsyncIterator[OpenDesk]:
    """Start desks; those that share a store share their keys."""
    async with AsyncExitStack() as stack:

        async def open_desk(table: dict[str, Any], store: StateStore | None = None, **prepared: Any) -> Desk:
            desk = Desk(table, store if store is not None else MemoryStore(clock=SystemClock()))
            if "resume" in prepared:
                desk.controller.resume(prepared["resume"])
            await desk.controller.start()
            stack.push_async_callback(desk.controller.stop)
            return desk

        yield open_desk
