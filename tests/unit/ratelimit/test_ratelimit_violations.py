"""The keys on the ladder: what each is told when it goes up, how long that lasts, and that it ends by itself."""

import math

import pytest

from seawall.systems.ratelimit.ladder import Ladder, LadderLimits
from seawall.systems.ratelimit.model import Penalty
from seawall.systems.ratelimit.violations import Violations

LIMITS = LadderLimits(
    half_life=10.0, warn_at=2.0, throttle_at=4.0, block_at=8.0, block=60.0, longest_block=600.0, report_at=2
)
KEY = "client:192.0.2.1"


class Court:
    """Violations and the penalties in force, on one clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.penalties: dict[str, Penalty] = {}
        self.told = 0
        self.violations = Violations(Ladder(LIMITS), self._penalise, 1000)

    def _penalise(self, key: str, penalty: Penalty | None) -> None:
        self.told += 1
        self.penalties.pop(key, None)
        if penalty is not None:
            self.penalties[key] = penalty

    def violate(self, times: int, key: str = KEY) -> list[str]:
        steps = [self.violations.violate(key, "r", self.now) for _ in range(times)]
        return [step.step for step in steps if step is not None]

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.violations.advance(self.now)

    @property
    def factor(self) -> float:
        penalty = self.penalties.get(KEY)
        return 1.0 if penalty is None or penalty.until <= self.now else penalty.factor


def test_each_step_is_told_once() -> None:
    court = Court()
    assert court.violate(8) == ["warn", "throttle", "block"]
    assert court.factor == 0.0


def test_each_step_is_told_with_the_violations_that_led_to_it() -> None:
    court = Court()
    steps = [court.violations.violate(KEY, "r", court.now) for _ in range(8)]
    assert [(one.step, one.score) for one in steps if one] == [("warn", 2.0), ("throttle", 4.0), ("block", 8.0)]
    (offender,) = court.violations.offenders(court.now)
    assert offender.score == pytest.approx(32**0.5), "a block leaves the score where a throttle follows it"


def test_a_throttle_reached_at_exactly_its_threshold_lasts() -> None:
    court = Court()
    assert court.violate(4) == ["warn", "throttle"]
    assert court.penalties[KEY] == Penalty(0.5, court.now + 1.0)
    court.wait(0.99)
    assert court.factor == 0.5
    court.wait(0.01)
    assert not court.penalties, "and ends by itself"


def test_a_throttle_lasts_until_the_score_is_below_its_threshold() -> None:
    court = Court()
    court.violate(6)
    lasts = 10.0 * math.log2(6.0 / 4.0)
    court.wait(lasts - 0.01)
    assert court.factor == 0.5
    court.wait(1.02)
    assert not court.penalties


@pytest.mark.parametrize("pauses", [(0.5, 0.4), (0.99, 0.5), (0.2, 0.7)])
def test_going_on_within_the_first_second_keeps_the_throttle(pauses: tuple[float, float]) -> None:
    court = Court()
    court.violate(4)
    for pause in pauses:
        court.wait(pause)
        court.violate(1)
        assert court.factor == 0.5
    court.wait(1.0)
    assert court.factor == 0.5, "the end of the first penalty does not end the one that followed"


def test_a_penalty_that_was_overtaken_is_not_looked_at_again() -> None:
    court = Court()
    court.violate(4)
    court.wait(0.5)
    court.violate(1)
    told = court.told
    court.wait(0.6)  # past the end of the first penalty
    assert court.told == told
    court.wait(60.0)
    assert not court.penalties


def test_a_block_is_followed_by_a_throttle_and_a_throttle_by_nothing() -> None:
    court = Court()
    court.violate(8)
    court.wait(60.0)
    assert court.factor == 0.5
    court.wait(4.9)
    assert court.factor == 0.5
    court.wait(0.2)
    assert not court.penalties


def test_a_throttle_follows_a_block_also_when_nobody_looked_at_the_moment_it_ended() -> None:
    court = Court()
    court.violate(8)
    court.wait(61.0)
    assert court.factor == 0.5


def test_a_clock_that_goes_back_makes_no_penalty_longer() -> None:
    court = Court()
    court.now = 100_000.0
    court.wait(0.0)
    court.violate(8)
    court.violate(6, "client:192.0.2.2")
    court.wait(-90_000.0)
    assert court.factor == 0.0
    assert court.penalties[KEY].until == pytest.approx(court.now + 60.0)
    assert court.penalties["client:192.0.2.2"].until < court.now + 10.0
    court.wait(60.0)
    assert court.factor == 0.5
    court.wait(5.1)
    assert not court.penalties


def test_many_violations_at_once_count_as_many() -> None:
    court = Court()
    escalation = court.violations.violate(KEY, "r", court.now, weight=5.0)
    assert escalation is not None
    assert (escalation.step, escalation.score) == ("throttle", 5.0)
    assert escalation.seconds == pytest.approx(10.0 * math.log2(5.0 / 4.0))


def test_what_is_forgiven_is_over_and_does_not_come_back() -> None:
    court = Court()
    court.violate(8)
    assert court.violations.forgive(KEY, court.now)
    assert not court.penalties
    court.wait(60.0)
    assert not court.penalties
    assert not court.violations.forgive(KEY, court.now)
    assert court.violate(4) == ["warn", "throttle"]


def test_offenders_are_told_worst_first() -> None:
    court = Court()
    court.violate(3, "client:192.0.2.3")
    court.violate(8)
    court.violate(5, "client:192.0.2.2")
    court.violate(1, "client:192.0.2.4")
    found = court.violations.offenders(court.now)
    assert [(one.key, one.step) for one in found] == [
        (KEY, "block"),
        ("client:192.0.2.2", "throttle"),
        ("client:192.0.2.3", "warn"),
    ]
