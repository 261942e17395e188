"""Configurations as hypothesis makes them, and how they are written as TOML."""

import json
from typing import Any

from hypothesis import strategies as st

from seawall.config.schema import JsonSchema, alternatives, json_schema
from seawall.control.tree import Settings

SCHEMA = json_schema(Settings)

# No dash at the end and no two in a row: an environment variable could not tell them from what separates its parts.
NAMES = st.from_regex(r"[a-z][a-z0-9]{0,3}(-[a-z0-9]{1,3})?", fullmatch=True)
HOSTS = st.from_regex(r"[a-z][a-z0-9]{0,5}(\.[a-z]{2,3})?", fullmatch=True)
PATHS = st.from_regex(r"/[a-z0-9/]{0,8}", fullmatch=True)
URLS = st.builds(lambda host, port: f"http://{host}:{port}", HOSTS, st.integers(1, 65_535))
TEXT = st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=12).map(str.strip)

# Texts with a form of their own, by the last key of their path; others take any text.
FORMS: dict[str, st.SearchStrategy[str]] = {
    "cookie": NAMES,
    "expect_status": st.sampled_from(["200", "200-299", "200-299, 404"]),
    "hash_key": st.sampled_from(["client", "header:x-tenant", "cookie:sid"]),
    "host": HOSTS,
    "listen": st.from_regex(r"127\.0\.0\.[1-9]:0", fullmatch=True),
    "path": PATHS,
    "probe_path": PATHS,
    "region_header": NAMES,
    "server_name": HOSTS,
    "token": st.from_regex(r"([!-~]{16,20})?", fullmatch=True),
    "url": st.sampled_from(["", "memory://", "sqlite:////var/lib/x", "redis://h:1/0"]),
    "via": NAMES,
    "name": st.just(""),
    "trusted_proxies": st.sampled_from(["10.0.0.0/8", "::1"]),
    "methods": st.sampled_from(["GET", "POST"]),
    "dns": URLS,
}
# What means something only together with something else is made below, not field by field.
APART = {
    "kind",
    "pools",
    "routes",
    "instances",
    "regions",
    "headers",
    "max_ejection_ms",
    "base_ejection_ms",
    "identity",
    "ratelimit",
    "threats",
}


def _value(key: str, node: JsonSchema) -> st.SearchStrategy[Any]:
    (branch,) = alternatives(SCHEMA, node)
    if "properties" in branch:
        return _table(branch)
    if "enum" in branch:
        return st.sampled_from([value for value in branch["enum"] if value != "geographic"])
    high = branch.get("maximum", 2**53)
    if branch["type"] == "number":
        low = branch.get("minimum", branch.get("exclusiveMinimum", 0) + 0.5)
        return st.floats(low, high) if low <= high else st.just(high)
    return {
        "boolean": st.booleans(),
        "integer": st.integers(min(branch.get("minimum", 0), high), high),
        "array": st.lists(FORMS.get(key, TEXT), max_size=2),
        "string": FORMS.get(key, TEXT),
    }[branch["type"]]


def _table(branch: JsonSchema) -> st.SearchStrategy[dict[str, Any]]:
    fields = {key: _value(key, node) for key, node in branch["properties"].items() if key not in APART}
    return st.fixed_dictionaries({}, optional=fields)


def _definition(name: str) -> st.SearchStrategy[dict[str, Any]]:
    return _table(SCHEMA["$defs"][name])


INSTANCES = st.lists(
    URLS
    | st.fixed_dictionaries(
        {"url": URLS},
        optional={
            "weight": st.floats(0.5, 9),
            "region": NAMES,
            "location": st.tuples(st.floats(-90, 90), st.integers(-180, 180)).map(list),
        },
    ),
    max_size=3,
    unique_by=lambda instance: instance if isinstance(instance, str) else instance["url"],
)


LIMITS = st.floats(1, 1000)
RATELIMIT = st.fixed_dictionaries(
    {},
    optional={
        "base": LIMITS,
        "window_ms": st.floats(1, 86_400_000),
        "adaptive": st.booleans(),
        "mode": st.sampled_from(["off", "shadow", "enforce"]),
        "headers": st.lists(st.sampled_from(["ratelimit", "x-ratelimit"]), max_size=2),
        "roles": st.dictionaries(NAMES, st.floats(0.1, 100), max_size=2),
        "endpoints": st.lists(
            st.fixed_dictionaries({"factor": st.floats(0.1, 10)}, optional={"paths": st.just(["/a"])})
        ),
        "shedding": st.fixed_dictionaries({}, optional={"enabled": st.booleans(), "slack": st.floats(1.1, 50)}),
        "threat": st.fixed_dictionaries({}, optional={"floor": st.floats(0.01, 1)}),
        "rules": st.lists(
            st.fixed_dictionaries(
                {"id": NAMES.filter(lambda name: name != "base"), "fallthrough": st.just(True)},
                optional={
                    "key": st.lists(st.sampled_from(["client/24", "user", "header:x"]), min_size=1, max_size=2),
                    "windows": st.lists(st.fixed_dictionaries({"limit": LIMITS}), max_size=2),
                    "match": st.fixed_dictionaries({}, optional={"paths": st.lists(PATHS, max_size=2)}),
                },
            ),
            max_size=3,
            unique_by=lambda rule: rule["id"],
        ),
    },
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Return the plain values of a configuration that is right."""
    document = draw(_table(SCHEMA))
    if ratelimit := draw(RATELIMIT):
        document["ratelimit"] = ratelimit
    names = draw(st.lists(NAMES, max_size=3, unique_by=lambda name: name.upper().replace("-", "_")))
    pools = {
        name: draw(_definition("PoolSettings"))
        | {"instances": draw(INSTANCES), "regions": draw(st.dictionaries(NAMES, st.just([50.5, 8]), max_size=2))}
        for name in names
    }
    if pools:
        balancing = document.setdefault("balancing", {})
        balancing["pools"] = pools
        balancing["routes"] = [
            draw(_definition("RouteSettings"))
            | {"pool": name, "path": f"/{number}", "headers": draw(st.dictionaries(NAMES, TEXT, max_size=2))}
            for number, name in enumerate(names)
        ]
    return document


def quoted(value: object) -> str:
    """Write a scalar; JSON and TOML agree on them but for the one control character that JSON leaves as it is."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def scalar(value: object) -> str:
    """Write one value on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{quoted(key)} = {scalar(below)}" for key, below in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(scalar, value)) + "]"
    return quoted(value)


@st.composite
def written(draw: st.DrawFn, document: dict[str, Any]) -> str:
    """Write a document, each table as a header, inline or by dotted keys."""
    lines: list[str] = []
    _write(draw, document, "", lines)
    return "".join(f"{line}{draw(st.sampled_from(['', '  # x = ]']))}\n" for line in lines)


def _write(draw: st.DrawFn, table: dict[str, Any], path: str, lines: list[str]) -> None:
    later: list[tuple[str, Any]] = []
    for key, value in table.items():
        name = key if key.replace("-", "").replace("_", "").isalnum() and key.isascii() else quoted(key)
        style = draw(st.sampled_from(["header", "inline", "dotted"]))
        if isinstance(value, dict) and style == "header":
            later.append((name, value))
        elif isinstance(value, dict) and value and style == "dotted":
            lines.extend(f"{name}.{quoted(inner)} = {scalar(below)}" for inner, below in value.items())
        elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value) and style == "header":
            later.append((name, value))
        elif isinstance(value, list) and style == "dotted":
            lines += [f"{name} = [", *(f"  {scalar(element)}," for element in value), "]"]
        else:
            lines.append(f"{name} = {scalar(value)}")
    for name, value in later:
        place = f"{path}.{name}" if path else name
        for one in value if isinstance(value, list) else [value]:
            lines.append(f"[[{place}]]" if isinstance(value, list) else f"[ {place} ]")
            _write(draw, one, place, lines)
