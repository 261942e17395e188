"""Servers in virtual time: one that takes as long as it takes, and one that shares its processors."""

import heapq
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from seawall.middleware.load import LoadTracker

if TYPE_CHECKING:
    from simulation.world import World

__all__ = ["DelayServer", "Server", "SharedServer"]

Served = Callable[[int], None]


class Server(Protocol):
    """What a worker can reach."""

    tracker: LoadTracker
    closed: bool

    def serve(self, served: Served) -> None:
        """Take a request; call back with its status when it is served."""
        ...


class DelayServer:
    """Answers each request after a sampled time, whatever else it does.

    Attributes:
        sample: seconds of the next request.
        status: what it answers.
    """

    def __init__(self, world: "World", sample: Callable[[], float]) -> None:
        self.world = world
        self.tracker = LoadTracker(world.clock)
        self.closed = False
        self.sample = sample
        self.status = 200

    def serve(self, served: Served) -> None:
        """Take a request and answer it after a sampled time."""
        token = self.tracker.start()
        self.world.at(self.world.now + self.sample(), self._end, token, served)

    def _end(self, token: tuple[float, int], served: Served) -> None:
        self.tracker.finish(token)
        served(self.status)


class SharedServer:
    """Processor sharing: n requests on c processors each run at min(1, c / n).

    Args:
        cores: processors that it may use now; may be below or above what it was allotted.
        sample: processor seconds that the next request needs.
    """

    def __init__(self, world: "World", cores: float, sample: Callable[[], float]) -> None:
        self.world = world
        self.tracker = LoadTracker(world.clock)
        self.closed = False
        self.cores = cores
        self.sample = sample
        self._work = 0.0  # processor seconds that each request in service has had since the start of time
        self._since = 0.0
        self._jobs: list[tuple[float, int, tuple[float, int], Served]] = []
        self._count = 0
        self._epoch = 0

    def serve(self, served: Served) -> None:
        """Take a request and let it share the processors."""
        self._advance()
        self._count += 1
        heapq.heappush(self._jobs, (self._work + self.sample(), self._count, self.tracker.start(), served))
        self._plan()

    def _rate(self) -> float:
        return min(1.0, self.cores / len(self._jobs)) if self._jobs else 1.0

    def _advance(self) -> None:
        self._work += (self.world.now - self._since) * self._rate()
        self._since = self.world.now

    def _plan(self) -> None:
        self._epoch += 1
        if self._jobs:
            due = self.world.now + max(self._jobs[0][0] - self._work, 0.0) / self._rate()
            self.world.at(due, self._finish, self._epoch)

    def _finish(self, epoch: int) -> None:
        if epoch != self._epoch:
            return
        self._advance()
        _, _, token, served = heapq.heappop(self._jobs)
        self.tracker.finish(token)
        self._plan()
        served(200)
