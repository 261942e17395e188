"""The client's side of the data plane: one protocol object per connection, requests answered in order."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, cast

import httptools

from seawall.core.request import Header, Request
from seawall.gateway.exchange import Exchange
from seawall.gateway.framing import NO_BODY, RequestHead, read_request_head, routing_path
from seawall.gateway.problem import Problem, problem_response

if TYPE_CHECKING:
    from seawall.gateway.runtime import Runtime

__all__ = ["ClientConnection"]

_MAX_PIPELINED = 256
"""Requests taken from one connection before the first is answered; what follows is dropped and the connection closed
after the last answer, which RFC 9112 section 9.3.2 obliges a pipelining client to cope with."""
_LINGER = 2.0
"""Seconds that a connection is read and thrown away after its last answer, so that a reset does not destroy the answer."""


class ClientConnection(asyncio.Protocol):
    """One HTTP/1.1 or HTTP/1.0 connection from a client."""

    __slots__ = (
        "_advancing",
        "_began",
        "_deadline",
        "_deaf",
        "_exchange",
        "_failure",
        "_head_bytes",
        "_headers",
        "_in_head",
        "_lingering",
        "_parser",
        "_pending",
        "_read_bytes",
        "_receiving",
        "_requests",
        "_runtime",
        "_target",
        "_transport",
        "_write_paused",
        "keep_alive",
        "modern",
        "peer",
    )

    def __init__(self, runtime: "Runtime") -> None:
        self.modern = True
        self.keep_alive = True
        self.peer = ""
        self._runtime = runtime
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: list[Header] = []
        self._in_head = False
        self._began = False
        self._head_bytes = 0
        self._read_bytes = 0
        self._exchange: Exchange | None = None
        """The request that is being answered."""
        self._receiving: Exchange | None = None
        """The request whose body is coming: the one being answered or the last of those pending."""
        self._pending: deque[tuple[Exchange, bool, bool]] = deque()
        """Requests that wait for their turn, with `modern` and `keep_alive` as they will be then."""
        self._failure: Problem | None = None
        """A refusal that waits until the answers before it are sent."""
        self._deaf = False
        """Nothing more is taken from this client."""
        self._lingering = False
        self._advancing = False
        self._write_paused = False
        self._requests = 0
        self._deadline = 0.0

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        runtime = self._runtime
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) else ""
        self._deadline = runtime.now + runtime.header_timeout
        if len(runtime.connections) >= runtime.settings.max_connections:
            self._refuse(Problem(503, "too-many-connections", "this gateway is at its limit of client connections", 1))
        runtime.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._began = False
        self._read_bytes = len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # The gateway does not switch protocols: Upgrade is a wish that may be ignored (RFC 9110 section 7.8).
            self._parser = httptools.HttpRequestParser(self)
            rest = data[upgrade.args[0] :]
            if rest:
                self.data_received(rest)
            return
        except httptools.HttpParserError as error:
            self._refuse_malformed(data, error)
            return
        if self._in_head and not self._deaf:
            if not self._began:
                self._head_bytes += len(data)
            if self._head_bytes > self._runtime.settings.max_header_bytes:
                self._refuse(self._head_too_large())

    def eof_received(self) -> bool:
        return False  # a client that closes its side no longer waits: RFC 9112 section 9.6

    def connection_lost(self, exc: Exception | None) -> None:
        self._runtime.connections.discard(self)
        self._deaf = True
        self._pending.clear()
        exchange, self._exchange, self._receiving = self._exchange, None, None
        if exchange is not None:
            exchange.abandon()

    def pause_writing(self) -> None:
        self._write_paused = True
        if self._exchange is not None:
            self._exchange.on_client_paused()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._exchange is not None:
            self._exchange.on_client_resumed()

    # httptools' side

    def on_message_begin(self) -> None:
        self._headers = []
        self._target = b""
        self._head_bytes = 0
        self._in_head = True
        self._began = True
        self._deadline = self._runtime.now + self._runtime.header_timeout

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # later ones are trailers, which end here
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._deaf:
            return
        runtime = self._runtime
        settings = runtime.settings
        parser = self._parser
        headers = self._headers
        problem = self._check_limits()
        if problem is not None:
            self._refuse(problem)
            return
        method = parser.get_method().decode("ascii")
        version = parser.get_http_version()
        head = read_request_head(method, self._target, version, headers)
        if isinstance(head, Problem):
            self._refuse(head)
            return
        if settings.max_body_bytes and head.length > settings.max_body_bytes:
            self._refuse(Problem(413, "body-too-large", f"the body is larger than {settings.max_body_bytes} bytes"))
            return
        self._requests += 1
        keep_alive = (
            parser.should_keep_alive()
            and not runtime.draining
            and self._requests != settings.max_requests_per_connection
        )
        self._take(self._make_request(method, head), head, version == "1.1", keep_alive)

    def on_body(self, data: bytes) -> None:
        if self._receiving is not None and not self._deaf:
            self._receiving.on_request_body(data)

    def on_message_complete(self) -> None:
        exchange, self._receiving = self._receiving, None
        if exchange is not None and not self._deaf:
            if not exchange.request_complete:
                exchange.on_request_end()
            last = self._pending[-1][2] if self._pending else self.keep_alive
            if not last:
                self._deaf = True

    # the exchange's side

    def write(self, data: bytes) -> None:
        """Send bytes to the client."""
        self._transport.write(data)

    def pause_reading(self) -> None:
        """Take no more bytes from the client for now; harmless when repeated."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take bytes from the client again, unless requests of it are still pending."""
        if not self._pending:
            self._transport.resume_reading()

    def abort(self) -> None:
        """Break the connection at once, unsent bytes included."""
        self._deaf = True
        self._transport.abort()

    def on_exchange_end(self) -> None:
        """Go on to the next request, or close."""
        unread = self._receiving is self._exchange and self._receiving is not None
        self._exchange = None
        if not self.keep_alive:
            self._pending.clear()
            self._close(linger=unread)
            return
        self._deadline = self._runtime.now + self._runtime.keepalive_timeout
        if not self._advancing and (self._pending or self._failure is not None):
            self._advance()

    # the runtime's side

    def sweep(self, now: float) -> None:
        """Act on deadlines that have passed; called every 100 ms."""
        exchange = self._exchange
        if exchange is not None:
            exchange.sweep(now)
        elif now > self._deadline:
            if self._in_head and not self._lingering:
                self._refuse(Problem(408, "request-timeout", "the request head did not come in time"))
            elif self._lingering:
                self._transport.abort()
            else:
                self._close(linger=False)

    def on_drain(self) -> None:
        """Close when idle; otherwise answer what is under way and then close."""
        self.keep_alive = False
        if self._exchange is None and not self._in_head:
            self._close(linger=False)

    # inside

    def _make_request(self, method: str, head: RequestHead) -> Request:
        runtime = self._runtime
        request = Request(
            method,
            head.target,
            self._headers,
            host=head.host,
            peer=self.peer,
            received_at=runtime.monotonic(),
        )
        path = request.path
        if b"/." in path or b"//" in path or b"%" in path:
            request.path = routing_path(path)
        forwarding = runtime.forwarding
        if forwarding.trusted:
            request.client = forwarding.trusted.client(self.peer, self._headers)
        request.request_id = runtime.request_id(request)
        return request

    def _take(self, request: Request, head: RequestHead, modern: bool, keep_alive: bool) -> None:  # noqa: FBT001 - internal
        exchange = Exchange(self._runtime, self, request, head)
        if head.length == NO_BODY:
            exchange.request_complete = True
        self._receiving = exchange
        if self._exchange is None and not self._pending and not self._advancing:
            self._begin(exchange, modern, keep_alive)
            return
        full = len(self._pending) + 1 >= _MAX_PIPELINED
        self._pending.append((exchange, modern, keep_alive and not full))
        self._transport.pause_reading()

    def _begin(self, exchange: Exchange, modern: bool, keep_alive: bool) -> None:  # noqa: FBT001 - internal
        self._exchange = exchange
        self.modern = modern
        self.keep_alive = keep_alive and not self._runtime.draining
        if self._write_paused:
            exchange.on_client_paused()
        exchange.start()

    def _advance(self) -> None:
        """Start pending requests until one waits for its upstream; a loop, since refusals end at once."""
        self._advancing = True
        while self._pending and self._exchange is None:
            exchange, modern, keep_alive = self._pending.popleft()
            self._begin(exchange, modern, keep_alive)
        self._advancing = False
        if self._transport.is_closing() or self._lingering:
            return
        if not self._pending:
            self._transport.resume_reading()
        if self._exchange is None and self._failure is not None:
            self._answer_failure()

    def _check_limits(self) -> Problem | None:
        settings = self._runtime.settings
        headers = self._headers
        if len(self._target) > settings.max_target_bytes:
            return Problem(
                414, "target-too-long", f"the request target is longer than {settings.max_target_bytes} bytes"
            )
        if len(headers) > settings.max_headers:
            return Problem(431, "too-many-fields", f"the request has more than {settings.max_headers} fields")
        if (
            self._head_bytes + self._read_bytes > settings.max_header_bytes
            and sum(len(name) + len(value) + 4 for name, value in headers) > settings.max_header_bytes
        ):
            return self._head_too_large()
        return None

    def _head_too_large(self) -> Problem:
        limit = self._runtime.settings.max_header_bytes
        return Problem(431, "head-too-large", f"the request head is larger than {limit} bytes")

    def _refuse_malformed(self, data: bytes, error: httptools.HttpParserError) -> None:
        if self._deaf:
            return
        if data.startswith(b"PRI * HTTP/2"):
            self._refuse(Problem(505, "http-version-not-supported", "HTTP/2 is not spoken on this port; use HTTP/1.1"))
        elif isinstance(error, httptools.HttpParserInvalidMethodError):
            self._refuse(Problem(501, "method-not-implemented", "the method is not known"))
        elif isinstance(error, httptools.HttpParserCallbackError):
            raise error  # a defect of ours must not pass for the client's
        else:
            self._refuse(Problem(400, "bad-request", f"the request is malformed: {error}"))

    def _refuse(self, problem: Problem) -> None:
        """Answer with a problem once the answers before it are sent, and close; nothing more is read."""
        self._deaf = True
        receiving, self._receiving = self._receiving, None
        if receiving is not None and receiving is self._exchange:
            self._receiving = receiving
            receiving.reject(problem)
            return
        if receiving is not None:
            self._pending.pop()
        self._failure = problem
        if self._exchange is None and not self._pending:
            self._answer_failure()

    def _answer_failure(self) -> None:
        problem, self._failure = self._failure, None
        if problem is not None:
            self._transport.write(problem_response(problem, self._runtime.new_request_id(), close=True))
            self._close(linger=True)

    def _close(self, *, linger: bool) -> None:
        self._deaf = True
        if self._transport.is_closing() or self._lingering:
            return
        if linger and self._transport.can_write_eof():
            self._lingering = True
            self._deadline = self._runtime.now + _LINGER
            self._transport.write_eof()
            self._transport.resume_reading()
        else:
            self._transport.close()
