"""The `[identity]` table: which credentials count, and what becomes of a request without any."""

import ipaddress
from collections.abc import Iterator
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from seawall.config.address import check_header_name
from seawall.config.section import (
    Finding,
    Milliseconds,
    Number,
    Section,
    Switch,
    refusal,
    setting,
)

__all__ = ["ANY_AUDIENCE", "ApiKeySettings", "IdentitySettings", "JwtSettings", "TrustedHeaderSettings"]

ANY_AUDIENCE = "*"
"""The audience that stands for all of them."""

Algorithm = Literal[
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519",
    "HS256",
    "HS384",
    "HS512",
]

_RESERVED = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "forwarded",
        "host",
        "te",
        "transfer-encoding",
        "upgrade",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
        "x-request-id",
    }
)


def _check_field(text: str) -> str:
    name = check_header_name(text).lower()
    if name in _RESERVED:
        raise ValueError(f"a field of its own: {name} means something else")
    return name


def _check_optional_field(text: str) -> str:
    return text and _check_field(text)


def _check_cookie(text: str) -> str:
    return text and check_header_name(text)


def _check_url(text: str) -> str:
    forms = "https://host/path, without user name, password or fragment"
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError(forms) from None
    if not text:
        return text
    if not text.isascii() or any(character <= " " for character in text):
        raise ValueError(forms)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc or parts.fragment:
        raise ValueError(forms)
    return text


FieldName = Annotated[str, AfterValidator(_check_field)]
OptionalFieldName = Annotated[str, AfterValidator(_check_optional_field)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Claim = Annotated[str, StringConstraints(max_length=256)]
# Bounds of their own: one given to `setting` would not tighten that of a type that has one.
Leeway = Annotated[Number, Field(ge=0, le=300_000)]
Timeout = Annotated[Number, Field(gt=0, le=60_000)]
RoleName = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class ApiKeySettings(Section):
    """Keys that this gateway gave out: `seawall keys create`."""

    enabled: Switch = setting(False, "Look for API keys.")
    header: FieldName = setting("x-api-key", "Field that holds the key.", max_length=64)


class JwtSettings(Section):
    """Signed tokens (JWT) of one issuer, in `Authorization: Bearer` or a cookie."""

    enabled: Switch = setting(False, "Look for tokens.")
    issuer: str = setting("", "The only accepted `iss`.", max_length=512)
    audience: tuple[Text, ...] = setting(
        (), 'Names of this service: one of them must be in `aud`. ["*"] accepts any.', max_length=32
    )
    jwks_url: Annotated[str, AfterValidator(_check_url)] = setting(
        "", "Where the issuer publishes its keys; fetched again as its Cache-Control says.", max_length=2048
    )
    jwks_file: str = setting("", "JWK set in a file, in place of a url; read again when it changes.", max_length=4096)
    secret_file: str = setting(
        "", "File with the shared secret of the HS algorithms, in place of public keys.", max_length=4096
    )
    jwks_ca_file: str = setting("", "CA bundle in PEM form for jwks_url; empty uses the system's.", max_length=4096)
    jwks_insecure: Switch = setting(
        False, "Fetch keys over http from other machines: whoever can answer can then sign tokens."
    )
    jwks_refresh_ms: Milliseconds = setting(
        3_600_000, "Age at which keys are fetched again when the issuer does not say.", unit="ms", ge=1000
    )
    jwks_min_interval_ms: Milliseconds = setting(
        10_000, "Shortest time between two fetches, however many tokens name an unknown key.", unit="ms", ge=100
    )
    jwks_timeout_ms: Timeout = setting(5000, "Time for one fetch.", unit="ms")
    algorithms: tuple[Algorithm, ...] = setting(
        ("RS256", "ES256"),
        'The accepted values of `alg`. With secret_file, ["HS256"] when not given.',
        min_length=1,
        max_length=14,
    )
    user_claim: Claim = setting("sub", "Where the user is found; a.b leads into tables. Empty takes none.")
    tenant_claim: Claim = setting("", "Where the tenant is found; empty takes none.")
    role_claim: Claim = setting("", "Where the role is found; of a list the first element counts. Empty takes none.")
    roles: dict[Annotated[str, StringConstraints(min_length=1, max_length=256)], RoleName] = setting(
        {}, "Role for each value of role_claim: the first line that applies counts, any other value gives no role."
    )
    leeway_ms: Leeway = setting(10_000, "How far the issuer's clock and ours may be apart.", unit="ms")
    cookie: Annotated[str, AfterValidator(_check_cookie)] = setting(
        "", "Cookie that may hold the token; empty for none.", max_length=64
    )

    @model_validator(mode="after")
    def _settle(self) -> Self:
        given = self.model_fields_set
        if self.secret_file and "algorithms" not in given:
            # A default that depends on another field; it stays out of model_fields_set, since nobody gave it.
            object.__setattr__(self, "algorithms", ("HS256",))
        findings = list(self._missing()) if self.enabled else []
        sources = [name for name in ("jwks_url", "jwks_file", "secret_file") if getattr(self, name)]
        if len(sources) > 1:
            findings += [Finding((name,), f"is one of {', '.join(sources)}; keep one") for name in sources[1:]]
        shared = [name for name in self.algorithms if name.startswith("HS")]
        if self.secret_file and len(shared) < len(self.algorithms):
            text = "only HS256, HS384 and HS512 go with secret_file; the others verify with public keys"
            findings.append(Finding(("algorithms",), text))
        elif shared and not self.secret_file:
            text = f"{', '.join(shared)} needs secret_file: with public keys anybody could sign"
            findings.append(Finding(("algorithms",), text))
        if self.jwks_url.lower().startswith("http:") and not self.jwks_insecure and not _is_loopback(self.jwks_url):
            text = "must be https: whoever answers in the issuer's place could sign tokens; see jwks_insecure"
            findings.append(Finding(("jwks_url",), text))
        if findings:
            raise refusal(findings)
        return self

    def _missing(self) -> Iterator[Finding]:
        if not self.issuer:
            yield Finding(("issuer",), "name the issuer whose tokens count, as it stands in their iss")
        if not self.audience:
            text = f'name this service as it stands in aud, or ["{ANY_AUDIENCE}"] to accept tokens made for any other'
            yield Finding(("audience",), text)
        if not (self.jwks_url or self.jwks_file or self.secret_file):
            yield Finding(
                ("jwks_url",), "give jwks_url, jwks_file or secret_file: without keys no token can be checked"
            )


class TrustedHeaderSettings(Section):
    """Fields in which gateway.trusted_proxies say who calls; from anybody else they are removed."""

    user: OptionalFieldName = setting("", "Field with the user's name, such as x-auth-request-user.", max_length=64)
    tenant: OptionalFieldName = setting("", "Field with the tenant's name.", max_length=64)
    role: OptionalFieldName = setting("", "Field with the role.", max_length=64)

    @property
    def enabled(self) -> bool:
        """Whether any is named."""
        return bool(self.user or self.tenant or self.role)

    @model_validator(mode="after")
    def _refuse_repeats(self) -> Self:
        names = [(field, getattr(self, field)) for field in ("user", "tenant", "role") if getattr(self, field)]
        seen: dict[str, str] = {}
        findings = []
        for field, name in names:
            if name in seen:
                findings.append(Finding((field,), f'"{name}" is taken by {{other}}', (seen[name],)))
            seen.setdefault(name, field)
        if findings:
            raise refusal(findings)
        return self


class IdentitySettings(Section):
    """Who calls: API keys, signed tokens, and the word of trusted proxies."""

    required: Switch = setting(False, "Refuse requests without credentials with 401.")
    forward_credentials: Switch = setting(True, "Leave API keys and tokens in the request that goes upstream.")
    forward_identity: Switch = setting(
        False, "Tell the upstream who calls, in x-seawall-user, -tenant, -role, -api-key-id and -identity."
    )
    api_keys: ApiKeySettings = setting(ApiKeySettings(), "Keys that this gateway gave out.")
    jwt: JwtSettings = setting(JwtSettings(), "Signed tokens of one issuer.")
    trusted_headers: TrustedHeaderSettings = setting(
        TrustedHeaderSettings(), "Fields in which trusted proxies say who calls."
    )

    @model_validator(mode="after")
    def _refuse_impossible(self) -> Self:
        findings = []
        if self.required and not (self.api_keys.enabled or self.jwt.enabled or self.trusted_headers.enabled):
            text = "nobody could be let in: enable api_keys, jwt or trusted_headers"
            findings.append(Finding(("required",), text))
        if self.api_keys.enabled:
            for field in ("user", "tenant", "role"):
                if getattr(self.trusted_headers, field) == self.api_keys.header:
                    text = f'"{self.api_keys.header}" is taken by {{other}}'
                    findings.append(Finding(("trusted_headers", field), text, ("api_keys", "header")))
        if findings:
            raise refusal(findings)
        return self

    def remarks(self) -> Iterator[Finding]:
        """Yield what lets in more, or fewer, than most likely meant."""
        if self.jwt.enabled and ANY_AUDIENCE in self.jwt.audience:
            text = "tokens that the issuer made for other services are accepted too"
            yield Finding(("jwt", "audience"), text)
        if self.jwt.jwks_insecure and self.jwt.jwks_url.lower().startswith("http:"):
            yield Finding(("jwt", "jwks_insecure"), "whoever can answer in the issuer's place can sign tokens")


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
