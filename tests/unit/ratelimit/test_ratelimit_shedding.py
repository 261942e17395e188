import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ratelimit_queue import Tick, Upstream

from seawall.core.errors import SeawallError
from seawall.systems.ratelimit.gradient import Gradient2
from seawall.systems.ratelimit.shedding import (
    TIERS,
    AdaptiveThrottle,
    QueueController,
    Shedder,
    ShedSample,
    admits,
    cohort,
    tier_shares,
)

MIX = (0.1, 0.15, 0.2, 0.2, 0.2, 0.15)
BAND = (0.5, 1.75)
"""What is let through in an overload, as a share of the capacity, once the controller has settled."""


def overload(
    load: float, *, seed: int = 1, gradient: bool = False, capacity: float = 14.0, refuses_beyond: int | None = None
) -> tuple[Upstream, list[tuple[float, float]]]:
    """Run 10 s at half the capacity, 30 s at `load` times, 15 s at half; return the upstream and the share admitted."""
    upstream = Upstream(seed=seed, refuses_beyond=refuses_beyond)
    shedder = Shedder()
    finder = Gradient2(initial=20.0)
    through: list[tuple[float, float]] = []

    def admit(now: float, tier: int, rng: random.Random) -> bool:
        return admits(shedder.shares[tier], rng.getrandbits(32))

    def step(tick: Tick) -> None:
        bears = finder.step(tick.at, tick.latency, tick.most_in_flight) if gradient else capacity
        sample = ShedSample(
            at=tick.at,
            offered=tuple(tick.offered),
            ended=tick.ended + tick.refused,
            accepted=tick.ended,
            in_flight=tick.in_flight,
            capacity=bears,
        )
        shares = shedder.step(tick.at, sample)
        through.append((tick.at, sum(share * part for share, part in zip(shares, MIX, strict=True))))

    upstream.run([(10, 0.5), (30, load), (15, 0.5)], MIX, admit, step)
    return upstream, through


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("gradient", [False, True], ids=["known capacity", "found capacity"])
def test_three_times_the_capacity_does_not_hurt_what_is_critical(gradient: bool, seed: int) -> None:  # noqa: FBT001
    upstream, through = overload(3.0, seed=seed, gradient=gradient)
    assert min(share for at, share in through if at <= 10) == 1.0
    assert upstream.success([0], 10, 40) >= 0.99
    assert upstream.success([1], 12, 40) >= 0.95
    assert upstream.success([5], 12, 40) <= 0.05
    assert upstream.goodput(10, 40) >= 0.9
    settled = [share * 3.0 for at, share in through if 15 <= at <= 40]
    assert BAND[0] <= min(settled)
    assert max(settled) <= BAND[1]
    assert any(share >= 0.999 for at, share in through if 40 < at <= 45)
    assert upstream.success(range(TIERS), 45, 55) == 1.0


@pytest.mark.parametrize("load", [1.1, 1.5, 10.0])
def test_other_overloads_are_held_at_capacity_too(load: float) -> None:
    upstream, through = overload(load)
    # At ten times the capacity what is critical needs all of it.
    assert upstream.success([0], 16, 40) >= (0.99 if load < 10 else 0.85)
    assert upstream.goodput(14, 40) >= 0.9
    assert any(share >= 0.999 for at, share in through if 40 < at <= 45)
    assert upstream.success(range(TIERS), 45, 55) == 1.0


@pytest.mark.parametrize("load", [3.0, 10.0])
def test_an_upstream_of_unknown_capacity_that_refuses_is_followed(load: float) -> None:
    """It refuses whatever the tier, so what is critical suffers until its own refusals have been learned from."""
    upstream, through = overload(load, capacity=0.0, refuses_beyond=40)
    assert upstream.goodput(14, 40) >= 0.9
    assert upstream.success([0], 12, 40) >= 0.85
    assert upstream.success([5], 12, 40) <= 0.02
    assert any(share >= 0.999 for at, share in through if 40 < at <= 45)


def test_a_capacity_given_too_high_is_corrected_by_refusals() -> None:
    upstream, _ = overload(3.0, capacity=100.0, refuses_beyond=20)
    assert upstream.goodput(14, 40) >= 0.9
    assert upstream.success([0], 12, 40) >= 0.85


@pytest.mark.parametrize(("gradient", "load"), [(False, 0.7), (True, 0.7), (True, 0.9)])
def test_below_capacity_nothing_is_shed(gradient: bool, load: float) -> None:  # noqa: FBT001
    upstream, through = overload(load, gradient=gradient, capacity=20.0)
    assert {share for _, share in through} == {1.0}
    assert upstream.success(range(TIERS), 0, 55) == 1.0


def test_adaptive_throttle_sends_twice_what_is_accepted() -> None:
    throttle = AdaptiveThrottle(k=2.0, window=5.0)
    rng = random.Random(1)
    now = 100.0
    sent = 0
    for tick in range(200):
        now += 0.1
        passed = sum(rng.random() >= throttle.rejection(now) for _ in range(60))
        throttle.record(now, 60, min(passed, 20))
        sent += passed if tick >= 100 else 0
    assert sent / 100 == pytest.approx(40, rel=0.1)
    for _ in range(50):
        now += 0.1
        throttle.record(now, 10, 10)
    assert throttle.rejection(now) == 0.0


def test_adaptive_throttle_is_the_formula_over_its_window() -> None:
    throttle = AdaptiveThrottle(k=1.5, window=10.0)
    assert throttle.rejection(100.0) == 0.0
    throttle.record(100.0, 100, 10)
    throttle.record(105.0, 100, 50)
    assert throttle.rejection(105.0) == pytest.approx((200 - 1.5 * 60) / 201)
    assert throttle.rejection(112.0) == pytest.approx((100 - 1.5 * 50) / 101)
    assert throttle.rejection(130.0) == 0.0
    assert throttle.rejection(50.0) == 0.0


@given(st.lists(st.tuples(st.floats(-50, 50), st.integers(0, 1000), st.integers(0, 1000)), max_size=60))
def test_adaptive_throttle_is_a_share_whatever_the_clock_does(rows: list[tuple[float, int, int]]) -> None:
    throttle = AdaptiveThrottle()
    now = 1000.0
    for delay, requests, accepts in rows:
        now += delay
        throttle.record(now, requests, accepts)
        assert 0 <= throttle.rejection(now) < 1


mixes = st.lists(st.one_of(st.just(0.0), st.floats(0.01, 1000)), min_size=TIERS, max_size=TIERS)


@given(st.floats(-0.5, 1.5), mixes)
def test_shares_turn_away_what_is_asked_from_the_lowest_tiers(rejection: float, mix: list[float]) -> None:
    shares = tier_shares(rejection, mix)
    assert all(0 <= share <= 1 for share in shares)
    turned_away = sum(part * (1 - share) for part, share in zip(mix, shares, strict=True))
    assert turned_away == pytest.approx(max(0.0, min(1.0, rejection)) * sum(mix), abs=1e-6)
    assert list(shares) == sorted(shares, reverse=True)
    assert sum(0 < share < 1 for share in shares) <= 1


@given(st.floats(0, 1), st.floats(0, 1), mixes)
def test_more_rejection_admits_no_tier_more(one: float, other: float, mix: list[float]) -> None:
    milder, harder = sorted((one, other))
    pairs = zip(tier_shares(milder, mix), tier_shares(harder, mix), strict=True)
    assert all(more >= less - 1e-9 for more, less in pairs)


def test_a_share_admits_that_share_of_clients_and_always_the_same() -> None:
    places = [cohort(number) for number in range(20_000)]
    for share in (0.0, 0.01, 0.3, 0.5, 0.99, 1.0):
        assert sum(admits(share, place) for place in places) / len(places) == pytest.approx(share, abs=0.01)
    for less, more in itertools.pairwise((0.0, 0.1, 0.4, 1.0)):
        assert all(admits(more, place) for place in places if admits(less, place))
    later = [cohort(number, epoch=1) for number in range(20_000)]
    both = sum(admits(0.5, now) and admits(0.5, then) for now, then in zip(places, later, strict=True))
    assert both / len(places) == pytest.approx(0.25, abs=0.02)
    assert all(0 <= cohort(key, epoch) < 2**32 for key in (-5, 2**128 - 1, 0) for epoch in (0, 29_000_000))


def sample(at: float, **changes: float) -> ShedSample:
    fields = {"ended": 10, "accepted": 10, "in_flight": 50.0, "capacity": 10.0} | changes
    return ShedSample(at=at, offered=(10,) * TIERS, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("stale", [None, sample(100.0), sample(math.nan)])
def test_stale_input_freezes_the_shares(stale: ShedSample | None) -> None:
    shedder = Shedder()
    for number in range(10):
        before = shedder.step(100.0 + number / 10, sample(100.0 + number / 10))
    assert min(before) < 1.0
    assert {shedder.step(102.5 + number / 10, stale) for number in range(50)} == {before}


def test_a_sample_of_other_tiers_is_refused() -> None:
    with pytest.raises(SeawallError, match="2 tiers instead of 6"):
        Shedder().step(1.0, ShedSample(at=1.0, offered=(1, 2), ended=0, accepted=0, in_flight=0.0))


numbers = st.one_of(st.floats(), st.floats(0, 100))


@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 500), st.integers(0, 500), numbers, numbers), max_size=60))
def test_any_input_gives_shares_and_bounded_slopes(rows: list[tuple[float, int, int, float, float]]) -> None:
    shedder = Shedder()
    queue = QueueController()
    now = 1000.0
    before = 1.0
    for delay, ended, refused, in_flight, capacity in rows:
        now += delay
        accepted = max(ended - refused, 0)
        shares = shedder.step(now, sample(now, ended=ended, accepted=accepted, in_flight=in_flight, capacity=capacity))
        assert all(0 <= share <= 1 for share in shares)
        elapsed = min(max(delay, 0.0), 0.5)
        share = queue.step(elapsed, ended, ended - accepted, in_flight, capacity)
        assert 0.01 <= share <= 1
        assert math.exp(-9 * elapsed) - 1e-9 <= share / before <= math.exp(3 * elapsed) + 1e-9
        before = share


def test_the_safety_net_holds_when_the_capacity_is_wrong() -> None:
    """The queue controller is deaf here; the throttle alone sends on twice of what is accepted."""
    shedder = Shedder(QueueController(gain=1e-9, queue_gain=1e-9), AdaptiveThrottle(k=2.0, window=5.0))
    sent = 0.0
    for number in range(400):
        passed = round(60 * sum(shedder.shares) / TIERS)
        sent += passed if number >= 200 else 0
        at = 100.0 + number / 10
        shedder.step(at, sample(at, ended=passed, accepted=min(passed, 20), in_flight=1.0, capacity=1e9))
    assert sent / 200 == pytest.approx(40, rel=0.1)


def test_what_is_no_measurement_changes_nothing() -> None:
    queue = QueueController()
    before = queue.step(0.1, 10, 5, 50.0, 10.0)
    assert before < 1.0
    assert queue.step(0.0, 10, 5, 50.0, 10.0) == before
    assert queue.step(0.1, 10, 5, math.nan, 10.0) == before


def test_controllers_that_make_no_sense_are_refused() -> None:
    for build in (
        lambda: QueueController(gain=0.0),
        lambda: AdaptiveThrottle(k=1.0),
        lambda: AdaptiveThrottle(k=math.nan),
        lambda: AdaptiveThrottle(window=0.0),
        lambda: Shedder(steepest=math.nan),
    ):
        with pytest.raises(SeawallError):
            build()
