"""The detectors that are at work: each module of this package that offers a `DETECTOR`."""

from importlib import import_module
from pkgutil import iter_modules

import seawall.systems.threats.detectors as package
from seawall.systems.threats.detector import Detector

__all__ = ["DETECTORS"]


def _found() -> tuple[Detector, ...]:
    modules = (
        import_module(f"{package.__name__}.{module.name}")
        for module in iter_modules(package.__path__)
        if module.name != "registry"
    )
    found = [module.DETECTOR for module in modules if hasattr(module, "DETECTOR")]
    return tuple(sorted(found, key=lambda detector: detector.name))


DETECTORS: tuple[Detector, ...] = _found()
"""In order of name, so that the set compiles to the same patterns everywhere."""
