"""Rules as the engine uses them: compiled once per snapshot, with the states of their keys."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from seawall.core.errors import ConfigurationError, SeawallError
from seawall.core.paths import compared_path
from seawall.systems.ratelimit.condition import Condition, covers, segment_prefix
from seawall.systems.ratelimit.counts import WindowAsk
from seawall.systems.ratelimit.headers import FieldWriter, Unit
from seawall.systems.ratelimit.keyed import KeyedStates, keyed_states
from seawall.systems.ratelimit.keys import LimitContext, compile_key
from seawall.systems.ratelimit.leases import LIFETIME, LeaseTable, Lot, window_asks
from seawall.systems.ratelimit.model import Algorithm, Counting, Factors, Mode, Reason, RuleSnapshot, WindowSnapshot
from seawall.systems.ratelimit.networks import NetworkMap
from seawall.systems.ratelimit.verdict import Verdict
from seawall.systems.ratelimit.windows import FixedQuota, GcraQuota, InFlightQuota, Quota, SlidingQuota

__all__ = [
    "BYTES_PER_REFUSAL",
    "CompiledRule",
    "Limits",
    "Matcher",
    "Refused",
    "Whole",
    "compile_condition",
    "compile_rules",
    "path_test",
]

Matcher = Callable[[LimitContext], bool]

Limits = tuple[tuple[float, ...], Factors, float, float]
"""(effective limit of each window, factors, emission interval and burst of the first window), for counts of its own."""

Whole = tuple[tuple[float, ...], Factors, Lot, tuple[WindowAsk, ...]]
"""(effective limit of each window, factors, leases of requests with these, what a request of cost 1 asks), for counts
that processes share."""

_MAX_CACHED = 4096
_MAX_LEASED = 8192
"""Keys per rule that are watched for leases, at most."""
_MAX_REFUSED = 16_384
"""Refusals per rule that are remembered, at most, at `BYTES_PER_REFUSAL` each; what is forgotten is asked again."""
BYTES_PER_REFUSAL = 700
"""Bound on the bytes of a remembered refusal by one window, its key's text included; measured in tests/unit/ratelimit.
Further windows take 170 each."""
_LEAST = 1e-9
"""Requests per window below which no factor takes a limit; one request passes once in a very long time."""


class Refused(NamedTuple):
    """A refusal by shared counts, which holds until the time to retry.

    Attributes:
        since: when it was answered, in monotonic seconds.
        until: when the same request would pass.
        cost: of the request; what costs less may pass before.
        limits: effective limits; under others, the counts are asked again.
        decisive: index of the window that decided.
        reason: of the refusal.
    """

    since: float
    until: float
    cost: float
    limits: tuple[float, ...]
    verdicts: tuple[Verdict[Any], ...]
    decisive: int
    reason: Reason

    def holds(self, limits: tuple[float, ...], cost: float, now: float) -> bool:
        """Return whether a request of this cost is refused under some effective limits."""
        return self.since <= now < self.until and cost >= self.cost and limits == self.limits

    def told(self, now: float) -> tuple[Verdict[Any], ...]:
        """Return the verdicts with the times that are left."""
        passed = now - self.since
        return tuple(
            [
                (allowed, state, left, max(reset - passed, 0.0), max(wait - passed, 0.0))
                for allowed, state, left, reset, wait in self.verdicts
            ]
        )


class CompiledRule:
    """One rule, its key's builder, its windows' algorithms and the states of its keys.

    Args:
        snapshot: the rule.
        max_keys: keys whose states are kept at most.
        share: of each limit, that this process has where it counts by itself.
        before: the rule of the same id that it replaces; its states and counts are taken over where they fit.

    Attributes:
        by_method: whether the method alone decides the endpoint's factor, so that limits can be looked up in `cache`.
        cache: effective limits by (role, method, pool) under the present load and threat, for counts of its own.
        whole: the same for shared counts.
        shared: whether its counts are shared by processes.
        leasing: whether busy keys are leased.
        leases: what is leased, and which keys are busy.
        refused: refusals of shared counts that still hold, by key.
        matches: None when the rule takes every request.
        simple: whether it is one GCRA window, whose state is a bare float; others keep a tuple of states.
        plain: whether it is simple, enforced and the last to be asked.
        sole: whether its counts are shared, and it is enforced and the last to be asked.
        unit: what a request of cost 1 takes in the first window.
        counts: cumulative: allowed, refused by quota, refused by concurrency, refused in shadow.
    """

    __slots__ = (
        "_endpoints",
        "build",
        "by_method",
        "cache",
        "counts",
        "enforced",
        "holds",
        "id",
        "leases",
        "leasing",
        "matches",
        "plain",
        "quotas",
        "refused",
        "share",
        "shared",
        "simple",
        "snapshot",
        "sole",
        "table",
        "unit",
        "whole",
        "windows",
        "writer",
    )

    def __init__(
        self, snapshot: RuleSnapshot, max_keys: int, share: float = 1.0, before: "CompiledRule | None" = None
    ) -> None:
        self.snapshot = snapshot
        self.share = share
        self.id = snapshot.id
        self.windows = snapshot.windows
        self.matches = compile_condition(snapshot.match)
        self.enforced = snapshot.mode is Mode.ENFORCE
        self.holds = any(window.algorithm is Algorithm.CONCURRENCY for window in snapshot.windows)
        self.simple = len(snapshot.windows) == 1 and snapshot.windows[0].algorithm is Algorithm.GCRA
        self.plain = self.simple and self.enforced and not snapshot.fallthrough
        self.unit = snapshot.windows[0].cost if snapshot.windows else 1.0
        self.shared = snapshot.counts is not Counting.LOCAL and bool(snapshot.windows)
        # A permit is given back when its request ends, so it cannot be paid in advance.
        self.leasing = self.shared and snapshot.counts is Counting.LEASED and not self.holds
        self.sole = self.shared and self.enforced and not snapshot.fallthrough
        self.build = compile_key(snapshot.key)
        self.quotas = tuple(_quota(window) for window in snapshot.windows)
        self.writer = FieldWriter(
            [(window.name, 0.0 if _permits(window) else window.window) for window in snapshot.windows],
            [Unit.CONCURRENT_REQUESTS if _permits(window) else Unit.REQUESTS for window in snapshot.windows],
        )
        self._endpoints = tuple(
            (compile_condition(Condition(paths=endpoint.paths, methods=endpoint.methods)), endpoint.factor)
            for endpoint in snapshot.endpoints
        )
        self.by_method = not any(endpoint.paths for endpoint in snapshot.endpoints)
        self.cache: dict[tuple[str, str, str], Limits] = {}
        self.whole: dict[tuple[str, str, str], Whole] = {}
        self.counts: list[int] = before.counts if before is not None else [0, 0, 0, 0]
        if before is not None and _shape(before.snapshot) == _shape(snapshot):
            self.table: KeyedStates[Any] = before.table
            self.refused: KeyedStates[Refused] = before.refused
        else:
            idle = max((_idle(window) for window in snapshot.windows), default=1.0)
            self.table = keyed_states(max_keys, idle, self._limiting)
            self.refused = keyed_states(min(max_keys, _MAX_REFUSED), idle, _holds)
        if before is not None and self.table is before.table and self.leasing and before.leasing:
            self.leases: LeaseTable = before.leases
        else:
            shortest = min((window.window for window in snapshot.windows), default=LIFETIME)
            self.leases = LeaseTable(min(LIFETIME, shortest), min(max_keys, _MAX_LEASED))

    def forget_limits(self, share: float) -> None:
        """Forget the effective limits, when load, threat or this process's share changed."""
        self.share = share
        self.cache.clear()
        self.whole.clear()

    def limits(self, context: LimitContext, role: str, load: float, threat: float) -> Limits:
        """Return the effective limits under factors that many requests share, and remember them in `cache`."""
        factors = self._factors(context, role, load, threat)
        found = self.scale(factors)
        if self.by_method:
            if len(self.cache) >= _MAX_CACHED:
                self.cache.clear()
            self.cache[role, context.method, context.pool] = found
        return found

    def whole_limits(self, context: LimitContext, role: str, load: float, threat: float) -> Whole:
        """Return the effective limits of all processes together, alike, and remember them in `whole`."""
        factors = self._factors(context, role, load, threat)
        limits = self.effective(factors)
        lot = self.leases.lot(factors.role * factors.endpoint)
        found = (limits, factors, lot, window_asks(self.windows, limits, 1.0))
        if self.by_method:
            if len(self.whole) >= _MAX_CACHED:
                self.whole.clear()
            self.whole[role, context.method, context.pool] = found
        return found

    def _factors(self, context: LimitContext, role: str, load: float, threat: float) -> Factors:
        return Factors(
            role=self.snapshot.roles.get(role, 1.0),
            endpoint=self._endpoint_factor(context),
            load=load if self.snapshot.adaptive else 1.0,
            threat=threat if self.snapshot.adaptive else 1.0,
        )

    def _endpoint_factor(self, context: LimitContext) -> float:
        for matches, factor in self._endpoints:
            if matches is None or matches(context):
                return factor
        return 1.0

    def effective(self, factors: Factors, override: float | None = None) -> tuple[float, ...]:
        """Return the effective limit of each window; an override stands for the first window's base x role."""
        most = factors.endpoint * factors.load * factors.threat * factors.violations
        product = factors.role * most
        share = None if override is None or not self.windows else override / self.windows[0].limit
        limits = []
        for window in self.windows:
            if share is None:
                limit = min(max(window.limit * product, window.min), window.max)
            else:
                # What an operator set for one subject may pass the rule's own bounds, in both directions.
                own = window.limit * share
                limit = min(max(own * most, min(window.min, own)), max(window.max, own))
            limits.append(max(limit, _LEAST))
        return tuple(limits)

    def scale(self, factors: Factors, override: float | None = None) -> Limits:
        """Return the effective limits of this process, which are its share of those of all."""
        limits = self.effective(factors, override)
        if self.share < 1.0:
            limits = tuple([self._part(window, limit) for window, limit in zip(self.windows, limits, strict=True)])
        if not self.simple:
            return limits, factors, 0.0, 0.0
        first = self.windows[0]
        return limits, factors, first.window / limits[0], max(limits[0] * first.burst_share, 1.0)

    def _part(self, window: WindowSnapshot, limit: float) -> float:
        part = limit * self.share
        # A bucket always holds one request; any other window must, or nothing would ever pass.
        return part if window.algorithm is Algorithm.GCRA else max(part, min(limit, 1.0))

    def _limiting(self, state: Any, now: float) -> bool:  # noqa: ANN401 - a state is its algorithm's own
        states = (state,) if self.simple else state
        return any(
            not quota.check(one, now, window.limit, window.cost)[0]
            for quota, one, window in zip(self.quotas, states, self.windows, strict=True)
        )


def compile_rules(
    snapshots: Sequence[RuleSnapshot], max_keys: int, before: Iterable[CompiledRule] = (), share: float = 1.0
) -> tuple[CompiledRule, ...]:
    """Return the rules that are not off, in order; states and counts go on where a rule of the same id still fits.

    Raises:
        ConfigurationError: an id is given twice, or a rule can never match; the message names both rules.
    """
    known = {rule.id: rule for rule in before}
    seen: set[str] = set()
    final: list[RuleSnapshot] = []
    for snapshot in snapshots:
        if snapshot.id in seen:
            raise ConfigurationError(f"two rules have the id {snapshot.id!r}", hint="Give each rule its own id.")
        seen.add(snapshot.id)
        if snapshot.mode is Mode.OFF:
            continue
        for earlier in final:
            if covers(earlier.match, snapshot.match):
                raise ConfigurationError(
                    f"rule {snapshot.id!r} can never match: {earlier.id!r}, which stands before it, takes all of its "
                    "requests",
                    hint=f"Move it before {earlier.id!r}, or give {earlier.id!r} fallthrough = true.",
                )
        if snapshot.mode is Mode.ENFORCE and not snapshot.fallthrough:
            final.append(snapshot)
    try:
        return tuple(
            CompiledRule(one, max_keys, share, known.get(one.id)) for one in snapshots if one.mode is not Mode.OFF
        )
    except SeawallError as error:
        raise ConfigurationError(f"a rule is refused: {error.message}", hint=error.hint) from error


def compile_condition(condition: Condition) -> Matcher | None:
    """Return the function that tells whether a request meets the condition; None when every request does."""
    tests: list[Matcher] = []
    if condition.methods:
        methods = frozenset(condition.methods)
        tests.append(lambda context: context.method in methods)
    if condition.paths and "" not in map(segment_prefix, condition.paths):
        below = path_test(condition.paths)
        tests.append(lambda context: below(context.path))
    named = {"route": condition.routes, "user": condition.users, "tenant": condition.tenants}
    tests.extend(_among(field, frozenset(accepted)) for field, accepted in named.items() if accepted)
    if condition.roles:
        roles = frozenset(condition.roles)
        tests.append(lambda context: context.effective_role in roles)
    tests.extend(_header(name, value) for name, value in condition.headers.items())
    if condition.clients:
        networks = NetworkMap(dict.fromkeys(condition.clients, True))
        tests.append(lambda context: networks.find(context.client) is not None)
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0]
    first, *rest = tests
    if len(rest) == 1:
        second = rest[0]
        return lambda context: first(context) and second(context)
    # Most requests fail the first test, and a generator costs more than the test.
    return lambda context: first(context) and all(test(context) for test in rest)


def path_test(paths: Iterable[str]) -> Callable[[str], bool]:
    """Return the function that tells whether a path is at or below one of these."""
    prefixes = tuple(segment_prefix(path) for path in paths)
    if "" in prefixes:
        return lambda _: True
    exact = frozenset(prefixes)
    below = tuple(f"{prefix}/" for prefix in prefixes)

    def matches(path: str) -> bool:
        if path in exact or path.startswith(below):
            return True
        if ";" not in path:
            return False
        path = compared_path(path)  # as a server sees it that knows of parameters
        return path in exact or path.startswith(below)

    return matches


def _among(field: str, accepted: frozenset[str]) -> Matcher:
    return lambda context: getattr(context, field) in accepted


def _header(name: str, value: str) -> Matcher:
    if value == "*":
        return lambda context: name in context.headers
    return lambda context: context.headers.get(name) == value


def _quota(window: WindowSnapshot) -> Quota[Any]:
    if window.algorithm is Algorithm.GCRA:
        return GcraQuota(window.name, window.limit, window.window, window.burst or window.limit)
    if window.algorithm is Algorithm.SLIDING_WINDOW:
        return SlidingQuota(window.name, window.limit, window.window)
    if window.algorithm is Algorithm.FIXED_WINDOW:
        return FixedQuota(window.name, window.limit, window.window)
    return InFlightQuota(window.name, window.limit, window.window)


def _permits(window: WindowSnapshot) -> bool:
    return window.algorithm is Algorithm.CONCURRENCY


def _shape(snapshot: RuleSnapshot) -> tuple[object, ...]:
    """Return what must stay for a rule's states to keep their meaning."""
    return (snapshot.key, tuple((window.algorithm, window.window) for window in snapshot.windows))


def _holds(refused: Refused, now: float) -> bool:
    return refused.since <= now < refused.until


def _idle(window: WindowSnapshot) -> float:
    """Return the seconds after which a state that nobody touched is as good as none."""
    if window.algorithm is Algorithm.GCRA:
        # A bucket fills in the same time under any factor, unless it holds one request only.
        return window.window * max(window.burst_share, 1.0 / (window.min or window.limit / 100.0))
    return window.window * 2.0
