"""Deciding by counts that several processes share: what is asked, what happens without an answer, what goes back."""

import math
import tracemalloc

import msgspec
import pytest

from seawall.systems.ratelimit.condition import Condition
from seawall.systems.ratelimit.counts import CountAnswer, GiveBack, WindowAnswer
from seawall.systems.ratelimit.engine import Ask, RateLimitEngine
from seawall.systems.ratelimit.keys import LimitContext
from seawall.systems.ratelimit.leases import BYTES_PER_KEY, LIFETIME
from seawall.systems.ratelimit.model import (
    Algorithm,
    Counting,
    EndpointFactor,
    LimitResult,
    Mode,
    Offence,
    Override,
    Penalty,
    PenaltySnapshot,
    PoolLoad,
    RateLimitSnapshot,
    Reason,
    RuleSnapshot,
    StoreFailure,
    WindowSnapshot,
)
from seawall.systems.ratelimit.rules import BYTES_PER_REFUSAL
from seawall.systems.ratelimit.shared import States, give_back, take
from seawall.systems.ratelimit.verdict import CostError

WALL = 1_700_000_000.0
ALICE = LimitContext(user="alice")
BOB = LimitContext(user="bob")


def window(limit: float = 100, seconds: float = 1.0, **fields) -> WindowSnapshot:
    return WindowSnapshot(name=fields.pop("name", "w"), limit=limit, window=seconds, **fields)


def rule(rule_id: str = "r", *windows: WindowSnapshot, **fields) -> RuleSnapshot:
    fields = {"key": ("user",), "counts": Counting.LEASED} | fields
    return RuleSnapshot(id=rule_id, windows=windows or (window(),), **fields)


def strict(rule_id: str = "r", *windows: WindowSnapshot, **fields) -> RuleSnapshot:
    return rule(rule_id, *windows, counts=Counting.STRICT, **fields)


def local(rule_id: str = "l", *windows: WindowSnapshot, **fields) -> RuleSnapshot:
    return rule(rule_id, *windows, counts=Counting.LOCAL, **fields)


class Site:
    """One engine and the counts that it asks, on one clock."""

    def __init__(self, *rules: RuleSnapshot, **fields) -> None:
        self.now = 1000.0
        self.wall = WALL
        self.states: dict[str, States] = {}
        self.asks: list[Ask] = []
        self.refunds: list[GiveBack] = []
        self.engine = RateLimitEngine(lambda: self.wall)
        self.publish(*rules, **fields)

    def publish(self, *rules: RuleSnapshot, **fields) -> None:
        version = self.engine.snapshot.version + 1
        self.engine.apply(RateLimitSnapshot(version=version, rules=rules or self.engine.snapshot.rules, **fields))

    def begin(self, context: LimitContext = ALICE) -> LimitResult | Ask:
        return self.engine.begin(context, self.now)

    def answers(self, ask: Ask) -> tuple[CountAnswer, ...]:
        answers, changes = take(self.states.get, ask.asks, self.now)
        for change in changes:
            self.states[change.place] = change.states
        return answers

    def ask(self, context: LimitContext = ALICE, *, away: bool = False) -> LimitResult:
        """Decide on one request, asking where it must be."""
        begun = self.begin(context)
        if isinstance(begun, LimitResult):
            return begun
        self.asks.append(begun)
        return self.engine.settle(begun, None if away else self.answers(begun), self.now)

    def give_back(self) -> list[GiveBack]:
        returns = self.engine.returns()
        for refund in returns:
            change = give_back(self.states.get, refund, self.now)
            if change is not None:
                self.states.pop(change.place, None)
            if change is not None and change.states:
                self.states[change.place] = change.states
        return returns

    def left(self, context: LimitContext = ALICE) -> float:
        """Return what the counts have left of a key's first window, leases not among it."""
        look = LimitContext(user=context.user, cost=0.0)
        probe = RateLimitEngine(lambda: WALL)
        probe.apply(RateLimitSnapshot(version=0, rules=self.engine.snapshot.rules))
        begun = probe.begin(look, self.now)
        assert isinstance(begun, Ask)
        return self.answers(begun)[0].windows[0].remaining

    def lease(self, context: LimitContext = ALICE) -> float:
        """Make a key hot, and return the tokens that are leased of it then."""
        for _ in range(3):
            assert self.ask(context).allowed
            self.now += 0.001
        held = self.held()
        assert held > 0.0
        return held

    def held(self) -> float:
        return sum(one.leases.held() for one in self.engine._rules)


def test_what_is_asked() -> None:
    site = Site(
        strict(
            "r",
            window(100, 60, burst=20, min=10, max=300),
            window(3, 30, name="f", algorithm=Algorithm.CONCURRENCY),
            roles={"admin": 5.0},
        ),
        share=0.25,
    )
    begun = site.begin(LimitContext(user="alice", role="admin", cost=2))
    assert isinstance(begun, Ask)
    (asked,) = begun.asks
    assert (asked.key, asked.lease, asked.binding) == ("r\nuser:alice", 0.0, True)
    rate, flying = asked.windows
    assert (rate.limit, rate.window, rate.burst, rate.cost) == (300.0, 60.0, 60.0, 2.0), "the share is for local counts"
    assert (flying.limit, flying.window, flying.burst, flying.cost) == (15.0, 30.0, 0.0, 1.0)


def test_an_answer_is_told_as_a_local_decision_is() -> None:
    result = Site(strict("r", window(10, 60))).ask()
    assert (result.allowed, result.remaining, result.limit, result.rule) == (True, 9, 10.0, "r")
    assert (result.reason, result.key, result.retry_after) == (Reason.ALLOWED, "user:alice", 0.0)
    assert [(state.name, state.remaining) for state in result.windows] == [("w", pytest.approx(9.0))]


def test_local_rules_are_decided_at_once() -> None:
    site = Site(local("r", window(1, 60)))
    assert isinstance(site.begin(), LimitResult)
    refused = site.begin()
    assert isinstance(refused, LimitResult)
    assert not refused.allowed


def test_blocks_shedding_and_penalties_ask_nothing() -> None:
    site = Site(strict(), shedding=True, admission=(1.0, 1.0, 0.0, 0.0, 0.0, 0.0))
    shed = site.begin()
    assert isinstance(shed, LimitResult)
    assert shed.reason is Reason.SHED
    site = Site(strict())
    site.engine.penalise("user:alice", Penalty(0.0, site.now + 30.0))
    blocked = site.begin()
    assert isinstance(blocked, LimitResult)
    assert (blocked.reason, blocked.retry_after) == (Reason.BLOCKED, 30.0)


@pytest.mark.parametrize("cost", [-1.0, math.nan, math.inf])
@pytest.mark.parametrize("made", [rule, strict], ids=["leased", "strict"])
def test_a_cost_that_is_none_is_refused(made, cost: float) -> None:
    site = Site(made())
    with pytest.raises(CostError):
        site.begin(LimitContext(user="alice", cost=cost))
    if made is rule:
        site.lease()
        with pytest.raises(CostError):
            site.begin(LimitContext(user="alice", cost=cost))


# -- without an answer -------------------------------------------------------------------------------------------------


def test_away_each_process_has_its_fair_share() -> None:
    site = Site(strict("r", window(100, 60, burst=40)), share=0.25)
    assert sum(site.ask(away=True).allowed for _ in range(50)) == 10
    assert site.engine.report(full=True).away == 50


def test_away_a_rule_may_let_everything_pass_or_nothing() -> None:
    site = Site(strict("r", window(1, 60), on_store_failure=StoreFailure.OPEN))
    assert all(site.ask(away=True).allowed for _ in range(5))
    site = Site(strict("r", window(1, 60), on_store_failure=StoreFailure.CLOSED))
    refused = site.ask(away=True)
    assert (refused.allowed, refused.reason, refused.rule) == (False, Reason.UNAVAILABLE, "r")
    assert (refused.decisions, refused.limit) == ((), math.inf)
    assert 0.0 < refused.retry_after < 10.0
    assert not site.engine.report(full=True).offences, "the client is not to blame"
    assert site.ask().allowed, "and nothing is remembered against it"


def test_away_a_rule_on_trial_refuses_nobody() -> None:
    assert Site(strict("r", mode=Mode.SHADOW, on_store_failure=StoreFailure.CLOSED)).ask(away=True).allowed


def test_what_is_open_can_be_given_back_without_effect() -> None:
    flying = window(5, 30, algorithm=Algorithm.CONCURRENCY)
    site = Site(strict("r", flying, on_store_failure=StoreFailure.OPEN))
    result = site.ask(away=True)
    site.engine.release(result, site.now)
    site.engine.refund(result, site.now)
    assert not site.engine.returns()


def test_leases_pay_while_the_counts_are_away() -> None:
    site = Site(rule("r", on_store_failure=StoreFailure.CLOSED))
    held = int(site.lease())
    assert sum(site.ask(away=True).allowed for _ in range(held + 3)) == held


@pytest.mark.parametrize(
    ("algorithm", "least"),
    [
        (Algorithm.GCRA, 1),
        (Algorithm.SLIDING_WINDOW, 1),
        (Algorithm.FIXED_WINDOW, 1),
        (Algorithm.CONCURRENCY, 1),
    ],
)
def test_a_share_holds_one_request_at_least(algorithm: Algorithm, least: int) -> None:
    engine = Site(local("r", window(4, 60, algorithm=algorithm)), share=0.01).engine
    assert sum(engine.check(ALICE, 1000.0).allowed for _ in range(10)) == least


def test_a_new_share_holds_at_once() -> None:
    site = Site(local("r", window(100, 60, algorithm=Algorithm.FIXED_WINDOW)), share=1.0)
    assert site.engine.check(ALICE, 1000.0).limit == 100.0
    site.publish(share=0.5)
    assert site.engine.check(ALICE, 1000.0).limit == 50.0


# -- several rules -----------------------------------------------------------------------------------------------------


def test_nothing_is_asked_when_a_local_rule_refuses() -> None:
    site = Site(strict("a", fallthrough=True), local("b", window(2, 60)))
    assert [site.ask().allowed for _ in range(3)] == [True, True, False]
    assert len(site.asks) == 2


def test_nothing_is_taken_here_when_shared_counts_refuse() -> None:
    site = Site(local("a", window(10, 60), fallthrough=True), strict("b", window(2, 60)))
    assert [site.ask().rule for _ in range(5)][-1] == "b"
    assert site.engine.check(ALICE, site.now).windows[0].remaining == pytest.approx(7.0)


def test_a_local_quota_used_up_meanwhile_gives_back_what_was_granted() -> None:
    site = Site(strict("a", window(10, 60), fallthrough=True), local("b", window(1, 60)))
    first, second = site.begin(), site.begin()
    assert isinstance(first, Ask)
    assert isinstance(second, Ask)
    assert site.engine.settle(first, site.answers(first), site.now).allowed
    refused = site.engine.settle(second, site.answers(second), site.now)
    assert (refused.allowed, refused.rule) == (False, "b")
    assert site.left() == pytest.approx(8.0)
    (back,) = site.give_back()
    assert (back.key, back.windows[0].cost, back.at) == ("a\nuser:alice", 1.0, site.now)
    assert site.left() == pytest.approx(9.0)


def test_what_a_lease_paid_returns_to_it_when_another_rule_refuses() -> None:
    site = Site(rule("a", window(1000), fallthrough=True), strict("b", window(5, 60), key=("global",)))
    for _ in range(4):
        site.ask()
        site.now += 0.001
    held = site.held()
    assert held > 1.0
    site.ask(BOB)
    site.states = {place: states for place, states in site.states.items() if "b\n" in place}
    refused = site.ask()
    assert (refused.allowed, refused.rule) == (False, "b")
    assert site.held() == held


def test_a_rule_on_trial_reports_and_its_counts_stay_as_if_refused_requests_had_not_been() -> None:
    site = Site(strict("trial", window(100, 60), mode=Mode.SHADOW), strict("real", window(2, 60)))
    assert [site.ask().allowed for _ in range(4)] == [True, True, False, False]
    site.give_back()
    assert site.left() == pytest.approx(98.0)
    site = Site(strict("trial", window(2, 60), mode=Mode.SHADOW), strict("real", window(100, 60)))
    results = [site.ask() for _ in range(4)]
    assert [result.shadow for result in results] == [None, None, Reason.QUOTA_EXCEEDED, Reason.QUOTA_EXCEEDED]
    assert all(result.allowed and result.rule == "real" for result in results)
    assert site.engine.report(full=True).rules["trial"].shadow == 2
    assert [len(asked.asks) for asked in site.asks] == [2, 2, 2, 1], "a refusal on trial is remembered, too"


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("match", [Condition(), Condition(users=("alice",))], ids=["all", "some"])
@pytest.mark.parametrize("fallthrough", [False, True])
def test_a_refused_key_is_not_asked_again_before_its_time(match: Condition, *, fallthrough: bool) -> None:
    site = Site(strict("r", window(10, 60, burst=1), match=match, fallthrough=fallthrough))
    site.ask()
    first = site.ask()
    assert (first.allowed, len(site.asks)) == (False, 2)
    site.now += 2.0
    again = site.ask()
    assert (again.allowed, again.reason, again.rule, again.key) == (False, Reason.QUOTA_EXCEEDED, "r", "user:alice")
    assert again.retry_after == pytest.approx(first.retry_after - 2.0)
    assert again.reset_after == pytest.approx(first.reset_after - 2.0)
    assert again.windows[0].reset_after == pytest.approx(again.reset_after)
    assert len(site.asks) == 2
    site.now += again.retry_after + 1e-6
    assert site.ask().allowed
    report = site.engine.report(full=True)
    assert (report.remembered, report.rules["r"].quota_exceeded) == (1, 2)
    assert report.offences == (Offence("user:alice", "r", 2),)


def test_a_refusal_holds_for_what_costs_as_much_under_the_same_limits() -> None:
    site = Site(strict("r", window(10, 60)))
    assert not site.ask(LimitContext(user="alice", cost=11)).allowed
    assert not site.ask(LimitContext(user="alice", cost=12)).allowed
    assert len(site.asks) == 1
    assert site.ask(LimitContext(user="alice", cost=9)).allowed
    site.publish(overrides={"user:alice": Override(limit=20.0)})
    site.ask(LimitContext(user="alice", cost=11))
    assert len(site.asks) == 3


def test_what_can_never_pass_is_asked_again_after_a_window() -> None:
    site = Site(strict("r", window(10, 60)))
    dear = LimitContext(user="alice", cost=11)
    assert site.ask(dear).retry_after == math.inf
    site.now += 61.0
    assert not site.ask(dear).allowed
    assert len(site.asks) == 2


def test_requests_in_flight_are_asked_for_each_time() -> None:
    site = Site(rule("r", window(1, 30, algorithm=Algorithm.CONCURRENCY)))
    held = site.ask()
    refused = site.ask()
    assert (refused.allowed, refused.reason) == (False, Reason.CONCURRENCY)
    assert not site.ask().allowed
    assert len(site.asks) == 3
    site.engine.release(held, site.now)
    site.engine.release(held, site.now)
    (back,) = site.give_back()
    assert back.windows[0].cost == 1.0
    assert site.ask().allowed


def test_a_clock_that_went_back_forgets_refusals() -> None:
    site = Site(strict("r", window(10, 60, burst=1)))
    site.ask()
    site.ask()
    site.now -= 500.0
    site.ask()
    assert len(site.asks) == 3


# -- leases ------------------------------------------------------------------------------------------------------------


def test_a_hot_key_is_leased_and_others_are_not() -> None:
    site = Site(rule("r", window(1000)))
    assert [asked.lease for asked in _asked(site, every=1.0, count=5)] == [0.0] * 5
    asks = _asked(site, every=0.001, count=200)
    assert len(asks) < 20
    assert [asked.lease for asked in asks[1:4]] == [4.0, 12.0, 28.0]
    assert max(asked.lease for asked in asks) <= 151.0
    assert site.engine.report(full=True).leased == 200 - len(asks)
    assert _asked(site, every=0.001, count=1, context=BOB)[0].lease == 0.0


def _asked(site: Site, *, every: float, count: int, context: LimitContext = ALICE) -> list:
    before = len(site.asks)
    for _ in range(count):
        assert site.ask(context).allowed
        site.now += every
    return [asked.asks[0] for asked in site.asks[before:]]


def test_a_key_has_one_lease_on_its_way() -> None:
    site = Site(rule("r", window(1000)))
    site.ask()
    site.now += 0.001
    begun = [site.begin() for _ in range(5)]
    assert [asked.asks[0].lease > 0.0 for asked in begun if isinstance(asked, Ask)] == [True] + [False] * 4
    for asked in begun:
        assert isinstance(asked, Ask)
        site.engine.settle(asked, None, site.now)
    site.now += 0.001
    again = site.begin()
    assert isinstance(again, Ask)
    assert again.asks[0].lease > 0.0, "after counts that were away, it is asked for again"


@pytest.mark.parametrize("processes", [1, 2, 8])
def test_all_leases_together_are_half_a_burst_at_most(processes: int) -> None:
    site = Site(rule("r", window(100, 1.0, burst=64)), share=1.0 / processes)
    for _ in range(200):
        site.ask()
        assert site.held() <= 0.5 * 64 / processes + 0.01
        site.now += 0.0005


@pytest.mark.parametrize(("seconds", "lasts"), [(1.0, LIFETIME), (0.1, 0.1)])
def test_a_lease_ends_and_what_is_left_goes_back(seconds: float, lasts: float) -> None:
    site = Site(rule("r", window(100, seconds)))
    site.lease()
    lease = next(iter(site.engine._rules[0].leases.lot(1.0).values()))
    assert lease.until - lease.since == pytest.approx(lasts)
    tokens = site.held()
    site.now = lease.until - 1e-6
    assert not site.engine.sweep(site.now)
    site.now = lease.until
    (back,) = site.engine.sweep(site.now)
    assert (back.key, back.windows[0].cost) == ("r\nuser:alice", tokens)
    assert site.held() == 0.0
    assert isinstance(site.begin(), Ask)


def test_an_ended_lease_is_not_used_whether_swept_or_not() -> None:
    site = Site(rule())
    tokens = site.lease()
    site.now += LIFETIME
    assert isinstance(site.begin(), Ask)
    assert [back.windows[0].cost for back in site.engine.returns()] == [tokens], "asking anew gives it back"


def test_a_lease_does_not_survive_a_clock_that_went_back() -> None:
    site = Site(rule())
    tokens = site.lease()
    site.now -= 100.0
    assert isinstance(site.begin(), Ask)
    site.engine.sweep(site.now)
    assert site.held() == 0.0
    assert tokens > 0.0


def test_requests_worth_differently_have_leases_of_their_own() -> None:
    site = Site(rule("r", window(1000), endpoints=(EndpointFactor(factor=0.5, methods=("POST",)),)))
    site.lease()
    post = LimitContext(user="alice", method="POST")
    begun = site.begin(post)
    assert isinstance(begun, Ask)
    assert begun.asks[0].windows[0].limit == 500.0
    leased = site.begin()
    assert isinstance(leased, LimitResult)
    assert leased.limit == 1000.0


def test_a_leased_decision_tells_what_is_left() -> None:
    site = Site(rule("r", window(100), window(6000, 60.0, name="m")))
    site.lease()
    result = site.begin()
    assert isinstance(result, LimitResult)
    assert [state.name for state in result.windows] == ["w", "m"]
    assert [state.limit for state in result.windows] == [100.0, 6000.0]
    assert 90 <= result.remaining < 100
    assert result.limit == 100.0
    assert result.remaining == int(result.windows[0].remaining + 0.001)


def test_a_refund_goes_to_the_lease_while_it_lasts() -> None:
    site = Site(rule())
    site.lease()
    result = site.begin()
    assert isinstance(result, LimitResult)
    before = site.held()
    site.engine.refund(result, site.now)
    assert site.held() == before + 1.0
    assert not site.engine.returns()
    result = site.begin()
    assert isinstance(result, LimitResult)
    site.now += 1.0
    site.engine.sweep(site.now)
    site.engine.refund(result, site.now)
    site.engine.refund(result, site.now)
    (back,) = site.give_back()
    assert back.windows[0].cost == 1.0


def test_what_was_dearer_is_taken_from_the_lease_or_from_the_counts() -> None:
    site = Site(rule())
    tokens = site.lease()
    result = site.begin()
    assert isinstance(result, LimitResult)
    site.engine.correct(result, site.now, 2.0)
    assert site.held() == tokens - 2.0
    site.engine.correct(result, site.now, 52.0)
    assert site.held() == tokens - 2.0
    (back,) = site.give_back()
    assert back.windows[0].cost == -50.0


@pytest.mark.parametrize("give", ["refund", "correct", "reset"])
def test_what_is_given_back_ends_a_remembered_refusal(give: str) -> None:
    site = Site(strict("r", window(2, 60.0)))
    first = site.ask()
    assert site.ask().allowed
    assert not site.ask().allowed
    asked = len(site.asks)
    assert not site.ask().allowed
    assert len(site.asks) == asked, "it is remembered"
    if give == "refund":
        site.engine.refund(first, site.now)
    elif give == "correct":
        site.engine.correct(first, site.now, 0.0)
    else:
        site.engine.reset("user:alice")
    site.give_back()
    assert site.ask().allowed


def test_a_correction_upwards_leaves_a_refusal_remembered() -> None:
    site = Site(strict("r", window(2, 60.0)))
    first = site.ask()
    assert site.ask().allowed
    assert not site.ask().allowed
    site.engine.correct(first, site.now, 5.0)
    asked = len(site.asks)
    assert not site.ask().allowed
    assert len(site.asks) == asked


def test_what_a_later_rule_s_refusal_puts_back_ends_a_remembered_one() -> None:
    outer = strict("outer", window(1, 60.0), fallthrough=True)
    site = Site(outer, local("inner", window(1, 60.0), key=("tenant",)))
    first = site.begin(LimitContext(user="alice", tenant="one"))
    second = site.begin(LimitContext(user="alice", tenant="two"))
    assert isinstance(first, Ask)
    assert isinstance(second, Ask)
    assert site.ask(LimitContext(user="bob", tenant="one")).allowed, "which leaves no room in the inner rule"
    has_room, has_none = site.answers(first), site.answers(second)
    assert site.engine.settle(second, has_none, site.now).rule == "outer"
    assert site.engine.settle(first, has_room, site.now).rule == "inner"
    site.give_back()
    assert site.ask(LimitContext(user="alice", tenant="two")).allowed


def test_a_refund_leaves_permits_and_a_release_leaves_the_rest() -> None:
    site = Site(rule("r", window(10, 60, cost=2.0), window(5, 30, name="f", algorithm=Algorithm.CONCURRENCY)))
    result = site.ask(LimitContext(user="alice", cost=3))
    assert result.holds
    site.engine.refund(result, site.now, 1)
    site.engine.release(result, site.now)
    assert [[one.cost for one in back.windows] for back in site.give_back()] == [[2.0, 0.0], [0.0, 1.0]]
    assert site.left() == pytest.approx(6.0)


@pytest.mark.parametrize(
    "change",
    [
        lambda site: site.publish(local("other")),
        lambda site: site.publish(strict()),
        lambda site: site.publish(rule("r", key=("user", "tenant"))),
        lambda site: site.publish(rule("r", window(100, 2.0))),
    ],
    ids=["removed", "strict", "other key", "other window"],
)
def test_leases_of_a_rule_that_changed_go_back(change) -> None:
    site = Site(rule())
    tokens = site.lease()
    begun = site.begin(LimitContext(user="alice", cost=50))
    assert isinstance(begun, Ask)
    answers = tuple(
        CountAnswer(allowed=True, windows=(WindowAnswer(True, 50.0, 0.5, 0.0),), lease=2.0, at=7.0) for _ in begun.asks
    )
    change(site)
    (back,) = site.engine.returns()
    assert (back.key, back.windows[0].cost) == ("r\nuser:alice", tokens)
    assert site.engine.settle(begun, answers, site.now).allowed
    (late,) = site.engine.returns()
    assert (late.windows[0].cost, late.at) == (100.0, 7.0), "a lease for a rule that is gone goes back, too"
    site.publish(rule())
    site.lease()


def test_leases_survive_a_change_that_leaves_them_their_meaning() -> None:
    site = Site(rule())
    tokens = site.lease()
    site.publish(rule("r", window(200)), load={"": 0.5}, share=0.5)
    assert site.held() == tokens
    assert isinstance(site.begin(), LimitResult)


def test_a_place_whose_limits_follow_its_path_is_paid_for_by_its_own_leases() -> None:
    site = Site(rule(endpoints=(EndpointFactor(factor=0.5, paths=("/a",)),)))
    slow, fast = LimitContext(user="alice", path="/a"), LimitContext(user="alice", path="/b")
    site.lease(slow)
    place, other = site.engine.find(slow), site.engine.find(fast)
    assert place is not None
    assert other is not None
    assert (place[2], other[2]) == ((50.0,), (100.0,))
    assert site.engine.admit(place, site.now) is not None
    assert site.engine.admit(other, site.now) is None


# -- resets and penalties ----------------------------------------------------------------------------------------------


def test_a_snapshot_that_came_from_another_process_keeps_what_is_compiled() -> None:
    site = Site(rule(), load={"": 1.0})
    tokens = site.lease()
    compiled = site.engine._rules
    changed = msgspec.structs.replace(site.engine.snapshot, version=9, load={"": 0.5})
    site.engine.apply(msgspec.msgpack.decode(msgspec.msgpack.encode(changed), type=RateLimitSnapshot))
    assert site.engine._rules is compiled
    assert site.held() == tokens
    asked = site.begin(LimitContext(user="alice", cost=50.0))
    assert isinstance(asked, Ask)
    assert asked.asks[0].windows[0].limit == 50.0


def test_a_reset_forgets_leases_and_refusals() -> None:
    site = Site(rule("r", window(100), window(3, 600, name="m")))
    while site.ask().allowed:
        site.now += 0.001
    asked = len(site.asks)
    assert not site.ask().allowed
    assert len(site.asks) == asked
    assert site.engine.reset("user:alice")
    site.give_back()
    assert site.ask().allowed, "the counts of the key are forgotten as well"
    site = Site(rule())
    site.lease()
    assert site.engine.reset("user:alice")
    assert site.held() == 0.0
    assert [back.windows[0].cost for back in site.give_back()] == [math.inf], "and nothing besides goes back"
    assert site.left() == 100.0
    assert not site.engine.reset("user:alice")


def test_a_reset_of_the_snapshot_is_done_once() -> None:
    site = Site(local("r", window(1, 60)))
    assert [site.ask().allowed for _ in range(2)] == [True, False]
    site.publish(resets={"user:alice": WALL})
    assert [site.ask().allowed for _ in range(2)] == [True, False]
    site.publish(resets={"user:alice": WALL}, load={"": 1.0})
    assert not site.ask().allowed
    site.publish(resets={"user:alice": WALL + 1.0})
    assert site.ask().allowed


def test_a_new_process_resets_nothing() -> None:
    site = Site(strict(), resets={"user:alice": WALL})
    assert not site.engine.returns(), "those that were there have done it"
    site.publish(resets={"user:alice": WALL + 1.0})
    assert len(site.engine.returns()) == 1


@pytest.mark.parametrize("made", [rule, strict, local], ids=["leased", "strict", "local"])
def test_penalties_of_the_snapshot_apply_until_their_wall_time(made) -> None:
    site = Site(made("r", window(10, 60)), penalties={"user:alice": PenaltySnapshot(0.0, WALL + 30.0)})
    blocked = site.ask()
    assert (blocked.reason, blocked.retry_after, blocked.rule) == (Reason.BLOCKED, 30.0, "r")
    assert site.ask(BOB).allowed
    assert site.engine.check(ALICE, site.now).reason is Reason.BLOCKED
    site.publish(penalties={"user:alice": PenaltySnapshot(0.5, WALL + 30.0)})
    throttled = site.ask()
    assert (throttled.limit, throttled.factors.violations) == (5.0, 0.5)
    site.wall += 30.0
    assert site.ask().limit == 10.0
    assert site.engine.report(full=True).blocked == 2


def test_the_severest_penalty_counts() -> None:
    site = Site(local("r", window(10, 60)), penalties={"user:alice": PenaltySnapshot(0.5, WALL + 30.0)})
    site.engine.penalise("user:alice", Penalty(0.0, site.now + 5.0))
    assert site.ask().retry_after == 5.0
    site.now += 5.0
    assert site.ask().limit == 5.0
    site.engine.penalise("user:alice", Penalty(0.9, site.now + 5.0))
    assert site.ask().limit == 5.0


@pytest.mark.parametrize("made", [strict, local], ids=["strict", "local"])
def test_factors_of_nothing_leave_next_to_nothing(made) -> None:
    site = Site(made("r", window(10, 60)), load={"": 0.0})
    assert sum(site.ask().allowed for _ in range(10)) <= 1
    site = Site(made("r", window(10, 60), mode=Mode.SHADOW))
    site.engine.penalise("user:alice", Penalty(0.0, site.now + 5.0))
    assert all(site.ask().allowed for _ in range(3))


# -- what is reported --------------------------------------------------------------------------------------------------


def test_offences_and_lag_are_told_once_and_the_rest_is_cumulative() -> None:
    site = Site(local("r", window(2, 60)))
    for _ in range(5):
        site.ask()
    site.ask(BOB)
    site.engine.lag = 0.25
    site.engine.pools = {"api": PoolLoad(3, 100, 2, 5.0)}
    report = site.engine.report(full=False)
    assert report.offences == (Offence("user:alice", "r", 3),)
    assert (report.lag, report.pools) == (0.25, {"api": PoolLoad(3, 100, 2, 5.0)})
    again = site.engine.report(full=False)
    assert (again.offences, again.lag) == ((), 0.0)
    assert again.rules == report.rules


def test_offences_are_bounded_and_keep_the_worst() -> None:
    site = Site(local("r", window(1, 60), key=("client",)))
    for number in range(3000):
        client = LimitContext(client=f"10.0.{number >> 8}.{number & 255}")
        site.ask(client)
        site.ask(client)
        site.ask(LimitContext(client="192.0.2.1"))
    offences = site.engine.report(full=False).offences
    assert len(offences) <= 256
    assert (offences[0].key, offences[0].count) == ("client:192.0.2.1", 2999)


def test_a_key_that_is_no_text_is_an_offence_like_others() -> None:
    site = Site(local("r", window(1, 60), key=("client",)))
    odd = LimitContext(client="a\udc80b")
    site.ask(odd)
    assert not site.ask(odd).allowed
    assert site.engine.report(full=False).offences[0].key == "client:a\udc80b"


# -- memory ------------------------------------------------------------------------------------------------------------


def test_keys_that_are_asked_for_once_are_forgotten() -> None:
    site = Site(rule("r", key=("client",)))
    for number in range(20_000):
        assert site.ask(LimitContext(client=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")).allowed
        site.now += 0.00001
    leases = site.engine._rules[0].leases
    assert len(leases) == 8192
    site.now += LIFETIME
    assert not site.engine.sweep(site.now)
    assert len(leases) == 0
    assert site.engine.report(full=True).keys == 0


def test_a_watched_key_stays_under_the_stated_bound() -> None:
    engine = RateLimitEngine(lambda: WALL)
    engine.apply(RateLimitSnapshot(version=0, rules=(rule("r", window(1000), key=("client",)),)))
    answer = CountAnswer(allowed=True, windows=(WindowAnswer(True, 900.0, 0.5, 0.0),), lease=4.0, at=7.0)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for beat in range(2):
        for number in range(6000):
            begun = engine.begin(LimitContext(client=f"10.0.{number >> 8}.{number & 255}"), 1000.0 + beat / 1000)
            assert isinstance(begun, Ask)
            if begun.asks[0].lease:
                assert engine.settle(begun, (answer,), 1000.0 + beat / 1000).allowed
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    (one,) = engine._rules
    assert len(one.leases) == 6000
    assert one.leases.held() == 6000 * 4.0
    assert (after - before) / 6000 <= BYTES_PER_KEY


@pytest.mark.parametrize("windows", [1, 2])
def test_a_remembered_refusal_stays_under_the_stated_bound(windows: int) -> None:
    engine = RateLimitEngine(lambda: WALL)
    both = [window(1, 60.0**number, name=f"w{number}") for number in range(1, windows + 1)]
    engine.apply(RateLimitSnapshot(version=0, rules=(strict("r", *both, key=("client",)),)))
    (one,) = engine._rules
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(30_000):
        begun = engine.begin(LimitContext(client=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"), 1000.0)
        assert isinstance(begun, Ask)
        told = tuple(WindowAnswer(False, 0.25 * number, 0.5 * number, 1.0 + number) for _ in range(windows))
        assert not engine.settle(begun, (CountAnswer(allowed=False, windows=told, lease=0.0, at=7.0),), 1000.0).allowed
        begun = told = None
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(one.refused) == 16_384
    assert (after - before) / 16_384 <= BYTES_PER_REFUSAL + (windows - 1) * 170
