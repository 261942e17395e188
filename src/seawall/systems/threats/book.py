"""What operators and gateways say about threats, in the state store; the last known word outlives the store."""

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

import msgspec

from seawall.core.clock import Clock
from seawall.core.errors import ConflictError, InvalidError, StateError
from seawall.core.tasks import end_tasks
from seawall.state.scripts import COMPARE_AND_SET
from seawall.state.store import StateStore
from seawall.systems.threats.records import PREFIX, AnyRecord, Record, place_of, read_record

__all__ = ["MAX_RECORDS", "ThreatBook"]

_log = logging.getLogger("seawall.threats.book")

MAX_RECORDS = 100_000
"""Bans and list entries of each kind that may be in force at once."""

_RESCAN = 10.0
_RETRY_FIRST, _RETRY_LAST = 0.25, 2.0
_ATTEMPTS = 16

_R = TypeVar("_R", bound=Record)


class ThreatBook:
    """The records under `threats/book/`, kept in memory and followed.

    Args:
        store: the shared state store.
        clock: time.
        on_change: called whenever a record changed, with the one before and the one after; None for absent.

    Attributes:
        trouble: why the store cannot be followed right now; empty when it can.
        unreadable: keys whose record cannot be read, with the reason.
    """

    def __init__(
        self, store: StateStore, clock: Clock, on_change: Callable[[AnyRecord | None, AnyRecord | None], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._on_change = on_change
        self._records: dict[str, AnyRecord] = {}
        self._touched: set[str] = set()
        self._loading = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self.trouble = ""
        self.unreadable: dict[str, str] = {}

    # -- what it says --------------------------------------------------------------------------------------------------

    def records(self, kind: type[_R]) -> list[_R]:
        """Return the records of a kind that are in force, in order of their keys."""
        wall = self._clock.wall()
        found = (record for _, record in sorted(self._records.items()) if isinstance(record, kind))
        return [record for record in found if record.until is None or wall < record.until]

    def find(self, kind: type[_R], name: str = "") -> _R | None:
        """Return a record that is in force, or None."""
        record = self._records.get(place_of(kind, name))
        if isinstance(record, kind) and (record.until is None or self._clock.wall() < record.until):
            return record
        return None

    def forget_expired(self) -> bool:
        """Drop what is over; tell whether there was anything."""
        wall = self._clock.wall()
        over = [key for key, record in self._records.items() if record.until is not None and wall >= record.until]
        for key in over:
            self._apply(key, None)
        return bool(over)

    # -- following the store -------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read everything; raise `StateUnavailableError` when the store cannot be reached, and change nothing then."""
        async with self._loading:
            self._touched.clear()
            stored = {entry.key: entry.value async for entry in self._store.scan(PREFIX)}
            self.unreadable.clear()
            # What changed while the scan ran is newer than what the scan saw.
            for key in (stored.keys() | self._records.keys()) - self._touched:
                self._apply(key, stored.get(key))
        if self.trouble:
            _log.info("state store %s is back", self._store.url)
        self.trouble = ""

    def start(self) -> None:
        """Follow the store from now on."""
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._follow(), name="seawall-threats-watch"),
            loop.create_task(self._rescan(), name="seawall-threats-rescan"),
        ]

    async def stop(self) -> None:
        """Follow the store no longer."""
        tasks, self._tasks = self._tasks, []
        await end_tasks(tasks)

    def troubled(self, error: StateError) -> None:
        """Take note that the store cannot be followed; the last known records stay in force."""
        if not self.trouble:
            _log.warning("state store %s is away, going on with the last known bans: %s", self._store.url, error)
        self.trouble = error.message

    # -- changing it ---------------------------------------------------------------------------------------------------

    def keep(self, record: AnyRecord) -> None:
        """Hold a record here without the store, as when it is away; the next scan that succeeds decides."""
        self._apply(place_of(type(record), record.name), msgspec.json.encode(record))

    async def put(self, record: AnyRecord) -> None:
        """Write a record until its time.

        Raises:
            InvalidError: there are too many of its kind.
            StateUnavailableError: the store cannot be reached; nothing was changed.
        """
        key = place_of(type(record), record.name)
        if key not in self._records and len(self.records(type(record))) >= MAX_RECORDS:
            raise InvalidError(
                f"there are {MAX_RECORDS} of them already", hint="let some expire, or name wider networks"
            )
        value = msgspec.json.encode(record)
        ttl = None if record.until is None else max(record.until - self._clock.wall(), 0.001)
        await self._store.put(key, value, ttl=ttl)
        self._apply(key, value)

    async def remove(self, kind: type[Record], name: str) -> bool:
        """Delete a record; tell whether there was one. Raises as `put`."""
        key = place_of(kind, name)
        known = await self._store.delete(key)
        self._apply(key, None)
        return known

    async def change(self, kind: type[_R], change: Callable[[_R | None], _R]) -> None:
        """Change the one record of a kind atomically; `change` may be called again when another gateway was faster.

        Raises:
            ConflictError: others change it too fast.
            StateUnavailableError: the store cannot be reached; nothing was changed.
        """
        key = place_of(kind, "")
        for _ in range(_ATTEMPTS):
            before = await self._store.get(key)
            known = None
            if before is not None:
                record = read_record(before)
                known = record if isinstance(record, kind) else None
            value = msgspec.json.encode(change(known))
            if value == before or await self._store.run(COMPARE_AND_SET, (key,), (before, value, None)) == 1:
                self._apply(key, value)
                return
        raise ConflictError("this is being changed by others too fast to follow", hint="try again")

    def _apply(self, key: str, value: bytes | None) -> None:
        self._touched.add(key)
        before = self._records.get(key)
        after: AnyRecord | None = None
        if value is not None:
            try:
                after = read_record(value)
            except (msgspec.DecodeError, UnicodeError) as error:
                if key not in self.unreadable:
                    _log.warning("state key %s cannot be read and is left out: %s", key, error)
                self.unreadable[key] = str(error)
        if after is None:
            self._records.pop(key, None)
        else:
            self._records[key] = after
        if before != after:
            self._on_change(before, after)

    async def _follow(self) -> None:
        pause = _RETRY_FIRST
        while True:
            try:
                async for change in self._store.watch(PREFIX):
                    if change.key:
                        self._apply(change.key, change.value)
                    else:
                        await self.load()
                    pause = _RETRY_FIRST
            except StateError as error:
                self.troubled(error)
            await asyncio.sleep(pause)
            pause = min(pause * 2.0, _RETRY_LAST)

    async def _rescan(self) -> None:
        """Scan again now and then, in case a change notice was lost without anyone noticing."""
        while True:
            await asyncio.sleep(_RESCAN)
            try:
                await self.load()
            except StateError as error:
                self.troubled(error)
