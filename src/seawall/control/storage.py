"""Where this gateway keeps what must outlive it: the state directory, and the store that the settings name."""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from seawall.config.state import StateSettings
from seawall.core.errors import StateError
from seawall.state.open import open_store
from seawall.state.store import StateStore

__all__ = ["open_configured_store", "state_directory", "state_url"]

_FILE = "state.sqlite"


def state_directory(settings: StateSettings, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the absolute folder for this gateway's files; it need not exist yet."""
    if settings.directory:
        return Path(settings.directory).expanduser().absolute()
    home = environ.get("XDG_STATE_HOME", "")
    # A relative path in an XDG variable is to be ignored (XDG base directory specification, section "Environment
    # variables").
    base = Path(home) if home.startswith("/") else Path("~/.local/state").expanduser()
    return base / "seawall"


def state_url(settings: StateSettings, environ: Mapping[str, str] = os.environ) -> str:
    """Return the store's URL: the configured one, or a SQLite file in the state directory."""
    return settings.url or f"sqlite:///{quote(str(state_directory(settings, environ) / _FILE))}"


def open_configured_store(settings: StateSettings, environ: Mapping[str, str] = os.environ) -> StateStore:
    """Return the store that the settings name; the state directory is made, the store is not yet contacted.

    Raises:
        ConfigurationError: the URL names no backend, or the backend's package is not installed.
        StateError: the state directory cannot be made.
    """
    directory = state_directory(settings, environ)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(
            f"the state directory {directory} cannot be made: {error.strerror}",
            hint="set state.directory to a writable folder",
        ) from error
    return open_store(
        state_url(settings, environ),
        timeout=settings.timeout_ms / 1000,
        breaker_failures=settings.breaker_failures,
        breaker_reset=settings.breaker_reset_ms / 1000,
    )
