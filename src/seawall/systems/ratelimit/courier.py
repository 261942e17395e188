"""What this gateway tells the others through the store, one thing after the other and never in the way of a step."""

import asyncio
import logging
from collections import deque

from seawall.core.errors import StateError
from seawall.core.tasks import end_tasks
from seawall.systems.ratelimit.records import Record
from seawall.systems.ratelimit.rulebook import Rulebook

__all__ = ["Courier"]

_log = logging.getLogger("seawall.ratelimit")

_MOST = 1000
"""Messages that may wait; a flood of blocked keys must not become a flood of writes that goes on for minutes."""


class Courier:
    """A bounded line of messages. What the store does not take is lost: all of it ends by itself.

    Attributes:
        lost: messages that could not be told.
    """

    def __init__(self, book: Rulebook) -> None:
        self.lost = 0
        self._book = book
        self._line: deque[tuple[Record, float] | tuple[type[Record], str]] = deque()
        self._waiting = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def note(self, record: Record, ttl: float) -> None:
        """Tell something, for `ttl` seconds."""
        self._add((record, ttl))

    def forget(self, kind: type[Record], name: str) -> None:
        """Take back what was told."""
        self._add((kind, name))

    def start(self) -> None:
        """Begin to deliver."""
        self._task = asyncio.get_running_loop().create_task(self._deliver(), name="seawall-ratelimit-courier")

    async def stop(self) -> None:
        """Deliver no more."""
        if self._task is not None:
            await end_tasks([self._task])
            self._task = None

    def _add(self, message: tuple[Record, float] | tuple[type[Record], str]) -> None:
        if len(self._line) >= _MOST:
            self.lost += 1
            return
        self._line.append(message)
        self._waiting.set()

    async def _deliver(self) -> None:
        while True:
            await self._waiting.wait()
            while self._line:
                message = self._line.popleft()
                try:
                    if isinstance(message[0], Record):
                        await self._book.note(message[0], ttl=float(message[1]))
                    else:
                        await self._book.forget(message[0], str(message[1]))
                except StateError as error:
                    self.lost += 1
                    _log.debug("other gateways are not told: %s", error)
                except Exception:  # noqa: BLE001 - logged; one message's defect must not silence all that follow
                    self.lost += 1
                    _log.exception("other gateways are not told")
            self._waiting.clear()
