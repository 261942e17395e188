"""Name the machine that a benchmark ran on: figures without it mean nothing."""

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

__all__ = ["Machine", "cores", "describe", "headline", "tool_version"]

Machine = dict[str, str | int]


def cores() -> list[int]:
    """Return the numbers of the cores that this process may use, ascending."""
    return sorted(os.sched_getaffinity(0))


def tool_version(*command: str) -> str:
    """Return the first version-like number that a command prints, or an empty string when it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return ""
    found = re.search(r"\d+\.\d+(\.\d+)*", done.stdout + done.stderr)
    return found.group() if found else ""


def describe(*packages: str) -> Machine:
    """Return the machine's facts and the versions of Python and of the named installed packages."""
    return {
        "cpu": _cpu_model(),
        "cores": len(cores()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in packages},
    }


def headline(machine: Machine) -> str:
    """Return the facts as one line."""
    facts = dict(machine)
    first = f"{facts.pop('cpu')}, {facts.pop('cores')} cores, Linux {facts.pop('kernel')}"
    return ", ".join([first, *(f"{name} {value}" for name, value in facts.items())])


def _cpu_model() -> str:
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return model.group(1) if model else platform.machine()
