"""The factors of the last hour, in points of ten seconds: constant space, whatever happens."""

from collections import deque
from collections.abc import Mapping

import msgspec

__all__ = ["POINTS", "SECONDS", "History", "Point"]

SECONDS = 10.0
POINTS = 360


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """Ten seconds, or what of them was observed.

    Attributes:
        at: when they began, seconds since the Unix epoch.
        load: (lowest, mean) factor of the worst pool.
        threat: (lowest, mean) factor for everybody.
        admission: lowest share let in of all requests, that is of the tier shed most.
        refused: requests refused, by reason.
        allowed: requests allowed by a rule.
    """

    at: float
    load: tuple[float, float]
    threat: tuple[float, float]
    admission: float
    refused: dict[str, int]
    allowed: int


class History:
    """A ring of points; `step` is called about every 100 ms, in any case more often than every ten seconds."""

    def __init__(self) -> None:
        self._points: deque[Point] = deque(maxlen=POINTS)
        self._began: float | None = None
        self._wall = 0.0
        self._load: list[float] = []
        self._threat: list[float] = []
        self._admission = 1.0
        self._totals: dict[str, int] = {}

    def step(self, now: float, wall: float, load: float, threat: float, admission: float) -> bool:
        """Observe the factors; return whether ten seconds are over, so that `close` is due.

        Args:
            now: monotonic seconds.
            wall: seconds since the Unix epoch.
            load: factor of the worst pool.
            threat: factor for everybody.
            admission: lowest share of any tier.
        """
        if self._began is None:
            self._began, self._wall = now, wall
        self._load.append(load)
        self._threat.append(threat)
        self._admission = min(self._admission, admission)
        return now - self._began >= SECONDS

    def close(self, totals: Mapping[str, int]) -> None:
        """End a point.

        Args:
            totals: requests since the start: `allowed`, and refused by reason.
        """
        if self._load:
            added = {name: max(count - self._totals.get(name, 0), 0) for name, count in totals.items()}
            self._points.append(
                Point(
                    at=self._wall,
                    load=(min(self._load), sum(self._load) / len(self._load)),
                    threat=(min(self._threat), sum(self._threat) / len(self._threat)),
                    admission=self._admission,
                    allowed=added.pop("allowed", 0),
                    refused=added,
                )
            )
        self._totals = dict(totals)
        self._began = None
        self._load.clear()
        self._threat.clear()
        self._admission = 1.0

    def points(self) -> list[Point]:
        """Return the points of the last hour that are over, oldest first."""
        return list(self._points)
