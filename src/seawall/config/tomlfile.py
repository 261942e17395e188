"""`seawall.toml`: where it is looked for, and how it is read."""

import datetime as dt
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from seawall.config.layers import MAX_DEPTH, Layer, depth
from seawall.config.positions import find_lines
from seawall.config.section import Path as KeyPath
from seawall.core.errors import ConfigurationError

__all__ = ["DEFAULT_FILE", "FILE_VARIABLE", "MAX_FILE_BYTES", "find_file", "read_file", "unusable_values"]

DEFAULT_FILE = "seawall.toml"
FILE_VARIABLE = "SEAWALL_CONFIG"

MAX_FILE_BYTES = 1_048_576

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def find_file(explicit: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file to read: the one asked for, else `$SEAWALL_CONFIG`, else `./seawall.toml` when there is one."""
    asked, by = (
        (explicit, "-c") if explicit is not None else (environ.get(FILE_VARIABLE), f"environment {FILE_VARIABLE}")
    )
    if asked:
        path = Path(asked)
        if not path.exists():
            raise ConfigurationError(
                f"there is no configuration file {str(path)!r}, which {by} names",
                hint=f"correct {by}, or leave it out to use ./{DEFAULT_FILE} or defaults",
            )
        return path
    path = Path(DEFAULT_FILE)
    return path if path.is_file() else None


def read_file(path: Path) -> Layer:
    """Return the file's values and lines; `ConfigurationError` says what keeps it from being read."""
    text = _read_text(path)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = _PLACE.search(message)
        line = place[1] if place and place[1] else str(text.count("\n") + 1)
        column = f":{place[2]}" if place and place[2] else ""
        what = _PLACE.sub("", message)
        raise ConfigurationError(
            f"{path}:{line}{column}: not valid TOML: {what[:1].lower()}{what[1:]}",
            hint='strings are quoted, tables are [in.brackets], one "key = value" stands on each line',
        ) from None
    except (RecursionError, ValueError):
        # tomllib recurses over nested values, and int() refuses numbers of thousands of digits.
        raise ConfigurationError(f"{path}: not a configuration: a value is nested too deeply or too long") from None
    if depth(values) > MAX_DEPTH:
        raise ConfigurationError(f"{path}: not a configuration: values are nested more than {MAX_DEPTH} deep")
    lines = find_lines(text)
    name = str(path)

    def origin(place: KeyPath) -> str:
        while place and place not in lines:
            place = place[:-1]
        return f"{name}:{lines[place]}" if place else name

    return Layer(values, origin)


def unusable_values(values: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Yield the paths of TOML's dates and times, which no setting takes, with what they are called."""
    pending: list[tuple[KeyPath, object]] = [((), values)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, dict):
            pending.extend(((*path, key), below) for key, below in value.items())
        elif isinstance(value, list):
            pending.extend(((*path, index), below) for index, below in enumerate(value))
        elif isinstance(value, (dt.date, dt.time)):
            yield path, "a date" if isinstance(value, dt.date) else "a time"


def _read_text(path: Path) -> str:
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            raise ConfigurationError(
                f"{path} is a folder, not a configuration file", hint=f"name the {DEFAULT_FILE} in it"
            )
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"the configuration file {path} cannot be read: {error.strerror}",
            hint="make it readable for the user that runs seawall",
        ) from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigurationError(
            f"{path}: larger than {MAX_FILE_BYTES} bytes, which no configuration is",
            hint="register large numbers of instances through the admin API or DNS",
        )
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}:{line}: not UTF-8, which TOML is", hint="save the file as UTF-8") from None
