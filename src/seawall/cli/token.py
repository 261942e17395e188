"""`seawall token`: make, list and revoke tokens of the admin API, with or without a running gateway."""

import getpass
import json
import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from seawall.admin.tokens import TokenRecord, create_token, list_tokens, revoke_token
from seawall.cli.stores import Config, State, configured, with_store
from seawall.core.access import Role
from seawall.core.clock import SystemClock
from seawall.core.errors import NotFoundError
from seawall.state.store import StateStore

__all__ = ["register"]

_INSTEAD = "POST /api/system/tokens"


def register(app: typer.Typer) -> None:
    """Add the verb `token` to the command line."""
    tokens = typer.Typer(
        name="token",
        help="Make, list and revoke tokens of the admin API.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    tokens.command("create", help="Make a token and print it, this once, to standard output.")(_create)
    tokens.command("list", help="List the tokens, without their secrets.")(_list)
    tokens.command("revoke", help="Revoke a token; every running gateway refuses it within 5 s.")(_revoke)
    app.add_typer(tokens)


def _create(
    name: Annotated[str, typer.Option("--name", help="What it is for; shown in the audit trail.")],
    role: Annotated[Role, typer.Option("--role", help="What it may do.")] = Role.VIEWER,
    expires_days: Annotated[
        float | None, typer.Option("--expires-days", help="Days until it expires; never when not given.", min=0.0001)
    ] = None,
    config: Config = None,
    state: State = None,
) -> None:
    now = SystemClock().wall()
    record, token = with_store(
        configured(config, state),
        lambda store: create_token(
            store,
            name=name,
            role=role,
            now=now,
            created_by=f"{getpass.getuser()} on the command line",
            expires_at=None if expires_days is None else now + expires_days * 86_400.0,
        ),
        _INSTEAD,
    )
    # The token alone goes to standard output, so that $(seawall token create ...) is the token.
    sys.stderr.write(f"made token {record.id} for {record.name!r} with the role {record.role.value}; keep it now:\n")
    sys.stdout.write(f"{token}\n")


def _list(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,  # noqa: FBT002 - a flag
    config: Config = None,
    state: State = None,
) -> None:
    rows = [_row(record) for record in with_store(configured(config, state), list_tokens, _INSTEAD)]
    if as_json:
        sys.stdout.writelines(f"{json.dumps(row)}\n" for row in rows)
        return
    if not rows:
        sys.stderr.write("there are no tokens; make one with: seawall token create --name NAME --role ROLE\n")
        return
    table = [["ID", "NAME", "ROLE", "CREATED", "BY", "EXPIRES"]]
    table += [
        [row["id"], row["name"], row["role"], row["created_at"], row["created_by"], row["expires_at"] or "never"]
        + (["(expired)"] if row["expired"] else [])
        for row in rows
    ]
    widths = [max(len(line[column]) for line in table) for column in range(6)]
    for line in table:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=False)]
        sys.stdout.write("  ".join(cells + line[6:]).rstrip() + "\n")


def _revoke(
    token_id: Annotated[str, typer.Argument(help="The token's id, as `seawall token list` shows it.", metavar="ID")],
    config: Config = None,
    state: State = None,
) -> None:
    async def revoke(store: StateStore) -> TokenRecord:
        record = await revoke_token(store, token_id)
        if record is None:
            raise NotFoundError(f"there is no token {token_id!r}", hint="'seawall token list' shows them")
        return record

    record = with_store(configured(config, state), revoke, _INSTEAD)
    sys.stderr.write(f"revoked token {record.id} of {record.name!r}\n")


def _row(record: TokenRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "role": record.role.value,
        "created_at": _time(record.created_at),
        "created_by": record.created_by,
        "expires_at": None if record.expires_at is None else _time(record.expires_at),
        "expired": record.expired(SystemClock().wall()),
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
