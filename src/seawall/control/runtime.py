"""The private directory in which the processes of one gateway meet."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from seawall.core.errors import SeawallError

__all__ = ["Launch", "RuntimeDirectory"]


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How this gateway was started: what its other processes need to come to the same settings.

    Attributes:
        config: the file as given on the command line; None searches for one as `seawall serve` does.
        overrides: command-line settings by dotted key path.
        report_interval: seconds between two reports of a worker.
        drain_timeout: seconds that requests in flight get when a worker stops.
        log_level: name of a level of `logging`.
        workers: worker processes.
        state_url: where shared truth is kept, secrets included: workers count there, too, where it can count.
    """

    config: str | None
    overrides: dict[str, Any]
    report_interval: float
    drain_timeout: float
    log_level: str
    workers: int = 1
    state_url: str = ""


class RuntimeDirectory:
    """Paths that the processes of one gateway share; private, because the overrides may hold secrets."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.channel = path / "control.sock"
        self.snapshots = path / "snapshots"
        self._launch = path / "launch.json"
        self._ready = path / "control.ready"

    @classmethod
    def create(cls) -> "RuntimeDirectory":
        """Make a new one under $XDG_RUNTIME_DIR or the directory for temporary files, mode 0700.

        Raises:
            SeawallError: there is no place for it.
        """
        home = os.environ.get("XDG_RUNTIME_DIR", "")
        candidates = [Path(home)] if home and os.access(home, os.W_OK) else []
        candidates += [Path(tempfile.gettempdir()), Path("/tmp")]  # noqa: S108 - mkdtemp makes a private one in it
        # A socket's path has at most 107 bytes (unix(7)).
        short = [base for base in candidates if len(os.fsencode(base / "seawall-xxxxxxxx/control.sock")) <= 107]
        try:
            return cls(Path(tempfile.mkdtemp(prefix="seawall-", dir=short[0])))
        except OSError as error:
            raise SeawallError(
                f"cannot make a runtime directory in {short[0]}: {error.strerror}",
                hint="set XDG_RUNTIME_DIR or TMPDIR to a writable directory",
            ) from error

    def write_launch(self, launch: Launch) -> None:
        """Keep how this gateway was started."""
        self._launch.touch(mode=0o600)
        self._launch.write_bytes(msgspec.json.encode(launch))

    def read_launch(self) -> Launch:
        """Return how this gateway was started."""
        return msgspec.json.decode(self._launch.read_bytes(), type=Launch)

    def mark_ready(self) -> None:
        """Take note, once and for all, that a control process has answered a worker with every snapshot."""
        self._ready.touch(mode=0o600)

    @property
    def was_ready(self) -> bool:
        """Return whether a control process of this gateway ever answered; to be without one before that is normal."""
        return self._ready.exists()

    def remove(self) -> None:
        """Delete it with what is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
