"""Precedence across inheritance: a default in a stronger layer wins over a value of its own in a weaker one."""

from collections.abc import Mapping, Sequence
from typing import Any

from seawall.config.layers import Layer
from seawall.config.section import Section
from seawall.config.shape import core_type, element_type, is_section, mark

__all__ = ["give_way"]

_ABSENT = object()


def give_way(root: type[Section], layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers, weakest first as they came, without what inherits from a value that a stronger one gives.

    What a pool says in the file then gives way to the default for all pools from the command line, as everything in the
    file gives way to the command line; within one layer the pool's own value stays.
    """
    return [
        layer._replace(values=_trimmed(root, layer.values, [stronger.values for stronger in layers[index + 1 :]]))
        for index, layer in enumerate(layers)
    ]


def _trimmed(kind: Any, node: Any, stronger: Sequence[Mapping[str, Any]]) -> Any:  # noqa: ANN401 - types and plain values
    if not isinstance(node, dict):
        return node
    below = element_type(kind)
    if below is not None:
        return {name: _trimmed(below, value, stronger) for name, value in node.items()}
    if not is_section(kind):
        return node
    kept = {}
    for key, value in node.items():
        field = kind.model_fields.get(key)
        left = value
        if field is not None:
            left = _trimmed(core_type(field.annotation), value, stronger)
            for tree in stronger if (source := mark(field, "inherits")) else ():
                left = _without(left, _at(tree, source.split(".")))
        if left is not _ABSENT:
            kept[key] = left
    return kept


def _at(tree: object, path: Sequence[str]) -> object:
    for part in path:
        tree = tree.get(part, _ABSENT) if isinstance(tree, Mapping) else _ABSENT
    return tree


def _without(value: object, given: object) -> object:
    """Return a value without the parts that are given elsewhere, or `_ABSENT`; tables are compared key by key."""
    if given is _ABSENT or value is _ABSENT:
        return value
    if isinstance(given, Mapping):
        if not isinstance(value, dict):
            return value
        left = {key: _without(below, given.get(key, _ABSENT)) for key, below in value.items()}
        return {key: below for key, below in left.items() if below is not _ABSENT}
    return _ABSENT
