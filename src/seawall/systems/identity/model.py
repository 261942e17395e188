"""Identity's words: what workers need to know to tell callers apart, what they refuse, and what they report."""

from enum import StrEnum

import msgspec

from seawall.core.snapshot import Report, Snapshot

__all__ = [
    "ANONYMOUS_SOURCE",
    "SOURCES",
    "ApiKeySnapshot",
    "CredentialError",
    "HeadersSnapshot",
    "IdentityRefusal",
    "IdentityReport",
    "IdentitySnapshot",
    "JwtSnapshot",
    "RefusalReason",
    "Source",
]


class Source(StrEnum):
    """What proved who calls; the value of `Identity.source`."""

    API_KEY = "api-key"
    JWT = "jwt"
    HEADERS = "headers"


ANONYMOUS_SOURCE = "anonymous"
"""What a caller who proved nothing is counted under."""

SOURCES = (*(source.value for source in Source), ANONYMOUS_SOURCE)
"""What callers are counted by."""


class RefusalReason(StrEnum):
    """Why a request was not let in; the values are stable."""

    MISSING = "missing"
    """Credentials are required, and there are none."""
    MALFORMED = "malformed"
    """A credential is too long, given twice, or not of the form that it should have."""
    UNKNOWN_KEY = "unknown-key"
    """No such API key: never made, revoked, or with another secret."""
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    ALGORITHM = "algorithm"
    """A token signed by an algorithm that is not pinned here."""
    UNKNOWN_SIGNER = "unknown-signer"
    """A token of a key that the issuer has not published, as far as is known."""
    SIGNATURE = "signature"
    """A forged or damaged token."""
    ISSUER = "issuer"
    AUDIENCE = "audience"
    CLAIMS = "claims"
    """A claim that is needed is missing or not of the kind that it should be."""
    DISAGREEMENT = "disagreement"
    """Several valid credentials that name different callers."""
    UNAVAILABLE = "unavailable"
    """There is no key at all yet to check tokens with."""


class CredentialError(Exception):
    """A credential is refused; a value that is raised where it is found and remembered where that pays.

    Args:
        reason: what it is counted under.
        detail: why, for the caller.
    """

    def __init__(self, reason: RefusalReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class IdentityRefusal(msgspec.Struct, frozen=True):
    """Why a request is not let in, and how to say so.

    Attributes:
        status: 401, or 503 where the fault is ours and passes.
        code: the problem's code.
        detail: one sentence for the caller, without a secret and without what would help a forger.
        challenge: value of `WWW-Authenticate`; empty with 503.
        retry_after: seconds until another try makes sense; 0 for no advice.
    """

    reason: RefusalReason
    detail: str
    status: int = 401
    code: str = "invalid-credentials"
    challenge: str = ""
    retry_after: float = 0.0


class ApiKeySnapshot(msgspec.Struct, frozen=True, array_like=True):
    """An API key as workers know it.

    Attributes:
        id: its public part.
        digest: of its secret; see `apikeys.digest_of`.
        expires_at: seconds since the Unix epoch, None for never.
    """

    id: str
    digest: bytes
    user: str = ""
    tenant: str = ""
    role: str = ""
    expires_at: float | None = None


class JwtSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """How tokens are checked.

    Attributes:
        issuer: the only accepted `iss`.
        audiences: one of them must be in `aud`; empty accepts any.
        algorithms: the accepted values of `alg`.
        jwks: the issuer's public keys as a JWK set in JSON; empty when there is none yet.
        secret: the shared secret of the HS algorithms; empty with the others.
        user_claim, tenant_claim, role_claim: where each is found; an empty one is not looked for.
        roles: (value of the role claim, role), the first that applies counts; empty takes the value as it is.
        leeway: seconds that clocks may be apart.
        cookie: name of a cookie that may hold the token; empty for none.
    """

    issuer: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...]
    jwks: bytes = b""
    secret: bytes = b""
    user_claim: str = "sub"
    tenant_claim: str = ""
    role_claim: str = ""
    roles: tuple[tuple[str, str], ...] = ()
    leeway: float = 0.0
    cookie: str = ""


class HeadersSnapshot(msgspec.Struct, frozen=True):
    """Names of the fields, lower case, in which trusted proxies say who calls; an empty one is not looked for."""

    user: str = ""
    tenant: str = ""
    role: str = ""


class IdentitySnapshot(Snapshot, frozen=True, kw_only=True):
    """How callers are told apart.

    Attributes:
        required: refuse a request without credentials.
        forward_credentials: leave the credentials in the request that goes upstream.
        forward_identity: tell the upstream who calls in `x-seawall-*` fields.
        key_field: name of the field with the API key, lower case; empty where there are no API keys.
        keys: the API keys, ordered by id.
        jwt: None where tokens are not looked at.
        headers: None where nobody is believed.
    """

    required: bool = False
    forward_credentials: bool = True
    forward_identity: bool = False
    key_field: str = ""
    keys: tuple[ApiKeySnapshot, ...] = ()
    jwt: JwtSnapshot | None = None
    headers: HeadersSnapshot | None = None


class IdentityReport(Report, frozen=True, kw_only=True):
    """What an engine saw since it started.

    Attributes:
        callers: cumulative counts in the order of `SOURCES`.
        refusals: cumulative counts in the order of `RefusalReason`.
        unknown_signers: cumulative count of tokens whose key id is not published, as far as is known.
        used: (id of an API key, seconds since the Unix epoch, to the minute) of those used since the last report.
    """

    callers: tuple[int, ...]
    refusals: tuple[int, ...]
    unknown_signers: int = 0
    used: tuple[tuple[str, float], ...] = ()
