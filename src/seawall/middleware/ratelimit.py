"""Rate limits in an ASGI application: a middleware for all of it, and a decorator for single endpoints."""

import functools
import inspect
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any, ParamSpec, TypeVar

import msgspec

from seawall.core.errors import InvalidError, SeawallError
from seawall.core.identity import TrustedProxies
from seawall.limiter import AdaptiveRateLimiter, LimitContext, LimitResult
from seawall.systems.ratelimit.answers import fields_of, refusal_of

__all__ = ["SCOPE_KEY", "Identify", "RateLimitMiddleware", "limited"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

Identity = LimitContext | Mapping[str, Any] | None
Identify = Callable[[Scope], Identity | Awaitable[Identity]]
"""From a connection's scope to what is known of the caller: fields of `LimitContext`, such as `user` and `role`."""

P = ParamSpec("P")
R = TypeVar("R")

SCOPE_KEY = "seawall.ratelimit"
"""Where the application finds the `LimitResult` of the request in its scope."""

_EMPTY = LimitContext()
_REQUEST = "seawall_request"
_RESPONSE = "seawall_response"
_RELEASES = "seawall_releases"
_REQUEST_KEY = "seawall.request"
"""Key of the scope to what tells requests apart that one response answers."""
_TRY_AGAIN_LATER = 1013
"""WebSocket close code of the IANA registry for an overloaded or limiting server."""


class RateLimitMiddleware:
    """Refuse requests over their limits, and tell every response's reader what is left.

    A refused request is answered by 429, or 503 when load is shed, as RFC 9457 problem with `Retry-After`. Permits of
    requests in flight are held until the response has ended. What the application itself took to answer, and its
    5xx, are the limiter's measure of load.

    The path that rules compare is the one that the application sees, percent-decoded.

    Example:
        >>> async def app(scope, receive, send): ...
        >>> app = RateLimitMiddleware(app, AdaptiveRateLimiter())

    Args:
        app: the application.
        limiter: what decides; it may be shared by several middlewares and endpoints.
        identify: tells who calls, after the application's own authentication; None counts by address alone. It may be
            async. What it raises is raised.
        trusted_proxies: addresses and networks of the proxies whose `X-Forwarded-For` is believed, or the
            `TrustedProxies` themselves; nobody by default.
        clock: monotonic seconds, for measuring.

    Raises:
        ValueError: an entry of `trusted_proxies` is neither an address nor a network.

    Safe for concurrent requests of one event loop.
    """

    def __init__(
        self,
        app: ASGIApp,
        limiter: AdaptiveRateLimiter,
        *,
        identify: Identify | None = None,
        trusted_proxies: Iterable[str] | TrustedProxies = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.app = app
        self.limiter = limiter
        self._read = _ContextReader(limiter, identify, trusted_proxies)
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        result = await self.limiter.admit(await self._read(scope))
        scope[SCOPE_KEY] = result
        try:
            if not result.allowed:
                await _refuse(scope, receive, send, result, self.limiter.settings.headers)
            elif scope["type"] == "http":
                await self._serve(scope, receive, send, result)
            else:
                await self.app(scope, receive, send)
        finally:
            self.limiter.release(result)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, result: LimitResult) -> None:
        fields = fields_of(result, self.limiter.settings.headers)
        started = self._clock()
        answered = math.nan
        failed = True

        async def send_with_fields(message: Message) -> None:
            nonlocal answered, failed
            if message["type"] == "http.response.start":
                answered = self._clock()
                failed = message["status"] >= 500
                message = {**message, "headers": [*message.get("headers", ()), *fields]}
            await send(message)

        self.limiter.started()
        try:
            await self.app(scope, receive, send_with_fields)
        finally:
            ended = self._clock() if math.isnan(answered) else answered
            self.limiter.finished(ended - started, failed=failed)


def limited(
    limiter: AdaptiveRateLimiter,
    *,
    route: str = "",
    cost: float = 1.0,
    priority: int | None = None,
    identify: Identify | None = None,
    trusted_proxies: Iterable[str] | TrustedProxies = (),
) -> Callable[[Callable[P, Any]], Callable[..., Any]]:
    """Return a decorator that limits one endpoint of a FastAPI or Starlette application.

    It goes below the application's own decorator. A refused call is answered as by `RateLimitMiddleware`, and the
    endpoint does not run. Rules match it by `routes`, under the name given here. Permits of requests in flight are held
    until the response that it returns has been sent, streamed ones included; where it returns a value for FastAPI to
    turn into one, until then.

    Args:
        limiter: what decides. Where a middleware with the same limiter stands in front, both count.
        route: name for rules and keys; the function's name when empty.
        cost: requests that a call counts for.
        priority: tier from 0, critical, to 5, background; None lets the rules say.
        identify: as of `RateLimitMiddleware`.
        trusted_proxies: as of `RateLimitMiddleware`.

    Raises:
        SeawallError: the cost is negative, infinite or not a number; or, when it decorates one, the endpoint yields.
        ValueError: an entry of `trusted_proxies` is neither an address nor a network.
    """
    if not 0.0 <= cost < math.inf:
        raise SeawallError(f"an endpoint cannot cost {cost}", hint="Give a finite number, 0 or more.")
    read = _ContextReader(limiter, identify, trusted_proxies)

    def decorate(endpoint: Callable[P, Any]) -> Callable[..., Any]:
        if inspect.isasyncgenfunction(endpoint) or inspect.isgeneratorfunction(endpoint):
            raise SeawallError(
                "an endpoint that yields cannot be limited by a decorator",
                hint="Return a StreamingResponse, or let RateLimitMiddleware limit it.",
            )
        name = route or getattr(endpoint, "__name__", "")
        injected = _Injected(endpoint)

        @functools.wraps(endpoint)
        async def answer(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the endpoint takes and gives
            request, response = injected.take(args, kwargs)
            context = await read(request.scope)
            context = msgspec.structs.replace(context, route=name, cost=cost, priority=priority)
            result = await limiter.admit(context)
            request.scope[SCOPE_KEY] = result
            if not result.allowed:
                return _response(result, limiter.settings.headers, request.scope)
            release = functools.partial(limiter.release, result)
            held = False
            try:
                answered = await _call(endpoint, args, kwargs)
                held = result.holds and _hold(answered, release, request.scope)
            finally:
                if not held:
                    release()
            # FastAPI sends the fields of the response that it injects, unless the endpoint returns one of its own.
            target = answered if hasattr(answered, "raw_headers") else response
            if target is not None:
                target.raw_headers.extend(fields_of(result, limiter.settings.headers))
            return answered

        answer.__signature__ = injected.signature  # type: ignore[attr-defined]  # read by inspect.signature
        return answer

    return decorate


class _ContextReader:
    """From an ASGI scope to what the limiter wants to know."""

    def __init__(
        self, limiter: AdaptiveRateLimiter, identify: Identify | None, trusted: Iterable[str] | TrustedProxies
    ) -> None:
        self._limiter = limiter
        self._identify = identify
        self._proxies = trusted if isinstance(trusted, TrustedProxies) else TrustedProxies(trusted)

    async def __call__(self, scope: Scope) -> LimitContext:
        fields = scope.get("headers", ())
        peer = scope.get("client")
        wanted = self._limiter.header_names
        context = LimitContext(
            client=self._proxies.client(peer[0] if peer else "", fields),
            method=scope.get("method", "GET"),
            path=scope.get("path", "/"),
            headers=_pick(fields, wanted) if wanted else {},
        )
        if self._identify is None:
            return context
        found = self._identify(scope)
        known = await found if inspect.isawaitable(found) else found
        return context if known is None else _merged(context, known)


def _merged(context: LimitContext, known: LimitContext | Mapping[str, Any]) -> LimitContext:
    """Return the context with what the application knows; what it does not say stays."""
    if isinstance(known, LimitContext):
        empty = msgspec.structs.asdict(_EMPTY)
        known = {name: value for name, value in msgspec.structs.asdict(known).items() if value != empty[name]}
    try:
        return msgspec.convert({**msgspec.structs.asdict(context), **known}, LimitContext)
    except msgspec.ValidationError as error:
        raise InvalidError(
            f"what identify returned is refused: {error}",
            hint=f"Fields: {', '.join(LimitContext.__struct_fields__)}.",
        ) from error


def _pick(fields: Iterable[tuple[bytes, bytes]], wanted: frozenset[str]) -> dict[str, str]:
    """Return the first field of each wanted name."""
    found: dict[str, str] = {}
    for name, value in fields:
        text = name.decode("latin-1")
        if text in wanted:
            found.setdefault(text, value.decode("latin-1"))
    return found


async def _refuse(scope: Scope, receive: Receive, send: Send, result: LimitResult, families: Sequence[str]) -> None:
    status, fields, body = refusal_of(result, families)
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
        return
    await receive()  # the handshake must be taken before it can be refused
    if "websocket.http.response" in scope.get("extensions", {}):
        await send({"type": "websocket.http.response.start", "status": status, "headers": fields})
        await send({"type": "websocket.http.response.body", "body": body})
    else:
        await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})


def _response(result: LimitResult, families: Sequence[str], scope: Scope) -> Any:  # noqa: ANN401 - starlette is imported only here
    from starlette.responses import Response  # noqa: PLC0415 - an application that has endpoints has it

    status, fields, body = refusal_of(result, families)
    response = Response(b"" if scope["method"] == "HEAD" else body, status_code=status)
    response.raw_headers = [(name, value) for name, value in fields]
    return response


def _hold(response: Any, release: Callable[[], None], scope: Scope) -> bool:  # noqa: ANN401 - whatever the endpoint gives
    """Let a response call `release` once it answered this request, or could not; tell whether it is a response."""
    from starlette.responses import Response  # noqa: PLC0415 - as above

    if not isinstance(response, Response):
        return False
    kind: Any = type(response)
    if not hasattr(response, _RELEASES):  # else another limiter holds it, too, or it answers another request
        # Wrapped in another one it would be no StreamingResponse any more to whoever looks at it on its way.
        response.__class__ = _releasing(kind)
        setattr(response, _RELEASES, {})
    getattr(response, _RELEASES).setdefault(scope.setdefault(_REQUEST_KEY, object()), []).append(release)
    return True


@functools.cache
def _releasing(kind: Any) -> Any:  # noqa: ANN401 - a class of responses, and one of its kind
    class Releasing(kind):  # type: ignore[misc]
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            releases = getattr(self, _RELEASES).pop(scope.get(_REQUEST_KEY), [])

            async def send_and_release(message: Message) -> None:
                await send(message)
                if message["type"] == "http.response.body" and not message.get("more_body"):
                    release_all()  # background tasks come after it

            def release_all() -> None:
                while releases:
                    releases.pop()()

            try:
                await super().__call__(scope, receive, send_and_release)
            finally:
                release_all()

    return Releasing


async def _call(endpoint: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    if inspect.iscoroutinefunction(endpoint):
        return await endpoint(*args, **kwargs)
    from starlette.concurrency import run_in_threadpool  # noqa: PLC0415 - as above

    return await run_in_threadpool(endpoint, *args, **kwargs)


class _Injected:
    """The request and the response that FastAPI fills in, under the endpoint's own names where it has them.

    FastAPI fills one argument of each kind only. A Starlette endpoint is called with the request alone, whatever the
    signature says.
    """

    def __init__(self, endpoint: Callable[..., Any]) -> None:
        from starlette.requests import Request  # noqa: PLC0415 - as above
        from starlette.responses import Response  # noqa: PLC0415 - as above

        signature = inspect.signature(endpoint, eval_str=True)
        self._request = _argument(signature, Request)
        self._response = _argument(signature, Response)
        added = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind)
            for name, own, kind in ((_REQUEST, self._request, Request), (_RESPONSE, self._response, Response))
            if not own
        ]
        parameters = list(signature.parameters.values())
        at = next((at for at, one in enumerate(parameters) if one.kind is one.VAR_KEYWORD), len(parameters))
        self.signature = signature.replace(parameters=[*parameters[:at], *added, *parameters[at:]])

    def take(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        """Return request and response of a call, and take away what the endpoint did not ask for."""
        request = kwargs.get(self._request) if self._request else kwargs.pop(_REQUEST, None)
        response = kwargs.get(self._response) if self._response else kwargs.pop(_RESPONSE, None)
        if request is None:
            request = next(one for one in args if hasattr(one, "scope"))
        return request, response


def _argument(signature: inspect.Signature, kind: type) -> str:
    """Return the name of the argument that is annotated with a class or one of its kinds; empty when there is none."""
    for name, parameter in signature.parameters.items():
        if isinstance(parameter.annotation, type) and issubclass(parameter.annotation, kind):
            return name
    return ""
