# ruff: noqa: ASYNC240 - what is on disk is what these tests look at
import logging
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from seawall.core.errors import StateCorruptError, StateUnavailableError
from seawall.state import Change, open_store
from seawall.state.sqlite_schema import APPLICATION_ID, MIGRATIONS, open_file
from seawall.testing.state import collect, eventually

pytestmark = pytest.mark.anyio

NEXT = (*MIGRATIONS, ("CREATE TABLE extra (n INTEGER)", "INSERT INTO extra SELECT count(*) FROM entry"))


async def write(path: Path, key: str = "a/1", value: bytes = b"kept") -> None:
    store = open_store(f"sqlite:///{path}")
    await store.put(key, value)
    await store.close()


async def read(path: Path, key: str = "a/1") -> bytes | None:
    store = open_store(f"sqlite:///{path}")
    try:
        return await store.get(key)
    finally:
        await store.close()


def upgrade(path: Path) -> None:
    open_file(str(path), busy_timeout=1, patience=1, migrations=NEXT).close()


async def refuse(path: Path, match: str) -> str:
    """Ping, expect a refusal, and see that not one byte has changed."""
    before = path.read_bytes()
    store = open_store(f"sqlite:///{path}")
    for _ in range(2):
        with pytest.raises(StateCorruptError, match=match) as refused:
            await store.ping()
    await store.close()
    assert path.read_bytes() == before
    assert str(path) in str(refused.value)
    assert "state.url" in refused.value.hint
    return str(refused.value)


async def test_opening_touches_nothing_until_first_use(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/new/state.db")
    assert list(tmp_path.iterdir()) == []
    await store.close()
    assert list(tmp_path.iterdir()) == []


async def test_file_and_directory_are_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state.db"
    await write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_state_survives_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "state with space & ümlaut#?.db"
    store = open_store(f"sqlite:///{tmp_path}/state%20with%20space%20%26%20%C3%BCmlaut%23%3F.db")
    await store.put("a/1", b"kept")
    await store.close()
    assert list(tmp_path.iterdir()) == [path]
    reopened = open_store(store.url)
    assert await reopened.get("a/1") == b"kept"
    await reopened.close()


async def test_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///here.db")
    await store.put("a", b"1")
    await store.close()
    assert await read(tmp_path / "here.db", "a") == b"1"


async def test_empty_file_is_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.touch()
    await write(path)
    assert await read(path) == b"kept"


async def test_file_that_is_not_sqlite_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"[gateway]\nlisten = '127.0.0.1:8080'\n" * 100)
    await refuse(path, "not a SQLite file")


async def test_truncated_file_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await write(path, value=b"x" * 50_000)
    path.write_bytes(path.read_bytes()[:9000])
    await refuse(path, "cannot use the state file")


@pytest.mark.parametrize("page", [0, 1, 2, 3])
async def test_overwritten_page_is_refused_untouched(tmp_path: Path, page: int) -> None:
    path = tmp_path / "state.db"
    await write(path, value=b"x" * 5_000)
    content = bytearray(path.read_bytes())
    start = page * 4096 + (100 if page == 0 else 0)
    content[start : start + 900] = b"\x5a" * 900
    path.write_bytes(content)
    await refuse(path, "cannot use the state file")


async def test_newer_schema_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await write(path)
    upgrade(path)
    message = await refuse(path, "schema is version 2, this Seawall knows up to 1")
    assert "newer Seawall" in message


async def test_newer_schema_with_an_unmerged_log_is_refused_untouched(tmp_path: Path) -> None:
    """The newer Seawall crashed: its last writes are in the log beside the file, where closing would merge them."""
    live, path = tmp_path / "live.db", tmp_path / "state.db"
    await write(live)
    connection = open_file(str(live), busy_timeout=1, patience=1, migrations=NEXT)
    connection.execute("INSERT INTO extra VALUES (7)")
    for suffix in ("", "-wal"):
        shutil.copy(f"{live}{suffix}", f"{path}{suffix}")
    connection.close()
    log = Path(f"{path}-wal").read_bytes()
    assert log
    await refuse(path, "schema is version 2")
    assert Path(f"{path}-wal").read_bytes() == log


async def test_unmerged_log_of_a_crash_is_recovered(tmp_path: Path) -> None:
    live, path = tmp_path / "live.db", tmp_path / "state.db"
    store = open_store(f"sqlite:///{live}")
    await store.put("a/1", b"kept")
    for suffix in ("", "-wal"):
        shutil.copy(f"{live}{suffix}", f"{path}{suffix}")
    await store.close()
    assert await read(path) == b"kept"


async def test_other_programs_file_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE entry (key TEXT, value BLOB)")
    connection.close()
    await refuse(path, "of another program")


async def test_older_schema_is_brought_up_to_date_and_keeps_its_entries(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await write(path)
    connection = open_file(str(path), busy_timeout=1, patience=1, migrations=NEXT)
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("SELECT key, value FROM entry").fetchall() == [("a/1", b"kept")]
    assert connection.execute("SELECT n FROM extra").fetchall() == [(1,)]
    connection.close()


async def test_failed_migration_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await write(path)
    broken = (*MIGRATIONS, ("DROP TABLE entry", "CREATE TABLE change (again INTEGER)"))
    with pytest.raises(StateUnavailableError, match="already exists"):
        open_file(str(path), busy_timeout=1, patience=1, migrations=broken)
    assert await read(path) == b"kept"


async def test_interrupted_first_opening_is_finished(tmp_path: Path) -> None:
    """The header is there, the schema is not."""
    path = tmp_path / "state.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    assert path.stat().st_size > 0
    await write(path)
    assert await read(path) == b"kept"


async def test_interrupted_transaction_of_a_first_opening_is_rolled_back(tmp_path: Path) -> None:
    live, path = tmp_path / "live.db", tmp_path / "state.db"
    connection = sqlite3.connect(live, isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("PRAGMA cache_spill = 1")
    connection.execute("VACUUM")
    connection.execute("BEGIN")
    connection.execute("CREATE TABLE half (value BLOB)")
    connection.executemany("INSERT INTO half VALUES (?)", [(b"x" * 4000,)] * 50)
    for suffix in ("", "-journal"):
        shutil.copy(f"{live}{suffix}", f"{path}{suffix}")
    connection.close()
    assert Path(f"{path}-journal").stat().st_size > 0
    await write(path)
    assert await read(path) == b"kept"
    assert not Path(f"{path}-journal").exists()


@pytest.mark.parametrize("shape", ["directory", "under-a-file", "under-proc"])
async def test_path_that_cannot_be_written_is_named(tmp_path: Path, shape: str) -> None:
    blocker = tmp_path / "blocker"
    blocker.touch()
    path = {"directory": tmp_path, "under-a-file": blocker / "state.db", "under-proc": Path("/proc/seawall/state.db")}[
        shape
    ]
    store = open_store(f"sqlite:///{path}", breaker_failures=2)
    with pytest.raises(StateUnavailableError, match="cannot use the state file") as refused:
        await store.ping()
    assert str(path) in str(refused.value)
    assert "cannot be written" in str(refused.value)
    assert "writable" in refused.value.hint
    assert "--state" in refused.value.hint
    with pytest.raises(StateUnavailableError):
        await store.ping()
    with pytest.raises(StateUnavailableError, match="left alone after repeated failures: cannot use the state file"):
        await store.ping()
    await store.close()


async def test_path_that_becomes_writable_is_used_without_a_restart(tmp_path: Path) -> None:
    blocker = tmp_path / "blocker"
    blocker.touch()
    store = open_store(f"sqlite:///{blocker}/state.db")
    with pytest.raises(StateUnavailableError):
        await store.put("a/1", b"1")
    blocker.unlink()
    await store.put("a/1", b"1")
    assert await store.get("a/1") == b"1"
    await store.close()


async def test_watch_waits_for_a_file_that_can_be_used(tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.setattr("seawall.state.sqlite._POLL_RETRY_INTERVAL", 0.01)
    caplog.set_level(logging.INFO, "seawall.state")
    blocker = tmp_path / "blocker"
    blocker.touch()
    store = open_store(f"sqlite:///{blocker}/state.db", timeout=5.0)
    watch = store.watch("")
    await eventually(lambda: "cannot be followed" in caplog.text)
    blocker.unlink()
    await collect(watch, Change("", None))
    await store.put("a/1", b"1")
    await collect(watch, Change("a/1", b"1"))
    assert caplog.text.count("cannot be followed") == 1
    assert "is back" in caplog.text
    await store.close()


async def test_damage_while_running_is_named_and_recovers_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await write(path, value=b"x" * 5_000)
    good = path.read_bytes()
    store = open_store(f"sqlite:///{path}", timeout=5.0)
    await store.ping()
    path.write_bytes(good[:4096] + b"\x5a" * (len(good) - 4096))
    with pytest.raises(StateCorruptError, match=r"damaged|cannot use") as refused:
        await store.get("a/1")
    assert str(path) in str(refused.value)
    path.write_bytes(good)
    assert await store.get("a/1") == b"x" * 5_000
    await store.close()
