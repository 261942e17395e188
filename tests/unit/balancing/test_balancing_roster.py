"""A pool's living state under a clock that the test moves."""

import msgspec
import pytest
from balancing_sites import report_row

from seawall.core.instruments import Sample
from seawall.systems.balancing.fleet import Fleet
from seawall.systems.balancing.health import CheckPolicy, CheckResult
from seawall.systems.balancing.members import Member, Override, Source, merge
from seawall.systems.balancing.model import BalancingReport, InstanceState, PoolReport
from seawall.systems.balancing.outliers import Ejected, OutlierPolicy, Returned
from seawall.systems.balancing.roster import Roster, RosterPolicy
from seawall.systems.balancing.window import MinuteWindow, percentile
from seawall.testing.clock import FakeClock

GOOD = CheckResult(True, "connected", 0.001)
BAD = CheckResult(False, "connect refused", 0.001)
WORKER = ("worker-0", 100)
OTHER = ("worker-1", 101)


def member(name: str, **changes) -> Member:
    return msgspec.structs.replace(Member(id=name, url=f"http://{name}:80", source=Source.FILE), **changes)


def members(*names: str) -> dict[str, Member]:
    return {name: member(name) for name in names}


def states(roster: Roster) -> dict[str, str]:
    return {name: roster.state(name).value for name in roster.instances}


def weights(roster: Roster, now: float) -> dict[str, float]:
    return {instance.id: instance.weight for instance in roster.snapshot(now)}


def passed(roster: Roster, *names: str, now: float) -> None:
    for name in names:
        roster.record_check(name, GOOD, now=now, wall=now)


def test_instances_start_until_their_first_check():
    roster = Roster(RosterPolicy(), now=0.0)
    roster.set_members(members("a", "b"), 0.0)
    assert states(roster) == {"a": "starting", "b": "starting"}
    passed(roster, "a", now=1.0)
    roster.record_check("b", BAD, now=1.0, wall=1.0)
    assert states(roster) == {"a": "healthy", "b": "unhealthy"}


def test_without_checks_they_are_healthy_at_once():
    roster = Roster(RosterPolicy(check=CheckPolicy(kind="none")), now=0.0)
    roster.set_members(members("a"), 0.0)
    assert states(roster) == {"a": "healthy"}


def test_health_survives_a_change_of_membership_and_a_short_absence():
    roster = Roster(RosterPolicy(), now=0.0)
    roster.set_members(members("a", "b"), 0.0)
    passed(roster, "a", "b", now=1.0)
    roster.set_members(members("b", "c"), 2.0)
    assert states(roster) == {"b": "healthy", "c": "starting"}
    roster.set_members(members("a", "b", "c"), 500.0)
    assert states(roster)["a"] == "healthy"


def test_after_ten_minutes_an_absent_instance_is_forgotten():
    roster = Roster(RosterPolicy(), now=0.0)
    roster.set_members(members("a", "b"), 0.0)
    passed(roster, "a", now=1.0)
    roster.set_members(members("b"), 2.0)
    assert roster.purge(600.0) == []
    assert roster.purge(603.0) == ["a"]
    roster.set_members(members("a", "b"), 604.0)
    assert states(roster)["a"] == "starting"


def test_another_url_under_the_same_id_is_another_server():
    roster = Roster(RosterPolicy(), now=0.0)
    roster.set_members(members("a"), 0.0)
    passed(roster, "a", now=1.0)
    roster.set_members({"a": member("a", url="http://elsewhere:80")}, 2.0)
    assert states(roster) == {"a": "starting"}


def test_draining_wins_over_every_verdict():
    roster = Roster(RosterPolicy(), now=0.0)
    roster.set_members({"a": member("a", draining=True)}, 0.0)
    passed(roster, "a", now=1.0)
    assert states(roster) == {"a": "draining"}


def test_a_newcomer_ramps_up_while_the_first_ones_do_not():
    roster = Roster(RosterPolicy(slow_start=10.0), now=0.0)
    roster.set_members(members("a"), 0.0)
    passed(roster, "a", now=0.1)
    assert weights(roster, 0.1) == {"a": 1.0}
    roster.set_members({**members("a"), "b": member("b", weight=2.0)}, 5.0)
    passed(roster, "b", now=6.0)
    assert weights(roster, 6.0) == {"a": 1.0, "b": 0.2}
    before = roster.snapshot(6.0)
    roster.step(6.1)
    assert roster.snapshot(6.1) is before
    roster.step(11.0)
    assert weights(roster, 11.0) == {"a": 1.0, "b": 1.0}
    roster.step(16.0)
    assert weights(roster, 16.0) == {"a": 1.0, "b": 2.0}


def test_a_recovered_instance_ramps_up_again():
    roster = Roster(RosterPolicy(slow_start=10.0), now=0.0)
    roster.set_members(members("a"), 0.0)
    roster.record_check("a", BAD, now=1.0, wall=1.0)
    passed(roster, "a", "a", now=20.0)
    assert weights(roster, 20.0) == {"a": 0.1}


def test_ejection_and_return_show_in_the_state():
    roster = Roster(RosterPolicy(check=CheckPolicy(kind="none"), slow_start=10.0), now=0.0)
    roster.set_members(members("a", "b"), 0.0)
    row = report_row(0, 5, run=5)
    roster.observe(WORKER, "a", row, (*row.counts, *row.buckets, row.duration_us), 1.0)
    assert roster.step(1.0) == [Ejected("a", "consecutive-errors", 31.0, 1)]
    assert states(roster) == {"a": "ejected", "b": "healthy"}
    assert roster.instances["a"].ejections == {"consecutive-errors": 1}
    assert roster.step(31.0) == [Returned("a")]
    assert states(roster)["a"] == "healthy"
    assert weights(roster, 31.0) == {"a": 0.1, "b": 1.0}


def test_who_returns_from_an_ejection_must_also_pass_its_checks():
    roster = Roster(RosterPolicy(), now=0.0)
    roster.set_members(members("a", "b"), 0.0)
    passed(roster, "a", "b", now=0.5)
    row = report_row(0, 5, run=5)
    roster.observe(WORKER, "a", row, (*row.counts, *row.buckets, row.duration_us), 1.0)
    roster.step(1.0)
    for _ in range(3):
        roster.record_check("a", BAD, now=2.0, wall=2.0)
    roster.step(40.0)
    assert states(roster)["a"] == "unhealthy"


def test_reported_load_shifts_weight_and_can_be_turned_off():
    roster = Roster(RosterPolicy(check=CheckPolicy(kind="none")), now=0.0)
    roster.set_members(members("a", "b"), 0.0)
    for second in range(1, 6):
        for name, load in (("a", 0.9), ("b", 0.3)):
            row = report_row(10 * second, load=load)
            roster.observe(WORKER, name, row, report_added(10), float(second))
        roster.step(float(second))
    weight = weights(roster, 6.0)
    assert weight["a"] < 0.7
    assert weight["b"] > 1.3
    roster.set_policy(RosterPolicy(check=CheckPolicy(kind="none"), use_reported_load=False), 6.0)
    assert weights(roster, 6.0) == {"a": 1.0, "b": 1.0}


def report_added(good: int) -> tuple[int, ...]:
    row = report_row(good)
    return (*row.counts, *row.buckets, row.duration_us)


def test_the_snapshot_is_the_same_object_until_something_changes():
    roster = Roster(RosterPolicy(), now=0.0)
    roster.set_members(members("a"), 0.0)
    first = roster.snapshot(0.0)
    roster.step(1.0)
    assert roster.snapshot(1.0) is first
    passed(roster, "a", now=1.5)
    assert roster.snapshot(1.5) is not first


def fleet(*names: str, **policy) -> Fleet:
    made = Fleet()
    made.set_pools({"p": RosterPolicy(check=CheckPolicy(kind="none"), **policy)}, 0.0)
    made.set_members("p", members(*names), 0.0)
    return made


def told(good: int, bad: int = 0, name: str = "a", **row) -> BalancingReport:
    return BalancingReport(
        instances={f"p/{name}": report_row(good, bad, **row)},
        pools={"p": PoolReport(good + bad, 2, 1, 3, (0, good, 0, 0, bad))},
    )


def series(fleet: Fleet, name: str) -> dict[tuple[str, ...], Sample]:
    return {sample.labels: sample for sample in fleet.samples() if sample.instrument.name == name}


def test_totals_add_up_over_workers_and_their_restarts():
    subject = fleet("a")
    subject.on_report(WORKER, told(10), 1.0)
    subject.on_report(WORKER, told(10), 1.1)
    subject.on_report(OTHER, told(5), 1.1)
    subject.on_worker_gone(WORKER)
    subject.on_report(("worker-0", 222), told(4), 2.0)
    assert subject.instance_total("p", "a")[0] == 19
    assert series(subject, "load_balancer_requests_total")["p", "a", "success"].value == 19
    assert series(subject, "load_balancer_no_instance_total")["p",].value == 9
    duration = series(subject, "load_balancer_request_duration_seconds")["p", "a"]
    assert duration.value == pytest.approx(19 * 0.02)
    assert sum(duration.counts) == 19


def test_retries_are_counted_by_the_instance_they_were_sent_to():
    subject = fleet("a", "b")
    for worker, retries in ((WORKER, 3), (OTHER, 4)):
        row = report_row(10)
        row = msgspec.structs.replace(row, counts=(*row.counts[:-2], 9, retries))
        subject.on_report(worker, BalancingReport(instances={"p/b": row}), 1.0)
    values = {labels: sample.value for labels, sample in series(subject, "load_balancer_retries_total").items()}
    assert values == {("p", "a"): 0, ("p", "b"): 7}


def test_gauges_of_a_worker_go_with_it():
    subject = fleet("a")
    subject.on_report(WORKER, told(1, active=7), 1.0)
    subject.on_report(OTHER, told(1, active=2), 1.0)
    assert series(subject, "load_balancer_active_requests")["p", "a"].value == 9
    subject.on_worker_gone(WORKER)
    assert series(subject, "load_balancer_active_requests")["p", "a"].value == 2


def test_a_report_ejects_at_once():
    changes = fleet("a", "b").on_report(WORKER, told(0, 5, run=5), 1.0)
    assert changes == [("p", Ejected("a", "consecutive-errors", 31.0, 1))]


def whole(report: BalancingReport) -> BalancingReport:
    return msgspec.structs.replace(report, full=True)


def test_what_a_worker_counted_before_it_was_met_is_totalled_and_judged_no_more():
    successor = fleet("a", "b")
    assert successor.on_report(WORKER, whole(told(0, 50, run=50, active=3)), 1.0) == []
    assert successor.step(20.0) == []
    assert successor.instance_total("p", "a")[1] == 50
    instance = successor.rosters["p"].instances["a"]
    assert sum(instance.active.values()) == 3
    assert instance.window.totals(1.0)[:2] == (0, 0), "it happened at an unknown time"
    assert successor.on_report(WORKER, told(0, 54, run=54), 21.0) == []
    assert successor.on_report(WORKER, told(0, 55, run=55), 21.1) == [
        ("p", Ejected("a", "consecutive-errors", 51.1, 1))
    ], "five errors since then count"


def test_old_error_rates_eject_nobody_after_a_restart_of_the_control_process():
    names = ("a", "b", "c", "d", "e")
    successor = fleet(*names)
    rows = {f"p/{name}": report_row(2000) for name in names[1:]}
    rows["p/a"] = report_row(1500, 500)
    successor.on_report(WORKER, BalancingReport(instances=rows, full=True), 1.0)
    assert [change for tenth in range(300) for change in successor.step(1.0 + tenth / 10)] == []


def test_a_new_worker_and_a_new_connection_of_a_known_one_count_from_the_first_report():
    subject = fleet("a", "b", "c", "d")
    ejected = [("p", Ejected("a", "consecutive-errors", 31.0, 1))]
    assert subject.on_report(WORKER, told(0, 5, run=5), 1.0) == ejected
    assert subject.on_report(WORKER, whole(told(0, 5, "b", run=5)), 1.0) == [
        ("p", Ejected("b", "consecutive-errors", 31.0, 1))
    ]


def test_who_comes_back_after_a_long_absence_is_not_judged_for_its_earlier_life():
    subject = fleet("a", "b")
    subject.on_report(WORKER, told(1, name="b"), 1.0)
    again = msgspec.structs.replace(told(0, 50), revived=("p/a",))
    assert subject.on_report(WORKER, again, 2.0) == []
    assert subject.instance_total("p", "a")[1] == 50
    assert subject.rosters["p"].instances["a"].window.totals(2.0)[:2] == (0, 0)


def test_instances_are_counted_by_state():
    subject = fleet("a", "b", outliers=OutlierPolicy(base_ejection=5.0))
    subject.on_report(WORKER, told(0, 5, run=5), 1.0)
    counted = {labels[1]: sample.value for labels, sample in series(subject, "load_balancer_instances").items()}
    assert counted == {"starting": 0, "healthy": 1, "unhealthy": 0, "ejected": 1, "draining": 0}
    assert subject.step(6.0) == [("p", Returned("a"))]


def test_series_of_instances_that_left_go_after_a_while():
    subject = fleet("a", "b")
    subject.on_report(WORKER, told(10), 1.0)
    subject.set_members("p", members("b"), 2.0)
    subject.on_report(WORKER, told(11), 3.0)
    assert series(subject, "load_balancer_requests_total")["p", "a", "success"].value == 11
    subject.purge(700.0)
    assert ("p", "a", "success") not in series(subject, "load_balancer_requests_total")
    subject.on_report(WORKER, told(12), 701.0)
    assert subject.instance_total("p", "a")[0] == 0


def test_a_pool_that_goes_takes_its_series_along():
    subject = fleet("a")
    subject.on_report(WORKER, told(10), 1.0)
    subject.set_pools({}, 2.0)
    assert list(subject.samples()) == []
    subject.on_report(WORKER, told(11), 3.0)


def test_a_window_forgets_after_a_minute():
    clock = FakeClock()
    window = MinuteWindow()
    for _ in range(30):
        window.add(clock.monotonic(), 10, 1, [10, 0])
        clock.advance(5.0)
    attempts, errors, buckets = window.totals(clock.monotonic() - 5.0)
    assert (attempts, errors, buckets) == (120, 12, [120, 0])
    assert window.totals(clock.monotonic() + 60.0) == (0, 0, [])


def test_percentiles_are_interpolated_within_their_bucket():
    buckets = [0] * 15
    buckets[4] = 100  # 10 to 25 ms
    assert percentile(buckets, 0.5) == pytest.approx(0.0175)
    assert percentile(buckets, 1.0) == pytest.approx(0.025)
    assert percentile([0] * 15, 0.5) is None
    buckets[14] = 100
    assert percentile(buckets, 0.99) == 30.0


def test_of_two_sources_the_stronger_counts_and_the_conflict_is_told():
    file = [member("a")]
    registered = [member("a", url="http://imposter:80", source=Source.REGISTRY), member("b", source=Source.REGISTRY)]
    merged, findings = merge(file, registered, [], {"a": Override(weight=3.0), "gone": Override(draining=True)})
    assert {name: (found.url, found.weight) for name, found in merged.items()} == {
        "a": ("http://a:80", 3.0),
        "b": ("http://b:80", 1.0),
    }
    assert findings == ["instance 'a' is http://a:80 (file) and also http://imposter:80 (registry); the former counts"]


def test_a_pool_has_a_limit_and_tells_what_is_beyond():
    many = [member(f"i{number}") for number in range(10_003)]
    merged, findings = merge(many, [], [], {})
    assert len(merged) == 10_000
    assert findings == ["3 instances beyond the limit of 10000 are left out"]


def test_a_restored_verdict_holds_until_checks_change_it():
    roster = Roster(RosterPolicy(slow_start=10.0), now=0.0)
    roster.set_members(members("a", "b"), 0.0)
    roster.restore("a", InstanceState.HEALTHY)
    roster.restore("b", InstanceState.EJECTED)
    assert states(roster) == {"a": "healthy", "b": "starting"}
    assert weights(roster, 0.0)["a"] == 1.0
    passed(roster, "a", now=1.0)
    assert weights(roster, 1.0)["a"] == 1.0
