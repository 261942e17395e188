"""Making, listing and revoking tokens."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from seawall.admin.authentication import Authenticator
from seawall.admin.problems import Problem, ProblemError
from seawall.admin.tokens import TOKEN_NAME_PATTERN, TokenRecord, create_token, list_tokens, revoke_token
from seawall.core.access import Access, Caller, Role
from seawall.core.clock import Clock
from seawall.state.store import StateStore

__all__ = ["NewToken", "TokenCreated", "TokenListView", "TokenView", "tokens_router"]


class NewToken(BaseModel):
    """A token to make."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "grafana", "role": "viewer", "expires_days": 90}]}
    )

    name: Annotated[str, Field(description="What it is for; shown in the audit trail.", pattern=TOKEN_NAME_PATTERN)]
    role: Role
    expires_days: Annotated[
        float | None, Field(description="Days until it expires; null for never.", ge=0.001, le=3650, strict=True)
    ] = None


class TokenView(BaseModel):
    """A token without its secret."""

    id: str
    name: str
    role: Role
    created_at: datetime
    created_by: str
    expires_at: Annotated[datetime | None, Field(description="Null when it never expires.")]
    expired: bool


class TokenCreated(TokenView):
    """A new token, with the secret, this once."""

    token: Annotated[str, Field(description="Shown this once; keep it now.")]


class TokenListView(BaseModel):
    """Every token, oldest first."""

    tokens: list[TokenView]


def tokens_router(store: StateStore, access: Access, authenticator: Authenticator, clock: Clock) -> APIRouter:
    """Return the routes over the tokens of the shared store."""
    router = APIRouter(tags=["tokens"])
    admin = Depends(access.requires(Role.ADMIN))

    @router.get("/api/system/tokens", operation_id="list_tokens", summary="List the tokens", dependencies=[admin])
    async def listed() -> TokenListView:
        now = clock.wall()
        return TokenListView(tokens=[TokenView.model_validate(_fields(r, now)) for r in await list_tokens(store)])

    @router.post(
        "/api/system/tokens",
        operation_id="create_token",
        summary="Make a token",
        status_code=201,
        responses={409: {"model": Problem, "description": "There are as many tokens as there may be."}},
    )
    async def create(new: NewToken, caller: Annotated[Caller, admin]) -> TokenCreated:
        now = clock.wall()
        record, token = await create_token(
            store,
            name=new.name,
            role=new.role,
            now=now,
            created_by=caller.name,
            expires_at=None if new.expires_days is None else now + new.expires_days * 86_400.0,
        )
        authenticator.book.forget()
        await access.record(caller, "token-create", record.id, None, _audited(record))
        return TokenCreated.model_validate({**_fields(record, now), "token": token})

    @router.delete(
        "/api/system/tokens/{token_id}",
        operation_id="revoke_token",
        summary="Revoke a token",
        description="It is refused here at once, and within 5 s by every other process that shares the store.",
        status_code=204,
        responses={
            404: {"model": Problem, "description": "There is no such token."},
            409: {"model": Problem, "description": "It is the last valid admin token."},
        },
    )
    async def revoke(
        token_id: Annotated[str, Path(pattern=r"^[0-9a-f]{12}$", examples=["4fa2c09b17de"])],
        caller: Annotated[Caller, admin],
    ) -> None:
        await _keep_one_admin(store, authenticator, clock.wall(), token_id)
        record = await revoke_token(store, token_id)
        if record is None:
            raise ProblemError(404, f"There is no token {token_id}.", code="token-unknown")
        authenticator.book.forget(token_id)
        await access.record(caller, "token-revoke", token_id, _audited(record), None)

    return router


async def _keep_one_admin(store: StateStore, authenticator: Authenticator, now: float, token_id: str) -> None:
    """Refuse to lock everybody out."""
    if authenticator.has_static_token:
        return
    admins = [r.id for r in await list_tokens(store) if r.role is Role.ADMIN and not r.expired(now)]
    if admins == [token_id]:
        raise ProblemError(
            409, "This is the last valid admin token.", code="last-admin-token", hint="make another admin token first"
        )


def _fields(record: TokenRecord, now: float) -> dict[str, object]:
    return {
        "id": record.id,
        "name": record.name,
        "role": record.role,
        "created_at": datetime.fromtimestamp(record.created_at, UTC),
        "created_by": record.created_by,
        "expires_at": None if record.expires_at is None else datetime.fromtimestamp(record.expires_at, UTC),
        "expired": record.expired(now),
    }


def _audited(record: TokenRecord) -> dict[str, object]:
    return {"name": record.name, "role": record.role.value, "expires_at": record.expires_at}
