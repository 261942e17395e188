"""`seawall config`: check the configuration, show where each value comes from, print its JSON Schema."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from seawall.config.loader import Loaded
    from seawall.control.tree import Settings

__all__ = ["register"]

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="Configuration file; otherwise $SEAWALL_CONFIG, then ./seawall.toml."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the verb `config` to the command line."""
    config = typer.Typer(
        name="config", help="Check and show the configuration.", no_args_is_help=True, rich_markup_mode=None
    )
    config.command("check", help="Say OK, or everything that is wrong.")(_check)
    config.command("show", help="Print each effective value with its origin; secrets are hidden.")(_show)
    config.command("schema", help="Print the JSON Schema of seawall.toml, for editors.")(_schema)
    app.add_typer(config)


def _check(config: Config = None) -> None:
    loaded = _load(config)
    _check_key_file(loaded)
    balancing = loaded.settings.balancing
    instances = sum(len(pool.instances) + len(pool.dns) for pool in balancing.pools.values())
    sys.stdout.write(f"OK: {loaded.file or 'no file, defaults and environment'}\n")
    sys.stdout.write(f"  gateway on {loaded.settings.gateway.listen}, ")
    admin = loaded.settings.admin
    sys.stdout.write(f"admin API on {admin.listen}\n" if admin.enabled else "admin API off\n")
    sys.stdout.write(
        f"  {_count(len(balancing.pools), 'pool')}, {_count(instances, 'instance')}, "
        f"{_count(len(balancing.routes), 'route')}, strategy {balancing.strategy}\n"
    )


def _check_key_file(loaded: "Loaded[Settings]") -> None:
    """Read the file of keys that tokens are checked with, as the gateway does when it starts.

    Raises:
        ConfigurationError: it cannot be used.
    """
    jwt = loaded.settings.identity.jwt
    name = "jwks_file" if jwt.jwks_file else "secret_file"
    if not jwt.enabled or not getattr(jwt, name):
        return
    from seawall.adapters.jwt import open_token_keys  # noqa: PLC0415 - keeps `seawall --help` fast
    from seawall.core.errors import ConfigurationError  # noqa: PLC0415 - the same
    from seawall.systems.identity.issuer import read_key_file  # noqa: PLC0415 - the same

    path = f"identity.jwt.{name}"
    place = f"{loaded.origins[path]}: {path}"
    try:
        read = read_key_file(jwt, open_token_keys)
    except ConfigurationError as error:
        if jwt.secret_file and isinstance(error.__cause__, OSError):
            # Secrets are often put where the gateway runs, and for its user alone.
            sys.stderr.write(f"warning: {place}: {error.message}\n")
            return
        raise ConfigurationError(
            "the configuration is refused: 1 problem", hint=error.hint, problems=(f"{place}: {error.message}",)
        ) from error
    for reason in read.left_out:
        sys.stderr.write(f"warning: {place}: not used: {reason}\n")


def _show(config: Config = None, *, as_json: AsJson = False) -> None:
    from seawall.config.listing import rows, toml_value  # noqa: PLC0415 - keeps `seawall --help` fast

    loaded = _load(config, warn=not as_json)
    shown = list(rows(loaded))
    if as_json:
        document = {
            "file": str(loaded.file) if loaded.file else None,
            "warnings": list(loaded.warnings),
            "settings": {row.path: {"value": row.value, "origin": row.origin} for row in shown},
        }
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        return
    for row in shown:
        value = toml_value(row.value)
        line = f"{row.path} = {value}" if value else f"{row.path} is not set"
        sys.stdout.write(f"{line}  # {row.origin}\n")


def _schema() -> None:
    from seawall.config.schema import json_schema  # noqa: PLC0415 - keeps `seawall --help` fast
    from seawall.control.tree import Settings  # noqa: PLC0415 - the same

    sys.stdout.write(json.dumps(json_schema(Settings), indent=2) + "\n")


def _load(config: Path | None, *, warn: bool = True) -> "Loaded[Settings]":
    from seawall.config.loader import load  # noqa: PLC0415 - keeps `seawall --help` fast
    from seawall.control.tree import Settings  # noqa: PLC0415 - the same

    loaded = load(Settings, file=config, environ=os.environ, overrides={})
    if warn:
        for warning in loaded.warnings:
            sys.stderr.write(f"warning: {warning}\n")
    return loaded


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
