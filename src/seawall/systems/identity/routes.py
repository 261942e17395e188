"""Identity's admin routes: thin functions over the controller."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query

from seawall.core.access import Access, Caller, Role, problem_answer
from seawall.systems.identity.actions import Action, ActionResult, RevokeKey
from seawall.systems.identity.controller import IdentityController
from seawall.systems.identity.status import IdentityStatus

__all__ = ["routes"]

_PATH = "/api/system/identity"

_EXAMPLES: dict[str, Any] = {
    "create-key": {
        "summary": "Make an API key for a partner, for a year",
        "value": {"action": "create-key", "name": "acme", "tenant": "acme", "role": "partner", "expires_days": 365},
    },
    "revoke-key": {"summary": "Let it in no longer", "value": {"action": "revoke-key", "id": "4fa2c09b17de"}},
    "refresh-issuer": {"summary": "Fetch the token issuer's keys now", "value": {"action": "refresh-issuer"}},
}


def routes(controller: IdentityController, access: Access) -> APIRouter:
    """Return the routes over a controller: viewers read, admins change; every change is recorded."""
    router = APIRouter(tags=["identity"])
    viewer = Depends(access.requires(Role.VIEWER))
    # A key may carry any role, so making one is as much as making a token of this API.
    admin = Depends(access.requires(Role.ADMIN))

    @router.get(_PATH, operation_id="get_identity", summary="Show API keys and the token issuer", dependencies=[viewer])
    async def show(
        limit: Annotated[int, Query(description="Most API keys to show.", ge=0, le=10_000)] = 100,
    ) -> IdentityStatus:
        """Tell who may call, who did, and who was refused for what."""
        return controller.status(limit)

    @router.post(
        _PATH,
        operation_id="change_identity",
        summary="Make or revoke an API key, or fetch the token issuer's keys",
        responses={
            404: problem_answer("There is no such key."),
            409: problem_answer("There are as many keys as there may be, or the issuer's keys cannot be fetched."),
        },
    )
    async def change(
        action: Annotated[Action, Body(openapi_examples=_EXAMPLES)], caller: Annotated[Caller, admin]
    ) -> ActionResult:
        """Change who may call; every gateway that shares the state store follows within 1 s."""
        before = controller.describe(action.id) if isinstance(action, RevokeKey) else None
        result = await controller.perform(action, caller.name)
        target = result.key.id if result.key is not None else "issuer"
        await access.record(caller, f"identity.{action.action}", target, before, controller.describe(target))
        return result

    return router
