"""What is known of tokens seen before: bounded, and keyed by a digest, so that no token is kept."""

import hashlib
from collections import OrderedDict

from seawall.systems.identity.claims import Standing
from seawall.systems.identity.model import CredentialError

__all__ = ["Verdicts"]

_DIGEST_BYTES = 16


class Verdicts:
    """Two least-recently-used tables: of tokens that are sound, and of those that never will be under these keys.

    They are apart so that a flood of forged tokens does not push out the good ones. Neither knows of time: who asks
    checks it each time, so no token outlives its `exp` here.

    Args:
        sound: how many sound tokens are remembered; some 600 bytes each.
        unsound: the same for the others.
    """

    def __init__(self, *, sound: int = 8192, unsound: int = 2048) -> None:
        self._limits = (sound, unsound)
        self._sound: OrderedDict[bytes, Standing] = OrderedDict()
        self._unsound: OrderedDict[bytes, CredentialError] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sound) + len(self._unsound)

    @staticmethod
    def digest(token: bytes) -> bytes:
        """Return what stands for a token; two tokens that share it cannot be found."""
        return hashlib.blake2b(token, digest_size=_DIGEST_BYTES).digest()

    def find(self, digest: bytes) -> Standing | CredentialError | None:
        """Return what is known, None for nothing; costs some 0.2 us."""
        standing = self._sound.get(digest)
        if standing is not None:
            self._sound.move_to_end(digest)
            return standing
        error = self._unsound.get(digest)
        if error is not None:
            self._unsound.move_to_end(digest)
        return error

    def keep(self, digest: bytes, verdict: Standing | CredentialError) -> None:
        """Remember it; what was not asked for the longest goes when there is no room."""
        if isinstance(verdict, Standing):
            self._sound[digest] = verdict
            if len(self._sound) > self._limits[0]:
                self._sound.popitem(last=False)
        else:
            self._unsound[digest] = verdict
            if len(self._unsound) > self._limits[1]:
                self._unsound.popitem(last=False)

    def clear(self) -> None:
        """Forget everything: the keys, or what is asked of a token, changed."""
        self._sound.clear()
        self._unsound.clear()
