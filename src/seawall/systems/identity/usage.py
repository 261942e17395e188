"""When each API key was used last: to the minute here, to some minutes in the store, so that use costs few writes."""

import logging

from seawall.core.errors import StateError
from seawall.state.store import StateStore
from seawall.systems.identity.records import LAST_SECOND

__all__ = ["USED_PREFIX", "KeyUsage", "read_usage"]

USED_PREFIX = "identity/used/"

_COARSE = 300.0
"""Seconds that the store may lag behind."""
_BATCH = 200
"""Records written by one call of `flush`."""

_log = logging.getLogger("seawall.identity")


async def read_usage(store: StateStore) -> dict[str, float]:
    """Return when each key was used last, in seconds since the Unix epoch; what cannot be read is left out."""
    found: dict[str, float] = {}
    async for entry in store.scan(USED_PREFIX):
        text = entry.value.decode("ascii", "replace")
        if text.isdigit() and len(text) <= 12 and int(text) <= LAST_SECOND:
            found[entry.key.removeprefix(USED_PREFIX)] = float(text)
    return found


class KeyUsage:
    """Gather what workers say, and share it through the store; nothing depends on it, so a loss does no harm."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._used: dict[str, float] = {}
        self._stored: dict[str, float] = {}

    def last(self, key_id: str) -> float | None:
        """Return when a key was used last, in seconds since the Unix epoch; None for never, as far as is known."""
        return self._used.get(key_id)

    def note(self, key_id: str, at: float) -> None:
        """Take note of a use; the newest counts."""
        if at > self._used.get(key_id, 0.0):
            self._used[key_id] = at

    def keep(self, key_ids: set[str]) -> None:
        """Forget all other keys."""
        for table in (self._used, self._stored):
            for key_id in table.keys() - key_ids:
                del table[key_id]

    async def load(self) -> None:
        """Take what other gateways wrote; raise `StateError` when the store cannot be read."""
        self._stored = await read_usage(self._store)
        for key_id, at in self._stored.items():
            self.note(key_id, at)

    async def flush(self) -> None:
        """Write what is newer than the store by some minutes, at most 200 records; a failure is logged."""
        due = [(key_id, at) for key_id, at in self._used.items() if at - self._stored.get(key_id, 0.0) >= _COARSE]
        try:
            for key_id, at in due[:_BATCH]:
                await self._store.put(USED_PREFIX + key_id, b"%d" % at)
                self._stored[key_id] = at
        except StateError as error:
            _log.info("when API keys were used is not kept for now: %s", error.message)

    async def forget(self, key_id: str) -> None:
        """Remove what is known of a revoked key; raise `StateError` when the store is away."""
        self._used.pop(key_id, None)
        self._stored.pop(key_id, None)
        await self._store.delete(USED_PREFIX + key_id)
