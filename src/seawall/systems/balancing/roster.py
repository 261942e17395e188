"""One pool's living state: members with their health, ejections, ramps and loads; pure, over given times."""

import math
from collections.abc import Mapping, Sequence

import msgspec

from seawall.core.system import WorkerId
from seawall.systems.balancing.health import CheckPolicy, CheckResult, HealthTrack
from seawall.systems.balancing.members import Member
from seawall.systems.balancing.model import InstanceReport, InstanceSnapshot, InstanceState, Outcome
from seawall.systems.balancing.outliers import Ejected, OutlierChange, OutlierDetector, OutlierPolicy
from seawall.systems.balancing.slowstart import LoadFactors, ramp
from seawall.systems.balancing.window import MinuteWindow

__all__ = ["GATEWAY_ERRORS", "OUTCOMES", "Instance", "Roster", "RosterPolicy"]

OUTCOMES = tuple(Outcome)
GATEWAY_ERRORS = tuple(
    OUTCOMES.index(outcome)
    for outcome in (Outcome.SERVER_ERROR, Outcome.CONNECT_FAILED, Outcome.RESET, Outcome.TIMEOUT)
)
_SUCCESS = OUTCOMES.index(Outcome.SUCCESS)

_RAMP_STEP = 0.25
"""Seconds between two weights of a ramp, so that a ramp costs four snapshots a second."""
_LOAD_STEP = 1.0
_LOAD_FRESH = 10.0
"""Seconds after which a reported load is too old to act on."""
_MEMORY = 600.0
"""Seconds that an instance which left is remembered, so that its health and its totals survive a short absence."""
_MAX_FORMER = 10_000


class RosterPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What a pool's settings say about its instances' health and weights; times in seconds."""

    check: CheckPolicy = CheckPolicy()
    outliers: OutlierPolicy = OutlierPolicy()
    slow_start: float = 0.0
    use_reported_load: bool = True


class Instance:
    """What is known of one instance besides its configuration.

    Attributes:
        active: requests in flight by worker.
        loads: newest reported load by worker, with the monotonic second it came.
        ramp_from: monotonic second at which its slow start began; None when it has its full weight.
        checks: active checks by result, `ok` and `failed`.
        ejections: ejections by reason.
        left_at: monotonic second at which it left the pool; None while it is a member.
    """

    __slots__ = (
        "active",
        "checks",
        "ejections",
        "health",
        "left_at",
        "loads",
        "member",
        "original",
        "ramp_from",
        "serving",
        "window",
    )

    def __init__(self, member: Member, *, original: bool) -> None:
        self.member = member
        self.original = original  # there from the pool's first moment: nothing is warmer, so it needs no slow start
        self.health = HealthTrack()
        self.serving = False
        self.ramp_from: float | None = None
        self.active: dict[WorkerId, int] = {}
        self.loads: dict[WorkerId, tuple[float, float]] = {}
        self.window = MinuteWindow()
        self.checks: dict[str, int] = {"ok": 0, "failed": 0}
        self.ejections: dict[str, int] = {}
        self.left_at: float | None = None

    def load(self, now: float) -> float:
        """Return the mean of the fresh reported loads, negative without any."""
        fresh = [load for load, at in self.loads.values() if now - at <= _LOAD_FRESH]
        return sum(fresh) / len(fresh) if fresh else -1.0


class Roster:
    """The instances of one pool. Not safe to call concurrently; whatever depends on time is given it as `now`."""

    def __init__(self, policy: RosterPolicy, *, now: float) -> None:
        self._policy = policy
        self._instances: dict[str, Instance] = {}
        self._former: dict[str, Instance] = {}
        self._outliers = OutlierDetector(policy.outliers, now=now)
        self._loads = LoadFactors()
        self._loads_due = now + _LOAD_STEP
        self._filled = False
        self._ramp_due = math.inf
        self._snapshot: tuple[InstanceSnapshot, ...] | None = None

    @property
    def instances(self) -> Mapping[str, Instance]:
        """Return the members by id."""
        return self._instances

    @property
    def ejected(self) -> Mapping[str, float]:
        """Return the members that are ejected, with the monotonic second at which each returns."""
        return self._outliers.ejected

    def find(self, instance_id: str) -> Instance | None:
        """Return a member, or one that left within the last ten minutes."""
        return self._instances.get(instance_id) or self._former.get(instance_id)

    def everyone(self) -> list[tuple[str, Instance]]:
        """Return members and those that left within the last ten minutes."""
        return [*self._instances.items(), *self._former.items()]

    def set_policy(self, policy: RosterPolicy, now: float) -> None:
        """Use other rules from now on; verdicts stay until a check changes them."""
        self._policy = policy
        self._outliers.set_policy(policy.outliers)
        for instance in self._instances.values():
            self._admit(instance)
        self._settle_all(now)

    def set_members(self, members: Mapping[str, Member], now: float) -> None:
        """Replace the membership; whoever stays, or returns within ten minutes at the same url, keeps its state."""
        for gone in [known for known in self._instances if known not in members]:
            instance = self._instances.pop(gone)
            instance.left_at = now
            instance.serving = False
            instance.ramp_from = None
            self._former[gone] = instance
        for member in members.values():
            self._join(member)
        self._filled = self._filled or bool(members)
        self._outliers.set_members(members, now)
        while len(self._former) > _MAX_FORMER:
            self._former.pop(next(iter(self._former)))
        self._settle_all(now)

    def restore(self, instance_id: str, state: InstanceState) -> None:
        """Take over a verdict from an earlier life of the control process, until the first check."""
        instance = self._instances.get(instance_id)
        if instance is not None and state in {InstanceState.HEALTHY, InstanceState.UNHEALTHY}:
            instance.health.state = state
            instance.serving = state is InstanceState.HEALTHY
            instance.original = False
            self._snapshot = None

    def record_check(self, instance_id: str, result: CheckResult, *, now: float, wall: float) -> bool:
        """Take an active check's result; return whether the verdict changed."""
        instance = self._instances.get(instance_id)
        if instance is None:
            return False
        instance.checks["ok" if result.ok else "failed"] += 1
        changed = instance.health.record(result, wall, self._policy.check)
        if changed:
            self._settle(instance_id, instance, now)
        return changed

    def observe(
        self, worker: WorkerId, instance_id: str, report: InstanceReport, added: Sequence[int], now: float
    ) -> None:
        """Take one worker's report on an instance; `added` is what its counts grew by just now, in row order."""
        instance = self.find(instance_id)
        if instance is None:
            return
        if report.active:
            instance.active[worker] = report.active
        else:
            instance.active.pop(worker, None)
        successes = added[_SUCCESS]
        errors = sum(added[index] for index in GATEWAY_ERRORS)
        if not successes and not errors:
            return
        counted = len(report.counts)
        instance.window.add(now, successes + errors, errors, added[counted : counted + len(report.buckets)])
        if report.load >= 0.0:
            instance.loads[worker] = (report.load, now)
        self._outliers.observe(now, instance_id, successes, errors, report.consecutive_errors)

    def forget_worker(self, worker: WorkerId) -> None:
        """Drop the gauges of a worker that is gone."""
        for _, instance in self.everyone():
            instance.active.pop(worker, None)
            instance.loads.pop(worker, None)

    def step(self, now: float) -> list[OutlierChange]:
        """Do what time and the last reports ask for: ejections, returns, load factors."""
        changes = self._outliers.step(now)
        for change in changes:
            if isinstance(change, Ejected):
                counts = self._instances[change.instance_id].ejections
                counts[change.reason] = counts.get(change.reason, 0) + 1
            self._settle(change.instance_id, self._instances[change.instance_id], now)
        if now >= self._loads_due:
            self._loads_due = now + _LOAD_STEP
            loads = ((key, instance.load(now)) for key, instance in self._instances.items())
            if self._loads.step(loads if self._policy.use_reported_load else ()):
                self._snapshot = None
        if now >= self._ramp_due:
            self._ramp_due = math.inf
            self._snapshot = None
        return changes

    def purge(self, now: float) -> list[str]:
        """Forget those that left more than ten minutes ago; return their ids."""
        gone = [key for key, instance in self._former.items() if now - (instance.left_at or 0.0) > _MEMORY]
        for key in gone:
            del self._former[key]
            self._loads.forget(key)
        return gone

    def state(self, instance_id: str) -> InstanceState:
        """Return why a member gets traffic or not."""
        instance = self._instances[instance_id]
        if instance.member.draining:
            return InstanceState.DRAINING
        if self._outliers.is_ejected(instance_id):
            return InstanceState.EJECTED
        return instance.health.state

    def weight(self, instance_id: str, now: float) -> float:
        """Return a member's effective weight: configured x slow start x reported load."""
        instance = self._instances[instance_id]
        weight = instance.member.weight
        if instance.ramp_from is not None:
            elapsed = math.floor((now - instance.ramp_from) / _RAMP_STEP) * _RAMP_STEP
            if elapsed >= self._policy.slow_start:
                instance.ramp_from = None
            else:
                weight *= ramp(elapsed, self._policy.slow_start)
                self._ramp_due = min(self._ramp_due, instance.ramp_from + elapsed + _RAMP_STEP)
        if self._policy.use_reported_load:
            weight *= self._loads.factor(instance_id)
        return float(f"{weight:.4g}")  # finer steps would cost snapshots and change no one's share

    def snapshot(self, now: float) -> tuple[InstanceSnapshot, ...]:
        """Return the members as the engine must treat them now, in a stable order; the same object until it changes."""
        if self._snapshot is None:
            self._snapshot = self._take_snapshot(now)
        return self._snapshot

    def _take_snapshot(self, now: float) -> tuple[InstanceSnapshot, ...]:
        return tuple(
            InstanceSnapshot(
                id=instance_id,
                url=instance.member.url,
                addresses=instance.member.addresses,
                weight=self.weight(instance_id, now),
                region=instance.member.region,
                location=instance.member.location,
                state=self.state(instance_id),
                source=instance.member.source.value,
                leaves_at=instance.member.expires_at if instance.member.leaving else None,
            )
            for instance_id, instance in self._instances.items()
        )

    def _settle(self, instance_id: str, instance: Instance, now: float) -> None:
        """Note whether an instance serves from now on, and begin its slow start when it did not before."""
        serves = self.state(instance_id) is InstanceState.HEALTHY
        if serves and not instance.serving:
            instance.ramp_from = None if instance.original or self._policy.slow_start <= 0.0 else now
        self._snapshot = None
        if instance.health.state is not InstanceState.STARTING:
            instance.original = False
        instance.serving = serves

    def _settle_all(self, now: float) -> None:
        for instance_id, instance in self._instances.items():
            self._settle(instance_id, instance, now)
        self._snapshot = None

    def _join(self, member: Member) -> None:
        instance = self._instances.get(member.id)
        if instance is None:
            instance = self._former.pop(member.id, None)
            if instance is not None:
                instance.left_at = None
                instance.original = False
        if instance is None or instance.member.url != member.url:
            totals = instance
            instance = Instance(member, original=not self._filled)
            if totals is not None:
                instance.checks, instance.ejections, instance.active = totals.checks, totals.ejections, totals.active
        instance.member = member
        self._instances[member.id] = instance
        self._admit(instance)

    def _admit(self, instance: Instance) -> None:
        if self._policy.check.kind == "none":
            instance.health.state = InstanceState.HEALTHY
