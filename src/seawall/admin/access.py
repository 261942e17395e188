"""Roles on routes, and the audit entry that a change begins and ends with."""

import logging
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from fastapi import Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from seawall.admin.audit import AuditEntry, AuditTrail
from seawall.admin.authentication import Identity
from seawall.admin.problems import ProblemError
from seawall.core.access import Caller, Role

__all__ = ["AdminAccess", "AuthenticatedCaller", "Change", "may"]

_SCHEMES = {
    role: HTTPBearer(
        scheme_name=role.value,
        description=f"A token with the role {role.value} or above, from `seawall token create`.",
        auto_error=False,
    )
    for role in Role
}
"""One OpenAPI scheme per role, so that the description tells what each operation needs."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_RANK = {Role.VIEWER: 0, Role.OPERATOR: 1, Role.ADMIN: 2}
_log = logging.getLogger("seawall.admin")


def may(role: Role, needed: Role) -> bool:
    """Return whether a role includes another."""
    return _RANK[role] >= _RANK[needed]


class Change:
    """The audit entry of one request that may change something; lives as long as the request."""

    def __init__(self, trail: AuditTrail, intent: AuditEntry) -> None:
        self._trail = trail
        self._intent = intent
        self._recorded: list[AuditEntry] = []

    async def record(self, action: str, target: str, before: Any, after: Any) -> None:  # noqa: ANN401 - JSON values
        """Complete the intent; later calls of the same request write entries of their own."""
        entry_id, at = self._trail.new_id() if self._recorded else (self._intent.id, self._intent.at)
        entry = msgspec.structs.replace(
            self._intent, id=entry_id, at=at, action=action, target=target, before=before, after=after, outcome="done"
        )
        await self._trail.write(entry)
        self._recorded.append(entry)

    async def settle(self, status: int) -> None:
        """Close the entry once the answer is known, before it is sent.

        Nothing recorded and no server error means that nothing was changed: the intent goes. A server error leaves an
        entry that says so, since what was changed by then is not known.
        """
        if not self._recorded and status < 500:
            await self._trail.withdraw(self._intent.id)
            return
        if status < 400:
            return
        for entry in self._recorded or [self._intent]:
            try:
                await self._trail.write(msgspec.structs.replace(entry, outcome="failed", status=status))
            except ProblemError as error:
                _log.warning("audit entry %s could not be closed with status %d: %s", entry.id, status, error.detail)


class AuthenticatedCaller(Caller, frozen=True, kw_only=True):
    """A caller with what the audit trail wants to know; `change` is None on a route that changes nothing."""

    token_id: str = ""
    request_id: str = ""
    change: Any = None


class AdminAccess:
    """What systems' routes get; implements `seawall.core.access.Access`."""

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail

    def requires(self, role: Role) -> Callable[..., Any]:
        """Return a FastAPI dependency, for `Depends`, that gives the caller or refuses with 403.

        On a method that may change something it writes the intent first, and refuses with 503 when it cannot. The token
        itself was checked before routing, so that nobody without one learns even which routes exist.
        """

        async def caller(
            request: Request,
            _credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_SCHEMES[role])],
        ) -> AuthenticatedCaller:
            identity: Identity | None = request.state.identity
            if identity is None:
                raise ProblemError(401, "This needs a token.", headers={"WWW-Authenticate": 'Bearer realm="seawall"'})
            if not may(identity.role, role):
                raise ProblemError(
                    403,
                    f"This needs the role {role.value}; the token {identity.name!r} has {identity.role.value}.",
                    hint="use a token with that role",
                )
            request_id: str = request.state.request_id
            address: str = request.state.address
            change = None
            if request.method not in _SAFE_METHODS:
                change = await self._begin(request, identity)
            return AuthenticatedCaller(
                name=identity.name,
                role=identity.role,
                address=address,
                token_id=identity.token_id,
                request_id=request_id,
                change=change,
            )

        return caller

    async def record(
        self,
        caller: Caller,
        action: str,
        target: str,
        before: Any,  # noqa: ANN401 - any JSON value
        after: Any,  # noqa: ANN401 - any JSON value
    ) -> None:
        """Write one change to the audit trail; what is the same before and after is no change, and is not written.

        So a heartbeat that renews a registration, or a weight set to what it is, does not push real changes out of the
        bounded trail.

        Raises:
            ProblemError: 503 `audit-unavailable`; on an unsafe method the intent is in the trail then.
        """
        if before is not None and before == after:
            return
        if isinstance(caller, AuthenticatedCaller) and isinstance(caller.change, Change):
            await caller.change.record(action, target, before, after)
            return
        entry_id, at = self._trail.new_id()
        await self._trail.write(
            AuditEntry(
                id=entry_id,
                at=at,
                actor=caller.name,
                token_id=caller.token_id if isinstance(caller, AuthenticatedCaller) else "",
                role=caller.role.value,
                address=caller.address,
                action=action,
                target=target,
                before=before,
                after=after,
                request_id=caller.request_id if isinstance(caller, AuthenticatedCaller) else "",
            )
        )

    async def _begin(self, request: Request, identity: Identity) -> Change:
        if isinstance(existing := getattr(request.state, "change", None), Change):
            return existing
        entry_id, at = self._trail.new_id()
        intent = AuditEntry(
            id=entry_id,
            at=at,
            actor=identity.name,
            token_id=identity.token_id,
            role=identity.role.value,
            address=request.state.address,
            action=f"{request.method} {request.url.path}",
            target=request.url.path,
            request_id=request.state.request_id,
            outcome="intended",
        )
        await self._trail.write(intent)
        change = Change(self._trail, intent)
        request.state.change = change
        return change
