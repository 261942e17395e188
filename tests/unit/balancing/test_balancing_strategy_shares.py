"""The strategies that go by share: round-robin, weighted, random, least-connections."""

import random
from collections import Counter

import pytest
from balancing_pools import Rig, member, members

from seawall.systems.balancing.model import InstanceState, StrategyName
from seawall.systems.balancing.strategies.round_robin import integer_weights, smooth_schedule
from seawall.systems.balancing.strategies.weighted import alias_table


def weighted_members(*weights):
    return [member(f"i{number}", weight=weight) for number, weight in enumerate(weights)]


class TestRoundRobin:
    def test_equal_weights_take_turns(self):
        picks = Rig(members(3)).picks(9)
        assert sorted(picks[:3]) == ["i0", "i1", "i2"]
        assert picks[:3] == picks[3:6] == picks[6:]

    def test_shares_are_exact_over_a_cycle_and_interleaved(self):
        picks = Rig(weighted_members(5.0, 1.0, 1.0)).picks(70)
        assert Counter(picks) == {"i0": 50, "i1": 10, "i2": 10}
        assert "i1i1" not in "".join(picks)
        assert "i0" * 4 not in "".join(picks)

    def test_fractions_are_exact_when_they_are_simple(self):
        assert integer_weights([0.5, 1.0, 0.25], 256) == [2, 4, 1]
        assert integer_weights([0.1, 1.0], 64) == [1, 10]

    def test_awkward_weights_are_rounded_and_nobody_is_left_out(self):
        turns = integer_weights([0.000001, 1.0, 3.14159], 96)
        assert min(turns) == 1
        assert sum(turns) <= 97
        assert turns[2] / turns[1] == pytest.approx(3.14159, rel=0.05)

    def test_a_thousand_instances_stay_bounded(self):
        rng = random.Random(3)
        turns = integer_weights([rng.uniform(0.1, 3.0) for _ in range(1000)], 8192)
        assert sum(turns) <= 8192 + 1000
        assert Counter(smooth_schedule(turns)) == Counter(dict(enumerate(turns)))

    def test_a_change_elsewhere_does_not_start_over(self):
        rig = Rig(members(4))
        seen = Counter()
        for version in range(40):
            seen.update(rig.picks(1))
            rig.apply([*members(4), member("x", state=InstanceState.DRAINING, weight=1.0 + version)])
        assert set(seen.values()) == {10}

    def test_workers_do_not_march_in_step(self):
        assert len({Rig(members(8), seed=seed).pick().id for seed in range(20)}) > 3


class TestWeighted:
    def test_the_alias_table_holds_exactly_the_weights(self):
        weights = [1.0, 2.0, 3.5, 0.5, 10.0]
        shares = [0.0] * len(weights)
        for index, (threshold, alias) in enumerate(alias_table(weights)):
            shares[index] += threshold / len(weights)
            shares[alias] += (1.0 - threshold) / len(weights)
        assert shares == pytest.approx([weight / sum(weights) for weight in weights])

    def test_shares_follow_weights(self):
        rig = Rig(weighted_members(1.0, 3.0), strategy=StrategyName.WEIGHTED)
        share = Counter(rig.picks(20_000))["i1"] / 20_000
        assert share == pytest.approx(0.75, abs=0.015)

    def test_retries_follow_weights_too(self):
        rig = Rig(weighted_members(1.0, 3.0, 5.0), strategy=StrategyName.WEIGHTED)
        tried = [rig.instance("i2")]
        share = sum(rig.pick(tried=tried).id == "i1" for _ in range(8000)) / 8000
        assert share == pytest.approx(0.75, abs=0.02)


def test_random_is_even_and_blind_to_weight():
    rig = Rig(weighted_members(1.0, 100.0), strategy=StrategyName.RANDOM)
    assert Counter(rig.picks(20_000))["i0"] / 20_000 == pytest.approx(0.5, abs=0.015)


class TestLeastConnections:
    def test_a_small_pool_is_compared_as_a_whole(self):
        rig = Rig(weighted_members(*[1.0] * 8), strategy=StrategyName.LEAST_CONNECTIONS)
        for _ in range(40):
            rig.engine.start(rig.pick())
        assert [instance.active for instance in rig.pool.instances] == [5] * 8

    def test_load_follows_weight(self):
        rig = Rig(weighted_members(1.0, 2.0, 5.0), strategy=StrategyName.LEAST_CONNECTIONS)
        for _ in range(80):
            rig.engine.start(rig.pick())
        assert [instance.active for instance in rig.pool.instances] == [10, 20, 50]

    def test_ties_are_shared(self):
        picks = Counter(Rig(members(5), strategy=StrategyName.LEAST_CONNECTIONS).picks(50))
        assert set(picks.values()) == {10}

    def test_a_large_pool_takes_the_better_of_two(self):
        rig = Rig(members(100), strategy=StrategyName.LEAST_CONNECTIONS)
        for _ in range(10_000):
            rig.engine.start(rig.pick())
        # One random choice would leave the fullest at about 130; the better of two keeps it near the mean of 100.
        assert max(instance.active for instance in rig.pool.instances) <= 106

    def test_two_choices_are_never_the_same(self):
        rig = Rig(members(9), strategy=StrategyName.LEAST_CONNECTIONS)
        for _ in range(5):
            rig.engine.start(rig.instance("i4"))
        assert "i4" not in rig.picks(500)
