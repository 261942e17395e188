"""JSON Schema (draft 2020-12) of a settings tree, for editors, and the questions that error messages ask of it."""

from collections.abc import Iterator
from typing import Any

from seawall.config.section import Path, Section

__all__ = ["DIALECT", "JsonSchema", "accepted", "alternatives", "describe_at", "json_schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

JsonSchema = dict[str, Any]

_FREE_TEXT = {"string": "text", "boolean": "true or false", "object": "a table", "null": "nothing"}


def json_schema(root: type[Section]) -> JsonSchema:
    """Return the schema of the whole tree; every property has a description, every quantity its unit under `x-unit`."""
    schema = root.model_json_schema()
    for table in (schema, *schema.get("$defs", {}).values()):
        for branch in table.get("anyOf", [table]):
            for field in branch.get("properties", {}).values():
                if reference := field.get("$ref"):
                    # pydantic leaves a description out when it is the same as that of the table.
                    field.setdefault("description", schema["$defs"][reference.removeprefix("#/$defs/")]["description"])
                _finish(field)
    return {"$schema": DIALECT, **schema, "title": "seawall.toml"}


def _finish(field: JsonSchema) -> None:
    field.pop("title", None)
    if "patternProperties" in field:
        # Without this a name that does not match its pattern would be let through.
        field["additionalProperties"] = False
    if (unit := field.get("x-unit")) and f"({unit})" not in field["description"]:
        field["description"] += f" ({unit})"


def describe_at(schema: JsonSchema, path: Path) -> JsonSchema:
    """Return the part of the schema for a path with references followed; empty when there is no such place."""
    node = schema
    for part in path:
        node = next((found for branch in alternatives(schema, node) if (found := _step(branch, part))), {})
    branches = list(alternatives(schema, node))
    merged = {key: value for key, value in node.items() if key not in {"$ref", "anyOf"}}
    return {**branches[0], **merged} if len(branches) == 1 else {**merged, "anyOf": branches}


def alternatives(schema: JsonSchema, node: JsonSchema) -> Iterator[JsonSchema]:
    """Yield what a node allows, references followed; absent (null) is left out, since TOML cannot write it."""
    if reference := node.get("$ref"):
        yield from alternatives(schema, schema["$defs"][reference.removeprefix("#/$defs/")])
    elif "anyOf" in node:
        for branch in node["anyOf"]:
            yield from alternatives(schema, branch)
    elif node.get("type") != "null":
        yield node


def _step(node: JsonSchema, part: str | int) -> JsonSchema:
    if isinstance(part, int):
        prefix = node.get("prefixItems", [])
        found = prefix[part] if part < len(prefix) else node.get("items")
    elif part in node.get("properties", {}):
        found = node["properties"][part]
    else:
        found = next(iter(node.get("patternProperties", {}).values()), node.get("additionalProperties"))
    return found if isinstance(found, dict) else {}


def accepted(schema: JsonSchema, node: JsonSchema) -> str:
    """Say in words what a node allows."""
    return " or ".join(dict.fromkeys(_accepted(branch) for branch in alternatives(schema, node)))


def _accepted(node: JsonSchema) -> str:
    kind = node.get("type", "")
    if "enum" in node or "const" in node:
        return ", ".join(f'"{value}"' for value in node.get("enum", [node.get("const")]))
    if kind in {"integer", "number"}:
        words = f"a {'whole ' if kind == 'integer' else ''}number{_range(node)}"
        return f"{words} ({node['x-unit']})" if "x-unit" in node else words
    if kind == "string" and "pattern" in node:
        return f"text of the form {node['pattern']}"
    if kind == "string" and "maxLength" in node:
        return f"text of at most {node['maxLength']} characters"
    if kind == "array":
        least, most = node.get("minItems"), node.get("maxItems")
        size = f" of {most}" if least == most is not None else f" of at most {most}" if most else ""
        return f"a list{size}"
    return _FREE_TEXT.get(kind, "something else")


def _range(node: JsonSchema) -> str:
    low, high, above = node.get("minimum"), node.get("maximum"), node.get("exclusiveMinimum")
    if above is not None and low is not None and above >= low:
        low = None  # the stricter of two bounds
    if low is not None and high is not None:
        return f" from {low:g} to {high:.15g}"
    parts = [
        f"{words} {node[key]:.15g}"
        for key, words in (
            ("minimum", "of at least"),
            ("exclusiveMinimum", "above"),
            ("maximum", "up to"),
            ("exclusiveMaximum", "below"),
        )
        if key in node and not (key == "minimum" and low is None)
    ]
    return f" {' and '.join(parts)}" if parts else ""
