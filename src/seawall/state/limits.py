"""The bounds that every backend keeps, checked before anything is written."""

import math
from collections.abc import Sequence

from seawall.core.errors import StateError
from seawall.state.script import ScriptValue

__all__ = [
    "MAX_INTEGER",
    "MAX_KEY_BYTES",
    "MAX_TTL_MS",
    "MAX_VALUE_BYTES",
    "PREFIX_END",
    "check_key",
    "check_prefix",
    "check_script_value",
    "check_ttl_ms",
    "check_value",
    "ttl_to_ms",
]

MAX_KEY_BYTES = 512
MAX_VALUE_BYTES = 1024 * 1024
MAX_INTEGER = 2**53 - 1
"""Largest magnitude that a Lua 5.1 number (an IEEE double) holds exactly."""
MAX_TTL_MS = 100 * 365 * 24 * 3600 * 1000
"""A hundred years; Redis refuses expiry times that overflow a signed 64-bit count of milliseconds."""
PREFIX_END = "\x7f"
"""Sorts after every character that a key may hold, so `[prefix, prefix + PREFIX_END)` is the prefix's range."""

_FIRST_PRINTABLE, _LAST_PRINTABLE = " ", "~"


def check_key(key: str) -> None:
    """Raise `StateError` unless the key is 1..512 printable ASCII characters."""
    if not key:
        raise StateError("a state key must not be empty")
    check_prefix(key)


def check_prefix(prefix: str) -> None:
    """Raise `StateError` unless the prefix is at most 512 printable ASCII characters; it may be empty."""
    if len(prefix) > MAX_KEY_BYTES:
        raise StateError(
            f"state key {prefix[:40]!r}... has {len(prefix)} characters, at most {MAX_KEY_BYTES} are accepted",
            hint="hash the variable part of the key",
        )
    for character in prefix:
        if not _FIRST_PRINTABLE <= character <= _LAST_PRINTABLE:
            raise StateError(
                f"state key {prefix[:60]!r} holds {character!r}, which is not printable ASCII",
                hint="percent-encode or hash the variable part of the key",
            )


def check_value(key: str, value: object) -> None:
    """Raise `StateError` unless the value is bytes of at most 1 MiB."""
    if not isinstance(value, bytes):
        raise StateError(f"the value of state key {key!r} must be bytes, not {type(value).__name__}")
    if len(value) > MAX_VALUE_BYTES:
        raise StateError(
            f"the value of state key {key!r} has {len(value)} bytes, at most {MAX_VALUE_BYTES} are accepted",
            hint="split the value over several keys",
        )


def check_ttl_ms(key: str, ttl_ms: object) -> None:
    """Raise `StateError` unless the time to live is None or a whole number of milliseconds within 1..100 years."""
    if ttl_ms is None:
        return
    if not isinstance(ttl_ms, int) or isinstance(ttl_ms, bool) or not 1 <= ttl_ms <= MAX_TTL_MS:
        raise StateError(
            f"the time to live of state key {key!r} is {ttl_ms!r} ms, a whole number in 1..{MAX_TTL_MS} is accepted",
            hint="pass None to keep the key for good",
        )


def ttl_to_ms(key: str, ttl: float | None) -> int | None:
    """Convert seconds to whole milliseconds, rounded up; raise `StateError` when not above 0 and within 100 years."""
    if ttl is None:
        return None
    if not 0 < ttl <= MAX_TTL_MS / 1000:  # also refuses NaN, which compares false with everything
        raise StateError(
            f"the time to live of state key {key!r} is {ttl!r} s, a number above 0 and up to 100 years is accepted",
            hint="pass None to keep the key for good, or delete it",
        )
    return math.ceil(ttl * 1000)


def check_script_value(where: str, value: object) -> ScriptValue:
    """Return the value when every backend can carry it, raise `StateError` that names `where` otherwise."""
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        if -MAX_INTEGER <= value <= MAX_INTEGER:
            return value
        raise StateError(f"{where} holds {value}, which is beyond the 53 bits that Lua counts exactly")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [check_script_value(where, item) for item in value]
    raise StateError(
        f"{where} holds {value!r} of type {type(value).__name__}",
        hint="use integers, bytes, None and lists of them; for a truth value use 1 and 0",
    )
