import math
import os
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core.errors import InvalidError
from seawall.systems.threats.baseline import Baseline
from seawall.systems.threats.buckets import LeakyBuckets
from seawall.systems.threats.challenge import Challenger
from seawall.systems.threats.distinct import DistinctCounter
from seawall.systems.threats.logins import LoginLimits, LoginWatch

SECRET = b"0123456789abcdef0123456789abcdef"


class TestLeakyBuckets:
    def test_the_drop_after_the_capacity_overflows(self):
        buckets = LeakyBuckets(5, 0.1)
        assert [buckets.pour("a", 0.0) for _ in range(6)] == [False] * 5 + [True]
        assert not buckets.pour("b", 0.0)

    def test_what_leaks_makes_room_again_and_a_flood_is_forgotten(self):
        buckets = LeakyBuckets(5, 0.1)
        for _ in range(10_000):
            buckets.pour("a", 0.0)
        assert buckets.pour("a", 9.0)
        assert not buckets.pour("a", 30.0)
        assert buckets.level("a", 1000.0) == 0.0

    def test_a_clock_that_goes_backwards_leaks_nothing(self):
        buckets = LeakyBuckets(5, 1.0)
        buckets.pour("a", 100.0, 3.0)
        assert buckets.level("a", 0.0) == 3.0
        buckets.pour("a", 0.0)
        assert buckets.level("a", 2.0) == 2.0

    def test_a_full_table_drops_empty_buckets_first(self):
        buckets = LeakyBuckets(5, 1.0, max_keys=100)
        buckets.pour("offender", 0.0, 5.0)
        for number in range(1000):
            buckets.pour(f"once-{number}", number * 0.001)
        assert len(buckets) <= 100
        buckets = LeakyBuckets(5, 1.0, max_keys=100)
        for number in range(1000):
            buckets.pour("offender", number * 0.5)
            buckets.pour(f"once-{number}", number * 0.5)
        assert len(buckets) <= 100
        assert buckets.level("offender", 500.0) > 0.0

    @pytest.mark.parametrize("arguments", [(0, 1), (1, 0), (math.nan, 1), (1, -1)])
    def test_impossible_buckets_are_refused(self, arguments):
        with pytest.raises(InvalidError, match="above 0"):
            LeakyBuckets(*arguments)


class TestDistinctCounter:
    @pytest.mark.parametrize("count", [0, 1, 32, 33, 1000, 3000, 50_000])
    def test_it_counts_within_four_standard_errors(self, count):
        counter = DistinctCounter()
        for number in range(count):
            counter.add(f"192.0.2.{number}")
            counter.add(f"192.0.2.{number // 2}")
        assert counter.count() == pytest.approx(count, rel=0 if count <= 32 else 0.14)
        counter.clear()
        assert counter.count() == 0


class TestLoginWatch:
    def test_guessing_one_password_is_noticed_by_address_and_by_account(self):
        watch = LoginWatch()
        for number in range(5):
            assert watch.fail("192.0.2.7", "192.0.2.0/24", "alice", number * 0.1) == []
        kinds = {(alarm.kind, alarm.subject) for alarm in watch.fail("192.0.2.7", "192.0.2.0/24", "alice", 1.0)}
        assert kinds == {("guessing", "client:192.0.2.7"), ("guessing", "account:alice")}

    def test_patient_guessing_is_noticed_too(self):
        watch = LoginWatch()
        found = {alarm.kind for number in range(30) for alarm in watch.fail("192.0.2.7", "", "alice", number * 11.0)}
        assert found == {"slow-guessing"}

    def test_whoever_mistypes_and_gets_in_starts_anew(self):
        watch = LoginWatch()
        for attempt in range(10):
            for _ in range(4):
                assert watch.fail("192.0.2.7", "", "alice", attempt * 120.0) == []
            watch.succeed("192.0.2.7", "alice")

    def test_logging_in_to_an_own_account_does_not_forgive_attacks_on_others(self):
        watch = LoginWatch()
        found = set()
        for number in range(8):
            found |= {alarm.kind for alarm in watch.fail("192.0.2.7", "", f"user-{number}", number * 0.1)}
            watch.succeed("192.0.2.7", "mallory")
        assert "guessing" in found

    def test_stolen_pairs_from_one_address_are_noticed(self):
        watch = LoginWatch(LoginLimits(burst=1000, slow=1000))
        alarms = [alarm for number in range(11) for alarm in watch.fail("192.0.2.7", "", f"user-{number}", number)]
        assert [(alarm.kind, alarm.subject) for alarm in alarms] == [("credential-stuffing", "client:192.0.2.7")]

    def test_an_account_under_attack_from_many_addresses_is_to_be_challenged_not_banned(self):
        watch = LoginWatch(LoginLimits(burst=1000, slow=1000))
        alarms = [alarm for number in range(21) for alarm in watch.fail(f"192.0.2.{number}", "", "alice", number)]
        assert [(alarm.kind, alarm.subject, alarm.shared) for alarm in alarms] == [
            ("account-attack", "account:alice", True)
        ]

    def test_one_password_over_many_accounts_is_noticed_over_a_network(self):
        watch = LoginWatch()
        alarms = [
            alarm
            for number in range(31)
            for alarm in watch.fail(f"192.0.2.{number}", "192.0.2.0/24", f"user-{number}", number)
        ]
        assert [alarm.kind for alarm in alarms] == ["password-spraying"]

    def test_a_crowd_behind_one_address_that_mistypes_now_and_then_is_left_alone(self):
        watch = LoginWatch()
        for number in range(200):
            assert watch.fail("192.0.2.7", "", "", number * 61.0) == []

    def test_a_million_addresses_take_bounded_memory(self):
        watch = LoginWatch(max_keys=64)
        for number in range(5000):
            watch.fail(f"10.{number >> 8}.{number & 255}.1", "", f"user-{number}" * 100, number * 0.001)
        assert len(watch._sets) <= 64
        assert len(watch._burst) <= 64

    def test_impossible_limits_are_refused(self):
        with pytest.raises(InvalidError, match="above 0"):
            LoginWatch(LoginLimits(accounts=0))


class TestBaseline:
    def test_nothing_is_odd_before_enough_is_known(self):
        baseline = Baseline(floor=1.0, warm_up=10)
        assert not any(baseline.observe(value).odd for value in (1, 1000, 2, 5000, 3, 1, 2, 1, 2))

    def test_a_flood_is_odd_and_is_not_learned(self):
        baseline = Baseline(floor=5.0, patience=100)
        for number in range(60):
            assert not baseline.observe(100.0 + number % 7).odd
        for _ in range(100):
            oddity = baseline.observe(2000.0)
            assert oddity.odd
            assert oddity.usual == pytest.approx(103, abs=3)
        assert baseline.mean < 110.0

    def test_a_world_that_has_changed_is_learned_in_the_end(self):
        baseline = Baseline(floor=5.0, patience=50, window=60)
        for number in range(60):
            baseline.observe(100.0 + number % 7)
        assert not [baseline.observe(200.0 + number % 7).odd for number in range(200)][-1]

    def test_small_changes_of_a_quiet_thing_are_not_odd(self):
        baseline = Baseline(floor=5.0)
        for _ in range(60):
            baseline.observe(0.0)
        assert not baseline.observe(4.0).odd
        assert baseline.observe(50.0).odd

    def test_the_usual_rush_of_the_hour_is_not_odd(self):
        baseline = Baseline(floor=5.0, warm_up=10, window=40, patience=15)
        for _ in range(6):
            for number in range(60):
                baseline.observe(10.0 + number % 3, hour=8)
            for number in range(40):
                baseline.observe(500.0 + number % 20, hour=9)
        for number in range(60):
            baseline.observe(10.0 + number % 3, hour=8)
        assert not baseline.judge(505.0, hour=9).odd
        assert baseline.judge(505.0, hour=8).odd

    @given(st.lists(st.floats(), max_size=200))
    def test_any_numbers_can_be_observed(self, values):
        baseline = Baseline(floor=1.0)
        for value in values:
            baseline.observe(value)
        assert math.isnan(baseline.mean) == (not any(map(math.isfinite, values)))


class TestChallenger:
    def solve(self, challenge, bits):
        for number in range(1 << 24):
            if int.from_bytes(sha256(f"{challenge}:{number}".encode()).digest(), "big") >> (256 - bits) == 0:
                return str(number)
        raise AssertionError("no solution")

    def test_a_solution_earns_a_cookie_for_this_client_and_a_while(self):
        challenger = Challenger(SECRET, os.urandom, bits=8, patience=60.0, lifetime=600.0)
        challenge = challenger.issue("192.0.2.7", 1000.0)
        cookie = challenger.redeem("192.0.2.7", challenge, self.solve(challenge, 8), 1030.0)
        assert cookie is not None
        assert challenger.knows("192.0.2.7", cookie, 1600.0)
        assert not challenger.knows("192.0.2.7", cookie, 1631.0)
        assert not challenger.knows("192.0.2.8", cookie, 1040.0)
        assert not challenger.knows("192.0.2.7", challenge, 1040.0), "a challenge is no cookie"

    def test_what_is_not_solved_in_time_by_the_one_who_was_asked_earns_nothing(self):
        challenger = Challenger(SECRET, os.urandom, bits=8, patience=60.0)
        challenge = challenger.issue("192.0.2.7", 1000.0)
        solution = self.solve(challenge, 8)
        assert challenger.redeem("192.0.2.8", challenge, solution, 1001.0) is None
        assert challenger.redeem("192.0.2.7", challenge, solution, 1061.0) is None
        assert challenger.redeem("192.0.2.7", challenge, "-" + solution, 1001.0) is None
        wrong = next(str(number) for number in range(1000) if sha256(f"{challenge}:{number}".encode()).digest()[0])
        assert challenger.redeem("192.0.2.7", challenge, wrong, 1001.0) is None
        other = Challenger(SECRET[::-1], os.urandom, bits=8)
        assert other.redeem("192.0.2.7", challenge, solution, 1001.0) is None

    @given(st.text(max_size=250), st.text(max_size=30))
    def test_anything_may_be_handed_in(self, text, solution):
        challenger = Challenger(SECRET, os.urandom, bits=0)
        assert challenger.redeem("192.0.2.7", text, solution, 0.0) is None
        assert not challenger.knows("192.0.2.7", text, 0.0)

    def test_impossible_challenges_are_refused(self):
        with pytest.raises(InvalidError, match="too short"):
            Challenger(b"short", os.urandom)
        with pytest.raises(InvalidError, match="40 bits"):
            Challenger(SECRET, os.urandom, bits=40)
