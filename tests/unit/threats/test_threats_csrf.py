import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core.errors import InvalidError
from seawall.core.request import Request
from seawall.systems.threats.csrf import BypassPattern, CsrfCheck, CsrfTokens

CHECK = CsrfCheck(
    ["https://app.example.com", "https://Partner.example:443"],
    [BypassPattern("/hooks/"), BypassPattern("/webhook", frozenset({"POST"}))],
)
SECRET = b"0123456789abcdef0123456789abcdef"


def asked(method="POST", path=b"/transfer", **fields):
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return Request(method, path, headers, host=b"bank.example.com", scheme="https")


@pytest.mark.parametrize(
    "request_",
    [
        asked("GET", sec_fetch_site="cross-site", origin="https://evil.example"),
        asked("HEAD", origin="https://evil.example"),
        asked("OPTIONS", origin="https://evil.example"),
        asked(origin="https://app.example.com", sec_fetch_site="cross-site"),
        asked(origin="https://partner.example", sec_fetch_site="cross-site"),
        asked(sec_fetch_site="same-origin", origin="https://other.example"),
        asked(sec_fetch_site="none"),
        asked(),
        asked(origin="https://bank.example.com"),
        asked(origin="HTTPS://Bank.Example.com:443"),
        asked(origin="http://bank.example.com"),
        asked("DELETE", b"/hooks/42?x=1", origin="https://evil.example"),
        asked(path=b"/webhook", sec_fetch_site="cross-site"),
    ],
    ids=lambda request: f"{request.method} {request.path.decode()} {dict(request.headers)}",
)
def test_an_honest_request_passes(request_):
    assert CHECK.refusal(request_) == ""


@pytest.mark.parametrize(
    "request_",
    [
        asked(sec_fetch_site="cross-site"),
        asked(sec_fetch_site="same-site"),
        asked(sec_fetch_site="Same-Origin "),
        asked("PUT", sec_fetch_site="cross-site", origin="https://bank.example.com"),
        asked("DELETE", origin="https://evil.example"),
        asked("PATCH", origin="null"),
        asked(origin="https://bank.example.com:8443"),
        asked(origin="https://bank.example.com.evil.example"),
        asked(origin="https://app.example.com.evil.example"),
        asked(origin="bank.example.com"),
        asked(origin=""),
        asked(path=b"/hooks/../transfer", origin="https://evil.example"),
        asked(path=b"/hooks/%2e%2e/transfer", origin="https://evil.example"),
        asked(path=b"/hooks//transfer", origin="https://evil.example"),
        asked(path=b"/hooks", origin="https://evil.example"),
        asked("PUT", path=b"/webhook", sec_fetch_site="cross-site"),
        asked("get", sec_fetch_site="cross-site"),
    ],
    ids=lambda request: f"{request.method} {request.path.decode()} {dict(request.headers)}",
)
def test_a_forged_request_is_refused(request_):
    assert CHECK.refusal(request_)


def test_of_two_origins_that_differ_none_is_believed():
    twice = Request(
        "POST",
        b"/transfer",
        [(b"origin", b"https://app.example.com"), (b"origin", b"https://evil.example")],
        host=b"bank.example.com",
    )
    assert CHECK.refusal(twice)
    same = Request("POST", b"/", [(b"origin", b"https://app.example.com")] * 2, host=b"bank.example.com")
    assert CHECK.refusal(same) == ""


def test_without_a_host_an_origin_proves_nothing():
    assert CsrfCheck().refusal(Request("POST", b"/", [(b"origin", b"https://")], host=b""))


@pytest.mark.parametrize("origin", ["app.example.com", "https://", "https://a.example/path", "", "null", "https://a b"])
def test_what_is_no_origin_is_refused_at_once(origin):
    with pytest.raises(InvalidError, match="no origin"):
        CsrfCheck([origin])


def test_a_bypass_without_a_leading_slash_is_refused():
    with pytest.raises(InvalidError, match="no path"):
        CsrfCheck(bypass=[BypassPattern("hooks/")])


def test_a_token_holds_for_its_session_and_its_time_only():
    tokens = CsrfTokens(SECRET, os.urandom, lifetime=100.0)
    token = tokens.issue("session-1", 1000.0)
    assert tokens.verify("session-1", token, token, 1099.0)
    assert not tokens.verify("session-2", token, token, 1050.0)
    assert not tokens.verify("session-1", token, token, 1101.5)
    assert not tokens.verify("session-1", token, token, 900.0)
    assert not tokens.verify("session-1", token, tokens.issue("session-1", 1000.0), 1050.0)
    assert not tokens.verify("", token, token, 1050.0)
    assert not CsrfTokens(SECRET[::-1], os.urandom).verify("session-1", token, token, 1050.0)


def test_every_bit_of_a_token_counts():
    tokens = CsrfTokens(SECRET, os.urandom)
    token = tokens.issue("s", 0.0)
    for at, old in enumerate(token[:-1]):
        forged = token[:at] + ("A" if old != "A" else "B") + token[at + 1 :]
        assert not tokens.verify("s", forged, forged, 1.0), at


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=200), st.floats(allow_nan=False))
def test_whatever_is_submitted_only_a_true_token_passes(session, cookie, submitted, now):
    assert not CsrfTokens(SECRET, os.urandom).verify(session, cookie, submitted, now)


def test_a_short_secret_and_a_token_for_nobody_are_refused():
    with pytest.raises(InvalidError, match="too short"):
        CsrfTokens(b"short", os.urandom)
    with pytest.raises(InvalidError, match="0 s"):
        CsrfTokens(SECRET, os.urandom, lifetime=0.0)
    with pytest.raises(InvalidError, match="session"):
        CsrfTokens(SECRET, os.urandom).issue("", 0.0)
    with pytest.raises(InvalidError, match="session"):
        CsrfTokens(SECRET, os.urandom).issue("s" * 4097, 0.0)
