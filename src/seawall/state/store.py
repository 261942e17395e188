"""The contract that every state backend keeps."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec

from seawall.state.script import Script, ScriptValue

__all__ = ["Change", "Entry", "StateStore"]


class Entry(msgspec.Struct, frozen=True):
    """A key and its value, as `scan` yields them."""

    key: str
    value: bytes


class Change(msgspec.Struct, frozen=True):
    """One change under a watched prefix; `value` is None when the key went away (deleted or expired).

    A change with an empty key means that changes may have been missed: scan again. Every watch begins with one, as
    soon as it is in force, so that a scan made on it misses nothing; another follows a reconnect, or a reader that is
    too slow.
    """

    key: str
    value: bytes | None


class StateStore(Protocol):
    """Shared state: small values, atomic transitions, change notices.

    Keys are `/`-separated printable ASCII, at most 512 bytes; values at most 1 MiB; past a limit a call raises
    `StateError` and changes nothing. Every call has a time budget and raises `StateTimeoutError` past it (a write may
    or may not have been made), `StateUnavailableError` when the store is away or the breaker is open. Safe to call
    concurrently, from one event loop.
    """

    @property
    def url(self) -> str:
        """The backend's URL with secrets removed."""
        ...

    async def get(self, key: str) -> bytes | None:
        """Return the value, or None when absent or expired."""
        ...

    async def put(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        """Set a value; `ttl` in seconds, None keeps it for good."""
        ...

    async def delete(self, key: str) -> bool:
        """Remove a key; return whether it was there."""
        ...

    def scan(self, prefix: str) -> AsyncIterator[Entry]:
        """Yield every live entry under the prefix, in key order; read in pages, not at one instant."""
        ...

    def watch(self, prefix: str) -> AsyncIterator[Change]:
        """Yield changes under the prefix from now on, from every process that shares the store, within 1 s.

        Call it within the running loop. Changes of one key come in order and end with its newest value; quick
        successions may be merged. It outlives outages of the store, and ends with `StateUnavailableError` on `close`.
        """
        ...

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[ScriptValue]) -> ScriptValue:
        """Run a named atomic transition over the given keys."""
        ...

    async def ping(self) -> None:
        """Raise when the store cannot be reached."""
        ...

    async def close(self) -> None:
        """Release connections; pending calls fail."""
        ...
