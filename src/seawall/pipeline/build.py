"""Which stage stands where: the one list that says what a request meets, in order."""

import functools
from collections.abc import Mapping
from typing import Any

from seawall.core.clock import Clock
from seawall.pipeline.identity import IdentityStage
from seawall.pipeline.limits import LimitStage
from seawall.pipeline.loads import PoolLoads
from seawall.pipeline.pipeline import Pipeline
from seawall.pipeline.stage import Stage
from seawall.pipeline.threats import AdmissionStage, InspectionStage
from seawall.systems.balancing.engine import BalancingEngine
from seawall.systems.identity.engine import IdentityEngine
from seawall.systems.ratelimit.counts import Counts
from seawall.systems.ratelimit.engine import RateLimitEngine
from seawall.systems.threats.guard import ThreatGuard

__all__ = ["STAGE_NAMES", "build_pipeline"]

STAGE_NAMES = tuple(sorted({stage.name for stage in (AdmissionStage, IdentityStage, LimitStage, InspectionStage)}))


def build_pipeline(
    engines: Mapping[str, Any], balancing: BalancingEngine, clock: Clock, counts: Counts | None = None
) -> Pipeline:
    """Return the pipeline over the engines that this process runs.

    Args:
        engines: by name of their system; those that the pipeline knows nothing of are left alone.
        balancing: knows routes and the load of pools.
        clock: time for the stages.
        counts: where rate limits' shared counts are; None where there are none.
    """
    identity: IdentityStage | None = None
    caller = engines.get("identity")
    if isinstance(caller, IdentityEngine):
        identity = IdentityStage(caller, clock.wall)
    limits: LimitStage | None = None
    limiter = engines.get("ratelimit")
    if isinstance(limiter, RateLimitEngine):
        limits = LimitStage(limiter, clock.monotonic, balancing.route_name, PoolLoads(balancing), counts)
    admission: AdmissionStage | None = None
    inspection: InspectionStage | None = None
    guard = engines.get("threats")
    if isinstance(guard, ThreatGuard):
        admission, inspection = AdmissionStage(guard, balancing.route_name), InspectionStage(guard)
    stages: list[Stage | None] = [admission, identity, limits, inspection]
    pipeline = Pipeline([stage for stage in stages if stage is not None], clock.monotonic)
    if limits is not None:
        limits.resume = functools.partial(pipeline.resume, limits)
    return pipeline
