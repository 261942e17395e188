import pytest
from asking import asking
from lookalikes import AMBIGUOUS, PLAIN, generated

from seawall.systems.threats.detectors.protocol import DETECTOR
from seawall.systems.threats.model import PlaceKind

ask = asking(DETECTOR)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a\x00b", "protocol-null"),
        ("a%00b", "protocol-null"),
        ("%c0%ae%c0%ae/", "protocol-overlong"),
        ("%e0%80%af", "protocol-overlong"),
        ("\xc0\xae\xc0\xae/", "protocol-overlong"),
        ("%u0027", "protocol-encoding"),
        ("%%32%65", "protocol-encoding"),
        ("%2527", "protocol-double"),
        ("a\x07b", "protocol-control"),
    ],
)
def test_each_oddity_has_a_rule(text, rule):
    assert ask(text)[0] == rule


def test_null_bytes_are_honest_in_what_may_be_binary():
    assert asking(DETECTOR, PlaceKind.BODY)("a\x00b")[1] < 0.5
    assert ask("a\x00b")[1] >= 0.85


def test_honest_values_are_not_even_ambiguous():
    assert [
        text for text in [*PLAIN, *AMBIGUOUS, "JUSQU\u2019\xc0\xbb", "100%", "a%20b", "caf\xe9"] if ask(text)[1] >= 0.5
    ] == []


def test_generated_honest_values_are_not_suspected():
    assert [text for text in generated(1500, seed=4) if ask(text)[1] >= 0.5] == []


def test_bytes_like_overlong_ones_are_honest_in_what_may_be_binary():
    assert asking(DETECTOR, PlaceKind.BODY)("a\xc0\xae\x9f\x01")[1] < 0.5
    assert asking(DETECTOR, PlaceKind.BODY)("%c0%ae%c0%ae/x") == ("protocol-overlong", 0.9)
