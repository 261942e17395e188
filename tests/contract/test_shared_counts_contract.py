"""What all shared counts promise: over the channel's socket, over the channel without one, and over Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from seawall.adapters.batched_counts import BatchedCounts
from seawall.control.channel import ChannelClient
from seawall.control.channel_local import LocalChannel
from seawall.control.channel_server import ChannelServer
from seawall.control.counts import open_counts
from seawall.core.errors import InvalidError
from seawall.systems.ratelimit.counts import GiveBack, WindowAsk
from seawall.systems.ratelimit.model import Algorithm
from seawall.systems.ratelimit.shared import place_of
from shared_counts_harness import CountingFeed, ask, asking, gcra, no_reports, no_snapshots, taken, until

pytestmark = pytest.mark.anyio

BUDGET = 2.0
"""Seconds: what is asked here is answered, however busy the machine is."""

OpenAgain = Callable[[], Awaitable[BatchedCounts]]


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture(params=["channel", "local", "redis"])
async def open_again(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenAgain]:
    """Open counts of one more worker of the same gateway."""
    feed = CountingFeed()
    server = ChannelServer(tmp_path / "control.sock", feed)
    lines: list[ChannelClient | LocalChannel] = []
    opened: list[BatchedCounts] = []
    url = request.getfixturevalue("redis_url") + "?prefix=contract:" if request.param == "redis" else "memory://"
    if request.param == "channel":
        await server.start()

    async def connect(number: int) -> ChannelClient | LocalChannel:
        line: ChannelClient | LocalChannel = LocalChannel(feed, f"worker-{number}", no_snapshots, no_reports)
        if request.param == "channel":
            line = ChannelClient(tmp_path / "control.sock", f"worker-{number}", no_snapshots, no_reports)
        await line.start()
        lines.append(line)
        await until(lambda: line.connected)
        return line

    async def again() -> BatchedCounts:
        line: ChannelClient | LocalChannel | None = None
        if request.param != "redis":
            line = await connect(len(opened))
        counts = open_counts(url, line, budget=BUDGET)
        assert counts is not None
        opened.append(counts)
        await counts.start()
        assert (counts.available, counts.reason) == (True, "")
        return counts

    yield again
    for counts in opened:
        await counts.close()
    for line in lines:
        await line.close()
    if request.param == "channel":
        await server.stop()
    if request.param == "redis":
        await empty(request.getfixturevalue("redis_url"))


async def empty(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as client:
        left = [key async for key in client.scan_iter(match="contract:*")]
        if left:
            assert all([await client.pttl(key) != -1 for key in left]), "a key that never expires"
            await client.delete(*left)


@pytest.fixture
async def counts(open_again: OpenAgain) -> BatchedCounts:
    return await open_again()


async def test_workers_share_one_limit(counts: BatchedCounts, open_again: OpenAgain) -> None:
    other = await open_again()
    for left in range(9, -1, -1):
        (answer,) = await taken(counts if left % 2 else other, ask("k"))
        assert answer.allowed
        assert answer.windows[0].remaining == pytest.approx(left, abs=0.5)
    for one in (counts, other):
        (answer,) = await taken(one, ask("k"))
        assert not answer.allowed
        assert 0.0 < answer.windows[0].retry_after <= 360.0


async def test_what_is_asked_in_one_turn_is_answered_in_order(counts: BatchedCounts) -> None:
    waiting = [asking(counts, ask("k"), ask(f"other-{number}")) for number in range(25)]
    answers = [await one for one in waiting]
    assert [both is not None and both[0].allowed for both in answers] == [True] * 10 + [False] * 15
    (untouched,) = await taken(counts, ask("other-20"))
    assert untouched.windows[0].remaining == pytest.approx(9.0)
    assert counts.asked == 26


async def test_more_than_a_batch_holds_is_answered_too(counts: BatchedCounts) -> None:
    waiting = [asking(counts, ask(f"k{number % 7}", gcra(limit=100.0, burst=100.0))) for number in range(1500)]
    answers = await asyncio.gather(*waiting)
    assert sum(one[0].allowed for one in answers) == 700


async def test_a_request_takes_from_all_its_keys_or_none(counts: BatchedCounts) -> None:
    await taken(counts, ask("narrow", gcra(burst=1.0)))
    wide, narrow, shadow = await taken(counts, ask("wide"), ask("narrow", gcra(burst=1.0)), ask("s", binding=False))
    assert (wide.allowed, narrow.allowed, shadow.allowed) == (True, False, True)
    wide, shadow = await taken(counts, ask("wide"), ask("s", binding=False))
    assert wide.windows[0].remaining == pytest.approx(9.0, abs=0.1)
    assert shadow.windows[0].remaining == pytest.approx(8.0, abs=0.1)


@pytest.mark.parametrize("algorithm", list(Algorithm))
async def test_every_algorithm_counts_and_takes_back(algorithm: Algorithm, counts: BatchedCounts) -> None:
    window = WindowAsk(algorithm, 2.0, 600.0, 2.0, 1.0)
    first, second, third = [await one for one in [asking(counts, ask("k", window)) for _ in range(3)]]
    assert (first[0].allowed, second[0].allowed, third[0].allowed) == (True, True, False)
    counts.give_back([GiveBack("k", (window,), second[0].at)])
    (again,) = await taken(counts, ask("k", window))
    assert again.allowed
    (full,) = await taken(counts, ask("k", window))
    assert not full.allowed


async def test_a_lease_of_one_worker_is_room_that_others_lack_until_it_comes_back(
    counts: BatchedCounts, open_again: OpenAgain
) -> None:
    other = await open_again()
    (leased,) = await taken(counts, ask("k", lease=100.0))
    assert leased.lease == 4.0
    (seen,) = await taken(other, ask("k"))
    assert seen.windows[0].remaining == pytest.approx(4.0, abs=0.1)
    counts.give_back([GiveBack("k", (gcra(cost=leased.lease),), leased.at)])
    (look,) = await taken(counts, ask("k", gcra(cost=0.0)))  # leaves after what comes back, by the same way
    assert look.windows[0].remaining == pytest.approx(8.0, abs=0.1)


async def test_what_comes_back_may_take_more_unasked(counts: BatchedCounts) -> None:
    counts.give_back([GiveBack("k", (gcra(cost=-9.5),), 0.0)])
    (answer,) = await taken(counts, ask("k"))
    assert not answer.allowed


async def test_much_may_come_back_at_once(counts: BatchedCounts) -> None:
    await asyncio.gather(*(taken(counts, ask(f"k{number}", gcra(burst=1.0))) for number in range(1200)))
    counts.give_back([GiveBack(f"k{number}", (gcra(burst=1.0),), 0.0) for number in range(1200)])
    answers = await asyncio.gather(*(taken(counts, ask(f"k{number}", gcra(burst=1.0))) for number in range(1200)))
    assert all(answer.allowed for (answer,) in answers)


@pytest.mark.parametrize("key", ["", "k" * 100_000, "ключ", "k\ud800", "a b\r\n$3\r\nGET\x00"])
async def test_any_text_is_a_key(key: str, counts: BatchedCounts, open_again: OpenAgain) -> None:
    window = gcra(limit=1.0, burst=1.0)
    assert (await taken(counts, ask(key, window)))[0].allowed
    assert not (await taken(await open_again(), ask(key, window)))[0].allowed
    counts.give_back([GiveBack(key, (window,), 0.0)])
    assert (await taken(counts, ask(key, window)))[0].allowed


async def test_what_is_no_number_is_refused_at_once_and_nothing_else_suffers(counts: BatchedCounts) -> None:
    waiting = asking(counts, ask("k"))
    for cost in (float("nan"), -1.0, float("inf")):
        with pytest.raises(InvalidError):
            counts.take((ask("k", gcra(cost=cost)),), lambda _: pytest.fail("what was refused is answered"))
    with pytest.raises(InvalidError):
        counts.give_back([GiveBack("k", (gcra(cost=float("nan")),), 0.0)])
    answers = await waiting
    assert answers is not None
    assert answers[0].windows[0].remaining == pytest.approx(9.0)


async def test_a_waiter_that_fails_does_not_take_the_answers_of_others(
    counts: BatchedCounts, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("a defect of the caller")

    before = asking(counts, ask("k"))
    counts.take((ask("k"),), fail)
    after = asking(counts, ask("k"))
    assert await before is not None
    assert await after is not None
    assert "could not be taken" in caplog.text


async def test_who_asks_before_the_start_or_after_the_end_is_answered_once(
    counts: BatchedCounts, open_again: OpenAgain
) -> None:
    await counts.close()
    assert not counts.available
    assert await taken(counts, ask("k")) is None
    counts.give_back([GiveBack("k", (gcra(),), 0.0)])
    assert counts.reason == "closed"


async def test_closing_answers_whoever_waits(counts: BatchedCounts) -> None:
    waiting = asking(counts, ask("k"))
    await counts.close()
    async with asyncio.timeout(10):
        await waiting


async def test_both_ways_keep_a_key_under_the_same_name(counts: BatchedCounts) -> None:
    windows = (gcra(), WindowAsk(Algorithm.FIXED_WINDOW, 5.0, 30.0, 0.0, 1.0))
    await taken(counts, ask("k", *windows))
    assert place_of("k", windows) == "g3600f30:k"
    # The same key with other windows counts apart, as long as processes know different versions of a rule.
    (other,) = await taken(counts, ask("k", *windows[:1]))
    assert other.windows[0].remaining == pytest.approx(9.0)


async def test_asks_are_not_changed_by_asking(counts: BatchedCounts) -> None:
    asked = ask("k", gcra(limit=float("inf"), burst=1e300), lease=3.0)
    before = msgspec.msgpack.encode(asked)
    (answer,) = await taken(counts, asked)
    assert answer.allowed
    assert msgspec.msgpack.encode(asked) == before
