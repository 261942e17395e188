from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from seawall.state import StateStore, open_store
from seawall.state.memory import MemoryStore
from seawall.testing.state import StateStoreContract

pytestmark = pytest.mark.anyio

Opener = Callable[[], StateStore]


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def open_state(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opener]:
    """Open handles on one truth; a loaded machine gets more time than a gateway would grant."""
    urls = {
        "memory": lambda: "memory://",
        "sqlite": lambda: f"sqlite:///{tmp_path}/state.db",
        "redis": lambda: request.getfixturevalue("leakproof_redis_url"),
    }
    url = urls[request.param]()
    opened: list[StateStore] = []

    def open_again() -> StateStore:
        if not opened or url != "memory://":
            opened.append(open_store(url, timeout=5.0))
        return opened[-1]

    yield open_again
    try:
        if isinstance(opened[0], MemoryStore):  # a closed one cannot be opened again to look
            left = list(opened[0]._entries)
        else:
            left = [entry.key async for entry in open_again().scan("")]
        assert left == [], "keys left behind"
    finally:
        for store in opened:
            await store.close()


@pytest.fixture
def store(open_state: Opener) -> StateStore:
    return open_state()


@pytest.fixture
def other(open_state: Opener, store: StateStore) -> StateStore:
    return open_state()


class TestStateStore(StateStoreContract):
    pass
