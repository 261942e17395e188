"""Who calls: bearer tokens checked against the shared store through a short-lived copy in memory."""

import asyncio
import logging
import math
import sys
from typing import TextIO

import msgspec

from seawall.admin.instruments import AdminCounters
from seawall.admin.problems import ProblemError
from seawall.admin.throttle import FailureThrottle, network_of
from seawall.admin.tokens import TokenRecord, create_token, list_tokens, make_record, parse_token, read_token
from seawall.core.access import Role
from seawall.core.clock import Clock
from seawall.core.errors import StateError
from seawall.state.store import StateStore

__all__ = ["STALE_LIMIT", "Authenticator", "Identity", "TokenBook", "ensure_admin_token"]

REFRESH = 2.0
"""Seconds that the copy of the tokens is taken as true; with the store's time budget, revocation counts within 5 s."""

STALE_LIMIT = 300.0
"""Seconds that known tokens go on working while the store is away; after that nothing is let in."""

_RETRY = 0.5
"""Seconds between two tries to reach a store that is away."""

_LOOKUP_BURST, _LOOKUP_PERIOD = 20, 0.1
"""Reads of the store for single tokens that the copy does not know, and seconds per further one."""

_STATIC_ID = "environment"
_log = logging.getLogger("seawall.admin")


class Identity(msgspec.Struct, frozen=True):
    """A token that was accepted."""

    token_id: str
    name: str
    role: Role


class TokenBook:
    """Every token in memory, read again when older than `REFRESH` seconds.

    A token that the copy does not know is looked for in the store itself, so that one made a moment ago works at once;
    for all callers together at most 20 times at once and 10 times a second. Safe to call concurrently.
    """

    def __init__(self, store: StateStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._records: dict[str, TokenRecord] = {}
        self._read_at = -math.inf
        self._tried_at = -math.inf
        self._generation = 0
        self._stale = False
        self._reading = asyncio.Lock()
        self._lookups = FailureThrottle(clock, burst=_LOOKUP_BURST, period=_LOOKUP_PERIOD)

    async def find(self, token_id: str) -> TokenRecord | None:
        """Return the record of this id, or None.

        Raises:
            ProblemError: 503, when the store has been away for longer than `STALE_LIMIT` seconds.
        """
        await self._refresh()
        if self._clock.monotonic() - self._read_at > STALE_LIMIT:
            raise self._away()
        record = self._records.get(token_id)
        if record is None and self._lookups.wait("") == 0:
            self._lookups.fail("")
            record = await self._look_up(token_id)
        return record

    def forget(self, token_id: str = "") -> None:
        """Take note of a change made by this process: drop a token now, and read the store again at the next call."""
        self._records.pop(token_id, None)
        self._generation += 1
        self._stale = True

    async def _look_up(self, token_id: str) -> TokenRecord | None:
        generation = self._generation
        try:
            record = await read_token(self._store, token_id)
        except StateError as error:
            raise self._away() from error
        if record is not None and generation == self._generation:
            self._records[token_id] = record
        return record

    def _away(self) -> ProblemError:
        return ProblemError(
            503,
            f"The token cannot be checked: the state store {self._store.url} is away.",
            code="state-unavailable",
            hint=f"bring the store back; tokens used lately work for {STALE_LIMIT:g} s without it",
            headers={"Retry-After": "1"},
        )

    def _due(self) -> bool:
        now = self._clock.monotonic()
        return self._stale or (now - self._read_at >= REFRESH and now - self._tried_at >= _RETRY)

    async def _refresh(self) -> None:
        if not self._due():
            return
        async with self._reading:
            while self._due():
                generation, started = self._generation, self._clock.monotonic()
                self._tried_at = started
                self._stale = False
                try:
                    records = await list_tokens(self._store)
                except StateError as error:
                    _log.warning("tokens cannot be read, going on with those known: %s", error.message)
                    return
                if generation == self._generation:
                    self._records = {record.id: record for record in records}
                    self._read_at = started


class Authenticator:
    """Turns an `Authorization` field into an identity, or refuses.

    Failures are braked per caller's network and token, and tokens that nobody made on an account of their own. A valid
    token is always let in, however many failures went before: a caller without one must not be able to lock out one who
    has it. What makes guessing hopeless is the length of the secret, not the brake; that one keeps the noise down.

    Args:
        static_token: a token with the role admin that is kept nowhere, as `AdminSettings` accepts one; empty for none.
    """

    def __init__(self, store: StateStore, clock: Clock, counters: AdminCounters, *, static_token: str = "") -> None:
        self.book = TokenBook(store, clock)
        self._clock = clock
        self._counters = counters
        self._throttle = FailureThrottle(clock)
        self._static = _static_record(static_token, clock) if static_token else None

    @property
    def has_static_token(self) -> bool:
        """Whether an admin token came from the configuration."""
        return self._static is not None

    async def authenticate(self, authorization: str | None, address: str) -> Identity:
        """Check one request's credentials.

        Args:
            authorization: the field's value, None when absent.
            address: where the caller calls from.

        Raises:
            ProblemError: 401 without valid credentials, 429 after too many failures, 503 when nothing can be checked.
        """
        if not authorization:
            raise self._refusal("missing", "This needs a token.")
        scheme, _, credentials = authorization.partition(" ")
        credentials = credentials.strip()
        if scheme.lower() != "bearer" or not credentials:
            raise self._refusal("malformed", "The Authorization field is not a bearer token.", error="invalid_request")
        parsed = parse_token(credentials)
        token_id, secret = parsed or (_STATIC_ID, credentials)
        record = await self._find(token_id)
        # Compared before the brake is asked, which is for failures only: whoever has the token is never locked out.
        matches = record is not None and record.matches(secret)
        if record is not None and matches and not record.expired(self._clock.wall()):
            return Identity(record.id, record.name, record.role)
        # What does not even name a token is charged to no token's account.
        self._brake((network_of(address), record.id if record and parsed else "unknown"))
        if record is not None and matches:
            raise self._refusal("expired", f"The token {record.name!r} has expired.", error="invalid_token")
        raise self._refusal("unknown", "The token is not valid, or was revoked.", error="invalid_token")

    def _brake(self, lane: tuple[str, str]) -> None:
        """Take note of a failure, or refuse with 429 when there were too many."""
        wait = self._throttle.wait(lane)
        if wait == 0:
            self._throttle.fail(lane)
            return
        self._counters.refused("throttled")
        seconds = math.ceil(wait)
        raise ProblemError(
            429,
            "Too many failed authentications from this address.",
            hint=f"use a valid token, which is let in at once; others are looked at again in {seconds} s",
            headers={"Retry-After": str(seconds)},
        )

    async def _find(self, token_id: str) -> TokenRecord | None:
        if self._static is not None and token_id == self._static.id:
            return self._static
        if token_id == _STATIC_ID:
            return None
        try:
            return await self.book.find(token_id)
        except ProblemError:
            self._counters.refused("unavailable")
            raise

    def _refusal(self, reason: str, detail: str, *, error: str = "") -> ProblemError:
        self._counters.refused(reason)
        suffix = f', error="{error}"' if error else ""
        return ProblemError(
            401,
            detail,
            code="unauthenticated",
            hint="send 'Authorization: Bearer <token>'; 'seawall token create' makes one",
            headers={"WWW-Authenticate": f'Bearer realm="seawall"{suffix}'},
        )


async def ensure_admin_token(store: StateStore, clock: Clock, *, out: TextIO | None = None) -> bool:
    """Make a first admin token when the store has none that is valid, and print it; return whether one was made.

    It is written to the terminal (standard error) only, never to a log: a log is kept and read by others. Two processes
    that start at once on an empty store may both print one; both are valid.

    Raises:
        StateError: the store cannot be read or written.
    """
    now = clock.wall()
    if any(record.role is Role.ADMIN and not record.expired(now) for record in await list_tokens(store)):
        return False
    record, token = await create_token(store, name="first-start", role=Role.ADMIN, now=now, created_by="first start")
    stream = sys.stderr if out is None else out
    stream.write(
        f"\nseawall: no admin token exists yet, so one was made (id {record.id}). It is shown this once:\n\n"
        f"    {token}\n\n"
        "Make others with 'seawall token create', then revoke this one with "
        f"'seawall token revoke {record.id}'.\n\n"
    )
    stream.flush()
    return True


def _static_record(token: str, clock: Clock) -> TokenRecord:
    token_id, secret = parse_token(token) or (_STATIC_ID, token)
    return make_record(
        token_id=token_id,
        secret=secret,
        name=_STATIC_ID,
        role=Role.ADMIN,
        now=clock.wall(),
        created_by="configuration",
    )
