"""Whatever workers report and operators set: totals never fall or count twice, factors stay in bounds, rules fit."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.systems.ratelimit.fleet import Fleet
from seawall.systems.ratelimit.history import POINTS, History
from seawall.systems.ratelimit.model import Offence, PoolLoad, RateLimitReport, RuleReport
from seawall.systems.ratelimit.penalties import Penalties
from seawall.systems.ratelimit.plan import make_plan
from seawall.systems.ratelimit.pressure import Pressure, quantised
from seawall.systems.ratelimit.ruleset import RunTimeRule, merge, merge_what_fits
from seawall.systems.ratelimit.settings import RateLimitSettings
from seawall.testing.clock import FakeClock

SHED = make_plan(RateLimitSettings.model_validate({"shedding": {"enabled": True}}))
counts = st.integers(0, 10**6)
finite = st.floats(0, 1e6, allow_nan=False)
lives = st.tuples(st.sampled_from(["worker-0", "worker-1", "worker-2"]), st.integers(1, 3))


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("served"), lives, st.integers(0, 50)),
            st.tuples(st.just("repeated"), lives, st.just(0)),
            st.tuples(st.just("gone"), lives, st.just(0)),
        ),
        max_size=40,
    )
)
def test_totals_are_what_the_workers_served_however_often_it_is_told(steps):
    fleet, served, dead = Fleet(), {}, set()
    for step, (what, worker, number) in enumerate(steps):
        if worker in dead:
            continue  # a process that has ended never reports again
        if what == "gone":
            fleet.on_worker_gone(worker)
            dead.add(worker)
            continue
        served[worker] = served.get(worker, 0) + number
        row = RuleReport(served[worker], 2 * served[worker], 0, 0)
        report = RateLimitReport(rules={"base": row}, blocked=served[worker])
        for _ in range(2):
            fleet.on_report(worker, report, float(step), {"base"})
        total = fleet.report(["base"])
        assert total.rules["base"].allowed == total.blocked == sum(served.values())
        assert total.rules["base"].quota_exceeded == 2 * sum(served.values())


@settings(deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.floats(0, 10, allow_nan=False),
            st.dictionaries(
                st.sampled_from(["a", "b"]), st.tuples(st.integers(0, 10**6), counts, counts, finite), max_size=2
            ),
            st.one_of(finite, st.just(float("nan")), st.just(float("inf"))),
            st.lists(counts, min_size=6, max_size=6),
        ),
        max_size=30,
    )
)
def test_factors_and_admission_stay_within_their_bounds_whatever_is_reported(steps):
    fleet, pressure, clock = Fleet(), Pressure(SHED), FakeClock()
    floor = quantised(SHED.tolerances.floor)
    for passed, pools, lag, offered in steps:
        clock.advance(passed)
        loads = {
            name: PoolLoad(in_flight, ended, min(failed, ended), seconds)
            for name, (in_flight, ended, failed, seconds) in pools.items()
        }
        report = RateLimitReport(pools=loads, lag=lag, offered=tuple(offered))
        fleet.on_report(("worker-0", 1), report, clock.monotonic(), ())
        pressure.step(clock.monotonic(), fleet.look(clock.monotonic()))
        pressure.step(clock.monotonic(), None)
        assert len(pressure.admission) == 6
        assert all(0.0 <= share <= 1.0 for share in pressure.admission)
        assert all(floor <= factor <= 1.0 for factor in pressure.load.values())
        if pressure.load:
            assert pressure.load[""] == min(pressure.load.values())
            assert set(pressure.load) == {"", *pools}


@given(factor=st.floats(-1, 2, allow_nan=False))
def test_a_quantised_factor_is_near_and_of_few_values(factor):
    found = quantised(factor)
    assert found * 256 == int(found * 256)
    assert (found > 0) == (factor > 0)
    assert factor <= 0 or abs(found - factor) <= 1 / 256


ids = st.sampled_from(["a", "b", "c", "d"])
matches = st.sampled_from([{}, {"paths": ["/a"]}, {"paths": ["/a/b"]}, {"roles": ["nobody"]}, {"methods": ["GET"]}])
tables = st.builds(
    lambda name, match, mode, fallthrough, limit: {
        "id": name,
        "match": match,
        "mode": mode,
        "fallthrough": fallthrough,
        "windows": [{"limit": limit}],
    },
    ids,
    matches,
    st.sampled_from(["enforce", "shadow", "off"]),
    st.booleans(),
    st.sampled_from([5, -1]),
)
additions = st.lists(
    st.builds(lambda table, before: RunTimeRule(rule=table, before=before), tables, st.sampled_from(["", "a", "file"])),
    max_size=5,
    unique_by=lambda one: one.id,
)
FILE = RateLimitSettings.model_validate(
    {"rules": [{"id": "file", "match": {"paths": ["/a"]}}, {"id": "a", "match": {"methods": ["POST"]}}]}
)


@settings(deadline=None)
@given(added=additions)
def test_what_fits_is_in_force_what_does_not_is_named_and_the_file_always_stands(added):
    merged = merge_what_fits(FILE, added)
    found = [rule.id for rule in merged.settings.rules]
    assert len(found) == len(set(found))
    assert {"file", "a"} <= set(found)
    assert set(found) - {"file", "a"} == {one.id for one in added} - merged.left_out.keys() - {"a"}
    fitting = [one for one in added if one.id not in merged.left_out]
    assert merge(FILE, fitting) == merged.settings
    stored = msgspec.json.decode(msgspec.json.encode(fitting), type=list[RunTimeRule])
    assert merge(FILE, stored) == merged.settings
    make_plan(merged.settings, shared=True)


@given(
    steps=st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 400), st.integers(0, 500), st.floats(0, 200, allow_nan=False)),
        max_size=40,
    )
)
def test_a_penalty_is_that_of_the_ladder_and_ends_when_nothing_more_happens(steps):
    clock, told = FakeClock(), []
    penalties = Penalties(make_plan(RateLimitSettings()).ladder, clock, told.append)
    for key, count, error, passed in steps:
        penalties.take(Offence(key, "base", count, error), clock.monotonic())
        penalties.step(clock.monotonic())
        assert all(one.factor in {0.0, 0.5} for one in penalties.current.values())
        assert all(one.until >= clock.wall() for one in penalties.current.values())
        clock.advance(passed)
    if not any(count > error for _, count, error, _ in steps):
        assert told == []
    clock.advance(10_000.0)
    for _ in range(3):
        penalties.step(clock.monotonic())
    assert penalties.current == {}


@given(steps=st.lists(st.tuples(st.floats(0, 30, allow_nan=False), st.floats(0.1, 1), st.integers(0, 9)), max_size=200))
def test_the_history_adds_up_and_never_grows_beyond_an_hour(steps):
    history, now, allowed, closed = History(), 0.0, 0, 0
    for passed, factor, number in steps:
        now += passed
        allowed += number
        if history.step(now, now, factor, 1.0, factor):
            history.close({"allowed": allowed})
            closed = allowed
    points = history.points()
    assert len(points) <= POINTS
    assert sum(point.allowed for point in points) == closed
    assert all(0.1 <= point.load[0] <= point.load[1] + 1e-9 <= 1.0 + 2e-9 for point in points)
    assert [point.at for point in points] == sorted(point.at for point in points)
