"""What is usual of routes over hours and weeks, and that an attack is never learned."""

import math

import pytest

from seawall.systems.threats.tally import RouteSeen
from seawall.systems.threats.usual import Usual

HOUR, WEEK = 3600, 168
LOOKS = 360  # in an hour


class World:
    """A route that is looked at every ten seconds."""

    def __init__(self):
        self.usual = Usual(3.5)
        self.now = 0.0
        self.step(0)

    def step(self, rate, hour=0, *, errors=0.0, seconds=0.05, size=100):
        self.now += 10.0
        requests = rate * 10
        row = RouteSeen(requests, round(requests * errors), 0, seconds * requests, size * requests)
        self.usual.gather({"/": row})
        return [one.what for one in self.usual.step(self.now, hour * HOUR)]

    def hour(self, rate, hour):
        return [what for number in range(LOOKS) for what in self.step(rate + number % 5, hour)]

    @property
    def view(self):
        (view,) = self.usual.views()
        return view


def test_the_rush_of_an_hour_is_odd_in_two_weeks_and_usual_in_the_third():
    world = World()
    rushes = []
    for week in range(4):
        for hour in (6, 7):
            assert world.hour(50, week * WEEK + hour) == []
        rushes.append(world.hour(400, week * WEEK + 8))
        world.hour(50, week * WEEK + 9)
    assert rushes == [["rate"], ["rate"], [], []]
    assert set(world.hour(900, 4 * WEEK + 8)) == {"rate"}, "far more than the rush"
    assert world.view.odd == ("rate",), "and not learned within the hour"
    for hour in (6, 7, 9):
        world.hour(50, 4 * WEEK + hour)
    assert world.hour(400, 4 * WEEK + 10) == ["rate"], "the same at another hour"


def test_an_attack_is_told_once_is_not_learned_and_is_over_when_it_is():
    world = World()
    world.hour(50, 0)
    mean = world.view.means["rate"]
    told = [what for _ in range(200) for what in world.step(900, 0)]
    assert told == ["rate"]
    assert world.view.odd == ("rate",)
    assert world.view.means["rate"] == mean
    assert world.hour(50, 0) == []
    assert world.view.odd == ()
    assert world.step(900, 0) == ["rate"]


@pytest.mark.parametrize(
    ("fields", "what"),
    [({"errors": 0.9}, "errors"), ({"seconds": 4.0}, "latency"), ({"size": 60_000}, "bytes")],
)
def test_each_number_has_its_own_usual(fields, what):
    world = World()
    world.hour(50, 0)
    assert world.step(50, 0, **fields) == [what]


def test_few_requests_say_nothing_of_shares():
    world = World()
    world.hour(50, 0)
    world.now += 10.0
    world.usual.gather({"/": RouteSeen(5, 5, 0, 50.0, 10**7)})
    assert {one.what for one in world.usual.step(world.now, 0)} <= {"rate"}


def test_routes_are_bounded_and_a_clock_that_goes_backwards_begins_anew():
    usual = Usual(3.5)
    list(usual.step(0.0, 0.0))
    for number in range(3):
        usual.gather({f"/{number}-{route}": RouteSeen(1, 0, 0, 0.0, 0) for route in range(600)})
        list(usual.step(10.0 * (number + 1), 0.0))
    assert len(usual.views()) == 1000
    assert list(usual.step(-100.0, 0.0)) == []
    usual.gather({"/0-0": RouteSeen(10**9, 0, 0, math.inf, 0)})
    assert list(usual.step(-99.0, 0.0)) == []
    assert len(usual._odd) <= 1000
