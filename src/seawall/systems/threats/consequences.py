"""What follows for whoever is reported: less, a puzzle, a refusal, a ban; for everyone on the same store."""

import logging
from collections.abc import Callable

from seawall.core.clock import Clock
from seawall.systems.threats.book import ThreatBook
from seawall.systems.threats.lists import AccessLists
from seawall.systems.threats.messages import ThreatSnapshot
from seawall.systems.threats.model import Action, Severity
from seawall.systems.threats.records import BanRecord, OffencesRecord
from seawall.systems.threats.response import Response, ResponseLadder, ResponseLimits, Step

__all__ = ["ACTIONS", "Consequences"]

_log = logging.getLogger("seawall.threats")

_THROTTLED = {Severity.LOW: 0.2, Severity.MEDIUM: 0.5, Severity.HIGH: 0.8, Severity.CRITICAL: 1.0}
_RENEW = 1.0
"""Seconds that a step must last longer before others are told anew."""
_MAX_TOLD = 10

ACTIONS = {
    Step.OBSERVE: Action.ALLOW,
    Step.THROTTLE: Action.THROTTLE,
    Step.CHALLENGE: Action.CHALLENGE,
    Step.BLOCK: Action.BLOCK,
    Step.BAN: Action.BLOCK,
}


class Consequences:
    """The ladder, and the bans that it leads to.

    Args:
        book: where bans are kept.
        clock: time.
        limits: when each step is reached.

    Attributes:
        on_threat: told a subject and a severity 0 to 1, for the limiter's threat factor.
    """

    def __init__(self, book: ThreatBook, clock: Clock, limits: ResponseLimits) -> None:
        self._book = book
        self._clock = clock
        self._ladder = ResponseLadder(limits)
        self._lists = AccessLists()
        self._told = (0.0, 0)
        self.on_threat: Callable[[str, float], None] | None = None

    def configure(self, limits: ResponseLimits) -> None:
        """Take other limits; who stands where is forgotten when they differ, bans are not."""
        if limits != self._ladder.limits:
            self._ladder = ResponseLadder(limits)
            now = self._clock.monotonic()
            for offences in self._book.records(OffencesRecord):
                self._ladder.restore(offences.name, offences.bans, now)

    def follow(self, snapshot: ThreatSnapshot) -> None:
        """Take the allow-list that guards have, of which nothing is asked."""
        self._lists.apply(snapshot.allow, type(snapshot.block)(), snapshot.entries, {})

    def is_allowed(self, client: str) -> bool:
        """Return whether nothing is asked of an address."""
        if not client or not self._lists.active:
            return False
        found = self._lists.find(client, "", self._clock.wall())
        return found is not None and found.kind == "allowed"

    def standing(self, subject: str) -> Response:
        """Return what is done to a subject now."""
        return self._ladder.standing(subject, self._clock.monotonic())

    def report(self, subject: str, severity: Severity, reason: str, *, shared: bool = False) -> Response:
        """Report a subject, and do what follows; of an allowed client nothing does.

        Args:
            subject: such as `client:192.0.2.7`.
            severity: of what it did.
            reason: for operators.
            shared: whether honest people may stand behind it: it is challenged at most.
        """
        now = self._clock.monotonic()
        before = self._ladder.standing(subject, now)
        if self.is_allowed(_address_of(subject)):
            return before
        response = self._ladder.report(subject, severity, now, shared=shared)
        if response.step >= Step.THROTTLE:
            self._lower(subject, severity)
        grew = response.step > before.step or response.bans > before.bans
        if response.step >= Step.CHALLENGE and (grew or response.until - before.until > _RENEW):
            self._keep(response, now, reason)
        if grew and response.step is Step.BAN:
            self._remember(response, now, reason)
        return response

    def suspect(self, subject: str, severity: Severity) -> None:
        """Lower the limits of a subject that has done nothing to be refused for."""
        if not self.is_allowed(_address_of(subject)):
            self._lower(subject, severity)

    def forgive(self, subject: str) -> bool:
        """Forget what led to a subject's bans; tell whether there was anything."""
        return self._ladder.forgive(subject)

    def recall(self, offences: OffencesRecord) -> None:
        """Take note of bans of an earlier life, or by another gateway."""
        self._ladder.restore(offences.name, offences.bans, self._clock.monotonic())

    def _lower(self, subject: str, severity: Severity) -> None:
        # Limits know an IPv6 client by its /64, too, under this name.
        kind, _, value = subject.partition(":")
        if self.on_threat is not None and value and (kind == "client" or value.endswith("::/64")):
            self.on_threat(f"client:{value}", _THROTTLED[severity])

    def _keep(self, response: Response, now: float, reason: str) -> None:
        record = BanRecord(
            name=response.subject,
            until=self._clock.wall() + response.until - now,
            reason=reason,
            challenge=response.step is Step.CHALLENGE,
            by="seawall",
            bans=response.bans,
        )
        known = self._book.find(BanRecord, response.subject)
        if known is None or (known.by != "operator" and _is_harder(record, known)):
            self._book.hold(record)

    def _remember(self, response: Response, now: float, reason: str) -> None:
        until = self._clock.wall() + response.until - now + self._ladder.limits.forget
        self._book.hold(OffencesRecord(name=response.subject, until=until, bans=response.bans), minor=True)
        since, told = self._told
        if now - since >= 1.0:
            if told > _MAX_TOLD:
                _log.warning("%d further bans", told - _MAX_TOLD)
            since, told = now, 0
        self._told = (since, told + 1)
        if told < _MAX_TOLD:
            _log.warning("%s is banned for %.0f s: %s", response.subject, response.until - now, reason)


def _address_of(subject: str) -> str:
    """Return the address of a client, the first one of an IPv6 client's; empty for an account and for many."""
    kind, _, value = subject.partition(":")
    if kind == "network":
        return value.removesuffix("/64") if value.endswith("::/64") else ""
    return value if kind == "client" else ""


def _is_harder(new: BanRecord, old: BanRecord) -> bool:
    if new.challenge != old.challenge:
        return old.challenge
    return old.until is not None and (new.until is None or new.until > old.until)
