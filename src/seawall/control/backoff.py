"""When to start a process again that ended: at once, then ever later while it keeps ending."""

from seawall.core.clock import Clock

__all__ = ["RestartBackoff"]


class RestartBackoff:
    """Delays between restarts of one process.

    The first restart is immediate, because most ends are single ones (a kill, a bug in one request). Each further end
    soon after doubles the delay from `base` up to `cap`. A process that lived for `stable` seconds starts afresh.

    Args:
        cap: longest delay in seconds.
        base: delay in seconds before the second restart.
        stable: seconds of life after which earlier ends no longer count.
    """

    def __init__(self, clock: Clock, *, cap: float, base: float = 0.1, stable: float = 10.0) -> None:
        self._clock = clock
        self._cap = cap
        self._base = min(base, cap)
        self._stable = stable
        self._started_at = clock.monotonic()
        self._ends = 0

    def started(self) -> None:
        """Take note that the process was started now."""
        self._started_at = self._clock.monotonic()

    def ended(self) -> float:
        """Take note that the process ended now, and return the seconds to wait before it is started again."""
        if self._clock.monotonic() - self._started_at >= self._stable:
            self._ends = 0
        self._ends += 1
        if self._ends == 1:
            return 0.0
        # The exponent is bounded so that a process that fails for a year does not overflow a float.
        return min(self._cap, self._base * 2.0 ** min(self._ends - 2, 32))
