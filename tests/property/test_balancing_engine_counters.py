"""Counters under any interleaving of snapshots and attempts."""

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from seawall.core.request import Request
from seawall.systems.balancing.engine import BalancingEngine
from seawall.systems.balancing.model import (
    BalancingSnapshot,
    InstanceSnapshot,
    InstanceState,
    Outcome,
    PoolSnapshot,
    StrategyName,
)

fleets = st.lists(
    st.builds(
        lambda name, port, state, weight: InstanceSnapshot(
            id=name, url=f"http://{name}:{port}", state=state, weight=weight
        ),
        st.sampled_from("abcdef"),
        st.integers(1, 2),
        st.sampled_from(list(InstanceState)),
        st.floats(0.1, 4.0),
    ),
    max_size=6,
    unique_by=lambda instance: instance.id,
)
REQUEST = Request("GET", b"/", peer="192.0.2.1")


class Counting(RuleBasedStateMachine):
    """Snapshots come and go under attempts in flight; a model counts along."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.engine = BalancingEngine(lambda: self.now, random.Random(5))
        self.version = 0
        self.open = []
        self.started = 0
        self.finished = 0
        self.removed = []
        self.engine.on_removed = self.removed.append
        self.last = {}

    @rule(fleet=fleets, strategy=st.sampled_from(list(StrategyName)), pool=st.sampled_from(["p", "q"]))
    def apply(self, fleet, strategy, pool):
        before = {id(one) for view in self.engine.pools.values() for one in view.instances}
        self.removed.clear()
        self.version += 1
        snapshot = PoolSnapshot(name=pool, strategy=strategy, instances=tuple(fleet), probe_path="/load")
        self.engine.apply(BalancingSnapshot(version=self.version, pools=(snapshot,)))
        after = {id(one) for view in self.engine.pools.values() for one in view.instances}
        assert {id(one) for one in self.removed} == before - after

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds):
        self.now += seconds

    @precondition(lambda self: self.engine.pools)
    @rule()
    def start(self):
        (pool,) = self.engine.pools.values()
        self.engine.count_request(pool)
        picked = self.engine.pick(pool, REQUEST)
        if picked is not None:
            self.engine.start(picked)
            self.started += 1
            self.open.append(picked)

    @precondition(lambda self: self.open)
    @rule(index=st.integers(0, 1000), seconds=st.floats(0, 60), outcome=st.sampled_from(list(Outcome)))
    def finish(self, index, seconds, outcome):
        self.engine.finish(self.open.pop(index % len(self.open)), seconds, outcome, 200)
        self.finished += 1

    @rule(full=st.booleans())
    def report(self, full):
        report = self.engine.report(full=full)
        if report is None:
            return
        for key, row in report.instances.items():
            last = self.last.get(key)
            if last is not None:
                assert all(new >= old for new, old in zip(row.counts, last.counts, strict=True))
                assert all(new >= old for new, old in zip(row.buckets, last.buckets, strict=True))
                assert row.duration_us >= last.duration_us
            self.last[key] = row
        # What was reported last is the whole truth: nothing is lost with an instance that left.
        assert sum(row.active for row in self.last.values()) == len(self.open)
        assert sum(sum(row.counts[: len(Outcome)]) for row in self.last.values()) == self.finished
        assert self.engine.report(full=False) is None or self.open

    @invariant()
    def active_is_never_negative_and_adds_up(self):
        assert all(instance.active >= 0 for instance in self.open)
        for pool in self.engine.pools.values():
            assert pool.active == sum(instance.pool is pool for instance in self.open)
            for instance in pool.instances:
                assert instance.active == sum(other is instance for other in self.open)


TestCounting = Counting.TestCase
TestCounting.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
