import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core.errors import SeawallError
from seawall.systems.ratelimit.ladder import CLEAN, Conduct, Ladder, LadderLimits, Standing, Step

LIMITS = LadderLimits(
    half_life=10.0,
    warn_at=2.0,
    throttle_at=4.0,
    block_at=8.0,
    block=60.0,
    growth=3.0,
    longest_block=300.0,
    report_at=3,
    forgiven_after=1000.0,
)
LADDER = Ladder(LIMITS)


def offend(conduct: Conduct, now: float, times: int) -> tuple[Conduct, list[Step | None]]:
    steps = []
    for _ in range(times):
        conduct, step = LADDER.violate(conduct, now)
        steps.append(step)
    return conduct, steps


def test_up_the_ladder_step_by_step() -> None:
    conduct, steps = offend(CLEAN, 100.0, 8)
    assert steps == [None, Step.WARN, None, Step.THROTTLE, None, None, None, Step.BLOCK]
    assert LADDER.standing(conduct, 100.0) == Standing(Step.BLOCK, 0.0, 60.0, pytest.approx(math.sqrt(32.0)))


def test_each_step_ends_by_itself() -> None:
    conduct, _ = offend(CLEAN, 100.0, 6)
    standing = LADDER.standing(conduct, 100.0)
    assert (standing.step, standing.factor) == (Step.THROTTLE, 0.5)
    assert standing.expires_in == pytest.approx(10 * math.log2(1.5))
    just_before, just_after = (LADDER.standing(conduct, 100.0 + standing.expires_in + e) for e in (-1e-6, 1e-6))
    assert (just_before.step, just_after.step) == (Step.THROTTLE, Step.WARN)
    assert just_after.factor == 1.0
    over = LADDER.standing(conduct, 100.0 + standing.expires_in + just_after.expires_in + 1e-3)
    assert (over.step, over.expires_in) == (Step.NONE, 0.0)


def test_a_block_ends_in_a_throttle_and_then_in_nothing() -> None:
    conduct, _ = offend(CLEAN, 100.0, 8)
    assert LADDER.standing(conduct, 159.9).step is Step.BLOCK
    # The score, which rested while the block lasted, now falls from the square root of 4 x 8 to 4.
    for now, expected in ((160.0, Step.THROTTLE), (164.9, Step.THROTTLE), (165.1, Step.WARN), (175.1, Step.NONE)):
        assert LADDER.standing(conduct, now).step is expected
    assert LADDER.standing(conduct, 160.0).factor == LIMITS.throttle_factor


def test_blocks_in_a_row_grow_up_to_a_bound_and_are_reported() -> None:
    conduct = CLEAN
    now = 100.0
    lengths, steps = [], []
    for _ in range(5):
        while LADDER.standing(conduct, now).step < Step.BLOCK:
            conduct, step = LADDER.violate(conduct, now)
        steps.append(step)
        lengths.append(LADDER.standing(conduct, now).expires_in)
        now += lengths[-1]
    assert lengths == [60.0, 180.0, 300.0, 300.0, 300.0]
    assert steps == [Step.BLOCK, Step.BLOCK, Step.REPORT, Step.REPORT, Step.REPORT]


def test_a_client_that_merely_goes_on_retrying_gets_out() -> None:
    conduct, _ = offend(CLEAN, 100.0, 8)
    for tick in range(600):
        conduct, step = LADDER.violate(conduct, 100.0 + tick / 10)
        assert step is None
    assert LADDER.standing(conduct, 160.0).step is Step.THROTTLE


def test_blocks_are_forgiven_one_by_one() -> None:
    conduct, _ = offend(CLEAN, 100.0, 8)
    conduct, steps = offend(conduct, 160.0, 8)
    assert Step.BLOCK in steps
    assert LADDER.standing(conduct, 160.0).expires_in == 180.0
    later = 340.0 + 1000.0
    conduct, steps = offend(conduct, later, 8)
    assert LADDER.standing(conduct, later).expires_in == 180.0  # one of two was forgiven, this is the second again
    assert not LADDER.forgotten(conduct, later + 1180.0)
    assert LADDER.forgotten(conduct, later + 180.0 + 2000.0)


def test_looking_in_between_changes_nothing() -> None:
    conduct, _ = offend(CLEAN, 100.0, 8)
    looked = conduct
    for now in (120.0, 160.0, 170.0, 1200.0, 1300.0):
        looked, _ = LADDER.violate(looked, now, 0.0)
    plain, _ = LADDER.violate(conduct, 1300.0, 0.0)
    assert looked == pytest.approx(plain)


def test_the_clock_goes_back_a_day() -> None:
    conduct, _ = offend(CLEAN, 100_000.0, 8)
    assert LADDER.standing(conduct, 13_600.0).expires_in == 60.0
    ended, _ = LADDER.violate(conduct, 100_061.0)
    assert LADDER.standing(ended, 100_030.0).step < Step.BLOCK
    throttled, _ = offend(CLEAN, 100_000.0, 6)
    back, _ = LADDER.violate(throttled, 13_600.0, 0.0)
    assert LADDER.standing(back, 13_650.0).step is Step.NONE


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_weights_that_are_none_are_refused(weight: float) -> None:
    with pytest.raises(SeawallError):
        LADDER.violate(CLEAN, 0.0, weight)


@pytest.mark.parametrize(
    "change",
    [
        {"half_life": 0.0},
        {"warn_at": math.nan},
        {"warn_at": 5.0},
        {"throttle_at": 8.0},
        {"throttle_factor": 1.5},
        {"throttle_factor": 0.0},
        {"growth": 0.5},
        {"longest_block": 1.0},
        {"report_at": 0},
    ],
)
def test_ladders_that_make_no_sense_are_refused(change: dict[str, float]) -> None:
    fields = {name: getattr(LIMITS, name) for name in LIMITS.__struct_fields__}
    with pytest.raises(SeawallError):
        Ladder(LadderLimits(**fields | change))


@given(st.lists(st.tuples(st.floats(-500, 500), st.floats(0, 1e6)), max_size=60))
def test_nothing_lasts_for_ever(steps: list[tuple[float, float]]) -> None:
    conduct = CLEAN
    now = 10_000.0
    for delay, weight in steps:
        now += delay
        conduct, _ = LADDER.violate(conduct, now, weight)
        standing = LADDER.standing(conduct, now)
        assert 0 <= standing.score < LIMITS.block_at
        assert standing.expires_in <= LIMITS.longest_block + 1e-6
        assert standing.factor in (0.0, 0.5, 1.0)
    idle = LIMITS.longest_block + LIMITS.forgiven_after * (conduct.blocks + 1)
    assert LADDER.forgotten(conduct, now + idle)
    assert LADDER.standing(conduct, now + idle).step is Step.NONE


@given(st.integers(1, 5000), st.sampled_from([1.0, 1.5, 1e300]))
def test_blocks_of_any_number_have_a_length(blocks: int, growth: float) -> None:
    ladder = Ladder(LadderLimits(growth=growth))
    conduct, step = ladder.violate(Conduct(29.5, 100.0, blocks, 100.0, 0.0), 100.0)
    assert step in (Step.BLOCK, Step.REPORT)
    length = ladder.standing(conduct, 100.0).expires_in
    assert length == 60.0 if growth == 1.0 else 60.0 < length <= 3600.0
