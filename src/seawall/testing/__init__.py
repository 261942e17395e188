"""Public, typed and tested stand-ins: a clock to turn by hand, servers to start, suites that backends must pass."""

from seawall.testing.clock import FakeClock

__all__ = ["FakeClock"]
