"""Every detector is at work, and says what it is in the words that others rely on."""

from importlib import import_module
from pkgutil import iter_modules

import pytest

import seawall.systems.threats.detectors as package
from seawall.systems.threats.detectors.registry import DETECTORS
from seawall.systems.threats.model import PlaceKind


def test_each_module_with_a_detector_is_registered():
    modules = (import_module(f"{package.__name__}.{module.name}") for module in iter_modules(package.__path__))
    offered = [module.DETECTOR for module in modules if hasattr(module, "DETECTOR")]
    assert {detector.name for detector in offered} == {detector.name for detector in DETECTORS}


def test_names_are_unique_and_in_order():
    names = [detector.name for detector in DETECTORS]
    assert names == sorted(set(names))


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)
def test_a_detector_bears_anything(detector):
    for text in ("", " ", "\x00", "\ud800", "é" * 50, "'\"<>(){}[];|&$`%\\/*#-=+!?:,." * 20, "a" * 5000):
        for kind in PlaceKind:
            signals = detector.scan(text, kind)
            assert len(signals) <= 8
            for signal in signals:
                assert signal.rule.startswith(f"{detector.name}-")
                assert 0 <= signal.start <= signal.end <= len(text)
                assert 0.0 <= signal.confidence <= 1.0
