import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ratelimit_queue import Tick, Upstream

from seawall.core.errors import SeawallError
from seawall.systems.ratelimit.factors import LoadController, LoadSample, LoadTolerances, ThreatFactors
from seawall.systems.ratelimit.gradient import Gradient2

BAND = (0.65, 1.4)
"""What is let through in an overload, as a share of the capacity, once the controller has settled."""


def quota(upstream: Upstream, headroom: float, factor: Callable[[], float]) -> Callable[..., bool]:
    """A token bucket of `headroom` times the capacity, scaled by the factor."""
    tokens = at = 0.0

    def admit(now: float, tier: int, rng: random.Random) -> bool:
        nonlocal tokens, at
        rate = headroom * upstream.capacity * factor()
        tokens = min(tokens + (now - at) * rate, rate * 0.05 + 1)
        at = now
        if tokens < 1:
            return False
        tokens -= 1
        return True

    return admit


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("load", "headroom"), [(1.5, 1.5), (3.0, 3.0), (3.0, 6.0), (5.0, 5.0)])
def test_an_overload_is_held_at_capacity_and_is_over_when_it_is_over(seed: int, load: float, headroom: float) -> None:
    upstream = Upstream(seed=seed)
    controller = LoadController()
    factors: list[tuple[float, float]] = []

    def step(tick: Tick) -> None:
        sample = LoadSample(at=tick.at, latency=tick.latency, in_flight=tick.in_flight, ended=tick.ended)
        factors.append((tick.at, controller.step(tick.at, sample)))

    upstream.run([(10, 0.5), (30, load), (15, 0.5)], [1.0], quota(upstream, headroom, lambda: controller.factor), step)
    assert min(factor for at, factor in factors if at <= 10) == 1.0
    settled = [factor * min(load, headroom) for at, factor in factors if 15 <= at <= 40]
    if load == headroom:
        assert BAND[0] <= min(settled)
        assert max(settled) <= BAND[1]
    assert upstream.goodput(15, 40) >= 0.9
    assert upstream.success([0], 42, 55) >= 0.99
    assert any(factor >= 0.999 for at, factor in factors if 40 < at <= 45)


def test_without_the_numbers_in_flight_latency_alone_does_for_three_times_the_capacity() -> None:
    upstream = Upstream(seed=1)
    controller = LoadController()
    upstream.run(
        [(10, 0.5), (30, 3.0), (10, 0.5)],
        [1.0],
        quota(upstream, 3.0, lambda: controller.factor),
        lambda tick: controller.step(tick.at, LoadSample(at=tick.at, latency=tick.latency)),
    )
    assert upstream.goodput(15, 40) >= 0.9
    assert upstream.success([0], 43, 50) >= 0.99


def test_without_a_controller_the_same_overload_serves_nobody() -> None:
    upstream = Upstream(seed=1)
    upstream.run([(10, 0.5), (30, 3.0)], [1.0], lambda now, tier, rng: True, lambda tick: None)
    assert upstream.goodput(15, 40) < 0.05


def steady(controller: LoadController, start: float, seconds: float, **signals: float) -> list[float]:
    steps = round(seconds / 0.1)
    return [
        controller.step(start + 0.1 * number, LoadSample(at=start + 0.1 * number, **signals)) for number in range(steps)
    ]


@pytest.mark.parametrize(
    "signals",
    [
        {"error_rate": 0.3},
        {"loop_lag": 0.2},
        {"in_flight": 40.0, "capacity": 10.0},
        {"latency": 0.5},
    ],
    ids=lambda signals: next(iter(signals)),
)
def test_every_signal_lowers_the_factor_to_its_floor_and_back_it_goes(signals: dict[str, float]) -> None:
    controller = LoadController(LoadTolerances(floor=0.2))
    assert steady(controller, 100.0, 5.0, latency=0.05)[-1] == 1.0
    fallen = steady(controller, 105.0, 30.0, **({"latency": 0.05} | signals))
    assert fallen == sorted(fallen, reverse=True)
    assert fallen[-1] == 0.2
    assert controller.pressure > 1
    risen = steady(controller, 135.0, 5.0, latency=0.05)
    assert risen == sorted(risen)
    assert risen[-1] == 1.0


def test_nothing_moves_between_release_and_pressure() -> None:
    controller = LoadController()
    steady(controller, 100.0, 0.5, error_rate=0.3)
    held = steady(controller, 100.5, 10.0, error_rate=0.095)
    assert len(set(held)) == 1
    assert 0.1 < held[0] < 1.0


@pytest.mark.parametrize(
    "sample", [None, LoadSample(at=100.0, error_rate=1.0), LoadSample(at=math.nan, error_rate=1.0)]
)
def test_stale_input_freezes_the_factor(sample: LoadSample | None) -> None:
    controller = LoadController()
    before = steady(controller, 100.0, 0.5, error_rate=0.3)[-1]
    assert 0.1 < before < 1.0
    assert {controller.step(103.5 + 0.1 * number, sample) for number in range(50)} == {before}


def test_a_sample_seen_again_counts_once() -> None:
    controller = LoadController()
    controller.step(100.0, LoadSample(at=100.0))
    once = controller.step(100.1, LoadSample(at=100.1, error_rate=0.3))
    assert controller.step(100.2, LoadSample(at=100.1, error_rate=0.3)) == once < 1.0


def test_an_overload_does_not_become_the_new_normal_but_a_change_that_stays_does() -> None:
    controller = LoadController()
    steady(controller, 100.0, 10.0, latency=0.05)
    assert steady(controller, 110.0, 60.0, latency=0.2)[-1] < 0.5
    assert steady(controller, 170.0, 1800.0, latency=0.2)[-1] == 1.0
    assert steady(controller, 1970.0, 30.0, latency=0.05)[-1] == 1.0
    assert steady(controller, 2000.0, 60.0, latency=0.2)[-1] < 1.0


numbers = st.one_of(st.floats(), st.floats(0, 10))


@given(
    st.lists(st.tuples(st.floats(-5, 5), numbers, numbers, numbers, numbers, numbers, st.integers(-5, 99)), max_size=60)
)
def test_any_input_keeps_the_factor_in_range_and_its_slope_bounded(rows: list[tuple[float, ...]]) -> None:
    tolerances = LoadTolerances()
    controller = LoadController(tolerances)
    now = 1000.0
    before = 1.0
    for delay, latency, in_flight, capacity, errors, lag, ended in rows:
        now += delay
        sample = LoadSample(
            at=now,
            latency=latency,
            in_flight=in_flight,
            capacity=capacity,
            error_rate=errors,
            loop_lag=lag,
            ended=int(ended),
        )
        factor = controller.step(now, sample)
        assert tolerances.floor <= factor <= 1
        elapsed = min(max(delay, 0.0), 0.5)
        assert math.exp(-6 * elapsed) - 1e-9 <= factor / before <= math.exp(2 * elapsed) + 1e-9
        before = factor


@pytest.mark.parametrize(
    "change", [{"floor": 0.0}, {"floor": 1.5}, {"latency": 1.0}, {"release": 1.0}, {"gain": math.nan}]
)
def test_tolerances_that_make_no_sense_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(SeawallError):
        LoadController(LoadTolerances(**change))


def test_threat_halves_and_adds_up() -> None:
    threats = ThreatFactors(half_life=60.0, floor=0.2)
    assert threats.factor(100.0, "user:a") == 1.0
    threats.report(100.0, "user:a", 0.5)
    assert threats.factor(100.0, "user:a") == pytest.approx(0.6)
    threats.report(100.0, "user:a", 0.5)
    assert threats.factor(100.0, "user:a") == pytest.approx(0.4)
    assert threats.factor(160.0, "user:a") == pytest.approx(0.7)
    assert threats.factor(0.0, "user:a") == pytest.approx(0.4)
    assert threats.step(100.0) == {"user:a": pytest.approx(0.4)}
    assert threats.step(1000.0) == {}
    assert len(threats) == 0
    threats.report(100.0, "", 1.0)
    threats.pardon("")
    assert threats.factor(100.0, "") == 1.0


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(), st.integers(0, 30)), max_size=80))
def test_threat_stays_in_range_and_in_bounds(reports: list[tuple[float, float, int]]) -> None:
    threats = ThreatFactors(half_life=10.0, floor=0.1, max_keys=10)
    now = 0.0
    for delay, severity, key in reports:
        now += delay
        threats.report(now, str(key), severity)
        assert len(threats) <= 10
        assert 0.1 <= threats.factor(now, str(key)) <= 1


def test_the_worst_threats_are_remembered() -> None:
    threats = ThreatFactors(max_keys=100)
    threats.report(0.0, "worst", 1.0)
    for number in range(10_000):
        threats.report(0.0, str(number), 0.2)
    assert threats.factor(0.0, "worst") == pytest.approx(0.1)
    assert len(threats) <= 100


@pytest.mark.parametrize("change", [{"half_life": 0.0}, {"floor": 0.0}, {"floor": 2.0}, {"max_keys": 0}])
def test_threats_that_make_no_sense_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(SeawallError):
        ThreatFactors(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize("initial", [8.0, 20.0, 300.0])
def test_gradient2_finds_what_an_upstream_bears(initial: float) -> None:
    upstream = Upstream(seed=3)
    gradient = Gradient2(initial=initial)
    gradient.step(0.0, 0.05, 1.0)
    flying = 0
    limits = []

    def step(tick: Tick) -> None:
        nonlocal flying
        flying = tick.in_flight
        limits.append(gradient.step(tick.at, tick.latency, tick.most_in_flight))

    def admit(now: float, tier: int, rng: random.Random) -> bool:
        return upstream._in_flight(now) < gradient.limit

    upstream.run([(10, 0.5), (40, 3.0)], [1.0], admit, step)
    settled = limits[250:]
    assert upstream.workers <= min(settled)
    assert max(settled) <= 10 * upstream.workers
    assert upstream.goodput(25, 50) >= 0.97
    assert flying <= max(settled) + 1


def test_gradient2_learns_nothing_while_the_limit_holds_nothing_back() -> None:
    gradient = Gradient2(initial=50.0)
    for number in range(100):
        gradient.step(100.0 + number, 0.05 + number / 100, 10.0)
    assert gradient.limit == 50.0


@given(st.lists(st.tuples(st.floats(-5, 50), numbers, numbers), max_size=60))
def test_any_input_keeps_the_limit_in_range(rows: list[tuple[float, float, float]]) -> None:
    gradient = Gradient2(initial=20.0, smallest=4.0, largest=100.0)
    now = 0.0
    for delay, latency, in_flight in rows:
        now += delay
        assert 4.0 <= gradient.step(now, latency, in_flight) <= 100.0
        assert math.isfinite(gradient.long_latency)


@pytest.mark.parametrize(
    "change", [{"initial": 1.0}, {"largest": 5.0}, {"smallest": 0.5}, {"tolerance": 0.5}, {"smoothing": 2}]
)
def test_gradients_that_make_no_sense_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(SeawallError):
        Gradient2(**change)
