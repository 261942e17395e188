"""What a list of a million networks takes and costs: `python benchmarks/threats/networks.py`; printed, not asserted.

Goal: a look-up at most 2 us. Random networks of 16 to 32 bits (IPv4) and 32 to 64 bits (IPv6), random addresses of
which some are in them.
"""

import argparse
import json
import random
import statistics
import sys
import time
from ipaddress import ip_address
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import describe, headline
from seawall.systems.threats.networks import NOT_FOUND, NetworkTable, pack

__all__ = ["main"]

_LOOKUPS = 100_000
_ROUNDS = 5
_GOAL_US = 2.0


def main() -> int:
    """Measure and print; return the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    options = parser.parse_args()
    rng = random.Random(4711)
    console = Console()
    machine = describe()
    console.print(headline(machine))
    table = Table("list", "networks", "MiB", "s to make", "found %", f"us a look-up (goal {_GOAL_US:g})")
    figures = {}
    for name, bits, narrowest, widest in (("IPv4", 32, 32, 16), ("IPv6", 128, 64, 32)):
        networks = [_network(rng, bits, rng.randint(widest, narrowest)) for _ in range(options.networks)]
        started = time.perf_counter()
        made = NetworkTable(pack(enumerated(networks)))
        seconds = time.perf_counter() - started
        found, cost = _measured(made, [_address(rng, networks, bits) for _ in range(_LOOKUPS)])
        table.add_row(
            name, f"{len(networks):,}", f"{made.nbytes / 2**20:.1f}", f"{seconds:.1f}", f"{found:.0f}", f"{cost:.2f}"
        )
        figures[name] = {"mib": made.nbytes / 2**20, "us": cost}
    console.print(table)
    if options.json:
        sys.stdout.write(json.dumps({"threat_networks": figures, "machine": machine}) + "\n")
    return 0


def enumerated(networks: list[str]) -> list[tuple[str, int]]:
    """Return each network with its number as the owner."""
    return [(network, number) for number, network in enumerate(networks)]


def _measured(table: NetworkTable, addresses: list[str]) -> tuple[float, float]:
    """Return the share found in percent, and microseconds of processor time a look-up: the median of rounds."""
    find = table.find
    taken = []
    for _ in range(_ROUNDS):
        started = time.process_time()
        for address in addresses:
            find(address)
        taken.append((time.process_time() - started) / len(addresses) * 1e6)
    hits = sum(find(address) != NOT_FOUND for address in addresses)
    return 100 * hits / len(addresses), statistics.median(taken)


def _network(rng: random.Random, bits: int, length: int) -> str:
    return f"{_text(rng.getrandbits(length) << (bits - length), bits)}/{length}"


def _address(rng: random.Random, networks: list[str], bits: int) -> str:
    """Return an address, of every second time in one of the networks."""
    if rng.random() < 0.5:
        return _text(rng.getrandbits(bits), bits)
    first, _, length = rng.choice(networks).partition("/")
    return _text(int(ip_address(first)) | rng.getrandbits(bits - int(length)), bits)


def _text(number: int, bits: int) -> str:
    return str(ip_address(number.to_bytes(bits // 8, "big")))


if __name__ == "__main__":
    raise SystemExit(main())
