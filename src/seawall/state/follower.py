"""Keep up with what the store holds under a prefix: its change notices, and a full scan now and then."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from seawall.core.errors import StateError
from seawall.core.tasks import end_tasks
from seawall.state.store import StateStore

__all__ = ["Followed", "Follower"]

_RESCAN = 10.0
"""Seconds between full scans, in case a change notice was lost without anyone noticing."""
_RETRY_FIRST, _RETRY_LAST = 0.25, 2.0

_log = logging.getLogger("seawall.state.follower")


class Followed(Protocol):
    """Whoever keeps in memory what the store holds."""

    trouble: str
    """Why the store cannot be followed right now; empty when it can."""

    async def load(self) -> None:
        """Read everything; raise `StateError` when the store cannot be reached."""
        ...

    def take(self, key: str, value: bytes | None) -> None:
        """Take one entry of the store as it is now; None for absent."""
        ...

    def troubled(self, error: StateError) -> None:
        """Take note that the store cannot be followed."""
        ...


class Follower:
    """Tell somebody what changes in the store, from `start` to `stop`, whatever the store or they themselves do.

    A defect of whoever is told is logged and does not end the following: nobody would notice that what they know grows
    old.

    Args:
        store: what is followed.
        prefix: of the keys.
        followed: who is told.
        name: of the tasks, for logs.
    """

    def __init__(self, store: StateStore, prefix: str, followed: Followed, name: str) -> None:
        self._store = store
        self._prefix = prefix
        self._followed = followed
        self._name = name
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Follow from now on."""
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._follow(), name=f"{self._name}-watch"),
            loop.create_task(self._rescan(), name=f"{self._name}-rescan"),
        ]

    async def stop(self) -> None:
        """Follow no longer."""
        tasks, self._tasks = self._tasks, []
        await end_tasks(tasks)

    async def _follow(self) -> None:
        pause = _RETRY_FIRST

        async def watch() -> None:
            nonlocal pause
            async for change in self._store.watch(self._prefix):
                if change.key:
                    self._followed.take(change.key, change.value)
                else:  # notices were lost
                    await self._followed.load()
                pause = _RETRY_FIRST

        while True:
            await self._attempt(watch)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _RETRY_LAST)

    async def _rescan(self) -> None:
        while True:
            await asyncio.sleep(_RETRY_LAST if self._followed.trouble else _RESCAN)
            await self._attempt(self._followed.load)

    async def _attempt(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except StateError as error:
            self._followed.troubled(error)
        except Exception:  # noqa: BLE001 - logged; see the class
            _log.exception("%s: what the store says could not be taken; going on", self._name)
