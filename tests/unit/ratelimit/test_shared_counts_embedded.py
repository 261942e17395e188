"""Shared counts in the control process's memory, and the bounds that every ask is held to."""

import math

import msgspec
import pytest

from seawall.core.errors import InvalidError
from seawall.systems.ratelimit.counts import CountAsk, GiveBack, WindowAsk
from seawall.systems.ratelimit.embedded import CountsBatch, EmbeddedCounts, decode_answer_batch, encode_batch
from seawall.systems.ratelimit.model import Algorithm
from seawall.systems.ratelimit.shared import place_of, undo
from seawall.systems.ratelimit.shared_bounds import (
    MAX_ASKS,
    MAX_KEY,
    MAX_LEASE,
    MAX_NUMBER,
    MAX_REFUNDS,
    MAX_WINDOWS,
    bounded_asks,
    bounded_refunds,
    count_key,
)
from seawall.systems.ratelimit.shared_codec import encode_ask


class Now:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def gcra(limit: float = 10.0, *, window: float = 1.0, burst: float = 10.0, cost: float = 1.0) -> WindowAsk:
    return WindowAsk(Algorithm.GCRA, limit, window, burst, cost)


def ask(key: str = "base\nclient:192.0.2.7", *windows: WindowAsk, lease: float = 0.0, binding: bool = True) -> CountAsk:
    return CountAsk(key, windows or (gcra(),), lease, binding)


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def counts(now: Now) -> EmbeddedCounts:
    return EmbeddedCounts(now)


def answered(counts: EmbeddedCounts, *requests: tuple[CountAsk, ...], refunds: tuple[GiveBack, ...] = ()) -> tuple:
    return decode_answer_batch(counts.answer(encode_batch(CountsBatch(requests, refunds))))


def test_a_batch_is_answered_in_order_and_counts_add_up(counts: EmbeddedCounts) -> None:
    answers = answered(counts, *[(ask(),)] * 11)
    assert [one[0].allowed for one in answers] == [True] * 10 + [False]
    assert answers[0][0].windows[0].remaining == pytest.approx(9.0)
    assert answers[10][0].windows[0].retry_after == pytest.approx(0.1)
    assert answers[0][0].at == 1000.0


def test_one_binding_refusal_takes_nothing_and_shadows_take_by_themselves(counts: EmbeddedCounts) -> None:
    full = ask("full", gcra(limit=1.0, burst=1.0))
    answered(counts, (full,))
    other, shadow = ask("other"), ask("shadow", binding=False)
    ((free, refused, watched),) = answered(counts, (other, full, shadow))
    assert (free.allowed, refused.allowed, watched.allowed) == (True, False, True)
    assert free.windows[0].remaining == 10.0
    ((free,), (watched,)) = answered(counts, (other,), (shadow,))
    assert free.windows[0].remaining == pytest.approx(9.0)
    assert watched.windows[0].remaining == pytest.approx(8.0)


def test_a_shadow_that_refuses_does_not_stand_in_the_way(counts: EmbeddedCounts) -> None:
    shadow = ask("shadow", gcra(limit=0.0), binding=False)
    ((free, watched),) = answered(counts, (ask(), shadow))
    assert free.allowed
    assert free.windows[0].remaining == pytest.approx(9.0)
    assert (watched.allowed, watched.windows[0].retry_after) == (False, math.inf)


def test_a_lease_takes_at_most_half_of_what_is_left(counts: EmbeddedCounts) -> None:
    ((first,),) = answered(counts, (ask(lease=100.0),))
    assert first.lease == 4.0  # half of the nine that the request left, in whole requests
    assert first.windows[0].remaining == pytest.approx(5.0)
    ((second,),) = answered(counts, (ask(lease=1.0),))
    assert (second.lease, second.windows[0].remaining) == (1.0, pytest.approx(3.0))


def test_a_lease_needs_room_in_every_window_at_the_price_of_each(counts: EmbeddedCounts) -> None:
    windows = (gcra(cost=2.0), WindowAsk(Algorithm.SLIDING_WINDOW, 4.0, 60.0, 0.0, 1.0))
    ((answer,),) = answered(counts, (ask("k", *windows, lease=9.0),))
    assert answer.lease == 1.0
    assert [window.remaining for window in answer.windows] == [pytest.approx(6.0), pytest.approx(2.0)]


def test_an_expired_lease_and_a_refund_come_back(counts: EmbeddedCounts) -> None:
    ((answer,),) = answered(counts, (ask(lease=4.0),))
    answered(counts, refunds=(GiveBack(ask().key, (gcra(cost=4.0),), answer.at),))
    ((look,),) = answered(counts, (ask("base\nclient:192.0.2.7", gcra(cost=0.0)),))
    assert look.windows[0].remaining == pytest.approx(9.0)


def test_a_negative_refund_takes_more_unasked(counts: EmbeddedCounts) -> None:
    answered(counts, refunds=(GiveBack("k", (gcra(cost=-8.0),), 1000.0),))
    ((answer,),) = answered(counts, (ask("k", gcra(cost=3.0)),))
    assert not answer.allowed


@pytest.mark.parametrize("algorithm", [Algorithm.SLIDING_WINDOW, Algorithm.FIXED_WINDOW, Algorithm.CONCURRENCY])
def test_a_charge_and_its_refund_leave_nothing_in_any_algorithm(algorithm: Algorithm, counts: EmbeddedCounts) -> None:
    def window(cost: float) -> WindowAsk:
        return WindowAsk(algorithm, 2.0, 60.0, 0.0, cost)

    answered(counts, refunds=(GiveBack("k", (window(-5.0),), 1000.0),))
    ((refused,),) = answered(counts, (ask("k", window(1.0)),))
    assert not refused.allowed
    answered(counts, refunds=(GiveBack("k", (window(5.0),), 1000.0),))
    assert len(counts) == 0


def test_permits_are_released_and_leaked_ones_expire(counts: EmbeddedCounts, now: Now) -> None:
    window = WindowAsk(Algorithm.CONCURRENCY, 2.0, 30.0, 0.0, 1.0)
    asked = (ask("k", window),)
    (first,), _ = answered(counts, asked, asked)
    assert not answered(counts, asked)[0][0].allowed
    answered(counts, refunds=(GiveBack("k", (window,), first.at),))
    assert answered(counts, asked)[0][0].allowed
    now.seconds += 60.0
    assert [one[0].allowed for one in answered(counts, asked, asked, asked)] == [True, True, False]


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_an_infinite_refund_forgets_the_key_in_any_algorithm(algorithm: Algorithm, counts: EmbeddedCounts) -> None:
    window = WindowAsk(algorithm, 3.0, 60.0, 3.0, 1.0)
    answered(counts, *[(ask("k", window),)] * 3)
    answered(counts, refunds=(GiveBack("k", (msgspec.structs.replace(window, cost=math.inf),), 0.0),))
    assert len(counts) == 0


def test_a_refund_to_nobody_changes_nothing(counts: EmbeddedCounts) -> None:
    answered(counts, refunds=(GiveBack("k", (gcra(),), 1000.0),))
    assert len(counts) == 0


def test_what_undoes_an_answer_gives_back_request_and_lease(counts: EmbeddedCounts) -> None:
    asks = (ask("a", lease=3.0), ask("b"), ask("c", binding=False))
    (answers,) = answered(counts, asks)
    answered(counts, refunds=tuple(undo(asks, answers)))
    assert len(counts) == 0


def test_nothing_is_undone_that_was_not_taken(counts: EmbeddedCounts) -> None:
    asks = (ask("a"), ask("b", gcra(limit=0.0)), ask("c", binding=False))
    (answers,) = answered(counts, asks)
    assert [refund.key for refund in undo(asks, answers)] == ["c"]


def test_windows_of_another_shape_are_counted_apart(counts: EmbeddedCounts) -> None:
    minute, second = gcra(limit=1.0, burst=1.0, window=60.0), gcra(limit=1.0, burst=1.0, window=1.0)
    assert answered(counts, (ask("k", minute),), (ask("k", second),))[1][0].allowed
    assert not answered(counts, (ask("k", minute),))[0][0].allowed


def test_a_limit_of_nought_refuses_without_forgetting_what_is_owed(counts: EmbeddedCounts) -> None:
    for _ in range(10):
        answered(counts, (ask("k"),))
    ((shut,),) = answered(counts, (ask("k", gcra(limit=0.0)),))
    assert (shut.allowed, shut.windows[0].retry_after) == (False, math.inf)
    assert not answered(counts, (ask("k"),))[0][0].allowed


def test_a_cost_that_exceeds_the_limit_by_less_than_the_slack_waits_for_the_last_bucket(
    counts: EmbeddedCounts, now: Now
) -> None:
    window = WindowAsk(Algorithm.SLIDING_WINDOW, 0.99999, 10.0, 0.0, 1.0)
    assert answered(counts, (ask("k", window),))[0][0].allowed
    now.seconds += 12.5
    ((answer,),) = answered(counts, (ask("k", window),))
    assert not answer.allowed
    assert answer.windows[0].retry_after == pytest.approx(7.5)


def test_the_table_stays_within_its_bound_and_keeps_who_keeps_coming(now: Now) -> None:
    counts = EmbeddedCounts(now, max_keys=1000)
    noisy = (ask("noisy", gcra(limit=1.0, window=60.0, burst=1.0)),)
    assert answered(counts, noisy)[0][0].allowed
    for number in range(5000):
        now.seconds += 0.001
        counts.take((ask(f"one-shot-{number}", gcra(limit=1.0, window=60.0)),), now.seconds)
        if number % 100 == 0:
            assert not counts.take(noisy, now.seconds)[0].allowed
    assert len(counts) <= 1000
    assert counts.forgotten > 0


def test_a_batch_that_is_none_is_refused(counts: EmbeddedCounts) -> None:
    with pytest.raises(msgspec.MsgspecError):
        counts.answer(b"\x93\x01\x02\x03")


# -- bounds ------------------------------------------------------------------------------------------------------------

NOT_A_NUMBER = [math.nan, -1.0, -math.inf]


@pytest.mark.parametrize("value", NOT_A_NUMBER)
@pytest.mark.parametrize("field", ["limit", "burst", "cost", "window"])
def test_an_ask_with_a_number_that_is_none_is_refused_on_both_sides(
    field: str, value: float, counts: EmbeddedCounts
) -> None:
    asks = (ask("k", msgspec.structs.replace(gcra(), **{field: value})),)
    with pytest.raises(InvalidError, match=field):
        bounded_asks(asks)
    with pytest.raises(InvalidError, match=field):
        counts.answer(encode_batch(CountsBatch((asks,))))
    assert len(counts) == 0


@pytest.mark.parametrize("field", ["cost", "window"])
def test_an_infinite_cost_or_window_is_refused(field: str) -> None:
    with pytest.raises(InvalidError, match=field):
        bounded_asks((ask("k", msgspec.structs.replace(gcra(), **{field: math.inf})),))


@pytest.mark.parametrize("value", NOT_A_NUMBER)
def test_a_lease_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(InvalidError, match="lease"):
        bounded_asks((ask(lease=value),))


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_a_refund_with_a_number_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(InvalidError, match="cost"):
        bounded_refunds((GiveBack("k", (gcra(cost=value),), 0.0),))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_refund_of_no_time_is_refused(value: float) -> None:
    with pytest.raises(InvalidError, match="time"):
        bounded_refunds((GiveBack("k", (gcra(),), value),))


def test_a_bucket_without_a_burst_is_refused() -> None:
    with pytest.raises(InvalidError, match="burst"):
        bounded_asks((ask("k", gcra(burst=0.0)),))


def test_numbers_that_are_too_large_count_as_the_bound() -> None:
    (bounded,) = bounded_asks((ask("k", gcra(limit=math.inf, burst=1e300, cost=1e200), lease=math.inf),))
    assert bounded.windows == (gcra(limit=MAX_NUMBER, burst=MAX_NUMBER, cost=MAX_NUMBER),)
    assert bounded.lease == MAX_LEASE


def test_an_ask_within_its_bounds_is_passed_on_as_it_is() -> None:
    asked = ask()
    assert bounded_asks((asked,))[0] is asked


@pytest.mark.parametrize("count", [0, MAX_ASKS + 1])
def test_a_request_has_a_bounded_number_of_asks(count: int) -> None:
    with pytest.raises(InvalidError, match="asks"):
        bounded_asks(tuple(ask(f"k{number}") for number in range(count)))


@pytest.mark.parametrize("count", [0, MAX_WINDOWS + 1])
def test_an_ask_has_a_bounded_number_of_windows(count: int) -> None:
    with pytest.raises(InvalidError, match="windows"):
        bounded_asks((CountAsk("k", (gcra(),) * count),))


def test_a_bounded_number_of_refunds_comes_at_once() -> None:
    with pytest.raises(InvalidError, match="refunds"):
        bounded_refunds((GiveBack("k", (gcra(),), 0.0),) * (MAX_REFUNDS + 1))


def test_a_key_asked_for_twice_is_refused() -> None:
    with pytest.raises(InvalidError, match="twice"):
        bounded_asks((ask("k"), ask("k")))


def test_a_key_of_absurd_length_or_of_no_text_is_hashed() -> None:
    long, torn = "k" * (MAX_KEY + 1), "k\ud800"
    assert count_key("k" * MAX_KEY) == "k" * MAX_KEY
    assert count_key("ключ") == "ключ"
    for key in (long, torn):
        assert count_key(key).startswith("#")
        assert len(count_key(key)) == 33
        assert bounded_asks((ask(key),))[0].key == count_key(key)
    assert count_key(long) != count_key(long + "k")


def test_both_forms_count_at_the_same_place() -> None:
    windows = tuple(WindowAsk(algorithm, 1.0, 0.1, 1.0, 1.0) for algorithm in Algorithm)
    key, _ = encode_ask(b"p:", CountAsk("base\nuser:x", windows))
    assert key.decode() == "p:" + place_of("base\nuser:x", windows)
