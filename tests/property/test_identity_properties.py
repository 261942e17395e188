"""Whatever a request holds, identity answers; and what it lets in is what somebody proved."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity_tokens import AUDIENCE, EC, ED, ISSUER, NOW, RSA, SECRET, asking, assembled, claims, jwks, signed
from seawall.adapters.jwt import open_token_keys
from seawall.core.errors import InvalidError
from seawall.core.identity import TrustedProxies
from seawall.core.principal import ANONYMOUS, Identity
from seawall.systems.identity.apikeys import digest_of
from seawall.systems.identity.claims import value_at
from seawall.systems.identity.engine import IdentityEngine
from seawall.systems.identity.issuer import public_part
from seawall.systems.identity.model import (
    ApiKeySnapshot,
    HeadersSnapshot,
    IdentityRefusal,
    IdentitySnapshot,
    JwtSnapshot,
)

KEY_SECRET = b"s" * 43
RULES = JwtSnapshot(
    issuer=ISSUER,
    audiences=(AUDIENCE,),
    algorithms=("RS256", "ES256", "EdDSA"),
    jwks=jwks(RSA, EC, ED),
    tenant_claim="a.b",
    role_claim="roles",
    cookie="session",
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=4), below, max_size=3),
    max_leaves=8,
)


def engine_with(**changes) -> IdentityEngine:
    engine = IdentityEngine(open_token_keys)
    engine.trusted = TrustedProxies(["10.0.0.0/8"])
    key = ApiKeySnapshot("0123456789ab", digest_of("0123456789ab", KEY_SECRET), role="partner")
    engine.apply(
        IdentitySnapshot(
            version=1,
            key_field="x-api-key",
            keys=(key,),
            jwt=RULES,
            headers=HeadersSnapshot("x-user", "x-tenant", "x-role"),
            **changes,
        )
    )
    return engine


ENGINE = engine_with(forward_identity=True, forward_credentials=False)

tokens = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda *parts: b".".join(parts), st.binary(max_size=30), st.binary(max_size=30), st.binary(max_size=30)),
    st.builds(
        assembled,
        st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit"]), JSON) | JSON,
        JSON,
        st.binary(max_size=80),
    ),
    st.builds(
        lambda alg, kid, body, signature: assembled({"alg": alg, "kid": kid}, body, signature),
        st.sampled_from(["RS256", "ES256", "EdDSA"]),
        st.sampled_from([RSA.kid, EC.kid, ED.kid]),
        JSON,
        st.binary(max_size=300) | st.sampled_from([bytes(64), b"\xff" * 64, bytes(256), b"\xff" * 256]),
    ),
)
names = st.sampled_from(["authorization", "x-api-key", "cookie", "x-user", "x-role", "x_user", "x-seawall-user"])
values = st.one_of(
    st.binary(max_size=60),
    tokens.map(lambda token: b"Bearer " + token),
    tokens.map(lambda token: b"session=" + token),
    st.binary(max_size=60).map(lambda tail: b"sw_0123456789ab_" + tail),
)


@given(st.lists(st.tuples(names, values), max_size=5), st.sampled_from(["203.0.113.9", "10.0.0.1", "", "rubbish"]))
def test_any_request_gets_an_answer_and_nothing_forged_gets_in(fields, peer):
    request = asking(*fields, peer=peer)
    found = ENGINE.identify(request, NOW)
    if isinstance(found, Identity):
        # No key or signature could be guessed, so only a trusted proxy's word may have been believed.
        assert found == ANONYMOUS or (found.source == "headers" and peer == "10.0.0.1")
        request.identity = found
    else:
        assert isinstance(found, IdentityRefusal)
        assert found.status == 401
        assert found.challenge
        assert found.detail.isprintable()
    dropped, added = ENGINE.upstream_fields(request)
    kept = [name for name, _ in request.headers if name not in dropped]
    assert b"x-seawall-user" not in kept
    assert b"x_user" not in kept
    assert b"x-api-key" not in kept
    assert peer == "10.0.0.1" or b"x-user" not in kept
    assert all(b"\n" not in value for name, value in added if name.startswith(b"x-seawall-"))


@given(st.dictionaries(st.sampled_from(["iss", "aud", "exp", "nbf", "sub", "a", "roles"]), JSON))
def test_any_signed_claims_get_an_answer(changes):
    body = claims(**changes)
    found = ENGINE.identify(asking(("authorization", b"Bearer " + signed(EC, "ES256", body))), NOW)
    if isinstance(found, Identity):
        assert body["iss"] == ISSUER
        assert AUDIENCE in body["aud"]
        assert body["exp"] > NOW - 1
        assert (body.get("nbf") or 0) <= NOW
        assert found.user in (body["sub"], str(body["sub"]))
        for name in (found.user, found.tenant, found.role):
            assert len(name) <= 256
            assert name == "" or name.isprintable()


@given(st.integers(0, 2), st.integers(0, 10_000), st.integers(1, 255))
def test_one_changed_byte_and_a_token_is_worthless(which, where, flip):
    key, algorithm = ((RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA"))[which]
    token = bytearray(signed(key, algorithm))
    place = where % len(token)
    token[place] ^= flip
    # A last character may differ in bits that stand for nothing; the bytes it stands for are then the same.
    found = engine_with().identify(asking(("authorization", b"Bearer " + bytes(token))), NOW)
    if isinstance(found, Identity) and found != ANONYMOUS:
        assert place == len(token) - 1
        assert found.user == "bob"


@given(st.floats(-1000, 1000), st.floats(-1000, 1000), st.floats(0, 300))
def test_a_token_is_good_exactly_within_its_times(before, after, leeway):
    rules = JwtSnapshot(issuer=ISSUER, audiences=(AUDIENCE,), algorithms=("ES256",), jwks=jwks(EC), leeway=leeway)
    engine = IdentityEngine(open_token_keys)
    engine.apply(IdentitySnapshot(version=1, jwt=rules))
    body = claims(nbf=NOW + before, exp=NOW + after)
    request = asking(("authorization", b"Bearer " + signed(EC, "ES256", body)))
    good = body["nbf"] - leeway <= NOW < body["exp"] + leeway
    for _ in range(2):  # as it comes, and as it is remembered
        assert isinstance(engine.identify(request, NOW), Identity) == good


@given(st.dictionaries(st.text(max_size=4), JSON), st.text(max_size=12))
def test_any_path_into_any_claims_finds_something_or_nothing(given_claims, path):
    found = value_at(given_claims, path)
    if path in given_claims:
        assert found is given_claims[path]


@given(st.binary(max_size=300) | JSON.map(lambda value: json.dumps({"keys": [value]}).encode()))
def test_any_document_is_read_or_refused(document):
    try:
        public = public_part(document)
    except InvalidError:
        with pytest.raises(InvalidError):
            open_token_keys(document or b"x", b"", ("RS256",))
        return
    assert public_part(public) == public
    assert open_token_keys(document, b"", ("RS256", "ES256")).keys == ()


key_entries = st.fixed_dictionaries(
    {"kty": st.sampled_from(["RSA", "EC", "OKP", "oct"])},
    optional={
        "crv": st.sampled_from(["P-256", "P-384", "Ed25519", "Ed448"]),
        "x": st.text(max_size=50) | st.integers(),
        "y": st.text(max_size=50),
        "n": st.text(max_size=400) | st.integers(),
        "e": st.sampled_from(["AQAB", "AA", "", "AQ"]),
        "alg": st.sampled_from(["RS256", "ES256", "HS256", "none"]) | JSON,
        "use": st.sampled_from(["sig", "enc"]) | JSON,
        "key_ops": st.lists(st.sampled_from(["verify", "sign"])) | JSON,
        "kid": st.text(max_size=5) | JSON,
    },
)


def is_json(value):
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


@given(st.lists(key_entries.filter(is_json), max_size=3))
def test_any_keys_are_read_or_left_out(entries):
    read = open_token_keys(json.dumps({"keys": entries}).encode(), SECRET, ("RS256", "ES256", "HS256", "EdDSA"))
    assert len(read.keys) - 1 + len(read.left_out) == len(entries)
    for key in read.keys[:-1]:
        assert "HS256" not in key.algorithms
        assert not key.verify(next(iter(key.algorithms)), b"signed", b"signature")
