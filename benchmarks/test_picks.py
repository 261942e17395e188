"""What a pick costs at 10 instances, by strategy: `benchmarks/picks.py` prints it; nothing is asserted.

Goals: at most 0.5 us for round-robin and 1.5 us for the others; `finish` at most 1 us.
"""

import os
import random
import time

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from seawall.core.request import Request
from seawall.systems.balancing.counters import Instance, Pool
from seawall.systems.balancing.engine import BalancingEngine
from seawall.systems.balancing.model import (
    AffinitySnapshot,
    BalancingSnapshot,
    InstanceSnapshot,
    Outcome,
    PoolSnapshot,
    StrategyName,
)

_REGIONS = {"eu": (50.1, 8.7), "us": (38.9, -77.0)}
_ROUNDS = 20 if os.environ.get("SEAWALL_PICKS_QUICK") else 200
_ITERATIONS = 2000


def _engine(strategy: StrategyName, *, affinity: bool = False, weighted: bool = False) -> tuple[BalancingEngine, Pool]:
    engine = BalancingEngine(time.monotonic, random.Random(7))
    instances = tuple(
        InstanceSnapshot(
            id=f"i{index}",
            url=f"http://10.0.0.{index}:80",
            weight=1.0 + index % 3 if weighted else 1.0,
            region="eu" if index % 2 else "us",
        )
        for index in range(10)
    )
    pool = PoolSnapshot(
        name="p",
        strategy=strategy,
        instances=instances,
        region_header="x-region",
        regions=_REGIONS,
        probe_path="/load",
        affinity=AffinitySnapshot(cookie="s", key=b"k" * 32) if affinity else None,
    )
    engine.apply(BalancingSnapshot(version=1, pools=(pool,)))
    view = engine.pools["p"]
    for number, instance in enumerate(view.instances):
        for _ in range(number % 4):
            engine.start(instance)
        engine.start(instance)
        engine.finish(instance, 0.01 + number / 1000, Outcome.SUCCESS, 200)
    return engine, view


_HEADERS = [
    (b"accept", b"*/*"),
    (b"user-agent", b"curl/8.5.0"),
    (b"x-region", b"eu"),
]


@pytest.mark.parametrize("strategy", list(StrategyName))
@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
def test_pick(benchmark: BenchmarkFixture, strategy: StrategyName, weighted: bool) -> None:  # noqa: FBT001 - a parameter
    engine, pool = _engine(strategy, weighted=weighted)
    request = Request("GET", b"/", _HEADERS, peer="192.0.2.77")
    if pool.probes is not None:
        _refresh(engine, pool)

        def setup() -> tuple[tuple[Pool, Request], dict[str, object]]:
            _refresh(engine, pool)
            return (pool, request), {}

        # Answers are used up, so that each round gets fresh ones and is short.
        benchmark.pedantic(_three_picks(engine), setup=setup, rounds=100 * _ROUNDS)
        benchmark.extra_info["picks_per_call"] = 3
        return
    picked = benchmark.pedantic(engine.pick, args=(pool, request), rounds=_ROUNDS, iterations=_ITERATIONS)
    assert isinstance(picked, Instance)


def _refresh(engine: BalancingEngine, pool: Pool) -> None:
    for number, instance in enumerate(pool.instances):
        engine.on_probe(instance, number % 4, 0.01 + number / 1000)


def _three_picks(engine: BalancingEngine):  # noqa: ANN202 - a closure for the line above
    pick = engine.pick

    def picks(pool: Pool, request: Request) -> None:
        pick(pool, request)
        pick(pool, request)
        pick(pool, request)

    return picks


def test_pick_bound_session(benchmark: BenchmarkFixture) -> None:
    engine, pool = _engine(StrategyName.ROUND_ROBIN, affinity=True)
    cookie = engine.affinity_cookie(pool, Request("GET", b"/"), pool.instances[3])
    assert cookie is not None
    request = Request("GET", b"/", [*_HEADERS, (b"cookie", cookie.partition(b";")[0])])
    picked = benchmark.pedantic(engine.pick, args=(pool, request), rounds=_ROUNDS, iterations=_ITERATIONS)
    assert picked is pool.instances[3]


def test_start_and_finish(benchmark: BenchmarkFixture) -> None:
    engine, pool = _engine(StrategyName.ROUND_ROBIN)
    instance = pool.instances[0]

    def attempt() -> None:
        engine.start(instance)
        engine.finish(instance, 0.01, Outcome.SUCCESS, 200)

    benchmark.pedantic(attempt, rounds=_ROUNDS, iterations=_ITERATIONS)
    assert instance.active == 0


def test_probe_targets(benchmark: BenchmarkFixture) -> None:
    engine, pool = _engine(StrategyName.ADAPTIVE)
    targets = benchmark.pedantic(engine.probe_targets, args=(pool,), rounds=_ROUNDS, iterations=_ITERATIONS)
    assert len(targets) == 3
