"""`seawall keys`: make, list and revoke API keys of the service's clients, with or without a running gateway."""

import sys
from typing import Annotated, Any

import typer

from seawall.cli.credentials import AsJson, ExpiresDays, creator, expiry, moment, show_rows, times
from seawall.cli.stores import Config, State, configured, with_store
from seawall.core.clock import SystemClock
from seawall.core.errors import NotFoundError
from seawall.state.store import StateStore
from seawall.systems.identity.records import KeyRecord, create_key, list_keys, revoke_key
from seawall.systems.identity.usage import KeyUsage, read_usage

__all__ = ["register"]

_INSTEAD = "POST /api/system/identity"
_COLUMNS = {
    "ID": "id",
    "NAME": "name",
    "USER": "user",
    "TENANT": "tenant",
    "ROLE": "role",
    "CREATED": "created_at",
    "EXPIRES": "expires_at",
    "LAST USED": "last_used_at",
}


def register(app: typer.Typer) -> None:
    """Add the verb `keys` to the command line."""
    keys = typer.Typer(
        name="keys",
        help="Make, list and revoke API keys of the service's clients.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    keys.command("create", help="Make a key and print it, this once, to standard output.")(_create)
    keys.command("list", help="List the keys, without their secrets.")(_list)
    keys.command("revoke", help="Revoke a key; every running gateway refuses it within 1 s.")(_revoke)
    app.add_typer(keys)


def _create(
    name: Annotated[str, typer.Option("--name", help="What it is for; shown in lists.")],
    user: Annotated[str, typer.Option("--user", help="User as whom its bearer counts.")] = "",
    tenant: Annotated[str, typer.Option("--tenant", help="Tenant to which its bearer belongs.")] = "",
    role: Annotated[str, typer.Option("--role", help="Role of its bearer, for limits and flags.")] = "",
    expires_days: ExpiresDays = None,
    config: Config = None,
    state: State = None,
) -> None:
    now = SystemClock().wall()
    settings = configured(config, state)
    record, key = with_store(
        settings,
        lambda store: create_key(
            store,
            name=name,
            now=now,
            created_by=creator(),
            user=user,
            tenant=tenant,
            role=role,
            expires_at=expiry(now, expires_days),
        ),
        _INSTEAD,
    )
    # The key alone goes to standard output, so that $(seawall keys create ...) is the key.
    sys.stderr.write(f"made API key {record.id} for {record.name!r}; keep it now:\n")
    sys.stdout.write(f"{key}\n")
    if not settings.identity.api_keys.enabled:
        sys.stderr.write("note: identity.api_keys.enabled is false here, so no gateway looks for API keys yet\n")


def _list(*, as_json: AsJson = False, config: Config = None, state: State = None) -> None:
    async def read(store: StateStore) -> tuple[list[KeyRecord], dict[str, float]]:
        return await list_keys(store), await read_usage(store)

    records, used = with_store(configured(config, state), read, _INSTEAD)
    show_rows(
        [_row(record, used.get(record.id)) for record in records],
        _COLUMNS,
        as_json=as_json,
        empty="-",
        none="there are no API keys; make one with: seawall keys create --name NAME",
    )


def _revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `seawall keys list` shows it.", metavar="ID")],
    config: Config = None,
    state: State = None,
) -> None:
    async def revoke(store: StateStore) -> KeyRecord:
        record = await revoke_key(store, key_id)
        if record is None:
            raise NotFoundError(f"there is no API key {key_id!r}", hint="'seawall keys list' shows them")
        await KeyUsage(store).forget(key_id)
        return record

    record = with_store(configured(config, state), revoke, _INSTEAD)
    sys.stderr.write(f"revoked API key {record.id} of {record.name!r}\n")


def _row(record: KeyRecord, used: float | None) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "user": record.user,
        "tenant": record.tenant,
        "role": record.role,
        **times(record),
        "last_used_at": None if used is None else moment(used),
    }
