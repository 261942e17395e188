"""Refusals of the admin API: RFC 9457 problem+json with a stable code, never a stack trace."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from seawall.core.errors import (
    ConfigurationError,
    ConflictError,
    InvalidError,
    NotFoundError,
    SeawallError,
    StateCorruptError,
    StateError,
    StateTimeoutError,
    StateUnavailableError,
)

__all__ = ["PROBLEM_TYPE", "STATUS_OF_ERROR", "FieldProblem", "Problem", "ProblemError", "problem_of", "status_of"]

PROBLEM_TYPE = "application/problem+json"

STATUS_OF_ERROR: dict[type[SeawallError], int] = {
    ConfigurationError: 422,
    ConflictError: 409,
    InvalidError: 422,
    NotFoundError: 404,
    SeawallError: 500,
    StateCorruptError: 500,
    StateError: 500,
    StateTimeoutError: 503,
    StateUnavailableError: 503,
}
"""HTTP status by error class; the nearest ancestor counts."""

_CODE_OF_STATUS = {
    400: "bad-request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    408: "request-timeout",
    409: "conflict",
    410: "gone",
    412: "precondition-failed",
    413: "body-too-large",
    415: "unsupported-media-type",
    421: "host-refused",
    422: "validation-failed",
    428: "precondition-required",
    429: "too-many-attempts",
    500: "internal-error",
    503: "unavailable",
}


class FieldProblem(BaseModel):
    """One finding about the request or the configuration."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"pointer": "/body/weight", "detail": "Input should be greater than 0"}]}
    )

    pointer: Annotated[
        str | None,
        Field(
            description="Where in the request: a JSON pointer whose first part is body, query, path or header and "
            "whose rest leads through what was sent. Left out where the finding is not about the request."
        ),
    ] = None
    detail: Annotated[str, Field(description="What is wrong, for people.")]


class Problem(BaseModel):
    """RFC 9457 problem details."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:seawall:problem:forbidden",
                    "title": "Forbidden",
                    "status": 403,
                    "detail": "This needs the role operator; the token 'grafana' has viewer.",
                    "code": "forbidden",
                    "request_id": "0b5e1c9a7f3d4c2e",
                }
            ]
        }
    )

    type: Annotated[str, Field(description="`urn:seawall:problem:` and the code.")]
    title: Annotated[str, Field(description="The status in words.")]
    status: Annotated[int, Field(description="HTTP status code.", ge=400, le=599)]
    detail: Annotated[str, Field(description="What happened, for people.")]
    code: Annotated[str, Field(description="Stable identifier that programs may match on.")]
    request_id: Annotated[str, Field(description="Also sent as `X-Request-Id`; look for it in the logs and the audit.")]
    hint: Annotated[str | None, Field(description="What to do about it.")] = None
    errors: Annotated[list[FieldProblem] | None, Field(description="Every finding, where there are several.")] = None


class ProblemError(Exception):
    """A refusal that is answered as a problem.

    Args:
        status: HTTP status code.
        detail: what happened, for people.
        code: stable identifier; the status decides when it is empty.
        hint: what to do about it.
        errors: every finding, where there are several.
        headers: fields to send with it, such as `Retry-After`.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str = "",
        hint: str = "",
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.code = code or _CODE_OF_STATUS.get(status, "error")
        self.hint = hint
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    def response(self, request_id: str) -> JSONResponse:
        """Return the answer to send."""
        problem = Problem(
            type=f"urn:seawall:problem:{self.code}",
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            code=self.code,
            request_id=request_id,
            hint=self.hint or None,
            errors=list(self.errors) or None,
        )
        content: dict[str, Any] = problem.model_dump(exclude_none=True)
        return JSONResponse(content, status_code=self.status, headers=self.headers, media_type=PROBLEM_TYPE)


def status_of(error: SeawallError) -> int:
    """Return the status of an error class, or of its nearest ancestor in the table."""
    return next(STATUS_OF_ERROR[kind] for kind in type(error).__mro__ if kind in STATUS_OF_ERROR)


def problem_of(error: SeawallError) -> ProblemError:
    """Return the refusal that tells a caller about one of Seawall's own errors."""
    status = status_of(error)
    findings = error.problems if isinstance(error, ConfigurationError) else ()
    return ProblemError(
        status,
        error.message,
        code=error.code,
        hint=error.hint,
        errors=[FieldProblem(detail=finding) for finding in findings],
        headers={"Retry-After": "1"} if status == 503 else None,
    )
