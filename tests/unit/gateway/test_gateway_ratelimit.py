"""Rate limits in the gateway, counted in this process: who is refused, how, and what a refusal leaves behind."""

import asyncio

import msgspec
import pytest

from gateway_harness import BALANCING, RATELIMIT, Peer, closed_port, gateway, get, ok, post, until
from seawall.systems.balancing.model import RouteSnapshot
from seawall.systems.ratelimit.condition import Condition
from seawall.systems.ratelimit.engine import RateLimitEngine
from seawall.systems.ratelimit.keys import LimitContext
from seawall.systems.ratelimit.model import (
    Algorithm,
    Block,
    LimitResult,
    Mode,
    PriorityRule,
    RuleSnapshot,
    WindowSnapshot,
)

pytestmark = pytest.mark.anyio

QUOTA = "https://iana.org/assignments/http-problem-types#quota-exceeded"


def rule(limit: float = 2, *, name: str = "calls", key: tuple[str, ...] = ("client",), **fields) -> RuleSnapshot:
    """`limit` requests an hour, all at once: what is used up stays so for the length of a test."""
    window = WindowSnapshot(name=name, limit=limit, window=3600.0)
    return RuleSnapshot(id=name, key=key, windows=(window,), **fields)


def in_flight(limit: float = 1) -> RuleSnapshot:
    window = WindowSnapshot(name="slots", limit=limit, window=3600.0, algorithm=Algorithm.CONCURRENCY)
    return RuleSnapshot(id="slots", key=("client",), windows=(window,))


async def test_a_request_over_its_limit_is_refused_and_the_connection_goes_on():
    async with gateway(Peer.serve) as running:
        running.limit(rule(2))
        client = await running.client()
        answers = [await client.ask(get(b"/%d" % number)) for number in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        refused = answers[2]
        body = msgspec.json.decode(refused.body)
        assert body == {
            "type": QUOTA,
            "title": "Quota exceeded",
            "status": 429,
            "detail": body["detail"],
            "violated-policies": ["calls"],
            "code": "quota-exceeded",
            "request_id": refused.get(b"x-request-id").decode(),
        }
        assert refused.get(b"content-type") == b"application/problem+json"
        assert refused.get(b"cache-control") == b"no-store"
        assert 1 <= int(refused.get(b"retry-after")) <= 1800
        assert refused.get(b"connection") is None
        assert [request.target for request in running.upstreams[0].requests] == [b"/0", b"/1"]
        assert (await client.ask(get(b"/4"))).status == 429


async def test_every_answer_tells_the_quota():
    async with gateway(Peer.serve) as running:
        running.limit(rule(2))
        client = await running.client()
        answers = [await client.ask(get()) for _ in range(3)]
        assert {answer.get(b"ratelimit-policy") for answer in answers} == {b'"calls";q=2;w=3600'}
        assert [answer.get(b"ratelimit").split(b";")[:2] for answer in answers] == [
            [b'"calls"', b"r=1"],
            [b'"calls"', b"r=0"],
            [b'"calls"', b"r=0"],
        ]
        assert all(answer.get(b"x-ratelimit-limit") is None for answer in answers)


async def test_the_older_fields_are_told_where_they_are_wanted():
    async with gateway(Peer.serve) as running:
        running.limit(rule(2), headers=("x-ratelimit",))
        answer = await running.ask(get())
        assert (answer.get(b"x-ratelimit-limit"), answer.get(b"x-ratelimit-remaining")) == (b"2", b"1")
        assert answer.get(b"ratelimit") is None


async def test_the_upstreams_own_quota_gives_way_to_ours_and_only_then():
    own = (b'RateLimit: "theirs";r=9;t=1', b'RateLimit-Policy: "theirs";q=10;w=1', b"Retry-After: 7")

    async def script(peer: Peer) -> None:
        await peer.serve(ok(b"a", *own))

    async with gateway(script) as running:
        running.limit(rule(5, match=Condition(paths=("/api",))))
        answer = await running.ask(get(b"/api/x"))
        assert [value.split(b";")[0] for value in answer.all(b"ratelimit")] == [b'"calls"']
        assert [value.split(b";")[0] for value in answer.all(b"ratelimit-policy")] == [b'"calls"']
        assert answer.get(b"retry-after") == b"7"
        answer = await running.ask(get(b"/other"))
        assert answer.get(b"ratelimit") == b'"theirs";r=9;t=1'
        assert answer.get(b"ratelimit-policy") == b'"theirs";q=10;w=1'


async def test_without_rules_nothing_is_added_and_limits_come_and_go_at_run_time():
    async with gateway(Peer.serve) as running:
        client = await running.client()
        assert (await client.ask(get())).get(b"ratelimit") is None
        running.limit(rule(1))
        assert [(await client.ask(get())).status for _ in range(2)] == [200, 429]
        running.limit()
        assert (await client.ask(get())).get(b"ratelimit") is None
        running.limit(rule(1, mode=Mode.OFF))
        assert [(await client.ask(get())).status for _ in range(2)] == [200, 200]


async def test_new_limits_keep_the_counts():
    async with gateway(Peer.serve) as running:
        running.limit(rule(4))
        client = await running.client()
        assert [(await client.ask(get())).status for _ in range(3)] == [200] * 3
        running.limit(rule(3))
        assert (await client.ask(get())).status == 429
        running.limit(rule(5))
        assert (await client.ask(get())).status == 200


async def test_clients_are_counted_apart_behind_a_trusted_proxy_only():
    def asked(client: bytes) -> bytes:
        return get(b"/", b"X-Forwarded-For: " + client)

    async with gateway(Peer.serve, settings={"trusted_proxies": ("127.0.0.1",)}) as running:
        running.limit(rule(1))
        assert [(await running.ask(asked(b"192.0.2.1"))).status for _ in range(2)] == [200, 429]
        assert (await running.ask(asked(b"192.0.2.2"))).status == 200
        # What a client puts in front of its proxy's word changes nothing.
        assert (await running.ask(asked(b"198.51.100.9, 192.0.2.2"))).status == 429
        running.configure(trusted_proxies=())
        assert (await running.ask(asked(b"192.0.2.3"))).status == 200
        assert (await running.ask(asked(b"192.0.2.4"))).status == 429


async def test_rules_see_method_path_headers_and_route():
    routes = (
        RouteSnapshot(name="items", pool="default", path_prefix="/items"),
        RouteSnapshot(name="x", pool="default"),
    )
    async with gateway(Peer.serve, routes=routes) as running:
        running.limit(
            rule(1, name="writes", match=Condition(methods=("POST",))),
            rule(1, name="bots", match=Condition(headers={"x-bot": "*"}), key=("header:x-bot",)),
            rule(1, name="route", match=Condition(routes=("items",))),
            rule(1, name="paths", match=Condition(paths=("/admin",))),
        )
        client = await running.client()

        async def policies(data: bytes) -> bytes | None:
            answer = await client.ask(data)
            return (answer.get(b"ratelimit-policy") or b"").split(b";")[0]

        assert await policies(post(b"", target=b"/admin")) == b'"writes"'
        assert await policies(get(b"/", b"X-Bot: one")) == b'"bots"'
        assert await policies(get(b"/items/1")) == b'"route"'
        assert await policies(get(b"/public/../admin/%61?q=1")) == b'"paths"'
        assert await policies(get(b"/else")) == b""
        assert (await client.ask(get(b"/", b"X-Bot: one"))).status == 429
        assert (await client.ask(get(b"/", b"X-Bot: two"))).status == 200


async def test_a_request_that_no_route_takes_counts_too():
    async with gateway(Peer.serve, routes=(RouteSnapshot(name="api", pool="default", path_prefix="/api"),)) as running:
        running.limit(rule(1))
        client = await running.client()
        answer = await client.ask(get(b"/.env"))
        assert answer.status == 404
        assert answer.get(b"ratelimit").startswith(b'"calls";r=0')
        assert (await client.ask(get(b"/api"))).status == 429


async def test_shadow_rules_refuse_nothing_and_tell_nothing():
    async with gateway(Peer.serve) as running:
        running.limit(rule(1, mode=Mode.SHADOW))
        client = await running.client()
        answers = [await client.ask(get()) for _ in range(3)]
        assert [(answer.status, answer.get(b"ratelimit")) for answer in answers] == [(200, None)] * 3
        assert running.limits().rules["calls"].shadow == 2


async def test_blocked_clients_and_shed_requests_are_told_so():
    async with gateway(Peer.serve) as running:
        running.limit(blocks={"client:127.0.0.0/8": Block(until=4e9, reason="rival")})
        answer = await running.ask(get())
        assert answer.status == 429
        assert msgspec.json.decode(answer.body)["code"] == "abnormal-usage-detected"
        assert b"rival" not in answer.body  # what operators note is for operators
        running.limit(
            shedding=True,
            priorities=(PriorityRule(tier=5, match=Condition(paths=("/feed",))),),
            admission=(1.0, 1.0, 1.0, 1.0, 1.0, 0.0),
        )
        answer = await running.ask(get(b"/feed"))
        assert (answer.status, answer.get(b"retry-after")) == (503, b"1")
        assert msgspec.json.decode(answer.body)["code"] == "temporary-reduced-capacity"
        assert (await running.ask(get(b"/pay"))).status == 200


async def test_a_refused_head_has_no_body_and_the_connection_goes_on():
    async with gateway(Peer.serve) as running:
        running.limit(rule(1))
        client = await running.client()
        assert (await client.ask(get(method=b"HEAD"), head=True)).status == 200
        answer = await client.ask(get(method=b"HEAD"), head=True)
        assert answer.status == 429
        assert int(answer.get(b"content-length")) > 100
        assert (await client.ask(get())).status == 429


async def test_a_refused_request_in_http_1_0_ends_its_connection():
    async with gateway(Peer.serve) as running:
        running.limit(rule(1))
        request = b"GET / HTTP/1.0\r\nHost: x\r\n\r\n"
        assert (await running.ask(request)).status == 200
        client = await running.client()
        answer = await client.ask(request)
        assert (answer.status, answer.get(b"connection")) == (429, b"close")
        assert await client.rest() == b""


async def test_an_expected_body_is_refused_before_it_is_sent():
    async with gateway(Peer.serve) as running:
        running.limit(rule(1))
        await running.ask(get())
        client = await running.client()
        head = get(b"/", b"Content-Length: 5", b"Expect: 100-continue", method=b"POST")
        answer = await client.ask(head)
        assert (answer.status, answer.get(b"connection")) == (429, b"close")
        assert await client.rest() == b""
        assert len(running.upstreams[0].requests) == 1


async def test_pipelined_requests_are_refused_each_in_its_turn():
    async with gateway(Peer.serve) as running:
        running.limit(rule(2))
        client = await running.client()
        await client.send(b"".join(get(b"/%d" % number) for number in range(5)))
        assert [(await client.response()).status for _ in range(5)] == [200, 200, 429, 429, 429]


async def test_requests_in_flight_are_limited_and_every_end_gives_the_permit_back():
    gate = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            try:
                request = await peer.request()
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            peer.upstream.requests.append(request)
            if request.target == b"/lost":
                peer.reset()
                return
            if request.target == b"/cut":
                await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
                peer.reset()
                return
            if request.target == b"/wait":
                await gate.wait()
            await peer.send(ok(b"a"))

    async with gateway(script, header_timeout=0.2) as running:
        running.limit(in_flight(1))
        waiting, other = await running.client(), await running.client()
        await waiting.send(get(b"/wait"))
        await until(lambda: running.upstreams[0].requests, "the first request")
        answer = await other.ask(get())
        assert answer.status == 429
        assert msgspec.json.decode(answer.body)["detail"].startswith("At most 1 requests may be in progress")
        gate.set()
        assert (await waiting.response()).status == 200
        assert (await other.ask(get())).status == 200
        assert (await other.ask(post(b"", target=b"/lost"))).status == 502
        assert (await other.ask(get())).status == 200
        await waiting.send(get(b"/cut"))
        await waiting.broken()
        assert (await other.ask(get())).status == 200
        gate.clear()
        assert (await other.ask(get(b"/wait"))).status == 504
        assert (await other.ask(get())).status == 200
        gone = await running.client()
        seen = len(running.upstreams[0].requests)
        await gone.send(get(b"/wait"))
        await until(lambda: len(running.upstreams[0].requests) > seen, "the request of the one who leaves")
        gone.reset()
        await until(lambda: not running.engine.pools["default"].active, "the end of what nobody waits for")
        assert (await other.ask(get())).status == 200


async def test_what_no_instance_could_take_costs_nothing():
    url = f"http://127.0.0.1:{closed_port()}"
    async with gateway(url) as running:
        running.limit(rule(2))
        for _ in range(4):
            answer = await running.ask(get())
            assert answer.status == 503
            assert answer.get(b"ratelimit-policy") == b'"calls";q=2;w=3600'
        running.apply([])
        assert (await running.ask(get())).problem["code"] == "no-instance"
        assert running.limits().rules["calls"].allowed == 5


class BrokenLimits(RateLimitEngine):
    """A limiter with a defect."""

    def begin(self, context: LimitContext, now: float) -> LimitResult:
        raise ZeroDivisionError(context.path)


async def test_a_limiter_that_fails_lets_requests_through_and_says_so_once(caplog):
    broken = msgspec.structs.replace(RATELIMIT, engine=lambda context: BrokenLimits(context.clock.wall))
    async with gateway(Peer.serve, systems=(BALANCING, broken)) as running:
        running.limit(rule(1))
        client = await running.client()
        assert [(await client.ask(get())).status for _ in range(3)] == [200] * 3
        assert running.worker.runtime.pipeline.failures.counts == {"ratelimit": 3}
        assert [record.message for record in caplog.records if record.name == "seawall.pipeline"] == [
            "ratelimit failed for 1 requests since this was last said: let through"
        ]


async def test_the_report_tells_the_load_of_pools_and_the_lag():
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ok(b"a"))
        await peer.request()
        await peer.send(ok(b"b", status=b"500 Oops"))
        await peer.closed()

    async with gateway(script) as running:
        running.limit(rule(10))
        client = await running.client()
        assert running.limits().pools["default"].ended == 0
        assert [(await client.ask(get())).status for _ in range(2)] == [200, 500]
        await until(lambda: running.limits().lag > 0.0, "the first sweep")
        load = running.limits().pools["default"]
        assert (load.in_flight, load.ended, load.failed) == (0, 2, 1)
        assert 0.0 < load.seconds < 10.0
        assert running.limits().pools["default"] == load
