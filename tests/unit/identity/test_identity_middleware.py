"""The ASGI middleware, driven by hand and through FastAPI."""

import json
import time

import httpx
import pytest
from fastapi import FastAPI, Request
from identity_desk import jwt_table

from identity_tokens import OTHER_RSA, RSA, IssuerServer, claims, jwks, signed
from seawall import AdaptiveRateLimiter
from seawall.core.clock import SystemClock
from seawall.core.errors import ConfigurationError, StateUnavailableError
from seawall.core.principal import ANONYMOUS
from seawall.middleware.identity import SCOPE_KEY, IdentityMiddleware, caller_of
from seawall.middleware.ratelimit import RateLimitMiddleware
from seawall.state.memory import MemoryStore
from seawall.systems.identity.actions import CreateKey, RevokeKey
from seawall.testing.state import eventually

pytestmark = pytest.mark.anyio

KEYS = {"api_keys": {"enabled": True}}


async def echo(scope, receive, send) -> None:
    """Answer with the caller and the fields, as the application sees them."""
    caller = caller_of(scope)
    fields = {name.decode(): value.decode() for name, value in scope["headers"]}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps({"caller": caller, "fields": fields}).encode()})


def client_of(app, address: str = "192.0.2.1") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, client=(address, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://app")


def bearer(key, **changes) -> dict[str, str]:
    token = signed(key, "RS256", claims(**{"exp": time.time() + 60, **changes}))
    return {"authorization": f"Bearer {token.decode()}"}


@pytest.fixture
async def wrapped():
    """Make middlewares, and stop them at the end."""
    made = []

    def wrap(config, app=echo, **options) -> IdentityMiddleware:
        made.append(IdentityMiddleware(app, config, **options))
        return made[-1]

    yield wrap
    for app in made:
        await app.stop()


async def test_tokens_are_told_apart_and_keys_rotate(wrapped):
    with IssuerServer(jwks(RSA)) as issuer:
        app = wrapped(jwt_table(jwks_url=issuer.url, role_claim="role"))
        async with client_of(app) as client:
            answer = await client.get("/a?b=c", headers=bearer(RSA, role="admin"))
            assert answer.json()["caller"] == {"user": "bob", "tenant": "", "role": "admin", "api_key": ""}
            assert (await client.get("/")).json()["caller"] is None
            refused = await client.get("/", headers=bearer(OTHER_RSA))
            assert (refused.status_code, refused.json()["code"]) == (401, "invalid-credentials")
            assert refused.headers["www-authenticate"].startswith("Bearer ")
            issuer.publish(jwks(OTHER_RSA))

            async def accepted() -> bool:
                return (await client.get("/", headers=bearer(OTHER_RSA))).status_code == 200

            await eventually(accepted)


async def test_api_keys_are_made_and_revoked_through_the_controller(wrapped):
    app = wrapped(KEYS)
    await app.start()
    made = await app.controller.perform(CreateKey(action="create-key", name="acme", role="partner"), "me")
    headers = {"x-api-key": made.secret}
    async with client_of(app) as client:

        async def status() -> int:
            return (await client.get("/", headers=headers)).status_code

        async def is_let_in() -> bool:
            return await status() == 200

        async def is_refused() -> bool:
            return await status() == 401

        await eventually(is_let_in)
        await app.controller.perform(RevokeKey(action="revoke-key", id=made.key.id), "me")
        await eventually(is_refused)
    assert app.controller.status().refusals["unknown-key"] >= 1


async def test_claims_of_identity_are_taken_off_unless_a_trusted_proxy_made_them(wrapped):
    app = wrapped({"trusted_headers": {"user": "x-user"}}, trusted_proxies=["10.0.0.1"])
    headers = {"X-User": "root", "x_user": "root"}
    async with client_of(app) as stranger, client_of(app, "10.0.0.1") as proxy:
        seen = (await stranger.get("/", headers=headers)).json()
        assert seen["caller"] is None
        assert not {"x-user", "x_user"} & seen["fields"].keys()
        seen = (await proxy.get("/", headers=headers)).json()
        assert seen["caller"]["user"] == "root"
        assert seen["fields"]["x-user"] == "root"
        assert "x_user" not in seen["fields"]


async def test_names_in_capitals_are_no_way_past_it(wrapped):
    app = wrapped({**KEYS, "required": True, "trusted_headers": {"user": "x-user"}})
    sent = []

    async def send(message) -> None:
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b""}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"X-API-KEY", b"rubbish")], "client": None}
    await app(scope, receive, send)
    assert sent[0]["status"] == 401


async def test_limits_follow_the_caller(wrapped):
    with IssuerServer(jwks(RSA)) as issuer:
        limiter = AdaptiveRateLimiter({"base": 2, "roles": {"admin": 5.0}})
        limited = RateLimitMiddleware(echo, limiter, identify=caller_of)
        app = wrapped(jwt_table(jwks_url=issuer.url, role_claim="role"), limited)
        async with client_of(app) as client:
            answer = await client.get("/", headers=bearer(RSA, role="admin"))
            assert answer.headers["ratelimit-policy"] == '"base";q=10;w=60'
            statuses = [(await client.get("/", headers=bearer(RSA, sub="eve"))).status_code for _ in range(3)]
            assert statuses == [200, 200, 429]


async def test_it_lives_with_the_application(tmp_path):
    api = FastAPI()

    @api.get("/")
    async def whoami(request: Request) -> dict[str, str]:
        return {"role": request.scope[SCOPE_KEY].role}

    (tmp_path / "seawall.toml").write_text("[identity.api_keys]\nenabled = true\nheader = 'x-key'\n")
    app = IdentityMiddleware(api, tmp_path / "seawall.toml", store=f"sqlite:///{tmp_path}/keys.sqlite")
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    said = []

    async def receive():
        message = next(messages)
        if message["type"] == "lifespan.shutdown":  # what happens in between
            made = await app.controller.perform(CreateKey(action="create-key", name="a", role="partner"), "me")
            async with client_of(app) as client:

                async def knows() -> bool:
                    answer = await client.get("/", headers={"x-key": made.secret})
                    return answer.status_code == 200 and answer.json() == {"role": "partner"}

                await eventually(knows)
        return message

    async def send(message) -> None:
        said.append(message["type"])

    await app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    with pytest.raises(StateUnavailableError):
        await app.start()


async def test_an_application_without_a_lifespan_starts_with_its_first_request(wrapped):
    async def plain(scope, receive, send) -> None:
        assert scope["type"] == "http"
        await echo(scope, receive, send)

    app = wrapped(KEYS, plain)
    with pytest.raises(AssertionError):
        await app({"type": "lifespan"}, None, None)
    async with client_of(app) as client:
        assert (await client.get("/")).status_code == 200


@pytest.mark.parametrize("extension", [True, False])
async def test_websockets_are_refused_in_their_own_way(wrapped, extension):
    app = wrapped({**KEYS, "required": True})
    sent = []

    async def send(message) -> None:
        sent.append(message)

    async def receive():
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "path": "/", "headers": [], "client": ("192.0.2.1", 1)}
    if extension:
        scope["extensions"] = {"websocket.http.response": {}}
    await app(scope, receive, send)
    assert sent[0] == {"type": "websocket.close", "code": 1008} if not extension else sent[0]["status"] == 401


async def test_asking_for_oneself(wrapped):
    app = wrapped({**KEYS, "required": True})
    await app.start()
    assert app.identify({"type": "http", "headers": []}).code == "credentials-required"
    assert caller_of({SCOPE_KEY: ANONYMOUS}) is None


def test_what_is_not_acceptable_is_refused_with_every_finding():
    with pytest.raises(ConfigurationError) as caught:
        IdentityMiddleware(echo, {"required": True, "jwt": {"enabled": True}})
    assert any("jwt.issuer" in problem for problem in caught.value.problems)
    assert any("jwt.audience" in problem for problem in caught.value.problems)
    with pytest.raises(ConfigurationError):
        IdentityMiddleware(echo, KEYS, store="nowhere://")


async def test_a_store_of_one_s_own_is_left_open():
    store = MemoryStore(clock=SystemClock())
    app = IdentityMiddleware(echo, KEYS, store=store)
    await app.start()
    await app.stop()
    await store.ping()
    await store.close()
