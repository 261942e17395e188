"""Events on their way into the store, to people and to whoever listens; none of them ever in the way of the others."""

import asyncio
import logging
import math
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from seawall.core.clock import Clock
from seawall.core.errors import StateError, StateUnavailableError
from seawall.core.tasks import end_tasks
from seawall.systems.threats.alerting import Alert, AlertGate
from seawall.systems.threats.events import EventStore, ThreatEvent
from seawall.systems.threats.model import Level

__all__ = ["MAX_LISTENERS", "Alerts", "EventLog", "Recorder"]

_log = logging.getLogger("seawall.threats")

_MAX_WAITING = 20_000
_BATCH = 1000
_FLUSH = 0.25
_RETRY = 1.0
_PRUNE = 60.0
MAX_LISTENERS = 100
"""Streams of events at a time."""
_LISTENER_QUEUE = 1000
_GRAVE = {Level.HIGH, Level.CRITICAL}


class Alerts(Protocol):
    """Where alerts go (`seawall.adapters.alerts.AlertSender`)."""

    def start(self) -> None:
        """Begin to send."""
        ...

    def post(self, alert: Alert) -> None:
        """Take an alert; never blocks."""
        ...

    async def stop(self) -> None:
        """End."""
        ...


EventLog = Callable[[Sequence[ThreatEvent]], None]
"""Writes events as lines to a file for other tools; raises `OSError` when it cannot."""


class Recorder:
    """Keep events, tell of grave ones, pass all of them to those who listen.

    While the store is away the newest 20,000 wait for it; what there is no room for is counted as lost.

    Args:
        store: where events are kept.
        clock: time.
        max_age: seconds that events are kept.
        max_events: that are kept.
        gate: holds back what people were told already; None tells nobody.
        alerts: where alerts go.
        log: writes events to a file; None for none.

    Attributes:
        log: as given; the next events go to whatever it is then.
        lost: events that could not be kept.
        trouble: why the store cannot be used; empty when it can.
    """

    def __init__(
        self,
        store: EventStore,
        clock: Clock,
        *,
        max_age: float,
        max_events: int,
        gate: AlertGate | None,
        alerts: Alerts | None,
        log: EventLog | None = None,
    ) -> None:
        self.store = store
        self.max_age = max_age
        self.max_events = max_events
        self.gate = gate
        self.lost = 0
        self.trouble = ""
        self._clock = clock
        self._alerts = alerts
        self.log = log
        self._log_failed = False
        self._waiting: deque[ThreatEvent] = deque()
        # Weak, because a reader that is gone before it read anything never runs to its end.
        self._listeners: weakref.WeakSet[asyncio.Queue[ThreatEvent | None]] = weakref.WeakSet()
        self._tasks: list[asyncio.Task[None]] = []
        self._pruned = 0.0

    def start(self) -> None:
        """Begin to write; call it within the running loop."""
        self._tasks = [asyncio.get_running_loop().create_task(self._run(), name="seawall-threats-events")]
        if self._alerts is not None:
            self._alerts.start()

    async def stop(self) -> None:
        """Write what waits, then end."""
        tasks, self._tasks = self._tasks, []
        await end_tasks(tasks)
        for listener in list(self._listeners):
            _put(listener, None)
        try:
            await self._flush()
        except StateError as error:
            _log.warning("%d threat events could not be kept: %s", len(self._waiting), error)
        if self._alerts is not None:
            await self._alerts.stop()
        await self.store.close()

    async def tell_by(self, alerts: Alerts | None) -> None:
        """Send alerts another way from now on; those on their way the old one are given up."""
        old, self._alerts = self._alerts, alerts
        if alerts is not None and self._tasks:
            alerts.start()
        if old is not None:
            await old.stop()

    def take(self, events: Sequence[ThreatEvent]) -> None:
        """Take events, redacted; never blocks."""
        now = self._clock.monotonic()
        for event in events:
            if len(self._waiting) >= _MAX_WAITING:
                self._waiting.popleft()
                self.lost += 1
            self._waiting.append(event)
            for listener in list(self._listeners):
                _put(listener, event)
            if event.level in _GRAVE and self.gate is not None and self._alerts is not None:
                alert = self.gate.admit(event, now)
                if alert is not None:
                    self._alerts.post(alert)
        self._write_log(events)

    @property
    def waiting(self) -> int:
        """Events that are not written yet."""
        return len(self._waiting)

    def listen(self, *, idle: float = math.inf) -> AsyncIterator[ThreatEvent | None]:
        """Return the events that come from now on, until the end; a listener that is too slow misses the oldest.

        Args:
            idle: seconds without an event after which None stands for one.

        Raises:
            StateUnavailableError: too many listen already.
        """
        if len(self._listeners) >= MAX_LISTENERS:
            raise StateUnavailableError(f"{MAX_LISTENERS} listen already", hint="close another stream first")
        queue: asyncio.Queue[ThreatEvent | None] = asyncio.Queue(_LISTENER_QUEUE)
        self._listeners.add(queue)
        return self._heard(queue, None if math.isinf(idle) else idle)

    async def _heard(
        self, queue: "asyncio.Queue[ThreatEvent | None]", idle: float | None
    ) -> AsyncIterator[ThreatEvent | None]:
        try:
            while True:
                try:
                    async with asyncio.timeout(idle):
                        event = await queue.get()
                except TimeoutError:
                    yield None
                    continue
                if event is None:
                    return
                yield event
        finally:
            self._listeners.discard(queue)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH)
            try:
                await self._flush()
                await self._prune()
            except StateError as error:
                if not self.trouble:
                    _log.warning("threat events cannot be kept for now: %s", error)
                self.trouble = error.message
                await asyncio.sleep(_RETRY)
            except Exception as error:  # noqa: BLE001 - logged and told; one defect must not end the keeping of events
                if not self.trouble:
                    _log.exception("threat events cannot be kept for now")
                self.trouble = repr(error)
                await asyncio.sleep(_RETRY)
            else:
                self.trouble = ""

    async def _flush(self) -> None:
        while self._waiting:
            batch = [self._waiting[index] for index in range(min(_BATCH, len(self._waiting)))]
            await self.store.append(batch)
            # What came meanwhile stands behind; what was pushed out in front was in the batch.
            kept = {event.id for event in batch}
            while self._waiting and self._waiting[0].id in kept:
                self._waiting.popleft()

    async def _prune(self) -> None:
        now = self._clock.monotonic()
        if now - self._pruned >= _PRUNE:
            self._pruned = now
            await self.store.prune(older_than=self._clock.wall() - self.max_age, keep=self.max_events)

    def _write_log(self, events: Sequence[ThreatEvent]) -> None:
        if self.log is None or not events:
            return
        try:
            self.log(events)
        except OSError as error:
            if not self._log_failed:
                _log.error("threat events cannot be written to their file: %s", error)
            self._log_failed = True
        else:
            self._log_failed = False


def _put(queue: "asyncio.Queue[ThreatEvent | None]", event: ThreatEvent | None) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(event)
