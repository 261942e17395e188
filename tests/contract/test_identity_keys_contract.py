"""API keys over every state store: two gateways on one truth."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from seawall.core.errors import InvalidError
from seawall.state import StateStore, open_store
from seawall.systems.identity.apikeys import is_secret_of, split_key
from seawall.systems.identity.records import (
    KEY_PREFIX,
    KeyBook,
    KeyLimitError,
    create_key,
    list_keys,
    read_key,
    revoke_key,
)
from seawall.systems.identity.usage import KeyUsage, read_usage
from seawall.testing.state import eventually

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000.0


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def handles(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[StateStore, StateStore]]:
    """Two handles on one truth; keys left behind fail the test."""
    if request.param == "memory":
        store = open_store("memory://")
        pair = (store, store)
    else:
        redis = request.param == "redis"
        url = request.getfixturevalue("leakproof_redis_url") if redis else f"sqlite:///{tmp_path}/state.db"
        pair = (open_store(url, timeout=5.0), open_store(url, timeout=5.0))
    try:
        yield pair
        left = [entry.key async for entry in pair[0].scan("")]
        for key in left:
            await pair[0].delete(key)
        assert left == []
    finally:
        for store in dict.fromkeys(pair):
            await store.close()


@contextlib.asynccontextmanager
async def following(store: StateStore, changes: list[None]) -> AsyncIterator[KeyBook]:
    book = KeyBook(store, lambda: changes.append(None))
    await book.load()
    book.start()
    try:
        yield book
    finally:
        await book.stop()


async def test_a_key_is_known_to_the_other_until_it_is_revoked(handles):
    one, other = handles
    changes: list[None] = []
    async with following(other, changes) as book:
        record, key = await create_key(one, name="acme", now=NOW, created_by="me", tenant="acme", role="partner")
        key_id, secret = split_key(key.encode())
        assert key_id == record.id
        await eventually(lambda: record.id in book.records)
        assert book.records[record.id] == record
        assert is_secret_of(record.snapshot(), secret)
        assert not is_secret_of(record.snapshot(), secret[:-1] + b"!")
        before = len(changes)
        assert await revoke_key(one, record.id) == record
        await eventually(lambda: record.id not in book.records)
        assert len(changes) > before
        assert await revoke_key(other, record.id) is None


async def test_keys_are_listed_oldest_first_and_read_one_by_one(handles):
    one, other = handles
    records = [(await create_key(one, name=f"k{n}", now=NOW - n, created_by="me"))[0] for n in range(3)]
    assert await list_keys(other) == records[::-1]
    assert await read_key(other, records[1].id) == records[1]
    assert await read_key(other, "ffffffffffff") is None
    for record in records:
        await revoke_key(other, record.id)


@pytest.mark.parametrize(
    "value",
    [
        b"rubbish",
        b'{"id":"0123456789ab","name":"a","digest":"zz","created_at":0,"created_by":""}',
        b'{"id":"0123456789ab","name":"a","digest":"00","created_at":0,"created_by":""}',
        b'{"id":"0123456789ab","name":"a","digest":"%b","created_at":1e300,"created_by":""}' % (b"00" * 32),
        b'{"id":"0123456789ab","name":"a","digest":"%b","created_at":0,"created_by":"","expires_at":-1}' % (b"00" * 32),
    ],
)
async def test_what_cannot_be_read_is_left_out_and_can_be_removed(handles, value):
    one, other = handles
    await one.put(KEY_PREFIX + "0123456789ab", value)
    assert await list_keys(other) == []
    assert await read_key(other, "0123456789ab") is None
    assert await revoke_key(other, "0123456789ab") is None
    assert await one.get(KEY_PREFIX + "0123456789ab") is None


async def test_there_are_only_so_many(handles, monkeypatch):
    one, _ = handles
    monkeypatch.setattr("seawall.systems.identity.records.MAX_KEYS", 2)
    records = [(await create_key(one, name="k", now=NOW, created_by="me"))[0] for _ in range(2)]
    with pytest.raises(KeyLimitError):
        await create_key(one, name="k", now=NOW, created_by="me")
    for record in records:
        await revoke_key(one, record.id)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "a b"},
        {"name": "x" * 65},
        {"user": "a\nb"},
        {"tenant": "x" * 257},
        {"role": "\x00"},
        {"expires_at": NOW},
        {"expires_at": NOW - 1},
    ],
)
async def test_what_is_not_acceptable_is_refused(handles, fields):
    one, _ = handles
    with pytest.raises(InvalidError):
        await create_key(one, **{"name": "k", "now": NOW, "created_by": "me", **fields})


@pytest.mark.parametrize("key_id", ["", "*", "x" * 600, "0123456789AB", "../admin/tokens/0123", "\n"])
async def test_an_id_of_another_form_names_nothing(handles, key_id):
    one, _ = handles
    assert await revoke_key(one, key_id) is None


async def test_use_is_shared_in_coarse_steps(handles):
    one, other = handles
    usage = KeyUsage(one)
    usage.note("0123456789ab", NOW)
    await usage.flush()
    usage.note("0123456789ab", NOW + 60)
    await usage.flush()
    assert await read_usage(other) == {"0123456789ab": NOW}
    usage.note("0123456789ab", NOW + 300)
    await usage.flush()
    usage.note("0123456789ab", NOW - 300)
    assert usage.last("0123456789ab") == NOW + 300
    elsewhere = KeyUsage(other)
    await elsewhere.load()
    assert elsewhere.last("0123456789ab") == NOW + 300
    for rubbish in (b"rubbish", b"-5", b"\xff", b"999999999999", b"9" * 5000):
        await one.put("identity/used/0123456789ac", rubbish)
        assert "0123456789ac" not in await read_usage(other)
    await elsewhere.forget("0123456789ab")
    await elsewhere.forget("0123456789ac")
