"""Rate limiting in the admin API: what it is doing, and changing it."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query

from seawall.core.access import Access, Caller, Role, problem_answer
from seawall.systems.ratelimit.actions import Action, ActionResult
from seawall.systems.ratelimit.controller import RateLimitController
from seawall.systems.ratelimit.overview import RateLimitStatus

__all__ = ["routes"]

_PATH = "/api/system/rate-limit"

_EXAMPLES: dict[str, Any] = {
    "set-rule": {
        "summary": "Let each user log in five times a minute",
        "value": {
            "action": "set-rule",
            "rule": {
                "id": "login",
                "match": {"paths": ["/login"], "methods": ["POST"]},
                "key": ["client/24"],
                "windows": [{"limit": 5, "window_ms": 60000}],
            },
        },
    },
    "remove-rule": {"summary": "Take it out again", "value": {"action": "remove-rule", "id": "login"}},
    "block": {
        "summary": "Refuse a network for an hour",
        "value": {"action": "block", "subject": "client:192.0.2.0/24", "ttl_ms": 3600000, "reason": "scraping"},
    },
    "unblock": {"summary": "Let it in again", "value": {"action": "unblock", "subject": "client:192.0.2.0/24"}},
    "override": {
        "summary": "Give a user 5000 requests per window for a day",
        "value": {"action": "override", "subject": "user:alice", "limit": 5000, "ttl_ms": 86400000},
    },
    "reset": {"summary": "Forget a key's counts", "value": {"action": "reset", "key": "user:alice"}},
}


def routes(controller: RateLimitController, access: Access) -> APIRouter:
    """Return the routes over a controller: viewers read, operators change; every change is recorded."""
    router = APIRouter(tags=["rate-limit"])
    viewer = Depends(access.requires(Role.VIEWER))
    operator = Depends(access.requires(Role.OPERATOR))

    @router.get(
        _PATH,
        operation_id="get_rate_limit",
        summary="Show rules, factors, and who was refused",
        dependencies=[viewer],
    )
    async def show(
        top: Annotated[int, Query(description="Keys that were refused most, at most so many.", ge=1, le=256)] = 10,
    ) -> RateLimitStatus:
        """Tell the rules in force with their counts, the factors of the last hour, and every block and override."""
        return controller.status(top)

    @router.post(
        _PATH,
        operation_id="change_rate_limit",
        summary="Set or remove a rule, block, unblock, override or reset",
        responses={
            404: problem_answer("There is no such rule."),
            409: problem_answer("The limits have changed since the version given, or the rule comes from the file."),
        },
    )
    async def change(
        action: Annotated[Action, Body(openapi_examples=_EXAMPLES)], caller: Annotated[Caller, operator]
    ) -> ActionResult:
        """Change the limits; every gateway that shares the state store follows within 1 s."""
        before = controller.describe(action)
        result = await controller.perform(action)
        after = controller.describe(action)
        await access.record(caller, f"rate-limit.{action.action}", result.target, before, after)
        return result

    return router
