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

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, value: bytes, ttl_ms: int | None = None) -> None: ...

    def delete(self, key: str) -> bool: ...


class Script(msgspec.Struct, frozen=True):
    """An atomic transition.

    Attributes:
        name: unique, for errors and metrics.
        transition: the Python form; pure but for its context.
        lua: the Redis twin over the same KEYS and ARGV; it finds the store's time in microseconds by `redis.call('TIME')`.
    """

    name: str
    transition: Callable[[ScriptContext, Sequence[str], Sequence[ScriptValue]], ScriptValue]
    lua: str
