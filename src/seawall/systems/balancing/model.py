"""Balancing's words: what the controller tells the engine (snapshot) and what the engine saw (report)."""

from enum import StrEnum

import msgspec

from seawall.core.snapshot import Report, Snapshot

__all__ = [
    "AffinitySnapshot",
    "BalancingReport",
    "BalancingSnapshot",
    "InstanceReport",
    "InstanceSnapshot",
    "InstanceState",
    "Outcome",
    "PoolReport",
    "PoolSnapshot",
    "RouteSnapshot",
    "StrategyName",
]


class StrategyName(StrEnum):
    """How an instance is chosen; the names are part of the configuration."""

    ROUND_ROBIN = "round-robin"
    LEAST_CONNECTIONS = "least-connections"
    WEIGHTED = "weighted"
    LATENCY_BASED = "latency-based"
    GEOGRAPHIC = "geographic"
    CONSISTENT_HASH = "consistent-hash"
    RANDOM = "random"
    ADAPTIVE = "adaptive"


class InstanceState(StrEnum):
    """Why an instance gets traffic or not."""

    STARTING = "starting"
    """No health check has finished yet; it gets traffic only when no healthy one exists."""
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    """Active health checks fail."""
    EJECTED = "ejected"
    """Passive outlier detection took it out for a while."""
    DRAINING = "draining"
    """No new requests; those in flight and sessions bound to it may finish."""


class Outcome(StrEnum):
    """How an attempt on an instance ended, from the balancer's point of view."""

    SUCCESS = "success"
    """A complete response with a status below 500."""
    SERVER_ERROR = "server-error"
    """A response with a status of 500 or above."""
    CONNECT_FAILED = "connect-failed"
    RESET = "reset"
    """The connection broke before or within the response."""
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    """The client went away; says nothing about the instance."""


class InstanceSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream instance as the engine must treat it now.

    Attributes:
        id: stable name within the pool; counters and health survive as long as it stays.
        url: `http://host:port`, `https://host:port` or `unix:/path.sock`.
        addresses: resolved addresses to connect to, in order; empty means use the url's host as it is.
        weight: effective relative capacity, above 0: configured weight x slow-start ramp x reported load.
        region: name of its region, empty when unknown.
        location: (latitude, longitude) in degrees, or None.
        source: where it comes from: `file`, `registry` or `dns`; a start without the store brings back only what it
            cannot learn elsewhere. Empty when that is not known. The engine does not look at it.
        leaves_at: seconds since the Unix epoch at which an unregistration ends it, None when none is under way. The end
            of a time to live is not here: each heartbeat moves it, and that is no news to an engine.
    """

    id: str
    url: str
    addresses: tuple[str, ...] = ()
    weight: float = 1.0
    region: str = ""
    location: tuple[float, float] | None = None
    state: InstanceState = InstanceState.HEALTHY
    source: str = ""
    leaves_at: float | None = None


class AffinitySnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Session affinity by a cookie that is signed so that a client cannot choose its instance.

    Attributes:
        key: HMAC-SHA256 key, shared by every worker and gateway.
        max_age: seconds that the cookie lives; 0 for a session cookie.
    """

    cookie: str
    key: bytes
    max_age: int = 0
    secure: bool = False


class PoolSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One pool: its instances and how to choose among them; times in seconds."""

    name: str
    strategy: StrategyName = StrategyName.ROUND_ROBIN
    instances: tuple[InstanceSnapshot, ...] = ()
    affinity: AffinitySnapshot | None = None
    panic_threshold: float = 0.5
    """Share 0..1 of usable instances below which every one that is not draining is used."""
    hash_key: str = "client"
    """For consistent-hash: `client`, `header:<name>` or `cookie:<name>`."""
    hash_load_bound: float = 1.25
    """Consistent hashing with bounded loads: no instance takes more than this times the mean."""
    region_header: str = ""
    """For geographic: header that carries the client's region name or `latitude,longitude`."""
    geoip_database: str = ""
    """For geographic: path of a MaxMind database; empty when there is none."""
    regions: dict[str, tuple[float, float]] = msgspec.field(default_factory=dict)
    """Region names to (latitude, longitude) in degrees."""
    probe_path: str = ""
    """For adaptive: path that answers with requests in flight and latency; empty turns probes off."""
    probe_rate: float = 3.0
    """For adaptive: probes sent per request."""
    ewma_decay: float = 10.0
    connect_timeout: float = 2.0
    header_timeout: float = 30.0
    idle_timeout: float = 60.0
    total_timeout: float = 300.0
    max_connections: int = 256
    """Open connections per instance and worker."""
    max_queue: int = 128
    """Requests per instance and worker that may wait for a connection."""
    queue_timeout: float = 1.0
    keepalive: float = 55.0
    """Seconds that an idle upstream connection is kept."""
    retry_attempts: int = 2
    """Retries on another instance after the first attempt."""
    retry_budget: float = 0.2
    """Retries as a share of requests, over 10 s."""
    retry_floor: int = 10
    """Retries per second that are always allowed, saved up for 10 s, so that a quiet pool can retry at all."""
    replay_limit: int = 65_536
    """Bytes of request body kept for a retry; a larger body is not retried."""
    preserve_host: bool = True
    """Send the client's Host upstream; otherwise the instance's own authority."""
    tls_ca_file: str = ""
    """CA bundle for `https://` upstreams; empty uses the system's."""
    tls_server_name: str = ""
    """Name to verify and to send as SNI; empty uses the url's host."""


class RouteSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A condition and the pool that takes what matches; the first match in order wins.

    Attributes:
        host: exact lower-case host without port, `*.example.org` for any subdomain, empty for any.
        path_prefix: matched on whole segments; `/` matches everything.
        methods: upper case; empty for any.
        headers: lower-case name to exact value; all must match.
    """

    name: str
    pool: str
    host: str = ""
    path_prefix: str = "/"
    methods: tuple[str, ...] = ()
    headers: dict[str, str] = msgspec.field(default_factory=dict)


class BalancingSnapshot(Snapshot, frozen=True, kw_only=True):
    """All pools and routes of one gateway."""

    pools: tuple[PoolSnapshot, ...] = ()
    routes: tuple[RouteSnapshot, ...] = ()


class InstanceReport(msgspec.Struct, frozen=True, array_like=True):
    """One worker's view of one instance; counters are cumulative since the worker started.

    Attributes:
        active: requests in flight now.
        ewma: peak-EWMA of the round-trip time in seconds; 0 when never measured.
        consecutive_errors: gateway errors since the last success.
        counts: cumulative row: one int per `Outcome` in its order of declaration, then 4xx responses, then retries sent
            here.
        buckets: cumulative observations per `DURATION_BUCKETS` bound, then the infinite bucket.
        duration_us: cumulative sum of durations in microseconds.
        load: newest reported load (ORCA application utilisation, 0..1 and above), negative when none.
    """

    active: int
    ewma: float
    consecutive_errors: int
    counts: tuple[int, ...]
    buckets: tuple[int, ...]
    duration_us: int
    load: float = -1.0


class PoolReport(msgspec.Struct, frozen=True, array_like=True):
    """One worker's view of one pool; every count is cumulative since the worker started.

    Attributes:
        requests: requests routed to the pool.
        retries: attempts after the first.
        retries_refused: retries that the budget did not allow.
        no_instance: times that the pool had no usable instance.
        responses: responses sent to clients by status class: 1xx, 2xx, 3xx, 4xx, 5xx.
    """

    requests: int
    retries: int
    retries_refused: int
    no_instance: int
    responses: tuple[int, ...]


class BalancingReport(Report, frozen=True, kw_only=True):
    """What one worker saw.

    Attributes:
        instances: by `pool/instance id`, only those that changed unless `full`.
        pools: by name, in the same way.
        full: everything is here, as at the beginning of a connection.
        revived: keys of instances that came back since the last report with the counts of their earlier lives.
    """

    instances: dict[str, InstanceReport] = msgspec.field(default_factory=dict)
    pools: dict[str, PoolReport] = msgspec.field(default_factory=dict)
    full: bool = False
    revived: tuple[str, ...] = ()
