"""Layers of settings, lowest first: merged by pydantic-settings, and remembered by where each value came from."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from seawall.config.section import Path

__all__ = ["MAX_DEPTH", "Layer", "Origin", "depth", "merge", "trace"]

MAX_DEPTH = 32
"""How deep values may be nested: far beyond what any setting needs, and far from Python's recursion limit."""


class Layer(NamedTuple):
    """One source of settings: a tree of plain values, and where a path of it was written."""

    values: dict[str, Any]
    origin: Callable[[Path], str]


class Origin:
    """Where the value at one place of the merged tree came from, and the places below it."""

    __slots__ = ("below", "is_table", "text")

    def __init__(self, text: str, *, is_table: bool) -> None:
        self.text = text
        self.is_table = is_table
        self.below: dict[str | int, Origin] = {}

    def at(self, path: Path) -> "Origin | None":
        """Return the origin of exactly this path below, or None when nothing was given there."""
        node: Origin | None = self
        for part in path:
            node = node._step(part) if node else None  # noqa: SLF001 - of the same class
        return node

    def _step(self, part: str | int) -> "Origin | None":
        if part in self.below or isinstance(part, int):
            return self.below.get(part)
        # A name that has no case, such as a header's, is kept in lower case.
        return next((node for key, node in self.below.items() if isinstance(key, str) and key.lower() == part), None)

    def nearest(self, path: Path) -> "Origin":
        """Return the origin of the path or of its nearest ancestor that was given."""
        node = self
        for part in path:
            if part not in node.below:
                break
            node = node.below[part]
        return node


class _Source(PydanticBaseSettingsSource):
    """A layer as pydantic-settings takes it."""

    def __init__(self, settings: type[BaseSettings], layer: Layer) -> None:
        super().__init__(settings)
        self._layer = layer

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - its signature
        return self._layer.values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._layer.values


def depth(values: object) -> int:
    """Return how deep tables and lists are nested, counted up to one more than `MAX_DEPTH`."""
    level, levels = [values], 0
    while level and levels <= MAX_DEPTH:
        levels += 1
        level = [
            below
            for value in level
            if isinstance(value, (dict, list))
            for below in (value.values() if isinstance(value, dict) else value)
        ]
    return levels


def merge(layers: Sequence[Layer]) -> dict[str, Any]:
    """Return one tree, later layers over earlier ones: tables are merged key by key, anything else is replaced."""

    class Merged(BaseSettings):
        model_config = SettingsConfigDict(extra="allow")

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - its signature
            env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            # pydantic-settings wants the strongest source first.
            return tuple(_Source(settings_cls, layer) for layer in reversed(layers))

    return dict(Merged().model_extra or {})


def trace(layers: Sequence[Layer]) -> Origin:
    """Return the origins of the tree that `merge` makes of the same layers."""
    root = Origin("", is_table=True)
    for layer in layers:
        _lay(root, layer.values, (), layer)
    return root


def _lay(node: Origin, values: Mapping[str, Any], path: Path, layer: Layer) -> None:
    for key, value in values.items():
        place = (*path, key)
        below = node.below.get(key)
        if isinstance(value, dict):
            if below is None or not below.is_table:
                below = node.below[key] = Origin(layer.origin(place), is_table=True)
            _lay(below, value, place, layer)
        else:
            node.below[key] = _replaced(value, place, layer)


def _replaced(value: object, place: Path, layer: Layer) -> Origin:
    node = Origin(layer.origin(place), is_table=isinstance(value, dict))
    if isinstance(value, dict):
        _lay(node, value, place, layer)
    elif isinstance(value, (list, tuple)):
        for index, element in enumerate(value):
            node.below[index] = _replaced(element, (*place, index), layer)
    return node
