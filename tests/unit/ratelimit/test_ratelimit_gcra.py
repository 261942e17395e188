import math

import pytest

from seawall.systems.ratelimit.gcra import IDLE, Gcra
from seawall.systems.ratelimit.verdict import CostError


def spend(tat: float, now: float, interval: float, burst: float, requests: int) -> tuple[int, float]:
    passed = 0
    for _ in range(requests):
        allowed, tat, *_ = Gcra.check(tat, now, interval, burst)
        passed += allowed
    return passed, tat


@pytest.mark.parametrize("start", [0.0, 1000.0, 1e7, 1_700_000_000.0])
@pytest.mark.parametrize(("limit", "window"), [(1, 1), (7, 3), (100, 60), (3, 86_400), (999, 60)])
def test_an_idle_key_has_its_whole_burst_to_the_last_request(start: float, limit: float, window: float) -> None:
    interval = window / limit
    passed, tat = spend(IDLE, start, interval, limit, limit + 5)
    assert passed == limit
    assert spend(tat, start + window, interval, limit, limit + 5)[0] == limit


def test_the_numbers_of_a_decision() -> None:
    allowed, tat, remaining, reset_after, retry_after = Gcra.check(IDLE, 100.0, 0.5, 4.0, 3.0)
    assert (allowed, tat, remaining, reset_after, retry_after) == (True, 101.5, 1.0, 1.5, 0.0)
    assert Gcra.check(tat, 100.25, 0.5, 4.0, 3.0) == (False, 101.5, 1.5, 1.25, 0.75)


def test_a_cost_of_nought_looks_and_takes_nothing() -> None:
    assert Gcra.check(IDLE, 100.0, 0.5, 4.0, 0.0) == (True, 100.0, 4.0, 0.0, 0.0)
    full = Gcra.check(IDLE, 100.0, 0.5, 4.0, 4.0)[1]
    assert Gcra.check(full, 100.0, 0.5, 4.0, 0.0) == (True, full, 0.0, 2.0, 0.0)


def test_a_cost_above_the_burst_never_passes_and_says_so() -> None:
    allowed, tat, remaining, _, retry_after = Gcra.check(IDLE, 100.0, 0.5, 4.0, 5.0)
    assert (allowed, remaining, retry_after) == (False, 4.0, math.inf)
    assert Gcra.check(tat, 100.0, 0.5, 4.0, 4.0)[0]


@pytest.mark.parametrize("cost", [-1.0, -1e-9, math.nan, math.inf, -math.inf])
def test_costs_that_are_no_costs_are_refused(cost: float) -> None:
    for call in (
        lambda: Gcra.check(IDLE, 0.0, 1.0, 1.0, cost),
        lambda: Gcra.refund(5.0, 0.0, 1.0, cost),
        lambda: Gcra.charge(5.0, 0.0, 1.0, 1.0, cost),
    ):
        with pytest.raises(CostError, match="cannot cost"):
            call()


@pytest.mark.parametrize("now", [math.nan, math.inf, -math.inf])
def test_a_clock_that_went_mad_leaves_the_key_usable(now: float) -> None:
    _, tat, *_ = Gcra.check(1003.0, now, 1.0, 5.0)
    assert Gcra.check(tat, 1010.0, 1.0, 5.0)[4] <= 1.0
    assert spend(tat, 1020.0, 1.0, 5.0, 9)[0] <= 5


def test_the_clock_goes_back_a_day() -> None:
    _, used = spend(IDLE, 100_000.0, 1.0, 10.0, 3)
    allowed, tat, _, _, retry_after = Gcra.check(used, 13_600.0, 1.0, 10.0)
    assert (allowed, retry_after) == (False, 1.0)
    assert Gcra.check(tat, 13_601.0, 1.0, 10.0)[0]
    assert Gcra.check(tat, 13_610.0, 1.0, 10.0)[2] == 9.0


def test_the_clock_goes_forward_a_day() -> None:
    _, tat = spend(IDLE, 100_000.0, 1.0, 10.0, 10)
    assert spend(tat, 186_400.0, 1.0, 10.0, 100)[0] == 10


def test_halving_rate_and_burst_leaves_a_half_full_bucket_half_full() -> None:
    _, tat = spend(IDLE, 100.0, 0.1, 100.0, 50)
    assert Gcra.check(tat, 100.0, 0.2, 50.0, 0.0)[2] == pytest.approx(25.0)
    assert Gcra.check(tat, 100.0, 0.1, 100.0, 0.0)[2] == pytest.approx(50.0)


def test_a_smaller_limit_never_waits_for_more_than_the_request_itself() -> None:
    _, tat = spend(IDLE, 100.0, 36.0, 100.0, 100)
    assert tat == pytest.approx(3700.0)
    assert Gcra.check(tat, 100.0, 0.1, 10.0)[4] == pytest.approx(0.1)


def test_rescale_keeps_the_count_also_when_it_comes_late() -> None:
    _, tat = spend(IDLE, 100.0, 1.0, 10.0, 8)
    rescaled = Gcra.rescale(tat, 102.0, 1.0, 0.5)
    assert Gcra.check(rescaled, 102.0, 0.5, 20.0, 0.0)[2] == pytest.approx(14.0)
    assert Gcra.check(rescaled, 104.0, 0.5, 20.0, 0.0)[2] == pytest.approx(18.0)
    assert Gcra.rescale(90.0, 102.0, 1.0, 0.5) == 90.0


def test_a_refund_never_saves_up() -> None:
    _, tat = spend(IDLE, 100.0, 1.0, 5.0, 2)
    tat = Gcra.refund(tat, 100.0, 1.0, 50.0)
    assert spend(tat, 100.0, 1.0, 5.0, 9)[0] == 5
    assert Gcra.refund(90.0, 100.0, 1.0, 1.0) == 90.0


def test_a_charge_takes_unasked_up_to_an_empty_bucket() -> None:
    tat = Gcra.charge(IDLE, 100.0, 1.0, 5.0, 3.0)
    assert spend(tat, 100.0, 1.0, 5.0, 9)[0] == 2
    assert Gcra.charge(tat, 100.0, 1.0, 5.0, 1000.0) == 105.0
