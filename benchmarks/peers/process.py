"""A server under measurement: started on its core, validated before it is measured, gone afterwards."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["BenchmarkError", "ServerProcess", "cpu_seconds", "free_port", "running"]

_TICKS = os.sysconf("SC_CLK_TCK")


class BenchmarkError(Exception):
    """A peer cannot be measured: it does not start, or does not answer as it must."""


class ServerProcess:
    """A started server; `pid` is the leader of its own process group."""

    def __init__(self, name: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.port = port
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        """The process's id, which is also its group's."""
        return self._process.pid

    def wait_until_listening(self, *, seconds: float = 20.0) -> None:
        """Return once the port accepts; raise `BenchmarkError` when the process ends or time runs out first."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.02)
        raise BenchmarkError(f"{self.name} does not listen on port {self.port}; its output:\n{self.tail()}")

    def tail(self) -> str:
        """Return the end of what the server printed."""
        return self.log.read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        """End the whole group: politely, then by force."""
        for wish in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, wish)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
                if wish is signal.SIGKILL or not _group_lives(self.pid):
                    return


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(
    name: str, command: Sequence[str], *, port: int, cores: Sequence[int], folder: Path
) -> Iterator[ServerProcess]:
    """Run a server on the given cores until the block ends.

    Args:
        name: what it is called in messages and in its log's file name.
        command: the program and its arguments; it must stay in the foreground.
        port: where it listens on 127.0.0.1.
        cores: the only cores that it and its children may use.
        folder: where its output goes.
    """
    log = folder / f"{name}.log"
    environment = {**os.environ, "SEAWALL_ADMIN_TOKEN": "benchmark-token-of-no-value", "XDG_STATE_HOME": str(folder)}
    pinned = ["taskset", "-c", ",".join(map(str, cores)), *command]
    with log.open("wb") as output:
        process = subprocess.Popen(
            pinned, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
        )
    server = ServerProcess(name, port, process, log)
    try:
        server.wait_until_listening()
        yield server
    finally:
        server.stop()


def cpu_seconds(root: int) -> float:
    """Return the processor seconds that a live process and its live descendants have used so far."""
    used: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                used[int(entry.name)] = int(fields[11]) + int(fields[12])
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    total, todo = 0, [root]
    while todo:
        process = todo.pop()
        total += used.get(process, 0)
        todo += children.get(process, [])
    return total / _TICKS


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
