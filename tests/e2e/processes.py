"""Real processes for tests: upstream servers, `seawall serve`, and a load client that counts every answer."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

T = TypeVar("T")

DEADLINE = 30.0
TOKEN = "a-token-for-tests-0123456789-abcdefghij"
_READY = re.compile(r"^listening on (\S+), admin (?:on (\S+)|off), (\d+) workers?$", re.MULTILINE)


def eventually(condition: Callable[[], T], what: str, *, within: float = DEADLINE) -> T:
    """Return the condition's first truthy value; fail when there is none in time."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.02)
    return value


async def eventually_async(condition: Callable[[], T], what: str, *, within: float = DEADLINE) -> T:
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        await asyncio.sleep(0.02)
    return value


def runs(pid: int) -> bool:
    """Tell whether a process runs; one that is dead but not yet waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in {"Z", "X"}


class Upstream:
    """One upstream server process; it keeps its port over a kill and a start."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        script = Path(__file__).with_name("processes_upstream.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script), str(self.port), self.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._process.stdout.close()
            self._process = None


class Gateway:
    """One `seawall serve`; its log is in `log`."""

    def __init__(self, folder: Path, *arguments: str, environ: dict[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._log = folder / "log"
        self._runtime = folder / "run"
        self._runtime.mkdir(exist_ok=True)
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("SEAWALL_", "LB_"))}
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "seawall.cli", "serve", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder,
                env={
                    **inherited,
                    "SEAWALL_ADMIN_TOKEN": TOKEN,
                    "XDG_STATE_HOME": str(folder / "state"),
                    "XDG_RUNTIME_DIR": str(self._runtime),
                    **(environ or {}),
                },
            )
        self.url = ""
        self.admin = ""

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def wait_ready(self) -> "Gateway":
        def ready() -> re.Match[str] | None:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.log}"
            return _READY.search(self.log)

        found = eventually(ready, "the gateway is ready")
        self.url, self.admin = found[1], found[2] or ""
        return self

    def children(self) -> dict[str, int]:
        """Return the process ids of the children that run, by name."""
        found = {}
        pid = self.process.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            try:
                arguments = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            except FileNotFoundError:
                continue
            if b"seawall.cli.roles" in arguments and runs(int(child)):
                name = arguments[arguments.index(b"seawall.cli.roles") + 2].decode()
                found[name] = int(child)
        return found

    def replacement_of(self, name: str, pid: int) -> int:
        """Wait for the process that takes the place of one that was killed; return its id once it is ready."""

        def replaced() -> int:
            now = self.children().get(name, 0)
            return now if now != pid and f"{name} (pid {now}) is ready" in self.log else 0

        return eventually(replaced, f"{name} is back")

    def ask(self, path: str, *, method: str = "GET") -> tuple[int, str]:
        """Return status and body of an admin API request; (0, reason) when it cannot be reached."""
        request = urllib.request.Request(
            f"{self.admin}{path}", method=method, headers={"authorization": f"Bearer {TOKEN}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except (urllib.error.URLError, OSError) as error:
            return 0, str(error)

    def total(self, metric: str, **labels: str) -> float:
        """Return the sum of a metric's series with these labels; -1 when the admin API cannot be reached."""
        status, page = self.ask("/metrics")
        if status != 200:
            return -1.0
        wanted = [f'{name}="{value}"' for name, value in labels.items()]
        return sum(
            float(line.rpartition(" ")[2])
            for line in page.splitlines()
            if line.startswith((f"{metric}{{", f"{metric} ")) and all(label in line for label in wanted)
        )

    def health(self) -> dict[str, Any]:
        """Return what `/health/ready` says; nothing when it cannot be reached."""
        status, body = self.ask("/health/ready")
        return json.loads(body) if status else {}

    def stop(self) -> int:
        """Drain it; return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)

    def destroy(self) -> None:
        """Leave nothing behind, whatever the test did."""
        left = list(self.children().values()) if self.process.poll() is None else []
        self.process.kill()
        self.process.wait()
        for pid in left:
            if runs(pid):
                os.kill(pid, signal.SIGKILL)
                eventually(lambda pid=pid: not runs(pid), "a killed child is gone")


class Load:
    """Closed-loop clients on kept connections that ask again and again, and note how each request ended.

    Attributes:
        succeeded: complete answers with status 200, by worker (the part of the request id that names it).
        refused: complete answers with another status, as text.
        lost: requests whose connection broke before the answer was complete, by worker of that connection.
    """

    def __init__(self, port: int, *, connections: int = 8, path: str = "/") -> None:
        self._port = port
        self._request = f"GET {path} HTTP/1.1\r\nhost: example.org\r\n\r\n".encode()
        self._connections = connections
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self.succeeded: Counter[str] = Counter()
        self.refused: list[str] = []
        self.lost: Counter[str] = Counter()
        self.unreachable = 0

    @property
    def total(self) -> int:
        return self.succeeded.total()

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._client()) for _ in range(self._connections)]
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Let each client finish its request."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def more(self, count: int = 200) -> None:
        """Wait until this many further requests have succeeded."""
        goal = self.total + count
        await eventually_async(lambda: self.total >= goal, f"{count} more requests succeed")

    async def _client(self) -> None:
        while not self._stopping:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                self.unreachable += 1
                await asyncio.sleep(0.01)
                continue
            worker = "before the first answer"
            try:
                while not self._stopping:
                    writer.write(self._request)
                    try:
                        status, fields, body = await _read_answer(reader)
                    except (asyncio.IncompleteReadError, ConnectionError):
                        self.lost[worker] += 1
                        break
                    worker = fields["x-request-id"][:16]
                    if status == 200:
                        self.succeeded[worker] += 1
                    else:
                        self.refused.append(f"{status} {body}")
                    if fields.get("connection") == "close":
                        break
            finally:
                writer.close()


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], str]:
    """Return status, fields and body of an answer with a content-length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(fields["content-length"]))
    return int(head[0].split(" ", 2)[1]), fields, body.decode()


async def fetch(port: int, path: str = "/") -> int:
    """Return the status of one request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nhost: example.org\r\n\r\n".encode())
        return (await _read_answer(reader))[0]
    finally:
        writer.close()
