"""What operators and gateways say about threats, in the state store; the last known word outlives the store."""

import asyncio
import logging
import math
from collections.abc import Callable
from itertools import islice
from typing import TypeVar

import msgspec

from seawall.core.clock import Clock
from seawall.core.errors import ConflictError, InvalidError, SeawallError, StateError
from seawall.core.tasks import end_tasks
from seawall.state.follower import Follower
from seawall.state.scripts import COMPARE_AND_SET
from seawall.state.store import StateStore
from seawall.systems.threats.records import PREFIX, AnyRecord, Record, place_of, read_record

__all__ = ["MAX_RECORDS", "ThreatBook"]

_log = logging.getLogger("seawall.threats.book")

MAX_RECORDS = 100_000
"""Bans and list entries of each kind that may be in force at once."""

_MAX_UNSENT = 20_000
_AT_ONCE = 64
_RETRY_FIRST, _RETRY_LAST = 0.25, 2.0
_LAST_WORDS = 1.0
"""Seconds for what is still unsent at the end."""
_ATTEMPTS = 16

_R = TypeVar("_R", bound=Record)


class ThreatBook:
    """The records under `threats/book/`, kept in memory and followed.

    Args:
        store: the shared state store.
        clock: time.
        on_change: called whenever a record changed, with the one before and the one after; None for absent.

    Attributes:
        loaded: whether the store was read since the start.
        lost: records of this gateway's own that other gateways were never told.
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
        self._kinds: dict[type[Record], dict[str, AnyRecord]] = {}
        self._expiry = math.inf
        self._touched: set[str] = set()
        self._unsent: dict[str, AnyRecord] = {}
        self._wake = asyncio.Event()
        self._loading = asyncio.Lock()
        self._doubted: set[str] = set()
        self._follower = Follower(store, PREFIX, self, "seawall-threats-book")
        self._sender: asyncio.Task[None] | None = None
        self.loaded = False
        self.lost = 0
        self._losing = False
        self.trouble = ""
        self.unreadable: dict[str, str] = {}

    # -- what it says --------------------------------------------------------------------------------------------------

    def records(self, kind: type[_R]) -> list[_R]:
        """Return the records of a kind that are in force."""
        wall = self._clock.wall()
        found = self._kinds.get(kind, {}).values()
        return [one for one in found if isinstance(one, kind) and (one.until is None or wall < one.until)]

    def find(self, kind: type[_R], name: str = "") -> _R | None:
        """Return a record that is in force, or None."""
        record = self._records.get(place_of(kind, name))
        if isinstance(record, kind) and (record.until is None or self._clock.wall() < record.until):
            return record
        return None

    def forget_expired(self) -> None:
        """Drop what is over; costs nothing while nothing is."""
        wall = self._clock.wall()
        if wall < self._expiry:
            return
        ends = {key: record.until for key, record in self._records.items() if record.until is not None}
        self._expiry = min((until for until in ends.values() if until > wall), default=math.inf)
        for key, until in ends.items():
            if wall >= until:
                self._apply(key, None)

    @property
    def unsent(self) -> int:
        """Records of this gateway's own that wait for the store."""
        return len(self._unsent)

    # -- following the store -------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read everything; raise `StateUnavailableError` when the store cannot be reached, and change nothing then."""
        async with self._loading:
            self._touched.clear()
            stored = {entry.key: entry.value async for entry in self._store.scan(PREFIX)}
            self.unreadable.clear()
            # What changed while the scan ran is newer than what the scan saw, and so is what was not sent yet.
            for key in (stored.keys() | self._records.keys()) - self._touched - self._unsent.keys():
                self._apply(key, stored.get(key))
            self.loaded = True
        if self.trouble:
            _log.info("state store %s is back", self._store.url)
        self.trouble = ""

    def start(self) -> None:
        """Follow the store from now on."""
        self._follower.start()
        self._sender = asyncio.get_running_loop().create_task(self._send(), name="seawall-threats-send")

    async def stop(self) -> None:
        """Follow the store no longer; what it was not told yet is told, when that takes no second."""
        await self._follower.stop()
        sender, self._sender = self._sender, None
        if sender is not None:
            await end_tasks([sender])
        try:
            async with asyncio.timeout(_LAST_WORDS):
                while self._unsent:
                    await self._send_some()
        except (StateError, TimeoutError) as error:
            _log.warning("%d records are known to this gateway only: %s", len(self._unsent), error)

    def take(self, key: str, value: bytes | None) -> None:
        """Take one entry of the store as it is now; None for absent."""
        record = self._records.get(key)
        if value is None and record is not None and (record.until is None or record.until > self._clock.wall()):
            # That an earlier record of this name has expired may be told after a new one was made: the store is asked.
            self._doubted.add(key)
            self._wake.set()
            return
        self._apply(key, value)

    def troubled(self, error: StateError) -> None:
        """Take note that the store cannot be followed; the last known records stay in force."""
        if not self.trouble:
            _log.warning("state store %s is away, going on with the last known bans: %s", self._store.url, error)
        self.trouble = error.message

    # -- changing it ---------------------------------------------------------------------------------------------------

    def recall(self, record: AnyRecord) -> None:
        """Take a record from an earlier life as the truth until the store can be read."""
        self._apply(place_of(type(record), record.name), msgspec.json.encode(record))

    def hold(self, record: AnyRecord, *, minor: bool = False) -> None:
        """Put a record in force here at once, and write it into the store as soon as that is possible.

        Never blocks. The oldest of 20,000 that wait is given up for a newer one; a minor one is not written while half
        as many wait.
        """
        key = place_of(type(record), record.name)
        self._apply(key, msgspec.json.encode(record))
        self._unsent.pop(key, None)
        if minor and len(self._unsent) >= _MAX_UNSENT // 2:
            self._lose(1)
            return
        self._unsent[key] = record
        if len(self._unsent) > _MAX_UNSENT:
            del self._unsent[next(iter(self._unsent))]
            self._lose(1)
        self._wake.set()

    def _lose(self, number: int) -> None:
        if not self._losing:
            _log.warning("bans come faster than state store %s takes them: others are not told of all", self._store.url)
        self._losing = True
        self.lost += number

    async def put(self, record: AnyRecord) -> None:
        """Write a record until its time.

        Raises:
            InvalidError: there are too many of its kind.
            StateUnavailableError: the store cannot be reached; nothing was changed.
        """
        key = place_of(type(record), record.name)
        if key not in self._records and len(self._kinds.get(type(record), ())) >= MAX_RECORDS:
            raise InvalidError(
                f"there are {MAX_RECORDS} of them already", hint="let some expire, or name wider networks"
            )
        await self._write(key, record)
        self._unsent.pop(key, None)
        self._apply(key, msgspec.json.encode(record))

    async def remove(self, kind: type[Record], name: str) -> bool:
        """Delete a record; tell whether there was one. Raises as `put`."""
        key = place_of(kind, name)
        known = await self._store.delete(key)
        self._unsent.pop(key, None)
        here = key in self._records
        self._apply(key, None)
        return known or here

    async def change(self, kind: type[_R], change: Callable[[_R | None], _R]) -> None:
        """Change the one record of a kind atomically; `change` may be called again when another gateway was faster.

        Raises:
            ConflictError: others change it too fast.
            StateUnavailableError: the store cannot be reached; nothing was changed.
        """
        key = place_of(kind, "")
        for _ in range(_ATTEMPTS):
            before = await self._store.get(key)
            known = _read(kind, before)
            value = msgspec.json.encode(change(known))
            if value == before or await self._store.run(COMPARE_AND_SET, (key,), (before, value, None)) == 1:
                self._apply(key, value)
                return
        raise ConflictError("this is being changed by others too fast to follow", hint="try again")

    async def _write(self, key: str, record: AnyRecord) -> None:
        ttl = None if record.until is None else max(record.until - self._clock.wall(), 0.001)
        await self._store.put(key, msgspec.json.encode(record), ttl=ttl)

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
        if before is not None and type(before) is not type(after):
            self._kinds[type(before)].pop(key, None)
        if after is None:
            self._records.pop(key, None)
        else:
            self._records[key] = self._kinds.setdefault(type(after), {})[key] = after
            if after.until is not None:
                self._expiry = min(self._expiry, after.until)
        if before != after:
            self._on_change(before, after)

    async def _settle(self) -> None:
        while self._doubted:
            key = next(iter(self._doubted))
            value = await self._store.get(key)
            self._doubted.discard(key)
            if key not in self._unsent:
                self._apply(key, value)

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            pause = _RETRY_FIRST
            while self._unsent or self._doubted:
                try:
                    await self._settle()
                    await self._send_some()
                except StateError as error:
                    self.troubled(error)
                except Exception:  # noqa: BLE001 - logged; what waits must not wait for ever because of one defect
                    _log.exception("what waits for the state store could not be written; going on")
                else:
                    pause = _RETRY_FIRST
                    continue
                await asyncio.sleep(pause)
                pause = min(pause * 2.0, _RETRY_LAST)
            self._losing = False

    async def _send_some(self) -> None:
        """Write the oldest that wait, at once; raise `StateError` when one was not taken, which then waits on."""
        some = list(islice(self._unsent.items(), _AT_ONCE))
        results = await asyncio.gather(*(self._send_one(*one) for one in some), return_exceptions=True)
        failure: BaseException | None = None
        for (key, record), result in zip(some, results, strict=True):
            if isinstance(result, BaseException):
                failure = result
            elif self._unsent.get(key) is record:
                del self._unsent[key]
        if failure is not None:
            raise failure

    async def _send_one(self, key: str, record: AnyRecord) -> None:
        if record.until is not None and record.until <= self._clock.wall():
            return
        try:
            await self._write(key, record)
        except StateError:
            raise
        except SeawallError as error:
            self.lost += 1
            _log.warning("other gateways are not told of %s: %s", record.name, error)


def _read(kind: type[_R], value: bytes | None) -> _R | None:
    if value is None:
        return None
    try:
        record = read_record(value)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ConflictError(
            f"what the store holds of this cannot be read: {error}", hint="was it written by a newer Seawall?"
        ) from error
    return record if isinstance(record, kind) else None
