"""A simulated world for shared counts: engines of several processes, one exact count, a network, and a clock."""

import heapq
import itertools
import math
import random
from collections.abc import Callable, Iterable, Sequence

import msgspec

from seawall.systems.ratelimit.counts import CountAnswer, CountAsk, GiveBack
from seawall.systems.ratelimit.engine import Ask, RateLimitEngine
from seawall.systems.ratelimit.keys import LimitContext
from seawall.systems.ratelimit.model import LimitResult, RateLimitSnapshot
from seawall.systems.ratelimit.shared import States, give_back, take

__all__ = ["ExactCounts", "Tally", "World", "busiest_second"]

SWEEP = 0.1


class ExactCounts:
    """Counts that answer at once and keep everything.

    Attributes:
        taken: cost that was granted, by rule, leases included.
        returned: cost that was handed back, by rule; what was taken unasked counts against it.
    """

    def __init__(self) -> None:
        self.states: dict[str, States] = {}
        self.taken: dict[str, float] = {}
        self.returned: dict[str, float] = {}

    def take(self, asks: Sequence[CountAsk], now: float) -> tuple[CountAnswer, ...]:
        answers, changes = take(self.states.get, asks, now)
        for change in changes:
            self.states[change.place] = change.states
        granted = all(answer.allowed for ask, answer in zip(asks, answers, strict=True) if ask.binding)
        for ask, answer in zip(asks, answers, strict=True):
            if answer.allowed and (granted or not ask.binding):
                rule = ask.key.partition("\n")[0]
                self.taken[rule] = self.taken.get(rule, 0.0) + ask.windows[0].cost * (1.0 + answer.lease)
        return answers

    def give_back(self, refunds: Iterable[GiveBack], now: float) -> None:
        for refund in refunds:
            rule = refund.key.partition("\n")[0]
            if refund.windows[0].cost < math.inf:  # else the key's counts are forgotten, and nothing comes back
                self.returned[rule] = self.returned.get(rule, 0.0) + refund.windows[0].cost
            change = give_back(self.states.get, refund, now)
            if change is not None:
                self.states.pop(change.place, None)
            if change is not None and change.states:
                self.states[change.place] = change.states


class Tally(msgspec.Struct):
    """What came of some load; `admitted` holds the times, in order of arrival at the engines."""

    offered: int = 0
    asked: int = 0
    admitted: list[float] = msgspec.field(default_factory=list)

    @property
    def share(self) -> float:
        return len(self.admitted) / self.offered


class World:
    """Engines that ask one count over a network, each of whose ways takes some seconds.

    Args:
        processes: how many engines.
        snapshot: of all of them.
        delay: seconds that an ask, an answer or a refund is on its way.
    """

    def __init__(self, processes: int, snapshot: RateLimitSnapshot, *, delay: float = 0.0005) -> None:
        self.now = 1000.0
        self.counts = ExactCounts()
        self.engines = [RateLimitEngine(lambda: self.now) for _ in range(processes)]
        for engine in self.engines:
            engine.apply(snapshot)
        self.tally = Tally()
        self._delay = delay
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def poisson(self, rng: random.Random, rates: Sequence[float], seconds: float, context: LimitContext) -> Tally:
        """Offer each engine requests at its rate and return what came of them."""
        self.tally = Tally()
        end = self.now + seconds
        for engine, rate in zip(self.engines, rates, strict=True):
            at = self.now
            while rate > 0.0 and (at := at + rng.expovariate(rate)) < end:
                self._at(at, self._request(engine, context))
            for beat in range(int(seconds / SWEEP)):
                self._at(self.now + beat * SWEEP, self._sweep(engine))
        while self._events:
            self.now, _, event = heapq.heappop(self._events)
            event()
        return self.tally

    def _at(self, at: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at, next(self._order), event))

    def _request(self, engine: RateLimitEngine, context: LimitContext) -> Callable[[], None]:
        def run() -> None:
            self.tally.offered += 1
            result = engine.begin(context, self.now)
            if isinstance(result, LimitResult):
                self._note(result)
                return
            self.tally.asked += 1
            self._at(self.now + self._delay, self._ask(engine, result))

        return run

    def _ask(self, engine: RateLimitEngine, ask: Ask) -> Callable[[], None]:
        def run() -> None:
            answers = self.counts.take(ask.asks, self.now)
            self._at(self.now + self._delay, lambda: self._note(engine.settle(ask, answers, self.now)))

        return run

    def _sweep(self, engine: RateLimitEngine) -> Callable[[], None]:
        def run() -> None:
            refunds = engine.sweep(self.now)
            if refunds:
                self._at(self.now + self._delay, lambda: self.counts.give_back(refunds, self.now))

        return run

    def _note(self, result: LimitResult) -> None:
        if result.allowed:
            self.tally.admitted.append(self.now)


def busiest_second(times: Sequence[float]) -> int:
    """Return the most of some times, in order, that lie within any one second."""
    most = first = 0
    for last, at in enumerate(times):
        while times[first] <= at - 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most
