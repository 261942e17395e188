"""Active health checks as pure values: what counts as healthy, and how many results in a row change a verdict."""

import msgspec

from seawall.systems.balancing.model import InstanceState

__all__ = ["CheckKind", "CheckPolicy", "CheckResult", "HealthTrack", "LastCheck"]

CheckKind = str
"""`http`, `tcp` or `none`."""


class CheckPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How one pool's instances are checked; times in seconds.

    Attributes:
        kind: `http`, `tcp`, or `none` for instances that are taken as healthy at once.
        path: request target of an HTTP check.
        host: `Host` header of an HTTP check; empty for the instance's own authority.
        expect_status: what a good status is, as the operator wrote it, such as `200-399` or `200,204`.
        expect_ranges: the same as inclusive (lowest, highest) pairs.
        expect_body: bytes that must occur in the first 64 KiB of the body; empty for any body.
        jitter: share 0..1 of the interval by which each check is moved at random, so that checks do not march in step.
    """

    kind: CheckKind = "tcp"
    path: str = "/"
    host: str = ""
    expect_status: str = "200-399"
    expect_ranges: tuple[tuple[int, int], ...] = ((200, 399),)
    expect_body: bytes = b""
    interval: float = 5.0
    timeout: float = 2.0
    healthy_threshold: int = 2
    unhealthy_threshold: int = 3
    jitter: float = 0.1


class CheckResult(msgspec.Struct, frozen=True):
    """One check's outcome: `reason` says in words what was seen, `duration` is in seconds."""

    ok: bool
    reason: str
    duration: float


class LastCheck(msgspec.Struct, frozen=True):
    """The newest result and when it came, in seconds since the Unix epoch."""

    at: float
    result: CheckResult


class HealthTrack:
    """The verdict on one instance. The first result decides at once; later it takes a threshold in a row to change it.

    Attributes:
        state: `STARTING`, `HEALTHY` or `UNHEALTHY`.
        streak: results in a row that contradict the state.
        last: the newest result, None before the first.
    """

    __slots__ = ("last", "state", "streak")

    def __init__(self, state: InstanceState = InstanceState.STARTING) -> None:
        self.state = state
        self.streak = 0
        self.last: LastCheck | None = None

    def record(self, result: CheckResult, at: float, policy: CheckPolicy) -> bool:
        """Take one result; return whether the verdict changed."""
        self.last = LastCheck(at, result)
        verdict = InstanceState.HEALTHY if result.ok else InstanceState.UNHEALTHY
        if verdict is self.state:
            self.streak = 0
            return False
        self.streak += 1
        needed = policy.healthy_threshold if result.ok else policy.unhealthy_threshold
        if self.state is not InstanceState.STARTING and self.streak < needed:
            return False
        self.state = verdict
        self.streak = 0
        return True
