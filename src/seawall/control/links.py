"""What one system's controller is told by another's: systems themselves know nothing of one another."""

import logging
from collections.abc import Mapping

from seawall.core.errors import InvalidError
from seawall.core.system import Controller
from seawall.systems.ratelimit.controller import RateLimitController
from seawall.systems.ratelimit.violations import Escalation
from seawall.systems.threats.controller import ThreatController

__all__ = ["link_controllers"]

_log = logging.getLogger("seawall.control.links")


def link_controllers(controllers: Mapping[str, Controller]) -> None:
    """Let rate limits fall for those who threaten, and let those whom limits do not stop count as a threat.

    Args:
        controllers: by the names of their systems; what does not run is told nothing.
    """
    threats, limits = controllers.get("threats"), controllers.get("ratelimit")
    if not isinstance(threats, ThreatController) or not isinstance(limits, RateLimitController):
        return

    def on_escalation(escalation: Escalation) -> None:
        if escalation.step == "report":
            threats.on_abuse(escalation.key, escalation.rule)

    limits.on_escalation = on_escalation

    def on_threat(subject: str, severity: float) -> None:
        try:
            limits.report_threat(subject, severity)
        except InvalidError as error:
            _log.debug("the limits of %s are not lowered: %s", subject, error)

    threats.on_threat = on_threat
