"""The supervisor over children that crash, hang and refuse to end."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from processes import DEADLINE, eventually, runs

from seawall.control.supervisor import EXIT_CONFIGURATION, EXIT_START


class Supervised:
    def __init__(self, folder: Path, **behaviours: str) -> None:
        self._folder = folder
        self._log = folder / "log"
        for name, behaviour in behaviours.items():
            self.tell(name, behaviour)
        workers = str(len(behaviours) - 1)
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("processes_supervised.py")), str(folder), workers],
                stdin=subprocess.DEVNULL,
                stderr=output,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def tell(self, name: str, behaviour: str) -> None:
        """Say how a child shall behave from its next start on."""
        (self._folder / name.replace("_", "-")).write_text(behaviour)

    def wait_ready(self) -> int:
        """Return the port once every worker accepts."""
        found = eventually(
            lambda: re.search(r"^listening on http://127.0.0.1:(\d+), admin on ", self.log, re.MULTILINE), "ready"
        )
        return int(found[1])

    def pid(self, name: str) -> int:
        """Return the process id of the newest life that was ready."""
        return int(re.findall(rf"^{name} \(pid (\d+)\) is ready$", self.log, re.MULTILINE)[-1])

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)

    def destroy(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def supervised(tmp_path):
    made = []

    def supervised(**behaviours: str) -> Supervised:
        made.append(Supervised(tmp_path, **behaviours))
        return made[-1]

    yield supervised
    for one in made:
        one.destroy()


def answers(port: int, count: int = 24) -> set[str]:
    """Return which workers answer a number of connections; empty when one is refused."""
    names = set()
    for _ in range(count):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as connection:
                names.add(connection.recv(100).decode())
        except OSError:
            return set()
    return names


def test_a_worker_that_keeps_crashing_loses_its_share_until_it_is_back(supervised):
    one = supervised(control="serve", worker_0="serve", worker_1="serve")
    port = one.wait_ready()
    eventually(lambda: answers(port) == {"worker-0", "worker-1"}, "both workers answer")
    one.tell("worker_1", "crash")
    os.kill(one.pid("worker-1"), signal.SIGKILL)
    eventually(lambda: "starting it again in 1.6 s" in one.log, "the pauses reach the cap")
    eventually(lambda: answers(port) == {"worker-0"}, "the other worker has every connection")
    one.tell("worker_1", "serve")
    eventually(lambda: answers(port) == {"worker-0", "worker-1"}, "both workers answer again")
    delays = re.findall(r"ended with status 3; starting it again in (\S+) s", one.log)
    assert delays[:4] == ["0.1", "0.2", "0.4", "0.8"]
    assert one.end() == 0


def test_a_worker_that_never_accepts_is_started_again(supervised):
    one = supervised(control="serve", worker_0="hang")
    eventually(lambda: "accepts nothing after 1 s" in one.log, "it counts as failed")
    one.tell("worker_0", "serve")
    assert answers(one.wait_ready(), 1) == {"worker-0"}
    assert "was killed by SIGKILL" in one.log
    assert one.end() == 0


def test_a_worker_that_does_not_end_is_killed(supervised):
    one = supervised(control="serve", worker_0="stubborn")
    one.wait_ready()
    pid = one.pid("worker-0")
    assert one.end() == 1
    assert "SIGTERM: draining 1 worker, for at most" in one.log
    assert "did not end in time" in one.log
    assert not runs(pid)


@pytest.mark.parametrize(("status", "code"), [(EXIT_CONFIGURATION, 2), (EXIT_START, 1)])
def test_a_control_process_that_cannot_start_ends_everything(supervised, status, code):
    one = supervised(control=str(status), worker_0="hang")
    assert one.process.wait(DEADLINE) == code
    assert "starting it again" not in one.log


def test_a_control_process_that_started_once_is_never_given_up(supervised):
    one = supervised(control="serve", worker_0="serve")
    port = one.wait_ready()
    one.tell("control", str(EXIT_CONFIGURATION))
    os.kill(one.pid("control"), signal.SIGKILL)
    eventually(lambda: one.log.count(f"ended with status {EXIT_CONFIGURATION}") >= 3, "it is tried again and again")
    assert answers(port, 3) == {"worker-0"}
    before = one.pid("control")
    one.tell("control", "serve")
    eventually(lambda: one.pid("control") != before, "it is back")
    assert one.end() == 0


def test_a_control_process_that_crashes_at_the_start_is_tried_again(supervised):
    one = supervised(control="crash", worker_0="serve")
    eventually(lambda: "control (pid" in one.log and "starting it again in" in one.log, "it crashed")
    one.tell("control", "serve")
    one.wait_ready()
    assert one.end() == 0
