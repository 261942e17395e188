"""The ASGI middleware and the endpoint decorator, driven by hand and through FastAPI and Starlette."""

import json
from typing import Annotated

import anyio
import httpx
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Query, Request
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

from seawall import AdaptiveRateLimiter
from seawall.core.errors import InvalidError, SeawallError
from seawall.core.structured_fields import parse_list
from seawall.limiter import LimitContext
from seawall.middleware.ratelimit import SCOPE_KEY, RateLimitMiddleware, limited
from seawall.testing import FakeClock

pytestmark = pytest.mark.anyio


async def hello(scope, receive, send) -> None:
    status = int(scope["path"].strip("/") or 200) if scope["path"].strip("/").isdigit() else 200
    await send({"type": "http.response.start", "status": status, "headers": [(b"x-own", b"1")]})
    await send({"type": "http.response.body", "body": b"hello"})


def client_of(app, address: str = "192.0.2.1") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, client=(address, 1), raise_app_exceptions=True)
    return httpx.AsyncClient(transport=transport, base_url="http://app")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def limiter_of(clock: FakeClock, **table) -> AdaptiveRateLimiter:
    return AdaptiveRateLimiter({"base": 10, "roles": {"anonymous": 1.0}, **table}, clock=clock)


async def test_a_response_tells_what_is_left(clock: FakeClock) -> None:
    app = RateLimitMiddleware(hello, limiter_of(clock, headers=["ratelimit", "x-ratelimit"]))
    async with client_of(app) as client:
        answer = await client.get("/")
    assert answer.status_code == 200
    assert answer.headers["x-own"] == "1"
    assert answer.headers["ratelimit-policy"] == '"base";q=10;w=60'
    assert answer.headers["ratelimit"] == '"base";r=9;t=6'
    assert answer.headers["x-ratelimit-limit"] == "10"
    assert answer.headers["x-ratelimit-remaining"] == "9"
    assert answer.headers["x-ratelimit-reset"] == "6"


async def test_a_refusal_is_a_problem_with_everything_to_do_next(clock: FakeClock) -> None:
    app = RateLimitMiddleware(hello, limiter_of(clock))
    async with client_of(app) as client:
        for _ in range(10):
            assert (await client.get("/")).status_code == 200
        answer = await client.get("/")
        head = await client.head("/")
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "6"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["ratelimit"] == '"base";r=0;t=60'
    body = answer.json()
    assert body["type"].endswith("#quota-exceeded")
    assert (body["status"], body["violated-policies"]) == (429, ["base"])
    assert "192.0.2.1" not in answer.text
    assert (head.status_code, head.content) == (429, b"")
    assert head.headers["content-length"] == answer.headers["content-length"]


async def test_every_window_stands_in_the_fields(clock: FakeClock) -> None:
    windows = [{"limit": 100, "window_ms": 60_000}, {"limit": 2, "algorithm": "concurrency", "name": "flying"}]
    app = RateLimitMiddleware(hello, limiter_of(clock, rules=[{"id": "api", "windows": windows, "endpoints": []}]))
    async with client_of(app) as client:
        answer = await client.get("/")
    policies = parse_list(answer.headers["ratelimit-policy"])
    assert [policy.value for policy in policies] == ["api-1", "flying"]
    assert policies[1].parameters["qu"] == "concurrent-requests"
    assert [state.value for state in parse_list(answer.headers["ratelimit"])] == ["api-1", "flying"]


async def test_fields_can_be_left_out_and_shadow_rules_stay_hidden(clock: FakeClock) -> None:
    shadow = {"id": "trial", "mode": "shadow", "windows": [{"limit": 1}]}
    app = RateLimitMiddleware(hello, limiter_of(clock, headers=[], rules=[shadow]))
    async with client_of(app) as client:
        answer = await client.get("/")
    assert not [name for name in answer.headers if "ratelimit" in name]
    app = RateLimitMiddleware(hello, limiter_of(clock, rules=[shadow]))
    async with client_of(app) as client:
        for _ in range(3):
            answer = await client.get("/")
    assert answer.status_code == 200
    assert answer.headers["ratelimit-policy"] == '"base";q=10;w=60'


async def test_a_blocked_client_is_told_so_and_a_shed_one_to_try_again(clock: FakeClock) -> None:
    limiter = limiter_of(clock)
    app = RateLimitMiddleware(hello, limiter)
    limiter.block("client:192.0.2.1", seconds=90, reason="internal note")
    async with client_of(app) as client:
        answer = await client.get("/")
    assert answer.status_code == 429
    assert answer.json()["type"].endswith("#abnormal-usage-detected")
    assert answer.headers["retry-after"] == "90"
    assert "internal note" not in answer.text
    limiter = limiter_of(clock, shedding={"enabled": True})
    limiter.check("first")
    limiter._limits.publish(admission=(0.0,) * 6)
    async with client_of(RateLimitMiddleware(hello, limiter)) as client:
        answer = await client.get("/")
    assert answer.status_code == 503
    assert answer.json()["type"].endswith("#temporary-reduced-capacity")
    assert answer.headers["retry-after"] == "1"


async def test_an_address_is_believed_from_trusted_proxies_only(clock: FakeClock) -> None:
    spoof = {"x-forwarded-for": "198.51.100.9"}
    open_app = RateLimitMiddleware(hello, limiter_of(clock, base=1))
    behind = RateLimitMiddleware(hello, limiter_of(clock, base=1), trusted_proxies=["192.0.2.0/24"])
    async with client_of(open_app) as client:
        statuses = [(await client.get("/", headers={"x-forwarded-for": f"10.0.0.{n}"})).status_code for n in range(3)]
    assert statuses == [200, 429, 429]
    async with client_of(behind) as client:
        assert (await client.get("/", headers=spoof)).status_code == 200
        assert (await client.get("/", headers=spoof)).status_code == 429
        assert (await client.get("/", headers={"x-forwarded-for": "198.51.100.10"})).status_code == 200
    with pytest.raises(ValueError, match="nonsense"):
        RateLimitMiddleware(hello, limiter_of(clock), trusted_proxies=["nonsense"])


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("struct", [False, True])
async def test_the_application_says_who_calls(clock: FakeClock, *, asynchronous: bool, struct: bool) -> None:
    known = {"user": "alice", "role": "admin", "priority": 0}

    def identify(scope):
        return LimitContext(**known) if struct else known

    async def identify_later(scope):
        return identify(scope)

    app = RateLimitMiddleware(hello, limiter_of(clock), identify=identify_later if asynchronous else identify)
    async with client_of(app) as client:
        answer = await client.get("/")
    assert answer.headers["ratelimit-policy"] == '"base";q=50;w=60'


async def test_what_identify_gets_wrong_is_named(clock: FakeClock) -> None:
    app = RateLimitMiddleware(hello, limiter_of(clock), identify=lambda _: {"user": 7})
    async with client_of(app) as client:
        with pytest.raises(InvalidError, match="identify"):
            await client.get("/")


async def test_rules_see_the_headers_they_name_and_the_decoded_path(clock: FakeClock) -> None:
    rules = [
        {"id": "team", "match": {"headers": {"x-team": "*"}}, "key": ["header:x-team"], "windows": [{"limit": 1}]},
        {"id": "admin", "match": {"paths": ["/admin"]}, "windows": [{"limit": 1}]},
    ]
    app = RateLimitMiddleware(hello, limiter_of(clock, rules=rules))
    async with client_of(app) as client:
        for team, expected in (("a", 200), ("a", 429), ("b", 200)):
            assert (await client.get("/", headers={"X-Team": team})).status_code == expected
        assert (await client.get("/%61dmin")).status_code == 200
        assert (await client.get("/admin")).status_code == 429


async def test_permits_are_held_while_the_application_answers_and_released_when_it_fails(clock: FakeClock) -> None:
    rule = {"id": "one", "windows": [{"limit": 1, "algorithm": "concurrency"}]}
    limiter = limiter_of(clock, rules=[rule])
    entered, leave = anyio.Event(), anyio.Event()

    async def slow(scope, receive, send) -> None:
        if scope["path"] == "/fail":
            raise KeyError("broken")
        if scope["path"] == "/slow":
            entered.set()
            await leave.wait()
        await hello(scope, receive, send)

    async with client_of(RateLimitMiddleware(slow, limiter)) as client, anyio.create_task_group() as group:
        group.start_soon(client.get, "/slow")
        await entered.wait()
        refused = await client.get("/")
        assert refused.status_code == 429
        assert "same time" in refused.json()["detail"]
        leave.set()
    async with client_of(RateLimitMiddleware(slow, limiter)) as client:
        for _ in range(2):
            with pytest.raises(KeyError):
                await client.get("/fail")
        assert (await client.get("/")).status_code == 200
    assert limiter._limits.meter.in_flight == 0
    assert limiter._limits.meter.failed == 2


async def test_server_errors_are_load_and_refusals_are_not(clock: FakeClock) -> None:
    limiter = limiter_of(clock)
    async with client_of(RateLimitMiddleware(hello, limiter)) as client:
        for path in ("/500", "/404", "/200"):
            await client.get(path)
        for _ in range(20):
            await client.get("/")
    assert limiter._limits.meter.failed == 1
    assert limiter._limits.meter.ended == 10


async def test_the_application_can_correct_what_a_request_cost(clock: FakeClock) -> None:
    limiter = limiter_of(clock)

    async def dear(scope, receive, send) -> None:
        limiter.correct(scope[SCOPE_KEY], 5)
        await hello(scope, receive, send)

    async with client_of(RateLimitMiddleware(dear, limiter)) as client:
        statuses = [(await client.get("/")).status_code for _ in range(4)]
    assert statuses == [200, 200, 429, 429]


async def test_other_connections_pass_and_websockets_are_limited(clock: FakeClock) -> None:
    seen: list[str] = []

    async def app(scope, receive, send) -> None:
        seen.append(scope["type"])

    async def receive():
        return {"type": "websocket.connect"}

    sent: list[dict] = []

    async def send(message) -> None:
        sent.append(message)

    middleware = RateLimitMiddleware(app, limiter_of(clock, base=1))
    await middleware({"type": "lifespan"}, receive, send)
    socket = {"type": "websocket", "path": "/", "headers": [], "client": ("192.0.2.1", 1)}
    await middleware(dict(socket), receive, send)
    assert seen == ["lifespan", "websocket"]
    await middleware(dict(socket), receive, send)
    assert sent == [{"type": "websocket.close", "code": 1013}]
    sent.clear()
    await middleware({**socket, "extensions": {"websocket.http.response": {}}}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.http.response.start", "websocket.http.response.body"]
    assert sent[0]["status"] == 429
    assert len(seen) == 2


async def test_an_endpoint_of_fastapi_has_a_limit_of_its_own(clock: FakeClock) -> None:
    rules = [
        {"id": "search", "match": {"routes": ["search"]}, "key": ["client"], "windows": [{"limit": 2}]},
        {"id": "export", "match": {"routes": ["export"]}, "key": ["client"], "windows": [{"limit": 10}]},
    ]
    limiter = limiter_of(clock, rules=rules)
    api = FastAPI()

    def words(q: str = "none") -> list[str]:
        return q.split()

    @api.get("/search")
    @limited(limiter, route="search")
    async def search(found: Annotated[list[str], Depends(words)], limit: Annotated[int, Query(ge=1)] = 5) -> dict:
        return {"found": found, "limit": limit}

    @api.get("/export")
    @limited(limiter, cost=4)
    def export(request: Request) -> dict:
        return {"cost": request.scope[SCOPE_KEY].cost}

    @api.get("/free")
    def free() -> dict:
        return {}

    async with client_of(api) as client:
        first = await client.get("/search?q=a+b&limit=7")
        assert first.json() == {"found": ["a", "b"], "limit": 7}
        assert first.headers["ratelimit-policy"] == '"search";q=2;w=60'
        assert (await client.get("/search?limit=0")).status_code == 422, "validation comes first and costs nothing"
        assert (await client.get("/search")).status_code == 200
        refused = await client.get("/search")
        assert refused.status_code == 429
        assert refused.headers["content-type"] == "application/problem+json"
        assert [(await client.get("/export")).status_code for _ in range(3)] == [200, 200, 429]
        assert (await client.get("/free")).status_code == 200
        schema = (await client.get("/openapi.json")).json()
    names = [parameter["name"] for parameter in schema["paths"]["/search"]["get"]["parameters"]]
    assert sorted(names) == ["limit", "q"]


async def test_an_endpoint_of_starlette_has_one_as_well(clock: FakeClock) -> None:
    limiter = limiter_of(clock, base=1)

    @limited(limiter)
    async def page(request):
        return PlainTextResponse("page")

    async with client_of(Starlette(routes=[Route("/", page)])) as client:
        answer = await client.get("/")
        assert (answer.text, answer.headers["ratelimit"]) == ("page", '"base";r=0;t=60')
        assert json.loads((await client.get("/")).content)["status"] == 429


def scope_of(path: str) -> dict:
    asgi = {"version": "3.0", "spec_version": "2.4"}
    return {"type": "http", "asgi": asgi, "method": "GET", "path": path, "headers": [], "query_string": b""}


@pytest.mark.parametrize("path", ["/streamed", "/whole", "/file"])
async def test_permits_of_a_decorated_endpoint_are_held_until_its_response_was_sent(
    path: str, clock: FakeClock, tmp_path
) -> None:
    rule = {"id": "flying", "windows": [{"limit": 1, "algorithm": "concurrency"}]}
    limiter, other = limiter_of(clock, rules=[rule]), limiter_of(clock, rules=[rule])
    (tmp_path / "page").write_text("page")
    api = FastAPI()

    async def parts():
        yield b"one"
        yield b"two"

    @api.get("/streamed")
    @limited(limiter)
    async def streamed(tasks: BackgroundTasks) -> StreamingResponse:
        tasks.add_task(look_in_the_background)
        return StreamingResponse(parts())

    @api.get("/whole")
    @limited(limiter)
    async def whole(tasks: BackgroundTasks) -> PlainTextResponse:
        tasks.add_task(look_in_the_background)
        return PlainTextResponse("whole")

    @api.get("/file")
    @limited(limiter)
    @limited(other)
    def file(tasks: BackgroundTasks) -> FileResponse:
        tasks.add_task(look_in_the_background)
        return FileResponse(tmp_path / "page")

    def free(one: AdaptiveRateLimiter = limiter) -> bool:
        result = one.check()
        one.release(result)
        return result.allowed

    seen = []

    def look_in_the_background() -> None:
        seen.append(("background", free()))

    async def send(message) -> None:
        seen.append((message.get("body", message["type"]), free()))

    async def receive():
        await anyio.sleep_forever()

    await api(scope_of(path), receive, send)
    *sent, background = seen
    assert len(sent) >= 2
    assert not any(is_free for _, is_free in sent)
    assert background == ("background", True)

    async def broken(message) -> None:
        raise OSError("the client is gone")

    with pytest.raises((OSError, ClientDisconnect)):
        await api(scope_of(path), receive, broken)
    assert free()
    assert free(other)


async def test_a_response_that_answers_two_requests_gives_back_what_each_of_them_took(clock: FakeClock) -> None:
    limiter = limiter_of(clock, rules=[{"id": "flying", "windows": [{"limit": 2, "algorithm": "concurrency"}]}])
    api, page = FastAPI(), PlainTextResponse("page")

    @api.get("/")
    @limited(limiter)
    async def whole() -> PlainTextResponse:
        return page

    async def receive():
        await anyio.sleep_forever()

    async def send(message) -> None:
        pass

    left = []

    async def slow(message) -> None:
        if not left:
            await api(scope_of("/"), receive, send)  # another request comes and goes
            results = [limiter.check(), limiter.check()]
            left.extend(result.allowed for result in results)
            for result in results:
                limiter.release(result)

    await api(scope_of("/"), receive, slow)
    assert left == [True, False]
    assert [limiter.check().allowed for _ in range(3)] == [True, True, False]


async def test_an_endpoint_that_yields_is_refused_with_what_to_do(clock: FakeClock) -> None:
    async def rows():
        yield 1

    with pytest.raises(SeawallError, match="yields"):
        limited(limiter_of(clock))(rows)


@pytest.mark.parametrize("cost", [-1.0, float("nan"), float("inf")])
def test_a_cost_that_is_none_is_refused_when_the_endpoint_is_made(cost: float, clock: FakeClock) -> None:
    with pytest.raises(SeawallError, match="cost"):
        limited(limiter_of(clock), cost=cost)
