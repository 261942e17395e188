"""Redis goes away and comes back; nothing of ours is restarted."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from seawall.core.errors import StateTimeoutError, StateUnavailableError
from seawall.state import Change, StateStore, open_store
from seawall.testing.redis import RedisServer
from seawall.testing.state import collect, eventually

pytestmark = pytest.mark.anyio

PASSWORD = "geheim"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer(password=PASSWORD) as server:
        yield server


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[StateStore]:
    store = open_store(server.url, timeout=0.5, breaker_failures=3, breaker_reset=0.2)
    yield store
    await store.close()


async def recovered(store: StateStore) -> bool:
    try:
        await store.ping()
    except StateUnavailableError:
        return False
    return True


async def test_calls_fail_clearly_and_recover_by_themselves(server: RedisServer, store: StateStore) -> None:
    await store.put("a/1", b"1")
    server.kill()
    messages = []
    for _ in range(5):
        with pytest.raises(StateUnavailableError) as refused:
            await store.get("a/1")
        messages.append(str(refused.value))
    assert all(f"127.0.0.1:{server.url.rsplit(':', 1)[1]}" in message for message in messages)
    assert PASSWORD not in "".join(messages)
    assert "left alone" not in messages[0]
    assert "left alone after repeated failures" in messages[4]
    server.start()
    await eventually(lambda: recovered(store))
    assert await store.get("a/1") is None
    await store.put("a/1", b"2")
    assert [entry.value async for entry in store.scan("a/")] == [b"2"]


async def test_watch_resyncs_after_an_outage(
    server: RedisServer, store: StateStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "seawall.state")
    watch = store.watch("w/")
    await collect(watch, Change("", None))
    await store.put("w/1", b"before")
    await collect(watch, Change("w/1", b"before"))
    server.kill()
    await eventually(lambda: "cannot be followed" in caplog.text)
    server.start()
    assert await collect(watch, Change("", None)) == [Change("", None)]
    await eventually(lambda: recovered(store))
    await store.put("w/1", b"after")
    await collect(watch, Change("w/1", b"after"))
    assert "is back" in caplog.text
    assert PASSWORD not in caplog.text


async def test_watch_begun_during_an_outage_comes_into_force(server: RedisServer, store: StateStore) -> None:
    server.kill()
    watch = store.watch("w/")
    server.start()
    assert await collect(watch, Change("", None)) == [Change("", None)]


async def test_lost_watch_connection_is_replaced(server: RedisServer, store: StateStore) -> None:
    from redis import Redis

    watch = store.watch("w/")
    await collect(watch, Change("", None))
    with Redis.from_url(server.url) as client:
        assert client.client_kill_filter(_type="pubsub") == 1
    assert await collect(watch, Change("", None)) == [Change("", None)]


async def test_server_that_hangs_costs_the_budget_and_no_more(server: RedisServer, store: StateStore) -> None:
    await store.ping()
    watch = store.watch("w/")
    await collect(watch, Change("", None))
    server.freeze()
    with pytest.raises(StateTimeoutError, match="did not answer"):
        await store.put("a/1", b"1")
    server.thaw()
    await eventually(lambda: recovered(store))
    await store.put("w/1", b"1")
    await collect(watch, Change("w/1", b"1"))


async def test_forgotten_scripts_are_sent_again(server: RedisServer, store: StateStore) -> None:
    from redis import Redis

    await store.put("a/1", b"1")
    with Redis.from_url(server.url) as client:
        client.script_flush()
    await store.put("a/1", b"2")
    assert await store.get("a/1") == b"2"


async def test_nobody_listening_is_found_out_on_first_use() -> None:
    with RedisServer() as gone:
        url = gone.url
    store = open_store(url)
    with pytest.raises(StateUnavailableError, match="is Redis up"):
        await store.ping()
    await store.close()


async def test_wrong_password_says_so_without_telling_it(server: RedisServer) -> None:
    store = open_store(server.url.replace(PASSWORD, "falsch"), timeout=5.0)
    with pytest.raises(StateUnavailableError, match="set user and password") as refused:
        await store.ping()
    assert "falsch" not in str(refused.value)
    assert "falsch" not in store.url
    await store.close()


async def test_databases_and_prefixes_do_not_hear_each_other(server: RedisServer) -> None:
    base = server.url.removesuffix("/0")
    first, database, prefix = (
        open_store(url, timeout=5.0) for url in (f"{base}/0", f"{base}/1", f"{base}/0?prefix=other:")
    )
    try:
        watch = first.watch("")
        await collect(watch, Change("", None))
        await database.put("k", b"database")
        await prefix.put("k", b"prefix")
        await first.put("k", b"mine")
        assert await collect(watch, Change("k", b"mine")) == [Change("k", b"mine")]
        assert [entry.value async for entry in prefix.scan("")] == [b"prefix"]
    finally:
        for store in (first, database, prefix):
            await store.close()


async def test_foreign_change_of_a_ttl_is_followed(server: RedisServer, store: StateStore) -> None:
    from redis import Redis

    watch = store.watch("w/")
    await collect(watch, Change("", None))
    await store.put("w/kept", b"1", ttl=0.2)
    await store.put("w/short", b"1", ttl=0.2)
    with Redis.from_url(server.url) as client:
        client.persist("seawall:k:w/kept")
        seen = await collect(watch, Change("w/short", None))
        assert Change("w/kept", None) not in seen
        assert await store.get("w/kept") == b"1"

        async def unscored() -> bool:
            return client.zcard("seawall:expiry") == 0

        await eventually(unscored)


async def test_patterns_go_with_their_watchers(server: RedisServer, store: StateStore) -> None:
    from redis import Redis

    kept, dropped = store.watch("w/"), store.watch("x/")
    await collect(kept, Change("", None))
    await collect(dropped, Change("", None))
    with Redis.from_url(server.url) as client:
        assert client.pubsub_numpat() == 2
        del dropped
        await eventually(lambda: client.pubsub_numpat() == 1)
        del kept
        await eventually(lambda: client.pubsub_numpat() == 0)
    again = store.watch("w/")
    await collect(again, Change("", None))


async def test_quiet_connection_is_asked_for_a_sign_of_life(server: RedisServer, monkeypatch) -> None:
    from redis import Redis

    monkeypatch.setattr("seawall.state.redis._SILENCE_SECONDS", 0.15)
    store = open_store(server.url, timeout=5.0)
    watch = store.watch("w/")
    await collect(watch, Change("", None))
    with Redis.from_url(server.url) as client:
        await eventually(lambda: client.info("commandstats").get("cmdstat_ping", {}).get("calls", 0) >= 3)
    await store.put("w/1", b"1")
    assert await collect(watch, Change("w/1", b"1")) == [Change("w/1", b"1")], "it was taken for dead"
    await store.close()


async def test_watch_connection_that_went_dead_without_a_word_is_replaced(server: RedisServer, monkeypatch) -> None:
    """As behind a firewall that forgot the connection: open on our side, and nothing comes."""
    monkeypatch.setattr("seawall.state.redis._SILENCE_SECONDS", 0.3)
    muted = asyncio.Event()
    port = int(server.url.rsplit(":", 1)[1].removesuffix("/0"))

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mute: list[bool]) -> None:
        while part := await reader.read(65536):
            if b"PSUBSCRIBE" in part and not muted.is_set():
                mute[0] = True
            if not (mute[0] and muted.is_set()):
                writer.write(part)
        writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", port)
        mute = [False]
        await asyncio.gather(pump(reader, upstream_writer, mute), pump(upstream_reader, writer, mute))

    proxy = await asyncio.start_server(forward, "127.0.0.1", 0)
    store = open_store(server.url.replace(str(port), str(proxy.sockets[0].getsockname()[1])), timeout=5.0)
    watch = store.watch("w/")
    await collect(watch, Change("", None))
    muted.set()
    assert await collect(watch, Change("", None)) == [Change("", None)]
    await store.put("w/1", b"1")
    await collect(watch, Change("w/1", b"1"))
    await store.close()
    proxy.close()
    await proxy.wait_closed()


async def test_unwatched_keys_that_expire_leave_nothing_for_good(server: RedisServer, store: StateStore) -> None:
    from redis import Redis

    for number in range(20):
        await store.put(f"x/{number}", b"1", ttl=0.05)

    with Redis.from_url(server.url) as client:

        async def only_the_last_is_kept() -> bool:
            await store.put("x/last", b"1", ttl=3600)
            return client.zcard("seawall:index") == 1

        await eventually(only_the_last_is_kept)
