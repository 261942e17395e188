"""Work on the configured state store from the command line, with or without a running gateway."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from seawall.core.errors import ConfigurationError
from seawall.state.store import StateStore

if TYPE_CHECKING:
    from seawall.control.tree import Settings

__all__ = ["Config", "State", "configured", "with_store"]

_T = TypeVar("_T")

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="Configuration file; otherwise $SEAWALL_CONFIG, then ./seawall.toml."
    ),
]
State = Annotated[
    str | None, typer.Option("--state", help="State store, in place of the configured one.", metavar="URL")
]


def configured(config: Path | None, state: str | None) -> "Settings":
    """Return the settings that `seawall serve` would run with.

    Args:
        config: the configuration file, None to look for it where `seawall serve` does.
        state: url of the store in place of the configured one.

    Raises:
        ConfigurationError: the configuration is refused.
    """
    # Imported here: the configuration costs a quarter of a second of imports that `seawall --help` need not pay.
    from seawall.config.loader import load  # noqa: PLC0415
    from seawall.control.tree import Settings  # noqa: PLC0415

    overrides = {} if state is None else {"state.url": state}
    return load(Settings, file=config, environ=os.environ, overrides=overrides).settings


def with_store(settings: "Settings", work: Callable[[StateStore], Awaitable[_T]], instead: str) -> _T:
    """Run work on the configured store and return its result.

    Args:
        settings: name the store.
        work: what to do.
        instead: the call of the admin API that does the same, for stores that live within the gateway.

    Raises:
        ConfigurationError: the store lives within another process.
        StateError: the store failed.
    """
    from seawall.control.storage import open_configured_store, state_url  # noqa: PLC0415 - as in `configured`

    if state_url(settings.state).startswith("memory:"):
        raise ConfigurationError(
            "a memory:// store lives within one process, so it cannot be reached from here",
            hint=f"ask the running gateway: {instead}; or set state.url to a sqlite or redis URL",
        )
    return asyncio.run(_worked(open_configured_store(settings.state), work))


async def _worked(store: StateStore, work: Callable[[StateStore], Awaitable[_T]]) -> _T:
    try:
        return await work(store)
    finally:
        await store.close()
