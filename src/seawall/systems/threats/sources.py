"""How many different clients there are, over all workers: by route and in all, now and of late."""

from seawall.systems.threats.distinct import DistinctCounter

__all__ = ["EVERYWHERE", "SourceCounts"]

EVERYWHERE = "*"
"""Stands for all routes together."""

_PERIOD = 30.0


class SourceCounts:
    """Counts different clients of routes since the last look, and within the last 30 to 60 seconds.

    Bounded by the number of routes: about 2 KiB for each. Not for concurrent use.
    """

    def __init__(self) -> None:
        self._since_look: dict[str, DistinctCounter] = {}
        self._lately: dict[str, DistinctCounter] = {}
        self._before: dict[str, DistinctCounter] = {}
        self._turned = 0.0

    def add(self, route: str, packed: bytes) -> None:
        """Take what a guard saw of a route.

        Raises:
            InvalidError: it is not what a counter has packed.
        """
        self._since_look.setdefault(route, DistinctCounter()).merge(packed)

    def look(self, now: float) -> dict[str, int]:
        """Return how many came since the last look, by route and under `EVERYWHERE`.

        Args:
            now: monotonic seconds; a clock that goes backwards begins a new period.
        """
        if not 0.0 <= now - self._turned < _PERIOD:
            self._before, self._lately, self._turned = self._lately, {}, now
        seen, self._since_look = self._since_look, {}
        everywhere = DistinctCounter()
        for counter in seen.values():
            everywhere.merge(counter.packed())
        if seen:
            seen[EVERYWHERE] = everywhere
        for route, counter in seen.items():
            self._lately.setdefault(route, DistinctCounter()).merge(counter.packed())
        return {route: counter.count() for route, counter in seen.items()}

    def lately(self) -> dict[str, int]:
        """Return how many came within the 30 to 60 seconds before the last look, by route and under `EVERYWHERE`."""
        found = {}
        for route in self._lately.keys() | self._before.keys():
            both = DistinctCounter()
            for counters in (self._lately, self._before):
                if route in counters:
                    both.merge(counters[route].packed())
            found[route] = both.count()
        return found
