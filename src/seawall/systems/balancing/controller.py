"""The balancing controller: the truth about pools and instances; one class, since its loops share all its state."""

import asyncio
import logging
import secrets
from collections.abc import Coroutine, Iterable, Mapping

import msgspec

from seawall.core.errors import NotFoundError, StateError
from seawall.core.instruments import Sample
from seawall.core.system import ControllerContext, WorkerId
from seawall.systems.balancing.actions import Action, ActionResult, Unregister
from seawall.systems.balancing.checker import HealthChecker
from seawall.systems.balancing.dns import NameWatch, Resolve, resolve_name
from seawall.systems.balancing.endpoint import Endpoint
from seawall.systems.balancing.findings import findings
from seawall.systems.balancing.fleet import Fleet
from seawall.systems.balancing.health import CheckResult
from seawall.systems.balancing.members import Member
from seawall.systems.balancing.membership import TlsContexts, check_plans, members_of, names_of
from seawall.systems.balancing.model import (
    BalancingReport,
    BalancingSnapshot,
    PoolSnapshot,
    RouteSnapshot,
    StrategyName,
)
from seawall.systems.balancing.news import ChangeLog, changes_of
from seawall.systems.balancing.operations import Operations
from seawall.systems.balancing.outliers import Ejected, OutlierChange
from seawall.systems.balancing.plan import PoolPlan, plan_pools, plan_routes
from seawall.systems.balancing.registry import Registration, Registry, resumed
from seawall.systems.balancing.settings import BalancingSettings
from seawall.systems.balancing.status import LoadBalancerStatus, PoolStatus, instance_status, pool_status

__all__ = ["BalancingController"]

_log = logging.getLogger("seawall.balancing")

_COALESCE = 0.02
"""Seconds that changes are gathered before a snapshot is published."""
_TICK = 0.1
_PURGE = 60.0
_FIRST_NAMES = 2.0
"""Seconds that the start waits for names to be resolved."""
_DRAIN_GRACE = 1.0
"""Seconds until an unregistered instance without requests counts as idle: workers must hear of it and report."""


class _Provision(msgspec.Struct, frozen=True):
    """A settings section made ready: nothing of it can fail any more."""

    settings: BalancingSettings
    plans: dict[str, PoolPlan]
    routes: tuple[RouteSnapshot, ...]


class BalancingController:
    """Learn about instances and tell the engines; implements `seawall.core.system.Controller`.

    Args:
        context: settings, store, clocks and where to publish.
        resolve: blocking name look-up, run on a thread; the system's resolver by default.
    """

    def __init__(self, context: ControllerContext, *, resolve: Resolve = resolve_name) -> None:
        self._context = context
        self._clock = context.clock
        self._fleet = Fleet()
        self._registry = Registry(context.store, context.clock, self._on_members_changed)
        self._operations = Operations(self._registry, context.clock, self._members, lambda: list(self._plans))
        self._settings: BalancingSettings = context.settings
        self._names = NameWatch(resolve, self._on_name_changed, interval=self._settings.dns_interval_ms / 1000)
        self._checker = HealthChecker(self._on_check, clock=context.clock, rng=context.rng)
        self._contexts = TlsContexts()
        self._open_locations = context.locations
        self._plans: dict[str, PoolPlan] = {}
        self._routes: tuple[RouteSnapshot, ...] = ()
        self._stale: set[str] = set()
        self._conflicts: dict[str, list[str]] = {}
        self._leaving: dict[tuple[str, str], float] = {}
        self._resumed: BalancingSnapshot | None = None
        self._published: BalancingSnapshot | None = None
        self._news = ChangeLog(_log)
        self._filled: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = False

    # -- life ----------------------------------------------------------------------------------------------------------

    def resume(self, snapshot: BalancingSnapshot) -> None:
        """Take the last known snapshot before `start`, which then does without the store until it is back."""
        self._resumed = snapshot
        answers: dict[str, set[str]] = {}
        for pool in snapshot.pools:
            for instance in pool.instances:
                if instance.addresses:
                    answers.setdefault(Endpoint.parse(instance.url).host, set()).update(instance.addresses)
                record = resumed(instance, self._clock.wall())
                if record is not None:
                    self._registry.resume(pool.name, instance.id, record)
        for name, addresses in answers.items():
            self._names.seed(name, addresses)

    async def start(self) -> None:
        """Read the store, publish the first snapshot and start the loops.

        Raises:
            StateUnavailableError: the store cannot be reached and there is no last known snapshot to go on with.
            ConfigurationError: a CA file or a location database cannot be used.
        """
        provision = await self._provision(self._settings)
        try:
            await self._registry.load()
        except StateError as error:
            if self._resumed is None:
                raise
            self._registry.trouble = error.message
            _log.warning("state store is away, starting from the last known snapshot: %s", error)
        self._running = True
        self._swap(provision)
        self._restore()
        await self._names.first_answers(_FIRST_NAMES)
        self._stale.update(self._plans)
        self._registry.start()
        self._checker.start()
        self._publish()
        self._spawn(self._tick(), "seawall-balancing-tick")

    async def stop(self) -> None:
        """End the loops; the last snapshot stays in force in the workers."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._checker.stop()
        await self._names.stop()
        await self._registry.stop()
        self._news.flush()

    async def reconfigure(self, settings: BalancingSettings) -> None:
        """Take another settings section; raise before anything changes when it cannot be provisioned."""
        self._swap(await self._provision(settings))
        self._publish()

    async def _provision(self, settings: BalancingSettings) -> _Provision:
        plans = plan_pools(settings)
        for name, plan in plans.items():
            template = plan.template
            if template.tls_ca_file:
                self._contexts.get(template.tls_ca_file)
            if template.geoip_database and self._open_locations is not None:
                await asyncio.to_thread(self._open_locations, template.geoip_database)
            if template.affinity is not None and not template.affinity.key:
                key = await self._affinity_key(name)
                affinity = msgspec.structs.replace(template.affinity, key=key)
                plans[name] = msgspec.structs.replace(
                    plan, template=msgspec.structs.replace(template, affinity=affinity)
                )
        return _Provision(settings, plans, plan_routes(settings))

    async def _affinity_key(self, pool: str) -> bytes:
        try:
            return await self._registry.secret(pool, secrets.token_bytes(32))
        except StateError:
            for known in (self._published, self._resumed):
                for snapshot in known.pools if known is not None else ():
                    if snapshot.name == pool and snapshot.affinity is not None and snapshot.affinity.key:
                        return snapshot.affinity.key
            raise

    def _swap(self, provision: _Provision) -> None:
        self._settings = provision.settings
        self._plans = provision.plans
        self._routes = provision.routes
        now = self._clock.monotonic()
        self._fleet.set_pools({name: plan.policy for name, plan in provision.plans.items()}, now)
        self._names.set_interval(provision.settings.dns_interval_ms / 1000)
        self._filled &= provision.plans.keys()
        self._conflicts = {name: found for name, found in self._conflicts.items() if name in provision.plans}
        self._stale = set(provision.plans)
        self._refresh()

    def _restore(self) -> None:
        """Give instances the verdicts of the last known snapshot, so that traffic goes on before the first check."""
        for pool in self._resumed.pools if self._resumed is not None else ():
            roster = self._fleet.rosters.get(pool.name)
            if roster is not None:
                for instance in pool.instances:
                    roster.restore(instance.id, instance.state)

    # -- what comes in -------------------------------------------------------------------------------------------------

    def on_report(self, worker: WorkerId, report: BalancingReport) -> None:
        """Take one worker's report; never blocks."""
        changes = self._fleet.on_report(worker, report, self._clock.monotonic())
        if changes:
            self._tell(changes)
            self._soon()

    def on_worker_gone(self, worker: WorkerId) -> None:
        """Forget a worker's gauges; its counts stay in the totals."""
        self._fleet.on_worker_gone(worker)

    def _on_check(self, pool: str, instance_id: str, result: CheckResult) -> None:
        roster = self._fleet.rosters.get(pool)
        if roster is None:
            return
        now, wall = self._clock.monotonic(), self._clock.wall()
        if roster.record_check(instance_id, result, now=now, wall=wall):
            level = logging.INFO if result.ok else logging.WARNING
            verdict = "healthy" if result.ok else "unhealthy"
            self._news.tell(now, pool, instance_id, verdict, f": {result.reason}", level=level)
            self._soon()

    def _on_members_changed(self, pool: str) -> None:
        if pool in self._plans:
            self._stale.add(pool)
            self._soon()
        else:
            self._registry.take_expired(pool)

    def _on_name_changed(self, name: str) -> None:
        _log.info("name %s is now %s", name, ", ".join(self._names.addresses(name)))
        self._stale.update(self._plans)
        self._soon()

    # -- what goes out -------------------------------------------------------------------------------------------------

    def _soon(self) -> None:
        if self._timer is None and self._running:
            self._timer = asyncio.get_running_loop().call_later(_COALESCE, self._publish)

    def _refresh(self) -> None:
        """Bring the rosters up to date with their sources."""
        if not self._stale:
            return
        now = self._clock.monotonic()
        for pool in sorted(self._stale & self._plans.keys()):
            registrations = self._registry.registrations(pool)
            registered = [record.member(instance_id) for instance_id, record in registrations.items()]
            overrides = self._registry.overrides(pool)
            members, findings = members_of(self._plans[pool], registered, overrides, self._names.addresses)
            if findings and findings != self._conflicts.get(pool):
                _log.warning("pool %s: %s", pool, "; ".join(findings[:5]))
            self._conflicts[pool] = findings
            self._tell_members(pool, members, now)
            self._fleet.set_members(pool, members, now)
        self._stale.clear()
        if self._running:
            self._names.watch(names_of(self._plans.values(), self._fleet))
            self._checker.plan(check_plans(self._plans, self._fleet, self._contexts))

    def _tell_members(self, pool: str, members: Mapping[str, Member], now: float) -> None:
        """Log how a pool's members change; those of its first moment are one line, they are no change."""
        expired = self._registry.take_expired(pool)
        if pool not in self._filled:
            self._filled.add(pool)
            _log.info("pool %s begins with %d instance%s", pool, len(members), "s" * (len(members) != 1))
            return
        for instance_id, what, detail in changes_of(self._members(pool) or {}, members, expired):
            self._news.tell(now, pool, instance_id, what, detail)

    def _publish(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._refresh()
        now = self._clock.monotonic()
        pools: list[PoolSnapshot] = []
        for name, plan in self._plans.items():
            pools.append(msgspec.structs.replace(plan.template, instances=self._fleet.rosters[name].snapshot(now)))
        last = self._published
        if last is not None and last.pools == tuple(pools) and last.routes == self._routes:
            return
        # Wall-clock milliseconds make versions grow across restarts; at most 50 are used a second.
        floor = max((known.version for known in (last, self._resumed) if known is not None), default=0)
        version = max(floor + 1, int(self._clock.wall() * 1000))
        self._published = BalancingSnapshot(version=version, pools=tuple(pools), routes=self._routes)
        self._context.publish(self._published)

    async def _tick(self) -> None:
        purge_at = self._clock.monotonic() + _PURGE
        while True:
            await asyncio.sleep(_TICK)
            now = self._clock.monotonic()
            self._tell(self._fleet.step(now))
            self._news.step(now)
            if now >= purge_at:
                purge_at = now + _PURGE
                self._fleet.purge(now)
            self._forget_idle(now)
            self._publish()

    def _forget_idle(self, now: float) -> None:
        """End the registrations of those that are being unregistered and have nothing left to do."""
        for (pool, instance_id), since in list(self._leaving.items()):
            record = self._registry.registration(pool, instance_id)
            roster = self._fleet.rosters.get(pool)
            if record is None or not record.leaving or roster is None:
                del self._leaving[pool, instance_id]
                continue
            instance = roster.instances.get(instance_id)
            if now - since >= _DRAIN_GRACE and not (instance is not None and any(instance.active.values())):
                del self._leaving[pool, instance_id]
                self._spawn(self._forget(pool, instance_id), f"seawall-forget-{instance_id}")

    async def _forget(self, pool: str, instance_id: str) -> None:
        def change(stored: Registration | None) -> Registration | None:
            return None if stored is None or stored.leaving else stored

        try:
            await self._registry.change_registration(pool, instance_id, change)
        except StateError as error:
            # Its record has a time to live, so the store forgets it in the end.
            _log.warning("instance %s/%s is idle but cannot be forgotten yet: %s", pool, instance_id, error)

    def _spawn(self, coroutine: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s ended by an error inside Seawall: %s", task.get_name(), error, exc_info=error)

    def _tell(self, changes: Iterable[tuple[str, OutlierChange]]) -> None:
        now = self._clock.monotonic()
        for pool, change in changes:
            if isinstance(change, Ejected):
                detail = f" for {change.until - now:.0f} s: {change.reason}"
                self._news.tell(now, pool, change.instance_id, "ejected", detail, level=logging.WARNING)
            else:
                self._news.tell(now, pool, change.instance_id, "back from its ejection")

    # -- what is shown and asked ---------------------------------------------------------------------------------------

    def samples(self) -> Iterable[Sample]:
        """Yield every series for a scrape."""
        return self._fleet.samples()

    def health(self) -> dict[str, str]:
        """Return findings that an operator should see; empty when all is well."""
        return findings(self._registry, self._names, self._conflicts, self._fleet)

    def status(self, pool: str | None = None) -> LoadBalancerStatus:
        """Return the state of all pools, or of one; raise `NotFoundError` when there is no such pool."""
        if pool is not None and pool not in self._plans:
            raise NotFoundError(f"there is no pool {pool!r}", hint=f"pools: {', '.join(self._plans) or 'none'}")
        return LoadBalancerStatus(
            strategy=StrategyName(self._settings.strategy),
            version=self._published.version if self._published is not None else 0,
            findings=self.health(),
            pools=[self._pool_status(name) for name in self._plans if pool in {None, name}],
        )

    def _pool_status(self, name: str) -> PoolStatus:
        expiries = {key: record.expires_at for key, record in self._registry.registrations(name).items()}
        return pool_status(self._plans[name].template, self._fleet, self._clock, expiries)

    def describe(self, pool: str, instance_id: str) -> dict[str, object] | None:
        """Return an instance as the audit trail shows it, or None."""
        member = (self._members(pool) or {}).get(instance_id)
        if member is None:
            return None
        record = self._registry.registration(pool, instance_id)
        return {
            "url": member.url,
            "weight": member.weight,
            "region": member.region,
            "draining": member.draining,
            "leaving": record is not None and record.leaving,
            "ttl_ms": record.ttl_ms if record is not None else 0,
        }

    async def perform(self, action: Action) -> ActionResult:
        """Carry out one action; what it changed is in the next snapshot, within 20 ms.

        Raises:
            NotFoundError: there is no such pool or instance.
            ConflictError: it is at odds with what exists.
            StateUnavailableError: the store cannot be reached; nothing was changed.
        """
        instance_id = await self._operations.perform(action)
        if isinstance(action, Unregister):
            # Only this gateway watches it run dry; if it dies first, the record's time to live ends the registration.
            self._leaving.setdefault((action.pool, instance_id), self._clock.monotonic())
        self._refresh()
        self._soon()
        roster = self._fleet.rosters.get(action.pool)
        instance = None
        if roster is not None and instance_id in roster.instances:
            record = self._registry.registration(action.pool, instance_id)
            expires_at = record.expires_at if record is not None else None
            instance = instance_status(action.pool, instance_id, self._fleet, self._clock, expires_at)
        return ActionResult(action=action.action, pool=action.pool, id=instance_id, instance=instance)

    def _members(self, pool: str) -> Mapping[str, Member] | None:
        roster = self._fleet.rosters.get(pool)
        if roster is None:
            return None
        return {instance_id: instance.member for instance_id, instance in roster.instances.items()}
