"""Defects of stages: counted each, logged now and then."""

import logging
from collections.abc import Callable

from seawall.core.snapshot import Report

__all__ = ["PIPELINE", "Failures", "PipelineReport"]

PIPELINE = "pipeline"
"""What reports of failures go by, as those of a system go by its name."""

_LOG_INTERVAL = 5.0
"""Seconds between two logs of one stage: under load a defect comes thousands of times a second."""

_log = logging.getLogger("seawall.pipeline")


class PipelineReport(Report, frozen=True, kw_only=True):
    """What stages raised in one process since it started.

    Attributes:
        failures: cumulative counts by stage.
    """

    failures: dict[str, int]


class Failures:
    """Counts what stages raise, by stage.

    Args:
        monotonic: monotonic seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._counts: dict[str, int] = {}
        self._told: dict[str, tuple[float, int]] = {}
        self._changed = False

    @property
    def counts(self) -> dict[str, int]:
        """Failures by stage since the start."""
        return dict(self._counts)

    def add(self, stage: str, consequence: str) -> None:
        """Count the exception being handled; log it unless one of this stage was logged within 5 s.

        Args:
            stage: its name.
            consequence: what became of the request, such as `let through`.
        """
        count = self._counts.get(stage, 0) + 1
        self._counts[stage] = count
        self._changed = True
        now = self._monotonic()
        at, told = self._told.get(stage, (-_LOG_INTERVAL, 0))
        if now - at >= _LOG_INTERVAL:
            self._told[stage] = now, count
            _log.exception("%s failed for %d requests since this was last said: %s", stage, count - told, consequence)

    def report(self, *, full: bool) -> PipelineReport | None:
        """Return the counts when one changed since the last call, or when `full`; None when there are none to tell."""
        if not self._counts or not (full or self._changed):
            return None
        self._changed = False
        return PipelineReport(failures=self.counts)
