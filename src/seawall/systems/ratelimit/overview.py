"""What rate limiting shows of itself in the admin API and on the dashboard."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from seawall.systems.ratelimit.history import Point
from seawall.systems.ratelimit.model import (
    Algorithm,
    Counting,
    Mode,
    RateLimitReport,
    RateLimitSnapshot,
    RuleReport,
    RuleSnapshot,
    StoreFailure,
)
from seawall.systems.ratelimit.sketch import HeavyHitter
from seawall.systems.ratelimit.violations import Offender

__all__ = ["MAX_LISTED", "Facts", "RateLimitStatus", "RuleView", "overview", "refused_by_reason"]

MAX_LISTED = 1000
"""Offenders, blocks, overrides and threats that are listed; their numbers are told in full."""

_ISO = "In UTC."
_LAST = 253_402_300_799.0
"""The end of the year 9999, beyond which a time is as good as never."""


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class WindowView(_View):
    """One window of a rule."""

    name: Annotated[str, Field(description="Of the policy, as responses tell it.")]
    algorithm: Algorithm
    limit: Annotated[float, Field(description="Requests per window, or in flight, before any factor.", gt=0)]
    window_ms: Annotated[float, Field(gt=0)]
    burst: Annotated[float, Field(description="Requests at once of an idle key; 0 for the limit.", ge=0)]
    min: float
    max: float


class RuleTotals(_View):
    """Decisions of all workers since the control process started, or since their workers did."""

    allowed: Annotated[int, Field(ge=0)]
    quota_exceeded: Annotated[int, Field(ge=0)]
    concurrency: Annotated[int, Field(ge=0)]
    shadow: Annotated[int, Field(description="What it would have refused.", ge=0)]


class RuleView(_View):
    """One rule, in the order in which rules are tried."""

    id: str
    source: Annotated[str, Field(description="`file`, `run-time`, or `base` for the base limit.")]
    mode: Mode
    key: list[str]
    match: Annotated[dict[str, list[str] | dict[str, str]], Field(description="What a request must be; empty for any.")]
    windows: list[WindowView]
    fallthrough: bool
    adaptive: bool
    counts: Counting
    on_store_failure: StoreFailure
    totals: RuleTotals


class HistoryPoint(_View):
    """Ten seconds of the last hour."""

    at: Annotated[datetime, Field(description=_ISO)]
    load_min: Annotated[float, Field(description="Lowest factor of the worst pool.")]
    load_mean: float
    threat_min: float
    threat_mean: float
    admission_min: Annotated[float, Field(description="Lowest share let in of any priority.")]
    allowed: int
    refused: Annotated[dict[str, int], Field(description="By reason.")]


class FactorsView(_View):
    """What limits are multiplied with now."""

    load: Annotated[dict[str, float], Field(description="By pool; the empty name is the worst of all.")]
    threat: float
    threats: Annotated[dict[str, float], Field(description="By subject.")]
    admission: Annotated[list[float], Field(description="Share let in under overload, by priority.")]
    history: Annotated[list[HistoryPoint], Field(description="The last hour, oldest first.")]


class HeavyKeyView(_View):
    """A key that was refused often in the last five to ten minutes: at least `refused - error` times."""

    key: str
    refused: int
    error: int


class OffenderView(_View):
    """A key on the ladder of violations."""

    key: str
    step: Annotated[str, Field(description="`warn`, `throttle`, `block`, `report`.")]
    ends_in_ms: Annotated[int, Field(description="If nothing more happens.", ge=0)]
    score: Annotated[float, Field(description="Violations, decayed.")]
    blocks: Annotated[int, Field(description="Blocks in a row.")]


class BlockView(_View):
    """A subject that an operator blocked."""

    subject: str
    until: Annotated[datetime | None, Field(description=f"{_ISO} Null for good.")]
    reason: str


class OverrideView(_View):
    """A limit of a subject's own."""

    subject: str
    limit: float
    rule: Annotated[str, Field(description="Empty for every rule.")]
    until: Annotated[datetime | None, Field(description=f"{_ISO} Null for good.")]


class CountsView(_View):
    """How shared counts were asked, over all workers."""

    asked: Annotated[int, Field(description="Decisions that asked.", ge=0)]
    leased: Annotated[int, Field(description="Decisions that a lease answered.", ge=0)]
    remembered: Annotated[int, Field(description="Refusals answered from an earlier one.", ge=0)]
    away: Annotated[int, Field(description="Decisions that were not answered in time.", ge=0)]


class RateLimitStatus(_View):
    """Rate limiting on this gateway."""

    version: Annotated[int, Field(description="Grows with each snapshot that the workers were given.")]
    book_version: Annotated[int, Field(description="Counts what operators have set; for compare-and-set.", ge=0)]
    findings: Annotated[dict[str, str], Field(description="What an operator should know; empty when all is well.")]
    processes: Annotated[int, Field(description="Processes that share each limit, over all gateways on the store.")]
    share: Annotated[float, Field(description="Of each limit, that a process admits where it counts alone.")]
    rules: list[RuleView]
    left_out: Annotated[
        dict[str, str], Field(description="Run-time rules that do not fit the file's, with the reason.")
    ]
    factors: FactorsView
    top: list[HeavyKeyView]
    offenders: list[OffenderView]
    penalties: Annotated[int, Field(description="Keys with a penalty in force, those of other gateways included.")]
    blocks: list[BlockView]
    block_count: int
    overrides: list[OverrideView]
    override_count: int
    refused: Annotated[dict[str, int], Field(description="Requests refused since the start, by reason.")]
    unlimited: Annotated[int, Field(description="Requests that no rule limits.")]
    keys: Annotated[int, Field(description="Keys whose counts workers keep.")]
    counts: CountsView


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What an overview is made of."""

    snapshot: RateLimitSnapshot
    report: RateLimitReport
    sources: dict[str, str]
    left_out: dict[str, str]
    findings: dict[str, str]
    book_version: int
    processes: int
    top: list[HeavyHitter]
    offenders: list[Offender]
    points: list[Point]


def overview(facts: Facts) -> RateLimitStatus:
    """Return the overview."""
    snapshot, report = facts.snapshot, facts.report
    return RateLimitStatus(
        version=snapshot.version,
        book_version=facts.book_version,
        findings=facts.findings,
        processes=facts.processes,
        share=snapshot.share,
        rules=[_rule(rule, facts.sources.get(rule.id, "file"), report.rules.get(rule.id)) for rule in snapshot.rules],
        left_out=facts.left_out,
        factors=FactorsView(
            load=snapshot.load or {"": 1.0},
            threat=snapshot.threat,
            threats=dict(sorted(snapshot.threats.items(), key=lambda entry: entry[1])[:MAX_LISTED]),
            admission=list(snapshot.admission),
            history=[_point(point) for point in facts.points],
        ),
        top=[HeavyKeyView(key=_text(hit.key), refused=hit.weight, error=hit.error) for hit in facts.top],
        offenders=[
            OffenderView(
                key=one.key,
                step=one.step,
                ends_in_ms=round(one.seconds * 1000),
                score=round(one.score, 1),
                blocks=one.blocks,
            )
            for one in facts.offenders[:MAX_LISTED]
        ],
        penalties=len(snapshot.penalties),
        blocks=[
            BlockView(subject=subject, until=_time(block.until), reason=block.reason)
            for subject, block in sorted(snapshot.blocks.items())[:MAX_LISTED]
        ],
        block_count=len(snapshot.blocks),
        overrides=[
            OverrideView(subject=subject, limit=one.limit, rule=one.rule, until=_time(one.until))
            for subject, one in sorted(snapshot.overrides.items())[:MAX_LISTED]
        ],
        override_count=len(snapshot.overrides),
        refused=refused_by_reason(report),
        unlimited=report.unlimited,
        keys=report.keys,
        counts=CountsView(asked=report.asked, leased=report.leased, remembered=report.remembered, away=report.away),
    )


def refused_by_reason(report: RateLimitReport) -> dict[str, int]:
    """Return the requests that were refused, by reason."""
    rows = report.rules.values()
    return {
        "quota-exceeded": sum(row.quota_exceeded for row in rows),
        "concurrency": sum(row.concurrency for row in rows),
        "blocked": report.blocked,
        "shed": sum(report.shed),
    }


def _rule(rule: RuleSnapshot, source: str, totals: RuleReport | None) -> RuleView:
    counts = totals or RuleReport(0, 0, 0, 0)
    asked = {name: getattr(rule.match, name) for name in rule.match.__struct_fields__}
    return RuleView(
        id=rule.id,
        source=source,
        mode=rule.mode,
        key=list(rule.key),
        match={name: value if isinstance(value, dict) else list(value) for name, value in asked.items() if value},
        windows=[
            WindowView(
                name=window.name,
                algorithm=window.algorithm,
                limit=window.limit,
                window_ms=window.window * 1000,
                burst=window.burst,
                min=window.min,
                max=window.max,
            )
            for window in rule.windows
        ],
        fallthrough=rule.fallthrough,
        adaptive=rule.adaptive,
        counts=rule.counts,
        on_store_failure=rule.on_store_failure,
        totals=RuleTotals(
            allowed=counts.allowed,
            quota_exceeded=counts.quota_exceeded,
            concurrency=counts.concurrency,
            shadow=counts.shadow,
        ),
    )


def _point(point: Point) -> HistoryPoint:
    return HistoryPoint(
        at=datetime.fromtimestamp(point.at, UTC),
        load_min=point.load[0],
        load_mean=round(point.load[1], 4),
        threat_min=point.threat[0],
        threat_mean=round(point.threat[1], 4),
        admission_min=point.admission,
        allowed=point.allowed,
        refused=point.refused,
    )


def _text(key: bytes) -> str:
    return key.decode("utf-8", "replace")


def _time(until: float) -> datetime | None:
    return None if until > _LAST else datetime.fromtimestamp(until, UTC)
