"""One worker's data plane: engines fed by snapshots, connections fed by sockets, reports out."""

import asyncio
import logging
import os
import random
import socket
from collections.abc import Iterator, Sequence

import msgspec

from seawall.adapters.geoip import open_locations
from seawall.adapters.jwt import open_token_keys
from seawall.adapters.pattern_cache import PatternCache
from seawall.config.gateway import GatewaySettings
from seawall.core.clock import Clock
from seawall.core.errors import SeawallError
from seawall.core.snapshot import Report, Snapshot
from seawall.core.system import Engine, EngineContext, System
from seawall.gateway.runtime import SWEEP_INTERVAL, Runtime
from seawall.gateway.server import ClientConnection
from seawall.pipeline.build import build_pipeline
from seawall.pipeline.failures import PIPELINE
from seawall.systems.balancing.engine import BalancingEngine
from seawall.systems.ratelimit.counts import Counts

__all__ = ["Worker"]

_BACKLOG = 4096
_READ_SETTINGS = "gateway"

_log = logging.getLogger("seawall.gateway")


class Worker:
    """The data plane of one process.

    Args:
        settings: the `[gateway]` section; replaced by snapshots named `gateway`.
        systems: whose engines run here; `balancing` must be among them.
        clock: time for the engines.
        rng: randomness for the engines.
        counts: where rate limits' shared counts are; None where there are none.
        patterns: makes the matchers of threat detection.

    Used from one event loop only.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        systems: Sequence[System],
        clock: Clock,
        rng: random.Random,
        counts: Counts | None = None,
        patterns: PatternCache | None = None,
    ) -> None:
        context = EngineContext(
            clock=clock,
            rng=rng,
            locations=open_locations,
            token_keys=open_token_keys,
            compile_patterns=patterns or PatternCache.open(),
            random=os.urandom,
        )
        self._engines: dict[str, Engine] = {system.name: system.engine(context) for system in systems}
        self._decoders: dict[str, msgspec.msgpack.Decoder[Snapshot]] = {
            system.name: msgspec.msgpack.Decoder(system.snapshot) for system in systems
        }
        balancing = self._engines.get("balancing")
        if not isinstance(balancing, BalancingEngine):
            raise SeawallError("the gateway needs the balancing system")
        self._balancing = balancing
        self._pipeline = build_pipeline(self._engines, balancing, clock, counts)
        self._settings = settings
        self._runtime: Runtime | None = None
        self._servers: list[asyncio.Server] = []
        self._ticker: asyncio.Task[None] | None = None

    @property
    def runtime(self) -> Runtime:
        """The shared state of all connections; made on the running loop at first use."""
        if self._runtime is None:
            self._runtime = Runtime(self._settings, self._balancing, asyncio.get_running_loop(), self._pipeline)
        return self._runtime

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Accept connections on these listening sockets."""
        loop = asyncio.get_running_loop()
        runtime = self.runtime
        self._ticker = loop.create_task(self._tick(), name="seawall-gateway-sweep")
        for listener in sockets:
            if listener.family == socket.AF_UNIX:
                server = await loop.create_unix_server(
                    lambda: ClientConnection(runtime), sock=listener, backlog=_BACKLOG
                )
            else:
                server = await loop.create_server(lambda: ClientConnection(runtime), sock=listener, backlog=_BACKLOG)
            self._servers.append(server)

    def apply(self, system: str, payload: bytes) -> None:
        """Take a system's newest snapshot in msgpack, or the gateway's own settings under the name `gateway`."""
        if system == _READ_SETTINGS:
            settings = GatewaySettings.model_validate(msgspec.msgpack.decode(payload))
            self._settings = settings
            if self._runtime is not None:
                self._runtime.configure(settings)
            return
        engine = self._engines.get(system)
        if engine is None:
            _log.warning("snapshot of unknown system %r ignored", system)
            return
        engine.apply(self._decoders[system].decode(payload))
        if self._runtime is None:
            self._pipeline.refresh()
        elif engine is self._balancing:
            self._runtime.refresh()
        else:
            self._runtime.refresh_pipeline()

    def collect(self, *, full: bool) -> Iterator[tuple[str, Report]]:
        """Yield each system's report, and the pipeline's; everything when `full`, else what changed."""
        self._pipeline.measure()
        for name, engine in self._engines.items():
            report = engine.report(full=full)
            if report is not None:
                yield name, report
        failed = self._pipeline.failures.report(full=full)
        if failed is not None:
            yield PIPELINE, failed

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109 - a setting; passing it is no error
        """Stop accepting, finish what is in flight for up to `timeout` seconds, then break what is left."""
        for server in self._servers:
            server.close()
        runtime = self.runtime
        runtime.drain()
        deadline = runtime.monotonic() + timeout
        while runtime.connections and runtime.monotonic() < deadline:  # noqa: ASYNC110 - happens once in a life
            await asyncio.sleep(0.02)
        if runtime.connections:
            _log.warning("%d connections broken off after %g s of draining", len(runtime.connections), timeout)
        await self.close()

    async def close(self) -> None:
        """Break everything off."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        if self._runtime is not None:
            self._runtime.close()

    async def _tick(self) -> None:
        runtime = self.runtime
        while True:
            due = runtime.monotonic() + SWEEP_INTERVAL
            await asyncio.sleep(SWEEP_INTERVAL)
            self._pipeline.on_lag(runtime.monotonic() - due)
            try:
                runtime.sweep()
            except Exception:  # noqa: BLE001 - logged; the sweep has to go on
                _log.exception("sweep failed")
