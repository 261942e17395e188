import re

import pytest
from asking import asking
from lookalikes import AMBIGUOUS, PLAIN, generated
from sql_mutations import KNOWN, mutated

from seawall.systems.threats.detectors.sqli import DETECTOR
from seawall.systems.threats.model import PlaceKind

TRIGGERS = [re.compile(trigger, re.IGNORECASE) for trigger in DETECTOR.triggers]


def judged(text: str) -> tuple[str, float]:
    """The strongest rule and its confidence, as the detector is asked: when a trigger is there."""
    if not any(trigger.search(text) for trigger in TRIGGERS):
        return "", 0.0
    signals = DETECTOR.scan(text, PlaceKind.QUERY)
    return (signals[0].rule, signals[0].confidence) if signals else ("", 0.0)


@pytest.mark.parametrize("attack", KNOWN)
def test_known_attacks_are_found(attack):
    assert judged(attack)[1] >= 0.75


@pytest.mark.parametrize("attack", KNOWN)
def test_attacks_written_otherwise_are_found(attack):
    missed = [text for text in (mutated(attack, seed) for seed in range(60)) if judged(text)[1] < 0.75]
    assert missed == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("1 or 1=1", "sqli-tautology"),
        ("1' and 1=2--", "sqli-boolean"),
        ("1 union select null,null", "sqli-union"),
        ("1; drop table users", "sqli-stacked"),
        ("1 and sleep(5)", "sqli-time"),
        ("admin'--", "sqli-comment"),
        ("' or", "sqli-probe"),
        ("1 into outfile '/var/www/x.php'", "sqli-file"),
        ("1' order by 5#", "sqli-clause"),
        ("1 and extractvalue(1,0x7e)", "sqli-function"),
        ("select username from all_users", "sqli-statement"),
    ],
)
def test_each_kind_of_attack_has_a_rule(text, rule):
    assert rule in [signal.rule for signal in DETECTOR.scan(text, PlaceKind.QUERY)]


def test_honest_values_stay_below_ambiguous():
    assert [text for text in PLAIN if judged(text)[1] >= 0.5] == []


def test_pasted_statements_stay_below_sure():
    ask = asking(DETECTOR, PlaceKind.FORM)
    assert [text for text in AMBIGUOUS if ask(text)[1] >= 0.75] == []


def test_honest_values_as_they_come_are_almost_never_flagged():
    flagged = [text for text in generated(2_000, seed=11) if judged(text)[1] >= 0.75]
    assert len(flagged) <= 4, flagged


def test_signals_are_bounded_ordered_and_within_the_text():
    text = "1' or 1=1 union select sleep(5),load_file(0x2f) from information_schema.tables;drop table x;exec xp_a 'a'--"
    signals = DETECTOR.scan(text, PlaceKind.QUERY)
    assert 1 <= len(signals) <= 8
    assert [signal.confidence for signal in signals] == sorted((s.confidence for s in signals), reverse=True)
    for signal in signals:
        assert 0 <= signal.start < signal.end <= len(text)
        assert 0.3 <= signal.confidence <= 1
        assert signal.rule.startswith("sqli-")


def test_an_attack_in_a_long_value_is_found_up_to_the_cap():
    assert judged("word " * 200 + "' union select password from users--")[1] >= 0.9


def test_letters_whose_lower_case_is_longer_do_not_shift_the_span():
    text = "İİİ' OR 1=1--"
    signal = DETECTOR.scan(text, PlaceKind.QUERY)[0]
    assert text[signal.start : signal.start + 5] == "' OR "


@pytest.mark.parametrize("text", ['"a"" or 1=1--"', 'hi"") or (""a""=""a', '""1"" or ""1""=""1'])
def test_quotes_that_were_doubled_on_the_way_are_read_as_one(text):
    assert judged(text)[1] >= 0.75


def test_a_view_that_is_still_percent_encoded_is_left_to_the_decoded_one():
    assert DETECTOR.scan("where%20is%20it%3F%20is%20null%20and%20void", PlaceKind.QUERY) == ()
    assert judged("100%2 or 1=1")[1] >= 0.75
