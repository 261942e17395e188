"""The demo's processes: three upstream servers and a gateway, started on free ports and gone afterwards."""

import asyncio
import contextlib
import json
import os
import re
import secrets
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

from seawall.core.errors import SeawallError

__all__ = ["CLIENTS", "DEMO_SERVERS", "FLOODER", "DemoError", "DemoServer", "Gateway", "start_gateway", "start_servers"]

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_LISTENING = re.compile(r"listening on (http://[^\s,]+), admin on (http://[^\s,]+)")


class DemoError(SeawallError):
    """The demo cannot go on."""

    code = "demo-failed"


class Speed(NamedTuple):
    """A server's name and the milliseconds that it takes to answer."""

    name: str
    latency_ms: float


DEMO_SERVERS = (Speed("quick", 5), Speed("steady", 10), Speed("slow", 25))
"""The first of them is the one that dies."""


CLIENTS = tuple(f"192.0.2.{number}" for number in range(1, 21))
"""Addresses that share the traffic; they and the next one are for documentation (RFC 5737)."""
FLOODER = "198.51.100.7"


class DemoServer:
    """One upstream server process that can be killed and brought back on the same port.

    The port stays bound here, without listening, for as long as the demo runs: while the server is dead, connections
    are refused, and no other program can get the port.
    """

    def __init__(self, speed: Speed) -> None:
        self.name = speed.name
        self.latency_ms = speed.latency_ms
        self._process: asyncio.subprocess.Process | None = None
        self._hold = socket.socket()
        self._hold.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._hold.bind(("127.0.0.1", 0))
        self.port: int = self._hold.getsockname()[1]

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start the process and return when it accepts connections."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "seawall.cli.demo_server", self.name, str(self.port), str(self.latency_ms)),
            stdin=asyncio.subprocess.PIPE,  # held open: the server ends when this end closes
            start_new_session=True,
        )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.returncode is None:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            await asyncio.sleep(0.02)
        raise DemoError(f"the demo's server {self.name!r} did not start on port {self.port}")

    async def kill(self) -> None:
        """End the process at once, as a crash would."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def close(self) -> None:
        """End the process and give the port back."""
        await self.kill()
        self._hold.close()


class Gateway:
    """A running `seawall serve`.

    Attributes:
        url: where it listens.
        admin_url: where its admin API listens.
        token: a token of its admin API.
    """

    def __init__(self, url: str, admin_url: str, token: str) -> None:
        self.url = url
        self.admin_url = admin_url
        self.token = token

    async def state(self) -> dict[str, Any]:
        """Return what `GET /api/system/load-balancer` says; raise `OSError` when it does not answer within a second."""
        return await self.get("/api/system/load-balancer")

    async def get(self, path: str) -> dict[str, Any]:
        """Return the JSON object at a path of the admin API; raise `OSError` when there is none within a second."""
        return await asyncio.to_thread(self._get, path)

    def _get(self, path: str) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - our own address
            self.admin_url + path, headers={"authorization": f"Bearer {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=1) as response:  # noqa: S310 - the same
            content: dict[str, Any] = json.load(response)
            return content


@contextlib.asynccontextmanager
async def start_servers() -> AsyncIterator[list[DemoServer]]:
    """Run the upstream servers until the block ends."""
    servers = [DemoServer(speed) for speed in DEMO_SERVERS]
    try:
        await asyncio.gather(*(server.start() for server in servers))
        yield servers
    finally:
        await asyncio.gather(*(server.close() for server in servers))


@contextlib.asynccontextmanager
async def start_gateway(
    servers: list[DemoServer], *, folder: Path, strategy: str, workers: int, duration: float, rate: float
) -> AsyncIterator[Gateway]:
    """Run the gateway over the servers until the block ends.

    Args:
        servers: what to balance over.
        folder: an empty directory for its configuration, its state and its log.
        strategy: name of the balancing strategy.
        workers: worker processes.
        duration: seconds that the demo lasts; checks, ejections and decay are scaled to it.
        rate: requests per second of all clients together; each may make four times its share.
    """
    configuration = folder / "seawall.toml"
    configuration.write_text(_configuration(servers, strategy, workers, duration, rate))
    log = folder / "gateway.log"
    token = secrets.token_urlsafe(24)
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from seawall.cli import main; main()", "serve", "-c", str(configuration)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "SEAWALL_ADMIN_TOKEN": token, "XDG_STATE_HOME": str(folder)},
            start_new_session=True,  # Ctrl-C reaches the demo, which then ends the gateway in order
        )
    try:
        url, admin_url = await _addresses(process, log)
        gateway = Gateway(url, admin_url, token)
        await _wait_until_ready(gateway, process, log)
        yield gateway
    finally:
        await _stop(process)


def _configuration(servers: list[DemoServer], strategy: str, workers: int, duration: float, rate: float) -> str:
    check_interval_ms = max(100, min(500, round(duration * 25)))
    instances = ",\n".join(f'  {{ id = "{server.name}", url = "{server.url}" }}' for server in servers)
    return f"""
[gateway]
listen = "127.0.0.1:0"
workers = {workers}
trusted_proxies = ["127.0.0.1"]

[admin]
listen = "127.0.0.1:0"

[state]
url = "memory://"

[ratelimit]
adaptive = false
roles = {{ anonymous = 1.0 }}

[[ratelimit.rules]]
id = "clients"
key = ["client"]
windows = [{{ limit = {max(20, round(rate * 4 / len(CLIENTS)))}, window_ms = 1000 }}]

[balancing]
strategy = "{strategy}"

[balancing.pools.demo]
instances = [
{instances},
]
probe_path = "/probe"
ewma_decay_ms = {max(500, min(2000, round(duration * 100)))}

[balancing.pools.demo.health]
kind = "http"
path = "/health"
interval_ms = {check_interval_ms}
timeout_ms = 1000

[balancing.pools.demo.outliers]
base_ejection_ms = {check_interval_ms * 2}
"""


def _text(log: Path) -> str:
    return log.read_text(errors="replace")


async def _addresses(process: asyncio.subprocess.Process, log: Path) -> tuple[str, str]:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.returncode is None:
        found = _LISTENING.search(_text(log))
        if found:
            return found.group(1), found.group(2)
        await asyncio.sleep(0.02)
    raise DemoError(f"the gateway did not start; it said:\n{_text(log)[-2000:]}")


async def _wait_until_ready(gateway: Gateway, process: asyncio.subprocess.Process, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.returncode is None:
        try:
            await gateway.get("/health/ready")
        except OSError:
            await asyncio.sleep(0.05)
        else:
            return
    raise DemoError(f"the gateway did not become ready; it said:\n{_text(log)[-2000:]}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):  # whatever of its group outlived it
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
