"""Many processes over one count: how much is admitted, and that no second admits more than it may."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ratelimit_world import World, busiest_second

from seawall.systems.ratelimit.keys import LimitContext
from seawall.systems.ratelimit.leases import most_tokens
from seawall.systems.ratelimit.model import Counting, RateLimitSnapshot, RuleSnapshot, WindowSnapshot

PROCESSES = 8
ALICE = LimitContext(user="alice")


def snapshot(counts: Counting, limit: float, burst: float, processes: int) -> RateLimitSnapshot:
    window = WindowSnapshot(name="w", limit=limit, window=1.0, burst=burst)
    rule = RuleSnapshot(id="r", key=("user",), windows=(window,), counts=counts)
    return RateLimitSnapshot(version=1, rules=(rule,), share=1.0 / processes)


def most_in_a_second(counts: Counting, limit: float, burst: float, processes: int) -> float:
    window = WindowSnapshot(name="w", limit=limit, window=1.0, burst=burst)
    leases = processes * most_tokens((window,), (limit,), 1.0 / processes) if counts is Counting.LEASED else 0.0
    return limit + burst + leases


@pytest.mark.parametrize("counts", [Counting.STRICT, Counting.LEASED], ids=str)
@pytest.mark.parametrize(
    ("load", "weights", "least"),
    [
        (0.9, [1.0] * 8, 0.98),
        (0.9, [8.0] + [1.0] * 7, 0.98),
        (3.0, [1.0] * 8, 0.0),
        (3.0, [8.0] + [1.0] * 7, 0.0),
        (10.0, [1.0] * 8, 0.0),
    ],
    ids=["0.9-even", "0.9-skewed", "3-even", "3-skewed", "10-even"],
)
def test_the_limit_is_kept_and_used(counts: Counting, load: float, weights: list[float], least: float) -> None:
    limit, burst, seconds = 1000.0, 100.0, 5.0
    world = World(PROCESSES, snapshot(counts, limit, burst, PROCESSES))
    rates = [load * limit * weight / sum(weights) for weight in weights]
    tally = world.poisson(random.Random(7), rates, seconds, ALICE)
    assert tally.share >= least
    assert busiest_second(tally.admitted) <= most_in_a_second(counts, limit, burst, PROCESSES) * 1.01
    if load > 1.0:
        assert len(tally.admitted) >= 0.97 * limit * seconds


def test_leases_save_asking() -> None:
    tallies = {}
    for counts in (Counting.STRICT, Counting.LEASED):
        world = World(4, snapshot(counts, 2000.0, 2000.0, 4))
        tallies[counts] = world.poisson(random.Random(7), [450.0] * 4, 4.0, ALICE)
    assert tallies[Counting.STRICT].asked == tallies[Counting.STRICT].offered
    assert tallies[Counting.LEASED].asked < 0.05 * tallies[Counting.LEASED].offered
    assert tallies[Counting.LEASED].share >= 0.999


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    counts=st.sampled_from([Counting.STRICT, Counting.LEASED]),
    processes=st.integers(1, 6),
    limit=st.sampled_from([20.0, 200.0, 500.0]),
    burst=st.sampled_from([1.0, 10.0, 100.0]),
    load=st.sampled_from([0.5, 1.0, 2.0, 5.0]),
    skew=st.sampled_from([1.0, 8.0]),
    delay=st.sampled_from([0.0, 0.0002, 0.002]),
)
def test_no_second_admits_more_than_it_may(
    seed: int, counts: Counting, processes: int, limit: float, burst: float, load: float, skew: float, delay: float
) -> None:
    world = World(processes, snapshot(counts, limit, burst, processes), delay=delay)
    weights = [skew] + [1.0] * (processes - 1)
    rates = [load * limit * weight / sum(weights) for weight in weights]
    tally = world.poisson(random.Random(seed), rates, 3.0, ALICE)
    # An admission is told after its way back, so that a second of them spans a little more of the counts' time.
    most = most_in_a_second(counts, limit, burst, processes) + limit * delay
    assert busiest_second(tally.admitted) <= most * 1.01 + 1.0
