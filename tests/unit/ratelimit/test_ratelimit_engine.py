"""The engine: rules in order, all windows or nothing, blocks, overrides, penalties, and what is given back."""

import math

import pytest

from seawall.core.errors import ConfigurationError
from seawall.systems.ratelimit.condition import Condition
from seawall.systems.ratelimit.engine import RateLimitEngine
from seawall.systems.ratelimit.keys import LimitContext
from seawall.systems.ratelimit.model import (
    Algorithm,
    Block,
    EndpointFactor,
    Mode,
    Override,
    Penalty,
    PriorityRule,
    RateLimitSnapshot,
    Reason,
    RuleSnapshot,
    WindowSnapshot,
)
from seawall.systems.ratelimit.verdict import CostError

WALL = 1_700_000_000.0
ALICE = LimitContext(user="alice", client="192.0.2.1")


def window(limit: float = 10, seconds: float = 60, **fields) -> WindowSnapshot:
    return WindowSnapshot(name=fields.pop("name", "w"), limit=limit, window=seconds, **fields)


def rule(rule_id: str = "r", *windows: WindowSnapshot, key: tuple[str, ...] = ("identity",), **fields) -> RuleSnapshot:
    return RuleSnapshot(id=rule_id, key=key, windows=windows or (window(),), **fields)


def engine(*rules: RuleSnapshot, **fields) -> RateLimitEngine:
    made = RateLimitEngine(lambda: WALL, max_keys=1000)
    made.apply(RateLimitSnapshot(version=1, rules=rules, **fields))
    return made


def admitted(limiter: RateLimitEngine, context: LimitContext, at: float = 0.0, most: int = 1000) -> int:
    for count in range(most):
        if not limiter.check(context, at).allowed:
            return count
    return most


FAST_AND_GENERAL = pytest.mark.parametrize(
    "match", [Condition(), Condition(users=("alice", "bob"))], ids=["fast", "general"]
)
"""One GCRA rule for everybody goes a way of its own, which must decide alike."""


@FAST_AND_GENERAL
def test_a_quota_is_admitted_and_comes_back(match: Condition) -> None:
    limiter = engine(rule("r", window(10, 60), match=match))
    first = limiter.check(ALICE, 0.0)
    assert (first.allowed, first.remaining, first.limit, first.rule) == (True, 9, 10.0, "r")
    assert first.reason is Reason.ALLOWED
    assert first.key == "user:alice"
    assert admitted(limiter, ALICE) == 9
    refused = limiter.check(ALICE, 0.0)
    assert (refused.allowed, refused.remaining, refused.reason) == (False, 0, Reason.QUOTA_EXCEEDED)
    assert refused.retry_after == pytest.approx(6.0, abs=0.01)
    assert refused.reset_after == pytest.approx(60.0)
    assert limiter.check(ALICE, refused.retry_after).allowed
    assert limiter.check(LimitContext(user="bob"), 0.0).allowed


@FAST_AND_GENERAL
def test_role_endpoint_load_and_threat_multiply_within_bounds(match: Condition) -> None:
    limiter = engine(
        rule(
            "r",
            window(100, 60, min=10, max=300),
            match=match,
            roles={"admin": 5.0, "viewer": 0.5},
            endpoints=(EndpointFactor(factor=0.5, methods=("POST",)),),
        ),
        load={"": 0.8, "slow": 0.1},
        threat=0.5,
    )

    def limit(**fields) -> tuple[float, ...]:
        result = limiter.check(LimitContext(user="alice", **fields), 0.0)
        factors = result.factors
        return result.limit, factors.role, factors.endpoint, factors.load, factors.threat

    assert limit() == pytest.approx((40.0, 1.0, 1.0, 0.8, 0.5))
    assert limit(method="POST") == pytest.approx((20.0, 1.0, 0.5, 0.8, 0.5))
    assert limit(role="viewer", method="POST") == pytest.approx((10.0, 0.5, 0.5, 0.8, 0.5))
    assert limit(role="admin") == pytest.approx((200.0, 5.0, 1.0, 0.8, 0.5))
    assert limit(role="stranger", pool="slow") == pytest.approx((10.0, 1.0, 1.0, 0.1, 0.5))


def test_a_rule_that_does_not_adapt_ignores_load_and_threat() -> None:
    limiter = engine(rule(adaptive=False), load={"": 0.1}, threat=0.1, threats={"user:alice": 0.1})
    assert limiter.check(ALICE, 0.0).limit == 10.0


def test_new_factors_hold_at_once_and_used_shares_stay() -> None:
    limiter = engine(rule("r", window(10, 60)))
    assert admitted(limiter, ALICE, most=5) == 5
    limiter.apply(RateLimitSnapshot(version=2, rules=limiter.snapshot.rules, load={"": 0.4}))
    result = limiter.check(ALICE, 0.0)
    assert (result.limit, result.remaining) == (4.0, 1)


def test_an_older_snapshot_is_ignored() -> None:
    limiter = engine(rule("new"))
    limiter.apply(RateLimitSnapshot(version=1, rules=(rule("old"),)))
    assert limiter.check(ALICE, 0.0).rule == "new"


def test_several_windows_take_all_or_nothing() -> None:
    limiter = engine(rule("r", window(3, 1, name="second"), window(5, 60, name="minute")))
    assert admitted(limiter, ALICE, at=0.0) == 3
    assert admitted(limiter, ALICE, at=10.0) == 2  # the minute refuses, and the refusals took nothing from the second
    refused = limiter.check(ALICE, 10.0)
    assert [state.name for state in refused.windows] == ["second", "minute"]
    assert refused.windows[0].remaining == pytest.approx(1.0)
    assert refused.limit == 5.0


def test_rules_that_let_others_be_tried_take_all_or_nothing_together() -> None:
    limiter = engine(
        rule("each", window(100, 60), fallthrough=True),
        rule("all", window(4, 60), key=("global",)),
    )
    assert admitted(limiter, ALICE) == 4
    for _ in range(50):
        assert not limiter.check(ALICE, 0.0).allowed
    limiter.apply(RateLimitSnapshot(version=2, rules=limiter.snapshot.rules[:1]))
    assert limiter.check(ALICE, 0.0).remaining == 95


def test_the_first_rule_that_matches_decides() -> None:
    limiter = engine(
        rule("writes", window(1, 60), match=Condition(methods=("POST",))),
        rule("api", window(2, 60), match=Condition(paths=("/api/",))),
        rule("rest", window(3, 60)),
    )
    post = LimitContext(user="alice", method="POST", path="/api")
    assert limiter.check(post, 0.0).rule == "writes"
    assert limiter.check(LimitContext(user="alice", path="/api"), 0.0).rule == "api"
    assert limiter.check(LimitContext(user="alice", path="/api/x"), 0.0).rule == "api"
    assert limiter.check(LimitContext(user="alice", path="/apix"), 0.0).rule == "rest"


@pytest.mark.parametrize("path", ["/login;a=1", "/login;/x", "/;v=1/login", "/login;x;y"])
def test_parameters_of_a_path_are_no_way_around_a_rule(path: str) -> None:
    limiter = engine(
        rule("login", window(5, 60), match=Condition(paths=("/login",))),
        RuleSnapshot(id="public", key=("client",), windows=(), match=Condition(paths=("/public;any",))),
        rule("rest", window(9, 60)),
    )
    assert limiter.check(LimitContext(user="alice", path=path), 0.0).rule == "login"
    assert limiter.check(LimitContext(user="alice", path="/public/..;/login"), 0.0).rule == "login"
    assert limiter.check(LimitContext(user="alice", path="/public;x/a"), 0.0).rule == "public"
    assert limiter.check(LimitContext(user="alice", path="/loginx;a"), 0.0).rule == "rest"


@pytest.mark.parametrize(
    ("match", "taken", "left"),
    [
        (Condition(routes=("a",)), {"route": "a"}, {"route": "b"}),
        (Condition(headers={"x-team": "blue"}), {"headers": {"x-team": "blue"}}, {"headers": {"x-team": "red"}}),
        (Condition(headers={"x-team": "*"}), {"headers": {"x-team": ""}}, {}),
        (Condition(roles=("anonymous",)), {}, {"user": "alice"}),
        (Condition(tenants=("acme",)), {"tenant": "acme"}, {"tenant": ""}),
        (Condition(clients=("192.0.2.0/24",)), {"client": "192.0.2.9"}, {"client": "192.0.3.9"}),
        (Condition(clients=("192.0.2.0/24",)), {"client": "::ffff:192.0.2.9"}, {"client": "unknown"}),
        (Condition(clients=("2001:db8::/32",)), {"client": "2001:db8::1"}, {"client": "192.0.2.9"}),
        (Condition(methods=("GET",), users=("a",)), {"method": "GET", "user": "a"}, {"method": "GET", "user": "b"}),
    ],
)
def test_conditions(match: Condition, taken: dict[str, object], left: dict[str, object]) -> None:
    limiter = engine(rule("r", match=match))
    assert limiter.check(LimitContext(**taken), 0.0).rule == "r"
    other = limiter.check(LimitContext(**left), 0.0)
    assert (other.allowed, other.rule, other.limit) == (True, "", math.inf)


def test_a_rule_without_windows_exempts() -> None:
    exempt = RuleSnapshot(id="health", key=("client",), windows=(), match=Condition(paths=("/healthz",)))
    limiter = engine(exempt, rule("rest", window(1, 60)))
    assert admitted(limiter, LimitContext(path="/healthz"), most=50) == 50
    assert admitted(limiter, LimitContext(path="/")) == 1


def test_shadow_reports_and_never_refuses() -> None:
    limiter = engine(rule("trial", window(2, 60), mode=Mode.SHADOW), rule("real", window(5, 60)))
    results = [limiter.check(ALICE, 0.0) for _ in range(6)]
    assert [result.allowed for result in results] == [True] * 5 + [False]
    assert [result.reason.value for result in results[:5]] == ["allowed", "allowed", "shadow", "shadow", "shadow"]
    assert results[2].shadow is Reason.QUOTA_EXCEEDED
    assert all(result.rule == "real" for result in results)
    report = limiter.report(full=True)
    assert report.rules["trial"].shadow == 3
    assert report.rules["trial"].allowed == 2


def test_a_rule_that_is_off_does_nothing() -> None:
    limiter = engine(rule("off", window(1, 60), mode=Mode.OFF))
    assert admitted(limiter, ALICE, most=20) == 20


def test_cost_is_what_counts() -> None:
    limiter = engine(rule("r", window(10, 60), match=Condition(users=("alice",))))
    dear = LimitContext(user="alice", cost=4)
    assert limiter.check(dear, 0.0).remaining == 6
    assert limiter.check(LimitContext(user="alice", cost=0), 0.0).remaining == 6
    never = limiter.check(LimitContext(user="alice", cost=11), 0.0)
    assert (never.allowed, never.retry_after) == (False, math.inf)


@FAST_AND_GENERAL
@pytest.mark.parametrize("cost", [-1.0, math.nan, math.inf, -math.inf])
def test_a_cost_that_is_none_is_refused_and_takes_nothing(match: Condition, cost: float) -> None:
    limiter = engine(rule("r", window(10, 60), match=match))
    with pytest.raises(CostError):
        limiter.check(LimitContext(user="alice", cost=cost), 0.0)
    result = limiter.check(ALICE, 0.0)
    assert result.remaining == 9
    for change in (limiter.refund, limiter.correct):
        with pytest.raises(CostError):
            change(result, 0.0, cost)


ALGORITHMS = pytest.mark.parametrize(
    "algorithm", [Algorithm.GCRA, Algorithm.SLIDING_WINDOW, Algorithm.FIXED_WINDOW], ids=str
)


@ALGORITHMS
def test_a_refund_gives_back_what_was_taken_once(algorithm: Algorithm) -> None:
    limiter = engine(rule("r", window(10, 60, algorithm=algorithm)))
    result = limiter.check(LimitContext(user="alice", cost=6), 0.0)
    limiter.refund(result, 0.0, 2)
    assert limiter.check(LimitContext(user="alice", cost=0), 0.0).remaining == 6
    for _ in range(3):
        limiter.refund(result, 0.0)
    assert limiter.check(LimitContext(user="alice", cost=0), 0.0).remaining == 10


@ALGORITHMS
def test_a_correction_takes_what_a_request_cost_beyond(algorithm: Algorithm) -> None:
    limiter = engine(rule("r", window(10, 60, algorithm=algorithm)))
    result = limiter.check(ALICE, 0.0)
    limiter.correct(result, 0.0, 7)
    assert limiter.check(LimitContext(user="alice", cost=0), 0.0).remaining == 3
    limiter.correct(result, 0.0, 0)
    assert limiter.check(LimitContext(user="alice", cost=0), 0.0).remaining == 10


def test_a_refused_request_has_nothing_to_give_back() -> None:
    limiter = engine(rule("r", window(1, 60)))
    limiter.check(ALICE, 0.0)
    refused = limiter.check(ALICE, 0.0)
    limiter.refund(refused, 0.0)
    limiter.refund(refused, 0.0, 5)
    limiter.release(refused, 0.0)
    assert not limiter.check(ALICE, 0.0).allowed


def test_a_refund_after_the_rule_is_gone_is_harmless() -> None:
    limiter = engine(rule("r"))
    result = limiter.check(ALICE, 0.0)
    limiter.apply(RateLimitSnapshot(version=2))
    limiter.refund(result, 0.0)


def test_requests_in_flight_are_held_until_released() -> None:
    limiter = engine(rule("r", window(2, 30, algorithm=Algorithm.CONCURRENCY)))
    first, second = limiter.check(ALICE, 0.0), limiter.check(ALICE, 0.0)
    assert first.holds
    assert second.holds
    refused = limiter.check(ALICE, 0.0)
    assert (refused.allowed, refused.reason, refused.holds) == (False, Reason.CONCURRENCY, False)
    limiter.release(first, 1.0)
    limiter.release(first, 1.0)
    assert limiter.check(ALICE, 1.0).allowed
    assert not limiter.check(ALICE, 1.0).allowed


def test_a_permit_counts_as_one_whatever_the_cost() -> None:
    windows = (window(2, 30, name="flying", algorithm=Algorithm.CONCURRENCY), window(100, 60, name="cost"))
    limiter = engine(rule("r", *windows))
    result = limiter.check(LimitContext(user="alice", cost=50), 0.0)
    assert [state.remaining for state in result.windows] == pytest.approx([1.0, 50.0])
    limiter.refund(result, 0.0)
    assert [state.remaining for state in limiter.check(ALICE, 0.0).windows] == pytest.approx([0.0, 99.0])


def test_a_leaked_permit_expires() -> None:
    limiter = engine(rule("r", window(1, 10, algorithm=Algorithm.CONCURRENCY)))
    limiter.check(ALICE, 0.0)
    assert not limiter.check(ALICE, 9.0).allowed
    assert limiter.check(ALICE, 20.5).allowed


@pytest.mark.parametrize(
    ("subject", "context"),
    [
        ("user:alice", ALICE),
        ("client:192.0.2.1", ALICE),
        ("client:192.0.2.0/24", ALICE),
        ("tenant:acme", LimitContext(tenant="acme")),
        ("role:viewer", LimitContext(role="viewer")),
        ("identity:x", LimitContext(identifier="x")),
        ("client:2001:db8::/64", LimitContext(client="2001:db8::7")),
        ("client:2001:db8::/32", LimitContext(client="2001:db8:7::7")),
    ],
)
def test_a_blocked_subject_is_refused_until_its_time(subject: str, context: LimitContext) -> None:
    wall = WALL
    limiter = RateLimitEngine(lambda: wall, max_keys=1000)
    limiter.apply(RateLimitSnapshot(version=1, rules=(rule(),), blocks={subject: Block(until=WALL + 30, reason="why")}))
    refused = limiter.check(context, 0.0)
    assert (refused.allowed, refused.reason, refused.key, refused.detail) == (False, Reason.BLOCKED, subject, "why")
    assert refused.retry_after == pytest.approx(30.0)
    assert limiter.check(LimitContext(user="bob", client="198.51.100.1"), 0.0).allowed
    wall += 31.0
    assert limiter.check(context, 0.0).allowed
    assert limiter.report(full=True).blocked == 1


def test_an_override_takes_the_place_of_base_and_role() -> None:
    limiter = engine(
        rule("r", window(10, 60, name="a", max=20), window(100, 600, name="b", max=200), roles={"admin": 5.0}),
        overrides={"user:alice": Override(limit=50.0), "user:bob": Override(limit=1.0, rule="other")},
    )
    result = limiter.check(LimitContext(user="alice", role="admin"), 0.0)
    assert [state.limit for state in result.windows] == [50.0, 500.0]
    assert limiter.check(LimitContext(user="bob"), 0.0).limit == 10.0


def test_an_override_expires() -> None:
    limiter = engine(rule(), overrides={"user:alice": Override(limit=50.0, until=WALL - 1)})
    assert limiter.check(ALICE, 0.0).limit == 10.0


def test_a_threat_lowers_its_subject_only() -> None:
    limiter = engine(rule("r", window(10, 60, min=1)), threats={"client:192.0.2.1": 0.3, "user:alice": 0.5})
    assert limiter.check(ALICE, 0.0).limit == pytest.approx(3.0)
    assert limiter.check(LimitContext(user="bob"), 0.0).limit == 10.0


def test_a_penalty_throttles_blocks_and_ends() -> None:
    limiter = engine(rule("r", window(10, 60)))
    limiter.penalise("user:alice", Penalty(0.5, 30.0))
    result = limiter.check(ALICE, 0.0)
    assert (result.limit, result.factors.violations) == (5.0, 0.5)
    limiter.penalise("user:alice", Penalty(0.0, 30.0))
    blocked = limiter.check(ALICE, 10.0)
    assert (blocked.reason, blocked.rule, blocked.retry_after) == (Reason.BLOCKED, "r", 20.0)
    assert limiter.check(LimitContext(user="bob"), 10.0).limit == 10.0
    assert limiter.check(ALICE, 30.0).limit == 10.0
    assert not limiter.penalties


def test_penalties_are_bounded() -> None:
    limiter = engine(rule())
    for number in range(5000):
        limiter.penalise(f"client:{number}", Penalty(0.5, 30.0))
    assert len(limiter.penalties) == 1000


def test_load_shedding_goes_by_priority_and_takes_no_quota() -> None:
    limiter = engine(
        rule("r", window(10, 60)),
        shedding=True,
        admission=(1.0, 1.0, 0.5, 0.0, 0.0, 0.0),
        priorities=(
            PriorityRule(tier=0, match=Condition(paths=("/pay",))),
            PriorityRule(tier=5, match=Condition(headers={"x-batch": "*"})),
        ),
    )
    assert limiter.check(LimitContext(user="a", path="/pay"), 0.0).allowed
    batch = LimitContext(user="a", headers={"x-batch": "1"})
    for _ in range(20):
        shed = limiter.check(batch, 0.0)
        assert (shed.allowed, shed.reason) == (False, Reason.SHED)
        assert shed.retry_after > 0
    assert limiter.check(LimitContext(user="a", path="/pay"), 0.0).remaining == 8
    fates = [limiter.check(LimitContext(user=f"u{number}"), 0.0).allowed for number in range(400)]
    assert 120 < sum(fates) < 280
    assert fates[7] == limiter.check(LimitContext(user="u7"), 0.0).allowed, "a client's requests fare alike"
    assert limiter.check(LimitContext(user="z", priority=3), 0.0).reason is Reason.SHED
    assert limiter.check(LimitContext(user="z", priority=-7), 0.0).allowed
    report = limiter.report(full=True)
    assert report.shed[5] == 20
    assert report.offered[5] == 20


def test_reset_forgets_a_key() -> None:
    limiter = engine(rule("r", window(1, 60)))
    assert admitted(limiter, ALICE) == 1
    assert limiter.reset("user:alice")
    assert limiter.check(ALICE, 0.0).allowed
    assert not limiter.reset("user:nobody")


def test_counts_survive_a_change_of_limits_but_not_of_key() -> None:
    limiter = engine(rule("r", window(4, 60)))
    assert admitted(limiter, ALICE, most=2) == 2
    limiter.apply(RateLimitSnapshot(version=2, rules=(rule("r", window(8, 60)),)))
    assert limiter.check(ALICE, 0.0).remaining == 3  # half of the bucket was used, half of the larger one is left
    limiter.apply(RateLimitSnapshot(version=3, rules=(rule("r", window(8, 60), key=("user",)),)))
    assert limiter.check(ALICE, 0.0).remaining == 7
    assert limiter.report(full=True).rules["r"].allowed == 4


def test_clock_jumps_neither_lock_out_nor_open_the_door() -> None:
    limiter = engine(rule("r", window(10, 60)))
    assert admitted(limiter, ALICE, at=1000.0) == 10
    back = limiter.check(ALICE, 10.0)
    assert not back.allowed
    assert back.retry_after <= 6.01
    assert admitted(limiter, ALICE, at=1e9) == 10


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ((rule("a"), rule("b")), "'b' can never match: 'a'"),
        (
            (rule("a", match=Condition(paths=("/api",))), rule("b", match=Condition(paths=("/api/v1",)))),
            "'b' can never match: 'a'",
        ),
        ((rule("a"), rule("a")), "two rules have the id 'a'"),
        ((rule("a", key=("nonsense",)),), "no part of a key"),
        ((rule("a", window(0)),), "limit"),
    ],
)
def test_rules_that_cannot_work_are_refused_and_change_nothing(rules: tuple[RuleSnapshot, ...], told: str) -> None:
    limiter = engine(rule("old"))
    with pytest.raises(ConfigurationError, match=told):
        limiter.apply(RateLimitSnapshot(version=2, rules=rules))
    assert limiter.check(ALICE, 0.0).rule == "old"


def test_memory_of_one_shot_addresses_is_bounded() -> None:
    limiter = engine(rule("r", window(2, 60), key=("client",)))
    for number in range(20_000):
        limiter.check(LimitContext(client=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"), number / 1000)
    assert limiter.report(full=True).keys <= 1000
