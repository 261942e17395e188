"""The step: what workers report becomes factors, admission and penalties, and only what changed is told."""

import logging

import msgspec
import pytest
from ratelimit_sites import RULE, limit_report, offence

from seawall.core.clock import SystemClock
from seawall.state.memory import MemoryStore
from seawall.systems.ratelimit.composition import penalties_of, records_of, size_of
from seawall.systems.ratelimit.engine import RateLimitEngine
from seawall.systems.ratelimit.fleet import Fleet
from seawall.systems.ratelimit.history import POINTS, History
from seawall.systems.ratelimit.keys import LimitContext
from seawall.systems.ratelimit.model import Block, PenaltySnapshot, RateLimitReport, RateLimitSnapshot, RuleReport
from seawall.systems.ratelimit.penalties import MAX_PENALTIES, Penalties
from seawall.systems.ratelimit.plan import make_plan
from seawall.systems.ratelimit.pressure import Pressure, quantised
from seawall.systems.ratelimit.records import PenaltyRecord
from seawall.systems.ratelimit.settings import RateLimitSettings
from seawall.systems.ratelimit.toplist import TopList
from seawall.testing.clock import FakeClock

pytestmark = pytest.mark.anyio

W0, W1 = ("worker-0", 11), ("worker-1", 12)
BASE = {"base": 100}
LADDER = {"warn_at": 2, "throttle_at": 5, "block_at": 10, "block_ms": 60_000}


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def site(limit_sites, clock):
    """A controller that only steps when a test says so: its own task sleeps for real time, and the clock stands."""
    store = MemoryStore(clock=clock)
    found = await limit_sites({**BASE, "ladder": LADDER}, store, clock=clock, workers=2)
    yield found
    await store.close()


def stepped(site, clock, seconds=0.1):
    clock.advance(seconds)
    site.controller.step(clock.monotonic())


class Load:
    """A pool's cumulative counts as one worker reports them."""

    def __init__(self):
        self.ended = self.failed = 0
        self.seconds = 0.0

    def serve(self, number, latency, *, failed=0, in_flight=4):
        self.ended += number
        self.failed += failed
        self.seconds += number * latency
        return (in_flight, self.ended, self.failed, self.seconds)


async def test_the_first_snapshot_says_what_is_limited(site):
    newest = site.newest
    assert site.rules == ["base"]
    assert (newest.share, newest.load, newest.threat, newest.shedding) == (0.5, {}, 1.0, False)
    assert newest.rules[0].counts == "leased"
    assert newest.max_keys == 65_536


async def test_one_worker_counts_alone(limit_sites):
    site = await limit_sites(BASE, workers=1)
    assert (site.newest.share, site.newest.rules[0].counts) == (1.0, "local")


async def test_a_quiet_gateway_publishes_nothing(site, clock):
    published = len(site.published)
    for step in range(50):
        site.controller.on_report(W0, limit_report(allowed=step, pools={"web": (0, step, 0, 0.01 * step)}))
        site.controller.on_report(W1, limit_report(allowed=step))
        stepped(site, clock)
    assert len(site.published) == published


async def test_latency_lowers_the_factor_of_its_pool_and_that_of_nobody_else(site, clock):
    slow, fast = Load(), Load()
    for _ in range(20):
        pools = {"slow": slow.serve(20, 0.01), "fast": fast.serve(20, 0.01)}
        site.controller.on_report(W0, limit_report(pools=pools))
        stepped(site, clock)
    assert site.newest.load == {}
    for _ in range(20):
        pools = {"slow": slow.serve(20, 0.2, in_flight=60), "fast": fast.serve(20, 0.01)}
        site.controller.on_report(W0, limit_report(pools=pools))
        stepped(site, clock)
    load = site.newest.load
    assert load["slow"] < 0.9
    assert load["fast"] == 1.0
    assert load[""] == load["slow"]
    for factor in load.values():
        assert factor * 256 == round(factor * 256)
    for _ in range(200):
        pools = {"slow": slow.serve(20, 0.01), "fast": fast.serve(20, 0.01)}
        site.controller.on_report(W0, limit_report(pools=pools))
        stepped(site, clock)
    assert site.newest.load == {}


async def test_a_late_event_loop_lowers_every_factor(site, clock):
    web = Load()
    for _ in range(30):
        site.controller.on_report(W0, limit_report(pools={"web": web.serve(20, 0.01)}, lag=0.3))
        stepped(site, clock)
    assert site.newest.load["web"] < 0.8
    assert site.newest.load[""] < 0.8


async def test_without_reports_factors_stand_still(site, clock):
    web = Load()
    for _ in range(20):
        site.controller.on_report(W0, limit_report(pools={"web": web.serve(20, 0.01, failed=15)}))
        stepped(site, clock)
    frozen = site.newest.load
    assert frozen["web"] < 1.0
    published = len(site.published)
    for _ in range(600):
        stepped(site, clock)
    assert site.newest.load == frozen
    assert len(site.published) == published


async def test_a_worker_that_is_silent_for_a_second_is_no_longer_waited_for(clock):
    fleet = Fleet()
    for worker in (W0, W1):
        fleet.on_report(worker, limit_report(pools={"web": (1, 0, 0, 0.0)}), clock.monotonic(), ["base"])
    assert fleet.look(clock.monotonic()) is not None
    clock.advance(0.1)
    fleet.on_report(W0, limit_report(pools={"web": (2, 10, 0, 1.0)}), clock.monotonic(), ["base"])
    assert fleet.look(clock.monotonic()) is None
    clock.advance(1.0)
    fleet.on_report(W0, limit_report(pools={"web": (2, 20, 0, 2.0)}), clock.monotonic(), ["base"])
    seen = fleet.look(clock.monotonic())
    assert (seen.ended, seen.in_flight, seen.pools["web"].latency) == (20, 3, pytest.approx(0.1))
    fleet.on_worker_gone(W1)
    clock.advance(0.1)
    fleet.on_report(W0, limit_report(pools={"web": (2, 20, 0, 2.0)}), clock.monotonic(), ["base"])
    assert fleet.look(clock.monotonic()).in_flight == 2


async def test_what_a_worker_served_before_it_was_first_heard_is_no_load_of_now(clock):
    fleet = Fleet()
    fleet.on_report(W0, limit_report(allowed=7, pools={"web": (0, 1000, 900, 50.0)}), clock.monotonic(), ["base"])
    seen = fleet.look(clock.monotonic())
    assert (seen.ended, seen.failed) == (0, 0)
    assert fleet.report(["base"]).rules["base"].allowed == 7


async def test_reports_that_are_repeated_or_of_rules_that_are_gone_do_not_count(clock):
    fleet = Fleet()
    report = RateLimitReport(rules={"base": RuleReport(5, 1, 0, 0), "gone": RuleReport(9, 9, 9, 9)}, blocked=3)
    for _ in range(3):
        fleet.on_report(W0, report, clock.monotonic(), {"base"})
    fleet.on_report(W1, report, clock.monotonic(), {"base"})
    fleet.on_worker_gone(W0)
    total = fleet.report(["base", "gone"])
    assert (total.rules["base"].allowed, total.rules["gone"].allowed, total.blocked) == (10, 0, 6)
    fleet.forget_rules(["base"])
    assert fleet.report(["base"]).rules["base"].allowed == 0


async def test_offences_lead_up_the_ladder_and_every_step_ends_by_itself(site, clock, caplog):
    caplog.set_level(logging.WARNING, "seawall.ratelimit")
    told = []
    site.controller.on_escalation = told.append
    key = "client:192.0.2.7"
    for count in (3, 3, 5):
        site.controller.on_report(W0, limit_report(offences=(offence(key, count),)))
        stepped(site, clock)
    assert [one.step for one in told] == ["warn", "throttle", "block"]
    assert [message.split(" after")[0] for message in caplog.messages] == [f"{key}: {one.step}" for one in told]
    penalty = site.newest.penalties[key]
    assert (penalty.factor, penalty.until) == (0.0, pytest.approx(clock.wall() + 60, abs=1))
    status = site.controller.status()
    assert [(one.key, one.step) for one in status.offenders] == [(key, "block")]
    assert [(hit.key, hit.refused) for hit in status.top] == [(key, 11)]
    stepped(site, clock, 59.0)
    assert key in site.newest.penalties
    stepped(site, clock, 2.0)
    assert site.newest.penalties[key].factor == 0.5, "a throttle follows"
    stepped(site, clock, 31.0)
    assert site.newest.penalties == {}
    assert site.controller.status().offenders[0].blocks == 1  # the next block is longer
    stepped(site, clock, 7200.0)
    assert site.controller.status().offenders == []


async def test_only_certain_refusals_count_as_violations(site, clock):
    site.controller.on_report(W0, limit_report(offences=(offence("user:a", 50, error=50),)))
    stepped(site, clock)
    assert site.newest.penalties == {}


async def test_a_block_of_the_ladder_reaches_other_gateways_and_a_lift_does_too(limit_sites):
    store = MemoryStore(clock=SystemClock())
    table = {**BASE, "ladder": LADDER}
    one, two = [await limit_sites(table, store) for _ in range(2)]
    key = "user:eve|route:search"
    one.controller.on_report(W0, limit_report(offences=(offence(key, 100),)))
    await two.until(lambda site: key in site.newest.penalties)
    assert two.newest.penalties[key].factor == 0.0
    assert (await two.perform("unblock", subject=key)).changed
    await one.until(lambda site: key not in site.newest.penalties)
    await two.until(lambda site: key not in site.newest.penalties)
    await store.close()


async def test_unblocking_forgives_a_throttle_that_another_gateway_imposed(limit_sites):
    store = MemoryStore(clock=SystemClock())
    one, two = [await limit_sites({**BASE, "ladder": LADDER}, store) for _ in range(2)]
    for _ in range(2):  # again within the time that the first pardon stays in the store
        one.controller.on_report(W0, limit_report(offences=(offence("user:eve", 6),)))
        await one.until(lambda site: "user:eve" in site.newest.penalties)
        assert not two.newest.penalties, "a throttle is each gateway's own"
        await two.perform("unblock", subject="user:eve")
        await one.until(lambda site: not site.newest.penalties)
    assert one.controller.status().offenders == []
    await store.close()


async def test_a_reset_forgives_on_every_gateway_and_reaches_every_engine(limit_sites):
    clock = SystemClock()
    store = MemoryStore(clock=clock)
    table = {"base": 2, "ladder": LADDER}
    one, two = [await limit_sites(table, store) for _ in range(2)]
    engine = RateLimitEngine(clock.wall)
    engine.apply(one.newest)
    caller = LimitContext(user="eve")
    now = clock.monotonic()
    assert [engine.check(caller, now).allowed for _ in range(3)] == [True, True, False]
    for site in (one, two):
        site.controller.on_report(W0, limit_report(offences=(offence("user:eve", 6),)))
        await site.until(lambda site: "user:eve" in site.newest.penalties)
    await two.perform("reset", key="user:eve")
    for site in (one, two):
        await site.until(lambda site: "user:eve" in site.newest.resets and not site.newest.penalties)
    engine.apply(one.newest)
    assert engine.check(caller, now).allowed
    await store.close()


async def test_a_worker_that_starts_later_need_not_know_of_old_resets(site, clock):
    await site.perform("reset", key="user:eve")
    stepped(site, clock)
    assert site.newest.resets == {"user:eve": clock.wall() - 0.1}
    stepped(site, clock, 31.0)
    stepped(site, clock, 1.0)
    assert site.newest.resets == {}


async def test_reports_of_threats_lower_limits_for_a_while(site, clock):
    site.controller.report_threat("user:mallory", 0.8)
    site.controller.report_threat("", 0.5)
    stepped(site, clock)
    assert site.newest.threats["user:mallory"] < 0.4
    assert site.newest.threat < 0.7
    stepped(site, clock, 3600.0)
    stepped(site, clock, 1.0)
    assert (site.newest.threats, site.newest.threat) == ({}, 1.0)
    with pytest.raises(Exception, match="severity"):
        site.controller.report_threat("user:a", 7.0)
    with pytest.raises(Exception, match="names no subject"):
        site.controller.report_threat("nobody", 0.5)


async def test_overload_sheds_the_lowest_priority_first(limit_sites, clock):
    store = MemoryStore(clock=clock)
    site = await limit_sites({**BASE, "shedding": {"enabled": True}, "load": {"max_in_flight": 20}}, store, clock=clock)
    assert site.newest.shedding
    web, offered = Load(), 0
    for _ in range(40):
        offered += 10
        pools = {"web": web.serve(10, 0.5, in_flight=200)}
        site.controller.on_report(W0, limit_report(pools=pools, offered=(offered,) * 6))
        stepped(site, clock)
    admission = site.newest.admission
    assert admission[0] > admission[5]
    assert admission[5] < 1.0
    await site.controller.reconfigure(RateLimitSettings.model_validate(BASE))
    assert not site.newest.shedding
    assert site.newest.admission == (1.0,) * 6
    await store.close()


async def test_a_large_snapshot_is_told_less_often(site, clock):
    for number in range(2000):
        site.controller._book.resume([PenaltyRecord(name=f"k{number}", until=clock.wall() + 3600)])
    site.controller._composer.stale = True
    stepped(site, clock, 1.0)
    assert size_of(site.newest) > 2000
    published = len(site.published)
    for number in range(10):
        site.controller.report_threat(f"user:u{number}", 0.5)
        stepped(site, clock, 0.01)
    assert len(site.published) == published
    stepped(site, clock, 0.3)
    assert len(site.published) == published + 1


async def test_a_failing_step_is_told_and_the_next_one_goes_on(limit_sites, monkeypatch):
    site = await limit_sites(BASE)
    real = site.controller._pressure.step
    monkeypatch.setattr(site.controller._pressure, "step", lambda *_: 1 / 0)
    await site.until(lambda site: "ZeroDivisionError" in site.controller.health().get("step", ""))
    monkeypatch.setattr(site.controller._pressure, "step", real)
    await site.until(lambda site: not site.controller.health())


async def test_counts_that_are_away_are_told_for_a_while(site, clock):
    site.controller.on_report(W0, limit_report(away=3, asked=5))
    stepped(site, clock)
    assert "on_store_failure" in site.controller.health()["counts"]
    stepped(site, clock, 11.0)
    assert site.controller.health() == {}
    samples = {(one.instrument.name, one.labels): one.value for one in site.controller.samples()}
    assert samples["rate_limit_counts_total", ("away",)] == 3
    assert samples["rate_limit_counts_total", ("asked",)] == 5
    assert samples["rate_limit_processes", ()] == 2


async def test_the_history_tells_the_last_hour(site, clock):
    for step in range(1, 220):
        report = limit_report(allowed=2 * step, refused=step)
        site.controller.on_report(W0, report)
        stepped(site, clock)
    points = site.controller.status().factors.history
    assert len(points) == 2
    assert points[1].refused["quota-exceeded"] == pytest.approx(100, abs=2)
    assert points[1].allowed == pytest.approx(200, abs=4)
    assert points[0].load_min == 1.0
    assert (points[1].at - points[0].at).total_seconds() == pytest.approx(10, abs=0.2)


def test_the_history_is_bounded_and_keeps_what_was_lowest():
    history = History()
    for second in range(3 * POINTS * 10):
        factor = 0.25 if second % 100 == 5 else 1.0
        if history.step(float(second), float(second), factor, 1.0, factor):
            history.close({"allowed": second, "shed": 0})
    points = history.points()
    assert len(points) == POINTS
    assert min(point.load[0] for point in points) == 0.25
    assert all(point.load[0] <= point.load[1] <= 1.0 for point in points)
    assert {point.allowed for point in points} == {11}


def test_old_offences_fade_from_the_top():
    top = TopList()
    top.add(offence("old", 100), 0.0)
    top.add(offence("new", 10), 301.0)
    assert [hit.key for hit in top.top(5, 301.0)] == [b"old", b"new"]
    assert [hit.key for hit in top.top(5, 602.0)] == [b"new"]
    assert top.top(5, 5000.0) == []


def test_penalties_are_bounded(clock):
    ladder = make_plan(RateLimitSettings.model_validate({"ladder": LADDER})).ladder
    penalties = Penalties(ladder, clock, lambda _: None)
    for number in range(MAX_PENALTIES + 5):
        penalties.take(offence(f"k{number}", 50), clock.monotonic())
    assert len(penalties.current) == MAX_PENALTIES
    assert penalties.let_off == 5
    assert "k4" not in penalties.current
    penalties.configure(None)
    assert penalties.current == {}
    penalties.take(offence("k", 50), clock.monotonic())
    assert penalties.offenders(clock.monotonic()) == []


def test_of_two_penalties_the_harder_one_counts():
    own = {"a": PenaltySnapshot(0.5, 200.0), "b": PenaltySnapshot(0.0, 300.0), "over": PenaltySnapshot(0.0, 50.0)}
    others = [PenaltyRecord(name="a", until=150.0), PenaltyRecord(name="b", until=150.0), PenaltyRecord(name="c")]
    found = penalties_of(own, others, wall=100.0)
    assert found == {
        "a": PenaltySnapshot(0.0, 150.0),
        "b": PenaltySnapshot(0.0, 300.0),
        "c": PenaltySnapshot(0.0, float("inf")),
    }
    crowd = [PenaltyRecord(name=f"k{number}") for number in range(MAX_PENALTIES + 10)]
    assert len(penalties_of(own, crowd, wall=100.0)) == MAX_PENALTIES


def test_what_is_over_is_not_resumed():
    snapshot = RateLimitSnapshot(
        version=1,
        blocks={"user:a": Block(until=50.0), "user:b": Block(until=float("inf"))},
        penalties={"k": PenaltySnapshot(0.0, 90.0), "m": PenaltySnapshot(0.5, 200.0)},
        operator=b"{damaged",
    )
    assert [record.name for record in records_of(snapshot, 100.0)] == ["user:b", "m"]


def test_factors_are_told_in_steps_that_never_reach_nought_by_rounding():
    assert quantised(0.0) == 0.0
    assert quantised(1e-9) == 1 / 256
    assert quantised(0.4999) == 0.5
    assert quantised(1.0) == 1.0


def test_a_changed_tolerance_begins_anew():
    def plan(**load):
        return make_plan(RateLimitSettings.model_validate({"load": load}))

    pressure, fleet, clock = Pressure(plan()), Fleet(), FakeClock()
    web = Load()
    for _ in range(30):
        clock.advance(0.1)
        report = limit_report(pools={"web": web.serve(20, 0.01, failed=10)})
        fleet.on_report(W0, report, clock.monotonic(), ())
        pressure.step(clock.monotonic(), fleet.look(clock.monotonic()))
    assert pressure.load["web"] < 1.0
    pressure.configure(plan(error_rate=0.9))
    assert pressure.load == {}


async def test_a_report_and_a_snapshot_travel(site, clock):
    await site.perform("set-rule", rule=RULE)
    await site.perform("block", subject="user:a")
    stepped(site, clock)
    raw = msgspec.msgpack.encode(site.newest)
    assert msgspec.msgpack.decode(raw, type=RateLimitSnapshot) == site.newest


def test_a_snapshot_that_travelled_compiles_only_what_changed(clock):
    def travelled(version, **changes):
        raw = msgspec.msgpack.encode(RateLimitSnapshot(version=version, rules=plan.rules, **changes))
        return msgspec.msgpack.decode(raw, type=RateLimitSnapshot)

    plan = make_plan(RateLimitSettings.model_validate({"base": 100, "rules": [RULE]}))
    engine = RateLimitEngine(clock.wall)
    engine.apply(travelled(1))
    compiled = engine._rules
    caller = LimitContext(user="alice", path="/login")
    assert engine.check(caller, clock.monotonic()).limit == 5.0
    engine.apply(travelled(2, load={"": 0.5}))
    assert engine._rules is compiled
    assert engine.check(caller, clock.monotonic()).limit == 2.5
    engine.apply(travelled(3, max_keys=100))
    assert engine._rules is not compiled
    plan = make_plan(RateLimitSettings.model_validate({"base": 100}))
    engine.apply(travelled(4))
    assert engine.check(caller, clock.monotonic()).limit == 100.0
