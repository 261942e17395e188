"""What threat detection shows of itself in the admin API."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import isnan
from typing import Annotated

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from seawall.systems.threats.book import ThreatBook
from seawall.systems.threats.clients import ClientWatch
from seawall.systems.threats.floods import Flood
from seawall.systems.threats.messages import ThreatSnapshot
from seawall.systems.threats.model import Mode
from seawall.systems.threats.recorder import Recorder
from seawall.systems.threats.records import BanRecord, ListRecord
from seawall.systems.threats.sources import EVERYWHERE
from seawall.systems.threats.tally import Tally
from seawall.systems.threats.usual import Usual

__all__ = ["MAX_LISTED", "Learned", "ThreatStatus", "overview"]

MAX_LISTED = 1000
"""Bans and list entries that are listed; their numbers are told in full."""

_LAST = 253_402_300_799.0


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class BanView(_View):
    """A subject that is refused or challenged."""

    subject: str
    until: Annotated[datetime | None, Field(description="In UTC; null for never.")]
    reason: str
    challenge: Annotated[bool, Field(description="Whether it may go on when its browser solves a puzzle.")]
    by: Annotated[str, Field(description="`operator` or `seawall`.")]
    bans: Annotated[int, Field(description="Bans of this subject so far, where Seawall set it.", ge=0)]


class ListView(_View):
    """A network on a list, added at run time."""

    network: str
    allowed: bool
    until: Annotated[datetime | None, Field(description="In UTC; null for never.")]
    reason: str


class FloodView(_View):
    """A route under a flood."""

    route: str
    rate: Annotated[float, Field(description="Requests per second now.")]
    usual: Annotated[float | None, Field(description="Requests per second that are usual; null before that is known.")]
    clients: Annotated[int, Field(description="Different clients within the last half second, within some 3 %.", ge=0)]
    offenders: Annotated[int, Field(description="Clients above what they keep.", ge=0)]


class RouteView(_View):
    """What is usual of a route: requests/s, share of errors, seconds until the answer, bytes of bodies."""

    route: str
    usual: dict[str, float]
    warm: Annotated[bool, Field(description="Whether enough is known to judge.")]
    odd: list[str]


class ClientsView(_View):
    """The second opinion on clients."""

    judged: Annotated[int, Field(description="Clients, once in ten seconds.", ge=0)]
    odd: Annotated[int, Field(description="Of them, those that were unlike all others.", ge=0)]


class ThreatStatus(_View):
    """Threat detection now, over all workers of this gateway."""

    version: Annotated[int, Field(description="Of the snapshot in force.")]
    mode: Mode
    paranoia: int
    findings: Annotated[dict[str, str], Field(description="What an operator should know, by part.")]
    inspected: Annotated[int, Field(description="Requests looked into.", ge=0)]
    partial: Annotated[int, Field(description="Of them, those not looked into wholly.", ge=0)]
    actions: Annotated[dict[str, int], Field(description="Requests by what was done.")]
    shadowed: Annotated[dict[str, int], Field(description="Requests by what would have been done.")]
    refusals: Annotated[dict[str, int], Field(description="Refused requests by why.")]
    classes: Annotated[dict[str, int], Field(description="Findings by class.")]
    events: Annotated[dict[str, int], Field(description="Events by class.")]
    feedback: Annotated[dict[str, int], Field(description="Events judged: `false-positive`, `attack`.")]
    levels: Annotated[dict[str, int], Field(description="Events by level.")]
    routes: Annotated[dict[str, int], Field(description="Events by route, most first.")]
    countries: Annotated[dict[str, int], Field(description="Events by country, where it is known.")]
    sources: Annotated[dict[str, int], Field(description="Events by client, most first.")]
    clients: Annotated[
        int, Field(description="Different clients within the last 30 to 60 s, over all routes, within some 3 %.", ge=0)
    ]
    clients_by_route: Annotated[dict[str, int], Field(description="The same by route, most first.")]
    bans_total: Annotated[int, Field(ge=0)]
    bans: Annotated[list[BanView], Field(description=f"At most {MAX_LISTED}.")]
    lists: Annotated[list[ListView], Field(description=f"At most {MAX_LISTED}.")]
    floods: list[FloodView]
    baselines: list[RouteView]
    judged_clients: Annotated[ClientsView | None, Field(description="null where clients are not judged.")]
    lost_events: Annotated[int, Field(description="Events that there was no room for.", ge=0)]


class Learned(msgspec.Struct, frozen=True):
    """What is known of traffic: what is usual, the floods that are on, and what judges clients, if anything does."""

    usual: Usual
    floods: Sequence[Flood]
    clients: ClientWatch | None


def overview(
    snapshot: ThreatSnapshot,
    tally: Tally,
    book: ThreatBook,
    recorder: Recorder,
    learned: Learned,
    findings: Mapping[str, str],
    top: int,
) -> ThreatStatus:
    """Return the status; `top` bounds routes, countries and sources."""
    inspected, partial, lost = tally.scalars
    bans = sorted(book.records(BanRecord), key=lambda one: (one.by != "operator", -(one.until or _LAST), one.name))
    clients, watch = tally.clients.lately(), learned.clients
    return ThreatStatus(
        version=max(snapshot.version, 0),
        mode=snapshot.policy.mode,
        paranoia=snapshot.policy.paranoia,
        findings=dict(findings),
        inspected=inspected,
        partial=partial,
        actions=tally.family("action"),
        shadowed=tally.family("shadow"),
        refusals=tally.family("refusal"),
        classes=tally.family("class"),
        events=dict(tally.events),
        feedback=dict(tally.judged),
        levels=dict(tally.levels),
        routes=tally.top(tally.routes, top),
        countries=tally.top(tally.countries, top),
        sources=tally.top(tally.sources, top),
        clients=clients.pop(EVERYWHERE, 0),
        clients_by_route=tally.top(clients, top),
        bans_total=len(bans),
        bans=[
            BanView(
                subject=one.name,
                until=_time(one.until),
                reason=one.reason,
                challenge=one.challenge,
                by=one.by,
                bans=one.bans,
            )
            for one in bans[:MAX_LISTED]
        ],
        lists=[
            ListView(network=one.name, allowed=one.allowed, until=_time(one.until), reason=one.reason)
            for one in book.records(ListRecord)[:MAX_LISTED]
        ],
        floods=[
            FloodView(
                route=one.route,
                rate=one.rate,
                usual=None if isnan(one.usual) else one.usual,
                clients=one.sources,
                offenders=len(one.offenders),
            )
            for one in learned.floods
        ],
        baselines=[
            RouteView(route=one.route, usual=one.means, warm=one.warm, odd=list(one.odd))
            for one in learned.usual.views()
        ],
        judged_clients=None if watch is None else ClientsView(judged=watch.judged, odd=watch.odd),
        lost_events=lost + recorder.lost,
    )


def _time(until: float | None) -> datetime | None:
    return None if until is None or until > _LAST else datetime.fromtimestamp(max(until, 0.0), UTC)
