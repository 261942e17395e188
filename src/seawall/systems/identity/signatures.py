"""Which key a token may have been signed by, and whether it was."""

from collections.abc import Iterable

from seawall.core.tokens import SignatureKey
from seawall.systems.identity.token import Token

__all__ = ["KeyTable"]

_MAX_TRIES = 2
"""Keys that are tried on one token: those before and after a rotation. An issuer whose set holds more must name the key
(OpenID Connect Core 1.0 section 10.1), and each one more is a check that a forger has for nothing, before any limit."""


class KeyTable:
    """Keys by their id and algorithm; a key answers only for algorithms of its own kind, whatever a token says."""

    def __init__(self, keys: Iterable[SignatureKey] = ()) -> None:
        self._named: dict[tuple[str, str], list[SignatureKey]] = {}
        self._all: dict[str, list[SignatureKey]] = {}
        for key in keys:
            for algorithm in key.algorithms:
                self._named.setdefault((key.kid, algorithm), []).append(key)
                self._all.setdefault(algorithm, []).append(key)

    def __bool__(self) -> bool:
        return bool(self._all)

    def candidates(self, token: Token) -> list[SignatureKey]:
        """Return the keys that may have signed this token, at most 2.

        A token that names a key is matched with that key; with keys that have no id when there is none of that name.
        """
        if not token.kid:
            return self._all.get(token.algorithm, [])[:_MAX_TRIES]
        named = self._named.get((token.kid, token.algorithm)) or self._named.get(("", token.algorithm), [])
        return named[:_MAX_TRIES]
