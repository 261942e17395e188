"""Threat detection as two stages: who asks comes before everything else, what is asked after the limits."""

from collections.abc import Callable
from typing import Final

from seawall.core.request import Request
from seawall.pipeline.passage import WAITING, Passage, Refusal, Verdict
from seawall.pipeline.stage import Stage
from seawall.systems.threats.answers import answer_of
from seawall.systems.threats.guard import ThreatGuard
from seawall.systems.threats.model import Action
from seawall.systems.threats.ruling import Ruling

__all__ = ["TAG_FIELD", "AdmissionStage", "InspectionStage"]

TAG_FIELD: Final = b"x-seawall-threat"
"""Field that tells the upstream how threatening a request looks that was let through: `medium;score=3.4`."""


class AdmissionStage(Stage):
    """Refuse by who asks: lists, bans, challenges, floods, forged requests. It is asked before anything else.

    It fails open, as inspection does: whatever is wrong with threat detection must not take the service with it. What
    has to be proven to get in is the business of identity, which fails closed.

    Args:
        guard: decides.
        route_name: names the route that takes a request.
    """

    name = "threats"
    fails_open = True

    def __init__(self, guard: ThreatGuard, route_name: Callable[[Request], str]) -> None:
        super().__init__()
        self.keeps = frozenset({TAG_FIELD})
        self._guard = guard
        self._route_name = route_name

    def refresh(self) -> None:
        """Look at the guard's snapshot."""
        self.active = self._guard.active

    def enter(self, passage: Passage) -> Verdict:
        """Decide by who asks; whoever is trusted is asked nothing more."""
        request = passage.request
        route = passage.route = self._route_name(request) or passage.pool
        passage.holds = True
        ruling = self._guard.admit(request, route)
        if ruling.action is Action.ALLOW:
            passage.trusted = ruling.trusted
            return None
        return _stopped(passage, ruling)

    def slow(self, client: str, how: str) -> None:
        """Let the guard tell of it."""
        self._guard.slow(client, how)

    def refuses(self, client: str) -> bool:
        """Ask the lists and bans."""
        return self._guard.refuses(client)


class InspectionStage(Stage):
    """Refuse by what is in a request, its body included, where the guard wants to see that.

    It comes after the limits, so that a flood of bodies is limited before any of them is read, and after identity, so
    that accounts that are banned or challenged are known. Where the mode is to log only, the body is not waited for: it
    streams, and a copy of it is looked into when the request has ended.

    Args:
        guard: decides.
    """

    name = "threats"
    fails_open = True

    def __init__(self, guard: ThreatGuard) -> None:
        super().__init__()
        self._guard = guard

    def refresh(self) -> None:
        """Look at the guard's snapshot."""
        self.active = self._guard.active

    def enter(self, passage: Passage) -> Verdict:
        """Look into the head, or ask for the body.

        Of a request that no instance will get, for want of a route or of credentials, the body is not asked for.
        """
        route = passage.route
        if passage.trusted or route is None:
            return None
        guard, request = self._guard, passage.request
        if guard.accounts and request.identity.user:
            ruling = guard.admit_account(request, route, request.identity.user)
            if ruling.action is not Action.ALLOW:
                return _stopped(passage, ruling)
        if passage.length and passage.pool and passage.denial is None:
            hold = guard.holds(request, passage.length)
            if hold and guard.only_watches(request):
                passage.peek = hold
                return None
            if hold:
                passage.hold = hold
                return WAITING
        return _judged(passage, guard.inspect(request, route))

    def take_body(self, passage: Passage, body: bytes, *, whole: bool) -> Verdict:
        """Look into head and body together; an attempt to log in is also one upon an account."""
        guard, request, route = self._guard, passage.request, passage.route or ""
        passage.account = guard.account(request, body)
        if guard.accounts and passage.account:
            ruling = guard.admit_account(request, route, passage.account)
            if ruling.action is not Action.ALLOW:
                return _stopped(passage, ruling)
        return _judged(passage, guard.inspect(request, route, body, whole=whole))

    def leave(self, passage: Passage) -> None:
        """Look into what was only copied, and learn from how the request ended."""
        route, passage.route = passage.route, None
        if route is None:
            return
        request, copy = passage.request, passage.copy
        if copy or passage.peek:
            passage.held = len(copy)
            passage.account = self._guard.account(request, copy)
            whole = passage.peek > 0 or passage.length == len(copy)
            self._guard.inspect(request, route, copy, whole=whole)
        self._guard.ended(
            request,
            route,
            passage.status,
            passage.seconds,
            passage.account,
            passage.held,
            stopped=passage.stopped,
        )


def _judged(passage: Passage, ruling: Ruling) -> Verdict:
    action = ruling.action
    if action is Action.ALLOW:
        return None
    if action is Action.TAG or action is Action.THROTTLE:
        passage.added += ((TAG_FIELD, ruling.tag.encode("ascii", "replace")),)
        return None
    return _stopped(passage, ruling)


def _stopped(passage: Passage, ruling: Ruling) -> Refusal:
    passage.stopped = True
    request = passage.request
    answer = answer_of(
        ruling,
        request.request_id,
        secure=request.scheme == "https",
        wants_page=b"text/html" in (request.header(b"accept") or b"").lower(),
    )
    return Refusal(answer.status, answer.fields, answer.body)
