"""Who calls, in an ASGI application: the gateway's own identity system around it, keys and rotation included."""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from seawall.adapters.jwks import fetch_keys
from seawall.adapters.jwt import open_token_keys
from seawall.config.keypath import key_path
from seawall.config.loader import load
from seawall.config.problems import Translator
from seawall.control.tree import Settings
from seawall.core.clock import Clock, SystemClock
from seawall.core.errors import ConfigurationError
from seawall.core.identity import TrustedProxies
from seawall.core.principal import ANONYMOUS, Identity
from seawall.core.request import Request
from seawall.core.system import ControllerContext
from seawall.state.open import open_store
from seawall.state.store import StateStore
from seawall.systems.identity.answers import refusal_of
from seawall.systems.identity.controller import IdentityController
from seawall.systems.identity.engine import IdentityEngine
from seawall.systems.identity.model import IdentityRefusal
from seawall.systems.identity.settings import IdentitySettings

__all__ = ["SCOPE_KEY", "IdentityMiddleware", "caller_of"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

Config = IdentitySettings | Mapping[str, Any] | str | os.PathLike[str]

SCOPE_KEY = "seawall.identity"
"""Where the application finds the `Identity` of the caller in its scope."""

_POLICY_VIOLATION = 1008
"""WebSocket close code of RFC 6455 section 7.4.1."""


def caller_of(scope: Mapping[str, Any]) -> dict[str, str] | None:
    """Return what `RateLimitMiddleware(identify=caller_of)` wants to know; None for an anonymous caller."""
    identity = scope.get(SCOPE_KEY, ANONYMOUS)
    if identity == ANONYMOUS:
        return None
    return {"user": identity.user, "tenant": identity.tenant, "role": identity.role, "api_key": identity.api_key}


class IdentityMiddleware:
    """Tell an application who calls, and refuse invalid credentials with 401 before it is asked.

    The caller is in `scope["seawall.identity"]`. Fields that say who calls are taken out of the scope unless a trusted
    proxy wrote them, as the gateway does.

    Example:
        >>> async def app(scope, receive, send): ...
        >>> app = IdentityMiddleware(app, {"api_keys": {"enabled": True}}, store="sqlite:////var/lib/app/keys.sqlite")

    Args:
        app: the application.
        config: an `[identity]` table as a mapping; or its settings; or the path of a `seawall.toml`, read with the
            environment as the gateway reads it.
        store: where API keys are, as `state.url` names it, or an open store, which is not closed here. One in memory
            forgets keys at the end of the process.
        trusted_proxies: addresses and networks of the proxies whose word counts, or the `TrustedProxies` themselves;
            nobody by default.
        clock: time; the machine's by default.

    Raises:
        ConfigurationError: the configuration or the store's url is refused.
        ValueError: an entry of `trusted_proxies` is neither an address nor a network.

    It starts with the application's lifespan, or with the first request where the server has none, and raises there
    what the gateway would not start with: a file without keys, a store that is away. For one event loop.
    """

    def __init__(
        self,
        app: ASGIApp,
        config: Config,
        *,
        store: str | StateStore = "memory://",
        trusted_proxies: Iterable[str] | TrustedProxies = (),
        clock: Clock | None = None,
    ) -> None:
        self.app = app
        self.clock: Clock = clock or SystemClock()
        self._own = isinstance(store, str)
        self._store: StateStore = open_store(store) if isinstance(store, str) else store
        self._engine = IdentityEngine(open_token_keys)
        self._engine.trusted = (
            trusted_proxies if isinstance(trusted_proxies, TrustedProxies) else TrustedProxies(trusted_proxies)
        )
        self.controller = IdentityController(
            ControllerContext(
                settings=_settings(config),
                store=self._store,
                clock=self.clock,
                rng=random.Random(),  # noqa: S311 - spreads fetches, keeps no secret
                publish=self._take,
                token_keys=open_token_keys,
                fetch_keys=fetch_keys,
            )
        )
        """Makes and revokes keys, and tells what is known: `perform`, `status` and `health`."""
        self._started = False
        self._starting = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        if not self._started:
            await self.start()
        request = _request_of(scope)
        found = self._engine.identify(request, self.clock.wall())
        self._report()
        if isinstance(found, IdentityRefusal):
            await _refuse(scope, receive, send, found)
            return
        request.identity = found
        changes: dict[str, Any] = {SCOPE_KEY: found}
        if self._engine.rewrites:
            dropped, added = self._engine.upstream_fields(request)
            changes["headers"] = [field for field in request.headers if field[0] not in dropped] + list(added)
        await self.app({**scope, **changes}, receive, send)

    async def start(self) -> None:
        """Read keys and begin to follow them; done by the first request where nobody did before.

        Raises:
            StateUnavailableError: the store is away.
            ConfigurationError: a file with keys cannot be used, or a package that is needed is missing.
        """
        async with self._starting:
            if not self._started:
                await self.controller.start()
                self._started = True

    async def stop(self) -> None:
        """Follow nothing any more, and close the store where it was opened here."""
        async with self._starting:
            if self._started:
                self._started = False
                await self.controller.stop()
            if self._own:
                await self._store.close()

    def identify(self, scope: Scope) -> Identity | IdentityRefusal:
        """Return who makes a request, or why it is not let in; for applications that ask for themselves."""
        return self._engine.identify(_request_of(scope), self.clock.wall())

    def _take(self, snapshot: Any) -> None:  # noqa: ANN401 - the controller publishes nothing else
        self._engine.apply(snapshot)

    def _report(self) -> None:
        report = self._engine.report(full=False)
        if report is not None:
            self.controller.on_report(("in-app", os.getpid()), report)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start before the application does, stop after it."""

        async def begun() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.start()
            return message

        try:
            await self.app(scope, begun, send)
        finally:
            if self._started:  # else the application knows no lifespan, and requests are to come
                await self.stop()


def _settings(config: Config) -> IdentitySettings:
    if isinstance(config, IdentitySettings):
        return config
    if not isinstance(config, Mapping):
        return load(Settings, file=Path(config), environ=os.environ, overrides={}).settings.identity
    try:
        return IdentitySettings.model_validate(config)
    except ValidationError as error:
        problems = tuple(
            f"{key_path(problem.path)}: {problem.text.replace('{other}', key_path(problem.other))}"
            for problem in Translator(IdentitySettings).problems(error)
        )
        raise ConfigurationError(
            f"the identity configuration is refused: {len(problems)} problem(s)",
            hint="correct each line below",
            problems=problems,
        ) from error


def _request_of(scope: Scope) -> Request:
    path = scope.get("raw_path") or scope.get("path", "/").encode()
    query = scope.get("query_string", b"")
    peer = scope.get("client")
    return Request(
        scope.get("method", "GET"),
        b"%b?%b" % (path, query) if query else path,
        # The specification has names in lower case, and servers keep to it; a check that fails is an open door.
        [(name.lower(), value) for name, value in scope.get("headers", ())],
        scheme=scope.get("scheme", "http"),
        peer=peer[0] if peer else "",
    )


async def _refuse(scope: Scope, receive: Receive, send: Send, found: IdentityRefusal) -> None:
    status, fields, body = refusal_of(found)
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
        return
    await receive()  # the handshake must be taken before it can be refused
    if "websocket.http.response" in scope.get("extensions", {}):
        await send({"type": "websocket.http.response.start", "status": status, "headers": fields})
        await send({"type": "websocket.http.response.body", "body": body})
    else:
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
