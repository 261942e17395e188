"""The schedule of health checks, over real connections."""

import asyncio
import random
from collections import Counter

import pytest
from balancing_sites import serving

from seawall.core.clock import SystemClock
from seawall.systems.balancing.checker import CheckPlan, HealthChecker
from seawall.systems.balancing.checks import CheckTarget
from seawall.systems.balancing.endpoint import Endpoint
from seawall.systems.balancing.health import CheckPolicy

pytestmark = pytest.mark.anyio


class Results:
    """Counts results by instance, and lets a test wait for them."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()

    def __call__(self, pool, instance_id, result) -> None:
        self.count[instance_id] += 1

    async def until(self, condition) -> None:
        async with asyncio.timeout(5.0):
            while not condition(self.count):  # noqa: ASYNC110 - what is awaited has no event
                await asyncio.sleep(0.002)


async def accept(reader, writer):
    await reader.read()


def plan(port: int, interval: float = 0.01, **policy) -> CheckPlan:
    target = CheckTarget(Endpoint.parse(f"http://127.0.0.1:{port}"))
    return CheckPlan(target, CheckPolicy(interval=interval, timeout=1.0, **policy))


@pytest.fixture
async def checking():
    results = Results()
    checker = HealthChecker(results, clock=SystemClock(), rng=random.Random(1))
    checker.start()
    yield checker, results
    await checker.stop()


async def test_each_instance_is_checked_at_once_and_again_and_again(checking):
    checker, results = checking
    async with serving(accept) as port:
        checker.plan({("p", "fast"): plan(port), ("p", "slow"): plan(port, 600.0)})
        await results.until(lambda count: count["fast"] >= 5)
        assert results.count["slow"] == 1


async def test_one_that_leaves_is_checked_no_longer_and_a_changed_plan_at_once(checking):
    checker, results = checking
    async with serving(accept) as port:
        checker.plan({("p", "a"): plan(port, 600.0), ("p", "b"): plan(port)})
        await results.until(lambda count: count["a"] == 1 and count["b"] >= 1)
        checker.plan({("p", "a"): plan(port, 500.0)})
        await results.until(lambda count: count["a"] == 2)
        seen = results.count["b"]
        checker.plan({("p", "a"): plan(port, 500.0), ("p", "c"): plan(port)})
        await results.until(lambda count: count["c"] >= 5)
        assert results.count["b"] == seen
        assert results.count["a"] == 2


async def test_many_instances_are_all_checked_although_few_at_a_time(checking):
    checker, results = checking
    open_now = 0
    most = 0

    async def busy(reader, writer):
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.02)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        open_now -= 1

    async with serving(busy) as port:
        checker.plan({("p", f"i{number}"): plan(port, 600.0, kind="http") for number in range(600)})
        await results.until(lambda count: len(count) == 600)
    assert most <= 256


async def test_an_error_inside_seawall_is_logged_and_the_schedule_goes_on(caplog):
    seen = []

    def broken(pool, instance_id, result):
        seen.append(instance_id)
        raise RuntimeError("a bug")

    checker = HealthChecker(broken, clock=SystemClock(), rng=random.Random(1))
    checker.start()
    async with serving(accept) as port:
        checker.plan({("p", "a"): plan(port)})
        async with asyncio.timeout(5.0):
            while len(seen) < 3:  # noqa: ASYNC110 - what is awaited has no event
                await asyncio.sleep(0.002)
    await checker.stop()
    assert "a health check failed inside Seawall: a bug" in caplog.text
