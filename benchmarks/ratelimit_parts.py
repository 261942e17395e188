"""What the parts of the rate limiter cost in time and bytes: `python benchmarks/ratelimit_parts.py`; printed only.

Goals: a decision by GCRA in memory, table included, at most 1 us; one on a busy key with shared counts that is leased
at most 3 us, asking for leases included (not what the counts themselves cost); a million one-shot addresses under
20 MiB.
"""

import gc
import struct
import time
import timeit
import tracemalloc
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from machine import describe, headline
from seawall.systems.ratelimit.concurrency import Concurrency
from seawall.systems.ratelimit.engine import Ask, RateLimitEngine
from seawall.systems.ratelimit.fixed import FixedWindow
from seawall.systems.ratelimit.gcra import IDLE, Gcra
from seawall.systems.ratelimit.headers import FieldWriter
from seawall.systems.ratelimit.keys import LimitContext
from seawall.systems.ratelimit.ladder import CLEAN, Ladder, LadderLimits
from seawall.systems.ratelimit.model import Algorithm, Counting, RateLimitSnapshot, RuleSnapshot, WindowSnapshot
from seawall.systems.ratelimit.shared import States, take
from seawall.systems.ratelimit.shedding import admits, cohort
from seawall.systems.ratelimit.sketch import SpaceSaving
from seawall.systems.ratelimit.sliding import SlidingWindow
from seawall.systems.ratelimit.table import StateTable

__all__ = ["main"]

_CALLS = 50_000
_REPEATS = 7
_CLIENTS = 1000
_MILLION = 1_000_000
_DECISIONS = 50_000
_RATE = 900.0
_SITES = {
    "local": (Counting.LOCAL, 1e6, 1.0),
    "local, refused": (Counting.LOCAL, 1e-3, 1.0),
    "leased, 900 requests/s of 1000, alone": (Counting.LEASED, 1000.0, 1.0),
    "leased, the same, one of 8 processes": (Counting.LEASED, 1000.0, 1 / 8),
    "strict, the engine's part": (Counting.STRICT, 1e6, 1.0),
    "strict, refused and remembered": (Counting.STRICT, 1e-3, 1.0),
}
"""Where the counts are, the limit per second, and this process's share of it."""


def main() -> int:
    """Measure and print; return the process's exit code."""
    console = Console()
    console.print(headline(describe()))
    times = Table("part", "us a call", title=f"best of {_REPEATS} x {_CALLS} calls, the loop included")
    for name, call in _calls().items():
        gc.collect()
        best = min(timeit.repeat(call, number=_CALLS, repeat=_REPEATS))
        times.add_row(name, f"{best / _CALLS * 1e6:.3f}")
    console.print(times)
    decisions = Table("engine, one rule", "us a decision", "asked", title=f"{_DECISIONS} requests of one key")
    for name, (counts, limit, share) in _SITES.items():
        seconds, asked = min(_decide(counts, limit, share) for _ in range(_REPEATS))
        decisions.add_row(name, f"{seconds * 1e6:.3f}", f"{asked:,}")
    console.print(decisions)
    memory = Table("table of", "state", "kept", "peak MiB", "bytes a key", title="a million one-shot addresses")
    for max_keys in (65_536, 2 * _MILLION):
        for numbers in (1, 3):
            kept, peak = _flood(max_keys, numbers)
            memory.add_row(
                f"{max_keys:,}", f"{numbers} float(s)", f"{kept:,}", f"{peak / 2**20:.1f}", f"{peak / kept:.0f}"
            )
    console.print(memory)
    return 0


def _calls() -> dict[str, Callable[[], object]]:
    keys = [_key(number) for number in range(_CLIENTS)]
    writer = FieldWriter([("burst", 60.0)])
    sketch = SpaceSaving(1000)
    ladder = Ladder(LadderLimits())
    conduct, _ = ladder.violate(CLEAN, 1000.0)
    _, window, *_ = SlidingWindow.check(None, 1000.0, 100.0, 60.0)
    _, fixed, *_ = FixedWindow.check(None, 1000.0, 100.0, 60.0)
    _, flying, *_ = Concurrency.acquire(None, 1000.0, 100.0, 60.0)
    return {
        "GCRA, the decision alone": lambda: Gcra.check(1000.5, 1000.0, 0.01, 100.0, 1.0),
        "GCRA, read, decided and kept in the table": _in_the_table(keys, 0.01),
        "GCRA, the same, refused": _in_the_table(keys, 1e6),
        "sliding window": lambda: SlidingWindow.check(window, 1000.0, 100.0, 60.0, 1.0),
        "fixed window": lambda: FixedWindow.check(fixed, 1000.0, 100.0, 60.0, 1.0),
        "in flight, acquire": lambda: Concurrency.acquire(flying, 1000.0, 100.0, 60.0, 1.0),
        "engine, two windows, all or nothing": _two_windows(),
        "RateLimit and RateLimit-Policy": lambda: writer.fields((100.0,), (50.0,), (30.0,)),
        "heaviest keys, add": lambda: sketch.add(b"client"),
        "violation": lambda: ladder.violate(conduct, 1001.0),
        "shedding, is this client admitted": lambda: admits(0.5, cohort(0x1234_5678_9ABC)),
    }


def _two_windows() -> Callable[[], object]:
    engine = RateLimitEngine(lambda: 0.0)
    windows = (
        WindowSnapshot(name="burst", limit=1e9, window=1.0),
        WindowSnapshot(name="minute", limit=1e9, window=60.0, algorithm=Algorithm.SLIDING_WINDOW),
    )
    engine.apply(RateLimitSnapshot(version=0, rules=(RuleSnapshot(id="r", key=("client",), windows=windows),)))
    context = LimitContext(client="192.0.2.1", method="GET")
    return lambda: engine.check(context, 1000.0)


def _in_the_table(keys: list[bytes], interval: float) -> Callable[[], None]:
    table: StateTable[float] = StateTable(65_536, 60.0, lambda tat, now: tat > now)
    get, put, check = table.get, table.put, Gcra.check
    now = 1000.0
    index = 0

    def decide() -> None:
        nonlocal now, index
        now += 1e-5
        index = (index + 1) % _CLIENTS
        key = keys[index]
        tat = get(key)
        put(key, check(IDLE if tat is None else tat, now, interval, 100.0, 1.0)[1], now)

    return decide


def _decide(counts: Counting, limit: float, share: float) -> tuple[float, int]:
    """Return the seconds of one decision, what the counts themselves took left out, and how many asked them."""
    engine = RateLimitEngine(lambda: 0.0)
    window = WindowSnapshot(name="w", limit=limit, window=1.0)
    rule = RuleSnapshot(id="r", key=("client",), windows=(window,), counts=counts)
    engine.apply(RateLimitSnapshot(version=0, rules=(rule,), share=share))
    context = LimitContext(client="192.0.2.1", method="GET")
    states: dict[str, States] = {}
    now, sweep, asked, away = 1000.0, 1000.0, 0, 0.0
    started = time.perf_counter()
    for _ in range(_DECISIONS):
        now += 1.0 / _RATE
        if now >= sweep:
            sweep = now + 0.1
            engine.sweep(now)
        begun = engine.begin(context, now)
        if isinstance(begun, Ask):
            asked += 1
            left = time.perf_counter()
            answers, changes = take(states.get, begun.asks, now)
            for change in changes:
                states[change.place] = change.states
            away += time.perf_counter() - left
            engine.settle(begun, answers, now)
    return (time.perf_counter() - started - away) / _DECISIONS, asked


def _flood(max_keys: int, numbers: int) -> tuple[int, int]:
    """Return the entries kept and the peak of bytes."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    table: StateTable[object] = StateTable(max_keys, 60.0, lambda _state, _now: False)
    for number in range(_MILLION):
        now = 1000.0 + number / 20_000
        table.put(_key(number), now + 1.0 if numbers == 1 else (now, now + 1.0, now + 2.0), now)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return len(table), peak


def _key(number: int) -> bytes:
    return struct.pack(">QQ", number * 0x9E3779B97F4A7C15 % 2**64, number)


if __name__ == "__main__":
    raise SystemExit(main())
