"""GCRA is a token bucket: the same decisions, waits and remainders for any times, costs and limit changes."""

from fractions import Fraction
from math import inf

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seawall.systems.ratelimit.gcra import IDLE, Gcra
from seawall.systems.ratelimit.verdict import SLACK


class TokenBucket:
    """The reference: a bucket that is filled step by step, in exact fractions; it knows no arrival times.

    `used` counts requests at the present price. A change of the price converts what is used, because what is owed is
    time.
    """

    def __init__(self, now: Fraction, interval: Fraction, burst: Fraction) -> None:
        self.now = now
        self.interval = interval
        self.burst = burst
        self.used = Fraction(0)

    def advance(self, now: Fraction) -> None:
        elapsed = now - self.now
        self.now = now
        if elapsed >= 0 or self.used > 0:  # an empty bucket stays empty whatever the clock says
            self.used = max(self.used - elapsed / self.interval, Fraction(0))

    def change(self, interval: Fraction, burst: Fraction) -> None:
        self.used *= self.interval / interval
        self.interval = interval
        self.burst = burst

    def take(self, cost: Fraction) -> tuple[bool, Fraction, Fraction | float]:
        self.used = min(self.used, self.burst)
        if self.used + cost <= self.burst + Fraction(SLACK):
            self.used += cost
            return True, max(self.burst - self.used, Fraction(0)), Fraction(0)
        if cost > self.burst + Fraction(SLACK):
            return False, self.burst - self.used, inf
        return False, self.burst - self.used, (self.used + cost - self.burst) * self.interval

    def give(self, cost: Fraction) -> None:
        self.used = max(self.used - cost, Fraction(0))

    def charge(self, cost: Fraction) -> None:
        self.used = min(self.used + cost, self.burst)


# Powers of two make every sum and product of the floats exact, so that the two must agree to the last bit.
intervals = st.integers(-6, 6).map(lambda power: 2.0**power)
bursts = st.integers(1, 64).map(float)
costs = st.integers(0, 64).map(lambda quarters: quarters / 4)
delays = st.one_of(st.just(0.0), st.integers(0, 2**12).map(lambda ticks: ticks / 2**8))


@settings(max_examples=150, stateful_step_count=40)
class GcraIsATokenBucket(RuleBasedStateMachine):
    @initialize(interval=intervals, burst=bursts, start=st.integers(0, 2**20))
    def begin(self, interval: float, burst: float, start: int) -> None:
        self.now = float(start)
        self.interval = interval
        self.burst = burst
        self.tat = IDLE
        self.bucket = TokenBucket(Fraction(start), Fraction(interval), Fraction(burst))
        self.paid: list[float] = []

    @rule(delay=delays)
    def wait(self, delay: float) -> None:
        self.now += delay
        self.bucket.advance(Fraction(self.now))

    @rule(back=delays)
    def step_the_clock_back(self, back: float) -> None:
        if self.tat <= self.now:
            # A key whose debt lies in the past meets it again when the clock goes back behind it; a bucket has no past.
            self.tat = IDLE
        self.now -= back
        self.bucket.advance(Fraction(self.now))

    @rule(cost=costs)
    def ask(self, cost: float) -> None:
        allowed, self.tat, remaining, reset_after, retry_after = Gcra.check(
            self.tat, self.now, self.interval, self.burst, cost
        )
        assert (allowed, remaining, retry_after) == self.bucket.take(Fraction(cost))
        assert reset_after == self.bucket.used * self.bucket.interval

    @rule()
    def ask_again_just_when_told(self) -> None:
        allowed, self.tat, _, _, retry_after = Gcra.check(self.tat, self.now, self.interval, self.burst, 1.0)
        assert allowed == self.bucket.take(Fraction(1))[0]
        if not allowed:
            self.wait(retry_after)
            self.ask(1.0)
            assert self.bucket.used >= self.bucket.burst  # it has passed, and only just

    @rule(interval=intervals, burst=bursts)
    def change_the_limit(self, interval: float, burst: float) -> None:
        self.interval = interval
        self.burst = burst
        self.bucket.change(Fraction(interval), Fraction(burst))

    @rule(interval=intervals)
    def change_the_rate_and_keep_the_count(self, interval: float) -> None:
        self.tat = Gcra.rescale(self.tat, self.now, self.interval, interval)
        self.interval = self.bucket.interval = interval  # type: ignore[assignment]
        self.bucket.interval = Fraction(interval)

    @rule(cost=costs)
    def refund(self, cost: float) -> None:
        self.tat = Gcra.refund(self.tat, self.now, self.interval, cost)
        self.bucket.give(Fraction(cost))

    @rule(cost=costs)
    def charge(self, cost: float) -> None:
        self.tat = Gcra.charge(self.tat, self.now, self.interval, self.burst, cost)
        self.bucket.charge(Fraction(cost))

    @precondition(lambda self: hasattr(self, "bucket"))
    @invariant()
    def the_same_is_owed(self) -> None:
        assert max(self.tat - self.now, 0) == self.bucket.used * self.bucket.interval


TestGcraIsATokenBucket = GcraIsATokenBucket.TestCase

times = st.lists(st.floats(0, 50), min_size=1, max_size=60).map(sorted)
rates = st.floats(0.05, 5000)


@given(times, rates, st.floats(1, 200), st.data())
def test_any_floats_agree_but_for_rounding_at_the_very_edge(
    arrivals: list[float], rate: float, burst: float, data: st.DataObject
) -> None:
    interval = 1 / rate
    tat = IDLE
    bucket = TokenBucket(Fraction(0), Fraction(interval), Fraction(burst))
    for arrival in arrivals:
        now = 1000 + arrival
        cost = data.draw(st.floats(0, burst))
        bucket.advance(Fraction(now))
        edge = bucket.used + Fraction(cost) - bucket.burst - Fraction(SLACK)
        allowed, tat, remaining, _, _ = Gcra.check(tat, now, interval, burst, cost)
        assume(abs(edge) > 1e-6)
        expected, left, _ = bucket.take(Fraction(cost))
        assert allowed == expected
        assert remaining == pytest.approx(float(left), abs=1e-6)


@given(times, rates, st.floats(1, 200), st.floats(0.1, 20))
def test_no_span_admits_more_than_rate_and_burst(arrivals: list[float], rate: float, burst: float, span: float) -> None:
    interval = 1 / rate
    tat = IDLE
    passed = []
    for arrival in arrivals:
        for _ in range(5):
            allowed, tat, *_ = Gcra.check(tat, 1000 + arrival, interval, burst)
            if allowed:
                passed.append(arrival)
    for first in passed:
        assert sum(first <= at <= first + span for at in passed) <= burst + span * rate + SLACK + 1e-6


@given(
    st.lists(st.tuples(st.floats(-1e5, 1e5), st.floats(0, 30)), max_size=40),
    st.floats(0.01, 100),
    st.floats(1, 100),
)
def test_no_jump_of_the_clock_locks_a_key_out_or_opens_it_wide(
    steps: list[tuple[float, float]], interval: float, burst: float
) -> None:
    tat = IDLE
    now = 1e6
    for jump, cost in steps:
        now += jump
        allowed, tat, remaining, reset_after, retry_after = Gcra.check(tat, now, interval, burst, cost)
        assert 0 <= remaining <= burst + SLACK
        assert reset_after <= interval * (burst + SLACK) * (1 + 1e-6)
        if not allowed and retry_after < inf:
            assert retry_after <= cost * interval * (1 + 1e-6)
            assert Gcra.check(tat, now + retry_after, interval, burst, cost)[0]
        taken = 0
        after = tat
        while Gcra.check(after, now, interval, burst)[0]:
            after = Gcra.check(after, now, interval, burst)[1]
            taken += 1
        assert taken <= burst + SLACK
