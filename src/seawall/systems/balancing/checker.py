"""The schedule of active health checks: each instance at its own jittered pace, a bounded number at a time."""

import asyncio
import heapq
import logging
import random
from collections.abc import Callable, Mapping

import msgspec

from seawall.core.clock import Clock
from seawall.systems.balancing.checks import CheckTarget, check
from seawall.systems.balancing.health import CheckPolicy, CheckResult

__all__ = ["CheckPlan", "HealthChecker"]

_log = logging.getLogger("seawall.balancing.health")

_CONCURRENCY = 256

Key = tuple[str, str]
"""(pool, instance id)."""


class CheckPlan(msgspec.Struct, frozen=True):
    """One instance's check: where, and by which policy."""

    target: CheckTarget
    policy: CheckPolicy


class HealthChecker:
    """Run the checks of all pools and hand each result to `on_result(pool, instance id, result)`.

    An instance is checked as soon as it is planned, then once an interval, moved by the policy's jitter. At most 256
    checks run at a time; a check that must wait for its turn is late, never dropped. `plan` may be called at any time
    from the loop's thread.
    """

    def __init__(self, on_result: Callable[[str, str, CheckResult], None], *, clock: Clock, rng: random.Random) -> None:
        self._on_result = on_result
        self._clock = clock
        self._rng = rng
        self._plans: dict[Key, CheckPlan] = {}
        self._due: list[tuple[float, int, Key]] = []
        self._generation: dict[Key, int] = {}
        self._counter = 0
        self._wake = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None

    def plan(self, plans: Mapping[Key, CheckPlan]) -> None:
        """Replace the set of checks; one whose plan is unchanged keeps its place in the schedule."""
        for gone in [key for key in self._plans if key not in plans]:
            del self._plans[gone]
            del self._generation[gone]
        now = self._clock.monotonic()
        for key, plan in plans.items():
            known = self._plans.get(key)
            self._plans[key] = plan
            if known is None or known != plan:
                self._schedule(key, now)
        self._wake.set()

    def start(self) -> None:
        """Start the schedule."""
        self._loop = asyncio.get_running_loop().create_task(self._run(), name="seawall-health-checks")

    async def stop(self) -> None:
        """Cancel the schedule and every check under way."""
        tasks = [task for task in (self._loop, *self._running) if task is not None]
        self._loop = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _schedule(self, key: Key, at: float) -> None:
        self._counter += 1
        self._generation[key] = self._counter
        heapq.heappush(self._due, (at, self._counter, key))

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            now = self._clock.monotonic()
            while self._due and self._due[0][0] <= now and len(self._running) < _CONCURRENCY:
                _, generation, key = heapq.heappop(self._due)
                if self._generation.get(key) == generation:
                    task = asyncio.create_task(self._check(key, generation))
                    self._running.add(task)
                    task.add_done_callback(self._finished)
            wait = None
            if self._due and len(self._running) < _CONCURRENCY:
                wait = max(self._due[0][0] - now, 0.0)
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a health check failed inside Seawall: %s", error, exc_info=error)

    async def _check(self, key: Key, generation: int) -> None:
        plan = self._plans[key]
        started = self._clock.monotonic()
        try:
            result = await check(plan.target, plan.policy, self._clock)
            if self._generation.get(key) == generation:
                self._on_result(key[0], key[1], result)
        finally:
            if self._generation.get(key) == generation:
                pace = plan.policy.interval * (1.0 + self._rng.uniform(-plan.policy.jitter, plan.policy.jitter))
                self._schedule(key, max(started + pace, self._clock.monotonic()))
