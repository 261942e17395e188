"""Threat detection inside an application: the gateway's judgement without a gateway, remembered in this process."""

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from pydantic import ValidationError

from seawall.adapters.patterns import cache_folder, compile_patterns
from seawall.config.environment import read_environment
from seawall.config.keypath import key_path
from seawall.config.loader import load
from seawall.config.problems import Translator
from seawall.config.section import Section
from seawall.control.tree import Settings
from seawall.core.clock import Clock, SystemClock
from seawall.core.errors import ConfigurationError, InvalidError
from seawall.core.principal import Identity
from seawall.core.request import Request
from seawall.systems.threats.events import ThreatEvent
from seawall.systems.threats.guard import ThreatGuard
from seawall.systems.threats.messages import Ban, ChallengeKey, ThreatSnapshot
from seawall.systems.threats.model import Action, Finding, Level, Severity, ThreatClass, Verdict
from seawall.systems.threats.operations import subject_of
from seawall.systems.threats.plan import snapshot_of
from seawall.systems.threats.ruling import Ruling
from seawall.systems.threats.settings import ThreatDetectionSettings

__all__ = [
    "Action",
    "Analysis",
    "Finding",
    "Level",
    "Severity",
    "ThreatClass",
    "ThreatDetectionService",
    "ThreatEvent",
    "Verdict",
]

Config = ThreatDetectionSettings | Mapping[str, Any] | str | Path

_log = logging.getLogger("seawall.threats")

_VARIABLES = "SEAWALL_THREATS__"
_FIELDS = frozenset({"method", "url", "headers", "body", "client", "user", "scheme", "host"})


class Analysis(msgspec.Struct, frozen=True):
    """What was found in one request.

    Attributes:
        threat: class of the gravest finding; None when there is none.
        level: how threatening the request is.
        action: what is to be done with it.
        score: 0 and above.
        events: what was written down of it, secrets taken out.
        findings: the evidence, as it was found.
        ruling: as the middleware takes it, for `seawall.systems.threats.answers.answer_of`.
    """

    threat: ThreatClass | None
    level: Level
    action: Action
    score: float
    events: tuple[ThreatEvent, ...]
    findings: tuple[Finding, ...]
    ruling: Ruling


class ThreatDetectionService:
    """Judge requests by who sends them and by what is in them; needs no process, no loop and no store around it.

    What is remembered of clients (failed log-ins, probing, bans) is remembered in this process.

    Args:
        config: a `[threats]` table as a mapping; or its settings; or the path of a `seawall.toml`, read with the
            environment as the gateway reads it. By default what the environment says (`THREAT_*`,
            `SEAWALL_THREATS__*`); no file is looked for.
        clock: time; the machine's by default.
        on_event: told each event, secrets taken out, within the call that led to it.

    Raises:
        ConfigurationError: the configuration is refused; `problems` holds every finding.

    The first one on a machine takes seconds, to compile the patterns; they are kept on disk from then on. A request
    costs 10 to 200 us. Safe to call from several threads, one of which works at a time.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        clock: Clock | None = None,
        on_event: Callable[[ThreatEvent], None] | None = None,
    ) -> None:
        self._clock: Clock = clock or SystemClock()
        self._tell = on_event
        self._lock = threading.RLock()
        self.settings = _settings(config)
        cache = cache_folder()
        self._guard = ThreatGuard(
            self._clock.monotonic,
            self._clock.wall,
            os.urandom,
            lambda groups: compile_patterns(groups, cache=cache),
        )
        challenge = None
        if self.settings.challenge.enabled:
            challenge = ChallengeKey(os.urandom(32), self.settings.challenge.bits)
        self._publish(msgspec.structs.replace(snapshot_of(self.settings), challenge=challenge))

    @property
    def guard(self) -> ThreatGuard:
        """The engine; for whoever drives it by itself, under no lock."""
        return self._guard

    async def analyze_request(self, request: Request | Mapping[str, Any]) -> Analysis:
        """Judge a request; it never waits.

        Args:
            request: a `seawall.core.request.Request` (its body left out), or a mapping with `method`, `url`, `headers`
                (a mapping or a list of pairs), `body` (text or bytes), `client` (address) and `user`.

        Raises:
            InvalidError: the request is not of the right shape.
        """
        return self.analyze(request)

    def analyze(self, request: Request | Mapping[str, Any], body: bytes = b"") -> Analysis:
        """Judge a request; as `analyze_request`, for callers that are not async."""
        if not isinstance(request, Request):
            request, body = _request(request)
        with self._lock:
            ruling = self._guard.admit(request, "")
            if ruling.action is Action.ALLOW and not ruling.trusted:
                ruling = self._guard.inspect(request, "", body)
            events = self._guard.report(full=False).events
        self._pass_on(events)
        gravest = events[-1] if events else None
        return Analysis(
            threat=gravest.category if gravest is not None else None,
            level=gravest.level if gravest is not None else Level.NONE,
            action=ruling.action,
            score=gravest.score if gravest is not None else 0.0,
            events=events,
            findings=gravest.findings if gravest is not None else (),
            ruling=ruling,
        )

    def admit(self, request: Request) -> Ruling:
        """Judge by who asks; the first half of `analyze`, for whoever has no body yet."""
        with self._lock:
            ruling = self._guard.admit(request, "")
            events = self._guard.report(full=False).events
        self._pass_on(events)
        return ruling

    def look_into(self, request: Request, body: bytes, *, whole: bool) -> Ruling:
        """Judge by what is in a request; the second half of `analyze`. `whole` says whether the body is all of it."""
        with self._lock:
            ruling = self._guard.inspect(request, "", body, whole=whole)
            events = self._guard.report(full=False).events
        self._pass_on(events)
        return ruling

    def inspect(self, request: Request | Mapping[str, Any], body: bytes = b"") -> Verdict:
        """Say what is in a request, whoever sent it; nothing is remembered."""
        if not isinstance(request, Request):
            request, body = _request(request)
        with self._lock:
            return self._guard.look(request, body)

    def ended(self, request: Request, status: int, *, seconds: float = 0.0, account: str = "") -> None:
        """Learn from how a request ended: failed log-ins, and what is asked for in vain.

        The middleware does it by itself.

        Args:
            request: that was analysed.
            status: that was answered.
            seconds: until the answer began.
            account: that it tried to log in to, if it did.
        """
        with self._lock:
            self._guard.ended(request, "", status, seconds, account)
            events = self._guard.report(full=False).events
        self._pass_on(events)

    def block(self, subject: str, *, seconds: float = float("inf"), reason: str = "") -> None:
        """Refuse a client, a network or an account, such as `client:192.0.2.7`, for some seconds or until `unblock`.

        Raises:
            InvalidError: the subject is none, or the time is not above 0.
        """
        if not seconds > 0.0:
            raise InvalidError(f"nobody can be blocked for {seconds} s", hint="Give a time above 0, or none for good.")
        name = subject_of(subject)
        with self._lock:
            bans = self._guard.snapshot.bans
            self._publish(
                msgspec.structs.replace(
                    self._guard.snapshot, bans={**bans, name: Ban(self._clock.wall() + seconds, reason)}
                )
            )

    def unblock(self, subject: str) -> bool:
        """Lift a ban, whoever set it; tell whether an operator had.

        Raises:
            InvalidError: the subject is none.
        """
        name = subject_of(subject)
        with self._lock:
            bans = dict(self._guard.snapshot.bans)
            known = bans.pop(name, None) is not None
            self._guard.forgive(name)
            self._publish(msgspec.structs.replace(self._guard.snapshot, bans=bans))
        return known

    def _publish(self, snapshot: ThreatSnapshot) -> None:
        version = max(self._guard.snapshot.version, 0) + 1
        self._guard.apply(msgspec.structs.replace(snapshot, version=version))

    def _pass_on(self, events: tuple[ThreatEvent, ...]) -> None:
        for event in events:
            _log.warning(
                "%s %s from %s: %s%s",
                event.level.value,
                event.category.value,
                event.client or "somebody",
                event.action.value,
                " (only reported)" if event.shadow else "",
            )
            if self._tell is not None:
                self._tell(event)


def _settings(config: Config | None) -> ThreatDetectionSettings:
    if isinstance(config, ThreatDetectionSettings):
        return config
    if config is None:
        return _from_environment(os.environ)
    if isinstance(config, Mapping):
        return _validated(config)
    return load(Settings, file=Path(config), environ=os.environ, overrides={}).settings.threats


class _Tree(Section):
    """The part of the configuration that a service without a file looks for in the environment."""

    threats: ThreatDetectionSettings = ThreatDetectionSettings()


def _from_environment(environ: Mapping[str, str]) -> ThreatDetectionSettings:
    own = {name: value for name, value in environ.items() if name.startswith(("THREAT_", _VARIABLES))}
    found = read_environment(_Tree, own, ())
    if found.problems:
        raise _refusal(found.problems)
    return _validated(found.layer.values.get("threats", {}))


def _validated(table: Mapping[str, Any]) -> ThreatDetectionSettings:
    try:
        return ThreatDetectionSettings.model_validate(table)
    except ValidationError as error:
        problems = [
            f"{key_path(problem.path)}: {problem.text.replace('{other}', key_path(problem.other))}"
            for problem in Translator(ThreatDetectionSettings).problems(error)
        ]
        raise _refusal(problems) from error


def _refusal(problems: Sequence[str]) -> ConfigurationError:
    return ConfigurationError(
        f"the configuration of threat detection is refused: {len(problems)} problem(s)",
        hint="correct each line below",
        problems=tuple(problems),
    )


def _request(given: Mapping[str, Any]) -> tuple[Request, bytes]:
    unknown = given.keys() - _FIELDS
    if unknown:
        raise InvalidError(
            f"a request has no {', '.join(sorted(map(str, unknown)))}", hint=f"Fields: {', '.join(sorted(_FIELDS))}."
        )
    try:
        parts = urlsplit(str(given.get("url", "/")))
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = given.get("headers") or ()
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        fields = [(_bytes(name).lower(), _bytes(value).strip()) for name, value in pairs]
        hosts = [value for name, value in fields if name == b"host"]
        request = Request(
            str(given.get("method", "GET")).upper(),
            target.encode(),
            fields,
            host=_bytes(given.get("host") or (hosts[0] if hosts else parts.netloc)).lower(),
            scheme=str(given.get("scheme") or parts.scheme or "http"),
            client=str(given.get("client", "")),
        )
        request.identity = Identity(user=str(given.get("user", "")))
        return request, _bytes(given.get("body") or b"")
    except (TypeError, ValueError) as error:
        raise InvalidError(
            f"this is no request: {error}", hint="Give method, url, headers and body as text or bytes."
        ) from error


def _bytes(value: Any) -> bytes:  # noqa: ANN401 - text or bytes
    return bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else str(value).encode()
