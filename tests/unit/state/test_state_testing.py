"""The stand-ins that the state tests stand on."""

import pytest

from seawall.core.errors import SeawallError
from seawall.testing import FakeClock
from seawall.testing.redis import RedisServer
from seawall.testing.state import collect, eventually

pytestmark = pytest.mark.anyio


def test_fake_clock_moves_when_told_only() -> None:
    clock = FakeClock(monotonic=5.0, wall=100.0)
    clock.advance(1.5)
    assert (clock.monotonic(), clock.wall()) == (6.5, 101.5)
    clock.set_wall(50.0)
    assert (clock.monotonic(), clock.wall()) == (6.5, 50.0)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)


def test_missing_redis_server_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SeawallError, match="apt-get install -y redis-server"):
        RedisServer().start()


def test_redis_server_that_does_not_start_shows_what_it_printed() -> None:
    with RedisServer() as first:
        second = RedisServer()
        second._port = first._port
        with pytest.raises(SeawallError, match=r"does not start on 127\.0\.0\.1"):
            second.start()
        second.stop()


async def test_eventually_gives_up() -> None:
    with pytest.raises(TimeoutError):
        await eventually(lambda: False, seconds=0.02)


async def test_collect_gives_up() -> None:
    from seawall.state import Change, open_store

    store = open_store("memory://")
    with pytest.raises(TimeoutError):
        await collect(store.watch(""), Change("never", None), seconds=0.02)
    await store.close()
