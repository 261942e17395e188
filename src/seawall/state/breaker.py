"""A breaker and a time budget around every call, so that a store that is away costs little and is not hammered."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TypeVar

from seawall.core.clock import Clock
from seawall.core.errors import StateTimeoutError, StateUnavailableError

__all__ = ["Breaker", "BreakerState", "GuardedCalls"]

T = TypeVar("T")


class BreakerState(StrEnum):
    """What happens to a call."""

    CLOSED = "closed"
    """Calls pass."""
    OPEN = "open"
    """Calls are refused at once."""
    HALF_OPEN = "half-open"
    """One call is under way to find out whether the store is back; the others are refused."""


class Breaker:
    """Count failures in a row and refuse calls for a while once there are too many.

    Args:
        failures: failures in a row that open it, at least 1.
        reset: seconds that it stays open before one call may try again.
    """

    def __init__(self, *, failures: int, reset: float, clock: Clock) -> None:
        self._limit = failures
        self._reset = reset
        self._clock = clock
        self._failures = 0
        self._opened_at = 0.0
        self._reason = ""
        self._state = BreakerState.CLOSED

    @property
    def state(self) -> BreakerState:
        """Whether calls pass; an open breaker turns half-open with the first call after its rest."""
        return self._state

    @property
    def reason(self) -> str:
        """What the newest failure was; empty when the last call succeeded."""
        return self._reason

    def admit(self) -> bool:
        """Return whether a call may be made; each admitted call must end in `succeed`, `fail` or `abandon`."""
        if self._state is BreakerState.CLOSED:
            return True
        if self._state is BreakerState.OPEN and self._clock.monotonic() - self._opened_at >= self._reset:
            self._state = BreakerState.HALF_OPEN
            return True
        return False

    def succeed(self) -> None:
        """Take note that the store answered, whatever it said."""
        self._failures = 0
        self._reason = ""
        self._state = BreakerState.CLOSED

    def fail(self, reason: str) -> None:
        """Take note that the store did not answer."""
        self._failures += 1
        self._reason = reason
        if self._state is BreakerState.HALF_OPEN or (
            self._state is BreakerState.CLOSED and self._failures >= self._limit
        ):
            self._state = BreakerState.OPEN
            self._opened_at = self._clock.monotonic()

    def abandon(self) -> None:
        """Take note that a call ended without telling anything (it was cancelled); the next one may try."""
        if self._state is BreakerState.HALF_OPEN:
            self._state = BreakerState.OPEN


class GuardedCalls:
    """Make calls within a time budget and behind a breaker; shared by the backends that can be away.

    Args:
        url: the store's URL without secrets, for messages.
        timeout: seconds that one call may take.
    """

    def __init__(self, url: str, *, timeout: float, breaker: Breaker) -> None:
        self._url = url
        self._timeout = timeout
        self.breaker = breaker

    async def call(self, verb: str, operation: Callable[[], Awaitable[T]], *, budget: float | None = None) -> T:
        """Await the operation.

        Args:
            verb: what is done, for messages.
            operation: raises `StateUnavailableError` when the store is away, other errors when it answered with one.
            budget: seconds, in place of the usual ones.

        Raises:
            StateTimeoutError: the budget is spent; the operation was cancelled.
            StateUnavailableError: the breaker is open, or the operation raised it.
        """
        if not self.breaker.admit():
            raise StateUnavailableError(
                f"cannot {verb}: state store {self._url} is left alone after repeated failures: {self.breaker.reason}",
                hint="it is tried again by itself; see to the store",
            )
        seconds = self._timeout if budget is None else budget
        try:
            async with asyncio.timeout(seconds):
                result = await operation()
        except TimeoutError as error:
            message = f"cannot {verb}: state store {self._url} did not answer within {seconds * 1000:.0f} ms"
            self.breaker.fail(message)
            raise StateTimeoutError(message, hint="see to the store's load, or raise state.timeout_ms") from error
        except StateUnavailableError as error:
            self.breaker.fail(error.message)
            raise
        except Exception:
            self.breaker.succeed()
            raise
        except BaseException:  # cancelled, or the process ends
            self.breaker.abandon()
            raise
        self.breaker.succeed()
        return result
