"""The settings as limiters use them: in seconds, with every default worked out."""

import msgspec

from seawall.systems.ratelimit.condition import Condition, covers
from seawall.systems.ratelimit.factors import LoadTolerances
from seawall.systems.ratelimit.ladder import LadderLimits
from seawall.systems.ratelimit.model import (
    Algorithm,
    Counting,
    EndpointFactor,
    Mode,
    PriorityRule,
    RuleSnapshot,
    StoreFailure,
    WindowSnapshot,
)
from seawall.systems.ratelimit.settings import (
    EndpointSettings,
    LadderSettings,
    RateLimitSettings,
    RuleSettings,
    WindowSettings,
)

__all__ = ["BASE", "RateLimitPlan", "make_plan"]

BASE = "base"
"""Id of the rule that the base limit makes; it stands last."""


class RateLimitPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings say.

    Attributes:
        ladder: None when violations are not acted on.
        tolerances: of load.
        max_in_flight: requests that the server bears; 0 when unknown.
        threat_half_life: seconds.
        threat_floor: lowest threat factor.
        shed_slack: requests let in for each one served; None when nothing is shed.
        headers: header families of responses.
    """

    rules: tuple[RuleSnapshot, ...]
    priorities: tuple[PriorityRule, ...]
    ladder: LadderLimits | None
    tolerances: LoadTolerances
    max_in_flight: float
    threat_half_life: float
    threat_floor: float
    shed_slack: float | None
    max_keys: int
    headers: tuple[str, ...]


def make_plan(settings: RateLimitSettings, *, shared: bool = False) -> RateLimitPlan:
    """Return the plan of some settings.

    Args:
        settings: the section, effective.
        shared: whether several processes share each limit; decides what `counts = "auto"` means.
    """
    rules = [_rule(rule, shared=shared) for rule in settings.rules]
    # The base is for what no rule takes; where rules take everything there is no place for it.
    final = [rule for rule in rules if rule.mode is Mode.ENFORCE and not rule.fallthrough]
    if settings.base and settings.mode != "off" and not any(covers(rule.match, Condition()) for rule in final):
        rules.append(_base(settings, shared=shared))
    return RateLimitPlan(
        rules=tuple(rules),
        priorities=tuple(PriorityRule(tier=one.tier, match=one.match.condition) for one in settings.priorities),
        ladder=_ladder(settings.ladder) if settings.ladder.enabled else None,
        tolerances=LoadTolerances(
            latency=settings.load.latency_ratio,
            error_rate=settings.load.error_rate,
            loop_lag=settings.load.loop_lag_ms / 1000,
            floor=settings.load.floor,
        ),
        max_in_flight=settings.load.max_in_flight,
        threat_half_life=settings.threat.half_life_ms / 1000,
        threat_floor=settings.threat.floor,
        shed_slack=settings.shedding.slack if settings.shedding.enabled else None,
        max_keys=settings.max_keys,
        headers=settings.headers,
    )


def _base(settings: RateLimitSettings, *, shared: bool) -> RuleSnapshot:
    window = WindowSettings(
        limit=settings.base,
        window_ms=settings.window_ms,
        burst=settings.burst,
        min=settings.min,
        max=settings.max,
    )
    return RuleSnapshot(
        id=BASE,
        key=("identity",),
        windows=(_window(BASE, window),),
        match=Condition(),
        roles=dict(settings.roles),
        endpoints=_endpoints(settings.endpoints),
        adaptive=settings.adaptive,
        mode=Mode(settings.mode),
        counts=_counting(settings.counts, shared=shared),
        on_store_failure=StoreFailure(settings.on_store_failure),
    )


def _rule(rule: RuleSettings, *, shared: bool) -> RuleSnapshot:
    return RuleSnapshot(
        id=rule.id,
        key=rule.key,
        windows=tuple(_window(rule.window_name(index), window) for index, window in enumerate(rule.windows)),
        match=rule.match.condition,
        roles=dict(rule.roles),
        endpoints=_endpoints(rule.endpoints),
        adaptive=rule.adaptive,
        mode=Mode(rule.mode),
        fallthrough=rule.fallthrough,
        counts=_counting(rule.counts, shared=shared),
        on_store_failure=StoreFailure(rule.on_store_failure),
    )


def _counting(setting: str, *, shared: bool) -> Counting:
    if setting == "auto":
        return Counting.LEASED if shared else Counting.LOCAL
    return Counting(setting)


def _window(name: str, window: WindowSettings) -> WindowSnapshot:
    return WindowSnapshot(
        name=name,
        limit=window.limit,
        window=window.window_ms / 1000,
        algorithm=Algorithm(window.algorithm),
        burst=window.burst,
        cost=window.cost,
        min=window.lowest,
        max=window.highest,
    )


def _endpoints(endpoints: tuple[EndpointSettings, ...]) -> tuple[EndpointFactor, ...]:
    return tuple(EndpointFactor(factor=one.factor, paths=one.paths, methods=one.methods) for one in endpoints)


def _ladder(ladder: LadderSettings) -> LadderLimits:
    return LadderLimits(
        half_life=ladder.half_life_ms / 1000,
        warn_at=ladder.warn_at,
        throttle_at=ladder.throttle_at,
        block_at=ladder.block_at,
        block=ladder.block_ms / 1000,
        longest_block=ladder.longest_block_ms / 1000,
        report_at=ladder.report_at,
    )
