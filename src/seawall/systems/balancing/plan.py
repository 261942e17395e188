"""A pool's settings as the controller uses them: parsed, in seconds, and apart from what is learned at run time."""

import msgspec

from seawall.systems.balancing.endpoint import Endpoint
from seawall.systems.balancing.health import CheckPolicy
from seawall.systems.balancing.members import Member, Source
from seawall.systems.balancing.model import AffinitySnapshot, PoolSnapshot, RouteSnapshot, StrategyName
from seawall.systems.balancing.outliers import OutlierPolicy
from seawall.systems.balancing.roster import RosterPolicy
from seawall.systems.balancing.settings import BalancingSettings, HealthSettings, OutlierSettings, PoolSettings

__all__ = ["PoolPlan", "plan_pools", "plan_routes"]


class PoolPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings say about one pool.

    Attributes:
        template: the pool's snapshot without instances; `affinity` has an empty key when one must be generated.
        file: its instances from the file.
        dns: urls whose host name stands for one instance per address.
    """

    template: PoolSnapshot
    policy: RosterPolicy
    file: tuple[Member, ...] = ()
    dns: tuple[Endpoint, ...] = ()


def plan_pools(settings: BalancingSettings) -> dict[str, PoolPlan]:
    """Return the plan of every pool by name."""
    return {name: _plan(name, pool) for name, pool in settings.pools.items()}


def plan_routes(settings: BalancingSettings) -> tuple[RouteSnapshot, ...]:
    """Return the routes in order; one pool without any route takes everything."""
    if not settings.routes and len(settings.pools) == 1:
        return (RouteSnapshot(name="route-1", pool=next(iter(settings.pools))),)
    return tuple(
        RouteSnapshot(
            name=route.name,
            pool=route.pool,
            host=route.host,
            path_prefix=route.path,
            methods=tuple(route.methods),
            headers=dict(route.headers),
        )
        for route in settings.routes
    )


def _plan(name: str, pool: PoolSettings) -> PoolPlan:
    return PoolPlan(
        template=_template(name, pool),
        policy=RosterPolicy(
            check=_check(pool.health),
            outliers=_outliers(pool.outliers),
            slow_start=pool.slow_start_ms / 1000,
            use_reported_load=pool.use_reported_load,
        ),
        file=tuple(
            Member(
                id=instance.id or instance.url,
                url=instance.url,
                source=Source.FILE,
                weight=instance.weight,
                region=instance.region,
                location=instance.location or pool.regions.get(instance.region),
            )
            for instance in pool.instances
        ),
        dns=tuple(Endpoint.parse(url) for url in pool.dns),
    )


def _template(name: str, pool: PoolSettings) -> PoolSnapshot:
    affinity = pool.affinity
    return PoolSnapshot(
        name=name,
        strategy=StrategyName(pool.strategy),
        affinity=None
        if affinity is None
        else AffinitySnapshot(
            cookie=affinity.cookie,
            key=affinity.secret.get_secret_value().encode(),
            max_age=round(affinity.max_age_ms / 1000),
            secure=affinity.secure,
        ),
        panic_threshold=pool.panic_threshold,
        hash_key=pool.hash_key,
        hash_load_bound=pool.hash_load_bound,
        region_header=pool.region_header,
        geoip_database=pool.geoip_database,
        regions=dict(pool.regions),
        probe_path=pool.probe_path,
        probe_rate=pool.probe_rate,
        ewma_decay=pool.ewma_decay_ms / 1000,
        connect_timeout=pool.connect_timeout_ms / 1000,
        header_timeout=pool.header_timeout_ms / 1000,
        idle_timeout=pool.idle_timeout_ms / 1000,
        total_timeout=pool.total_timeout_ms / 1000,
        max_connections=pool.max_connections,
        max_queue=pool.max_queue,
        queue_timeout=pool.queue_timeout_ms / 1000,
        keepalive=pool.keepalive_ms / 1000,
        retry_attempts=pool.retry.attempts,
        retry_budget=pool.retry.budget,
        retry_floor=pool.retry.floor_per_second,
        replay_limit=pool.retry.replay_bytes,
        preserve_host=pool.preserve_host,
        tls_ca_file=pool.tls.ca_file,
        tls_server_name=pool.tls.server_name,
    )


def _check(health: HealthSettings) -> CheckPolicy:
    return CheckPolicy(
        kind=health.kind,
        path=health.path,
        host=health.host,
        expect_status=health.expect_status,
        expect_ranges=health.status_ranges,
        expect_body=health.expect_body.encode(),
        interval=health.interval_ms / 1000,
        timeout=health.timeout_ms / 1000,
        healthy_threshold=health.healthy_threshold,
        unhealthy_threshold=health.unhealthy_threshold,
        jitter=health.jitter,
    )


def _outliers(outliers: OutlierSettings) -> OutlierPolicy:
    return OutlierPolicy(
        enabled=outliers.enabled,
        consecutive_errors=outliers.consecutive_errors,
        error_rate_deviation=outliers.error_rate_deviation,
        min_requests=outliers.min_requests,
        min_instances=outliers.min_instances,
        interval=outliers.interval_ms / 1000,
        base_ejection=outliers.base_ejection_ms / 1000,
        max_ejection=outliers.max_ejection_ms / 1000,
        max_ejected=outliers.max_ejected,
    )
