"""Named atomic transitions: written once in Python, with a Lua twin for Redis."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

__all__ = ["Script", "ScriptContext", "ScriptValue"]

ScriptValue = int | bytes | None | list["ScriptValue"]
"""What a script takes and returns: integers (signed 53 bit, so that Lua agrees), bytes, None and lists of them."""


class ScriptContext(Protocol):
    """What a script's Python form may touch: only its keys, and the store's clock."""

    @property
    def now_us(self) -> int:
        """Microseconds since the Unix epoch on the store's clock; constant within one run."""
        ...

    def get(self, key: str) -> bytes | None:
        """Return the value as this script left it, or as it is in the store; None when absent or expired."""
        ...

    def put(self, key: str, value: bytes, ttl_ms: int | None = None) -> None:
        """Set a key; without `ttl_ms` it stays for good, whatever it had before."""
        ...

    def delete(self, key: str) -> bool:
        """Remove a key; return whether it was there."""
        ...


class Script(msgspec.Struct, frozen=True):
    """An atomic transition.

    Whatever it writes is applied after it has returned: a script that raises has changed nothing. It may touch no key
    but those that it was called with.

    Attributes:
        name: unique, for errors and metrics. transition: the Python form; pure but for its context. Raise
        `StateError` to refuse. lua: the Redis twin, the body of a function. It sees `KEYS` and `ARGV` as Python does,
        counted from 1, with None as
            nil, and the context as `now_us()`, `get(key)` (nil when absent), `put(key, value, ttl_ms)` and
            `delete(key)` (a Lua boolean). Writes go through `put` and `delete` only, else nobody is told;
            `redis.call` may read. It returns integers, strings, `false` for None and tables of them; `error('why')`
            refuses.
    """

    name: str
    transition: Callable[[ScriptContext, Sequence[str], Sequence[ScriptValue]], ScriptValue]
    lua: str
