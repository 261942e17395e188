"""AdaptiveRateLimiter: what an application sees of it."""

import logging
import math
import threading
from pathlib import Path

import pytest

from seawall import AdaptiveRateLimiter
from seawall.core.errors import ConfigurationError, InvalidError, NotFoundError
from seawall.limiter import Escalation, LimitContext, LimitExceededError, LoadSample, Reason
from seawall.testing import FakeClock

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("BASE", "WINDOW", "ADAPTIVE", "MIN", "MAX"):
        monkeypatch.delenv(f"RATE_LIMIT_{name}", raising=False)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def drain(limiter: AdaptiveRateLimiter, identifier: str, most: int = 10_000) -> int:
    for count in range(most):
        if not limiter.check(identifier).allowed:
            return count
    return most


async def test_a_hundred_per_minute_by_default(clock: FakeClock) -> None:
    limiter = AdaptiveRateLimiter(clock=clock)
    results = [await limiter.check_limit("alice") for _ in range(101)]
    assert [result.allowed for result in results] == [True] * 100 + [False]
    last = results[-1]
    assert (last.remaining, last.limit, last.rule, last.reason) == (0, 100.0, "base", Reason.QUOTA_EXCEEDED)
    assert last.retry_after == pytest.approx(0.6, abs=0.01)
    assert last.reset_after == pytest.approx(60.0)
    assert (last.factors.role, last.factors.endpoint, last.factors.load, last.factors.threat) == (1, 1, 1, 1)
    assert (await limiter.check_limit("bob")).allowed


async def test_the_environment_speaks_where_no_configuration_does(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATE_LIMIT_BASE", "7")
    monkeypatch.setenv("SEAWALL_RATELIMIT__WINDOW_MS", "1000")
    limiter = AdaptiveRateLimiter(clock=clock)
    assert drain(limiter, "alice") == 7
    assert limiter.check("alice").retry_after == pytest.approx(1 / 7, abs=0.01)
    assert drain(AdaptiveRateLimiter({}, clock=clock), "alice") == 100, "a mapping says all"
    monkeypatch.setenv("RATE_LIMIT_BASE", "many")
    with pytest.raises(ConfigurationError, match="environment RATE_LIMIT_BASE: base: given") as refused:
        AdaptiveRateLimiter(clock=clock)
    assert len(refused.value.problems) == 1


async def test_a_file_is_read_as_the_gateway_reads_it(clock: FakeClock, tmp_path: Path) -> None:
    file = tmp_path / "limits.toml"
    file.write_text("[ratelimit]\nbase = 3\n")
    assert drain(AdaptiveRateLimiter(file, clock=clock), "alice") == 3
    assert drain(AdaptiveRateLimiter(str(file), clock=clock), "alice") == 3


def test_a_base_of_zero_limits_nothing(clock: FakeClock) -> None:
    result = AdaptiveRateLimiter({"base": 0}, clock=clock).check("alice")
    assert (result.allowed, result.limit, result.rule) == (True, math.inf, "")


def test_every_problem_of_a_configuration_is_named() -> None:
    table = {"base": -1, "rules": [{"id": "a"}, {"id": "b"}], "nonsense": 1}
    with pytest.raises(ConfigurationError) as refused:
        AdaptiveRateLimiter(table)
    assert len(refused.value.problems) >= 2
    with pytest.raises(ConfigurationError, match=r"rules\[1\]: can never match, because rules\[0\] takes"):
        AdaptiveRateLimiter({"rules": [{"id": "a"}, {"id": "b"}]})


@pytest.mark.parametrize("context", [{"usr": "x"}, {"cost": "dear"}, {"client": 7}, {"headers": "x"}])
def test_a_context_of_the_wrong_shape_is_refused(context: dict[str, object], clock: FakeClock) -> None:
    with pytest.raises(InvalidError, match="context"):
        AdaptiveRateLimiter(clock=clock).check("alice", context)


def test_an_identifier_is_text(clock: FakeClock) -> None:
    with pytest.raises(InvalidError, match="text"):
        AdaptiveRateLimiter(clock=clock).check(7)


def test_a_context_may_be_a_mapping_or_a_struct(clock: FakeClock) -> None:
    limiter = AdaptiveRateLimiter({"base": 10}, clock=clock)
    context = LimitContext(role="admin", method="POST")
    assert limiter.check("alice", context).limit == 25.0
    assert limiter.check("alice", {"role": "admin", "method": "POST"}).limit == 25.0
    assert context.identifier == ""
    assert limiter.check("", {"client": "192.0.2.1"}).factors.role == 0.3


def test_anonymous_callers_get_less_than_known_ones(clock: FakeClock) -> None:
    limiter = AdaptiveRateLimiter({"base": 100}, clock=clock)
    assert limiter.check("", {"client": "192.0.2.1"}).limit == 30.0
    assert limiter.check("", {"client": "192.0.2.1", "user": "alice"}).limit == 100.0


def test_hold_releases_permits_whatever_happens(clock: FakeClock) -> None:
    rule = {"id": "one", "windows": [{"limit": 1, "algorithm": "concurrency"}]}
    limiter = AdaptiveRateLimiter({"rules": [rule]}, clock=clock)
    with limiter.hold("alice") as held:
        assert held.holds
        with pytest.raises(LimitExceededError) as refused, limiter.hold("alice"):
            raise AssertionError("must not run")
        assert refused.value.result.reason is Reason.CONCURRENCY
    with pytest.raises(KeyError), limiter.hold("alice"):
        raise KeyError
    assert limiter.check("alice").allowed


def test_refund_and_correct(clock: FakeClock) -> None:
    limiter = AdaptiveRateLimiter({"base": 10}, clock=clock)
    result = limiter.check("alice", {"cost": 8})
    limiter.correct(result, 3)
    assert limiter.check("alice", {"cost": 0}).remaining == 7
    limiter.refund(result)
    assert limiter.check("alice", {"cost": 0}).remaining == 10


def test_load_lowers_limits_and_they_come_back(clock: FakeClock) -> None:
    limiter = AdaptiveRateLimiter({"base": 100}, clock=clock)
    for _ in range(50):
        limiter.observe(LoadSample(at=clock.monotonic(), error_rate=0.5))
        clock.advance(0.1)
        result = limiter.check("alice")
    assert result.limit == pytest.approx(10.0, abs=1.0)
    assert result.factors.load == pytest.approx(0.1, abs=0.01)
    assert limiter.status().load == result.factors.load
    for _ in range(300):
        clock.advance(0.1)
        result = limiter.check("bob", {"cost": 0})
    assert result.limit == 100.0


def test_the_limiters_own_measure_of_load_counts(clock: FakeClock) -> None:
    limiter = AdaptiveRateLimiter({"base": 100}, clock=clock)

    def serve(rounds: int, *, failed: bool) -> float:
        for _ in range(rounds):
            for _ in range(20):
                limiter.started()
                limiter.finished(0.01, failed=failed)
            clock.advance(0.1)
            limiter.check("alice", {"cost": 0})
        return limiter.status().load

    assert serve(20, failed=False) == 1.0
    assert serve(20, failed=True) < 0.5
    assert serve(200, failed=False) == 1.0


def test_a_few_slow_requests_are_no_load(clock: FakeClock) -> None:
    limiter = AdaptiveRateLimiter({"base": 100}, clock=clock)
    for turn in range(100):
        limiter.started()
        limiter.finished(10.0 if turn % 7 == 0 else 0.001, failed=turn % 5 == 0)
        clock.advance(0.3)
        limiter.check("alice", {"cost": 0})
    assert limiter.status().load == 1.0


def test_a_rule_that_does_not_adapt_keeps_its_limit(clock: FakeClock) -> None:
    limiter = AdaptiveRateLimiter({"base": 100, "adaptive": False}, clock=clock)
    limiter.report_threat("", 1.0)
    assert limiter.check("alice").limit == 100.0


def test_threats_lower_limits_and_fade(clock: FakeClock) -> None:
    limiter = AdaptiveRateLimiter({"base": 100, "threat": {"half_life_ms": 10_000}}, clock=clock)
    limiter.report_threat("client:192.0.2.1", 1.0)
    context = {"client": "192.0.2.1", "user": "alice", "cost": 0}
    assert limiter.check("", context).limit == pytest.approx(10.0)
    assert limiter.check("", {**context, "client": "192.0.2.2"}).limit == 100.0
    clock.advance(10.0)
    assert limiter.check("", context).limit == pytest.approx(55.0, abs=1.0)
    clock.advance(100.0)
    assert limiter.check("", context).limit == 100.0
    limiter.report_threat("", 0.5)
    assert limiter.check("bob").limit < 60.0


@pytest.mark.parametrize("severity", [-0.1, 1.1, math.nan, math.inf])
def test_a_severity_that_is_none_is_refused(severity: float, clock: FakeClock) -> None:
    with pytest.raises(InvalidError, match="severity"):
        AdaptiveRateLimiter(clock=clock).report_threat("user:a", severity)


def test_violations_lead_up_the_ladder_and_every_step_ends(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    steps: list[Escalation] = []
    limiter = AdaptiveRateLimiter(
        {"base": 10, "ladder": {"warn_at": 5, "throttle_at": 10, "block_at": 20, "block_ms": 30_000}},
        clock=clock,
        on_escalation=steps.append,
    )
    with caplog.at_level(logging.WARNING, "seawall.ratelimit"):
        results = [limiter.check("alice") for _ in range(40)]
    assert [step.step for step in steps] == ["warn", "throttle", "block"]
    assert {step.key for step in steps} == {"identity:alice"}
    assert len(caplog.records) == 3
    assert results[-1].reason is Reason.BLOCKED
    assert results[-1].retry_after == pytest.approx(30.0)
    (offender,) = limiter.status().offenders
    assert (offender.key, offender.step, offender.blocks) == ("identity:alice", "block", 1)
    assert limiter.check("bob").allowed
    clock.advance(30.1)
    assert limiter.check("alice").allowed
    drain(limiter, "alice")
    again = limiter.check("alice", {"cost": 0})
    assert (again.limit, again.factors.violations) == (5.0, 0.5), "one more violation throttles at once"
    clock.advance(300.0)
    assert limiter.check("alice").limit == 10.0
    assert limiter.status().offenders == ()


def test_a_second_block_lasts_longer_and_is_reported(clock: FakeClock) -> None:
    steps: list[Escalation] = []
    limiter = AdaptiveRateLimiter(
        {"base": 10, "ladder": {"warn_at": 5, "throttle_at": 10, "block_at": 20, "block_ms": 30_000}},
        clock=clock,
        on_escalation=steps.append,
    )
    drain(limiter, "alice")
    for _ in range(2):
        for _ in range(60):
            limiter.check("alice")
        clock.advance(30.1)
    assert [step.step for step in steps][-1] == "report"
    assert steps[-1].seconds == pytest.approx(60.0)


def test_a_block_can_be_lifted_and_violations_forgiven(clock: FakeClock) -> None:
    limiter = AdaptiveRateLimiter({"base": 10, "ladder": {"block_at": 101}}, clock=clock)
    for _ in range(200):
        limiter.check("alice")
    assert limiter.check("alice").reason is Reason.BLOCKED
    assert limiter.unblock("identity:alice")
    assert limiter.check("alice").reason is Reason.QUOTA_EXCEEDED
    assert limiter.reset("identity:alice")
    assert limiter.check("alice").allowed
    assert not limiter.unblock("identity:alice")


def test_the_ladder_can_be_off(clock: FakeClock) -> None:
    limiter = AdaptiveRateLimiter({"base": 1, "ladder": {"enabled": False}}, clock=clock)
    for _ in range(2000):
        result = limiter.check("alice")
    assert result.reason is Reason.QUOTA_EXCEEDED


def test_blocks_by_an_operator(clock: FakeClock) -> None:
    limiter = AdaptiveRateLimiter({"base": 100}, clock=clock)
    limiter.block("client:192.0.2.0/24", seconds=60, reason="scraping")
    assert limiter.check("", {"client": "192.0.2.9"}).detail == "scraping"
    assert limiter.check("", {"client": "192.0.3.9"}).allowed
    assert list(limiter.status().blocks) == ["client:192.0.2.0/24"]
    assert limiter.unblock("client:192.0.2.77/24")
    assert limiter.check("", {"client": "192.0.2.9"}).allowed
    limiter.block("user:eve", seconds=1)
    clock.advance(2)
    assert limiter.status().blocks == {}
    with pytest.raises(InvalidError):
        limiter.block("eve")
    with pytest.raises(InvalidError, match="above 0"):
        limiter.block("user:eve", seconds=math.nan)


def test_overrides_at_run_time(clock: FakeClock) -> None:
    limiter = AdaptiveRateLimiter({"base": 100}, clock=clock)
    limiter.override("user:alice", 5000, seconds=60)
    limiter.override("role:partner", 700)
    assert limiter.check("", {"user": "alice", "cost": 0}).limit == 5000.0
    assert limiter.check("", {"user": "bob", "role": "partner"}).limit == 700.0
    limiter.override("role:partner", None)
    assert limiter.check("", {"user": "bob", "role": "partner"}).limit == 100.0
    clock.advance(61)
    assert limiter.check("", {"user": "alice", "cost": 0}).limit == 100.0
    with pytest.raises(InvalidError):
        limiter.override("user:alice", -1)


def test_rules_change_at_run_time_and_counts_stay(clock: FakeClock) -> None:
    limiter = AdaptiveRateLimiter({"base": 10}, clock=clock)
    limiter.set_rule({"id": "search", "match": {"routes": ["search"]}, "windows": [{"limit": 4}]})
    limiter.set_rule({"id": "login", "match": {"routes": ["login"]}, "windows": [{"limit": 2}]}, before="search")
    assert [rule.id for rule in limiter.settings.rules] == ["login", "search"]
    assert [limiter.check("a", {"route": "search"}).allowed for _ in range(5)] == [True] * 4 + [False]
    limiter.set_rule({"id": "search", "match": {"routes": ["search"]}, "windows": [{"limit": 8}]})
    assert not limiter.check("a", {"route": "search"}).allowed
    with pytest.raises(ConfigurationError, match="can never match"):
        limiter.set_rule({"id": "late", "match": {"routes": ["login"]}, "windows": [{"limit": 8}]})
    limiter.remove_rule("search")
    assert limiter.check("a", {"route": "search"}).rule == "base"
    with pytest.raises(NotFoundError, match="search"):
        limiter.remove_rule("search")
    with pytest.raises(NotFoundError, match="nowhere"):
        limiter.set_rule({"id": "x"}, before="nowhere")


def test_header_names_follow_the_rules(clock: FakeClock) -> None:
    limiter = AdaptiveRateLimiter(clock=clock)
    assert limiter.header_names == frozenset()
    limiter.set_rule({"id": "x", "match": {"headers": {"X-A": "1"}}, "key": ["header:X-B"], "windows": [{"limit": 1}]})
    assert limiter.header_names == {"x-a", "x-b"}


def test_status_and_samples_tell_what_happened(clock: FakeClock) -> None:
    limiter = AdaptiveRateLimiter({"base": 3}, clock=clock)
    for _ in range(10):
        limiter.check("noisy")
    limiter.check("quiet")
    status = limiter.status()
    assert status.refused["quota-exceeded"] == 7
    assert (status.top[0].key, status.top[0].refused) == ("identity:noisy", 7)
    assert status.rules[0].counts.allowed == 4
    assert status.keys == 2
    samples = {(sample.instrument.name, sample.labels): sample.value for sample in limiter.samples()}
    assert samples["rate_limit_requests_total", ("base", "allowed")] == 4
    assert samples["rate_limit_requests_total", ("base", "quota-exceeded")] == 7
    assert samples["rate_limit_load_factor", ("",)] == 1.0


def test_shedding_keeps_what_matters_and_ends(clock: FakeClock) -> None:
    table = {"base": 0, "shedding": {"enabled": True}, "load": {"max_in_flight": 10}}
    limiter = AdaptiveRateLimiter(table, clock=clock)
    queue = 0
    served = 0

    def load(rounds: int, offered: int) -> dict[int, int]:
        """Offer requests of each tier to a server that serves 15 in each 100 ms."""
        nonlocal queue, served
        admitted = dict.fromkeys(range(6), 0)
        for _ in range(rounds):
            for turn in range(offered):
                for tier in range(6):
                    if limiter.check(f"u{turn}-{tier}", {"priority": tier}).allowed:
                        admitted[tier] += 1
                        queue += 1
                        limiter.started()
            for _ in range(min(queue, 15)):
                queue -= 1
                served += 1
                limiter.finished(0.1)
            clock.advance(0.1)
        return admitted

    load(50, offered=8)
    served = 0
    admitted = load(100, offered=8)
    assert admitted[0] >= 0.99 * 800
    assert admitted[5] <= 0.05 * 800
    assert served >= 0.9 * 1500
    assert limiter.status().refused["shed"] > 0
    load(100, offered=1)
    assert load(1, offered=1) == dict.fromkeys(range(6), 1)


def test_a_clock_that_jumps_changes_nothing_for_the_worse(clock: FakeClock) -> None:
    limiter = AdaptiveRateLimiter({"base": 10}, clock=clock)
    drain(limiter, "alice")
    clock._monotonic -= 500.0
    refused = limiter.check("alice")
    assert refused.retry_after <= 6.01
    clock.advance(refused.retry_after)
    assert limiter.check("alice").allowed
    clock.advance(1e9)
    assert drain(limiter, "alice") == 10


def test_threads_share_one_quota() -> None:
    limiter = AdaptiveRateLimiter({"base": 1000, "window_ms": 86_400_000, "ladder": {"enabled": False}})
    admitted: list[int] = []

    def ask() -> None:
        admitted.append(sum(limiter.check("shared").allowed for _ in range(500)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1000 <= sum(admitted) <= 1001  # a request comes back every 86 s
