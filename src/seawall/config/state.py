"""The `[state]` table: where shared truth is kept."""

import re
from typing import Annotated

from pydantic import AfterValidator

from seawall.config.section import Integer, Milliseconds, Section, setting

__all__ = ["StateSettings"]

_URL = re.compile(r"memory://|sqlite:///.+|rediss?://[^/\s]+(/\S*)?")


def _check_url(text: str) -> str:
    if text and not _URL.fullmatch(text):
        raise ValueError("memory://, sqlite:///path, redis://host:port/database, rediss://..., or nothing for SQLite")
    return text


class StateSettings(Section):
    """Where shared truth is kept: registered instances, limits set at run time, keys, tokens, audit trail."""

    url: Annotated[str, AfterValidator(_check_url)] = setting(
        "", "memory://, sqlite:///path or redis://host:port/database; empty keeps a SQLite file under `directory`."
    )
    directory: str = setting(
        "", "Folder for files of this gateway; empty is $XDG_STATE_HOME/seawall or ~/.local/state/seawall."
    )
    timeout_ms: Milliseconds = setting(250, "Time budget of one call to the store.", unit="ms")
    breaker_failures: Integer = setting(
        5, "Failures in a row after which the store is left alone for a while.", unit="failures", ge=1, le=10_000
    )
    breaker_reset_ms: Milliseconds = setting(1000, "Time after which a store that failed is tried again.", unit="ms")
