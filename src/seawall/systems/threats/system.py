"""The threat system's descriptor."""

from typing import Any

from seawall.core.access import Access
from seawall.core.errors import SeawallError
from seawall.core.system import EngineContext, System
from seawall.systems.threats.controller import ThreatController
from seawall.systems.threats.guard import ThreatGuard
from seawall.systems.threats.instruments import INSTRUMENTS
from seawall.systems.threats.messages import ThreatReport, ThreatSnapshot
from seawall.systems.threats.settings import ThreatDetectionSettings

__all__ = ["THREATS"]


def _engine(context: EngineContext) -> ThreatGuard:
    if context.compile_patterns is None or context.random is None:
        raise SeawallError("threat detection needs something that matches patterns and secret random bytes")
    return ThreatGuard(context.clock.monotonic, context.clock.wall, context.random, context.compile_patterns)


def _routes(controller: ThreatController, access: Access) -> Any:  # noqa: ANN401 - fastapi is imported only here
    from seawall.systems.threats.routes import routes  # noqa: PLC0415 - workers need no web framework

    return routes(controller, access)


THREATS = System(
    name="threats",
    settings=ThreatDetectionSettings,
    snapshot=ThreatSnapshot,
    report=ThreatReport,
    engine=_engine,
    controller=ThreatController,
    instruments=INSTRUMENTS,
    routes=_routes,
)
