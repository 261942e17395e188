"""Reading the audit trail."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from seawall.admin.audit import AuditEntry, AuditQuery, AuditTrail
from seawall.core.access import Access, Role

__all__ = ["AuditEntryView", "AuditPageView", "audit_router"]


_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _written_out(value: object) -> object:
    """Refuse bare numbers: pydantic would guess whether they are seconds or milliseconds."""
    if isinstance(value, str) and not _TIME.fullmatch(value):
        raise ValueError("must be a date and time with an offset, such as 2025-11-26T12:00:00Z (RFC 3339)")
    return value


Time = Annotated[AwareDatetime, BeforeValidator(_written_out)]


class AuditEntryView(BaseModel):
    """One change."""

    id: str
    at: Annotated[datetime, Field(description="When, in UTC.")]
    actor: Annotated[str, Field(description="Name of the token that was used.")]
    token_id: str
    role: str
    address: Annotated[str, Field(description="Where the caller called from.")]
    action: str
    target: str
    before: Annotated[Any, Field(description="What was, secrets removed.")] = None
    after: Annotated[Any, Field(description="What is, secrets removed.")] = None
    request_id: str
    outcome: Annotated[
        str,
        Field(
            description="`done`; `failed` when the request ended in an error; `intended` when its end is unknown.",
            json_schema_extra={"enum": ["done", "failed", "intended"]},
        ),
    ]
    status: Annotated[int, Field(description="HTTP status of a failed request, else 0.")]


class AuditPageView(BaseModel):
    """One page of the trail, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "entries": [
                        {
                            "id": "01764158400000000-0000019f3c21ab",
                            "at": "2025-11-26T12:00:00Z",
                            "actor": "deploy",
                            "token_id": "4fa2c09b17de",
                            "role": "operator",
                            "address": "127.0.0.1",
                            "action": "drain",
                            "target": "default/a",
                            "before": {"state": "healthy"},
                            "after": {"state": "draining"},
                            "request_id": "0b5e1c9a7f3d4c2e",
                            "outcome": "done",
                            "status": 0,
                        }
                    ],
                    "cursor": None,
                    "unreadable": 0,
                }
            ]
        }
    )

    entries: list[AuditEntryView]
    cursor: Annotated[str | None, Field(description="Give it to read on; null at the end.")]
    unreadable: Annotated[int, Field(description="Entries in the store that could not be decoded.", ge=0)]


def audit_router(trail: AuditTrail, access: Access) -> APIRouter:
    """Return the route that reads the trail."""
    router = APIRouter(tags=["audit"])

    @router.get(
        "/api/system/audit",
        operation_id="list_audit_entries",
        summary="Read the audit trail, newest first",
        dependencies=[Depends(access.requires(Role.OPERATOR))],
    )
    async def entries(
        since: Annotated[Time | None, Query(description="At this time or later.")] = None,
        until: Annotated[Time | None, Query(description="Before this time.")] = None,
        actor: Annotated[str, Query(description="Only this token name.", max_length=64)] = "",
        action: Annotated[str, Query(description="Only this action.", max_length=128)] = "",
        cursor: Annotated[
            str, Query(description="The page before's cursor.", pattern=r"^(\d{17}-\d{6}[0-9a-f]{8})?$")
        ] = "",
        limit: Annotated[int, Query(description="Entries on a page.", ge=1, le=1000)] = 100,
    ) -> AuditPageView:
        page = await trail.read(
            AuditQuery(
                since=since.timestamp() if since else None,
                until=until.timestamp() if until else None,
                actor=actor,
                action=action,
                cursor=cursor,
                limit=limit,
            )
        )
        return AuditPageView(
            entries=[_view(entry) for entry in page.entries], cursor=page.cursor or None, unreadable=page.unreadable
        )

    return router


def _view(entry: AuditEntry) -> AuditEntryView:
    return AuditEntryView(
        id=entry.id,
        at=datetime.fromtimestamp(entry.at, UTC),
        actor=entry.actor,
        token_id=entry.token_id,
        role=entry.role,
        address=entry.address,
        action=entry.action,
        target=entry.target,
        before=entry.before,
        after=entry.after,
        request_id=entry.request_id,
        outcome=entry.outcome,
        status=entry.status,
    )
