import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core.errors import InvalidError
from seawall.systems.threats.floods import FloodLimits, FloodWatch
from seawall.systems.threats.model import Severity
from seawall.systems.threats.response import ResponseLadder, ResponseLimits, Step
from seawall.systems.threats.suspects import Talker

SUBJECT = "client:192.0.2.7"


def steps(ladder, severity, count, gap=1.0, start=0.0, **options):
    return [ladder.report(SUBJECT, severity, start + number * gap, **options).step for number in range(count)]


class TestResponseLadder:
    def test_it_goes_up_step_by_step(self):
        seen = steps(ResponseLadder(), Severity.MEDIUM, 20)
        assert seen[0] is Step.THROTTLE
        assert sorted(seen) == seen
        assert set(seen) == {Step.THROTTLE, Step.CHALLENGE, Step.BLOCK, Step.BAN}

    def test_a_critical_report_bans_a_client_but_never_a_shared_subject(self):
        assert ResponseLadder().report(SUBJECT, Severity.CRITICAL, 0.0).step is Step.BAN
        assert ResponseLadder().report("account:alice", Severity.CRITICAL, 0.0, shared=True).step is Step.CHALLENGE
        assert max(steps(ResponseLadder(), Severity.CRITICAL, 50, shared=True)) is Step.CHALLENGE

    def test_without_that_setting_a_critical_report_blocks(self):
        ladder = ResponseLadder(ResponseLimits(ban_on_critical=False))
        assert steps(ladder, Severity.CRITICAL, 2) == [Step.BLOCK, Step.BAN]

    def test_every_step_ends_by_itself(self):
        ladder = ResponseLadder()
        assert ladder.report(SUBJECT, Severity.HIGH, 0.0).step is Step.CHALLENGE
        assert ladder.standing(SUBJECT, 59.0).step is Step.CHALLENGE
        assert ladder.standing(SUBJECT, 60.0).step is Step.OBSERVE
        ladder.report(SUBJECT, Severity.CRITICAL, 100.0)
        assert ladder.standing(SUBJECT, 699.0).step is Step.BAN
        assert ladder.standing(SUBJECT, 700.0).step is Step.OBSERVE

    def test_bans_double_up_to_the_longest_and_are_forgotten(self):
        ladder = ResponseLadder(ResponseLimits(ban=10.0, longest_ban=50.0, forget=1000.0))
        now, lengths = 0.0, []
        for _ in range(5):
            response = ladder.report(SUBJECT, Severity.CRITICAL, now)
            lengths.append(response.until - now)
            now = response.until + 1.0
        assert lengths == [10.0, 20.0, 40.0, 50.0, 50.0]
        assert ladder.report(SUBJECT, Severity.CRITICAL, now + 1002.0).until == now + 1012.0

    def test_reports_during_a_ban_do_not_prolong_it(self):
        ladder = ResponseLadder()
        until = ladder.report(SUBJECT, Severity.CRITICAL, 0.0).until
        assert ladder.report(SUBJECT, Severity.CRITICAL, 10.0).until == until
        assert ladder.report(SUBJECT, Severity.LOW, 20.0).step is Step.BAN

    def test_whoever_errs_rarely_stays_where_he_is(self):
        assert set(steps(ResponseLadder(), Severity.LOW, 100, gap=120.0)) == {Step.OBSERVE}

    def test_what_is_forgiven_is_forgotten(self):
        ladder = ResponseLadder()
        ladder.report(SUBJECT, Severity.CRITICAL, 0.0)
        assert ladder.forgive(SUBJECT)
        assert not ladder.forgive(SUBJECT)
        assert ladder.standing(SUBJECT, 1.0).step is Step.OBSERVE

    def test_many_subjects_take_bounded_memory(self):
        ladder = ResponseLadder(max_subjects=100)
        for number in range(1000):
            ladder.report(f"client:{number}", Severity.LOW, number)
        assert len(ladder) <= 100

    @given(st.lists(st.tuples(st.sampled_from(Severity), st.floats(-1e6, 1e6), st.booleans()), min_size=1, max_size=50))
    def test_no_step_outlives_the_longest_ban_whatever_the_clock_does(self, reports):
        ladder = ResponseLadder(ResponseLimits(ban=10.0, longest_ban=100.0))
        for severity, now, shared in reports:
            response = ladder.report(SUBJECT, severity, now, shared=shared)
            assert response.until <= max(one[1] for one in reports) + 100.0
            assert not shared or response.step <= Step.CHALLENGE or not all(one[2] for one in reports)

    @pytest.mark.parametrize(
        "limits",
        [ResponseLimits(block_at=1.0), ResponseLimits(half_life=0.0), ResponseLimits(ban=100.0, longest_ban=10.0)],
    )
    def test_impossible_limits_are_refused(self, limits):
        with pytest.raises(InvalidError):
            ResponseLadder(limits)


class TestFloodWatch:
    def warm(self, talkers=()):
        watch = FloodWatch()
        for second in range(60):
            assert watch.step(second, {"/": 300 + second % 5}, {"/": talkers}) == []
        return watch

    def test_a_flood_is_told_with_those_who_are_to_blame(self):
        crowd = [Talker("client:192.0.2.1", 200)]
        watch = self.warm(crowd)
        attackers = [Talker(f"client:198.51.100.{number}", 50) for number in range(100)]
        (flood,) = watch.step(60, {"/": 5300}, {"/": [*crowd, *attackers]})
        assert flood.rate == 5300
        assert flood.usual == pytest.approx(302, abs=2)
        assert {subject for subject, _ in flood.offenders} == {one.subject for one in attackers}
        assert flood.allowances["client:192.0.2.1"] >= 200

    def test_a_crowd_that_grows_within_its_headroom_is_not_blamed(self):
        watch = self.warm([Talker("client:192.0.2.1", 200)])
        (flood,) = watch.step(60, {"/": 5000}, {"/": [Talker("client:192.0.2.1", 390), Talker("client:9", 6)]})
        assert [subject for subject, _ in flood.offenders] == ["client:9"]

    def test_a_flood_is_not_learned_and_ends_when_it_is_over(self):
        watch = self.warm()
        floods = [watch.step(60 + second, {"/": 9000}, {"/": [Talker("client:x", 9000)]}) for second in range(60)]
        assert all(floods)
        assert floods[-1][0].allowances == {}
        after = [watch.step(120 + second, {"/": 300}, {}) for second in range(20)]
        assert after[5]
        assert not after[-1]

    def test_a_quiet_route_that_gets_busy_is_no_flood(self):
        watch = FloodWatch()
        for second in range(60):
            watch.step(second, {"/": 1}, {})
        assert watch.step(60, {"/": 190}, {}) == []
        assert watch.step(61, {"/": 210}, {}) != []

    def test_each_route_has_its_own_usual(self):
        watch = FloodWatch()
        for second in range(60):
            watch.step(second, {"/a": 1000, "/b": 10}, {})
        assert [flood.route for flood in watch.step(60, {"/a": 1000, "/b": 1000}, {})] == ["/b"]

    def test_steps_that_go_back_or_come_too_soon_say_nothing(self):
        watch = self.warm()
        assert watch.step(59.05, {"/": 90_000}, {}) == []
        assert watch.step(10.0, {"/": 90_000}, {}) == []
        assert watch.step(11.0, {"/": 300}, {}) == []

    def test_routes_and_talkers_are_bounded(self):
        watch = FloodWatch(max_routes=10, max_talkers=20)
        for second in range(5):
            watch.step(
                second,
                {f"/{number}": 1 for number in range(100)},
                {"/1": [Talker(f"client:{second}-{number}", 5) for number in range(100)]},
            )
        assert len(watch._routes) == 10
        assert len(watch._routes["/1"].usual) <= 20

    def test_impossible_limits_are_refused(self):
        with pytest.raises(InvalidError, match="above 0"):
            FloodWatch(FloodLimits(headroom=0.5))
