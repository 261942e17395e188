"""The factors that follow from what the workers saw: how loaded the pools are, and whom overload turns away."""

from seawall.systems.ratelimit.factors import LoadController, LoadSample
from seawall.systems.ratelimit.fleet import Seen
from seawall.systems.ratelimit.gradient import Gradient2
from seawall.systems.ratelimit.model import PRIORITIES
from seawall.systems.ratelimit.plan import RateLimitPlan
from seawall.systems.ratelimit.shedding import AdaptiveThrottle, Shedder, ShedSample

__all__ = ["Pressure", "quantised"]

_STEPS = 256
_STALE = 1.0


def quantised(factor: float) -> float:
    """Return a factor in steps of 1/256, so that what did not really change is not told again; never 0 unless it is."""
    if factor <= 0.0:
        return 0.0
    return max(round(factor * _STEPS), 1) / _STEPS


class Pressure:
    """Load factors by pool and shares of admission by tier.

    A look that is missing freezes both; nothing here runs by itself.

    Attributes:
        load: factor by pool, and under "" the worst of all, for requests without a pool; empty while all are 1.
        admission: share 0..1 of requests let in, by tier.
    """

    def __init__(self, plan: RateLimitPlan) -> None:
        self.load: dict[str, float] = {}
        self.admission: tuple[float, ...] = (1.0,) * PRIORITIES
        self._plan = plan
        self._pools: dict[str, LoadController] = {}
        self._loop = LoadController(plan.tolerances)
        self._capacity = Gradient2()
        self._shedder = _shedder(plan)
        self._looked: float | None = None

    def configure(self, plan: RateLimitPlan) -> None:
        """Take other settings; what was learned stays where it still means the same."""
        old, self._plan = self._plan, plan
        if plan.tolerances != old.tolerances:
            self._pools.clear()
            self._loop = LoadController(plan.tolerances)
            self.load = {}
        if plan.shed_slack != old.shed_slack:
            self._shedder = _shedder(plan)
            self.admission = (1.0,) * PRIORITIES

    def step(self, now: float, seen: Seen | None) -> None:
        """Take what was seen since the last look; call it about every 100 ms.

        Args:
            now: monotonic seconds.
            seen: None while there is nothing new.
        """
        if seen is None:
            if self._looked is not None and now - self._looked > _STALE:
                for known in (self._loop, *self._pools.values()):
                    known.step(now, None)
            return
        self._looked = now
        for name in self._pools.keys() - seen.pools.keys():
            del self._pools[name]
        for name, sample in seen.pools.items():
            controller = self._pools.get(name)
            if controller is None:
                controller = self._pools[name] = LoadController(self._plan.tolerances)
            controller.step(now, sample)
        self._loop.step(now, LoadSample(at=now, loop_lag=seen.lag))
        self._tell_load()
        self._shed(now, seen)

    def _tell_load(self) -> None:
        load = {name: quantised(controller.factor) for name, controller in self._pools.items()}
        load[""] = min([quantised(self._loop.factor), *load.values()])
        self.load = {} if all(factor == 1.0 for factor in load.values()) else load

    def _shed(self, now: float, seen: Seen) -> None:
        if self._shedder is None:
            return
        latencies = [sample.latency for sample in seen.pools.values() if sample.latency > 0.0]
        self._capacity.step(now, max(latencies, default=0.0), seen.in_flight)
        shares = self._shedder.step(
            now,
            ShedSample(
                at=now,
                offered=seen.offered,
                ended=seen.ended,
                accepted=seen.ended - seen.failed,
                in_flight=seen.in_flight,
                capacity=self._plan.max_in_flight or self._capacity.limit,
            ),
        )
        self.admission = tuple(quantised(share) for share in shares)


def _shedder(plan: RateLimitPlan) -> Shedder | None:
    return None if plan.shed_slack is None else Shedder(throttle=AdaptiveThrottle(k=plan.shed_slack))
