"""What an operator or an instance itself may ask of the registry: the body of `POST /api/system/load-balancer`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from seawall.config.address import check_upstream_url
from seawall.config.section import DAY_MS, Integer, Number
from seawall.systems.balancing.members import ID_PATTERN
from seawall.systems.balancing.status import InstanceStatus

__all__ = ["Action", "ActionResult", "Drain", "Heartbeat", "Register", "Undrain", "Unregister", "Weigh"]

_MIN_TTL_MS = 100

PoolName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="Name of a pool of the configuration.")
]
InstanceId = Annotated[
    str, Field(pattern=f"^{ID_PATTERN.pattern}$", description="Id of the instance within its pool, as `GET` shows it.")
]
Weight = Annotated[Number, Field(gt=0, le=1_000_000, description="Relative capacity.")]
Url = Annotated[
    str,
    AfterValidator(check_upstream_url),
    Field(
        max_length=512,
        description="Where it answers: http://host:port, https://host:port or unix:/path.",
        json_schema_extra={
            # A part of what is accepted, for editors and generators; the full check answers with 422.
            "pattern": r"^(https?://[a-z][a-z0-9]{0,30}(:[1-9][0-9]{0,3})?|unix:/[a-z0-9/]{1,90})$",
            "examples": ["http://10.0.0.7:8080"],
        },
    ),
]
Latitude = Annotated[Number, Field(ge=-90, le=90)]
Longitude = Annotated[Number, Field(ge=-180, le=180)]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    pool: PoolName = "default"


class Register(_Body):
    """Add an instance to a pool, or renew it; it is checked before it gets traffic."""

    action: Literal["register"]
    url: Url
    id: Annotated[
        InstanceId | None, Field(description="Stable name within the pool; the url when it is not given.")
    ] = None
    weight: Weight = 1.0
    region: Annotated[str, Field(max_length=128)] = ""
    location: Annotated[tuple[Latitude, Longitude] | None, Field(description="Latitude and longitude in degrees.")] = (
        None
    )
    ttl_ms: Annotated[
        Integer | None,
        Field(
            ge=_MIN_TTL_MS, le=DAY_MS, description="It goes away when no heartbeat came for so long; null for never."
        ),
    ] = None


class Unregister(_Body):
    """Take a registered instance out: it drains first, then it is forgotten."""

    action: Literal["unregister"]
    id: InstanceId
    drain_ms: Annotated[
        Integer, Field(ge=0, le=DAY_MS, description="Time after which it is forgotten even if requests are in flight.")
    ] = 30_000


class Drain(_Body):
    """Send no new requests to an instance; those in flight and sessions bound to it may finish."""

    action: Literal["drain"]
    id: InstanceId


class Undrain(_Body):
    """Take a drained instance, or one that is being unregistered, back into service."""

    action: Literal["undrain"]
    id: InstanceId


class Weigh(_Body):
    """Give an instance another weight; for one of the file it stays in force until it is changed again."""

    action: Literal["weight"]
    id: InstanceId
    weight: Weight


class Heartbeat(_Body):
    """Renew a registration that has a time to live."""

    action: Literal["heartbeat"]
    id: InstanceId


Action = Annotated[Register | Unregister | Drain | Undrain | Weigh | Heartbeat, Field(discriminator="action")]


class ActionResult(BaseModel):
    """What an action left behind."""

    model_config = ConfigDict(frozen=True)

    action: str
    pool: str
    id: str
    instance: Annotated[
        InstanceStatus | None, Field(description="The instance as it stands now; null when it is gone already.")
    ]
