"""Cross-site request forgery: who made a browser send this, and tokens for applications that ask for them.

The check follows Filippo Valsorda's algorithm, which Go 1.25 has as `http.CrossOriginProtection`: browsers say where a
request comes from, so nothing has to be put into forms. It needs the host that the client asked for, which a gateway in
front must pass on.
"""

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

import msgspec

from seawall.core.errors import InvalidError
from seawall.core.request import Request

__all__ = ["BypassPattern", "CsrfCheck", "CsrfTokens"]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN = frozenset({b"same-origin", b"none"})
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s]+")
_PORTS = {b"http": b":80", b"https": b":443"}
_NONCE = 16
_STAMP = 6
_SEAL = 32
_SHORTEST_SECRET = 32
_MAX_TOKEN = 128
_MAX_SESSION = 4096


class BypassPattern(msgspec.Struct, frozen=True):
    """Requests that are not checked, such as those of a webhook that a browser cannot be made to send well.

    Attributes:
        path: a path, or everything below it when it ends in `/`.
        methods: upper case; empty for any.
    """

    path: str
    methods: frozenset[str] = frozenset()

    def covers(self, method: str, path: str) -> bool:
        """Return whether a request is one of these; `path` as it was received."""
        if self.methods and method not in self.methods:
            return False
        return path == self.path or (self.path.endswith("/") and path.startswith(self.path))


class CsrfCheck:
    """Tell forged requests by what browsers say of them.

    Args:
        trusted_origins: other origins that may send unsafe requests, such as `https://app.example.com`.
        bypass: requests that are not checked.

    Raises:
        InvalidError: an origin is none, or a path does not begin with `/`.

    A check costs some 0.2 us for a safe method and 1 us for an unsafe one. Pure; may be shared.
    """

    def __init__(self, trusted_origins: Iterable[str] = (), bypass: Sequence[BypassPattern] = ()) -> None:
        self._trusted = frozenset(_canonical(origin) for origin in trusted_origins)
        for pattern in bypass:
            if not pattern.path.startswith("/"):
                raise InvalidError(
                    f"{pattern.path[:80]!r} is no path to leave unchecked", hint="Give one that begins with /."
                )
        self._bypass = tuple(bypass)

    def refusal(self, request: Request) -> str:
        """Return why a request is taken for forged; empty when it is not.

        In this order: a safe method passes; so does a trusted `Origin`; then `Sec-Fetch-Site` decides where it is sent;
        without it a request without `Origin` passes, as no browser sent it; else `Origin` must name the host.
        """
        if request.method in _SAFE:
            return ""
        origin, site = _field(request, b"origin"), _field(request, b"sec-fetch-site")
        if origin is not None and origin.lower() in self._trusted:
            return ""
        if site is not None:
            own, reason = site in _OWN, "the browser sent it on behalf of another site"
        else:
            own = origin is None or _same_host(origin, request.host)
            reason = "its Origin is not the host that it asks for"
        return "" if own or self._passes(request) else reason

    def _passes(self, request: Request) -> bool:
        if not self._bypass:
            return False
        path = request.path.decode("latin-1")
        # What an upstream might resolve to another path is not compared with patterns at all.
        if "%" in path or "//" in path or "/." in path or "\\" in path:
            return False
        return any(pattern.covers(request.method, path) for pattern in self._bypass)


class CsrfTokens:
    """Tokens for double submission, in a cookie and in a form: each holds for one session and for a while.

    A token is `base64url(nonce | time | HMAC-SHA256(secret, session | nonce | time))`: it cannot be made without the
    secret, and one of another session does not fit, so that planting a cookie from a sister domain gains nothing.

    Args:
        secret: at least 32 bytes, the same in every process.
        random: as `os.urandom`.
        lifetime: seconds for which a token holds.

    Raises:
        InvalidError: the secret is too short, or the lifetime is not above 0.
    """

    def __init__(self, secret: bytes, random: Callable[[int], bytes], *, lifetime: float = 43_200.0) -> None:
        if len(secret) < _SHORTEST_SECRET:
            raise InvalidError(
                f"a secret of {len(secret)} bytes is too short for tokens", hint=f"Give at least {_SHORTEST_SECRET}."
            )
        if not lifetime > 0.0:
            raise InvalidError(f"tokens cannot hold for {lifetime} s", hint="Give a time above 0.")
        self._secret = secret
        self._random = random
        self._lifetime = lifetime

    def issue(self, session: str, now: float) -> str:
        """Return a new token for a session; `now` in seconds since the Unix epoch.

        Raises:
            InvalidError: the session is empty or longer than 4096 characters.
        """
        if not 0 < len(session) <= _MAX_SESSION:
            raise InvalidError("a token needs a session to belong to", hint="Give the session's id, not empty.")
        head = self._random(_NONCE) + int(now).to_bytes(_STAMP, "big")
        return urlsafe_b64encode(head + self._seal(session, head)).decode("ascii").rstrip("=")

    def verify(self, session: str, cookie: str, submitted: str, now: float) -> bool:
        """Return whether what was submitted is the cookie's token, and belongs to this session and to this time.

        Anything may be passed in; only a true token passes. Takes the same time wherever a token is wrong.
        """
        if not 0 < len(session) <= _MAX_SESSION or not 0 < len(submitted) <= _MAX_TOKEN or len(cookie) > _MAX_TOKEN:
            return False
        if not hmac.compare_digest(cookie.encode("utf-8", "replace"), submitted.encode("utf-8", "replace")):
            return False
        try:
            raw = urlsafe_b64decode(submitted + "=" * (-len(submitted) % 4))
        except (Base64Error, ValueError):
            return False
        if len(raw) != _NONCE + _STAMP + _SEAL:
            return False
        head, seal = raw[: _NONCE + _STAMP], raw[_NONCE + _STAMP :]
        if not hmac.compare_digest(seal, self._seal(session, head)):
            return False
        age = now - int.from_bytes(head[_NONCE:], "big")
        return -60.0 <= age <= self._lifetime

    def _seal(self, session: str, head: bytes) -> bytes:
        return hmac.new(self._secret, session.encode("utf-8", "surrogatepass") + b"\0" + head, sha256).digest()


def _canonical(origin: str) -> bytes:
    lowered = origin.lower()
    if _ORIGIN.fullmatch(lowered) is None:
        raise InvalidError(
            f"{origin[:80]!r} is no origin", hint="Give scheme and host as a browser does: https://app.example.com."
        )
    scheme, _, authority = lowered.encode("ascii", "replace").partition(b"://")
    return b"%b://%b" % (scheme, authority.removesuffix(_PORTS.get(scheme, b"\0")))


def _field(request: Request, name: bytes) -> bytes | None:
    """Return a field's value; all of them together when they differ, which is nothing that is trusted."""
    values = {value: None for field, value in request.headers if field == name}
    return b", ".join(values) if values else None


def _same_host(origin: bytes, host: bytes) -> bool:
    """Return whether an origin's authority is the host; the scheme is left out, as a proxy may have taken TLS off."""
    scheme, found, authority = origin.lower().partition(b"://")
    if not found or not host:
        return False
    port = _PORTS.get(scheme, b"\0")
    return authority.removesuffix(port) == host.lower().removesuffix(port)
