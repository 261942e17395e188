"""What failed in the pipelines of the workers, summed up for a scrape."""

from collections.abc import Iterator

from seawall.control.instruments import STAGE_FAILURES
from seawall.core.instruments import Sample
from seawall.core.system import WorkerId
from seawall.core.totals import CumulativeTotals
from seawall.pipeline.build import STAGE_NAMES
from seawall.pipeline.failures import PipelineReport

__all__ = ["StageFailures"]


class StageFailures:
    """Sum failures by stage over all workers, those that were restarted included."""

    def __init__(self) -> None:
        self._totals = CumulativeTotals()

    def on_report(self, worker: WorkerId, report: PipelineReport) -> None:
        """Take one worker's report."""
        for stage, count in report.failures.items():
            self._totals.update(worker, stage, (count,))

    def on_worker_gone(self, worker: WorkerId) -> None:
        """Forget a worker; its counts stay in the totals."""
        self._totals.forget_source(worker)

    def samples(self) -> Iterator[Sample]:
        """Yield every series, those of stages that never failed as well."""
        counts = dict.fromkeys(STAGE_NAMES, 0) | {stage: row[0] for stage, row in self._totals}
        for stage, count in counts.items():
            yield Sample(STAGE_FAILURES, (stage,), count)
