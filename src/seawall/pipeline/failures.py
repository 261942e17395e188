"""Defects of stages: counted each, logged now and then."""

import logging
from collections.abc import Callable

__all__ = ["Failures"]

_LOG_INTERVAL = 5.0
"""Seconds between two logs of one stage: under load a defect comes thousands of times a second."""

_log = logging.getLogger("seawall.pipeline")


class Failures:
    """Counts what stages raise, by stage.

    Args:
        monotonic: monotonic seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._counts: dict[str, int] = {}
        self._told: dict[str, tuple[float, int]] = {}

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
        now = self._monotonic()
        at, told = self._told.get(stage, (-_LOG_INTERVAL, 0))
        if now - at >= _LOG_INTERVAL:
            self._told[stage] = now, count
            _log.exception("%s failed for %d requests since this was last said: %s", stage, count - told, consequence)
