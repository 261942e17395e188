"""A supervisor over children that behave as a test says: `python processes_supervised.py FOLDER WORKERS`.

Each child reads how to behave from FOLDER/<name> when it starts: `serve`, `crash`, `hang`, `stubborn` or a status.
"""

import logging
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from seawall.control.child import ChildDescriptors
from seawall.control.listeners import Listeners
from seawall.control.supervisor import Supervisor
from seawall.core.clock import SystemClock


def supervise(folder: Path, workers: int) -> int:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")

    def command(role: str, name: str, descriptors: ChildDescriptors, admin: str) -> Sequence[str]:
        numbers = (descriptors.lifeline, descriptors.status, descriptors.listener)
        return [sys.executable, __file__, str(folder), "child", name, *map(str, numbers), admin]

    return Supervisor(
        Listeners("127.0.0.1:0", workers),
        command,
        workers=workers,
        drain_timeout=0.3,
        start_timeout=1.0,
        restart_cap=1.6,
        announce=lambda line: print(line, file=sys.stderr, flush=True),  # noqa: T201 - the supervisor's own line
        clock=SystemClock(),
    ).run()


def behave(folder: Path, name: str, lifeline: int, status: int, listener: int) -> None:
    behaviour = (folder / name).read_text()
    if behaviour == "crash":
        raise SystemExit(3)
    if behaviour.isdigit():
        raise SystemExit(int(behaviour))
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if behaviour == "hang":
        select.select([lifeline], [], [])
        return
    if listener < 0:
        os.write(status, b"ready 127.0.0.1:1\n")
        select.select([lifeline], [], [])
        return
    accepting = socket.socket(fileno=listener)
    accepting.setblocking(True)
    accepting.listen()
    os.write(status, b"ready\n")
    while lifeline not in (ready := select.select([lifeline, accepting], [], [])[0]):
        if ready:
            with accepting.accept()[0] as connection:
                connection.sendall(name.encode())


if __name__ == "__main__":
    place = Path(sys.argv[1])
    if sys.argv[2] == "child":
        behave(place, sys.argv[3], *map(int, sys.argv[4:7]))
    else:
        sys.exit(supervise(place, int(sys.argv[2])))
