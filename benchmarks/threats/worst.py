"""What the worst input costs: `python benchmarks/threats/worst.py`; exit code 1 when it grows faster than its length.

Searches at random over pieces of every grammar that a detector knows, repeated to fill a body. The dearest at 16 KiB
are then measured at 1 KiB and at 1 MiB. Goal: the worst 1 MiB costs at most 1000 times the worst 1 KiB.
"""

import argparse
import json
import random
import sys
import time
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import describe, headline
from seawall.adapters.patterns import cache_folder, compile_patterns
from seawall.core.request import Request
from seawall.systems.threats.engine import ThreatEngine
from seawall.systems.threats.inspection.policy import Policy

__all__ = ["main"]

_PIECES = (
    "'", '"', "`", "(", ")", "[", "{", "<", "</", "<a", "<a_b='", "<svg_", "<script", "<x_on", "<!--", "<![CDATA[",
    "<?", "<?php_", "<%", "--", "/*", "*/", "#", ";", "|", "&", "$(", "${", "{{", "{%", "#{", "%{", "%", "%25",
    "%u00", "\\", "\\u00", "\\x41", "=", "==", "'_or_", "'_or_1=1_", "union_select_", "select_", "case_when_", "and_",
    "or_", "../", "..\\", "/./", "//", "@", "http://", "://a@", "1.", "0x", "&#", "&lt;", "&amp;", "é", "_", "a", "1",
    "1,", "a=", "onx=", "javascript:", "data:", ";base64,QUFB", "AAAA", "$", "^", "*(", "(*", "(&", "(|", ")(",
    "not(", '{"', '":', "[[", "a[", "a][", "__proto__", "constructor.", "jndi:", "${lower:", "${${", "\\'", "''",
    "'+'", "||'", "concat(", "char(", "exec(", "eval(", "system(", "echo_", "cat_", "/bin/", "?", "*", "/etc/",
    "O:1:", "query{a", "style=", "expression(", "&colon;", "window[", "self['", "$where", "$ne", "[$", "/**/", "!",
    "~", "-", "+",
)  # fmt: skip
_LIMIT = 1000.0


class Input(NamedTuple):
    """A body's kind and the piece that fills it."""

    kind: str
    piece: str

    def body(self, size: int) -> bytes:
        """Return a body of about so many bytes."""
        text = (self.piece * (size // len(self.piece) + 1))[:size]
        return json.dumps({"a": text}).encode() if self.kind == "application/json" else text.encode("utf-8", "replace")


def main() -> int:
    """Search, measure and print; return the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the search")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    engine = ThreatEngine(Policy(), lambda groups: compile_patterns(groups, cache=cache_folder()))
    found = _search(engine, options.seconds, random.Random(options.seed))
    console = Console()
    console.print(headline(describe()))
    table = Table("kind", "piece", "1 KiB ms", "16 KiB ms", "1 MiB ms", title=f"dearest of {len(found)} inputs")
    small = large = 0.0
    for middle, one in found[:12]:
        little, much = _cost(engine, one, 1024), _cost(engine, one, 1 << 20)
        small, large = max(small, little), max(large, much)
        table.add_row(one.kind, repr(one.piece), f"{little * 1e3:.2f}", f"{middle * 1e3:.1f}", f"{much * 1e3:.0f}")
    console.print(table)
    console.print(f"worst 1 MiB / worst 1 KiB: {large / small:.0f} (at most {_LIMIT:.0f})")
    return 0 if large / small <= _LIMIT else 1


def _search(engine: ThreatEngine, seconds: float, chance: random.Random) -> list[tuple[float, Input]]:
    pieces = [piece.replace("_", " ") if piece != "__proto__" else piece for piece in _PIECES] + ["\x00", "\n", "\r\n"]
    kinds = ["text/plain", "application/json", "text/xml", "application/graphql", "application/x-www-form-urlencoded"]
    found = {}
    end = time.monotonic() + seconds
    for piece in pieces:
        for kind in kinds[:2]:
            found[Input(kind, piece)] = 0.0
    for one in found:
        found[one] = _cost(engine, one, 16_384)
    while time.monotonic() < end:
        one = Input(chance.choice(kinds), "".join(chance.choices(pieces, k=chance.randint(2, 4))))
        found[one] = _cost(engine, one, 16_384)
    return sorted(((cost, one) for one, cost in found.items()), reverse=True)


def _cost(engine: ThreatEngine, one: Input, size: int) -> float:
    request = Request("POST", b"/", [(b"content-type", one.kind.encode())])
    body = one.body(size)
    started = time.process_time()
    engine.inspect(request, body)
    return time.process_time() - started


if __name__ == "__main__":
    raise SystemExit(main())
