"""Bearer tokens of the admin API: how they look, how they are kept, how they are checked.

A token is `sw_<id>_<secret>`. The id is public: it names the entry, appears in lists and in the audit trail. The secret
is 256 bits from the system's generator and is shown once; the store keeps a salted SHA-256 of it. A slow password hash
would add nothing: it defends guessable passwords, and 2^256 cannot be guessed at any speed; it would only let anyone
without a token burn the control process's time. The salt keeps equal secrets apart and precomputed tables useless.
"""

import hashlib
import hmac
import logging
import re
import secrets

import msgspec

from seawall.core.access import Role
from seawall.core.errors import ConflictError, InvalidError
from seawall.state.store import StateStore

__all__ = [
    "MAX_TOKENS",
    "TOKEN_NAME_PATTERN",
    "TOKEN_PREFIX",
    "TokenLimitError",
    "TokenRecord",
    "create_token",
    "list_tokens",
    "make_record",
    "parse_token",
    "read_token",
    "revoke_token",
]

MAX_TOKENS = 1000
"""Tokens that one store may hold; they are kept in memory by every admin API, so their number is bounded."""

TOKEN_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$"  # noqa: S105 - a pattern of names, not a password
TOKEN_PREFIX = "admin/tokens/"  # noqa: S105 - a key prefix, not a password

_SHAPE = re.compile(r"sw_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", re.ASCII)
_log = logging.getLogger("seawall.admin")


class TokenLimitError(ConflictError):
    """The store holds as many tokens as it may."""

    code = "token-limit"


class TokenRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A token as it is kept: everything but the secret.

    Attributes:
        id: public part of the token, twelve hexadecimal digits.
        salt: hexadecimal.
        digest: hexadecimal SHA-256 over the salt's bytes followed by the secret.
        created_at: seconds since the Unix epoch.
        created_by: name of the token that made it, or what else did.
        expires_at: seconds since the Unix epoch; None when it never expires.
    """

    id: str
    name: str
    role: Role
    salt: str
    digest: str
    created_at: float
    created_by: str
    expires_at: float | None = None

    def matches(self, secret: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(_digest(bytes.fromhex(self.salt), secret), self.digest)

    def expired(self, now: float) -> bool:
        """Return whether the token is past its time; `now` in seconds since the Unix epoch."""
        return self.expires_at is not None and now >= self.expires_at


def parse_token(text: str) -> tuple[str, str] | None:
    """Return (id, secret) of a well-formed token, or None."""
    match = _SHAPE.fullmatch(text)
    return (match[1], match[2]) if match else None


def make_record(
    *,
    token_id: str,
    secret: str,
    name: str,
    role: Role,
    now: float,
    created_by: str,
    expires_at: float | None = None,
) -> TokenRecord:
    """Return the record to keep for a secret, with a fresh salt."""
    salt = secrets.token_bytes(16)
    return TokenRecord(
        id=token_id,
        name=name,
        role=role,
        salt=salt.hex(),
        digest=_digest(salt, secret),
        created_at=now,
        created_by=created_by,
        expires_at=expires_at,
    )


async def create_token(
    store: StateStore,
    *,
    name: str,
    role: Role,
    now: float,
    created_by: str,
    expires_at: float | None = None,
) -> tuple[TokenRecord, str]:
    """Make a token and keep its record.

    Args:
        store: where the record is kept.
        name: what it is for; need not be unique.
        role: what it may do.
        now: seconds since the Unix epoch.
        created_by: who asks for it.
        expires_at: seconds since the Unix epoch, None for never.

    Returns:
        The record, and the token itself, which cannot be had again.

    Raises:
        InvalidError: the name is not acceptable or the expiry is not in the future.
        TokenLimitError: the store holds `MAX_TOKENS` tokens.
        StateError: the store failed.
    """
    if not re.fullmatch(TOKEN_NAME_PATTERN, name):
        raise InvalidError(
            f"token name {name!r} is not acceptable",
            hint="use 1 to 64 letters, digits, '.', '_', '@' or '-', beginning with a letter or digit",
        )
    if expires_at is not None and expires_at <= now:
        raise InvalidError("the token would be expired already", hint="give an expiry in the future")
    if len(await list_tokens(store)) >= MAX_TOKENS:
        raise TokenLimitError(f"there are {MAX_TOKENS} tokens already", hint="revoke those that nobody uses")
    token_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    record = make_record(
        token_id=token_id, secret=secret, name=name, role=role, now=now, created_by=created_by, expires_at=expires_at
    )
    # The record outlives the expiry by a day so that a caller is told "expired" rather than "unknown" for a while.
    ttl = None if expires_at is None else expires_at - now + 86_400.0
    await store.put(TOKEN_PREFIX + token_id, msgspec.json.encode(record), ttl=ttl)
    return record, f"sw_{token_id}_{secret}"


async def list_tokens(store: StateStore) -> list[TokenRecord]:
    """Return every token's record, oldest first; one that cannot be read is left out (so refused) with a warning."""
    records = [_decoded(entry.key, entry.value) async for entry in store.scan(TOKEN_PREFIX)]
    return sorted([record for record in records if record], key=lambda record: (record.created_at, record.id))


async def read_token(store: StateStore, token_id: str) -> TokenRecord | None:
    """Return one token's record, or None when there is none that can be read."""
    value = await store.get(TOKEN_PREFIX + token_id)
    return None if value is None else _decoded(TOKEN_PREFIX + token_id, value)


async def revoke_token(store: StateStore, token_id: str) -> TokenRecord | None:
    """Remove a token; return what it was, or None when there is none of this id."""
    record = await read_token(store, token_id)
    return record if record is not None and await store.delete(TOKEN_PREFIX + token_id) else None


def _decoded(key: str, value: bytes) -> TokenRecord | None:
    try:
        record = msgspec.json.decode(value, type=TokenRecord)
        bytes.fromhex(record.salt)
    except (msgspec.DecodeError, ValueError) as error:
        _log.warning("token at %s cannot be read and is refused: %s", key, error)
        return None
    if key != TOKEN_PREFIX + record.id:
        _log.warning("token at %s names another id and is refused", key)
        return None
    return record


def _digest(salt: bytes, secret: str) -> str:
    return hashlib.sha256(salt + secret.encode("utf-8", "surrogateescape")).hexdigest()
