import random
import tracemalloc

import pytest

from seawall.core.errors import SeawallError
from seawall.systems.ratelimit.sketch import HeavyHitter, SpaceSaving


def test_the_heaviest_come_first() -> None:
    sketch = SpaceSaving(3)
    for key in b"a" * 5 + b"b" * 9 + b"c" * 2:
        sketch.add(bytes([key]))
    assert sketch.top(2) == [HeavyHitter(b"b", 9, 0), HeavyHitter(b"a", 5, 0)]
    sketch.add(b"d")
    assert sketch.top(9)[-1] == HeavyHitter(b"d", 3, 2)
    assert sketch.total == 17


def test_floods_of_one_shots_do_not_hide_the_heavy() -> None:
    rng = random.Random(4)
    sketch = SpaceSaving(100)
    for number in range(50_000):
        sketch.add(b"heavy" if rng.random() < 0.05 else b"%d" % number)
    first = sketch.top(1)[0]
    assert first.key == b"heavy"
    assert first.weight - first.error <= 2600


def test_merging_allows_for_what_a_full_sketch_has_evicted() -> None:
    ours, theirs = SpaceSaving(2), SpaceSaving(2)
    for key in b"caaabbb":  # c is evicted with a weight of 1
        ours.add(bytes([key]))
    for key in b"ccccccccd":
        theirs.add(bytes([key]))
    assert ours.top(2) == [HeavyHitter(b"a", 3, 0), HeavyHitter(b"b", 4, 1)][::-1]
    assert ours.merged(theirs).top(1) == [HeavyHitter(b"c", 8 + 3, 3)]
    assert theirs.merged(ours).top(1) == [HeavyHitter(b"c", 8 + 3, 3)]


def test_its_size_does_not_depend_on_the_stream() -> None:
    sketch = SpaceSaving(100)
    for number in range(2000):
        sketch.add(b"%016d" % number)
    tracemalloc.start()
    try:
        for number in range(2000, 4000):
            sketch.add(b"%016d" % number)
        before = tracemalloc.get_traced_memory()[0]
        for number in range(4000, 40_000):
            sketch.add(b"%016d" % number)
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before <= 16_384


def test_sketches_that_cannot_be_are_refused() -> None:
    with pytest.raises(SeawallError):
        SpaceSaving(0)
    with pytest.raises(SeawallError, match="capacity 3 and 4"):
        SpaceSaving(3).merged(SpaceSaving(4))
