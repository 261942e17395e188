"""The newest snapshots on disk: a start without the control process or the state store goes on from them."""

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from seawall.core.errors import StateError

__all__ = ["LastKnownSnapshots"]

_log = logging.getLogger("seawall.control.lastknown")

_FORMAT = 1


class _Kept(msgspec.Struct, frozen=True):
    """A file's content; `written_at` in seconds since the Unix epoch."""

    format: int
    system: str
    written_at: float
    payload: msgspec.Raw


class LastKnownSnapshots:
    """One file per system, `last-snapshot-<system>.msgpack`, replaced atomically and readable by its owner only.

    A snapshot holds keys that sign cookies, which is why nobody else may read it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, snapshots: Mapping[str, bytes], *, now: float) -> None:
        """Replace the files of these systems; `now` in seconds since the epoch.

        Raises:
            StateError: the directory cannot be written.
        """
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for system, payload in snapshots.items():
                self._replace(system, msgspec.msgpack.encode(_Kept(_FORMAT, system, now, msgspec.Raw(payload))))
        except OSError as error:
            raise StateError(
                f"the last snapshot cannot be kept in {self.directory}: {error}",
                hint="make the directory writable, or set state.directory to one that is",
            ) from error

    def read(self, systems: Iterable[str]) -> dict[str, bytes]:
        """Return the encoded snapshot of each system that has one; a damaged file is logged and counts as absent."""
        found = {}
        for system in systems:
            path = self._path(system)
            try:
                kept = msgspec.msgpack.decode(path.read_bytes(), type=_Kept)
            except FileNotFoundError:
                continue
            except (OSError, msgspec.MsgspecError) as error:
                _log.warning("ignored %s: %s", path, error)
                continue
            if kept.format != _FORMAT or kept.system != system:
                _log.warning("ignored %s: it is format %d of %s", path, kept.format, kept.system)
                continue
            found[system] = bytes(kept.payload)
        return found

    def _path(self, system: str) -> Path:
        return self.directory / f"last-snapshot-{system}.msgpack"

    def _replace(self, system: str, content: bytes) -> None:
        # mkstemp makes the file with mode 0600; the rename is atomic within one directory. No fsync: after a power cut
        # the file may be damaged, which counts as absent.
        descriptor, temporary = tempfile.mkstemp(prefix=".last-snapshot-", dir=self.directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(temporary).replace(self._path(system))
        except OSError:
            with contextlib.suppress(OSError):  # the first error is the one to report
                Path(temporary).unlink()
            raise
