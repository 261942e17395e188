"""API keys: how they look, and the digest by which they are known.

A key is `sw_<id>_<secret>`. The id is public: it names the record, appears in lists, in the audit trail and as
`Identity.api_key`. The secret is 256 bits from the system's generator and is shown once; what is kept is a BLAKE2b-256
of it, keyed by the id. A slow password hash would add nothing: it defends guessable passwords, and 2^256 cannot be
guessed at any speed; it would only let anyone without a key burn the workers' time. The id in the digest binds the
two, so that a record moved to another id lets nobody in.
"""

import hashlib
import hmac
import re

from seawall.systems.identity.model import ApiKeySnapshot

__all__ = ["DIGEST_BYTES", "KEY_ID_PATTERN", "MAX_KEY_BYTES", "digest_of", "is_secret_of", "split_key"]

DIGEST_BYTES = 32
KEY_ID_PATTERN = r"^[0-9a-f]{12}$"
MAX_KEY_BYTES = 128
"""Bytes of a field that are looked at; a key has 59."""

_SHAPE = re.compile(rb"sw_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_PURPOSE = b"seawall-api-key"


def split_key(text: bytes) -> tuple[str, bytes] | None:
    """Return (id, secret) of a well-formed key, or None."""
    match = _SHAPE.fullmatch(text) if len(text) <= MAX_KEY_BYTES else None
    return (match[1].decode(), match[2]) if match else None


def digest_of(key_id: str, secret: bytes) -> bytes:
    """Return what is kept of a secret; costs about 1 us."""
    return hashlib.blake2b(secret, digest_size=DIGEST_BYTES, key=key_id.encode(), person=_PURPOSE).digest()


def is_secret_of(key: ApiKeySnapshot, secret: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(digest_of(key.id, secret), key.digest)
