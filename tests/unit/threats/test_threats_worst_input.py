"""Inspection is linear in its input, also in the worst that a search over pieces of all grammars found."""

import json
import time

import pytest

from seawall.adapters.patterns import cache_folder, compile_patterns
from seawall.core.request import Request
from seawall.systems.threats.engine import ThreatEngine
from seawall.systems.threats.inspection.policy import Policy

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
TEXT = "text/plain"

# The dearest that `benchmarks/threats/worst.py` found, in runs of different seeds and at different times.
FOUND = (
    (FORM, "$<style="),
    (FORM, "concat(a=<"),
    (FORM, "%{*(<a b='"),
    (JSON, "&lt;char(="),
    (FORM, "' or 1=1 <svg "),
    (JSON, "%25*/[[<x on"),
    (JSON, "char(/**/://a@+"),
    (FORM, "`..\\<svg ="),
    (TEXT, "<a/**/<a"),
    (TEXT, "=${<a b='%25"),
    (TEXT, "a][%25''+'"),
    (TEXT, "&lt;onx=#"),
)
LIMIT = 1000
"""Times that 1 MiB may cost what 1 KiB does; some ten times what is measured, so that no machine is too slow."""


@pytest.fixture(scope="module")
def engine():
    return ThreatEngine(Policy(), lambda groups: compile_patterns(groups, cache=cache_folder()))


def seconds(engine, media, piece, size, times):
    taken = []
    for number in range(times):
        text = (f"{number}{size}{piece}" + piece * (size // len(piece)))[:size]  # another each time, as none is known
        body = json.dumps({"a": text}).encode() if media == JSON else text.encode()
        request = Request("POST", b"/", [(b"content-type", media.encode())])
        started = time.process_time()
        engine.inspect(request, body)
        taken.append(time.process_time() - started)
    return min(taken)


@pytest.mark.parametrize(("media", "piece"), FOUND)
def test_a_mebibyte_costs_at_most_a_thousand_times_a_kibibyte(engine, media, piece):
    little = seconds(engine, media, piece, 1 << 10, times=3)
    assert seconds(engine, media, piece, 1 << 20, times=1) <= LIMIT * little
