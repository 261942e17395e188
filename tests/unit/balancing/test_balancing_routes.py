"""The load balancer's admin routes over HTTP."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse

from seawall.core.access import Caller, Role
from seawall.core.errors import ConflictError, NotFoundError, SeawallError
from seawall.systems.balancing.routes import routes
from seawall.systems.balancing.system import BALANCING

pytestmark = pytest.mark.anyio

PATH = "/api/system/load-balancer"
FILE = "http://10.0.0.1:80"
TABLE = {"pools": {"default": {"instances": [FILE], "health": {"kind": "none"}}}}


class RecordingAccess:
    """Access by a header that names the role; keeps what was recorded."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, str, str, Any, Any]] = []

    def requires(self, role: Role) -> Callable[..., Any]:
        order = list(Role)

        def caller(x_role: str = Header()) -> Caller:
            if order.index(Role(x_role)) < order.index(role):
                raise HTTPException(403)
            return Caller("tester", Role(x_role), "127.0.0.1")

        return caller

    async def record(self, caller: Caller, action: str, target: str, before: Any, after: Any) -> None:
        self.recorded.append((caller.name, action, target, before, after))


@pytest.fixture
async def api(sites):
    site = await sites(TABLE)
    access = RecordingAccess()
    app = FastAPI()
    app.include_router(routes(site.controller, access))

    @app.exception_handler(SeawallError)
    async def refuse(request: Request, error: SeawallError) -> JSONResponse:
        status = {NotFoundError: 404, ConflictError: 409}[type(error)]
        return JSONResponse({"code": error.code}, status)

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://admin", headers={"x-role": "operator"}
    ) as client:
        client.access = access
        client.app = app
        yield client


async def test_it_shows_pools_and_instances(api):
    answer = await api.get(PATH, headers={"x-role": "viewer"})
    assert answer.status_code == 200
    shown = answer.json()
    assert (shown["strategy"], shown["findings"]) == ("round-robin", {})
    instance = shown["pools"][0]["instances"][0]
    assert (instance["id"], instance["state"], instance["source"]) == (FILE, "healthy", "file")
    assert instance["latency_ms"] == {"p50": None, "p95": None, "p99": None}
    assert (await api.get(PATH, params={"pool": "nope"})).status_code == 404


async def test_changes_are_made_and_recorded(api):
    answer = await api.post(
        PATH, json={"action": "register", "url": "http://10.0.0.7:80", "id": "web", "ttl_ms": 60_000}
    )
    assert answer.status_code == 200
    assert answer.json()["instance"]["id"] == "web"
    await api.post(PATH, json={"action": "drain", "id": "web"})
    after = {"url": "http://10.0.0.7:80", "weight": 1.0, "region": "", "leaving": False, "ttl_ms": 60_000}
    assert api.access.recorded == [
        ("tester", "load-balancer.register", "default/web", None, {**after, "draining": False}),
        ("tester", "load-balancer.drain", "default/web", {**after, "draining": False}, {**after, "draining": True}),
    ]


async def test_a_viewer_changes_nothing(api):
    answer = await api.post(PATH, json={"action": "drain", "id": FILE}, headers={"x-role": "viewer"})
    assert answer.status_code == 403
    assert (await api.get(PATH)).json()["pools"][0]["instances"][0]["state"] == "healthy"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"action": "drain", "id": "ghost"}, 404),
        ({"action": "drain", "id": FILE, "pool": "nope"}, 404),
        ({"action": "unregister", "id": FILE}, 409),
        ({"action": "explode"}, 422),
        ({"action": "register", "url": "gopher://a"}, 422),
        ({"action": "weight", "id": FILE, "weight": -1}, 422),
    ],
)
async def test_refusals_are_not_recorded(api, body, status):
    answer = await api.post(PATH, json=body)
    assert answer.status_code == status
    assert api.access.recorded == []


async def test_the_description_is_complete(api):
    description = api.app.openapi()["paths"][PATH]
    post = description["post"]
    body = post["requestBody"]["content"]["application/json"]
    assert set(body["schema"]["discriminator"]["mapping"]) == {
        "register",
        "unregister",
        "drain",
        "undrain",
        "weight",
        "heartbeat",
    }
    assert set(body["examples"]) == set(body["schema"]["discriminator"]["mapping"])
    assert {"200", "404", "409", "422"} <= post["responses"].keys()
    assert {"200", "404"} <= description["get"]["responses"].keys()


def test_every_metric_that_was_asked_for_is_declared():
    names = {instrument.name for instrument in BALANCING.instruments}
    assert {
        "load_balancer_requests_total",
        "load_balancer_request_duration_seconds",
        "load_balancer_active_requests",
        "load_balancer_instances",
        "load_balancer_health_checks_total",
        "load_balancer_ejections_total",
        "load_balancer_retries_total",
        "load_balancer_no_instance_total",
    } <= names
