"""An application's limiter over shared counts: it asks, waits no longer than the budget, and gives back."""

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from seawall.adapters.batched_counts import BatchedCounts
from seawall.core.errors import SeawallError
from seawall.systems.ratelimit.counts import CountAnswer, GiveBack
from seawall.systems.ratelimit.engine import Ask
from seawall.systems.ratelimit.keys import LimitContext
from seawall.systems.ratelimit.local import LocalLimits
from seawall.systems.ratelimit.model import LimitResult

__all__ = ["SharedLimits"]

_log = logging.getLogger("seawall.ratelimit.counts")

_TICK = 0.1
"""Seconds between two looks for leases that have expired."""
_QUIET_TICKS = 10
"""Looks that may find nothing before there are no more, until the next decision; a lease is over long before."""


class SharedLimits:
    """Decide with the help of shared counts, on any number of event loops.

    Each loop has a connection of its own, made by its first decisions, which wait for that once: a second at most.

    Args:
        limits: the decisions.
        lock: held while `limits` is used, which belongs to whoever else decides by it.
        connect: makes the counts for one loop.
    """

    def __init__(
        self, limits: LocalLimits, lock: AbstractContextManager[object], connect: Callable[[], BatchedCounts]
    ) -> None:
        self._limits = limits
        self._lock = lock
        self._connect = connect
        self._places: dict[asyncio.AbstractEventLoop, _Place] = {}

    async def check(self, context: LimitContext) -> LimitResult:
        """Decide on one request; a caller that is cancelled meanwhile has taken nothing.

        Raises:
            CostError: the cost is negative, infinite or not a number; nothing was taken.
        """
        place = self._here() or self._settle_down()
        if not place.arrived:
            await place.counts.start()
            place.arrived = True
        with self._lock:
            begun = self._limits.begin(context)
        place.stir()
        if isinstance(begun, LimitResult):
            return begun
        if not place.counts.available:
            return self._settle(begun, None)
        return await self._ask(place.counts, begun)

    def reason(self) -> str:
        """Return why the counts of this loop are away; empty while they answer."""
        place = self._here()
        return place.counts.reason if place is not None else "not connected yet"

    def return_soon(self) -> None:
        """Send what refunds, releases and resets gave back; callable from any thread, and from none with a loop."""
        place = self._here()
        if place is not None:
            place.give_back()
            return
        for loop, other in list(self._places.items()):
            with contextlib.suppress(RuntimeError):  # a loop that was closed meanwhile
                loop.call_soon_threadsafe(other.give_back)
                return
        with self._lock:  # there is nobody to give it to, so it expires where it is
            self._limits.engine.returns()

    async def close(self) -> None:
        """Give back what this loop's leases hold, and close its connection."""
        place = self._here()
        if place is not None:
            del self._places[asyncio.get_running_loop()]
            await place.close()

    def _here(self) -> "_Place | None":
        try:
            return self._places.get(asyncio.get_running_loop())
        except RuntimeError:
            return None

    def _settle_down(self) -> "_Place":
        for loop in [loop for loop in self._places if loop.is_closed()]:
            del self._places[loop]
        place = _Place(self._connect(), self._limits, self._lock)
        self._places[asyncio.get_running_loop()] = place
        return place

    def _settle(self, ask: Ask, answers: tuple[CountAnswer, ...] | None) -> LimitResult:
        with self._lock:
            return self._limits.settle(ask, answers)

    async def _ask(self, counts: BatchedCounts, ask: Ask) -> LimitResult:
        waiting: asyncio.Future[LimitResult] = asyncio.get_running_loop().create_future()

        def reply(answers: tuple[CountAnswer, ...] | None) -> None:
            try:
                result = self._settle(ask, answers)
            except Exception as error:
                if waiting.cancelled():
                    raise
                waiting.set_exception(error)  # raised where the caller waits, who would wait for ever
                return
            if waiting.cancelled():
                self._put_back(result)
            else:
                waiting.set_result(result)

        try:
            counts.take(ask.asks, reply)
        except SeawallError:
            _log.exception("shared counts cannot be asked what a request needs; it is decided without them")
            return self._settle(ask, None)
        try:
            return await waiting
        except asyncio.CancelledError:
            # Answered in the same turn of the loop.
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                self._put_back(waiting.result())
            raise

    def _put_back(self, result: LimitResult) -> None:
        """Return what a request took that nobody waits for any more."""
        with self._lock:
            self._limits.put_back(result)
        self.return_soon()


class _Place:
    """One loop's counts, and what goes back to them from time to time."""

    def __init__(self, counts: BatchedCounts, limits: LocalLimits, lock: AbstractContextManager[object]) -> None:
        self.counts = counts
        self.arrived = False
        self._limits = limits
        self._lock = lock
        self._timer: asyncio.TimerHandle | None = None
        self._quiet = 0

    def stir(self) -> None:
        """Look for expired leases for a while."""
        self._quiet = 0
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_TICK, self._tick)

    def give_back(self) -> None:
        """Send what was given back since the last time."""
        with self._lock:
            returns = self._limits.engine.returns()
        self._send(returns)

    async def close(self) -> None:
        """Give back every lease, and close."""
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            returns = self._limits.engine.sweep(math.inf)
        self._send(returns)
        await asyncio.sleep(0)  # what is given back leaves in the next turn of the loop
        await self.counts.close()

    def _tick(self) -> None:
        self._timer = None
        with self._lock:
            returns = self._limits.sweep()
        self._send(returns)
        self._quiet += 1
        if self._quiet < _QUIET_TICKS:
            self._timer = asyncio.get_running_loop().call_later(_TICK, self._tick)

    def _send(self, returns: Sequence[GiveBack]) -> None:
        if returns:
            self.counts.give_back(returns)
