"""From pydantic's errors to lines that a reader can act on: where, which key, what was given, what is accepted."""

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from seawall.config.keypath import key_path
from seawall.config.schema import JsonSchema, accepted, alternatives, describe_at, json_schema
from seawall.config.section import PROBLEMS, Path, Section
from seawall.config.shape import static_fields

__all__ = ["Problem", "Translator", "hide_password", "shown", "without_echoes"]

_CREDENTIALS = re.compile(r"(?<=//)[^/\s]*(?=@)|(?<=password=)[^&\s\"]*")

_MAX_SHOWN = 60

F = TypeVar("F", bound=Mapping[str, Any])


class Problem(NamedTuple):
    """One finding: where in the tree, what is wrong in words, and the place that `{other}` in the words stands for."""

    path: Path
    text: str
    kind: Literal["value", "missing", "combination"] = "value"
    other: Path = ()


class Translator:
    """Turns validation errors of one root class into problems."""

    def __init__(self, root: type[Section]) -> None:
        self._schema: JsonSchema = json_schema(root)
        self._places = [path for path, _ in static_fields(root)]

    def problems(self, error: ValidationError) -> Iterator[Problem]:
        """Yield every finding of a validation error."""
        for detail in without_echoes(error.errors(include_url=False)):
            yield from self._problems(detail)

    def _problems(self, detail: ErrorDetails) -> Iterator[Problem]:
        path: Path = detail["loc"]
        kind = detail["type"]
        if kind == PROBLEMS:
            for below, text, other in detail["ctx"]["findings"]:
                yield Problem((*path, *below), text, "combination", (*path, *other) if other else ())
        elif kind == "extra_forbidden":
            yield Problem(path, self._unknown_key(path))
        elif kind == "missing":
            description = describe_at(self._schema, path).get("description", "")
            yield Problem(path, f"missing; required: {description}", "missing")
        elif path and path[-1] == "[key]":
            form = self._key_form(path[:-2])
            yield Problem(path[:-1], f"given the name {shown(path[-2])}; accepted: {form}")
        else:
            yield Problem(path, self._wrong_value(path, detail))

    def _wrong_value(self, path: Path, detail: ErrorDetails) -> str:
        node = describe_at(self._schema, path)
        value = detail["input"]
        reason = detail.get("ctx", {}).get("error")
        words = str(reason) if detail["type"] == "value_error" else accepted(self._schema, node)
        given = "(hidden)" if node.get("writeOnly") else shown(value)
        choices = [choice for branch in alternatives(self._schema, node) for choice in branch.get("enum", ())]
        close = difflib.get_close_matches(value.lower(), choices, n=1) if isinstance(value, str) else []
        guess = f"; did you mean {json.dumps(close[0])}?" if close else ""
        return f"given {given}; accepted: {words}{guess}"

    def _unknown_key(self, path: Path) -> str:
        key = path[-1]
        tables = alternatives(self._schema, describe_at(self._schema, path[:-1]))
        keys = [name for table in tables for name in table.get("properties", {})]
        close = difflib.get_close_matches(str(key).lower().replace("-", "_"), keys, n=1)
        if close:
            return f"unknown key; did you mean {json.dumps(close[0])}?"
        elsewhere = [place for place in self._places if place[-1] == key]
        if len(elsewhere) == 1:
            return f"unknown key here; did you mean {key_path(elsewhere[0])}?"
        return f"unknown key; accepted: {', '.join(keys)}"

    def _key_form(self, path: Path) -> str:
        node = describe_at(self._schema, path)
        for pattern in node.get("patternProperties", {}):
            return f"a name of the form {pattern}"
        names: dict[str, Any] = node.get("propertyNames", {})
        most = names.get("maxLength")
        return f"a name of 1 to {most} characters" if most else "a header name: letters, digits and !#$%&'*+-.^_`|~"


def without_echoes(errors: Sequence[F]) -> list[F]:
    """Return validation errors without those of lists that are too short only for want of refused elements."""
    places = [error["loc"] for error in errors]
    return [
        error
        for error in errors
        if error["type"] != "too_short"
        or not any(len(place) > len(loc) and place[: len(loc)] == loc for loc in (error["loc"],) for place in places)
    ]


def hide_password(text: str) -> str:
    """Return a text without the user and password of a url, and without a password among its parameters."""
    return _CREDENTIALS.sub("(hidden)", text)


def shown(value: object) -> str:
    """Return a value as it would be written in the file, cut where it is long; tables and lists by kind only.

    What a table or list holds may be a secret that stands at the wrong place.
    """
    if isinstance(value, (dict, Section)):
        return "a table"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if value is None:
        return "nothing"
    if isinstance(value, SecretStr):
        return "(hidden)"
    text = hide_password(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}... ({len(text)} characters)"
