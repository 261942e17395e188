"""How exact a limit is when eight processes share it over one Redis; printed, not asserted.

`python benchmarks/ratelimit_accuracy.py [--quick] [--json]`. L = 1000 requests/s, B = 100 at once, one key. Open-loop
load of 0.9 (spread evenly, and 8:1 skewed), 3 and 10 times L. Every process writes down when it admitted what; the
worst second is the most that any sliding second of all of them together holds. Goals: at most L + B plus 1 % (plus the
leases, when leased), and at least 98 % admitted at 0.9. Away is the share of decisions that Redis did not answer within
5 ms, so that each process counted by itself, within an eighth of the limit.

Then Redis is killed in the middle of a load of 0.9 and of 3, and started again: no error, decisions at p99 at most 5 ms
longer, and at most the share of each process admitted meanwhile. A Redis that is back empty lets the burst pass again.
"""

import argparse
import asyncio
import json
import multiprocessing
import random
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.synchronize import Barrier
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from machine import describe, headline
from seawall.limiter import AdaptiveRateLimiter
from seawall.testing.redis import RedisServer

__all__ = ["main"]

_PROCESSES = 8
_LIMIT = 1000.0
_BURST = 100.0
_SKEW = 8.0


class Load(NamedTuple):
    """One load: its name, its rate as a multiple of the limit, and each process's share of it."""

    name: str
    multiple: float
    shares: tuple[float, ...]


class Seen(NamedTuple):
    """What one process saw.

    Attributes:
        asked: decisions.
        admitted: when, in monotonic seconds, which all processes of a machine share.
        away: decisions that Redis did not answer in time.
        decisions: when each began, and how long it took, in seconds.
        errors: decisions that raised.
    """

    asked: int
    admitted: list[float]
    away: float
    decisions: list[tuple[float, float]]
    errors: int


_EVEN = (1.0 / _PROCESSES,) * _PROCESSES
# One process gets eight times as much as each of the others.
_SKEWED = (_SKEW / (_SKEW + _PROCESSES - 1), *(1.0 / (_SKEW + _PROCESSES - 1),) * (_PROCESSES - 1))
_LOADS = (
    Load("0.9 even", 0.9, _EVEN),
    Load("0.9 at 8:1", 0.9, _SKEWED),
    Load("3 even", 3.0, _EVEN),
    Load("10 even", 10.0, _EVEN),
)


def main() -> int:
    """Measure and print; return the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter runs")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    arguments = parser.parse_args()
    seconds = 4.0 if arguments.quick else 10.0
    console = Console()
    console.print(headline(describe("redis")))
    table = Table(
        "counts",
        "load",
        "asked/s",
        "pass/s",
        "share",
        "worst",
        ":L+B",
        "away",
        title=f"{_PROCESSES} processes, L = {_LIMIT:g}/s, B = {_BURST:g}, {seconds:g} s each",
    )
    figures = []
    for counts in ("strict", "leased"):
        for load in _LOADS:
            with RedisServer() as redis:
                seen = _run(redis.url, counts, load, seconds)
            asked = sum(one.asked for one in seen)
            times = sorted(time for one in seen for time in one.admitted)
            worst = _worst_second(times)
            row = {
                "counts": counts,
                "load": load.name,
                "asked": asked / seconds,
                "admitted": len(times) / seconds,
                "share": len(times) / asked,
                "worst": worst,
                "of_bound": worst / (_LIMIT + _BURST),
                "unanswered": sum(one.away for one in seen) / asked,
            }
            figures.append(row)
            table.add_row(
                counts,
                load.name,
                f"{row['asked']:.0f}",
                f"{row['admitted']:.0f}",
                f"{row['share']:.1%}",
                f"{worst}",
                f"{row['of_bound']:.1%}",
                f"{row['unanswered']:.2%}",
            )
    console.print(table)
    outages = [
        row
        for counts in ("strict", "leased")
        for load in (_LOADS[0], _LOADS[2])
        for row in _outage(counts, load, seconds)
    ]
    table = Table(
        "counts",
        "load",
        "Redis",
        "pass/s",
        "worst",
        ":L+B",
        "p50 ms",
        "p99 ms",
        "fail",
        title=f"Redis killed after {seconds / 3:.1f} s, back after {seconds * 2 / 3:.1f} s",
    )
    for row in outages:
        table.add_row(
            row["counts"],
            row["load"],
            row["phase"],
            f"{row['admitted']:.0f}",
            f"{row['worst']}",
            f"{row['of_bound']:.1%}",
            f"{row['p50_ms']:.2f}",
            f"{row['p99_ms']:.2f}",
            f"{row['errors']}",
        )
    console.print(table)
    if arguments.json:
        found = {"ratelimit_accuracy": figures, "outages": outages, "machine": describe("redis")}
        sys.stdout.write(json.dumps(found) + "\n")
    return 0


def _outage(counts: str, load: Load, seconds: float) -> list[dict[str, Any]]:
    """Return what became of decisions before, while and after Redis was away."""
    with RedisServer() as redis:
        killed, back = seconds / 3, seconds * 2 / 3
        began = 0.0

        def disturb(start: float) -> None:
            nonlocal began
            began = start
            time.sleep(max(start + killed - time.monotonic(), 0.0))
            redis.kill()
            time.sleep(max(start + back - time.monotonic(), 0.0))
            redis.start()

        seen = _run(redis.url, counts, load, seconds, disturb)
    rows = []
    for phase, first, last in (("there", 0.0, killed), ("away", killed, back), ("back", back, seconds)):
        times = sorted(at for one in seen for at in one.admitted if first <= at - began < last)
        taken = sorted(took for one in seen for at, took in one.decisions if first <= at - began < last)
        rows.append(
            {
                "counts": counts,
                "load": load.name,
                "phase": phase,
                "admitted": len(times) / (last - first),
                "worst": _worst_second(times),
                "of_bound": _worst_second(times) / (_LIMIT + _BURST),
                "p50_ms": taken[len(taken) // 2] * 1000,
                "p99_ms": taken[int(len(taken) * 0.99)] * 1000,
                "errors": sum(one.errors for one in seen),
            }
        )
    return rows


def _run(
    url: str, counts: str, load: Load, seconds: float, disturb: Callable[[float], None] | None = None
) -> list[Seen]:
    """Return what every process saw under one load; `disturb` is called with the time at which it begins."""
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(_PROCESSES + 1)
    results = spawn.SimpleQueue()
    processes = [
        spawn.Process(
            target=_process, args=(url, counts, load.multiple * share * _LIMIT, seconds, number, barrier, results)
        )
        for number, share in enumerate(load.shares)
    ]
    for process in processes:
        process.start()
    barrier.wait()
    if disturb is not None:
        disturb(time.monotonic())
    seen = [results.get() for _ in processes]
    for process in processes:
        process.join()
    return seen


def _process(
    url: str,
    counts: str,
    rate: float,
    seconds: float,
    seed: int,
    barrier: Barrier,
    results: "multiprocessing.SimpleQueue[Seen]",
) -> None:
    results.put(asyncio.run(_load(url, counts, rate, seconds, seed, barrier)))


async def _load(url: str, counts: str, rate: float, seconds: float, seed: int, barrier: Barrier) -> Seen:
    window = {"limit": _LIMIT, "window_ms": 1000, "burst": _BURST}
    rule = {"id": "shared", "key": ["global"], "adaptive": False, "counts": counts, "windows": [window]}
    limiter = AdaptiveRateLimiter(
        {"rules": [rule], "roles": {"user": 1.0}, "endpoints": [], "ladder": {"enabled": False}},
        store=url,
        processes=_PROCESSES,
    )
    await limiter.check_limit("warm-up", {"cost": 0})
    rng = random.Random(seed)
    admitted: list[float] = []
    decisions: list[tuple[float, float]] = []
    asked = errors = 0
    tasks: set[asyncio.Task[None]] = set()

    async def ask() -> None:
        nonlocal errors
        started = time.monotonic()
        try:
            result = await limiter.check_limit("somebody")
        except Exception:  # noqa: BLE001 - counted, and shown
            errors += 1
            return
        ended = time.monotonic()
        decisions.append((started, ended - started))
        if result.allowed:
            admitted.append(ended)

    await asyncio.to_thread(barrier.wait)
    due = time.monotonic()
    end = due + seconds
    while True:
        due += rng.expovariate(rate)
        if due >= end:
            break
        wait = due - time.monotonic()
        if wait > 0.0:
            await asyncio.sleep(wait)
        asked += 1
        task = asyncio.create_task(ask())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    await limiter.close()
    away = sum(sample.value for sample in limiter.samples() if "away" in sample.labels)
    return Seen(asked, admitted, away, decisions, errors)


def _worst_second(times: Sequence[float]) -> int:
    """Return the most times within any interval of one second; linear in the sorted times."""
    worst = first = 0
    for last, time_ in enumerate(times):
        while times[first] <= time_ - 1.0:
            first += 1
        worst = max(worst, last - first + 1)
    return worst


if __name__ == "__main__":
    sys.exit(main())
