"""Shared counts in Python and in Lua are the same function, and what they promise holds for any sequence."""

import math
import struct
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from seawall.systems.ratelimit.counts import CountAnswer, CountAsk, GiveBack, WindowAsk
from seawall.systems.ratelimit.model import Algorithm
from seawall.systems.ratelimit.shared import Change, States, give_back, place_of, take, undo
from seawall.systems.ratelimit.shared_bounds import bounded_asks, bounded_refunds
from seawall.systems.ratelimit.shared_codec import decode_answers, encode_ask, encode_refund
from seawall.systems.ratelimit.shared_lua import SHARED_BODY

PREFIX = b"twins:"
TOLD_TIME = "local now, spare = tonumber(table.remove(ARGV)), 3600000\n" + SHARED_BODY
"""The script on a clock of the test's, whose keys outlive any sequence."""

LAYOUTS = (
    (Algorithm.GCRA,),
    (Algorithm.SLIDING_WINDOW,),
    (Algorithm.FIXED_WINDOW,),
    (Algorithm.CONCURRENCY,),
    (Algorithm.GCRA, Algorithm.FIXED_WINDOW),
    (Algorithm.SLIDING_WINDOW, Algorithm.CONCURRENCY, Algorithm.GCRA),
)
STATE_FLOATS = {Algorithm.GCRA: 1, Algorithm.FIXED_WINDOW: 2, Algorithm.SLIDING_WINDOW: 3, Algorithm.CONCURRENCY: 3}

lengths = st.sampled_from([0.5, 1.0, 10.0, 0.3, 0.1, 0.7, 86_400.0])
limits = st.sampled_from([1.0, 2.0, 3.0, 10.0, 10.0, 1000.0, 0.1]) | st.floats(0.001, 1e9)
shut = st.sampled_from([1.0, 1.0, 1.0, 1.0, 0.5, 2.0, 0.0, 1e-12])
"""What factors make of a limit from one step to the next."""
bursts = st.sampled_from([1.0, 2.0, 5.0, 10.0]) | st.floats(1.0, 1e6)
costs = st.sampled_from([1.0, 1.0, 1.0, 2.0, 2.5, 0.0, 1 / 2048, 1 / 1024, 1e15]) | st.floats(0.0, 12.0)
amounts = st.sampled_from([1.0, 2.0, 5.0, -1.0, 0.0, 1e15, math.inf]) | st.floats(-20.0, 20.0)
jumps = st.sampled_from([0.0, 0.0, 1e-6, 0.1, 0.25, 0.3, 0.5, 1.0, 9.9, 30.0, -0.2, -1.0, -1e5, 1e5]) | st.floats(
    -20, 20
)
leases = st.sampled_from([0.0, 0.0, 1.0, 2.0, 7.5, 1e6])

Rule = tuple[str, tuple[Algorithm, ...], float, tuple[tuple[float, float], ...]]
"""(key, algorithms, length of the windows, limit and burst of each)."""


@st.composite
def rules(draw: st.DrawFn) -> list[Rule]:
    """A few rules that a sequence comes back to, so that keys fill up, refuse and recover."""
    found: list[Rule] = []
    for key in draw(st.sampled_from([("a",), ("a", "b"), ("a", "b", "ключ")])):
        algorithms = draw(st.sampled_from(LAYOUTS))
        found.append((key, algorithms, draw(lengths), tuple((draw(limits), draw(bursts)) for _ in algorithms)))
    return found


@st.composite
def windows(draw: st.DrawFn, rule: Rule, amount: st.SearchStrategy[float]) -> tuple[WindowAsk, ...]:
    _, algorithms, length, numbers = rule
    cost, factor = draw(amount), draw(shut)
    return tuple(
        WindowAsk(one, limit * factor, length, burst, cost)
        for one, (limit, burst) in zip(algorithms, numbers, strict=True)
    )


@st.composite
def asks(draw: st.DrawFn, among: list[Rule]) -> tuple[CountAsk, ...]:
    picked = draw(st.lists(st.sampled_from(among), min_size=1, max_size=3, unique=True))
    return tuple(CountAsk(rule[0], draw(windows(rule, costs)), draw(leases), draw(st.booleans())) for rule in picked)


@st.composite
def refunds(draw: st.DrawFn, among: list[Rule]) -> GiveBack:
    """Its time is told as the seconds before the step that hands it back, in lengths of its window."""
    rule = draw(st.sampled_from(among))
    ago = draw(st.sampled_from([0.0, -0.5, -1.0, -1.5, -2.5]) | st.floats(-4.0, 0.0))
    return GiveBack(rule[0], draw(windows(rule, amounts)), ago * rule[2])


@st.composite
def sequences(draw: st.DrawFn, *, refunding: bool = True) -> list[tuple[float, tuple[CountAsk, ...] | GiveBack]]:
    """Steps: the time that passes, and what happens then."""
    among = draw(rules())
    step = asks(among) | asks(among) | refunds(among) if refunding else asks(among)
    quick = draw(st.booleans())
    wait = jumps if not quick else st.sampled_from([0.0, 0.01, among[0][2] / 2, among[0][2], among[0][2] * 1.5])
    return draw(st.lists(st.tuples(wait, step), min_size=1, max_size=16))


class Table:
    """What the Python form keeps; `lasting` forgets at once what is as good as none."""

    def __init__(self, *, lasting: bool = True) -> None:
        self.kept: dict[str, tuple[States, float]] = {}
        self.lasting = lasting
        self.now = 0.0

    def get(self, place: str) -> States | None:
        states, until = self.kept.get(place, (None, 0.0))
        return None if states is None or (self.now >= until and not self.lasting) else states

    def apply(self, change: Change | None) -> None:
        if change is None:
            return
        if change.lasts > 0.0:
            self.kept[change.place] = change.states, self.now + change.lasts
        else:
            self.kept.pop(change.place, None)

    def step(self, now: float, what: tuple[CountAsk, ...] | GiveBack) -> tuple[CountAnswer, ...]:
        self.now = now
        if isinstance(what, GiveBack):
            self.apply(give_back(self.get, what, now))
            return ()
        answers, changes = take(self.get, what, now)
        for change in changes:
            self.apply(change)
        return answers


def flat(states: States) -> list[float]:
    return [number for state in states for number in (state if isinstance(state, tuple) else (state,))]


def bounded(what: tuple[CountAsk, ...] | GiveBack, now: float) -> tuple[CountAsk, ...] | GiveBack:
    if isinstance(what, GiveBack):
        return bounded_refunds([GiveBack(what.key, what.windows, now + what.at)])[0]
    return bounded_asks(what)


@pytest.fixture(scope="module")
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client
        left = list(client.scan_iter(match=PREFIX.decode() + "*"))
        if left:
            client.delete(*left)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequences(), st.sampled_from([0.0, 1e3, 2.8e7, -5e8]) | st.floats(0.0, 1e8))
def test_both_forms_answer_alike_and_keep_alike(redis: Redis, sequence, start) -> None:
    script = redis.register_script(TOLD_TIME)
    left = list(redis.scan_iter(match=PREFIX.decode() + "*"))
    if left:
        redis.delete(*left)
    table, now = Table(), start
    for jump, drawn in sequence:
        now += jump
        what = bounded(drawn, now)
        expected = table.step(now, what)
        encoded = (
            [encode_refund(PREFIX, what)] if isinstance(what, GiveBack) else [encode_ask(PREFIX, ask) for ask in what]
        )
        raw = script(keys=[key for key, _ in encoded], args=[*(word for _, word in encoded), b"%.17g" % now])
        told = decode_answers(raw, () if isinstance(what, GiveBack) else tuple(len(ask.windows) for ask in what))
        assert told == expected
        places = {
            key.removeprefix(PREFIX).decode(): redis.get(key) for key in redis.scan_iter(match=PREFIX.decode() + "*")
        }
        assert places.keys() == table.kept.keys()
        for place, (states, _) in table.kept.items():
            numbers = flat(states)
            assert list(struct.unpack(f"<{len(numbers)}d", places[place])) == numbers


@settings(deadline=None)
@given(sequences(refunding=False))
def test_what_has_lasted_its_time_is_as_good_as_none(sequence) -> None:
    keeping, forgetting, now = Table(), Table(lasting=False), 1000.0
    for jump, drawn in sequence:
        now += abs(jump)
        what = bounded(drawn, now)
        kept, forgotten = keeping.step(now, what), forgetting.step(now, what)
        assert [answer.allowed for answer in kept] == [answer.allowed for answer in forgotten]
        assert [answer.lease for answer in kept] == [answer.lease for answer in forgotten]
        for one, other in zip(kept, forgotten, strict=True):
            for here, there in zip(one.windows, other.windows, strict=True):
                assert here.remaining == pytest.approx(there.remaining, rel=1e-6, abs=1e-6)


@settings(deadline=None)
@given(sequences())
def test_all_binding_asks_are_taken_or_none(sequence) -> None:
    table, now = Table(), 1000.0
    for jump, drawn in sequence:
        now += abs(jump)
        what = bounded(drawn, now)
        before = dict(table.kept)
        answers = table.step(now, what)
        if isinstance(what, GiveBack) or all(
            answer.allowed for ask, answer in zip(what, answers, strict=True) if ask.binding
        ):
            continue
        for ask, answer in zip(what, answers, strict=True):
            if ask.binding or not answer.allowed:
                assert answer.lease == 0.0
                place = place_of(ask.key, ask.windows)
                if place not in before:
                    assert place not in table.kept


@settings(deadline=None)
@given(rules().flatmap(asks), st.floats(0.0, 0.2), st.floats(0.0, 1e6))
def test_undoing_at_once_leaves_room_for_the_same_again(drawn, later, now) -> None:
    table = Table()
    what = bounded_asks(drawn)
    first = table.step(now, what)
    for refund in bounded_refunds(undo(what, first)):
        table.step(now, refund)
    again = table.step(now + later, what)
    assert [answer.allowed for answer in again] == [answer.allowed for answer in first]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.0, 0.3), st.integers(0, 20), st.sampled_from([0.5, 1.0, 2.0])), max_size=60),
    st.floats(1.0, 20.0),
    st.floats(1.0, 100.0),
)
def test_no_span_admits_more_than_burst_and_rate_leases_included(arrivals, burst, limit) -> None:
    table, now, taken = Table(), 0.0, []
    for gap, lease, cost in arrivals:
        now += gap
        ask = CountAsk("k", (WindowAsk(Algorithm.GCRA, limit, 1.0, burst, cost),), float(lease))
        (answer,) = table.step(now, (ask,))
        if answer.allowed:
            taken.append((now, cost * (1.0 + answer.lease)))
    for index, (start, _) in enumerate(taken):
        total = 0.0
        for at, cost in taken[index:]:
            total += cost
            assert total <= burst + limit * (at - start) + 0.01


@given(rules().flatmap(asks), jumps, jumps)
def test_no_clock_locks_a_key_out_for_longer_than_its_own_window(drawn, first, second) -> None:
    table, now = Table(), 1e6
    what = bounded_asks(drawn)
    for jump in (0.0, first, second):
        now += jump
        for answer, ask in zip(table.step(now, what), what, strict=True):
            for told, window in zip(answer.windows, ask.windows, strict=True):
                longest = 2.0 * window.window
                if window.algorithm is Algorithm.GCRA and window.limit:
                    longest = max(window.burst, 1.0) * window.window / max(window.limit, 1e-9)
                if told.retry_after != float("inf"):
                    assert told.retry_after <= longest * (1.0 + 1e-6) + 1e-6
