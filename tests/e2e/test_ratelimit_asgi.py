"""A real uvicorn application behind the middleware, asked over loopback."""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request

from seawall import AdaptiveRateLimiter
from seawall.core.structured_fields import parse_list
from seawall.middleware.ratelimit import RateLimitMiddleware, limited

pytestmark = pytest.mark.anyio


def application(limiter: AdaptiveRateLimiter) -> FastAPI:
    api = FastAPI()

    @api.get("/")
    async def home() -> dict[str, str]:
        return {"hello": "world"}

    @api.get("/slow")
    @limited(limiter, route="slow")
    async def slow(request: Request) -> dict[str, str]:
        request.app.state.entered.release()
        await request.app.state.gate.wait()
        return {"done": "yes"}

    return api


@contextlib.asynccontextmanager
async def served(api: FastAPI, limiter: AdaptiveRateLimiter) -> AsyncIterator[str]:
    """Serve on a free port for the length of the block."""
    api.state.gate = asyncio.Event()
    api.state.entered = asyncio.Semaphore(0)
    app = RateLimitMiddleware(
        api,
        limiter,
        identify=lambda scope: (
            {"user": user} if (user := dict(scope["headers"]).get(b"x-user", b"").decode()) else None
        ),
        trusted_proxies=["127.0.0.1"],
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", ws="none", proxy_headers=False))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            api.state.gate.set()
            server.should_exit = True
            await task


async def answers(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(httpx.TransportError):
                await client.get("/", headers={"x-user": "probe"})
                return


async def test_one_client_floods_and_others_are_unhurt() -> None:
    limiter = AdaptiveRateLimiter(
        {"base": 50, "window_ms": 3_600_000, "adaptive": False, "ladder": {"block_at": 150, "throttle_at": 100}}
    )
    async with (
        served(application(limiter), limiter) as url,
        httpx.AsyncClient(base_url=url, limits=httpx.Limits(max_connections=16)) as client,
    ):
        await answers(client)

        async def flood() -> list[httpx.Response]:
            return [await client.get("/", headers={"x-user": "mallory"}) for _ in range(50)]

        batches = await asyncio.gather(*(flood() for _ in range(8)))
        responses = [response for batch in batches for response in batch]
        statuses = Counter(response.status_code for response in responses)
        assert statuses == {200: 50, 429: 350}
        kinds = Counter(response.json()["type"].rpartition("#")[2] for response in responses if response.is_error)
        # Violations decay while they are counted, so that a few more than 150 may be needed.
        assert 150 <= kinds["quota-exceeded"] <= 160
        assert kinds["abnormal-usage-detected"] == 350 - kinds["quota-exceeded"]
        for response in responses:
            if response.is_error:
                assert int(response.headers["retry-after"]) >= 1
                assert response.headers["content-type"] == "application/problem+json"
            else:
                (state,) = parse_list(response.headers["ratelimit"])
                assert state.value == "base"
        for user in ("alice", "bob", "carol"):
            assert (await client.get("/", headers={"x-user": user})).status_code == 200
    status = limiter.status()
    assert status.refused["quota-exceeded"] == kinds["quota-exceeded"]
    assert status.refused["blocked"] == kinds["abnormal-usage-detected"]
    assert status.top[0].key == "user:mallory"
    assert status.offenders[0].step == "block"


async def test_requests_in_flight_are_counted_until_the_client_is_gone() -> None:
    rule = {"id": "slow", "match": {"routes": ["slow"]}, "windows": [{"limit": 2, "algorithm": "concurrency"}]}
    limiter = AdaptiveRateLimiter({"rules": [{**rule, "roles": {"anonymous": 1.0}}]})
    api = application(limiter)
    async with served(api, limiter) as url, httpx.AsyncClient(base_url=url, timeout=10) as client:
        await answers(client)
        first, second = (asyncio.create_task(client.get("/slow")) for _ in range(2))
        async with asyncio.timeout(10):
            await api.state.entered.acquire()
            await api.state.entered.acquire()
        refused = await client.get("/slow")
        assert refused.status_code == 429
        assert refused.json()["violated-policies"] == ["slow"]
        api.state.gate.set()
        assert [(await task).status_code for task in (first, second)] == [200, 200]
        assert (await client.get("/slow")).status_code == 200


async def test_addresses_behind_a_trusted_proxy_are_told_apart() -> None:
    limiter = AdaptiveRateLimiter({"base": 2, "roles": {"anonymous": 1.0}, "window_ms": 3_600_000})
    async with served(application(limiter), limiter) as url, httpx.AsyncClient(base_url=url) as client:
        await answers(client)
        for client_address in ("198.51.100.1", "2001:db8::1"):
            fields = {"x-forwarded-for": client_address}
            statuses = [(await client.get("/", headers=fields)).status_code for _ in range(3)]
            assert statuses == [200, 200, 429]
        neighbour = {"x-forwarded-for": "2001:db8::ffff"}
        assert (await client.get("/", headers=neighbour)).status_code == 429, "an IPv6 host has a /64 to itself"
