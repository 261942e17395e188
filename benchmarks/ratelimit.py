"""What a decision costs beside the limiters that people use, in memory and over one Redis; printed, not asserted.

`python benchmarks/ratelimit.py [--quick] [--json]`. Goals: at most 1 us of processor time for a decision in memory, at
most one round trip for a shared one, at most 3 us amortised where busy keys are leased, and a gateway that with limits
on serves at least 0.9 of what it serves without. Times are processor time of the asking process, but where they are
called elapsed; a round trip is a script that Redis ran.
"""

import argparse
import asyncio
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import redis.asyncio
import uvloop
from rich.console import Console
from rich.table import Table

from machine import cores, describe, headline
from peers import limiters, seawall_gateway, upstream, wrk
from peers.process import BenchmarkError, cpu_seconds, free_port, running
from seawall.limiter import AdaptiveRateLimiter
from seawall.systems.ratelimit.engine import RateLimitEngine
from seawall.systems.ratelimit.keys import LimitContext
from seawall.systems.ratelimit.model import RateLimitSnapshot, RuleSnapshot, WindowSnapshot
from seawall.testing.redis import RedisServer

__all__ = ["main"]

_KEYS = 1000
_HOT_KEYS = 10
_AT_ONCE = 32
_SCRIPTS = ("cmdstat_evalsha", "cmdstat_eval", "cmdstat_fcall")
_LIMITS = """
[[ratelimit.rules]]
id = "clients"
key = ["client"]
windows = [{ limit = 1000000000, window_ms = 60000 }]
"""


class Shared(NamedTuple):
    """One way to decide over Redis.

    Attributes:
        us: processor time of this process per decision, 32 at once.
        elapsed_us: of one decision at a time.
        trips: scripts that Redis ran per decision.
    """

    us: float
    elapsed_us: float
    trips: float


def main() -> int:
    """Measure and print; return the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    arguments = parser.parse_args()
    console = Console()
    machine = describe(*limiters.PACKAGES, "redis")
    console.print(headline(machine))
    memory = _memory(arguments.quick)
    table = Table("in memory", "best us", "median us", title=f"{_KEYS} keys, one decision after the other")
    for name, rounds in memory.items():
        table.add_row(name, f"{min(rounds):.2f}", f"{statistics.median(rounds):.2f}")
    console.print(table)
    with RedisServer() as server:
        shared = uvloop.run(_over_redis(server.url, 2_000 if arguments.quick else 20_000))
    table = Table("over Redis", "us", "elapsed us", "round trips", title=f"us: {_AT_ONCE} decisions at once")
    for name, one in shared.items():
        table.add_row(name, f"{one.us:.1f}", f"{one.elapsed_us:.1f}", f"{one.trips:.3f}")
    console.print(table)
    seconds, rounds = (2.0, 3) if arguments.quick else (5.0, 7)
    served = _gateway(seconds, rounds)
    table = Table("gateway", "requests/s", "CPU us/request", title=f"medians of {rounds} rounds of {seconds:g} s")
    for name, found in served.items():
        rate, cost = (statistics.median(column) for column in zip(*found, strict=True))
        table.add_row(name, f"{rate:.0f}", f"{cost:.1f}")
    # Within a round both see the same machine, so the ratios are taken there.
    pairs = list(zip(served["limits on"], served["without"], strict=True))
    ratio = statistics.median(on[0] / off[0] for on, off in pairs)
    cheaper = statistics.median(off[1] / on[1] for on, off in pairs)
    table.add_row("limits on : without", f"{ratio:.3f}", f"{cheaper:.3f}")
    console.print(table)
    if arguments.json:
        figures = {
            "memory_us": {name: round(min(found), 3) for name, found in memory.items()},
            "redis": {name: one._asdict() for name, one in shared.items()},
            "gateway_ratio": round(ratio, 3),
            "gateway_cpu_ratio": round(cheaper, 3),
        }
        sys.stdout.write(json.dumps({"ratelimit": figures, "machine": machine}) + "\n")
    return 0


# -- in memory ---------------------------------------------------------------------------------------------------------


def _memory(quick: bool) -> dict[str, list[float]]:  # noqa: FBT001 - a flag of the command line
    names = [f"user-{number}" for number in range(_KEYS)]
    contexts = [LimitContext(identifier=name, method="GET", path="/api/x") for name in names]
    limiter = AdaptiveRateLimiter({"base": 1e9, "max": 1e9})
    clock = time.monotonic
    cases: dict[str, tuple[Callable[[Any], object], Sequence[Any]]] = {
        "nothing: the loop, a call and the clock": (lambda _: clock(), names),
        "Seawall: the engine, GCRA": (_engine(), contexts),
        "Seawall: AdaptiveRateLimiter, GCRA": (limiter.decide, contexts),
        **{name: (ask, names) for name, ask in limiters.in_memory(names).items()},
    }
    rounds, repeats = (5, 10) if quick else (15, 50)
    taken: dict[str, list[float]] = {name: [] for name in cases}
    # A round goes through all cases, so that a slow moment of the machine hits all of them.
    for _ in range(rounds):
        for name, (ask, items) in cases.items():
            gc.collect()
            started = time.process_time()
            for _ in range(repeats):
                for item in items:
                    ask(item)
            taken[name].append((time.process_time() - started) / (repeats * len(items)) * 1e6)
    return taken


def _engine() -> Callable[[LimitContext], object]:
    engine = RateLimitEngine(time.time)
    window = WindowSnapshot(name="clients", limit=1e9, window=60.0)
    rule = RuleSnapshot(id="clients", key=("identity",), windows=(window,), roles={"anonymous": 0.3})
    engine.apply(RateLimitSnapshot(version=1, rules=(rule,)))
    clock = time.monotonic
    return lambda context: engine.check(context, clock())


# -- over Redis --------------------------------------------------------------------------------------------------------


async def _over_redis(url: str, decisions: int) -> dict[str, Shared]:
    names = [f"user-{number}" for number in range(_KEYS)]
    client = redis.asyncio.Redis.from_url(url)
    found: dict[str, Shared] = {}
    for counts, keys in (("strict", names), ("leased", names), ("leased", names[:_HOT_KEYS])):
        limiter = _shared(url, counts)
        title = f"Seawall: {counts}" + (f", {_HOT_KEYS} busy keys" if len(keys) < len(names) else "")
        found[title] = await _measure(lambda name, limiter=limiter: limiter.check_limit(name), keys, decisions, client)
        await limiter.close()
    for name, ask in limiters.over_redis(url, names).items():
        found[name] = await _measure(ask, names, decisions, client)
    await client.aclose()
    return found


def _shared(url: str, counts: str) -> AdaptiveRateLimiter:
    rule = {"id": "shared", "key": ["identity"], "counts": counts, "windows": [{"limit": 1e9, "window_ms": 60_000}]}
    return AdaptiveRateLimiter({"rules": [rule]}, store=url)


async def _measure(
    ask: Callable[[str], Awaitable[Any]], names: Sequence[str], decisions: int, client: redis.asyncio.Redis
) -> Shared:
    for name in names:  # connections, scripts and keys are there before the clock runs
        answer = await ask(name)
        if answer is False or getattr(answer, "allowed", True) is False or getattr(answer, "limited", False):
            raise BenchmarkError(f"{name} is refused: {answer}")
    alone = min(decisions, 2000)
    started = time.perf_counter()
    for number in range(alone):
        await ask(names[number % len(names)])
    elapsed = (time.perf_counter() - started) / alone
    before = await _scripts(client)
    started = time.process_time()

    async def lane(first: int) -> None:
        for number in range(first, decisions, _AT_ONCE):
            await ask(names[number % len(names)])

    await asyncio.gather(*(lane(first) for first in range(_AT_ONCE)))
    used = time.process_time() - started
    trips = (await _scripts(client) - before) / decisions
    return Shared(used / decisions * 1e6, elapsed * 1e6, trips)


async def _scripts(client: redis.asyncio.Redis) -> int:
    """Return the scripts that clients have asked Redis to run; all limiters here decide by script."""
    calls = await client.info("commandstats")
    return sum(calls[name]["calls"] for name in _SCRIPTS if name in calls)


# -- the gateway -------------------------------------------------------------------------------------------------------


def _gateway(seconds: float, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return (requests per second, CPU microseconds per request) of each round, without limits and with, in turns."""
    available = cores()
    core, rest = available[0], available[-1:]
    served: dict[str, list[tuple[float, float]]] = {"without": [], "limits on": []}
    with tempfile.TemporaryDirectory(prefix="seawall-bench-") as name:
        folder = Path(name)
        ports = [free_port() for _ in upstream.NAMES]
        commands = [upstream.configure(*pair, folder) for pair in zip(upstream.NAMES, ports, strict=True)]
        plain, limited = folder / "plain", folder / "limited"
        plain.mkdir()
        limited.mkdir()
        first, second = free_port(), free_port()
        without = seawall_gateway.configure(first, ports, plain, strategy="round-robin")
        with_limits = seawall_gateway.configure(second, ports, limited, strategy="round-robin")
        path = limited / "seawall.toml"
        path.write_text(path.read_text() + _LIMITS)
        with (
            running("a", commands[0], port=ports[0], cores=rest, folder=folder),
            running("b", commands[1], port=ports[1], cores=rest, folder=folder),
            running("without", without, port=first, cores=[core], folder=plain) as off,
            running("limited", with_limits, port=second, cores=[core], folder=limited) as on,
        ):
            for number in range(-1, rounds):
                for title, port, server in (("without", first, off), ("limits on", second, on)):
                    before = cpu_seconds(server.pid)
                    figures = wrk.measure(port, connections=32, seconds=seconds, core=rest[0], folder=folder)
                    if figures.failed:
                        raise BenchmarkError(f"{figures.failed} requests failed {title}")
                    if number >= 0:  # the first round warms up
                        used = (cpu_seconds(server.pid) - before) / figures.requests * 1e6
                        served[title].append((figures.rate, used))
    return served


if __name__ == "__main__":
    sys.exit(main())
