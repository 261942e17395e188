"""A challenge that a browser solves by itself and a flood cannot afford: proof of work, and a cookie that says so.

The client looks for a number that, hashed together with the challenge, begins with so many zero bits: 2^bits hashes for
it, one for us. Challenge and cookie are sealed with HMAC-SHA256 and bound to the client's address, so nothing is kept
here, and no third party is asked.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from hashlib import sha256

from seawall.core.errors import InvalidError

__all__ = ["Challenger"]

_SHORTEST_SECRET = 32
_NONCE = 12
_STAMP = 6
_SEAL = 16
_MAX_TEXT = 200
_MAX_BITS = 26


class Challenger:
    """Issue challenges, take solutions, recognise those who solved one.

    Args:
        secret: at least 32 bytes, the same in every process.
        random: as `os.urandom`.
        bits: of zeros that a solution has: 16 takes a browser some tenth of a second, each further bit doubles it.
        patience: seconds within which a challenge must be solved.
        lifetime: seconds for which a cookie holds.

    Raises:
        InvalidError: the secret is too short, or a number is out of bounds.
    """

    def __init__(
        self,
        secret: bytes,
        random: Callable[[int], bytes],
        *,
        bits: int = 16,
        patience: float = 120.0,
        lifetime: float = 3600.0,
    ) -> None:
        if len(secret) < _SHORTEST_SECRET:
            raise InvalidError(
                f"a secret of {len(secret)} bytes is too short", hint=f"Give at least {_SHORTEST_SECRET}."
            )
        if not (0 <= bits <= _MAX_BITS and patience > 0.0 and lifetime > 0.0):
            raise InvalidError(
                f"a challenge of {bits} bits for {patience} s and {lifetime} s cannot be set",
                hint=f"Give 0 to {_MAX_BITS} bits and times above 0.",
            )
        self.bits = bits
        self._secret = secret
        self._random = random
        self._patience = patience
        self._lifetime = lifetime

    def issue(self, client: str, now: float) -> str:
        """Return a challenge for a client's address; `now` in seconds since the Unix epoch."""
        return self._sealed(b"challenge", client, self._random(_NONCE) + int(now).to_bytes(_STAMP, "big"))

    def redeem(self, client: str, challenge: str, solution: str, now: float) -> str | None:
        """Return the cookie's value for a solution; None when it solves nothing, or comes too late.

        Args:
            client: as it was challenged.
            challenge: as issued.
            solution: decimal digits such that SHA-256 of `challenge:solution` begins with `bits` zero bits.
            now: seconds since the Unix epoch.

        Anything may be passed in. Until it is too late a solution can be handed in again, by the same address only.
        """
        if not (0 < len(solution) <= 20 and solution.isascii() and solution.isdigit()):
            return None
        if self._opened(b"challenge", client, challenge, now, self._patience) is None:
            return None
        digest = sha256(f"{challenge}:{solution}".encode()).digest()
        if int.from_bytes(digest, "big") >> (256 - self.bits):
            return None
        return self._sealed(b"cookie", client, self._random(_NONCE) + int(now).to_bytes(_STAMP, "big"))

    def knows(self, client: str, cookie: str, now: float) -> bool:
        """Return whether a cookie is one that this client earned, and still holds; about 4 us."""
        return self._opened(b"cookie", client, cookie, now, self._lifetime) is not None

    def _sealed(self, purpose: bytes, client: str, head: bytes) -> str:
        return urlsafe_b64encode(head + self._seal(purpose, client, head)).decode("ascii").rstrip("=")

    def _opened(self, purpose: bytes, client: str, text: str, now: float, lifetime: float) -> bytes | None:
        if not 0 < len(text) <= _MAX_TEXT:
            return None
        try:
            raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        except (Base64Error, UnicodeEncodeError, ValueError):
            return None
        head, seal = raw[: _NONCE + _STAMP], raw[_NONCE + _STAMP :]
        if len(seal) != _SEAL or not hmac.compare_digest(seal, self._seal(purpose, client, head)):
            return None
        age = now - int.from_bytes(head[_NONCE:], "big")
        return head if -60.0 <= age <= lifetime else None

    def _seal(self, purpose: bytes, client: str, head: bytes) -> bytes:
        message = purpose + b"\0" + client.encode("utf-8", "surrogatepass") + b"\0" + head
        return hmac.new(self._secret, message, sha256).digest()[:_SEAL]
