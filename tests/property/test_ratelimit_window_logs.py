"""Window counters against a log of every request, with the error that each of them states."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.systems.ratelimit.concurrency import Concurrency
from seawall.systems.ratelimit.fixed import FixedWindow
from seawall.systems.ratelimit.sliding import SlidingWindow
from seawall.systems.ratelimit.verdict import SLACK

WINDOW = 8.0
steps = st.lists(
    st.tuples(st.one_of(st.just(0.0), st.floats(0, 12)), st.one_of(st.just(1.0), st.floats(0, 6))),
    min_size=1,
    max_size=80,
)
limits = st.integers(1, 20).map(float)


def within(log: list[tuple[float, float]], since: float, until: float) -> float:
    """Sum the costs in (since, until]."""
    return sum(cost for at, cost in log if since < at <= until)


@given(steps, limits)
def test_a_fixed_window_is_exact_within_itself(steps: list[tuple[float, float]], limit: float) -> None:
    state = None
    now = 1000.0
    log: list[tuple[float, float]] = []
    for delay, cost in steps:
        now += delay
        start = now // WINDOW * WINDOW
        used = sum(cost for at, cost in log if at >= start)
        allowed, state, remaining, reset_after, retry_after = FixedWindow.check(state, now, limit, WINDOW, cost)
        assert allowed == (used + cost <= limit + SLACK)
        if allowed:
            log.append((now, cost))
            used += cost
        assert remaining == pytest.approx(max(limit - used, 0), abs=1e-9)
        assert 0 <= reset_after <= WINDOW
        assert retry_after == (0 if allowed else start + WINDOW - now if cost <= limit + SLACK else inf)
    for at, _ in log:
        assert within(log, at - WINDOW, at) <= 2 * (limit + SLACK)


@given(steps, limits)
def test_a_sliding_window_is_off_by_no_more_than_it_states(steps: list[tuple[float, float]], limit: float) -> None:
    state = None
    now = 1000.0
    log: list[tuple[float, float]] = []
    for delay, cost in steps:
        now += delay
        allowed, state, remaining, reset_after, retry_after = SlidingWindow.check(state, now, limit, WINDOW, cost)
        if allowed:
            log.append((now, cost))
        start, _, previous = state
        share = (now - start) / WINDOW
        estimate = limit - remaining
        true = within(log, now - WINDOW, now)
        assert estimate <= limit
        if remaining > 0:
            assert abs(estimate - true) <= previous * max(share, 1 - share) + SLACK + 1e-9
        assert true < 2 * (limit + SLACK) + 1e-9
        assert reset_after <= 2 * WINDOW
        if not allowed and retry_after < inf:
            assert 0 < retry_after <= 2 * WINDOW
            assert SlidingWindow.check(state, now + retry_after, limit, WINDOW, cost)[0]
            assert not SlidingWindow.check(state, now + retry_after * 0.99 - 0.01, limit, WINDOW, cost + 2 * SLACK)[0]


@given(limits, st.integers(1, 400))
def test_a_sliding_window_counts_even_arrivals_as_a_log_does(limit: float, per_window: int) -> None:
    state = None
    log: list[tuple[float, float]] = []
    for number in range(3 * per_window):
        now = 1000.0 + number * WINDOW / per_window
        _, state, *_ = SlidingWindow.check(state, now, inf, WINDOW)
        log.append((now, 1.0))
        start, current, previous = state
        estimate = current + previous * (1 - (now - start) / WINDOW)
        assert abs(estimate - within(log, now - WINDOW, now)) <= 1 + 1e-6


jumps = st.lists(st.tuples(st.floats(-1000, 1000), st.floats(0, 8)), min_size=1, max_size=40)


@given(jumps, limits)
def test_no_jump_of_the_clock_locks_a_window_or_opens_it_wide(jumps: list[tuple[float, float]], limit: float) -> None:
    fixed = sliding = None
    now = 5000.0
    for jump, cost in jumps:
        now += jump
        _, fixed, remaining, reset_after, retry_after = FixedWindow.check(fixed, now, limit, WINDOW, cost)
        assert 0 <= remaining <= limit
        assert 0 <= reset_after <= WINDOW + 1e-9
        assert retry_after <= WINDOW + 1e-9 or retry_after == inf
        assert fixed[1] <= limit + SLACK
        _, sliding, remaining, reset_after, retry_after = SlidingWindow.check(sliding, now, limit, WINDOW, cost)
        assert 0 <= remaining <= limit
        assert 0 <= reset_after <= 2 * WINDOW + 1e-9
        assert retry_after <= 2 * WINDOW + 1e-9 or retry_after == inf


@given(st.lists(st.floats(-3, 0), min_size=1, max_size=40), limits)
def test_a_clock_that_trembles_gives_no_quota_away(tremble: list[float], limit: float) -> None:
    fixed = sliding = None
    passed = [0, 0]
    for offset in tremble:
        now = 1001.0 + offset  # 1000 is a multiple of the window: the clock crosses it again and again
        for _ in range(5):
            allowed, fixed, *_ = FixedWindow.check(fixed, now, limit, WINDOW)
            passed[0] += allowed
            allowed, sliding, *_ = SlidingWindow.check(sliding, now, limit, WINDOW)
            passed[1] += allowed
    assert passed[0] <= 2 * limit
    assert passed[1] <= 2 * limit


@given(
    st.lists(
        st.tuples(st.floats(0, 4), st.booleans(), st.integers(0, 30), st.integers(1, 3).map(float)),
        max_size=80,
    ),
    limits,
)
def test_requests_in_flight_are_counted_and_leaks_expire(
    steps: list[tuple[float, bool, int, float]], limit: float
) -> None:
    ttl = 10.0
    state = None
    now = 1000.0
    held: list[tuple[float, float]] = []
    for delay, leaving, which, cost in steps:
        now += delay
        if leaving and held:
            at, taken = held.pop(which % len(held))
            assert state is not None
            state = Concurrency.release(state, at, now, ttl, taken)
        else:
            allowed, state, *_ = Concurrency.acquire(state, now, limit, ttl, cost)
            if allowed:
                held.append((now, cost))
        counted = Concurrency.in_flight(state, now, ttl)
        assert counted <= limit + SLACK
        # Everything younger than one ttl counts, nothing older than two does.
        assert counted >= sum(cost for at, cost in held if now - at < ttl - 1e-6) - 1e-9
        assert counted <= sum(cost for at, cost in held if now - at <= 2 * ttl + 1e-6) + 1e-9


@given(st.lists(st.tuples(st.floats(-1000, 1000), st.booleans()), max_size=60), limits)
def test_no_jump_of_the_clock_keeps_permits_for_ever(jumps: list[tuple[float, bool]], limit: float) -> None:
    ttl = 10.0
    state = None
    now = 5000.0
    held: list[float] = []
    for jump, leaving in jumps:
        now += jump
        if leaving and held and state is not None:
            state = Concurrency.release(state, held.pop(), now, ttl)
        else:
            allowed, state, *_ = Concurrency.acquire(state, now, limit, ttl)
            if allowed:
                held.append(now)
        assert 0 <= Concurrency.in_flight(state, now, ttl) <= limit + SLACK
        assert Concurrency.in_flight(state, now + 2 * ttl + SLACK, ttl) == 0  # seconds are rounded
