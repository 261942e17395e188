"""What holds for every strategy, whatever the pool looks like."""

import math
import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

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
from seawall.systems.balancing.strategies.round_robin import integer_weights

names = st.sampled_from([f"i{number}" for number in range(24)])
weights = st.one_of(st.just(1.0), st.floats(0.001, 100.0), st.integers(1, 9).map(float))
instances = st.builds(
    lambda name, weight, state, region: InstanceSnapshot(
        id=name, url=f"http://{name}", weight=weight, state=state, region=region
    ),
    names,
    weights,
    st.sampled_from(list(InstanceState)),
    st.sampled_from(["", "here", "there"]),
)
fleets = st.lists(instances, max_size=24, unique_by=lambda instance: instance.id)


def snapshot(version, strategy, fleet, **fields):
    pool = PoolSnapshot(
        name="p",
        strategy=strategy,
        instances=tuple(fleet),
        region_header="x-region",
        regions={"here": (1.0, 1.0)},
        probe_path="/load",
        **fields,
    )
    return BalancingSnapshot(version=version, pools=(pool,))


def started(strategy, fleet, seed=0, **fields):
    clock = iter(range(10**9))
    engine = BalancingEngine(lambda: next(clock) * 0.01, random.Random(seed))
    engine.apply(snapshot(1, strategy, fleet, **fields))
    return engine, engine.pools["p"]


@given(
    st.sampled_from(list(StrategyName)),
    fleets,
    st.sets(names),
    st.lists(st.tuples(names, st.floats(0, 100), st.sampled_from(list(Outcome))), max_size=20),
    st.lists(st.tuples(names, st.integers(0, 50), st.floats(0, 10)), max_size=20),
    st.integers(0, 1000),
)
def test_a_usable_untried_instance_is_always_found(strategy, fleet, tried_names, history, probes, seed):
    engine, pool = started(strategy, fleet, seed)
    for name, seconds, outcome in history:
        if name in pool.by_id:
            engine.start(pool.by_id[name])
            engine.finish(pool.by_id[name], seconds, outcome, 200)
            engine.start(pool.by_id[name])
    for name, in_flight, latency in probes:
        if name in pool.by_id:
            engine.on_probe(pool.by_id[name], in_flight, latency)
    usable = {instance.id for instance in pool.candidates}
    states = {instance.id: instance.snapshot.state for instance in pool.instances}
    assert all(states[name] is not InstanceState.DRAINING for name in usable)
    assert usable or all(state is InstanceState.DRAINING for state in states.values())
    tried = [pool.by_id[name] for name in tried_names if name in pool.by_id]
    for number in range(6):
        request = Request("GET", b"/", [(b"x-region", b"here")] if number % 2 else [], peer=f"192.0.2.{number}")
        picked = engine.pick(pool, request, tried)
        assert (picked is None) == (not usable - tried_names)
        if picked is not None:
            assert picked.id in usable - tried_names
            engine.start(picked)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=12))
def test_round_robin_shares_are_exact_over_a_cycle(turns):
    fleet = [InstanceSnapshot(id=f"i{n}", url=f"http://i{n}", weight=float(turn)) for n, turn in enumerate(turns)]
    engine, pool = started(StrategyName.ROUND_ROBIN, fleet)
    cycle = sum(turns) // math.gcd(*turns)
    request = Request("GET", b"/")
    picks = Counter(engine.pick(pool, request).id for _ in range(2 * cycle))
    assert picks == {f"i{n}": 2 * turn // math.gcd(*turns) for n, turn in enumerate(turns)}


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=50))
def test_turns_are_bounded_and_leave_nobody_out(given_weights):
    limit = 32 * len(given_weights)
    turns = integer_weights(given_weights, limit)
    assert min(turns) >= 1
    assert sum(turns) <= limit + len(turns)


@given(
    st.integers(1, 12),
    st.floats(1.0, 3.0),
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=200),
)
def test_bounded_loads_hold_at_every_pick(count, bound, events):
    fleet = [InstanceSnapshot(id=f"i{n}", url=f"http://i{n}", weight=1.0 + n % 3) for n in range(count)]
    engine, pool = started(StrategyName.CONSISTENT_HASH, fleet, hash_load_bound=bound)
    total_weight = sum(instance.weight for instance in pool.instances)
    open_attempts = []
    for key, ends in events:
        if ends and open_attempts:
            engine.finish(open_attempts.pop(key % len(open_attempts)), 0.01, Outcome.SUCCESS, 200)
            continue
        picked = engine.pick(pool, Request("GET", b"/", peer=f"10.0.0.{key}"))
        engine.start(picked)
        open_attempts.append(picked)
        capacity = math.ceil(bound * len(open_attempts) * picked.weight / total_weight - 1e-9)
        assert picked.active <= capacity


@given(st.sets(names, min_size=2), st.data())
def test_a_departure_moves_only_the_keys_of_the_departed(members, data):
    fleet = [InstanceSnapshot(id=name, url=f"http://{name}") for name in sorted(members)]
    engine, pool = started(StrategyName.CONSISTENT_HASH, fleet)
    gone = data.draw(st.sampled_from(sorted(members)))
    requests = [Request("GET", b"/", peer=f"10.0.{n}.1") for n in range(100)]
    before = [engine.pick(pool, request).id for request in requests]
    engine.apply(snapshot(2, StrategyName.CONSISTENT_HASH, [member for member in fleet if member.id != gone]))
    for request, owner in zip(requests, before, strict=True):
        if owner != gone:
            assert engine.pick(pool, request).id == owner
