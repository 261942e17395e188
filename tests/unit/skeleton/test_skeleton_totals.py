"""Totals over cumulative reports: lost, repeated and late reports, restarts and departures never spoil a sum."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core.totals import CumulativeTotals

KEYS = ("pool/a", "pool/b")
SLOTS = ("worker-0", "worker-1")

steps = st.lists(
    st.one_of(
        st.tuples(st.just("count"), st.sampled_from(SLOTS), st.sampled_from(KEYS), st.integers(0, 5)),
        st.tuples(st.just("report"), st.sampled_from(SLOTS), st.booleans(), st.integers(1, 3)),
        st.tuples(st.just("restart"), st.sampled_from(SLOTS), st.booleans(), st.just(0)),
    ),
    max_size=60,
)


@given(steps)
def test_any_fate_of_reports_ends_in_the_sum_of_what_was_last_delivered(
    course: list[tuple[str, str, object, int]],
) -> None:
    totals = CumulativeTotals()
    life = dict.fromkeys(SLOTS, 0)
    counted = {slot: {key: [0, 0] for key in KEYS} for slot in SLOTS}
    delivered: dict[tuple[str, int], dict[str, list[int]]] = {}
    for kind, slot, detail, number in course:
        source = (slot, life[slot])
        if kind == "count":
            row = counted[slot][str(detail)]
            row[0] += 1
            row[1] += number
        elif kind == "report" and detail:  # otherwise it is lost
            for _ in range(number):  # delivered once or more
                for key, row in counted[slot].items():
                    totals.update(source, key, row)
            delivered[source] = {key: list(row) for key, row in counted[slot].items()}
        elif kind == "restart":
            if detail:
                totals.forget_source(source)
            life[slot] += 1
            counted[slot] = {key: [0, 0] for key in KEYS}
    for key in KEYS:
        rows = [rows[key] for rows in delivered.values()]
        expected = [sum(column) for column in zip(*rows, strict=True)] if rows else None
        assert totals.total(key) == expected


def test_update_returns_what_is_new() -> None:
    totals = CumulativeTotals()
    assert totals.update(("w", 1), "k", (3, 10)) == [3, 10]
    assert totals.update(("w", 1), "k", (5, 10)) == [2, 0]
    assert totals.update(("w", 2), "k", (1, 1)) == [1, 1]
    assert dict(totals) == {"k": [6, 11]}


def test_a_baseline_counts_in_the_total_and_is_nothing_new() -> None:
    totals = CumulativeTotals()
    assert totals.update(("w", 1), "k", (3, 10), baseline=True) == [0, 0]
    assert totals.total("k") == [3, 10]
    assert totals.update(("w", 1), "k", (5, 10), baseline=True) == [2, 0], "a row that is known has no other past"
    assert totals.total("k") == [5, 10]


def test_a_late_report_adds_nothing_and_takes_nothing() -> None:
    totals = CumulativeTotals()
    totals.update(("w", 1), "k", (5,))
    assert totals.update(("w", 1), "k", (3,)) == [0]
    assert totals.update(("w", 1), "k", (6,)) == [1]
    assert totals.total("k") == [6]


def test_a_forgotten_key_starts_anew() -> None:
    totals = CumulativeTotals()
    totals.update(("w", 1), "k", (5,))
    totals.forget_key("k")
    assert totals.total("k") is None
    totals.update(("w", 1), "k", (6,))
    assert totals.total("k") == [6]


def test_rows_keep_their_width() -> None:
    totals = CumulativeTotals()
    totals.update(("w", 1), "k", (5, 1))
    with pytest.raises(ValueError, match="zip"):
        totals.update(("w", 1), "k", (5,))
