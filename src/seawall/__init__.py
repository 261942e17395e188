"""Seawall: a production shield for HTTP services. Importing it loads nothing; the public names are found when used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seawall.balancer import DynamicLoadBalancer
    from seawall.limiter import AdaptiveRateLimiter
    from seawall.threats import ThreatDetectionService

    __version__: str

__all__ = ["AdaptiveRateLimiter", "DynamicLoadBalancer", "ThreatDetectionService", "__version__"]

_PLACES = {
    "AdaptiveRateLimiter": "seawall.limiter",
    "DynamicLoadBalancer": "seawall.balancer",
    "ThreatDetectionService": "seawall.threats",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attribute may be anything
    if name == "__version__":
        return import_module("importlib.metadata").version("seawall")
    if name in _PLACES:
        value = getattr(import_module(_PLACES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'seawall' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
