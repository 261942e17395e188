"""The rate-limit system's descriptor."""

from typing import Any

from seawall.core.access import Access
from seawall.core.system import EngineContext, System
from seawall.systems.ratelimit.controller import RateLimitController
from seawall.systems.ratelimit.engine import RateLimitEngine
from seawall.systems.ratelimit.instruments import INSTRUMENTS
from seawall.systems.ratelimit.model import RateLimitReport, RateLimitSnapshot
from seawall.systems.ratelimit.settings import RateLimitSettings

__all__ = ["RATELIMIT"]


def _engine(context: EngineContext) -> RateLimitEngine:
    return RateLimitEngine(context.clock.wall)


def _routes(controller: RateLimitController, access: Access) -> Any:  # noqa: ANN401 - fastapi is imported only here
    from seawall.systems.ratelimit.routes import routes  # noqa: PLC0415 - workers need no web framework

    return routes(controller, access)


RATELIMIT = System(
    name="ratelimit",
    settings=RateLimitSettings,
    snapshot=RateLimitSnapshot,
    report=RateLimitReport,
    engine=_engine,
    controller=RateLimitController,
    instruments=INSTRUMENTS,
    routes=_routes,
)
