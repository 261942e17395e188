import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.systems.threats.events import ThreatEvent, ecs_of, redacted, redacted_target
from seawall.systems.threats.model import Action, Finding, Level, Place, PlaceKind, Severity, ThreatClass


def event(**fields):
    default = {
        "id": "e-1",
        "at": 1_700_000_000.5,
        "category": ThreatClass.XSS,
        "level": Level.CRITICAL,
        "action": Action.BLOCK,
    }
    return ThreatEvent(**{**default, **fields})


def finding(place, span):
    return Finding(
        rule="xss-handler",
        category=ThreatClass.XSS,
        owasp="A03:2021",
        severity=Severity.HIGH,
        confidence=0.9,
        place=place,
        span=span,
    )


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/login?user=alice&password=hunter2", "/login?user=alice&password=[redacted]"),
        ("/x?Api-Key=abc&q=1", "/x?Api-Key=[redacted]&q=1"),
        ("/x?q=<script>", "/x?q=<script>"),
        ("/x?a=1;access_token=t", "/x?a=1;access_token=[redacted]"),
        ("/pay/4111 1111 1111 1111/now", "/pay/[redacted]/now"),
        ("/order/1234567890123456", "/order/1234567890123456"),
        ("/x?h=Bearer%20x", "/x?h=Bearer%20x"),
        ("/x?h=Bearer abcdefghijk", "/x?h=Bearer [redacted]"),
        ("/x?t=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "/x?t=[redacted]"),
        ("/x", "/x"),
    ],
)
def test_secrets_are_taken_out_of_a_target(target, shown):
    assert redacted_target(target) == shown


def test_evidence_from_secret_places_is_not_kept():
    shown = redacted(
        event(
            findings=(
                finding(Place(PlaceKind.FORM, "password"), "hunter2' or 1=1"),
                finding(Place(PlaceKind.COOKIE, "sid"), "abc<script>"),
                finding(Place(PlaceKind.HEADER, "authorization"), "Basic YWxpY2U6aHVudGVyMg=="),
                finding(Place(PlaceKind.JSON, "user.card_number"), "4111111111111111"),
                finding(Place(PlaceKind.FORM, "comment"), "<script>alert(1)</script>"),
            )
        )
    )
    spans = [one.span for one in shown.findings]
    assert spans[:4] == [f"[{length} characters redacted]" for length in (15, 11, 26, 16)]
    assert spans[4] == "<script>alert(1)</script>"


@given(st.text(max_size=3000), st.text(max_size=3000))
def test_whatever_comes_is_cut_to_its_bounds(target, agent):
    findings = tuple(finding(Place(PlaceKind.QUERY, target), agent) for _ in range(30))
    shown = redacted(event(target=target, user_agent=agent, client=agent, account=target, findings=findings))
    assert len(shown.target) <= 512
    assert len(shown.user_agent) <= 256
    assert len(shown.client) <= 64
    assert len(shown.findings) == 16
    assert all(len(one.span) <= 128 and len(one.place.name) <= 128 for one in shown.findings)


def test_the_elastic_form_names_what_a_security_tool_looks_for():
    shown = ecs_of(
        event(
            client="192.0.2.7",
            country="DE",
            method="GET",
            target="/x?q=1",
            request_id="r-1",
            route="/x",
            score=7.123,
            findings=(finding(Place(PlaceKind.QUERY, "q"), "x"),),
        ),
        "1.2.3",
    )
    assert json.loads(json.dumps(shown)) == shown
    assert shown["@timestamp"] == "2023-11-14T22:13:20.500Z"
    assert shown["event"]["kind"] == "alert"
    assert shown["event"]["type"] == ["denied"]
    assert shown["event"]["severity"] == 99
    assert shown["source"] == {"ip": "192.0.2.7", "geo": {"country_iso_code": "DE"}}
    assert shown["http"] == {"request": {"method": "GET", "id": "r-1"}}
    assert shown["rule"]["id"] == ["xss-handler"]
    assert "user" not in shown


def test_what_was_only_reported_is_not_said_to_be_denied():
    assert ecs_of(event(shadow=True), "1")["event"]["type"] == ["info"]
    assert ecs_of(event(action=Action.TAG), "1")["event"]["type"] == ["info"]
