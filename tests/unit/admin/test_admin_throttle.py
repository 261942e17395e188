import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.admin.throttle import FailureThrottle, network_of
from seawall.testing.clock import FakeClock


def test_a_burst_is_taken_then_one_failure_is_forgiven_per_period():
    clock = FakeClock()
    throttle = FailureThrottle(clock, burst=3, period=6.0)
    for _ in range(3):
        assert throttle.wait("a") == 0
        throttle.fail("a")
    assert throttle.wait("a") == pytest.approx(6.0)
    clock.advance(4.0)
    assert throttle.wait("a") == pytest.approx(2.0)
    clock.advance(2.0)
    assert throttle.wait("a") == 0
    throttle.fail("a")
    assert throttle.wait("a") > 0
    assert throttle.wait("b") == 0


@given(st.lists(st.tuples(st.integers(0, 40), st.floats(0, 3)), max_size=200))
def test_memory_is_bounded_and_no_key_exceeds_its_rate(steps):
    clock = FakeClock()
    throttle = FailureThrottle(clock, burst=2, period=1.0, capacity=50)
    started = clock.monotonic()
    passed = dict.fromkeys(range(41), 0)
    for key, pause in steps:
        clock.advance(pause)
        if throttle.wait(key) == 0:
            throttle.fail(key)
            passed[key] += 1
    elapsed = clock.monotonic() - started
    assert len(throttle) <= 41
    assert all(count <= 2 + elapsed + 1e-6 for count in passed.values())


def test_the_key_that_failed_least_recently_is_forgotten_first():
    throttle = FailureThrottle(FakeClock(), burst=1, capacity=2)
    for key in ("a", "b", "a", "c"):
        throttle.fail(key)
    assert len(throttle) == 2
    assert throttle.wait("b") == 0
    assert throttle.wait("a") > 0
    assert throttle.wait("c") > 0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix", "unix"),
    ],
)
def test_a_caller_is_its_ipv4_address_or_its_ipv6_network(address, network):
    assert network_of(address) == network
