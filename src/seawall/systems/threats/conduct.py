"""How clients behave, as one guard sees it: failed log-ins, paths asked for in vain, too much of a flood."""

from collections.abc import Iterator
from math import inf

import msgspec

from seawall.core.paths import compared_path
from seawall.core.request import Request
from seawall.systems.threats.askers import network_of
from seawall.systems.threats.buckets import LeakyBuckets
from seawall.systems.threats.logins import LoginWatch
from seawall.systems.threats.messages import FloodPolicy, LoginPolicy, ThreatSnapshot
from seawall.systems.threats.model import Severity, ThreatClass
from seawall.systems.threats.networks import subject_of_address
from seawall.systems.threats.probing import ProbeWatch
from seawall.systems.threats.sources import EVERYWHERE

__all__ = ["Alarm", "Conduct"]

_FLOOD_SECONDS = 2.0
"""Seconds of its allowance that a client may use up at once."""
_SEVERITIES = {
    "guessing": Severity.HIGH,
    "slow-guessing": Severity.MEDIUM,
    "credential-stuffing": Severity.HIGH,
    "account-attack": Severity.HIGH,
    "password-spraying": Severity.HIGH,
}


class Alarm(msgspec.Struct, frozen=True):
    """Somebody does what honest people do not.

    Attributes:
        subject: such as `client:192.0.2.7` or `account:alice`.
        detail: for people.
        shared: whether honest people may stand behind the subject.
    """

    category: ThreatClass
    severity: Severity
    subject: str
    detail: str
    shared: bool


class Conduct:
    """What one guard remembers of clients; bounded, pure, not for concurrent use."""

    def __init__(self) -> None:
        self._policy: LoginPolicy | None = None
        self._logins: LoginWatch | None = None
        self._floods: dict[str, tuple[FloodPolicy, LeakyBuckets]] = {}
        self._probes = ProbeWatch()
        self.flooded = False
        """Whether any route is under a flood."""

    def apply(self, snapshot: ThreatSnapshot) -> None:
        """Take newer settings; what is remembered stays where it still means something."""
        if snapshot.logins != self._policy:
            self._policy = snapshot.logins
            self._logins = None if snapshot.logins is None else LoginWatch(snapshot.logins.limits)
        self._probes.borne = snapshot.probing
        known = self._floods
        self._floods = {
            flood.route: (flood, known[flood.route][1] if flood.route in known else LeakyBuckets(_FLOOD_SECONDS, 1.0))
            for flood in snapshot.floods
        }
        self.flooded = bool(self._floods)

    def is_too_much(self, client: str, route: str, now: float) -> bool:
        """Count a request during a flood, and tell whether its client, or its /24, has used up what it may ask."""
        found = self._floods.get(route) or self._floods.get(EVERYWHERE)
        if found is None or not client:
            return False
        flood, buckets = found
        subject = subject_of_address(client)
        if _pour(buckets, subject, flood.allowances.get(subject, flood.stranger), now):
            return True
        network = network_of(subject)
        return network is not None and _pour(buckets, network, flood.allowances.get(network, flood.network), now)

    def is_login(self, request: Request) -> bool:
        """Tell whether a request tries to log in."""
        policy = self._policy
        if policy is None or request.method not in policy.methods:
            return False
        return compared_path(request.path.decode("latin-1")) in policy.paths

    @property
    def account_fields(self) -> tuple[str, ...]:
        """Names of fields that hold an account."""
        return self._policy.account_fields if self._policy is not None else ()

    def login_ended(self, status: int) -> bool | None:
        """Tell whether a log-in that was answered so has failed; None where the answer says neither."""
        policy = self._policy
        if policy is None:
            return None
        if status in policy.failures:
            return True
        return False if 200 <= status < 400 else None

    def login(self, client: str, account: str, now: float, *, failed: bool) -> Iterator[Alarm]:
        """Take note of how a log-in ended, and yield what is too much."""
        watch = self._logins
        if watch is None:
            return
        if not failed:
            watch.succeed(client, account)
            return
        for alarm in watch.fail(client, "", account, now):
            detail = f"{alarm.kind} on {alarm.subject}: {alarm.count:.0f}"
            yield Alarm(ThreatClass.BRUTE_FORCE, _SEVERITIES[alarm.kind], alarm.subject, detail, alarm.shared)

    def answered(self, request: Request, status: int, now: float) -> Alarm | None:
        """Take note of an answer, and return an alarm when a client asks for too much that is not there."""
        found = self._probes.answered(request, status, now)
        if found is None:
            return None
        severity = Severity.CRITICAL if found.nearly_all else Severity.HIGH
        return Alarm(ThreatClass.PROBING, severity, found.subject, found.detail, shared=False)


def _pour(buckets: LeakyBuckets, subject: str, rate: float, now: float) -> bool:
    # A bucket leaks one second a second; a request takes the part of a second that the allowance gives it.
    if rate == inf:
        return False
    return buckets.pour(subject, now, 1.0 / rate) if rate > 0.0 else True
