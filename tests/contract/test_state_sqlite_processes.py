"""Several processes use one state file at once."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from seawall.core.errors import StateTimeoutError
from seawall.state import Change, StateStore, open_store
from seawall.state.scripts import increment
from seawall.testing.state import collect, eventually

pytestmark = pytest.mark.anyio

WORKER = """
import asyncio, sys
from seawall.state import open_store
from seawall.state.scripts import increment

async def main(url, name, rounds):
    store = open_store(url, timeout=10.0)
    for number in range(int(rounds)):
        await increment(store, "shared/count")
        await store.put(f"own/{name}/{number:03}", name.encode())
    await store.put("short/" + name, b"1", ttl=0.2)
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/state.db"


@pytest.fixture
async def store(url: str) -> AsyncIterator[StateStore]:
    store = open_store(url, timeout=10.0)
    yield store
    await store.close()


async def run_worker(url: str, name: str, rounds: int) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, url, name, str(rounds), stderr=subprocess.PIPE
    )
    _, stderr = await process.communicate()
    assert process.returncode == 0, stderr.decode()


async def test_no_update_is_lost_between_processes_that_start_together(url: str, store: StateStore) -> None:
    """The file does not exist yet: making it is part of the race."""
    watch = store.watch("")
    rounds = 40

    async def count_here() -> None:
        for _ in range(rounds):
            await increment(store, "shared/count")

    await asyncio.gather(run_worker(url, "one", rounds), run_worker(url, "two", rounds), count_here())
    assert await store.get("shared/count") == b"%d" % (3 * rounds)
    written = [entry.key async for entry in store.scan("own/")]
    assert written == [f"own/{name}/{number:03}" for name in ("one", "two") for number in range(rounds)]
    seen: set[str] = set()
    async with asyncio.timeout(10):
        while not seen.issuperset([*written, "shared/count"]):
            change = await anext(watch)
            seen.update([entry.key async for entry in store.scan("")] if not change.key else [change.key])


async def test_watch_sees_the_other_process_write_and_its_keys_expire(url: str, store: StateStore) -> None:
    watch = store.watch("short/")
    await collect(watch, Change("", None))
    await run_worker(url, "one", 1)
    await collect(watch, Change("short/one", b"1"))
    await collect(watch, Change("short/one", None))


async def test_file_locked_by_another_process_costs_the_budget_and_no_more(tmp_path: Path, url: str) -> None:
    store = open_store(url, timeout=0.2, breaker_failures=1, breaker_reset=0.0)
    await store.put("a/1", b"1")
    watch = store.watch("a/")
    await collect(watch, Change("", None))
    holder = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateTimeoutError):
        await store.put("a/1", b"2")
    assert await store.get("a/1") == b"1"
    holder.execute("ROLLBACK")
    holder.close()

    async def written() -> bool:
        try:
            await store.put("a/1", b"3")
        except StateTimeoutError:
            return False
        return True

    await eventually(written)
    await collect(watch, Change("a/1", b"3"))
    await store.close()


async def test_watcher_that_was_overtaken_by_the_log_scans_again(url: str, store: StateStore, monkeypatch) -> None:
    monkeypatch.setattr("seawall.state.sqlite._LOG_ROWS", 8)
    monkeypatch.setattr("seawall.state.sqlite._TRIM_EVERY", 1)
    monkeypatch.setattr("seawall.state.sqlite._POLL_INTERVAL", 0.001)
    watch = store.watch("a/")
    await collect(watch, Change("", None))
    await store.put("a/first", b"1")
    await collect(watch, Change("a/first", b"1"))
    monkeypatch.setattr("seawall.state.sqlite.SQLiteStore._look", lambda *_args, **_more: ([], False, False))
    for number in range(30):
        await store.put("a/key", b"%d" % number)
    monkeypatch.undo()
    assert await collect(watch, Change("", None)) == [Change("", None)]
    await store.put("a/key", b"last")
    await collect(watch, Change("a/key", b"last"))
