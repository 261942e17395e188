"""What operators and other gateways say about limits, in the state store; the last known word outlives the store."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import TypeVar

import msgspec

from seawall.core.clock import Clock
from seawall.core.errors import ConflictError, InvalidError, StateError
from seawall.state.follower import Follower
from seawall.state.limits import ttl_to_ms
from seawall.state.store import StateStore
from seawall.systems.ratelimit.book_script import CHANGE, CONFLICT, DONE
from seawall.systems.ratelimit.records import (
    BlockRecord,
    GatewayRecord,
    OverrideRecord,
    PardonRecord,
    PenaltyRecord,
    Record,
    ResetRecord,
    RulesRecord,
)
from seawall.systems.ratelimit.ruleset import RunTimeRule

__all__ = ["MAX_RULES_BYTES", "MAX_RUN_TIME_RULES", "MAX_SUBJECTS", "Named", "Rulebook"]

_log = logging.getLogger("seawall.ratelimit.rulebook")

MAX_RUN_TIME_RULES = 200
MAX_RULES_BYTES = 256 * 1024
MAX_SUBJECTS = 10_000
"""Blocks, and overrides, and keys that the ladder blocked, that may be in force at once."""

_PREFIX = "ratelimit/book/"
_VERSION = f"{_PREFIX}version"
_RULES = f"{_PREFIX}rules"
_KINDS: dict[str, type[Record]] = {
    "block": BlockRecord,
    "gateway": GatewayRecord,
    "override": OverrideRecord,
    "pardon": PardonRecord,
    "penalty": PenaltyRecord,
    "reset": ResetRecord,
}
_ATTEMPTS = 16

_R = TypeVar("_R", bound=Record)

Named = tuple[type[Record], str]
"""A record by its kind and the subject, key or gateway that it is about."""


class Rulebook:
    """The records under `ratelimit/book/`, kept in memory and followed.

    Args:
        store: the shared state store.
        clock: time.
        on_change: called with the record before and after whenever one changed; None for absent.

    Attributes:
        version: counts operators' changes; 0 until the store was read.
        trouble: why the store cannot be followed right now; empty when it can.
        unreadable: keys whose record cannot be read, with the reason.
    """

    def __init__(
        self, store: StateStore, clock: Clock, on_change: Callable[[Record | None, Record | None], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._on_change = on_change
        self._records: dict[str, Record] = {}
        self._touched: set[str] = set()
        self._loading = asyncio.Lock()
        self._follower = Follower(store, _PREFIX, self, "seawall-rulebook")
        self.version = 0
        self.trouble = ""
        self.unreadable: dict[str, str] = {}

    # -- what it says --------------------------------------------------------------------------------------------------

    @property
    def rules(self) -> tuple[RunTimeRule, ...]:
        """The rules that were set at run time, in the order in which they were first set."""
        record = self._records.get(_RULES)
        return record.rules if isinstance(record, RulesRecord) else ()

    def records(self, kind: type[_R]) -> list[_R]:
        """Return the records of a kind that are in force, in order of their keys."""
        wall = self._clock.wall()
        found = {
            key: record
            for key, record in self._records.items()
            if isinstance(record, kind) and (record.until is None or wall < record.until)
        }
        return [found[key] for key in sorted(found)]

    def find(self, kind: type[_R], name: str) -> _R | None:
        """Return the record of a subject, key or gateway that is in force, or None."""
        record = self._records.get(_place(kind, name))
        if isinstance(record, kind) and (record.until is None or self._clock.wall() < record.until):
            return record
        return None

    def resume(self, records: Sequence[Record]) -> None:
        """Take the last known records while the store cannot be read."""
        for record in records:
            key = _RULES if isinstance(record, RulesRecord) else _place(type(record), record.name)
            self._records[key] = record

    # -- following the store -------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read everything; raise `StateUnavailableError` when the store cannot be reached, and change nothing then."""
        async with self._loading:
            self._touched.clear()
            stored = {entry.key: entry.value async for entry in self._store.scan(_PREFIX)}
            self.unreadable.clear()
            # What changed while the scan ran is newer than what the scan saw.
            for key in (stored.keys() | self._records.keys()) - self._touched:
                self.take(key, stored.get(key))
        if self.trouble:
            _log.info("state store %s is back", self._store.url)
        self.trouble = ""

    def start(self) -> None:
        """Follow the store from now on."""
        self._follower.start()

    async def stop(self) -> None:
        """Follow the store no longer."""
        await self._follower.stop()

    def troubled(self, error: StateError) -> None:
        """Take note that the store cannot be followed; the last known records stay in force."""
        if not self.trouble:
            _log.warning("state store %s is away, going on with the last known limits: %s", self._store.url, error)
        self.trouble = error.message

    # -- changing it ---------------------------------------------------------------------------------------------------

    async def change_rules(
        self,
        change: Callable[[tuple[RunTimeRule, ...]], tuple[RunTimeRule, ...]],
        expected: int | None,
    ) -> None:
        """Change the run-time rules atomically; `change` may be called again when another gateway was faster.

        Args:
            change: takes the rules as they are and returns what they shall be; it raises to refuse.
            expected: the version that the caller has seen; None for whatever it is.

        Raises:
            ConflictError: the version is another one by now.
            InvalidError: there would be too many rules.
            StateUnavailableError: the store cannot be reached; nothing was changed.
        """
        for _ in range(_ATTEMPTS):
            # The version is read first: whatever changes after that makes the change below fail.
            version = int(await self._store.get(_VERSION) or 0)
            stored = _read_rules(await self._store.get(_RULES))
            if expected not in {None, version}:
                raise _conflict(version, expected)
            after = RulesRecord(version=version + 1, rules=change(stored))
            if after.rules == stored:
                return
            value = _encoded_rules(after)
            outcome, now = await self._run((_RULES,), value, None, version)
            if outcome != CONFLICT:
                self.version = max(self.version, now)
                known = self._records.get(_RULES)
                if not isinstance(known, RulesRecord) or known.version < after.version:
                    self.take(_RULES, value)
                return
        raise ConflictError("the limits are being changed by others too fast to follow", hint="try again")

    async def put(
        self, record: Record, *, ttl: float | None, expected: int | None = None, without: Sequence[Named] = ()
    ) -> None:
        """Write an operator's record for `ttl` seconds (None: for good), delete others, and raise the version.

        Args:
            record: what to write.
            ttl: seconds.
            expected: the version that the caller has seen; None for whatever it is.
            without: kinds and names of records to delete in the same transition.

        Raises:
            ConflictError: the version is not the expected one.
            InvalidError: there are too many of its kind.
            StateUnavailableError: the store cannot be reached; nothing was changed.
        """
        key = _place(type(record), record.name)
        if key not in self._records and len(self.records(type(record))) >= MAX_SUBJECTS:
            raise InvalidError(
                f"there are {MAX_SUBJECTS} of them already",
                hint="let some expire, or name networks instead of addresses",
            )
        value = msgspec.json.encode(record)
        others = [_place(*other) for other in without]
        outcome, version = await self._run((key, *others), value, ttl_to_ms(key, ttl), expected)
        if outcome == CONFLICT:
            raise _conflict(version, expected)
        self.version = max(self.version, version)
        self.take(key, value)
        for other in others:
            self.take(other, None)

    async def remove(self, *named: Named, expected: int | None = None) -> bool:
        """Delete operators' records and raise the version; tell whether there was any. Raises as `put`."""
        keys = [_place(*one) for one in named]
        outcome, version = await self._run(keys, None, None, expected)
        if outcome == CONFLICT:
            raise _conflict(version, expected)
        self.version = max(self.version, version)
        for key in keys:
            self.take(key, None)
        return outcome == DONE

    async def note(self, record: Record, *, ttl: float) -> None:
        """Write what a gateway itself has to tell the others, for `ttl` seconds; no operator's change, so no version.

        Raises:
            StateUnavailableError: the store cannot be reached.
        """
        await self._store.put(_place(type(record), record.name), msgspec.json.encode(record), ttl=ttl)

    async def forget(self, kind: type[Record], name: str) -> None:
        """Delete what a gateway told; raises as `note`."""
        await self._store.delete(_place(kind, name))

    async def _run(
        self, keys: Sequence[str], value: bytes | None, ttl_ms: int | None, expected: int | None
    ) -> tuple[int, int]:
        result = await self._store.run(CHANGE, (_VERSION, *keys), (expected, value, ttl_ms))
        match result:
            case [int(outcome), int(version)]:
                return outcome, version
        raise StateError(f"changing {keys[0]!r} gave {result!r}, which is no outcome")

    def take(self, key: str, value: bytes | None) -> None:
        """Take one entry of the store as it is now."""
        self._touched.add(key)
        if key == _VERSION:
            self.version = int(value) if value is not None and value.isdigit() else 0
            return
        before = self._records.get(key)
        after = None if value is None else self._decoded(key, value)
        if after is None:
            self._records.pop(key, None)
        else:
            self._records[key] = after
        if before != after:
            self._on_change(before, after)

    def _decoded(self, key: str, value: bytes) -> Record | None:
        kind = RulesRecord if key == _RULES else _KINDS.get(key.removeprefix(_PREFIX).partition("/")[0])
        if kind is None:
            return None
        try:
            return msgspec.json.decode(value, type=kind)
        except msgspec.DecodeError as error:
            if key not in self.unreadable:
                _log.warning("state key %s cannot be read and is left out: %s", key, error)
            self.unreadable[key] = str(error)
            return None


def _place(kind: type[Record], name: str) -> str:
    """Return a record's key; names are hashed, since they may hold anything and be long."""
    folder = next(folder for folder, one in _KINDS.items() if one is kind)
    return f"{_PREFIX}{folder}/{blake2b(name.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def _read_rules(stored: bytes | None) -> tuple[RunTimeRule, ...]:
    """Return the stored rules; a record that cannot be read counts as none, so that writing it again mends it."""
    if stored is None:
        return ()
    try:
        return msgspec.json.decode(stored, type=RulesRecord).rules
    except msgspec.DecodeError:
        return ()


def _encoded_rules(record: RulesRecord) -> bytes:
    value = msgspec.json.encode(record)
    if len(record.rules) > MAX_RUN_TIME_RULES or len(value) > MAX_RULES_BYTES:
        raise InvalidError(
            f"there would be {len(record.rules)} rules of {len(value)} bytes set at run time, at most "
            f"{MAX_RUN_TIME_RULES} of {MAX_RULES_BYTES} bytes together are kept",
            hint="remove some, or put them in the configuration file",
        )
    return value


def _conflict(version: int, expected: int | None) -> ConflictError:
    return ConflictError(
        f"the limits are at version {version}, and this change was made for version {expected}",
        hint="read them again: GET /api/system/rate-limit",
    )
