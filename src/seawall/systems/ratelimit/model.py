"""Rate limiting's words, all in one place: what engines are told, what they saw, and what a caller is answered."""

from enum import StrEnum
from typing import Any

import msgspec

from seawall.core.snapshot import Report, Snapshot
from seawall.systems.ratelimit.condition import Condition
from seawall.systems.ratelimit.verdict import Verdict

__all__ = [
    "ANONYMOUS",
    "DEFAULT_PRIORITY",
    "PRIORITIES",
    "Algorithm",
    "Block",
    "Counting",
    "Decision",
    "EndpointFactor",
    "Factors",
    "LimitResult",
    "Mode",
    "Offence",
    "Override",
    "Penalty",
    "PenaltySnapshot",
    "PoolLoad",
    "PriorityRule",
    "QuotaState",
    "RateLimitReport",
    "RateLimitSnapshot",
    "Reason",
    "RuleReport",
    "RuleSnapshot",
    "StoreFailure",
    "WindowSnapshot",
]

ANONYMOUS = "anonymous"
"""The role of a caller without an identity."""

PRIORITIES = 6
"""Tiers of requests, from 0, critical, to 5, background."""

DEFAULT_PRIORITY = 2


class Algorithm(StrEnum):
    """How a window counts."""

    GCRA = "gcra"
    SLIDING_WINDOW = "sliding-window"
    FIXED_WINDOW = "fixed-window"
    CONCURRENCY = "concurrency"


class Mode(StrEnum):
    """What a rule does with its decision."""

    OFF = "off"
    SHADOW = "shadow"
    """Decide and report, never refuse."""
    ENFORCE = "enforce"


class Counting(StrEnum):
    """Where the counts of a rule are."""

    LOCAL = "local"
    """In each process, which has its fair share of the limit."""
    STRICT = "strict"
    """Shared by all processes, asked for every decision."""
    LEASED = "leased"
    """Shared by all processes; those of busy keys are paid in advance, and decided without asking."""


class StoreFailure(StrEnum):
    """What happens to a request while the counts that it needs are away."""

    LOCAL = "local"
    """Each process counts by itself, with its fair share of the limit."""
    OPEN = "open"
    CLOSED = "closed"


class Reason(StrEnum):
    """Why a request was allowed or refused."""

    ALLOWED = "allowed"
    QUOTA_EXCEEDED = "quota-exceeded"
    CONCURRENCY = "concurrency"
    """Too many requests of the key are in flight."""
    BLOCKED = "blocked"
    """By an operator, or because of repeated violations."""
    SHED = "shed"
    """The server is overloaded and this request's priority is too low; says nothing against the client."""
    UNAVAILABLE = "unavailable"
    """The counts that a rule needs are away, and the rule refuses then; says nothing against the client."""
    SHADOW = "shadow"
    """Allowed, though a rule in shadow mode would have refused."""


class WindowSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One window of a rule.

    Attributes:
        name: name of the policy in the `RateLimit-Policy` field, unique within the rule.
        limit: requests per window before any factor, above 0; for `concurrency` requests in flight.
        window: seconds; for `concurrency` the time after which a permit that nobody gave back expires.
        burst: for `gcra` the requests that an idle key may make at once; scales with the limit; 0 for the limit itself.
        cost: what a request of cost 1 takes; `concurrency` always takes one permit.
        min: the lowest effective limit that factors lead to.
        max: the highest effective limit that factors lead to.
    """

    name: str
    limit: float
    window: float
    algorithm: Algorithm = Algorithm.GCRA
    burst: float = 0.0
    cost: float = 1.0
    min: float = 0.0
    max: float = float("inf")

    @property
    def burst_share(self) -> float:
        """The burst as a multiple of the limit, which stays the same while factors scale both."""
        return (self.burst or self.limit) / self.limit


class EndpointFactor(msgspec.Struct, frozen=True, kw_only=True):
    """A multiplier for the requests to an endpoint; of several the first that matches counts."""

    factor: float
    paths: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()


class PriorityRule(msgspec.Struct, frozen=True, kw_only=True):
    """The tier of the requests that match; of several the first that matches counts."""

    tier: int
    match: Condition


class RuleSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One rule; a snapshot holds them in the order in which they are tried.

    Attributes:
        key: key parts, see `seawall.systems.ratelimit.keys`; requests with equal parts share a count.
        windows: checked all or nothing; a rule without windows exempts what it matches.
        roles: multipliers by role; 1 for a role that is not named.
        endpoints: multipliers by endpoint; 1 where none matches.
        adaptive: whether load and threat factors apply.
        fallthrough: whether the rules after it are tried as well. A rule that is off or in shadow always lets them.
        counts: where its counts are.
        on_store_failure: what happens while shared counts are away.
    """

    id: str
    key: tuple[str, ...]
    windows: tuple[WindowSnapshot, ...]
    match: Condition = Condition()
    roles: dict[str, float] = {}
    endpoints: tuple[EndpointFactor, ...] = ()
    adaptive: bool = True
    mode: Mode = Mode.ENFORCE
    fallthrough: bool = False
    counts: Counting = Counting.LOCAL
    on_store_failure: StoreFailure = StoreFailure.LOCAL


class Penalty(msgspec.Struct, frozen=True):
    """What a key has earned by violations, until it expires by itself.

    Attributes:
        factor: multiplier of its limits; 0 refuses it.
        until: monotonic seconds of the engine's clock.
    """

    factor: float
    until: float


class PenaltySnapshot(msgspec.Struct, frozen=True, array_like=True):
    """A penalty as it travels: `until` in wall-clock seconds."""

    factor: float
    until: float


class Override(msgspec.Struct, frozen=True, kw_only=True):
    """A limit of one subject's own, until it expires.

    Attributes:
        limit: requests per first window of each rule, in place of base x role; further windows scale alike.
        until: wall-clock seconds; infinite for good.
        rule: the rule it is for; empty for every rule.
    """

    limit: float
    until: float = float("inf")
    rule: str = ""


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A subject that is refused, until it expires; `until` in wall-clock seconds, infinite for good."""

    until: float
    reason: str = ""


class RateLimitSnapshot(Snapshot, frozen=True, kw_only=True):
    """Everything that engines need to decide.

    Attributes:
        rules: in order.
        priorities: the tier of requests that do not bring one.
        load: factor for rules that adapt, 0..1, by pool; the one under "" where a pool has none.
        threat: factor for everybody, 0..1.
        threats: factors 0..1 by subject, such as `client:192.0.2.7`; the lowest of a request's subjects counts.
        overrides: by subject.
        blocks: by subject, also networks such as `client:192.0.2.0/24`.
        shedding: whether requests are counted by tier, for shares of admission to be computed from.
        admission: share 0..1 of requests let in, by tier.
        penalties: what keys have earned by violations, by key.
        share: of each limit, 0..1, that one process may admit where it counts alone.
        resets: keys whose counts are to be forgotten, with the wall-clock seconds at which an operator said so; each
            stays for a while, so that every engine meets it.
        headers: header families of responses, `ratelimit` and `x-ratelimit`.
        max_keys: keys per rule whose states an engine keeps at most; 0 leaves it to the engine.
        operator: the rules that were set at run time, as the controller keeps them; no concern of engines.
    """

    rules: tuple[RuleSnapshot, ...] = ()
    priorities: tuple[PriorityRule, ...] = ()
    load: dict[str, float] = msgspec.field(default_factory=dict)
    threat: float = 1.0
    threats: dict[str, float] = msgspec.field(default_factory=dict)
    overrides: dict[str, Override] = msgspec.field(default_factory=dict)
    blocks: dict[str, Block] = msgspec.field(default_factory=dict)
    shedding: bool = False
    admission: tuple[float, ...] = (1.0,) * PRIORITIES
    penalties: dict[str, PenaltySnapshot] = msgspec.field(default_factory=dict)
    share: float = 1.0
    resets: dict[str, float] = msgspec.field(default_factory=dict)
    headers: tuple[str, ...] = ("ratelimit",)
    max_keys: int = 0
    operator: bytes = b""


class PoolLoad(msgspec.Struct, frozen=True, array_like=True):
    """How loaded a pool is, as one worker sees it; all but `in_flight` cumulative since the worker started.

    Attributes:
        in_flight: requests that its instances are serving.
        ended: requests that were answered.
        failed: those of them that failed for the pool's sake: a status of 500 or above, or no answer.
        seconds: the sum of the times until answers began.
    """

    in_flight: int
    ended: int
    failed: int
    seconds: float


class Offence(msgspec.Struct, frozen=True, array_like=True):
    """Refusals of one key since the last report; the count is at most `error` too high."""

    key: str
    rule: str
    count: int
    error: int = 0


class RuleReport(msgspec.Struct, frozen=True, array_like=True):
    """What one engine saw of one rule, cumulative since it started; `shadow` counts what it would have refused."""

    allowed: int
    quota_exceeded: int
    concurrency: int
    shadow: int


class RateLimitReport(Report, frozen=True, kw_only=True):
    """What one engine saw; counts are cumulative, except for `offences` and `lag`.

    Attributes:
        rules: by rule id.
        blocked: requests refused because a subject is blocked.
        offered: requests by tier before any was shed, counted while shedding is enabled.
        shed: requests refused by overload, by tier.
        unlimited: requests that no rule with windows took.
        keys: keys in the table now.
        evicted: keys that were forgotten while they still counted, because the table was full.
        pools: load by pool.
        lag: seconds by which the event loop was late at most since the last report.
        offences: keys that were refused since the last report, those refused most; told once.
        asked: decisions that asked shared counts.
        leased: decisions that a lease answered.
        remembered: refusals that were answered from an earlier one.
        away: decisions that shared counts did not answer in time.
    """

    rules: dict[str, RuleReport] = msgspec.field(default_factory=dict)
    blocked: int = 0
    offered: tuple[int, ...] = (0,) * PRIORITIES
    shed: tuple[int, ...] = (0,) * PRIORITIES
    unlimited: int = 0
    keys: int = 0
    evicted: int = 0
    pools: dict[str, PoolLoad] = msgspec.field(default_factory=dict)
    lag: float = 0.0
    offences: tuple[Offence, ...] = ()
    asked: int = 0
    leased: int = 0
    remembered: int = 0
    away: int = 0


class Factors(msgspec.Struct, frozen=True):
    """What the configured limit was multiplied with; 1 changes nothing.

    Attributes:
        violations: 0.5 while the key is throttled for repeated violations.
    """

    role: float = 1.0
    endpoint: float = 1.0
    load: float = 1.0
    threat: float = 1.0
    violations: float = 1.0


class QuotaState(msgspec.Struct, frozen=True):
    """One window after a decision, as the `RateLimit` fields tell it.

    Attributes:
        name: of the policy.
        limit: effective limit, requests per window.
        window: seconds.
        remaining: requests of cost 1 that pass now.
        reset_after: seconds until the quota is whole again.
    """

    name: str
    limit: float
    window: float
    remaining: float
    reset_after: float
    algorithm: Algorithm


Decision = tuple[Any, str, float, tuple[float, ...], tuple[Verdict[Any], ...]]
"""What one rule decided: (compiled rule, key, monotonic seconds, effective limits, verdict of each window).

A plain tuple, because one is made for every request.
"""


class LimitResult(msgspec.Struct):
    """The answer to one request.

    Attributes:
        allowed: whether the request may go on.
        remaining: whole requests of cost 1 that would pass now, in the decisive window: the one that refused, else the
            one with the smallest share left.
        limit: effective limit of that window, requests per window; infinite when nothing limits the request.
        reset_after: seconds until that window's quota is whole again.
        retry_after: seconds until the same request would pass; 0 when it has, or when nobody can tell; infinite when it
            costs more than the limit can ever admit.
        rule: id of the deciding rule; empty when no rule took the request.
        factors: what the configured limit was multiplied with.
        key: the count that decided, such as `client:192.0.2.7`; identities of absurd length are hashed.
        shadow: why a rule in shadow mode would have refused; None when none would.
        detail: why a subject is blocked, for operators.
        decisions: what each rule decided, the refusing one alone when refused; for `windows`, `refund` and `release`.
        cost: what the request has taken and not got back yet.
        holds: whether it holds permits of requests in flight.
    """

    allowed: bool
    remaining: int
    limit: float
    reset_after: float
    retry_after: float
    rule: str
    reason: Reason
    factors: Factors
    key: str = ""
    decisions: tuple[Decision, ...] = ()
    cost: float = 0.0
    holds: bool = False
    shadow: Reason | None = None
    detail: str = ""

    def __repr__(self) -> str:
        decided = f"rule={self.rule!r}, key={self.key!r}, remaining={self.remaining}, limit={self.limit:g}"
        waits = f"reset_after={self.reset_after:.3f}, retry_after={self.retry_after:.3f}"
        return f"LimitResult(allowed={self.allowed}, reason={self.reason.value!r}, {decided}, {waits}, {self.factors})"

    @property
    def windows(self) -> tuple[QuotaState, ...]:
        """Every window that was looked at, in order, as the `RateLimit` fields tell them."""
        return tuple(
            QuotaState(window.name, limit, window.window, verdict[2], verdict[3], window.algorithm)
            for rule, _, _, limits, verdicts in self.decisions
            for window, limit, verdict in zip(rule.windows, limits, verdicts, strict=True)
        )
