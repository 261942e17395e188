"""What all workers saw of threats, added up: totals for people and metrics, and what came since the last look."""

from collections import Counter
from collections.abc import Iterable, Mapping
from heapq import nlargest

import msgspec

from seawall.core.system import WorkerId
from seawall.core.totals import CumulativeTotals
from seawall.systems.threats.events import ThreatEvent
from seawall.systems.threats.messages import RouteCounts, ThreatReport
from seawall.systems.threats.sources import SourceCounts
from seawall.systems.threats.suspects import MANY_FACES, Talker

__all__ = ["Look", "RouteSeen", "Tally"]

_MAX_SOURCES = 10_000
_SHOWN_TALKERS = 1000


class RouteSeen(msgspec.Struct, frozen=True):
    """What came of a route since the last look; `seconds` is the sum of the times until answers began."""

    requests: int
    client_errors: int
    server_errors: int
    seconds: float
    bytes: int


class Look(msgspec.Struct, frozen=True):
    """What came since the last look, by route.

    Attributes:
        seen: requests that were answered.
        asked: requests that came; of those that waited for a control process, what came of them in a second.
        talkers: those who asked most.
        sources: different clients, and under `EVERYWHERE` those of all routes.
    """

    seen: dict[str, RouteSeen]
    asked: dict[str, float]
    talkers: dict[str, list[Talker]]
    sources: dict[str, int]


class Tally:
    """Reports of all workers; cumulative counts never count twice, whatever is repeated, lost or late.

    Attributes:
        clients: different clients that asked.
        sources: events by client, those that had most.
        routes: events by route.
        countries: events by country, where it is known.
        levels: events by level.
        events: events by class.
        judged: events that operators judged, by verdict: `false-positive` or `attack`.
    """

    def __init__(self) -> None:
        self._totals = CumulativeTotals()
        self._recent: dict[str, list[int]] = {}
        self._asked: dict[str, float] = {}
        self._talkers: dict[str, dict[str, tuple[float, set[int]]]] = {}
        self.clients = SourceCounts()
        self.sources: Counter[str] = Counter()
        self.routes: Counter[str] = Counter()
        self.countries: Counter[str] = Counter()
        self.levels: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.judged: Counter[str] = Counter()

    def add(self, worker: WorkerId, report: ThreatReport) -> None:
        """Take one worker's report."""
        update = self._totals.update
        update(worker, "scalars", (report.inspected, report.partial, report.lost))
        for family, counts in (
            ("action", report.actions),
            ("shadow", report.shadowed),
            ("class", report.classes),
            ("refusal", report.refusals),
        ):
            for name, count in counts.items():
                update(worker, f"{family}/{name}", (count,))
        for route, row in report.routes.items():
            added = update(worker, f"route/{route}", _integers(row), baseline=report.full)
            recent = self._recent.setdefault(route, [0] * 5)
            for index, amount in enumerate(added):
                recent[index] += amount
        # What a worker gathered while it had nobody to tell did not come all at once.
        share = 1.0 / max(report.span, 1.0)
        for route, asked in report.asked.items():
            self._asked[route] = self._asked.get(route, 0.0) + asked.requests * share
            self.clients.add(route, asked.sources)
        for route, talkers in report.talkers.items():
            known = self._talkers.setdefault(route, {})
            for talker in talkers:
                requests, faces = known.get(talker.subject, (0.0, set()))
                if len(faces) < MANY_FACES:
                    faces.update(talker.faces)
                known[talker.subject] = (requests + talker.requests * share, faces)
        for event in report.events:
            self.note(event)

    def note(self, event: ThreatEvent) -> None:
        """Count an event by what it is about, where it came from and went to."""
        self.levels[event.level.value] += 1
        self.events[event.category.value] += 1
        if event.route:
            self.routes[event.route] += 1
        if event.country:
            self.countries[event.country] += 1
        if event.client:
            self.sources[event.client] += 1
            if len(self.sources) > _MAX_SOURCES:
                self.sources = Counter(dict(self.sources.most_common(_MAX_SOURCES // 2)))

    def forget_worker(self, worker: WorkerId) -> None:
        """Take note that a worker is gone; its counts stay."""
        self._totals.forget_source(worker)

    def look(self, now: float) -> Look:
        """Return what came since the last look, `now` being monotonic seconds."""
        recent, self._recent = self._recent, {}
        talkers, self._talkers = self._talkers, {}
        seen = {route: RouteSeen(row[0], row[1], row[2], row[3] / 1e6, row[4]) for route, row in recent.items()}
        asked, self._asked = self._asked, {}
        most = {
            route: [
                Talker(subject, round(requests), tuple(faces))
                for subject, (requests, faces) in nlargest(_SHOWN_TALKERS, counts.items(), key=lambda pair: pair[1][0])
            ]
            for route, counts in talkers.items()
        }
        return Look(seen, asked, most, self.clients.look(now))

    def family(self, name: str) -> dict[str, int]:
        """Return the totals of `action`, `shadow`, `class` or `refusal`."""
        prefix = f"{name}/"
        return {key.removeprefix(prefix): row[0] for key, row in self._totals if key.startswith(prefix)}

    @property
    def scalars(self) -> tuple[int, int, int]:
        """Requests inspected, of them partially, and events lost."""
        row = self._totals.total("scalars") or [0, 0, 0]
        return row[0], row[1], row[2]

    def top(self, counts: Mapping[str, int], number: int) -> dict[str, int]:
        """Return the largest of some counts, largest first."""
        most: Iterable[tuple[str, int]] = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:number]
        return dict(most)


def _integers(row: RouteCounts) -> tuple[int, ...]:
    return row.requests, row.client_errors, row.server_errors, round(row.seconds * 1e6), row.bytes
