"""What is sent of a quota is what the general writer says, whichever way it is written."""

import math

from hypothesis import example, given
from hypothesis import strategies as st

from seawall.systems.ratelimit.answers import encoded_fields, fields_of
from seawall.systems.ratelimit.engine import RateLimitEngine
from seawall.systems.ratelimit.headers import FieldWriter
from seawall.systems.ratelimit.keys import LimitContext
from seawall.systems.ratelimit.model import Mode, RateLimitSnapshot, RuleSnapshot, WindowSnapshot

numbers = st.floats(min_value=0.0, allow_nan=False) | st.floats(0.0, 1e6)
names = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=12)


@given(names, st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=4), st.sampled_from([b"", b"a%"]))
@example("100%d", [(5.0, 4.9995, 0.9999995)], b"")
@example("q", [(math.inf, math.inf, math.inf)], b"")
def test_the_quick_lines_say_what_the_fields_say(name, quotas, partition):
    writer = FieldWriter([(name, 60.0)], partition_key=partition)
    for limit, remaining, reset in quotas:
        expected = b"".join(b"%b: %b\r\n" % field for field in writer.fields((limit,), (remaining,), (reset,)))
        assert writer.lines((limit,), remaining, reset) == expected


@given(st.lists(st.tuples(names, numbers, numbers, numbers), min_size=1, max_size=4), st.sampled_from([b"", b"a%"]))
@example([("100%d", 5.0, 4.9995, 0.9999995), ("b", 1.0, 0.0, 60.0)], b"")
@example([("a", 1.0, 0.0, 1.0), ("b", 2.0, 1.0, math.inf)], b"")
def test_the_quick_lines_of_several_windows_say_what_the_fields_say(windows, partition):
    writer = FieldWriter([(name, 60.0) for name, *_ in windows], partition_key=partition)
    _, limits, remaining, resets = (tuple(column) for column in zip(*windows, strict=True))
    expected = b"".join(b"%b: %b\r\n" % field for field in writer.fields(limits, remaining, resets))
    for _ in range(2):  # the second time the template is known
        assert writer.all_lines(limits, zip(remaining, resets, strict=True)) == expected


@given(
    st.lists(st.sampled_from(["enforce", "shadow", "two"]), min_size=1, max_size=3, unique=True),
    st.sampled_from([("ratelimit",), ("x-ratelimit",), ("ratelimit", "x-ratelimit"), ()]),
    st.integers(1, 4),
)
def test_encoded_fields_are_the_fields(kinds, families, requests):
    rules = tuple(
        RuleSnapshot(
            id=kind,
            key=("client",),
            windows=tuple(
                WindowSnapshot(name=f"{kind}{index}", limit=3, window=60.0)
                for index in range(2 if kind == "two" else 1)
            ),
            mode=Mode.SHADOW if kind == "shadow" else Mode.ENFORCE,
            fallthrough=True,
        )
        for kind in kinds
    )
    engine = RateLimitEngine(lambda: 0.0)
    engine.apply(RateLimitSnapshot(version=1, rules=rules))
    for _ in range(requests):
        result = engine.check(LimitContext(client="192.0.2.1", method="GET"), 0.0)
        expected = b"".join(b"%b: %b\r\n" % field for field in fields_of(result, families))
        assert encoded_fields(result, families) == expected
