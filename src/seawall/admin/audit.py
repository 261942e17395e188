"""The audit trail: who changed what, when, from where, in the shared store.

It fails closed. Before a route that changes something runs, an entry that tells the intent is written; when that fails
the request is refused and nothing changes. The route's own record then completes the entry. So a change without an
entry cannot happen, and an entry whose outcome stayed `intended` tells of a change whose end could not be written.
"""

import heapq
import logging
import re
import secrets
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from seawall.admin.instruments import AdminCounters
from seawall.admin.problems import ProblemError
from seawall.core.clock import Clock
from seawall.core.errors import StateError
from seawall.state.store import StateStore

__all__ = ["AUDIT_PREFIX", "AuditEntry", "AuditPage", "AuditQuery", "AuditTrail", "redact"]

AUDIT_PREFIX = "audit/"
MAX_AGE = 90 * 86_400.0
"""Seconds that an entry is kept at most."""
MAX_VALUE_BYTES = 65_536
"""Encoded size above which `before` or `after` is replaced by its size: an entry must fit the store and a page."""
TRIM_EVERY = 64
"""Entries between two trims; the trail exceeds its bound by at most this many per writing process."""

_SECRET = re.compile(r"token|secret|passw|authorization|cookie|credential|private|api_?key|digest|salt", re.IGNORECASE)
_REDACTED = "[redacted]"
_log = logging.getLogger("seawall.admin")

Outcome = Literal["intended", "done", "failed"]


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change.

    Attributes:
        id: sorts by time; also the page's cursor.
        at: seconds since the Unix epoch.
        actor: name of the token.
        address: where the caller called from; `unix` for a Unix socket.
        action: the verb, such as `drain`; of an entry that was only intended, the method and path.
        target: what was changed.
        before: JSON-compatible, secrets removed.
        after: the same.
        outcome: `done`; `intended` when the end could not be written; `failed` when the request ended in an error.
        status: HTTP status of a request that failed, else 0.
    """

    id: str
    at: float
    actor: str
    token_id: str
    role: str
    address: str
    action: str
    target: str
    before: Any = None
    after: Any = None
    request_id: str = ""
    outcome: Outcome = "done"
    status: int = 0


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What to read; times in seconds since the Unix epoch, `since` inclusive, `until` exclusive; empty matches all."""

    since: float | None = None
    until: float | None = None
    actor: str = ""
    action: str = ""
    cursor: str = ""
    limit: int = 100


class AuditPage(msgspec.Struct, frozen=True):
    """Entries, newest first.

    Attributes:
        cursor: give it to read on; empty at the end.
        unreadable: entries in the store that could not be decoded.
    """

    entries: list[AuditEntry]
    cursor: str
    unreadable: int


class AuditTrail:
    """Writes and reads the trail.

    Args:
        max_entries: kept at most; the oldest go first.

    Safe to call concurrently, also from many processes over one store.
    """

    def __init__(self, store: StateStore, clock: Clock, counters: AdminCounters, *, max_entries: int = 10_000) -> None:
        self._store = store
        self._clock = clock
        self._counters = counters
        self._max_entries = max_entries
        self._tag = secrets.token_hex(4)
        self._sequence = 0
        self._since_trim = TRIM_EVERY

    def new_id(self) -> tuple[str, float]:
        """Return a fresh id, unique over all processes, and the time that it sorts by."""
        # Whole microseconds, so that the time that a page shows can be asked for exactly.
        at_us = int(self._clock.wall() * 1_000_000)
        self._sequence = (self._sequence + 1) % 1_000_000
        return f"{at_us:017d}-{self._sequence:06d}{self._tag}", at_us / 1_000_000

    async def write(self, entry: AuditEntry) -> None:
        """Write or complete an entry.

        Raises:
            ProblemError: 503 `audit-unavailable`, when the store did not take it.
        """
        entry = msgspec.structs.replace(entry, before=_bounded(entry.before), after=_bounded(entry.after))
        try:
            await self._store.put(AUDIT_PREFIX + entry.id, msgspec.json.encode(entry), ttl=MAX_AGE)
        except StateError as error:
            self._counters.audited("failed")
            raise ProblemError(
                503,
                f"The audit trail cannot be written: {error.message}",
                code="audit-unavailable",
                hint="changes are refused until the state store is back",
                headers={"Retry-After": "1"},
            ) from error
        self._counters.audited("written")
        self._since_trim += 1
        if self._since_trim >= TRIM_EVERY:
            self._since_trim = 0
            await self._trim()

    async def withdraw(self, entry_id: str) -> None:
        """Remove the intent of a request that changed nothing."""
        try:
            await self._store.delete(AUDIT_PREFIX + entry_id)
        except StateError as error:
            _log.warning("audit entry %s stays as intended, though nothing was changed: %s", entry_id, error.message)

    async def read(self, query: AuditQuery) -> AuditPage:
        """Return one page; costs a scan of the whole trail.

        Raises:
            StateError: the store failed.
        """
        unreadable = 0
        # The store yields oldest first and the newest are wanted; one more than the page tells whether there is a rest.
        newest: list[tuple[str, AuditEntry]] = []
        async for item in self._store.scan(AUDIT_PREFIX):
            try:
                entry = msgspec.json.decode(item.value, type=AuditEntry)
            except msgspec.DecodeError:
                unreadable += 1
                continue
            if not _matches(entry, query):
                continue
            heapq.heappush(newest, (item.key, entry))
            if len(newest) > query.limit + 1:
                heapq.heappop(newest)
        ordered = [entry for _, entry in sorted(newest, key=lambda pair: pair[0], reverse=True)]
        more = len(ordered) > query.limit
        entries = ordered[: query.limit]
        return AuditPage(entries, entries[-1].id if more and entries else "", unreadable)

    async def _trim(self) -> None:
        """Drop the oldest beyond the bound; age is the store's to keep."""
        try:
            keys = [item.key async for item in self._store.scan(AUDIT_PREFIX)]
            for key in keys[: max(len(keys) - self._max_entries, 0)]:
                await self._store.delete(key)
        except StateError as error:
            _log.warning("the audit trail could not be trimmed: %s", error.message)


def redact(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a JSON-compatible copy without secrets: fields named like one, and passwords in urls."""
    return _redact(msgspec.to_builtins(value, str_keys=True, enc_hook=str))


def _redact(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {
            key: _REDACTED if _SECRET.search(key) and isinstance(item, (str, bytes)) and item else _redact(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_redact(item) for item in value]
    if isinstance(value, str) and "://" in value:
        return _without_password(value)
    return value


def _without_password(url: str) -> str:
    try:
        authority = urlsplit(url).netloc
    except ValueError:
        return url
    userinfo, at, host = authority.rpartition("@")
    return url.replace(authority, f"{_REDACTED}@{host}", 1) if at and userinfo else url


def _bounded(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    clean = redact(value)
    size = len(msgspec.json.encode(clean))
    return clean if size <= MAX_VALUE_BYTES else {"omitted": "too large for the trail", "bytes": size}


def _matches(entry: AuditEntry, query: AuditQuery) -> bool:
    return (
        (not query.cursor or entry.id < query.cursor)
        and (query.since is None or entry.at >= query.since)
        and (query.until is None or entry.at < query.until)
        and (not query.actor or entry.actor == query.actor)
        and (not query.action or entry.action == query.action)
    )
