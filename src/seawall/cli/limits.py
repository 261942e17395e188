"""`seawall limits`: see and change the rate limits of a running gateway, over its admin API."""

import json
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from seawall.cli.admin_client import AdminClient
from seawall.core.errors import InvalidError

__all__ = ["register"]

_PATH = "/api/system/rate-limit"
_IDENTITY = "/api/system/identity?limit=10000"

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="Configuration file; otherwise $SEAWALL_CONFIG, then ./seawall.toml."
    ),
]
Admin = Annotated[
    str | None, typer.Option("--admin", metavar="ADDRESS", help="The admin API, in place of the configured one.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print what the admin API answers, as JSON.")]
Version = Annotated[
    int | None,
    typer.Option("--version", help="Refuse when the limits are not at this version, as `list` shows it.", min=0),
]
Seconds = Annotated[
    float | None,
    typer.Option("--for", metavar="SECONDS", help="Until it ends by itself; for good when not given.", min=0.001),
]
Subject = Annotated[
    str, typer.Argument(metavar="SUBJECT", help="Such as user:alice, client:192.0.2.7 or client:192.0.2.0/24.")
]


def register(app: typer.Typer) -> None:
    """Add the verb `limits` to the command line."""
    limits = typer.Typer(
        name="limits",
        help="See and change the rate limits of a running gateway.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    limits.command("list", help="Show the rules in force, the factors, and what operators have set.")(_list)
    limits.command("set", help="Add a rule, or put it in place of the one of the same id.")(_set)
    limits.command("remove", help="Take out a rule that was set at run time.")(_remove)
    limits.command("top", help="Show the keys that were refused most, and those on the ladder of violations.")(_top)
    limits.command("reset", help="Forget a key's counts and violations.")(_reset)
    limits.command("block", help="Refuse everything of a subject.")(_block)
    limits.command("unblock", help="Lift a block of a subject or of a key.")(_unblock)
    limits.command("override", help="Give a subject a limit of its own; without --limit take it away.")(_override)
    app.add_typer(limits)


def _list(*, as_json: AsJson = False, config: Config = None, admin: Admin = None) -> None:
    status = AdminClient.configured(config, admin).get(_PATH)
    if as_json:
        _print_json(status)
        return
    from seawall.cli.limits_view import show_limits  # noqa: PLC0415 - rich costs 0.4 s of imports

    show_limits(status)


def _top(
    number: Annotated[int, typer.Option("--number", "-n", help="Keys to show.", min=1, max=256)] = 10,
    *,
    as_json: AsJson = False,
    config: Config = None,
    admin: Admin = None,
) -> None:
    client = AdminClient.configured(config, admin)
    status = client.get(f"{_PATH}?top={number}")
    if as_json:
        _print_json({"top": status["top"], "offenders": status["offenders"][:number]})
        return
    from seawall.cli.limits_view import show_top  # noqa: PLC0415 - rich costs 0.4 s of imports

    show_top(status, number, _api_keys(client, [one["key"] for one in (*status["top"], *status["offenders"])]))


def _api_keys(client: AdminClient, keys: list[str]) -> dict[str, str]:
    """Return which API key stands behind each of these keys that counts one; they tell its digest alone."""
    digests = {key: part for key in keys for part in key.split("|") if part.startswith("api-key:#")}
    if not digests:
        return {}
    from seawall.systems.ratelimit.keys import parse_subject  # noqa: PLC0415 - keeps `seawall --help` fast

    known = client.get(_IDENTITY)["api_keys"]["keys"]
    names = {parse_subject(f"api-key:{one['id']}"): f"{one['name']} ({one['id']})" for one in known}
    return {key: names[digest] for key, digest in digests.items() if digest in names}


def _set(  # noqa: PLR0913 - a rule is this many facts
    rule: Annotated[str, typer.Argument(metavar="ID", help="Id of the rule.")],
    *,
    limit: Annotated[float | None, typer.Option("--limit", help="Requests per window, or in flight.")] = None,
    window: Annotated[float, typer.Option("--window", metavar="SECONDS", help="Length of the window.")] = 60.0,
    burst: Annotated[float | None, typer.Option("--burst", help="Requests at once of an idle key.")] = None,
    algorithm: Annotated[
        str, typer.Option("--algorithm", help="gcra, sliding-window, fixed-window or concurrency.")
    ] = "gcra",
    key: Annotated[list[str] | None, typer.Option("--key", help="What to count by; may be repeated.")] = None,
    path: Annotated[list[str] | None, typer.Option("--path", help="Path prefix; may be repeated.")] = None,
    method: Annotated[list[str] | None, typer.Option("--method", help="Method; may be repeated.")] = None,
    route: Annotated[list[str] | None, typer.Option("--route", help="Name of a route; may be repeated.")] = None,
    role: Annotated[list[str] | None, typer.Option("--role", help="Role of the caller; may be repeated.")] = None,
    mode: Annotated[str, typer.Option("--mode", help="enforce, shadow or off.")] = "enforce",
    before: Annotated[
        str | None, typer.Option("--before", metavar="ID", help="The rule that a new one stands before.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", metavar="FILE", help="The whole rule as JSON or TOML, in place of the options above; - for stdin."
        ),
    ] = None,
    exempt: Annotated[bool, typer.Option("--exempt", help="Without a limit: let pass whatever matches.")] = False,
    version: Version = None,
    as_json: AsJson = False,
    config: Config = None,
    admin: Admin = None,
) -> None:
    if file is not None:
        table = {**_read(file), "id": rule}
    else:
        if (limit is None) != exempt:
            raise InvalidError(
                f"rule {rule!r} needs either a limit or --exempt", hint="for example --limit 100 --window 60"
            )
        match = {"paths": path, "methods": method, "routes": route, "roles": role}
        table = {"id": rule, "mode": mode, "match": {name: given for name, given in match.items() if given}}
        if key:
            table["key"] = key
        if limit is not None:
            one: dict[str, Any] = {"limit": limit, "window_ms": window * 1000, "algorithm": algorithm}
            if burst is not None:
                one["burst"] = burst
            table["windows"] = [one]
    body: dict[str, Any] = {"action": "set-rule", "rule": table, "before": before}
    _change(AdminClient.configured(config, admin), body, version, as_json=as_json)


def _remove(
    rule: Annotated[str, typer.Argument(metavar="ID", help="Id of the rule.")],
    *,
    version: Version = None,
    as_json: AsJson = False,
    config: Config = None,
    admin: Admin = None,
) -> None:
    client = AdminClient.configured(config, admin)
    _change(client, {"action": "remove-rule", "id": rule}, version, as_json=as_json)


def _reset(
    key: Annotated[str, typer.Argument(metavar="KEY", help="As `top` shows it.")],
    *,
    as_json: AsJson = False,
    config: Config = None,
    admin: Admin = None,
) -> None:
    _change(AdminClient.configured(config, admin), {"action": "reset", "key": key}, None, as_json=as_json)


def _block(
    subject: Subject,
    seconds: Seconds = None,
    reason: Annotated[str, typer.Option("--reason", help="Shown to operators, never to the client.")] = "",
    *,
    version: Version = None,
    as_json: AsJson = False,
    config: Config = None,
    admin: Admin = None,
) -> None:
    body = {"action": "block", "subject": subject, "ttl_ms": _ms(seconds), "reason": reason}
    _change(AdminClient.configured(config, admin), body, version, as_json=as_json)


def _unblock(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="A subject, or a key as `top` shows it.")],
    *,
    version: Version = None,
    as_json: AsJson = False,
    config: Config = None,
    admin: Admin = None,
) -> None:
    client = AdminClient.configured(config, admin)
    _change(client, {"action": "unblock", "subject": subject}, version, as_json=as_json)


def _override(
    subject: Subject,
    limit: Annotated[float | None, typer.Option("--limit", help="Requests per first window of a rule.")] = None,
    seconds: Seconds = None,
    rule: Annotated[str | None, typer.Option("--rule", metavar="ID", help="Only for this rule.")] = None,
    *,
    version: Version = None,
    as_json: AsJson = False,
    config: Config = None,
    admin: Admin = None,
) -> None:
    body = {"action": "override", "subject": subject, "limit": limit, "ttl_ms": _ms(seconds), "rule": rule}
    _change(AdminClient.configured(config, admin), body, version, as_json=as_json)


def _change(client: AdminClient, body: dict[str, Any], version: int | None, *, as_json: bool) -> None:
    result = client.post(_PATH, {**body, "version": version})
    if as_json:
        _print_json(result)
        return
    done = "done" if result["changed"] else "nothing to change"
    sys.stdout.write(f"{result['action']} {result['target']}: {done}, now at version {result['book_version']}\n")


def _read(file: Path) -> dict[str, Any]:
    """Return one rule from a file.

    Raises:
        InvalidError: it cannot be read, or holds no table.
    """
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        table = tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError) as error:
        raise InvalidError(
            f"{file} cannot be read: {error}", hint="give one rule as JSON, or as TOML in a .toml file"
        ) from error
    if not isinstance(table, dict):
        raise InvalidError(f"{file} holds no table", hint="give one rule, an element of ratelimit.rules")
    return table


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else max(round(seconds * 1000), 1)


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
