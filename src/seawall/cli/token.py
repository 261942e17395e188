"""`seawall token`: make, list and revoke tokens of the admin API, with or without a running gateway."""

import sys
from typing import Annotated, Any

import typer

from seawall.admin.tokens import TokenRecord, create_token, list_tokens, revoke_token
from seawall.cli.credentials import AsJson, ExpiresDays, creator, expiry, show_rows, times
from seawall.cli.stores import Config, State, configured, with_store
from seawall.core.access import Role
from seawall.core.clock import SystemClock
from seawall.core.errors import NotFoundError
from seawall.state.store import StateStore

__all__ = ["register"]

_INSTEAD = "POST /api/system/tokens"
_COLUMNS = {
    "ID": "id",
    "NAME": "name",
    "ROLE": "role",
    "CREATED": "created_at",
    "BY": "created_by",
    "EXPIRES": "expires_at",
}


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
    expires_days: ExpiresDays = None,
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
            created_by=creator(),
            expires_at=expiry(now, expires_days),
        ),
        _INSTEAD,
    )
    # The token alone goes to standard output, so that $(seawall token create ...) is the token.
    sys.stderr.write(f"made token {record.id} for {record.name!r} with the role {record.role.value}; keep it now:\n")
    sys.stdout.write(f"{token}\n")


def _list(*, as_json: AsJson = False, config: Config = None, state: State = None) -> None:
    show_rows(
        [_row(record) for record in with_store(configured(config, state), list_tokens, _INSTEAD)],
        _COLUMNS,
        as_json=as_json,
        empty="never",
        none="there are no tokens; make one with: seawall token create --name NAME --role ROLE",
    )


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
    return {"id": record.id, "name": record.name, "role": record.role.value, **times(record)}
