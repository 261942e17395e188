"""A clock that stands still until it is told to move."""

__all__ = ["FakeClock"]


class FakeClock:
    """A `seawall.core.clock.Clock` under the test's control.

    Args:
        monotonic: seconds at the start.
        wall: seconds since the Unix epoch at the start.
    """

    def __init__(self, *, monotonic: float = 1000.0, wall: float = 1_700_000_000.0) -> None:
        self._monotonic = monotonic
        self._wall = wall

    def monotonic(self) -> float:
        """Return seconds since an arbitrary point."""
        return self._monotonic

    def wall(self) -> float:
        """Return seconds since the Unix epoch."""
        return self._wall

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks; `seconds` must not be negative."""
        if seconds < 0:
            raise ValueError(f"time cannot pass backwards: {seconds} s")
        self._monotonic += seconds
        self._wall += seconds

    def set_wall(self, seconds: float) -> None:
        """Step the wall clock, as an operator or NTP does; the monotonic clock goes on as before."""
        self._wall = seconds
