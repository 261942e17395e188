"""What all guards saw together, judged: repeated attacks, guessed passwords, floods, limits that do not stop anyone."""

import ipaddress
from collections.abc import Iterable
from math import inf, isnan

from seawall.core.clock import Clock
from seawall.core.errors import InvalidError
from seawall.systems.threats.buckets import LeakyBuckets
from seawall.systems.threats.clients import ClientOddity
from seawall.systems.threats.consequences import ACTIONS, Consequences
from seawall.systems.threats.events import ThreatEvent
from seawall.systems.threats.floods import Flood
from seawall.systems.threats.logins import LoginAlarm, LoginWatch
from seawall.systems.threats.messages import LoginPolicy, SlowClient, ThreatReport, ThreatSnapshot
from seawall.systems.threats.model import Action, Level, Mode, Severity, ThreatClass
from seawall.systems.threats.networks import parse_network, subject_of_address
from seawall.systems.threats.notices import Notices

__all__ = ["Offences", "mode_of"]

_SEVERITIES = {
    Level.LOW: Severity.LOW,
    Level.MEDIUM: Severity.MEDIUM,
    Level.HIGH: Severity.HIGH,
    Level.CRITICAL: Severity.CRITICAL,
}
_JUDGED_ELSEWHERE = {ThreatClass.BRUTE_FORCE, ThreatClass.BLOCKED, ThreatClass.DDOS, ThreatClass.CSRF}
"""Log-ins and floods are judged from all guards' counts; that a ban holds is no new offence; a forged request is not
the offence of the one whose browser was made to send it."""
_MAX_FAILURES = 100
_MAX_OFFENDERS = 1000
_NOBODY = "client:"
"""Whoever comes through a Unix socket has no address."""
_HEARD = 60.0
_SLOW_LEAK = 1.0 / 30.0
_MAX_HEARD = 10_000


class Offences:
    """Turns reports into consequences and events.

    Args:
        consequences: for whoever is reported.
        notices: where it is told.
        clock: time.
    """

    def __init__(self, consequences: Consequences, notices: Notices, clock: Clock) -> None:
        self._consequences = consequences
        self._notices = notices
        self._clock = clock
        self._policy: LoginPolicy | None = None
        self._watch: LoginWatch | None = None
        self._mode = self._login_mode = Mode.OFF
        self._slow = LeakyBuckets(ThreatSnapshot(version=0).slow, _SLOW_LEAK)
        self._heard: dict[str, float] = {}
        self._flooded: frozenset[str] = frozenset()

    def follow(self, snapshot: ThreatSnapshot) -> None:
        """Take what guards are told: what is failed where, and whether anything may follow."""
        policy = snapshot.logins
        if policy != self._policy:
            self._policy = policy
            self._watch = None if policy is None else LoginWatch(policy.limits)
        self._mode = snapshot.policy.mode
        if snapshot.slow != self._slow.capacity:
            self._slow = LeakyBuckets(snapshot.slow, _SLOW_LEAK)
        modes = [mode_of(snapshot, path) for path in policy.paths] if policy is not None else []
        self._login_mode = Mode.BLOCK if Mode.BLOCK in modes else Mode.LOG if Mode.LOG in modes else Mode.OFF

    def take(self, report: ThreatReport) -> None:
        """Judge what one guard saw."""
        now = self._clock.monotonic()
        for event in report.events:
            self._event(event, now)
        if self._watch is not None and self._login_mode is not Mode.OFF:
            self._logins(self._watch, report, now)
        if self._mode is not Mode.OFF:
            for one in report.slow:
                self._slow_client(one, now)

    def abuse(self, key: str, rule: str) -> None:
        """Take a key of the limiter that went on after it was blocked again and again."""
        if self._mode is Mode.OFF:
            return
        kind, _, value = key.partition(":")
        # Behind a key that stands for a network there are many, unless it is that of one IPv6 client.
        client = value if kind == "client" and "/" not in value else ""
        subject = subject_of_address(client) if client else ""
        if kind == "client" and f"network:{value}" == subject_of_address(value.removesuffix("/64")):
            subject = f"network:{value}"
        if self._consequences.is_allowed(client):
            return
        shadow, action = self._mode is not Mode.BLOCK, Action.THROTTLE
        if subject and not shadow:
            after = self._consequences.report(subject, Severity.HIGH, "rate abuse")
            action = max(ACTIONS[after.step], action, key=list(Action).index)
        detail = f"{key} goes on although rule {rule} has blocked it several times"
        self._notices.tell(ThreatClass.RATE_ABUSE, Level.HIGH, action, detail, shadow=shadow, client=client)

    def floods(self, floods: Iterable[Flood]) -> None:
        """Judge the floods that are on."""
        known, shadow = self._flooded, self._mode is not Mode.BLOCK
        on = list(floods)
        self._flooded = frozenset(flood.route for flood in on)
        for flood in on:
            if flood.route not in known:
                text = f"{flood.rate:.0f} requests/s on {flood.route}, {_usually(flood)}"
                self._notices.tell(
                    ThreatClass.DDOS, Level.HIGH, Action.THROTTLE, text, shadow=shadow, route=flood.route
                )
            if shadow:
                continue
            for subject in flood.culprits[:_MAX_OFFENDERS]:
                if subject != _NOBODY:
                    shared = subject.endswith("/24")
                    self._consequences.report(subject, Severity.HIGH, "flood", shared=shared)

    def odd(self, one: ClientOddity) -> None:
        """Take a client that is unlike all others: its limits fall, and nothing else follows."""
        if self._mode is Mode.OFF or self._consequences.is_allowed(one.client):
            return
        shadow = self._mode is not Mode.BLOCK
        if not shadow:
            self._consequences.suspect(subject_of_address(one.client), Severity.MEDIUM)
        self._notices.tell(
            ThreatClass.ANOMALY, Level.MEDIUM, Action.THROTTLE, one.detail, shadow=shadow, client=one.client
        )

    def _event(self, event: ThreatEvent, now: float) -> None:
        if event.category is ThreatClass.BRUTE_FORCE:
            for subject in (subject_of_address(event.client), f"account:{event.account}"):
                self._hear(subject, now)
        severity = _SEVERITIES.get(event.level)
        if severity is None or event.shadow or event.category in _JUDGED_ELSEWHERE or not event.client:
            return
        if self._consequences.is_allowed(event.client):
            return
        subject = subject_of_address(event.client)
        if event.action in {Action.BLOCK, Action.CHALLENGE} or event.category is ThreatClass.PROBING:
            self._consequences.report(subject, severity, event.category.value)
        elif event.action is not Action.ALLOW:
            # Suspicion alone is nothing to be refused for later: many people may stand behind an address.
            self._consequences.suspect(subject, severity)

    def _logins(self, watch: LoginWatch, report: ThreatReport, now: float) -> None:
        for client, account in report.logged_in:
            watch.succeed(client, account)
        for failures in report.failures:
            if self._consequences.is_allowed(failures.client):
                continue
            network = _network(failures.client)
            alarms: dict[tuple[str, str], LoginAlarm] = {}
            for _ in range(min(failures.count, _MAX_FAILURES)):
                for alarm in watch.fail(failures.client, network, failures.account, now):
                    alarms[alarm.kind, alarm.subject] = alarm
            for alarm in alarms.values():
                self._alarm(alarm, failures.client, failures.account, now)

    def _slow_client(self, one: SlowClient, now: float) -> None:
        if self._consequences.is_allowed(one.client):
            return
        subject = subject_of_address(one.client)
        over = sum(self._slow.pour(subject, now) for _ in range(min(one.count, _MAX_FAILURES)))
        if not over:
            return
        shadow, action = self._mode is not Mode.BLOCK, Action.THROTTLE
        before = after = self._consequences.standing(subject)
        if not shadow:
            for _ in range(over):
                after = self._consequences.report(subject, Severity.HIGH, "slow requests")
            if after.step <= before.step:
                return
            action = ACTIONS[after.step]
        elif now - self._heard.get(f"slow {subject}", -inf) < _HEARD:
            return
        self._hear(f"slow {subject}", now)
        what = {"head": "request heads", "body": "bodies", "read": "reading of answers"}.get(one.how, one.how)
        detail = (
            f"slow-rate attack: more than {self._slow.capacity:.0f} requests were cut off, the last for slow {what}"
        )
        self._notices.tell(ThreatClass.DDOS, Level.HIGH, action, detail, shadow=shadow, client=one.client)

    def _hear(self, what: str, now: float) -> None:
        self._heard.pop(what, None)
        self._heard[what] = now
        while len(self._heard) > _MAX_HEARD:
            del self._heard[next(iter(self._heard))]

    def _alarm(self, alarm: LoginAlarm, client: str, account: str, now: float) -> None:
        subject, shadow = alarm.subject, self._login_mode is not Mode.BLOCK
        action = Action.THROTTLE
        if shadow:
            grew = True
        else:
            before = self._consequences.standing(subject)
            severity = Severity.MEDIUM if alarm.kind == "slow-guessing" else Severity.HIGH
            after = self._consequences.report(subject, severity, alarm.kind, shared=alarm.shared)
            grew, action = after.step > before.step, ACTIONS[after.step]
        # Guards tell of what they see alone; what only their sum shows is told here.
        if not grew or now - self._heard.get(subject, -inf) < _HEARD:
            return
        self._hear(subject, now)
        self._notices.tell(
            ThreatClass.BRUTE_FORCE,
            Level.HIGH,
            action,
            f"{alarm.kind} on {subject}: {alarm.count:.0f}",
            shadow=shadow,
            client=client if subject == subject_of_address(client) else "",
            account=account if subject.startswith("account:") else "",
        )


def _usually(flood: Flood) -> str:
    what = "which is not known to be usual" if isnan(flood.usual) else f"usually {flood.usual:.0f}"
    return f"{what}; {flood.sources} clients" if flood.sources else what


def mode_of(snapshot: ThreatSnapshot, path: str) -> Mode:
    """Return the mode of requests for a path: that of the longest prefix that names it."""
    best, found = -1, snapshot.policy.mode
    for prefix, mode in snapshot.routes:
        inside = path == prefix or path.startswith(prefix if prefix.endswith("/") else prefix + "/")
        if inside and len(prefix) > best:
            best, found = len(prefix), mode
    return found


def _network(client: str) -> str:
    """Return the /24 or /64 of an address; empty for what is none."""
    try:
        version, first, _ = parse_network(client)
    except InvalidError:
        return ""
    if version == 4:
        return f"{ipaddress.IPv4Address(first >> 8 << 8)}/24"
    return f"{ipaddress.IPv6Address(first >> 64 << 64)}/64"
