"""Floods: a route that is asked far more than usual, and who of those who ask it is to blame.

Nobody is limited while a route is within what is usual, so that a busy client, or a crowd behind one address, stays
undisturbed. While it is not, those who asked it before keep a multiple of what they used to ask, and everybody else has
a small allowance.
"""

from collections.abc import Iterable, Mapping

import msgspec

from seawall.core.errors import InvalidError
from seawall.systems.threats.baseline import Baseline

__all__ = ["Flood", "FloodLimits", "FloodWatch", "Talker"]

_WARM_UP = 20
"""Steps of traffic before there can be a flood: who was just started learns for ten seconds, at two steps a second."""


class FloodLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a flood is.

    Attributes:
        floor: requests per second of a route below which there is no flood.
        headroom: multiple of its own usual rate that a known client keeps in a flood.
        stranger: requests per second that a client without a past keeps in a flood.
        calm: seconds within what is usual after which a flood is over.
        learn: seconds in which what a client usually asks is forgotten by half.
    """

    floor: float = 200.0
    headroom: float = 2.0
    stranger: float = 5.0
    calm: float = 10.0
    learn: float = 300.0


class Talker(msgspec.Struct, frozen=True, array_like=True):
    """A client or a network that asks much: requests since the last step."""

    subject: str
    requests: int


class Flood(msgspec.Struct, frozen=True):
    """A route under a flood.

    Attributes:
        rate: requests per second now.
        usual: requests per second that are usual.
        since: seconds on the clock of the steps.
        allowances: requests per second that each known client keeps; others keep `stranger`.
        stranger: requests per second that any other client keeps.
        offenders: subjects above their allowance now, with their requests per second, worst first.
    """

    route: str
    rate: float
    usual: float
    since: float
    allowances: dict[str, float]
    stranger: float
    offenders: tuple[tuple[str, float], ...]


class _Route:
    """What is known of a route."""

    __slots__ = ("baseline", "calm_since", "since", "usual")

    def __init__(self, floor: float) -> None:
        self.baseline = Baseline(floor=floor, warm_up=_WARM_UP)
        self.usual: dict[str, float] = {}
        self.since: float | None = None
        self.calm_since = 0.0


class FloodWatch:
    """Tell floods by the rates of routes and the clients that ask most.

    Args:
        limits: what a flood is.
        max_routes: routes that are looked at, at most; further ones are not.
        max_talkers: clients per route whose usual rate is kept.

    Pure; a step costs about 40 us a route. Not for concurrent use.
    """

    def __init__(self, limits: FloodLimits | None = None, *, max_routes: int = 1000, max_talkers: int = 1000) -> None:
        self.limits = limits = limits or FloodLimits()
        if min(limits.floor, limits.stranger, limits.calm, limits.learn) <= 0.0 or limits.headroom < 1.0:
            raise InvalidError("limits of floods must be above 0, and headroom 1 or more", hint="Give larger numbers.")
        self._routes: dict[str, _Route] = {}
        self._max_routes = max_routes
        self._max_talkers = max_talkers
        self._at: float | None = None

    def step(self, now: float, requests: Mapping[str, int], talkers: Mapping[str, Iterable[Talker]]) -> list[Flood]:
        """Take what came since the last step and return the floods that are on.

        Args:
            now: seconds; a step of less than 0.1 s, or backwards, is left out and returns nothing new.
            requests: since the last step, by route.
            talkers: those who asked each route most since the last step.
        """
        before, self._at = self._at, now
        if before is None or now - before < 0.1:
            self._at = now if before is None or now < before else before
            return []
        seconds = now - before
        for name in requests:
            if name not in self._routes and len(self._routes) < self._max_routes:
                self._routes[name] = _Route(self.limits.floor)
        floods = []
        for name, route in self._routes.items():
            rates = {one.subject: one.requests / seconds for one in talkers.get(name, ())}
            flood = self._judge(name, route, requests.get(name, 0) / seconds, rates, now)
            if flood is not None:
                floods.append(flood)
            else:
                self._learn(route, rates, seconds)
        return floods

    def _judge(self, name: str, route: _Route, rate: float, rates: dict[str, float], now: float) -> Flood | None:
        limits = self.limits
        oddity = route.baseline.observe(rate)
        if oddity.odd and oddity.score > 0.0 and rate > limits.floor:
            route.calm_since = now
            if route.since is None:
                route.since = now
        elif route.since is not None and now - route.calm_since >= limits.calm:
            route.since = None
        if route.since is None:
            return None
        allowances = {subject: max(usual * limits.headroom, limits.stranger) for subject, usual in route.usual.items()}
        offenders = [(one, asked) for one, asked in rates.items() if asked > allowances.get(one, limits.stranger)]
        offenders.sort(key=lambda pair: -pair[1])
        return Flood(name, rate, oddity.usual, route.since, allowances, limits.stranger, tuple(offenders))

    def _learn(self, route: _Route, rates: dict[str, float], seconds: float) -> None:
        """Follow what each talker usually asks, up at once and down slowly: a burst is part of what is usual."""
        keep = 0.5 ** (seconds / self.limits.learn)
        usual = {subject: rate * keep for subject, rate in route.usual.items()}
        for subject, rate in rates.items():
            usual[subject] = max(usual.get(subject, 0.0), rate)
        if len(usual) > self._max_talkers:
            usual = dict(sorted(usual.items(), key=lambda pair: -pair[1])[: self._max_talkers])
        route.usual = {subject: rate for subject, rate in usual.items() if rate > 0.01}
