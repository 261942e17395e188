"""Hand changes from one source to many watchers, each with its own bounded buffer."""

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator, Collection

from seawall.core.errors import StateError, StateUnavailableError
from seawall.state.store import Change

__all__ = ["RESYNC", "ChangeFeed", "Subscription"]

RESYNC = Change("", None)
"""Changes may have been missed: scan again."""

_BUFFER_LIMIT = 4096
"""Changes kept for a watcher that does not read; past it they are dropped for one `RESYNC`."""


class Subscription(AsyncIterator[Change]):
    """The changes under one prefix; ends when the feed is closed, or by itself when nobody holds it any more."""

    def __init__(self, prefix: str, *, limit: int = _BUFFER_LIMIT) -> None:
        self.prefix = prefix
        self.in_force = False
        """Whether it has had its first `RESYNC`."""
        self._limit = limit
        self._buffer: deque[Change] = deque()
        self._filled = asyncio.Event()
        self._error: StateError | None = None

    async def __anext__(self) -> Change:
        while not self._buffer:
            if self._error is not None:
                raise self._error
            self._filled.clear()
            await self._filled.wait()
        return self._buffer.popleft()

    def push(self, change: Change) -> None:
        """Add a change; a full buffer is replaced by one `RESYNC`."""
        if len(self._buffer) >= self._limit:
            self._buffer.clear()
            change = RESYNC
        self._buffer.append(change)
        self._filled.set()

    def resync(self) -> None:
        """Drop what is buffered, it is older than the scan that the watcher must now make, and say so."""
        self.in_force = True
        self._buffer.clear()
        self.push(RESYNC)

    def end(self, error: StateError) -> None:
        """Raise the error from the watcher's next read."""
        self._buffer.clear()
        self._error = error
        self._filled.set()


class ChangeFeed:
    """The watchers of one store; used from the event loop's thread only."""

    def __init__(self) -> None:
        # Weak, so that a watcher that stops reading and lets go costs nothing from then on.
        self._subscriptions: weakref.WeakSet[Subscription] = weakref.WeakSet()
        self._closed: StateUnavailableError | None = None

    def __bool__(self) -> bool:
        return len(self._subscriptions) > 0

    @property
    def prefixes(self) -> set[str]:
        """The prefixes that somebody watches."""
        return {subscription.prefix for subscription in self._subscriptions}

    def subscribe(self, prefix: str) -> Subscription:
        """Add a watcher; it gets changes at once, and its first `RESYNC` when the source says so."""
        if self._closed is not None:
            raise self._closed
        subscription = Subscription(prefix)
        self._subscriptions.add(subscription)
        return subscription

    def publish(self, key: str, value: bytes | None, *, watched: str | None = None) -> None:
        """Hand a change to every watcher whose prefix fits, or to those of exactly the prefix `watched`."""
        change = Change(key, value)
        for subscription in list(self._subscriptions):
            fits = key.startswith(subscription.prefix) if watched is None else subscription.prefix == watched
            if fits:
                subscription.push(change)

    def resync(self, prefix: str | None = None) -> None:
        """Tell every watcher, or those of exactly this prefix, to scan again."""
        for subscription in list(self._subscriptions):
            if prefix is None or subscription.prefix == prefix:
                subscription.resync()

    def put_in_force(self, prefixes: Collection[str] | None = None) -> None:
        """Give newcomers, or those of these prefixes only, their first `RESYNC`."""
        for subscription in list(self._subscriptions):
            if not subscription.in_force and (prefixes is None or subscription.prefix in prefixes):
                subscription.resync()

    def close(self, error: StateUnavailableError) -> None:
        """End every watcher with the error, and refuse new ones with it."""
        self._closed = error
        for subscription in list(self._subscriptions):
            subscription.end(error)
