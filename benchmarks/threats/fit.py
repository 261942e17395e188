"""Fit the weights of a request's score: `python benchmarks/threats/fit.py`; prints them, changes nothing.

Trains on the sets of `corpora.py` alone. The score is a sum of weighted features; a request is flagged from the
threshold of the level high on, so the weights are fitted as a logistic regression whose boundary lies there:
P(attack) = sigmoid(SLOPE * (score - threshold)). The present weights are the prior: where data say nothing, they stay.

Honest traffic in the public sets hardly ever looks like an attack, so the sets alone would let every doubt block. What
holds against that: the weight of benign requests, the prior, and signs (no severity below nothing, no doubt above it).
Rows that are labelled benign and that nobody would call so (`nc -e /bin/sh`, `|sleep 7 #`) are left out: of each set
the share with the highest scores, as `--trim` has it.
"""

import argparse
import math
import sys
import zlib
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from corpora import BENIGN, DATA, samples

from machine import describe, headline
from seawall.adapters.patterns import cache_folder, compile_patterns
from seawall.systems.threats.engine import ThreatEngine
from seawall.systems.threats.inspection.policy import Policy, Thresholds
from seawall.systems.threats.inspection.score import FEATURES, WEIGHTS, features

__all__ = ["main"]

Vector = tuple[float, ...]

_SLOPE = 1.5
_BOUNDARY = Thresholds().high
_BENIGN_WEIGHT = 20.0
_NEVER_POSITIVE = {"ambiguous"}


def main() -> int:
    """Fit and print; return the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the sets")
    parser.add_argument("--trim", type=float, default=0.005, help="share of each benign set that is left out")
    parser.add_argument("--prior", type=float, default=20.0, help="strength of the present weights, in requests")
    parser.add_argument("--rounds", type=int, default=400)
    options = parser.parse_args()
    attacks, benign, silent = _collect(options.data, options.trim)
    weights = _fit(attacks[0], benign[0], options.prior, options.rounds)
    console = Console()
    console.print(headline(describe()))
    table = Table("feature", "present", "fitted", title="weights")
    for name, before, after in zip(FEATURES, WEIGHTS, weights, strict=True):
        table.add_row(name, f"{before:g}", f"{after:.2f}")
    console.print(table)
    shares = Table(
        "half", "weights", "attacks flagged %", "benign with findings flagged", title="of requests with findings"
    )
    for half, name in enumerate(("fitted on", "held out")):
        for label, chosen in (("present", WEIGHTS), ("fitted", weights)):
            flagged = _flagged(attacks[half], chosen)
            total = max(sum(attacks[half].values()), 1)
            shares.add_row(name, label, f"{100 * flagged / total:.2f}", str(_flagged(benign[half], chosen)))
    console.print(shares)
    console.print(f"without any finding: {silent['attack']} attacks, {silent[BENIGN]} benign requests")
    return 0


def _collect(folder: Path, trim: float) -> tuple[list[Counter[Vector]], list[Counter[Vector]], Counter[str]]:
    """Return features of attacks and of benign requests, each in two halves, and how many had no findings."""
    engine = ThreatEngine(Policy(), lambda groups: compile_patterns(groups, cache=cache_folder()))
    attacks: list[Counter[Vector]] = [Counter(), Counter()]
    benign: list[Counter[Vector]] = [Counter(), Counter()]
    silent: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    suspects: dict[str, list[tuple[float, int, Vector]]] = {}
    for sample in samples(folder):
        if sample.truth == "mixed":
            continue
        sizes[sample.group] += sample.truth == BENIGN
        verdict = engine.inspect(sample.request, sample.body)
        if not verdict.findings:
            silent[BENIGN if sample.truth == BENIGN else "attack"] += 1
            continue
        vector = tuple(round(value, 2) for value in features(verdict.findings))
        half = zlib.crc32(sample.text.encode("utf-8", "replace")) & 1
        if sample.truth == BENIGN:
            suspects.setdefault(sample.group, []).append((_score(vector, WEIGHTS), half, vector))
        else:
            attacks[half][vector] += 1
    for group, found in suspects.items():
        found.sort(reverse=True)
        for _, half, vector in found[int(trim * sizes[group]) :]:
            benign[half][vector] += 1
    return attacks, benign, silent


def _fit(attacks: Counter[Vector], benign: Counter[Vector], prior: float, rounds: int) -> Vector:
    """Minimise the weighted logistic loss, with the present weights as prior, by descent with momentum."""
    weights = list(WEIGHTS)
    motion = [0.0] * len(weights)
    scale = sum(attacks.values()) + _BENIGN_WEIGHT * sum(benign.values())
    rows = [(vector, 1.0, float(count)) for vector, count in attacks.items()]
    rows += [(vector, 0.0, _BENIGN_WEIGHT * count) for vector, count in benign.items()]
    for _ in range(rounds):
        slope = [prior * (now - before) / scale for now, before in zip(weights, WEIGHTS, strict=True)]
        for vector, label, count in rows:
            margin = max(-30.0, min(30.0, _SLOPE * (_score(vector, weights) - _BOUNDARY)))
            pull = count * (1 / (1 + math.exp(-margin)) - label) * _SLOPE / scale
            for at, value in enumerate(vector):
                if value:
                    slope[at] += pull * value
        for at, name in enumerate(FEATURES):
            motion[at] = 0.9 * motion[at] - 0.5 * slope[at]
            moved = weights[at] + motion[at]
            weights[at] = min(moved, 0.0) if name in _NEVER_POSITIVE else max(moved, 0.0)
    return tuple(weights)


def _flagged(vectors: Counter[Vector], weights: Vector) -> int:
    return sum(count for vector, count in vectors.items() if _score(vector, weights) >= _BOUNDARY)


def _score(vector: Vector, weights: "Vector | list[float]") -> float:
    return sum(weight * value for weight, value in zip(weights, vector, strict=True))


if __name__ == "__main__":
    raise SystemExit(main())
