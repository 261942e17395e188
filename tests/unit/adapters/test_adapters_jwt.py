"""Keys as joserfc reads them: which are usable, for which algorithms, and why others are not."""

import json
import subprocess
import sys

import pytest
from joserfc import jwk

from identity_tokens import EC, EC384, ED, RSA, SECRET, jwks
from seawall.adapters.jwt import MAX_KEYS, open_token_keys
from seawall.core.errors import ConfigurationError, InvalidError

ALL = ("RS256", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "HS256")


def reasons(entry: object, algorithms=ALL) -> tuple[str, ...]:
    read = open_token_keys(json.dumps({"keys": [entry]}).encode(), b"", algorithms)
    assert read.keys == ()
    return read.left_out


def public(key, **changes):
    full = {**key.as_dict(private=False), **changes}
    return {name: value for name, value in full.items() if value is not None}


def test_each_kind_answers_for_its_own_algorithms_only():
    read = open_token_keys(jwks(RSA, EC, EC384, ED), b"", ALL)
    assert {key.kid: set(key.algorithms) for key in read.keys} == {
        "rsa-1": {"RS256", "PS512"},
        "ec-1": {"ES256"},
        "ec-384": {"ES384"},
        "ed-1": {"EdDSA", "Ed25519"},
    }
    assert read.left_out == ()
    rsa = read.keys[0]
    assert not rsa.verify("HS256", b"signed", b"signature")
    assert not rsa.verify("none", b"signed", b"")


def test_a_key_bound_to_an_algorithm_answers_for_that_one():
    [key] = open_token_keys(jwks(RSA, alg="PS512"), b"", ALL).keys
    assert set(key.algorithms) == {"PS512"}
    assert reasons(public(RSA, alg="RS512")) == ("key 1 ('rsa-1'): its algorithm is not one of the accepted ones",)
    assert reasons(public(RSA, alg=5))


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("text", "not a table"),
        (public(RSA, use="enc"), "not for signatures"),
        (public(RSA, key_ops=["encrypt"]), "not for verifying"),
        (public(RSA, key_ops="verify"), "not for verifying"),
        (public(RSA, kid=7), "its id is not a text"),
        (public(RSA, kty="XYZ"), "not of a kind"),
        (public(RSA, kty=["RSA"]), "not of a kind"),
        (public(EC, crv="secp256k1"), "not of a kind"),
        (public(ED, crv="Ed448"), "not of a kind"),
        ({"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}, "not of a kind"),
        (public(RSA, n=None), "cannot be read"),
        (public(RSA, n=5), "cannot be read"),
        (public(RSA, n="???"), "cannot be read"),
        (public(EC, x="AAAA"), "cannot be read"),
        (public(ED, x=""), "cannot be read"),
        (public(RSA, e="AQ"), "cannot be read"),
    ],
)
def test_unusable_keys_are_left_out_with_a_reason(entry, why):
    assert why in reasons(entry)[0]


@pytest.mark.parametrize("bits", [1024, 8200])
def test_rsa_keys_are_neither_weak_nor_ruinous(bits):
    modulus = (1 << (bits - 1)) | 0x10001
    text = jwk.OctKey.import_key(modulus.to_bytes((bits + 7) // 8, "big")).as_dict(private=True)["k"]
    assert "2048 to 8192" in reasons({"kty": "RSA", "n": text, "e": "AQAB"})[0]


def test_usable_keys_are_used_beside_unusable_ones():
    document = json.dumps({"keys": [{"kty": "oct"}, EC.as_dict(private=False)]}).encode()
    read = open_token_keys(document, b"", ALL)
    assert [key.kid for key in read.keys] == ["ec-1"]
    assert len(read.left_out) == 1


def test_a_set_past_the_bound_is_cut_and_said_so():
    document = json.dumps({"keys": [EC.as_dict(private=False)] * (MAX_KEYS + 5)}).encode()
    read = open_token_keys(document, b"", ALL)
    assert len(read.keys) == MAX_KEYS
    assert f"at most {MAX_KEYS}" in read.left_out[0]


@pytest.mark.parametrize("document", [b"x", b"[]", b"{}", b'{"keys": {}}', b"[" * 100_000, b"\xff", b'{"keys": null}'])
def test_what_is_no_set_is_refused(document):
    with pytest.raises(InvalidError, match="JWK set"):
        open_token_keys(document, b"", ALL)


@pytest.mark.parametrize(("algorithm", "size"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_a_short_secret_is_refused(algorithm, size):
    with pytest.raises(InvalidError, match=f"at least {size}"):
        open_token_keys(b"", b"x" * (size - 1), (algorithm,))
    [key] = open_token_keys(b"", b"x" * size, (algorithm,)).keys
    assert (key.kid, key.algorithms) == ("", {algorithm})


def test_a_private_key_is_only_read_for_its_public_part():
    document = json.dumps({"keys": [EC.as_dict(private=True)]}).encode()
    [key] = open_token_keys(document, b"", ALL).keys
    assert not key._key.is_private


def test_a_secret_is_nothing_to_public_key_algorithms():
    [key] = open_token_keys(b"", SECRET, ("HS256", "RS256")).keys
    assert set(key.algorithms) == {"HS256"}


def test_without_joserfc_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "joserfc", None)
    with pytest.raises(ConfigurationError, match="joserfc"):
        open_token_keys(b"", b"", ALL)


def test_importing_it_imports_no_library():
    code = "import sys, seawall.adapters.jwt, seawall.adapters.jwks, seawall.systems.identity.system as s; "
    code += "print([n for n in ('joserfc', 'cryptography', 'httpx') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
