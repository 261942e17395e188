"""Registered instances and operators' overrides in the state store, shared by every gateway that uses the store."""

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

import msgspec

from seawall.core.clock import Clock
from seawall.core.errors import ConflictError, StateError
from seawall.state.follower import Follower
from seawall.state.scripts import compare_and_set, put_if_absent
from seawall.state.store import StateStore
from seawall.systems.balancing.members import Member, Override, Source
from seawall.systems.balancing.model import InstanceSnapshot, InstanceState

__all__ = ["Registration", "Registry", "resumed"]

_log = logging.getLogger("seawall.balancing.registry")

_PREFIX = "balancing/"
_INSTANCES = "balancing/instances/"
_OVERRIDES = "balancing/overrides/"
_SECRETS = "balancing/affinity/"
_ATTEMPTS = 16
_CLOCKS_APART = 0.5


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """A registered instance as it stands in the state store, as JSON.

    Attributes:
        ttl_ms: time that a registration lives without a heartbeat; 0 for good.
        expires_at: seconds since the Unix epoch at which it ends, None for never; the store itself keeps the time.
        leaving: it is being unregistered; the record ends when it is idle or its time to live is over.
    """

    url: str
    weight: float = 1.0
    region: str = ""
    location: tuple[float, float] | None = None
    draining: bool = False
    leaving: bool = False
    ttl_ms: int = 0
    expires_at: float | None = None

    def member(self, instance_id: str) -> Member:
        """Return it as a pool's member."""
        return Member(
            id=instance_id,
            url=self.url,
            source=Source.REGISTRY,
            weight=self.weight,
            region=self.region,
            location=self.location,
            draining=self.draining or self.leaving,
            leaving=self.leaving,
            expires_at=self.expires_at,
        )


def resumed(instance: InstanceSnapshot, now: float) -> Registration | Override | None:
    """Return what the store said about an instance, as far as the last known snapshot tells; None for nothing.

    Only a registration brings an instance back: one of the file or of DNS returns through these, or is gone.

    Args:
        instance: as it was published last.
        now: seconds since the Unix epoch.
    """
    draining = instance.state is InstanceState.DRAINING
    if instance.source != Source.REGISTRY:
        return Override(draining=True) if draining else None
    if instance.leaves_at is not None and instance.leaves_at <= now:
        return None
    return Registration(
        url=instance.url,
        weight=instance.weight,
        region=instance.region,
        location=instance.location,
        draining=draining and instance.leaves_at is None,
        leaving=instance.leaves_at is not None,
        expires_at=instance.leaves_at,
    )


_Key = tuple[str, str]
_Record = Registration | Override
_R = TypeVar("_R", Registration, Override)
_READERS: dict[str, msgspec.json.Decoder[Registration] | msgspec.json.Decoder[Override]] = {
    _INSTANCES: msgspec.json.Decoder(Registration),
    _OVERRIDES: msgspec.json.Decoder(Override),
}
_encode = msgspec.json.encode


class Registry:
    """What the store says about instances, kept in memory and followed; the last known state outlives the store.

    Args:
        on_change: called with a pool's name when its members or overrides changed in a way that matters.
    """

    def __init__(self, store: StateStore, clock: Clock, on_change: Callable[[str], None]) -> None:
        self._store = store
        self._clock = clock
        self._on_change = on_change
        self._registrations: dict[_Key, Registration] = {}
        self._overrides: dict[_Key, Override] = {}
        self._expired: dict[str, set[str]] = {}
        self._touched: set[str] = set()
        self._loading = asyncio.Lock()
        self._follower = Follower(store, _PREFIX, self, "seawall-registry")
        self.trouble = ""
        """Why the store cannot be followed right now; empty when it can."""
        self.unreadable: dict[str, str] = {}
        """Keys whose record cannot be read, with the reason."""

    def registrations(self, pool: str) -> dict[str, Registration]:
        """Return a pool's registrations by instance id."""
        return {key[1]: record for key, record in self._registrations.items() if key[0] == pool}

    def registration(self, pool: str, instance_id: str) -> Registration | None:
        """Return one registration, or None."""
        return self._registrations.get((pool, instance_id))

    def overrides(self, pool: str) -> dict[str, Override]:
        """Return what operators changed about instances of the file and of DNS."""
        return {key[1]: record for key, record in self._overrides.items() if key[0] == pool}

    def take_expired(self, pool: str) -> set[str]:
        """Return the ids whose registration ended for want of a heartbeat since the last call."""
        return self._expired.pop(pool, set())

    def resume(self, pool: str, instance_id: str, record: Registration | Override) -> None:
        """Take the last known state of an instance while the store cannot be read."""
        if isinstance(record, Registration):
            self._registrations[pool, instance_id] = record
        else:
            self._overrides[pool, instance_id] = record

    async def load(self) -> None:
        """Read everything; raise `StateUnavailableError` when the store cannot be reached, and change nothing then."""
        async with self._loading:
            self._touched.clear()
            stored = {entry.key: entry.value async for entry in self._store.scan(_PREFIX)}
            self.unreadable.clear()
            known = [f"{_INSTANCES}{pool}/{instance_id}" for pool, instance_id in self._registrations]
            known += [f"{_OVERRIDES}{pool}/{instance_id}" for pool, instance_id in self._overrides]
            # What changed while the scan ran is newer than what the scan saw.
            for key in (stored.keys() | set(known)) - self._touched:
                self.take(key, stored.get(key))
        self._recovered()

    def start(self) -> None:
        """Follow the store from now on."""
        self._follower.start()

    async def stop(self) -> None:
        """Follow the store no longer."""
        await self._follower.stop()

    async def secret(self, pool: str, fresh: bytes) -> bytes:
        """Return the pool's affinity key, the same for every gateway; `fresh` becomes it when there is none."""
        key = f"{_SECRETS}{pool}"
        if not await put_if_absent(self._store, key, fresh):
            return await self._store.get(key) or await self.secret(pool, fresh)
        return fresh

    async def change_registration(
        self, pool: str, instance_id: str, change: Callable[[Registration | None], Registration | None]
    ) -> Registration | None:
        """Change one registration atomically; `change` may be called again when another gateway was faster.

        Args:
            pool: name of the pool.
            instance_id: id within the pool.
            change: takes what is stored (None: nothing) and returns what shall be (None: nothing); it raises to refuse.
        """
        key = f"{_INSTANCES}{pool}/{instance_id}"
        for _ in range(_ATTEMPTS):
            stored = await self._store.get(key)
            before = _read(stored, Registration)
            after = change(before)
            if after == before:
                return after
            value = None if after is None else _encode(after)
            ttl = None
            if after is not None and after.expires_at is not None:
                ttl = max(after.expires_at - self._clock.wall(), 0.001)
            if await compare_and_set(self._store, key, stored, value, ttl=ttl):
                self.take(key, value)
                return after
        raise _contended(pool, instance_id)

    async def change_override(self, pool: str, instance_id: str, change: Callable[[Override], Override]) -> Override:
        """Change what an operator says about an instance of the file or of DNS, atomically."""
        key = f"{_OVERRIDES}{pool}/{instance_id}"
        for _ in range(_ATTEMPTS):
            stored = await self._store.get(key)
            after = change(_read(stored, Override) or Override())
            value = None if after == Override() else _encode(after)
            if value == stored or await compare_and_set(self._store, key, stored, value):
                self.take(key, value)
                return after
        raise _contended(pool, instance_id)

    def take(self, key: str, value: bytes | None) -> None:
        """Take one entry of the store as it is now."""
        prefix = next((prefix for prefix in _READERS if key.startswith(prefix)), "")
        if not prefix:
            return
        self._touched.add(key)
        pool, _, instance_id = key.removeprefix(prefix).partition("/")
        place: _Key = (pool, instance_id)
        records: dict[_Key, _Record] = self._registrations if prefix == _INSTANCES else self._overrides  # type: ignore[assignment]
        before = records.get(place)
        after: _Record | None = None
        if value is not None:
            try:
                after = _READERS[prefix].decode(value)
            except msgspec.DecodeError as error:
                if key not in self.unreadable:
                    _log.warning("state key %s cannot be read and is left out: %s", key, error)
                self.unreadable[key] = str(error)
        if after is None:
            records.pop(place, None)
            if isinstance(before, Registration) and self._ran_out(before):
                self._expired.setdefault(pool, set()).add(instance_id)
        else:
            records[place] = after
        if _without_time(before) != _without_time(after):
            self._on_change(pool)

    def _ran_out(self, record: Registration) -> bool:
        """Return whether a record that is gone ended by its time; the store's clock may differ from ours a little."""
        ends = record.expires_at
        return not record.leaving and ends is not None and self._clock.wall() >= ends - _CLOCKS_APART

    def troubled(self, error: StateError) -> None:
        """Take note that the store cannot be followed; what is known of instances stays."""
        if not self.trouble:
            _log.warning("state store %s is away, going on with the last known instances: %s", self._store.url, error)
        self.trouble = error.message

    def _recovered(self) -> None:
        if self.trouble:
            _log.info("state store %s is back", self._store.url)
        self.trouble = ""


def _read(stored: bytes | None, kind: type[_R]) -> _R | None:
    """Return a stored record; one that cannot be read counts as absent, so that writing it again mends it."""
    if stored is None:
        return None
    try:
        return msgspec.json.decode(stored, type=kind)
    except msgspec.DecodeError:
        return None


def _without_time(record: _Record | None) -> _Record | None:
    """Return what matters to a pool: a heartbeat moves only the end of a registration."""
    if isinstance(record, Registration):
        return msgspec.structs.replace(record, expires_at=None)
    return record


def _contended(pool: str, instance_id: str) -> ConflictError:
    return ConflictError(
        f"instance {instance_id!r} of pool {pool!r} is being changed by others too fast to follow",
        hint="try again",
    )
