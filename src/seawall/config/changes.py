"""What differs between two trees of settings, and what of it takes effect at the next start only."""

from collections.abc import Iterator, Mapping

from seawall.config.keypath import key_path
from seawall.config.section import Path, Section

__all__ = ["RESTART_ONLY", "changed_paths", "needs_restart"]

RESTART_ONLY = frozenset(
    {
        "admin",
        "control",
        "gateway.drain_timeout_ms",
        "gateway.listen",
        "gateway.workers",
        "state",
        "threats.events.file",
    }
)
"""Tables and keys that are read once, at start: they decide about sockets, processes and the store."""


def changed_paths(old: Section, new: Section) -> list[str]:
    """Return the key paths whose effective values differ, in order of declaration; lists are compared as one value.

    Values are not part of the answer, since some are secret.
    """
    return [key_path(path) for path in _differences(old, new, ())]


def needs_restart(path: str) -> bool:
    """Tell whether a changed key path takes effect at the next start only."""
    return any(path == fixed or path.startswith(f"{fixed}.") for fixed in RESTART_ONLY)


def _differences(old: object, new: object, path: Path) -> Iterator[Path]:
    if isinstance(old, Section) and isinstance(new, Section) and type(old) is type(new):
        for name in type(old).model_fields:
            yield from _differences(getattr(old, name), getattr(new, name), (*path, name))
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            if key in old and key in new:
                yield from _differences(old[key], new[key], (*path, key))
            else:
                yield (*path, key)
    elif old != new:
        yield path
