"""When keys are fetched again."""

import random

import pytest

from seawall.systems.identity.schedule import RefreshSchedule


@pytest.fixture
def schedule() -> RefreshSchedule:
    return RefreshSchedule(random.Random(1), refresh=3600.0, min_interval=10.0, now=1000.0)


def first_due(schedule: RefreshSchedule, since: float) -> float:
    """Return the seconds from `since` until it is due, to a tenth."""
    return next(step / 10 for step in range(1_000_000) if schedule.due(since + step / 10))


@pytest.mark.parametrize(
    ("max_age", "least", "most"),
    [(None, 3240, 3600), (600.0, 540, 600), (0.0, 54, 60), (1e9, 77_760, 86_400)],
)
def test_keys_are_kept_as_the_issuer_says_within_bounds(schedule, max_age, least, most):
    assert schedule.due(1000.0)
    schedule.begun(1000.0)
    assert not schedule.due(10_000.0)
    schedule.succeeded(1000.0, max_age)
    assert least <= first_due(schedule, 1000.0) <= most + 0.1


def test_failures_are_repeated_ever_more_slowly(schedule):
    pauses = []
    now = 1000.0
    for _ in range(9):
        schedule.begun(now)
        schedule.failed(now)
        pauses.append(first_due(schedule, now))
        now += pauses[-1]
    assert all(pause >= expected for pause, expected in zip(pauses, (1, 2, 4, 8, 16, 32, 60, 60, 60), strict=True))
    assert max(pauses) <= 66.1
    schedule.begun(now)
    schedule.succeeded(now, 600.0)
    schedule.begun(now + 600)
    schedule.failed(now + 600)
    assert first_due(schedule, now + 600) < 2


def test_an_unknown_key_brings_the_next_fetch_forward_but_not_at_will(schedule):
    schedule.begun(1000.0)
    schedule.succeeded(1000.0, None)
    for _ in range(100):
        schedule.asked(1001.0)
    assert not schedule.due(1009.9)
    assert schedule.due(1010.0)
    schedule.begun(1010.0)
    schedule.succeeded(1010.0, None)
    schedule.asked(1300.0)
    assert schedule.due(1300.0)


def test_asking_never_delays_a_retry(schedule):
    schedule.begun(1000.0)
    schedule.failed(1000.0)
    schedule.asked(1000.5)
    assert schedule.due(1001.2)
