"""Following the store: what changes is told, and neither an outage nor a defect of who is told ends it."""

import asyncio
from collections.abc import Callable

import pytest

from seawall.core.clock import SystemClock
from seawall.core.errors import StateError
from seawall.state import follower
from seawall.state.follower import Follower
from seawall.state.memory import MemoryStore

pytestmark = pytest.mark.anyio


class Listener:
    """Keeps what it is told; fails on one value."""

    def __init__(self, store: MemoryStore) -> None:
        self.trouble = ""
        self.known: dict[str, bytes | None] = {}
        self.loads = 0
        self._store = store

    async def load(self) -> None:
        self.loads += 1
        self.known = {entry.key: entry.value async for entry in self._store.scan("p/")}

    def take(self, key: str, value: bytes | None) -> None:
        if value == b"bad":
            raise ValueError("a defect of the listener")
        self.known[key] = value

    def troubled(self, error: StateError) -> None:
        self.trouble = error.message


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0.005)


async def test_a_defect_of_who_is_told_is_logged_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore(clock=SystemClock())
    listener = Listener(store)
    following = Follower(store, "p/", listener, "a-test")
    following.start()
    await store.put("q/else", b"not followed")
    await until(lambda: listener.loads)
    await store.put("p/a", b"1")
    await until(lambda: listener.known.get("p/a") == b"1")
    await store.put("p/b", b"bad")
    await until(lambda: "a defect of the listener" in caplog.text)
    await until(lambda: listener.loads > 1)  # it watches again, and begins by reading everything
    await store.put("p/a", b"2")
    await until(lambda: listener.known.get("p/a") == b"2")
    assert listener.trouble == ""
    await following.stop()
    await store.put("p/a", b"3")
    await asyncio.sleep(0)
    assert listener.known["p/a"] == b"2"
    await store.close()


async def test_a_defect_of_a_scan_does_not_end_the_scans(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(follower, "_RESCAN", 0.01)
    store = MemoryStore(clock=SystemClock())
    listener = Listener(store)
    scans = 0

    async def load() -> None:
        nonlocal scans
        scans += 1
        raise RuntimeError("a defect of the scan")

    monkeypatch.setattr(listener, "load", load)
    following = Follower(store, "p/", listener, "a-test")
    following.start()
    await until(lambda: scans > 3)
    assert "a defect of the scan" in caplog.text
    await following.stop()
    await store.close()


async def test_a_store_that_is_away_is_told() -> None:
    store = MemoryStore(clock=SystemClock())
    listener = Listener(store)
    following = Follower(store, "p/", listener, "a-test")
    following.start()
    await store.close()
    await until(lambda: listener.trouble)
    await following.stop()
