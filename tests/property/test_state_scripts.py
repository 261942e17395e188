"""A script's Python form and its Lua form are the same function."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from seawall.core.errors import StateError
from seawall.state import Script, StateStore, open_store
from seawall.state.limits import MAX_INTEGER
from seawall.state.memory import MemoryStore
from seawall.state.script import ScriptContext, ScriptValue
from seawall.state.scripts import COMPARE_AND_SET, DELETE, INCREMENT, PUT, PUT_IF_ABSENT
from seawall.systems.ratelimit.book_script import CHANGE

PREFIX = "property:"
KEYS = ("p/a", "p/b", "p/c")
HOUR_MS = 3_600_000
"""Times to live are hours, so that nothing expires while a sequence runs."""


def _program(context: ScriptContext, keys: Sequence[str], args: Sequence[ScriptValue]) -> ScriptValue:
    """Interpret instructions, so that one script makes any sequence of what a script can do."""
    results: list[ScriptValue] = []
    for instruction in args:
        verb, index, value, ttl_ms = instruction
        key = keys[index]
        if verb == b"get":
            results.append(context.get(key))
        elif verb == b"put":
            context.put(key, value, ttl_ms)
        elif verb == b"delete":
            results.append(int(context.delete(key)))
        elif verb == b"return":
            return value
        else:
            raise StateError("refused")
    return results


PROGRAM = Script(
    "test-program",
    _program,
    """
    local results = {}
    for i = 1, #ARGV do
      local verb, key, value, ttl = ARGV[i][1], KEYS[ARGV[i][2] + 1], ARGV[i][3], ARGV[i][4]
      if verb == 'get' then
        results[#results + 1] = get(key) or false
      elseif verb == 'put' then put(key, value, ttl)
      elseif verb == 'delete' then results[#results + 1] = delete(key) and 1 or 0
      elseif verb == 'return' then return value
      else error('refused') end
    end
    return results
    """,
)

integers = st.integers(-MAX_INTEGER, MAX_INTEGER)
numbers_as_text = st.one_of(st.integers(-20, 20), integers, st.integers(MAX_INTEGER - 2, 10**17)).map(
    lambda number: b"%d" % number
)
values = st.one_of(
    st.sampled_from([b"", b"1", b"-0", b"007", b"x", b"\xff\x00", b"-", b"1e3"]), numbers_as_text, st.binary(max_size=8)
)
ttls = st.sampled_from([None, HOUR_MS, 2 * HOUR_MS])
bad_ttls = st.sampled_from([None, HOUR_MS, 0, -1, MAX_INTEGER, b"5"])
anything = st.recursive(
    st.one_of(st.none(), integers, st.binary(max_size=4)), lambda inner: st.lists(inner, max_size=3), max_leaves=4
)
keys = st.sampled_from(KEYS).map(lambda key: (key,))
instructions = st.one_of(
    st.tuples(st.sampled_from([b"get", b"put", b"delete"]), st.integers(0, 2), values, ttls),
    st.tuples(st.sampled_from([b"get", b"put", b"delete", b"refuse"]), st.integers(0, 2), anything, bad_ttls),
    st.tuples(st.just(b"return"), st.just(0), st.one_of(st.none(), integers, st.binary(max_size=4)), st.none()),
).map(list)
calls = st.one_of(
    st.tuples(st.just(PUT), keys, st.tuples(values, ttls)),
    st.tuples(st.just(PUT), keys, st.tuples(anything, bad_ttls)),
    st.tuples(st.just(DELETE), keys, st.just(())),
    st.tuples(st.just(COMPARE_AND_SET), keys, st.tuples(st.none() | values, st.none() | values, ttls)),
    st.tuples(st.just(COMPARE_AND_SET), keys, st.tuples(anything, anything, bad_ttls)),
    st.tuples(st.just(PUT_IF_ABSENT), keys, st.tuples(values, ttls)),
    st.tuples(st.just(PUT_IF_ABSENT), keys, st.tuples(anything, bad_ttls)),
    st.tuples(st.just(INCREMENT), keys, st.tuples(st.one_of(st.integers(-9, 9), integers), ttls)),
    st.tuples(st.just(INCREMENT), keys, st.tuples(anything, bad_ttls)),
    st.tuples(st.just(CHANGE), st.just(KEYS), st.tuples(st.none() | st.integers(0, 3), st.none() | values, ttls)),
    st.tuples(st.just(CHANGE), st.just(KEYS), st.tuples(anything, anything, bad_ttls)),
    st.tuples(st.just(PROGRAM), st.just(KEYS), st.lists(instructions, max_size=6)),
)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def redis_store(runner: asyncio.Runner, redis_url: str) -> Iterator[StateStore]:
    store = open_store(f"{redis_url}?prefix={PREFIX}", timeout=5.0)
    yield store
    runner.run(store.close())
    with Redis.from_url(redis_url) as client:
        assert list(client.scan_iter(match=f"{PREFIX}*")) == [], "keys left behind in Redis"


@pytest.fixture(scope="module")
def sqlite_store(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StateStore]:
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('state')}/property.db", timeout=5.0)
    yield store
    runner.run(store.close())


async def outcome(store: StateStore, script: Script, keys: tuple[str, ...], args: Sequence[ScriptValue]) -> object:
    try:
        return await store.run(script, keys, args)
    except StateError as error:
        return error.code


async def entries(store: StateStore) -> list[tuple[str, bytes]]:
    return [(entry.key, entry.value) async for entry in store.scan("")]


async def lifetimes_in_hours(store: MemoryStore) -> AsyncIterator[tuple[str, int]]:
    for key, (_, expires_us) in store._entries.items():
        if expires_us is not None:
            yield key, round((expires_us / 1_000_000 - store._clock.wall()) / 3600)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequence=st.lists(calls, max_size=12))
def test_python_and_lua_agree(
    runner: asyncio.Runner, redis_store: StateStore, sqlite_store: StateStore, redis_url: str, sequence
) -> None:
    async def compare() -> None:
        memory = open_store("memory://")
        assert isinstance(memory, MemoryStore)
        try:
            for script, keys, args in sequence:
                expected = await outcome(memory, script, keys, args)
                assert await outcome(redis_store, script, keys, args) == expected
                assert await outcome(sqlite_store, script, keys, args) == expected
            final = await entries(memory)
            assert await entries(redis_store) == final
            assert await entries(sqlite_store) == final
            living = dict([pair async for pair in lifetimes_in_hours(memory)])
            with Redis.from_url(redis_url) as client:
                left = {key: client.pttl(f"{PREFIX}k:{key}") for key, _ in final}
                scored = dict(client.zrange(f"{PREFIX}expiry", 0, -1, withscores=True))
            assert {key: round(ms / HOUR_MS) for key, ms in left.items() if ms >= 0} == living
            assert {key.decode() for key in scored} == set(living)
        finally:
            for key in KEYS:
                await redis_store.delete(key)
                await sqlite_store.delete(key)
            await memory.close()

    runner.run(compare())
