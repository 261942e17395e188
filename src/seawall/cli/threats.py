"""`seawall threats`: see what attacks, and change whom a running gateway refuses, over its admin API."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from seawall.cli.admin_client import AdminClient
from seawall.core.errors import InvalidError

__all__ = ["register"]

_PATH = "/api/system/threat-detection"
_MAX_REQUEST = 64 * 1_048_576

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="Configuration file; otherwise $SEAWALL_CONFIG, then ./seawall.toml."
    ),
]
Admin = Annotated[
    str | None, typer.Option("--admin", metavar="ADDRESS", help="The admin API, in place of the configured one.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Subject = Annotated[
    str,
    typer.Argument(metavar="SUBJECT", help="An address, a network, or account:NAME."),
]


def register(app: typer.Typer) -> None:
    """Add the verb `threats` to the command line."""
    threats = typer.Typer(
        name="threats",
        help="See what attacks a running gateway, and whom it refuses.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    threats.command("top", help="Show what was seen, where it came from, and who is refused.")(_top)
    threats.command("events", help="Search events; the newest come last.")(_events)
    threats.command("ban", help="Refuse a client, a network or an account, on every gateway.")(_ban)
    threats.command("unban", help="Lift a ban, whoever set it, and forget what led to it.")(_unban)
    threats.command("explain", help="Show an event with its evidence, or judge a request step by step.")(_explain)
    app.add_typer(threats)


def _top(
    number: Annotated[int, typer.Option("--number", "-n", help="Of each kind to show.", min=1, max=1000)] = 10,
    *,
    as_json: AsJson = False,
    config: Config = None,
    admin: Admin = None,
) -> None:
    status = AdminClient.configured(config, admin).get(f"{_PATH}?top={number}")
    if as_json:
        _print_json(status)
        return
    from seawall.cli.threats_view import show_top  # noqa: PLC0415 - keeps `seawall --help` fast

    show_top(status, number)


def _events(  # noqa: PLR0913 - what one may look for
    *,
    last: Annotated[
        float | None, typer.Option("--last", metavar="SECONDS", help="Only events of the last so many seconds.", min=0)
    ] = None,
    category: Annotated[str | None, typer.Option("--class", help="Such as sql-injection or brute-force.")] = None,
    level: Annotated[str | None, typer.Option("--level", help="The least: low, medium, high or critical.")] = None,
    client: Annotated[str | None, typer.Option("--client", metavar="ADDRESS", help="From this address.")] = None,
    account: Annotated[str | None, typer.Option("--account", metavar="NAME", help="On this account.")] = None,
    route: Annotated[str | None, typer.Option("--route", metavar="NAME", help="Of this route.")] = None,
    request: Annotated[str | None, typer.Option("--request", metavar="ID", help="Of this X-Request-Id.")] = None,
    number: Annotated[int, typer.Option("--number", "-n", help="Events at most.", min=1, max=500)] = 20,
    as_json: AsJson = False,
    config: Config = None,
    admin: Admin = None,
) -> None:
    wanted = {
        "since": None if last is None else max(time.time() - last, 0.0),
        "category": category,
        "level": level,
        "client": client,
        "account": account,
        "route": route,
        "request_id": request,
        "limit": number,
    }
    query = urlencode({name: value for name, value in wanted.items() if value is not None})
    page = AdminClient.configured(config, admin).get(f"{_PATH}/events?{query}")
    if as_json:
        _print_json(page)
        return
    from seawall.cli.threats_view import show_events  # noqa: PLC0415 - keeps `seawall --help` fast

    show_events(page)


def _ban(
    subject: Subject,
    seconds: Annotated[
        float | None,
        typer.Option("--for", metavar="SECONDS", help="Until it ends by itself; for good when not given.", min=0.001),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Shown to operators, never to the client.")] = "",
    *,
    as_json: AsJson = False,
    config: Config = None,
    admin: Admin = None,
) -> None:
    ttl = None if seconds is None else max(round(seconds * 1000), 1)
    body = {"action": "block", "subject": subject, "ttl_ms": ttl, "reason": reason}
    _change(AdminClient.configured(config, admin), body, "banned", as_json=as_json)


def _unban(subject: Subject, *, as_json: AsJson = False, config: Config = None, admin: Admin = None) -> None:
    body = {"action": "unblock", "subject": subject}
    _change(AdminClient.configured(config, admin), body, "no longer banned", as_json=as_json)


def _explain(
    what: Annotated[
        str,
        typer.Argument(
            metavar="ID|-",
            help="Id of an event, as a refused client is told; or - for a request as JSON on standard input.",
        ),
    ],
    *,
    as_json: AsJson = False,
    config: Config = None,
    admin: Admin = None,
) -> None:
    from seawall.cli import threats_view  # noqa: PLC0415 - keeps `seawall --help` fast

    if what == "-":
        steps = _steps(config)
        _print_json(steps) if as_json else threats_view.show_steps(steps)
        return
    event = AdminClient.configured(config, admin).get(f"{_PATH}/events/{quote(what, safe='')}")
    _print_json(event) if as_json else threats_view.show_event(event)


def _steps(config: Path | None) -> dict[str, Any]:
    """Judge the request on standard input by the configuration.

    Raises:
        InvalidError: there is none.
    """
    from seawall.adapters.pattern_cache import PatternCache  # noqa: PLC0415 - keeps `seawall --help` fast
    from seawall.cli.inspect import request_of  # noqa: PLC0415 - the same
    from seawall.cli.threats_steps import steps_of  # noqa: PLC0415 - the same
    from seawall.config.loader import load  # noqa: PLC0415 - the same
    from seawall.control.tree import Settings  # noqa: PLC0415 - the same
    from seawall.systems.threats.plan import policy_of  # noqa: PLC0415 - the same

    line = sys.stdin.buffer.read(_MAX_REQUEST + 1)
    if not line.strip() or len(line) > _MAX_REQUEST:
        raise InvalidError(
            f"standard input holds no request of 1 to {_MAX_REQUEST} bytes",
            hint='give one as JSON, such as {"method": "GET", "url": "/?q=1"}',
        )
    request, body = request_of(line)
    settings = load(Settings, file=config, environ=os.environ, overrides={}).settings
    return steps_of(policy_of(settings.threats), PatternCache.open(), request, body)


def _change(client: AdminClient, body: dict[str, Any], done: str, *, as_json: bool) -> None:
    result = client.post(_PATH, body)
    if as_json:
        _print_json(result)
        return
    sys.stdout.write(f"{result['target']}: {done if result['changed'] else 'nothing to change'}\n")


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
