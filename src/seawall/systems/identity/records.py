"""API keys in the state store: made once, shown once, followed by every gateway that shares the store."""

import asyncio
import logging
import re
import secrets
from collections.abc import Callable

import msgspec

from seawall.core.errors import ConflictError, InvalidError, StateError
from seawall.state.follower import Follower
from seawall.state.store import StateStore
from seawall.systems.identity.apikeys import DIGEST_BYTES, KEY_ID_PATTERN, digest_of
from seawall.systems.identity.claims import MAX_NAME, is_name
from seawall.systems.identity.model import ApiKeySnapshot

__all__ = [
    "KEY_NAME_PATTERN",
    "KEY_PREFIX",
    "LAST_SECOND",
    "MAX_KEYS",
    "KeyBook",
    "KeyLimitError",
    "KeyRecord",
    "create_key",
    "list_keys",
    "read_key",
    "revoke_key",
]

MAX_KEYS = 10_000
"""Keys that one store may hold: every worker holds all of them, some 500 bytes each."""
KEY_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$"
KEY_PREFIX = "identity/keys/"
LAST_SECOND = 253_402_300_799
"""The end of the year 9999 in seconds since the Unix epoch, past which no calendar goes."""

_KEPT_EXPIRED = 86_400.0
"""Seconds that a record outlives its key, so that its user is told "expired" rather than "unknown" for a while."""

_log = logging.getLogger("seawall.identity")


class KeyLimitError(ConflictError):
    """The store holds as many API keys as it may."""

    code = "key-limit"


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An API key as it is kept: everything but the secret.

    Attributes:
        id: public part of the key, twelve hexadecimal digits.
        name: what it is for.
        digest: of the secret, hexadecimal; see `apikeys.digest_of`.
        user, tenant, role: who its bearer is; an empty one says nothing.
        created_at: seconds since the Unix epoch.
        created_by: who made it.
        expires_at: seconds since the Unix epoch, None for never.
    """

    id: str
    name: str
    digest: str
    user: str = ""
    tenant: str = ""
    role: str = ""
    created_at: float
    created_by: str
    expires_at: float | None = None

    def expired(self, now: float) -> bool:
        """Return whether the key is past its time; `now` in seconds since the Unix epoch."""
        return self.expires_at is not None and now >= self.expires_at

    def snapshot(self) -> ApiKeySnapshot:
        """Return it as workers know it."""
        return ApiKeySnapshot(self.id, bytes.fromhex(self.digest), self.user, self.tenant, self.role, self.expires_at)


async def create_key(
    store: StateStore,
    *,
    name: str,
    now: float,
    created_by: str,
    user: str = "",
    tenant: str = "",
    role: str = "",
    expires_at: float | None = None,
) -> tuple[KeyRecord, str]:
    """Make a key and keep its record.

    Args:
        store: where the record is kept.
        name: what it is for; need not be unique.
        now: seconds since the Unix epoch.
        created_by: who asks for it.
        user: who its bearer is; empty for none.
        tenant: the same for the tenant.
        role: the same for the role.
        expires_at: seconds since the Unix epoch, None for never.

    Returns:
        The record, and the key itself, which cannot be had again.

    Raises:
        InvalidError: a name is not acceptable or the expiry is not in the future.
        KeyLimitError: the store holds `MAX_KEYS` keys.
        StateError: the store failed.
    """
    if not re.fullmatch(KEY_NAME_PATTERN, name):
        raise InvalidError(
            f"key name {name!r} is not acceptable",
            hint="use 1 to 64 letters, digits, '.', '_', '@' or '-', beginning with a letter or digit",
        )
    for what, value in (("user", user), ("tenant", tenant), ("role", role)):
        if value and not is_name(value):
            raise InvalidError(f"the {what} is not acceptable", hint=f"use at most {MAX_NAME} printable characters")
    if expires_at is not None and expires_at <= now:
        raise InvalidError("the key would be expired already", hint="give an expiry in the future")
    if len(await list_keys(store)) >= MAX_KEYS:
        raise KeyLimitError(f"there are {MAX_KEYS} API keys already", hint="revoke those that nobody uses")
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    record = KeyRecord(
        id=key_id,
        name=name,
        digest=digest_of(key_id, secret.encode()).hex(),
        user=user,
        tenant=tenant,
        role=role,
        created_at=now,
        created_by=created_by,
        expires_at=expires_at,
    )
    ttl = None if expires_at is None else expires_at - now + _KEPT_EXPIRED
    await store.put(KEY_PREFIX + key_id, msgspec.json.encode(record), ttl=ttl)
    return record, f"sw_{key_id}_{secret}"


async def list_keys(store: StateStore) -> list[KeyRecord]:
    """Return every key's record, oldest first; one that cannot be read is left out, since it lets nobody in."""
    records = [_decoded(entry.key, entry.value) async for entry in store.scan(KEY_PREFIX)]
    return sorted(
        [record for record in records if isinstance(record, KeyRecord)],
        key=lambda record: (record.created_at, record.id),
    )


async def read_key(store: StateStore, key_id: str) -> KeyRecord | None:
    """Return one key's record, None when there is none that can be read."""
    value = await store.get(KEY_PREFIX + key_id)
    record = None if value is None else _decoded(KEY_PREFIX + key_id, value)
    return record if isinstance(record, KeyRecord) else None


async def revoke_key(store: StateStore, key_id: str) -> KeyRecord | None:
    """Remove a key; return what it was, None when there is none of this id. An unreadable record goes, too."""
    if not re.fullmatch(KEY_ID_PATTERN, key_id):
        return None
    record = await read_key(store, key_id)
    return record if await store.delete(KEY_PREFIX + key_id) else None


def _decoded(key: str, value: bytes) -> KeyRecord | str:
    """Return the record, or why it is none."""
    try:
        record = msgspec.json.decode(value, type=KeyRecord)
        digest = bytes.fromhex(record.digest)
    except (msgspec.DecodeError, ValueError) as error:
        return str(error)
    if len(digest) != DIGEST_BYTES:
        return f"its digest has {len(digest)} bytes, not {DIGEST_BYTES}"
    if key != KEY_PREFIX + record.id:
        return "it names another id"
    if not all(0 <= at <= LAST_SECOND for at in (record.created_at, record.expires_at or 0.0)):
        return "its times are not within the years 1970 to 9999"
    return record


class KeyBook:
    """The keys as the store has them, followed; the last known ones outlive the store.

    Args:
        store: where they are kept.
        on_change: called when one came, went or changed.

    Attributes:
        records: by id.
        loaded: whether the store was ever read.
        trouble: why the store cannot be followed right now; empty when it can.
        unreadable: keys of the store whose record cannot be read, with the reason.
    """

    def __init__(self, store: StateStore, on_change: Callable[[], None]) -> None:
        self._store = store
        self._on_change = on_change
        self._touched: set[str] = set()
        self._loading = asyncio.Lock()
        self._follower = Follower(store, KEY_PREFIX, self, "seawall-api-keys")
        self.records: dict[str, KeyRecord] = {}
        self.loaded = False
        self.trouble = ""
        self.unreadable: dict[str, str] = {}

    async def load(self) -> None:
        """Read everything; raise `StateError` when the store cannot be reached, and change nothing then."""
        async with self._loading:
            self._touched.clear()
            stored = {entry.key: entry.value async for entry in self._store.scan(KEY_PREFIX)}
            self.unreadable = {key: reason for key, reason in self.unreadable.items() if key in stored}
            known = {KEY_PREFIX + key_id for key_id in self.records}
            # What changed while the scan ran is newer than what the scan saw.
            for key in (stored.keys() | known) - self._touched:
                self.take(key, stored.get(key))
            first, self.loaded = not self.loaded, True
        if self.trouble:
            _log.info("state store %s is back", self._store.url)
        self.trouble = ""
        if first:
            self._on_change()

    def start(self) -> None:
        """Follow the store from now on."""
        self._follower.start()

    async def stop(self) -> None:
        """Follow the store no longer."""
        await self._follower.stop()

    def take(self, key: str, value: bytes | None) -> None:
        """Take one entry of the store as it is now."""
        self._touched.add(key)
        key_id = key.removeprefix(KEY_PREFIX)
        after = None if value is None else _decoded(key, value)
        if isinstance(after, str):
            if key not in self.unreadable:
                _log.warning("the API key at %s cannot be read and lets nobody in: %s", key, after)
            self.unreadable[key] = after
            after = None
        else:
            self.unreadable.pop(key, None)
        before = self.records.get(key_id)
        if after == before:
            return
        if after is None:
            del self.records[key_id]
        else:
            self.records[key_id] = after
        self._on_change()

    def troubled(self, error: StateError) -> None:
        """Take note that the store cannot be followed."""
        if not self.trouble:
            _log.warning("state store %s is away, going on with the last known API keys: %s", self._store.url, error)
        self.trouble = error.message
