import asyncio
from collections.abc import Awaitable, Callable

import pytest

from seawall.core.errors import StateError, StateTimeoutError, StateUnavailableError
from seawall.state.breaker import Breaker, BreakerState, GuardedCalls
from seawall.testing import FakeClock

pytestmark = pytest.mark.anyio

Operation = Callable[[], Awaitable[str]]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def breaker(clock: FakeClock) -> Breaker:
    return Breaker(failures=3, reset=1.0, clock=clock)


@pytest.fixture
def calls(breaker: Breaker) -> GuardedCalls:
    return GuardedCalls("redis://host", timeout=0.05, breaker=breaker)


async def works() -> str:
    return "answer"


async def is_away() -> str:
    raise StateUnavailableError("connection refused")


async def is_refused() -> str:
    raise StateError("wrong type")


async def hangs() -> str:
    await asyncio.Event().wait()
    return "never"


def trip(breaker: Breaker) -> None:
    for number in range(3):
        assert breaker.admit()
        breaker.fail(f"failure {number}")


def test_breaker_opens_after_failures_in_a_row_only(breaker: Breaker) -> None:
    for _ in range(5):
        for _ in range(2):
            assert breaker.admit()
            breaker.fail("away")
        assert breaker.admit()
        breaker.succeed()
    assert breaker.state is BreakerState.CLOSED
    trip(breaker)
    assert breaker.state is BreakerState.OPEN
    assert not breaker.admit()
    assert breaker.reason == "failure 2"


def test_open_breaker_lets_one_call_try_after_its_rest(breaker: Breaker, clock: FakeClock) -> None:
    trip(breaker)
    clock.advance(0.999)
    assert not breaker.admit()
    clock.advance(0.001)
    assert breaker.admit()
    assert breaker.state is BreakerState.HALF_OPEN
    assert not breaker.admit()
    breaker.succeed()
    assert breaker.state is BreakerState.CLOSED
    assert breaker.admit()
    assert breaker.reason == ""


def test_failed_try_starts_the_rest_again(breaker: Breaker, clock: FakeClock) -> None:
    trip(breaker)
    clock.advance(1.0)
    assert breaker.admit()
    breaker.fail("still away")
    clock.advance(0.9)
    assert not breaker.admit()
    clock.advance(0.1)
    assert breaker.admit()


def test_abandoned_try_lets_the_next_one(breaker: Breaker, clock: FakeClock) -> None:
    trip(breaker)
    clock.advance(1.0)
    assert breaker.admit()
    breaker.abandon()
    assert breaker.admit()


def test_late_failures_do_not_lengthen_the_rest(breaker: Breaker, clock: FakeClock) -> None:
    trip(breaker)
    clock.advance(0.5)
    breaker.fail("a call that was under way")
    clock.advance(0.5)
    assert breaker.admit()


def test_wall_clock_steps_do_not_matter(breaker: Breaker, clock: FakeClock) -> None:
    trip(breaker)
    clock.set_wall(clock.wall() + 3600)
    assert not breaker.admit()


async def test_call_gives_the_answer(calls: GuardedCalls) -> None:
    assert await calls.call("get 'a'", works) == "answer"


async def test_open_breaker_refuses_without_calling_and_says_why(calls: GuardedCalls, clock: FakeClock) -> None:
    for _ in range(3):
        with pytest.raises(StateUnavailableError, match="connection refused"):
            await calls.call("get 'a'", is_away)
    with pytest.raises(StateUnavailableError, match=r"cannot get 'a'.*redis://host.*left alone.*connection refused"):
        await calls.call("get 'a'", works)
    clock.advance(1.0)
    assert await calls.call("get 'a'", works) == "answer"
    assert await calls.call("get 'a'", works) == "answer"


async def test_errors_that_the_store_answered_with_do_not_count(calls: GuardedCalls, breaker: Breaker) -> None:
    for _ in range(2):
        with pytest.raises(StateUnavailableError):
            await calls.call("get 'a'", is_away)
    with pytest.raises(StateError, match="wrong type"):
        await calls.call("get 'a'", is_refused)
    with pytest.raises(StateUnavailableError):
        await calls.call("get 'a'", is_away)
    assert breaker.state is BreakerState.CLOSED


async def test_spent_budget_is_a_timeout_and_counts(calls: GuardedCalls, breaker: Breaker) -> None:
    for _ in range(3):
        with pytest.raises(StateTimeoutError, match=r"cannot get 'a'.*did not answer within 50 ms"):
            await calls.call("get 'a'", hangs)
    assert breaker.state is BreakerState.OPEN


async def test_budget_of_one_call(calls: GuardedCalls) -> None:
    with pytest.raises(StateTimeoutError, match="within 1 ms"):
        await calls.call("get 'a'", hangs, budget=0.001)


async def test_cancelled_try_tells_nothing(calls: GuardedCalls, breaker: Breaker, clock: FakeClock) -> None:
    trip(breaker)
    clock.advance(1.0)
    waiting = asyncio.ensure_future(calls.call("get 'a'", hangs, budget=60))
    await asyncio.sleep(0)
    assert breaker.state is BreakerState.HALF_OPEN
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await calls.call("get 'a'", works) == "answer"
