"""Overload: an upstream of fixed capacity at three times the load it bears, with priorities; printed, not asserted.

`python benchmarks/overload.py [--quick] [--json]`. The same load, open loop, through the same gateway: without limits,
with a static limit at the upstream's capacity, and with load shedding by priority. Clients give up after a second, and
the upstream serves what nobody waits for any more, as real ones do. Goals for shedding: tier 0 succeeds in at least
99 % while the load lasts, goodput is at least 90 % of the capacity, and all is well again within 5 s after the load
falls.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from machine import cores, describe, headline
from peers.openloop import Answer, Plan, send
from peers.process import free_port, running

__all__ = ["main"]

_SLOTS = 8
_SERVICE_MS = 20.0
_CAPACITY = _SLOTS / (_SERVICE_MS / 1000)
"""Requests per second that the upstream serves."""
_OVERLOAD = 3.0
_CALM = 0.5
_MIX = {0: 0.1, 2: 0.5, 5: 0.4}
"""Share of the requests by tier. Tier 0 alone is 0.3 of the capacity at three times the load."""
_PATIENCE = 1.0
_SETTLED = 2.0
"""Seconds of the overload that a limiter is given to find out; they are not counted."""

_GATEWAY = """
[gateway]
listen = "127.0.0.1:{port}"
workers = 1

[admin]
listen = "127.0.0.1:{admin}"

[state]
url = "memory://"

[balancing.pools.default]
instances = ["http://127.0.0.1:{upstream}"]
max_connections = 2000
max_queue = 4000
retry = {{ attempts = 0 }}
"""

_VARIANTS = {
    "no limits": "",
    "static limit": """
[ratelimit]
ladder = {{ enabled = false }}
endpoints = []
roles = {{ anonymous = 1.0 }}
[[ratelimit.rules]]
id = "capacity"
key = ["global"]
adaptive = false
windows = [{{ limit = {capacity}, window_ms = 1000, burst = {slots} }}]
""",
    "shedding by priority": """
[ratelimit]
shedding = {{ enabled = true }}
[[ratelimit.priorities]]
tier = 0
match = {{ headers = {{ x-tier = "0" }} }}
[[ratelimit.priorities]]
tier = 5
match = {{ headers = {{ x-tier = "5" }} }}
""",
}


class Phases(NamedTuple):
    """Lengths in seconds."""

    calm: float
    overload: float
    after: float


class Outcome(NamedTuple):
    """What became of the load.

    Attributes:
        critical: share of tier 0 that succeeded once the limiter had its two seconds.
        success: share of each tier that succeeded then.
        goodput: requests served in time per second then, as a share of the capacity.
        p99_ms: of those served.
        recovered: seconds after the load fell until at least 99 % of every later second's requests succeeded;
            infinite when that never came.
    """

    critical: float
    success: dict[int, float]
    goodput: float
    p99_ms: float
    recovered: float


def main() -> int:
    """Measure and print; return the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter phases")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    arguments = parser.parse_args()
    phases = Phases(3.0, 8.0, 6.0) if arguments.quick else Phases(5.0, 20.0, 10.0)
    console = Console()
    console.print(headline(describe()))
    table = Table(
        "",
        "tier 0",
        "tier 2",
        "tier 5",
        "goodput",
        "p99 ms",
        "recovered s",
        title=f"{_OVERLOAD:g} x of {_CAPACITY:g} requests/s for {phases.overload:g} s",
    )
    outcomes: dict[str, Outcome] = {}
    for name, extra in _VARIANTS.items():
        outcome = outcomes[name] = _measure(extra, phases)
        table.add_row(
            name,
            *(f"{outcome.success[tier]:.1%}" for tier in _MIX),
            f"{outcome.goodput:.1%}",
            f"{outcome.p99_ms:.0f}",
            f"{outcome.recovered:.0f}",
        )
    console.print(table)
    if arguments.json:
        figures = {name: outcome._asdict() for name, outcome in outcomes.items()}
        sys.stdout.write(json.dumps({"overload": figures, "machine": describe()}) + "\n")
    return 0


def _measure(extra: str, phases: Phases) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="seawall-overload-") as name:
        folder = Path(name)
        port, admin, upstream = free_port(), free_port(), free_port()
        path = folder / "seawall.toml"
        extra = extra.format(capacity=int(_CAPACITY), slots=_SLOTS)
        path.write_text(_GATEWAY.format(port=port, admin=admin, upstream=upstream) + extra)
        capacity = [sys.executable, str(Path(__file__).parent / "peers" / "capacity.py")]
        served = [*capacity, str(upstream), str(_SLOTS), str(_SERVICE_MS)]
        gateway = [str(Path(sys.executable).parent / "seawall"), "serve", "-c", str(path)]
        with (
            running("capacity", served, port=upstream, cores=cores(), folder=folder),
            running("seawall", gateway, port=port, cores=cores(), folder=folder),
        ):
            answers = asyncio.run(send(port, _plans(phases), patience=_PATIENCE))
    return _outcome(answers, phases)


def _plans(phases: Phases) -> list[Plan]:
    """Return Poisson arrivals: calm, overload, calm again; the same for every variant."""
    rng = random.Random(4711)
    tiers, weights = list(_MIX), list(_MIX.values())
    plans, now = [], 0.0
    end = sum(phases)
    while now < end:
        loaded = phases.calm <= now < phases.calm + phases.overload
        now += rng.expovariate(_CAPACITY * (_OVERLOAD if loaded else _CALM))
        plans.append(Plan(now, rng.choices(tiers, weights)[0]))
    return plans


def _outcome(answers: Sequence[Answer], phases: Phases) -> Outcome:
    began, fell = phases.calm + _SETTLED, phases.calm + phases.overload
    under = [answer for answer in answers if began <= answer.at < fell]
    good = [answer for answer in under if answer.status == 200]
    success = {tier: _share([answer for answer in under if answer.tier == tier]) for tier in _MIX}
    times = sorted(answer.seconds for answer in good)
    return Outcome(
        critical=success[0],
        success=success,
        goodput=len(good) / (fell - began) / _CAPACITY,
        p99_ms=times[int(len(times) * 0.99)] * 1000 if times else float("inf"),
        recovered=_recovered([answer for answer in answers if answer.at >= fell], fell, sum(phases)),
    )


def _recovered(answers: Sequence[Answer], fell: float, end: float) -> float:
    bad = -1
    for second in range(int(end - fell)):
        here = [answer for answer in answers if second <= answer.at - fell < second + 1]
        if here and _share(here) < 0.99:
            bad = second
    return float("inf") if bad + 1 >= int(end - fell) else float(bad + 1)


def _share(answers: Sequence[Answer]) -> float:
    return sum(answer.status == 200 for answer in answers) / len(answers) if answers else float("nan")


if __name__ == "__main__":
    sys.exit(main())
