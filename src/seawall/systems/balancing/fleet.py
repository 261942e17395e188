"""All pools of a gateway: rosters, totals over the workers, and the snapshot they add up to; pure, over given times."""

from collections.abc import Iterator, Mapping

from seawall.core.instruments import DURATION_BUCKETS, Sample
from seawall.core.system import WorkerId
from seawall.core.totals import CumulativeTotals
from seawall.systems.balancing import instruments
from seawall.systems.balancing.members import Member
from seawall.systems.balancing.model import BalancingReport, InstanceState
from seawall.systems.balancing.outliers import OutlierChange
from seawall.systems.balancing.roster import OUTCOMES, Roster, RosterPolicy

__all__ = ["Fleet"]

_BUCKETS = len(DURATION_BUCKETS) + 1
_COUNTS = len(OUTCOMES) + 2
_RETRIES = _COUNTS - 1
_POOL_COLUMNS = 4


class Fleet:
    """The truth about every pool, for the controller (async, with I/O around it) and the in-app balancer (plain calls).

    Not safe to call concurrently.
    """

    def __init__(self) -> None:
        self._rosters: dict[str, Roster] = {}
        self._instance_totals = CumulativeTotals()
        self._pool_totals = CumulativeTotals()
        self._met: set[WorkerId] = set()

    @property
    def rosters(self) -> Mapping[str, Roster]:
        """Return the pools by name."""
        return self._rosters

    def set_pools(self, policies: Mapping[str, RosterPolicy], now: float) -> None:
        """Replace the set of pools; one that stays keeps its instances and their state."""
        for gone in [name for name in self._rosters if name not in policies]:
            for instance_id, _ in self._rosters.pop(gone).everyone():
                self._instance_totals.forget_key(f"{gone}/{instance_id}")
            self._pool_totals.forget_key(gone)
        for name, policy in policies.items():
            roster = self._rosters.get(name)
            if roster is None:
                self._rosters[name] = Roster(policy, now=now)
            else:
                roster.set_policy(policy, now)

    def set_members(self, pool: str, members: Mapping[str, Member], now: float) -> None:
        """Replace one pool's membership."""
        self._rosters[pool].set_members(members, now)

    def on_report(self, worker: WorkerId, report: BalancingReport, now: float) -> list[tuple[str, OutlierChange]]:
        """Take one worker's report; return what outlier detection made of it at once, by pool.

        A worker may be older than this fleet: what it counted before it was met belongs in the totals, but an instance
        must not be judged now for what it did then, nor for its life before it left the pool.
        """
        history = report.full and worker not in self._met
        self._met.add(worker)
        touched: set[str] = set()
        for key, row in report.instances.items():
            pool, _, instance_id = key.partition("/")
            roster = self._rosters.get(pool)
            if roster is None or roster.find(instance_id) is None:
                continue
            columns = (*row.counts, *row.buckets, row.duration_us)
            baseline = history or key in report.revived
            added = self._instance_totals.update(worker, key, columns, baseline=baseline)
            roster.observe(worker, instance_id, row, added, now)
            touched.add(pool)
        for pool, counts in report.pools.items():
            if pool in self._rosters:
                requests = (counts.requests, counts.retries, counts.retries_refused, counts.no_instance)
                self._pool_totals.update(worker, pool, (*requests, *counts.responses))
        return [(pool, change) for pool in sorted(touched) for change in self._rosters[pool].step(now)]

    def on_worker_gone(self, worker: WorkerId) -> None:
        """Forget a worker's gauges; its counts stay in the totals."""
        self._met.discard(worker)
        self._instance_totals.forget_source(worker)
        self._pool_totals.forget_source(worker)
        for roster in self._rosters.values():
            roster.forget_worker(worker)

    def step(self, now: float) -> list[tuple[str, OutlierChange]]:
        """Do what the passing of time asks for in every pool; call it about every 100 ms."""
        return [(name, change) for name, roster in self._rosters.items() for change in roster.step(now)]

    def purge(self, now: float) -> None:
        """Drop the series of instances that left more than ten minutes ago."""
        for name, roster in self._rosters.items():
            for instance_id in roster.purge(now):
                self._instance_totals.forget_key(f"{name}/{instance_id}")

    def instance_total(self, pool: str, instance_id: str) -> list[int]:
        """Return an instance's summed row: a count per outcome, 4xx, retries, then buckets, then microseconds."""
        return self._instance_totals.total(f"{pool}/{instance_id}") or [0] * (_COUNTS + _BUCKETS + 1)

    def pool_total(self, pool: str) -> list[int]:
        """Return a pool's summed row: requests, retries, retries refused, no instance, then responses 1xx..5xx."""
        return self._pool_totals.total(pool) or [0] * (_POOL_COLUMNS + 5)

    def samples(self) -> Iterator[Sample]:
        """Yield every series for a scrape."""
        for pool, roster in self._rosters.items():
            yield from self._pool_samples(pool, roster)
            for instance_id, instance in roster.everyone():
                labels = (pool, instance_id)
                row = self.instance_total(pool, instance_id)
                for index, outcome in enumerate(OUTCOMES):
                    yield Sample(instruments.REQUESTS, (*labels, outcome.value), row[index])
                yield Sample(instruments.RETRIES, labels, row[_RETRIES])
                buckets = row[_COUNTS : _COUNTS + _BUCKETS]
                yield Sample(instruments.REQUEST_DURATION, labels, row[-1] / 1e6, buckets)
                yield Sample(instruments.ACTIVE_REQUESTS, labels, sum(instance.active.values()))
                for result, count in instance.checks.items():
                    yield Sample(instruments.HEALTH_CHECKS, (*labels, result), count)
                for reason, count in instance.ejections.items():
                    yield Sample(instruments.EJECTIONS, (*labels, reason), count)

    def _pool_samples(self, pool: str, roster: Roster) -> Iterator[Sample]:
        states = dict.fromkeys(InstanceState, 0)
        for instance_id in roster.instances:
            states[roster.state(instance_id)] += 1
        for state, count in states.items():
            yield Sample(instruments.INSTANCES, (pool, state.value), count)
        _, _, refused, no_instance, *responses = self.pool_total(pool)
        yield Sample(instruments.RETRIES_REFUSED, (pool,), refused)
        yield Sample(instruments.NO_INSTANCE, (pool,), no_instance)
        for index, count in enumerate(responses, start=1):
            yield Sample(instruments.RESPONSES, (pool, f"{index}xx"), count)
