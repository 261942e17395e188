"""Refusals as RFC 9457 problem+json, with a stable code and the request id."""

from collections.abc import Iterable
from http import HTTPStatus

import msgspec

from seawall.core.request import Header

__all__ = ["REASONS", "Problem", "own_response", "problem_response"]

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


def problem_response(
    problem: Problem, request_id: str, *, close: bool, head: bool = False, extra: bytes = b""
) -> bytes:
    """Return the whole response; without a body for an answer to HEAD, though with the length it would have had.

    Args:
        problem: what to say.
        request_id: empty leaves it out.
        close: whether the connection ends with it.
        head: whether it answers HEAD.
        extra: further fields, encoded.
    """
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
    fields = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    if problem.retry_after:
        fields.append((b"retry-after", b"%d" % problem.retry_after))
    return own_response(problem.status, fields, body, request_id, close=close, head=head, extra=extra)


def own_response(
    status: int,
    fields: Iterable[Header],
    body: bytes,
    request_id: str,
    *,
    close: bool,
    head: bool = False,
    extra: bytes = b"",
) -> bytes:
    """Return a response that the gateway gives by itself, with these fields; the rest as `problem_response`."""
    lines = [b"HTTP/1.1 %d %b" % (status, REASONS.get(status, b"")), *[b"%b: %b" % field for field in fields]]
    if request_id:
        lines.append(b"x-request-id: " + request_id.encode("latin-1"))
    if close:
        lines.append(b"connection: close")
    return b"\r\n".join(lines) + b"\r\n" + extra + b"\r\n" + (b"" if head else body)
