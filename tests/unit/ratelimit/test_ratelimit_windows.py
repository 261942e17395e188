import math
import sys
from collections.abc import Callable

import msgspec
import pytest

from seawall.core.errors import SeawallError
from seawall.systems.ratelimit.concurrency import Concurrency
from seawall.systems.ratelimit.engine import RateLimitEngine
from seawall.systems.ratelimit.fixed import FixedWindow
from seawall.systems.ratelimit.keys import LimitContext
from seawall.systems.ratelimit.model import Algorithm, LimitResult, RateLimitSnapshot, RuleSnapshot, WindowSnapshot
from seawall.systems.ratelimit.sliding import SlidingWindow
from seawall.systems.ratelimit.verdict import CostError
from seawall.systems.ratelimit.windows import FixedQuota, GcraQuota, InFlightQuota, SlidingQuota

BURST = GcraQuota("burst", 10.0, 1.0)
MINUTE = SlidingQuota("minute", 20.0, 60.0)
DAY = FixedQuota("day", 25.0, 86_400.0)
FLIGHT = InFlightQuota("in-flight", 4.0, 30.0)


BURST_WINDOW = WindowSnapshot(name="burst", limit=10.0, window=1.0)
MINUTE_WINDOW = WindowSnapshot(name="minute", limit=20.0, window=60.0, algorithm=Algorithm.SLIDING_WINDOW)
DAY_WINDOW = WindowSnapshot(name="day", limit=25.0, window=86_400.0, algorithm=Algorithm.FIXED_WINDOW)


def ask_all(*windows: WindowSnapshot) -> Callable[..., LimitResult]:
    """Return what decides by all of these windows on one key."""
    engine = RateLimitEngine(lambda: 0.0)
    engine.apply(RateLimitSnapshot(version=0, rules=(RuleSnapshot(id="r", key=("user",), windows=windows),)))
    return lambda now, cost=1.0: engine.check(LimitContext(user="alice", cost=cost), now)


def test_a_refusal_by_one_window_takes_nothing_from_the_others() -> None:
    ask = ask_all(BURST_WINDOW, MINUTE_WINDOW, DAY_WINDOW)
    assert all(ask(1000.0).allowed for _ in range(10))
    before = [window.remaining for window in ask(1000.0, 0.0).windows]
    refused = ask(1000.0)
    assert (refused.allowed, refused.limit, refused.retry_after) == (False, 10.0, pytest.approx(0.1))
    assert [window.remaining for window in ask(1000.0, 0.0).windows] == pytest.approx(before)
    assert ask(1001.0, 10.0).allowed
    full = ask(1002.0, 10.0)
    assert (full.allowed, full.limit) == (False, 25.0), "the day makes it wait for longest"
    assert full.retry_after > 3600.0
    assert [window.remaining for window in ask(1002.0, 0.0).windows] == pytest.approx([10.0, 0.0, 5.0])


@pytest.mark.parametrize(
    ("windows", "longest"),
    [
        pytest.param((BURST_WINDOW, MINUTE_WINDOW), 121, id="burst and minute"),
        pytest.param((BURST_WINDOW, DAY_WINDOW), 86_401, id="burst and day"),
        pytest.param((MINUTE_WINDOW, DAY_WINDOW), 86_401, id="minute and day"),
    ],
)
def test_a_clock_that_goes_back_a_week_locks_nobody_out(windows: tuple[WindowSnapshot, ...], longest: int) -> None:
    ask = ask_all(*windows)
    now = 1_000_000.0
    while ask(now).allowed:
        pass
    now = back = now - 604_800.0
    while not (result := ask(now)).allowed:
        now += max(result.retry_after / 2, 0.05)
        assert now - back <= longest


def test_the_window_closest_to_its_limit_is_reported() -> None:
    ask = ask_all(BURST_WINDOW, msgspec.structs.replace(DAY_WINDOW, limit=2.0))
    result = ask(1000.0)
    assert (result.allowed, result.limit, result.remaining) == (True, 2.0, 1)


def test_a_burst_scales_with_the_limit_but_one_request_always_fits() -> None:
    quota = GcraQuota("q", 100.0, 10.0, burst=5.0)
    assert quota.check(None, 1000.0, 200.0, 0.0)[2] == 10.0
    assert quota.check(None, 1000.0, 10.0, 1.0)[0]
    assert quota.check(None, 1000.0, 10.0, 1.0)[3] == pytest.approx(1.0)


@pytest.mark.parametrize("quota", [BURST, MINUTE, DAY, FLIGHT], ids=lambda quota: quota.name)
def test_nothing_passes_under_a_limit_of_nought(quota: GcraQuota) -> None:
    allowed, _, remaining, _, retry_after = quota.check(None, 1000.0, 0.0, 1.0)
    assert (allowed, remaining, retry_after) == (False, 0.0, math.inf)


@pytest.mark.parametrize("quota", [BURST, MINUTE, DAY, FLIGHT], ids=lambda quota: quota.name)
def test_what_is_refunded_can_be_used_again(quota: GcraQuota) -> None:
    _, state, remaining, *_ = quota.check(None, 1000.0, quota.limit, 3.0)
    assert remaining == pytest.approx(quota.limit - 3)
    state = quota.refund(state, 1000.0, 1000.0, quota.limit, 2.0)
    assert quota.check(state, 1000.0, quota.limit, 0.0)[2] == pytest.approx(quota.limit - 1)
    state = quota.refund(state, 1000.0, 1000.0, quota.limit, 100.0)
    assert quota.check(state, 1000.0, quota.limit, 0.0)[2] == pytest.approx(quota.limit)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("kind", [GcraQuota, SlidingQuota, FixedQuota, InFlightQuota])
def test_windows_that_cannot_be_are_refused(kind: type[GcraQuota], bad: float) -> None:
    with pytest.raises(SeawallError, match="limit = "):
        kind("q", bad, 1.0)
    with pytest.raises(SeawallError, match="window = "):
        kind("q", 1.0, bad)
    with pytest.raises(SeawallError, match="burst = "):
        GcraQuota("q", 1.0, 1.0, burst=bad)


@pytest.mark.parametrize("cost", [-1.0, math.nan, math.inf])
def test_every_algorithm_refuses_costs_that_are_no_costs(cost: float) -> None:
    for call in (
        lambda: FixedWindow.check(None, 0.0, 1.0, 1.0, cost),
        lambda: FixedWindow.refund((0.0, 1.0), 0.0, cost),
        lambda: SlidingWindow.check(None, 0.0, 1.0, 1.0, cost),
        lambda: SlidingWindow.refund((0.0, 1.0, 1.0), 0.0, 1.0, cost),
        lambda: Concurrency.acquire(None, 0.0, 1.0, 1.0, cost),
        lambda: Concurrency.release((0.0, 1.0, 1.0), 0.0, 0.0, 1.0, cost),
    ):
        with pytest.raises(CostError):
            call()


def test_a_refund_comes_too_late() -> None:
    _, fixed, *_ = FixedWindow.check((80.0, 5.0), 95.0, 9.0, 10.0)
    assert FixedWindow.refund(fixed, 85.0, 1.0) == fixed
    sliding = (80.0, 4.0, 3.0)
    assert SlidingWindow.refund(sliding, 75.0, 10.0, 2.0) == (80.0, 4.0, 1.0)
    assert SlidingWindow.refund(sliding, 69.0, 10.0, 2.0) == sliding


def test_fixed_windows_start_at_multiples_of_their_length() -> None:
    _, state, *_ = FixedWindow.check(None, 1_700_000_033.0, 5.0, 60.0, 5.0)
    assert state[0] % 60 == 0
    refused = FixedWindow.check(state, 1_700_000_039.0, 5.0, 60.0)
    assert (refused[0], refused[4]) == (False, 1.0)
    assert FixedWindow.check(state, 1_700_000_040.0, 5.0, 60.0)[0]


def test_a_permit_is_released_after_the_clock_went_back_over_a_generation() -> None:
    _, state, *_ = Concurrency.acquire(None, 100.0, 9.0, 10.0, 2.0)
    _, state, *_ = Concurrency.acquire(state, 111.0, 9.0, 10.0, 3.0)
    state = Concurrency.release(state, 100.0, 50.0, 10.0, 2.0)
    state = Concurrency.release(state, 111.0, 51.0, 10.0, 3.0)
    assert Concurrency.in_flight(state, 51.0, 10.0) == 0


def test_an_expired_permit_is_not_released_twice() -> None:
    _, state, *_ = Concurrency.acquire(None, 100.0, 9.0, 10.0)
    _, state, *_ = Concurrency.acquire(state, 125.0, 9.0, 10.0)
    state = Concurrency.release(state, 100.0, 126.0, 10.0)
    assert Concurrency.in_flight(state, 126.0, 10.0) == 1


@pytest.mark.parametrize("quota", [BURST, MINUTE, DAY, FLIGHT], ids=lambda quota: quota.name)
def test_the_state_of_a_key_does_not_grow(quota: GcraQuota) -> None:
    state = None
    sizes = set()
    for number in range(2000):
        _, state, *_ = quota.check(state, 1000.0 + number / 3, quota.limit, 0.5)
        parts = state if isinstance(state, tuple) else (state,)
        assert all(type(part) is float for part in parts)
        sizes.add(sys.getsizeof(state) + len(parts))
    assert len(sizes) == 1
