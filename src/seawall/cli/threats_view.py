"""Threats as text for people; whatever a client sent is printed without what a terminal would obey."""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

__all__ = ["show_event", "show_events", "show_steps", "show_top"]

_MAX_BANS = 50


def show_top(status: Mapping[str, Any], number: int) -> None:
    """Print counts, sources and bans."""
    _line(f"mode {status['mode']}, paranoia {status['paranoia']}; {status['inspected']} requests looked into")
    for title, name in (
        ("done", "actions"),
        ("would have been done", "shadowed"),
        ("refused", "refusals"),
        ("events by class", "events"),
        ("events by level", "levels"),
        ("judged by operators", "feedback"),
    ):
        if status[name]:
            _line(f"{title}: {_counts(status[name])}")
    for title, name in (("CLIENT", "sources"), ("ROUTE", "routes"), ("COUNTRY", "countries")):
        if status[name]:
            _line("")
            _table((title, "EVENTS"), [(key, str(count)) for key, count in list(status[name].items())[:number]])
    _show_bans(status)
    _show_traffic(status)
    if status["lost_events"]:
        _line(f"{status['lost_events']} events were lost, as there was no room for them")
    for place, finding in status["findings"].items():
        _line(f"finding: {place}: {finding}")


def _show_traffic(status: Mapping[str, Any]) -> None:
    if status["clients"]:
        _line(f"clients of late: about {status['clients']}")
    for flood in status["floods"]:
        usual = "which is not known to be usual" if flood["usual"] is None else f"usually {flood['usual']:.0f}"
        _line(f"flood on {flood['route']}: {flood['rate']:.0f} requests/s from {flood['clients']} clients, {usual}")
    for one in status["baselines"]:
        if one["odd"]:
            _line(f"odd on {one['route']}: {', '.join(one['odd'])}")


def _show_bans(status: Mapping[str, Any]) -> None:
    if status["bans"]:
        _line("")
        _table(
            ("BANNED", "BY", "UNTIL", "REASON"),
            [
                (
                    one["subject"],
                    one["by"],
                    one["until"] or "for good",
                    ("challenged: " if one["challenge"] else "") + one["reason"],
                )
                for one in status["bans"][:_MAX_BANS]
            ],
        )
        hidden = status["bans_total"] - min(len(status["bans"]), _MAX_BANS)
        if hidden > 0:
            _line(f"and {hidden} more")


def show_events(page: Mapping[str, Any]) -> None:
    """Print events, one a line."""
    events = list(reversed(page["events"]))
    if not events:
        _line("there are no such events")
        return
    _table(
        ("TIME", "LEVEL", "CLASS", "ACTION", "CLIENT", "WHAT", "ID"),
        [
            (
                _time(one["at"]),
                one["level"],
                one["category"],
                _done(one),
                one["client"] or (f"account {one['account']}" if one["account"] else "-"),
                (one["detail"] or f"{one['method']} {one['target']}")[:60],
                one["id"],
            )
            for one in events
        ],
    )
    if page["more"]:
        _line("there are earlier ones; narrow the search, or ask for more with --number")


def show_event(event: Mapping[str, Any]) -> None:
    """Print one event with its evidence."""
    _line(f"{event['level']} threat, {event['category']}: {_done(event)}, score {event['score']:.1f}")
    judged = event["false_positive"]
    for name, value in (
        ("time", _time(event["at"])),
        ("client", event["client"]),
        ("country", event["country"]),
        ("account", event["account"]),
        ("request", f"{event['method']} {event['target']}".strip()),
        ("request id", event["request_id"]),
        ("route", event["route"]),
        ("user agent", event["user_agent"]),
        ("detail", event["detail"]),
        ("not read", event["partial"]),
        ("feedback", "" if judged is None else "a false positive" if judged else "an attack"),
    ):
        if value:
            _line(f"  {name}: {value}")
    _show_findings(
        [
            # Places travel as arrays: kind, name, and whether the name itself is meant.
            {
                **one,
                "class": one["category"],
                "severity": ("low", "medium", "high", "critical")[one["severity"] - 1],
                "place": dict(zip(("kind", "name", "is_name"), [*one["place"], "", False], strict=False)),
            }
            for one in event["findings"]
        ]
    )


def show_steps(steps: Mapping[str, Any]) -> None:
    """Print how a request is judged."""
    values = steps["values"]
    _line(f"1. values that are not inert: {len(values) + steps['left_out']}")
    for one in values:
        _line(f"   {_place(one['place'])}")
        for form in one["forms"]:
            _line(f"     {_chain(form['chain'])}: {form['text']}")
    _line(f"2. findings: {len(steps['findings'])}")
    _show_findings(steps["findings"])
    marks = ", ".join(f"{level} from {mark:g}" for level, mark in steps["thresholds"].items())
    _line(f"3. score: {steps['score']:g} ({marks})")
    partial = f"; not all was read: {steps['partial']}" if steps["partial"] else ""
    _line(f"4. level {steps['level']}, action {steps['action']}, in mode {steps['mode']}{partial}")


def _show_findings(findings: Sequence[Mapping[str, Any]]) -> None:
    for one in findings:
        _line(f"   {one['rule']} ({one['class']}, {one['owasp']}): {one['severity']}, {one['confidence']:.0%} sure")
        _line(f"     in {_place(one['place'])}, {_chain(one['chain'])}: {one['span']}")


def _place(place: Mapping[str, Any]) -> str:
    name = f" {place['name']}" if place["name"] else ""
    return f"{'name of ' if place['is_name'] else ''}{place['kind']}{name}"


def _chain(chain: Sequence[str]) -> str:
    return "decoded by " + ", then ".join(chain) if chain else "as it came"


def _done(event: Mapping[str, Any]) -> str:
    return f"would {event['action']}" if event["shadow"] else str(event["action"])


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda pair: -pair[1]))


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    shown = [titles, *([_plain(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in shown) for column in range(len(titles))]
    for row in shown:
        _line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _line(text: str) -> None:
    sys.stdout.write(_plain(text) + "\n")


def _plain(text: str) -> str:
    return "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in text)
