"""What threat detection finds and what it flags wrongly: `python benchmarks/threats/quality.py`.

Runs the default configuration over public sets, trains nothing, and prints detection by class and false positives by
set. A request counts as flagged when the action is neither allow nor tag. What was missed or wrongly flagged is written
to a file, one JSON object a line.
"""

import argparse
import json
import logging
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from corpora import BENIGN, DATA, Sample, samples

from machine import describe, headline
from seawall.adapters.patterns import cache_folder, compile_patterns
from seawall.systems.threats.engine import ThreatEngine
from seawall.systems.threats.inspection.policy import Policy
from seawall.systems.threats.model import Action, Verdict

__all__ = ["main"]

_PASSED = {Action.ALLOW, Action.TAG}
_GOAL_DETECTED = {"command-injection": 95.0}
_GOAL_FLAGGED = 0.5


def main() -> int:
    """Measure and print; return the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the sets")
    parser.add_argument("--misses", type=Path, default=Path(tempfile.gettempdir()) / "seawall-threat-misses.jsonl")
    parser.add_argument("--paranoia", type=int, default=1, choices=(1, 2, 3, 4))
    parser.add_argument("--only", default="", help="a set or a class, such as httpparams or xss")
    parser.add_argument("--backend", default="", help="hyperscan, re2 or re")
    parser.add_argument("--json", action="store_true", help="end with a JSON object of the figures")
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    if not options.data.is_dir():
        print(f"{options.data} is not there; name the folder with --data")
        return 2
    engine = ThreatEngine(
        Policy(paranoia=options.paranoia),
        lambda groups: compile_patterns(groups, backend=options.backend, cache=cache_folder()),
    )
    tally = Tally()
    started = time.perf_counter()
    with options.misses.open("w", encoding="utf-8") as file:
        for sample in samples(options.data):
            if options.only in {"", sample.group, sample.truth}:
                tally.add(sample, engine.inspect(sample.request, sample.body), file)
    seconds = time.perf_counter() - started
    console = Console()
    console.print(headline(describe()))
    total = sum(tally.seen.values())
    each = seconds / max(total, 1) * 1e6
    console.print(f"{total:,} requests, paranoia {options.paranoia}, {engine.backend}, {each:.0f} us each")
    for table in tally.tables():
        console.print(table)
    console.print(f"misses and false positives: {options.misses}")
    if options.json:
        print(json.dumps(tally.figures()))
    return 0


class Tally:
    """Counts by set and truth."""

    def __init__(self) -> None:
        self.seen: Counter[tuple[str, str]] = Counter()
        self.flagged: Counter[tuple[str, str]] = Counter()
        self.named: Counter[tuple[str, str]] = Counter()
        self.tagged: Counter[tuple[str, str]] = Counter()
        self.rules: dict[str, Counter[str]] = defaultdict(Counter)

    def add(self, sample: Sample, verdict: Verdict, misses: TextIO) -> None:
        """Count a sample, and write it down when the verdict is not what its set says."""
        key = sample.group, sample.truth
        flagged = verdict.action not in _PASSED
        self.seen[key] += 1
        self.flagged[key] += flagged
        self.tagged[key] += verdict.action is Action.TAG
        self.named[key] += any(finding.category == sample.truth for finding in verdict.findings)
        if sample.truth == BENIGN and flagged:
            self.rules[sample.group].update({finding.rule for finding in verdict.findings})
        if sample.truth != "mixed" and flagged == (sample.truth == BENIGN):
            row = {
                "set": sample.group,
                "truth": sample.truth,
                "text": sample.text[:1000],
                "score": verdict.score,
                "findings": [
                    f"{finding.rule} {finding.confidence:.2f} {finding.severity.name} {finding.place.kind} "
                    f"{finding.span[:80]!r}"
                    for finding in verdict.findings
                ],
            }
            misses.write(json.dumps(row) + "\n")

    def tables(self) -> list[Table]:
        """Return what to print."""
        attacks = Table("set", "class", "requests", "flagged", "%", "right class %", "goal %", title="attacks")
        benign = Table("set", "requests", "flagged", "%", "tagged", "goal %", "rules", title="benign requests")
        for (group, truth), seen in sorted(self.seen.items()):
            flagged = self.flagged[group, truth]
            share = f"{100 * flagged / seen:.2f}"
            if truth == BENIGN:
                rules = ", ".join(f"{rule} {count}" for rule, count in self.rules[group].most_common(6))
                tagged = self.tagged[group, truth]
                benign.add_row(group, f"{seen:,}", f"{flagged:,}", share, f"{tagged:,}", f"{_GOAL_FLAGGED}", rules)
            else:
                named = f"{100 * self.named[group, truth] / seen:.2f}"
                goal = "" if truth == "mixed" else f"{_GOAL_DETECTED.get(truth, 97.0):g}"
                attacks.add_row(group, truth, f"{seen:,}", f"{flagged:,}", share, named, goal)
        return [attacks, benign]

    def figures(self) -> dict[str, float]:
        """Return the share flagged, in percent, by set and truth."""
        return {
            f"{group}/{truth}": 100 * self.flagged[group, truth] / seen for (group, truth), seen in self.seen.items()
        }


if __name__ == "__main__":
    raise SystemExit(main())
