"""Time as a parameter: nothing in an engine reads the wall clock by itself."""

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """A source of time, injected wherever time matters."""

    def monotonic(self) -> float:
        """Return seconds since an arbitrary point; never goes backwards."""
        ...

    def wall(self) -> float:
        """Return seconds since the Unix epoch; may jump in both directions."""
        ...


class SystemClock:
    """The machine's clock."""

    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
