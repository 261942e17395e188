"""The environment as a layer of settings: names that are fixed, and `SEAWALL_<SECTION>__<FIELD>` for everything."""

import difflib
import json
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import SecretStr

from seawall.config.keypath import key_path
from seawall.config.layers import MAX_DEPTH, Layer, depth
from seawall.config.section import Path, Section
from seawall.config.shape import core_type, element_type, fixed_variables, is_section, static_fields
from seawall.config.tomlfile import FILE_VARIABLE

__all__ = ["PREFIX", "PROMISED_VARIABLES", "Environment", "read_environment", "variable_name"]

PREFIX = "SEAWALL_"

PROMISED_VARIABLES = (
    "LB_STRATEGY",
    "LB_HEALTH_CHECK_INTERVAL",
    "LB_AUTO_SCALING",
    "LB_MIN_INSTANCES",
    "LB_MAX_INSTANCES",
    "LB_TARGET_LOAD",
    "THREAT_DETECTION_ENABLED",
    "THREAT_ANOMALY_THRESHOLD",
    "THREAT_BLOCK_ON_CRITICAL",
    "THREAT_ALERT_ON_HIGH",
    "THREAT_IP_WHITELIST",
    "RATE_LIMIT_BASE",
    "RATE_LIMIT_WINDOW",
    "RATE_LIMIT_ADAPTIVE",
    "RATE_LIMIT_MIN",
    "RATE_LIMIT_MAX",
    "GRAPHQL_CACHE_ENABLED",
    "GRAPHQL_CACHE_TTL",
    "GRAPHQL_MAX_DEPTH",
    "GRAPHQL_MAX_COMPLEXITY",
)
"""Names that every version keeps; one that no setting declares yet is answered by a warning."""

# Kubernetes and Docker links set these in every container beside a service that is called "seawall".
_SERVICE_LINK = re.compile(
    r"SEAWALL_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
_INTEGER = re.compile(r"[+-]?[0-9]{1,30}")
_SWITCHES = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class Environment(NamedTuple):
    """The environment's layer, what is wrong with it, and what the reader should know."""

    layer: Layer
    problems: list[str]
    warnings: list[str]


class _Given(NamedTuple):
    """One variable that sets something."""

    name: str
    path: Path
    value: Any


class _UnusableError(Exception):
    """A variable names nothing, or holds what cannot be read; the text says why."""


def read_environment(
    root: type[Section], environ: Mapping[str, str], known: Sequence[Mapping[str, Any]]
) -> Environment:
    """Read the variables that concern Seawall.

    Args:
        root: the class of the whole tree.
        environ: names and values, such as `os.environ`.
        known: the trees of the file and the command line; free names such as pools are recognised by them.
    """
    fixed = fixed_variables(root)
    given: list[_Given] = []
    problems: list[str] = []
    warnings: list[str] = []
    for name in sorted(environ):
        try:
            if path := fixed.get(name) or _generic_path(root, name, known):
                value = _parse(path, _type_at(root, path), environ[name], commas=name in fixed)
                given.append(_Given(name, path, value))
            elif name in PROMISED_VARIABLES:
                warnings.append(f"environment {name}: this version does not use it yet; it changes nothing")
        except _UnusableError as error:
            problems.append(f"environment {name}: {error}")
    problems.extend(_conflicts(given, fixed, root))
    return Environment(_layer(given), problems, warnings)


def variable_name(path: Path) -> str:
    """Return the generic variable of a path that holds no list index."""
    return PREFIX + "__".join(_upper(str(part)) for part in path)


def _generic_path(root: type[Section], name: str, known: Sequence[Mapping[str, Any]]) -> Path | None:
    if not name.startswith(PREFIX) or name == FILE_VARIABLE or _SERVICE_LINK.fullmatch(name):
        return None
    kind: Any = root
    path: Path = ()
    for segment in name.removeprefix(PREFIX).split("__"):
        if is_section(kind):
            key = segment.lower()
            if key not in kind.model_fields or segment != segment.upper():
                raise _UnusableError(f"sets nothing{_suggest(root, name, path, kind)}")
            kind = core_type(kind.model_fields[key].annotation)
        elif (below := element_type(kind)) is not None and segment:
            key = _free_name(segment, path, known)
            kind = below
        else:
            whole = variable_name(path)
            raise _UnusableError(f"sets nothing: {key_path(path)} has no named parts; give all of it as {whole}")
        path = (*path, key)
    return path


def _free_name(segment: str, path: Path, known: Sequence[Mapping[str, Any]]) -> str:
    """Return the name in the file or on the command line that is spelled so, or else the lower-case form."""
    names: dict[str, None] = {}
    for tree in known:
        node: object = tree
        for part in path:
            node = node.get(part) if isinstance(node, Mapping) else None
        if isinstance(node, Mapping):
            names.update(dict.fromkeys(key for key in node if _upper(key) == segment.upper()))
    if len(names) > 1:
        quoted = " and ".join(json.dumps(name) for name in names)
        raise _UnusableError(f"could mean {quoted} in {key_path(path)}; set it in the file")
    return next(iter(names), segment.lower())


def _suggest(root: type[Section], name: str, path: Path, kind: type[Section]) -> str:
    names = [*fixed_variables(root), *(variable_name(at) for at, _ in static_fields(root)), FILE_VARIABLE]
    names += [variable_name((*path, key)) for key in kind.model_fields]
    close = difflib.get_close_matches(name.upper(), names, n=1, cutoff=0.75)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; {key_path(path) if path else 'the configuration'} has {', '.join(kind.model_fields)}"


def _type_at(root: type[Section], path: Path) -> Any:  # noqa: ANN401 - an annotation is any object
    kind: Any = root
    for part in path:
        kind = core_type(kind.model_fields[part].annotation) if is_section(kind) else element_type(kind)
    return kind


def _parse(path: Path, kind: Any, text: str, *, commas: bool = False) -> Any:  # noqa: ANN401 - types in, values out
    """Return the value that a text stands for; one that does not fit stays text, so that validation names it.

    Lists are JSON; with `commas` one without brackets is parted at its commas.
    """
    if kind is str or kind is SecretStr or typing.get_origin(kind) is typing.Literal:
        return text
    if kind is bool:
        return _SWITCHES.get(text.strip().lower(), text)
    if kind is int:
        return int(text) if _INTEGER.fullmatch(text.strip()) else text
    if kind is float:
        try:
            return float(text)
        except ValueError:
            return text
    return _parse_many(path, kind, text, commas=commas)


def _parse_many(path: Path, kind: Any, text: str, *, commas: bool) -> Any:  # noqa: ANN401 - as above
    """Return the list or table that a text stands for."""
    if commas and typing.get_origin(kind) is tuple and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        example = '["a", "b"]' if typing.get_origin(kind) is tuple else '{"key": "value"}'
        raise _UnusableError(f"{key_path(path)}: not valid JSON; accepted: JSON such as {example}") from None
    if depth(value) > MAX_DEPTH:
        raise _UnusableError(f"{key_path(path)}: nested more than {MAX_DEPTH} deep")
    return value


def _layer(given: Sequence[_Given]) -> Layer:
    """Lay variables over one another, those that name less first."""
    values: dict[str, Any] = {}
    names: dict[Path, str] = {}
    for variable in sorted(given, key=lambda variable: len(variable.path)):
        node: Any = values
        for part in variable.path[:-1]:
            node = node.setdefault(part, {}) if isinstance(node, dict) else None
        if isinstance(node, dict):  # otherwise a variable above gives something else than a table, which is refused
            _lay(node, variable.path[-1], variable.value)
            names[variable.path] = variable.name

    def origin(path: Path) -> str:
        while path and path not in names:
            path = path[:-1]
        return f"environment {names[path]}" if path else "environment"

    return Layer(values, origin)


def _lay(node: dict[str | int, Any], key: str | int, value: object) -> None:
    old = node.get(key)
    if isinstance(old, dict) and isinstance(value, dict):
        for below in value:
            _lay(old, below, value[below])
    else:
        node[key] = value


def _conflicts(given: Sequence[_Given], fixed: Mapping[str, Path], root: type[Section]) -> list[str]:
    found = []
    for variable in (one for one in given if one.name in fixed):
        for other in (one for one in given if one.name not in fixed):
            also = _value_within(other, variable.path)
            if also is None or also == variable.value:
                continue
            both = f"environment {variable.name} and {other.name}: {key_path(variable.path)}: "
            secret = _type_at(root, variable.path) is SecretStr
            values = "" if secret else f" ({json.dumps(variable.value)} and {json.dumps(also)})"
            found.append(f"{both}given two different values{values}; unset one")
    return found


def _value_within(variable: _Given, path: Path) -> Any:  # noqa: ANN401 - JSON values
    """Return what a variable gives for the path, or None when it says nothing about it."""
    if path[: len(variable.path)] != variable.path:
        return None
    value = variable.value
    for part in path[len(variable.path) :]:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _upper(name: str) -> str:
    return name.upper().replace("-", "_").replace(".", "_")
