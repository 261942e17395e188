"""Outlier detection, case by case."""

import pytest

from seawall.systems.balancing.outliers import Ejected, OutlierDetector, OutlierPolicy, Returned

POOL = ["a", "b", "c", "d"]


def detector(**policy) -> OutlierDetector:
    return OutlierDetector(OutlierPolicy(**policy), POOL, now=0.0)


def fail(subject: OutlierDetector, now: float, name: str = "a", errors: int = 5):
    subject.observe(now, name, 0, errors, errors)
    return subject.step(now)


def test_five_errors_in_a_row_eject_for_the_base_time():
    subject = detector()
    assert fail(subject, 1.0, errors=4) == []
    subject.observe(1.1, "a", 0, 1, 5)
    assert subject.step(1.1) == [Ejected("a", "consecutive-errors", 31.1, 1)]
    assert subject.is_ejected("a")


def test_a_success_in_between_breaks_the_run():
    subject = detector()
    fail(subject, 1.0, errors=4)
    subject.observe(1.1, "a", 1, 4, 4)
    assert subject.step(1.1) == []


def test_one_workers_run_counts_although_another_sees_successes():
    subject = detector()
    subject.observe(1.0, "a", 0, 3, 3)
    subject.observe(1.0, "a", 9, 0, 0)
    subject.observe(1.1, "a", 0, 2, 5)
    assert [change.instance_id for change in subject.step(1.1)] == ["a"]


def test_an_instance_returns_when_its_time_is_over():
    subject = detector()
    fail(subject, 1.0)
    assert subject.step(30.9) == []
    assert subject.step(31.0) == [Returned("a")]
    assert not subject.is_ejected("a")


def test_a_second_run_soon_after_the_return_ejects_for_longer():
    subject = detector()
    fail(subject, 1.0)
    subject.step(31.0)
    assert fail(subject, 32.0) == [Ejected("a", "consecutive-errors", 92.0, 2)]


def test_ejections_are_forgotten_one_by_one_while_the_instance_behaves():
    subject = detector(base_ejection=10.0, interval=5.0)
    fail(subject, 1.0)
    subject.step(11.0)
    for tick in range(12, 40):
        subject.step(float(tick))
    assert fail(subject, 40.0) == [Ejected("a", "consecutive-errors", 50.0, 1)]


def test_no_ejection_is_longer_than_the_limit():
    subject = detector(max_ejection=45.0)
    fail(subject, 1.0)
    subject.step(31.0)
    assert fail(subject, 32.0) == [Ejected("a", "consecutive-errors", 77.0, 2)]


def test_a_workers_old_run_is_not_held_against_a_returned_instance():
    subject = detector()
    fail(subject, 1.0)
    subject.step(31.0)
    # The worker saw no success during the ejection, so its own count goes on from five.
    subject.observe(31.5, "a", 0, 1, 6)
    assert subject.step(31.5) == []
    subject.observe(31.6, "a", 0, 4, 10)
    assert [change.instance_id for change in subject.step(31.6)] == ["a"]


def test_what_ends_during_the_ejection_does_not_count():
    subject = detector()
    fail(subject, 1.0)
    subject.observe(2.0, "a", 0, 50, 55)
    assert subject.step(31.0) == [Returned("a")]
    assert subject.step(31.1) == []


def test_no_more_than_the_allowed_share_is_ejected():
    subject = detector(max_ejected=0.5)
    out = [name for name in POOL for change in fail(subject, 1.0, name) for name in [change.instance_id]]
    assert out == ["a", "b"]


def test_the_only_instance_is_never_ejected():
    subject = OutlierDetector(OutlierPolicy(), ["a"], now=0.0)
    assert fail(subject, 1.0) == []


def test_turned_off_it_ejects_nobody_and_lets_everybody_back():
    subject = detector()
    fail(subject, 1.0)
    subject.set_policy(OutlierPolicy(enabled=False))
    assert subject.step(2.0) == [Returned("a")]
    assert fail(subject, 3.0, "b") == []


@pytest.mark.parametrize(("errors", "ejected"), [(0, []), (2, []), (40, ["a"])])
def test_an_error_rate_far_above_the_others_ejects(errors, ejected):
    subject = detector(consecutive_errors=1000)
    for name in POOL:
        bad = errors if name == "a" else 0
        subject.observe(5.0, name, 100 - bad, bad, 0)
    assert [change.instance_id for change in subject.step(10.0)] == ejected


def test_a_pool_of_three_finds_its_broken_member():
    subject = OutlierDetector(OutlierPolicy(consecutive_errors=1000), ["a", "b", "c"], now=0.0)
    for name, errors in (("a", 60), ("b", 1), ("c", 0)):
        subject.observe(5.0, name, 200 - errors, errors, 0)
    assert subject.step(10.0) == [Ejected("a", "error-rate", 40.0, 1)]


def test_an_outage_of_everything_is_nobodys_fault():
    subject = detector(consecutive_errors=1000)
    for name, errors in (("a", 95), ("b", 90), ("c", 97), ("d", 93)):
        subject.observe(5.0, name, 100 - errors, errors, 0)
    assert subject.step(10.0) == []


def test_rates_are_compared_only_with_enough_requests_and_instances():
    subject = detector(consecutive_errors=1000, min_instances=4)
    for name, requests in (("a", 100), ("b", 100), ("c", 100), ("d", 99)):
        subject.observe(5.0, name, 0 if name == "a" else requests, 100 if name == "a" else 0, 0)
    assert subject.step(10.0) == []


def test_an_instance_that_leaves_while_ejected_is_still_out_when_it_comes_back():
    subject = detector()
    fail(subject, 1.0)
    subject.set_members(["b", "c", "d"], 2.0)
    assert subject.ejected == {}
    subject.set_members(POOL, 3.0)
    assert subject.ejected == {"a": 31.0}


def test_an_instance_that_was_gone_for_long_starts_afresh():
    subject = detector(base_ejection=10_000.0, max_ejection=10_000.0)
    fail(subject, 1.0)
    subject.set_members(["b", "c", "d"], 2.0)
    subject.set_members(["b", "c", "d"], 700.0)
    subject.set_members(POOL, 701.0)
    assert subject.ejected == {}


def test_reports_about_strangers_are_ignored():
    subject = detector()
    assert fail(subject, 1.0, "stranger") == []
