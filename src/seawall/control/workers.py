"""Which workers there are: connected, cut off but alive, or gone."""

import os
from collections.abc import Callable, Iterator

import msgspec

from seawall.core.clock import Clock
from seawall.core.system import WorkerId

__all__ = ["WorkerRoll", "WorkerStatus"]


class WorkerStatus(msgspec.Struct, frozen=True):
    """One worker as the control plane sees it; times in seconds since the Unix epoch, 0 for never."""

    slot: str
    pid: int
    connected: bool
    connected_at: float
    last_report_at: float


class _Entry:
    __slots__ = ("connected_at", "connections", "last_report_at")

    def __init__(self) -> None:
        self.connections = 0
        self.connected_at = 0.0
        self.last_report_at = 0.0


class WorkerRoll:
    """Keep the roll of workers.

    A lost connection does not end a worker: it may come back with counters that go on from where they were, and to
    forget it would count them twice. It is gone when its process is, or when another process has taken its slot.

    Args:
        on_gone: called once for each worker that is gone.
        alive: tells whether a process id still runs.
    """

    def __init__(
        self, clock: Clock, on_gone: Callable[[WorkerId], None], *, alive: Callable[[int], bool] | None = None
    ) -> None:
        self._clock = clock
        self._on_gone = on_gone
        self._alive = alive or _process_runs
        self._entries: dict[WorkerId, _Entry] = {}

    def __iter__(self) -> Iterator[WorkerStatus]:
        for (slot, pid), entry in sorted(self._entries.items()):
            yield WorkerStatus(slot, pid, entry.connections > 0, entry.connected_at, entry.last_report_at)

    @property
    def connected(self) -> int:
        """Return how many workers are connected."""
        return sum(entry.connections > 0 for entry in self._entries.values())

    def joined(self, worker: WorkerId) -> None:
        """Take note of a connection."""
        for other in [other for other in self._entries if other[0] == worker[0] and other != worker]:
            self._forget(other)
        entry = self._entries.setdefault(worker, _Entry())
        entry.connections += 1
        entry.connected_at = self._clock.wall()

    def reported(self, worker: WorkerId) -> None:
        """Take note of a report; nothing for a worker that is gone."""
        entry = self._entries.get(worker)
        if entry is not None:
            entry.last_report_at = self._clock.wall()

    def lost(self, worker: WorkerId) -> None:
        """Take note of the end of a connection."""
        entry = self._entries.get(worker)
        if entry is not None:
            # A worker that reconnects quickly has two for a moment: the end of the old one is seen after the new one
            # began.
            entry.connections -= 1

    def sweep(self) -> None:
        """Forget those without a connection whose process has ended."""
        for worker in [worker for worker, entry in self._entries.items() if entry.connections <= 0]:
            if not self._alive(worker[1]):
                self._forget(worker)

    def _forget(self, worker: WorkerId) -> None:
        del self._entries[worker]
        self._on_gone(worker)


def _process_runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
