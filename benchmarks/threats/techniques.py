"""Detection of techniques from lists of our own: by class, by place in a request, and by encoding.

The rows are those of `tests/unit/threats/techniques`. Run as `python benchmarks/threats/techniques.py`; `--only xss`
looks at one class, `--misses FILE` writes down what passed, one JSON object a line.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "unit" / "threats"))

from technique_places import CLASSES, ENCODINGS, PLACES, Built, rows

from machine import describe, headline
from seawall.adapters.patterns import cache_folder, compile_patterns
from seawall.systems.threats.engine import ThreatEngine
from seawall.systems.threats.inspection.policy import Policy
from seawall.systems.threats.model import Action

__all__ = ["main"]

_PASSED = {Action.ALLOW, Action.TAG}
_BASE64_MIN = 12


def main() -> int:
    """Measure and print; return the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", choices=("", *CLASSES), help="one class")
    parser.add_argument("--paranoia", type=int, default=1, choices=(1, 2, 3, 4))
    parser.add_argument("--misses", type=Path, default=Path(tempfile.gettempdir()) / "seawall-technique-misses.jsonl")
    options = parser.parse_args()
    policy = Policy(paranoia=options.paranoia)
    engine = ThreatEngine(policy, lambda groups: compile_patterns(groups, cache=cache_folder()))
    with options.misses.open("w", encoding="utf-8") as file:
        counts = {category: _measured(engine, category, file) for category in CLASSES if options.only in {"", category}}
    console = Console(width=max(160, Console().width))
    console.print(headline(describe()))
    for title, columns in (("place", tuple(PLACES)), ("encoding, in a query parameter", tuple(ENCODINGS))):
        table = Table("class", "rows", *columns, title=f"detected, %, by {title}")
        for category, shares in counts.items():
            size = str(shares["query"][1])
            table.add_row(
                category, size, *(f"{100 * hit / seen:.0f}" for hit, seen in map(shares.__getitem__, columns))
            )
        console.print(table)
    console.print(f"misses: {options.misses}")
    return 0


def _measured(engine: ThreatEngine, category: str, file: TextIO) -> dict[str, tuple[int, int]]:
    """Return (detected, tried) by place and encoding."""
    texts = list(rows(category))
    shares = {}
    for where, build in PLACES.items():
        shares[where] = _share(engine, category, where, [(text, build(text)) for text in texts], file)
    for how, encode in ENCODINGS.items():
        tried = [text for text in texts if not (how.startswith("base64") and len(text) < _BASE64_MIN)]
        built = [(text, PLACES["query"](encode(text))) for text in tried]
        shares[how] = _share(engine, category, how, built, file)
    return shares


def _share(
    engine: ThreatEngine, category: str, where: str, built: list[tuple[str, Built]], file: TextIO
) -> tuple[int, int]:
    hit = 0
    for text, (request, body) in built:
        verdict = engine.inspect(request, body)
        if verdict.action not in _PASSED:
            hit += 1
            continue
        found = [f"{finding.rule} {finding.confidence:.2f}" for finding in verdict.findings]
        row = {"class": category, "where": where, "text": text, "score": verdict.score, "findings": found}
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return hit, len(built)


if __name__ == "__main__":
    raise SystemExit(main())
