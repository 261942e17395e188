"""Rate limiting's metrics, declared once; samples are made from an engine's report at a scrape."""

from collections.abc import Iterator, Mapping

from seawall.core.instruments import InstrumentRegistry, Sample
from seawall.systems.ratelimit.model import RateLimitReport, RateLimitSnapshot, Reason

__all__ = ["INSTRUMENTS", "gateway_samples", "samples_of"]

_registry = InstrumentRegistry()

REQUESTS = _registry.counter(
    "rate_limit_requests_total",
    "Decisions by rule and outcome; `shadow` is what a rule in shadow mode would have refused.",
    ("rule", "outcome"),
)
UNLIMITED = _registry.counter("rate_limit_unlimited_total", "Requests that no rule limits.")
BLOCKED = _registry.counter("rate_limit_blocked_total", "Requests refused because their subject is blocked.")
SHED = _registry.counter("rate_limit_shed_total", "Requests refused because of overload.", ("priority",))
ESCALATIONS = _registry.counter(
    "rate_limit_escalations_total", "Times that a key reached a step of the ladder of violations.", ("step",)
)
KEYS = _registry.gauge("rate_limit_keys", "Keys whose counts are kept now.")
EVICTED = _registry.counter(
    "rate_limit_keys_evicted_total", "Keys forgotten while they still limited; max_keys is too small when this grows."
)
LOAD_FACTOR = _registry.gauge("rate_limit_load_factor", "Factor that load puts on limits, 0 to 1.", ("pool",))
THREAT_FACTOR = _registry.gauge("rate_limit_threat_factor", "Factor that threats put on everybody's limits, 0 to 1.")
ADMISSION = _registry.gauge(
    "rate_limit_admission", "Share of requests let in under overload, by priority.", ("priority",)
)
COUNTS = _registry.counter(
    "rate_limit_counts_total",
    "Decisions under shared counts by who answered: they (`asked`), a lease, an earlier refusal, or nobody (`away`).",
    ("answer",),
)
SUBJECTS = _registry.gauge(
    "rate_limit_subjects", "Subjects and keys treated apart: `block`, `override`, `penalty`, `threat`.", ("kind",)
)
PROCESSES = _registry.gauge("rate_limit_processes", "Processes that share each limit, over all gateways on the store.")

INSTRUMENTS = tuple(_registry)


def samples_of(
    report: RateLimitReport, snapshot: RateLimitSnapshot, escalations: Mapping[str, int]
) -> Iterator[Sample]:
    """Yield every series; `escalations` counts the steps of the ladder that were reached."""
    for rule, row in report.rules.items():
        yield Sample(REQUESTS, (rule, Reason.ALLOWED), row.allowed)
        yield Sample(REQUESTS, (rule, Reason.QUOTA_EXCEEDED), row.quota_exceeded)
        yield Sample(REQUESTS, (rule, Reason.CONCURRENCY), row.concurrency)
        yield Sample(REQUESTS, (rule, Reason.SHADOW), row.shadow)
    yield Sample(UNLIMITED, (), report.unlimited)
    yield Sample(BLOCKED, (), report.blocked)
    yield Sample(KEYS, (), report.keys)
    yield Sample(EVICTED, (), report.evicted)
    for answer in ("asked", "leased", "remembered", "away"):
        yield Sample(COUNTS, (answer,), getattr(report, answer))
    for tier, count in enumerate(report.shed):
        yield Sample(SHED, (str(tier),), count)
    for step, count in escalations.items():
        yield Sample(ESCALATIONS, (step,), count)
    for pool, factor in (snapshot.load or {"": 1.0}).items():
        yield Sample(LOAD_FACTOR, (pool,), factor)
    yield Sample(THREAT_FACTOR, (), snapshot.threat)
    for tier, share in enumerate(snapshot.admission):
        yield Sample(ADMISSION, (str(tier),), share)


def gateway_samples(
    report: RateLimitReport, snapshot: RateLimitSnapshot, escalations: Mapping[str, int], processes: int
) -> Iterator[Sample]:
    """Yield every series of a gateway; `report` is the sum over its workers."""
    yield from samples_of(report, snapshot, escalations)
    numbers = {
        "block": len(snapshot.blocks),
        "override": len(snapshot.overrides),
        "penalty": len(snapshot.penalties),
        "threat": len(snapshot.threats),
    }
    for kind, number in numbers.items():
        yield Sample(SUBJECTS, (kind,), number)
    yield Sample(PROCESSES, (), processes)
