"""Whatever the text, the detectors of injection into other languages never fail and stay within it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.systems.threats.detectors import code, graphql, ldap, nosql, prototype, xpath
from seawall.systems.threats.model import PlaceKind

DETECTORS = [module.DETECTOR for module in (code, graphql, ldap, nosql, prototype, xpath)]
PIECES = st.sampled_from(
    [
        *(
            "(",
            ")",
            "{",
            "}",
            "[",
            "]",
            "'",
            '"',
            "|",
            "||",
            "&",
            "&&",
            "*",
            "/",
            "//",
            ":",
            ";",
            ",",
            ".",
            "...",
            "=",
            "!=",
        ),
        *(
            "uid=",
            "$ne",
            "$where:",
            "this.a",
            "return",
            "__proto__",
            "constructor",
            "prototype",
            "count(",
            "name()",
            "\x00",
        ),
        *(
            "child::",
            "doc(",
            "or",
            "and",
            "fragment",
            "on",
            "a",
            "@a",
            "__schema",
            "1",
            "\\",
            "#",
            "->",
            "é",
            "\n",
            " ",
        ),
    ]
)
TEXTS = st.text(max_size=120) | st.lists(PIECES, max_size=40).map("".join) | st.lists(PIECES, max_size=40).map(" ".join)


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)
@given(text=TEXTS)
def test_judging_never_fails_and_stays_within_the_text(detector, text):
    signals = detector.scan(text, PlaceKind.GRAPHQL)
    assert len(signals) <= 8
    assert [signal.confidence for signal in signals] == sorted((s.confidence for s in signals), reverse=True)
    for signal in signals:
        assert signal.rule.startswith(f"{detector.name}-")
        assert 0 <= signal.start <= signal.end <= len(text)
        assert 0 < signal.confidence <= 1


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)
def test_triggers_are_patterns_that_every_engine_has(detector):
    for trigger in detector.triggers:
        re.compile(trigger)
        assert not re.search(r"\(\?[=!<]|\\[1-9]|[*+?}]\+", trigger)
