"""The outermost layer of the admin API: nothing reaches a route unless it passed here."""

import asyncio
import ipaddress
import logging
import re
import secrets
import socket
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seawall.admin.access import Change
from seawall.admin.authentication import Authenticator
from seawall.admin.instruments import AdminCounters
from seawall.admin.problems import ProblemError

__all__ = ["LIVENESS", "MAX_BODY_BYTES", "MAX_IN_FLIGHT", "Guard", "HostRule"]

MAX_BODY_BYTES = 1_048_576
MAX_IN_FLIGHT = 64
"""Requests answered at once; liveness is not among them."""
BODY_TIMEOUT = 10.0
"""Seconds in which a request's body must have arrived."""

LIVENESS = "/health/live"

_PLAIN = re.compile(r"[a-z0-9_-]+")
_PRIVATE = frozenset({"internal", "local", "localhost", "svc"})
"""Last labels that the public DNS never delegates: RFC 6761, RFC 6762, ICANN's reservation of 2024, Kubernetes."""

_log = logging.getLogger("seawall.admin")


class HostRule:
    """Which `Host` a request may name: a defence against DNS rebinding.

    A page of a hostile site can point its own name at 127.0.0.1 and then reads this port as its own origin; but it
    cannot make the browser send another Host than that name. So taken are addresses, names that nobody can register
    (without a dot, such as a container's or a service's, and those under `localhost`, `local`, `internal` and `svc`),
    this machine's name and the names given; and no other.

    Args:
        names: further names, such as the one that the configuration listens on.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        own = (socket.gethostname(), *names)
        self._names = frozenset(name.lower().rstrip(".") for name in own if name)

    def allows(self, host: str) -> bool:
        """Return whether a Host field's value is acceptable; the port does not matter."""
        name = host.strip().lower()
        name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        name = name.rstrip(".")
        if name in self._names or (name and name.rpartition(".")[2] in _PRIVATE) or _PLAIN.fullmatch(name):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


class Guard:
    """ASGI middleware: request id, host, load, token, body, and the last word on every answer.

    Args:
        app: what is guarded; finds `identity`, `request_id` and `address` in its request state.
        open_paths: answered without a token; a token that is given there must still be valid, except for liveness.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        authenticator: Authenticator,
        counters: AdminCounters,
        hosts: HostRule,
        open_paths: frozenset[str],
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._counters = counters
        self._hosts = hosts
        self._open_paths = open_paths | {LIVENESS}
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        exchange = _Exchange(scope, send, self._counters)
        self._in_flight += 1
        try:
            inner = await self._admit(exchange.scope, receive)
            await self._app(exchange.scope, inner, exchange.send)
        except ProblemError as error:
            await exchange.refuse(error, receive)
        except Exception:  # noqa: BLE001 - the last resort: a problem for the client, the trace for the log
            _log.exception("request %s (%s %s) failed", exchange.request_id, scope["method"], scope["path"])
            if not exchange.started:
                await exchange.refuse(ProblemError(500, "The admin API failed; the log tells why."), receive)
        finally:
            self._in_flight -= 1

    async def _admit(self, scope: Scope, receive: Receive) -> Receive:
        headers = Headers(scope=scope)
        path: str = scope["path"]
        if scope["client"] is not None and not self._hosts.allows(headers.get("host", "")):
            raise ProblemError(
                421,
                f"The host {headers.get('host', '')!r} is not one of this admin API.",
                hint="call it by address, as localhost, or by the name in admin.listen",
            )
        if path != LIVENESS:
            if self._in_flight > MAX_IN_FLIGHT:
                raise ProblemError(503, "Too many requests at once.", code="overloaded", headers={"Retry-After": "1"})
            await self._authenticate(scope, headers)
        return await _buffered(headers, receive)

    async def _authenticate(self, scope: Scope, headers: Headers) -> None:
        fields = headers.getlist("authorization")
        if len(fields) > 1:
            raise ProblemError(400, "There is more than one Authorization field.")
        if not fields and scope["path"] in self._open_paths:
            return
        address = scope["state"]["address"]
        scope["state"]["identity"] = await self._authenticator.authenticate(fields[0] if fields else None, address)


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, send: Send, counters: AdminCounters) -> None:
        self.request_id = secrets.token_hex(8)
        self.started = False
        self._send = send
        self._counters = counters
        self._head = scope["method"] == "HEAD"
        self._method: str = scope["method"]
        client = scope.get("client")
        # A HEAD is answered as the GET that it asks about (RFC 9110 section 9.3.2), without the body.
        self.scope: Scope = {
            **scope,
            "client": client,
            "method": "GET" if self._head else scope["method"],
            "state": {
                "identity": None,
                "request_id": self.request_id,
                "address": client[0] if client else "unix",
            },
        }

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            change = self.scope["state"].get("change")
            if isinstance(change, Change):
                await change.settle(message["status"])
            self.started = True
            self._counters.answered(self._method, message["status"])
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self.request_id
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Cache-Control"] = "no-store"
            headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
        elif message["type"] == "http.response.body" and self._head:
            message = {**message, "body": b""}
        await self._send(message)

    async def refuse(self, error: ProblemError, receive: Receive) -> None:
        """Answer with a problem; an unread body is not waited for, so the connection ends."""
        if error.status in {408, 413}:
            error.headers["Connection"] = "close"
        await error.response(self.request_id)(self.scope, receive, self.send)


async def _buffered(headers: Headers, receive: Receive) -> Receive:
    """Take in the whole body, at most `MAX_BODY_BYTES`, and return a channel that gives it again."""
    length = headers.get("content-length")
    if length is not None and length.isdecimal() and int(length) > MAX_BODY_BYTES:
        raise _too_large()
    if not headers.get("transfer-encoding") and length in {None, "0"}:
        return receive
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    break
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > MAX_BODY_BYTES:
                    raise _too_large()
    except TimeoutError:
        raise ProblemError(408, f"The body did not arrive within {BODY_TIMEOUT:g} s.") from None
    if body:
        _check_media_type(headers.get("content-type", ""))
    return _replay(bytes(body), receive)


def _check_media_type(content_type: str) -> None:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json")):
        return
    raise ProblemError(
        415,
        f"A body of type {media_type!r} is not read here." if media_type else "The body has no Content-Type.",
        hint="send JSON with Content-Type: application/json",
        headers={"Accept": "application/json"},
    )


def _too_large() -> ProblemError:
    return ProblemError(413, f"The body is larger than {MAX_BODY_BYTES} bytes.")


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
