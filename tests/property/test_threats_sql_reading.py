"""Whatever the text: reading and judging it never fails, stays within it, and is linear in it."""

import re

from hypothesis import given
from hypothesis import strategies as st

from seawall.systems.threats.detectors.sql_lexer import TOKENS_CAP, lowered, read
from seawall.systems.threats.detectors.sqli import DETECTOR
from seawall.systems.threats.model import PlaceKind

PIECES = st.sampled_from(
    [
        *(
            "'",
            '"',
            "`",
            "or",
            "and",
            "union",
            "all",
            "select",
            "from",
            "where",
            "1",
            "1=1",
            "a",
            "(",
            ")",
            ",",
            ";",
            "--",
        ),
        *(
            "#",
            "/*",
            "*/",
            "/*!",
            "||",
            "&&",
            "=",
            "<",
            ">",
            "like",
            "in",
            "is",
            "not",
            "null",
            "sleep(5)",
            "x'",
            "0x41",
        ),
        *(
            "@@version",
            "{x ",
            "}",
            "[a]",
            "\\",
            "%",
            "drop",
            "table",
            "exec",
            "waitfor",
            "delay",
            "case",
            "when",
            "then",
        ),
        *("end", "having", "order", "group", "by", "limit", ".", "+", "-", "~", "!", "$$", "\x00"),
    ]
)
SQLISH = st.lists(PIECES, max_size=40).map(" ".join) | st.lists(PIECES, max_size=40).map("".join)
TEXTS = st.text(max_size=200) | SQLISH


@given(TEXTS)
def test_tokens_are_in_order_and_within_the_text(text):
    tokens = read(lowered(text))
    assert len(tokens.kinds) == len(tokens.texts) == len(tokens.starts) <= TOKENS_CAP
    assert tokens.starts == sorted(tokens.starts)
    assert all(0 <= start <= len(text) for start in tokens.starts)


@given(TEXTS)
def test_judging_never_fails_and_stays_within_the_text(text):
    signals = DETECTOR.scan(text, PlaceKind.FORM)
    assert len(signals) <= 8
    assert len({signal.rule for signal in signals}) == len(signals)
    for signal in signals:
        assert 0 <= signal.start <= signal.end <= len(text)
        assert 0.3 <= signal.confidence <= 1


@given(SQLISH)
def test_case_does_not_matter(text):
    def told(value):
        return [(signal.rule, signal.confidence) for signal in DETECTOR.scan(value, PlaceKind.FORM)]

    assert told(text.upper()) == told(text.lower())


def test_triggers_are_patterns_that_every_engine_has():
    for trigger in DETECTOR.triggers:
        re.compile(trigger)
        assert "(?=" not in trigger
        assert "(?!" not in trigger
        assert "(?<" not in trigger
        assert not re.search(r"\\[1-9]", trigger)
