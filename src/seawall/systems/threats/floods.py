"""Floods: a route that is asked far more than usual, and who of those who ask it is to blame.

Nobody is limited while a route is within what is usual, so that a busy client, or a crowd behind one address, stays
undisturbed. While it is not, those who asked it before keep a multiple of what they used to ask, and everybody else has
a small allowance: the smaller, the more of them there are, so that they cannot carry together what none of them asks.

What is usual is not known after a start. Until it is, only those are held who ask far more than one person does and far
more than the others do (`suspects`).
"""

from collections.abc import Iterable, Mapping

import msgspec

from seawall.core.errors import InvalidError
from seawall.systems.threats.baseline import Baseline
from seawall.systems.threats.sources import EVERYWHERE
from seawall.systems.threats.suspects import Suspects, Talker

__all__ = ["Flood", "FloodLimits", "FloodWatch"]

_WARM_UP = 20
"""Steps of traffic before there can be a flood: who was just started learns for ten seconds, at two steps a second."""
_NETWORK = 8.0
"""A /24 without a past keeps so many times what one client without a past does."""
_LEAST = 0.5
"""Requests per second that anybody keeps: guards let whoever has less than that in no more."""
_MORE_SOURCES = 100.0
_MORE_REQUESTS = 1.25
_FAR_TOO_MUCH = 10.0
"""Whoever asks a little too much in a flood is only limited; so many times what it may is an attack."""
_MANY = "/24"


class FloodLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a flood is.

    Attributes:
        floor: requests per second of a route below which there is no flood.
        headroom: multiple of its own usual rate that a known client keeps in a flood.
        stranger: requests per second that a client without a past keeps in a flood.
        source: requests per second of one person, or program, that are borne while it is not known what is usual.
        calm: seconds within what is usual after which a flood is over.
        learn: seconds in which what a client usually asks is forgotten by half.
    """

    floor: float = 200.0
    headroom: float = 2.0
    stranger: float = 5.0
    source: float = 200.0
    calm: float = 10.0
    learn: float = 300.0


class Flood(msgspec.Struct, frozen=True, kw_only=True):
    """A route under a flood.

    Attributes:
        route: its name; `EVERYWHERE` for all that have no flood of their own.
        rate: requests per second now.
        usual: requests per second that are usual; not a number where that is not known yet.
        since: seconds on the clock of the steps.
        allowances: requests per second that each known client or /24 keeps; others keep `stranger`, or `network`.
        stranger: requests per second that any other client keeps.
        network: requests per second that any other /24 keeps.
        offenders: subjects above their allowance now, with their requests per second, worst first.
        culprits: of them, those that are far above it.
        sources: different clients now, within some 3 %; 0 where they are not counted.
    """

    route: str
    rate: float
    usual: float
    since: float
    allowances: dict[str, float]
    stranger: float
    network: float
    offenders: tuple[tuple[str, float], ...]
    culprits: tuple[str, ...]
    sources: int = 0


class _Route:
    """What is known of a route."""

    __slots__ = ("baseline", "calm_since", "crowd", "since", "suspects", "usual")

    def __init__(self, limits: FloodLimits) -> None:
        self.baseline = Baseline(floor=limits.floor, warm_up=_WARM_UP)
        self.crowd = Baseline(floor=_MORE_SOURCES, warm_up=_WARM_UP)
        self.suspects = Suspects(limits.source, limits.calm)
        self.usual: dict[str, float] = {}
        self.since: float | None = None
        self.calm_since = 0.0


class FloodWatch:
    """Tell floods by the rates of routes and the clients that ask most.

    Args:
        limits: what a flood is.
        max_routes: routes that are looked at, at most; further ones are not.
        max_talkers: clients per route whose usual rate is kept.

    Pure; a step costs 150 to 700 us a route, by the number of talkers. Not for concurrent use.
    """

    def __init__(self, limits: FloodLimits | None = None, *, max_routes: int = 1000, max_talkers: int = 1000) -> None:
        self.limits = limits = limits or FloodLimits()
        if min(limits.floor, limits.stranger, limits.source, limits.calm, limits.learn) <= 0.0 or limits.headroom < 1.0:
            raise InvalidError("limits of floods must be above 0, and headroom 1 or more", hint="Give larger numbers.")
        self._routes: dict[str, _Route] = {}
        self._all = _Route(limits)
        self._max_routes = max_routes
        self._max_talkers = max_talkers
        self._at: float | None = None

    def step(
        self,
        now: float,
        requests: Mapping[str, float],
        talkers: Mapping[str, Iterable[Talker]],
        sources: Mapping[str, int] | None = None,
    ) -> list[Flood]:
        """Take what came since the last step and return the floods that are on.

        Args:
            now: seconds; a step of less than 0.1 s, or backwards, is left out and returns nothing new.
            requests: since the last step, by route.
            talkers: those who asked each route most since the last step.
            sources: different clients since the last step, by route and under `EVERYWHERE`.
        """
        before, self._at = self._at, now
        if before is None or now - before < 0.1:
            self._at = now if before is None or now < before else before
            return []
        seconds = now - before
        for name in requests:
            if name not in self._routes and len(self._routes) < self._max_routes:
                self._routes[name] = _Route(self.limits)
        known = sources or {}
        floods: list[Flood] = []
        rest, rest_talkers = 0.0, dict[str, Talker]()
        for name, route in self._routes.items():
            rate = requests.get(name, 0) / seconds
            present = list(talkers.get(name, ()))
            flood = self._judge(name, route, rate, _per_second(present, seconds), known.get(name, 0), now, seconds)
            if flood is not None:
                floods.append(flood)
            else:
                rest += rate
                for one in present:
                    rest_talkers[one.subject] = _added(rest_talkers.get(one.subject), one)
        if len(self._routes) > 1:
            # Where one route has a flood of its own, its clients are among those that are counted everywhere.
            count = 0 if floods else known.get(EVERYWHERE, 0)
            present = list(rest_talkers.values())
            flood = self._judge(EVERYWHERE, self._all, rest, _per_second(present, seconds), count, now, seconds)
            if flood is not None:
                floods.append(flood)
        return floods

    def _judge(
        self,
        name: str,
        route: _Route,
        rate: float,
        talkers: dict[str, tuple[float, int]],
        sources: int,
        now: float,
        seconds: float,
    ) -> Flood | None:
        limits, suspects = self.limits, route.suspects
        clients = {subject: one for subject, one in talkers.items() if not subject.endswith(_MANY)}
        suspects.look(clients, now, learning=not route.baseline.warm and rate > limits.floor)
        for subject in suspects.since:
            route.usual.pop(subject, None)
        for subject in suspects.let_go & talkers.keys():
            route.usual[subject] = max(route.usual.get(subject, 0.0), talkers[subject][0])
        doubted = suspects.doubted
        held = sum(talkers[subject][0] for subject in doubted & talkers.keys())
        oddity = route.baseline.observe(max(rate - held, 0.0))
        crowd = route.crowd.observe(float(sources)) if sources else None
        odd = oddity.odd and oddity.score > 0.0
        odd = odd or (crowd is not None and crowd.odd and crowd.score > 0.0 and rate > _MORE_REQUESTS * oddity.usual)
        if odd and rate > limits.floor:
            route.calm_since = now
            if route.since is None:
                route.since = now
        elif route.since is not None and not 0.0 <= now - route.calm_since < limits.calm:
            route.since = None
        rates = {subject: one[0] for subject, one in talkers.items()}
        if route.since is not None:
            return self._flood(name, route, rate, rates, oddity.usual, sources)
        self._learn(route, {subject: one for subject, one in rates.items() if subject not in doubted}, seconds)
        if not suspects.since:
            return None
        offenders = [
            (subject, rates[subject]) for subject in suspects.since if rates.get(subject, 0.0) > limits.stranger
        ]
        return Flood(
            route=name,
            rate=rate,
            usual=route.baseline.mean,
            since=min(suspects.since.values()),
            allowances=dict.fromkeys(suspects.since, limits.stranger),
            stranger=float("inf"),
            network=float("inf"),
            offenders=tuple(sorted(offenders, key=lambda pair: -pair[1])),
            culprits=tuple(one for one, asked in offenders if asked > _FAR_TOO_MUCH * limits.source),
            sources=sources,
        )

    def _flood(
        self, name: str, route: _Route, rate: float, rates: dict[str, float], usual: float, sources: int
    ) -> Flood:
        limits = self.limits
        stranger = self._share(route, usual, sources)
        network = max(_NETWORK * stranger, limits.stranger)
        allowances = {subject: max(one * limits.headroom, stranger) for subject, one in route.usual.items()}
        offenders, culprits = [], []
        for subject, asked in rates.items():
            allowed = allowances.get(subject, network if subject.endswith(_MANY) else stranger)
            if asked > allowed:
                offenders.append((subject, asked))
            if asked > _FAR_TOO_MUCH * max(allowed, limits.stranger):
                culprits.append(subject)
        offenders.sort(key=lambda pair: -pair[1])
        return Flood(
            route=name,
            rate=rate,
            usual=usual,
            since=route.since if route.since is not None else 0.0,
            allowances=allowances,
            stranger=stranger,
            network=network,
            offenders=tuple(offenders),
            culprits=tuple(culprits),
            sources=sources,
        )

    def _share(self, route: _Route, usual: float, sources: int) -> float:
        """Return what each stranger keeps: all of them together what the route carries well besides those it knows."""
        limits = self.limits
        known = [rate for subject, rate in route.usual.items() if not subject.endswith(_MANY)]
        strangers = sources - len(known)
        if strangers <= 0:
            return limits.stranger
        spare = max(max(limits.floor, usual * limits.headroom) - sum(known), 0.0)
        share = limits.stranger
        # In halves, so that guards need not be told anew with each step.
        while share > _LEAST and share * strangers > spare:
            share /= 2.0
        return min(limits.stranger, max(share, _LEAST))

    def _learn(self, route: _Route, rates: dict[str, float], seconds: float) -> None:
        """Follow what each talker usually asks, up at once and down slowly: a burst is part of what is usual."""
        keep = 0.5 ** (seconds / self.limits.learn)
        usual = {subject: rate * keep for subject, rate in route.usual.items()}
        for subject, rate in rates.items():
            usual[subject] = max(usual.get(subject, 0.0), rate)
        if len(usual) > self._max_talkers:
            usual = dict(sorted(usual.items(), key=lambda pair: -pair[1])[: self._max_talkers])
        route.usual = {subject: rate for subject, rate in usual.items() if rate > 0.01}


def _per_second(talkers: Iterable[Talker], seconds: float) -> dict[str, tuple[float, int]]:
    return {one.subject: (one.requests / seconds, len(one.faces)) for one in talkers}


def _added(known: Talker | None, one: Talker) -> Talker:
    if known is None:
        return one
    return Talker(one.subject, known.requests + one.requests, tuple({*known.faces, *one.faces}))
