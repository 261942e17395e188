"""Identity's admin routes over a real control plane."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse
from identity_desk import jwt_table

from identity_tokens import RSA, IssuerServer, asking, jwks
from seawall.core.access import Caller, Role
from seawall.core.errors import ConflictError, NotFoundError, SeawallError
from seawall.systems.identity.routes import routes

pytestmark = pytest.mark.anyio

PATH = "/api/system/identity"
TABLE = {"api_keys": {"enabled": True}, "trusted_headers": {"user": "x-user"}}


class RecordingAccess:
    """Access by a header that names the role; keeps what was recorded."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, str, Any, Any]] = []

    def requires(self, role: Role) -> Callable[..., Any]:
        order = list(Role)

        def caller(x_role: str = Header()) -> Caller:
            if order.index(Role(x_role)) < order.index(role):
                raise HTTPException(403)
            return Caller("tester", Role(x_role), "127.0.0.1")

        return caller

    async def record(self, caller: Caller, action: str, target: str, before: Any, after: Any) -> None:
        assert caller.name == "tester"
        self.recorded.append((action, target, before, after))


@pytest.fixture
async def api(desks):
    with IssuerServer(jwks(RSA)) as issuer:
        desk = await desks({**TABLE, **jwt_table(jwks_url=issuer.url)})
        access = RecordingAccess()
        app = FastAPI()
        app.include_router(routes(desk.controller, access))

        @app.exception_handler(SeawallError)
        async def refuse(request: Request, error: SeawallError) -> JSONResponse:
            status = {NotFoundError: 404, ConflictError: 409}[type(error)]
            return JSONResponse({"code": error.code}, status)

        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://admin", headers={"x-role": "admin"}
        ) as client:
            client.access, client.desk, client.issuer = access, desk, issuer
            yield client


async def test_a_key_is_made_shown_once_listed_and_revoked(api):
    body = {"action": "create-key", "name": "acme", "tenant": "acme", "role": "partner", "expires_days": 365}
    made = (await api.post(PATH, json=body)).json()
    key_id = made["key"]["id"]
    await api.desk.until(lambda: api.desk.published[-1].keys)
    assert api.desk.verdict(asking(("x-api-key", made["secret"]))).tenant == "acme"
    shown = (await api.get(PATH, headers={"x-role": "viewer"})).json()
    [listed] = shown["api_keys"]["keys"]
    assert (listed["id"], listed["tenant"], listed["created_by"], listed["expired"]) == (
        key_id,
        "acme",
        "tester",
        False,
    )
    assert made["secret"].rpartition("_")[2] not in str(shown)
    assert (shown["trusted_headers"], shown["jwt"]["keys"]) == (["x-user"], ["rsa-1"])
    assert (await api.get(PATH, params={"limit": 0})).json()["api_keys"]["keys"] == []
    revoked = await api.post(PATH, json={"action": "revoke-key", "id": key_id})
    assert (revoked.status_code, revoked.json()["secret"]) == (200, None)
    assert (await api.post(PATH, json={"action": "revoke-key", "id": key_id})).status_code == 404
    (made_action, made_target, nothing, after), (ended_action, ended_target, before, gone) = api.access.recorded
    assert (made_action, made_target, nothing) == ("identity.create-key", key_id, None)
    assert (ended_action, ended_target, gone) == ("identity.revoke-key", key_id, None)
    assert after == before
    assert made["secret"] not in str(api.access.recorded)


async def test_the_issuer_s_keys_are_fetched_on_demand(api):
    asked = api.issuer.asked
    assert (await api.post(PATH, json={"action": "refresh-issuer"})).json() == {
        "action": "refresh-issuer",
        "key": None,
        "secret": None,
    }
    assert api.issuer.asked == asked + 1
    api.issuer.publish(b"", status=500)
    assert (await api.post(PATH, json={"action": "refresh-issuer"})).status_code == 409


@pytest.mark.parametrize("role", ["viewer", "operator"])
async def test_only_admins_change(api, role):
    answer = await api.post(PATH, json={"action": "create-key", "name": "a"}, headers={"x-role": role})
    assert answer.status_code == 403
    assert api.access.recorded == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"action": "nope"},
        {"action": "create-key"},
        {"action": "create-key", "name": "a b"},
        {"action": "create-key", "name": "a", "role": "x" * 257},
        {"action": "create-key", "name": "a", "user": "a\nb"},
        {"action": "create-key", "name": "a", "expires_days": 0},
        {"action": "create-key", "name": "a", "expires_days": "7"},
        {"action": "create-key", "name": "a", "secret": "chosen"},
        {"action": "revoke-key", "id": "../x"},
        {"action": "refresh-issuer", "url": "http://elsewhere"},
    ],
)
async def test_what_is_not_acceptable_is_refused(api, body):
    assert (await api.post(PATH, json=body)).status_code == 422
    assert api.access.recorded == []
