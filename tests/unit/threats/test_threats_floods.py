"""Floods while nothing is known yet, from many sources, and everywhere at once."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core.errors import InvalidError
from seawall.core.request import Request
from seawall.systems.threats.askers import Askers, network_of
from seawall.systems.threats.distinct import DistinctCounter
from seawall.systems.threats.floods import FloodLimits, FloodWatch
from seawall.systems.threats.heavy import HeavyHitters
from seawall.systems.threats.sources import EVERYWHERE, SourceCounts
from seawall.systems.threats.suspects import MANY_FACES, Talker

CROWD, PEOPLE = "client:203.0.113.9", tuple(range(MANY_FACES))
ATTACKERS = [Talker(f"client:192.0.2.{number}", 400) for number in range(3)]
ROUTES = [f"/{number}" for number in range(20)]
OTHERS = [Talker(f"client:198.51.100.{number}", 2) for number in range(20)]


class World:
    """A watch that is asked twice a second."""

    def __init__(self, **limits):
        self.watch = FloodWatch(FloodLimits(**limits))
        self.now = 0.0
        self.watch.step(self.now, {}, {})

    def step(self, talkers=OTHERS, *, route="/", requests=None, sources=0):
        self.now += 0.5
        requests = sum(one.requests for one in talkers) if requests is None else requests
        return self.watch.step(self.now, {route: requests}, {route: talkers}, {route: sources})

    def settle(self, talkers=OTHERS, steps=60, **fields):
        for _ in range(steps):
            floods = self.step(talkers, **fields)
        return floods


class TestColdStart:
    def test_a_flood_from_a_few_addresses_is_held_in_the_second_step(self):
        world = World()
        assert world.step([*OTHERS, *ATTACKERS]) == []
        (flood,) = world.step([*OTHERS, *ATTACKERS])
        assert flood.allowances == {one.subject: 5.0 for one in ATTACKERS}
        assert (flood.stranger, flood.network) == (math.inf, math.inf), "nobody else is held"
        assert {subject for subject, _ in flood.offenders} == {one.subject for one in ATTACKERS}
        assert flood.culprits == (), "800 requests/s may still be a program that means well"

    def test_whoever_asks_ten_times_what_is_borne_is_a_culprit(self):
        world = World()
        for _ in range(2):
            floods = world.step([*OTHERS, Talker("client:192.0.2.1", 1200)])
        assert floods[0].culprits == ("client:192.0.2.1",)

    def test_a_crowd_behind_one_address_is_not_held(self):
        world = World()
        crowd = Talker(CROWD, 400, PEOPLE)
        assert all(world.step([*OTHERS, crowd]) == [] for _ in range(19))
        assert all(CROWD not in dict(one.offenders) for _ in range(19) for one in world.step([*OTHERS, crowd]))

    def test_so_many_faces_are_borne_so_much(self):
        world = World(source=100.0)
        pair = Talker(CROWD, 90, (1, 2))
        assert all(world.step([*OTHERS, pair, Talker("client:1", 300, PEOPLE)]) == [] for _ in range(10))
        world.step([*OTHERS, Talker(CROWD, 110, (1, 2))])
        assert dict(world.step([*OTHERS, Talker(CROWD, 110, (1, 2))])[0].offenders) == {CROWD: 220.0}

    @pytest.mark.parametrize(
        "talkers",
        [
            [Talker("client:192.0.2.1", 9000)],
            [Talker(f"client:192.0.2.{number}", 400) for number in range(9)],
            [*(Talker(f"client:198.51.100.{number}", 45) for number in range(20)), Talker("client:192.0.2.1", 400)],
        ],
        ids=["a proxy, or a test of load", "a few programs, all alike", "others ask much, too"],
    )
    def test_without_others_that_ask_far_less_nobody_is_suspected(self, talkers):
        world = World()
        assert all(world.step(talkers) == [] for _ in range(19))

    def test_beside_a_crowd_alone_attackers_are_seen_too(self):
        world = World()
        for _ in range(2):
            floods = world.step([Talker(CROWD, 60, PEOPLE), *ATTACKERS])
        assert set(floods[0].allowances) == {one.subject for one in ATTACKERS}

    def test_one_burst_is_no_flood(self):
        world = World()
        for _ in range(8):
            assert world.step([*OTHERS, Talker("client:192.0.2.1", 300)]) == []
            assert world.step() == []

    def test_a_quiet_route_is_left_alone(self):
        world = World(floor=3000.0)
        assert all(world.step([*OTHERS, *ATTACKERS]) == [] for _ in range(19))

    def test_what_suspects_ask_is_never_learned_and_what_others_ask_is(self):
        world = World()
        crowd = Talker(CROWD, 60, PEOPLE)
        world.settle([*OTHERS, crowd, *ATTACKERS], steps=100)
        (flood,) = world.step([*OTHERS, crowd, *ATTACKERS])
        assert flood.usual == pytest.approx(200, rel=0.25), "twenty times four, and the crowd"
        assert {subject for subject, _ in flood.offenders} == {one.subject for one in ATTACKERS}
        (flood,) = world.step([*OTHERS, crowd, *ATTACKERS, *(Talker(f"client:x{n}", 100) for n in range(9))])
        assert flood.allowances[CROWD] >= 120
        assert flood.allowances.get(ATTACKERS[0].subject, flood.stranger) <= 5.0

    def test_a_suspect_that_stops_is_none_after_ten_seconds_and_one_that_never_does_after_three_minutes(self):
        world = World()
        world.settle([*OTHERS, *ATTACKERS], steps=4)
        assert world.settle(steps=18)
        assert not world.settle(steps=4)
        world = World()
        assert world.settle([*OTHERS, *ATTACKERS], steps=300)[0].stranger == math.inf
        flood = world.settle([*OTHERS, *ATTACKERS], steps=80)[0]
        assert flood.allowances[ATTACKERS[0].subject] >= 800.0

    def test_nobody_becomes_a_suspect_once_it_is_known_what_is_usual(self):
        world = World(floor=200.0)
        world.settle([*OTHERS, Talker("client:192.0.2.1", 300)], steps=1)
        world.settle(OTHERS, steps=30)
        (flood,) = world.step([*OTHERS, *ATTACKERS])
        assert flood.stranger == 5.0


class TestManySources:
    def test_many_strangers_share_what_the_route_has_to_spare(self):
        world = World()
        world.settle([Talker(CROWD, 100)], requests=150, sources=1)
        strangers = [Talker(f"client:10.0.{number}.1", 2) for number in range(100)]
        (flood,) = world.step(strangers, requests=3000, sources=301)
        assert flood.stranger == 1.25, "400 requests/s to spare for 300 strangers, in halves of 5"
        assert flood.sources == 301
        (flood,) = world.step(strangers, requests=3000, sources=100_000)
        assert flood.stranger == 0.5
        (flood,) = world.step(strangers, requests=3000, sources=3)
        assert flood.stranger == 5.0

    def test_far_more_clients_than_usual_make_a_flood_of_a_rate_that_often_varies(self):
        rng = random.Random(3)
        world = World()
        for _ in range(60):
            world.step(OTHERS, requests=rng.randrange(100, 600), sources=rng.randrange(40, 60))
        assert world.step(OTHERS, requests=650, sources=55) == []
        (flood,) = world.step(OTHERS, requests=650, sources=3000)
        assert flood.sources == 3000
        assert flood.stranger < 5.0

    def test_a_24_without_a_past_keeps_what_eight_strangers_do(self):
        world = World()
        known = Talker("network:203.0.113.0/24", 100)
        world.settle([Talker(CROWD, 100), known], requests=100)
        bots = [Talker(f"client:192.0.2.{number}", 2) for number in range(200)]
        present = [Talker(CROWD, 100), known, *bots, Talker("network:192.0.2.0/24", 4000)]
        (flood,) = world.step(present, requests=4500)
        assert flood.network == 40.0
        assert dict(flood.offenders) == {"network:192.0.2.0/24": 8000.0}
        assert flood.culprits == ("network:192.0.2.0/24",)
        assert flood.allowances["network:203.0.113.0/24"] >= 400


class TestEverywhere:
    def steps(self, watch, per_route, count, start=0.0):
        talkers = {route: [Talker("client:192.0.2.1", per_route)] for route in ROUTES}
        for number in range(count):
            floods = watch.step(start + number * 0.5, dict.fromkeys(ROUTES, per_route), talkers)
        return floods

    def test_a_flood_that_stays_below_the_floor_of_each_route_is_one_of_all(self):
        watch = FloodWatch()
        assert self.steps(watch, 10, 60) == []
        (flood,) = self.steps(watch, 80, 1, start=30.0)
        assert (flood.route, flood.rate) == (EVERYWHERE, 3200.0)
        assert dict(flood.offenders) == {"client:192.0.2.1": 3200.0}

    def test_a_flood_of_one_route_does_not_hold_the_clients_of_others(self):
        watch = FloodWatch()
        self.steps(watch, 10, 60)
        talkers = {"/1": [Talker("client:192.0.2.9", 3000)]}
        floods = watch.step(30.0, {**dict.fromkeys(ROUTES, 10), "/1": 3000}, talkers)
        assert [flood.route for flood in floods] == ["/1"]

    @given(st.lists(st.tuples(st.floats(-100, 1e6), st.integers(0, 10**9), st.integers(0, 10**6)), max_size=60))
    def test_any_times_and_numbers_can_come(self, steps):
        watch = FloodWatch()
        for now, requests, sources in steps:
            for flood in watch.step(now, {"/": requests}, {"/": [Talker("client:1", requests)]}, {"/": sources}):
                assert flood.stranger >= 0.5
                assert all(allowance >= 0.5 for allowance in flood.allowances.values())


class TestHeavyHitters:
    def test_few_are_counted_exactly(self):
        heavy = HeavyHitters(10)
        for number in range(10):
            heavy.add(str(number), number + 1)
        assert heavy.most(2) == [("9", 10), ("8", 9)]

    @given(st.lists(st.integers(0, 60), max_size=1500), st.integers(2, 30))
    def test_a_count_is_never_too_high_and_lacks_little(self, keys, capacity):
        taken, heavy = {}, None
        heavy = HeavyHitters(capacity, lambda key, by: taken.__setitem__(key, taken.get(key, 0) + by))
        for key in keys:
            heavy.add(str(key))
        assert len(heavy.counts) <= capacity
        for key in set(keys):
            count, true = heavy.counts.get(str(key), 0), keys.count(key)
            assert true - 2 * len(keys) / capacity <= count <= true
            assert count + taken.get(str(key), 0) == true, "nothing is lost of a sum"

    def test_whoever_asks_most_is_found_among_a_hundred_thousand(self):
        heavy = HeavyHitters(1000)
        for number in range(100_000):
            heavy.add(f"once-{number}")
            if number % 50 == 0:
                heavy.add("often")
        assert heavy.most(1)[0][0] == "often"


class TestAskers:
    def ask(self, askers, client, times=1, **fields):
        headers = [(name.encode(), value.encode()) for name, value in fields.items()]
        for _ in range(times):
            askers.note(Request("GET", b"/", headers, client=client))

    def test_addresses_networks_and_64s_are_told(self):
        askers = Askers()
        self.ask(askers, "192.0.2.1", 5)
        self.ask(askers, "192.0.2.2", 2)
        for number in range(7):
            self.ask(askers, f"2001:db8::{number:x}")
        self.ask(askers, "")
        told = {one.subject: one.requests for one in askers.talkers()}
        assert told == {
            "client:192.0.2.1": 5,
            "client:192.0.2.2": 2,
            "client:": 1,
            "network:192.0.2.0/24": 7,
            "network:2001:db8::/64": 7,
        }
        assert (askers.requests, askers.sources.count()) == (15, 4)

    def test_faces_tell_a_crowd_from_one_program(self):
        askers = Askers()
        self.ask(askers, "192.0.2.1", 100, cookie="session=1", accept="*/*")
        for number in range(200):
            self.ask(askers, "192.0.2.2", cookie=f"session={number}")
            self.ask(askers, "2001:db8::2", 3, cookie=f"session={number}")
        faces = {one.subject: len(one.faces) for one in askers.talkers()}
        assert faces["client:192.0.2.1"] == 1
        assert faces["client:192.0.2.2"] == faces["network:2001:db8::/64"] == MANY_FACES

    def test_more_clients_than_there_is_room_for_are_still_counted(self):
        askers = Askers()
        for number in range(20_000):
            self.ask(askers, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
            if number % 100 == 0:
                self.ask(askers, "192.0.2.1")
        told = askers.talkers()
        assert told[0].subject == "client:192.0.2.1"
        assert askers.sources.count() == pytest.approx(20_001, rel=0.14)
        assert sum(one.subject.startswith("network:10.0.") for one in told) == 50
        assert {one.requests for one in told if one.subject == "network:10.0.7.0/24"} <= {256}

    @pytest.mark.parametrize(
        ("subject", "network"),
        [
            ("client:192.0.2.7", "network:192.0.2.0/24"),
            ("client:fd00::1.2.3.4", None),
            ("client:", None),
            ("client:unix", None),
        ],
    )
    def test_the_network_of_a_client(self, subject, network):
        assert network_of(subject) == network


class TestSources:
    def packed(self, *texts):
        counter = DistinctCounter()
        for text in texts:
            counter.add(text)
        return counter.packed()

    @pytest.mark.parametrize("count", [3, 40, 5000])
    def test_what_two_workers_saw_is_counted_once(self, count):
        counts = SourceCounts()
        names = [f"client:{number}" for number in range(count)]
        counts.add("/", self.packed(*names))
        counts.add("/", self.packed(*names[: count // 2 + 1]))
        counts.add("/b", self.packed("client:other"))
        seen = counts.look(1.0)
        assert seen["/"] == pytest.approx(count, rel=0.14)
        assert seen[EVERYWHERE] == pytest.approx(count + 1, rel=0.14)
        assert seen["/b"] == 1
        assert counts.look(2.0) == {}

    def test_those_of_late_are_forgotten_after_a_minute_and_when_time_goes_backwards(self):
        counts = SourceCounts()
        counts.look(100.0)
        counts.add("/", self.packed("a", "b"))
        for now in (101.0, 131.0):
            counts.look(now)
            assert counts.lately() == {"/": 2, EVERYWHERE: 2}
        counts.add("/", self.packed("b", "c"))
        counts.look(132.0)
        assert counts.lately() == {"/": 3, EVERYWHERE: 3}
        counts.look(162.0)
        assert counts.lately() == {"/": 2, EVERYWHERE: 2}
        counts.look(5.0)
        assert counts.lately() == {}

    @pytest.mark.parametrize("packed", [b"123", b"x" * 512, b"x" * 1032])
    def test_what_no_counter_has_packed_is_refused(self, packed):
        with pytest.raises(InvalidError, match="different things"):
            SourceCounts().add("/", packed)
