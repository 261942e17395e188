"""What identity shows of itself, in the admin API and on the dashboard."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from seawall.systems.identity.issuer import IssuerKeys
from seawall.systems.identity.records import KeyRecord

__all__ = ["ApiKeysStatus", "IdentityStatus", "IssuerStatus", "KeyStatus", "issuer_status", "key_status", "moment"]


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class KeyStatus(_View):
    """An API key without its secret."""

    id: Annotated[str, Field(description="Its public part.")]
    name: str
    user: str
    tenant: str
    role: str
    created_at: datetime
    created_by: str
    expires_at: Annotated[datetime | None, Field(description="Null when it never expires.")]
    expired: bool
    last_used_at: Annotated[
        datetime | None,
        Field(description="To the minute for uses of this gateway, to some minutes for others; null for never."),
    ]


class ApiKeysStatus(_View):
    """The API keys."""

    enabled: Annotated[bool, Field(description="Whether requests are looked at for keys.")]
    header: str
    total: Annotated[int, Field(description="How many there are.", ge=0)]
    keys: Annotated[list[KeyStatus], Field(description="Oldest first, as many as were asked for.")]


class IssuerStatus(_View):
    """The issuer of tokens."""

    issuer: str
    audience: list[str]
    algorithms: list[str]
    source: Annotated[str, Field(description="Where its keys come from: a url or a file.")]
    keys: Annotated[list[str], Field(description="Ids of the keys that tokens can be checked with.")]
    left_out: Annotated[list[str], Field(description="Keys that are not used, and why.")]
    fetched_at: Annotated[datetime | None, Field(description="When the url gave these keys last; null for a file.")]
    trouble: Annotated[str, Field(description="Why the source cannot be read right now; empty when it can.")]


class IdentityStatus(_View):
    """Who may call, and who did."""

    version: Annotated[int, Field(description="Of the snapshot that the workers were given last.")]
    required: bool
    findings: Annotated[dict[str, str], Field(description="What an operator should know; empty when all is well.")]
    requests: Annotated[dict[str, int], Field(description="Requests let in by what proved who calls.")]
    refusals: Annotated[dict[str, int], Field(description="Requests refused, by reason.")]
    api_keys: ApiKeysStatus
    jwt: Annotated[IssuerStatus | None, Field(description="Null when tokens are not looked at.")]
    trusted_headers: Annotated[list[str], Field(description="Fields in which trusted proxies say who calls.")]


def moment(seconds: float | None) -> datetime | None:
    """Return a time in UTC; `seconds` since the Unix epoch, None for none."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def key_status(record: KeyRecord, now: float, last_used: float | None) -> KeyStatus:
    """Return a key's status; times in seconds since the Unix epoch."""
    return KeyStatus(
        id=record.id,
        name=record.name,
        user=record.user,
        tenant=record.tenant,
        role=record.role,
        created_at=datetime.fromtimestamp(record.created_at, UTC),
        created_by=record.created_by,
        expires_at=moment(record.expires_at),
        expired=record.expired(now),
        # Uses are noted to the minute, and none was before the key.
        last_used_at=None if last_used is None else moment(max(last_used, record.created_at)),
    )


def issuer_status(issuer: IssuerKeys) -> IssuerStatus:
    """Return an issuer's status."""
    settings, material = issuer.settings, issuer.material
    return IssuerStatus(
        issuer=settings.issuer,
        audience=list(settings.audience),
        algorithms=list(settings.algorithms),
        source=issuer.source,
        keys=[key.kid for key in material.read.keys],
        left_out=list(material.read.left_out),
        fetched_at=moment(material.fetched_at or None),
        trouble=issuer.trouble,
    )
