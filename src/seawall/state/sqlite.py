"""State in one SQLite file, shared by the processes of one machine; needs nothing but the standard library."""

import asyncio
import contextlib
import functools
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from seawall.core.clock import Clock
from seawall.core.errors import SeawallError, StateCorruptError, StateTimeoutError, StateUnavailableError
from seawall.state.breaker import Breaker, GuardedCalls
from seawall.state.feed import ChangeFeed
from seawall.state.limits import PREFIX_END, check_key, check_prefix
from seawall.state.script import Script, ScriptValue
from seawall.state.sqlite_schema import open_file
from seawall.state.store import Change, Entry
from seawall.state.transition import Transition, check_call, run_transition
from seawall.state.writes import ScriptedWrites

__all__ = ["SQLiteStore"]

_LOGGER = logging.getLogger("seawall.state")

T = TypeVar("T")

_OPEN_SECONDS = 5.0
"""Budget of the first call, which checks the whole file and may have to bring it up to date."""
_POLL_INTERVAL = 0.1
_POLL_RETRY_INTERVAL = 1.0
_POLL_BATCH = 64
_PAGE_KEYS = 64
_LOG_ROWS = 8192
"""Rows of the change log that are kept; a watcher further behind than this scans again."""
_TRIM_EVERY = 256


class SQLiteStore(ScriptedWrites):
    """State in a file in WAL mode; every statement runs on one thread of its own, one after the other.

    Each write notes its key in a change log. A watcher asks ten times a second whether another connection has written
    (`PRAGMA data_version`, a read of shared memory) and only then reads the log.

    Args:
        path: of the file.
        url: as configured; holds no secret.
        timeout: seconds that one call may take.
        clock: decides when keys expire, by its wall time; processes that share the file must agree on the time.
    """

    def __init__(self, path: str, *, url: str, timeout: float, breaker: Breaker, clock: Clock) -> None:
        self.url = url
        self._path = path
        self._timeout = timeout
        self._clock = clock
        self._calls = GuardedCalls(url, timeout=timeout, breaker=breaker)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="seawall-state")
        self._connection: sqlite3.Connection | None = None
        """Used on the executor's thread only, like the three below."""
        self._data_version = -1
        self._log_grew = False
        """Whether our own connection wrote, which `data_version` does not show, or the last look left something."""
        self._position: int | None = None
        """Newest row of the change log that the watchers know of; None before the first look."""
        self._feed = ChangeFeed()
        self._poller: asyncio.Task[None] | None = None
        self._written = asyncio.Event()
        """Set after a write of our own, so that the next look is made at once."""
        self._closed = False

    async def get(self, key: str) -> bytes | None:
        """Return the value, or None when absent or expired."""
        check_key(key)
        return await self._call(f"get {key!r}", lambda connection: self._read(connection, key, self._now_us()))

    async def scan(self, prefix: str) -> AsyncIterator[Entry]:
        """Yield every live entry under the prefix, in key order."""
        check_prefix(prefix)
        page = (
            "SELECT key, value FROM entry WHERE key {} ? AND key < ? AND (expires_us IS NULL OR expires_us > ?)"
            " ORDER BY key LIMIT ?"
        )
        start, comparison = prefix, ">="
        while True:
            bounds = (start, prefix + PREFIX_END, self._now_us(), _PAGE_KEYS)
            rows = await self._call(f"scan {prefix!r}", functools.partial(_fetch, page.format(comparison), bounds))
            for key, value in rows:
                yield Entry(key, value)
            if len(rows) < _PAGE_KEYS:
                return
            start, comparison = rows[-1][0], ">"

    def watch(self, prefix: str) -> AsyncIterator[Change]:
        """Yield changes under the prefix from now on, by whichever process made them."""
        check_prefix(prefix)
        subscription = self._feed.subscribe(prefix)
        if self._poller is None or self._poller.done():
            self._poller = asyncio.get_running_loop().create_task(self._poll(), name="seawall-state-poller")
        return subscription

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[ScriptValue]) -> ScriptValue:
        """Run a script's Python form in an immediate transaction."""
        keys, args = check_call(script, keys, args)
        result = await self._call(
            f"run script {script.name!r}", lambda connection: self._transact(connection, script, keys, args)
        )
        self._written.set()
        return result

    async def ping(self) -> None:
        """Raise when the file cannot be used."""
        await self._call("ping", lambda connection: connection.execute("SELECT 1 FROM entry LIMIT 1").fetchone())

    async def close(self) -> None:
        """End the watchers, close the file and end the thread."""
        if self._closed:
            return
        self._closed = True
        self._feed.close(self._closed_error())
        if self._poller is not None:
            self._poller.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._poller
        await asyncio.get_running_loop().run_in_executor(self._executor, self._disconnect)
        self._executor.shutdown()

    async def _call(self, verb: str, statement: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise self._closed_error()
        budget = _OPEN_SECONDS if self._connection is None else None

        async def execute() -> T:
            return await asyncio.get_running_loop().run_in_executor(self._executor, self._execute, verb, statement)

        return await self._calls.call(verb, execute, budget=budget)

    def _execute(self, verb: str, statement: Callable[[sqlite3.Connection], T]) -> T:
        """Run on the executor's thread."""
        if self._connection is None:
            # Half the budget: a wait for a lock ends by itself, before the caller has gone and the write goes unseen.
            self._connection = open_file(self._path, busy_timeout=self._timeout / 2, patience=_OPEN_SECONDS / 2)
        try:
            return statement(self._connection)
        except sqlite3.Error as error:
            raise self._translate(verb, error) from error

    def _translate(self, verb: str, error: sqlite3.Error) -> SeawallError:
        where = f"cannot {verb}: state file {self._path}"
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return StateTimeoutError(
                f"{where} is locked by another process", hint="end the process that keeps it locked"
            )
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            self._disconnect()
            return StateCorruptError(f"{where} is damaged ({error})", hint="restore it from a copy, or move it away")
        return StateUnavailableError(f"{where} cannot be used ({error})", hint="see to permissions and free space")

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._data_version = -1

    def _closed_error(self) -> StateUnavailableError:
        return StateUnavailableError(f"the state store {self.url} was closed")

    def _now_us(self) -> int:
        return int(self._clock.wall() * 1_000_000)

    @staticmethod
    def _read(connection: sqlite3.Connection, key: str, now_us: int) -> bytes | None:
        row = connection.execute(
            "SELECT value FROM entry WHERE key = ? AND (expires_us IS NULL OR expires_us > ?)", (key, now_us)
        ).fetchone()
        return None if row is None else row[0]

    def _transact(
        self, connection: sqlite3.Connection, script: Script, keys: Sequence[str], args: Sequence[ScriptValue]
    ) -> ScriptValue:
        with _transaction(connection):
            now_us = self._now_us()
            _expire(connection, now_us)
            transition = Transition(keys, now_us, lambda key: self._read(connection, key, now_us))
            result = run_transition(script, transition, keys, args)
            for key, write in transition.writes.items():
                if write.value is not None:
                    expires_us = None if write.ttl_ms is None else now_us + write.ttl_ms * 1000
                    connection.execute(
                        "INSERT INTO entry (key, value, expires_us) VALUES (?, ?, ?) ON CONFLICT (key)"
                        " DO UPDATE SET value = excluded.value, expires_us = excluded.expires_us",
                        (key, write.value, expires_us),
                    )
                    _note(connection, key)
                elif connection.execute("DELETE FROM entry WHERE key = ?", (key,)).rowcount:
                    _note(connection, key)
        self._log_grew = True
        return result

    async def _poll(self) -> None:
        """Hand on changes while anybody watches."""
        loop = asyncio.get_running_loop()
        away = False
        while self._feed:
            self._written.clear()
            look = functools.partial(self._look, prefixes=tuple(self._feed.prefixes))
            try:
                changes, missed, more = await loop.run_in_executor(self._executor, self._execute, "watch", look)
            except SeawallError as error:
                if not away:
                    away = True
                    _LOGGER.warning("changes of state store %s cannot be followed for now: %s", self.url, error)
                await asyncio.sleep(_POLL_RETRY_INTERVAL)
                continue
            if away:
                away = False
                _LOGGER.info("state store %s is back", self.url)
            if missed:
                self._feed.resync()
            self._feed.put_in_force()
            for key, value in changes:
                self._feed.publish(key, value)
            if not more:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_POLL_INTERVAL):
                        await self._written.wait()

    def _look(
        self, connection: sqlite3.Connection, *, prefixes: tuple[str, ...]
    ) -> tuple[list[tuple[str, bytes | None]], bool, bool]:
        """Return the changes since the last look with present values, whether some was missed, whether more is left."""
        now_us = self._now_us()
        if connection.execute("SELECT 1 FROM entry WHERE expires_us <= ? LIMIT 1", (now_us,)).fetchone():
            with _transaction(connection):
                _expire(connection, now_us)
            self._log_grew = True
        (data_version,) = connection.execute("PRAGMA data_version").fetchone()
        if data_version == self._data_version and not self._log_grew:
            return [], False, False
        self._data_version, self._log_grew = data_version, False
        position, (oldest, newest) = self._position, _log_bounds(connection)
        if position is None or oldest > position + 1:
            self._position = newest
            return [], position is not None, False
        rows = connection.execute(
            "SELECT seq, key FROM change WHERE seq > ? ORDER BY seq LIMIT ?", (position, _POLL_BATCH)
        ).fetchall()
        if rows:
            self._position = rows[-1][0]
        self._log_grew = more = len(rows) == _POLL_BATCH
        newest_first = dict.fromkeys(key for _seq, key in reversed(rows) if key.startswith(prefixes))
        return [(key, self._read(connection, key, now_us)) for key in reversed(newest_first)], False, more


def _fetch(statement: str, bounds: tuple[object, ...], connection: sqlite3.Connection) -> list[tuple[str, bytes]]:
    return connection.execute(statement, bounds).fetchall()


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself rolls back on a full disk and the like
            connection.execute("ROLLBACK")
        raise


def _note(connection: sqlite3.Connection, key: str) -> None:
    """Add a key to the change log, and cut its tail now and then."""
    row = connection.execute("INSERT INTO change (key) VALUES (?)", (key,)).lastrowid or 0
    if row % _TRIM_EVERY == 0:
        connection.execute("DELETE FROM change WHERE seq <= ?", (row - _LOG_ROWS,))


def _expire(connection: sqlite3.Connection, now_us: int) -> None:
    for (key,) in connection.execute("DELETE FROM entry WHERE expires_us <= ? RETURNING key", (now_us,)).fetchall():
        _note(connection, key)


def _log_bounds(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return the oldest row of the change log (one past the newest when it is empty) and the newest ever given."""
    newest = (connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'change'").fetchone() or (0,))[0]
    (oldest,) = connection.execute("SELECT min(seq) FROM change").fetchone()
    return (newest + 1 if oldest is None else oldest), newest
