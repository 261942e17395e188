"""What all connections of one worker share: settings, engines, endpoints, the coarse clock."""

import asyncio
import logging
import os
import ssl
import time
from urllib.parse import urlsplit

from seawall.config.gateway import GatewaySettings
from seawall.core.identity import TrustedProxies
from seawall.core.request import Request
from seawall.gateway.endpoint import Endpoint
from seawall.gateway.forwarding import RESPONSE_DROPPED, ForwardingPolicy
from seawall.gateway.probe import Probe
from seawall.gateway.server import ClientConnection
from seawall.gateway.trust import TrustStore
from seawall.gateway.upstream import EndpointAddress
from seawall.pipeline.pipeline import NO_STAGES, Pipeline
from seawall.systems.balancing.counters import Instance, Pool
from seawall.systems.balancing.engine import BalancingEngine
from seawall.systems.balancing.model import PoolSnapshot

__all__ = ["SWEEP_INTERVAL", "Runtime"]

SWEEP_INTERVAL = 0.1
"""Seconds between looks at deadlines: a time-out acts at most this late."""

_LOG_INTERVAL = 5.0
_TRUST_INTERVAL = 5.0
"""Seconds between looks at the CA files when no snapshot comes."""
_MAX_REQUEST_ID = 128

_log = logging.getLogger("seawall.gateway")


class Runtime:
    """The state of one worker's data plane; used from its event loop only."""

    def __init__(
        self,
        settings: GatewaySettings,
        balancing: BalancingEngine,
        loop: asyncio.AbstractEventLoop,
        pipeline: Pipeline = NO_STAGES,
    ) -> None:
        self.balancing = balancing
        self.pipeline = pipeline
        """What requests pass before they go upstream."""
        self.response_dropped = RESPONSE_DROPPED | pipeline.replaces
        """Fields of a response that stay here where the pipeline has fields of its own for it."""
        self.monotonic = time.monotonic
        self.now = time.monotonic()
        """Monotonic seconds as of the last sweep: exact enough for deadlines, and free."""
        self.draining = False
        self.connections: set[ClientConnection] = set()
        self.settings = settings
        self._loop = loop
        self.probes: set[Probe] = set()
        self._endpoints: dict[Endpoint, Instance] = {}
        self._trust = TrustStore()
        self._trust_checked = self.now
        self._logged: dict[str, float] = {}
        self._id_prefix = os.urandom(8).hex()
        self._id_count = 0
        balancing.on_removed = self._on_removed
        self.configure(settings)

    def configure(self, settings: GatewaySettings) -> None:
        """Take new settings; connections that are open follow them from their next request on."""
        self.settings = settings
        self.header_timeout = settings.header_timeout_ms / 1000
        self.keepalive_timeout = settings.keepalive_timeout_ms / 1000
        self.forwarding = ForwardingPolicy(
            TrustedProxies(settings.trusted_proxies, source=settings.client_address_from),
            append=settings.forwarded == "append",
            via=settings.via,
            trust_request_id=settings.request_id_header_trusted,
        )
        self.forwarding.keep(self.pipeline.keeps)
        self.pipeline.trust(self.forwarding.trusted)

    def request_id(self, request: Request) -> str:
        """Return the id that a trusted proxy gave, where that is allowed and sound, else a new one."""
        forwarding = self.forwarding
        if forwarding.trust_request_id and forwarding.trusted.trusts(request.peer):
            given = request.header(b"x-request-id")
            if given and len(given) <= _MAX_REQUEST_ID and given.isascii() and given.decode().isprintable():
                return given.decode()
        return self.new_request_id()

    def new_request_id(self) -> str:
        """Return an id unique over workers and restarts: 64 random bits of this worker, then a count."""
        self._id_count += 1
        return f"{self._id_prefix}{self._id_count:08x}"

    def endpoint(self, instance: Instance) -> Endpoint:
        """Return the instance's connections; made at first use."""
        endpoint = instance.transport
        if not isinstance(endpoint, Endpoint):
            pool = instance.pool.snapshot
            endpoint = Endpoint(
                self._loop,
                self.monotonic,
                self._address(instance, pool),
                max_connections=pool.max_connections,
                max_queue=pool.max_queue,
                keepalive=pool.keepalive,
                connect_timeout=pool.connect_timeout,
            )
            endpoint.origin = self._origin(instance, pool)
            instance.transport = endpoint
            self._endpoints[endpoint] = instance
        return endpoint

    def refresh_pipeline(self) -> None:
        """Let the pipeline look at its engines' snapshots; called after one was applied."""
        self.pipeline.refresh()
        self.response_dropped = RESPONSE_DROPPED | self.pipeline.replaces
        self.forwarding.keep(self.pipeline.keeps)

    def refresh(self) -> None:
        """Carry changed addresses and limits over to the endpoints; called after a snapshot was applied.

        Most snapshots change weights only and come every 250 ms while instances ramp: addresses are compared by what
        they are made from, and made only where that changed.
        """
        self._trust.keep(pool.snapshot.tls_ca_file for pool in self.balancing.pools.values())
        self._trust.reload()
        self._trust_checked = self.now
        for endpoint, instance in list(self._endpoints.items()):
            pool = instance.pool.snapshot
            origin = self._origin(instance, pool)
            if endpoint.origin != origin:
                endpoint.origin = origin
                endpoint.move(self._address(instance, pool))
            endpoint.max_connections = pool.max_connections
            endpoint.max_queue = pool.max_queue
            endpoint.keepalive = pool.keepalive
            endpoint.connect_timeout = pool.connect_timeout

    def sweep(self) -> None:
        """Advance the coarse clock and act on deadlines that have passed."""
        self.now = now = self.monotonic()
        for connection in list(self.connections):
            try:
                connection.sweep(now)
            except Exception:  # noqa: BLE001 - logged; one defect must not end the time-outs of all others
                _log.exception("a client connection is broken off: looking at its deadline failed")
                connection.abort()
        for probe in [probe for probe in self.probes if now > probe.deadline]:
            probe.expire()
        for endpoint in list(self._endpoints):
            endpoint.sweep(now)
        self.pipeline.sweep()
        if now - self._trust_checked >= _TRUST_INTERVAL:
            self._trust_checked = now
            if self._trust.reload():
                self.refresh()

    def probe(self, pool: Pool) -> None:
        """Send the probes that the pool's strategy asks for now."""
        for instance in self.balancing.probe_targets(pool):
            probe = Probe(self, instance)
            self.probes.add(probe)
            probe.start()

    def drain(self) -> None:
        """Answer what is under way, announce the end, close what is idle."""
        self.draining = True
        for connection in list(self.connections):
            connection.on_drain()

    def close(self) -> None:
        """Break whatever is left."""
        for connection in list(self.connections):
            connection.abort()
        for probe in list(self.probes):
            probe.expire()
        for endpoint in list(self._endpoints):
            endpoint.close()
        self.pipeline.close()

    def log_upstream(self, instance: Instance | None, reason: str) -> None:
        """Warn of a failing instance, at most once in 5 s for each."""
        if instance is None:
            return
        name = f"{instance.pool.name}/{instance.id}"
        if self.now - self._logged.get(name, -_LOG_INTERVAL) >= _LOG_INTERVAL:
            if len(self._logged) > 10_000:
                self._logged.clear()
            self._logged[name] = self.now
            _log.warning("instance %s: %s", name, reason)

    def _on_removed(self, instance: Instance) -> None:
        endpoint = instance.transport
        if isinstance(endpoint, Endpoint):
            self._endpoints.pop(endpoint, None)
            endpoint.close()

    def _origin(self, instance: Instance, pool: PoolSnapshot) -> tuple[object, ...]:
        """Return all that an address is made from; the url is not in it, since an instance keeps its own for life."""
        return instance.snapshot.addresses, pool.tls_ca_file, pool.tls_server_name, self._trust.version

    def _address(self, instance: Instance, pool: PoolSnapshot) -> EndpointAddress:
        url = instance.snapshot.url
        if url.startswith("unix:"):
            return EndpointAddress(path=url.removeprefix("unix:"))
        parts = urlsplit(url)
        host = parts.hostname or ""
        secure = parts.scheme == "https"
        tls: ssl.SSLContext | None = None
        defect = ""
        if secure:
            tls, defect = self._trust.get(pool.tls_ca_file)
        return EndpointAddress(
            hosts=instance.snapshot.addresses or (host,),
            port=parts.port or (443 if secure else 80),
            tls=tls,
            defect=defect,
            server_name=pool.tls_server_name or host,
            authority=parts.netloc.encode("latin-1"),
        )
