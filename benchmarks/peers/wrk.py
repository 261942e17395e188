"""wrk as the load: closed loop, keep-alive, its figures as numbers."""

import json
import subprocess
from pathlib import Path
from typing import NamedTuple

from peers.process import BenchmarkError

__all__ = ["REPORT", "Figures", "measure", "run"]

# wrk calls done() once; all its times are in microseconds.
REPORT = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\nFIGURES {"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"failed":%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


class Figures(NamedTuple):
    """One run of wrk; latencies in microseconds."""

    requests: int
    rate: float
    p50_us: int
    p99_us: int
    failed: int


def measure(port: int, *, connections: int, seconds: float, core: int, folder: Path) -> Figures:
    """Load a port on loopback from one thread on one core and return what wrk saw."""
    script = folder / "wrk.lua"
    script.write_text(REPORT)
    return run(port, script, connections=connections, seconds=seconds, core=core)


def run(port: int, script: Path, *, connections: int, seconds: float, core: int) -> Figures:
    """The same with a script that ends in `REPORT`; it may say what to send."""
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{max(round(seconds), 1)}s", "-s"]
    done = subprocess.run(
        [*command, str(script), f"http://127.0.0.1:{port}/api/items/4711"],
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        check=False,
    )
    _, found, figures = done.stdout.rpartition("FIGURES ")
    if done.returncode or not found:
        raise BenchmarkError(f"wrk failed on port {port}:\n{done.stdout}{done.stderr}")
    numbers = json.loads(figures)
    rate = numbers["requests"] / (numbers["duration_us"] / 1e6)
    return Figures(numbers["requests"], rate, numbers["p50_us"], numbers["p99_us"], numbers["failed"])
