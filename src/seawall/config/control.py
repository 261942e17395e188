"""The `[control]` table: how the control process and its workers keep in touch."""

from seawall.config.section import Milliseconds, Section, setting

__all__ = ["ControlSettings"]


class ControlSettings(Section):
    """How the control process and its workers keep in touch."""

    report_interval_ms: Milliseconds = setting(100, "How often a worker reports what it saw.", unit="ms", ge=10)
    worker_start_timeout_ms: Milliseconds = setting(
        10_000, "Time for a worker to come up before it counts as failed.", unit="ms"
    )
    restart_backoff_max_ms: Milliseconds = setting(
        5000, "Longest pause before a worker that keeps dying is started again.", unit="ms"
    )
