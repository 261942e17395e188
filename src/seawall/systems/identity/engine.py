"""Who calls: decided from the request and the newest snapshot alone, synchronously."""

from collections.abc import Sequence

from seawall.core.errors import SeawallError
from seawall.core.identity import TrustedProxies
from seawall.core.principal import ANONYMOUS, Identity
from seawall.core.request import Header, Request
from seawall.core.tokens import OpenTokenKeys
from seawall.systems.identity.apikeys import is_secret_of, split_key
from seawall.systems.identity.claims import Standing, check_time, is_name, standing_of
from seawall.systems.identity.model import (
    ANONYMOUS_SOURCE,
    SOURCES,
    ApiKeySnapshot,
    CredentialError,
    IdentityRefusal,
    IdentityReport,
    IdentitySnapshot,
    JwtSnapshot,
    RefusalReason,
    Source,
)
from seawall.systems.identity.signatures import KeyTable
from seawall.systems.identity.token import read_claims, read_token
from seawall.systems.identity.upstream import UpstreamFields, is_bearer
from seawall.systems.identity.verdicts import Verdicts

__all__ = ["IdentityEngine"]

_REASONS = tuple(RefusalReason)
_MINUTE = 60.0
_RETRY_AFTER = 5.0
_PASSING = frozenset({RefusalReason.UNKNOWN_SIGNER, RefusalReason.UNAVAILABLE})
"""Refusals that other keys may turn, so that they are not remembered of a token."""


class IdentityEngine:
    """Tell callers apart by API key, signed token or a trusted proxy's word; implements `seawall.core.system.Engine`.

    Used from one thread. A request with an API key costs some 3 us; one with a token as much when it was seen before,
    else what its signature costs to check (RS256 about 40 us, ES256 about 80 us).

    Args:
        open_keys: reads the keys of token issuers; None where no token can be checked, which refuses all.

    Attributes:
        active: False when nothing is configured; then `identify` need not be called.
        rewrites: False when no request is to be changed on its way upstream; see `upstream_fields`.
        trusted: the proxies whose word counts; set it from the gateway's settings.
    """

    def __init__(self, open_keys: OpenTokenKeys | None = None) -> None:
        self.active = False
        self.rewrites = False
        self.trusted = TrustedProxies()
        self._open_keys = open_keys
        self._snapshot = IdentitySnapshot(version=-1)
        self._upstream = UpstreamFields(self._snapshot)
        self._key_field = b""
        self._cookie = b""
        self._keys: dict[str, ApiKeySnapshot] = {}
        self._jwt: JwtSnapshot | None = None
        self._algorithms: frozenset[str] = frozenset()
        self._signers = KeyTable()
        self._spoken: dict[bytes, int] = {}
        self._challenge = ""
        self._verdicts = Verdicts()
        self._callers = dict.fromkeys(SOURCES, 0)
        self._refusals = dict.fromkeys(_REASONS, 0)
        self._unknown_signers = 0
        self._used: dict[str, float] = {}
        self._fresh: set[str] = set()
        self._changed = False

    # -- what comes down -----------------------------------------------------------------------------------------------

    def apply(self, snapshot: IdentitySnapshot) -> None:
        """Swap in a newer snapshot; what is known of tokens is kept while their keys and rules stay."""
        if snapshot.version <= self._snapshot.version:
            return
        if snapshot.jwt != self._jwt:
            self._signers = self._read_signers(snapshot.jwt)
            self._verdicts.clear()
            self._jwt = snapshot.jwt
            self._algorithms = frozenset(snapshot.jwt.algorithms) if snapshot.jwt is not None else frozenset()
            self._cookie = snapshot.jwt.cookie.encode() if snapshot.jwt is not None else b""
        if snapshot.keys is not self._snapshot.keys:
            self._keys = {key.id: key for key in snapshot.keys}
            self._used = {key_id: at for key_id, at in self._used.items() if key_id in self._keys}
        self._key_field = snapshot.key_field.encode()
        spoken = snapshot.headers
        names = (spoken.user, spoken.tenant, spoken.role) if spoken is not None else ()
        self._spoken = {name.encode(): place for place, name in enumerate(names) if name}
        self._challenge = ", ".join(
            scheme
            for scheme, offered in (
                ('Bearer realm="seawall"', self._jwt is not None),
                ('ApiKey realm="seawall"', bool(self._key_field)),
            )
            if offered
        ) or ('Proxy realm="seawall"')
        self._upstream = UpstreamFields(snapshot)
        self.rewrites = self._upstream.active
        self.active = bool(self._key_field or self._jwt is not None or self._spoken or snapshot.required)
        self._snapshot = snapshot

    def _read_signers(self, jwt: JwtSnapshot | None) -> KeyTable:
        if jwt is None or self._open_keys is None:
            return KeyTable()
        try:
            return KeyTable(self._open_keys(jwt.jwks, jwt.secret, jwt.algorithms).keys)
        except SeawallError:
            # The controller has read the same before it published it; without keys every token is refused.
            return KeyTable()

    # -- the decision --------------------------------------------------------------------------------------------------

    def identify(self, request: Request, wall: float) -> Identity | IdentityRefusal:
        """Return who calls, `ANONYMOUS` for a caller without credentials where none are required, or the refusal.

        Every credential that a request brings must be good, and all must name the same caller where they name one: an
        invalid one is never passed over. Never raises, whatever the request holds. The caller of this method sets
        `request.identity`.

        Args:
            request: its head.
            wall: seconds since the Unix epoch.
        """
        self._changed = True
        try:
            identity = self._proven(request, wall)
        except CredentialError as error:
            return self._refused(error)
        self._callers[identity.source or ANONYMOUS_SOURCE] += 1
        return identity

    def upstream_fields(self, request: Request) -> tuple[frozenset[bytes], tuple[Header, ...]]:
        """Return (names of fields to drop, fields to add) for the request's way upstream.

        To be asked only where `rewrites` is True, after `request.identity` is set.
        """
        return self._upstream.of(request, trusted=self.trusted.trusts(request.peer))

    def _proven(self, request: Request, wall: float) -> Identity:
        keys, tokens = self._presented(request.headers)
        proven: list[Identity] = [self._by_key(key, wall) for key in keys]
        if self._jwt is not None:
            proven += [self._by_token(token, self._jwt, wall) for token in tokens]
        if self._spoken and self.trusted.trusts(request.peer):
            said = self._by_proxy(request.headers)
            if said is not None:
                proven.append(said)
        if not proven:
            if self._snapshot.required:
                raise CredentialError(RefusalReason.MISSING, "credentials are required")
            return ANONYMOUS
        return proven[0] if len(proven) == 1 else _joined(proven)

    def _presented(self, headers: Sequence[Header]) -> tuple[list[bytes], list[bytes]]:
        """Return the API keys, at most one, and the tokens: at most one of a cookie and one of Authorization."""
        key_field, cookie_name = self._key_field, self._cookie
        keys: list[bytes] = []
        cookies: list[bytes] = []
        authorizations: list[bytes] = []
        for name, value in headers:
            if name == key_field:
                keys.append(value)
            elif name == b"authorization":
                authorizations.append(value)
            elif cookie_name and name == b"cookie":
                cookies += _cookies(value, cookie_name)
        if self._jwt is None:
            authorizations.clear()
        if len(keys) > 1 or len(authorizations) > 1 or len(cookies) > 1:
            raise CredentialError(RefusalReason.MALFORMED, "the same credential is given twice")
        if authorizations and is_bearer(authorizations[0]):
            cookies.append(authorizations[0][7:].strip())
        return keys, cookies

    def _by_key(self, text: bytes, wall: float) -> Identity:
        parts = split_key(text)
        if parts is None:
            raise CredentialError(RefusalReason.MALFORMED, "the API key is not of the form sw_ID_SECRET")
        key_id, secret = parts
        key = self._keys.get(key_id)
        if key is None or not is_secret_of(key, secret):
            raise CredentialError(RefusalReason.UNKNOWN_KEY, "there is no such API key")
        if key.expires_at is not None and wall >= key.expires_at:
            raise CredentialError(RefusalReason.EXPIRED, "the API key has expired")
        minute = wall - wall % _MINUTE
        if self._used.get(key_id) != minute:
            self._used[key_id] = minute
            self._fresh.add(key_id)
        return Identity(key.user, key.tenant, key.role, key_id, Source.API_KEY.value)

    def _by_token(self, text: bytes, jwt: JwtSnapshot, wall: float) -> Identity:
        digest = Verdicts.digest(text)
        verdict = self._verdicts.find(digest)
        if verdict is None:
            try:
                verdict = self._standing(text, jwt)
            except CredentialError as error:
                if error.reason not in _PASSING:
                    self._verdicts.keep(digest, CredentialError(error.reason, error.detail))
                raise
            self._verdicts.keep(digest, verdict)
        if isinstance(verdict, CredentialError):
            # A new one, since a raised error gathers what it passed through.
            raise CredentialError(verdict.reason, verdict.detail)
        check_time(verdict, wall, jwt.leeway)
        return verdict.identity

    def _standing(self, text: bytes, jwt: JwtSnapshot) -> Standing:
        """Return what a token gives under the present keys and rules, whatever the time."""
        token = read_token(text, self._algorithms)
        if not self._signers:
            raise CredentialError(RefusalReason.UNAVAILABLE, "tokens cannot be checked yet: there are no keys")
        candidates = self._signers.candidates(token)
        if not candidates:
            self._unknown_signers += 1
            raise CredentialError(RefusalReason.UNKNOWN_SIGNER, "the token is signed by a key that is not known")
        if not any(key.verify(token.algorithm, token.signed, token.signature) for key in candidates):
            raise CredentialError(RefusalReason.SIGNATURE, "the token's signature is wrong")
        return standing_of(read_claims(token), jwt)

    def _by_proxy(self, headers: Sequence[Header]) -> Identity | None:
        said = ["", "", ""]
        for name, value in headers:
            place = self._spoken.get(name)
            if place is None or not value:
                continue
            if said[place]:
                raise CredentialError(RefusalReason.MALFORMED, f"the field {name.decode('latin-1')} is given twice")
            try:
                text = value.decode()
            except UnicodeDecodeError:
                text = ""
            if not is_name(text):
                raise CredentialError(RefusalReason.MALFORMED, f"the field {name.decode('latin-1')} holds no name")
            said[place] = text
        user, tenant, role = said
        return Identity(user, tenant, role, source=Source.HEADERS.value) if any(said) else None

    def _refused(self, error: CredentialError) -> IdentityRefusal:
        reason = error.reason
        self._refusals[reason] += 1
        if reason is RefusalReason.UNAVAILABLE:
            return IdentityRefusal(reason, error.detail, 503, "identity-unavailable", retry_after=_RETRY_AFTER)
        if reason is RefusalReason.MISSING:
            return IdentityRefusal(reason, error.detail, 401, "credentials-required", self._challenge)
        challenge = self._challenge
        if self._jwt is not None:  # RFC 6750 section 3.1
            challenge = challenge.replace("Bearer realm", 'Bearer error="invalid_token", realm', 1)
        return IdentityRefusal(reason, error.detail, challenge=challenge)

    # -- what goes up --------------------------------------------------------------------------------------------------

    def report(self, *, full: bool) -> IdentityReport | None:
        """Return the counts, and which API keys were used since the last call; None when nothing happened."""
        if not (full or self._changed):
            return None
        self._changed = False
        fresh = self._used if full else self._fresh
        used = tuple((key_id, self._used[key_id]) for key_id in fresh if key_id in self._used)
        self._fresh.clear()
        return IdentityReport(
            callers=tuple(self._callers.values()),
            refusals=tuple(self._refusals.values()),
            unknown_signers=self._unknown_signers,
            used=used,
        )


def _cookies(value: bytes, name: bytes) -> list[bytes]:
    """Return the values of the cookies of this name; RFC 6265 section 4.2."""
    found = []
    for pair in value.split(b";"):
        key, separator, content = pair.partition(b"=")
        if separator and key.strip() == name:
            found.append(content.strip())
    return found


def _joined(identities: Sequence[Identity]) -> Identity:
    """Return the caller whom all of them name; the first source counts."""
    user = tenant = role = api_key = ""
    for other in identities:
        if _clash(user, other.user) or _clash(tenant, other.tenant) or _clash(role, other.role):
            raise CredentialError(RefusalReason.DISAGREEMENT, "the credentials name different callers")
        user, tenant, role = user or other.user, tenant or other.tenant, role or other.role
        api_key = api_key or other.api_key
    return Identity(user, tenant, role, api_key, identities[0].source)


def _clash(one: str, other: str) -> bool:
    return bool(one and other and one != other)
