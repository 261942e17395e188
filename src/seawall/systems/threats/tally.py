"""What all workers saw of threats, added up: totals for people and metrics, and what came since the last look."""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from seawall.core.system import WorkerId
from seawall.core.totals import CumulativeTotals
from seawall.systems.threats.events import ThreatEvent
from seawall.systems.threats.floods import Talker
from seawall.systems.threats.messages import RouteCounts, ThreatReport

__all__ = ["RouteSeen", "Tally"]

_MAX_SOURCES = 10_000
_SHOWN_TALKERS = 1000


class RouteSeen(msgspec.Struct, frozen=True):
    """What came of a route since the last look; `seconds` is the sum of the times until answers began."""

    requests: int
    client_errors: int
    server_errors: int
    seconds: float
    bytes: int


class Tally:
    """Reports of all workers; cumulative counts never count twice, whatever is repeated, lost or late.

    Attributes:
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
        self._talkers: dict[str, Counter[str]] = {}
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
            added = update(worker, f"route/{route}", _integers(row))
            recent = self._recent.setdefault(route, [0] * 5)
            for index, amount in enumerate(added):
                recent[index] += amount
        for route, talkers in report.talkers.items():
            known = self._talkers.setdefault(route, Counter())
            for talker in talkers:
                known[talker.subject] += talker.requests
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

    def look(self) -> tuple[dict[str, RouteSeen], dict[str, list[Talker]]]:
        """Return what came since the last look, by route, and who asked most."""
        recent, self._recent = self._recent, {}
        talkers, self._talkers = self._talkers, {}
        seen = {route: RouteSeen(row[0], row[1], row[2], row[3] / 1e6, row[4]) for route, row in recent.items()}
        most = {
            route: [Talker(subject, count) for subject, count in counts.most_common(_SHOWN_TALKERS)]
            for route, counts in talkers.items()
        }
        return seen, most

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
