"""Whose requests are shed: the share holds whatever clients there are, and the same ones are served while it can."""

import pytest

from seawall.systems.ratelimit.guard import Guard
from seawall.systems.ratelimit.keys import LimitContext
from seawall.systems.ratelimit.model import RateLimitSnapshot


def shedding(share):
    guard = Guard()
    admission = (1.0, 1.0, share, 0.0, 0.0, 0.0)
    guard.apply(RateLimitSnapshot(version=1, shedding=True, admission=admission), RateLimitSnapshot(version=0))
    return guard


def served(guard, client, at=0.0):
    return guard.check(LimitContext(client=client), at, 0.0) is None


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("clients", [1, 2, 3, 1000])
def test_the_share_holds_however_few_clients_there_are(share, clients):
    guard = shedding(share)
    count = sum(served(guard, f"client-{number % clients}") for number in range(10_000))
    assert count == pytest.approx(share * 10_000, abs=33)


def test_most_clients_are_served_always_or_never_for_a_while():
    guard = shedding(0.5)
    counts = [0] * 200
    for number in range(200 * 20):
        counts[number % 200] += served(guard, f"client-{number % 200}")
    assert sum(count in {0, 20} for count in counts) > 120


def test_what_is_wholly_shed_or_wholly_let_in_stays_so():
    assert not any(served(shedding(0.0), "one") for _ in range(100))
    assert all(served(shedding(1.0), "one") for _ in range(100))
