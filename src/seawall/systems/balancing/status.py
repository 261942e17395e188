"""What the load balancer shows of itself, in the admin API and on the dashboard."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from seawall.core.clock import Clock
from seawall.systems.balancing.fleet import Fleet
from seawall.systems.balancing.model import InstanceState, Outcome, PoolSnapshot, StrategyName
from seawall.systems.balancing.roster import GATEWAY_ERRORS, OUTCOMES, Instance, Roster
from seawall.systems.balancing.window import percentile

__all__ = [
    "CheckStatus",
    "InstanceStatus",
    "InstanceTotals",
    "LatencyStatus",
    "LoadBalancerStatus",
    "PoolStatus",
    "PoolTotals",
    "instance_status",
    "pool_status",
]

_CANCELLED = OUTCOMES.index(Outcome.CANCELLED)


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class CheckStatus(_View):
    """An instance's newest active health check."""

    at: Annotated[datetime, Field(description="When it ended, in UTC.")]
    result: Literal["ok", "failed"]
    reason: Annotated[str, Field(description="What was seen, such as `status 503, expected 200-399`.")]
    duration_ms: Annotated[float, Field(ge=0)]


class LatencyStatus(_View):
    """Latency over the last minute in milliseconds, interpolated from a histogram; null without traffic."""

    p50: float | None
    p95: float | None
    p99: float | None


class InstanceTotals(_View):
    """Counts over all workers since the control process started, or since their workers did."""

    requests: Annotated[int, Field(description="Attempts that ended, however they ended.", ge=0)]
    errors: Annotated[int, Field(description="5xx, failed connects, resets and timeouts.", ge=0)]
    client_errors: Annotated[int, Field(description="Responses with a status of 400 to 499.", ge=0)]
    cancelled: Annotated[int, Field(description="Attempts that the client gave up.", ge=0)]
    retries: Annotated[int, Field(description="Attempts that another instance had failed before.", ge=0)]


class InstanceStatus(_View):
    """One upstream instance."""

    pool: str
    id: str
    url: str
    source: Annotated[str, Field(description="`file`, `registry` (registered by this API) or `dns`.")]
    state: InstanceState
    weight: Annotated[float, Field(description="Configured relative capacity.", gt=0)]
    effective_weight: Annotated[
        float, Field(description="Weight in force: configured x slow start x reported load.", gt=0)
    ]
    region: str
    location: Annotated[tuple[float, float] | None, Field(description="Latitude and longitude in degrees.")]
    addresses: Annotated[list[str], Field(description="What its host name stands for; empty for an address.")]
    active: Annotated[int, Field(description="Attempts in flight over all workers.", ge=0)]
    totals: InstanceTotals
    error_rate: Annotated[
        float | None, Field(description="Share 0..1 of errors in the last minute; null without traffic.", ge=0, le=1)
    ]
    latency_ms: LatencyStatus
    last_check: CheckStatus | None
    ejected_until: Annotated[datetime | None, Field(description="When its ejection ends, in UTC.")]
    ttl_ms: Annotated[
        int | None, Field(description="Time until its registration ends without a heartbeat; null for never.", ge=0)
    ]


class PoolTotals(_View):
    """A pool's counts over all workers."""

    requests: Annotated[int, Field(ge=0)]
    retries: Annotated[int, Field(ge=0)]
    retries_refused: Annotated[int, Field(description="Retries that the retry budget did not allow.", ge=0)]
    no_instance: Annotated[int, Field(description="Requests for which there was no instance.", ge=0)]
    responses: Annotated[dict[str, int], Field(description="Responses sent to clients by status class.")]


class PoolStatus(_View):
    """One pool."""

    name: str
    strategy: StrategyName
    states: Annotated[dict[InstanceState, int], Field(description="Instances by state.")]
    totals: PoolTotals
    instances: list[InstanceStatus]


class LoadBalancerStatus(_View):
    """All pools of this gateway."""

    strategy: Annotated[StrategyName, Field(description="Used by pools that do not name one.")]
    version: Annotated[int, Field(description="Of the snapshot that the workers were given last.")]
    findings: Annotated[dict[str, str], Field(description="What an operator should know; empty when all is well.")]
    pools: list[PoolStatus]


def pool_status(template: PoolSnapshot, fleet: Fleet, clock: Clock, expiries: Mapping[str, float | None]) -> PoolStatus:
    """Return one pool's status; `expiries` gives the end of registrations in seconds since the Unix epoch."""
    roster = fleet.rosters[template.name]
    states = dict.fromkeys(InstanceState, 0)
    for instance_id in roster.instances:
        states[roster.state(instance_id)] += 1
    requests, retries, refused, no_instance, *responses = fleet.pool_total(template.name)
    return PoolStatus(
        name=template.name,
        strategy=template.strategy,
        states=states,
        totals=PoolTotals(
            requests=requests,
            retries=retries,
            retries_refused=refused,
            no_instance=no_instance,
            responses={f"{index}xx": count for index, count in enumerate(responses, start=1)},
        ),
        instances=[
            instance_status(template.name, instance_id, fleet, clock, expiries.get(instance_id))
            for instance_id in roster.instances
        ],
    )


def instance_status(
    pool: str, instance_id: str, fleet: Fleet, clock: Clock, expires_at: float | None
) -> InstanceStatus:
    """Return one member's status."""
    roster = fleet.rosters[pool]
    instance = roster.instances[instance_id]
    member = instance.member
    now, wall = clock.monotonic(), clock.wall()
    attempts, errors, buckets = instance.window.totals(now)
    row = fleet.instance_total(pool, instance_id)
    return InstanceStatus(
        pool=pool,
        id=instance_id,
        url=member.url,
        source=member.source.value,
        state=roster.state(instance_id),
        weight=member.weight,
        effective_weight=roster.weight(instance_id, now),
        region=member.region,
        location=member.location,
        addresses=list(member.addresses),
        active=sum(instance.active.values()),
        totals=_totals(row),
        error_rate=errors / attempts if attempts else None,
        latency_ms=LatencyStatus(p50=_ms(buckets, 0.5), p95=_ms(buckets, 0.95), p99=_ms(buckets, 0.99)),
        last_check=_last_check(instance),
        ejected_until=_ejected_until(roster, instance_id, now, wall),
        ttl_ms=None if expires_at is None else max(round((expires_at - wall) * 1000), 0),
    )


def _totals(row: list[int]) -> InstanceTotals:
    client_errors, retries = row[len(OUTCOMES)], row[len(OUTCOMES) + 1]
    return InstanceTotals(
        requests=sum(row[: len(OUTCOMES)]),
        errors=sum(row[index] for index in GATEWAY_ERRORS),
        client_errors=client_errors,
        cancelled=row[_CANCELLED],
        retries=retries,
    )


def _ms(buckets: list[int], share: float) -> float | None:
    seconds = percentile(buckets, share)
    return None if seconds is None else round(seconds * 1000, 3)


def _last_check(instance: Instance) -> CheckStatus | None:
    last = instance.health.last
    if last is None:
        return None
    return CheckStatus(
        at=datetime.fromtimestamp(last.at, UTC),
        result="ok" if last.result.ok else "failed",
        reason=last.result.reason,
        duration_ms=round(max(last.result.duration, 0.0) * 1000, 3),
    )


def _ejected_until(roster: Roster, instance_id: str, now: float, wall: float) -> datetime | None:
    until = roster.ejected.get(instance_id)
    return None if until is None else datetime.fromtimestamp(wall + until - now, UTC)
