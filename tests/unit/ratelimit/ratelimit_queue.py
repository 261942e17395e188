"""A simulated upstream of fixed capacity behind a decision, for the controllers' tests."""

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

TICK = 0.1
"""Seconds between two steps of a controller."""


@dataclass
class Tick:
    """What was seen in one interval, up to `at`."""

    at: float
    offered: list[int] = field(default_factory=lambda: [0] * 6)
    admitted: int = 0
    refused: int = 0
    """Refused by the upstream itself."""
    ended: int = 0
    latency: float = 0.0
    in_flight: int = 0
    most_in_flight: int = 0


@dataclass
class Second:
    """What became of the requests that arrived in one second, by tier."""

    offered: list[int] = field(default_factory=lambda: [0] * 6)
    served: list[int] = field(default_factory=lambda: [0] * 6)
    """Answered within the deadline."""


class Upstream:
    """First come, first served by `workers`, each for a random time around `service` seconds.

    Args:
        refuses_beyond: requests in flight from which on it answers 503 at once; None queues without bound.
        deadline: seconds after which an answer is of no use to anyone.
    """

    def __init__(
        self,
        *,
        workers: int = 10,
        service: float = 0.05,
        deadline: float = 1.0,
        refuses_beyond: int | None = None,
        seed: int = 1,
    ) -> None:
        self.capacity = workers / service
        self.workers = workers
        self._service = service
        self._deadline = deadline
        self._refuses_beyond = refuses_beyond
        self._rng = random.Random(seed)
        self._free = [0.0] * workers
        self._ends: list[tuple[float, float]] = []
        self.seconds: list[Second] = []
        self.ticks: list[Tick] = []

    def run(
        self,
        phases: Sequence[tuple[float, float]],
        mix: Sequence[float],
        admit: Callable[[float, int, random.Random], bool],
        step: Callable[[Tick], None],
    ) -> None:
        """Offer Poisson arrivals for each (seconds, multiple of the capacity); mix is the share of each tier."""
        now = self.ticks[-1].at if self.ticks else 0.0
        begin = now
        tick = Tick(now + TICK)
        for length, load in phases:
            begin += length
            while True:
                now += self._rng.expovariate(load * self.capacity)
                while tick.at <= min(now, begin):
                    self._end(tick)
                    step(tick)
                    self.ticks.append(tick)
                    tick = Tick(tick.at + TICK)
                if now > begin:
                    now = begin
                    break
                tier = self._rng.choices(range(len(mix)), mix)[0]
                self._arrive(now, tier, tick, admitted=admit(now, tier, self._rng))

    def _arrive(self, now: float, tier: int, tick: Tick, *, admitted: bool) -> None:
        while len(self.seconds) <= int(now):
            self.seconds.append(Second())
        second = self.seconds[int(now)]
        second.offered[tier] += 1
        tick.offered[tier] += 1
        if not admitted:
            return
        tick.admitted += 1
        if self._refuses_beyond is not None and self._in_flight(now) >= self._refuses_beyond:
            tick.refused += 1
            return
        start = max(now, heapq.heappop(self._free))
        end = start + self._service * self._rng.uniform(0.5, 1.5)
        heapq.heappush(self._free, end)
        heapq.heappush(self._ends, (end, now))
        tick.most_in_flight = max(tick.most_in_flight, len(self._ends))
        if end - now <= self._deadline:
            second.served[tier] += 1

    def _in_flight(self, now: float) -> int:
        return sum(end > now for end, _ in self._ends)

    def _end(self, tick: Tick) -> None:
        waited = 0.0
        while self._ends and self._ends[0][0] <= tick.at:
            end, began = heapq.heappop(self._ends)
            waited += end - began
            tick.ended += 1
        tick.latency = waited / tick.ended if tick.ended else 0.0
        tick.in_flight = len(self._ends)

    def success(self, tiers: Sequence[int], since: float, until: float) -> float:
        """Return the share served of the requests of these tiers that arrived in whole seconds since..until."""
        seconds = self.seconds[int(since) : int(until)]
        offered = sum(second.offered[tier] for second in seconds for tier in tiers)
        return sum(second.served[tier] for second in seconds for tier in tiers) / max(offered, 1)

    def goodput(self, since: float, until: float) -> float:
        """Return requests served per second, as a share of the capacity."""
        seconds = self.seconds[int(since) : int(until)]
        return sum(sum(second.served) for second in seconds) / len(seconds) / self.capacity
