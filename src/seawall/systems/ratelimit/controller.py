"""The rate-limit controller: settings in, snapshots out."""

from collections.abc import Iterable

from seawall.core.instruments import Sample
from seawall.core.system import ControllerContext, WorkerId
from seawall.systems.ratelimit.model import RateLimitReport, RateLimitSnapshot
from seawall.systems.ratelimit.plan import RateLimitPlan, make_plan
from seawall.systems.ratelimit.settings import RateLimitSettings

__all__ = ["RateLimitController"]


class RateLimitController:
    """Tell the engines what is limited; implements `seawall.core.system.Controller`.

    Args:
        context: settings, store, clocks and where to publish.
    """

    def __init__(self, context: ControllerContext) -> None:
        self._context = context
        self._plan = self._planned(context.settings)

    async def start(self) -> None:
        """Publish the first snapshot."""
        self._publish()

    async def stop(self) -> None:
        """End; the last snapshot stays in force in the workers."""

    async def reconfigure(self, settings: RateLimitSettings) -> None:
        """Take another settings section."""
        self._plan = self._planned(settings)
        self._publish()

    def on_report(self, worker: WorkerId, report: RateLimitReport) -> None:
        """Take one worker's report; never blocks."""

    def on_worker_gone(self, worker: WorkerId) -> None:
        """Forget a worker's gauges; its counts stay in the totals."""

    def samples(self) -> Iterable[Sample]:
        """Yield every series for a scrape."""
        return ()

    def health(self) -> dict[str, str]:
        """Return findings that an operator should see; empty when all is well."""
        return {}

    def _planned(self, settings: RateLimitSettings) -> RateLimitPlan:
        workers = self._context.workers
        return make_plan(settings, shared=workers > 1 or self._context.store.url.startswith("redis"))

    def _publish(self) -> None:
        plan = self._plan
        self._context.publish(
            RateLimitSnapshot(
                version=1,
                rules=plan.rules,
                priorities=plan.priorities,
                shedding=plan.shed_slack is not None,
                share=1.0 / self._context.workers,
                headers=plan.headers,
                max_keys=plan.max_keys,
            )
        )
