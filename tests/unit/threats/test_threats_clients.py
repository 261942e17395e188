"""The second opinion on clients: a model of conduct that never refuses anybody."""

import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_threats_guard import World
from threat_sites import W0, told

from seawall.adapters.anomaly import HalfSpaceScores
from seawall.core.errors import ConfigurationError
from seawall.core.request import Request
from seawall.systems.threats.clients import FEATURES, ClientWatch, threshold_of
from seawall.systems.threats.deeds import ClientDeeds, Deeds
from seawall.systems.threats.model import Action, Level, ThreatClass
from seawall.systems.threats.settings import ThreatDetectionSettings
from seawall.testing.clock import FakeClock

BOT = ClientDeeds("192.0.2.66", requests=4000, errors=3900, unsafe=3900, bytes=4000 * 50_000, paths=(1, 2))


def people(rng, number=30):
    """What ordinary clients do in ten seconds."""
    for client in range(number):
        requests = rng.randrange(20, 60)
        paths = tuple(range(rng.randrange(5, 20)))
        yield ClientDeeds(f"198.51.100.{client}", requests, rng.randrange(2), rng.randrange(5), 300 * requests, paths)


class Told:
    """A model that says what it is told to."""

    def __init__(self):
        self.says = 0.0
        self.seen = []
        self.learned = []

    def score(self, features):
        self.seen.append(features)
        return self.says

    def learn(self, features):
        self.learned.append(features)


class TestWatch:
    def judge(self, watch, deeds, now):
        watch.take(deeds)
        return list(watch.step(now))

    def started(self):
        model = Told()
        watch = ClientWatch(model, 0.9)
        list(watch.step(0.0))
        return model, watch

    def test_features_are_shares_and_what_is_odd_is_not_learned(self):
        model, watch = self.started()
        self.judge(watch, [ClientDeeds("192.0.2.7", 50, 10, 25, 50_000, (1, 2, 3))], 10.0)
        (features,) = model.learned
        assert tuple(features) == FEATURES
        assert features["errors"] == 0.2
        assert features["unsafe"] == 0.5
        assert features["paths"] == 0.06
        model.says = 0.95
        (odd,) = self.judge(watch, [BOT], 20.0)
        assert (odd.client, odd.score) == ("192.0.2.66", 0.95)
        assert odd.detail.startswith("unlike other clients, score 0.95: 400 requests/s, 98% errors, 2 paths")
        assert len(model.learned) == 1
        assert (watch.judged, watch.odd) == (2, 1)

    def test_what_workers_saw_of_a_client_and_of_a_64_is_added_up(self):
        model, watch = self.started()
        parts = [ClientDeeds(f"2001:db8::{number:x}", 10, 1, 0, 0, (number,)) for number in range(5)]
        self.judge(watch, [*parts, ClientDeeds("192.0.2.1", 10), ClientDeeds("192.0.2.1", 9)], 10.0)
        (features,) = model.seen
        assert features["errors"] == 0.1
        assert features["paths"] == 0.1

    def test_whoever_stays_odd_is_told_of_once_in_ten_minutes(self):
        model, watch = self.started()
        model.says = 1.0
        told = [number for number in range(1, 130) if self.judge(watch, [BOT], number * 10.0)]
        assert told == [1, 61, 121]
        assert watch.odd == 129

    def test_few_are_judged_at_once_and_all_in_the_end(self):
        _, watch = self.started()
        watch.take(ClientDeeds(f"10.0.{number >> 8}.{number & 255}", 30) for number in range(900))
        list(watch.step(10.0))
        assert watch.judged == 40
        for number in range(40):
            list(watch.step(10.1 + number * 0.2))
        assert watch.judged == 900

    def test_memory_is_bounded_and_a_clock_that_goes_backwards_begins_anew(self):
        model, watch = self.started()
        model.says = 1.0
        for start in range(0, 20_000, 500):
            watch.take(ClientDeeds(f"10.0.{number >> 8}.{number & 255}", 30) for number in range(start, start + 500))
        assert len(watch._clients) == 5000
        list(watch.step(10.0))
        assert len(watch._waiting) == 1000 - 40
        watch.take([BOT])
        list(watch.step(-5.0))
        assert watch._clients == {}

    @given(st.lists(st.builds(ClientDeeds, st.just("a"), *[st.integers(0, 2**40)] * 4), max_size=20))
    def test_features_stay_within_bounds_whatever_is_told(self, deeds):
        model, watch = self.started()
        self.judge(watch, deeds, 10.0)
        assert all(0.0 <= value <= 1.0 for features in model.seen for value in features.values())


def test_a_guard_tells_what_its_busiest_clients_did():
    deeds = Deeds()
    for number in range(3000):
        deeds.note(Request("GET", b"/", client=f"10.0.{number >> 8}.{number & 255}"), 200, 0)
    for number in range(100):
        deeds.note(Request("POST", b"/%d?x" % number, client="10.0.0.1"), 200 + 200 * (number % 2), 10)
    told = deeds.told()
    assert len(told) == 500
    first = told[0]
    assert (first.client, first.requests, first.errors, first.unsafe, first.bytes) == ("10.0.0.1", 101, 50, 100, 1000)
    assert len(first.paths) == 32
    assert deeds.told() == ()


def test_a_guard_tells_of_clients_every_few_seconds_where_it_is_asked_to():
    for asked in (True, False):
        world = World(judge_clients=asked)
        for number in range(30):
            world.end(b"/%d" % number, status=404 if number % 3 else 200)
        assert world.guard.report(full=False).deeds == ()
        world.now += 3.0
        told = world.guard.report(full=False).deeds
        assert [(one.client, one.requests, one.errors, len(one.paths)) for one in told] == [
            ("192.0.2.7", 30, 20, 30)
        ] * asked
        assert world.guard.report(full=False).deeds == ()


def test_the_threshold_scales():
    assert [threshold_of(one) for one in (0.0, 0.5, 1.0)] == [0.8, 0.9, float("inf")]


class TestModel:
    def test_it_knows_nothing_before_it_has_learned(self):
        model = HalfSpaceScores(FEATURES, 1)
        assert model.score(dict.fromkeys(FEATURES, 1.0)) == 0.0

    @pytest.mark.parametrize("seed", range(5))
    def test_a_bot_among_people_is_odd_and_people_are_not(self, seed):
        rng = random.Random(seed)
        watch = ClientWatch(HalfSpaceScores(FEATURES, seed), threshold_of(0.5))
        now, found = 0.0, []
        list(watch.step(now))
        for _ in range(40):
            now += 10.0
            watch.take(people(rng))
            found += list(watch.step(now))
        assert watch.judged == 1200
        assert len(found) <= 3
        watch.take([*people(rng), BOT])
        assert BOT.client in {odd.client for odd in watch.step(now + 10.0)}

    def test_a_missing_package_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "river.anomaly", None)
        with pytest.raises(ConfigurationError, match="judge_clients") as refusal:
            HalfSpaceScores(FEATURES, 1)
        assert "seawall[anomaly]" in refusal.value.hint


@pytest.mark.anyio
class TestController:
    async def run(self, site, windows=12):
        rng = random.Random(1)
        site.step(0.25)
        for _ in range(windows):
            site.controller.on_report(W0, told(deeds=tuple(people(rng))))
            site.step(10.0)
        for _ in range(30):
            site.controller.on_report(W0, told(deeds=(*people(rng), BOT)))
            site.step(10.0)

    async def test_whoever_is_odd_is_limited_and_never_refused(self, threat_sites):
        site = await threat_sites({"judge_clients": True}, clock=FakeClock())
        assert site.newest.judge_clients
        await self.run(site)
        found = [event for event in await site.events(category=ThreatClass.ANOMALY) if event.client == BOT.client]
        assert [(event.level, event.action, event.shadow) for event in found] == [
            (Level.MEDIUM, Action.THROTTLE, False)
        ]
        assert ("client:192.0.2.66", 0.5) in site.threats
        assert max(severity for _, severity in site.threats) == 0.5
        assert site.bans == {}
        shown = site.controller.status().judged_clients
        assert shown.judged == 42 * 30 + 30
        assert shown.odd >= 30

    @pytest.mark.parametrize("table", [{"mode": "log"}, {"allow": ["192.0.2.0/24"]}, {"anomaly_threshold": 1.0}])
    async def test_nothing_follows_where_nothing_may(self, threat_sites, table):
        site = await threat_sites({"judge_clients": True, **table}, clock=FakeClock())
        await self.run(site)
        assert [subject for subject, _ in site.threats if subject == "client:192.0.2.66"] == []
        shadows = [event.shadow for event in await site.events(client=BOT.client)]
        assert shadows == ([True] if "mode" in table else [])

    async def test_it_is_off_until_it_is_asked_for_and_can_be_turned_on_and_off(self, threat_sites):
        site = await threat_sites(clock=FakeClock())
        assert not site.newest.judge_clients
        assert site.controller.status().judged_clients is None
        for on in (True, False):
            await site.controller.reconfigure(ThreatDetectionSettings(judge_clients=on))
            assert site.newest.judge_clients is on
            assert (site.controller.status().judged_clients is not None) is on
