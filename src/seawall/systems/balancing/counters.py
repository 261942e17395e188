"""What one engine keeps beside a snapshot: pools and instances with their counters."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from seawall.core.instruments import DURATION_BUCKETS
from seawall.core.request import Request
from seawall.systems.balancing.budget import RetryBudget
from seawall.systems.balancing.model import (
    InstanceReport,
    InstanceSnapshot,
    InstanceState,
    Outcome,
    PoolReport,
    PoolSnapshot,
)

if TYPE_CHECKING:
    from seawall.systems.balancing.affinity import Affinity
    from seawall.systems.balancing.probes import ProbePool

__all__ = ["CLIENT_ERRORS", "DURATION_US", "RETRIES", "Instance", "Pool", "Row", "Strategy", "usable_instances"]

CLIENT_ERRORS = len(Outcome)
"""Index in `Instance.counts` of responses with a status of 400 to 499."""
RETRIES = CLIENT_ERRORS + 1
"""Index in `Instance.counts` of attempts that were sent here after another instance had failed."""
DURATION_US = RETRIES + 1
"""Index in `Instance.counts` of the summed durations in microseconds."""

_MIN_WEIGHT = 1e-6
"""A weight is above 0 by contract; this keeps a division safe when rounding upstream made it 0."""

_MAX_DOUBLINGS = 10
"""An instance that fails at once looks fast and idle; ten errors in a row make it a thousand times as costly."""

_OUT = frozenset({InstanceState.UNHEALTHY, InstanceState.EJECTED})

Row = tuple[list[int], list[int]]
"""An instance's cumulative counts and duration buckets, shared by all lives of one `pool/id` in this process."""


class Strategy(Protocol):
    """How a pool chooses. One object per pool; it lives as long as the pool keeps the strategy's name.

    A pick needs the snapshot, the request and the counters. The `Pool` is both first and last: the snapshot's view in
    `pool.candidates` and `pool.snapshot`, the counters in the slots of its instances (`active`, `ewma`, ...), so that a
    pick touches no dictionary and allocates nothing.
    """

    def prepare(self, pool: "Pool") -> None:
        """Precompute from `pool.candidates`; called whenever membership, state or weight changed."""
        ...

    def pick(self, pool: "Pool", request: Request, tried: Sequence["Instance"]) -> "Instance | None":
        """Return a candidate that is not in `tried`; None when all were tried. Candidates are never empty here."""
        ...


class Instance:
    """One upstream instance as the engine treats it; lives across snapshots while its id and url stay.

    Attributes:
        key: `pool/id`, as reports name it.
        weight: effective relative capacity from the snapshot.
        active: attempts in flight from this process.
        ewma: peak-EWMA of the time to the response's head in seconds as of `stamp`; 0 when never measured.
        stamp: monotonic seconds of the last change of `ewma`.
        handicap: 1 / weight, doubled per consecutive error: what a cost is multiplied by.
        consecutive_errors: errors of any kind since the last success.
        refused_at: monotonic seconds at which a connection was last refused, or tried since; 0 after a success.
        counts: one int per `Outcome`, then `CLIENT_ERRORS`, `RETRIES`, `DURATION_US`; cumulative.
        buckets: observations per `DURATION_BUCKETS` bound, then above; cumulative.
        load: newest reported utilisation, negative when none.
        dirty: changed since the last report.
        transport: the data plane's connection pool; the engine never touches it.

    Not thread-safe; every change is made on the event loop that owns the engine.
    """

    __slots__ = (
        "active",
        "buckets",
        "consecutive_errors",
        "counts",
        "dirty",
        "ewma",
        "handicap",
        "id",
        "key",
        "load",
        "pool",
        "refused_at",
        "region",
        "snapshot",
        "stamp",
        "transport",
        "url",
        "weight",
    )

    def __init__(self, pool: "Pool", snapshot: InstanceSnapshot, row: Row | None = None) -> None:
        self.id = snapshot.id
        self.url = snapshot.url
        self.key = f"{pool.name}/{snapshot.id}"
        self.pool = pool
        self.active = 0
        self.ewma = 0.0
        self.stamp = 0.0
        self.consecutive_errors = 0
        self.refused_at = 0.0
        self.counts, self.buckets = row or ([0] * (DURATION_US + 1), [0] * (len(DURATION_BUCKETS) + 1))
        self.load = -1.0
        self.dirty = False
        self.transport: Any = None
        self.snapshot = snapshot
        self.update(snapshot)

    def __repr__(self) -> str:
        state = self.snapshot.state
        return f"<Instance {self.key} {state} active={self.active} ewma={self.ewma:.4f} weight={self.weight:g}>"

    def update(self, snapshot: InstanceSnapshot) -> None:
        """Take what the controller says about this instance now; counters stay.

        One that was out and is healthy again starts afresh: what was learnt while it failed says nothing about it now.
        """
        if snapshot.state is InstanceState.HEALTHY and self.snapshot.state in _OUT:
            self.consecutive_errors = 0
            self.refused_at = 0.0
            self.ewma = 0.0
        self.snapshot = snapshot
        self.weight = max(snapshot.weight, _MIN_WEIGHT)
        self.region = snapshot.region
        self.weigh()

    def weigh(self) -> None:
        """Recompute the handicap after a change of weight or of consecutive errors."""
        self.handicap = float(1 << min(self.consecutive_errors, _MAX_DOUBLINGS)) / self.weight

    def report(self, active: int) -> InstanceReport:
        """Return this instance's row; `active` also holds attempts of an earlier life of the same id."""
        counts = self.counts
        return InstanceReport(
            active=active,
            ewma=self.ewma,
            consecutive_errors=self.consecutive_errors,
            counts=tuple(counts[:DURATION_US]),
            buckets=tuple(self.buckets),
            duration_us=counts[DURATION_US],
            load=self.load,
        )


class Pool:
    """One pool as the engine treats it; lives across snapshots while its name stays.

    Attributes:
        instances: all instances in the snapshot's order.
        candidates: those that may take a new request now, see `usable_instances`; replaced, never changed in place.
        by_id: instances by id.
        active: attempts in flight on all its instances, those that left included.
        probes: where probe answers go; None when the pool does not probe.
        prepared: the snapshot that candidates, strategy and affinity were made for; None before the first.
        seconds: the sum of the times until attempts were answered or had failed, those cancelled left out; cumulative.
        dirty: a count changed since the last report.
    """

    __slots__ = (
        "active",
        "affinity",
        "budget",
        "by_id",
        "candidates",
        "dirty",
        "instances",
        "name",
        "no_instance",
        "prepared",
        "probes",
        "requests",
        "responses",
        "retries",
        "retries_refused",
        "seconds",
        "snapshot",
        "strategy",
    )

    def __init__(self, snapshot: PoolSnapshot, now: float) -> None:
        self.name = snapshot.name
        self.snapshot = snapshot
        self.instances: list[Instance] = []
        self.candidates: list[Instance] = []
        self.by_id: dict[str, Instance] = {}
        self.active = 0
        self.requests = 0
        self.retries = 0
        self.retries_refused = 0
        self.no_instance = 0
        self.responses = [0] * 5
        self.seconds = 0.0
        self.dirty = False
        self.budget = RetryBudget(now)
        self.affinity: Affinity | None = None
        self.strategy: Strategy
        self.probes: ProbePool | None = None
        self.prepared: PoolSnapshot | None = None

    def __repr__(self) -> str:
        return f"<Pool {self.name} {self.snapshot.strategy} {len(self.candidates)}/{len(self.instances)} usable>"

    def report(self) -> PoolReport:
        """Return this pool's cumulative row."""
        return PoolReport(
            requests=self.requests,
            retries=self.retries,
            retries_refused=self.retries_refused,
            no_instance=self.no_instance,
            responses=tuple(self.responses),
        )


def usable_instances(instances: Sequence[Instance], panic_threshold: float) -> list[Instance]:
    """Return those that may take a new request.

    Healthy instances, or those that are starting when none is healthy. When they are fewer than `panic_threshold`
    (0..1) of all that do not drain, health is no longer believed and all of these are used: spreading load over
    possibly bad instances beats crushing the few good ones (Envoy's panic mode). A starting instance beside healthy
    ones counts on neither side.
    """
    healthy = []
    starting = []
    bad = 0
    for instance in instances:
        state = instance.snapshot.state
        if state is InstanceState.HEALTHY:
            healthy.append(instance)
        elif state is InstanceState.STARTING:
            starting.append(instance)
        elif state is not InstanceState.DRAINING:
            bad += 1
    usable = healthy or starting
    if bad and len(usable) < panic_threshold * (len(usable) + bad):
        skipped = {InstanceState.DRAINING, InstanceState.STARTING} if healthy else {InstanceState.DRAINING}
        return [instance for instance in instances if instance.snapshot.state not in skipped]
    return usable
