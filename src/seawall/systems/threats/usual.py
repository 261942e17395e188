"""What is usual of each route, and when it is not: reported, never acted on."""

import math
from collections.abc import Iterator, Mapping

import msgspec

from seawall.systems.threats.baseline import Baseline, Oddity
from seawall.systems.threats.tally import RouteSeen

__all__ = ["Anomaly", "BaselineView", "Usual"]

_MAX_ROUTES = 1000
_ENOUGH = 10
_FLOORS = {"rate": 20.0, "errors": 0.1, "latency": 0.05, "bytes": 4096.0}
_UNITS = {"rate": "requests/s", "errors": "share", "latency": "s", "bytes": "bytes"}


class Anomaly(msgspec.Struct, frozen=True):
    """A route behaves unlike itself."""

    route: str
    what: str
    oddity: Oddity

    @property
    def text(self) -> str:
        """The anomaly in words."""
        unit = _UNITS[self.what]
        return f"{self.what} of {self.route} is {self.oddity.value:.3g} {unit}, usually {self.oddity.usual:.3g}"


class BaselineView(msgspec.Struct, frozen=True):
    """What is usual of a route; `odd` names what is not usual now."""

    route: str
    means: dict[str, float]
    warm: bool
    odd: tuple[str, ...]


class Usual:
    """Baselines of rate, share of errors, latency and size, by route.

    Args:
        threshold: modified z-score above which something is odd.
        interval: seconds between two looks.
    """

    def __init__(self, threshold: float, *, interval: float = 10.0) -> None:
        self._threshold = threshold
        self._interval = interval
        self._since: float | None = None
        self._gathered: dict[str, list[float]] = {}
        self._baselines: dict[str, dict[str, Baseline]] = {}
        self._odd: dict[str, tuple[str, ...]] = {}

    def gather(self, seen: Mapping[str, RouteSeen]) -> None:
        """Take what came since the last time."""
        for route, row in seen.items():
            known = self._gathered.setdefault(route, [0.0] * 4)
            known[0] += row.requests
            known[1] += row.client_errors + row.server_errors
            known[2] += row.seconds
            known[3] += row.bytes

    def step(self, now: float, wall: float) -> Iterator[Anomaly]:
        """Yield what is odd, once when it begins; nothing until a look is due.

        Args:
            now: monotonic seconds.
            wall: seconds since the Unix epoch, for the hour of the week.
        """
        since = self._since
        if since is None or now < since:
            self._since = now
            return
        if now - since < self._interval:
            return
        self._since = now
        gathered, self._gathered = self._gathered, {}
        hour = int(wall // 3600)
        for route in gathered.keys() | self._baselines.keys():
            yield from self._judge(route, gathered.get(route, [0.0] * 4), now - since, hour)

    def views(self) -> list[BaselineView]:
        """Return what is usual, by route."""
        return [
            BaselineView(
                route=route,
                means={what: baseline.mean for what, baseline in known.items() if not math.isnan(baseline.mean)},
                warm=all(baseline.warm for baseline in known.values()),
                odd=self._odd.get(route, ()),
            )
            for route, known in sorted(self._baselines.items())
        ]

    def _judge(self, route: str, row: list[float], seconds: float, hour: int) -> Iterator[Anomaly]:
        baselines = self._baselines.get(route)
        if baselines is None:
            if len(self._baselines) >= _MAX_ROUTES:
                return
            baselines = self._baselines[route] = {
                what: Baseline(floor=floor, threshold=self._threshold) for what, floor in _FLOORS.items()
            }
        requests = row[0]
        values = {"rate": requests / seconds}
        if requests >= _ENOUGH:
            values |= {"errors": row[1] / requests, "latency": row[2] / requests, "bytes": row[3] / requests}
        before = self._odd.get(route, ())
        odd = []
        for what, value in values.items():
            oddity = baselines[what].observe(value, hour)
            if oddity.odd:
                odd.append(what)
                if what not in before:
                    yield Anomaly(route, what, oddity)
        self._odd[route] = tuple(odd)
