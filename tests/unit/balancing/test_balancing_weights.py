"""Slow start and reported load."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.systems.balancing.slowstart import FLOOR, LoadFactors, ramp


def test_a_ramp_rises_from_a_tenth_to_all():
    assert [round(ramp(second, 10.0), 2) for second in (0.0, 0.5, 1.0, 5.0, 9.0, 10.0, 99.0)] == [
        0.1,
        0.1,
        0.1,
        0.5,
        0.9,
        1.0,
        1.0,
    ]


@given(st.floats(0.0, 100.0), st.floats(0.0, 100.0), st.floats(0.1, 100.0), st.floats(0.1, 10.0))
def test_a_ramp_never_falls_and_stays_within_its_bounds(one, other, duration, aggression):
    early, late = sorted((one, other))
    assert FLOOR <= ramp(early, duration, aggression) <= ramp(late, duration, aggression) <= 1.0


def test_factors_settle_where_loads_are_equal():
    capacities = {"small": 1.0, "middle": 2.0, "large": 5.0}
    factors = LoadFactors()
    loads: dict[str, float] = {}
    for _ in range(60):
        total = sum(factors.factor(name) for name in capacities)
        loads = {name: 4.0 * factors.factor(name) / total / capacity for name, capacity in capacities.items()}
        factors.step(loads.items())
    assert max(loads.values()) / min(loads.values()) < 1.05


def test_a_load_that_does_not_follow_the_weight_is_bounded():
    factors = LoadFactors()
    for _ in range(200):
        factors.step([("busy", 2.0), ("idle", 0.1)])
    assert factors.factor("busy") == pytest.approx(0.1)
    assert factors.factor("idle") == pytest.approx(10.0)


def test_who_stops_reporting_drifts_back():
    factors = LoadFactors()
    for _ in range(20):
        factors.step([("a", 0.9), ("b", 0.3)])
    assert factors.factor("a") < 0.7
    for _ in range(40):
        factors.step([])
    assert factors.factor("a") == 1.0


def test_one_reporter_has_nothing_to_be_compared_with():
    factors = LoadFactors()
    assert not factors.step([("a", 0.9), ("b", -1.0)])
    assert factors.factor("a") == 1.0


def test_small_differences_change_nothing():
    factors = LoadFactors()
    assert not factors.step([("a", 0.500), ("b", 0.505)])
    assert not factors.step([("a", 0.001), ("b", 0.040)])


def test_a_forgotten_instance_has_no_factor():
    factors = LoadFactors()
    factors.step([("a", 0.9), ("b", 0.3)])
    factors.forget("a")
    assert factors.factor("a") == 1.0
