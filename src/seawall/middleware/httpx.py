"""Balance an httpx client's calls over a pool, with the gateway's engine, retries and outlier ejection."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self

import httpx

from seawall.balancer import Attempt, Config, DynamicLoadBalancer, NoInstanceError, SelectedInstance
from seawall.core.request import IDEMPOTENT_METHODS, Request
from seawall.systems.balancing.endpoint import Endpoint
from seawall.systems.balancing.membership import TlsContexts
from seawall.systems.balancing.model import Outcome, PoolSnapshot

__all__ = ["BalancingTransport"]

MakeTransport = Callable[[str | None, ssl.SSLContext | None], httpx.AsyncBaseTransport]
"""Make what carries requests: to a Unix socket's path (None: over TCP), trusting a pool's own CAs (None: httpx's)."""


class BalancingTransport(httpx.AsyncBaseTransport):
    """Send each request of a client to the instance that the balancer picks.

    The authority of a request's url is what the application calls, such as `http://orders/`. It stays the `Host` of the
    request unless the pool's `preserve_host` is off; on the wire the instance takes its place. An attempt that fails
    before a response is repeated on another instance when the method is idempotent or nothing was sent yet, within
    the pool's attempts and retry budget; a body that is a stream is not repeated. A response of any status is handed to
    the application, a 5xx counts as an error of the instance.

    Args:
        balancer: a balancer, or the configuration of one, which then lives as long as the transport.
        pool: the pool to use; by default the request's route decides, or there is only one.
        make_transport: what carries the requests; httpx's own transport by default.

    Used as a context manager, as httpx does with `async with httpx.AsyncClient(transport=...)`, it also runs the active
    health checks of a balancer that it made itself.
    """

    def __init__(
        self,
        balancer: DynamicLoadBalancer | Config,
        *,
        pool: str | None = None,
        make_transport: MakeTransport | None = None,
    ) -> None:
        self._owned = not isinstance(balancer, DynamicLoadBalancer)
        self.balancer = balancer if isinstance(balancer, DynamicLoadBalancer) else DynamicLoadBalancer(balancer)
        self._pool = pool
        self._make = make_transport or _transport
        self._transports: dict[tuple[str, str], httpx.AsyncBaseTransport] = {}
        self._contexts = TlsContexts()
        self._entered = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; raise what httpx raises, or `httpx.ConnectError` when there is no instance."""
        head = _head(request)
        tried: list[SelectedInstance] = []
        failure: Exception | None = None
        while True:
            try:
                attempt = self.balancer.begin(head, pool=self._pool, exclude=tried)
            except NoInstanceError as error:
                raise failure or httpx.ConnectError(error.message, request=request) from error
            tried.append(attempt.instance)
            try:
                return await self._send(request, attempt)
            except httpx.TransportError as error:
                failure = error
                if not self._may_repeat(request, attempt, error, len(tried)):
                    raise

    async def __aenter__(self) -> Self:
        """Start the active health checks of a balancer that this transport made."""
        if self._owned:
            await self.balancer.__aenter__()
            self._entered = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Close everything."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection, and end the health checks of a balancer that this transport made."""
        if self._entered:
            self._entered = False
            await self.balancer.__aexit__(None, None, None)
        transports = list(self._transports.values())
        self._transports.clear()
        for transport in transports:
            await transport.aclose()

    async def _send(self, request: httpx.Request, attempt: Attempt) -> httpx.Response:
        try:
            endpoint = Endpoint.parse(attempt.url)
            pool = self.balancer.pool(attempt.instance.pool)
            transport = self._transport(endpoint.path, pool.tls_ca_file if endpoint.scheme == "https" else "")
            response = await transport.handle_async_request(_directed(request, endpoint, attempt.instance, pool))
        except BaseException as error:
            attempt.end(_outcome_of(error))
            raise
        attempt.status = response.status_code
        response.stream = _CountedStream(response.stream, attempt)
        return response

    def _transport(self, socket: str, ca_file: str) -> httpx.AsyncBaseTransport:
        transport = self._transports.get((socket, ca_file))
        if transport is None:
            context = self._contexts.get(ca_file) if ca_file else None
            transport = self._transports[socket, ca_file] = self._make(socket or None, context)
        return transport

    def _may_repeat(self, request: httpx.Request, attempt: Attempt, error: httpx.TransportError, made: int) -> bool:
        unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        if request.method not in IDEMPOTENT_METHODS and not unsent:
            return False
        if not isinstance(request.stream, httpx.ByteStream):
            return False
        pool = attempt.instance.pool
        return made <= self.balancer.pool(pool).retry_attempts and self.balancer.may_retry(pool)


class _CountedStream(httpx.AsyncByteStream):
    """A response body that tells how the attempt ended once it is read or closed."""

    def __init__(self, stream: httpx.AsyncByteStream | httpx.SyncByteStream, attempt: Attempt) -> None:
        if not isinstance(stream, httpx.AsyncByteStream):
            raise TypeError("the transport below must answer with an asynchronous stream")
        self._stream = stream
        self._attempt = attempt

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                yield chunk
        except GeneratorExit:  # the application stopped reading
            raise
        except BaseException as error:
            self._attempt.end(_outcome_of(error))
            raise
        self._attempt.end()

    async def aclose(self) -> None:
        """Close the body; what was not read is not wanted, which says nothing against the instance."""
        try:
            await self._stream.aclose()
        finally:
            self._attempt.end()


def _head(request: httpx.Request) -> Request:
    """Return the request as engines see it."""
    headers = [(name.lower(), value) for name, value in request.headers.raw]
    return Request(
        request.method, request.url.raw_path, headers, host=request.url.netloc.lower(), scheme=request.url.scheme
    )


def _transport(socket: str | None, context: ssl.SSLContext | None) -> httpx.AsyncBaseTransport:
    return httpx.AsyncHTTPTransport(uds=socket, verify=True if context is None else context)


def _directed(
    request: httpx.Request, endpoint: Endpoint, instance: SelectedInstance, pool: PoolSnapshot
) -> httpx.Request:
    """Return the same request on its way to an instance."""
    extensions = dict(request.extensions)
    headers = request.headers
    if not pool.preserve_host:
        headers = httpx.Headers(headers)
        headers["host"] = endpoint.authority
    if endpoint.scheme == "unix":
        url = request.url.copy_with(scheme="http")
    else:
        host = instance.addresses[0] if instance.addresses else endpoint.host
        url = request.url.copy_with(scheme=endpoint.scheme, host=host, port=endpoint.port)
        if endpoint.scheme == "https":
            extensions.setdefault("sni_hostname", pool.tls_server_name or endpoint.host)
    return httpx.Request(request.method, url, headers=headers, stream=request.stream, extensions=extensions)


def _outcome_of(error: BaseException) -> Outcome:
    if isinstance(error, httpx.PoolTimeout | httpx.LocalProtocolError | httpx.UnsupportedProtocol):
        return Outcome.CANCELLED  # our side's limit or mistake says nothing about the instance
    if isinstance(error, httpx.ConnectError):
        return Outcome.CONNECT_FAILED
    if isinstance(error, httpx.TimeoutException):
        return Outcome.TIMEOUT  # one to connect too, as in the gateway: a refusal is certain, a time-out is not
    if isinstance(error, Exception) and not isinstance(error, asyncio.CancelledError):
        return Outcome.RESET
    return Outcome.CANCELLED
