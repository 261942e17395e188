"""Threat detection in the gateway: what is refused never reaches an instance, and what is not is passed on unharmed."""

import asyncio
import functools
import os
import time
from hashlib import sha256

import msgspec
import pytest
from test_gateway_asks import HeldCounts

from gateway_harness import BALANCING, RATELIMIT, Gateway, Peer, chunked, gateway, get, ok, until
from seawall.adapters.patterns import compile_patterns
from seawall.core.system import System
from seawall.systems.balancing.model import RouteSnapshot
from seawall.systems.ratelimit.model import Counting, RuleSnapshot, WindowSnapshot
from seawall.systems.threats.guard import ThreatGuard
from seawall.systems.threats.inspection.policy import OverCap, Policy
from seawall.systems.threats.messages import Ban, ChallengeKey, CsrfPolicy, LoginPolicy, ThreatReport, ThreatSnapshot
from seawall.systems.threats.model import Action, Level, Mode
from seawall.systems.threats.networks import pack
from seawall.systems.threats.response import ResponseLimits

pytestmark = pytest.mark.anyio

ATTACK = b"/search?q=%27%20OR%201%3D1--%20"
JSON = b"Content-Type: application/json"
BAD = b'{"name": "x\' UNION SELECT password FROM users-- "}'
GOOD = b'{"name": "Union Street 5", "items": [1, 2, 3]}'
PATIENT = ResponseLimits(throttle_at=1e6, challenge_at=1e6, block_at=1e6, ban_at=1e6, ban_on_critical=False)
"""Whoever attacks is refused for this one request only."""


@functools.cache
def matcher(groups):
    return compile_patterns(groups)


def guard(context, kind=ThreatGuard):
    return kind(
        context.clock.monotonic,
        context.clock.wall,
        os.urandom,
        lambda groups: matcher(tuple(tuple(group) for group in groups)),
    )


def system(kind=ThreatGuard):
    return System(
        name="threats",
        settings=object,
        snapshot=ThreatSnapshot,
        report=ThreatReport,
        engine=lambda context: guard(context, kind),
        controller=lambda _: (_ for _ in ()).throw(AssertionError("no controller in a worker")),
        instruments=(),
    )


THREATS = system()
SYSTEMS = (BALANCING, RATELIMIT, THREATS)


def watch(running: Gateway, **fields) -> None:
    running.version += 1
    fields.setdefault("response", PATIENT)
    snapshot = ThreatSnapshot(version=running.version, **fields)
    running.worker.apply("threats", msgspec.msgpack.encode(snapshot))


def seen(running: Gateway) -> ThreatReport:
    report = dict(running.worker.collect(full=True))["threats"]
    assert isinstance(report, ThreatReport)
    return report


def exchange_of(running: Gateway):
    return next(iter(running.worker.runtime.connections))._exchange


def head(length: int | None, *fields: bytes, target: bytes = b"/", method: bytes = b"POST") -> bytes:
    framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    return get(target, JSON, framing, *fields, method=method)


async def trickle(client, data: bytes, parts: int = 7) -> None:
    """Send in parts, each of which the gateway has taken before the next one comes."""
    size = max(len(data) // parts, 1)
    for start in range(0, len(data), size):
        await client.send(data[start : start + size])
        await asyncio.sleep(0.002)


def solve(challenge: str, bits: int) -> int:
    """Solve a challenge as a browser does."""
    number = 0
    while int.from_bytes(sha256(f"{challenge}:{number}".encode()).digest(), "big") >> (256 - bits):
        number += 1
    return number


# what is refused


async def test_an_attack_in_the_query_never_reaches_an_instance_and_the_connection_goes_on():
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        watch(running)
        client = await running.client()
        refused = await client.ask(get(ATTACK))
        assert refused.status == 403
        assert refused.problem["code"] == "request-blocked"
        assert refused.problem["event"] == seen(running).events[0].id
        assert refused.get(b"cache-control") == b"no-store"
        assert refused.get(b"connection") is None
        assert b"sql" not in refused.body.lower()
        assert (await client.ask(get(b"/fine"))).status == 200
        assert [request.target for request in running.upstreams[0].requests] == [b"/fine"]
        assert len(running.upstreams[0].peers) == 1


async def test_head_is_refused_without_a_body():
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        watch(running)
        client = await running.client()
        refused = await client.ask(get(ATTACK, method=b"HEAD"), head=True)
        assert refused.status == 403
        assert (await client.ask(get(b"/fine"))).status == 200


@pytest.mark.parametrize("in_chunks", [False, True])
@pytest.mark.parametrize("parts", [1, 9])
async def test_an_attack_in_the_body_is_refused_however_it_is_cut(in_chunks, parts):
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        watch(running)
        client = await running.client()
        if in_chunks:
            data = head(None) + chunked(*(BAD[i : i + 5] for i in range(0, len(BAD), 5)))
        else:
            data = head(len(BAD)) + BAD
        await trickle(client, data, parts)
        refused = await client.response()
        assert (refused.status, refused.problem["code"]) == (403, "request-blocked")
        assert refused.get(b"connection") is None
        assert (await client.ask(get(b"/fine"))).status == 200
        assert [request.method for request in running.upstreams[0].requests] == [b"GET"]
        assert seen(running).routes["all"].bytes == len(BAD)


async def test_requests_in_a_row_are_each_judged_and_answered_in_order():
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        watch(running)
        client = await running.client()
        await client.send(
            head(len(GOOD)) + GOOD + head(len(BAD)) + BAD + head(None) + chunked(GOOD) + get(ATTACK) + get(b"/last")
        )
        assert [(await client.response()).status for _ in range(5)] == [200, 403, 200, 403, 200]
        assert [request.body for request in running.upstreams[0].requests] == [GOOD, GOOD, b""]


async def test_the_prefix_of_a_body_that_is_too_large_decides():
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        watch(running, hold_bytes=1000)
        client = await running.client()
        await client.send(head(10_000) + BAD + b" " * 2000)
        refused = await client.response()
        assert refused.status == 403
        assert refused.get(b"connection") == b"close"
        await client.closed()
        assert running.upstreams[0].peers == []


@pytest.mark.parametrize(
    ("over", "status"), [(OverCap.INSPECT_PREFIX, 200), (OverCap.PASS, 200), (OverCap.REJECT, 403)]
)
async def test_what_comes_after_the_prefix_is_as_the_policy_says(over, status):
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        watch(running, hold_bytes=1000, policy=Policy(over_cap=over))
        client = await running.client()
        body = b'{"padding": "' + b"a " * 1000 + b'", ' + BAD[1:]
        answer = await client.ask(head(len(body)) + body)
        assert answer.status == status
        assert [request.body for request in running.upstreams[0].requests] == ([body] if status == 200 else [])
        assert seen(running).partial == 1


# what goes on


@pytest.mark.parametrize("in_chunks", [False, True])
async def test_a_clean_body_is_held_until_it_is_complete_and_passed_on_unchanged(in_chunks):
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        watch(running)
        client = await running.client()
        first = head(None) + b"%x\r\n%b\r\n" % (len(GOOD), GOOD) if in_chunks else head(len(GOOD)) + GOOD[:-1]
        last = b"0\r\nX-Trailer: dropped\r\n\r\n" if in_chunks else GOOD[-1:]
        await client.send(first)
        await until(lambda: exchange_of(running) is not None and exchange_of(running)._body_bytes, "the body")
        assert running.upstreams[0].peers == []
        assert (await client.ask(last)).status == 200
        assert (await client.ask(get(b"/next"))).status == 200
        requests = running.upstreams[0].requests
        assert [request.body for request in requests] == [GOOD, b""]
        assert [request.chunked for request in requests] == [in_chunks, False]


@pytest.mark.parametrize("in_chunks", [False, True])
@pytest.mark.parametrize("size", [64_990, 70_000, 300_000, 3_000_000])
async def test_a_large_body_streams_after_its_prefix(in_chunks, size):
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        watch(running, hold_bytes=65_000)
        client = await running.client()
        body = (b"Lorem ipsum dolor sit amet. " * (size // 28 + 1))[:size]
        data = head(None) + chunked(body) if in_chunks else head(size) + body
        assert (await client.ask(data)).status == 200
        assert running.upstreams[0].requests[0].body == body
        assert seen(running).partial == (size > 65_000)


async def test_more_than_the_usual_buffer_can_be_held():
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        watch(running, hold_bytes=1_000_000)
        client = await running.client()
        body = b'{"text": "' + b"word " * 100_000 + b'"}'
        assert (await client.ask(head(len(body)) + body)).status == 200
        bad = body[:-1] + b", " + BAD[1:]
        assert (await client.ask(head(len(bad)) + bad)).status == 403
        assert [request.body for request in running.upstreams[0].requests] == [body]


async def test_a_body_that_nobody_looks_into_streams():
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        watch(running)
        client = await running.client()
        await client.send(get(b"/", b"Content-Type: image/png", b"Content-Length: 10", method=b"PUT") + b"12345")
        await until(lambda: running.upstreams[0].peers, "the request at the instance")
        assert (await client.ask(b"67890")).status == 200
        assert running.upstreams[0].requests[0].body == b"1234567890"


async def test_a_held_body_is_sent_again_to_another_instance():
    async def drop(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    async with gateway((drop, Peer.serve), systems=SYSTEMS, retry_attempts=2) as running:
        running.apply([running.upstreams[0].url, running.upstreams[0].url])
        watch(running)
        client = await running.client()
        data = head(None, method=b"PUT") + chunked(GOOD[:7], GOOD[7:])
        assert (await client.ask(data)).status == 200
        assert [(request.body, request.chunked) for request in running.upstreams[0].requests] == [(GOOD, True)]


async def test_an_upgrade_stays_a_wish_and_its_body_is_judged():
    fields = (b"Connection: upgrade", b"Upgrade: websocket")
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        watch(running)
        client = await running.client()
        assert (await client.ask(get(b"/socket", *fields))).status == 200
        assert (await client.ask(head(len(GOOD), *fields) + GOOD)).status == 200
        assert (await client.ask(head(len(BAD), *fields) + BAD)).status == 403
        assert (await client.ask(get(b"/next"))).status == 200
        assert [request.body for request in running.upstreams[0].requests] == [b"", GOOD, b""]


# clients that wait, stop or leave


async def test_a_client_that_waits_for_a_word_is_told_once_to_send_its_body():
    async def interim(peer: Peer) -> None:
        peer.upstream.requests.append(await peer.request())
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" + ok())

    async with gateway(interim, systems=SYSTEMS) as running:
        watch(running)
        client = await running.client()
        told = await client.ask(head(len(GOOD), b"Expect: 100-continue"))
        assert (told.status, running.upstreams[0].peers) == (100, [])
        answer = await client.ask(GOOD)
        assert (answer.status, answer.get(b"connection")) == (200, None)
        assert running.upstreams[0].requests[0].body == GOOD


async def test_whoever_is_refused_by_its_head_is_not_told_to_send_its_body():
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        watch(running, bans={"client:127.0.0.1": Ban(time.time() + 60)})
        client = await running.client()
        answer = await client.ask(head(len(GOOD), b"Expect: 100-continue"))
        assert (answer.status, answer.get(b"connection")) == (403, b"close")
        await client.closed()


async def test_a_body_that_stops_coming_is_given_up():
    async with gateway(Peer.serve, systems=SYSTEMS, settings={"body_timeout_ms": 100}) as running:
        watch(running)
        client = await running.client()
        await client.send(head(len(GOOD)) + GOOD[:5])
        answer = await client.response()
        assert (answer.status, answer.problem["code"]) == (408, "request-timeout")
        await client.closed()
        assert running.upstreams[0].peers == []
        assert seen(running).routes["all"].client_errors == 1


async def test_a_body_that_drips_is_given_up_when_the_whole_request_takes_too_long():
    async with gateway(Peer.serve, systems=SYSTEMS, total_timeout=0.3) as running:
        watch(running)
        client = await running.client()
        await client.send(head(1000))
        deadline = time.monotonic() + 5.0
        while not running.worker.runtime.connections or exchange_of(running) is not None:
            assert time.monotonic() < deadline
            client.write(b"a")
            await asyncio.sleep(0.02)
        assert (await client.response()).status == 408
        assert running.upstreams[0].peers == []


async def test_a_client_that_leaves_leaves_nothing_behind():
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        watch(running)
        client = await running.client()
        await client.send(head(len(GOOD)) + GOOD[:5])
        await until(lambda: running.worker.runtime.connections and exchange_of(running) is not None, "the request")
        client.close()
        await until(lambda: not running.worker.runtime.connections, "the end of the connection")
        assert running.upstreams[0].peers == []
        assert seen(running).routes["all"].requests == 1


async def test_a_body_that_turns_out_malformed_or_too_large_is_refused():
    async with gateway(Peer.serve, systems=SYSTEMS, settings={"max_body_bytes": 100}) as running:
        watch(running)
        assert (await running.ask(head(None) + b"5\r\nhello\r\nzz\r\n")).status == 400
        assert (await running.ask(head(None) + chunked(b"a" * 60, b"b" * 60))).status == 413
        assert running.upstreams[0].peers == []


# who asks


async def test_an_attack_leads_to_a_block_of_its_client():
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        watch(running, response=ResponseLimits())
        client = await running.client()
        assert (await client.ask(get(b"/fine"))).status == 200
        assert [(await client.ask(get(ATTACK))).status for _ in range(3)] == [403, 403, 403]
        assert (await client.ask(get(b"/fine"))).status == 403
        assert (await client.ask(head(len(GOOD)) + GOOD)).status == 403
        assert len(running.upstreams[0].requests) == 1


async def test_who_is_trusted_is_asked_nothing():
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        watch(running, allow=pack([("127.0.0.1", 0)]), bans={"client:127.0.0.1": Ban(time.time() + 60)})
        assert (await running.ask(get(ATTACK))).status == 200
        assert (await running.ask(head(len(BAD)) + BAD)).status == 200
        assert seen(running).inspected == 0


async def test_an_address_made_up_bans_nobody_and_helps_nobody():
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        watch(running, response=ResponseLimits(), bans={"client:192.0.2.1": Ban(time.time() + 60)})
        forged = b"X-Forwarded-For: 192.0.2.1"
        assert (await running.ask(get(b"/fine", forged))).status == 200
        for number in range(3):
            assert (await running.ask(get(ATTACK, b"X-Forwarded-For: 192.0.2.%d" % (number + 2)))).status == 403
        assert {event.client for event in seen(running).events} == {"127.0.0.1"}
        assert (await running.ask(get(b"/fine", b"X-Forwarded-For: 198.51.100.9"))).status == 403


async def test_a_trusted_proxy_is_believed_and_not_banned_for_its_clients():
    async with gateway(Peer.serve, systems=SYSTEMS, settings={"trusted_proxies": ["127.0.0.1"]}) as running:
        watch(running, response=ResponseLimits())
        for _ in range(3):
            assert (await running.ask(get(ATTACK, b"X-Forwarded-For: 192.0.2.1"))).status == 403
        assert (await running.ask(get(b"/fine", b"X-Forwarded-For: 192.0.2.1"))).status == 403
        assert (await running.ask(get(b"/fine", b"X-Forwarded-For: 192.0.2.2"))).status == 200


async def test_a_request_of_another_site_is_refused_by_the_host_that_the_client_asked_for():
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        watch(running, csrf=CsrfPolicy())
        forged = await running.ask(head(len(GOOD), b"Origin: https://evil.test") + GOOD)
        assert (forged.status, forged.problem["code"]) == (403, "cross-site-request")
        assert (await running.ask(head(len(GOOD), b"Origin: https://example.test") + GOOD)).status == 200
        # An application that checks by itself is told the host, too.
        assert running.upstreams[0].requests[0].get(b"x-forwarded-host") == b"example.test"


async def test_a_challenge_is_answered_here_and_its_cookie_lets_the_client_on():
    key = ChallengeKey(b"k" * 32, bits=6)
    async with gateway(
        Peer.serve, systems=SYSTEMS, routes=(RouteSnapshot(name="api", pool="default", path_prefix="/api"),)
    ) as running:
        watch(running, challenge=key, bans={"client:127.0.0.1": Ban(time.time() + 60, challenge=True)})
        page = await running.ask(get(b"/api", b"Accept: text/html"))
        assert (page.status, page.get(b"content-type")) == (403, b"text/html; charset=utf-8")
        program = await running.ask(get(b"/api", b"Accept: application/json"))
        assert program.problem["code"] == "challenged"
        challenge = page.body.partition(b'challenge = "')[2].partition(b'"')[0].decode()
        assert challenge, page.body[:2000]
        solution = solve(challenge, key.bits)
        path = f"/.well-known/seawall-challenge?challenge={challenge}&solution={solution}".encode()
        redeemed = await running.ask(get(path))
        assert redeemed.status == 204
        cookie = redeemed.get(b"set-cookie").partition(b";")[0]
        assert (await running.ask(get(b"/api", b"Cookie: " + cookie))).status == 200
        assert (await running.ask(get(path[:-1] + b"x"))).status == 403
        assert [request.target for request in running.upstreams[0].requests] == [b"/api"]


async def test_an_account_under_attack_is_challenged_and_others_are_not():
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        watch(
            running,
            challenge=ChallengeKey(b"k" * 32, bits=6),
            logins=LoginPolicy(paths=("/login",)),
            bans={"account:alice": Ban(time.time() + 60, challenge=True)},
        )

        async def log_in(account: bytes) -> int:
            body = b'{"username": "%b", "password": "secret"}' % account
            return (await running.ask(head(len(body), target=b"/login") + body)).status

        assert [await log_in(account) for account in (b"alice", b"Alice", b"bob")] == [403, 403, 200]


async def test_failed_logins_are_counted_by_what_the_instance_says_and_refusals_of_our_own_are_none():
    async def deny(peer: Peer) -> None:
        await peer.serve(ok(status=b"401 Unauthorized"))

    async with gateway(deny, systems=SYSTEMS) as running:
        watch(running, response=ResponseLimits(), logins=LoginPolicy(paths=("/login",)))
        body = b'{"username": "alice", "password": "wrong"}'
        statuses = [(await running.ask(head(len(body), target=b"/login") + body)).status for _ in range(20)]
        assert statuses[:6] == [401] * 6
        assert statuses[-1] == 403
        first = statuses.index(403)
        assert statuses[first:] == [403] * (20 - first)
        report = seen(running)
        assert sum(failure.count for failure in report.failures) == first
        assert {failure.account for failure in report.failures} == {"alice"}
        assert (await running.ask(get(b"/"))).status == 403


# modes, order, defects


async def test_log_changes_nothing_and_says_what_it_would_have_done():
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        watch(running, policy=Policy(mode=Mode.LOG), response=ResponseLimits())
        client = await running.client()
        for _ in range(3):
            assert (await client.ask(get(ATTACK))).status == 200
            assert (await client.ask(head(len(BAD)) + BAD)).status == 200
        report = seen(running)
        assert {(event.shadow, event.action) for event in report.events} == {(True, Action.BLOCK)}
        assert (report.shadowed, report.actions) == ({"block": 6}, {})
        assert len(running.upstreams[0].requests) == 6
        assert all(request.get(b"x-seawall-threat") is None for request in running.upstreams[0].requests)


@pytest.mark.parametrize("in_chunks", [False, True])
async def test_a_body_is_not_held_where_only_is_logged(in_chunks):
    body = b'{"username": "alice", "a": ' + BAD + b"}"
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        watch(running, policy=Policy(mode=Mode.LOG), logins=LoginPolicy(paths=("/",)), hold_bytes=1000)
        client = await running.client()
        await client.send(head(None) + b"5\r\n" + body[:5] + b"\r\n" if in_chunks else head(len(body)) + body[:5])
        await until(lambda: running.engine.pools["default"].active == 1, "the request at the instance")
        rest = chunked(body[5:]) if in_chunks else body[5:]
        # The next request is there before the first is answered; its body is copied, too.
        await client.send(rest + head(3000) + BAD + b" " * (3000 - len(BAD)) + head(2) + b"{}")
        assert [(await client.response()).status for _ in range(3)] == [200] * 3
        assert running.upstreams[0].requests[0].body == body
        report = seen(running)
        assert [(event.shadow, event.partial) for event in report.events] == [(True, ""), (True, "bytes")]
        assert (report.inspected, report.partial) == (3, 1)
        assert report.routes["all"].bytes == len(body) + 1000 + 2
        assert report.logged_in == (("127.0.0.1", "alice"), ("127.0.0.1", ""))


async def test_off_is_met_by_no_request_and_a_route_may_be_left_out():
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        watch(running, policy=Policy(mode=Mode.OFF))
        assert running.worker.runtime.pipeline.stages == ()
        assert (await running.ask(get(ATTACK))).status == 200
        watch(running, routes=(("/raw", Mode.OFF),))
        client = await running.client()
        await client.send(head(len(BAD), target=b"/raw") + BAD[:5])
        await until(lambda: running.engine.pools["default"].active == 1, "the request at the instance")
        assert (await client.ask(BAD[5:])).status == 200
        assert (await client.ask(head(len(BAD)) + BAD)).status == 403


async def test_the_instance_is_told_of_what_looks_odd_and_nobody_else_can_say_so():
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        tagging = (
            (Level.LOW, Action.TAG),
            (Level.MEDIUM, Action.TAG),
            (Level.HIGH, Action.TAG),
            (Level.CRITICAL, Action.THROTTLE),
        )
        watch(running, policy=Policy(actions=tagging))
        assert (await running.ask(get(ATTACK, b"X-Seawall-Threat: low;score=0.1"))).status == 200
        assert (await running.ask(get(b"/fine", b"X-Seawall-Threat: critical"))).status == 200
        assert (await running.ask(head(len(BAD)) + BAD)).status == 200
        first, second, third = [request.get(b"x-seawall-threat") for request in running.upstreams[0].requests]
        assert first.partition(b";score=")[0] in {b"high", b"critical"}
        assert second is None
        assert third.partition(b";score=")[0] in {b"high", b"critical"}


async def test_whoever_only_looks_odd_is_never_refused_for_it_and_prose_is_no_event():
    tagging = tuple((level, Action.TAG) for level in Level if level is not Level.NONE)
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        watch(running, policy=Policy(actions=tagging), response=ResponseLimits())
        client = await running.client()
        assert {(await client.ask(get(ATTACK))).status for _ in range(50)} == {200}
        assert {event.action for event in seen(running).events} == {Action.TAG}
        prose = b'{"note": "please select from the menu, or drop by"}'
        assert (await client.ask(head(len(prose)) + prose)).status == 200
        assert seen(running).events == ()
        assert running.upstreams[0].requests[-1].get(b"x-seawall-threat") is None


async def test_limits_come_before_bodies_are_read():
    window = WindowSnapshot(name="calls", limit=1, window=3600.0)
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        running.limit(RuleSnapshot(id="calls", key=("client",), windows=(window,)))
        watch(running)
        assert (await running.ask(head(len(GOOD)) + GOOD)).status == 200
        client = await running.client()
        assert (await client.ask(head(len(GOOD)))).status == 429
        # Bans and lists are cheaper still.
        watch(running, bans={"client:127.0.0.1": Ban(time.time() + 60)})
        assert (await running.ask(get(b"/"))).status == 403


@pytest.mark.parametrize(("body", "status"), [(GOOD, 200), (BAD, 403), (b"a" * 300_000, 200)])
@pytest.mark.parametrize("early", [True, False])
async def test_a_body_is_held_after_a_wait_for_shared_counts(body, status, early):
    counts = HeldCounts()
    window = WindowSnapshot(name="calls", limit=1, window=3600.0)
    async with gateway(Peer.serve, systems=SYSTEMS, counts=counts) as running:
        running.limit(RuleSnapshot(id="calls", key=("client",), windows=(window,), counts=Counting.STRICT))
        watch(running, hold_bytes=200_000)
        client = await running.client()
        cut = len(body) if early else 3
        client.write(head(len(body)) + body[:cut])
        await until(lambda: counts.held, "the question")
        await counts.answer()
        client.write(body[cut:])
        assert (await client.response()).status == status
        assert [request.body for request in running.upstreams[0].requests] == ([body] if status == 200 else [])


class BrokenGuard(ThreatGuard):
    """A guard with a defect in each thing that it is asked."""

    def admit(self, request, route):
        raise ZeroDivisionError

    def inspect(self, request, route, body=b"", *, whole=True):
        raise ZeroDivisionError

    def ended(self, *args, **kwargs):
        raise ZeroDivisionError


async def test_a_defect_lets_requests_through_and_is_counted():
    async with gateway(Peer.serve, systems=(BALANCING, system(BrokenGuard))) as running:
        watch(running)
        assert (await running.ask(get(b"/"))).status == 200
        assert (await running.ask(head(len(GOOD)) + GOOD)).status == 200
        assert running.upstreams[0].requests[1].body == GOOD
        assert running.worker.runtime.pipeline.failures.counts["threats"] == 6
