"""What follows from what guards saw: the ladder, log-ins, floods, anomalies, and what is told of them."""

import asyncio
import logging

import pytest
from threat_sites import W0, W1, seen, told

from seawall.core.errors import InvalidError, SeawallError
from seawall.state.memory import MemoryStore
from seawall.systems.threats.messages import LoginFailures, RouteAsked, RouteCounts, SlowClient
from seawall.systems.threats.model import Action, Level, Mode, ThreatClass
from seawall.systems.threats.settings import ThreatDetectionSettings
from seawall.systems.threats.suspects import Talker
from seawall.testing.clock import FakeClock

pytestmark = pytest.mark.anyio

LOGINS = {"logins": {"paths": ["/login"]}}
HIGH, CRITICAL = Level.HIGH, Level.CRITICAL


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def site(threat_sites, clock):
    return await threat_sites(LOGINS, clock=clock)


async def coalesced(site):
    """What was changed a moment ago is published."""
    await asyncio.sleep(0.03)
    return site.newest


def failures(client, account="alice", count=1):
    return told(failures=(LoginFailures(client, account, count),))


async def test_the_first_snapshot_says_what_is_configured(site):
    newest = site.newest
    assert (newest.policy.mode, newest.bans, newest.floods) == (Mode.BLOCK, {}, ())
    assert newest.logins.paths == ("/login",)
    assert len(newest.challenge.secret) == 32
    assert site.controller.health() == {}


async def test_a_critical_request_bans_its_client_in_the_next_snapshot(site, clock):
    site.controller.on_report(W0, told(seen(level=CRITICAL)))
    newest = await coalesced(site)
    ban = newest.bans["client:192.0.2.7"]
    assert (ban.until - clock.wall(), ban.challenge, ban.reason) == (600.0, False, "sql-injection")
    assert site.threats == [("client:192.0.2.7", 1.0)]


async def test_what_was_refused_once_is_challenged_and_refused_when_it_goes_on(site):
    steps = []
    for _ in range(4):
        site.controller.on_report(W0, told(seen(level=HIGH)))
        ban = (await coalesced(site)).bans["client:192.0.2.7"]
        steps.append((ban.challenge, round(ban.until - site.clock.wall())))
    assert steps == [(True, 60), (False, 60), (False, 60), (False, 600)]


async def test_each_ban_lasts_twice_as_long_up_to_the_longest(threat_sites, clock):
    site = await threat_sites({"bans": {"base_ms": 10_000, "longest_ms": 30_000}}, clock=clock)
    lengths = []
    for _ in range(4):
        site.controller.on_report(W0, told(seen(level=CRITICAL)))
        ban = (await coalesced(site)).bans["client:192.0.2.7"]
        lengths.append(round(ban.until - clock.wall()))
        site.step(ban.until - clock.wall() + 0.1)
        assert site.bans == {}
    assert lengths == [10, 20, 30, 30]


async def test_subjects_go_up_the_ladder_by_themselves(site):
    for client in ("192.0.2.1", "192.0.2.2"):
        site.controller.on_report(W0, told(seen(client, level=HIGH)))
    site.controller.on_report(W1, told(seen("192.0.2.2", level=HIGH)))
    bans = (await coalesced(site)).bans
    assert bans["client:192.0.2.1"].challenge
    assert not bans["client:192.0.2.2"].challenge


@pytest.mark.parametrize(
    "event",
    [
        seen(level=CRITICAL, shadow=True),
        seen(level=CRITICAL, action=Action.ALLOW),
        seen(level=CRITICAL, category=ThreatClass.BLOCKED),
        seen(level=CRITICAL, category=ThreatClass.CSRF),
        seen(client="", level=CRITICAL),
        seen(level=Level.NONE),
    ],
)
async def test_what_is_no_offence_has_no_consequence(site, event):
    for _ in range(10):
        site.controller.on_report(W0, told(event))
    assert (await coalesced(site)).bans == {}
    assert site.threats == []


async def test_suspicion_lowers_limits_and_bans_nobody(site):
    for _ in range(50):
        site.controller.on_report(W0, told(seen(level=Level.MEDIUM, action=Action.TAG)))
    assert (await coalesced(site)).bans == {}
    assert set(site.threats) == {("client:192.0.2.7", 0.5)}


async def test_nothing_is_asked_of_the_allowed(threat_sites, clock):
    site = await threat_sites({**LOGINS, "allow": ["192.0.2.0/24"]}, clock=clock)
    for _ in range(10):
        site.controller.on_report(W0, told(seen(level=CRITICAL), seen(level=Level.MEDIUM, action=Action.TAG)))
        site.controller.on_report(W0, failures("192.0.2.7", count=50))
        site.controller.on_abuse("client:192.0.2.7", "base")
    assert (await coalesced(site)).bans == {}
    assert site.threats == []


async def test_one_worker_alone_would_not_have_seen_that_a_password_is_guessed(site):
    for worker in (W0, W1, W0):
        site.controller.on_report(worker, failures("192.0.2.7", count=2))
    bans = (await coalesced(site)).bans
    assert bans["client:192.0.2.7"].reason == "guessing"
    found = await site.events(category=ThreatClass.BRUTE_FORCE)
    assert {(event.client, event.account) for event in found} == {("192.0.2.7", ""), ("", "alice")}
    assert found[0].detail.startswith("guessing on ")


async def test_what_a_guard_has_told_is_not_told_again(site):
    event = seen(category=ThreatClass.BRUTE_FORCE, action=Action.THROTTLE, account="alice")
    site.controller.on_report(W0, told(event, failures=(LoginFailures("192.0.2.7", "alice", 9),)))
    assert [one.id for one in await site.events()] == [event.id]
    assert "client:192.0.2.7" in (await coalesced(site)).bans


async def test_an_attacked_account_is_challenged_and_never_banned(site):
    for number in range(200):
        site.controller.on_report(W0, failures(f"198.51.100.{number}"))
    bans = (await coalesced(site)).bans
    assert set(bans) == {"account:alice"}
    assert bans["account:alice"].challenge


async def test_a_sprayed_password_has_its_network_challenged(site):
    for number in range(40):
        site.controller.on_report(W0, failures(f"198.51.100.{number}", f"user{number}"))
    bans = (await coalesced(site)).bans
    assert set(bans) == {"network:198.51.100.0/24"}
    assert bans["network:198.51.100.0/24"].challenge


async def test_an_address_that_tries_stolen_pairs_is_banned(site):
    for number in range(30):
        site.controller.on_report(W0, failures("192.0.2.7", f"user{number}"))
    ban = (await coalesced(site)).bans["client:192.0.2.7"]
    assert (ban.challenge, round(ban.until - site.clock.wall())) == (False, 600)


async def test_log_ins_are_told_and_nobody_is_hindered_where_the_mode_only_logs(threat_sites, clock):
    site = await threat_sites({**LOGINS, "routes": [{"path": "/login", "mode": "log"}]}, clock=clock)
    site.controller.on_report(W0, failures("192.0.2.7", count=50))
    assert (await coalesced(site)).bans == {}
    assert site.threats == []
    found = await site.events(client="192.0.2.7")
    assert [(event.shadow, event.action) for event in found] == [(True, Action.THROTTLE)]


async def test_a_number_of_failures_costs_what_a_hundred_do(site):
    site.controller.on_report(W0, failures("192.0.2.7", count=10**12))
    assert "client:192.0.2.7" in (await coalesced(site)).bans


# -- floods ------------------------------------------------------------------------------------------------------------


class Traffic:
    """Cumulative counts of a route, as one worker tells them."""

    def __init__(self, site):
        self.site = site
        self.requests = 0

    def flow(self, clients, *, errors=0, seconds=0.5):
        """Let so many requests by client come within `seconds`."""
        self.requests += sum(clients.values())
        row = RouteCounts(self.requests, errors, 0, 0.01 * self.requests, 0)
        talkers = tuple(Talker(f"client:{client}", count) for client, count in clients.items())
        asked = {"/": RouteAsked(sum(clients.values()))}
        self.site.controller.on_report(W0, told(routes={"/": row}, asked=asked, talkers={"/": talkers}))
        self.site.step(seconds)


@pytest.fixture
async def traffic(site):
    traffic = Traffic(site)
    for number in range(60):
        traffic.flow({"203.0.113.9": 20 + number % 3, "203.0.113.10": 1})
    return traffic


async def test_in_a_flood_the_known_keep_their_rate_and_strangers_a_little(site, traffic):
    assert site.newest.floods == ()
    crowd = {f"198.51.{number % 200}.{number // 200}": 3 for number in range(800)}
    traffic.flow({**crowd, "203.0.113.9": 21})
    (flood,) = site.newest.floods
    assert flood.route == "/"
    assert flood.allowances["client:203.0.113.9"] > 40
    assert flood.stranger == 5.0
    assert site.bans == {}
    (event,) = await site.events(category=ThreatClass.DDOS)
    assert "requests/s on /, usually" in event.detail
    assert [flood.route for flood in site.controller.status().floods] == ["/"]


async def test_whoever_floods_is_banned_within_two_seconds(site, traffic):
    for _ in range(4):
        traffic.flow({"198.51.100.1": 2000, "203.0.113.9": 21})
    assert not (await coalesced(site)).bans["client:198.51.100.1"].challenge
    assert set(site.bans) == {"client:198.51.100.1"}


async def test_a_flood_ends_by_itself(site, traffic):
    traffic.flow({"198.51.100.1": 2000})
    assert site.newest.floods
    for _ in range(200):
        traffic.flow({"203.0.113.9": 20})
    assert site.newest.floods == ()


async def test_who_has_no_address_is_not_banned_for_a_flood(site, traffic):
    for _ in range(4):
        traffic.flow({"": 2000})
    assert site.newest.floods
    assert (await coalesced(site)).bans == {}


async def test_a_flood_is_only_told_where_the_mode_logs(threat_sites, clock):
    site = await threat_sites({"mode": "log"}, clock=clock)
    traffic = Traffic(site)
    for _ in range(60):
        traffic.flow({"203.0.113.9": 20})
    for _ in range(4):
        traffic.flow({"198.51.100.1": 2000})
    assert (await coalesced(site)).bans == {}
    assert [event.shadow for event in await site.events()] == [True]


async def test_floods_can_be_left_alone(threat_sites, clock):
    site = await threat_sites({"floods": {"enabled": False}}, clock=clock)
    traffic = Traffic(site)
    for _ in range(60):
        traffic.flow({"203.0.113.9": 20})
    for _ in range(10):
        traffic.flow({"198.51.100.1": 2000})
    assert (site.newest.floods, site.bans) == ((), {})


async def test_what_is_odd_is_told_and_never_acted_on(site):
    traffic = Traffic(site)
    for _ in range(400):
        traffic.flow({"203.0.113.9": 50}, seconds=1.0)
    assert await site.events() == []
    for _ in range(30):
        # Below what counts as a flood, and far from what is usual.
        traffic.flow({"203.0.113.9": 150}, seconds=1.0)
    (event,) = await site.events(category=ThreatClass.ANOMALY)
    assert (event.action, event.level, event.route) == (Action.ALLOW, Level.LOW, "/")
    assert event.detail.startswith("rate of / is 150 requests/s, usually 50")
    assert (site.bans, site.threats) == ({}, [])
    (view,) = site.controller.status().baselines
    assert (view.warm, view.odd) == (True, ["rate"])
    assert view.usual["rate"] == pytest.approx(50, rel=0.1)


# -- slow clients ------------------------------------------------------------------------------------------------------


def slow(client, count=1, how="head"):
    return told(slow=(SlowClient(client, how, count),))


async def test_whoever_holds_connections_again_and_again_is_refused_and_told_of(site):
    site.controller.on_report(W0, slow("192.0.2.7", 20))
    assert (await coalesced(site)).bans == {}
    site.controller.on_report(W1, slow("192.0.2.7"))
    assert (await coalesced(site)).bans["client:192.0.2.7"].challenge
    site.controller.on_report(W0, slow("192.0.2.7", 10))
    ban = (await coalesced(site)).bans["client:192.0.2.7"]
    assert (ban.challenge, ban.reason) == (False, "slow requests")
    found = await site.events(category=ThreatClass.DDOS)
    assert [(event.client, event.action) for event in found] == [
        ("192.0.2.7", Action.CHALLENGE),
        ("192.0.2.7", Action.BLOCK),
    ]
    assert "slow request heads" in found[0].detail


async def test_slowness_now_and_then_is_borne_and_of_an_ipv6_client_all_of_it_counts(site, clock):
    for number in range(60):
        site.controller.on_report(W0, slow("192.0.2.7", how="read"))
        site.controller.on_report(W0, slow(f"2001:db8::{number:x}", how="body"))
        clock.advance(30.0 if number < 30 else 1.0)
    assert set((await coalesced(site)).bans) == {"client:192.0.2.7", "network:2001:db8::/64"}
    found = await site.events(category=ThreatClass.DDOS)
    assert min(event.at for event in found) > clock.wall() - 30


async def test_slowness_is_only_told_where_the_mode_logs_and_of_the_allowed_not_at_all(threat_sites, clock):
    site = await threat_sites({"mode": "log", "slow": 5, "allow": ["192.0.2.1"]}, clock=clock)
    for client in ("192.0.2.1", "192.0.2.7"):
        for _ in range(3):
            site.controller.on_report(W0, slow(client, 10**9))
    assert (await coalesced(site)).bans == {}
    assert [(event.client, event.shadow) for event in await site.events()] == [("192.0.2.7", True)]


# -- what workers tell late --------------------------------------------------------------------------------------------


async def test_what_a_worker_gathered_while_it_had_nobody_to_tell_is_no_flood(site, traffic):
    late = RouteCounts(traffic.requests + 100_000, 0, 0, 1.0, 0)
    talkers = (Talker("client:203.0.113.9", 99_000),)
    report = told(routes={"/": late}, asked={"/": RouteAsked(100_000)}, talkers={"/": talkers}, span=3600.0)
    site.controller.on_report(W0, report)
    site.step(0.5)
    assert (site.newest.floods, site.bans) == ((), {})


async def test_the_past_of_a_worker_that_outlived_a_control_process_is_counted_and_is_no_rate(site):
    history = told(routes={"/": RouteCounts(10**9, 0, 0, 1.0, 0)}, inspected=10**9, full=True)
    site.controller.on_report(W0, history)
    for _ in range(41):
        site.step(0.5)
    (view,) = site.controller.status().baselines or (None,)
    assert view is None or view.usual["rate"] == 0.0
    assert site.controller.status().inspected == 10**9


# -- limits ------------------------------------------------------------------------------------------------------------


async def test_whom_limits_do_not_stop_is_a_threat(site):
    for _ in range(4):
        site.controller.on_abuse("client:192.0.2.7", "base")
    assert not (await coalesced(site)).bans["client:192.0.2.7"].challenge
    found = await site.events(category=ThreatClass.RATE_ABUSE)
    assert [event.action for event in found] == [Action.CHALLENGE, Action.BLOCK, Action.BLOCK, Action.BLOCK]
    assert "rule base" in found[0].detail


@pytest.mark.parametrize("key", ["user:alice", "client:192.0.2.0/24", "client:2001:db8::/48", "nonsense"])
async def test_abuse_by_whoever_is_no_single_client_is_told_only(site, key):
    site.controller.on_abuse(key, "base")
    assert (await coalesced(site)).bans == {}
    (event,) = await site.events()
    assert event.detail.startswith(f"{key} goes on")


async def test_nothing_follows_while_threats_are_not_looked_for(threat_sites, clock):
    site = await threat_sites({**LOGINS, "enabled": False}, clock=clock)
    site.controller.on_abuse("client:192.0.2.7", "base")
    site.controller.on_report(W0, failures("192.0.2.7", count=50))
    assert (await coalesced(site)).bans == {}
    assert await site.events() == []


# -- the configuration -------------------------------------------------------------------------------------------------


async def test_an_exclusion_without_effect_is_refused_at_the_start(threat_sites):
    useless = {"exclusions": [{"rule": "xss", "example": "hello"}]}
    with pytest.raises(SeawallError, match=r"threats\.exclusions\[0\] has no effect"):
        await threat_sites(useless)


async def test_a_refused_configuration_changes_nothing(site):
    before = site.newest
    useless = {"mode": "log", "exclusions": [{"rule": "xss", "example": "hello"}]}
    with pytest.raises(SeawallError, match="has no effect"):
        await site.controller.reconfigure(ThreatDetectionSettings.model_validate(useless))
    site.step()
    assert site.newest is before


async def test_bans_survive_another_configuration(site):
    site.controller.on_report(W0, told(seen(level=CRITICAL)))
    table = {"mode": "log", "bans": {"ban_at": 100}, "challenge": {"bits": 9}, "anomaly_threshold": 0.9}
    await site.controller.reconfigure(ThreatDetectionSettings.model_validate(table))
    newest = site.newest
    assert (newest.policy.mode, newest.challenge.bits, newest.logins) == (Mode.LOG, 9, None)
    assert "client:192.0.2.7" in newest.bans
    table["challenge"] = {"enabled": False}
    await site.controller.reconfigure(ThreatDetectionSettings.model_validate(table))
    assert site.newest.challenge is None


async def test_versions_grow_and_nothing_is_published_twice(site, clock):
    count = len(site.published)
    for _ in range(20):
        site.step()
    assert len(site.published) == count
    site.controller.on_report(W0, told(seen(level=CRITICAL)))
    await coalesced(site)
    assert [one.version for one in site.published] == sorted({one.version for one in site.published})
    assert len(site.published) == count + 1


async def test_many_bans_at_once_are_one_snapshot(site):
    count = len(site.published)
    for number in range(500):
        site.controller.on_report(W0, told(seen(f"198.51.{number // 250}.{number % 250}", level=CRITICAL)))
    newest = await coalesced(site)
    assert len(newest.bans) == 500
    assert len(site.published) == count + 1


async def test_a_step_that_fails_is_told_and_tried_again(site, monkeypatch, caplog):
    caplog.set_level(logging.ERROR)
    broken = True
    step = site.controller.step

    def sometimes(now):
        if broken:
            raise InvalidError("broken for the test")
        step(now)

    monkeypatch.setattr(site.controller, "step", sometimes)
    await site.until(lambda one: "step" in one.controller.health())
    broken = False
    await site.until(lambda one: "step" not in one.controller.health())
    assert len([record for record in caplog.records if record.exc_info]) == 1


async def test_the_challenge_key_is_one_for_all_gateways_and_lives_on(threat_sites, clock):
    store = MemoryStore(clock=clock)
    first, second = await threat_sites(store=store, clock=clock), await threat_sites(store=store, clock=clock)
    assert first.newest.challenge == second.newest.challenge
    await first.controller.stop()
    third = await threat_sites(store=store, clock=clock)
    assert third.newest.challenge == first.newest.challenge
    for site in (second, third):
        await site.controller.stop()
    await store.close()
