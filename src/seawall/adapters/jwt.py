"""Signature keys by joserfc: JWK sets and shared secrets, each key bound to the algorithms of its own kind.

Signatures are checked by joserfc's algorithms; the token around them is taken apart by the engine that asks, which pins
the algorithm. joserfc and the cryptography package are imported at the first call.
"""

import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from seawall.core.errors import ConfigurationError, InvalidError
from seawall.core.tokens import SignatureKey, TokenKeys

__all__ = ["MAX_KEYS", "MAX_RSA_BITS", "MIN_RSA_BITS", "open_token_keys"]

MAX_KEYS = 64
"""Keys of a set that are looked at."""
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
"""RFC 7518 section 3.3 asks for 2048 bits; above 8192 one check would hold up a worker for milliseconds."""

_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA", "Ed25519"}),  # the second is its name in RFC 9864
}
_SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Smallest key of each algorithm; RFC 7518 section 3.2."""
_PUBLIC = frozenset({"kty", "crv", "x", "y", "n", "e"})


def open_token_keys(document: bytes, secret: bytes, algorithms: Collection[str]) -> TokenKeys:
    """Read a JWK set and a shared secret; implements `seawall.core.tokens.OpenTokenKeys`.

    Of a set, keys are left out that are not for signatures, not of an accepted algorithm, too weak or too large, or
    that cannot be read; symmetric keys always: who can read the set could sign with them. Private members are dropped.
    Costs about 0.1 ms a key.

    Args:
        document: JWK set as JSON (RFC 7517 section 5); empty for none.
        secret: key of the HS algorithms; empty for none.
        algorithms: those that may be used at all.

    Raises:
        ConfigurationError: joserfc is not installed.
        InvalidError: the document is not a JWK set, or the secret is too short.
    """
    _joserfc()  # with nothing to read, too: a missing package is to be named at a start
    allowed = frozenset(algorithms)
    keys: list[SignatureKey] = []
    left_out: list[str] = []
    for place, entry in enumerate(_entries(document) if document else ()):
        name = f"key {place + 1}"
        if place >= MAX_KEYS:
            left_out.append(f"{name} and those after it: at most {MAX_KEYS} keys are read")
            break
        try:
            keys.append(_public_key(entry, allowed))
        except _UnusableError as error:
            kid = entry.get("kid") if isinstance(entry, dict) else None
            if isinstance(kid, str):
                name += f" ({kid[:64]!r})"
            left_out.append(f"{name}: {error}")
    if secret:
        keys.append(_secret_key(secret, allowed))
    return TokenKeys(tuple(keys), tuple(left_out))


class _UnusableError(Exception):
    """A key of a set is not usable, which leaves the others as they are."""


class _Key:
    """One joserfc key; implements `seawall.core.tokens.SignatureKey`."""

    __slots__ = ("_key", "_models", "algorithms", "kid")

    def __init__(self, kid: str, algorithms: frozenset[str], key: Any) -> None:  # noqa: ANN401 - joserfc is imported late
        from joserfc.jws import JWSRegistry  # noqa: PLC0415 - optional, needed only with tokens

        self.kid = kid
        self.algorithms = algorithms
        self._key = key
        # By its class attribute: asking a registry for EdDSA warns of its name, whose curve is checked here.
        self._models = {name: JWSRegistry.algorithms["EdDSA" if name == "Ed25519" else name] for name in algorithms}

    def verify(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Return whether the signature is this key's."""
        model = self._models.get(algorithm)
        if model is None:
            return False
        try:
            return bool(model.verify(signed, signature, self._key))
        except ValueError:  # cryptography refuses some malformed signatures this way
            return False


def _entries(document: bytes) -> Sequence[object]:
    try:
        value = msgspec.json.decode(document)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidError(
            f"the JWK set is not JSON: {error}", hint='a JWK set looks like {"keys": [{"kty": "RSA", ...}]}'
        ) from error
    entries = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise InvalidError(
            "the JWK set has no list under 'keys'", hint='a JWK set looks like {"keys": [{"kty": "RSA", ...}]}'
        )
    return entries


def _unfit(entry: Mapping[str, object], allowed: frozenset[str]) -> str:
    """Return why a key is not even read; empty when nothing speaks against it."""
    operations = entry.get("key_ops", ["verify"])
    objections = {
        "it is not for signatures": entry.get("use", "sig") != "sig",
        "it is not for verifying": not (isinstance(operations, list) and "verify" in operations),
        "its id is not a text": not isinstance(entry.get("kid", ""), str),
        "it is not of a kind that is supported (RSA, P-256, P-384, P-521, Ed25519)": not _kind(entry),
        "its algorithm is not one of the accepted ones": not _usable(entry, allowed),
    }
    return next((objection for objection, holds in objections.items() if holds), "")


def _kind(entry: Mapping[str, object]) -> frozenset[str]:
    kind, curve = entry.get("kty"), entry.get("crv")
    if kind == "RSA":
        return _RSA
    return _CURVES.get((kind, curve), frozenset()) if isinstance(kind, str) and isinstance(curve, str) else frozenset()


def _usable(entry: Mapping[str, object], allowed: frozenset[str]) -> frozenset[str]:
    algorithms = _kind(entry) & allowed
    own = entry.get("alg")
    if own is None:
        return algorithms
    if not isinstance(own, str):
        return frozenset()
    edwards = _CURVES["OKP", "Ed25519"]
    return algorithms & (edwards if own in edwards else {own})


def _public_key(entry: object, allowed: frozenset[str]) -> SignatureKey:
    if not isinstance(entry, dict):
        raise _UnusableError("it is not a table")
    unfit = _unfit(entry, allowed)
    if unfit:
        raise _UnusableError(unfit)
    jwk, errors = _joserfc()
    public = {name: value for name, value in entry.items() if name in _PUBLIC}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of weak keys, which are refused below
            key = jwk.import_key(public)
    except (errors.JoseError, ValueError, TypeError, OverflowError) as error:
        raise _UnusableError(f"it cannot be read: {error}") from error
    if entry["kty"] == "RSA" and not MIN_RSA_BITS <= key.raw_value.key_size <= MAX_RSA_BITS:
        raise _UnusableError(
            f"it has {key.raw_value.key_size} bits, {MIN_RSA_BITS} to {MAX_RSA_BITS} are accepted for RSA"
        )
    return _Key(entry.get("kid", ""), _usable(entry, allowed), key)


def _secret_key(secret: bytes, allowed: frozenset[str]) -> SignatureKey:
    jwk, _ = _joserfc()
    algorithms = allowed & _SECRET_BYTES.keys()
    needed = max((_SECRET_BYTES[name] for name in algorithms), default=0)
    if len(secret) < needed:
        raise InvalidError(
            f"the shared secret has {len(secret)} bytes, {', '.join(sorted(algorithms))} needs at least {needed}",
            hint="make one with: openssl rand -hex 32",
        )
    return _Key("", frozenset(algorithms), jwk.OctKey.import_key(secret))


def _joserfc() -> tuple[Any, Any]:
    try:
        from joserfc import errors, jwk  # noqa: PLC0415 - optional, needed only with tokens
    except ImportError as error:
        raise ConfigurationError(
            "checking tokens needs the package joserfc", hint="pip install 'seawall[jwt]'"
        ) from error
    return jwk, errors
