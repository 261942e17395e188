"""Refusals as RFC 9457 problem+json, with a stable code and the request id."""

from http import HTTPStatus

import msgspec

__all__ = ["REASONS", "Problem", "problem_response"]

REASONS: dict[int, bytes] = {status.value: status.phrase.encode() for status in HTTPStatus}


class Problem(msgspec.Struct, frozen=True):
    """What the gateway answers when it answers by itself.

    Attributes:
        status: HTTP status code.
        code: stable identifier that programs may match on; the problem's type is `urn:seawall:problem:<code>`.
        detail: what happened and what to do, for people.
        retry_after: seconds for the `Retry-After` field; 0 leaves it out.
    """

    status: int
    code: str
    detail: str
    retry_after: int = 0


def problem_response(problem: Problem, request_id: str, *, close: bool, head: bool = False) -> bytes:
    """Return the whole response; without a body for an answer to HEAD, though with the length it would have had."""
    body = msgspec.json.encode(
        {
            "type": f"urn:seawall:problem:{problem.code}",
            "title": REASONS.get(problem.status, b"Error").decode(),
            "status": problem.status,
            "detail": problem.detail,
            "code": problem.code,
            "request_id": request_id,
        }
    )
    lines = [
        b"HTTP/1.1 %d %b" % (problem.status, REASONS.get(problem.status, b"")),
        b"content-type: application/problem+json",
        b"content-length: %d" % len(body),
        b"cache-control: no-store",
    ]
    if request_id:
        lines.append(b"x-request-id: " + request_id.encode("latin-1"))
    if problem.retry_after:
        lines.append(b"retry-after: %d" % problem.retry_after)
    if close:
        lines.append(b"connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if head else body)
