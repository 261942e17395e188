"""Liveness, readiness and metrics."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from seawall.adapters.prometheus import OPENMETRICS_TYPE, TEXT_TYPE, render
from seawall.admin.instruments import ADMIN_INSTRUMENTS, AdminCounters
from seawall.control.instruments import CONTROL_INSTRUMENTS
from seawall.control.plane import ControlPlane
from seawall.core.access import Access, Role

__all__ = ["HealthView", "ReadyView", "health_router"]


class HealthView(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class ReadyView(BaseModel):
    """Whether requests can be served."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"status": "not-ready", "findings": {"balancing": "pool 'default' has no healthy instance"}}]
        }
    )

    status: Literal["ready", "not-ready"]
    findings: Annotated[
        dict[str, str] | None,
        Field(description="What an operator should know, by part; absent for a caller without a token."),
    ] = None


def health_router(
    plane: ControlPlane, access: Access, counters: AdminCounters, *, open_ready: bool, open_metrics: bool
) -> APIRouter:
    """Return the routes for probes and scrapers.

    Args:
        plane: what is asked.
        access: guards what is not open.
        counters: the admin API's own counts, exported with the rest.
        open_ready: readiness answers without a token, and then without findings.
        open_metrics: metrics answer without a token.
    """
    router = APIRouter(tags=["health"])
    viewer = [Depends(access.requires(Role.VIEWER))]

    @router.get("/health/live", operation_id="get_liveness", summary="Tell that the process answers")
    async def live() -> HealthView:
        return HealthView()

    @router.get(
        "/health/ready",
        operation_id="get_readiness",
        summary="Tell whether requests can be served",
        responses={503: {"model": ReadyView, "description": "Not ready."}},
        response_model_exclude_none=True,
        dependencies=[] if open_ready else viewer,
    )
    async def ready(request: Request, response: Response) -> ReadyView:
        health = plane.health()
        if not health.ready:
            response.status_code = 503
            response.headers["Retry-After"] = "1"
        findings = dict(health.findings) if request.state.identity is not None else None
        return ReadyView(status="ready" if health.ready else "not-ready", findings=findings)

    @router.get(
        "/metrics",
        operation_id="get_metrics",
        summary="Give every metric for a scrape",
        description="Prometheus text format 0.0.4, or OpenMetrics 1.0.0 when `Accept` prefers it.",
        response_class=Response,
        responses={
            200: {
                "description": "Every series.",
                "content": {
                    TEXT_TYPE: {"schema": {"type": "string"}},
                    OPENMETRICS_TYPE: {"schema": {"type": "string"}},
                },
            }
        },
        tags=["metrics"],
        dependencies=[] if open_metrics else viewer,
    )
    async def metrics(request: Request) -> Response:
        of_systems = [instrument for system in plane.systems for instrument in system.instruments]
        samples = [*plane.samples(), *counters.samples()]
        content_type, body = render(
            samples, [*of_systems, *CONTROL_INSTRUMENTS, *ADMIN_INSTRUMENTS], request.headers.get("accept", "")
        )
        return Response(body, headers={"Content-Type": content_type, "Vary": "Accept"})

    return router
