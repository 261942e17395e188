"""What runs, and reloading its configuration."""

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from seawall.control.plane import ControlPlane
from seawall.control.workers import WorkerStatus
from seawall.core.access import Access, Caller, Role
from seawall.core.clock import Clock

__all__ = ["ReloadView", "SystemView", "WorkerView", "system_router"]


class WorkerView(BaseModel):
    """One worker process."""

    slot: str
    pid: int
    connected: Annotated[bool, Field(description="Whether it hears of new snapshots now.")]
    connected_at: datetime | None
    last_report_at: datetime | None


class SystemView(BaseModel):
    """What runs."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "version": "0.1.0",
                    "started_at": "2025-11-26T12:00:00Z",
                    "state": "sqlite:////var/lib/seawall/state.db",
                    "ready": True,
                    "workers": [
                        {
                            "slot": "worker-0",
                            "pid": 48211,
                            "connected": True,
                            "connected_at": "2025-11-26T12:00:01Z",
                            "last_report_at": "2025-11-26T12:34:56Z",
                        }
                    ],
                    "systems": ["balancing"],
                }
            ]
        }
    )

    version: str
    started_at: Annotated[datetime, Field(description="When the control process came up.")]
    state: Annotated[str, Field(description="The state store's url, without secrets.")]
    ready: bool
    workers: Annotated[list[WorkerView], Field(description="Worker processes that live, by slot.")]
    systems: list[str]


class ReloadView(BaseModel):
    """What a reload did."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"changed": ["balancing.pools.default.weight"], "needs_restart": []}]}
    )

    changed: Annotated[list[str], Field(description="Key paths that differ and are in force now.")]
    needs_restart: Annotated[list[str], Field(description="Key paths that differ and are taken at the next start.")]


def system_router(plane: ControlPlane, access: Access, clock: Clock) -> APIRouter:
    """Return the routes over the whole of the running system."""
    router = APIRouter(tags=["system"])
    started_at = datetime.fromtimestamp(clock.wall(), UTC)

    @router.get(
        "/api/system",
        operation_id="get_system",
        summary="Tell what runs",
        dependencies=[Depends(access.requires(Role.VIEWER))],
    )
    async def describe() -> SystemView:
        return SystemView(
            version=version("seawall"),
            started_at=started_at,
            state=plane.store.url,
            ready=plane.health().ready,
            workers=[_worker(worker) for worker in plane.workers],
            systems=[system.name for system in plane.systems],
        )

    @router.post(
        "/api/system/reload",
        operation_id="reload_configuration",
        summary="Read the configuration again",
        description="Validates and provisions the new configuration first; a bad one leaves the running one in force.",
    )
    async def reload(caller: Annotated[Caller, Depends(access.requires(Role.ADMIN))]) -> ReloadView:
        result = await plane.reload()
        view = ReloadView(changed=list(result.changed), needs_restart=list(result.needs_restart))
        await access.record(caller, "reload", "configuration", None, view.model_dump())
        return view

    return router


def _worker(worker: WorkerStatus) -> WorkerView:
    return WorkerView(
        slot=worker.slot,
        pid=worker.pid,
        connected=worker.connected,
        connected_at=_time(worker.connected_at),
        last_report_at=_time(worker.last_report_at),
    )


def _time(seconds: float) -> datetime | None:
    """Return the time, None for never."""
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
