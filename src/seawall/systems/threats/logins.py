"""Failed log-ins: guessing one account's password, trying stolen pairs, and one password over many accounts."""

from collections.abc import Iterator

import msgspec

from seawall.core.errors import InvalidError
from seawall.systems.threats.buckets import LeakyBuckets
from seawall.systems.threats.distinct import DistinctCounter
from seawall.systems.threats.networks import subject_of_address

__all__ = ["LoginAlarm", "LoginLimits", "LoginWatch"]

_MAX_NAME = 256


class LoginLimits(msgspec.Struct, frozen=True, kw_only=True):
    """When failed log-ins are too many.

    Attributes:
        burst: failures that are borne at once, from an address or on an account.
        burst_leak: of them, forgotten per second.
        slow: failures that are borne over a longer time.
        slow_leak: of them, forgotten per second.
        accounts: different accounts that one address may fail on within `period`: more are stolen pairs being tried.
        addresses: different addresses from which one account may fail within `period`.
        spread: different accounts that one network may fail on within `period`: one password over many accounts.
        period: seconds.
    """

    burst: float = 5.0
    burst_leak: float = 0.1
    slow: float = 10.0
    slow_leak: float = 1.0 / 60.0
    accounts: int = 10
    addresses: int = 20
    spread: int = 30
    period: float = 600.0


class LoginAlarm(msgspec.Struct, frozen=True):
    """Failed log-ins were too many.

    Attributes:
        kind: `guessing`, `slow-guessing`, `credential-stuffing`, `account-attack` or `password-spraying`.
        subject: whom it is about: `client:ADDRESS`, the `network:` of an IPv6 client or of many, or `account:NAME`.
        count: what was counted.
        shared: whether honest people may be among those behind the subject; then a challenge comes before a ban.
    """

    kind: str
    subject: str
    count: float
    shared: bool


class LoginWatch:
    """Count failed log-ins.

    Args:
        limits: when they are too many.
        max_keys: addresses, and accounts, whose failures are kept at most.

    Pure; one failure costs about 5 us. Not for concurrent use.
    """

    def __init__(self, limits: LoginLimits | None = None, *, max_keys: int = 65_536) -> None:
        self.limits = limits = limits or LoginLimits()
        if min(limits.accounts, limits.addresses, limits.spread) < 1 or not limits.period > 0.0:
            raise InvalidError(
                "limits of failed log-ins must be above 0", hint="Give at least 1, and a period above 0."
            )
        self._burst = LeakyBuckets(limits.burst, limits.burst_leak, max_keys=max_keys)
        self._slow = LeakyBuckets(limits.slow, limits.slow_leak, max_keys=max_keys)
        self._sets: dict[str, tuple[DistinctCounter, float]] = {}
        self._max_sets = max_keys

    def fail(self, client: str, network: str, account: str, now: float) -> list[LoginAlarm]:
        """Take note of a failed log-in and return what is too much now.

        Args:
            client: address; those of one /64 of IPv6 count as one.
            network: that the address belongs to, such as its /24.
            account: name that was tried, in lower case; empty when it is not known.
            now: monotonic seconds.
        """
        account = account[:_MAX_NAME]
        subject = subject_of_address(client) if client else ""
        alarms = self._rates(subject, account, now)
        return [*alarms, *self._spreads(subject, network, account, now)] if account else list(alarms)

    def succeed(self, client: str, account: str) -> None:
        """Take note of a log-in that succeeded: whoever mistyped a few times is forgiven.

        What an address did to other accounts stays: an attacker logs in to an own account in between.
        """
        for subject in (subject_of_address(client), f"account:{account[:_MAX_NAME]}"):
            if self._distinct(subject) <= 1:
                self._burst.empty(subject)
                self._slow.empty(subject)

    def _rates(self, client: str, account: str, now: float) -> Iterator[LoginAlarm]:
        for subject, shared in ((client, False), (f"account:{account}" if account else "", True)):
            if not subject:
                continue
            if self._burst.pour(subject, now):
                yield LoginAlarm("guessing", subject, self._burst.level(subject, now), shared)
            if self._slow.pour(subject, now):
                yield LoginAlarm("slow-guessing", subject, self._slow.level(subject, now), shared)

    def _spreads(self, client: str, network: str, account: str, now: float) -> Iterator[LoginAlarm]:
        limits = self.limits
        if client:
            count = self._note(client, account, now)
            if count > limits.accounts:
                yield LoginAlarm("credential-stuffing", client, count, shared=False)
            count = self._note(f"account:{account}", client, now)
            if count > limits.addresses:
                yield LoginAlarm("account-attack", f"account:{account}", count, shared=True)
        if network:
            count = self._note(f"spread:{network}", account, now)
            if count > limits.spread:
                yield LoginAlarm("password-spraying", f"network:{network}", count, shared=True)

    def _note(self, subject: str, item: str, now: float) -> int:
        counter, since = self._sets.pop(subject, (None, now))
        if counter is None or not 0.0 <= now - since < self.limits.period:
            counter, since = DistinctCounter(), now
        counter.add(item)
        self._sets[subject] = (counter, since)
        if len(self._sets) > self._max_sets:
            for oldest in list(self._sets)[: max(self._max_sets // 8, 1)]:
                del self._sets[oldest]
        return counter.count()

    def _distinct(self, subject: str) -> int:
        found = self._sets.get(subject)
        return found[0].count() if found is not None else 0
