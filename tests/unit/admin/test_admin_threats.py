"""Threat detection in the admin API, over HTTP and a real control plane."""

import asyncio
import json

import pytest

from seawall.control.links import link_controllers
from seawall.core.access import Role
from seawall.systems.ratelimit.violations import Escalation
from seawall.systems.threats.events import ThreatEvent
from seawall.systems.threats.messages import ThreatReport
from seawall.systems.threats.model import Action, Finding, Level, Place, PlaceKind, Severity, ThreatClass

pytestmark = pytest.mark.anyio

PATH = "/api/system/threat-detection"
WORKER = ("worker-0", 4711)
FINDING = Finding(
    rule="sqli-tautology",
    category=ThreatClass.SQL_INJECTION,
    owasp="A03:2021",
    severity=Severity.HIGH,
    confidence=0.95,
    place=Place(PlaceKind.QUERY, "id"),
    span="' or 1=1",
    chain=("percent",),
)


def event(stage, number=1, client="192.0.2.7", level=Level.CRITICAL, **fields):
    return ThreatEvent(
        id=f"0644f1b2c3d4e5-aabb-{number:x}",
        at=stage.clock.wall(),
        category=ThreatClass.SQL_INJECTION,
        level=level,
        action=Action.BLOCK,
        client=client,
        findings=(FINDING,),
        **fields,
    )


async def written(stage):
    async with asyncio.timeout(5.0):
        while stage.plane.controllers["threats"].recorder.waiting:  # noqa: ASYNC110 - by a task of its own
            await asyncio.sleep(0.01)


async def test_what_was_seen_is_shown_searched_and_told_whole(stage):
    stage.plane.controllers["threats"].on_report(WORKER, ThreatReport(events=(event(stage), event(stage, 2, "::1"))))
    await written(stage)
    status = (await stage.call("GET", PATH, Role.VIEWER, params={"top": 1})).json()
    assert (status["mode"], status["sources"], status["bans_total"]) == ("block", {"192.0.2.7": 1}, 2)
    page = (await stage.call("GET", f"{PATH}/events", Role.VIEWER, params={"limit": 1})).json()
    assert [one["client"] for one in page["events"]] == ["::1"]
    params = {"before": page["more"], "category": "sql-injection", "level": "high", "action": "block"}
    page = (await stage.call("GET", f"{PATH}/events", Role.VIEWER, params=params)).json()
    assert ([one["client"] for one in page["events"]], page["more"]) == (["192.0.2.7"], "")
    one = (await stage.call("GET", f"{PATH}/events/{page['events'][0]['id']}", Role.VIEWER)).json()
    assert one == page["events"][0]
    assert one["findings"][0]["chain"] == ["percent"]


async def test_what_is_asked_wrongly_is_a_problem(stage):
    for path, status in (
        (f"{PATH}/events/0644f1b2c3d4e5-aabb-99", 404),
        (f"{PATH}/events/nonsense", 422),
        (f"{PATH}/events?limit=501", 422),
        (f"{PATH}/events?category=nonsense", 422),
        (f"{PATH}?top=0", 422),
    ):
        response = await stage.call("GET", path, Role.VIEWER)
        assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json"), path
    useless = {"action": "exclude", "exclusion": {"rule": "xss", "example": "hello"}}
    response = await stage.call("POST", PATH, Role.OPERATOR, json=useless)
    assert (response.status_code, response.json()["code"]) == (422, "invalid")
    assert "has no effect" in response.json()["detail"]


async def test_operators_change_what_viewers_only_see_and_every_change_is_audited(stage):
    body = {"action": "block", "subject": "192.0.2.9", "ttl_ms": 60_000, "reason": "scraping"}
    assert (await stage.call("POST", PATH, Role.VIEWER, json=body)).status_code == 403
    assert (await stage.call("GET", PATH)).status_code == 401
    response = await stage.call("POST", PATH, Role.OPERATOR, json=body)
    assert response.json() == {"action": "block", "target": "client:192.0.2.9", "changed": True}
    entries = (await stage.call("GET", "/api/system/audit", Role.OPERATOR)).json()["entries"]
    (entry,) = [one for one in entries if one["action"] == "threat-detection.block"]
    assert (entry["target"], entry["before"], entry["after"]["reason"]) == ("client:192.0.2.9", None, "scraping")
    lifted = await stage.call("POST", PATH, Role.OPERATOR, json={"action": "unblock", "subject": "192.0.2.9"})
    assert lifted.json()["changed"]
    assert (await stage.call("GET", PATH, Role.VIEWER)).json()["bans"] == []


async def test_events_are_streamed_as_they_happen(stage):
    # The transport of httpx hands over a whole answer only, so the route's own stream is read.
    endpoint = next(
        route.endpoint
        for route in _routes(stage.app.routes)
        if getattr(route, "operation_id", "") == "stream_threat_events"
    )
    response = await endpoint()
    assert response.media_type == "text/event-stream"
    lines = response.body_iterator
    assert await anext(lines) == b": connected\n\n"
    found = event(stage)
    stage.plane.controllers["threats"].on_report(WORKER, ThreatReport(events=(found,)))
    name, number, data = (await anext(lines)).decode().strip().split("\n")
    assert (name, number) == ("event: threat", f"id: {found.id}")
    assert json.loads(data.removeprefix("data: "))["client"] == "192.0.2.7"
    await lines.aclose()


def _routes(routes):
    for route in routes:
        yield route
        inner = getattr(route, "original_router", None) or getattr(route, "app", None)
        yield from _routes(getattr(inner, "routes", ()))


async def test_threats_lower_limits_and_whom_limits_do_not_stop_is_a_threat(stage):
    limits, threats = stage.plane.controllers["ratelimit"], stage.plane.controllers["threats"]
    # Whoever has no address that limits know is passed over.
    threats.on_report(WORKER, ThreatReport(events=(event(stage, 2, "unix"), event(stage, client="192.0.2.1"))))
    async with asyncio.timeout(5.0):
        while b"client:192.0.2.1" not in stage.plane.newest()["ratelimit"]:  # noqa: ASYNC110 - by the limiter's step
            await asyncio.sleep(0.01)
    for step in ("throttle", "report"):
        limits.on_escalation(Escalation("client:192.0.2.2", step, "base", 60.0, 20.0))
    assert threats.status().events == {"sql-injection": 2, "rate-abuse": 1}
    assert "client:192.0.2.2" in {ban.subject for ban in threats.status().bans}


def test_systems_that_do_not_run_are_told_nothing():
    link_controllers({})
