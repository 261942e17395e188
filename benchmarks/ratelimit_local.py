"""What a decision costs within one process, beside `limits` in memory where it is installed; printed, not asserted.

`python benchmarks/ratelimit_local.py [--quick] [--json]`. Goal: at most 1 us for a decision of the engine under one
GCRA rule. Figures are CPU time of this process: best and median of several rounds over 1000 clients.
"""

import argparse
import gc
import importlib
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from machine import describe, headline
from seawall.limiter import AdaptiveRateLimiter
from seawall.systems.ratelimit.condition import Condition
from seawall.systems.ratelimit.engine import RateLimitEngine
from seawall.systems.ratelimit.keys import LimitContext
from seawall.systems.ratelimit.model import (
    Algorithm,
    Block,
    EndpointFactor,
    RateLimitSnapshot,
    RuleSnapshot,
    WindowSnapshot,
)

__all__ = ["main"]

_CLIENTS = 1000
_PEER = "limits"
_WRITES = (EndpointFactor(factor=0.5, methods=("POST", "PUT", "PATCH", "DELETE")),)
_ROLES = {"anonymous": 0.3, "user": 1.0}

Ask = Callable[[Any], object]


def main() -> int:
    """Measure and print; return the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON: figures by name, in us")
    arguments = parser.parse_args()
    rounds = 5 if arguments.quick else 15
    repeats = 20 if arguments.quick else 60
    console = Console()
    peers = [_PEER] if importlib.util.find_spec(_PEER) else []
    console.print(headline(describe(*peers)))
    table = Table("decision", "best us", "median us", title=f"{rounds} rounds of {repeats * _CLIENTS} decisions")
    figures: dict[str, float] = {}
    for name, (ask, items) in _cases(has_peer=bool(peers)).items():
        taken = _measure(ask, items, rounds, repeats)
        figures[name] = round(min(taken), 3)
        table.add_row(name, f"{min(taken):.3f}", f"{statistics.median(taken):.3f}")
    console.print(table)
    if not peers:
        console.print(f"{_PEER} is not installed, so there is nothing to compare with")
    if arguments.json:
        sys.stdout.write(json.dumps({"ratelimit_local_us": figures, "machine": describe(*peers)}) + "\n")
    return 0


def _measure(ask: Ask, items: Sequence[Any], rounds: int, repeats: int) -> list[float]:
    """Return microseconds of CPU per decision, loop included, for each round."""
    taken = []
    for _ in range(rounds):
        gc.collect()
        started = time.process_time()
        for _ in range(repeats):
            for item in items:
                ask(item)
        taken.append((time.process_time() - started) / (repeats * len(items)) * 1e6)
    return taken


def _cases(*, has_peer: bool) -> dict[str, tuple[Ask, Sequence[Any]]]:
    addresses = [LimitContext(client=f"10.0.{n >> 8}.{n & 255}", method="GET", path="/api/x") for n in range(_CLIENTS)]
    names = [f"user-{number}" for number in range(_CLIENTS)]
    many = [_rule(f"r{number}", [_window(1e9)], match=Condition(paths=(f"/other/{number}",))) for number in range(20)]
    clock = time.monotonic
    cases: dict[str, tuple[Ask, Sequence[Any]]] = {
        "nothing: the loop, a call and the clock": (lambda _: clock(), addresses),
        "engine: one GCRA rule, allowed": (_engine(_rule("r", [_window(1e9)])), addresses),
        "engine: one GCRA rule, refused": (_engine(_rule("r", [_window(0.001)])), addresses),
        "engine: one GCRA rule on a path": (
            _engine(_rule("r", [_window(1e9)], match=Condition(paths=("/api",)))),
            addresses,
        ),
        "engine: two windows and permits": (
            _engine(_rule("r", [_window(1e9), _window(1e9, Algorithm.SLIDING_WINDOW), _permits()])),
            addresses,
        ),
        "engine: the last of 21 rules": (_engine(*many, _rule("r", [_window(1e9)])), addresses),
        "engine: one rule, 10,000 blocked addresses": (
            _engine(
                _rule("r", [_window(1e9)]),
                blocks={f"client:172.16.{n >> 8}.{n & 255}": Block(until=float("inf")) for n in range(10_000)},
            ),
            addresses,
        ),
        "limiter.decide, with lock and factors": (_limiter().decide, addresses),
        "limiter.check by name": (_limiter().check, names),
    }
    if has_peer:
        cases["limits: fixed window, memory"] = (_peer("FixedWindowRateLimiter"), names)
        cases["limits: sliding window counter, memory"] = (_peer("SlidingWindowCounterRateLimiter"), names)
        cases["limits: moving window, memory"] = (_peer("MovingWindowRateLimiter", limit=1000), names)
    return cases


def _engine(*rules: RuleSnapshot, **fields: Any) -> Ask:  # noqa: ANN401 - fields of a snapshot
    engine = RateLimitEngine(time.time)
    engine.apply(RateLimitSnapshot(version=1, rules=rules, **fields))
    clock = time.monotonic
    return lambda context: engine.check(context, clock())


def _rule(rule_id: str, windows: Sequence[WindowSnapshot], match: Condition | None = None) -> RuleSnapshot:
    return RuleSnapshot(
        id=rule_id,
        key=("identity",),
        windows=tuple(windows),
        match=match or Condition(),
        roles=_ROLES,
        endpoints=_WRITES,
    )


def _window(limit: float, algorithm: Algorithm = Algorithm.GCRA) -> WindowSnapshot:
    return WindowSnapshot(name=algorithm.value, limit=limit, window=60.0, algorithm=algorithm)


def _permits() -> WindowSnapshot:
    return WindowSnapshot(name="permits", limit=1e9, window=60.0, algorithm=Algorithm.CONCURRENCY)


def _limiter() -> AdaptiveRateLimiter:
    return AdaptiveRateLimiter({"base": 1e9, "max": 1e9})


def _peer(strategy: str, limit: int = 10**9) -> Ask:
    limits = importlib.import_module(_PEER)
    storage = importlib.import_module(f"{_PEER}.storage").MemoryStorage()
    limiter = getattr(importlib.import_module(f"{_PEER}.strategies"), strategy)(storage)
    item = limits.RateLimitItemPerMinute(limit)
    return lambda name: limiter.hit(item, name)


if __name__ == "__main__":
    sys.exit(main())
