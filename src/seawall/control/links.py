"""What one system's controller is told by another's: systems themselves know nothing of one another."""

from collections.abc import Mapping

from seawall.core.system import Controller
from seawall.systems.ratelimit.controller import RateLimitController
from seawall.systems.ratelimit.violations import Escalation
from seawall.systems.threats.controller import ThreatController

__all__ = ["link_controllers"]


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
    threats.on_threat = limits.report_threat
