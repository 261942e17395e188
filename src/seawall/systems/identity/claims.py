"""What a token says: who issued it for whom and for how long (RFC 7519 section 4.1), and who its bearer is."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from seawall.core.principal import Identity
from seawall.systems.identity.model import CredentialError, JwtSnapshot, RefusalReason, Source

__all__ = ["MAX_NAME", "Standing", "check_time", "is_name", "standing_of", "value_at"]

MAX_NAME = 256
"""Characters of a user's, tenant's or role's name."""
_MAX_AUDIENCES = 64


class Standing(msgspec.Struct, frozen=True):
    """What a sound token gives its bearer, and when.

    Attributes:
        not_before: seconds since the Unix epoch; 0 for ever.
        expires: seconds since the Unix epoch.
    """

    identity: Identity
    not_before: float
    expires: float


def standing_of(claims: Mapping[str, Any], rules: JwtSnapshot) -> Standing:
    """Return who the bearer is, whatever the time.

    Args:
        claims: of a token whose signature is good.
        rules: what is accepted and where names are found.

    Raises:
        CredentialError: it is from another issuer, for another audience, or lacks a claim that is needed.
    """
    if claims.get("iss") != rules.issuer:
        raise CredentialError(RefusalReason.ISSUER, "the token is from another issuer")
    _check_audience(claims.get("aud"), rules.audiences)
    expires = _instant(claims, "exp")
    if expires is None:
        raise CredentialError(RefusalReason.CLAIMS, "the token does not say when it expires")
    user = _name(claims, rules.user_claim)
    if rules.user_claim and not user:
        raise CredentialError(RefusalReason.CLAIMS, "the token does not say who its bearer is")
    identity = Identity(
        user=user,
        tenant=_name(claims, rules.tenant_claim),
        role=_role(claims, rules.role_claim, rules.roles),
        source=Source.JWT.value,
    )
    return Standing(identity, _instant(claims, "nbf") or 0.0, expires)


def check_time(standing: Standing, wall: float, leeway: float) -> None:
    """Raise `CredentialError` unless the token is valid now; `wall` in seconds since the Unix epoch."""
    if wall >= standing.expires + leeway:
        raise CredentialError(RefusalReason.EXPIRED, "the token has expired")
    if wall < standing.not_before - leeway:
        raise CredentialError(RefusalReason.NOT_YET_VALID, "the token is not valid yet")


def value_at(claims: Mapping[str, Any], path: str) -> object:
    """Return what is at a path, None when there is nothing.

    A claim of exactly this name comes first, since names may hold dots (`https://example.org/role`); then each dot
    leads into a table, and into the first element of a list.
    """
    if path in claims:
        return claims[path]
    value: object = claims
    for part in path.split("."):
        if isinstance(value, list):
            value = value[0] if value else None
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def is_name(text: str) -> bool:
    """Return whether this can be the name of a user, tenant or role: 1 to 256 printable characters."""
    return 0 < len(text) <= MAX_NAME and text.isprintable()


def _check_audience(given: object, accepted: tuple[str, ...]) -> None:
    if not accepted:
        return
    audiences = given[:_MAX_AUDIENCES] if isinstance(given, list) else [given]
    if not any(isinstance(audience, str) and audience in accepted for audience in audiences):
        raise CredentialError(RefusalReason.AUDIENCE, "the token is for another audience")


def _instant(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CredentialError(RefusalReason.CLAIMS, f"the token's {name} is not a number of seconds")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds):
        raise CredentialError(RefusalReason.CLAIMS, f"the token's {name} is beyond all times")
    return seconds


def _name(claims: Mapping[str, Any], path: str) -> str:
    value = value_at(claims, path) if path else None
    if isinstance(value, list):
        value = value[0] if value else None
    return _text(value, path)


def _role(claims: Mapping[str, Any], path: str, roles: tuple[tuple[str, str], ...]) -> str:
    if not roles:
        return _name(claims, path)
    value = value_at(claims, path) if path else None
    given = value if isinstance(value, list) else [value]
    for wanted, role in roles:
        if wanted in given:
            return role
    return ""


def _text(value: object, path: str) -> str:
    """Return a claim's value as a name; a whole number, as some issuers give for ids, in its decimal form."""
    if value is None or value == "":
        return ""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64 else value
    if not isinstance(text, str) or not is_name(text):
        raise CredentialError(
            RefusalReason.CLAIMS, f"the token's claim {path} is not a name of at most {MAX_NAME} characters"
        )
    return text
