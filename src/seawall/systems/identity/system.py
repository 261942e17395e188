"""The identity system's descriptor."""

from typing import Any

from seawall.core.access import Access
from seawall.core.system import EngineContext, System
from seawall.systems.identity.controller import IdentityController
from seawall.systems.identity.engine import IdentityEngine
from seawall.systems.identity.instruments import INSTRUMENTS
from seawall.systems.identity.model import IdentityReport, IdentitySnapshot
from seawall.systems.identity.settings import IdentitySettings

__all__ = ["IDENTITY"]


def _engine(context: EngineContext) -> IdentityEngine:
    return IdentityEngine(context.token_keys)


def _routes(controller: IdentityController, access: Access) -> Any:  # noqa: ANN401 - fastapi is imported only here
    from seawall.systems.identity.routes import routes  # noqa: PLC0415 - workers need no web framework

    return routes(controller, access)


IDENTITY = System(
    name="identity",
    settings=IdentitySettings,
    snapshot=IdentitySnapshot,
    report=IdentityReport,
    engine=_engine,
    controller=IdentityController,
    instruments=INSTRUMENTS,
    routes=_routes,
)
