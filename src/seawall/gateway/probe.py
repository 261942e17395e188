"""Asynchronous probes for the `adaptive` strategy: requests in flight on an instance, and how long they take."""

from typing import TYPE_CHECKING

import msgspec

from seawall.core.request import Header
from seawall.gateway.upstream import UpstreamConnection
from seawall.systems.balancing.counters import Instance

if TYPE_CHECKING:
    from seawall.gateway.runtime import Runtime

__all__ = ["PROBE_TIMEOUT", "LoadAnswer", "Probe"]

PROBE_TIMEOUT = 1.0
"""Seconds after which an answer would be too old to use."""
_MAX_ANSWER = 4096


class LoadAnswer(msgspec.Struct, frozen=True):
    """What an instance answers to a probe, as JSON: requests in flight, and their recent latency in milliseconds."""

    in_flight: int
    latency_ms: float


_decoder = msgspec.json.Decoder(LoadAnswer)


class Probe:
    """One probe of one instance; it tells the engine when the answer is sound and leaves no other trace."""

    __slots__ = ("_body", "_connection", "_instance", "_runtime", "_status", "deadline")

    def __init__(self, runtime: "Runtime", instance: Instance) -> None:
        self.deadline = runtime.now + PROBE_TIMEOUT
        self._runtime = runtime
        self._instance = instance
        self._connection: UpstreamConnection | None = None
        self._body = b""
        self._status = 0

    def start(self) -> None:
        """Send the probe over an idle connection, or over a new one when the instance has room."""
        endpoint = self._runtime.endpoint(self._instance)
        connection = endpoint.take(repeatable=True)
        if connection is not None:
            self.on_connected(connection)
        elif endpoint.open >= endpoint.max_connections or not endpoint.request_connection(self):
            self._end()  # requests go first: a probe never waits in their queue

    def expire(self) -> None:
        """Give up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        else:
            self._runtime.endpoint(self._instance).forget(self)
        self._end()

    def on_connected(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        connection.begin(self, head_only=False)
        path = self._instance.pool.snapshot.probe_path.encode("latin-1")
        connection.transport.write(
            b"GET %b HTTP/1.1\r\nhost: %b\r\naccept: application/json\r\n\r\n"
            % (path, connection.endpoint.address.authority)
        )

    def on_connect_failed(self, reason: str, *, timed_out: bool) -> None:
        self._end()

    def on_interim(self, status: int, headers: list[Header]) -> None:
        pass

    def on_response(self, status: int, headers: list[Header], length: int) -> None:
        self._status = status

    def on_response_body(self, data: bytes) -> None:
        if len(self._body) <= _MAX_ANSWER:
            self._body += data

    def on_read_end(self) -> None:
        if len(self._body) > _MAX_ANSWER:
            self.expire()

    def on_response_end(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release(reusable=True)
        if self._status == 200 and len(self._body) <= _MAX_ANSWER:
            try:
                answer = _decoder.decode(self._body)
            except (msgspec.DecodeError, UnicodeDecodeError):
                self._runtime.log_upstream(
                    self._instance, 'probe answers need {"in_flight": int, "latency_ms": number}'
                )
            else:
                self._runtime.balancing.on_probe(self._instance, answer.in_flight, answer.latency_ms / 1000)
        self._end()

    def on_upstream_lost(self, reason: str, *, malformed: bool) -> None:
        self._connection = None
        self._end()

    def on_upstream_paused(self) -> None:
        pass

    def on_upstream_resumed(self) -> None:
        pass

    def _end(self) -> None:
        self._runtime.probes.discard(self)
