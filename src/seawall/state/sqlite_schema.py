"""The SQLite file: what is in it, how it is brought up to date, and when it is refused."""

import contextlib
import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from seawall.core.errors import StateCorruptError, StateUnavailableError

__all__ = ["APPLICATION_ID", "MIGRATIONS", "StateFileError", "open_file"]

APPLICATION_ID = 0x5EA3A110
"""Marks the file as ours in bytes 68..71 of its header (https://www.sqlite.org/fileformat2.html#application_id)."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # `expires_us` counts microseconds since the Unix epoch.
        "CREATE TABLE entry (key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL, expires_us INTEGER)",
        "CREATE INDEX entry_expiry ON entry (expires_us) WHERE expires_us IS NOT NULL",
        # AUTOINCREMENT: a sequence number is never given twice, so a watcher can tell that it missed trimmed rows.
        "CREATE TABLE change (seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL)",
    ),
)
"""Statements that lead from schema version N (the position) to N + 1; only ever appended to."""

_MAGIC = b"SQLite format 3\x00"
_BUSY_CODES = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_RETRY_SECONDS = 0.01


class StateFileError(StateUnavailableError):
    """The file cannot be made or written where it is; there is no server that one could start."""


def open_file(
    path: str, *, busy_timeout: float, patience: float, migrations: Sequence[Sequence[str]] = MIGRATIONS
) -> sqlite3.Connection:
    """Open the file, made or brought up to date where needed.

    It is looked at read-only first: what is refused is not changed by one byte.

    Args:
        path: of the file; its directory is made when missing.
        busy_timeout: seconds that a later statement waits for another process's write.
        patience: seconds that opening waits for other processes that do the same.
        migrations: the steps to the newest schema.

    Raises:
        StateCorruptError: it is damaged, not ours, or of a newer schema.
        StateFileError: it cannot be read, written or made.
        StateUnavailableError: other processes hold it.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            _prepare(path)
            _inspect(path, newest=len(migrations))
            return _open(path, busy_timeout=busy_timeout, migrations=migrations)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _BUSY_CODES or time.monotonic() > deadline:
                raise _refusal(path, error) from error
            # Switching a new file to WAL does not wait for other processes by itself.
            time.sleep(_RETRY_SECONDS)
        except OSError as error:
            at = f" at {error.filename}" if error.filename not in {None, path} else ""
            raise StateFileError(
                f"cannot use the state file {path}: the path cannot be written ({error.strerror or error}{at})",
                hint="make its directory and the file itself writable for this user, or set state.url (--state) to a "
                "path that is",
            ) from error


def _prepare(path: str) -> None:
    """Make directory and file, for this user only: the file holds hashes of tokens and signing keys."""
    Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _inspect(path: str, *, newest: int) -> None:
    """Raise when the file must not be touched."""
    with Path(path).open("rb") as file:
        magic = file.read(len(_MAGIC))
    if not magic:
        return
    if magic != _MAGIC:
        raise _corrupt(path, "it is not a SQLite file")
    if Path(f"{path}-journal").exists():
        return  # a first opening was interrupted: only SQLite itself can roll it back, in a writable connection
    # An ordinary connection would write the log of another process that crashed into the file when it closes.
    with contextlib.closing(_connect(path, mode="ro")) as connection:
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if tables == 0 and version == 0:
            return  # another process is about to make the schema, or was stopped before
        if application != APPLICATION_ID:
            raise _corrupt(path, "it is a SQLite file of another program")
        if version > newest:
            raise StateCorruptError(
                f"cannot use the state file {path}: its schema is version {version}, this Seawall knows up to {newest}",
                hint="run the newer Seawall that wrote it, or set state.url to another file; it was left as it is",
            )
        findings = [row[0] for row in connection.execute("PRAGMA quick_check(1)")]
        if findings != ["ok"]:
            raise _corrupt(path, findings[0])


def _open(path: str, *, busy_timeout: float, migrations: Sequence[Sequence[str]]) -> sqlite3.Connection:
    connection = _connect(path, mode="rw", timeout=busy_timeout)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # A crash of the machine may lose the last commits but never harms the file: https://www.sqlite.org/wal.html
        connection.execute("PRAGMA synchronous = NORMAL")
        _migrate(connection, migrations)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]]) -> None:
    """Apply the missing steps in one transaction; another process that does the same is waited for."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for step in migrations[version:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {max(version, len(migrations))}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _connect(path: str, *, mode: str, timeout: float = 0.0) -> sqlite3.Connection:
    uri = f"file:{quote(str(Path(path).absolute()))}?mode={mode}"
    # One thread uses the connection; closing may happen on another when that thread is gone.
    return sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)


def _corrupt(path: str, why: str) -> StateCorruptError:
    return StateCorruptError(
        f"cannot use the state file {path}: {why}",
        hint="restore a copy, move it away to start anew, or set state.url to another file; it was left as it is",
    )


def _refusal(path: str, error: sqlite3.Error) -> StateCorruptError | StateUnavailableError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return _corrupt(path, str(error))
    if code in _BUSY_CODES:
        return StateUnavailableError(
            f"cannot use the state file {path}: other processes hold it ({error})",
            hint="end the process that keeps it locked",
        )
    return StateFileError(
        f"cannot use the state file {path}: {error}",
        hint="make file and directory writable for this user and see to free space, or set state.url (--state)",
    )
