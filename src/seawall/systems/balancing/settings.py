"""The `[balancing]` table, whole in one file so that a reader finds every key: pools, instances, strategies, routes."""

import difflib
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from seawall.config.address import check_dns_url, check_header_name, check_host_pattern, check_upstream_url
from seawall.config.http import (
    check_field_value,
    check_hash_key,
    check_method,
    check_path,
    check_path_prefix,
    check_statuses,
    parse_statuses,
)
from seawall.config.section import (
    Finding,
    Integer,
    Milliseconds,
    MillisecondsOrZero,
    Number,
    Section,
    Share,
    Switch,
    refusal,
    setting,
)
from seawall.config.shadowing import EarlierRoutes

__all__ = [
    "MAX_INSTANCES",
    "AffinitySettings",
    "BalancingSettings",
    "HealthSettings",
    "InstanceSettings",
    "OutlierSettings",
    "PoolSettings",
    "RetrySettings",
    "RouteSettings",
    "StrategySetting",
    "UpstreamTlsSettings",
]

MAX_INSTANCES = 10_000
"""Instances that one pool may list."""

# The values of model.StrategyName; written out because settings and model know nothing of one another.
StrategySetting = Literal[
    "round-robin",
    "least-connections",
    "weighted",
    "latency-based",
    "geographic",
    "consistent-hash",
    "random",
    "adaptive",
]


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
HeaderName = Annotated[str, AfterValidator(check_header_name), AfterValidator(str.lower)]
Location = tuple[Annotated[Number, Field(ge=-90, le=90)], Annotated[Number, Field(ge=-180, le=180)]]
Url = Annotated[str, AfterValidator(check_upstream_url)]


class HealthSettings(Section):
    """How an instance is asked whether it works."""

    kind: Literal["http", "tcp", "none"] = setting(
        "tcp", "How to check: an HTTP request, a TCP connection, or not at all. Where only a path is given: http."
    )
    path: Annotated[str, AfterValidator(check_path)] = setting("/", "Path that an HTTP check asks for.")
    expect_status: Annotated[str, AfterValidator(check_statuses)] = setting(
        "200-399", "Statuses that an HTTP check accepts: a list of statuses and ranges."
    )
    expect_body: str = setting("", "Text that the body of an HTTP check must contain; empty for any.", max_length=4096)
    host: Annotated[str, AfterValidator(check_field_value)] = setting(
        "", "Host field of an HTTP check; empty sends the instance's own authority.", max_length=255
    )
    interval_ms: Milliseconds = setting(5000, "Time between two checks of an instance.", unit="ms", ge=10)
    timeout_ms: Milliseconds = setting(2000, "Time after which a check has failed.", unit="ms")
    healthy_threshold: Integer = setting(
        2, "Checks in a row that must succeed before an unhealthy instance is used again.", unit="checks", ge=1, le=1000
    )
    unhealthy_threshold: Integer = setting(
        3, "Checks in a row that must fail before a healthy instance is left out.", unit="checks", ge=1, le=1000
    )
    jitter: Share = setting(0.1, "Random share of the interval that is added or taken, 0 to 1.", unit="share")

    @model_validator(mode="after")
    def _settle_kind(self) -> Self:
        given = self.model_fields_set
        if "kind" not in given and "path" in given:
            # A default that depends on another field; it stays out of model_fields_set, since nobody gave it.
            object.__setattr__(self, "kind", "http")
        if "kind" in given and self.kind != "http":
            idle = [name for name in ("path", "expect_status", "expect_body", "host") if name in given]
            if idle:
                text = f'is for kind = "http", and kind is "{self.kind}"; remove one'
                raise refusal([Finding((name,), text) for name in idle])
        return self

    @property
    def status_ranges(self) -> tuple[tuple[int, int], ...]:
        """The accepted statuses as (lowest, highest) pairs."""
        return parse_statuses(self.expect_status)


class OutlierSettings(Section):
    """When an instance that fails real requests is taken out for a while."""

    enabled: Switch = setting(True, "Watch real requests and eject instances that fail more than others.")
    consecutive_errors: Integer = setting(
        5, "Gateway errors in a row after which an instance is ejected.", unit="errors", ge=1, le=100_000
    )
    error_rate_deviation: Number = setting(
        1.9,
        "Standard deviations above the pool's mean error rate at which an instance is ejected.",
        unit="standard deviations",
        gt=0,
        le=100,
    )
    min_requests: Integer = setting(
        100, "Requests per interval that an instance must have had for its error rate to count.", unit="requests", ge=1
    )
    min_instances: Integer = setting(
        3, "Instances with enough requests that are needed to compare error rates.", unit="instances", ge=2
    )
    interval_ms: Milliseconds = setting(10_000, "Time over which error rates are compared.", unit="ms", ge=10)
    base_ejection_ms: Milliseconds = setting(
        30_000, "Length of a first ejection; the second lasts twice as long, and so on.", unit="ms"
    )
    max_ejection_ms: Milliseconds = setting(300_000, "Longest ejection.", unit="ms")
    max_ejected: Share = setting(0.5, "Share of a pool that may be ejected at the same time, 0 to 1.", unit="share")


class InstanceSettings(Section):
    """One upstream instance; a bare url stands for a table with only the url."""

    short_form: ClassVar[str] = "url"

    url: Url = Field(description="Where it answers: http://host:port, https://host:port or unix:/path.")
    id: Annotated[str, StringConstraints(pattern=r"^[!-~]{0,200}$")] = setting(
        "", "Stable name within the pool, so that its health and counts survive a change of url; empty takes the url."
    )
    weight: Number = setting(
        1.0, "Capacity relative to the other instances of the pool.", unit="relative", gt=0, le=1_000_000
    )
    region: str = setting("", "Name of the region it stands in, as in the pool's regions.", max_length=128)
    location: Location | None = setting(
        None, "Latitude and longitude; absent takes the region's place.", unit="degrees"
    )


class AffinitySettings(Section):
    """A signed cookie that brings a client back to the instance it had."""

    cookie: Annotated[str, AfterValidator(check_header_name)] = setting("seawall_affinity", "Name of the cookie.")
    secret: SecretStr = setting(
        SecretStr(""), "Key that signs the cookie; empty makes one and keeps it in the state store."
    )
    max_age_ms: Annotated[Number, Field(ge=0, le=400 * 86_400_000)] = setting(
        0, "Time that the cookie lives; 0 for as long as the browser runs.", unit="ms"
    )
    secure: Switch = setting(False, "Send the cookie over HTTPS only.")


class RetrySettings(Section):
    """When a failed attempt is made again on another instance."""

    attempts: Integer = setting(2, "Retries after the first attempt; 0 for none.", unit="attempts", ge=0, le=10)
    budget: Share = setting(0.2, "Retries as a share of requests over 10 s, 0 to 1.", unit="share")
    floor_per_second: Integer = setting(
        10,
        "Retries that are always allowed, saved up for 10 s, so that a quiet pool can retry.",
        unit="retries per second",
        ge=0,
        le=100_000,
    )
    replay_bytes: Integer = setting(
        65_536, "Request body kept for a retry; a larger one is not retried.", unit="bytes", ge=0, le=67_108_864
    )


class UpstreamTlsSettings(Section):
    """How `https://` instances are verified."""

    ca_file: str = setting("", "CA bundle in PEM form; empty uses the system's.")
    server_name: Annotated[str, AfterValidator(check_host_pattern)] = setting(
        "", "Name to verify and to send as SNI; empty uses the url's host."
    )


class PoolSettings(Section):
    """Instances that serve the same thing, and how to choose among them.

    Within `BalancingSettings`, `strategy`, `health` and `outliers` hold effective values: what is not given here is
    taken, field by field, from `[balancing]`, `[balancing.health]` and `[balancing.outliers]`.
    """

    strategy: StrategySetting = setting("round-robin", "How an instance is chosen.", inherits="balancing.strategy")
    instances: tuple[InstanceSettings, ...] = setting(
        (), "Instances: urls, or tables where more than the url is said.", max_length=MAX_INSTANCES
    )
    dns: tuple[Annotated[str, AfterValidator(check_dns_url)], ...] = setting(
        (), "Urls whose host name becomes one instance per address that it resolves to.", max_length=100
    )
    health: HealthSettings = setting(
        HealthSettings(), "Active health checks of this pool.", inherits="balancing.health"
    )
    outliers: OutlierSettings = setting(
        OutlierSettings(), "Outlier ejection in this pool.", inherits="balancing.outliers"
    )
    slow_start_ms: MillisecondsOrZero = setting(
        0, "Time over which a new or recovered instance comes up to its weight; 0 for at once.", unit="ms"
    )
    panic_threshold: Share = setting(
        0.5, "Share of usable instances, 0 to 1, below which every one that is not draining is used.", unit="share"
    )
    affinity: AffinitySettings | None = setting(None, "Session affinity; absent turns it off.")
    hash_key: Annotated[str, AfterValidator(check_hash_key)] = setting(
        "client", "For consistent-hash: client, header:NAME or cookie:NAME."
    )
    hash_load_bound: Number = setting(
        1.25, "For consistent-hash: most load of an instance, as a multiple of the mean.", unit="multiple", gt=1, le=100
    )
    region_header: Annotated[str, AfterValidator(lambda text: text and check_header_name(text).lower())] = setting(
        "", "For geographic: header with the client's region name or its latitude,longitude."
    )
    geoip_database: str = setting("", "For geographic: path of a MaxMind database with cities.")
    regions: dict[Annotated[str, StringConstraints(min_length=1, max_length=128)], Location] = setting(
        {}, "Region names with their latitude and longitude.", unit="degrees"
    )
    probe_path: Annotated[str, AfterValidator(lambda text: text and check_path(text))] = setting(
        "", "For adaptive: path that answers with requests in flight and latency; empty turns probes off."
    )
    probe_rate: Number = setting(3.0, "For adaptive: probes per request.", unit="probes per request", gt=0, le=100)
    ewma_decay_ms: Milliseconds = setting(
        10_000, "For latency-based: time in which a measured latency loses its weight.", unit="ms"
    )
    connect_timeout_ms: Milliseconds = setting(2000, "Time to connect to an instance.", unit="ms")
    header_timeout_ms: Milliseconds = setting(
        30_000, "Time from the end of the request to the response's head.", unit="ms"
    )
    idle_timeout_ms: Milliseconds = setting(60_000, "Time without a byte within a response.", unit="ms")
    total_timeout_ms: Milliseconds = setting(300_000, "Time for a whole request, its retries included.", unit="ms")
    max_connections: Integer = setting(
        256, "Connections to each instance from each worker.", unit="connections", ge=1, le=1_000_000
    )
    max_queue: Integer = setting(
        128, "Requests per instance and worker that may wait for a connection.", unit="requests", ge=0, le=1_000_000
    )
    queue_timeout_ms: Milliseconds = setting(1000, "Time that a request may wait for a connection.", unit="ms")
    keepalive_ms: MillisecondsOrZero = setting(
        55_000, "Time an idle connection to an instance is kept; 0 closes it at once.", unit="ms"
    )
    retry: RetrySettings = setting(RetrySettings(), "When a failed attempt is made again on another instance.")
    preserve_host: Switch = setting(True, "Send the client's Host; otherwise the instance's own authority.")
    tls: UpstreamTlsSettings = setting(UpstreamTlsSettings(), "How https:// instances are verified.")
    use_reported_load: Switch = setting(
        True, "Weigh instances by the load that they report in the endpoint-load-metrics field (ORCA)."
    )

    @model_validator(mode="after")
    def _refuse_twins(self) -> Self:
        first: dict[str, int] = {}
        findings: list[Finding] = []
        for index, instance in enumerate(self.instances):
            key = instance.id or instance.url
            if key in first:
                word = "id" if instance.id else "url"
                text = f'"{key}" is also the {word} of {{other}}; give each its own id'
                findings.append(Finding(("instances", index, word), text, ("instances", first[key])))
            first.setdefault(key, index)
        if findings:
            raise refusal(findings)
        return self

    def findings(self) -> Iterator[Finding]:
        """Yield what cannot work in the effective settings of this pool, by paths within it."""
        if self.strategy == "geographic" and not self.region_header and not self.geoip_database:
            text = '"geographic" needs to know where a client is; set region_header or geoip_database'
            yield Finding(("strategy",), text)
        if self.outliers.base_ejection_ms > self.outliers.max_ejection_ms:
            text = f"{self.outliers.max_ejection_ms:g} is below base_ejection_ms, {self.outliers.base_ejection_ms:g}"
            yield Finding(("outliers", "max_ejection_ms"), text)
        if self.strategy == "geographic":
            for index, instance in enumerate(self.instances):
                if (
                    instance.region
                    and instance.location is None
                    and self.regions
                    and instance.region not in self.regions
                ):
                    known = ", ".join(self.regions)
                    text = (
                        f'"{instance.region}" is not among the regions of the pool ({known}); add it or give a location'
                    )
                    yield Finding(("instances", index, "region"), text)


class RouteSettings(Section):
    """A condition and the pool that takes what matches it; the first match in order wins."""

    name: Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$")] = setting(
        "", "Name in metrics and logs; empty becomes route-N, counted from 1."
    )
    pool: str = Field(description="Name of the pool that takes what matches.")
    host: Annotated[str, AfterValidator(check_host_pattern)] = setting(
        "", "Host without port, *.example.org for any subdomain, empty for any."
    )
    path: Annotated[str, AfterValidator(check_path_prefix)] = setting("/", "Path prefix, matched on whole segments.")
    methods: tuple[Annotated[str, AfterValidator(check_method)], ...] = setting((), "Methods; empty for any.")
    headers: dict[HeaderName, Annotated[str, AfterValidator(check_field_value)]] = setting(
        {}, "Header names with the exact values that they must have."
    )


class BalancingSettings(Section):
    """Pools of instances, and the routes to them.

    When no route is given and there is exactly one pool, everything goes to it.
    """

    strategy: StrategySetting = setting(
        "round-robin",
        "How an instance is chosen in pools that do not say. From the environment it wins over what the file says of a "
        "pool; from the command line (--strategy), over both.",
        env="LB_STRATEGY",
    )
    health: HealthSettings = setting(
        HealthSettings(),
        "Active health checks, where a pool does not say otherwise in the same place or a stronger one.",
        env={"LB_HEALTH_CHECK_INTERVAL": "interval_ms"},
    )
    outliers: OutlierSettings = setting(OutlierSettings(), "Outlier ejection, where a pool does not say otherwise.")
    pools: dict[Name, PoolSettings] = setting({}, "Pools by name: letters, digits, dot, dash and underscore.")
    routes: tuple[RouteSettings, ...] = setting((), "Routes in order; the first that matches wins.", max_length=10_000)
    dns_interval_ms: Milliseconds = setting(30_000, "Time between two look-ups of a host name.", unit="ms", ge=100)

    @model_validator(mode="after")
    def _settle(self) -> Self:
        pools = {name: self._inherit(pool) for name, pool in self.pools.items()}
        routes = tuple(
            route if route.name else route.model_copy(update={"name": f"route-{number}"})
            for number, route in enumerate(self.routes, 1)
        )
        # Effective values are settled once, here, so that no reader needs to know where they came from.
        object.__setattr__(self, "pools", pools)
        object.__setattr__(self, "routes", routes)
        found = (
            finding._replace(path=("pools", name, *finding.path))
            for name, pool in pools.items()
            for finding in pool.findings()
        )
        findings = [*found, *self._route_findings()]
        if findings:
            raise refusal(findings)
        return self

    def _inherit(self, pool: PoolSettings) -> PoolSettings:
        health = _missing(pool.health, self.health)
        if "path" in pool.health.model_fields_set:
            # The pool's own path says http louder than the kind of the defaults.
            health.pop("kind", None)
        update: dict[str, Any] = {}
        if health:
            update["health"] = pool.health.model_copy(update=health)
        if outliers := _missing(pool.outliers, self.outliers):
            update["outliers"] = pool.outliers.model_copy(update=outliers)
        if "strategy" not in pool.model_fields_set:
            update["strategy"] = self.strategy
        return pool.model_copy(update=update)

    def _route_findings(self) -> Iterator[Finding]:
        conditions: dict[Any, int] = {}
        names: dict[str, int] = {}
        earlier = EarlierRoutes()
        for index, route in enumerate(self.routes):
            if route.pool not in self.pools:
                known = ", ".join(self.pools) or "there is none"
                close = difflib.get_close_matches(route.pool, self.pools, n=1)
                guess = f'; did you mean "{close[0]}"?' if close else ""
                yield Finding(("routes", index, "pool"), f'there is no pool "{route.pool}"; pools: {known}{guess}')
            condition = (route.host, route.path, frozenset(route.methods), frozenset(route.headers.items()))
            if condition in conditions:
                text = "the same condition as {other}, which always wins; remove or change one"
                yield Finding(("routes", index), text, ("routes", conditions[condition]))
            elif (winner := earlier.covering(route)) is not None:
                first = self.routes[winner].name
                text = (
                    f'"{route.name}" never matches, since {{other}} ("{first}") comes first and takes all that it would'
                )
                text += "; move it up or remove it"
                yield Finding(("routes", index), text, ("routes", winner))
            earlier.add(index, route)
            if route.name in names:
                text = f'"{route.name}" is also the name of {{other}}; names are unique'
                yield Finding(("routes", index, "name"), text, ("routes", names[route.name]))
            conditions.setdefault(condition, index)
            names.setdefault(route.name, index)


def _missing(own: Section, defaults: Section) -> dict[str, Any]:
    """Return the values of `defaults` for the fields that `own` was not given."""
    return {name: getattr(defaults, name) for name in type(own).model_fields if name not in own.model_fields_set}
