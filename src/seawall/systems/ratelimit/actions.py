"""What an operator may ask of the limits: the body of `POST /api/system/rate-limit`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from seawall.config.section import DAY_MS, Integer, Number
from seawall.systems.ratelimit.settings import RuleSettings

__all__ = [
    "Action",
    "ActionResult",
    "BlockSubject",
    "OverrideSubject",
    "RemoveRule",
    "ResetKey",
    "SetRule",
    "UnblockSubject",
]

_LONGEST_MS = 366 * DAY_MS
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

RuleId = Annotated[str, Field(pattern=_NAME, description="Id of a rule, as `GET` shows it.")]
Version = Annotated[
    Integer | None,
    Field(
        ge=0,
        le=2**53 - 1,
        description="`book_version` as `GET` showed it; when the limits have changed since, 409 and nothing changes.",
    ),
]
Duration = Annotated[
    Integer | None, Field(ge=1, le=_LONGEST_MS, description="Milliseconds until it ends by itself; null for never.")
]
Subject = Annotated[
    str,
    Field(
        min_length=1,
        max_length=512,
        description="identity:NAME, user:NAME, tenant:NAME, api-key:ID, role:NAME, client:ADDRESS or client:NETWORK.",
        examples=["client:192.0.2.0/24"],
    ),
]
Key = Annotated[
    str,
    Field(
        min_length=1,
        max_length=1024,
        description="A key as `GET` shows it among `top` and `offenders`, such as user:alice or client:192.0.2.7.",
    ),
]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Version = None


class SetRule(_Body):
    """Add a rule, or change the one of the same id; counts go on where key and windows stay the same."""

    action: Literal["set-rule"]
    rule: Annotated[RuleSettings, Field(description="An element of `ratelimit.rules` of the configuration.")]
    before: Annotated[
        RuleId | None, Field(description="The rule that a new one stands before; it stands last when not given.")
    ] = None


class RemoveRule(_Body):
    """Take out a rule that was set at run time; one of the file that it stood for is in force again."""

    action: Literal["remove-rule"]
    id: RuleId


class ResetKey(_Body):
    """Forget a key's counts and violations, on every gateway."""

    action: Literal["reset"]
    key: Key


class BlockSubject(_Body):
    """Refuse everything of a subject."""

    action: Literal["block"]
    subject: Subject
    ttl_ms: Duration = None
    reason: Annotated[str, Field(max_length=256, description="Shown to operators, never to the client.")] = ""


class UnblockSubject(_Body):
    """Lift a block, whoever set it: an operator on a subject, or the ladder of violations on a key."""

    action: Literal["unblock"]
    subject: Key


class OverrideSubject(_Body):
    """Give a subject a limit of its own, or take it away again."""

    action: Literal["override"]
    subject: Subject
    limit: Annotated[
        Number | None,
        Field(
            gt=0,
            le=1e9,
            description="Requests per first window of a rule in place of what base and role make; null takes it away.",
        ),
    ]
    ttl_ms: Duration = None
    rule: Annotated[RuleId | None, Field(description="Only for this rule; for every rule when not given.")] = None


Action = Annotated[
    SetRule | RemoveRule | ResetKey | BlockSubject | UnblockSubject | OverrideSubject, Field(discriminator="action")
]


class ActionResult(BaseModel):
    """What an action left behind."""

    model_config = ConfigDict(frozen=True)

    action: str
    target: Annotated[str, Field(description="The rule, or the subject or key in its one spelling.")]
    changed: Annotated[bool, Field(description="False when there was nothing to change.")]
    book_version: Annotated[int, Field(description="Version of what operators have set, after the action.", ge=0)]
