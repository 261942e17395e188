"""The client's side of the data plane; one state machine in one file: a connection's callbacks share all its state."""

import asyncio
import contextlib
import socket
import struct
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
_RESET = struct.pack("ii", 1, 0)
"""`SO_LINGER` on, for 0 seconds: closing sends a reset."""
_UNWELCOME = 1.0
"""Seconds for a head from whoever is banned: it is told so, but it holds no connection."""
_LINGER = 2.0
"""Seconds that a connection is read and thrown away after its last answer, so that a reset does not destroy the answer;
counted anew as long as the client takes more of it. RFC 9112 section 9.6."""


class ClientConnection(asyncio.Protocol):
    """One HTTP/1.1 or HTTP/1.0 connection from a client."""

    __slots__ = (
        "_advancing",
        "_closing",
        "_cut",
        "_deadline",
        "_deaf",
        "_exchange",
        "_failure",
        "_head_bytes",
        "_headers",
        "_in_head",
        "_parser",
        "_pending",
        "_progress",
        "_read_bytes",
        "_receiving",
        "_requests",
        "_runtime",
        "_target",
        "_transport",
        "_unsent",
        "_unwelcome",
        "_write_paused",
        "held",
        "keep_alive",
        "modern",
        "peer",
    )

    def __init__(self, runtime: "Runtime") -> None:
        self.modern = True
        self.keep_alive = True
        self.held = False
        self.peer = ""
        self._runtime = runtime
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: list[Header] = []
        self._in_head = False
        self._cut = False
        """The parser is leaving out the body of a request that asks for an upgrade."""
        self._progress = False
        """Whether the current read brought more than a part of a head, of a chunk's frame or of trailers."""
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
        self._closing = False
        self._unsent = 0
        self._advancing = False
        self._unwelcome = False
        self._write_paused = False
        self._requests = 0
        self._deadline = 0.0

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        runtime = self._runtime
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) else ""
        if self.peer and not self._speaks_for_others():
            self._unwelcome = runtime.pipeline.refuses(self.peer)
        self._deadline = runtime.now + self._head_time()
        if len(runtime.connections) >= runtime.settings.max_connections:
            self._refuse(Problem(503, "too-many-connections", "this gateway is at its limit of client connections", 1))
        runtime.connections.add(self)

    def data_received(self, data: bytes) -> None:
        rest: bytes | memoryview = data
        while not self._deaf:
            self._progress = False
            self._read_bytes = len(rest)
            try:
                self._parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                # The gateway does not switch protocols: Upgrade is a wish that may be ignored (RFC 9110 section 7.8).
                self._renew_parser()
                rest = memoryview(rest)[upgrade.args[0] :]
                if rest:
                    continue
                return
            except httptools.HttpParserError as error:
                self._refuse_malformed(data, error)
                return
            if not self._progress:
                self._count_silent_bytes(len(rest))
            return

    def _renew_parser(self) -> None:
        """Go on after a request that asked for an upgrade: with its body, if it has one, else with the next request.

        The parser takes what follows such a head for another protocol, body or not. The body is put back by a head
        that announces the same body and nothing else.
        """
        self._parser = httptools.HttpRequestParser(self)
        if self._cut and self._receiving is not None:
            self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % self._receiving.body_field)

    def _count_silent_bytes(self, size: int) -> None:
        """Bound what a client sends without getting anywhere: the parser keeps partial heads and trailers in memory."""
        self._head_bytes += size
        if self._head_bytes > self._runtime.settings.max_header_bytes and not self._deaf:
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
        elif not self._closing and not self._advancing:
            self._deadline = self._next_deadline()
            if self._pending or self._failure is not None:
                self._advance()

    # httptools' side

    def on_message_begin(self) -> None:
        if self._deaf:
            return
        self._headers = []
        self._target = b""
        self._head_bytes = 0
        self._in_head = True
        self._progress = True
        self._deadline = self._runtime.now + self._head_time()

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # later ones are trailers, which end here
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._deaf:
            return
        if self._cut:  # the head that `_renew_parser` made up
            self._cut = False
            return
        runtime = self._runtime
        settings = runtime.settings
        parser = self._parser
        headers = self._headers
        problem = self._check_limits()
        self._head_bytes = 0
        self._progress = True
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
        if head.dropped and head.length != NO_BODY:
            self._cut = parser.should_upgrade()
        self._take(self._make_request(method, head), head, version == "1.1", keep_alive)

    def on_body(self, data: bytes) -> None:
        if self._receiving is not None and not self._deaf:
            self._head_bytes = 0
            self._progress = True
            self._receiving.on_request_body(data)

    def on_message_complete(self) -> None:
        if self._cut:
            return
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
        self.held = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take bytes from the client again, unless requests of it are still pending."""
        self.held = False
        if not self._pending:
            self._transport.resume_reading()

    def refuse_body(self, problem: Problem) -> None:
        """Refuse the request whose body is coming, in its turn."""
        self._refuse(problem)

    def abort(self) -> None:
        """Break the connection at once, unsent bytes included, by a reset.

        An orderly end would make an answer look whole whose only end is that of its connection.
        """
        self._deaf = True
        transport = self._transport
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            with contextlib.suppress(OSError):  # closed already
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()

    def on_exchange_end(self) -> None:
        """Go on to the next request, or close."""
        self._exchange = None
        if not self.keep_alive:
            self._pending.clear()
            self._close(linger=True)
            return
        if self.held:
            self.resume_reading()
        self._deadline = self._next_deadline()
        if not self._advancing and (self._pending or self._failure is not None):
            self._advance()

    # the runtime's side

    def sweep(self, now: float) -> None:
        """Act on deadlines that have passed; called every 100 ms."""
        exchange = self._exchange
        if exchange is not None:
            exchange.sweep(now)
        elif now > self._deadline:
            self._expire(now)

    def on_drain(self) -> None:
        """Close when idle; otherwise answer what is under way and then close."""
        self.keep_alive = False
        if self._exchange is None and not self._in_head:
            self._close(linger=False)

    # inside

    def _next_deadline(self) -> float:
        """Return until when a client without a request under way may go on as it does."""
        runtime = self._runtime
        if self._write_paused:
            return runtime.now + runtime.settings.body_timeout_ms / 1000
        return runtime.now + (self._head_time() if self._in_head else runtime.keepalive_timeout)

    def _head_time(self) -> float:
        """Return the seconds that a client has for a head; whoever is refused anyhow need not be waited for."""
        limit = self._runtime.header_timeout
        return min(limit, _UNWELCOME) if self._unwelcome else limit

    def _speaks_for_others(self) -> bool:
        trusted = self._runtime.forwarding.trusted
        return bool(trusted) and trusted.trusts(self.peer)

    def _tell_slow(self, how: str) -> None:
        # What a proxy's client holds up, the proxy holds up.
        if not self._speaks_for_others():
            self._runtime.pipeline.on_slow(self.peer, how)

    def _expire(self, now: float) -> None:
        if self._closing:
            unsent = self._transport.get_write_buffer_size()
            if unsent < self._unsent:
                self._unsent = unsent
                self._deadline = now + _LINGER
            elif unsent:
                self.abort()
            else:
                self._transport.abort()
        elif self._write_paused:
            self._tell_slow("read")
            self.abort()  # it asks but does not take the answers
        elif self._in_head:
            self._tell_slow("head")
            self._refuse(Problem(408, "request-timeout", "the request head did not come in time"))
        else:
            self._close(linger=False)

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

    def _take(self, request: Request, head: RequestHead, modern: bool, keep_alive: bool) -> None:  # noqa: FBT001 - internal, and called for every request
        exchange = Exchange(self._runtime, self, request, head)
        if head.length == NO_BODY:
            exchange.request_complete = True
        self._receiving = exchange
        if self._exchange is None and not self._pending and not self._advancing and not self._write_paused:
            self._begin(exchange, modern, keep_alive)
            return
        full = len(self._pending) + 1 >= _MAX_PIPELINED
        self._pending.append((exchange, modern, keep_alive and not full))
        self._transport.pause_reading()

    def _begin(self, exchange: Exchange, modern: bool, keep_alive: bool) -> None:  # noqa: FBT001 - internal, and called for every request
        self._exchange = exchange
        self.modern = modern
        self.keep_alive = keep_alive and not self._runtime.draining
        exchange.start()

    def _advance(self) -> None:
        """Start pending requests until one waits for its upstream; a loop, since refusals end at once.

        None is started while the client takes no answers: they would pile up.
        """
        self._advancing = True
        while self._pending and self._exchange is None and not self._write_paused:
            exchange, modern, keep_alive = self._pending.popleft()
            self._begin(exchange, modern, keep_alive)
        self._advancing = False
        if self._closing or self._transport.is_closing():
            return
        if not self._pending and not self.held:
            self._transport.resume_reading()
        if self._exchange is None and not self._pending and self._failure is not None:
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
        what = "request head is" if self._receiving is None else "trailers or chunk extensions are"
        return Problem(431, "head-too-large", f"the {what} larger than {limit} bytes")

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
            receiving.reject(problem)
            return
        if receiving is not None:
            self._pending.pop()  # the last of them: only the newest request's body can be coming
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
        transport = self._transport
        if self._closing or transport.is_closing():
            return
        self._closing = True
        self._deadline = self._runtime.now + _LINGER
        self._unsent = transport.get_write_buffer_size()
        if linger and transport.can_write_eof():
            transport.write_eof()
            transport.resume_reading()
        else:
            transport.close()
