"""What findings weigh together."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.systems.threats.inspection.policy import Thresholds
from seawall.systems.threats.inspection.score import FEATURES, WEIGHTS, features, level_of, score
from seawall.systems.threats.model import Finding, Level, Place, PlaceKind, Severity, ThreatClass

LEVELS = list(Level)


def finding(confidence=0.9, severity=Severity.HIGH, category=ThreatClass.XSS, rule="xss-a", name="q", chain=()):
    return Finding(
        rule=rule,
        category=category,
        owasp="A03:2021",
        severity=severity,
        confidence=confidence,
        place=Place(PlaceKind.QUERY, name),
        span="x",
        chain=chain,
    )


def level(*findings, paranoia=1):
    return level_of(score(findings), Thresholds(), paranoia)


def test_each_feature_has_a_weight():
    assert len(WEIGHTS) == len(FEATURES)
    assert features([]) == (0.0,) * len(FEATURES)
    assert score([]) == 0.0


@pytest.mark.parametrize(
    ("findings", "feature", "value"),
    [
        ([finding()], "high", 0.81),
        ([finding(0.5), finding(0.9), finding(0.7)], "high", 0.81),
        ([finding(), finding(rule="xss-b", confidence=0.7)], "second-rule", 0.7),
        ([finding(), finding(rule="xss-b", confidence=0.55)], "second-rule", 0.0),
        ([finding(), finding(category=ThreatClass.XXE, rule="xxe-a")], "second-class", 1.0),
        ([finding(), finding(category=ThreatClass.XXE, rule="xxe-a", confidence=0.55)], "second-class", 0.0),
        ([finding(), finding(name="r")], "second-place", 1.0),
        ([finding(chain=("percent", "percent"))], "hidden", 0.9),
        ([finding(chain=("percent",))], "hidden", 0.0),
        ([finding(0.59)], "ambiguous", 1.0),
        ([finding(0.6)], "ambiguous", 0.0),
    ],
)
def test_features(findings, feature, value):
    assert features(findings)[FEATURES.index(feature)] == pytest.approx(value)


@pytest.mark.parametrize("severity", Severity)
def test_what_is_ambiguous_never_stands_for_a_block_alone(severity):
    assert LEVELS.index(level(finding(0.59, severity))) < LEVELS.index(Level.HIGH)


@pytest.mark.parametrize("severity", [Severity.HIGH, Severity.CRITICAL])
def test_what_no_honest_text_has_is_high_at_least(severity):
    assert LEVELS.index(level(finding(0.9, severity))) >= LEVELS.index(Level.HIGH)


def test_what_does_little_harm_is_low_however_sure():
    assert level(finding(1.0, Severity.LOW)) is Level.LOW


def test_several_doubts_together_are_more_than_one():
    doubts = [finding(0.65, rule=f"xss-{name}", name=name) for name in "abc"]
    assert score(doubts) > score(doubts[:1])


FINDINGS = st.lists(
    st.builds(
        finding,
        st.floats(0.3, 1.0),
        st.sampled_from(Severity),
        st.sampled_from([ThreatClass.XSS, ThreatClass.XXE, ThreatClass.SSRF]),
        st.sampled_from(["a-1", "a-2", "b-1"]),
        st.sampled_from("qr"),
        st.sampled_from([(), ("percent",), ("percent", "html")]),
    ),
    max_size=5,
)


@given(FINDINGS)
def test_the_order_of_findings_does_not_matter(findings):
    assert len({score(some) for some in itertools.islice(itertools.permutations(findings), 24)}) == 1


@given(FINDINGS, st.integers(1, 3))
def test_more_paranoia_never_lowers_a_level(findings, paranoia):
    assert LEVELS.index(level(*findings, paranoia=paranoia)) <= LEVELS.index(level(*findings, paranoia=paranoia + 1))
