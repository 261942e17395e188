import functools
import os

import msgspec
import pytest
from tests_threats_solving import solve

from seawall.adapters.patterns import compile_patterns
from seawall.core.errors import SeawallError
from seawall.core.principal import Identity
from seawall.core.request import Request
from seawall.systems.threats.guard import ThreatGuard
from seawall.systems.threats.inspection.policy import Caps, OverCap, Policy
from seawall.systems.threats.messages import (
    Ban,
    ChallengeKey,
    CsrfPolicy,
    FloodPolicy,
    ListEntry,
    LoginPolicy,
    ThreatSnapshot,
)
from seawall.systems.threats.model import Action, Level, Mode, ThreatClass
from seawall.systems.threats.networks import pack
from seawall.systems.threats.ruling import CHALLENGE_PATH

ATTACK = b"/search?q=%27%20OR%201%3D1--%20"
XSS = b"/search?q=%3Cscript%3Ealert(1)%3C/script%3E"


@functools.cache
def matcher(groups):
    return compile_patterns(groups)


def compiled(groups):
    """Compile once for all tests: it takes seconds, and a matcher has no state."""
    return matcher(tuple(tuple(group) for group in groups))


class World:
    """A guard, and the time."""

    def __init__(self, **fields):
        self.now = 1_000.0
        self.guard = ThreatGuard(
            lambda: self.now, lambda: 1_700_000_000.0 + self.now, os.urandom, compiled, worker="w0"
        )
        self.version = 0
        self.fields = {}
        self.apply(**fields)

    def apply(self, **fields):
        self.version += 1
        self.fields |= fields
        self.guard.apply(ThreatSnapshot(version=self.version, **self.fields))

    @property
    def wall(self):
        return 1_700_000_000.0 + self.now

    def ask(self, target=b"/", client="192.0.2.7", method="GET", headers=(), body=b"", user=""):
        """Send one request through, as a gateway does; return what became of it."""
        request = Request(method, target, headers, host=b"app.example", client=client, request_id="r-1")
        request.identity = Identity(user=user)
        ruling = self.guard.admit(request, "web")
        if ruling.action is Action.ALLOW and not ruling.trusted:
            ruling = self.guard.inspect(request, "web", body)
        return ruling

    def end(self, target=b"/", client="192.0.2.7", status=200, method="GET", body=b"", headers=()):
        request = Request(method, target, headers, host=b"app.example", client=client)
        self.guard.ended(request, "web", status, 0.01, self.guard.account(request, body))

    def events(self):
        return self.guard.report(full=False).events


def test_an_honest_request_passes_and_is_counted():
    world = World()
    assert world.ask() == world.ask(b"/a?x=1&name=O'Brien")
    assert world.ask().action is Action.ALLOW
    report = world.guard.report(full=True)
    assert report.inspected == 3
    assert report.events == ()
    assert report.talkers["web"][0].requests == 3


def test_an_attack_is_blocked_and_told_without_secrets():
    world = World()
    ruling = world.ask(ATTACK + b"&password=hunter2")
    assert (ruling.action, ruling.why) == (Action.BLOCK, "inspection")
    (event,) = world.events()
    assert event.id == ruling.event
    assert event.category is ThreatClass.SQL_INJECTION
    assert event.client == "192.0.2.7"
    assert "hunter2" not in msgspec.json.encode(event).decode()
    assert world.events() == ()


def test_a_mode_that_only_logs_changes_nothing_and_tells_what_it_would_have_done():
    world = World(policy=Policy(mode=Mode.LOG))
    for _ in range(50):
        assert world.ask(ATTACK).action is Action.ALLOW
    event = world.events()[0]
    assert event.shadow
    assert event.action is Action.BLOCK
    assert world.ask(b"/").action is Action.ALLOW


def test_the_longest_route_sets_the_mode():
    world = World(routes=(("/legacy", Mode.LOG), ("/legacy/hard", Mode.BLOCK), ("/static", Mode.OFF)))
    assert world.ask(b"/legacy" + ATTACK).action is Action.ALLOW
    assert world.ask(b"/legacy/hard" + ATTACK, client="192.0.2.8").action is Action.BLOCK
    assert world.ask(b"/legacyx" + ATTACK, client="192.0.2.9").action is Action.BLOCK
    assert world.ask(b"/static" + ATTACK, client="192.0.2.10").action is Action.ALLOW
    # Whoever knows of no parameters sees another path there, and whoever does here.
    assert world.ask(b"/static;v=2" + ATTACK, client="192.0.2.12").action is Action.BLOCK
    assert world.ask(b"/pay/..;/static" + ATTACK, client="192.0.2.13").action is Action.BLOCK
    assert world.ask(b"/static/..;/pay" + ATTACK, client="192.0.2.11").action is Action.BLOCK


def test_allowed_beats_listed_and_banned():
    world = World(
        allow=pack([("192.0.2.0/28", 0)]),
        block=pack([("192.0.2.0/24", 1), ("198.51.100.0/24", 2)]),
        entries=(ListEntry(), ListEntry(reason="known"), ListEntry(until=1_700_000_100.0)),
        bans={"client:192.0.2.7": Ban(float("inf"), "ban")},
    )
    assert world.ask(ATTACK).trusted
    ruling = world.ask(client="192.0.2.77")
    assert (ruling.action, ruling.why) == (Action.BLOCK, "listed")
    assert world.ask(client="198.51.100.1").action is Action.ALLOW, "the entry has expired"
    assert world.ask(client="203.0.113.1").action is Action.ALLOW


def test_bans_hold_for_clients_networks_and_accounts_until_they_end():
    until = 1_700_001_060.0
    world = World(
        bans={
            "client:192.0.2.7": Ban(until),
            "network:198.51.100.0/24": Ban(until),
            "account:mallory": Ban(until),
        }
    )
    for asked in ({}, {"client": "198.51.100.9"}, {"client": "203.0.113.1", "user": "mallory"}):
        ruling = world.ask(**asked)
        assert (ruling.action, ruling.why) == (Action.BLOCK, "banned")
        assert ruling.wait == pytest.approx(60.0)
    world.now += 61.0
    assert world.ask().action is Action.ALLOW
    assert world.ask(client="198.51.100.9").action is Action.ALLOW


def test_whoever_attacks_again_and_again_is_refused_here_and_now_and_can_be_forgiven():
    world = World()
    for _ in range(10):
        world.ask(XSS)
    assert world.ask(b"/").why == "banned"
    assert world.ask(b"/", client="192.0.2.8").action is Action.ALLOW
    world.apply(bans={"client:192.0.2.7": Ban(float("inf"))})
    world.apply(bans={})
    assert world.ask(b"/").action is Action.ALLOW


def test_a_client_that_is_challenged_solves_it_once():
    world = World(
        challenge=ChallengeKey(b"0123456789abcdef0123456789abcdef", bits=6),
        bans={"client:192.0.2.7": Ban(float("inf"), challenge=True)},
    )
    ruling = world.ask()
    assert (ruling.action, ruling.why) == (Action.CHALLENGE, "challenged")
    solution = solve(ruling.challenge, ruling.bits)
    query = f"?challenge={ruling.challenge}&solution={solution}".encode()
    redeemed = world.ask(CHALLENGE_PATH + query, method="POST")
    assert redeemed.why == "redeemed"
    cookie = [(b"cookie", b"a=b; seawall_pass=" + redeemed.cookie.encode())]
    assert world.ask(headers=cookie).action is Action.ALLOW
    assert world.ask(headers=cookie, client="192.0.2.7").action is Action.ALLOW
    world.apply(bans={"client:192.0.2.8": Ban(float("inf"), challenge=True)})
    assert world.ask(headers=cookie, client="192.0.2.8").action is Action.CHALLENGE, "it is another's"
    assert world.ask(CHALLENGE_PATH + b"?challenge=x&solution=1").why == "unsolved"
    assert world.ask(ATTACK, headers=cookie).action is Action.BLOCK, "a pass is no licence"


def test_forged_requests_are_refused_and_in_log_mode_only_told():
    headers = [(b"sec-fetch-site", b"cross-site")]
    world = World(csrf=CsrfPolicy(trusted_origins=("https://app.example",)))
    assert world.ask(method="POST", headers=headers).why == "csrf"
    assert world.ask(method="GET", headers=headers).action is Action.ALLOW
    world = World(csrf=CsrfPolicy(mode=Mode.LOG))
    assert world.ask(method="POST", headers=headers).action is Action.ALLOW
    (event,) = world.events()
    assert (event.category, event.shadow) == (ThreatClass.CSRF, True)


def test_what_cannot_be_put_in_force_leaves_the_old_in_force():
    world = World()
    with pytest.raises(SeawallError, match="no origin"):
        world.apply(csrf=CsrfPolicy(trusted_origins=("not an origin",)))
    assert world.guard.snapshot.version == 1
    assert world.ask(ATTACK).action is Action.BLOCK


class TestBodies:
    def test_a_body_is_held_unless_it_is_a_picture_or_there_is_none(self):
        guard = World(hold_bytes=1000).guard
        form = Request("POST", b"/", [(b"content-type", b"application/x-www-form-urlencoded")])
        assert [guard.holds(form, length) for length in (0, 10, 5000, -1)] == [0, 10, 1000, 1000]
        assert guard.holds(Request("POST", b"/", [(b"content-type", b"Image/PNG")]), 10) == 0
        assert guard.holds(Request("POST", b"/"), 10) == 10

    @pytest.mark.parametrize(
        ("over", "action"),
        [(OverCap.INSPECT_PREFIX, Action.BLOCK), (OverCap.REJECT, Action.BLOCK), (OverCap.PASS, Action.ALLOW)],
    )
    def test_an_attack_in_the_part_that_was_held(self, over, action):
        guard = World(policy=Policy(over_cap=over)).guard
        request = Request("POST", b"/", [(b"content-type", b"application/json")], client="192.0.2.7")
        body = b'{"q": "<script>alert(1)</script>", "rest": "'
        assert guard.inspect(request, "web", body, whole=False).action is action

    def test_an_innocent_part_passes_unless_parts_are_rejected(self):
        request = Request("POST", b"/", [(b"content-type", b"application/json")], client="192.0.2.7")
        assert World().guard.inspect(request, "web", b'{"a": 1, "b"', whole=False).action is Action.ALLOW
        strict = World(policy=Policy(over_cap=OverCap.REJECT)).guard
        assert strict.inspect(request, "web", b'{"a": 1, "b"', whole=False).action is Action.BLOCK
        assert strict.report(full=True).partial == 1

    def test_caps_are_those_of_the_policy(self):
        guard = World(policy=Policy(caps=Caps(values=16), over_cap=OverCap.REJECT)).guard
        request = Request("GET", b"/?" + b"&".join(b"a%d=1" % n for n in range(50)), client="192.0.2.7")
        assert guard.inspect(request, "web").action is Action.BLOCK


class TestConduct:
    LOGIN = b"/login"
    HEADERS = ((b"content-type", b"application/x-www-form-urlencoded"),)

    def fail(self, world, account="alice", client="192.0.2.7", status=401):
        world.end(self.LOGIN, client, status, "POST", f"username={account}&password=x".encode(), headers=self.HEADERS)

    def test_guessing_is_answered_within_a_few_tries(self):
        world = World(logins=LoginPolicy(paths=("/login",)), challenge=ChallengeKey(b"x" * 32, bits=4))
        for _ in range(7):
            self.fail(world)
            world.now += 0.1
        assert world.ask(self.LOGIN, method="POST").action in {Action.CHALLENGE, Action.BLOCK}
        report = world.guard.report(full=True)
        assert {event.category for event in report.events} == {ThreatClass.BRUTE_FORCE}
        assert sum(one.count for one in report.failures) == 7
        assert report.failures[0].account == "alice"
        for _ in range(10):
            self.fail(world)
        assert world.ask(self.LOGIN, method="POST").why == "banned"

    def test_an_account_under_attack_is_challenged_not_refused(self):
        world = World(logins=LoginPolicy(paths=("/login",)), challenge=ChallengeKey(b"x" * 32, bits=4))
        for number in range(60):
            self.fail(world, client=f"192.0.2.{number}")
        assert world.ask(client="203.0.113.1", user="alice").action is Action.CHALLENGE

    def test_logging_in_is_no_crime(self):
        world = World(logins=LoginPolicy(paths=("/login",)))
        for number in range(200):
            self.fail(world, f"user-{number}", status=302)
            self.fail(world, f"user-{number}", status=500)
        assert world.events() == ()

    def test_the_account_is_read_from_forms_and_json(self):
        guard = World(logins=LoginPolicy(paths=("/login",))).guard
        form = Request("POST", b"/login", self.HEADERS)
        assert guard.account(form, b"email=A%40Example.com&user=x") == "a@example.com"
        assert guard.account(form, b"user=Bob+Smith") == "bob smith"
        assert guard.account(Request("POST", b"/login;a=1", self.HEADERS), b"user=Bob") == "bob"
        assert guard.account(form, b"%zz=%") == ""
        json = Request("POST", b"/login", [(b"content-type", b"application/json")])
        assert guard.account(json, b'{"login": "Carol"}') == "carol"
        assert guard.account(json, b'{"login": 7}') == ""
        assert guard.account(json, b"[" * 100_000) == ""
        assert guard.account(Request("GET", b"/login"), b"user=x") == ""
        assert guard.account(Request("POST", b"/other"), b"user=x") == ""

    def test_a_scanner_is_stopped_and_a_crowd_is_not(self):
        world = World()
        for number in range(60):
            world.end(f"/admin-{number}.php".encode(), status=404)
            world.now += 0.01
        assert world.ask().why == "banned"
        for number in range(600):
            world.end(
                b"/" if number % 4 else f"/missing-{number}".encode(), "192.0.2.8", 404 if number % 4 == 0 else 200
            )
        assert world.ask(client="192.0.2.8").action is Action.ALLOW

    def test_the_same_missing_picture_on_every_page_is_no_probing(self):
        world = World()
        for _ in range(1000):
            world.end(b"/favicon.ico", status=404)
        assert world.ask().action is Action.ALLOW

    def test_in_a_flood_known_clients_keep_what_they_usually_ask(self):
        world = World(floods=(FloodPolicy("web", {"client:192.0.2.1": 100.0}, 5.0),))
        refused = dict.fromkeys(("192.0.2.1", "192.0.2.2"), 0)
        for _ in range(500):
            world.now += 0.01
            for client in refused:
                refused[client] += world.ask(client=client).why == "flood"
        assert refused["192.0.2.1"] == 0
        assert refused["192.0.2.2"] >= 460
        world.apply(floods=())
        assert world.ask(client="192.0.2.2").action is Action.ALLOW

    def test_in_log_mode_nobody_is_refused_for_conduct(self):
        world = World(policy=Policy(mode=Mode.LOG), logins=LoginPolicy(paths=("/login",)))
        for number in range(100):
            world.end(f"/admin-{number}.php".encode(), status=404)
            self.fail(world)
        assert world.ask().action is Action.ALLOW
        events = world.events()
        assert {event.category for event in events} == {ThreatClass.BRUTE_FORCE, ThreatClass.PROBING}
        assert all(event.shadow for event in events)


def test_what_is_written_down_between_reports_is_bounded():
    world = World(policy=Policy(mode=Mode.LOG))
    for number in range(1200):
        world.ask(XSS, client=f"10.0.{number >> 8}.{number & 255}")
    report = world.guard.report(full=True)
    assert len(report.events) == 1000
    assert report.lost == 200
    told = [one.subject for one in report.talkers["web"]]
    assert len([one for one in told if one.startswith("client:")]) == 100
    assert set(told) >= {f"network:10.0.{number}.0/24" for number in range(5)}


def test_clients_of_many_routes_take_bounded_memory():
    world = World(policy=Policy(mode=Mode.LOG))
    for route in range(1100):
        for client in range(200 if route > 30 else 5000):
            request = Request("GET", b"/", client=f"10.{client >> 8}.{client & 255}.1")
            world.guard._journal.asked(f"route-{route}", request)
    report = world.guard.report(full=False)
    assert len(report.asked) == 1000
    assert report.asked["route-0"].requests == 5000
    assert report.asked["route-900"].requests == 200
    assert sum(len(one) for one in report.talkers.values()) < 20_000


def test_levels_rise_with_what_is_found():
    world = World()
    world.ask(XSS)
    assert world.events()[0].level in {Level.HIGH, Level.CRITICAL}
