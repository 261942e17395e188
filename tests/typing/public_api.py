"""What a user's type checker sees of Seawall. Checked by mypy and by pyright, never run."""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any, assert_type

import httpx

import seawall
from seawall import AdaptiveRateLimiter, DynamicLoadBalancer
from seawall.balancer import Attempt, NoInstanceError, SelectedInstance
from seawall.core.clock import Clock, SystemClock
from seawall.core.errors import ConfigurationError, SeawallError
from seawall.core.principal import Identity
from seawall.core.request import Request
from seawall.limiter import Factors, LimitContext, LimiterStatus, LimitExceededError, LimitResult, LoadSample, Reason
from seawall.middleware.asgi import LoadReporter
from seawall.middleware.httpx import BalancingTransport
from seawall.middleware.identity import IdentityMiddleware, caller_of
from seawall.middleware.ratelimit import RateLimitMiddleware, limited
from seawall.systems.balancing.model import Outcome
from seawall.testing import FakeClock

Message = MutableMapping[str, Any]


def version() -> None:
    assert_type(seawall.__version__, str)


def configurations() -> None:
    DynamicLoadBalancer(["http://127.0.0.1:9001", "http://127.0.0.1:9002"])
    DynamicLoadBalancer({"pools": {"api": {"instances": ["http://127.0.0.1:9001"]}}})
    DynamicLoadBalancer("seawall.toml")
    DynamicLoadBalancer(Path("seawall.toml"))
    DynamicLoadBalancer(["http://127.0.0.1:9001"], clock=FakeClock())
    DynamicLoadBalancer(9001)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def choosing(balancer: DynamicLoadBalancer, request: Request) -> None:
    assert_type(balancer.select_instance(), SelectedInstance)
    chosen = balancer.select_instance(request, pool="api")
    assert_type(chosen.url, str)
    balancer.report(chosen, 0.012)
    balancer.report(chosen, 0.012, ok=False)
    assert_type(balancer.begin(), Attempt)
    with balancer.use() as attempt:
        assert_type(attempt, Attempt)
        assert_type(attempt.instance, SelectedInstance)
        attempt.status = 503
    attempt.end(Outcome.TIMEOUT)


def refusals(balancer: DynamicLoadBalancer) -> None:
    try:
        balancer.select_instance()
    except NoInstanceError as error:
        assert_type(error.code, str)
        assert_type(error.hint, str)
    except ConfigurationError as error:
        assert_type(error.problems, tuple[str, ...])
    except SeawallError as error:
        assert_type(error.message, str)


async def with_health_checks(balancer: DynamicLoadBalancer) -> None:
    async with balancer as running:
        assert_type(running, DynamicLoadBalancer)


async def as_a_transport(balancer: DynamicLoadBalancer) -> None:
    async with httpx.AsyncClient(transport=BalancingTransport(balancer, pool="api")) as client:
        await client.get("http://api/items")


async def application(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    await receive()
    await send({"type": "http.response.start", "status": scope["status"]})


def as_middleware() -> None:
    def utilisation(in_flight: int) -> float:
        return in_flight / 64

    assert_type(LoadReporter(application, path="/load", utilisation=utilisation), LoadReporter)


def limiters() -> None:
    AdaptiveRateLimiter()
    AdaptiveRateLimiter({"base": 10, "rules": [{"id": "a", "windows": [{"limit": 5}]}]})
    AdaptiveRateLimiter(Path("seawall.toml"), clock=FakeClock())
    AdaptiveRateLimiter(store="redis://127.0.0.1:6379/0", processes=4)
    AdaptiveRateLimiter(9001)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


async def limiting(limiter: AdaptiveRateLimiter) -> None:
    result = await limiter.check_limit("alice", {"role": "admin", "cost": 2.0})
    assert_type(result, LimitResult)
    assert_type(result.allowed, bool)
    assert_type(result.remaining, int)
    assert_type(result.retry_after, float)
    assert_type(result.reason, Reason)
    assert_type(result.factors, Factors)
    assert_type(limiter.check("alice", LimitContext(tenant="acme")), LimitResult)
    limiter.correct(result, 3.5)
    limiter.refund(result)
    limiter.observe(LoadSample(at=1.0, in_flight=5.0))
    limiter.override("user:alice", 500, seconds=60)
    assert_type(limiter.status(), LimiterStatus)
    async with limiter as same:
        assert_type(same, AdaptiveRateLimiter)
        assert_type(await same.admit(LimitContext(user="alice")), LimitResult)
        assert_type(same.store_away, str)
    try:
        with limiter.hold("alice") as held:
            assert_type(held, LimitResult)
    except LimitExceededError as error:
        assert_type(error.result, LimitResult)


def limited_application(limiter: AdaptiveRateLimiter) -> None:
    def identify(scope: MutableMapping[str, Any]) -> dict[str, str]:
        return {"user": str(scope["path"])}

    proxies: Sequence[str] = ["10.0.0.0/8"]
    assert_type(
        RateLimitMiddleware(application, limiter, identify=identify, trusted_proxies=proxies), RateLimitMiddleware
    )

    @limited(limiter, route="search", cost=2.0)
    async def search(q: str) -> str:
        return q

    search("x")


def clocks() -> None:
    every: list[Clock] = [SystemClock(), FakeClock()]
    assert_type(every[0].monotonic(), float)


def identities(app: Any, scope: MutableMapping[str, Any]) -> None:
    wrapped = IdentityMiddleware(app, {"api_keys": {"enabled": True}}, trusted_proxies=["10.0.0.1"])
    IdentityMiddleware(app, Path("seawall.toml"), store="redis://localhost", clock=FakeClock())
    assert_type(caller_of(scope), dict[str, str] | None)
    found = wrapped.identify(scope)
    if isinstance(found, Identity):
        assert_type(found.role, str)
    else:
        assert_type(found.status, int)
    IdentityMiddleware(app, 5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
