"""The admin API as one ASGI application over a control plane."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse

from seawall.admin.access import AdminAccess
from seawall.admin.audit import AuditTrail
from seawall.admin.authentication import Authenticator
from seawall.admin.description import allowed_methods, describe
from seawall.admin.guard import Guard, HostRule
from seawall.admin.instruments import AdminCounters
from seawall.admin.problems import FieldProblem, ProblemError, problem_of
from seawall.admin.reference import reference_page
from seawall.admin.routes.audit import audit_router
from seawall.admin.routes.health import health_router
from seawall.admin.routes.system import system_router
from seawall.admin.routes.tokens import tokens_router
from seawall.config.address import parse_listen
from seawall.config.admin import AdminSettings
from seawall.config.problems import without_echoes
from seawall.config.section import PROBLEMS
from seawall.control.plane import ControlPlane
from seawall.core.clock import Clock, SystemClock
from seawall.core.errors import SeawallError

__all__ = ["create_app"]

_log = logging.getLogger("seawall.admin")


def create_app(
    plane: ControlPlane,
    settings: AdminSettings,
    *,
    clock: Clock | None = None,
    hosts: frozenset[str] = frozenset(),
) -> FastAPI:
    """Return the admin API.

    Args:
        plane: the control plane that it shows and changes.
        settings: where it listens and what is open; the token in it is read once.
        clock: the machine's unless given.
        hosts: names that a request may ask for besides addresses, `localhost` and the machine's own.
    """
    clock = clock or SystemClock()
    counters = AdminCounters()
    authenticator = Authenticator(plane.store, clock, counters, static_token=settings.token.get_secret_value())
    trail = AuditTrail(plane.store, clock, counters)
    access = AdminAccess(trail)
    app = FastAPI(
        title="Seawall admin API",
        version=version("seawall"),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
    )
    app.include_router(
        health_router(
            plane, access, counters, open_ready=settings.open_health_ready, open_metrics=settings.open_metrics
        )
    )
    app.include_router(system_router(plane, access, clock))
    app.include_router(audit_router(trail, access))
    app.include_router(tokens_router(plane.store, access, authenticator, clock))
    for system in plane.systems:
        if system.routes is not None:
            app.include_router(system.routes(plane.controllers[system.name], access))
    _add_description(app)
    _add_refusals(app)
    open_paths = {"/health/ready": settings.open_health_ready, "/metrics": settings.open_metrics}
    app.add_middleware(
        Guard,
        authenticator=authenticator,
        counters=counters,
        hosts=HostRule((parse_listen(settings.listen).host, *hosts)),
        open_paths=frozenset(path for path, is_open in open_paths.items() if is_open),
    )
    app.state.authenticator = authenticator
    return app


def _operation_id(route: APIRoute) -> str:
    """Name an operation by its function where the route does not; a generated name would change with the path."""
    return route.name


def _add_description(app: FastAPI) -> None:
    async def description() -> JSONResponse:
        return JSONResponse(describe(app))

    async def page() -> HTMLResponse:
        return HTMLResponse(reference_page(describe(app)))

    app.add_api_route("/openapi.json", description, include_in_schema=False)
    app.add_api_route("/docs", page, include_in_schema=False)
    # FastAPI's documented way to extend its description.
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]


def _add_refusals(app: FastAPI) -> None:
    async def on_problem(request: Request, error: ProblemError) -> JSONResponse:
        return error.response(request.state.request_id)

    async def on_error(request: Request, error: SeawallError) -> JSONResponse:
        problem = problem_of(error)
        if problem.status >= 500:
            _log.error("request %s (%s %s): %s", request.state.request_id, request.method, request.url.path, error)
        return problem.response(request.state.request_id)

    async def on_http(request: Request, error: HTTPException) -> JSONResponse:
        return _from_http(app, request, error).response(request.state.request_id)

    async def on_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return _from_validation(request, error).response(request.state.request_id)

    app.exception_handler(ProblemError)(on_problem)
    app.exception_handler(SeawallError)(on_error)
    app.exception_handler(HTTPException)(on_http)
    app.exception_handler(RequestValidationError)(on_invalid)


def _from_http(app: FastAPI, request: Request, error: HTTPException) -> ProblemError:
    path = request.url.path
    headers = dict(error.headers or {})
    detail = str(error.detail)
    if error.status_code == 404 and detail == "Not Found":
        detail = f"There is nothing at {path}."
    elif error.status_code == 405:
        methods = ", ".join(allowed_methods(describe(app), path)) or "GET, HEAD"
        headers["Allow"] = methods
        detail = f"{path} does not take {request.method}, but {methods}."
    return ProblemError(error.status_code, detail, headers=headers)


def _from_validation(request: Request, error: RequestValidationError) -> ProblemError:
    """Tell every finding; a body that is no JSON at all is a bad request."""
    findings = without_echoes(error.errors())
    if any(finding["type"] == "json_invalid" for finding in findings):
        reason = findings[0].get("ctx", {}).get("error", "")
        return ProblemError(400, f"The body is not JSON: {reason}.", code="malformed-json")
    tagged = _is_tagged(request)
    return ProblemError(
        422,
        "The request is not acceptable; errors tells every finding.",
        errors=[
            FieldProblem(pointer=_pointer(place, tagged=tagged), detail=detail)
            for finding in findings
            for place, detail in _details(finding)
        ],
    )


def _details(finding: Mapping[str, Any]) -> Iterator[tuple[Sequence[str | int], str]]:
    """Yield the place and words of a finding; what a section of the configuration found by itself may be several."""
    place = finding["loc"]
    if finding["type"] == PROBLEMS:
        for below, text, other in finding["ctx"]["findings"]:
            yield (*place, *below), str(text).replace("{other}", ".".join(str(part) for part in other))
        return
    yield place, str(finding["msg"]).removeprefix("Value error, ")  # pydantic's words about our own


def _pointer(place: Sequence[str | int], *, tagged: bool) -> str:
    """Return a place as a JSON pointer (RFC 6901); in a tagged union pydantic names the member after `body`."""
    parts = [str(part) for part in (place[0], *place[2 if tagged and place[0] == "body" else 1 :])]
    return "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in parts)


def _is_tagged(request: Request) -> bool:
    """Tell whether the body that the request's route takes is a union with a discriminator."""
    route = request.scope.get("route")
    body = route.body_field if isinstance(route, APIRoute) else None
    return body is not None and bool(body.field_info.discriminator)
