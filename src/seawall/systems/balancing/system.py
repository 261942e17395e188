"""The balancing system's descriptor."""

from typing import Any

from seawall.core.access import Access
from seawall.core.system import EngineContext, System
from seawall.systems.balancing.controller import BalancingController
from seawall.systems.balancing.engine import BalancingEngine
from seawall.systems.balancing.instruments import INSTRUMENTS
from seawall.systems.balancing.model import BalancingReport, BalancingSnapshot
from seawall.systems.balancing.settings import BalancingSettings

__all__ = ["BALANCING"]


def _engine(context: EngineContext) -> BalancingEngine:
    return BalancingEngine(context.clock.monotonic, context.rng, context.locations)


def _routes(controller: BalancingController, access: Access) -> Any:  # noqa: ANN401 - fastapi is imported only here
    from seawall.systems.balancing.routes import routes  # noqa: PLC0415 - workers need no web framework

    return routes(controller, access)


BALANCING = System(
    name="balancing",
    settings=BalancingSettings,
    snapshot=BalancingSnapshot,
    report=BalancingReport,
    engine=_engine,
    controller=BalancingController,
    instruments=INSTRUMENTS,
    routes=_routes,
)
