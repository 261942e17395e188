import asyncio
import gc

import pytest

from seawall.core.errors import StateUnavailableError
from seawall.state.feed import RESYNC, ChangeFeed, Subscription
from seawall.state.store import Change

pytestmark = pytest.mark.anyio


async def drain(subscription: Subscription, count: int) -> list[Change]:
    return [await anext(subscription) for _ in range(count)]


async def test_watcher_gets_what_fits_its_prefix() -> None:
    feed = ChangeFeed()
    wide, narrow = feed.subscribe("a/"), feed.subscribe("a/b")
    feed.publish("a/b", b"1")
    feed.publish("a/c", None)
    feed.publish("b", b"2")
    assert await drain(wide, 2) == [Change("a/b", b"1"), Change("a/c", None)]
    assert await drain(narrow, 1) == [Change("a/b", b"1")]
    assert feed.prefixes == {"a/", "a/b"}


async def test_reader_that_is_too_slow_scans_again_and_goes_on() -> None:
    subscription = Subscription("", limit=3)
    for number in range(5):
        subscription.push(Change("k", b"%d" % number))
    assert await drain(subscription, 2) == [RESYNC, Change("k", b"4")]


async def test_resync_drops_what_is_older() -> None:
    feed = ChangeFeed()
    subscription = feed.subscribe("")
    feed.publish("k", b"1")
    feed.resync()
    feed.publish("k", b"2")
    assert await drain(subscription, 2) == [RESYNC, Change("k", b"2")]


async def test_newcomers_only_are_put_in_force() -> None:
    feed = ChangeFeed()
    first = feed.subscribe("a")
    feed.put_in_force()
    await drain(first, 1)
    second, third = feed.subscribe("a"), feed.subscribe("b")
    feed.put_in_force({"a"})
    assert second.in_force
    assert not third.in_force
    feed.publish("a", b"1")
    assert await drain(first, 1) == [Change("a", b"1")]
    assert await drain(second, 2) == [RESYNC, Change("a", b"1")]


async def test_watcher_that_is_let_go_costs_nothing() -> None:
    feed = ChangeFeed()
    subscription = feed.subscribe("a")
    assert feed
    del subscription
    gc.collect()
    assert not feed
    assert feed.prefixes == set()


async def test_waiting_reader_wakes_and_cancelled_reader_loses_nothing() -> None:
    feed = ChangeFeed()
    subscription = feed.subscribe("")
    waiting = asyncio.ensure_future(anext(subscription))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    waiting = asyncio.ensure_future(anext(subscription))
    await asyncio.sleep(0)
    feed.publish("k", b"1")
    assert await waiting == Change("k", b"1")


async def test_closed_feed_ends_its_watchers_and_takes_no_more() -> None:
    feed = ChangeFeed()
    subscription = feed.subscribe("")
    feed.publish("k", b"1")
    feed.close(StateUnavailableError("closed"))
    with pytest.raises(StateUnavailableError, match="closed"):
        await anext(subscription)
    with pytest.raises(StateUnavailableError, match="closed"):
        feed.subscribe("")
