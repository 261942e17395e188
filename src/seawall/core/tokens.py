"""Keys that prove who signed a token: what an adapter offers to an engine, and where a controller gets them."""

from collections.abc import Callable, Collection
from typing import Protocol

import msgspec

from seawall.core.errors import SeawallError

__all__ = ["FetchKeys", "FetchedKeys", "KeysUnavailableError", "OpenTokenKeys", "SignatureKey", "TokenKeys"]


class KeysUnavailableError(SeawallError):
    """The keys of an issuer cannot be had: it is away, or answers with something else."""

    code = "keys-unavailable"


class SignatureKey(Protocol):
    """One key that verifies signatures, bound to the algorithms that its kind and its owner allow."""

    @property
    def kid(self) -> str:
        """The key's id as its owner gives it; empty when it has none."""
        ...

    @property
    def algorithms(self) -> frozenset[str]:
        """Names of the JWS algorithms that it may verify; never empty."""
        ...

    def verify(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Return whether the signature over these bytes is this key's; False, never an error, for rubbish.

        Args:
            algorithm: one of `algorithms`.
            signed: the bytes that were signed.
            signature: as it came, decoded.
        """
        ...


class TokenKeys(msgspec.Struct, frozen=True):
    """The usable keys of a document, and why others of it are not used."""

    keys: tuple[SignatureKey, ...] = ()
    left_out: tuple[str, ...] = ()


OpenTokenKeys = Callable[[bytes, bytes, Collection[str]], TokenKeys]
"""Reads (JWK set as JSON, shared secret, allowed algorithms), either of the first two empty for none.

Raises `SeawallError` for a document that is no JWK set or a secret that is too short.
"""


class FetchedKeys(msgspec.Struct, frozen=True):
    """A JWK set as it came over the net.

    Attributes:
        document: the body.
        max_age: seconds for which the answer may be kept, None where it does not say.
    """

    document: bytes
    max_age: float | None = None


class FetchKeys(Protocol):
    """Fetches a JWK set."""

    async def __call__(self, url: str, *, timeout: float, max_bytes: int, ca_file: str = "") -> FetchedKeys:  # noqa: ASYNC109 - the whole exchange is bounded by it
        """Ask for the document once; redirects are not followed.

        Args:
            url: where it is.
            timeout: seconds for the whole exchange.
            max_bytes: largest body that is taken.
            ca_file: PEM file of the authorities to trust in place of the system's.

        Raises:
            KeysUnavailableError: there is no such answer.
        """
        ...
