"""Threat events in one SQLite file; needs nothing but the standard library."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

from seawall.core.errors import StateCorruptError, StateUnavailableError
from seawall.systems.threats.events import MAX_PAGE, EventPage, EventQuery, ThreatEvent
from seawall.systems.threats.model import Level

__all__ = ["SQLiteEvents"]

_APPLICATION_ID = 0x5EA3A7EE
_SCHEMA = (
    """
    CREATE TABLE event (
      id TEXT PRIMARY KEY NOT NULL, at REAL NOT NULL, category TEXT NOT NULL, level INTEGER NOT NULL,
      action TEXT NOT NULL, client TEXT NOT NULL, account TEXT NOT NULL, route TEXT NOT NULL, request TEXT NOT NULL,
      body BLOB NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE INDEX event_at ON event (at)",
    "CREATE INDEX event_client ON event (client, id)",
    "CREATE INDEX event_request ON event (request)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
)
_LEVELS = {level: number for number, level in enumerate(Level)}

T = TypeVar("T")


class SQLiteEvents:
    """Events in a file in WAL mode, whose statements run on one thread of its own.

    Args:
        path: of the file; its directory is made when missing. The file is for its owner's eyes only. None keeps events
            in memory.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="seawall-events")
        self._connection: sqlite3.Connection | None = None
        """Used on the executor's thread only."""
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(ThreatEvent)
        self._closed = False

    async def append(self, events: Sequence[ThreatEvent]) -> None:
        """Keep events; one that is there already is replaced."""
        rows = [
            (
                event.id,
                event.at,
                event.category.value,
                _LEVELS[event.level],
                event.action.value,
                event.client,
                event.account,
                event.route,
                event.request_id,
                self._encoder.encode(event),
            )
            for event in events
        ]

        def insert(connection: sqlite3.Connection) -> None:
            with connection:
                connection.executemany("INSERT OR REPLACE INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

        await self._call(insert)

    async def get(self, event_id: str) -> ThreatEvent | None:
        """Return one event."""
        row = await self._call(
            lambda connection: connection.execute("SELECT body FROM event WHERE id = ?", (event_id,)).fetchone()
        )
        return self._decoder.decode(row[0]) if row is not None else None

    async def search(self, query: EventQuery) -> EventPage:
        """Return what is looked for, newest first."""
        limit = min(max(query.limit, 1), MAX_PAGE)
        conditions, values = _conditions(query)
        statement = f"SELECT body FROM event WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT ?"  # noqa: S608 - of constants
        rows = await self._call(lambda connection: connection.execute(statement, (*values, limit + 1)).fetchall())
        events = tuple(self._decoder.decode(row[0]) for row in rows[:limit])
        return EventPage(events, events[-1].id if len(rows) > limit else "")

    async def judge(self, event_id: str, *, false_positive: bool) -> bool:
        """Write down what an operator says of an event; tell whether it is there."""

        def change(connection: sqlite3.Connection) -> bool:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                row = connection.execute("SELECT body FROM event WHERE id = ?", (event_id,)).fetchone()
                if row is None:
                    return False
                event = msgspec.structs.replace(self._decoder.decode(row[0]), false_positive=false_positive)
                body = self._encoder.encode(event)
                connection.execute("UPDATE event SET body = ? WHERE id = ?", (body, event_id))
                return True

        return await self._call(change)

    async def prune(self, *, older_than: float, keep: int) -> int:
        """Drop events from before a time and all but the newest `keep`; return how many were dropped."""

        def drop(connection: sqlite3.Connection) -> int:
            with connection:
                old = connection.execute("DELETE FROM event WHERE at < ?", (older_than,)).rowcount
                last = connection.execute("SELECT id FROM event ORDER BY id DESC LIMIT 1 OFFSET ?", (keep,)).fetchone()
                if last is None:
                    return old
                return old + connection.execute("DELETE FROM event WHERE id <= ?", last).rowcount

        return await self._call(drop)

    async def count(self) -> int:
        """Return how many are kept."""
        found: int = await self._call(lambda connection: connection.execute("SELECT COUNT(*) FROM event").fetchone()[0])
        return found

    async def close(self) -> None:
        """Close the file and end the thread."""
        if self._closed:
            return
        self._closed = True

        def end() -> None:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

        await asyncio.get_running_loop().run_in_executor(self._executor, end)
        self._executor.shutdown(wait=False)

    async def _call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise StateUnavailableError(f"the events in {self._path or 'memory'} are closed", hint="open them again")

        def run() -> T:
            if self._connection is None:
                self._connection = _open(self._path)
            return work(self._connection)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, run)
        except (sqlite3.OperationalError, OSError) as error:
            raise StateUnavailableError(
                f"the events in {self._path or 'memory'} cannot be used: {error}",
                hint="see that its directory can be written and the disk is not full",
            ) from error
        except sqlite3.DatabaseError as error:
            raise StateCorruptError(
                f"{self._path or 'memory'} is damaged or no file of events: {error}",
                hint="move it away; a new one is made",
            ) from error


def _conditions(query: EventQuery) -> tuple[list[str], list[object]]:
    conditions: list[str] = ["at >= ?"]
    values: list[object] = [query.since]
    chosen = (
        ("at < ?", query.until if query.until != float("inf") else None),
        ("category = ?", query.category),
        ("level >= ?", _LEVELS[query.level] if query.level is not None else None),
        ("action = ?", query.action),
        ("client = ?", query.client or None),
        ("account = ?", query.account or None),
        ("route = ?", query.route or None),
        ("request = ?", query.request_id or None),
        ("id < ?", query.before or None),
    )
    for condition, value in chosen:
        if value is not None:
            conditions.append(condition)
            values.append(value)
    return conditions, values


def _open(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path is not None and not path.exists()
    connection = sqlite3.connect(path or ":memory:", timeout=5.0, check_same_thread=False)
    try:
        if path is not None and fresh:
            path.chmod(0o600)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            _prepare(connection)
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    if not connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
        for statement in _SCHEMA:
            connection.execute(statement)
    elif connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        raise sqlite3.DatabaseError("it belongs to another application")
