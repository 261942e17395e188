"""Threat detection as ASGI middleware: what is held of a body is inspected, then the application streams all of it."""

import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from seawall.core.identity import TrustedProxies
from seawall.core.principal import Identity
from seawall.core.request import Request
from seawall.systems.threats.answers import answer_of
from seawall.systems.threats.model import Action
from seawall.systems.threats.ruling import Ruling
from seawall.threats import ThreatDetectionService

__all__ = ["ThreatMiddleware"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_TAG = b"x-seawall-threat"
_POLICY_VIOLATION = 1008


class ThreatMiddleware:
    """Refuse what attacks an ASGI application.

    A body is held back up to `hold_bytes` and inspected; then the application receives all of it, the rest as it
    comes. Refused requests are answered by 403 (429 in a flood), as RFC 9457 problem, or by the page of a challenge. A
    request that is passed on with a doubt carries `x-seawall-threat`; one that a client sent is taken off.

    Args:
        app: the application.
        service: that judges; it may be shared by several middlewares.
        user: tells who is signed in, from the scope; for bans of accounts.
        trusted_proxies: addresses and networks of the proxies whose `X-Forwarded-For` is believed, or the
            `TrustedProxies` themselves; nobody by default.
        clock: monotonic seconds, for measuring.

    Raises:
        ValueError: an entry of `trusted_proxies` is neither an address nor a network.
    """

    def __init__(
        self,
        app: ASGIApp,
        service: ThreatDetectionService,
        *,
        user: Callable[[Scope], str] | None = None,
        trusted_proxies: Iterable[str] | TrustedProxies = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.app = app
        self.service = service
        self._user = user
        self._proxies = (
            trusted_proxies if isinstance(trusted_proxies, TrustedProxies) else TrustedProxies(trusted_proxies)
        )
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        request = self._request(scope)
        ruling = self.service.admit(request)
        if ruling.action is Action.ALLOW and not ruling.trusted:
            held = await _Held.read(receive, self.service.guard.holds(request, _length(scope)))
            receive = held.replay
            ruling = self.service.look_into(request, held.body, whole=held.whole)
        else:
            held = _Held(receive)
        if ruling.action in {Action.BLOCK, Action.CHALLENGE}:
            await self._refuse(scope, receive, send, request, ruling)
            return
        await self._serve(_tagged(scope, ruling), receive, send, request, held)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, request: Request, held: "_Held") -> None:
        started = self._clock()
        status, seconds = 500, 0.0

        async def watch(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status, seconds = message["status"], self._clock() - started
            await send(message)

        try:
            await self.app(scope, receive, watch)
        finally:
            if scope["type"] == "http":
                account = self.service.guard.account(request, held.body)
                self.service.ended(request, status, seconds=seconds, account=account)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, request: Request, ruling: Ruling) -> None:
        accept = request.header(b"accept") or b""
        answer = answer_of(ruling, secure=request.scheme in {"https", "wss"}, wants_page=b"text/html" in accept)
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": answer.status, "headers": list(answer.fields)})
            body = b"" if request.method == "HEAD" else answer.body
            await send({"type": "http.response.body", "body": body})
        else:
            await receive()  # the handshake must be taken before it can be refused
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        self.service.ended(request, answer.status)

    def _request(self, scope: Scope) -> Request:
        fields = [(name.lower(), value) for name, value in scope.get("headers", ())]
        peer = scope.get("client")
        address = peer[0] if peer else ""
        query = scope.get("query_string", b"")
        path = scope.get("raw_path") or scope.get("path", "/").encode()
        request = Request(
            scope.get("method", "GET"),
            path + (b"?" + query if query else b""),
            fields,
            host=next((value.lower() for name, value in fields if name == b"host"), b""),
            scheme=scope.get("scheme", "http"),
            peer=address,
            client=self._proxies.client(address, fields),
        )
        if self._user is not None:
            request.identity = Identity(user=self._user(scope))
        return request


class _Held:
    """The part of a body that was read before the application sees it."""

    def __init__(self, receive: Receive) -> None:
        self.body = b""
        self.whole = True
        self._receive = receive
        self._messages: list[Message] = []

    @classmethod
    async def read(cls, receive: Receive, limit: int) -> "_Held":
        """Read until the body is complete, or more than `limit` bytes are here; nothing when that is 0."""
        held = cls(receive)
        parts: list[bytes] = []
        size = 0
        more = limit > 0
        while more and size < limit:
            message = await receive()
            held._messages.append(message)
            part = message.get("body", b"") if message["type"] == "http.request" else b""
            parts.append(part)
            size += len(part)
            more = bool(message.get("more_body", False))
        held.body = b"".join(parts)
        held.whole = not more
        return held

    async def replay(self) -> Message:
        """Give what was read, message by message, then what comes."""
        if self._messages:
            return self._messages.pop(0)
        return await self._receive()


def _length(scope: Scope) -> int:
    """Return the length of the body; -1 when it is not known, 0 when there is none."""
    if scope["type"] != "http":
        return 0
    for name, value in scope.get("headers", ()):
        lowered = name.lower()
        if lowered == b"content-length":
            return int(value) if value.isdigit() else -1
        if lowered == b"transfer-encoding":
            return -1
    # HTTP/2 has bodies without either field, but not with these methods.
    return 0 if scope.get("method") in {"GET", "HEAD", "OPTIONS", "DELETE", "TRACE"} else -1


def _tagged(scope: Scope, ruling: Ruling) -> Scope:
    headers = [field for field in scope.get("headers", ()) if field[0].lower() != _TAG]
    if ruling.tag:
        headers.append((_TAG, ruling.tag.encode("latin-1", "replace")))
    return {**scope, "headers": headers}
