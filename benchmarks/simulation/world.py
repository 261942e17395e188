"""A world in virtual time: an event heap, servers, and workers that run the real balancing engine."""

import heapq
import random
from collections.abc import Callable, Sequence

import msgspec

from seawall.core.request import Request
from seawall.systems.balancing.counters import Instance, Pool
from seawall.systems.balancing.engine import BalancingEngine
from seawall.systems.balancing.model import (
    BalancingSnapshot,
    InstanceSnapshot,
    Outcome,
    PoolSnapshot,
    StrategyName,
)
from simulation.servers import Server

__all__ = ["Call", "Worker", "World", "instance", "percentile", "snapshot"]

_WIRE = 0.0003
"""Seconds one way between a worker and a server."""
_CLIENTS = 500


class Call(msgspec.Struct):
    """One client request: when it came, how long it took (client's view) and whether it failed."""

    at: float
    server: str
    seconds: float = 0.0
    failed: bool = False


class World:
    """Virtual time. Events run in order of time, then of scheduling, so that one seed gives one history."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.rng = random.Random(seed)
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._count = 0

    def clock(self) -> float:
        """Return virtual seconds."""
        return self.now

    def at(self, when: float, action: Callable[..., None], *args: object) -> None:
        """Run an action at a time."""
        self._count += 1
        heapq.heappush(self._events, (when, self._count, action, args))

    def run(self, until: float) -> None:
        """Run every event up to a time."""
        events = self._events
        while events and events[0][0] <= until:
            self.now, _, action, args = heapq.heappop(events)
            action(*args)
        self.now = until

    def poisson(self, start: float, end: float, rate: Callable[[float], float], action: Callable[[], None]) -> None:
        """Call an action at random times at `rate(t)` per second: an open loop, deaf to how long anything takes."""

        def arrive() -> None:
            if self.now < end:
                action()
                self.at(self.now + self.rng.expovariate(rate(self.now)), arrive)

        self.at(start + self.rng.expovariate(rate(start)), arrive)


class Worker:
    """One worker process: its own engine over one pool, blind to the others'.

    Args:
        deadline: seconds after which a client gives up on an answer.
    """

    def __init__(self, world: World, servers: dict[str, Server], *, deadline: float) -> None:
        self.world = world
        self.servers = servers
        self.deadline = deadline
        self.engine = BalancingEngine(world.clock, random.Random(world.rng.random()))
        self.calls: list[Call] = []
        self._requests = [
            Request("GET", b"/", [(b"x-region", b"home")], peer=f"192.0.{n >> 8}.{n & 255}") for n in range(_CLIENTS)
        ]

    @property
    def pool(self) -> Pool:
        """Return the engine's view of the pool."""
        return self.engine.pools["pool"]

    def send(self) -> None:
        """Take one client request and bring it to an instance."""
        world, engine, pool = self.world, self.engine, self.pool
        request = self._requests[int(world.rng.random() * _CLIENTS)]
        engine.count_request(pool)
        instance = engine.pick(pool, request)
        if instance is None:
            self.calls.append(Call(world.now, "", failed=True))
            return
        engine.start(instance)
        call = Call(world.now, instance.id)
        self.calls.append(call)
        _Attempt(self, instance, call)
        for target in engine.probe_targets(pool):
            world.at(world.now + _WIRE, self._probe, target)

    def _probe(self, target: Instance) -> None:
        server = self.servers.get(target.id)
        if server is not None:
            tracker = server.tracker
            self.world.at(self.world.now + _WIRE, self.engine.on_probe, target, tracker.in_flight, tracker.latency())


class _Attempt:
    __slots__ = ("call", "done", "instance", "worker")

    def __init__(self, worker: Worker, instance: Instance, call: Call) -> None:
        self.worker = worker
        self.instance = instance
        self.call = call
        self.done = False
        world = worker.world
        world.at(world.now + _WIRE, self._reach)
        world.at(world.now + worker.deadline, self._give_up)

    def _reach(self) -> None:
        server = self.worker.servers.get(self.instance.id)
        if server is None or server.closed:
            self._end(Outcome.CONNECT_FAILED, 0)
        else:
            server.serve(self._served)

    def _served(self, status: int) -> None:
        world = self.worker.world
        world.at(world.now + _WIRE, self._end, Outcome.SUCCESS if status < 500 else Outcome.SERVER_ERROR, status)

    def _give_up(self) -> None:
        self._end(Outcome.TIMEOUT, 0)

    def _end(self, outcome: Outcome, status: int) -> None:
        if self.done:
            return
        self.done = True
        call = self.call
        call.seconds = self.worker.world.now - call.at
        call.failed = outcome is not Outcome.SUCCESS
        self.worker.engine.finish(self.instance, call.seconds, outcome, status)
        self.worker.engine.count_response(self.worker.pool, status or 504)


def snapshot(
    version: int, strategy: StrategyName, instances: Sequence[InstanceSnapshot], *, probes: bool = True
) -> BalancingSnapshot:
    """Return a snapshot of the one pool that every scenario uses."""
    pool = PoolSnapshot(
        name="pool",
        strategy=strategy,
        instances=tuple(instances),
        region_header="x-region",
        regions={"home": (52.5, 13.4)},
        probe_path="/load" if probes else "",
    )
    return BalancingSnapshot(version=version, pools=(pool,))


def instance(name: str, **fields: object) -> InstanceSnapshot:
    """Return an instance of the home region."""
    return InstanceSnapshot(id=name, url=f"http://{name}", region="home", **fields)  # type: ignore[arg-type]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share (0..1) of the values lies; 0 for none."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0
