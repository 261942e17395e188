"""The load balancer in the admin API: what it is doing, and changing who takes part."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query

from seawall.core.access import Access, Caller, Role, problem_answer
from seawall.systems.balancing.actions import Action, ActionResult, Register
from seawall.systems.balancing.controller import BalancingController
from seawall.systems.balancing.status import LoadBalancerStatus

__all__ = ["routes"]

_PATH = "/api/system/load-balancer"

_EXAMPLES: dict[str, Any] = {
    "register": {
        "summary": "Register an instance that must send a heartbeat every 30 s",
        "value": {"action": "register", "url": "http://10.0.0.7:8080", "id": "web-7", "ttl_ms": 30000},
    },
    "heartbeat": {"summary": "Renew a registration", "value": {"action": "heartbeat", "id": "web-7"}},
    "drain": {"summary": "Send no new requests", "value": {"action": "drain", "id": "web-7"}},
    "undrain": {"summary": "Take it back", "value": {"action": "undrain", "id": "web-7"}},
    "weight": {"summary": "Give it a half share", "value": {"action": "weight", "id": "web-7", "weight": 0.5}},
    "unregister": {"summary": "Drain it, then forget it", "value": {"action": "unregister", "id": "web-7"}},
}


def routes(controller: BalancingController, access: Access) -> APIRouter:
    """Return the routes over a controller: viewers read, operators change; every change is recorded."""
    router = APIRouter(tags=["load-balancer"])
    viewer = Depends(access.requires(Role.VIEWER))
    operator = Depends(access.requires(Role.OPERATOR))

    @router.get(
        _PATH,
        operation_id="get_load_balancer",
        summary="Show pools and instances",
        dependencies=[viewer],
        responses={404: problem_answer("There is no such pool.")},
    )
    async def show(
        pool: Annotated[str | None, Query(description="Only this pool.", max_length=64)] = None,
    ) -> LoadBalancerStatus:
        """Tell each instance's state, share, errors and latency, and why it is in that state."""
        return controller.status(pool)

    @router.post(
        _PATH,
        operation_id="change_load_balancer",
        summary="Register, unregister, drain, undrain, weigh or renew an instance",
        responses={
            404: problem_answer("There is no such pool or instance."),
            409: problem_answer("The change is at odds with what exists, for example an id that is taken."),
        },
    )
    async def change(
        action: Annotated[Action, Body(openapi_examples=_EXAMPLES)], caller: Annotated[Caller, operator]
    ) -> ActionResult:
        """Change the registry; every gateway that shares the state store follows within 1 s."""
        name = action.id or action.url if isinstance(action, Register) else action.id
        before = controller.describe(action.pool, name)
        result = await controller.perform(action)
        after = controller.describe(action.pool, result.id)
        await access.record(caller, f"load-balancer.{action.action}", f"{action.pool}/{result.id}", before, after)
        return result

    return router
