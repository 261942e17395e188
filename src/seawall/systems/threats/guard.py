"""The threat system's engine: who may come in, what a request holds, how it ended; all of it shares one state."""

from collections.abc import Callable

import msgspec

from seawall.core.errors import SeawallError
from seawall.core.paths import compared_path
from seawall.core.request import Request
from seawall.systems.threats.challenge import Challenger
from seawall.systems.threats.conduct import Alarm, Conduct
from seawall.systems.threats.csrf import BypassPattern, CsrfCheck
from seawall.systems.threats.deeds import Deeds
from seawall.systems.threats.engine import ThreatEngine
from seawall.systems.threats.events import ThreatEvent
from seawall.systems.threats.forms import account_of, query_of
from seawall.systems.threats.inspection.policy import OverCap
from seawall.systems.threats.inspection.prefilter import CompileGroups
from seawall.systems.threats.journal import Journal
from seawall.systems.threats.lists import AccessLists, Standing
from seawall.systems.threats.messages import Ban, ThreatReport, ThreatSnapshot
from seawall.systems.threats.model import Action, Level, Mode, Severity, ThreatClass, Verdict
from seawall.systems.threats.networks import subject_of_address
from seawall.systems.threats.response import ResponseLadder, Step
from seawall.systems.threats.ruling import CHALLENGE_PATH, PASS_COOKIE, Ruling

__all__ = ["ThreatGuard"]

_LOCAL_BAN = 60.0
"""Seconds of a ban of this guard's own; the controller's, which every gateway heeds, comes within one of them."""
_DEEDS = 2.5
"""Seconds between two words on what clients did."""
_BINARY = (b"image/", b"audio/", b"video/", b"font/", b"application/grpc", b"application/zip", b"application/pdf")
_PASS = Ruling()
_STRICTNESS = {Mode.OFF: 0, Mode.LOG: 1, Mode.BLOCK: 2}
_SEVERITIES = {
    Level.LOW: Severity.LOW,
    Level.MEDIUM: Severity.MEDIUM,
    Level.HIGH: Severity.HIGH,
    Level.CRITICAL: Severity.CRITICAL,
}


class ThreatGuard:
    """Decide on requests, by whom they are from and by what is in them; learn from how they end.

    Args:
        monotonic: seconds on a clock that only goes on.
        wall: seconds since the Unix epoch.
        random: as `os.urandom`.
        compile_groups: makes the matcher of the detectors' triggers.
        worker: tells this guard's events from those of others; letters and digits.

    Attributes:
        active: whether there is anything to do at all.

    Pure but for what it is given; not for concurrent use. An honest GET costs 10 to 20 us.
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        random: Callable[[int], bytes],
        compile_groups: CompileGroups,
        worker: str = "",
    ) -> None:
        self.snapshot = ThreatSnapshot(version=-1)
        self.active = False
        self._monotonic = monotonic
        self._wall = wall
        self._random = random
        self._compile = compile_groups
        self._worker = worker or random(4).hex()
        self._count = 0
        self._journal = Journal()
        self._deeds = Deeds()
        self._told_deeds = monotonic()
        self._reported = monotonic()
        self._lists = AccessLists()
        self._engine: ThreatEngine | None = None
        self._csrf: CsrfCheck | None = None
        self._challenger: Challenger | None = None
        self._conduct = Conduct()
        self._ladder = ResponseLadder()

    # -- what is in force ----------------------------------------------------------------------------------------------

    def apply(self, snapshot: ThreatSnapshot) -> None:
        """Swap in a newer snapshot.

        Raises:
            SeawallError: a part of it cannot be put in force; the old one stays.
        """
        old = self.snapshot
        if snapshot.version <= old.version:
            return
        active = snapshot.policy.mode is not Mode.OFF or any(mode is not Mode.OFF for _, mode in snapshot.routes)
        engine = None if snapshot.policy != old.policy else self._engine
        if engine is None and active:
            engine = self._opened(snapshot)
        csrf = self._csrf
        if snapshot.csrf != old.csrf:
            csrf = _csrf(snapshot)
        if snapshot.challenge != old.challenge:
            key = snapshot.challenge
            self._challenger = None if key is None else Challenger(key.secret, self._random, bits=key.bits)
        if snapshot.response != old.response:
            self._ladder = ResponseLadder(snapshot.response)
        self._engine, self._csrf = engine, csrf
        self._lists.apply(snapshot.allow, snapshot.block, snapshot.entries, snapshot.bans)
        # What was lifted centrally is lifted here, too.
        for subject in old.bans.keys() - snapshot.bans.keys():
            self.forgive(subject)
        self._conduct.apply(snapshot)
        self.snapshot, self.active = snapshot, active

    # -- deciding ------------------------------------------------------------------------------------------------------

    def admit(self, request: Request, route: str) -> Ruling:
        """Decide by who asks: lists, bans, challenges, floods, forged requests.

        Args:
            request: the head.
            route: its name, for floods and counts.
        """
        mode = self._mode(request)
        if mode is Mode.OFF:
            return _PASS
        wall = self._wall()
        challenger = self._challenger
        if challenger is not None and request.path == CHALLENGE_PATH:
            self._journal.asked(route, request)
            return self._redeem(request, challenger, wall)
        ruling = self._by_lists(request, route, mode, wall) if self._lists.active else None
        if ruling is not None:
            if not ruling.trusted:
                self._journal.asked(route, request)
            return ruling
        self._journal.asked(route, request)
        if self._conduct.flooded and self._conduct.is_too_much(request.client, route, self._monotonic()):
            return self._refuse(request, route, mode, "flood", ThreatClass.DDOS, Level.MEDIUM, 1.0)
        return self._by_origin(request, route, mode) if self._csrf is not None else _PASS

    @property
    def accounts(self) -> bool:
        """Whether any account is banned or challenged, so that `admit_account` is worth asking."""
        return self._lists.accounts

    def admit_account(self, request: Request, route: str, account: str) -> Ruling:
        """Decide by the account that a request comes from, or tries to log in to.

        Args:
            request: the head.
            route: its name.
            account: as `account` gives it, or of the authenticated caller.
        """
        mode = self._mode(request)
        if mode is Mode.OFF:
            return _PASS
        wall = self._wall()
        standing = self._lists.find_account(account, wall)
        return self._by_standing(request, route, mode, wall, standing) or _PASS

    def holds(self, request: Request, length: int) -> int:
        """Return how many bytes of the body to hold back for inspection; 0 to inspect the head at once.

        Args:
            request: the head.
            length: of the body; negative when it is not known, 0 without one.
        """
        limit = self.snapshot.hold_bytes
        if not length or not limit or self._mode(request) is Mode.OFF:
            return 0
        media = request.header(b"content-type")
        if media is not None and media.strip().lower().startswith(_BINARY):
            return 0
        return limit if length < 0 else min(length, limit)

    def only_watches(self, request: Request) -> bool:
        """Whether nothing follows from what is found in a request, so that it need not wait for that."""
        return self._mode(request) is Mode.LOG

    def inspect(self, request: Request, route: str, body: bytes = b"", *, whole: bool = True) -> Ruling:
        """Decide by what is in a request.

        Args:
            request: the head.
            route: its name.
            body: as much of it as was held.
            whole: whether that is all of it.
        """
        engine, mode = self._engine, self._mode(request)
        if engine is None or mode is Mode.OFF:
            return _PASS
        over = self.snapshot.policy.over_cap
        verdict = engine.inspect(request, body if whole or over is not OverCap.PASS else b"")
        if not whole and not verdict.partial:
            action = Action.BLOCK if over is OverCap.REJECT else verdict.action
            verdict = msgspec.structs.replace(verdict, partial="bytes", action=action)
        self._journal.verdict(verdict)
        if verdict.level is Level.NONE and verdict.action is Action.ALLOW:
            return _PASS  # what is found in prose, and weighs next to nothing, is no event
        return self._judged(request, route, mode, verdict)

    def look(self, request: Request, body: bytes = b"") -> Verdict:
        """Say what is in a request, whatever the mode, and remember nothing."""
        if self._engine is None:
            # Not before it is needed: where nothing is looked at, the patterns need not be compiled.
            self._engine = self._opened(self.snapshot)
        return self._engine.inspect(request, body)

    def forgive(self, subject: str) -> None:
        """Forget what led to a subject's ban here, and the ban."""
        self._ladder.forgive(subject)
        self._lists.forget([subject])

    def account(self, request: Request, body: bytes) -> str:
        """Return the account that a request tries to log in to, in lower case; empty when it tries none."""
        conduct = self._conduct
        return account_of(request, body, conduct.account_fields) if body and conduct.is_login(request) else ""

    def ended(
        self,
        request: Request,
        route: str,
        status: int,
        seconds: float,
        account: str,
        held: int = 0,
        *,
        stopped: bool = False,
    ) -> None:
        """Learn from how a request ended.

        Args:
            request: the head.
            route: its name.
            status: that was answered, by us or by the upstream.
            seconds: until the answer began.
            account: from `account`.
            held: bytes of its body that were held.
            stopped: whether a ruling stopped it; its status says nothing then of log-ins or of what is there.
        """
        self._journal.answered(route, status, seconds, held)
        if self.snapshot.judge_clients:
            self._deeds.note(request, status, held)
        client = request.client
        if stopped or not client or self._mode(request) is Mode.OFF:
            return
        now, conduct = self._monotonic(), self._conduct
        failed = conduct.login_ended(status) if conduct.is_login(request) else None
        if failed is not None:
            self._journal.login(client, account, failed=failed)
            for alarm in conduct.login(client, account, now, failed=failed):
                self._alarm(request, route, alarm, account)
        found = conduct.answered(request, status, now)
        if found is not None:
            self._alarm(request, route, found, account)

    def refuses(self, client: str) -> bool:
        """Return whether a client is refused whatever it asks."""
        if not self._lists.active or self.snapshot.policy.mode is not Mode.BLOCK or self.snapshot.routes:
            return False
        found = self._lists.find(client, "", self._wall())
        return found is not None and found.kind in {"banned", "listed"}

    def slow(self, client: str, how: str) -> None:
        """Take note of a client that was too slow.

        Args:
            client: address.
            how: `head`, `body` or `read`: what came, or was taken, too slowly.
        """
        if client and self.active:
            self._journal.slow(client, how)

    def report(self, *, full: bool) -> ThreatReport:
        """Return what was seen; events and the like are told once."""
        now = self._monotonic()
        span, self._reported = max(now - self._reported, 0.0), now
        report = self._journal.report(span=span, full=full)
        if self.snapshot.judge_clients and not 0.0 <= now - self._told_deeds < _DEEDS:
            self._told_deeds = now
            return msgspec.structs.replace(report, deeds=self._deeds.told())
        return report

    # -- inside --------------------------------------------------------------------------------------------------------

    def _opened(self, snapshot: ThreatSnapshot) -> ThreatEngine:
        # The guard itself knows what a mode means, so that what would have been done can be told.
        return ThreatEngine(msgspec.structs.replace(snapshot.policy, mode=Mode.BLOCK), self._compile)

    def _mode(self, request: Request) -> Mode:
        snapshot = self.snapshot
        if not snapshot.routes:
            return snapshot.policy.mode
        path = request.path.decode("latin-1")
        mode = self._mode_of(path)
        if ";" in path:
            # Whoever is behind may see either path; the stricter of their modes holds.
            mode = max(mode, self._mode_of(compared_path(path)), key=_STRICTNESS.__getitem__)
        return mode

    def _mode_of(self, path: str) -> Mode:
        snapshot = self.snapshot
        best, found = -1, snapshot.policy.mode
        for prefix, mode in snapshot.routes:
            inside = path == prefix or path.startswith(prefix if prefix.endswith("/") else prefix + "/")
            if inside and len(prefix) > best:
                best, found = len(prefix), mode
        return found

    def _by_lists(self, request: Request, route: str, mode: Mode, wall: float) -> Ruling | None:
        standing = self._lists.find(request.client, request.identity.user, wall)
        return self._by_standing(request, route, mode, wall, standing)

    def _by_standing(
        self, request: Request, route: str, mode: Mode, wall: float, standing: Standing | None
    ) -> Ruling | None:
        if standing is None:
            return None
        if standing.kind == "allowed":
            return Ruling(trusted=True)
        if standing.kind != "challenged":
            wait = standing.until - wall
            return self._refuse(request, route, mode, standing.kind, ThreatClass.BLOCKED, Level.HIGH, wait)
        challenger = self._challenger
        if challenger is None or self._has_pass(request, challenger, wall):
            return None
        return self._challenge(request, route, mode, challenger, wall)

    def _by_origin(self, request: Request, route: str, mode: Mode) -> Ruling:
        policy, check = self.snapshot.csrf, self._csrf
        why = check.refusal(request) if check is not None else ""
        if not why or policy is None:
            return _PASS
        mode = Mode.LOG if policy.mode is Mode.LOG else mode
        return self._refuse(request, route, mode, "csrf", ThreatClass.CSRF, Level.MEDIUM, 0.0, why)

    def _judged(self, request: Request, route: str, mode: Mode, verdict: Verdict) -> Ruling:
        shadow = mode is not Mode.BLOCK
        gravest = verdict.findings[0].category if verdict.findings else ThreatClass.PROTOCOL
        event = self._event(request, route, gravest, verdict.level, verdict.action, shadow=shadow)
        event = msgspec.structs.replace(event, score=verdict.score, findings=verdict.findings, partial=verdict.partial)
        self._journal.event(event)
        severity = _SEVERITIES.get(verdict.level)
        # Suspicion alone is nothing to be refused for later: many people may stand behind an address.
        grave = verdict.action in {Action.BLOCK, Action.CHALLENGE}
        if severity is not None and grave and not shadow and request.client:
            self._respond(subject_of_address(request.client), severity, gravest.value, shared=False)
        if shadow or verdict.action is Action.ALLOW:
            return _PASS
        if verdict.action is Action.CHALLENGE and self._challenger is not None:
            wall = self._wall()
            if self._has_pass(request, self._challenger, wall):
                return _PASS
            return self._challenged(request, self._challenger, wall, event.id)
        if verdict.action in {Action.TAG, Action.THROTTLE}:
            return Ruling(action=verdict.action, event=event.id, tag=f"{verdict.level.value};score={verdict.score:.1f}")
        self._journal.refusals["inspection"] += 1
        return Ruling(action=Action.BLOCK, why="inspection", event=event.id)

    def _refuse(
        self,
        request: Request,
        route: str,
        mode: Mode,
        why: str,
        category: ThreatClass,
        level: Level,
        wait: float,
        detail: str = "",
    ) -> Ruling:
        shadow = mode is not Mode.BLOCK
        # A banned client is refused thousands of times; what it did is in the events that led to the ban.
        event = ""
        if why not in {"banned", "listed", "flood"} or self._journal.refusals[why] % 1000 == 0:
            found = self._event(request, route, category, level, Action.BLOCK, shadow=shadow)
            self._journal.event(msgspec.structs.replace(found, detail=detail or why))
            event = found.id
        if shadow:
            return _PASS
        self._journal.refusals[why] += 1
        return Ruling(action=Action.BLOCK, why=why, event=event, wait=wait)

    def _event(
        self,
        request: Request,
        route: str,
        category: ThreatClass,
        level: Level,
        action: Action,
        *,
        shadow: bool,
    ) -> ThreatEvent:
        wall = self._wall()
        self._count += 1
        agent = request.header(b"user-agent") or b""
        return ThreatEvent(
            id=f"{int(wall * 1e6):014x}-{self._worker}-{self._count:x}",
            at=wall,
            category=category,
            level=level,
            action=action,
            shadow=shadow,
            client=request.client,
            account=request.identity.user,
            request_id=request.request_id,
            method=request.method,
            route=route,
            target=request.target.decode("utf-8", "replace"),
            user_agent=agent.decode("utf-8", "replace"),
        )

    def _alarm(self, request: Request, route: str, alarm: Alarm, account: str) -> None:
        shadow = self._mode(request) is not Mode.BLOCK
        # Of whoever is refused already, there is no more to tell.
        if self._ladder.standing(alarm.subject, self._monotonic()).step < Step.BLOCK:
            level = Level.HIGH if alarm.severity >= Severity.HIGH else Level.MEDIUM
            event = self._event(request, route, alarm.category, level, Action.THROTTLE, shadow=shadow)
            self._journal.event(msgspec.structs.replace(event, detail=alarm.detail, account=account or event.account))
        if not shadow:
            self._respond(alarm.subject, alarm.severity, alarm.category.value, shared=alarm.shared)

    def _respond(self, subject: str, severity: Severity, reason: str, *, shared: bool) -> None:
        """Go up the ladder here; the controller, which sees all workers, goes up its own."""
        response = self._ladder.report(subject, severity, self._monotonic(), shared=shared)
        if response.step >= Step.BLOCK:
            self._lists.ban(subject, Ban(self._wall() + _LOCAL_BAN, reason))
        elif response.step is Step.CHALLENGE and self._challenger is not None:
            self._lists.ban(subject, Ban(self._wall() + _LOCAL_BAN, reason, challenge=True))

    # challenges

    def _challenge(self, request: Request, route: str, mode: Mode, challenger: Challenger, wall: float) -> Ruling:
        if mode is not Mode.BLOCK:
            found = self._event(request, route, ThreatClass.BLOCKED, Level.MEDIUM, Action.CHALLENGE, shadow=True)
            self._journal.event(found)
            return _PASS
        return self._challenged(request, challenger, wall, "")

    def _challenged(self, request: Request, challenger: Challenger, wall: float, event: str) -> Ruling:
        self._journal.refusals["challenged"] += 1
        challenge = challenger.issue(request.client, wall)
        return Ruling(action=Action.CHALLENGE, why="challenged", event=event, challenge=challenge, bits=challenger.bits)

    def _redeem(self, request: Request, challenger: Challenger, wall: float) -> Ruling:
        given = query_of(request.query)
        cookie = challenger.redeem(request.client, given.get("challenge", ""), given.get("solution", ""), wall)
        return Ruling(action=Action.BLOCK, why="redeemed" if cookie else "unsolved", cookie=cookie or "")

    @staticmethod
    def _has_pass(request: Request, challenger: Challenger, wall: float) -> bool:
        cookie = request.cookie(PASS_COOKIE)
        return cookie is not None and challenger.knows(request.client, cookie.decode("latin-1"), wall)


def _csrf(snapshot: ThreatSnapshot) -> CsrfCheck | None:
    policy = snapshot.csrf
    if policy is None or policy.mode is Mode.OFF:
        return None
    try:
        return CsrfCheck(
            policy.trusted_origins, [BypassPattern(path, frozenset(methods)) for path, methods in policy.bypass]
        )
    except SeawallError as error:
        raise SeawallError(f"threats.csrf: {error.message}", hint=error.hint) from error
