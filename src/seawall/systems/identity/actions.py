"""What an operator may ask of identity: the body of `POST /api/system/identity`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from seawall.systems.identity.apikeys import KEY_ID_PATTERN
from seawall.systems.identity.claims import MAX_NAME, is_name
from seawall.systems.identity.records import KEY_NAME_PATTERN
from seawall.systems.identity.status import KeyStatus

__all__ = ["Action", "ActionResult", "CreateKey", "RefreshIssuer", "RevokeKey"]


def _check_name(text: str) -> str:
    if text and not is_name(text):
        raise ValueError("printable characters only")
    return text


Name = Annotated[
    str,
    AfterValidator(_check_name),
    # A part of what is accepted, for generators; the full check answers with 422.
    Field(max_length=MAX_NAME, json_schema_extra={"pattern": r"^[ -~]*$"}),
]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CreateKey(_Body):
    """Make an API key; the answer shows it, this once."""

    action: Literal["create-key"]
    name: Annotated[str, Field(description="What it is for; shown in lists.", pattern=KEY_NAME_PATTERN)]
    user: Annotated[Name, Field(description="User as whom its bearer counts; empty for none.")] = ""
    tenant: Annotated[Name, Field(description="The same for the tenant.")] = ""
    role: Annotated[Name, Field(description="The same for the role.")] = ""
    expires_days: Annotated[
        float | None, Field(description="Days until it expires; null for never.", ge=0.001, le=3650, strict=True)
    ] = None


class RevokeKey(_Body):
    """Let a key in no longer: every gateway that shares the state store follows within 1 s."""

    action: Literal["revoke-key"]
    id: Annotated[str, Field(description="Public part of the key, as `GET` shows it.", pattern=KEY_ID_PATTERN)]


class RefreshIssuer(_Body):
    """Fetch the token issuer's keys now."""

    action: Literal["refresh-issuer"]


Action = Annotated[CreateKey | RevokeKey | RefreshIssuer, Field(discriminator="action")]


class ActionResult(BaseModel):
    """What an action left behind."""

    model_config = ConfigDict(frozen=True)

    action: str
    key: Annotated[KeyStatus | None, Field(description="The key that it was about; null when it was about none.")]
    secret: Annotated[str | None, Field(description="A new key in full, shown this once; null when none was made.")] = (
        None
    )
