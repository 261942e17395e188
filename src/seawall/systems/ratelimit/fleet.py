"""What all workers of a gateway saw, added up: totals for metrics, and what happened since the last look."""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from seawall.core.system import WorkerId
from seawall.core.totals import CumulativeTotals
from seawall.systems.ratelimit.factors import LoadSample
from seawall.systems.ratelimit.model import PRIORITIES, RateLimitReport, RuleReport

__all__ = ["Fleet", "Seen"]

_FRESH = 1.0
"""Age of a worker's last report, in seconds, from which on nobody waits for its next."""
_ENOUGH = 10
"""Requests that must have ended for their mean latency and error rate to say something."""
_LONGEST = 1.0
"""Seconds over which a quiet pool's requests are gathered before they are dropped."""
_SCALARS = ("blocked", "unlimited", "evicted", "asked", "leased", "remembered", "away")


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What happened since the last look.

    Attributes:
        pools: a sample of each pool that any worker knows.
        offered: requests by tier.
        ended: requests that were answered, over all pools.
        failed: those of them that failed.
        in_flight: requests in flight, over all pools.
        lag: seconds by which the latest event loop was late.
    """

    pools: dict[str, LoadSample]
    offered: tuple[int, ...]
    ended: int
    failed: int
    in_flight: int
    lag: float


class _Pool:
    """One pool's increments since the last look, and those gathered for a mean."""

    __slots__ = ("ended", "errors", "failed", "gathered", "micros", "since")

    def __init__(self, now: float) -> None:
        self.ended = self.failed = 0
        self.gathered = self.errors = self.micros = 0
        self.since = now

    def add(self, ended: int, failed: int, micros: int) -> None:
        self.ended += ended
        self.failed += failed
        self.gathered += ended
        self.errors += failed
        self.micros += micros

    def sample(self, now: float, in_flight: int, capacity: float, lag: float) -> LoadSample:
        latency = error_rate = 0.0
        ended = 0
        if self.gathered >= _ENOUGH:
            latency = self.micros / self.gathered / 1e6
            error_rate = self.errors / self.gathered
            # What ended over several looks says nothing of how fast the present queue is worked off.
            ended = self.ended if self.gathered == self.ended else 0
        if self.gathered >= _ENOUGH or not 0.0 <= now - self.since < _LONGEST:
            self.gathered = self.errors = self.micros = 0
            self.since = now
        self.ended = self.failed = 0
        return LoadSample(
            at=now,
            latency=latency,
            in_flight=in_flight,
            ended=ended,
            capacity=capacity,
            error_rate=error_rate,
            loop_lag=lag,
        )


class Fleet:
    """Reports of all workers; cumulative counts never count twice, whatever is repeated, lost or late.

    Args:
        capacity: requests in flight that a pool bears; 0 when unknown.
    """

    def __init__(self, capacity: float = 0.0) -> None:
        self.capacity = capacity
        self._totals = CumulativeTotals()
        self._last: dict[WorkerId, tuple[float, RateLimitReport]] = {}
        self._heard: set[WorkerId] = set()
        self._pools: dict[str, _Pool] = {}
        self._offered = [0] * PRIORITIES
        self._lag = 0.0

    @property
    def workers(self) -> int:
        """Workers that report."""
        return len(self._last)

    def on_report(self, worker: WorkerId, report: RateLimitReport, now: float, rules: Collection[str]) -> None:
        """Take one worker's report; `rules` are the ids of those in force, others are left out."""
        fresh = worker not in self._last
        self._last[worker] = (now, report)
        self._heard.add(worker)
        self._lag = max(self._lag, report.lag)
        for rule, row in report.rules.items():
            if rule in rules:
                counts = (row.allowed, row.quota_exceeded, row.concurrency, row.shadow)
                self._totals.update(worker, f"rule/{rule}", counts)
        self._totals.update(worker, "scalars", [getattr(report, name) for name in _SCALARS])
        self._totals.update(worker, "shed", report.shed)
        offered = self._totals.update(worker, "offered", report.offered, baseline=fresh)
        self._offered = [have + more for have, more in zip(self._offered, offered, strict=True)]
        for name, load in report.pools.items():
            row_now = (load.ended, load.failed, round(load.seconds * 1e6))
            added = self._totals.update(worker, f"pool/{name}", row_now, baseline=fresh)
            pool = self._pools.get(name)
            if pool is None:
                pool = self._pools[name] = _Pool(now)
            pool.add(*added)

    def on_worker_gone(self, worker: WorkerId) -> None:
        """Forget a worker's gauges; its counts stay in the totals."""
        self._last.pop(worker, None)
        self._heard.discard(worker)
        self._totals.forget_source(worker)

    def forget_rules(self, rules: Iterable[str]) -> None:
        """Drop the totals of rules that are gone."""
        for rule in rules:
            self._totals.forget_key(f"rule/{rule}")

    def look(self, now: float) -> Seen | None:
        """Return what happened since the last look, once every worker that is alive has reported; None until then."""
        if not self._heard:
            return None
        if any(now - at < _FRESH and worker not in self._heard for worker, (at, _) in self._last.items()):
            return None
        self._heard.clear()
        in_flight = self._in_flight()
        for name in self._pools.keys() - in_flight.keys():
            del self._pools[name]
            self._totals.forget_key(f"pool/{name}")
        ended = sum(pool.ended for pool in self._pools.values())
        failed = sum(pool.failed for pool in self._pools.values())
        offered, self._offered = tuple(self._offered), [0] * PRIORITIES
        lag, self._lag = self._lag, 0.0
        return Seen(
            pools={name: pool.sample(now, in_flight[name], self.capacity, lag) for name, pool in self._pools.items()},
            offered=offered,
            ended=ended,
            failed=failed,
            in_flight=sum(in_flight.values()),
            lag=lag,
        )

    def count(self, name: str) -> int:
        """Return one of the counts that are not by rule, such as `away`, over all workers."""
        return (self._totals.total("scalars") or [0] * len(_SCALARS))[_SCALARS.index(name)]

    def report(self, rules: Iterable[str]) -> RateLimitReport:
        """Return the sum of all workers as if one had reported it."""
        return RateLimitReport(
            rules={rule: RuleReport(*(self._totals.total(f"rule/{rule}") or (0, 0, 0, 0))) for rule in rules},
            blocked=self.count("blocked"),
            offered=tuple(self._totals.total("offered") or (0,) * PRIORITIES),
            shed=tuple(self._totals.total("shed") or (0,) * PRIORITIES),
            unlimited=self.count("unlimited"),
            keys=sum(report.keys for _, report in self._last.values()),
            evicted=self.count("evicted"),
            asked=self.count("asked"),
            leased=self.count("leased"),
            remembered=self.count("remembered"),
            away=self.count("away"),
        )

    def _in_flight(self) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for _, report in self._last.values():
            for name, load in report.pools.items():
                found[name] = found.get(name, 0) + load.in_flight
        return found
