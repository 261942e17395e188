"""Effective settings as text: one line each with its origin, secrets hidden."""

import json
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

from seawall.config.keypath import key_path
from seawall.config.loader import Loaded
from seawall.config.problems import hide_password
from seawall.config.section import Section
from seawall.config.shape import effective

__all__ = ["HIDDEN", "Row", "rows", "toml_value"]

HIDDEN = "(hidden)"

S = TypeVar("S", bound=Section)


class Row(NamedTuple):
    """One effective setting; `value` is JSON-compatible, and never a secret."""

    path: str
    value: object
    origin: str


def rows(loaded: Loaded[S]) -> Iterator[Row]:
    """Yield every effective setting in order of declaration."""
    for leaf in effective(loaded.settings):
        path = key_path(leaf.path)
        value = HIDDEN if leaf.secret and leaf.value else _plain(leaf.value)
        yield Row(path, value, loaded.origins[path])


def toml_value(value: object) -> str:
    """Return a value as it would be written in the file; what TOML cannot write (absent) is an empty text."""
    if value is None:
        return ""
    if isinstance(value, list):
        return f"[{', '.join(toml_value(element) for element in value)}]"
    if isinstance(value, dict):
        return "{}"
    return json.dumps(value, ensure_ascii=False)


def _plain(value: object) -> object:
    if isinstance(value, str):
        return hide_password(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, (tuple, list)):
        return [_plain(element) for element in value]
    return value
