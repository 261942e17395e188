"""Restarts come at once, then ever later, and start afresh after a stable life."""

from hypothesis import given
from hypothesis import strategies as st

from seawall.control.backoff import RestartBackoff
from seawall.testing.clock import FakeClock


def test_the_first_restart_is_immediate_and_each_further_one_doubles_up_to_the_cap():
    backoff = RestartBackoff(FakeClock(), cap=5.0)
    assert [backoff.ended() for _ in range(9)] == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_stable_life_starts_afresh():
    clock = FakeClock()
    backoff = RestartBackoff(clock, cap=5.0, stable=10.0)
    for _ in range(5):
        backoff.ended()
        backoff.started()
    clock.advance(10.0)
    assert backoff.ended() == 0.0
    backoff.started()
    clock.advance(9.0)
    assert backoff.ended() == 0.1


@given(st.floats(0.001, 60), st.lists(st.floats(0, 30), max_size=60))
def test_no_delay_is_ever_above_the_cap_or_below_nought(cap, lives):
    clock = FakeClock()
    backoff = RestartBackoff(clock, cap=cap)
    for life in lives:
        backoff.started()
        clock.advance(life)
        assert 0.0 <= backoff.ended() <= cap
