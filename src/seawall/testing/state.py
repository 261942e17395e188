# ruff: noqa: S101 - a suite asserts; it is one file, because a backend has to pass it whole
"""The suite that every state backend passes; needs pytest with anyio's plugin.

Inherit `StateStoreContract` in a test module and give it two fixtures, `store` and `other`: two handles on the same
truth (for a backend that lives in one process they may be the same object). Have the fixtures fail the test when
`scan("")` still yields something at its end: every test here removes what it made.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from seawall.core.errors import StateError, StateUnavailableError
from seawall.state import Change, Entry, Script, StateStore
from seawall.state.script import ScriptContext, ScriptValue
from seawall.state.scripts import COMPARE_AND_SET, compare_and_set, increment, put_if_absent

__all__ = ["StateStoreContract", "collect", "eventually"]

_PATIENCE = 10.0
"""Seconds before something that never comes is given up; says nothing about how long it may take."""

_MIB = 1024 * 1024


async def eventually(condition: Callable[[], object], *, seconds: float = _PATIENCE) -> None:
    """Await a condition: a callable, or one that returns an awaitable, whose result becomes true.

    Raises:
        TimeoutError: it has not within `seconds`.
    """
    async with asyncio.timeout(seconds):
        while True:
            result = condition()
            if asyncio.iscoroutine(result):
                result = await result
            if result:
                return
            await asyncio.sleep(0.01)


async def collect(watch: AsyncIterator[Change], last: Change, *, seconds: float = _PATIENCE) -> list[Change]:
    """Read a watch up to and with the change `last`, and return what came.

    Raises:
        TimeoutError: it has not come within `seconds`.
    """
    seen: list[Change] = []
    async with asyncio.timeout(seconds):
        while not seen or seen[-1] != last:
            seen.append(await anext(watch))
    return seen


async def _entries(store: StateStore, prefix: str = "") -> list[tuple[str, bytes]]:
    return [(entry.key, entry.value) async for entry in store.scan(prefix)]


async def _watch(store: StateStore, prefix: str) -> AsyncIterator[Change]:
    """Return a watch that is in force."""
    watch = store.watch(prefix)
    async with asyncio.timeout(_PATIENCE):
        assert await anext(watch) == Change("", None)
    return watch


def _echo(_context: ScriptContext, _keys: Sequence[str], args: Sequence[ScriptValue]) -> ScriptValue:
    return list(args)


def _put_both_then_fail(context: ScriptContext, keys: Sequence[str], args: Sequence[ScriptValue]) -> ScriptValue:
    first, second, bad = args
    assert isinstance(first, bytes)
    assert isinstance(second, bytes)
    context.put(keys[0], first)
    context.put(keys[1], second)
    if bad:
        raise StateError("refused")
    return 1


def _touch_undeclared(context: ScriptContext, keys: Sequence[str], _args: Sequence[ScriptValue]) -> ScriptValue:
    context.put(keys[0], b"1")
    context.put(f"{keys[0]}/other", b"1")
    return 1


def _too_precise(context: ScriptContext, keys: Sequence[str], _args: Sequence[ScriptValue]) -> ScriptValue:
    context.put(keys[0], b"1")
    return 2**53


def _overlay(context: ScriptContext, keys: Sequence[str], _args: Sequence[ScriptValue]) -> ScriptValue:
    key = keys[0]
    context.put(key, b"new")
    put = context.get(key)
    gone = int(context.delete(key))
    again = int(context.delete(key))
    absent = context.get(key)
    context.put(key, b"last")
    return [put, gone, again, absent]


def _times(context: ScriptContext, _keys: Sequence[str], _args: Sequence[ScriptValue]) -> ScriptValue:
    return [context.now_us, context.now_us]


def _put_for(context: ScriptContext, keys: Sequence[str], args: Sequence[ScriptValue]) -> ScriptValue:
    assert isinstance(args[0], int)
    context.put(keys[0], b"short", args[0])
    return None


_ECHO = Script("test-echo", _echo, "local out = {} for i = 1, 6 do out[i] = ARGV[i] or false end return out")
_PUT_BOTH_THEN_FAIL = Script(
    "test-put-both-then-fail",
    _put_both_then_fail,
    "put(KEYS[1], ARGV[1]) put(KEYS[2], ARGV[2]) if ARGV[3] == 1 then error('refused') end return 1",
)
_TOUCH_UNDECLARED = Script(
    "test-touch-undeclared", _touch_undeclared, "put(KEYS[1], '1') put(KEYS[1] .. '/other', '1') return 1"
)
_TOO_PRECISE = Script("test-too-precise", _too_precise, "put(KEYS[1], '1') return 9007199254740992")
_OVERLAY = Script(
    "test-overlay",
    _overlay,
    """
    local key = KEYS[1]
    put(key, 'new')
    local now = get(key)
    local gone = delete(key) and 1 or 0
    local again = delete(key) and 1 or 0
    local absent = get(key) or false
    put(key, 'last')
    return {now, gone, again, absent}
    """,
)
_TIMES = Script("test-times", _times, "return {now_us(), now_us()}")
_PUT_FOR = Script("test-put-for", _put_for, "put(KEYS[1], 'short', ARGV[1]) return false")


class _Reading:
    """Values: what is put is what is read."""

    async def test_absent_key_reads_as_none(self, store: StateStore) -> None:
        assert await store.get("a/none") is None
        assert await store.delete("a/none") is False

    async def test_put_is_read_by_every_handle(self, store: StateStore, other: StateStore) -> None:
        await store.put("a/key", b"one")
        assert await other.get("a/key") == b"one"
        await other.put("a/key", b"two")
        assert await store.get("a/key") == b"two"
        assert await other.delete("a/key") is True
        assert await store.get("a/key") is None

    @pytest.mark.parametrize(
        "value", [b"", b"\x00\xff\r\n", bytes(range(256)), b"x" * _MIB], ids=["0", "4", "256", "1M"]
    )
    async def test_bytes_come_back_unchanged(self, store: StateStore, value: bytes) -> None:
        await store.put("a/bytes", value)
        assert await store.get("a/bytes") == value
        await store.delete("a/bytes")

    async def test_longest_key(self, store: StateStore) -> None:
        key = "k" * 512
        await store.put(key, b"1")
        assert await _entries(store, "k" * 512) == [(key, b"1")]
        await store.delete(key)

    @pytest.mark.parametrize("key", ["", "k" * 513, "grün", "a\nb", "a\x00b", "a\x7f"])
    async def test_key_beyond_limits_is_refused(self, store: StateStore, key: str) -> None:
        for call in (
            store.get(key),
            store.put(key, b"1"),
            store.delete(key),
            store.run(COMPARE_AND_SET, (key,), (None, b"1", None)),
        ):
            with pytest.raises(StateError, match="state key"):
                await call
        assert await _entries(store) == []

    async def test_value_beyond_limits_changes_nothing(self, store: StateStore) -> None:
        await store.put("a/big", b"before")
        with pytest.raises(StateError, match="1048577 bytes"):
            await store.put("a/big", b"x" * (_MIB + 1))
        with pytest.raises(StateError):
            await compare_and_set(store, "a/big", b"before", b"x" * (_MIB + 1))
        assert await store.get("a/big") == b"before"
        await store.delete("a/big")


class _Expiring:
    """Times to live."""

    async def test_key_expires(self, store: StateStore, other: StateStore) -> None:
        await store.put("t/short", b"1", ttl=0.15)
        await store.put("t/long", b"1", ttl=3600)

        async def gone() -> bool:
            return await other.get("t/short") is None

        await eventually(gone)
        assert await _entries(other, "t/") == [("t/long", b"1")]
        assert await store.delete("t/short") is False
        assert await put_if_absent(store, "t/short", b"2") is True
        await store.delete("t/short")
        await store.delete("t/long")

    async def test_put_without_ttl_keeps_for_good(self, store: StateStore) -> None:
        await store.put("t/kept", b"1", ttl=0.1)
        await store.put("t/kept", b"2")
        await store.put("t/mark", b"1", ttl=0.2)

        async def mark_gone() -> bool:
            return await store.get("t/mark") is None

        await eventually(mark_gone)
        assert await store.get("t/kept") == b"2"
        await store.delete("t/kept")

    async def test_put_renews_ttl(self, store: StateStore) -> None:
        await store.put("t/renewed", b"1", ttl=0.1)
        await store.put("t/renewed", b"1", ttl=3600)
        await store.put("t/mark", b"1", ttl=0.2)

        async def mark_gone() -> bool:
            return await store.get("t/mark") is None

        await eventually(mark_gone)
        assert await store.get("t/renewed") == b"1"
        await store.delete("t/renewed")

    @pytest.mark.parametrize("ttl", [0, -1.0, float("nan"), float("inf"), 1e12])
    async def test_impossible_ttl_is_refused(self, store: StateStore, ttl: float) -> None:
        with pytest.raises(StateError, match="time to live"):
            await store.put("t/bad", b"1", ttl=ttl)
        assert await store.get("t/bad") is None


class _Scanning:
    """Ranges of keys."""

    async def test_scan_is_in_key_order_and_within_the_prefix(self, store: StateStore) -> None:
        keys = ["b/2", "b/10", "b/1", "a/1", "b", "bc", "b/~", "b/ "]
        for key in keys:
            await store.put(key, key.encode())
        assert await _entries(store, "b/") == [(key, key.encode()) for key in ["b/ ", "b/1", "b/10", "b/2", "b/~"]]
        assert [key for key, _ in await _entries(store, "")] == sorted(keys)
        assert await _entries(store, "c") == []
        for key in keys:
            await store.delete(key)

    async def test_prefix_is_no_pattern(self, store: StateStore) -> None:
        await store.put("p*[a]?/1", b"1")
        await store.put("pxa?/1", b"1")
        await store.put("p%_/1", b"1")
        assert await _entries(store, "p*[a]?") == [("p*[a]?/1", b"1")]
        assert await _entries(store, "p%") == [("p%_/1", b"1")]
        for key, _ in await _entries(store, "p"):
            await store.delete(key)

    async def test_scan_over_many_pages(self, store: StateStore) -> None:
        keys = [f"many/{number:04}" for number in range(600)]
        await asyncio.gather(*(store.put(key, b"v") for key in keys[:10]))
        for key in keys[10:]:
            await store.put(key, b"v")
        assert await _entries(store, "many/") == [(key, b"v") for key in keys]
        for key in keys:
            assert await store.delete(key)

    async def test_scan_of_large_values(self, store: StateStore) -> None:
        for number in range(4):
            await store.put(f"large/{number}", bytes([number]) * _MIB)
        found = [entry async for entry in store.scan("large/")]
        assert found == [Entry(f"large/{number}", bytes([number]) * _MIB) for number in range(4)]
        for entry in found:
            await store.delete(entry.key)


class _Watching:
    """Change notices."""

    async def test_changes_of_both_handles_are_seen(self, store: StateStore, other: StateStore) -> None:
        watch = await _watch(store, "w/")
        await other.put("w/1", b"a")
        assert (await collect(watch, Change("w/1", b"a")))[-1] == Change("w/1", b"a")
        await store.put("w/1", b"b")
        await collect(watch, Change("w/1", b"b"))
        await other.delete("w/1")
        await collect(watch, Change("w/1", None))

    async def test_expiry_is_seen(self, store: StateStore, other: StateStore) -> None:
        watch = await _watch(store, "w/")
        await other.put("w/short", b"a", ttl=0.15)
        await collect(watch, Change("w/short", b"a"))
        await collect(watch, Change("w/short", None))
        assert await other.get("w/short") is None

    async def test_only_the_prefix_is_seen(self, store: StateStore, other: StateStore) -> None:
        watch = await _watch(store, "w*[1]/")
        await other.put("wx1/a", b"no")
        await other.put("w*[1]", b"no")
        await other.delete("w*[1]/never-was")
        await other.put("w*[1]/a", b"yes")
        assert await collect(watch, Change("w*[1]/a", b"yes")) == [Change("w*[1]/a", b"yes")]
        for key in ("wx1/a", "w*[1]", "w*[1]/a"):
            await store.delete(key)

    async def test_watchers_do_not_take_from_each_other(self, store: StateStore) -> None:
        wide, narrow, twin = await _watch(store, ""), await _watch(store, "w/a"), await _watch(store, "w/a")
        await store.put("w/a", b"1")
        await store.put("w/b", b"2")
        assert await collect(wide, Change("w/b", b"2")) == [Change("w/a", b"1"), Change("w/b", b"2")]
        assert await collect(narrow, Change("w/a", b"1")) == [Change("w/a", b"1")]
        assert await collect(twin, Change("w/a", b"1")) == [Change("w/a", b"1")]
        await store.delete("w/a")
        await store.delete("w/b")
        assert await collect(narrow, Change("w/a", None)) == [Change("w/a", None)]

    async def test_quick_succession_ends_with_the_newest(self, store: StateStore, other: StateStore) -> None:
        watch = await _watch(store, "w/")
        for number in range(200):
            await other.put("w/n", b"%d" % number)
        seen = await collect(watch, Change("w/n", b"199"))
        numbers = [int(change.value) for change in seen if change.value is not None]
        assert numbers == sorted(numbers)
        await other.delete("w/n")
        assert (await collect(watch, Change("w/n", None)))[-1].value is None

    async def test_scan_on_the_first_notice_misses_nothing(self, store: StateStore, other: StateStore) -> None:
        written = [f"w/{number:02}" for number in range(40)]
        known: set[str] = set()

        async def write() -> None:
            for key in written:
                await other.put(key, b"1")

        async def follow() -> None:
            async for change in store.watch("w/"):
                if change.key:
                    known.add(change.key)
                else:
                    known.update([entry.key async for entry in store.scan("w/")])
                if known == set(written):
                    return

        async with asyncio.timeout(_PATIENCE):
            await asyncio.gather(write(), follow())
        for key in written:
            await store.delete(key)


class _Transitions:
    """Scripts."""

    async def test_arguments_and_results_keep_their_types(self, store: StateStore) -> None:
        args: list[ScriptValue] = [b"\x00\xff", 2**53 - 1, -5, None, [1, [b"x", []], b""], b"12"]
        assert await store.run(_ECHO, (), args) == args

    @pytest.mark.parametrize("arg", ["text", 1.5, True, 2**53, [b"x", object()]])
    async def test_other_arguments_are_refused(self, store: StateStore, arg: ScriptValue) -> None:
        with pytest.raises(StateError, match="argument of script 'test-echo'"):
            await store.run(_ECHO, (), [arg])

    async def test_writes_are_seen_within_and_after(self, store: StateStore, other: StateStore) -> None:
        await store.put("s/1", b"old")
        watch = await _watch(other, "s/")
        assert await store.run(_OVERLAY, ("s/1",), ()) == [b"new", 1, 0, None]
        assert await other.get("s/1") == b"last"
        assert await collect(watch, Change("s/1", b"last")) == [Change("s/1", b"last")]
        await store.delete("s/1")

    @pytest.mark.parametrize(
        ("script", "args"),
        [
            (_PUT_BOTH_THEN_FAIL, (b"1", b"2", 1)),
            (_PUT_BOTH_THEN_FAIL, (b"1", b"x" * (_MIB + 1), 0)),
            (_TOUCH_UNDECLARED, ()),
            (_TOO_PRECISE, ()),
        ],
        ids=["refused", "second-value-too-large", "undeclared-key", "result-beyond-53-bits"],
    )
    async def test_failed_script_leaves_nothing(
        self, store: StateStore, script: Script, args: Sequence[ScriptValue]
    ) -> None:
        with pytest.raises(StateError):
            await store.run(script, ("s/1", "s/2"), args)
        assert await _entries(store) == []

    async def test_the_same_script_succeeds_otherwise(self, store: StateStore) -> None:
        assert await store.run(_PUT_BOTH_THEN_FAIL, ("s/1", "s/2"), (b"1", b"2", 0)) == 1
        assert await _entries(store) == [("s/1", b"1"), ("s/2", b"2")]
        await store.delete("s/1")
        await store.delete("s/2")

    async def test_time_stands_still_within_a_script_and_passes_between(self, store: StateStore) -> None:
        times: list[int] = []
        for _ in range(3):
            result = await store.run(_TIMES, (), ())
            assert isinstance(result, list)
            first, second = result
            assert isinstance(first, int)
            assert first == second
            times.append(first)
            await asyncio.sleep(0.002)
        assert all(earlier < later for earlier, later in itertools.pairwise(times))
        assert 1_600_000_000 < times[0] / 1_000_000 < 5_000_000_000

    async def test_script_sets_ttl(self, store: StateStore) -> None:
        watch = await _watch(store, "s/")
        assert await store.run(_PUT_FOR, ("s/1",), (150,)) is None
        await collect(watch, Change("s/1", b"short"))
        await collect(watch, Change("s/1", None))
        for bad in (0, -1, 2**52):
            with pytest.raises(StateError):
                await store.run(_PUT_FOR, ("s/1",), (bad,))

    async def test_increments_of_many_add_up(self, store: StateStore, other: StateStore) -> None:
        sums = await asyncio.gather(*(increment(handle, "s/n", 2) for handle in (store, other) for _ in range(30)))
        assert sorted(sums) == list(range(2, 121, 2))
        assert await store.get("s/n") == b"120"
        await store.delete("s/n")

    @pytest.mark.parametrize("value", [b"", b"x", b"1.5", b"12\n", b" 1", b"9007199254740992", b"1" * 30])
    async def test_increment_of_something_else_is_refused(self, store: StateStore, value: bytes) -> None:
        await store.put("s/n", value)
        with pytest.raises(StateError):
            await increment(store, "s/n")
        assert await store.get("s/n") == value
        await store.delete("s/n")

    async def test_increment_renews_ttl(self, store: StateStore) -> None:
        assert await increment(store, "s/n", ttl=3600) == 1
        assert await increment(store, "s/n", -3, ttl=0.15) == -2

        async def gone() -> bool:
            return await store.get("s/n") is None

        await eventually(gone)

    async def test_one_of_many_gets_the_absent_key(self, store: StateStore, other: StateStore) -> None:
        won = await asyncio.gather(
            *(
                put_if_absent(handle, "s/lease", b"%d" % number, ttl=60)
                for number, handle in enumerate([store, other] * 10)
            )
        )
        assert won.count(True) == 1
        assert await store.get("s/lease") == b"%d" % won.index(True)
        await store.delete("s/lease")

    async def test_compare_and_set(self, store: StateStore, other: StateStore) -> None:
        assert await compare_and_set(store, "s/c", b"1", b"2") is False
        assert await compare_and_set(store, "s/c", None, b"1") is True
        assert await compare_and_set(other, "s/c", None, b"2") is False
        assert await compare_and_set(other, "s/c", b"1", b"2") is True
        assert await store.get("s/c") == b"2"
        assert await compare_and_set(store, "s/c", b"1", None) is False
        assert await compare_and_set(store, "s/c", b"2", None) is True
        assert await _entries(store) == []


class _Closing:
    """The end."""

    async def test_ping_answers(self, store: StateStore) -> None:
        await store.ping()

    async def test_closed_store_refuses_calls_and_ends_watches(self, store: StateStore) -> None:
        watch = await _watch(store, "w/")
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        await store.close()
        with pytest.raises(StateUnavailableError, match="closed"):
            await waiting
        for call in (store.get("a"), store.put("a", b"1"), store.delete("a"), store.ping()):
            with pytest.raises(StateUnavailableError, match="closed"):
                await call
        with pytest.raises(StateUnavailableError, match="closed"):
            store.watch("w/")
        with pytest.raises(StateUnavailableError, match="closed"):
            await _entries(store)
        await store.close()


class StateStoreContract(_Reading, _Expiring, _Scanning, _Watching, _Transitions, _Closing):
    """Everything that `seawall.state.StateStore` promises."""
