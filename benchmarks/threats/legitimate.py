"""How much honest traffic threat detection flags: `python benchmarks/threats/legitimate.py [--count 300] [--seed 1]`.

Makes requests of real browsers' and programs' shapes at random, with whole sets of header fields and cookies, runs the
default configuration over them, and prints the share flagged by kind, beside the benign rows of the public sets where
those are at hand. A request counts as flagged when the action is stricter than tag. What was flagged, and what was only
tagged, is written to a file, one JSON object a line. The goal is at most 0.5 %.
"""

import argparse
import json
import logging
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from corpora import BENIGN, DATA, apache_log, grananqvist, httpparams
from legitimate_kinds import KINDS

from machine import describe, headline
from seawall.adapters.patterns import cache_folder, compile_patterns
from seawall.core.request import Request
from seawall.systems.threats.engine import ThreatEngine
from seawall.systems.threats.inspection.policy import Policy
from seawall.systems.threats.model import Action, Verdict

__all__ = ["main", "requests"]

_PASSED = {Action.ALLOW, Action.TAG}
_GOAL = 0.5


def requests(count: int, seed: int, only: str = "") -> Iterator[tuple[str, Request, bytes]]:
    """Yield `count` requests of each kind; the same ones for the same seed."""
    for kind, make in KINDS.items():
        if kind.startswith(only):
            draw = random.Random(f"{seed} {kind}")
            for _ in range(count):
                yield kind, *make(draw)


def main() -> int:
    """Measure and print; return 1 when more is flagged than the goal allows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300, help="requests of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="kinds that begin so")
    parser.add_argument("--paranoia", type=int, default=1, choices=(1, 2, 3, 4))
    parser.add_argument(
        "--data", type=Path, default=DATA, help="folder with the public sets; left out when it is not there"
    )
    parser.add_argument("--misses", type=Path, default=Path(tempfile.gettempdir()) / "seawall-flagged.jsonl")
    parser.add_argument("--json", action="store_true", help="end with a JSON object of the shares")
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    engine = ThreatEngine(
        Policy(paranoia=options.paranoia), lambda groups: compile_patterns(groups, cache=cache_folder())
    )
    tally = Tally()
    with options.misses.open("w", encoding="utf-8") as file:
        for kind, request, body in requests(options.count, options.seed, options.only):
            tally.add(kind, request, body, engine.inspect(request, body), file)
        made = tally.share()
        if not options.only and options.data.is_dir():
            for source in (httpparams, grananqvist, apache_log):
                for sample in source(options.data):
                    if sample.truth == BENIGN:
                        verdict = engine.inspect(sample.request, sample.body)
                        tally.add(f"set {sample.group}", sample.request, sample.body, verdict, file)
    console = Console()
    console.print(headline(describe()))
    console.print(tally.table())
    console.print(f"generated requests flagged: {made:.2f} % (goal: at most {_GOAL} %); details: {options.misses}")
    if options.json:
        print(json.dumps(tally.shares()))
    return int(made > _GOAL)


class Tally:
    """Counts by kind."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.flagged: Counter[str] = Counter()
        self.tagged: Counter[str] = Counter()
        self.rules: dict[str, Counter[str]] = {}

    def add(self, kind: str, request: Request, body: bytes, verdict: Verdict, misses: TextIO) -> None:
        """Count a verdict, and write it down unless it is to allow."""
        self.seen[kind] += 1
        if verdict.action is Action.ALLOW:
            return
        flagged = verdict.action not in _PASSED
        (self.flagged if flagged else self.tagged)[kind] += 1
        if flagged:
            self.rules.setdefault(kind, Counter()).update({finding.rule for finding in verdict.findings})
        row = {
            "kind": kind,
            "flagged": flagged,
            "score": verdict.score,
            "findings": [
                f"{finding.rule} {finding.confidence:.2f} {finding.severity.name} {finding.place.kind}:"
                f"{finding.place.name} {'/'.join(finding.chain)} {finding.span!r}"
                for finding in verdict.findings
            ],
            "target": request.target.decode("utf-8", "replace"),
            "headers": [f"{name.decode()}: {value.decode('utf-8', 'replace')}" for name, value in request.headers],
            "body": body.decode("utf-8", "replace"),
        }
        misses.write(json.dumps(row, ensure_ascii=False) + "\n")

    def share(self) -> float:
        """Return the percentage flagged of all."""
        return 100 * sum(self.flagged.values()) / max(sum(self.seen.values()), 1)

    def shares(self) -> dict[str, float]:
        """Return the percentage flagged by kind."""
        return {kind: 100 * self.flagged[kind] / seen for kind, seen in self.seen.items()}

    def table(self) -> Table:
        """Return what to print."""
        table = Table("kind", "requests", "flagged", "%", "tagged", "rules of those flagged", title="honest requests")
        for kind, seen in self.seen.items():
            rules = ", ".join(f"{rule} {count}" for rule, count in self.rules.get(kind, Counter()).most_common(5))
            flagged = self.flagged[kind]
            table.add_row(
                kind, f"{seen:,}", f"{flagged:,}", f"{100 * flagged / seen:.2f}", f"{self.tagged[kind]:,}", rules
            )
        return table


if __name__ == "__main__":
    raise SystemExit(main())
