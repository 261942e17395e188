"""Space-Saving keeps its bounds for any stream, any weights and any merging."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from seawall.systems.ratelimit.sketch import SpaceSaving

keys = st.integers(0, 25).map(lambda number: b"%d" % number)
units = st.lists(st.tuples(keys, st.just(1)), max_size=300)
streams = st.one_of(units, st.lists(st.tuples(keys, st.integers(-1, 30)), max_size=120))
capacities = st.integers(1, 12)


def fed(capacity: int, stream: list[tuple[bytes, int]]) -> tuple[SpaceSaving, Counter[bytes]]:
    sketch = SpaceSaving(capacity)
    true: Counter[bytes] = Counter()
    for key, weight in stream:
        sketch.add(key, weight)
        true[key] += max(weight, 0)
        assert len(sketch) <= capacity
    return sketch, true


def holds(sketch: SpaceSaving, true: Counter[bytes]) -> None:
    bound = true.total() / sketch.capacity
    assert sketch.total == true.total()
    found = {hitter.key: hitter for hitter in sketch}
    assert len(found) == len(sketch) <= sketch.capacity
    for key, count, error in found.values():
        assert count - error <= true[key] <= count
        assert error <= bound
    assert {key for key, weight in true.items() if weight > bound} <= found.keys()


@given(capacities, streams)
def test_the_bound_holds_for_a_stream(capacity: int, stream: list[tuple[bytes, int]]) -> None:
    holds(*fed(capacity, stream))


@given(capacities, st.lists(streams, min_size=1, max_size=5), streams)
def test_the_bound_holds_after_merging_and_going_on(
    capacity: int, parts: list[list[tuple[bytes, int]]], more: list[tuple[bytes, int]]
) -> None:
    merged, true = fed(capacity, parts[0])
    for part in parts[1:]:
        other, counted = fed(capacity, part)
        merged = merged.merged(other)
        true += counted
        holds(merged, true)
    for key, weight in more:
        merged.add(key, weight)
        true[key] += max(weight, 0)
    holds(merged, true)


@given(streams)
def test_a_sketch_with_room_for_all_is_exact(stream: list[tuple[bytes, int]]) -> None:
    sketch, true = fed(30, stream)
    assert {hitter.key: hitter.weight for hitter in sketch} == {key: weight for key, weight in true.items() if weight}
    assert all(hitter.error == 0 for hitter in sketch)
