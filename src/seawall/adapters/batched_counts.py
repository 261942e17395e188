"""What all ways to shared counts have in common: batches, a time budget, a breaker, and late answers handed back."""

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Sequence

from seawall.systems.ratelimit.counts import CountAnswer, CountAsk, GiveBack, Reply
from seawall.systems.ratelimit.shared import undo
from seawall.systems.ratelimit.shared_bounds import MAX_REFUNDS, bounded_asks, bounded_refunds

__all__ = ["Batch", "BatchedCounts"]

_log = logging.getLogger("seawall.ratelimit.counts")

_STABLE = 1.0
"""Seconds that counts must have answered for before an outage is a new one, whose first retry comes soon."""
_GRACE = 0.001
"""Seconds that an answer gets when this process itself was late to look."""
_COMPLAINT_INTERVAL = 5.0
_MAX_DOUBLINGS = 16
_MAX_OWED = 4096
"""Late answers that are kept, to be handed back when the counts are there again; the oldest expire first anyway."""


class Batch:
    """What is asked in one turn of the event loop; it leaves in one piece.

    Attributes:
        requests: the asks of each request.
        refunds: what goes back with it.
        expired: whether the budget was over before every answer was here.
    """

    __slots__ = ("deadline", "expired", "extended", "left", "refunds", "replies", "requests", "timer")

    def __init__(self, deadline: float) -> None:
        self.requests: list[tuple[CountAsk, ...]] = []
        self.replies: list[Reply | None] = []
        self.refunds: list[GiveBack] = []
        self.deadline = deadline
        self.left = 0
        self.expired = False
        self.extended = False
        self.timer: asyncio.TimerHandle | None = None


class BatchedCounts(ABC):
    """Shared counts behind a connection that may be slow or away; implements `Counts` for one event loop.

    A request waits for its answer no longer than the budget. After some batches in a row without one, or at once when
    the connection is lost, nothing is asked any more: `available` is False, every `take` is answered with None in the
    same turn of the loop, and one probe at a time finds out whether the counts are back, at jittered and growing
    intervals. No request is ever a probe. A probe must be answered within the budget to count.

    Args:
        name: where the counts are, without secrets; for logs.
        budget: seconds.
        failures: batches in a row that may stay without an answer.
        first_retry: seconds before the first probe, at most; doubled each time.
        last_retry: seconds before a probe, at most.
        max_batch: requests that leave together.
        rng: for the jitter, so that many processes do not come back at the same moment.

    Attributes:
        asked: requests that were sent.
        unanswered: those of them that got no answer in time.
        late: answers that came after the budget, and were handed back.
        failed: answers that were errors.
        probes: tries to find out whether the counts are back.
    """

    def __init__(
        self,
        name: str,
        *,
        budget: float = 0.005,
        failures: int = 3,
        first_retry: float = 0.02,
        last_retry: float = 1.0,
        max_batch: int = 256,
        rng: random.Random | None = None,
    ) -> None:
        self.name = name
        self.budget = budget
        self.asked = 0
        self.unanswered = 0
        self.late = 0
        self.failed = 0
        self.probes = 0
        self._failures_allowed = failures
        self._first_retry = first_retry
        self._last_retry = last_retry
        self._max_batch = max_batch
        self._rng = rng or random.Random()  # noqa: S311 - jitter needs no secrecy
        self._loop: asyncio.AbstractEventLoop | None = None
        self._filling: Batch | None = None
        self._up = False
        self._closed = False
        self._reason = "not connected yet"
        self._probing = False
        self._retry: asyncio.TimerHandle | None = None
        self._tried: asyncio.Future[None] | None = None
        self._failures = 0
        self._attempts = 0
        self._up_since = 0.0
        self._away_since: float | None = None
        self._complained: dict[str, float] = {}
        self._owed: list[GiveBack] = []

    @property
    def available(self) -> bool:
        """Whether asking makes sense now."""
        return self._up

    @property
    def reason(self) -> str:
        """Why the counts are away; empty while they answer."""
        return "" if self._up else self._reason

    async def start(self) -> None:
        """Connect; return when that has succeeded, or failed a first time. It is tried again by itself then."""
        self._begin()
        if self._tried is not None:
            await asyncio.shield(self._tried)

    async def close(self) -> None:
        """Send what was given back, answer whoever still waits with None, and let go of the connection.

        Later asks are answered with None.
        """
        # Connections that were broken off just now tell of their end, and give back their permits, in the next turn.
        await asyncio.sleep(0)
        self._closed = True
        filling = self._filling
        if filling is not None:
            self._give_up(filling)
            self._flush(filling)
        self._up = False
        self._reason = "closed"
        if self._retry is not None:
            self._retry.cancel()
        await self._disconnect()
        if self._tried is not None and not self._tried.done():  # somebody may still wait for the start
            self._tried.set_result(None)

    def take(self, asks: tuple[CountAsk, ...], reply: Reply) -> None:
        """Take what a request costs, all or nothing over its binding asks; see `Counts.take`.

        Raises:
            InvalidError: a number is none, or there is too much of something; nothing is taken and nothing replied.
        """
        asks = bounded_asks(asks)
        batch = self._filling or self._open_batch()
        batch.requests.append(asks)
        batch.replies.append(reply)
        batch.left += 1
        if batch.timer is None and self._loop is not None:
            batch.timer = self._loop.call_later(self.budget, self._expire, batch)
        if len(batch.requests) >= self._max_batch:
            self._filling = None

    def give_back(self, refunds: Sequence[GiveBack]) -> None:
        """Hand back what was taken and not used; dropped while the counts are away.

        Raises:
            InvalidError: a number is none.
        """
        start = 0
        while self._up and start < len(refunds):
            batch = self._filling or self._open_batch()
            end = start + MAX_REFUNDS - len(batch.refunds)  # more at once, and whoever counts would take none of them
            batch.refunds += bounded_refunds(refunds[start:end])
            start = end
            if len(batch.refunds) >= MAX_REFUNDS:
                self._filling = None

    # -- what a way to the counts does ---------------------------------------------------------------------------------

    @abstractmethod
    def _send(self, batch: Batch) -> None:
        """Send a batch; each answer ends in `_answered` or `_refused`, the loss of all that is under way in `_lost`."""

    @abstractmethod
    def _probe(self) -> None:
        """Begin to find out whether the counts are there, connecting if need be; it ends in `_probe_ended`."""

    @abstractmethod
    async def _disconnect(self) -> None:
        """Close the connection; give up every batch that is under way by `_give_up`."""

    # -- what it says --------------------------------------------------------------------------------------------------

    def _answered(self, batch: Batch, index: int, answers: tuple[CountAnswer, ...]) -> None:
        """Pass an answer on to who waits for it, or hand back what it took when nobody does any more."""
        reply = batch.replies[index]
        if reply is None:
            self.late += 1
            self._owed += undo(batch.requests[index], answers)
            if self._up:
                self._pay_back()
            elif len(self._owed) > _MAX_OWED:
                del self._owed[:-_MAX_OWED]
            return
        self._failures = 0
        self._reply(batch, index, reply, answers)

    def _refused(self, batch: Batch, index: int, error: str) -> None:
        """Take note that the counts answered one request with an error: it is that request's, not theirs."""
        self.failed += 1
        self._complain("refused", f"a request is refused by the shared counts at {self.name}: {error}")
        reply = batch.replies[index]
        if reply is not None:
            self._reply(batch, index, reply, None)

    def _lost(self, reason: str, under_way: Sequence[Batch]) -> None:
        """Take note that the connection is gone and, with it, every answer that was to come."""
        if self._probing:
            self._probe_ended(reason)
        else:
            self._trip(reason)
        for batch in under_way:
            self._give_up(batch)

    def _give_up(self, batch: Batch) -> None:
        """Answer with None whoever of a batch still waits."""
        if self._filling is batch:  # who asks from within a reply needs a batch that is still to be answered
            self._filling = None
        if batch.timer is not None:
            batch.timer.cancel()
        batch.expired = True
        for index, reply in enumerate(batch.replies):
            if reply is not None:
                self._reply(batch, index, reply, None)

    def _probe_ended(self, reason: str) -> None:
        """Take note of a probe's end; `reason` is empty when the counts answered it."""
        if not self._probing:
            return
        self._probing = False
        if self._tried is not None and not self._tried.done():
            self._tried.set_result(None)
        if self._closed:
            return
        if reason:
            self._reason = reason
            if self._away_since is None:
                self._note_away()
            self._schedule_probe()
            return
        now = self._now()
        self._up, self._up_since, self._failures = True, now, 0
        if self._away_since is not None:
            _log.info("the shared counts at %s answer again after %.1f s", self.name, now - self._away_since)
            self._away_since = None
        self._pay_back()

    def _complain(self, kind: str, message: str) -> None:
        """Warn, at most once in some seconds for each kind: the cause is the same for many requests."""
        now = self._now()
        if now - self._complained.get(kind, float("-inf")) >= _COMPLAINT_INTERVAL:
            self._complained[kind] = now
            _log.warning("%s", message)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _begin(self) -> asyncio.AbstractEventLoop:
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
            self._tried = loop.create_future()
            self._start_probe()
        return loop

    def _now(self) -> float:
        return self._loop.time() if self._loop is not None else 0.0

    def _open_batch(self) -> Batch:
        loop = self._loop or self._begin()
        batch = self._filling = Batch(loop.time() + self.budget)
        loop.call_soon(self._flush, batch)
        return batch

    def _flush(self, batch: Batch) -> None:
        if self._filling is batch:
            self._filling = None
        if batch.expired:  # some loops run timers first; what goes back does so all the same
            batch.requests.clear()
            if not batch.refunds:
                return
        if not self._up:
            self._give_up(batch)
            return
        self.asked += batch.left
        self._send(batch)

    def _expire(self, batch: Batch) -> None:
        loop = self._loop
        if loop is not None and not batch.extended and loop.time() - batch.deadline > self.budget / 2:
            # The loop was busy, and the answer may lie in the socket: some loops run timers before they look there.
            batch.extended = True
            batch.timer = loop.call_later(_GRACE, self._expire, batch)
            return
        self.unanswered += batch.left
        self._give_up(batch)
        if self._up:
            self._failures += 1
            if self._failures >= self._failures_allowed:
                self._trip(f"no answer within {self.budget * 1000:g} ms, {self._failures} times in a row")

    def _reply(self, batch: Batch, index: int, reply: Reply, answers: tuple[CountAnswer, ...] | None) -> None:
        batch.replies[index] = None
        batch.left -= 1
        if not batch.left and batch.timer is not None:
            batch.timer.cancel()
        try:
            reply(answers)
        except Exception:  # noqa: BLE001 - one request's defect must not take the others' answers
            _log.exception("the answer of shared counts could not be taken")

    def _trip(self, reason: str) -> None:
        if not self._up:
            return
        self._up = False
        self._reason = reason
        if self._now() - self._up_since >= _STABLE:
            self._attempts = 0
        self._note_away()
        self._schedule_probe()

    def _note_away(self) -> None:
        self._away_since = self._now()
        self._complain(
            "away",
            f"the shared counts at {self.name} are away ({self._reason}); rules decide by their on_store_failure",
        )

    def _pay_back(self) -> None:
        owed, self._owed = self._owed, []
        self.give_back(owed)

    def _schedule_probe(self) -> None:
        if self._closed or self._loop is None:
            return
        longest = min(self._first_retry * 2.0 ** min(self._attempts, _MAX_DOUBLINGS), self._last_retry)
        self._attempts += 1
        self._retry = self._loop.call_later(longest * self._rng.uniform(0.5, 1.0), self._start_probe)

    def _start_probe(self) -> None:
        self.probes += 1
        self._probing = True
        self._probe()
