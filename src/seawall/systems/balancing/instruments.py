"""Balancing's metrics, declared once; the controller turns its totals into their samples at a scrape."""

from seawall.core.instruments import InstrumentRegistry

__all__ = [
    "ACTIVE_REQUESTS",
    "EJECTIONS",
    "HEALTH_CHECKS",
    "INSTANCES",
    "INSTRUMENTS",
    "NO_INSTANCE",
    "REQUESTS",
    "REQUEST_DURATION",
    "RESPONSES",
    "RETRIES",
    "RETRIES_REFUSED",
]

_registry = InstrumentRegistry()

REQUESTS = _registry.counter(
    "load_balancer_requests_total",
    "Attempts on an instance by how they ended, over all workers.",
    ("pool", "instance", "outcome"),
)
REQUEST_DURATION = _registry.histogram(
    "load_balancer_request_duration_seconds",
    "Time from sending an attempt to an instance until the end of its response.",
    ("pool", "instance"),
)
ACTIVE_REQUESTS = _registry.gauge(
    "load_balancer_active_requests", "Attempts in flight on an instance now.", ("pool", "instance")
)
INSTANCES = _registry.gauge("load_balancer_instances", "Instances of a pool by state.", ("pool", "state"))
HEALTH_CHECKS = _registry.counter(
    "load_balancer_health_checks_total", "Active health checks by result.", ("pool", "instance", "result")
)
EJECTIONS = _registry.counter(
    "load_balancer_ejections_total",
    "Times that outlier detection took an instance out, by reason.",
    ("pool", "instance", "reason"),
)
RETRIES = _registry.counter(
    "load_balancer_retries_total",
    "Attempts sent to an instance after another one had failed.",
    ("pool", "instance"),
)
RETRIES_REFUSED = _registry.counter(
    "load_balancer_retries_refused_total", "Retries that the retry budget did not allow.", ("pool",)
)
NO_INSTANCE = _registry.counter(
    "load_balancer_no_instance_total", "Requests for which the pool had no instance to offer.", ("pool",)
)
RESPONSES = _registry.counter(
    "load_balancer_responses_total", "Responses sent to clients by status class, such as `2xx`.", ("pool", "class")
)

INSTRUMENTS = tuple(_registry)
