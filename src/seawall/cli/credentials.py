"""What `seawall keys` and `seawall token` share: when a credential ends, who made it, and the list of them."""

import getpass
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol

import typer

from seawall.core.clock import SystemClock

__all__ = ["AsJson", "ExpiresDays", "creator", "expiry", "moment", "show_rows", "times"]

ExpiresDays = Annotated[
    float | None, typer.Option("--expires-days", help="Days until it expires; never when not given.", min=0.0001)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]


class _Record(Protocol):
    @property
    def created_at(self) -> float: ...

    @property
    def created_by(self) -> str: ...

    @property
    def expires_at(self) -> float | None: ...

    def expired(self, now: float) -> bool: ...


def creator() -> str:
    """Return who makes a credential here, for its record."""
    return f"{getpass.getuser()} on the command line"


def expiry(now: float, days: float | None) -> float | None:
    """Return when a credential made now expires, in seconds since the Unix epoch; None for never."""
    return None if days is None else now + days * 86_400.0


def times(record: _Record) -> dict[str, Any]:
    """Return what a row tells of a credential's life."""
    return {
        "created_at": moment(record.created_at),
        "created_by": record.created_by,
        "expires_at": None if record.expires_at is None else moment(record.expires_at),
        "expired": record.expired(SystemClock().wall()),
    }


def moment(seconds: float) -> str:
    """Return a time of the Unix epoch as people and programs read it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def show_rows(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, as_json: bool, empty: str, none: str
) -> None:
    """Print credentials as a table, or as JSON lines.

    Args:
        rows: with `times` among their members.
        columns: title of each column to the member that it shows.
        as_json: whether to print every member as JSON.
        empty: what stands for a member without a value.
        none: what to say where there are none, to standard error.
    """
    if as_json:
        sys.stdout.writelines(f"{json.dumps(row)}\n" for row in rows)
        return
    if not rows:
        sys.stderr.write(f"{none}\n")
        return
    table = [list(columns), *([row[member] or empty for member in columns.values()] for row in rows)]
    ends = ["", *("(expired)" if row["expired"] else "" for row in rows)]
    widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
    for line, end in zip(table, ends, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        sys.stdout.write("  ".join([*cells, end]).rstrip() + "\n")
