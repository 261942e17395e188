"""Tokens: good ones of every kind, and forged, stale and foreign ones."""

import base64
import hashlib
import hmac
import json

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization

from identity_tokens import (
    AUDIENCE,
    EC,
    EC384,
    ED,
    ISSUER,
    NOW,
    OTHER_RSA,
    RSA,
    SECRET,
    asking,
    assembled,
    bearing,
    claims,
    encoded,
    jwks,
    signed,
)
from seawall.adapters.jwt import open_token_keys
from seawall.core.principal import ANONYMOUS, Identity
from seawall.core.tokens import TokenKeys
from seawall.systems.identity.engine import IdentityEngine
from seawall.systems.identity.model import IdentityRefusal, IdentitySnapshot, JwtSnapshot, RefusalReason

RULES = JwtSnapshot(
    issuer=ISSUER,
    audiences=(AUDIENCE,),
    algorithms=("RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"),
    jwks=jwks(RSA, EC, EC384, ED),
    leeway=10.0,
)
BOB = Identity(user="bob", source="jwt")


def engine_with(rules: JwtSnapshot = RULES, **snapshot) -> IdentityEngine:
    engine = IdentityEngine(open_token_keys)
    engine.apply(IdentitySnapshot(version=1, jwt=rules, **snapshot))
    return engine


@pytest.fixture(scope="module")
def engine() -> IdentityEngine:
    return engine_with()


def verdict_on(engine: IdentityEngine, token: bytes, now: float = NOW) -> Identity | RefusalReason:
    found = engine.identify(bearing(token), now)
    return found.reason if isinstance(found, IdentityRefusal) else found


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(RSA, "RS256"), (RSA, "PS256"), (EC, "ES256"), (EC384, "ES384"), (ED, "EdDSA")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_good_token_is_accepted(engine, key, algorithm):
    assert verdict_on(engine, signed(key, algorithm)) == BOB


def test_ed25519_by_its_newer_name_is_accepted(engine):
    header = encoded({"alg": "Ed25519", "kid": ED.kid})
    body = encoded(claims())
    signature = ED.private_key.sign(header + b"." + body)
    assert verdict_on(engine, header + b"." + body + b"." + encoded(signature)) == BOB


def test_the_scheme_is_known_in_any_case_and_others_are_left_alone(engine):
    token = signed(EC, "ES256")
    assert engine.identify(asking(("authorization", b"bEaReR  " + token)), NOW) == BOB
    assert engine.identify(asking(("authorization", "Basic Ym9iOmJvYg==")), NOW) == ANONYMOUS
    assert engine.identify(asking(("authorization", "Bearerish x")), NOW) == ANONYMOUS
    assert engine.identify(asking(("authorization", "Bearer")), NOW).reason is RefusalReason.MALFORMED
    assert engine.identify(asking(), NOW) == ANONYMOUS


def test_the_token_in_force_is_the_pinned_algorithm_s():
    """HS256 over the public key's bytes, `none`, and another family than the key's: the classics."""
    engine = engine_with()
    pem = RSA.public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    body = encoded(claims())
    for algorithm in ("HS256", "hs256", "none", "NONE", "", "RS512", "ES256K"):
        header = encoded({"alg": algorithm, "typ": "JWT", "kid": RSA.kid})
        for secret in (pem, pem.strip(), json.dumps(RSA.as_dict(private=False)).encode(), b""):
            forged = encoded(hmac.digest(secret, header + b"." + body, hashlib.sha256))
            assert verdict_on(engine, header + b"." + body + b"." + forged) is RefusalReason.ALGORITHM
    assert verdict_on(engine, signed(RSA, "RS256", kid=EC.kid)) is RefusalReason.UNKNOWN_SIGNER
    header = encoded({"alg": "RS256", "kid": EC.kid})
    ec_signature = signed(EC, "ES256").rpartition(b".")[2]
    assert verdict_on(engine, header + b"." + body + b"." + ec_signature) is RefusalReason.UNKNOWN_SIGNER


def test_an_empty_signature_is_no_signature(engine):
    head, body, _ = signed(RSA, "RS256").split(b".")
    assert verdict_on(engine, head + b"." + body + b".") is RefusalReason.MALFORMED
    assert verdict_on(engine, head + b"." + body) is RefusalReason.MALFORMED


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA")])
def test_a_changed_token_is_refused(engine, key, algorithm):
    token = signed(key, algorithm)
    header, body, signature = token.split(b".")
    raw = bytearray(base64.urlsafe_b64decode(signature + b"=="))
    raw[7] ^= 1
    other_body = encoded(claims(sub="root"))
    assert verdict_on(engine, b".".join((header, other_body, signature))) is RefusalReason.SIGNATURE
    assert verdict_on(engine, b".".join((header, body, encoded(bytes(raw))))) is RefusalReason.SIGNATURE
    assert verdict_on(engine, b".".join((header, body, encoded(bytes(raw[:-1]))))) is RefusalReason.SIGNATURE
    assert verdict_on(engine, b".".join((header, body, encoded(bytes(len(raw)))))) is RefusalReason.SIGNATURE
    assert verdict_on(engine, token) == BOB


def test_a_key_that_a_token_brings_along_is_not_used(engine):
    own = OTHER_RSA.as_dict(private=False)
    token = signed(OTHER_RSA, "RS256", kid=RSA.kid, jwk=own, jku="http://127.0.0.1:1/jwks", x5u="http://127.0.0.1:1/")
    assert verdict_on(engine, token) is RefusalReason.SIGNATURE


def test_an_unknown_key_is_told_to_the_controller_and_not_remembered():
    engine = engine_with()
    token = signed(OTHER_RSA, "RS256")
    for asked in (1, 2):  # again, since a fetch may have come too early
        assert verdict_on(engine, token) is RefusalReason.UNKNOWN_SIGNER
        assert engine.report(full=False).unknown_signers == asked
    engine.apply(IdentitySnapshot(version=2, jwt=msgspec.structs.replace(RULES, jwks=jwks(RSA, OTHER_RSA))))
    assert verdict_on(engine, token) == BOB
    assert engine.report(full=False).unknown_signers == 2


def test_a_rotated_key_takes_its_tokens_with_it():
    engine = engine_with()
    token = signed(RSA, "RS256")
    assert verdict_on(engine, token) == BOB
    engine.apply(IdentitySnapshot(version=2, jwt=msgspec.structs.replace(RULES, jwks=jwks(OTHER_RSA))))
    assert verdict_on(engine, token) is RefusalReason.UNKNOWN_SIGNER


def test_a_token_without_a_key_id_is_tried_on_the_keys_of_its_algorithm():
    engine = engine_with(msgspec.structs.replace(RULES, jwks=jwks(OTHER_RSA, EC, RSA)))
    assert verdict_on(engine, signed(RSA, "RS256", kid=None)) == BOB
    assert verdict_on(engine, signed(EC384, "ES384", kid=None)) is RefusalReason.UNKNOWN_SIGNER
    foreign = type(RSA).generate_key(2048)
    assert verdict_on(engine, signed(foreign, "RS256", kid=None)) is RefusalReason.SIGNATURE


@pytest.mark.parametrize("kid", ["", "same"])
def test_a_forged_token_costs_two_checks_at_most_and_none_when_it_comes_again(kid):
    tried = []

    class Key:
        algorithms = frozenset({"RS256"})

        def __init__(self) -> None:
            self.kid = kid

        def verify(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
            tried.append(self)
            return False

    engine = IdentityEngine(lambda *_: TokenKeys(tuple(Key() for _ in range(8))))
    engine.apply(IdentitySnapshot(version=1, jwt=RULES))
    token = assembled({"alg": "RS256", "kid": kid}, claims(), b"s" * 256)
    assert verdict_on(engine, token) is RefusalReason.SIGNATURE
    assert verdict_on(engine, token) is RefusalReason.SIGNATURE
    assert len(tried) == 2


def test_a_key_without_an_id_answers_for_tokens_that_name_one():
    bare = {name: value for name, value in EC.as_dict(private=False).items() if name != "kid"}
    engine = engine_with(msgspec.structs.replace(RULES, jwks=json.dumps({"keys": [bare]}).encode()))
    assert verdict_on(engine, signed(EC, "ES256", kid="whatever")) == BOB


def test_a_shared_secret_goes_with_hs_only():
    engine = engine_with(JwtSnapshot(issuer=ISSUER, audiences=(AUDIENCE,), algorithms=("HS256",), secret=SECRET))
    header, body = encoded({"alg": "HS256"}), encoded(claims())
    right = encoded(hmac.digest(SECRET, header + b"." + body, hashlib.sha256))
    wrong = encoded(hmac.digest(SECRET + b"\n", header + b"." + body, hashlib.sha256))
    assert verdict_on(engine, header + b"." + body + b"." + right) == BOB
    assert verdict_on(engine, header + b"." + body + b"." + wrong) is RefusalReason.SIGNATURE
    assert verdict_on(engine, signed(RSA, "RS256")) is RefusalReason.ALGORITHM


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (claims(exp=None), RefusalReason.CLAIMS),
        (claims(exp="soon"), RefusalReason.CLAIMS),
        (claims(exp=True), RefusalReason.CLAIMS),
        (claims(exp=10**400), RefusalReason.CLAIMS),
        (claims(exp=NOW - 11), RefusalReason.EXPIRED),
        (claims(exp=NOW - 9), BOB),
        (claims(exp=-1), RefusalReason.EXPIRED),
        (claims(nbf=NOW + 11), RefusalReason.NOT_YET_VALID),
        (claims(nbf=NOW + 9), BOB),
        (claims(nbf=[]), RefusalReason.CLAIMS),
        (claims(iss=None), RefusalReason.ISSUER),
        (claims(iss=ISSUER.rstrip("/")), RefusalReason.ISSUER),
        (claims(iss=[ISSUER]), RefusalReason.ISSUER),
        (claims(aud=None), RefusalReason.AUDIENCE),
        (claims(aud="billing"), RefusalReason.AUDIENCE),
        (claims(aud=[]), RefusalReason.AUDIENCE),
        (claims(aud={AUDIENCE: 1}), RefusalReason.AUDIENCE),
        (claims(aud=[["orders"], 5, None]), RefusalReason.AUDIENCE),
        (claims(aud=["billing", AUDIENCE]), BOB),
        (claims(sub=None), RefusalReason.CLAIMS),
        (claims(sub=""), RefusalReason.CLAIMS),
        (claims(sub={"a": 1}), RefusalReason.CLAIMS),
        (claims(sub=True), RefusalReason.CLAIMS),
        (claims(sub="a\r\nx-role: admin"), RefusalReason.CLAIMS),
        (claims(sub="x" * 257), RefusalReason.CLAIMS),
        (claims(sub=-5), RefusalReason.CLAIMS),
        (b"[]", RefusalReason.MALFORMED),
        (b"nonsense", RefusalReason.MALFORMED),
        (b'{"iss": "\xff"}', RefusalReason.MALFORMED),
        (b"[" * 3000, RefusalReason.MALFORMED),
        (b'{"iss":"i","n":' + b"9" * 5000 + b"}", RefusalReason.MALFORMED),
        (b'{"exp": 1e999}', RefusalReason.MALFORMED),
    ],
)
def test_claims_decide(engine, payload, reason):
    assert verdict_on(engine, signed(EC, "ES256", payload)) == reason


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"], "exp": 1},
        {"b64": False, "crit": ["b64"]},
        {"typ": "JOSE"},
        {"typ": "logout+jwt"},
        {"typ": 5},
        {"kid": 5},
        {"kid": ["rsa-1"]},
        {"kid": "k" * 257},
    ],
)
def test_a_header_that_asks_for_more_is_refused(engine, header):
    token = assembled({"alg": "RS256", **header}, claims(), b"signature")
    assert verdict_on(engine, token) is RefusalReason.MALFORMED


@pytest.mark.parametrize("kind", ["at+jwt", "application/at+jwt", "jwt", None])
def test_tokens_for_access_are_accepted(engine, kind):
    assert verdict_on(engine, signed(EC, "ES256", typ=kind)) == BOB


def test_the_header_must_be_a_table(engine):
    for header in ([], "RS256", None, b"{", b"[" * 5000):
        assert verdict_on(engine, assembled(header, claims(), b"x")) is RefusalReason.MALFORMED
    assert verdict_on(engine, assembled({"alg": ["RS256"]}, claims(), b"x")) is RefusalReason.ALGORITHM


@pytest.mark.parametrize("text", [b"x", b"a.b", b"a.b.c.d.e", b"a b.c.d", b"a+.b/.c=", b"aaaaa.aaaa.aaaa", b"\xff.a.b"])
def test_what_is_no_token_is_refused(engine, text):
    assert verdict_on(engine, text) is RefusalReason.MALFORMED


def test_a_token_past_the_bound_is_not_even_read(engine):
    padding = "x" * 6000
    assert verdict_on(engine, signed(EC, "ES256", claims(padding="x" * 4000))) == BOB
    assert verdict_on(engine, signed(EC, "ES256", claims(padding=padding))) is RefusalReason.MALFORMED


def test_a_token_that_was_seen_expires_all_the_same(engine):
    token = signed(EC, "ES256", claims(exp=NOW + 50, nbf=NOW - 50))
    assert verdict_on(engine, token, NOW) == BOB
    assert verdict_on(engine, token, NOW + 59) == BOB
    assert verdict_on(engine, token, NOW + 60) is RefusalReason.EXPIRED
    assert verdict_on(engine, token, NOW - 61) is RefusalReason.NOT_YET_VALID
    assert verdict_on(engine, token, NOW) == BOB


def test_two_fields_with_tokens_are_refused(engine):
    token = signed(EC, "ES256")
    assert engine.identify(bearing(token, ("authorization", b"Bearer " + token)), NOW).reason is RefusalReason.MALFORMED
    assert engine.identify(bearing(token, ("authorization", b"Basic abc")), NOW).reason is RefusalReason.MALFORMED


def test_a_cookie_may_hold_the_token():
    engine = engine_with(msgspec.structs.replace(RULES, cookie="session"))
    token = signed(EC, "ES256")
    assert engine.identify(asking(("cookie", b"a=b; session=" + token + b"; c=d")), NOW) == BOB
    assert engine.identify(asking(("cookie", b"session=rubbish")), NOW).reason is RefusalReason.MALFORMED
    twice = asking(("cookie", b"session=" + token), ("cookie", b"session=rubbish"))
    assert engine.identify(twice, NOW).reason is RefusalReason.MALFORMED
    both = bearing(token, ("cookie", b"session=" + signed(EC, "ES256", claims(sub="eve"))))
    assert engine.identify(both, NOW).reason is RefusalReason.DISAGREEMENT
    assert engine_with().identify(asking(("cookie", b"session=rubbish")), NOW) == ANONYMOUS


def test_without_any_key_the_fault_is_ours():
    engine = engine_with(msgspec.structs.replace(RULES, jwks=b""))
    found = engine.identify(bearing(signed(EC, "ES256")), NOW)
    assert (found.reason, found.status, found.code) == (RefusalReason.UNAVAILABLE, 503, "identity-unavailable")
    assert found.retry_after > 0
    assert found.challenge == ""
    unopened = IdentityEngine()
    unopened.apply(IdentitySnapshot(version=1, jwt=RULES))
    assert verdict_on(unopened, signed(EC, "ES256")) is RefusalReason.UNAVAILABLE


def test_keys_that_cannot_be_read_let_nobody_in():
    engine = engine_with(msgspec.structs.replace(RULES, jwks=b"not a set"))
    assert verdict_on(engine, signed(EC, "ES256")) is RefusalReason.UNAVAILABLE


def test_refusals_say_how_to_do_better(engine):
    found = engine.identify(bearing(b"rubbish"), NOW)
    assert (found.status, found.code) == (401, "invalid-credentials")
    assert found.challenge == 'Bearer error="invalid_token", realm="seawall"'
    required = engine_with(required=True)
    missing = required.identify(asking(), NOW)
    assert (missing.code, missing.challenge) == ("credentials-required", 'Bearer realm="seawall"')


def test_the_signature_of_a_token_is_checked_once(monkeypatch):
    engine = engine_with()
    token = signed(EC, "ES256")
    assert verdict_on(engine, token) == BOB
    monkeypatch.setattr("joserfc._rfc7518.jws_algs.ESAlgorithm.verify", None)
    assert verdict_on(engine, token) == BOB


def test_forged_tokens_do_not_push_out_good_ones():
    engine = engine_with()
    token = signed(EC, "ES256")
    assert verdict_on(engine, token) == BOB
    for number in range(3000):
        verdict_on(engine, b"rubbish-%d" % number)
    verdicts = engine._verdicts
    assert len(verdicts) == 2049
    assert verdicts.find(verdicts.digest(token)) is not None
