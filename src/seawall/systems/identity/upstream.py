"""What the upstream hears of a caller: which credentials and claims of identity go on with a request."""

from seawall.core.principal import Identity
from seawall.core.request import Header, Request
from seawall.systems.identity.model import IdentitySnapshot

__all__ = ["IDENTITY_FIELDS", "UpstreamFields", "is_bearer"]

IDENTITY_FIELDS = (
    b"x-seawall-user",
    b"x-seawall-tenant",
    b"x-seawall-role",
    b"x-seawall-api-key-id",
    b"x-seawall-identity",
)
"""Fields in which the upstream is told who calls: the attributes of `Identity`, in their order."""

_NOTHING: tuple[frozenset[bytes], tuple[Header, ...]] = (frozenset(), ())


def is_bearer(value: bytes) -> bool:
    """Return whether an Authorization field is of the scheme of bearer tokens; RFC 6750 section 2.1.

    Without a token, too: that is a failed attempt, and not a caller without credentials.
    """
    return value[:6].lower() == b"bearer" and value[6:7] in {b"", b" ", b"\t"}


class UpstreamFields:
    """Decide what is taken from a request and put on it before it goes upstream.

    A field that says who calls is taken off unless a trusted proxy wrote it; so is one whose name differs from it by
    `_` for `-` only: CGI and WSGI make the same variable of both (RFC 3875 section 4.1.18).

    Attributes:
        active: False when no request is ever changed.
    """

    def __init__(self, snapshot: IdentitySnapshot) -> None:
        spoken = snapshot.headers
        names = (spoken.user, spoken.tenant, spoken.role) if spoken is not None else ()
        self._spoken = frozenset(name.encode() for name in names if name)
        guarded = {_plain(name) for name in self._spoken}
        self._tells = snapshot.forward_identity
        if self._tells:
            guarded.update(IDENTITY_FIELDS)
        hides = not snapshot.forward_credentials
        if hides and snapshot.key_field:
            guarded.add(_plain(snapshot.key_field.encode()))
        self._guarded = frozenset(guarded)
        self._hides_token = hides and snapshot.jwt is not None
        self._cookie = snapshot.jwt.cookie.encode() if self._hides_token and snapshot.jwt is not None else b""
        self.active = bool(self._guarded) or self._hides_token

    def of(self, request: Request, *, trusted: bool) -> tuple[frozenset[bytes], tuple[Header, ...]]:
        """Return (names of fields to drop, fields to add); call it when `request.identity` is settled.

        Args:
            request: as it came.
            trusted: whether its peer is a proxy whose word counts.
        """
        if not self.active:
            return _NOTHING
        dropped: set[bytes] = set()
        added: list[Header] = []
        for name, value in request.headers:
            if _plain(name) in self._guarded:
                if not (trusted and name in self._spoken):
                    dropped.add(name)
            elif name == b"authorization":
                if self._hides_token and is_bearer(value):
                    dropped.add(name)
            elif name == b"cookie" and self._cookie:
                dropped.add(name)
                left = _without(value, self._cookie)
                if left:
                    added.append((name, left))
        if self._tells:
            added.extend(_told(request.identity))
        return frozenset(dropped), tuple(added)


def _plain(name: bytes) -> bytes:
    return name.replace(b"_", b"-")


def _without(value: bytes, cookie: bytes) -> bytes:
    kept = [pair for pair in value.split(b";") if pair.partition(b"=")[0].strip() != cookie]
    return b";".join(kept).strip()


def _told(identity: Identity) -> list[Header]:
    values = (identity.user, identity.tenant, identity.role, identity.api_key, identity.source)
    # Names are printable, so there is no line break in them; beyond ASCII they go as UTF-8.
    return [(name, value.encode()) for name, value in zip(IDENTITY_FIELDS, values, strict=True) if value]
