"""The four situations that show whether a balancer balances."""

import random
import time
from collections.abc import Callable

from seawall.systems.balancing.model import InstanceSnapshot, InstanceState, Outcome, StrategyName
from seawall.systems.balancing.outliers import Ejected, OutlierDetector, OutlierPolicy
from simulation.servers import DelayServer, Server, SharedServer
from simulation.world import Worker, World, instance, percentile, snapshot

__all__ = ["contended", "failing", "membership", "pinned"]

_WORKERS = 4
_SERVER_ERROR = list(Outcome).index(Outcome.SERVER_ERROR)
_CANCELLED = list(Outcome).index(Outcome.CANCELLED)


def pinned(strategy: StrategyName, seconds: float) -> dict[str, float]:
    """Eleven instances (median 20 ms), 1000 requests/s; after a warm-up one of them takes 2 s for everything.

    The set-up is that of Buoyant's comparison of balancers in Finagle.
    """
    world = World(seed=11)
    servers: dict[str, Server] = {f"i{n}": DelayServer(world, _lognormal(world.rng, 0.020, 0.6)) for n in range(11)}
    workers = _start(world, servers, strategy, deadline=10.0)
    warm_up = 5.0
    _load(world, workers, warm_up + seconds, lambda _: 1000.0)
    world.run(warm_up)
    slow = servers["i3"]
    assert isinstance(slow, DelayServer)
    slow.sample = lambda: 2.0
    world.run(warm_up + seconds + 15.0)
    calls = [call for worker in workers for call in worker.calls if call.at >= warm_up]
    under = sum(call.seconds < 1.0 and not call.failed for call in calls)
    return {"under_1s": under / len(calls), "slow": len(calls) - under}


def failing(strategy: StrategyName, seconds: float) -> dict[str, float]:
    """Ten instances, 1000 requests/s; one starts to answer 500 at once.

    Reports go up and ejections come down every 100 ms, as between workers and control plane.
    """
    world = World(seed=12)
    servers: dict[str, Server] = {f"i{n}": DelayServer(world, _lognormal(world.rng, 0.020, 0.6)) for n in range(10)}
    workers = _start(world, servers, strategy, deadline=10.0)
    control = _Ejection(world, workers, strategy, list(servers))
    warm_up = 5.0
    _load(world, workers, warm_up + seconds, lambda _: 1000.0)
    world.run(warm_up)
    bad = servers["i3"]
    assert isinstance(bad, DelayServer)
    bad.sample = lambda: 0.0005
    bad.status = 500
    world.run(warm_up + seconds + 1.0)
    calls = [call for worker in workers for call in worker.calls if call.at >= warm_up]
    late = [call for call in calls if call.at >= warm_up + 1.0]
    return {
        "share_after_1s": sum(call.server == "i3" for call in late) / len(late),
        "failed": sum(call.failed for call in calls) / len(calls),
        "ejections": control.ejections,
    }


def contended(strategy: StrategyName, seconds: float) -> dict[str, float]:
    """24 instances allotted 2 processors each; load climbs in nine steps from 0.75x to 1.74x of what is allotted.

    Prequal's experiment (NSDI 2024, section 5): an instance may use idle processors of its machine (up to 6 here), but
    on a third of the machines other tenants take everything, so that there the allotment is all there is. A request
    needs 20 ms of one processor on average. Measured over the last step, the highest; a client gives up after 5 s.
    """
    world = World(seed=13)
    demand = _truncated_normal(world.rng, 0.020)
    servers: dict[str, Server] = {f"i{n}": SharedServer(world, 2.0 if n % 3 == 0 else 6.0, demand) for n in range(24)}
    workers = _start(world, servers, strategy, deadline=5.0)
    fair = 24 * 2.0 / 0.020
    step = seconds / 9

    def rate(now: float) -> float:
        return fair * 0.75 * (10 / 9) ** min(int(now / step), 8)

    _load(world, workers, seconds, rate)
    world.run(seconds + 6.0)
    calls = [call for worker in workers for call in worker.calls]
    last = [call.seconds for call in calls if call.at >= seconds - step]
    return {
        "p50_ms": percentile(last, 0.5) * 1000,
        "p99_ms": percentile(last, 0.99) * 1000,
        "p999_ms": percentile(last, 0.999) * 1000,
        "errors": sum(call.failed for call in calls),
    }


def membership(strategy: StrategyName, seconds: float) -> dict[str, float]:
    """1000 instances, 1000 requests/s; every second 50 leave and 50 new ones come.

    One that leaves is taken out of the snapshot; it goes on serving what it has and what still arrives until every
    worker has the snapshot (up to 100 ms), then it closes. One that comes is `starting` for a second, then `healthy`.
    """
    world = World(seed=14)
    sample = _lognormal(world.rng, 0.050, 0.8)
    servers: dict[str, Server] = {f"i{n}": DelayServer(world, sample) for n in range(1000)}
    workers = _start(world, servers, strategy, deadline=10.0)
    _load(world, workers, seconds, lambda _: 1000.0)
    members = list(servers)
    starting: list[str] = []
    applied: list[float] = []

    def publish(worker: Worker, version: int, instances: tuple[InstanceSnapshot, ...]) -> None:
        started = time.perf_counter()
        worker.engine.apply(snapshot(version, strategy, instances))
        applied.append(time.perf_counter() - started)

    def close(names: list[str]) -> None:
        for name in names:
            servers[name].closed = True

    for second in range(1, int(seconds)):
        world.run(float(second))
        leaving = world.rng.sample(members, 50)
        gone = set(leaving)
        members = [name for name in members if name not in gone] + starting
        starting = [f"i{1000 + 50 * second + n}" for n in range(50)]
        servers.update({name: DelayServer(world, sample) for name in starting})
        instances = (
            *(instance(name) for name in members),
            *(instance(name, state=InstanceState.STARTING) for name in starting),
        )
        for worker in workers:
            world.at(world.now + world.rng.uniform(0.0, 0.1), publish, worker, second + 1, instances)
        world.at(world.now + 0.1 + 0.001, close, leaving)
    world.run(seconds + 11.0)
    calls = [call for worker in workers for call in worker.calls]
    left_over = sum(pool.active for worker in workers for pool in worker.engine.pools.values())
    return {
        "failed": sum(call.failed for call in calls) + left_over,
        "requests": len(calls),
        "apply_ms": 1000 * percentile(applied, 0.5),
    }


class _Ejection:
    """The control plane's part of outlier ejection: reports in, the real detector, snapshots out, every 100 ms."""

    def __init__(self, world: World, workers: list[Worker], strategy: StrategyName, names: list[str]) -> None:
        self.ejections = 0
        self._world = world
        self._workers = workers
        self._strategy = strategy
        self._names = names
        self._detector = OutlierDetector(OutlierPolicy(), names, now=world.now)
        self._seen: dict[tuple[int, str], tuple[int, ...]] = {}
        self._version = 1
        world.at(world.now + 0.1, self._turn)

    def _turn(self) -> None:
        now = self._world.now
        for number, worker in enumerate(self._workers):
            report = worker.engine.report(full=False)
            for key, row in ({} if report is None else report.instances).items():
                before = self._seen.get((number, key), (0,) * len(row.counts))
                added = [new - old for new, old in zip(row.counts, before, strict=True)]
                self._seen[number, key] = row.counts
                name = key.partition("/")[2]
                self._detector.observe(now, name, added[0], sum(added[1:_CANCELLED]), row.consecutive_errors)
        changes = self._detector.step(now)
        self.ejections += sum(isinstance(change, Ejected) for change in changes)
        if changes:
            self._version += 1
            out = self._detector.ejected
            instances = [
                instance(name, state=InstanceState.EJECTED if name in out else InstanceState.HEALTHY)
                for name in self._names
            ]
            for worker in self._workers:
                self._world.at(now + 0.01, worker.engine.apply, snapshot(self._version, self._strategy, instances))
        self._world.at(now + 0.1, self._turn)


def _start(world: World, servers: dict[str, Server], strategy: StrategyName, *, deadline: float) -> list[Worker]:
    workers = [Worker(world, servers, deadline=deadline) for _ in range(_WORKERS)]
    for worker in workers:
        worker.engine.apply(snapshot(1, strategy, [instance(name) for name in servers]))
    return workers


def _load(world: World, workers: list[Worker], end: float, rate: Callable[[float], float]) -> None:
    def send() -> None:
        workers[int(world.rng.random() * len(workers))].send()

    world.poisson(0.0, end, rate, send)


def _lognormal(rng: random.Random, median: float, sigma: float) -> Callable[[], float]:
    return lambda: median * rng.lognormvariate(0.0, sigma)


def _truncated_normal(rng: random.Random, mean: float) -> Callable[[], float]:
    # Normal with its mean as deviation, cut off at 0 as in the paper, scaled back to the mean.
    scale = mean / 1.2876

    def sample() -> float:
        while True:
            value = rng.gauss(1.0, 1.0)
            if value > 0.0:
                return value * scale

    return sample
