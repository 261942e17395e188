"""What a guard writes down between two reports: counts, events, who asked and who failed; all of it bounded."""

from collections import Counter

from seawall.core.request import Request
from seawall.systems.threats.askers import Askers
from seawall.systems.threats.events import ThreatEvent, redacted
from seawall.systems.threats.messages import LoginFailures, RouteAsked, RouteCounts, SlowClient, ThreatReport
from seawall.systems.threats.model import Action, Verdict

__all__ = ["Journal"]

_MAX_EVENTS = 1000
_MAX_FAILURES = 10_000
_MAX_ROUTES = 1000
_MAIN_ROUTES = 32
_FULL, _SMALL = 4096, 160
"""Clients that are counted of each of the routes that are asked first after a report, and of each further one."""


class Journal:
    """Counts of one guard; not for concurrent use.

    What is gathered between two reports is told once: while nobody listens the oldest stays, and the rest is counted as
    lost.
    """

    def __init__(self) -> None:
        self.inspected = 0
        self.partial = 0
        self.lost = 0
        self.refusals: Counter[str] = Counter()
        self._actions: Counter[str] = Counter()
        self._shadowed: Counter[str] = Counter()
        self._classes: Counter[str] = Counter()
        self._events: list[ThreatEvent] = []
        self._failures: Counter[tuple[str, str]] = Counter()
        self._slow: Counter[tuple[str, str]] = Counter()
        self._logged_in: dict[tuple[str, str], None] = {}
        self._routes: dict[str, list[float]] = {}
        self._askers: dict[str, Askers] = {}

    def verdict(self, verdict: Verdict) -> None:
        """Count what inspection said."""
        self.inspected += 1
        if verdict.partial:
            self.partial += 1
        for finding in verdict.findings:
            self._classes[finding.category.value] += 1

    def event(self, event: ThreatEvent) -> None:
        """Write down an event; secrets are taken out here."""
        if event.action is not Action.ALLOW:
            (self._shadowed if event.shadow else self._actions)[event.action.value] += 1
        if len(self._events) >= _MAX_EVENTS:
            self.lost += 1
            return
        self._events.append(redacted(event))

    def login(self, client: str, account: str, *, failed: bool) -> None:
        """Write down how a log-in ended."""
        key = (client, account)
        if failed:
            if key in self._failures or len(self._failures) < _MAX_FAILURES:
                self._failures[key] += 1
            else:
                self.lost += 1
        elif len(self._logged_in) < _MAX_FAILURES:
            self._logged_in[key] = None

    def slow(self, client: str, how: str) -> None:
        """Count a client that was too slow."""
        key = (client, how)
        if key in self._slow or len(self._slow) < _MAX_FAILURES:
            self._slow[key] += 1
        else:
            self.lost += 1

    def asked(self, route: str, request: Request) -> None:
        """Count a request of a client."""
        askers = self._askers.get(route)
        if askers is None:
            if len(self._askers) >= _MAX_ROUTES:
                return
            askers = self._askers[route] = Askers(_FULL if len(self._askers) < _MAIN_ROUTES else _SMALL)
        askers.note(request)

    def answered(self, route: str, status: int, seconds: float, held: int) -> None:
        """Count an answer."""
        row = self._routes.get(route)
        if row is None:
            if len(self._routes) >= _MAX_ROUTES:
                return
            row = self._routes[route] = [0, 0, 0, 0.0, 0]
        row[0] += 1
        if status >= 500:
            row[2] += 1
        elif status >= 400:
            row[1] += 1
        row[3] += seconds
        row[4] += held

    def report(self, *, span: float = 0.0, full: bool = False) -> ThreatReport:
        """Return what is to be told, and forget what is told once; arguments as `ThreatReport` has them."""
        events, self._events = tuple(self._events), []
        failures, self._failures = self._failures, Counter()
        slow, self._slow = self._slow, Counter()
        logged_in, self._logged_in = tuple(self._logged_in), {}
        askers, self._askers = self._askers, {}
        talkers = {route: one.talkers() for route, one in askers.items()}
        return ThreatReport(
            inspected=self.inspected,
            partial=self.partial,
            actions=dict(self._actions),
            shadowed=dict(self._shadowed),
            classes=dict(self._classes),
            refusals=dict(self.refusals),
            events=events,
            lost=self.lost,
            failures=tuple(LoginFailures(*key, count) for key, count in failures.items()),
            logged_in=logged_in,
            slow=tuple(SlowClient(*key, count) for key, count in slow.items()),
            routes={
                route: RouteCounts(int(row[0]), int(row[1]), int(row[2]), row[3], int(row[4]))
                for route, row in self._routes.items()
            },
            asked={route: RouteAsked(one.requests, one.sources.packed()) for route, one in askers.items()},
            talkers=talkers,
            span=span,
            full=full,
        )
