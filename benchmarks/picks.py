"""What a pick costs, by strategy, at 10 instances: pytest-benchmark's figures as a table.

Usage: picks.py [--quick] [--json]
Goals: at most 0.5 us for round-robin, 1.5 us for the others.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from machine import describe, headline

__all__ = ["main"]


def _measure(*, quick: bool) -> dict[str, float]:
    """Return the median cost in microseconds by measurement."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "picks.json"
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"),
                *(f"--benchmark-json={report}", str(Path(__file__).with_name("test_picks.py"))),
            ],
            env={**os.environ, "SEAWALL_PICKS_QUICK": "1" if quick else ""},
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode:
            sys.exit(f"picks.py: the measurement failed\n{done.stdout}{done.stderr}")
        measured = json.loads(report.read_text())["benchmarks"]
    return {
        entry["name"].removeprefix("test_"): entry["stats"]["median"]
        * 1e6
        / entry["extra_info"].get("picks_per_call", 1)
        for entry in measured
    }


def main() -> int:
    """Measure, print the table and the goals, and with `--json` one object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one line that is a JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    options = parser.parse_args()
    machine = describe("pytest-benchmark")
    costs = _measure(quick=options.quick)
    console = Console()
    console.print(f"Picks  {headline(machine)}")
    table = Table()
    table.add_column("measured")
    table.add_column("median us", justify="right")
    for name, cost in sorted(costs.items(), key=lambda item: item[1]):
        table.add_row(name.replace("[", " [", 1).replace("[", r"\["), f"{cost:.2f}")
    console.print(table)
    turns = max(cost for name, cost in costs.items() if name.startswith("pick[") and "round-robin" in name)
    others = max(cost for name, cost in costs.items() if name.startswith("pick[") and "round-robin" not in name)
    for what, cost, goal in (("round-robin", turns, 0.5), ("every other strategy", others, 1.5)):
        verdict = "reached" if cost <= goal else "missed"
        console.print(f"goal: {what} at most {goal} us: {cost:.2f} us, {verdict}", markup=False)
    if options.json:
        named = {name.replace("[", "_").rstrip("]") + "_us": round(cost, 3) for name, cost in costs.items()}
        print(json.dumps({"benchmark": "picks", "machine": machine, **named}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
