"""`latency-based`, `adaptive` and its pool of probe answers."""

import math
import random
from collections import Counter

import pytest
from balancing_pools import Hand, Rig, member, members

from seawall.systems.balancing.model import Outcome, StrategyName
from seawall.systems.balancing.probes import ProbePool

MILLIS = 0.001


def measure(rig, latencies):
    for name, seconds in latencies.items():
        rig.engine.start(rig.instance(name))
        rig.engine.finish(rig.instance(name), seconds, Outcome.SUCCESS, 200)


class TestLatencyBased:
    def rig(self, latencies, **weights):
        rig = Rig(
            [member(name, weight=weights.get(name, 1.0)) for name in latencies], strategy=StrategyName.LATENCY_BASED
        )
        measure(rig, latencies)
        return rig

    def test_the_fastest_is_preferred_until_it_is_as_busy_as_it_is_fast(self):
        rig = self.rig({"a": 0.010, "b": 0.030})
        for _ in range(4):
            rig.engine.start(rig.pick())
        assert (rig.instance("a").active, rig.instance("b").active) == (3, 1)

    def test_weight_counts(self):
        rig = self.rig({"a": 0.010, "b": 0.010}, b=4.0)
        for _ in range(10):
            rig.engine.start(rig.pick())
        assert (rig.instance("a").active, rig.instance("b").active) == (2, 8)

    def test_a_newcomer_gets_one_request_until_it_has_answered(self):
        rig = self.rig({"a": 0.010, "b": 0.010})
        rig.apply([member("a"), member("b"), member("new")])
        first = rig.pick()
        assert first.id == "new"
        rig.engine.start(first)
        assert "new" not in rig.picks(50)
        rig.engine.finish(first, 0.001, Outcome.SUCCESS, 200)
        assert rig.pick().id == "new"

    def test_a_cold_pool_spreads(self):
        rig = Rig(members(6), strategy=StrategyName.LATENCY_BASED)
        for _ in range(12):
            rig.engine.start(rig.pick())
        assert {instance.active for instance in rig.pool.instances} == {2}

    def test_one_that_was_slow_is_tried_again_once_its_estimate_has_faded(self):
        rig = self.rig({"a": 0.010, "slow": 2.0})
        for _ in range(300):
            rig.clock.now += 0.1
            assert rig.pick().id == "a"
            measure(rig, {"a": 0.010})
        for _ in range(400):
            rig.clock.now += 0.1
            if rig.pick().id == "slow":
                break
            measure(rig, {"a": 0.010})
        else:
            pytest.fail("never tried again within 70 s")

    def test_an_estimate_never_fades_to_unmeasured(self):
        rig = self.rig({"a": 0.010, "b": 0.010})
        rig.clock.now += 1e6
        rig.pick()
        assert all(instance.ewma > 0.0 for instance in rig.pool.instances)

    def test_in_a_large_pool_several_are_compared(self):
        rig = self.rig({f"i{number}": 0.010 + number * MILLIS for number in range(64)})
        mean = sum(int(name[1:]) for name in rig.picks(2000)) / 2000
        # The best of eight at random of 0..63 lies near 64 / 9.
        assert mean < 14


class TestAdaptive:
    def rig(self, count=4, **fields):
        return Rig(members(count), strategy=StrategyName.ADAPTIVE, probe_path="/load", **fields)

    def probe(self, rig, **answers):
        for name, (in_flight, latency) in answers.items():
            rig.engine.on_probe(rig.instance(name), in_flight, latency)

    def test_the_lowest_latency_among_the_cold_is_chosen(self):
        rig = self.rig()
        self.probe(rig, i0=(2, 0.030), i1=(2, 0.010), i2=(2, 0.020), i3=(9, 0.001))
        assert rig.pick().id == "i1"

    def test_when_all_are_hot_the_fewest_in_flight_is_chosen(self):
        rig = self.rig()
        for _ in range(60):
            self.probe(rig, i0=(0, 0.010))
        self.probe(rig, i0=(5, 0.001), i1=(3, 0.090), i2=(4, 0.001))
        assert rig.pick().id == "i1"

    def test_using_an_answer_counts_as_one_more_in_flight(self):
        rig = self.rig(2)
        self.probe(rig, i0=(1, 0.010), i1=(1, 0.020))
        assert rig.picks(4) == ["i0", "i1", "i0", "i1"]

    def test_an_answer_is_used_a_few_times_only(self):
        clock = Hand()
        rig = self.rig(40)
        pool = ProbePool(clock, random.Random(1))
        pool.prepare(rig.pool.candidates, 3.0)
        for instance in rig.pool.candidates[:10]:
            pool.add(instance, 0, 0.010)
        picks = []
        while (chosen := pool.choose(())) is not None:
            picks.append(chosen.id)
        # (1 + delta) / ((1 - 16/40) * 3 - 1) = 2.5, rounded up; the last answer alone is not trusted.
        assert sorted(Counter(picks).values()) == [2, *[3] * 9]

    def test_answers_age_out_and_latency_takes_over(self):
        rig = self.rig(3)
        measure(rig, {"i0": 0.010, "i1": 0.050, "i2": 0.050})
        self.probe(rig, i0=(0, 0.900), i1=(0, 0.001), i2=(0, 0.002))
        assert rig.pick().id == "i1"
        rig.clock.now += 1.1
        assert rig.pick().id == "i0"

    def test_without_a_probe_path_nobody_is_probed_and_latency_decides(self):
        rig = Rig(members(3), strategy=StrategyName.ADAPTIVE)
        assert rig.engine.probe_targets(rig.pool) == []
        self.probe(rig, i1=(0, 0.001), i2=(0, 0.001))
        measure(rig, {"i0": 0.010, "i1": 0.050, "i2": 0.050})
        assert rig.pick().id == "i0"

    def test_other_strategies_do_not_probe(self):
        rig = Rig(members(3), strategy=StrategyName.LATENCY_BASED, probe_path="/load")
        assert rig.engine.probe_targets(rig.pool) == []
        self.probe(rig, i0=(0, 0.001))

    @pytest.mark.parametrize(("rate", "count", "mean"), [(3.0, 10, 3.0), (0.5, 10, 0.5), (3.0, 2, 2.0), (2.5, 5, 2.5)])
    def test_targets_come_at_the_rate_without_repeats_and_evenly(self, rate, count, mean):
        rig = self.rig(count, probe_rate=rate)
        batches = [rig.engine.probe_targets(rig.pool) for _ in range(4000)]
        assert sum(map(len, batches)) / 4000 == pytest.approx(mean, abs=0.001)
        assert all(len(set(batch)) == len(batch) for batch in batches)
        seen = Counter(target.id for batch in batches for target in batch)
        assert min(seen.values()) > 0.85 * 4000 * mean / count

    def test_nobody_usable_nobody_probed(self):
        rig = self.rig(0)
        assert rig.engine.probe_targets(rig.pool) == []
        assert rig.pick() is None

    @pytest.mark.parametrize(("in_flight", "latency"), [(-1, 0.1), (1, -0.1), (1, math.nan), (1, math.inf)])
    def test_nonsense_answers_are_dropped(self, in_flight, latency):
        rig = self.rig(2)
        measure(rig, {"i0": 0.010, "i1": 0.020})
        self.probe(rig, i0=(in_flight, latency), i1=(0, 0.001))
        assert rig.pick().id == "i0"

    def test_an_answer_of_one_that_left_is_not_used(self):
        rig = self.rig(3)
        gone = rig.instance("i0")
        self.probe(rig, i0=(0, 0.001), i1=(0, 0.010), i2=(0, 0.020))
        rig.apply(members(3)[1:])
        assert rig.pick().id == "i1"
        rig.engine.on_probe(gone, 0, 0.0001)
        assert "i0" not in rig.picks(20)

    def test_one_that_fails_at_once_does_not_look_idle(self):
        rig = self.rig(2)
        for _ in range(6):
            rig.engine.start(rig.instance("i0"))
            rig.engine.finish(rig.instance("i0"), 0.0005, Outcome.SERVER_ERROR, 500)
        self.probe(rig, i0=(0, 0.0005), i1=(3, 0.020))
        assert rig.pick().id == "i1"

    def test_the_pool_of_answers_is_bounded_and_gives_up_worst_and_oldest(self):
        rig = self.rig(40)
        for number in range(40):
            self.probe(rig, **{f"i{number}": (1, 0.010 + number * MILLIS)})
        answers = rig.pool.probes._answers
        assert [answer.instance.id for answer in answers] == [f"i{number}" for number in range(24, 40)]
        rig.engine.probe_targets(rig.pool)
        rig.engine.probe_targets(rig.pool)
        left = [answer.instance.id for answer in rig.pool.probes._answers]
        assert left == [f"i{number}" for number in range(25, 39)]
