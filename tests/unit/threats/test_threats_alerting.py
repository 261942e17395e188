import pytest

from seawall.core.errors import InvalidError
from seawall.systems.threats.alerting import AlertGate
from seawall.systems.threats.events import ThreatEvent
from seawall.systems.threats.model import Action, Level, ThreatClass


def event(client="192.0.2.7", **fields):
    default = {"id": "e", "at": 1.0, "category": ThreatClass.XSS, "level": Level.HIGH, "action": Action.BLOCK}
    return ThreatEvent(**{**default, "client": client, **fields})


def test_a_kind_is_told_once_in_a_while_with_what_came_in_between():
    gate = AlertGate(quiet=300.0)
    assert gate.admit(event(), 0.0).repeated == 0
    assert [gate.admit(event(), second) for second in range(1, 300)] == [None] * 299
    assert gate.admit(event(), 300.0).repeated == 299
    assert gate.admit(event(category=ThreatClass.SSRF), 300.0) is not None


def test_people_are_told_no_more_than_they_can_read():
    gate = AlertGate(per_minute=10.0)
    told = [gate.admit(event(f"client-{number}"), number * 0.01) for number in range(1000)]
    told = [one for one in told if one is not None]
    assert len(told) == 11
    after = gate.admit(event("another"), 100.0)
    assert sum(one.withheld for one in [*told, after]) == 989
    assert gate.withheld == 0


def test_many_kinds_take_bounded_memory():
    gate = AlertGate(per_minute=1e9)
    for number in range(25_000):
        gate.admit(event(f"client-{number}"), 0.0)
    assert len(gate._told) <= 10_000


def test_a_title_is_one_line_whatever_the_account_is_called():
    title = AlertGate().admit(event("", account="a\r\nBcc: x" + "y" * 500), 0.0).title
    assert "\n" not in title
    assert "\r" not in title
    assert len(title) <= 200
    assert "would have been" in AlertGate().admit(event(shadow=True), 0.0).title


def test_a_gate_that_lets_nothing_through_is_refused():
    with pytest.raises(InvalidError, match="above 0"):
        AlertGate(per_minute=0.0)
