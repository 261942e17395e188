"""How loaded the pools are, read from what the balancing engine counts anyway: no work is added to a request."""

from seawall.systems.balancing.counters import CLIENT_ERRORS, Instance
from seawall.systems.balancing.engine import BalancingEngine
from seawall.systems.balancing.model import Outcome
from seawall.systems.ratelimit.model import PoolLoad

__all__ = ["PoolLoads"]

_SUCCESS = list(Outcome).index(Outcome.SUCCESS)
_CANCELLED = list(Outcome).index(Outcome.CANCELLED)
_MAX_KNOWN = 16_384
"""Instances whose last counts are kept, gone ones included, since one that comes back goes on where it was."""


class PoolLoads:
    """Sums the counts of instances to those of pools, which stay cumulative while instances come and go.

    Args:
        balancing: the engine.
    """

    def __init__(self, balancing: BalancingEngine) -> None:
        self._balancing = balancing
        self._known: dict[str, tuple[int, int]] = {}
        self._totals: dict[str, list[int]] = {}

    def read(self) -> dict[str, PoolLoad]:
        """Return the load of each pool.

        To be called right before the balancing engine reports: only instances that changed since its last report are
        looked at.
        """
        pools = self._balancing.pools
        loads = {}
        for name, pool in pools.items():
            total = self._totals.setdefault(name, [0, 0])
            for instance in pool.instances:
                if instance.dirty:
                    self._add(instance, total)
            loads[name] = PoolLoad(in_flight=pool.active, ended=total[0], failed=total[1], seconds=pool.seconds)
        if len(self._totals) > len(pools):
            self._totals = {name: total for name, total in self._totals.items() if name in pools}
        return loads

    def _add(self, instance: Instance, total: list[int]) -> None:
        counts = instance.counts
        ended = sum(counts[:CLIENT_ERRORS]) - counts[_CANCELLED]
        failed = ended - counts[_SUCCESS]
        before = self._known.pop(instance.key, (0, 0))
        total[0] += ended - before[0]
        total[1] += failed - before[1]
        if len(self._known) >= _MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[instance.key] = ended, failed
