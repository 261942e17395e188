"""The quick way lets pass what the usual way lets pass, and tells the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.systems.ratelimit.engine import RateLimitEngine
from seawall.systems.ratelimit.gcra import IDLE, Gcra
from seawall.systems.ratelimit.keys import LimitContext
from seawall.systems.ratelimit.model import (
    Condition,
    Mode,
    PenaltySnapshot,
    RateLimitSnapshot,
    RuleSnapshot,
    WindowSnapshot,
)
from seawall.systems.ratelimit.verdict import SLACK, CostError

steps = st.lists(
    st.tuples(
        st.floats(-2.0, 30.0),
        st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
        st.sampled_from(["GET", "POST"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=60,
)


def snapshot(
    version: int, limit: float, burst: float, cost: float, factor: float, *, penalty: bool
) -> RateLimitSnapshot:
    window = WindowSnapshot(name="calls", limit=limit, window=10.0, burst=burst, cost=cost)
    return RateLimitSnapshot(
        version=version,
        rules=(
            RuleSnapshot(id="writes", key=("client",), windows=(window,), match=Condition(methods=("POST",))),
            RuleSnapshot(id="off", key=("client",), windows=(window,), mode=Mode.OFF),
            RuleSnapshot(id="calls", key=("client",), windows=(window,), roles={"anonymous": 0.5}),
        ),
        load={"": factor},
        penalties={"client:192.0.2.2": PenaltySnapshot(0.5, 1e9)} if penalty else {},
    )


@given(
    steps,
    st.floats(0.5, 50.0),
    st.sampled_from([0.0, 1.0, 20.0]),
    st.sampled_from([1.0, 0.3, 2.0]),
    st.lists(st.floats(0.1, 1.0), min_size=1, max_size=3),
    st.booleans(),
)
def test_admit_decides_as_begin_does(requests, limit, burst, cost, factors, penalty):
    usual, quick = RateLimitEngine(lambda: 0.0), RateLimitEngine(lambda: 0.0)
    places: dict[tuple[str, str], object] = {}
    now, version = 1000.0, 0
    for pause, client, method, change in requests:
        now += pause
        if change or not version:
            version += 1
            newer = snapshot(version, limit, burst, cost, factors[version % len(factors)], penalty=penalty)
            usual.apply(newer)
            quick.apply(newer)
            places.clear()
        context = LimitContext(client=client, method=method, pool="web")
        expected = usual.begin(context, now)
        place = places.get((client, method))
        admission = None if place is None else quick.admit(place, now)
        if admission is None:
            found = quick.begin(context, now)
            assert (found.allowed, found.remaining, found.rule) == (expected.allowed, expected.remaining, expected.rule)
            if place is None:
                places[client, method] = quick.find(context)
        else:
            assert expected.allowed
            rule, key, at, limits, _, left, reset = admission
            assert (rule.id, key, at, limits[0]) == (expected.rule, expected.key, now, expected.limit)
            _, _, _, _, ((_, _, wanted_left, wanted_reset, _),) = expected.decisions[0]
            assert abs(left - wanted_left) < 1e-6
            assert abs(reset - wanted_reset) < 1e-6
    told = [{name: list(rule) for name, rule in report.rules.items()} for report in _reports(usual, quick)]
    assert told[0] == told[1]


def _reports(*engines: RateLimitEngine):
    for engine in engines:
        report = engine.report(full=True)
        yield type(report)(
            rules={name: (one.allowed, one.quota_exceeded, one.concurrency) for name, one in report.rules.items()}
        )


def test_what_was_admitted_quickly_can_be_given_back():
    engine = RateLimitEngine(lambda: 0.0)
    engine.apply(snapshot(1, 10.0, 0.0, 1.0, 1.0, penalty=False))
    context = LimitContext(client="192.0.2.1", method="GET")
    before = engine.begin(context, 0.0)
    place = engine.find(context)
    assert place is not None
    admission = engine.admit(place, 0.0)
    assert admission is not None
    engine.refund_admission(admission, 0.0)
    assert engine.begin(context, 0.0).remaining == before.remaining - 1


@given(
    st.lists(
        st.tuples(st.floats(-5.0, 30.0), st.one_of(st.floats(0.0, 30.0), st.sampled_from([1.0, 1e300]))), max_size=60
    ),
    st.lists(st.sampled_from([1.0, 0.5, 0.1]), min_size=1, max_size=4),
)
def test_check_decides_as_the_algorithm_itself_does(requests, factors):
    engine = RateLimitEngine(lambda: 0.0)
    state, now = IDLE, 1000.0
    for at, (pause, cost) in enumerate(requests):
        now += pause
        factor = factors[at % len(factors)]
        engine.apply(snapshot(at, 10.0, 4.0, 1.0, factor, penalty=False))
        limit = 10.0 * 0.5 * factor  # of anonymous callers
        allowed, state, left, reset, wait = Gcra.check(state, now, 10.0 / limit, max(limit * 0.4, 1.0), cost)
        result = engine.check(LimitContext(client="192.0.2.1", method="GET", cost=cost), now)
        assert (result.allowed, result.limit) == (allowed, limit)
        assert result.decisions[0][4][0][1] == state
        assert result.remaining == int(left + SLACK)
        assert abs(result.reset_after - reset) < 1e-6
        assert result.retry_after == wait


@given(st.sampled_from([-1.0, float("nan"), float("inf"), -float("inf")]), st.integers(0, 3))
def test_a_cost_that_is_none_is_refused_whatever_was_asked_before(cost, before):
    engine = RateLimitEngine(lambda: 0.0)
    engine.apply(snapshot(1, 10.0, 0.0, 1.0, 1.0, penalty=False))
    for _ in range(before):
        engine.check(LimitContext(client="192.0.2.1"), 0.0)
    with pytest.raises(CostError):
        engine.check(LimitContext(client="192.0.2.1", cost=cost), 0.0)
    assert engine.check(LimitContext(client="192.0.2.1", cost=0.0), 0.0).remaining == 5 - before
