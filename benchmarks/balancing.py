"""How well each strategy balances: the real engine and outlier detector over simulated servers, in virtual time.

    python benchmarks/balancing.py [--quick] [--json] [--strategy NAME ...]

Four situations (see simulation/scenarios.py), open loop, fixed seeds, four workers that know nothing of one another:

a  eleven instances, one pinned at 2 s under 1000 requests/s for 30 s: share of requests answered within 1 s
b  one of ten instances starts to answer 500 at once: its share of the traffic from 1 s on
c  load climbs to 1.74x of fair capacity with a third of the instances contended: p99.9 at the top, errors
d  membership of 1000 instances changes every second: failed requests

Time is virtual, so the figures are the same on every machine; only the milliseconds of `apply` are this machine's.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from machine import describe, headline
from seawall.systems.balancing.model import StrategyName
from simulation.scenarios import contended, failing, membership, pinned

__all__ = ["main"]

Figures = dict[str, dict[str, float]]

_FULL = {"pinned": 30.0, "failing": 40.0, "contended": 45.0, "membership": 30.0}
_QUICK = {"pinned": 30.0, "failing": 10.0, "contended": 18.0, "membership": 6.0}
_SCENARIOS: dict[str, Callable[[StrategyName, float], dict[str, float]]] = {
    "pinned": pinned,
    "failing": failing,
    "contended": contended,
    "membership": membership,
}
_AWARE = (StrategyName.LATENCY_BASED, StrategyName.ADAPTIVE)


def main() -> int:
    """Run every scenario with every strategy; return 0 when all goals are met, else 1."""
    arguments = _arguments()
    lengths = _QUICK if arguments.quick else _FULL
    # The p99.9 goal is relative to `weighted`, so that it always runs.
    strategies = list(dict.fromkeys([*arguments.strategy, StrategyName.WEIGHTED]))
    machine = describe("msgspec")
    console = Console(width=120)
    console.print(headline(machine), highlight=False)
    started = time.perf_counter()
    figures: dict[StrategyName, Figures] = {
        strategy: {name: run(strategy, lengths[name]) for name, run in _SCENARIOS.items()} for strategy in strategies
    }
    console.print(_table(figures))
    goals = _goals(figures)
    for sentence, met in goals:
        console.print(f"{'met   ' if met else 'MISSED'}  {sentence}", highlight=False)
    console.print(f"{time.perf_counter() - started:.0f} s of this machine's time", highlight=False)
    if arguments.json:
        flat = {
            f"{strategy.value}.{scenario}.{name}": round(value, 6)
            for strategy, scenarios in figures.items()
            for scenario, row in scenarios.items()
            for name, value in row.items()
        }
        print(json.dumps({"machine": machine, "goals_met": all(met for _, met in goals), **flat}))
    return 0 if all(met for _, met in goals) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one object of named figures as the last line")
    parser.add_argument("--quick", action="store_true", help="shorter runs, under a minute")
    parser.add_argument(
        "--strategy",
        nargs="+",
        type=StrategyName,
        default=list(StrategyName),
        help="run these only (weighted always runs)",
    )
    return parser.parse_args()


def _table(figures: dict[StrategyName, Figures]) -> Table:
    table = Table(title="Balancing quality, virtual time")
    table.add_column("strategy", no_wrap=True)
    for heading in (
        "a: < 1 s",
        "slow",
        "b: bad",
        "c: p50 ms",
        "p99 ms",
        "p99.9 ms",
        "errors",
        "d: failed",
        "apply ms",
    ):
        table.add_column(heading, justify="right")
    for strategy, row in figures.items():
        load = row["contended"]
        table.add_row(
            strategy.value,
            f"{row['pinned']['under_1s']:.3%}",
            f"{row['pinned']['slow']:.0f}",
            f"{row['failing']['share_after_1s']:.3%}",
            f"{load['p50_ms']:.0f}",
            f"{load['p99_ms']:.0f}",
            f"{load['p999_ms']:.0f}",
            f"{load['errors']:.0f}",
            f"{row['membership']['failed']:.0f}",
            f"{row['membership']['apply_ms']:.1f}",
        )
    return table


def _goals(figures: dict[StrategyName, Figures]) -> list[tuple[str, bool]]:
    goals = []
    for strategy in _AWARE:
        if strategy in figures:
            share = figures[strategy]["pinned"]["under_1s"]
            goals.append((f"a: {strategy.value} answers {share:.3%} within 1 s; goal at least 99.9 %", share >= 0.999))
    worst = max(figures, key=lambda strategy: figures[strategy]["failing"]["share_after_1s"])
    share = figures[worst]["failing"]["share_after_1s"]
    goals.append((f"b: at most {share:.3%} to the failing instance ({worst.value}); goal under 1 %", share < 0.01))
    if StrategyName.ADAPTIVE in figures:
        adaptive = figures[StrategyName.ADAPTIVE]["contended"]
        weighted = figures[StrategyName.WEIGHTED]["contended"]
        ratio = adaptive["p999_ms"] / weighted["p999_ms"]
        goals.append((f"c: p99.9 of adaptive is {ratio:.3f} of weighted's; goal at most 0.2", ratio <= 0.2))
        goals.append((f"c: {adaptive['errors']:.0f} errors with adaptive; goal 0", adaptive["errors"] == 0))
    failed = sum(row["membership"]["failed"] for row in figures.values())
    goals.append((f"d: {failed:.0f} failed requests over all strategies; goal 0", failed == 0))
    return goals


if __name__ == "__main__":
    sys.exit(main())
