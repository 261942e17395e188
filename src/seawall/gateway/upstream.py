"""A connection to an upstream instance: its parser, its user, and whether it may be used again."""

import asyncio
import ssl
from typing import Protocol, cast

import httptools

from seawall.core.request import Header
from seawall.gateway.framing import CHUNKED, NO_BODY

__all__ = ["UNTIL_CLOSE", "ConnectionOwner", "ConnectionUser", "EndpointAddress", "UpstreamConnection"]

UNTIL_CLOSE = -2
"""Body length of a response that ends with its connection."""

_MAX_RESPONSE_HEAD = 65_536


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

    def is_same_place(self, other: "EndpointAddress") -> bool:
        """Return whether connections made for one may serve the other; the order of the hosts is no matter."""
        return (
            self.tls is other.tls
            and (self.port, self.path, self.server_name) == (other.port, other.path, other.server_name)
            and (self.hosts == other.hosts or set(self.hosts) == set(other.hosts))
        )


class ConnectionOwner(Protocol):
    """Where a connection comes from and goes back to."""

    @property
    def address(self) -> EndpointAddress:
        """Where the instance listens now."""

    @property
    def generation(self) -> int:
        """How often the instance has moved: connections of an earlier generation lead to where it was."""

    def on_idle(self, connection: "UpstreamConnection") -> None:
        """Take the connection back, for whoever wants one next."""

    def on_closed(self, connection: "UpstreamConnection") -> None:
        """Take note that the connection is gone."""


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
        "generation",
        "head_only",
        "idle_since",
        "keep",
        "lost",
        "received",
        "reused",
        "transport",
        "user",
    )

    def __init__(self, endpoint: ConnectionOwner, generation: int | None = None) -> None:
        self.endpoint = endpoint
        self.generation = endpoint.generation if generation is None else generation
        """The endpoint's at the time the connection was begun."""
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

    def on_headers_complete(self) -> None:  # noqa: C901, PLR0912 - every case of RFC 9112 section 6.3 at once
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
        elif self.transport.get_write_buffer_size():
            self.transport.abort()  # an orderly close would wait for the instance to take what it no longer wants
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
