"""Threat detection in the admin API: what it saw, whom it refuses, and changing it."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body, Depends, Path, Query
from fastapi.responses import Response, StreamingResponse

from seawall.core.access import Access, Caller, Role, problem_answer
from seawall.systems.threats.actions import EVENT_ID, Action, ActionResult
from seawall.systems.threats.controller import ThreatController
from seawall.systems.threats.events import MAX_PAGE, EventQuery, ThreatEvent
from seawall.systems.threats.model import Action as Done
from seawall.systems.threats.model import Level, ThreatClass
from seawall.systems.threats.overview import ThreatStatus

__all__ = ["routes"]

_IDLE = 15.0
_PATH = "/api/system/threat-detection"

_EXAMPLES: dict[str, Any] = {
    "block": {
        "summary": "Refuse a client for an hour",
        "value": {"action": "block", "subject": "client:192.0.2.7", "ttl_ms": 3600000, "reason": "scraping"},
    },
    "unblock": {"summary": "Let it in again", "value": {"action": "unblock", "subject": "client:192.0.2.7"}},
    "allow": {"summary": "Ask nothing of a network", "value": {"action": "allow", "network": "192.0.2.0/24"}},
    "disallow": {"summary": "Take it off the list", "value": {"action": "disallow", "network": "192.0.2.0/24"}},
    "set-mode": {
        "summary": "Only report what would be refused below a path",
        "value": {"action": "set-mode", "path": "/legacy", "mode": "log"},
    },
    "exclude": {
        "summary": "Let editors save HTML",
        "value": {
            "action": "exclude",
            "exclusion": {
                "rule": "xss",
                "path": "/articles",
                "kinds": ["form"],
                "name": "body",
                "example": "<script>alert(1)</script>",
            },
        },
    },
    "feedback": {
        "summary": "Say that an event was no attack",
        "value": {"action": "feedback", "event": "0644f1b2c3d4e5-a1b2c3-1f", "false_positive": True},
    },
}


def routes(controller: ThreatController, access: Access) -> APIRouter:
    """Return the routes over a controller: viewers read, operators change; every change is recorded."""
    router = APIRouter(tags=["threat-detection"])
    viewer = Depends(access.requires(Role.VIEWER))
    operator = Depends(access.requires(Role.OPERATOR))

    @router.get(
        _PATH,
        operation_id="get_threat_detection",
        summary="Show what was seen, who is refused, and what is usual",
        dependencies=[viewer],
    )
    async def show(
        top: Annotated[int, Query(description="Routes, countries and sources, at most so many.", ge=1, le=1000)] = 10,
    ) -> ThreatStatus:
        """Tell counts by class, level, action and route, bans, lists, floods and baselines."""
        return controller.status(top)

    @router.post(
        _PATH,
        operation_id="change_threat_detection",
        summary="Block, unblock, allow, disallow, judge an event, set a mode, or exclude",
        responses={
            404: problem_answer("There is no such event."),
            409: problem_answer("The network is allowed by the configuration."),
        },
    )
    async def change(
        action: Annotated[Action, Body(openapi_examples=_EXAMPLES)], caller: Annotated[Caller, operator]
    ) -> ActionResult:
        """Change threat detection; every gateway that shares the state store follows within 1 s."""
        before = controller.describe(action)
        result = await controller.perform(action)
        after = controller.describe(action)
        await access.record(caller, f"threat-detection.{action.action}", result.target, before, after)
        return result

    @router.get(
        f"{_PATH}/events",
        operation_id="search_threat_events",
        summary="Search events, newest first",
        dependencies=[viewer],
        response_class=Response,
    )
    async def search(  # noqa: PLR0913, PLR0917 - what one may look for
        since: Annotated[float, Query(description="Seconds since the Unix epoch, inclusive.", ge=0, le=1e11)] = 0.0,
        until: Annotated[float | None, Query(description="The same, exclusive.", ge=0, le=1e11)] = None,
        category: Annotated[ThreatClass | None, Query(description="Class of the gravest finding.")] = None,
        level: Annotated[Level | None, Query(description="The least level.")] = None,
        action: Annotated[Done | None, Query(description="What was done, or would have been.")] = None,
        client: Annotated[str, Query(description="Address.", max_length=64)] = "",
        account: Annotated[str, Query(description="Name.", max_length=256)] = "",
        route: Annotated[str, Query(description="Name of the route.", max_length=256)] = "",
        request_id: Annotated[str, Query(description="As in X-Request-Id.", max_length=128)] = "",
        before: Annotated[str, Query(description="`more` of the page before.", max_length=64)] = "",
        limit: Annotated[int, Query(description="Events on a page.", ge=1, le=MAX_PAGE)] = 100,
    ) -> Response:
        """Tell events with their evidence, secrets taken out; `more` leads to the next page."""
        page = await controller.events(
            EventQuery(
                since=since,
                until=float("inf") if until is None else until,
                category=category,
                level=level,
                action=action,
                client=client,
                account=account,
                route=route,
                request_id=request_id,
                before=before,
                limit=limit,
            )
        )
        return Response(msgspec.json.encode(page), media_type="application/json")

    @router.get(
        f"{_PATH}/events/{{event_id}}",
        operation_id="get_threat_event",
        summary="Show one event with its evidence",
        dependencies=[viewer],
        response_class=Response,
        responses={404: problem_answer("There is no such event.")},
    )
    async def one(
        event_id: Annotated[str, Path(pattern=EVENT_ID, description="As a refused client is told.")],
    ) -> Response:
        """Tell what was found, where, and how it was decoded; secrets are taken out."""
        return Response(msgspec.json.encode(await controller.event(event_id)), media_type="application/json")

    @router.get(
        f"{_PATH}/stream",
        operation_id="stream_threat_events",
        summary="Follow events as they happen",
        dependencies=[viewer],
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}, "description": "Server-sent events named `threat`."}},
    )
    async def stream() -> StreamingResponse:
        """Send each event as JSON when it is known; a reader that is too slow misses the oldest."""
        heard = controller.recorder.listen(idle=_IDLE)
        return StreamingResponse(_lines(heard), media_type="text/event-stream", headers={"cache-control": "no-store"})

    return router


async def _lines(heard: AsyncIterator[ThreatEvent | None]) -> AsyncIterator[bytes]:
    yield b": connected\n\n"
    async for event in heard:
        if event is None:
            # Tells proxies, and us, that somebody is still there.
            yield b": idle\n\n"
            continue
        yield b"event: threat\nid: %b\ndata: %b\n\n" % (event.id.encode("ascii", "replace"), msgspec.json.encode(event))
