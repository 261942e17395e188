"""The rate limiter inside an application: the gateway's decisions without a gateway. Long: one class, mostly words."""

import functools
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec
from pydantic import ValidationError

from seawall.adapters.batched_counts import BatchedCounts
from seawall.adapters.shared_limits import SharedLimits
from seawall.config.environment import read_environment
from seawall.config.keypath import key_path
from seawall.config.loader import load
from seawall.config.problems import Translator
from seawall.config.section import Path as KeyPath
from seawall.config.section import Section
from seawall.control.counts import open_counts
from seawall.control.tree import Settings
from seawall.core.clock import Clock, SystemClock
from seawall.core.errors import ConfigurationError, InvalidError, NotFoundError, SeawallError
from seawall.core.instruments import Sample
from seawall.state.open import redact_url
from seawall.systems.ratelimit.factors import LoadSample
from seawall.systems.ratelimit.instruments import samples_of
from seawall.systems.ratelimit.keys import LimitContext
from seawall.systems.ratelimit.local import LocalLimits
from seawall.systems.ratelimit.model import Counting, Factors, LimitResult, QuotaState, Reason
from seawall.systems.ratelimit.plan import make_plan
from seawall.systems.ratelimit.settings import DEFAULT_BASE, RateLimitSettings, RuleSettings
from seawall.systems.ratelimit.status import LimiterStatus, limiter_status
from seawall.systems.ratelimit.violations import Escalation

__all__ = [
    "AdaptiveRateLimiter",
    "Escalation",
    "Factors",
    "LimitContext",
    "LimitExceededError",
    "LimitResult",
    "LimiterStatus",
    "LoadSample",
    "QuotaState",
    "Reason",
]

Config = RateLimitSettings | Mapping[str, Any] | str | Path

_log = logging.getLogger("seawall.ratelimit")

_FOREVER = float("inf")
_VARIABLES = "SEAWALL_RATELIMIT__"


class LimitExceededError(SeawallError):
    """A request was refused, where nobody asked for the result; `result` says why and when to come back."""

    code = "limit-exceeded"

    def __init__(self, result: LimitResult) -> None:
        super().__init__(f"refused: {result.reason.value}", hint=f"Come back in {result.retry_after:.3g} s.")
        self.result = result


class AdaptiveRateLimiter:
    """Decide which requests may pass; needs no process, no loop and no store around it.

    Limits follow the caller's role, the endpoint, the server's load and reported threats. Counts are those of this
    process: with several processes each has its own, unless a store is given.

    Args:
        config: a `[ratelimit]` table as a mapping; or its settings; or the path of a `seawall.toml`, read with the
            environment as the gateway reads it. By default 100 requests per 60 s and identity, and what the
            environment says (`RATE_LIMIT_*`, `SEAWALL_RATELIMIT__*`); no file is looked for.
        store: `redis://...`, where every process that gives the same URL counts together: `check_limit` and `admit` ask
            there, for 5 ms at most, unless a lease or an earlier refusal answers. `counts` in the configuration says
            of each rule whether it does. What does not wait (`check`, `decide`, `hold`) still counts in this process
            alone, within its share.
        processes: how many share the limits; each admits its part of them while it counts alone.
        clock: time; the machine's by default.
        on_escalation: told each step that a key goes up the ladder of violations, within the decision that led to it;
            `report` is the step that threat detection wants to know. It is also logged, as is what it raises.

    Raises:
        ConfigurationError: the configuration is refused, `problems` holds every finding; or the store's URL is.

    Safe to call from several threads. A decision takes a few microseconds. With a store, close it on each event loop
    that asked: `await limiter.close()`, or `async with limiter:`.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        store: str = "",
        processes: int = 1,
        clock: Clock | None = None,
        on_escalation: Callable[[Escalation], None] | None = None,
    ) -> None:
        if processes < 1:
            raise ConfigurationError(f"{processes} processes cannot share a limit", hint="Give 1 or more.")
        self._clock: Clock = clock or SystemClock()
        self._tell = on_escalation
        self._lock = threading.RLock()
        self._settings = _settings(config)
        self._stored = bool(store)
        self._plan = make_plan(self._settings, shared=self._stored)
        self._limits = LocalLimits(self._plan, self._clock, self._on_escalation)
        self._limits.publish(share=1.0 / processes)
        self._shared: SharedLimits | None = None
        if store:
            _check_store(store)
            self._shared = SharedLimits(self._limits, self._lock, functools.partial(_connect, store))
        elif any(rule.counts is not Counting.LOCAL for rule in self._plan.rules):
            _log.warning("rules want shared counts, but no store is given: they count in this process alone")
        self._headers = _header_names(self._settings)

    @property
    def settings(self) -> RateLimitSettings:
        """The settings in force, rules that were changed since included."""
        return self._settings

    @property
    def header_names(self) -> frozenset[str]:
        """Lower-case names of the request headers that rules look at, so that a caller need not copy them all."""
        return self._headers

    # -- deciding ------------------------------------------------------------------------------------------------------

    async def check_limit(
        self, identifier: str, context: LimitContext | Mapping[str, Any] | None = None
    ) -> LimitResult:
        """Decide on one request and take what it costs; a refused one takes nothing.

        It waits for nothing but a store, and for that 5 ms at most; while the store is away each rule decides as its
        `on_store_failure` says.

        Args:
            identifier: who asks, in the application's own words; empty for whom the context names.
            context: what else is known of the request: a `LimitContext`, or a mapping of its fields.

        Raises:
            InvalidError: the identifier or the context is not of the right shape.
            CostError: the cost is negative, infinite or not a number.
        """
        return await self.admit(_context(identifier, context))

    async def admit(self, context: LimitContext) -> LimitResult:
        """Decide on one request by its context alone; as `check_limit`. A caller that is cancelled takes nothing."""
        return self.decide(context) if self._shared is None else await self._shared.check(context)

    def check(self, identifier: str = "", context: LimitContext | Mapping[str, Any] | None = None) -> LimitResult:
        """Decide on one request by the counts of this process alone; for callers that are not async.

        What the result holds permits for (rules with `algorithm = "concurrency"`) counts as in flight until `release`.
        """
        return self.decide(_context(identifier, context))

    def decide(self, context: LimitContext) -> LimitResult:
        """Decide on one request by its context, and the counts of this process, alone; the quickest way to ask."""
        with self._lock:
            return self._limits.check(context)

    @contextmanager
    def hold(
        self, identifier: str = "", context: LimitContext | Mapping[str, Any] | None = None
    ) -> Iterator[LimitResult]:
        """Decide, and hold the permits of requests in flight for the length of a `with` block.

        Raises:
            LimitExceededError: the request is refused; the block does not run.
        """
        result = self.check(identifier, context)
        if not result.allowed:
            raise LimitExceededError(result)
        try:
            yield result
        finally:
            self.release(result)

    def release(self, result: LimitResult) -> None:
        """Give back a request's permits; a second call does nothing."""
        if result.holds:
            with self._lock:
                self._limits.engine.release(result, self._clock.monotonic())
            self._return()

    def refund(self, result: LimitResult, cost: float | None = None) -> None:
        """Give back what a request took, or `cost` of it, never more than it took.

        Raises:
            CostError: the cost is negative, infinite or not a number.
        """
        with self._lock:
            self._limits.engine.refund(result, self._clock.monotonic(), cost)
        self._return()

    def correct(self, result: LimitResult, cost: float) -> None:
        """Say what an admitted request cost in truth; the difference is given back, or taken unasked.

        Raises:
            CostError: the cost is negative, infinite or not a number.
        """
        with self._lock:
            self._limits.engine.correct(result, self._clock.monotonic(), cost)
        self._return()

    # -- load and threat -----------------------------------------------------------------------------------------------

    def started(self) -> None:
        """Count a request that was admitted as in flight; the middleware does it by itself."""
        with self._lock:
            self._limits.meter.start()

    def finished(self, seconds: float, *, failed: bool = False) -> None:
        """Count it as served.

        Args:
            seconds: until its response began.
            failed: whether the server failed.
        """
        with self._lock:
            self._limits.meter.finish(seconds, failed=failed)

    def observe(self, sample: LoadSample) -> None:
        """Take a measure of load from elsewhere; for a second it goes before what the limiter itself measured."""
        with self._lock:
            self._limits.observe(sample)

    def report_threat(self, subject: str, severity: float = 1.0) -> None:
        """Lower the limits of a subject for a while; they rise again by themselves.

        Args:
            subject: such as `user:alice` or `client:192.0.2.7`; empty for everybody.
            severity: 0 to 1; further reports add up.

        Raises:
            InvalidError: the subject is none, or the severity is not within 0 to 1.
        """
        with self._lock:
            self._limits.report_threat(subject, severity)

    # -- changes at run time -------------------------------------------------------------------------------------------

    def set_rule(self, rule: Mapping[str, Any] | RuleSettings, *, before: str = "") -> None:
        """Add a rule, or change the one of the same id; counts go on where key and windows stay the same.

        Args:
            rule: an element of `ratelimit.rules`.
            before: id of the rule to put a new one before; empty puts it last.

        Raises:
            ConfigurationError: the rule is refused, or can never match; nothing changed.
            NotFoundError: there is no rule `before`.
        """
        table = rule.model_dump() if isinstance(rule, RuleSettings) else dict(rule)
        with self._lock:
            rules = [one.model_dump() for one in self._settings.rules]
            ids = [one["id"] for one in rules]
            if before and before not in ids:
                raise NotFoundError(f"there is no rule {before!r}", hint=f"rules: {', '.join(ids) or 'none'}")
            if table.get("id") in ids:
                rules[ids.index(table["id"])] = table
            else:
                rules.insert(ids.index(before) if before else len(rules), table)
            self._set_rules(rules)

    def remove_rule(self, rule: str) -> None:
        """Take a rule out.

        Raises:
            NotFoundError: there is none of this id.
        """
        with self._lock:
            rules = [one.model_dump() for one in self._settings.rules if one.id != rule]
            if len(rules) == len(self._settings.rules):
                ids = ", ".join(one.id for one in self._settings.rules) or "none"
                raise NotFoundError(f"there is no rule {rule!r}", hint=f"rules: {ids}")
            self._set_rules(rules)

    def block(self, subject: str, *, seconds: float = _FOREVER, reason: str = "") -> None:
        """Refuse everything of a subject, such as `client:192.0.2.0/24`, for some seconds or until `unblock`.

        Raises:
            InvalidError: the subject is none, or the time is not above 0.
        """
        with self._lock:
            self._limits.block(subject, seconds, reason)

    def unblock(self, subject: str) -> bool:
        """Lift a block, whoever set it, and forgive violations; tell whether there was anything to lift.

        Args:
            subject: as in `block`, or a key as in `LimitResult.key`.
        """
        with self._lock:
            return self._limits.unblock(subject)

    def override(self, subject: str, limit: float | None, *, seconds: float = _FOREVER, rule: str = "") -> None:
        """Give a subject, such as `user:alice` or `role:partner`, a limit of its own; None takes it away.

        Args:
            subject: whom it is for.
            limit: requests per first window of each rule, in place of what base and role make; further windows scale
                alike. Endpoint, load and threat still multiply it.
            seconds: until it expires.
            rule: only for this rule.

        Raises:
            InvalidError: the subject is none, or a number is not above 0.
        """
        with self._lock:
            self._limits.override(subject, limit, seconds, rule)

    def reset(self, key: str) -> bool:
        """Forget the counts and violations of a key, as in `LimitResult.key`; tell whether there were any."""
        with self._lock:
            known = self._limits.reset(key)
        self._return()
        return known

    # -- shared counts -------------------------------------------------------------------------------------------------

    @property
    def store_away(self) -> str:
        """Why the store is away, as this event loop knows it; empty while it answers, or when none is given."""
        return "" if self._shared is None else self._shared.reason()

    async def close(self) -> None:
        """Give back what is leased and close this event loop's connection to the store; nothing without one."""
        if self._shared is not None:
            await self._shared.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _return(self) -> None:
        if self._shared is not None:
            self._shared.return_soon()

    # -- what is going on ----------------------------------------------------------------------------------------------

    def status(self, *, top: int = 10) -> LimiterStatus:
        """Return rules, factors, offenders and the keys that were refused most."""
        with self._lock:
            return limiter_status(self._limits, self._clock.monotonic(), self._clock.wall(), top=top)

    def samples(self) -> list[Sample]:
        """Return every `rate_limit_*` series, for whoever exports metrics."""
        with self._lock:
            report = self._limits.engine.report(full=True)
            return list(samples_of(report, self._limits.snapshot, self._limits.escalations))

    def _set_rules(self, rules: list[dict[str, Any]]) -> None:
        settings = _validated({**self._settings.model_dump(), "rules": rules})
        plan = make_plan(settings, shared=self._stored)
        self._limits.publish(rules=plan.rules)
        self._settings, self._plan = settings, plan
        self._headers = _header_names(settings)

    def _on_escalation(self, escalation: Escalation) -> None:
        _log.warning(
            "%s: %s after %.0f violations, last of rule %s, for %.0f s",
            escalation.key,
            escalation.step,
            escalation.score,
            escalation.rule,
            escalation.seconds,
        )
        if self._tell is None:
            return
        try:
            self._tell(escalation)
        except Exception:  # noqa: BLE001 - logged; the decision is taken, and whoever asked for it needs it
            _log.exception("on_escalation failed")


def _check_store(url: str) -> None:
    if urlsplit(url).scheme not in {"redis", "rediss", "unix"}:
        raise ConfigurationError(
            f"a limiter cannot count in {redact_url(url)!r}", hint="Give redis://host:6379/0, rediss:// or unix://."
        )
    _connect(url)  # finds what is wrong with it, and connects to nothing yet


def _connect(url: str) -> BatchedCounts:
    counts = open_counts(url, None)
    if counts is None:
        raise ConfigurationError(f"{redact_url(url)!r} names no store of counts")
    return counts


def _settings(config: Config | None) -> RateLimitSettings:
    if isinstance(config, RateLimitSettings):
        return config
    if config is None:
        return _with_base(_from_environment(os.environ))
    if isinstance(config, Mapping):
        return _with_base(_validated(config))
    return _with_base(load(Settings, file=Path(config), environ=os.environ, overrides={}).settings.ratelimit)


class _Tree(Section):
    """The part of the configuration that a limiter without a file looks for in the environment."""

    ratelimit: RateLimitSettings = RateLimitSettings()


def _from_environment(environ: Mapping[str, str]) -> RateLimitSettings:
    own = {name: value for name, value in environ.items() if name.startswith(("RATE_LIMIT_", _VARIABLES))}
    found = read_environment(_Tree, own, ())
    if found.problems:
        raise _refusal(found.problems)
    return _validated(found.layer.values.get("ratelimit", {}), lambda path: found.layer.origin(("ratelimit", *path)))


def _with_base(settings: RateLimitSettings) -> RateLimitSettings:
    """Return settings that limit something: a limiter that somebody makes without any limit gets the default one."""
    if settings.base or settings.rules or "base" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"base": DEFAULT_BASE})


def _validated(table: Mapping[str, Any], origin: Callable[[KeyPath], str] | None = None) -> RateLimitSettings:
    try:
        return RateLimitSettings.model_validate(table)
    except ValidationError as error:
        problems = [
            (f"{origin(problem.path)}: " if origin is not None else "")
            + f"{key_path(problem.path)}: {problem.text.replace('{other}', key_path(problem.other))}"
            for problem in Translator(RateLimitSettings).problems(error)
        ]
        raise _refusal(problems) from error


def _refusal(problems: Sequence[str]) -> ConfigurationError:
    return ConfigurationError(
        f"the limiter's configuration is refused: {len(problems)} problem(s)",
        hint="correct each line below",
        problems=tuple(problems),
    )


def _context(identifier: str, context: LimitContext | Mapping[str, Any] | None) -> LimitContext:
    if context is None:
        if not isinstance(identifier, str):
            raise InvalidError(f"an identifier is text, not {type(identifier).__name__}", hint="Give str(identifier).")
        return LimitContext(identifier=identifier)
    if isinstance(context, LimitContext):
        return msgspec.structs.replace(context, identifier=identifier) if identifier else context
    table = {**context, "identifier": identifier or context.get("identifier", "")}
    try:
        return msgspec.convert(table, LimitContext)
    except msgspec.ValidationError as error:
        fields = ", ".join(LimitContext.__struct_fields__)
        raise InvalidError(f"the context of a request is refused: {error}", hint=f"Fields: {fields}.") from error


def _header_names(settings: RateLimitSettings) -> frozenset[str]:
    names = {part.removeprefix("header:") for rule in settings.rules for part in rule.key if part.startswith("header:")}
    for match in (*(rule.match for rule in settings.rules), *(one.match for one in settings.priorities)):
        names.update(match.headers)
    return frozenset(names)
