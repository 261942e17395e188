"""The shape of a settings tree, read from its types: which fields there are, and what is within what."""

import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from seawall.config.section import Path, Section

__all__ = [
    "Leaf",
    "core_type",
    "effective",
    "element_type",
    "fixed_variables",
    "is_named_section",
    "is_section",
    "mark",
    "static_fields",
]


class Leaf(NamedTuple):
    """One effective value: its path, the value, whether it is secret."""

    path: Path
    value: Any
    secret: bool


def core_type(annotation: Any) -> Any:  # noqa: ANN401 - an annotation is any object
    """Return an annotation without `Annotated` and without `| None`."""
    if typing.get_origin(annotation) is typing.Annotated:
        return core_type(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        some = [argument for argument in typing.get_args(annotation) if argument is not types.NoneType]
        return core_type(some[0]) if len(some) == 1 else annotation
    return annotation


def is_section(kind: Any) -> bool:  # noqa: ANN401 - an annotation is any object
    """Tell whether this core type is a table with fixed keys."""
    return isinstance(kind, type) and issubclass(kind, Section)


def element_type(kind: Any) -> Any:  # noqa: ANN401 - an annotation is any object
    """Return the core type of what a table with free keys holds, or None when this is something else."""
    return core_type(typing.get_args(kind)[1]) if typing.get_origin(kind) is dict else None


def is_named_section(root: type[Section], path: Path) -> bool:
    """Tell whether a path is a table under a free name, such as a pool."""
    kind: Any = root
    named = False
    for part in path:
        if is_section(kind):
            field = kind.model_fields.get(part)
            kind, named = core_type(field.annotation) if field else None, False
        else:
            kind, named = element_type(kind), True
    return named and is_section(kind)


def mark(field: FieldInfo, name: str) -> Any:  # noqa: ANN401 - each mark has its own type
    """Return what `setting` noted on a field under `x-<name>`, or None."""
    extra = field.json_schema_extra
    return extra.get(f"x-{name}") if isinstance(extra, dict) else None


def static_fields(root: type[Section], path: Path = ()) -> Iterator[tuple[Path, FieldInfo]]:
    """Yield every field whose path holds no free name, tables before what they hold."""
    for name, field in root.model_fields.items():
        yield (*path, name), field
        kind = core_type(field.annotation)
        if is_section(kind):
            yield from static_fields(kind, (*path, name))


def fixed_variables(root: type[Section]) -> dict[str, Path]:
    """Return the environment variables of fixed name, with the path that each sets."""
    return {
        name: (*path, below) if below else path
        for path, field in static_fields(root)
        for name, below in (mark(field, "env") or {}).items()
    }


def effective(settings: Section, path: Path = ()) -> Iterator[Leaf]:
    """Yield every effective value in order of declaration; a list of plain values is one value."""
    for name in type(settings).model_fields:
        yield from _leaves(getattr(settings, name), (*path, name))


def _leaves(value: object, path: Path) -> Iterator[Leaf]:
    if isinstance(value, Section):
        yield from effective(value, path)
    elif isinstance(value, Mapping) and value:
        for key, below in value.items():
            yield from _leaves(below, (*path, key))
    elif isinstance(value, tuple) and value and isinstance(value[0], Section):
        for index, below in enumerate(value):
            yield from _leaves(below, (*path, index))
    elif isinstance(value, SecretStr):
        yield Leaf(path, value.get_secret_value(), secret=True)
    else:
        yield Leaf(path, value, secret=False)
