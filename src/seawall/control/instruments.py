"""What the control plane counts about itself."""

from seawall.core.instruments import InstrumentRegistry

__all__ = [
    "CONTROL_INSTRUMENTS",
    "RELOADS",
    "REPORTS",
    "SHARED_KEYS",
    "SHARED_KEYS_FORGOTTEN",
    "SNAPSHOT_VERSION",
    "STAGE_FAILURES",
    "STATE_UP",
    "WORKERS",
]

CONTROL_INSTRUMENTS = InstrumentRegistry()

WORKERS = CONTROL_INSTRUMENTS.gauge(
    "seawall_workers", "Worker processes by the state of their connection to the control process.", ("state",)
)
SNAPSHOT_VERSION = CONTROL_INSTRUMENTS.gauge(
    "seawall_snapshot_version", "Version of the newest published snapshot; grows with each.", ("system",)
)
STATE_UP = CONTROL_INSTRUMENTS.gauge("seawall_state_up", "1 while the state store answers, 0 while it does not.")
RELOADS = CONTROL_INSTRUMENTS.counter("seawall_reloads_total", "Configuration reloads by result.", ("result",))
REPORTS = CONTROL_INSTRUMENTS.counter("seawall_reports_total", "Reports taken from workers.", ("system",))
STAGE_FAILURES = CONTROL_INSTRUMENTS.counter(
    "seawall_pipeline_stage_failures_total", "Defects of a stage that requests pass, by stage.", ("stage",)
)
SHARED_KEYS = CONTROL_INSTRUMENTS.gauge(
    "rate_limit_shared_keys", "Keys that the control process counts for its workers now; none when Redis does."
)
SHARED_KEYS_FORGOTTEN = CONTROL_INSTRUMENTS.counter(
    "rate_limit_shared_keys_forgotten_total", "Those forgotten while they still counted, because there were too many."
)
