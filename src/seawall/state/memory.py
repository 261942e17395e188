"""State in one process's memory: for tests and throwaway runs; nothing survives, nothing is shared."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Sequence

from seawall.core.clock import Clock
from seawall.core.errors import StateUnavailableError
from seawall.state.feed import ChangeFeed
from seawall.state.limits import check_key, check_prefix
from seawall.state.script import Script, ScriptValue
from seawall.state.store import Change, Entry
from seawall.state.transition import Transition, check_call, run_transition
from seawall.state.writes import ScriptedWrites

__all__ = ["MemoryStore"]

_SWEEP_INTERVAL = 0.1
"""Seconds between looks at expired keys while somebody watches."""


class MemoryStore(ScriptedWrites):
    """A dictionary behind the state contract; every call returns at once.

    Args:
        clock: decides when keys expire, by its wall time.
    """

    url = "memory://"

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[str, tuple[bytes, int | None]] = {}
        """Key to (value, microseconds since the epoch at which it expires, or None)."""
        self._expiries: list[tuple[int, str]] = []
        """Heap of (expiry, key); an item is stale when the key's own expiry differs."""
        self._feed = ChangeFeed()
        self._sweeper: asyncio.Task[None] | None = None
        self._closed = False

    async def get(self, key: str) -> bytes | None:
        """Return the value, or None when absent or expired."""
        check_key(key)
        self._sweep()
        return self._read(key)

    async def scan(self, prefix: str) -> AsyncIterator[Entry]:
        """Yield every live entry under the prefix, in key order."""
        check_prefix(prefix)
        self._sweep()
        for key in sorted(key for key in self._entries if key.startswith(prefix)):
            value = self._read(key)
            if value is not None:
                yield Entry(key, value)

    def watch(self, prefix: str) -> AsyncIterator[Change]:
        """Yield changes under the prefix from now on."""
        check_prefix(prefix)
        subscription = self._feed.subscribe(prefix)
        subscription.resync()
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.get_running_loop().create_task(self._sweep_while_watched())
        return subscription

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[ScriptValue]) -> ScriptValue:
        """Run a script's Python form; nothing else runs meanwhile."""
        keys, args = check_call(script, keys, args)
        now_us = self._sweep()
        transition = Transition(keys, now_us, self._read)
        result = run_transition(script, transition, keys, args)
        for key, write in transition.writes.items():
            if write.value is not None:
                self._store(key, write.value, None if write.ttl_ms is None else now_us + write.ttl_ms * 1000)
            elif self._entries.pop(key, None) is not None:
                self._feed.publish(key, None)
        return result

    async def ping(self) -> None:
        """Raise when the store was closed."""
        self._sweep()

    async def close(self) -> None:
        """Forget everything and end the watchers."""
        self._closed = True
        self._entries.clear()
        self._expiries.clear()
        self._feed.close(_closed())
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)

    def _read(self, key: str) -> bytes | None:
        entry = self._entries.get(key)
        return None if entry is None else entry[0]

    def _store(self, key: str, value: bytes, expires_us: int | None) -> None:
        self._entries[key] = (value, expires_us)
        if expires_us is not None:
            heapq.heappush(self._expiries, (expires_us, key))
            if len(self._expiries) > 2 * len(self._entries) + 64:  # mostly stale: keys renewed long before they expire
                self._expiries = [(at, key) for key, (_, at) in self._entries.items() if at is not None]
                heapq.heapify(self._expiries)
        self._feed.publish(key, value)

    def _sweep(self) -> int:
        """Remove what has expired; return the time in microseconds since the epoch. Costs one comparison mostly."""
        if self._closed:
            raise _closed()
        now_us = int(self._clock.wall() * 1_000_000)
        while self._expiries and self._expiries[0][0] <= now_us:
            expires_us, key = heapq.heappop(self._expiries)
            entry = self._entries.get(key)
            if entry is not None and entry[1] == expires_us:
                del self._entries[key]
                self._feed.publish(key, None)
        return now_us

    async def _sweep_while_watched(self) -> None:
        while self._feed:
            self._sweep()
            await asyncio.sleep(_SWEEP_INTERVAL)


def _closed() -> StateUnavailableError:
    return StateUnavailableError("the state store memory:// was closed")
