"""What inspection costs, beside guard-core, and beside nginx with ModSecurity 3 and the CRS; printed, not asserted.

`python benchmarks/threats/speed.py [--quick] [--json]`. Goals: a browser's GET at most 20 us; a form or JSON POST of 1
to 2 KiB at most 150 us at the median and 1 ms at p99; the gateway with everything on at least 15 times the throughput
of ModSecurity, and at least 0.6 of its own without inspection. Values differ from request to request, so that no cache
of whole requests helps anybody. It needs the Debian packages wrk, nginx, libnginx-mod-http-modsecurity and
modsecurity-crs.
"""

import argparse
import asyncio
import json
import logging
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from guard_core.utils import detect_penetration_attempt
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import cores, describe, headline
from peers import modsecurity, seawall_gateway, upstream, wrk
from peers.process import BenchmarkError, free_port, running
from seawall.adapters.patterns import cache_folder, compile_patterns
from seawall.core.request import Request
from seawall.systems.threats.engine import ThreatEngine
from seawall.systems.threats.inspection.policy import Policy

__all__ = ["main"]

_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
_HEADERS = {
    "host": "shop.example.com",
    "user-agent": _AGENT,
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "accept-language": "en-US,en;q=0.5",
    "accept-encoding": "gzip, deflate, br",
    "referer": "https://shop.example.com/catalogue/boots",
    "sec-fetch-dest": "document",
    "sec-fetch-mode": "navigate",
    "sec-fetch-site": "same-origin",
}
_TEXT = (
    "the quick brown fox jumps over a lazy dog while rain falls on quays and moles and nobody minds the order of union"
    " members who select their table from the menu of the day and update their friends about what they drop into sets"
)
_WORDS = _TEXT.split()
_WORKLOADS = ("GET", "POST")
_MOST_REFUSED = 0.001
_OFF = """
[threats]
enabled = false
"""


class Case(NamedTuple):
    """One request of a workload."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


def main() -> int:
    """Measure and print; return the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer requests and shorter rounds")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    arguments = parser.parse_args()
    console = Console()
    machine = describe("guard-core", "hyperscan")
    console.print(headline(machine))
    inspected = _inspected(400 if arguments.quick else 4000)
    table = Table("us a request", "median", "p99", title="inspection alone")
    for name, taken in inspected.items():
        table.add_row(name, f"{statistics.median(taken):.1f}", f"{_p99(taken):.1f}")
    console.print(table)
    figures: dict[str, Any] = {
        "inspection_us": {name: [statistics.median(taken), _p99(taken)] for name, taken in inspected.items()}
    }
    if not modsecurity.is_installed():
        names = " ".join(modsecurity.PACKAGES)
        console.print(f"ModSecurity is not installed, so no gateway is measured: apt-get install {names}")
    else:
        seconds, rounds = (2.0, 3) if arguments.quick else (5.0, 5)
        rates = figures["gateway_rates"] = _gateways(seconds, rounds)
        table = Table("requests/s", *rates, title=f"gateways: medians of {rounds} rounds of {seconds:g} s, one worker")
        for name in ("GET", "GET refused", "POST", "POST refused"):
            unit = "" if name in _WORKLOADS else " %"
            table.add_row(name, *(f"{rates[gateway][name]:.{1 if unit else 0}f}{unit}" for gateway in rates))
        on, off, peer = (rates[name] for name in ("everything on", "without inspection", "ModSecurity"))
        for name in _WORKLOADS:
            console.print(f"{name}: {on[name] / peer[name]:.1f} x ModSecurity, {on[name] / off[name]:.2f} of without")
        console.print(table)
    if arguments.json:
        sys.stdout.write(json.dumps({"threat_speed": figures, "machine": machine}) + "\n")
    return 0


# -- workloads ---------------------------------------------------------------------------------------------------------


def _get(rng: random.Random) -> Case:
    query = urlencode({"q": _text(rng, 3), "page": rng.randrange(100), "sort": "price"}, quote_via=quote)
    cookie = f"session={rng.randbytes(16).hex()}; theme=dark; consent=yes"
    return Case("GET", f"/catalogue/boots/{rng.randrange(10**6)}?{query}", {**_HEADERS, "cookie": cookie}, b"")


def _form(rng: random.Random) -> Case:
    fields = {f"field{number}": _text(rng, 12) for number in range(14)} | {"name": "Siobhan O'Brien", "age": "47"}
    return _post(rng, "application/x-www-form-urlencoded", urlencode(fields).encode())


def _json(rng: random.Random) -> Case:
    items = [
        {"id": rng.randrange(10**9), "title": _text(rng, 5), "price": rng.random(), "tags": _text(rng, 3).split()}
        for _ in range(10)
    ]
    return _post(rng, "application/json", json.dumps({"order": items, "note": _text(rng, 30)}).encode())


def _post(rng: random.Random, media: str, body: bytes) -> Case:
    headers = {**_HEADERS, "content-type": media, "content-length": str(len(body))}
    return Case("POST", f"/orders/{rng.randrange(10**6)}", headers, body)


def _text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(_WORDS, k=words))


# -- inspection alone --------------------------------------------------------------------------------------------------


def _inspected(count: int) -> dict[str, list[float]]:
    """Return microseconds of each request, by workload and inspector."""
    cache = cache_folder()
    engine = ThreatEngine(Policy(), lambda groups: compile_patterns(groups, cache=cache))
    taken: dict[str, list[float]] = {}
    for name, make in (("GET of a browser", _get), ("form, 1-2 KiB", _form), ("JSON, 1-2 KiB", _json)):
        rng = random.Random(4711)
        cases = [make(rng) for _ in range(count)]
        requests = [
            (
                Request(
                    case.method,
                    case.target.encode(),
                    [(key.encode(), value.encode()) for key, value in case.headers.items()],
                    host=b"shop.example.com",
                ),
                case.body,
            )
            for case in cases
        ]
        taken[f"Seawall: {name}"] = _timed(lambda pair: engine.inspect(*pair), requests)
        taken[f"guard-core: {name}"] = asyncio.run(_guard_core(cases[: max(count // 40, 10)]))
    return taken


def _timed(ask: Callable[[Any], Any], items: Sequence[Any]) -> list[float]:
    taken = []
    for item in items:
        started = time.perf_counter()
        verdict = ask(item)
        taken.append((time.perf_counter() - started) * 1e6)
        if verdict.findings and verdict.action.value == "block":
            raise BenchmarkError(f"an honest request is blocked: {verdict}")
    return taken[len(taken) // 10 :]  # the first tenth warms caches up


async def _guard_core(cases: Sequence[Case]) -> list[float]:
    logging.getLogger("guard_core").setLevel(logging.CRITICAL)
    taken = []
    for case in cases:
        request = _GuardRequest(case)
        started = time.perf_counter()
        await detect_penetration_attempt(request)
        taken.append((time.perf_counter() - started) * 1e6)
    return taken[len(taken) // 10 :]


class _GuardRequest:
    """A request as guard-core's `GuardRequest` protocol wants it."""

    def __init__(self, case: Case) -> None:
        self.url_path, _, query = case.target.partition("?")
        self.url_scheme = "https"
        self.url_full = f"https://shop.example.com{case.target}"
        self.method = case.method
        self.client_host = "192.0.2.7"
        self.headers = dict(case.headers)
        self.query_params = dict(parse_qsl(query))
        self.state = SimpleNamespace()
        self.scope: dict[str, Any] = {"type": "http"}
        self._body = case.body

    def url_replace_scheme(self, scheme: str) -> str:
        """Return the URL under another scheme."""
        return f"{scheme}{self.url_full.removeprefix('https')}"

    async def body(self) -> bytes:
        """Return the body."""
        return self._body


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


# -- gateways ----------------------------------------------------------------------------------------------------------


def _gateways(seconds: float, rounds: int) -> dict[str, dict[str, float]]:
    """Return requests per second by gateway and workload, measured in turns."""
    available = cores()
    core, rest = available[0], available[-1:]
    with tempfile.TemporaryDirectory(prefix="seawall-bench-") as name:
        folder = Path(name)
        ports = [free_port() for _ in upstream.NAMES]
        served = [upstream.configure(*pair, folder) for pair in zip(upstream.NAMES, ports, strict=True)]
        gateways = {name: free_port() for name in ("everything on", "without inspection", "ModSecurity")}
        commands = {"ModSecurity": modsecurity.configure(gateways["ModSecurity"], ports, folder)}
        for title, extra in (("everything on", ""), ("without inspection", _OFF)):
            own = folder / title.replace(" ", "-")
            own.mkdir()
            commands[title] = seawall_gateway.configure(gateways[title], ports, own, strategy="round-robin")
            path = own / "seawall.toml"
            text = path.read_text().partition("[threats]")[0]
            path.write_text(text + extra)
        scripts = {name: _script(folder, name, make) for name, make in (("GET", _get), ("POST", _json))}
        with (
            running("a", served[0], port=ports[0], cores=rest, folder=folder),
            running("b", served[1], port=ports[1], cores=rest, folder=folder),
            running("on", commands["everything on"], port=gateways["everything on"], cores=[core], folder=folder),
            running(
                "off", commands["without inspection"], port=gateways["without inspection"], cores=[core], folder=folder
            ),
            running("modsecurity", commands["ModSecurity"], port=gateways["ModSecurity"], cores=[core], folder=folder),
        ):
            for title in ("everything on", "ModSecurity"):
                _validate(title, gateways[title])
            found: dict[str, dict[str, list[float]]] = {title: defaultdict(list) for title in gateways}
            for number in range(-1, rounds):
                for title, port in gateways.items():
                    for workload, script in scripts.items():
                        rate, refused = _load(port, script, seconds if number >= 0 else 1.0, rest[0], title)
                        if number >= 0:  # the first round warms up
                            found[title][workload].append(rate)
                            found[title][f"{workload} refused"].append(100 * refused)
    return {
        title: {workload: statistics.median(rates) for workload, rates in by.items()} for title, by in found.items()
    }


def _validate(title: str, port: int) -> None:
    """Make sure that a gateway lets an honest request through and stops an attack."""
    # From an address of its own: who attacks is banned, and the load comes from 127.0.0.1.
    for target, expected in (("/catalogue?q=boots", "200"), ("/catalogue?q=%27%20OR%201%3D1%20--%20", "403")):
        command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--interface", "127.0.0.2"]
        command.append(f"http://127.0.0.1:{port}{target}")
        for name, value in _HEADERS.items():
            command += ["-H", f"{name}: {value}"]
        status = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout
        if status != expected:
            raise BenchmarkError(f"{title} answers {target} with {status} instead of {expected}")


def _script(folder: Path, name: str, make: Callable[[random.Random], Case]) -> Path:
    """Write a script for wrk that sends a thousand different requests in turn."""
    rng = random.Random(4711)
    lines = ["local requests = {}"]
    for number in range(1, 1001):
        case = make(rng)
        fields = "".join(f"{key}: {value}\\r\\n" for key, value in case.headers.items() if key != "content-length")
        length = f"content-length: {len(case.body)}\\r\\n" if case.body else ""
        body = case.body.decode().replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'requests[{number}] = "{case.method} {case.target} HTTP/1.1\\r\\n{fields}{length}\\r\\n{body}"')
    lines += ["local at = 0", "request = function() at = at % 1000 + 1; return requests[at] end"]
    lines.append(wrk.REPORT)
    path = folder / f"wrk-{name}.lua"
    path.write_text("\n".join(lines))
    return path


def _load(port: int, script: Path, seconds: float, core: int, title: str) -> tuple[float, float]:
    """Return requests per second, and the share of them, all of which are honest, that was refused."""
    figures = wrk.run(port, script, connections=32, seconds=seconds, core=core)
    refused = figures.failed / max(figures.requests, 1)
    if title != "ModSecurity" and refused > _MOST_REFUSED:
        raise BenchmarkError(f"{title}: {figures.failed} of {figures.requests} requests failed")
    return figures.rate, refused


if __name__ == "__main__":
    sys.exit(main())
