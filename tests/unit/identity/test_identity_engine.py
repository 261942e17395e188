"""API keys, the word of trusted proxies, several credentials at once, and what is reported."""

import pytest

from identity_tokens import AUDIENCE, EC, ISSUER, NOW, asking, bearing, claims, jwks, signed
from seawall.adapters.jwt import open_token_keys
from seawall.core.identity import TrustedProxies
from seawall.core.principal import ANONYMOUS, Identity
from seawall.systems.identity.apikeys import digest_of
from seawall.systems.identity.engine import IdentityEngine
from seawall.systems.identity.model import (
    SOURCES,
    ApiKeySnapshot,
    HeadersSnapshot,
    IdentitySnapshot,
    JwtSnapshot,
    RefusalReason,
)

SECRET = b"s" * 43
ACME = ApiKeySnapshot("0123456789ab", digest_of("0123456789ab", SECRET), "", "acme", "partner", NOW + 60)
KEY = b"sw_0123456789ab_" + SECRET
JWT = JwtSnapshot(
    issuer=ISSUER,
    audiences=(AUDIENCE,),
    algorithms=("ES256",),
    jwks=jwks(EC),
    tenant_claim="tenant",
    role_claim="role",
)
HEADERS = HeadersSnapshot("x-user", "x-tenant", "x-role")
PROXY = "10.0.0.7"


def engine_with(**snapshot) -> IdentityEngine:
    engine = IdentityEngine(open_token_keys)
    engine.trusted = TrustedProxies(["10.0.0.0/8"])
    engine.apply(IdentitySnapshot(version=1, **snapshot))
    return engine


@pytest.fixture
def engine() -> IdentityEngine:
    return engine_with(key_field="x-api-key", keys=(ACME,), jwt=JWT, headers=HEADERS)


def test_nothing_configured_is_nothing_to_do():
    engine = engine_with()
    assert not engine.active
    assert not engine.rewrites
    assert engine.identify(asking(("x-api-key", KEY), ("authorization", "Bearer x")), NOW) == ANONYMOUS


def test_a_key_tells_who_calls(engine):
    assert engine.identify(asking(("x-api-key", KEY)), NOW) == Identity("", "acme", "partner", ACME.id, "api-key")


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (b"sw_0123456789ab_" + b"t" * 43, RefusalReason.UNKNOWN_KEY),
        (b"sw_0123456789ac_" + SECRET, RefusalReason.UNKNOWN_KEY),
        (b"", RefusalReason.MALFORMED),
        (b"sw_0123456789ab_", RefusalReason.MALFORMED),
        (KEY + b"s", RefusalReason.MALFORMED),
        (KEY.upper(), RefusalReason.MALFORMED),
        (b"x" * 100_000, RefusalReason.MALFORMED),
        (KEY + b"\n", RefusalReason.MALFORMED),
    ],
)
def test_another_key_is_refused(engine, key, reason):
    found = engine.identify(asking(("x-api-key", key)), NOW)
    assert (found.reason, found.status) == (reason, 401)
    assert b"s" * 43 not in found.detail.encode()


def test_a_key_ends_with_its_time(engine):
    assert engine.identify(asking(("x-api-key", KEY)), NOW + 59.9).api_key == ACME.id
    assert engine.identify(asking(("x-api-key", KEY)), NOW + 60).reason is RefusalReason.EXPIRED
    wrong = b"sw_0123456789ab_" + b"t" * 43
    # Who does not hold the secret is not told that there was such a key.
    assert engine.identify(asking(("x-api-key", wrong)), NOW + 60).reason is RefusalReason.UNKNOWN_KEY


def test_a_record_under_another_id_lets_nobody_in():
    moved = ApiKeySnapshot("ffffffffffff", ACME.digest, role="admin")
    engine = engine_with(key_field="x-api-key", keys=(moved,))
    assert engine.identify(asking(("x-api-key", b"sw_ffffffffffff_" + SECRET)), NOW).reason is RefusalReason.UNKNOWN_KEY


def test_a_revoked_key_is_refused_with_the_next_snapshot(engine):
    engine.apply(IdentitySnapshot(version=2, key_field="x-api-key"))
    assert engine.identify(asking(("x-api-key", KEY)), NOW).reason is RefusalReason.UNKNOWN_KEY
    engine.apply(IdentitySnapshot(version=1, key_field="x-api-key", keys=(ACME,)))
    assert engine.identify(asking(("x-api-key", KEY)), NOW).reason is RefusalReason.UNKNOWN_KEY  # an older snapshot


def test_a_key_given_twice_is_refused(engine):
    assert engine.identify(asking(("x-api-key", KEY), ("x-api-key", KEY)), NOW).reason is RefusalReason.MALFORMED


def test_a_trusted_proxy_is_believed_and_nobody_else(engine):
    fields = (("x-user", "bob"), ("x-tenant", "acme"), ("x-role", "admin"))
    assert engine.identify(asking(*fields, peer=PROXY), NOW) == Identity("bob", "acme", "admin", "", "headers")
    assert engine.identify(asking(*fields), NOW) == ANONYMOUS
    assert engine.identify(asking(peer=PROXY), NOW) == ANONYMOUS
    assert engine.identify(asking(("x-user", ""), peer=PROXY), NOW) == ANONYMOUS
    assert engine.identify(asking(("x-user", "jörg"), peer=PROXY), NOW).user == "jörg"


def test_whom_to_trust_is_nobody_until_it_is_said():
    engine = IdentityEngine()
    engine.apply(IdentitySnapshot(version=1, headers=HEADERS))
    assert engine.identify(asking(("x-user", "bob"), peer=PROXY), NOW) == ANONYMOUS


@pytest.mark.parametrize("value", [b"\xff", b"a" * 257, b"a\x00b", b"a\tb"])
def test_what_is_no_name_is_refused(engine, value):
    assert engine.identify(asking(("x-role", value), peer=PROXY), NOW).reason is RefusalReason.MALFORMED


def test_a_proxy_s_field_given_twice_is_refused(engine):
    twice = asking(("x-user", "bob"), ("x-user", "bob"), peer=PROXY)
    assert engine.identify(twice, NOW).reason is RefusalReason.MALFORMED


def test_credentials_that_agree_complete_one_another(engine):
    token = signed(EC, "ES256", claims(tenant="acme"))
    found = engine.identify(bearing(token, ("x-api-key", KEY), ("x-user", "bob"), peer=PROXY), NOW)
    assert found == Identity("bob", "acme", "partner", ACME.id, "api-key")


@pytest.mark.parametrize("changes", [{"tenant": "rival"}, {"role": "admin"}])
def test_credentials_that_disagree_are_refused(engine, changes):
    found = engine.identify(bearing(signed(EC, "ES256", claims(**changes)), ("x-api-key", KEY)), NOW)
    assert found.reason is RefusalReason.DISAGREEMENT


def test_a_bad_credential_is_never_passed_over(engine):
    token = signed(EC, "ES256")
    assert engine.identify(bearing(b"rubbish", ("x-api-key", KEY)), NOW).reason is RefusalReason.MALFORMED
    assert engine.identify(bearing(token, ("x-api-key", b"rubbish")), NOW).reason is RefusalReason.MALFORMED
    assert engine.identify(bearing(b"rubbish", ("x-user", "bob"), peer=PROXY), NOW).reason is RefusalReason.MALFORMED


def test_required_refuses_who_brings_nothing():
    engine = engine_with(key_field="x-api-key", keys=(ACME,), required=True)
    found = engine.identify(asking(), NOW)
    assert (found.reason, found.status, found.challenge) == (RefusalReason.MISSING, 401, 'ApiKey realm="seawall"')
    assert engine.identify(asking(("x-api-key", KEY)), NOW).tenant == "acme"


def test_every_refusal_with_401_has_a_challenge():
    for options in ({"key_field": "x-api-key"}, {"jwt": JWT}, {"headers": HEADERS}):
        assert engine_with(required=True, **options).identify(asking(), NOW).challenge  # RFC 9110 section 15.5.2


def test_reports_count_callers_and_refusals(engine):
    assert engine.report(full=False) is None
    engine.identify(asking(("x-api-key", KEY)), NOW)
    engine.identify(asking(("x-api-key", KEY)), NOW)
    engine.identify(asking(), NOW)
    engine.identify(bearing(b"rubbish"), NOW)
    report = engine.report(full=False)
    assert dict(zip(SOURCES, report.callers, strict=True)) == {"api-key": 2, "jwt": 0, "headers": 0, "anonymous": 1}
    assert dict(zip(RefusalReason, report.refusals, strict=True))[RefusalReason.MALFORMED] == 1
    assert sum(report.refusals) == 1
    assert engine.report(full=False) is None
    assert engine.report(full=True).callers == report.callers


def test_uses_of_keys_are_reported_by_the_minute(engine):
    minute = NOW - NOW % 60
    engine.identify(asking(("x-api-key", KEY)), minute)
    engine.identify(asking(("x-api-key", KEY)), minute + 59)
    assert engine.report(full=False).used == ((ACME.id, minute),)
    engine.identify(asking(("x-api-key", KEY)), minute + 30)
    assert engine.report(full=False).used == ()
    engine.identify(asking(("x-api-key", KEY)), minute + 61)
    assert engine.report(full=False).used == ((ACME.id, minute + 60),)
    assert engine.report(full=True).used == ((ACME.id, minute + 60),)


def test_uses_of_revoked_keys_are_forgotten(engine):
    engine.identify(asking(("x-api-key", KEY)), NOW)
    engine.apply(IdentitySnapshot(version=2, key_field="x-api-key"))
    assert engine.report(full=False).used == ()
