"""Limits as tables for people."""

import sys
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["show_limits", "show_top"]

_WIDE = 240
"""Columns where nobody watches: lines must stay whole for whatever reads them."""
_MAX_ROWS = 50


def show_limits(status: dict[str, Any]) -> None:
    """Print the rules in force with their counts, the factors, and what operators have set."""
    console = _console()
    table = _table("RULE", "SOURCE", "MODE", "KEY", "LIMIT", "COUNTS", "ALLOWED", "REFUSED", "SHADOW")
    for rule in status["rules"]:
        totals = rule["totals"]
        _row(
            table,
            rule["id"],
            rule["source"],
            rule["mode"],
            " ".join(rule["key"]),
            ", ".join(_window(window) for window in rule["windows"]) or "exempt",
            rule["counts"],
            str(totals["allowed"]),
            str(totals["quota_exceeded"] + totals["concurrency"]),
            str(totals["shadow"]),
        )
    if status["rules"]:
        console.print(table)
    else:
        _line(console, "there are no rules")
    factors = status["factors"]
    load = ", ".join(f"{pool or 'worst'} {factor:.2f}" for pool, factor in sorted(factors["load"].items()))
    admission = " ".join(f"{share:.2f}" for share in factors["admission"])
    many = status["processes"]
    sharing = f"{many} processes share each limit" if many != 1 else "one process counts each limit"
    _line(console, f"version {status['book_version']}; {sharing}")
    _line(console, f"load {load}; threat {factors['threat']:.2f}; admission by priority {admission}")
    refused = ", ".join(f"{count} {reason}" for reason, count in status["refused"].items())
    _line(console, f"refused: {refused}")
    for block in status["blocks"][:_MAX_ROWS]:
        reason = f": {block['reason']}" if block["reason"] else ""
        _line(console, f"blocked {block['subject']} {_until(block['until'])}{reason}")
    for one in status["overrides"][:_MAX_ROWS]:
        rule = f" under {one['rule']}" if one["rule"] else ""
        _line(console, f"override {one['subject']}: {one['limit']:g}{rule} {_until(one['until'])}")
    for what in ("block", "override"):
        hidden = status[f"{what}_count"] - min(len(status[f"{what}s"]), _MAX_ROWS)
        if hidden > 0:
            _line(console, f"and {hidden} more {what}s")
    for place, finding in status["findings"].items():
        _line(console, f"finding: {place}: {finding}")


def show_top(status: dict[str, Any], number: int, api_keys: dict[str, str]) -> None:
    """Print the keys that were refused most of late, and those on the ladder of violations.

    Args:
        status: as the admin API tells it.
        number: offenders to show.
        api_keys: which API key stands behind a key, where that is known.
    """
    console = _console()
    named = ("API KEY",) if api_keys else ()
    table = _table("KEY", "REFUSED", "AT LEAST", *named)
    for hit in status["top"]:
        key = hit["key"]
        _row(
            table, key, str(hit["refused"]), str(hit["refused"] - hit["error"]), *(api_keys.get(key, "") for _ in named)
        )
    if status["top"]:
        console.print(table)
    else:
        _line(console, "nobody was refused in the last minutes")
    if status["offenders"]:
        table = _table("OFFENDER", "STEP", "SCORE", "BLOCKS", "ENDS IN", *named)
        for one in status["offenders"][:number]:
            key, ends = one["key"], f"{one['ends_in_ms'] / 1000:.0f} s"
            name = (api_keys.get(key, "") for _ in named)
            _row(table, key, one["step"], f"{one['score']:.0f}", str(one["blocks"]), ends, *name)
        _line(console, "")
        console.print(table)


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in {"ALLOWED", "REFUSED", "SHADOW", "AT LEAST"} else "left")
    return table


def _row(table: Table, *cells: str) -> None:
    table.add_row(*(Text(cell) for cell in cells))


def _line(console: Console, text: str) -> None:
    # Keys hold what clients sent; nothing of it is markup.
    console.print(text, markup=False, soft_wrap=True)


def _window(window: dict[str, Any]) -> str:
    if window["algorithm"] == "concurrency":
        return f"{window['limit']:g} in flight"
    burst = f", burst {window['burst']:g}" if window["burst"] else ""
    return f"{window['limit']:g} in {window['window_ms'] / 1000:g} s{burst}"


def _until(until: str | None) -> str:
    return f"until {until}" if until else "for good"
