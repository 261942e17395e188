"""What differs between two settings trees, and what of it a running gateway can take."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

__all__ = ["changed_keys", "restart_keys"]

_AT_START_ONLY = ("admin", "control", "gateway.drain_timeout_ms", "gateway.listen", "gateway.workers", "state")
"""Tables and keys that are read once: they decide about sockets, processes and the store."""


def changed_keys(before: BaseModel, after: BaseModel) -> list[str]:
    """Return the dotted paths of the settings that differ, sorted; values are never shown, they may be secret."""
    return sorted(_differences(before.model_dump(), after.model_dump(), ""))


def restart_keys(keys: list[str]) -> list[str]:
    """Return those of the dotted paths that are taken at the next start only."""
    return [key for key in keys if any(key == fixed or key.startswith(f"{fixed}.") for fixed in _AT_START_ONLY)]


def _differences(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name in before.keys() | after.keys():
        path = f"{prefix}{name}"
        if name not in before or name not in after:
            yield path
            continue
        old, new = before[name], after[name]
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new, f"{path}.")
        elif old != new:
            yield path
