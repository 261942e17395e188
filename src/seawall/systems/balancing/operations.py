"""Carry out actions on the registry: what is allowed, what is refused and why."""

from collections.abc import Callable, Mapping

import msgspec

from seawall.core.clock import Clock
from seawall.core.errors import ConflictError, NotFoundError
from seawall.systems.balancing.actions import Action, Drain, Heartbeat, Register, Undrain, Unregister, Weigh
from seawall.systems.balancing.members import Member, Source
from seawall.systems.balancing.registry import Registration, Registry
from seawall.systems.balancing.settings import MAX_INSTANCES

__all__ = ["Operations"]


class Operations:
    """Apply actions through the registry, atomically over all gateways that share the store.

    Args:
        members: returns a pool's present members by id, from every source, or None when there is no such pool.
        pools: returns the names of all pools, for messages.
    """

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        members: Callable[[str], Mapping[str, Member] | None],
        pools: Callable[[], list[str]],
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._members = members
        self._pools = pools

    async def perform(self, action: Action) -> str:
        """Carry out one action; return the id of the instance that it was about.

        Raises:
            NotFoundError: there is no such pool or instance.
            ConflictError: it is at odds with what exists.
            StateUnavailableError: the store cannot be reached; nothing was changed.
        """
        members = self._members(action.pool)
        if members is None:
            known = ", ".join(self._pools()) or "there is none"
            raise NotFoundError(f"there is no pool {action.pool!r}", hint=f"pools: {known}")
        if isinstance(action, Register):
            return await self._register(action, members)
        member = members.get(action.id)
        if member is None and self._registry.registration(action.pool, action.id) is None:
            raise _unknown(action.pool, action.id)
        source = Source.REGISTRY if member is None else member.source
        match action:
            case Unregister():
                await self._unregister(action, source)
            case Heartbeat():
                await self._heartbeat(action, source)
            case Drain() | Undrain() | Weigh():
                await self._set(action, source)
        return action.id

    async def _register(self, action: Register, members: Mapping[str, Member]) -> str:
        instance_id = action.id or action.url
        member = members.get(instance_id)
        if member is not None and member.source is not Source.REGISTRY:
            raise ConflictError(
                f"instance {instance_id!r} of pool {action.pool!r} comes from {_origin(member.source)} already",
                hint="give the new instance another id",
            )
        if member is None and len(members) >= MAX_INSTANCES:
            raise ConflictError(f"pool {action.pool!r} has {MAX_INSTANCES} instances, which is the limit")
        ttl_ms = action.ttl_ms or 0
        wanted = Registration(
            url=action.url,
            weight=action.weight,
            region=action.region,
            location=action.location,
            ttl_ms=ttl_ms,
            expires_at=self._end(ttl_ms),
        )

        def change(stored: Registration | None) -> Registration:
            if stored is None or stored.leaving:
                return wanted
            if stored.url != wanted.url:
                raise ConflictError(
                    f"instance {instance_id!r} of pool {action.pool!r} is registered at {stored.url} already",
                    hint="unregister that one first, or give the new one another id",
                )
            # An operator drained it; registering again, as instances do when they restart, must not undo that.
            return msgspec.structs.replace(wanted, draining=stored.draining)

        await self._registry.change_registration(action.pool, instance_id, change)
        return instance_id

    async def _unregister(self, action: Unregister, source: Source) -> None:
        if source is not Source.REGISTRY:
            raise ConflictError(
                f"instance {action.id!r} of pool {action.pool!r} comes from {_origin(source)}, not from the registry",
                hint="drain it here, and remove it there",
            )
        ends = self._clock.wall() + action.drain_ms / 1000

        def change(record: Registration) -> Registration | None:
            if action.drain_ms == 0:
                return None
            end = ends if not record.leaving or record.expires_at is None else min(ends, record.expires_at)
            return msgspec.structs.replace(record, leaving=True, expires_at=end)

        await self._change(action.pool, action.id, change)

    async def _heartbeat(self, action: Heartbeat, source: Source) -> None:
        if source is not Source.REGISTRY:
            raise ConflictError(
                f"instance {action.id!r} of pool {action.pool!r} comes from {_origin(source)} and needs no heartbeat"
            )

        def change(record: Registration) -> Registration:
            if record.leaving:
                raise ConflictError(
                    f"instance {action.id!r} of pool {action.pool!r} is being unregistered",
                    hint="register it again when it shall stay",
                )
            return msgspec.structs.replace(record, expires_at=self._end(record.ttl_ms))

        await self._change(action.pool, action.id, change)

    async def _set(self, action: Drain | Undrain | Weigh, source: Source) -> None:
        if source is not Source.REGISTRY:
            change = msgspec.structs.replace
            await self._registry.change_override(
                action.pool,
                action.id,
                lambda override: (
                    change(override, weight=action.weight)
                    if isinstance(action, Weigh)
                    else change(override, draining=isinstance(action, Drain))
                ),
            )
            return

        def changed(record: Registration) -> Registration:
            match action:
                case Weigh(weight=weight):
                    return msgspec.structs.replace(record, weight=weight)
                case Drain():
                    return msgspec.structs.replace(record, draining=True)
                case Undrain():
                    end = self._end(record.ttl_ms) if record.leaving else record.expires_at
                    return msgspec.structs.replace(record, draining=False, leaving=False, expires_at=end)

        await self._change(action.pool, action.id, changed)

    async def _change(self, pool: str, instance_id: str, change: Callable[[Registration], Registration | None]) -> None:
        def existing(stored: Registration | None) -> Registration | None:
            if stored is None:  # it ended, or another gateway was faster
                raise _unknown(pool, instance_id)
            return change(stored)

        await self._registry.change_registration(pool, instance_id, existing)

    def _end(self, ttl_ms: int) -> float | None:
        return self._clock.wall() + ttl_ms / 1000 if ttl_ms else None


def _origin(source: Source) -> str:
    return "the configuration file" if source is Source.FILE else "DNS"


def _unknown(pool: str, instance_id: str) -> NotFoundError:
    return NotFoundError(
        f"pool {pool!r} has no instance {instance_id!r}",
        hint="GET /api/system/load-balancer lists the instances; a registration that ended must be made again",
    )
