"""The OpenAPI description, complete: every operation names every problem that it may answer with."""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from seawall.admin.guard import LIVENESS
from seawall.admin.problems import PROBLEM_TYPE, FieldProblem, Problem

__all__ = ["TAGS", "allowed_methods", "describe"]

TAGS = [
    {"name": "system", "description": "What runs, and reloading its configuration."},
    {"name": "tokens", "description": "Who may call."},
    {"name": "audit", "description": "Who changed what."},
    {"name": "health", "description": "Probes."},
    {"name": "metrics", "description": "Scrapes."},
]

_SUMMARY = "The admin API of Seawall. Every refusal is an RFC 9457 problem with a stable code."

_EVERYWHERE = (400, 421, 500)
_WITH_TOKEN = (401, 403, 429, 503)
_WITH_BODY = (408, 413, 415, 422)
_METHODS = frozenset({"get", "put", "post", "delete", "patch"})
_HEADERS = {
    401: {"WWW-Authenticate": "How to authenticate."},
    429: {"Retry-After": "Seconds to wait."},
    503: {"Retry-After": "Seconds to wait."},
}
_UNUSED = ("HTTPValidationError", "ValidationError")


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the description, made at the first call."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=_SUMMARY, routes=app.routes, tags=TAGS)
        components = schema.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        for name in _UNUSED:
            schemas.pop(name, None)
        for model in (Problem, FieldProblem):
            definition = model.model_json_schema(ref_template="#/components/schemas/{model}")
            definition.pop("$defs", None)
            schemas[model.__name__] = definition
        for path, method, operation in _operations(schema):
            _complete(path, method, operation)
        app.openapi_schema = schema
    return app.openapi_schema


def allowed_methods(schema: dict[str, Any], path: str) -> list[str]:
    """Return the methods that a path answers to, over all of its operations; RFC 9110 section 10.2.1."""
    methods: set[str] = set()
    for template, method, _ in _operations(schema):
        if re.fullmatch(re.sub(r"\\\{[^/]+?\\\}", "[^/]+", re.escape(template)), path):
            methods.add(method.upper())
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


def _operations(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            if method in _METHODS:
                yield path, method, operation


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    """Add the problems that the layers around a route answer with; what the route itself says of a status stays."""
    statuses = _statuses(path, method, operation)
    responses: dict[str, Any] = operation.setdefault("responses", {})
    for status in statuses:
        given = responses.get(str(status))
        if given is None or status == 422:
            responses[str(status)] = _problem(status, (given or {}).get("description", ""))
    for code, response in responses.items():
        if not code.startswith(("4", "5")):
            continue
        content = response.setdefault("content", {})
        plain = content.get("application/json", {}).get("schema", {})
        if plain.get("$ref") == "#/components/schemas/Problem":
            content[PROBLEM_TYPE] = content.pop("application/json")
        elif int(code) in statuses:
            content.setdefault(PROBLEM_TYPE, {"schema": {"$ref": "#/components/schemas/Problem"}})
        for name, meaning in _HEADERS.get(int(code), {}).items():
            # A problem of another origin may lack the field, so it is described but not required.
            headers = response.setdefault("headers", {})
            headers.setdefault(name, {"description": meaning, "schema": {"type": "string"}})
    operation["responses"] = dict(sorted(responses.items()))


def _statuses(path: str, method: str, operation: dict[str, Any]) -> set[int]:
    """Return the statuses that the layers around a route answer with."""
    statuses = set(_EVERYWHERE)
    if path != LIVENESS:
        statuses.update(_WITH_TOKEN)
    if method != "get":
        statuses.update(_WITH_BODY)
    if operation.get("parameters"):
        statuses.add(422)
    return statuses


def _problem(status: int, description: str) -> dict[str, Any]:
    if status == 422 or not description:
        description = HTTPStatus(status).phrase
    return {
        "description": description,
        "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
