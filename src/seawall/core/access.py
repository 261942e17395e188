"""Who may change what: the seam between a system's admin routes and the admin API's authentication."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Protocol

import msgspec

__all__ = ["Access", "Caller", "Role", "problem_answer"]


class Role(StrEnum):
    """Each role may do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class Caller(msgspec.Struct, frozen=True):
    """An authenticated caller of the admin API; `name` is the token's name, `address` where it called from."""

    name: str
    role: Role
    address: str


class Access(Protocol):
    """What the admin API offers to a system's routes."""

    def requires(self, role: Role) -> Callable[..., Any]:
        """Return a FastAPI dependency that gives the `Caller`, or refuses with 401 or 403."""
        ...

    async def record(self, caller: Caller, action: str, target: str, before: object, after: object) -> None:
        """Write one change to the audit trail; `before` and `after` are JSON-compatible, secrets removed."""
        ...


def problem_answer(description: str) -> dict[str, Any]:
    """Return how a route's OpenAPI description tells of an answer that is an RFC 9457 problem.

    The schema itself is the admin API's, which stands above the systems.
    """
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {"application/problem+json": {"schema": schema}}}
