"""The course of the demo: traffic, a client that floods, a server that dies meanwhile, and what came of it."""

import asyncio
import contextlib
import random
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from seawall.cli.demo_load import OpenLoopLoad
from seawall.cli.demo_stage import CLIENTS, FLOODER, DemoServer, Gateway, start_gateway, start_servers
from seawall.cli.demo_view import Display, Event, Row, Scene

__all__ = ["Outcome", "Play", "play"]

_FLOOD_AT, _FLOOD_OVER_AT = 0.1, 0.28
_LEAST_FLOOD = 100.0
"""Requests per second that pass every client's limit, however low the rate of the others."""
_KILLED_AT = 0.35
"""Share of the run after which a server is killed: 7 s of 20 s."""
_BACK_AT = 0.7
_FRAME_SECONDS = 0.25
_REPORT_SECONDS = 0.5
"""Time in which the last counts of the workers reach the admin API."""


class Play(NamedTuple):
    """How to run the demo: seconds of traffic, requests per second, and how the gateway is set."""

    duration: float
    rate: float
    strategy: str
    workers: int
    keep: bool


class Outcome(NamedTuple):
    """What came of it; `problems` says what did not go as it must, and is empty when all did.

    The flood is told apart from the others' requests: how many, how many were answered, and why the rest were not.
    """

    requests: int
    failed: int
    flood: int
    flood_answered: int
    refused: dict[str, int]
    shares: dict[str, float]
    p50_ms: float
    p99_ms: float
    problems: tuple[str, ...]


async def play(how: Play, display: Display) -> Outcome:
    """Run the demo on a display; raise `KeyboardInterrupt` when a signal ends it early."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    # The table is drawn on another thread; hand over the interpreter fast enough not to delay requests by milliseconds.
    sys.setswitchinterval(0.0005)
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="seawall-demo-")))
        servers = await stack.enter_async_context(start_servers())
        gateway = await stack.enter_async_context(
            start_gateway(
                servers, folder=folder, strategy=how.strategy, workers=how.workers, duration=how.duration, rate=how.rate
            )
        )
        return await _Run(how, servers, gateway, display, stop).run()
    raise AssertionError("an exit stack without suppressing contexts never swallows")


class _Run:
    """One run over a stage that stands."""

    def __init__(
        self,
        how: Play,
        servers: list[DemoServer],
        gateway: Gateway,
        display: Display,
        stop: asyncio.Event,
    ) -> None:
        host, _, port = gateway.url.removeprefix("http://").rpartition(":")
        self._how = how
        self._servers = servers
        self._gateway = gateway
        self._display = display
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._events: list[Event] = []
        self._states: dict[str, str] = {}
        self._noticed = False
        self._answered_before = 0
        self._answered_away = 0
        rng = random.Random(7)  # noqa: S311 - gaps, no secret
        self._load = OpenLoopLoad(host, int(port), rate=how.rate, rng=rng, clients=CLIENTS)
        self._flood_rate = max(how.rate, _LEAST_FLOOD)
        self._flood = OpenLoopLoad(host, int(port), rate=self._flood_rate, rng=rng, clients=[FLOODER])
        self._refused: dict[str, int] = {}

    async def run(self) -> Outcome:
        """Send traffic, let things happen, show them; return what came of it."""
        traffic = self._loop.create_task(self._load.run())
        happenings = self._loop.create_task(self._happen())
        try:
            await self._watch()
            happenings.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await happenings
        finally:
            for task in (traffic, happenings):
                task.cancel()
            await asyncio.gather(traffic, happenings, return_exceptions=True)
        await self._load.drain(seconds=5.0)
        await asyncio.sleep(_REPORT_SECONDS)
        with contextlib.suppress(OSError):  # what is missing then shows in the problems
            limited = (await self._gateway.get("/api/system/rate-limit"))["refused"]
            self._refused = {**limited, **(await self._gateway.get("/api/system/threat-detection"))["refusals"]}
        return self._outcome()

    async def _happen(self) -> None:
        victim = self._servers[0]
        await self._sleep_until(self._how.duration * _FLOOD_AT)
        self._tell(f"one client, {FLOODER}, floods: {self._flood_rate:g} requests/s, beside {len(CLIENTS)} others")
        flooding = self._loop.create_task(self._flood.run())
        try:
            await self._sleep_until(self._how.duration * _FLOOD_OVER_AT)
        finally:
            flooding.cancel()
            await asyncio.gather(flooding, return_exceptions=True)
        await self._flood.drain(seconds=2.0)
        self._tell(
            f"{FLOODER} gives up: {self._flood.failures['status 429']} of its {self._flood.sent} requests got 429"
        )
        await self._sleep_until(self._how.duration * _KILLED_AT)
        self._answered_before = self._load.by_server[victim.name]
        await victim.kill()
        self._tell(f"{victim.name} is killed (SIGKILL)")
        await self._sleep_until(self._how.duration * _BACK_AT)
        self._answered_away = self._load.by_server[victim.name]
        await victim.start()
        self._tell(f"{victim.name} is started again")
        if self._how.keep:
            await self._sleep_until(self._how.duration)
            self._tell(f"kept running until Ctrl-C: gateway {self._gateway.url}, admin API {self._gateway.admin_url}")
            self._tell(f"admin token: {self._gateway.token}")

    async def _watch(self) -> None:
        """Show a scene several times a second until the end or a signal."""
        while True:
            elapsed = self._elapsed()
            over = elapsed >= self._how.duration
            if over and not self._how.keep:
                return
            try:
                instances = _instances(await self._gateway.state())
            except OSError as error:
                self._tell(f"the admin API does not answer: {error}")
                instances = {}
            self._display.show(self._scene(instances))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _FRAME_SECONDS)
            if self._stop.is_set():
                if over:
                    return
                raise KeyboardInterrupt

    def _scene(self, instances: dict[str, dict[str, Any]]) -> Scene:
        recent = [answer for answer in self._load.recent if not answer.failed]
        rows = []
        for server in self._servers:
            seen = instances.get(server.name, {})
            state = seen.get("state", "?")
            if self._states.get(server.name, state) != state:
                check = seen.get("last_check") or {}
                why = f" ({check['reason']})" if state == "unhealthy" and check.get("result") == "failed" else ""
                self._tell(f"the gateway sees {server.name} {state}{why}")
            self._states[server.name] = state
            if server is self._servers[0] and state not in {"healthy", "?"}:
                self._noticed = True
            latency = seen.get("latency_ms", {})
            rows.append(
                Row(
                    server.name,
                    server.latency_ms,
                    state,
                    sum(answer.server == server.name for answer in recent) / max(len(recent), 1),
                    self._load.by_server[server.name],
                    seen.get("active", 0),
                    latency.get("p50") or 0.0,
                    latency.get("p99") or 0.0,
                )
            )
        return Scene(
            self._elapsed(),
            self._how.duration,
            f"Seawall demo: {self._how.rate:g} requests/s, {self._how.strategy}",
            tuple(rows),
            tuple(self._events),
            self._load.sent,
            self._load.failed,
            self._load.latencies.quantile(0.5) * 1e3,
            self._load.latencies.quantile(0.99) * 1e3,
        )

    def _outcome(self) -> Outcome:
        load, flood = self._load, self._flood
        victim = self._servers[0].name
        answered = sum(load.by_server.values())
        problems = [f"{count} requests failed: {cause}" for cause, count in load.failures.items()]
        if not answered:
            problems.append("no request was answered")
        if not flood.failures["status 429"]:
            problems.append(f"none of the {flood.sent} requests of the flood was refused")
        if not sum(self._refused.values()):
            problems.append("the gateway tells of no refusal")
        if not self._answered_before:
            problems.append(f"{victim} had no traffic before it was killed")
        if not self._noticed:
            problems.append(f"the gateway never saw that {victim} was dead")
        if load.by_server[victim] <= self._answered_away:
            problems.append(f"{victim} got no traffic back")
        return Outcome(
            load.sent,
            load.failed,
            flood.sent,
            sum(flood.by_server.values()),
            {reason: count for reason, count in self._refused.items() if count},
            {server.name: round(load.by_server[server.name] / max(answered, 1), 4) for server in self._servers},
            round(load.latencies.quantile(0.5) * 1e3, 2),
            round(load.latencies.quantile(0.99) * 1e3, 2),
            tuple(problems),
        )

    async def _sleep_until(self, elapsed: float) -> None:
        await asyncio.sleep(elapsed - self._elapsed())

    def _elapsed(self) -> float:
        return self._loop.time() - self._started

    def _tell(self, text: str) -> None:
        self._events.append(Event(self._elapsed(), text))


def _instances(state: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {instance["id"]: instance for pool in state["pools"] for instance in pool["instances"]}
