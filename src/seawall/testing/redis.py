"""A real redis-server on a free port, for tests and demonstrations."""

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from seawall.core.errors import SeawallError

__all__ = ["RedisServer"]

_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
_PORT_ATTEMPTS = 5


class RedisServer:
    """Start and stop a redis-server that keeps nothing on disk; the Debian package is `redis-server`.

    It listens on 127.0.0.1 only and keeps its port from one start to the next. Also a context manager.

    Args:
        password: what clients must give, letters and digits; empty for none.
    """

    def __init__(self, *, password: str = "") -> None:
        self._password = password
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    @property
    def url(self) -> str:
        """Where it listens, as `redis://127.0.0.1:port/0`, with the password when there is one."""
        credentials = f":{self._password}@" if self._password else ""
        return f"redis://{credentials}127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start it and return once it answers.

        Raises:
            SeawallError: it is not installed, or it does not come up; the message holds what it printed.
        """
        executable = shutil.which("redis-server")
        if executable is None:
            raise SeawallError(
                "redis-server is not installed",
                hint="install the package redis-server: apt-get install -y redis-server",
            )
        if self._directory is None:
            self._directory = tempfile.TemporaryDirectory(prefix="seawall-redis-")
        attempts = 1 if self._port else _PORT_ATTEMPTS
        for attempt in range(1, attempts + 1):
            port = self._port or _free_port()
            if self._launch(executable, port):
                self._port = port
                return
            if attempt == attempts:
                log = (Path(self._directory.name) / "log").read_text(errors="replace")
                raise SeawallError(f"redis-server does not start on 127.0.0.1:{port}:\n{log}")

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash would; `start` brings it back empty on the same port."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it hang (SIGSTOP): connections stay open, and nothing answers until `thaw`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it and remove its files."""
        if self._process is not None:
            self._process.terminate()
            self.thaw()  # a frozen process takes no other signal
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self, executable: str, port: int) -> bool:
        assert self._directory is not None  # noqa: S101 - set by `start`, the only caller
        directory = Path(self._directory.name)
        options = [
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(directory),
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        if self._password:
            options += ["--requirepass", self._password]
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen([executable, *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603 - our own arguments
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            if _answers(port, process.pid, self._password):
                self._process = process
                return True
            time.sleep(0.01)
        process.kill()
        process.wait()
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int, pid: int, password: str) -> bool:
    """Whether the redis-server on the port is the one with this process id: the port may have been taken meanwhile."""
    commands = (f"AUTH {password}\r\n" if password else "") + "INFO server\r\nQUIT\r\n"
    reply = b""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5) as connection:
        connection.sendall(commands.encode())
        while part := connection.recv(65536):
            reply += part
    return f"process_id:{pid}\r\n".encode() in reply
