"""Whatever the traffic and the membership do, outlier detection keeps its promises."""

from hypothesis import given
from hypothesis import strategies as st

from seawall.systems.balancing.outliers import Ejected, OutlierDetector, OutlierPolicy, Returned

NAMES = ["a", "b", "c", "d", "e"]

batches = st.tuples(st.just("observe"), st.sampled_from(NAMES), st.integers(0, 30), st.integers(0, 30))
members = st.tuples(st.just("members"), st.sets(st.sampled_from(NAMES)))
steps = st.tuples(st.just("step"), st.floats(0.0, 40.0))

policies = st.builds(
    OutlierPolicy,
    consecutive_errors=st.integers(1, 10),
    min_requests=st.integers(1, 50),
    min_instances=st.integers(2, 4),
    interval=st.floats(0.1, 20.0),
    base_ejection=st.floats(0.1, 30.0),
    max_ejection=st.floats(0.1, 100.0),
    max_ejected=st.floats(0.0, 1.0),
)


@given(policy=policies, script=st.lists(st.one_of(batches, members, steps), max_size=60))
def test_ejections_stay_within_their_bounds(policy, script):
    now = 0.0
    present = set(NAMES)
    detector = OutlierDetector(policy, present, now=now)
    out: dict[str, float] = {}
    for event in script:
        match event:
            case ("observe", name, successes, errors):
                detector.observe(now, name, successes, errors, errors)
            case ("members", names):
                present = names
                detector.set_members(present, now)
                out = {name: until for name, until in out.items() if name in present}
            case ("step", seconds):
                now += seconds
        shrunk = event[0] == "members"
        for change in detector.step(now):
            match change:
                case Ejected(instance_id=name, until=until, count=count):
                    assert name in present
                    assert name not in out
                    assert count >= 1
                    assert 0.0 < until - now <= max(policy.max_ejection, 0.1) + 1e-6
                    out[name] = until
                case Returned(instance_id=name):
                    assert now >= detector.ejected.get(name, 0.0)
                    out.pop(name, None)
        # A member that left while ejected and came back is still out, which only the detector remembers.
        ejected = detector.ejected
        assert set(ejected) <= present
        assert set(out) <= set(ejected)
        if not shrunk and set(ejected) == set(out) and len(present) == len(NAMES):
            assert len(ejected) <= policy.max_ejected * len(present) + 1e-9
        assert all(until > now for until in ejected.values())
        out = dict(ejected)


@given(
    policy=policies,
    traffic=st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 50)), max_size=40),
    gaps=st.lists(st.floats(0.0, 15.0), max_size=40),
)
def test_a_pool_without_errors_ejects_nobody(policy, traffic, gaps):
    detector = OutlierDetector(policy, NAMES, now=0.0)
    now = 0.0
    for (name, successes), gap in zip(traffic, gaps, strict=False):
        now += gap
        detector.observe(now, name, successes, 0, 0)
        assert detector.step(now) == []


@given(
    batches=st.lists(st.integers(1, 5), min_size=1, max_size=20),
    threshold=st.integers(1, 12),
)
def test_a_run_of_errors_ejects_exactly_when_it_reaches_the_threshold(batches, threshold):
    policy = OutlierPolicy(consecutive_errors=threshold, error_rate_deviation=0.0)
    detector = OutlierDetector(policy, NAMES, now=0.0)
    seen = 0
    for index, errors in enumerate(batches):
        detector.observe(index * 0.1, "a", 0, errors, seen + errors)
        seen += errors
        changes = detector.step(index * 0.1)
        if seen >= threshold:
            assert [change.instance_id for change in changes] == ["a"]
            assert changes[0].reason == "consecutive-errors"
            return
        assert changes == []
