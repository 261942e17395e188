"""AdaptiveRateLimiter over a store: what applications share, and what happens while the store is away."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from redis import Redis

from seawall import AdaptiveRateLimiter
from seawall.adapters.redis_counts import RedisCounts
from seawall.core.errors import ConfigurationError, SeawallError
from seawall.limiter import LimitContext, Reason
from seawall.middleware.ratelimit import RateLimitMiddleware
from seawall.testing.redis import RedisServer
from shared_counts_harness import Road, eventually, until

pytestmark = pytest.mark.anyio

Make = Callable[..., AdaptiveRateLimiter]


def table(counts: str = "strict", *, limit: float = 10, on_store_failure: str = "local", **rule: object) -> dict:
    return {
        "base": 0,
        "counts": counts,
        "on_store_failure": on_store_failure,
        "ladder": {"enabled": False},
        "rules": [{"id": "all", "windows": [{"limit": limit, "window_ms": 600_000}], **rule}],
    }


@pytest.fixture(scope="module")
def own_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def server(own_server: RedisServer) -> Iterator[RedisServer]:
    if own_server._process is None:
        own_server.start()
    with Redis.from_url(own_server.url) as client:
        client.flushall()
    return own_server


@pytest.fixture
async def make(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    """Limiters of applications that share a store; a busy machine is not taken for a slow one."""
    made: list[AdaptiveRateLimiter] = []

    def make_one(config: dict | None = None, *, budget: float = 2.0, **options: object) -> AdaptiveRateLimiter:
        monkeypatch.setattr("seawall.limiter._connect", lambda url: RedisCounts(url, budget=budget))
        made.append(AdaptiveRateLimiter(config or table(), **{"store": server.url, **options}))
        return made[-1]

    yield make_one
    for limiter in made:
        await limiter.close()


async def test_applications_share_a_limit(make: Make) -> None:
    limiters = [make() for _ in range(3)]
    results = [await limiters[turn % 3].check_limit("alice") for turn in range(12)]
    assert [result.allowed for result in results] == [True] * 10 + [False] * 2
    assert results[9].remaining == 0
    assert results[10].reason is Reason.QUOTA_EXCEEDED
    assert 0.0 < results[10].retry_after <= 60.0
    assert limiters[0].store_away == ""
    assert (await limiters[1].check_limit("bob")).remaining == 9


async def test_a_refusal_is_remembered_and_not_asked_again(make: Make, server: RedisServer) -> None:
    limiter = make()
    for _ in range(11):
        await limiter.check_limit("alice")
    with Redis.from_url(server.url) as client:
        before = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        for _ in range(20):
            assert not (await limiter.check_limit("alice")).allowed
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == before


async def test_leases_of_busy_keys_are_shared_out_and_come_back(make: Make, server: RedisServer) -> None:
    first, second = make(table("leased", limit=100)), make(table("leased", limit=100))
    allowed = 0
    for _ in range(60):
        allowed += (await first.check_limit("alice")).allowed
        allowed += (await second.check_limit("alice")).allowed
    assert 90 <= allowed <= 100, "the rest may lie in a lease of the other, half of what is left at most"
    with Redis.from_url(server.url) as client:
        calls = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        assert calls < 120, "leases answer without asking"
    await first.close()
    await second.close()
    third = make(table("strict", limit=100))

    async def everything_is_back() -> bool:
        left = 100 - allowed
        for result in [await third.check_limit("alice") for _ in range(left)]:
            assert result.allowed
        return not (await third.check_limit("alice")).allowed

    assert await everything_is_back()


async def test_what_a_request_took_comes_back_to_all(make: Make) -> None:
    first, second = make(), make()
    results = [await first.check_limit("alice", {"cost": 5}) for _ in range(2)]
    assert not (await second.check_limit("bob", {"cost": 11})).allowed
    first.refund(results[0])
    first.correct(results[1], cost=2)

    async def back() -> bool:
        return (await second.check_limit("alice", {"cost": 8})).allowed

    await eventually(back)


async def test_permits_are_shared_and_released(make: Make) -> None:
    config = table(limit=2)
    config["rules"][0]["windows"] = [{"limit": 2, "algorithm": "concurrency"}]
    first, second = make(config), make(config)
    held = [await first.check_limit("alice"), await second.check_limit("alice")]
    refused = await first.check_limit("alice")
    assert (refused.allowed, refused.reason) == (False, Reason.CONCURRENCY)
    second.release(held[1])

    async def free() -> bool:
        return (await first.check_limit("alice")).allowed

    await eventually(free)


async def test_a_release_from_another_thread_reaches_the_store(make: Make) -> None:
    config = table()
    config["rules"][0]["windows"] = [{"limit": 1, "algorithm": "concurrency"}]
    limiter = make(config)
    held = await limiter.check_limit("alice")
    thread = threading.Thread(target=limiter.release, args=(held,))
    thread.start()
    await asyncio.to_thread(thread.join)

    async def free() -> bool:
        return (await limiter.check_limit("alice")).allowed

    await eventually(free)


async def test_a_reset_reaches_the_store(make: Make) -> None:
    first, second = make(), make()
    result = await first.check_limit("alice", {"cost": 10})
    first.reset(result.key)

    async def whole() -> bool:
        return (await second.check_limit("alice", {"cost": 10})).allowed

    await eventually(whole)


async def test_a_cancelled_caller_takes_nothing(make: Make, server: RedisServer) -> None:
    limiter = make()
    await limiter.check_limit("warm")
    for pauses in range(4):
        waiting = asyncio.create_task(limiter.check_limit(f"alice-{pauses}", {"cost": 10}))
        for _ in range(pauses):
            await asyncio.sleep(0)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            limiter.refund(await waiting)
    await limiter.check_limit("last")  # answered after all before it
    with Redis.from_url(server.url) as client:

        async def given_back() -> bool:
            await asyncio.sleep(0)
            return not list(client.scan_iter(match="*alice*"))

        await eventually(given_back)


async def test_what_does_not_wait_counts_here_within_its_share(make: Make) -> None:
    limiter = make(processes=5)
    assert [limiter.check("alice").allowed for _ in range(3)] == [True, True, False]
    assert (await limiter.check_limit("alice")).remaining == 9


async def test_without_a_store_rules_that_want_one_count_here_and_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    limiter = AdaptiveRateLimiter(table("leased"))
    assert "no store is given" in caplog.text
    assert (await limiter.check_limit("alice")).remaining == 9
    assert limiter.store_away == ""
    await limiter.close()
    caplog.clear()
    AdaptiveRateLimiter(table("auto"))
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("on_store_failure", "allowed", "reason"),
    [("local", 5, Reason.QUOTA_EXCEEDED), ("open", 20, Reason.ALLOWED), ("closed", 0, Reason.UNAVAILABLE)],
)
async def test_each_rule_bears_a_store_that_is_away_in_its_own_way(
    on_store_failure: str, allowed: int, reason: Reason, make: Make, server: RedisServer
) -> None:
    server.kill()
    limiter = make(table(on_store_failure=on_store_failure), processes=2)
    results = [await limiter.check_limit("alice") for _ in range(20)]
    assert sum(result.allowed for result in results) == allowed
    assert results[-1].reason is reason
    assert "no connection" in limiter.store_away
    server.start()
    await until(lambda: not limiter.store_away)
    assert (await limiter.check_limit("bob")).remaining == 9


async def test_what_fails_beside_a_decision_keeps_nobody_waiting(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(escalation: object) -> None:
        raise ValueError("a defect of the application")

    ladder = {**table(limit=1), "ladder": {"warn_at": 1}}
    limiter = make(ladder, on_escalation=fail)
    async with asyncio.timeout(20):
        await limiter.check_limit("alice")
        refused = await limiter.check_limit("alice")
    assert refused.reason is Reason.QUOTA_EXCEEDED
    assert "a defect of the application" in caplog.text

    def settle(*_: object) -> None:
        raise RuntimeError("a defect of the limiter")

    monkeypatch.setattr(limiter._limits, "settle", settle)
    async with asyncio.timeout(20):
        with pytest.raises(RuntimeError, match="a defect of the limiter"):
            await limiter.check_limit("bob")


async def test_metrics_tell_who_answered(make: Make, server: RedisServer) -> None:
    limiter = make(table(limit=2))
    for _ in range(4):
        await limiter.check_limit("alice")
    server.kill()
    await until(lambda: limiter.store_away)
    await limiter.check_limit("bob")
    server.start()
    found = {one.labels: one.value for one in limiter.samples() if one.instrument.name == "rate_limit_counts_total"}
    assert found == {("asked",): 4.0, ("leased",): 0.0, ("remembered",): 1.0, ("away",): 1.0}


async def test_every_loop_has_its_own_connection(make: Make) -> None:
    limiter = make()

    async def ask_once() -> int:
        async with limiter:
            return (await limiter.check_limit("alice")).remaining

    assert await ask_once() == 9
    assert await asyncio.to_thread(asyncio.run, ask_once()) == 8
    assert await ask_once() == 7


async def test_the_middleware_asks_too(make: Make) -> None:
    import httpx

    async def hello(scope: dict, receive: object, send: Callable) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    first, second = make(), make()  # nobody who is known gets 0.3 of it
    statuses = []
    for limiter in (first, second, first, second):
        transport = httpx.ASGITransport(app=RateLimitMiddleware(hello, limiter))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            statuses.append((await client.get("/")).status_code)
    assert statuses == [200, 200, 200, 429]


@pytest.mark.parametrize("store", ["memory://", "sqlite:///state.db", "http://x", "redis://h/none"])
def test_a_store_that_cannot_count_is_refused(store: str) -> None:
    with pytest.raises(ConfigurationError):
        AdaptiveRateLimiter(store=store)


def test_no_process_cannot_share() -> None:
    with pytest.raises(ConfigurationError, match="0 processes"):
        AdaptiveRateLimiter(processes=0)


async def test_a_bad_cost_is_refused_before_anything_is_asked(make: Make) -> None:
    limiter = make()
    for cost in (-1.0, float("nan"), float("inf")):
        with pytest.raises(SeawallError):
            await limiter.admit(LimitContext(identifier="alice", cost=cost))
    assert (await limiter.check_limit("alice")).remaining == 9


async def test_a_slow_store_is_waited_for_no_longer_than_the_budget(make: Make, server: RedisServer) -> None:
    host, _, port = server.url.removeprefix("redis://").removesuffix("/0").partition(":")
    road = await Road(host, int(port)).build()
    try:
        limiter = make(store=f"redis://127.0.0.1:{road.port}/0", budget=0.02)
        await eventually(lambda: _asked(limiter))
        road.hold()
        results = [await limiter.check_limit("alice") for _ in range(12)]
        assert sum(result.allowed for result in results) == 10, "its own share, which is all of it"
        await until(lambda: limiter.store_away)
        road.let_through()
        await until(lambda: not limiter.store_away)
    finally:
        await road.close()


async def _asked(limiter: AdaptiveRateLimiter) -> bool:
    await limiter.check_limit("warm")
    return not limiter.store_away
