"""TLS contexts for upstreams, one for each CA file, made anew when the file changes."""

import logging
import ssl
from collections.abc import Iterable
from pathlib import Path

__all__ = ["TrustStore"]

_log = logging.getLogger("seawall.gateway")

_Stamp = tuple[int, int, int] | None


class TrustStore:
    """Verifying contexts by path of the CA file; the empty path stands for the system's CAs.

    A file that becomes unusable does not end the trust in what it held last: it may just be being written. That is
    logged, and looked at again whenever the file changes.

    Attributes:
        version: raised whenever a context was replaced.
    """

    def __init__(self) -> None:
        self.version = 0
        self._contexts: dict[str, tuple[_Stamp, ssl.SSLContext | None, str]] = {}

    def get(self, ca_file: str) -> tuple[ssl.SSLContext | None, str]:
        """Return the context, or None and what is wrong with the file."""
        entry = self._contexts.get(ca_file)
        if entry is None:
            entry = self._contexts[ca_file] = (_stamp(ca_file), *_load(ca_file))
        return entry[1:]

    def keep(self, ca_files: Iterable[str]) -> None:
        """Forget all files but these."""
        for gone in self._contexts.keys() - set(ca_files):
            del self._contexts[gone]

    def reload(self) -> bool:
        """Read the files that changed since they were read last; return whether a context was replaced."""
        before = self.version
        for ca_file, (stamp, context, _) in list(self._contexts.items()):
            now = _stamp(ca_file)
            if now == stamp:
                continue
            fresh, defect = _load(ca_file)
            if fresh is not None:
                self.version += 1
            elif context is not None:
                _log.warning("%s; what it held before is trusted until it can", defect)
                fresh, defect = context, ""
            self._contexts[ca_file] = (now, fresh, defect)
        return self.version != before


def _stamp(ca_file: str) -> _Stamp:
    if not ca_file:
        return None
    try:
        status = Path(ca_file).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _load(ca_file: str) -> tuple[ssl.SSLContext | None, str]:
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:  # ssl.SSLError is one
        return None, f"the CA file {ca_file} cannot be used: {error}"
    context.set_alpn_protocols(["http/1.1"])
    return context, ""
