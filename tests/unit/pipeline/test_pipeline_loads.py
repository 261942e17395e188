"""The load of pools: cumulative, whatever becomes of their instances."""

import random

from seawall.pipeline.loads import PoolLoads
from seawall.systems.balancing.engine import BalancingEngine
from seawall.systems.balancing.model import BalancingSnapshot, InstanceSnapshot, Outcome, PoolSnapshot
from seawall.systems.ratelimit.model import PoolLoad


class Fleet:
    def __init__(self) -> None:
        self.engine = BalancingEngine(lambda: 0.0, random.Random(1))
        self.loads = PoolLoads(self.engine)
        self.version = 0

    def apply(self, **pools: str) -> None:
        self.version += 1
        self.engine.apply(
            BalancingSnapshot(
                version=self.version,
                pools=tuple(
                    PoolSnapshot(
                        name=name, instances=tuple(InstanceSnapshot(id=one, url=f"http://{one}") for one in ids)
                    )
                    for name, ids in pools.items()
                ),
            )
        )

    def serve(self, pool: str, instance: str, outcome: Outcome, latency: float = 0.5) -> None:
        one = self.engine.pools[pool].by_id[instance]
        self.engine.start(one)
        self.engine.finish(one, 9.0, outcome, latency=latency)

    def read(self) -> dict[str, PoolLoad]:
        loads = self.loads.read()
        self.engine.report(full=False)
        return loads


def test_what_ended_is_told_by_pool_and_cancelled_requests_are_not():
    fleet = Fleet()
    fleet.apply(web="ab", api="c")
    fleet.serve("web", "a", Outcome.SUCCESS)
    fleet.serve("web", "b", Outcome.SERVER_ERROR)
    fleet.serve("web", "b", Outcome.CANCELLED)
    fleet.serve("api", "c", Outcome.TIMEOUT, 2.0)
    fleet.engine.start(fleet.engine.pools["api"].by_id["c"])
    assert fleet.read() == {
        "web": PoolLoad(in_flight=0, ended=2, failed=1, seconds=1.0),
        "api": PoolLoad(in_flight=1, ended=1, failed=1, seconds=2.0),
    }


def test_totals_go_on_while_instances_come_and_go():
    fleet = Fleet()
    fleet.apply(web="ab")
    for _ in range(3):
        fleet.serve("web", "a", Outcome.SUCCESS)
    assert fleet.read()["web"].ended == 3
    fleet.apply(web="b")
    fleet.serve("web", "b", Outcome.SUCCESS)
    assert fleet.read()["web"].ended == 4
    fleet.apply(web="ab")
    fleet.serve("web", "a", Outcome.RESET)
    load = fleet.read()["web"]
    assert (load.ended, load.failed) == (5, 1)
    assert fleet.read()["web"] == load


def test_a_pool_that_left_is_forgotten():
    fleet = Fleet()
    fleet.apply(web="a", api="c")
    fleet.serve("api", "c", Outcome.SUCCESS)
    fleet.read()
    fleet.apply(web="a")
    assert set(fleet.read()) == {"web"}
