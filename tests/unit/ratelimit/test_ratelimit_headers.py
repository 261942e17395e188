import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core.structured_fields import Item, StructuredFieldError, parse_list
from seawall.systems.ratelimit.gcra import IDLE, Gcra
from seawall.systems.ratelimit.headers import FieldWriter, Problem, Unit, retry_after, x_fields


def test_the_published_example_to_the_letter() -> None:
    writer = FieldWriter([("burst", 60.0)])
    assert writer.policy([100.0]) == '"burst";q=100;w=60'
    assert writer.state([50.0], [30.0]) == '"burst";r=50;t=30'
    assert writer.fields([100.0], [50.0], [30.0]) == [
        (b"ratelimit-policy", b'"burst";q=100;w=60'),
        (b"ratelimit", b'"burst";r=50;t=30'),
    ]


def test_several_windows_are_one_list() -> None:
    writer = FieldWriter([("permin", 60.0), ("perhr", 3600.0)])
    assert writer.policy([50.0, 1000.0]) == '"permin";q=50;w=60, "perhr";q=1000;w=3600'
    assert writer.state([0.0, 950.0], [12.0, 1800.0]) == '"permin";r=0;t=12, "perhr";r=950;t=1800'


def test_units_and_partitions() -> None:
    units = [Unit.CONTENT_BYTES, Unit.CONCURRENT_REQUESTS]
    writer = FieldWriter([("bytes", 60.0), ("flight", 0.0)], units, b"trial-abc123")
    assert writer.policy([65_535.0, 8.0]) == (
        '"bytes";q=65535;qu="content-bytes";w=60;pk=:dHJpYWwtYWJjMTIz:,'
        ' "flight";q=8;qu="concurrent-requests";pk=:dHJpYWwtYWJjMTIz:'
    )
    assert writer.state([1.0, 2.0], [3.0, math.inf]) == (
        '"bytes";r=1;t=3;pk=:dHJpYWwtYWJjMTIz:, "flight";r=2;pk=:dHJpYWwtYWJjMTIz:'
    )


@pytest.mark.parametrize(
    ("remaining", "reset", "expected"),
    [
        (0.999, 0.001, "r=0;t=1"),
        (1.9, 1.0, "r=1;t=1"),
        (2.9999, 1.01, "r=3;t=2"),
        (0.0, 0.0, "r=0;t=0"),
        (-1.0, -1.0, "r=0;t=0"),
        (math.nan, 59.9999999, "r=0;t=60"),
        (math.inf, 60.0000001, "r=999999999999999;t=60"),
        (1e18, 1e18, "r=999999999999999;t=999999999999999"),
    ],
)
def test_remainders_are_rounded_down_and_waits_up(remaining: float, reset: float, expected: str) -> None:
    assert FieldWriter([("q", 1.0)]).state([remaining], [reset]) == f'"q";{expected}'


def test_names_are_quoted_or_refused() -> None:
    assert FieldWriter([('a "b" \\c', 1.5)]).policy([1.0]) == '"a \\"b\\" \\\\c";q=1;w=2'
    with pytest.raises(StructuredFieldError):
        FieldWriter([("größe", 1.0)])
    with pytest.raises(StructuredFieldError):
        FieldWriter([("a\r\nset-cookie: x", 1.0)])


numbers = st.one_of(st.floats(), st.floats(0, 1e6))
names = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12)


@given(st.lists(st.tuples(names, numbers, numbers, numbers), min_size=1, max_size=4), st.binary(max_size=8))
def test_any_numbers_give_fields_that_parse(rows: list[tuple[str, float, float, float]], key: bytes) -> None:
    writer = FieldWriter([(name, 60.0) for name, *_ in rows], partition_key=key)
    policies = parse_list(writer.policy([limit for _, limit, _, _ in rows]))
    states = parse_list(writer.state([left for _, _, left, _ in rows], [reset for _, _, _, reset in rows]))
    for (name, limit, left, reset), policy, state in zip(rows, policies, states, strict=True):
        assert isinstance(policy, Item)
        assert isinstance(state, Item)
        assert policy.value == state.value == name
        assert policy.parameters["w"] == 60
        assert type(policy.parameters["q"]) is type(state.parameters["r"]) is int
        if 0 <= limit < 1e6:
            assert limit - 1 < policy.parameters["q"] <= limit + 0.001
        if 0 <= left < 1e6:
            assert left - 1 < state.parameters["r"] <= left + 0.001
        if 0 <= reset < 1e6:
            assert reset - 1e-5 <= state.parameters["t"] < reset + 1
        assert policy.parameters.get("pk", b"") == state.parameters.get("pk", b"") == key


def test_a_client_that_believes_the_fields_is_not_refused() -> None:
    tat = IDLE
    now = 1000.0
    while True:
        allowed, tat, _, _, wait = Gcra.check(tat, now, 0.7, 10.0)
        if not allowed:
            break
    assert Gcra.check(tat, now + retry_after(wait), 0.7, 10.0)[0]


def test_the_older_fields() -> None:
    assert x_fields(100.0, 49.5, 29.2) == [
        (b"x-ratelimit-limit", b"100"),
        (b"x-ratelimit-remaining", b"49"),
        (b"x-ratelimit-reset", b"30"),
    ]
    assert x_fields(100.0, 49.5, 29.2, wall=1_700_000_000.5)[2] == (b"x-ratelimit-reset", b"1700000030")
    assert len(x_fields(100.0, 0.0, math.inf)) == 2


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, 1),
        (-5.0, 1),
        (0.2, 1),
        (1.0, 1),
        (1.0000001, 1),
        (1.001, 2),
        (59.5, 60),
        (math.inf, 86_400),
        (1e9, 86_400),
    ],
)
def test_retry_after_is_whole_seconds_and_at_least_one(seconds: float, expected: int) -> None:
    assert retry_after(seconds) == expected
    assert retry_after(math.nan) == 86_400
    assert retry_after(100.0, longest=30) == 30


def test_the_problem_types() -> None:
    prefix = "https://iana.org/assignments/http-problem-types#"
    assert [problem.removeprefix(prefix) for problem in Problem] == [
        "quota-exceeded",
        "abnormal-usage-detected",
        "temporary-reduced-capacity",
    ]
