"""Connections to upstream instances: one parser each, pooled per instance, capped, with a bounded queue."""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, cast

import httptools

from seawall.core.request import Header
from seawall.gateway.framing import CHUNKED, NO_BODY

__all__ = ["UNTIL_CLOSE", "ConnectionUser", "Endpoint", "EndpointAddress", "UpstreamConnection"]

UNTIL_CLOSE = -2
"""Body length of a response that ends with its connection."""

_MAX_RESPONSE_HEAD = 65_536
_UNSAFE_IDLE = 1.0
"""Seconds after which an idle connection is no longer trusted with a request that cannot be repeated."""


class _UnsoundError(Exception):
    """A response head that the parser takes and we do not."""


class ConnectionUser(Protocol):
    """What uses an upstream connection for one request: an exchange or a probe."""

    def on_connected(self, connection: "UpstreamConnection") -> None:
        """A connection is ready; send the request."""

    def on_connect_failed(self, reason: str, *, timed_out: bool) -> None:
        """No connection could be had; nothing was sent."""

    def on_interim(self, status: int, headers: list[Header]) -> None:
        """A 1xx response arrived."""

    def on_response(self, status: int, headers: list[Header], length: int) -> None:
        """The response head arrived; `length` is bytes, `CHUNKED`, `NO_BODY` or `UNTIL_CLOSE`."""

    def on_response_body(self, data: bytes) -> None:
        """Part of the response body arrived."""

    def on_response_end(self) -> None:
        """The response is complete; give the connection back with `release`."""

    def on_read_end(self) -> None:
        """All that one read brought has been told."""

    def on_upstream_lost(self, reason: str, *, malformed: bool) -> None:
        """The connection broke before the response was complete; `malformed` when the upstream spoke no valid HTTP."""

    def on_upstream_paused(self) -> None:
        """The upstream does not take more; stop writing."""

    def on_upstream_resumed(self) -> None:
        """The upstream takes more again."""


class UpstreamConnection(asyncio.Protocol):
    """One HTTP/1.1 connection to an instance, used by one request at a time."""

    __slots__ = (
        "_complete",
        "_head_bytes",
        "_headers",
        "_in_head",
        "_length",
        "_parser",
        "_progress",
        "_status",
        "counted",
        "endpoint",
        "head_only",
        "idle_since",
        "keep",
        "lost",
        "received",
        "reused",
        "transport",
        "user",
    )

    def __init__(self, endpoint: "Endpoint") -> None:
        self.endpoint = endpoint
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.user: ConnectionUser | None = None
        self.head_only = False
        """The request was HEAD: the response has no body whatever its fields say; RFC 9112 section 6.3."""
        self.reused = False
        self.received = False
        """Whether a byte of the current response has arrived."""
        self.keep = True
        self.idle_since = 0.0
        self.counted = False
        """Whether the endpoint counts it among its open connections."""
        self.lost = False
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[Header] = []
        self._in_head = False
        self._progress = False
        """Whether the current read completed a head or brought a part of a body."""
        self._head_bytes = 0
        self._length = NO_BODY
        self._status = 0
        self._complete = False

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        user = self.user
        if user is None:
            self.close()  # an idle connection has nothing to say; what it says cannot belong to a later request
            return
        self.received = True
        self._progress = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("switched protocols without being asked", malformed=True)
            return
        except httptools.HttpParserError as error:
            self.keep = False
            reason: BaseException | None = error
            if isinstance(error, httptools.HttpParserCallbackError):
                reason = error.__context__
                if not isinstance(reason, _UnsoundError):
                    raise  # a defect of ours must not pass for the instance's
            if not self._complete:
                self._fail(f"sent a malformed response ({reason})", malformed=True)
                return
        if self._complete:  # told only now: what follows a response in the same read makes the connection unusable
            user.on_response_end()
            return
        if not self._progress:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_RESPONSE_HEAD:
                self._fail(f"sent a head or trailers of more than {_MAX_RESPONSE_HEAD} bytes", malformed=True)
                return
        user.on_read_end()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self.counted:
            self.endpoint.on_closed(self)
        user = self.user
        if user is None:
            return
        if exc is None and self._length == UNTIL_CLOSE and self._status and not self._in_head:
            self.user = None
            user.on_response_end()
            return
        self._fail(f"closed the connection ({exc})" if exc else "closed the connection", malformed=False)

    def pause_writing(self) -> None:
        if self.user is not None:
            self.user.on_upstream_paused()

    def resume_writing(self) -> None:
        if self.user is not None:
            self.user.on_upstream_resumed()

    # httptools' side

    def on_message_begin(self) -> None:
        self._headers = []
        self._in_head = True
        self._head_bytes = 0
        self._status = 0
        self._length = NO_BODY
        if self._complete:
            self.keep = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # later ones are trailers, which end here
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        self._progress = True
        user = self.user
        if user is None or self._complete:
            return
        parser = self._parser
        status = parser.get_status_code()
        if status < 200:
            if status < 100:
                raise _UnsoundError(f"status {status:03}")
            if status != 101:
                user.on_interim(status, self._headers)
            return
        self._status = status
        length = UNTIL_CLOSE
        for name, value in self._headers:
            size = len(name)
            if size == 14 and name.lower() == b"content-length":
                length = int(value)
            elif size == 17 and name.lower() == b"transfer-encoding":
                if length == CHUNKED or value.strip().lower() != b"chunked":
                    raise _UnsoundError("a transfer coding other than chunked")  # we asked for none: no TE was sent
                length = CHUNKED
                if parser.get_http_version() == "1.0":
                    self.keep = False  # RFC 9112 section 6.1
        if status in {204, 304} or self.head_only:
            self._length = NO_BODY
        else:
            self._length = length
        if not parser.should_keep_alive() or self._length == UNTIL_CLOSE:
            self.keep = False
        user.on_response(status, self._headers, length if self.head_only or status == 304 else self._length)
        if self.head_only and length != NO_BODY:
            # The parser would wait for the body that the fields announce: a fresh one takes the next response.
            self._parser = httptools.HttpResponseParser(self)
            self._complete = True

    def on_body(self, data: bytes) -> None:
        user = self.user
        if user is None or self._complete or self.head_only:
            self.keep = False  # bytes beyond the response: whatever they are, this connection is done
            return
        self._head_bytes = 0
        self._progress = True
        user.on_response_body(data)

    def on_message_complete(self) -> None:
        if self._status:  # 0 for an interim response
            self._complete = True

    # the user's side

    def begin(self, user: ConnectionUser, *, head_only: bool) -> None:
        """Bind the next request to this connection."""
        self.user = user
        self.head_only = head_only
        self.received = False
        self._complete = False
        self._status = 0

    def release(self, *, reusable: bool) -> None:
        """Give the connection back after a complete response, or close it when it cannot be used again."""
        self.user = None
        if reusable and self.keep and not self.transport.is_closing():
            self.reused = True
            self.endpoint.on_idle(self)
        else:
            self.close()

    def abort(self) -> None:
        """Drop the connection with whatever is in flight; the user is not told."""
        self.user = None
        self.transport.abort()

    def close(self) -> None:
        """Close an unused connection."""
        self.user = None
        self.transport.close()

    def _fail(self, reason: str, *, malformed: bool) -> None:
        user = self.user
        self.user = None
        if not self.transport.is_closing():
            self.transport.abort()
        if user is not None:
            user.on_upstream_lost(reason, malformed=malformed)


class EndpointAddress:
    """Where an instance listens and how to reach it.

    Attributes:
        path: socket path for `unix:`, else empty.
        defect: why no connection can be made, such as a CA file that cannot be read; else empty.
        hosts: addresses in order of preference.
        tls: context for `https://`, else None.
        server_name: name to verify and to send as SNI.
        authority: the value of Host when the client's is not kept.
    """

    __slots__ = ("authority", "defect", "hosts", "path", "port", "server_name", "tls")

    def __init__(
        self,
        *,
        hosts: tuple[str, ...] = (),
        port: int = 0,
        path: str = "",
        tls: ssl.SSLContext | None = None,
        server_name: str = "",
        authority: bytes = b"localhost",
        defect: str = "",
    ) -> None:
        self.defect = defect
        self.hosts = hosts
        self.port = port
        self.path = path
        self.tls = tls
        self.server_name = server_name
        self.authority = authority


class Endpoint:
    """The connections to one instance: a stack of idle ones, a cap, a bounded queue of requests that wait.

    Args:
        address: where to connect.
        max_connections: open connections at most.
        max_queue: requests that may wait for one.
        keepalive: seconds that an idle connection is kept.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        address: EndpointAddress,
        *,
        max_connections: int,
        max_queue: int,
        keepalive: float,
        connect_timeout: float,
    ) -> None:
        self.address = address
        self.max_connections = max_connections
        self.max_queue = max_queue
        self.keepalive = keepalive
        self.connect_timeout = connect_timeout
        self.open = 0
        self.closed = False
        self._loop = loop
        self._clock = clock
        self._idle: list[UpstreamConnection] = []
        self._waiting: deque[ConnectionUser] = deque()
        self._connecting: dict[ConnectionUser, asyncio.Task[None]] = {}

    def __repr__(self) -> str:
        return f"Endpoint(open={self.open}, idle={len(self._idle)}, waiting={len(self._waiting)})"

    def take(self, *, repeatable: bool) -> UpstreamConnection | None:
        """Return an idle connection, the most recently used first; None when a new one must be opened.

        A request that cannot be repeated gets none that has been idle for over a second: the instance may just be
        closing it.
        """
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.transport.is_closing():
                continue
            if not repeatable and self._clock() - connection.idle_since > _UNSAFE_IDLE:
                connection.close()
                continue
            return connection
        return None

    def request_connection(self, user: ConnectionUser) -> bool:
        """Open a connection for this user, or queue it; False when the queue is full."""
        if self.open < self.max_connections:
            self._open(user)
            return True
        if len(self._waiting) >= self.max_queue:
            return False
        self._waiting.append(user)
        if self._idle:
            self._idle.pop(0).close()  # who wants a connection of its own gets the room of one that nobody uses
        return True

    def is_waiting(self, user: ConnectionUser) -> bool:
        """Return whether this user waits for a connection to become free."""
        return user in self._waiting

    def forget(self, user: ConnectionUser) -> None:
        """Stop waiting on behalf of this user; a connection under way for it is given up."""
        task = self._connecting.pop(user, None)
        if task is not None:
            task.cancel()  # possibly before its first step, so that it can clean up nothing
            self.open -= 1
            self._serve_waiting()
        elif user in self._waiting:
            self._waiting.remove(user)

    def on_idle(self, connection: UpstreamConnection) -> None:
        """Take a connection back, to hand it to whoever waits or to keep it."""
        if self._waiting:
            self._waiting.popleft().on_connected(connection)
            return
        if self.closed or self.open > self.max_connections:
            connection.close()
            return
        connection.idle_since = self._clock()
        self._idle.append(connection)

    def on_closed(self, connection: UpstreamConnection) -> None:
        """Count a connection that is gone, and open one for whoever waits."""
        self.open -= 1
        if connection.user is None and connection in self._idle:
            self._idle.remove(connection)
        self._serve_waiting()

    def sweep(self, now: float) -> None:
        """Close connections that have been idle for too long; the oldest are at the bottom of the stack."""
        idle = self._idle
        expired = 0
        while expired < len(idle) and now - idle[expired].idle_since > self.keepalive:
            expired += 1
        if expired:
            old, self._idle = idle[:expired], idle[expired:]
            for connection in old:
                connection.close()

    def close(self) -> None:
        """Close what is idle; connections in use close when their response is complete."""
        self.closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _serve_waiting(self) -> None:
        while self._waiting and self.open < self.max_connections:
            self._open(self._waiting.popleft())

    def _open(self, user: ConnectionUser) -> None:
        self.open += 1
        self._connecting[user] = self._loop.create_task(self._connect(user))

    async def _connect(self, user: ConnectionUser) -> None:
        connection: UpstreamConnection | None = None
        reason, timed_out = "", False
        try:
            async with asyncio.timeout(self.connect_timeout):
                connection = await self._dial()
        except TimeoutError:
            reason, timed_out = f"no connection within {self.connect_timeout:g} s", True
        except (OSError, ValueError) as error:  # a name that is no host name raises UnicodeError
            reason = str(error) or type(error).__name__
        if self._connecting.get(user) is not asyncio.current_task():  # `forget` came first and gave the room back
            if connection is not None:
                connection.close()
            return
        del self._connecting[user]
        if connection is not None and not connection.lost:
            connection.counted = True  # from here on its loss is told through `on_closed`
        else:
            self.open -= 1
            self._serve_waiting()
        if connection is None:
            user.on_connect_failed(reason, timed_out=timed_out)
        elif connection.transport.is_closing():
            user.on_connect_failed("closed the connection at once", timed_out=False)
        else:
            user.on_connected(connection)

    async def _dial(self) -> UpstreamConnection:
        address = self.address
        if address.defect:
            raise OSError(address.defect)
        tls: dict[str, Any] = {}
        if address.tls is not None:
            tls = {"ssl": address.tls, "server_hostname": address.server_name}
        if address.path:
            _, connection = await self._loop.create_unix_connection(lambda: UpstreamConnection(self), address.path)
            return connection
        failure: OSError | None = None
        for host in address.hosts:
            try:
                _, connection = await self._loop.create_connection(
                    lambda: UpstreamConnection(self), host, address.port, **tls
                )
            except OSError as error:
                failure = error
            else:
                return connection
        raise failure or OSError(f"no address is known for {address.authority.decode('latin-1')}")
