"""`geographic`: the nearest region that has capacity."""

import math
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from seawall.core.request import Request
from seawall.systems.balancing.counters import Instance, Pool
from seawall.systems.balancing.geo import Location, great_circle_km, parse_location
from seawall.systems.balancing.model import InstanceState
from seawall.systems.balancing.strategies.least_loaded import LeastLoaded

__all__ = ["Geographic"]

_OVERPROVISIONING = 1.4
"""A region keeps all of its clients while at least 1 / 1.4 = 71 % of its weight is usable (Envoy's default factor)."""
_MAX_PLANS = 4096
"""Origins remembered at one time; the memory is emptied when it is full."""


class _Region(NamedTuple):
    choose: Callable[[Sequence[Instance]], Instance | None]
    name: str
    location: Location | None
    share: float  # of all traffic that this region can take, 0..1


_Plan = tuple[tuple[float, _Region], ...]
"""Regions from near to far, each with the upper end of its part of 0..1."""


class Geographic:
    """Nearest region first, by great-circle distance from the client; within a region the least loaded instance.

    A region whose usable share of weight falls below 71 % passes the part that it cannot serve on to the next nearest,
    and so on. The client's place is the pool's region header (a region's name or `latitude,longitude`), else the
    location lookup of its address; without either, every candidate is as near as any other. One dictionary lookup and
    one random number per pick; an origin not seen before costs a sort over the regions.

    Args:
        rng: source of randomness.
        locate: client address to place, None when there is no database.
    """

    __slots__ = (
        "_anywhere",
        "_by_client",
        "_by_header",
        "_header",
        "_locate",
        "_places",
        "_random",
        "_regions",
        "_rng",
    )

    def __init__(self, rng: random.Random, locate: Callable[[str], Location | None] | None) -> None:
        self._rng = rng
        self._random = rng.random
        self._locate = locate
        self._header = b""
        self._places: dict[str, Location | None] = {}
        self._regions: list[_Region] = []
        self._by_header: dict[bytes, _Plan] = {}
        self._by_client: dict[str, _Plan] = {}
        self._anywhere: _Plan = ()

    def prepare(self, pool: Pool) -> None:
        """Group the candidates by region and compute what share of traffic each region can take."""
        self._header = pool.snapshot.region_header.lower().encode()
        self._by_header = {}
        self._by_client = {}
        named = pool.snapshot.regions
        usable = set(pool.candidates)
        members: dict[str, list[Instance]] = {}
        weight: dict[str, float] = {}
        locations: dict[str, Location | None] = {}
        for instance in pool.instances:
            snapshot = instance.snapshot
            place = snapshot.location or named.get(snapshot.region)
            name = snapshot.region or (f"{place[0]},{place[1]}" if place else "")
            if locations.get(name) is None:
                locations[name] = named.get(name) or place
            if snapshot.state is not InstanceState.DRAINING:
                weight[name] = weight.get(name, 0.0) + instance.weight
            if instance in usable:
                members.setdefault(name, []).append(instance)
        self._places = {**named, **locations}
        self._regions = [
            _Region(
                LeastLoaded(instances, self._rng).choose,
                name,
                locations[name],
                min(_OVERPROVISIONING * sum(instance.weight for instance in instances) / weight[name], 1.0),
            )
            for name, instances in members.items()
        ]
        everywhere = _Region(LeastLoaded(pool.candidates, self._rng).choose, "", None, 1.0)
        self._anywhere = ((math.inf, everywhere),)

    def pick(self, pool: Pool, request: Request, tried: Sequence[Instance]) -> Instance | None:  # noqa: ARG002 - Protocol
        """Return an instance of the nearest region with capacity; when all of it was tried, of the next nearest."""
        plan = self._plan_of(request)
        end, region = plan[0]
        if end < 1.0:
            point = self._random()
            for end, region in plan:  # noqa: B007 - the region of the first end above the point is used below
                if point < end:
                    break
        instance = region.choose(tried)
        if instance is None:
            for _, other in plan:
                instance = other.choose(tried)
                if instance is not None:
                    break
        return instance

    def _plan_of(self, request: Request) -> _Plan:
        if self._header:
            value = request.header(self._header)
            if value is not None:
                plan = self._by_header.get(value) or self._plan_for_header(value)
                if plan is not None:
                    return plan
        if self._locate is None:
            return self._anywhere
        return self._by_client.get(request.client) or self._plan_for_client(request.client, self._locate)

    def _plan_for_header(self, value: bytes) -> _Plan | None:
        name = value.decode("latin-1")
        known = name in self._places
        place = self._places[name] if known else parse_location(value)
        if place is None and not known:
            return None
        if len(self._by_header) >= _MAX_PLANS:
            self._by_header.clear()
        plan = self._by_header[value] = self._plan(name if known else "", place)
        return plan

    def _plan_for_client(self, client: str, locate: Callable[[str], Location | None]) -> _Plan:
        if len(self._by_client) >= _MAX_PLANS:
            self._by_client.clear()
        place = locate(client)
        plan = self._by_client[client] = self._anywhere if place is None else self._plan("", place)
        return plan

    def _plan(self, name: str, place: Location | None) -> _Plan:
        if place is None and all(region.name != name for region in self._regions):
            return self._anywhere
        return _spread(sorted(self._regions, key=lambda region: _distance(region, name, place)))


def _distance(region: _Region, name: str, place: Location | None) -> float:
    if name and region.name == name:
        return -1.0
    if place is None or region.location is None:
        return math.inf
    return great_circle_km(place, region.location)


def _spread(regions: list[_Region]) -> _Plan:
    plan = []
    taken = 0.0
    for region in regions:
        taken = min(taken + region.share, 1.0)
        plan.append((taken, region))
    # When all regions together cannot take everything, each takes more, in proportion.
    scaled = [(end / taken, region) for end, region in plan]
    scaled[-1] = (math.inf, scaled[-1][1]) if len(scaled) > 1 else (1.0, scaled[0][1])
    return tuple(scaled)
