"""How loaded a server is, seen from its own requests: what is in flight, how long they take, how many fail."""

from seawall.systems.ratelimit.factors import LoadSample

__all__ = ["LoadMeter"]

_ENOUGH = 10
"""Requests that must have ended for their mean latency and error rate to say something."""
_OLDEST = 1.0
"""Seconds over which a quiet server's requests are gathered before they are dropped."""


class LoadMeter:
    """Counts of one server's admitted requests, read off every 100 ms; not for concurrent use.

    Attributes:
        in_flight: requests being served now.
        peak: the most that were in flight since the last sample.
        ended: requests that ended, cumulative.
        failed: those of them that failed for the server's sake, cumulative.
    """

    __slots__ = ("_errors", "_gathered", "_seconds", "_since", "ended", "failed", "in_flight", "peak")

    def __init__(self) -> None:
        self.in_flight = 0
        self.peak = 0
        self.ended = 0
        self.failed = 0
        self._since = 0.0
        self._gathered = 0
        self._seconds = 0.0
        self._errors = 0

    def start(self) -> None:
        """Count a request as in flight."""
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)

    def finish(self, seconds: float, *, failed: bool) -> None:
        """Count a request as served.

        Args:
            seconds: until the response began, so that a client that reads slowly is not taken for load.
            failed: whether the server failed; a client's own mistake is none.
        """
        self.in_flight -= 1
        self.ended += 1
        self.failed += failed
        self._gathered += 1
        self._seconds += seconds
        self._errors += failed

    def sample(self, now: float, capacity: float) -> LoadSample:
        """Return what was seen since the last sample; latency and errors only when enough requests ended.

        Args:
            now: monotonic seconds.
            capacity: requests in flight that the server bears; 0 when unknown.
        """
        latency = error_rate = 0.0
        if self._gathered >= _ENOUGH:
            latency = self._seconds / self._gathered
            error_rate = self._errors / self._gathered
        if self._gathered >= _ENOUGH or not 0.0 <= now - self._since < _OLDEST:
            self._since, self._gathered, self._seconds, self._errors = now, 0, 0.0, 0
        self.peak = self.in_flight
        return LoadSample(at=now, latency=latency, in_flight=self.in_flight, capacity=capacity, error_rate=error_rate)
