"""What was seen, as it is kept, searched and told to others: secrets taken out, sizes bounded."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from seawall.systems.threats.model import Action, Finding, Level, Place, PlaceKind, ThreatClass

__all__ = [
    "MAX_PAGE",
    "EventPage",
    "EventQuery",
    "EventStore",
    "ThreatEvent",
    "ecs_of",
    "redacted",
    "redacted_target",
]

MAX_PAGE = 500
"""Events that one search returns at most."""

_MAX_TARGET = 512
_MAX_FINDINGS = 16
_MAX_SPAN = 128
_HIDDEN = "[redacted]"
_SECRET = re.compile(
    r"pass(wor[dt]|wd|phrase)?$|^pw$|secret|token|api[-_]?key|authori[sz]ation|credential|session|cookie|csrf|otp$|pin$"
    r"|cvv|cvc|card|iban|ssn|private",
    re.IGNORECASE,
)
_CARD = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_JWT = re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")
_PAIR = re.compile(r"([^&=;]{1,256})=([^&;]*)")

_SEVERITIES = {Level.NONE: 0, Level.LOW: 21, Level.MEDIUM: 47, Level.HIGH: 73, Level.CRITICAL: 99}


class ThreatEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was seen.

    Attributes:
        id: unique; sorts by time.
        at: seconds since the Unix epoch.
        category: of the gravest finding.
        level: how threatening the request was.
        action: what was done, in shadow mode what would have been done.
        shadow: whether it was only reported.
        score: of the request.
        client: address.
        country: two letters; empty when not known.
        account: that was tried or signed in; empty when not known.
        request_id: as sent in `X-Request-Id`; empty for what is about no single request.
        method: of the request.
        route: name of the route.
        target: path and query, secrets taken out, at most 512 characters.
        user_agent: at most 256 characters.
        findings: at most 16, secrets taken out of their spans.
        partial: why not everything was inspected.
        detail: for people, of what is about no single request.
        false_positive: what operators said of it; None when nobody did.
    """

    id: str
    at: float
    category: ThreatClass
    level: Level
    action: Action
    shadow: bool = False
    score: float = 0.0
    client: str = ""
    country: str = ""
    account: str = ""
    request_id: str = ""
    method: str = ""
    route: str = ""
    target: str = ""
    user_agent: str = ""
    findings: tuple[Finding, ...] = ()
    partial: str = ""
    detail: str = ""
    false_positive: bool | None = None


class EventQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What to look for; what is left out is not looked at.

    Attributes:
        since: seconds since the Unix epoch, inclusive.
        until: the same, exclusive.
        level: the least.
        before: id of the last event of the page before; events come newest first.
        limit: 1 to 500.
    """

    since: float = 0.0
    until: float = float("inf")
    category: ThreatClass | None = None
    level: Level | None = None
    action: Action | None = None
    client: str = ""
    account: str = ""
    route: str = ""
    request_id: str = ""
    before: str = ""
    limit: int = 100

    def admits(self, event: ThreatEvent) -> bool:
        """Return whether an event is looked for, its page left aside."""
        return (
            self.since <= event.at < self.until
            and (self.category is None or event.category is self.category)
            and (self.level is None or _SEVERITIES[event.level] >= _SEVERITIES[self.level])
            and (self.action is None or event.action is self.action)
            and self.client in {"", event.client}
            and self.account in {"", event.account}
            and self.route in {"", event.route}
            and self.request_id in {"", event.request_id}
        )


class EventPage(msgspec.Struct, frozen=True):
    """Events, newest first; `more` is the id to give as `before` for the next page, empty at the end."""

    events: tuple[ThreatEvent, ...]
    more: str = ""


class EventStore(Protocol):
    """Where events are kept. Safe to call concurrently, from one event loop; raises `StateError` where it is away."""

    async def append(self, events: Sequence[ThreatEvent]) -> None:
        """Keep events; one that is there already is replaced."""
        ...

    async def get(self, event_id: str) -> ThreatEvent | None:
        """Return one event."""
        ...

    async def search(self, query: EventQuery) -> EventPage:
        """Return what is looked for, newest first."""
        ...

    async def judge(self, event_id: str, *, false_positive: bool) -> bool:
        """Write down what an operator says of an event; tell whether it is there."""
        ...

    async def prune(self, *, older_than: float, keep: int) -> int:
        """Drop events from before a time and all but the newest `keep`; return how many were dropped."""
        ...

    async def count(self) -> int:
        """Return how many are kept."""
        ...

    async def close(self) -> None:
        """Release what is held."""
        ...


def redacted(event: ThreatEvent) -> ThreatEvent:
    """Return an event without secrets, and within its bounds; what is about to leave this process goes through here."""
    return msgspec.structs.replace(
        event,
        target=redacted_target(event.target),
        user_agent=_scrubbed(event.user_agent)[:256],
        client=event.client[:64],
        account=event.account[:256],
        detail=_scrubbed(event.detail)[:_MAX_TARGET],
        findings=tuple(_finding(one) for one in event.findings[:_MAX_FINDINGS]),
    )


def redacted_target(target: str) -> str:
    """Return a path and query, with the values of secret parameters hidden, cut at 512 characters."""
    path, mark, query = target[: 4 * _MAX_TARGET].partition("?")
    if mark:
        query = _PAIR.sub(lambda pair: f"{pair[1]}={_HIDDEN}" if _is_secret(pair[1]) else pair[0], query)
    return _scrubbed(f"{path}{mark}{query}")[:_MAX_TARGET]


def ecs_of(event: ThreatEvent, version: str) -> dict[str, Any]:
    """Return an event in the shape of the Elastic Common Schema 8, as security tools read it.

    Args:
        event: redacted.
        version: of Seawall.

    Source: https://www.elastic.co/guide/en/ecs/8.17/ecs-reference.html.
    """
    denied = event.action is Action.BLOCK and not event.shadow
    found: dict[str, Any] = {
        "@timestamp": datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "ecs": {"version": "8.17.0"},
        "observer": {"vendor": "Seawall", "product": "Seawall", "type": "waf", "version": version},
        "event": {
            "id": event.id,
            "kind": "alert",
            "category": ["intrusion_detection", "web"],
            "type": ["denied"] if denied else ["info"],
            "action": event.action.value,
            "outcome": "success",
            "severity": _SEVERITIES[event.level],
            "risk_score": round(event.score, 2),
            "reason": event.detail or ", ".join(dict.fromkeys(one.rule for one in event.findings)),
        },
        "rule": {
            "id": [one.rule for one in event.findings],
            "category": event.category.value,
            "ruleset": "seawall",
        },
        "source": _given(ip=event.client, geo=_given(country_iso_code=event.country)),
        "http": {"request": _given(method=event.method, id=event.request_id)},
        "url": _given(original=event.target),
        "user": _given(name=event.account),
        "user_agent": _given(original=event.user_agent),
        "labels": {
            "shadow": str(event.shadow).lower(),
            "level": event.level.value,
            **_given(route=event.route, partial=event.partial),
        },
    }
    return {name: value for name, value in found.items() if value}


def _finding(finding: Finding) -> Finding:
    hidden = finding.place.kind is PlaceKind.COOKIE or (not finding.place.is_name and _is_secret(finding.place.name))
    span = f"[{len(finding.span)} characters redacted]" if hidden else _scrubbed(finding.span)[:_MAX_SPAN]
    place = Place(finding.place.kind, finding.place.name[:128], finding.place.is_name)
    return msgspec.structs.replace(finding, span=span, place=place, chain=finding.chain[:8])


def _is_secret(name: str) -> bool:
    return _SECRET.search(name) is not None


def _scrubbed(text: str) -> str:
    """Return a text without what looks like a credential or a payment card, wherever it stands."""
    text = _JWT.sub(_HIDDEN, text)
    text = _BEARER.sub(lambda found: f"{found[1]} {_HIDDEN}", text)
    return _CARD.sub(lambda found: _HIDDEN if _is_card(found[0]) else found[0], text)


def _is_card(text: str) -> bool:
    """Return whether digits pass the check of payment cards (Luhn; ISO/IEC 7812-1)."""
    digits = [int(one) for one in text if one.isdigit()]
    doubled = sum(digit * 2 - 9 if digit > 4 else digit * 2 for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + doubled) % 10 == 0


def _given(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever a field holds
    return {name: value for name, value in fields.items() if value}
