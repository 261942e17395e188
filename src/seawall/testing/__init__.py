"""Public, typed and tested stand-ins: a clock to turn by hand, real backends to start, and the suites that backends must pass."""

from seawall.testing.clock import FakeClock

__all__ = ["FakeClock"]
