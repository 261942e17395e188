"""Batches of shared counts: nothing that goes back is lost on the way, nobody waits for ever."""

import asyncio
import random
from collections.abc import Callable, Sequence

import pytest

from seawall.adapters import redis_counts
from seawall.adapters.batched_counts import Batch, BatchedCounts
from seawall.adapters.redis_counts import RedisCounts
from seawall.control.channel_local import LocalChannel
from seawall.control.counts import ChannelCounts
from seawall.systems.ratelimit.counts import CountAnswer, GiveBack
from seawall.systems.ratelimit.shared_bounds import MAX_REFUNDS
from shared_counts_harness import CountingFeed, ask, asking, gcra, no_reports, no_snapshots, taken, until

pytestmark = pytest.mark.anyio


def refund(key: str = "k", cost: float = 1.0) -> GiveBack:
    return GiveBack(key, (gcra(cost=cost),), 0.0)


class KeptBatches(BatchedCounts):
    """Counts that are always there and keep what they are sent; nothing is answered."""

    def __init__(self) -> None:
        super().__init__("a test", budget=30.0, rng=random.Random(1))
        self.sent: list[tuple[int, int]] = []

    def _send(self, batch: Batch) -> None:
        self.sent.append((len(batch.requests), len(batch.refunds)))

    def _probe(self) -> None:
        self._probe_ended("")

    async def _disconnect(self) -> None:
        pass

    def expire(self, batch: Batch) -> None:
        self._expire(batch)


@pytest.fixture
async def kept() -> KeptBatches:
    counts = KeptBatches()
    await counts.start()
    return counts


@pytest.mark.parametrize("parts", [[3, MAX_REFUNDS], [MAX_REFUNDS - 1, 2], [1, 3 * MAX_REFUNDS], [MAX_REFUNDS] * 2])
async def test_no_batch_takes_back_more_than_whoever_counts_accepts(kept: KeptBatches, parts: Sequence[int]) -> None:
    for part in parts:
        kept.give_back([refund()] * part)
    await asyncio.sleep(0)
    assert sum(refunds for _, refunds in kept.sent) == sum(parts)
    assert max(refunds for _, refunds in kept.sent) <= MAX_REFUNDS


async def test_a_crowd_of_leases_behind_a_permit_does_not_end_the_channel() -> None:
    feed = CountingFeed()
    channel = LocalChannel(feed, "worker-0", no_snapshots, no_reports)
    await channel.start()
    counts = ChannelCounts(channel, budget=5.0)
    await counts.start()
    assert (await taken(counts, ask("k", gcra(cost=10.0))))[0].allowed
    counts.give_back([refund(cost=1.0)])
    counts.give_back([refund("others")] * MAX_REFUNDS)
    (look,) = await taken(counts, ask("k", gcra(cost=0.0)))
    assert look.windows[0].remaining == pytest.approx(1.0, abs=0.01)
    assert counts.available
    await counts.close()
    await channel.close()


async def test_what_goes_back_leaves_although_the_requests_of_its_batch_waited_too_long(kept: KeptBatches) -> None:
    waiting = asking(kept, ask("k"))
    batch = kept._filling
    assert batch is not None
    kept.give_back([refund()])
    batch.extended = True
    kept.expire(batch)  # as a loop does that runs timers before what was called soon
    assert waiting.result() is None
    await asyncio.sleep(0)
    assert kept.sent == [(0, 1)]


async def test_who_asks_from_within_a_reply_is_answered(kept: KeptBatches) -> None:
    again: list[object] = []

    def reply(answers: tuple[CountAnswer, ...] | None) -> None:
        kept.take((ask("k"),), again.append)

    kept.take((ask("k"),), reply)
    batch = kept._filling
    assert batch is not None
    batch.extended = True
    kept.expire(batch)
    await asyncio.sleep(0)
    assert kept.sent == [(1, 0)], "the second question is asked"
    await kept.close()


async def test_what_is_given_back_right_before_the_end_arrives_and_questions_do_not() -> None:
    feed = CountingFeed()
    channel = LocalChannel(feed, "worker-0", no_snapshots, no_reports)
    await channel.start()
    counts = ChannelCounts(channel, budget=5.0)
    await counts.start()
    assert (await taken(counts, ask("k", gcra(cost=10.0))))[0].allowed
    counts.give_back([refund(cost=2.0)])
    waiting: list[asyncio.Future[object]] = []
    # Connections that are broken off tell of their end a turn later.
    asyncio.get_running_loop().call_soon(counts.give_back, [refund(cost=3.0)])
    asyncio.get_running_loop().call_soon(lambda: waiting.append(asking(counts, ask("k"))))
    await counts.close()
    assert await waiting[0] is None
    await asyncio.sleep(0)
    (look,) = feed.counts.take((ask("k", gcra(cost=0.0)),), feed.counts._now())
    assert look.windows[0].remaining == pytest.approx(5.0, abs=0.01)
    await channel.close()


async def test_a_defect_while_connecting_is_told_and_not_the_last_try(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[Callable[..., object]] = []

    async def open_wire(*args: object) -> None:
        tried.append(open_wire)
        raise RuntimeError("a defect of the connection")

    monkeypatch.setattr(redis_counts, "open_wire", open_wire)
    counts = RedisCounts("redis://127.0.0.1:1/0")
    async with asyncio.timeout(10):
        await counts.start()
    await until(lambda: len(tried) > 1)
    assert "a defect of the connection" in counts.reason
    assert "connecting to the shared counts" in caplog.text
    await counts.close()
