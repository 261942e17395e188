"""What a limiter is doing, for people and programs that ask."""

import msgspec

from seawall.systems.ratelimit.engine import RateLimitEngine
from seawall.systems.ratelimit.local import LocalLimits
from seawall.systems.ratelimit.model import Algorithm, Block, Mode, Override, RuleReport
from seawall.systems.ratelimit.violations import Offender

__all__ = ["HeavyKey", "LimiterStatus", "RuleStatus", "limiter_status"]


class RuleStatus(msgspec.Struct, frozen=True):
    """One rule and what it decided since it came into force."""

    id: str
    mode: Mode
    key: tuple[str, ...]
    windows: tuple[tuple[str, Algorithm, float, float], ...]
    """(name, algorithm, requests per window before any factor, seconds) of each window."""
    counts: RuleReport


class HeavyKey(msgspec.Struct, frozen=True):
    """A key that was refused often: at most `refused` times, at least `refused - error` times."""

    key: str
    refused: int
    error: int


class LimiterStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A limiter now.

    Attributes:
        load: factor that load puts on limits, 0 to 1.
        threat: factor that threats put on everybody's limits, 0 to 1.
        threats: factors of single subjects.
        admission: share of requests let in, by priority.
        offenders: keys on the ladder of violations, worst first.
        top: keys that were refused most.
        refused: requests refused since the start, by reason.
        keys: keys whose counts are kept.
    """

    rules: tuple[RuleStatus, ...]
    load: float
    threat: float
    threats: dict[str, float]
    admission: tuple[float, ...]
    overrides: dict[str, Override]
    blocks: dict[str, Block]
    offenders: tuple[Offender, ...]
    top: tuple[HeavyKey, ...]
    refused: dict[str, int]
    keys: int


def limiter_status(limits: LocalLimits, now: float, wall: float, *, top: int = 10) -> LimiterStatus:
    """Return the status; blocks and overrides that are over are left out."""
    snapshot = limits.snapshot
    report = limits.engine.report(full=True)
    rows = report.rules.values()
    return LimiterStatus(
        rules=_rules(limits.engine),
        load=snapshot.load.get("", 1.0),
        threat=snapshot.threat,
        threats=dict(snapshot.threats),
        admission=snapshot.admission,
        overrides={subject: one for subject, one in snapshot.overrides.items() if wall < one.until},
        blocks={subject: one for subject, one in snapshot.blocks.items() if wall < one.until},
        offenders=tuple(limits.violations.offenders(now)) if limits.violations is not None else (),
        top=tuple(HeavyKey(hit.key.decode(), hit.weight, hit.error) for hit in limits.refused.top(top)),
        refused={
            "quota-exceeded": sum(row.quota_exceeded for row in rows),
            "concurrency": sum(row.concurrency for row in rows),
            "blocked": report.blocked,
            "shed": sum(report.shed),
        },
        keys=report.keys,
    )


def _rules(engine: RateLimitEngine) -> tuple[RuleStatus, ...]:
    counts = engine.report(full=True).rules
    return tuple(
        RuleStatus(
            id=rule.id,
            mode=rule.mode,
            key=rule.key,
            windows=tuple((window.name, window.algorithm, window.limit, window.window) for window in rule.windows),
            counts=counts.get(rule.id, RuleReport(0, 0, 0, 0)),
        )
        for rule in engine.snapshot.rules
    )
