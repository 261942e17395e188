"""Snapshots in: what stays, what goes, and what a report says about it."""

import random

import pytest
from balancing_pools import Hand, Rig, member, members, one_pool

from seawall.core.errors import ConfigurationError
from seawall.systems.balancing.engine import BalancingEngine
from seawall.systems.balancing.model import BalancingSnapshot, InstanceState, Outcome, RouteSnapshot, StrategyName


def serve(rig, instance, seconds=0.01, outcome=Outcome.SUCCESS, status=200):
    rig.engine.start(instance)
    rig.engine.finish(instance, seconds, outcome, status)


def test_an_instance_keeps_its_counters_while_id_and_url_stay():
    rig = Rig(members(2))
    before = rig.instance("i0")
    serve(rig, before)
    rig.apply([member("i0", weight=3.0, state=InstanceState.UNHEALTHY), member("i1")])
    after = rig.instance("i0")
    assert after is before
    assert after.weight == 3.0
    assert after.counts[0] == 1


def test_a_changed_url_is_a_new_instance_and_the_old_one_is_handed_back():
    rig = Rig(members(1))
    before = rig.instance("i0")
    removed = []
    rig.engine.on_removed = removed.append
    rig.apply([member("i0", url="http://elsewhere:80")])
    assert removed == [before]
    assert rig.instance("i0") is not before


def test_a_changed_url_does_not_set_the_reported_counts_back():
    rig = Rig(members(1))
    old = rig.instance("i0")
    serve(rig, old)
    rig.engine.start(old)
    rig.apply([member("i0", url="http://elsewhere:80")])
    serve(rig, rig.instance("i0"))
    first = rig.engine.report(full=False).instances["p/i0"]
    assert (first.active, first.counts[0]) == (1, 2)
    rig.engine.finish(old, 0.01, Outcome.SUCCESS, 200)
    second = rig.engine.report(full=False).instances["p/i0"]
    assert (second.active, second.counts[0]) == (0, 3)


def test_one_that_leaves_finishes_and_is_reported_to_the_end():
    rig = Rig(members(2))
    leaver = rig.instance("i0")
    rig.engine.start(leaver)
    rig.apply([member("i1")])
    assert rig.engine.report(full=False).instances["p/i0"].active == 1
    rig.engine.finish(leaver, 0.2, Outcome.SUCCESS, 200)
    last = rig.engine.report(full=False).instances["p/i0"]
    assert (last.active, last.counts[0]) == (0, 1)
    assert rig.engine.report(full=False) is None
    assert "p/i0" not in rig.engine.report(full=True).instances


def test_one_that_comes_back_goes_on_counting():
    rig = Rig(members(2))
    serve(rig, rig.instance("i0"))
    rig.apply([member("i1")])
    rig.apply(members(2))
    serve(rig, rig.instance("i0"))
    assert rig.engine.report(full=True).instances["p/i0"].counts[0] == 2


def test_one_that_comes_back_is_reported_as_such_once():
    rig = Rig(members(2))
    serve(rig, rig.instance("i0"))
    rig.apply([member("i1")])
    left = rig.engine.report(full=False)
    assert (left.revived, left.full) == ((), False)
    rig.apply(members(2))
    back = rig.engine.report(full=False)
    assert (back.revived, back.instances["p/i0"].counts[0]) == (("p/i0",), 1)
    full = rig.engine.report(full=True)
    assert (full.revived, full.full) == ((), True)


def test_a_pool_that_comes_back_goes_on_counting_and_says_so_while_it_is_away():
    rig = Rig(members(1))
    pool = rig.pool
    rig.engine.count_request(pool)
    rig.engine.apply(BalancingSnapshot(version=2))
    assert rig.engine.pools == {}
    assert rig.engine.report(full=False).pools["p"].requests == 1
    rig.engine.apply(one_pool(members(1), version=3))
    assert rig.engine.pools["p"] is pool
    rig.engine.count_request(pool)
    assert rig.engine.report(full=False).pools["p"].requests == 2
    assert rig.engine.pick(pool, None) is pool.instances[0]


def test_an_older_snapshot_is_ignored():
    rig = Rig(members(2))
    rig.engine.apply(one_pool(members(3), version=7))
    rig.engine.apply(one_pool(members(1), version=6))
    assert len(rig.pool.instances) == 3
    assert rig.engine.version == 7


def test_a_route_to_an_unknown_pool_leaves_the_snapshot_in_force():
    rig = Rig(members(2))
    bad = one_pool(members(1), version=9, routes=(RouteSnapshot(name="r", pool="nowhere"),))
    with pytest.raises(ConfigurationError, match="nowhere"):
        rig.engine.apply(bad)
    assert len(rig.pool.instances) == 2
    assert rig.engine.version == 1


def test_a_location_database_that_cannot_be_opened_leaves_the_snapshot_in_force():
    def refuse(path):
        raise ConfigurationError(f"cannot open {path}")

    rig = Rig(members(2), geo=refuse)
    with pytest.raises(ConfigurationError, match=r"missing\.mmdb"):
        rig.engine.apply(one_pool(members(1), version=9, geoip_database="missing.mmdb"))
    assert len(rig.pool.instances) == 2


def test_the_same_snapshot_again_changes_nothing():
    rig = Rig(members(3))
    candidates = rig.pool.candidates
    rig.apply(members(3))
    assert rig.pool.candidates is candidates


def test_a_changed_strategy_takes_effect_and_counters_stay():
    rig = Rig(members(2))
    rig.engine.start(rig.instance("i0"))
    rig.apply(members(2), strategy=StrategyName.LEAST_CONNECTIONS)
    assert rig.picks(4) == ["i1"] * 4


def test_finish_counts_by_outcome_and_status():
    rig = Rig(members(1))
    instance = rig.instance("i0")
    serve(rig, instance, 0.004, Outcome.SUCCESS, 200)
    serve(rig, instance, 0.005, Outcome.SUCCESS, 404)
    serve(rig, instance, 0.100, Outcome.SERVER_ERROR, 502)
    serve(rig, instance, 31.0, Outcome.TIMEOUT)
    serve(rig, instance, 1.0, Outcome.CANCELLED)
    row = rig.engine.report(full=False).instances["p/i0"]
    by_outcome = dict(zip(Outcome, row.counts[: len(Outcome)], strict=True))
    assert by_outcome == {
        Outcome.SUCCESS: 2,
        Outcome.SERVER_ERROR: 1,
        Outcome.CONNECT_FAILED: 0,
        Outcome.RESET: 0,
        Outcome.TIMEOUT: 1,
        Outcome.CANCELLED: 1,
    }
    assert row.counts[len(Outcome)] == 1
    assert row.consecutive_errors == 2
    assert row.buckets == (0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1)
    assert row.duration_us == 31_109_000


def test_a_success_ends_the_run_of_errors():
    rig = Rig(members(1))
    instance = rig.instance("i0")
    for _ in range(3):
        serve(rig, instance, outcome=Outcome.RESET)
    assert instance.handicap == 8.0
    serve(rig, instance)
    assert (instance.consecutive_errors, instance.handicap) == (0, 1.0)


def test_the_estimate_takes_a_peak_at_once_and_forgets_it_slowly():
    rig = Rig(members(1))
    instance = rig.instance("i0")
    serve(rig, instance, 0.010)
    serve(rig, instance, 1.0)
    assert instance.ewma == 1.0
    rig.clock.now += 10.0
    serve(rig, instance, 0.010)
    assert instance.ewma == pytest.approx(0.010 + 0.990 * 0.36788, rel=1e-4)


def test_a_failure_never_makes_an_instance_look_faster():
    rig = Rig(members(1))
    instance = rig.instance("i0")
    serve(rig, instance, 0.050)
    rig.clock.now += 5.0
    serve(rig, instance, 0.0001, Outcome.SERVER_ERROR, 500)
    assert instance.ewma == 0.050
    serve(rig, instance, 2.0, Outcome.TIMEOUT)
    assert instance.ewma == 2.0


def test_reports_hold_only_what_changed():
    rig = Rig(members(3))
    assert rig.engine.report(full=False) is None
    serve(rig, rig.instance("i1"))
    assert list(rig.engine.report(full=False).instances) == ["p/i1"]
    assert rig.engine.report(full=False) is None
    assert len(rig.engine.report(full=True).instances) == 3


def test_responses_are_counted_by_class_and_nonsense_is_not():
    rig = Rig(members(1))
    for status in (101, 200, 204, 301, 404, 503, 599, 0, 600, 99):
        rig.engine.count_response(rig.pool, status)
    assert rig.engine.report(full=False).pools["p"].responses == (1, 2, 1, 1, 2)


def test_reported_load_is_taken_and_what_cannot_be_read_is_not():
    rig = Rig(members(1))
    instance = rig.instance("i0")
    rig.engine.on_load_report(instance, b"TEXT cpu_utilization=0.25")
    rig.engine.on_load_report(instance, b"TEXT cpu_utilization=-1")
    assert rig.engine.report(full=False).instances["p/i0"].load == 0.25


def test_what_leaves_is_remembered_within_bounds(monkeypatch):
    monkeypatch.setattr("seawall.systems.balancing.engine._MAX_RETIRED", 3)
    engine = BalancingEngine(Hand(), random.Random(1))
    engine.apply(one_pool(members(8), version=1))
    engine.apply(one_pool([], version=2))
    assert len(engine._retired) == 3
