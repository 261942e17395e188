"""What an operator may ask of threat detection: the body of `POST /api/system/threat-detection`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from seawall.config.section import DAY_MS, Integer, Switch
from seawall.systems.threats.settings import ExclusionSettings

__all__ = [
    "EVENT_ID",
    "Action",
    "ActionResult",
    "Allow",
    "Block",
    "Disallow",
    "Exclude",
    "Feedback",
    "SetMode",
    "Unblock",
]

EVENT_ID = r"^[0-9a-f]{8,20}-[0-9A-Za-z]{1,16}-[0-9a-f]{1,16}$"
"""What ids of events look like."""

ModeName = Literal["off", "log", "block"]
Duration = Annotated[
    Integer | None,
    Field(ge=1, le=366 * DAY_MS, description="Milliseconds until it ends by itself; null for never."),
]
Subject = Annotated[
    str,
    Field(
        min_length=1,
        max_length=512,
        description="client:ADDRESS, network:NETWORK or account:NAME; an address or network alone will do.",
        examples=["client:192.0.2.7"],
    ),
]
Network = Annotated[
    str,
    Field(min_length=1, max_length=64, description="An address or a network.", examples=["192.0.2.0/24"]),
]
Reason = Annotated[str, Field(max_length=256, description="Shown to operators.")]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Block(_Body):
    """Refuse a client, a network or an account."""

    action: Literal["block"]
    subject: Subject
    ttl_ms: Duration = None
    reason: Reason = ""


class Unblock(_Body):
    """Lift a ban, whoever set it, and forget what led to it."""

    action: Literal["unblock"]
    subject: Subject


class Allow(_Body):
    """Ask nothing of a network: it wins over every list and ban."""

    action: Literal["allow"]
    network: Network
    ttl_ms: Duration = None
    reason: Reason = ""


class Disallow(_Body):
    """Take a network off the allow-list again."""

    action: Literal["disallow"]
    network: Network


class Feedback(_Body):
    """Say of an event whether it was an attack."""

    action: Literal["feedback"]
    event: Annotated[str, Field(pattern=EVENT_ID, description="Its id.")]
    false_positive: Annotated[Switch, Field(description="Whether it was none.")]


class SetMode(_Body):
    """Set the mode of everything, of a path, or of a rule, until it is set to null."""

    action: Literal["set-mode"]
    mode: Annotated[ModeName | None, Field(description="null for what the configuration says.")]
    path: Annotated[
        str | None, Field(pattern=r"^/[!-~]{0,1023}$", description="Only for requests below this path.")
    ] = None
    rule: Annotated[
        str | None,
        Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}\*?$", description="Only for this rule, class, or prefix with *."),
    ] = None


class Exclude(_Body):
    """Find something no more at some place, as an example proves; or find it again."""

    action: Literal["exclude"]
    exclusion: ExclusionSettings
    remove: Annotated[Switch, Field(description="Take the same exclusion back.")] = False


Action = Annotated[Block | Unblock | Allow | Disallow | Feedback | SetMode | Exclude, Field(discriminator="action")]


class ActionResult(BaseModel):
    """What an action left behind."""

    model_config = ConfigDict(frozen=True)

    action: str
    target: Annotated[str, Field(description="What it was about, in its one spelling.")]
    changed: Annotated[bool, Field(description="False when there was nothing to change.")]
