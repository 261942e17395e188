"""The balancing engine: which pool takes a request, which instance takes an attempt, and what became of it."""

import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from math import exp
from operator import attrgetter

from seawall.core.instruments import DURATION_BUCKETS
from seawall.core.request import Request
from seawall.systems.balancing.affinity import Affinity
from seawall.systems.balancing.counters import (
    CLIENT_ERRORS,
    DURATION_US,
    RETRIES,
    Instance,
    Pool,
    Row,
    usable_instances,
)
from seawall.systems.balancing.model import (
    BalancingReport,
    BalancingSnapshot,
    InstanceReport,
    Outcome,
    PoolSnapshot,
)
from seawall.systems.balancing.orca import reported_utilisation
from seawall.systems.balancing.router import Router
from seawall.systems.balancing.strategies import Tools, make_strategy
from seawall.systems.balancing.strategies.adaptive import Adaptive

__all__ = ["BalancingEngine"]

_SUCCESS = Outcome.SUCCESS
_CANCELLED = Outcome.CANCELLED
_CONNECT_FAILED = Outcome.CONNECT_FAILED
_REFUSAL_PAUSE = 0.25
"""Seconds between trials of an instance that refuses connections."""
_MAX_DETOURS = 8
_refused_at = attrgetter("refused_at")
_INDEX = {outcome: index for index, outcome in enumerate(Outcome)}
_CANCELLED_INDEX = _INDEX[_CANCELLED]
_FAILED_AT_ONCE = 0.001
"""Least estimate in seconds after a failure: an instance that fails in no time must not look like the fastest."""
_MAX_RETIRED = 4096
"""Rows of instances that left, kept so that their counters go on where they were if they come back."""

LocationLookup = Callable[[str], tuple[float, float] | None]


class BalancingEngine:
    """Decide locally and at once: no I/O, no lock, no await.

    Args:
        clock: monotonic seconds.
        rng: source of randomness; seeded in tests.
        geo: opens a location database by path and returns a lookup from client address to (latitude, longitude) or
            None; called only when a pool names a database.

    Attributes:
        version: version of the snapshot in force, -1 before the first.
        pools: by name.
        on_removed: called with each instance that left (or changed its url), after the new snapshot is in force; its
            attempts in flight may finish.
        geo: as given; may be set until the first snapshot is applied.

    Not thread-safe: one engine belongs to one event loop.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        rng: random.Random,
        geo: Callable[[str], LocationLookup] | None = None,
    ) -> None:
        self.version = -1
        self.pools: dict[str, Pool] = {}
        self.on_removed: Callable[[Instance], None] | None = None
        self._clock = clock
        self._tools = Tools(clock, rng)
        self.geo = geo
        self._router = Router((), {})
        self._leaving: list[Instance] = []
        self._retired: dict[str, Row] = {}
        self._revived: dict[str, None] = {}
        self._retired_pools: dict[str, Pool] = {}
        self._lookups: dict[str, LocationLookup] = {}

    def apply(self, snapshot: BalancingSnapshot) -> None:
        """Swap in a newer snapshot; an older one is ignored.

        Pools keep their counters by name, instances by id and url.

        Raises:
            ConfigurationError: a route names an unknown pool, or a location database cannot be opened; the snapshot in
                force stays.
        """
        if snapshot.version < self.version:
            return
        now = self._clock()
        pools = {
            pool.name: self.pools.get(pool.name) or self._retired_pools.get(pool.name) or Pool(pool, now)
            for pool in snapshot.pools
        }
        router = Router(snapshot.routes, pools)
        lookups = {path: self._lookup(path) for path in {pool.geoip_database for pool in snapshot.pools}}
        removed: list[Instance] = []
        retired = set(self._retired)
        for pool_snapshot in snapshot.pools:
            tools = self._tools._replace(locate=lookups[pool_snapshot.geoip_database])
            _update_pool(pools[pool_snapshot.name], pool_snapshot, tools, self._retired, removed)
        for name, pool in self.pools.items():
            if name not in pools:
                removed.extend(pool.instances)
                pool.instances, pool.candidates, pool.by_id = [], [], {}
                pool.prepared = None
                self._retired_pools[name] = pool
        for name in pools:
            self._retired_pools.pop(name, None)
        for key in retired - self._retired.keys():
            name, _, instance_id = key.partition("/")
            pools[name].by_id[instance_id].dirty = True  # the next report tells the counts it came back with
            self._revived[key] = None
        self.pools = pools
        self._router = router
        self.version = snapshot.version
        self._retire(removed)

    def _lookup(self, path: str) -> LocationLookup | None:
        if not path or self.geo is None:
            return None
        lookup = self._lookups.get(path)
        if lookup is None:
            lookup = self._lookups[path] = self.geo(path)
        return lookup

    def _retire(self, removed: list[Instance]) -> None:
        for instance in removed:
            if instance.active or instance.dirty:
                self._leaving.append(instance)
            if instance.id not in instance.pool.by_id:
                self._retired[instance.key] = (instance.counts, instance.buckets)
        while len(self._retired) > _MAX_RETIRED:
            del self._retired[next(iter(self._retired))]
        if self.on_removed is not None:
            for instance in removed:
                self.on_removed(instance)

    def route(self, request: Request) -> Pool | None:
        """Return the pool that takes this request: the first matching route in file order, or None."""
        return self._router.route(request)

    def route_name(self, request: Request) -> str:
        """Return the name of the route that takes this request; empty where none does, or none is configured."""
        return self._router.name(request)

    def pick(self, pool: Pool, request: Request, tried: Sequence[Instance] = ()) -> Instance | None:
        """Return the instance for the next attempt: the session's if it is bound, else the strategy's choice.

        Never returns one in `tried`; None when there is no other. A pool without any usable instance is counted.
        """
        affinity = pool.affinity
        if affinity is not None:
            bound = affinity.bound(request)
            if bound is not None and bound not in tried:
                return bound
        if pool.candidates:
            instance = pool.strategy.pick(pool, request, tried)
            if instance is not None:
                if instance.refused_at:
                    instance = self._around_refusal(pool, request, tried, instance)
                if tried:
                    instance.counts[RETRIES] += 1
                    instance.dirty = True
            return instance
        pool.no_instance += 1
        pool.dirty = True
        return None

    def _around_refusal(self, pool: Pool, request: Request, tried: Sequence[Instance], refusing: Instance) -> Instance:
        """Return another instance than one that refuses connections, except for one trial now and then.

        A refused connection is certain and known here first: waiting for the controller's verdict would spend the retry
        budget on an instance that is gone.
        """
        now = self._clock()
        if now - refusing.refused_at >= _REFUSAL_PAUSE:
            refusing.refused_at = now  # this request is the trial; those after it wait for its outcome
            return refusing
        avoided = [*tried, refusing]
        for _ in range(_MAX_DETOURS):
            other = pool.strategy.pick(pool, request, avoided)
            if other is None:
                break
            if not other.refused_at:
                return other
            avoided.append(other)
        return min(avoided[len(tried) :], key=_refused_at)  # all refuse: each gets its turn

    def start(self, instance: Instance) -> None:
        """Count an attempt as in flight; every start is followed by exactly one finish."""
        instance.active += 1
        instance.pool.active += 1
        instance.dirty = True

    def finish(
        self, instance: Instance, seconds: float, outcome: Outcome, status: int = 0, *, latency: float | None = None
    ) -> None:
        """Count an attempt as ended.

        Args:
            instance: the one that `start` was called with.
            seconds: from the start of the attempt to its end (or to the client's going away); for the histogram.
            outcome: how it ended.
            status: the response's status, 0 when there was none.
            latency: from the start to the response's head, for the estimate that strategies go by: a long body says
                little about how busy an instance is. `seconds` when it is not known.
        """
        if latency is None:
            latency = seconds
        instance.active -= 1
        pool = instance.pool
        pool.active -= 1
        instance.dirty = True
        counts = instance.counts
        ewma = instance.ewma
        if outcome is _SUCCESS:
            counts[0] += 1
            if status >= 400:
                counts[CLIENT_ERRORS] += 1
            if instance.consecutive_errors:
                instance.consecutive_errors = 0
                instance.refused_at = 0.0
                instance.weigh()
            now = self._clock()
            if latency >= ewma:
                instance.ewma = latency
            else:
                instance.ewma = latency + (ewma - latency) * exp((instance.stamp - now) / pool.snapshot.ewma_decay)
            instance.stamp = now
        elif outcome is _CANCELLED:
            counts[_CANCELLED_INDEX] += 1
            self._raise_estimate(instance, latency)
            return
        else:
            counts[_INDEX[outcome]] += 1
            instance.consecutive_errors += 1
            if outcome is _CONNECT_FAILED:
                instance.refused_at = self._clock()
            instance.weigh()
            self._raise_estimate(instance, max(latency, _FAILED_AT_ONCE))
        pool.seconds += latency
        counts[DURATION_US] += int(seconds * 1_000_000)
        instance.buckets[bisect_left(DURATION_BUCKETS, seconds)] += 1

    def _raise_estimate(self, instance: Instance, seconds: float) -> None:
        # A failure, or a client that gave up, bounds the latency from below: it may raise the estimate, never lower it.
        if seconds > instance.ewma:
            instance.ewma = seconds
            instance.stamp = self._clock()

    def may_retry(self, pool: Pool) -> bool:
        """Take one retry from the pool's budget; count it as sent or as refused."""
        snapshot = pool.snapshot
        pool.dirty = True
        if pool.budget.withdraw(self._clock(), pool.requests, snapshot.retry_budget, snapshot.retry_floor):
            pool.retries += 1
            return True
        pool.retries_refused += 1
        return False

    def count_request(self, pool: Pool) -> None:
        """Count a client's request."""
        pool.requests += 1
        pool.dirty = True

    def count_response(self, pool: Pool, status: int) -> None:
        """Count a response that was sent to a client, by its status class; what is no HTTP status is not counted."""
        if 100 <= status <= 599:
            pool.responses[status // 100 - 1] += 1
            pool.dirty = True

    def on_load_report(self, instance: Instance, value: bytes) -> None:
        """Take the value of an `endpoint-load-metrics` header; one that cannot be read changes nothing."""
        load = reported_utilisation(value)
        if load is not None:
            instance.load = load
            instance.dirty = True

    def affinity_cookie(self, pool: Pool, request: Request, instance: Instance) -> bytes | None:
        """Return the `Set-Cookie` value for a client not yet bound to `instance`; None when nothing is to be set."""
        return None if pool.affinity is None else pool.affinity.cookie(request, instance)

    def probe_targets(self, pool: Pool) -> list[Instance]:
        """Return whom to probe on behalf of one request; empty unless the pool is adaptive with a probe path."""
        return [] if pool.probes is None else pool.probes.targets(pool.snapshot.probe_rate)

    def on_probe(self, instance: Instance, in_flight: int, latency: float) -> None:
        """Take a probe's answer: requests in flight on the instance and its latency in seconds."""
        probes = instance.pool.probes
        if probes is not None:
            probes.add(instance, in_flight, latency)

    def report(self, *, full: bool) -> BalancingReport | None:
        """Return what changed since the last call, or everything when `full`; None when nothing did."""
        instances: dict[str, InstanceReport] = {}
        pools = {}
        earlier: dict[str, int] = {}
        for instance in self._leaving:
            earlier[instance.key] = earlier.get(instance.key, 0) + instance.active
            instance.dirty = False
        for instance in self._leaving:
            instances[instance.key] = instance.report(earlier[instance.key])
        self._leaving = [instance for instance in self._leaving if instance.active]
        for pool in (*self.pools.values(), *self._retired_pools.values()):
            if pool.dirty or full:
                pools[pool.name] = pool.report()
                pool.dirty = False
            for instance in pool.instances:
                if instance.dirty or full or instance.key in earlier:
                    instances[instance.key] = instance.report(instance.active + earlier.get(instance.key, 0))
                    instance.dirty = False
        if not instances and not pools and not full:
            return None
        revived, self._revived = tuple(self._revived), {}
        return BalancingReport(instances=instances, pools=pools, full=full, revived=revived)


def _update_pool(
    pool: Pool, snapshot: PoolSnapshot, tools: Tools, retired: dict[str, Row], removed: list[Instance]
) -> None:
    """Bring a pool to a snapshot; who left is added to `removed`, rows of who came back are taken from `retired`."""
    before = pool.prepared
    if before == snapshot:
        return
    instances = []
    by_id: dict[str, Instance] = {}
    for new in snapshot.instances:
        instance = pool.by_id.get(new.id)
        if instance is None or instance.url != new.url:
            row = (instance.counts, instance.buckets) if instance is not None else None
            instance = Instance(pool, new, row or retired.pop(f"{pool.name}/{new.id}", None))
        else:
            instance.update(new)
        instances.append(instance)
        by_id[new.id] = instance
    removed.extend(old for old in pool.instances if by_id.get(old.id) is not old)
    pool.snapshot = pool.prepared = snapshot
    pool.instances = instances
    pool.by_id = by_id
    pool.candidates = usable_instances(instances, snapshot.panic_threshold)
    if before is None or (before.strategy, before.geoip_database) != (snapshot.strategy, snapshot.geoip_database):
        pool.strategy = make_strategy(snapshot.strategy, tools)
    pool.strategy.prepare(pool)
    pool.probes = pool.strategy.probes if isinstance(pool.strategy, Adaptive) and snapshot.probe_path else None
    if snapshot.affinity is None:
        pool.affinity = None
        return
    if pool.affinity is None or pool.affinity.snapshot != snapshot.affinity:
        pool.affinity = Affinity(snapshot.affinity, pool.name)
    pool.affinity.prepare(instances, pool.candidates)
