"""The pipeline itself: order, waits, failures; with stages that are scripted by the test."""

import logging
from collections.abc import Callable

import pytest

from seawall.core.request import Request
from seawall.pipeline.failures import Failures, PipelineReport
from seawall.pipeline.passage import WAITING, Passage, Refusal, Rewrite, Verdict
from seawall.pipeline.pipeline import NO_STAGES, Pipeline
from seawall.pipeline.stage import Stage

NO = Refusal(429, (), b"")
LATER = Refusal(401, (), b"")


class Asker:
    def __init__(self) -> None:
        self.told: list[Refusal | None] = []
        self.holds = 0

    def on_admitted(self, refusal: Refusal | None) -> None:
        self.told.append(refusal)

    def on_hold(self) -> None:
        self.holds += 1


class Scripted(Stage):
    name = "scripted"
    fails_open = True

    def __init__(self, say: Callable[[Passage], Verdict] = lambda _: None, *, active: bool = True) -> None:
        super().__init__()
        self.says = say
        self.on = active
        self.rewrites = True
        self.entered = 0
        self.left = 0
        self.refunded = 0

    def refresh(self) -> None:
        self.active = self.on

    def enter(self, passage: Passage) -> Verdict:
        self.entered += 1
        return self.says(passage)

    def leave(self, passage: Passage) -> None:
        self.left += 1

    def refund(self, passage: Passage) -> None:
        self.refunded += 1


class Closed(Scripted):
    name = "closed"
    fails_open = False


def broken(_: Passage) -> Verdict:
    raise ZeroDivisionError


def wait(_: Passage) -> Verdict:
    return WAITING


def deny(passage: Passage) -> Verdict:
    passage.denial = LATER
    return None


def pipeline(*stages: Stage) -> Pipeline:
    return Pipeline(stages, lambda: 0.0)


def passage(owner: Asker | None = None) -> Passage:
    return Passage(Request("GET", b"/"), "default", owner or Asker())


def test_stages_are_met_in_order_until_one_refuses():
    first, second, third = Scripted(), Scripted(lambda _: NO), Scripted()
    assert pipeline(first, second, third).enter(passage()) is NO
    assert (first.entered, second.entered, third.entered) == (1, 1, 0)


def test_a_stage_with_nothing_to_decide_is_not_met():
    idle, other = Scripted(lambda _: NO, active=False), Scripted()
    line = pipeline(idle, other)
    assert line.enter(passage()) is None
    idle.on = True
    line.refresh()
    assert line.enter(passage()) is NO
    assert NO_STAGES.stages == ()


@pytest.mark.parametrize(("later", "expected"), [(None, LATER), (NO, NO)])
def test_a_denial_waits_for_the_stages_after_it(later, expected):
    assert pipeline(Scripted(deny), Scripted(lambda _: later)).enter(passage()) is expected


def test_after_a_wait_the_rest_is_met_and_the_owner_told_once():
    owner = Asker()
    waiting, after = Scripted(wait), Scripted(lambda _: NO)
    line = pipeline(waiting, after)
    request = passage(owner)
    assert line.enter(request) is WAITING
    assert (after.entered, owner.told) == (0, [])
    line.resume(waiting, request, lambda: None)
    assert (after.entered, owner.told) == (1, [NO])


def test_a_second_stage_may_wait_too():
    owner = Asker()
    first, second, third = Scripted(wait), Scripted(wait), Scripted()
    line = pipeline(first, second, third)
    request = passage(owner)
    line.enter(request)
    line.resume(first, request, lambda: None)
    assert (second.entered, third.entered, owner.told) == (1, 0, [])
    line.resume(second, request, lambda: None)
    assert (third.entered, owner.told) == (1, [None])


class Reader(Scripted):
    """Wants to see ten bytes."""

    def __init__(self, say: Callable[[bytes, bool], Verdict]) -> None:
        super().__init__()
        self.judge = say

    def enter(self, passage: Passage) -> Verdict:
        passage.hold = 10
        return WAITING

    def take_body(self, passage: Passage, body: bytes, *, whole: bool) -> Verdict:
        return self.judge(body, whole)


@pytest.mark.parametrize(("verdict", "entered"), [(None, 1), (NO, 0)])
def test_a_stage_that_asks_for_the_body_is_shown_it_once(verdict, entered):
    shown: list[tuple[bytes, bool]] = []

    def say(body: bytes, whole: bool) -> Verdict:  # noqa: FBT001 - as it is called
        shown.append((body, whole))
        return verdict

    owner, after = Asker(), Scripted()
    line = pipeline(Reader(say), after)
    request = passage(owner)
    assert line.enter(request) is WAITING
    assert (request.hold, owner.holds, owner.told) == (10, 0, [])
    for _ in range(2):
        line.on_body(request, b"0123456789", whole=False)
    assert (shown, request.hold, request.held) == ([(b"0123456789", False)], 0, 10)
    assert (owner.told, after.entered) == ([verdict], entered)


def test_an_owner_is_told_when_the_body_is_wanted_after_a_wait():
    owner = Asker()
    line = pipeline(first := Scripted(wait), Reader(lambda body, whole: NO if whole else None))
    request = passage(owner)
    line.enter(request)
    assert request.hold == 0
    line.resume(first, request, lambda: None)
    assert (owner.holds, owner.told) == (1, [])
    line.on_body(request, b"", whole=True)
    assert owner.told == [NO]


def test_a_defect_in_looking_at_a_body_lets_it_through_and_whoever_left_is_not_told():
    def broken_judge(body: bytes, whole: bool) -> Verdict:  # noqa: FBT001 - as it is called
        raise ZeroDivisionError

    owner = Asker()
    line = pipeline(Reader(broken_judge))
    request = passage(owner)
    line.enter(request)
    line.on_body(request, b"x", whole=True)
    assert (owner.told, line.failures.counts) == ([None], {"scripted": 1})
    left = passage(owner)
    line.enter(left)
    line.leave(left)
    line.on_body(left, b"x", whole=True)
    assert owner.told == [None]


def test_fields_that_stay_here_are_those_of_all_active_stages():
    first, second = Scripted(), Scripted()
    first.keeps, second.keeps = frozenset({b"x-a"}), frozenset({b"x-b"})
    line = pipeline(first, second)
    assert line.keeps == {b"x-a", b"x-b"}
    second.on = False
    line.refresh()
    assert line.keeps == {b"x-a"}


def test_what_a_stage_adds_goes_upstream_without_any_being_asked():
    class Silent(Scripted):
        def __init__(self) -> None:
            super().__init__()
            self.rewrites = False

        def rewrite(self, passage: Passage) -> Rewrite | Refusal:
            raise ZeroDivisionError

    request = passage()
    request.added = ((b"x-a", b"1"),)
    assert pipeline(Silent()).rewrite(request) == Rewrite(frozenset(), ((b"x-a", b"1"),))


def test_whoever_left_is_told_nothing_and_what_came_for_it_goes_back():
    owner = Asker()
    waiting, after = Scripted(wait), Scripted()
    line = pipeline(waiting, after)
    request = passage(owner)
    line.enter(request)
    line.leave(request)
    line.resume(waiting, request, lambda: None)
    assert (owner.told, after.entered, waiting.left) == ([], 0, 2)


def test_a_defect_in_an_open_stage_lets_through_and_in_a_closed_one_does_not():
    after = Scripted()
    assert pipeline(Scripted(broken), after).enter(passage()) is None
    assert after.entered == 1
    refusal = pipeline(Closed(broken), after).enter(passage())
    assert isinstance(refusal, Refusal)
    assert (refusal.status, after.entered) == (503, 1)


def test_a_defect_after_a_wait_is_no_different():
    owner = Asker()
    line = pipeline(open_one := Scripted(wait), closed := Closed(wait))
    request = passage(owner)
    line.enter(request)
    line.resume(open_one, request, lambda: broken(request))
    line.resume(closed, request, lambda: broken(request))
    assert [told.status for told in owner.told if told is not None] == [503]
    assert line.failures.counts == {"scripted": 1, "closed": 1}


def test_a_defect_at_the_end_keeps_no_other_stage_from_its_work():
    class BrokenEnd(Scripted):
        def leave(self, passage: Passage) -> None:
            raise ZeroDivisionError

        refund = leave

        def sweep(self) -> None:
            raise ZeroDivisionError

        def measure(self, lag: float) -> None:
            raise ZeroDivisionError

        close = sweep

    good = Closed()
    line = pipeline(BrokenEnd(), good)
    request = passage()
    assert line.enter(request) is None
    line.refund(request)
    line.leave(request)
    line.sweep()
    line.measure()
    line.close()
    assert (good.left, good.refunded) == (1, 1)
    assert line.failures.counts == {"scripted": 5}


def test_rewrites_add_up_and_a_defect_in_one_refuses():
    class Rewriting(Scripted):
        def rewrite(self, passage: Passage) -> Rewrite | Refusal:
            return Rewrite(frozenset({b"x-a"}), ((b"x-b", b"1"),))

    class BrokenRewrite(Scripted):
        def rewrite(self, passage: Passage) -> Rewrite | Refusal:
            raise ZeroDivisionError

    found = pipeline(Rewriting(), Scripted(), Rewriting()).rewrite(passage())
    assert found == Rewrite(frozenset({b"x-a"}), ((b"x-b", b"1"), (b"x-b", b"1")))
    assert isinstance(pipeline(Rewriting(), BrokenRewrite()).rewrite(passage()), Refusal)


def test_the_worst_lag_since_the_last_measure_is_told():
    told: list[float] = []

    class Measured(Scripted):
        def measure(self, lag: float) -> None:
            told.append(lag)

    line = pipeline(Measured())
    for lag in (0.01, 0.2, 0.05):
        line.on_lag(lag)
    line.measure()
    line.measure()
    assert told == [0.2, 0.0]


def test_failures_are_counted_each_and_logged_now_and_then(caplog):
    now = 0.0
    failures = Failures(lambda: now)

    def fail() -> None:
        try:
            broken(passage())
        except ZeroDivisionError:
            failures.add("limits", "let through")

    with caplog.at_level(logging.ERROR, "seawall.pipeline"):
        for now in (100.0, 101.0, 104.9, 105.0, 109.0):  # noqa: B007 - the clock reads it
            fail()
    assert failures.counts == {"limits": 5}
    assert failures.report(full=False) == PipelineReport(failures={"limits": 5})
    assert failures.report(full=False) is None, "nothing happened since"
    assert failures.report(full=True) == PipelineReport(failures={"limits": 5})
    assert [record.args for record in caplog.records] == [("limits", 1, "let through"), ("limits", 3, "let through")]
