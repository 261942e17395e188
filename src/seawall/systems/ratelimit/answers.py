"""What a limited client is sent: the fields that tell its quota, and the answer to a refused request."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from seawall.systems.ratelimit.headers import Field, FieldWriter, Problem, retry_after, x_fields
from seawall.systems.ratelimit.model import LimitResult, Reason

__all__ = ["encoded_fields", "fields_of", "refusal_of"]

_USUAL = ("ratelimit",)
_CODES = {kind: kind.value.rpartition("#")[2] for kind in Problem}


def fields_of(result: LimitResult, families: Sequence[str]) -> list[Field]:
    """Return the header fields that tell a client its quota; none where nothing limits it.

    Args:
        result: of the request.
        families: `ratelimit` for `RateLimit-Policy` and `RateLimit`, `x-ratelimit` for the older three.
    """
    fields: list[Field] = []
    if "ratelimit" in families:
        policies, states = [], []
        for rule, _, _, limits, verdicts in result.decisions:
            if rule.enforced and verdicts:
                policies.append(rule.writer.policy(limits))
                states.append(rule.writer.state([verdict[2] for verdict in verdicts], [one[3] for one in verdicts]))
        if policies:
            fields.append((b"ratelimit-policy", ", ".join(policies).encode("ascii")))
            fields.append((b"ratelimit", ", ".join(states).encode("ascii")))
    if "x-ratelimit" in families and result.rule and result.limit < math.inf and result.decisions:
        fields.extend(x_fields(result.limit, result.remaining, result.reset_after))
    return fields


def encoded_fields(result: LimitResult, families: tuple[str, ...]) -> bytes:
    """Return what `fields_of` returns as it is sent, each field with its end of line; the usual case is quick."""
    decisions = result.decisions
    if len(decisions) == 1 and families == _USUAL:
        rule, _, _, limits, verdicts = decisions[0]
        if not rule.enforced or not verdicts:
            return b""
        writer: FieldWriter = rule.writer
        if len(verdicts) == 1:
            return writer.lines(limits, verdicts[0][2], verdicts[0][3])
        return writer.all_lines(limits, [(verdict[2], verdict[3]) for verdict in verdicts])
    return b"".join([b"%b: %b\r\n" % field for field in fields_of(result, families)])


def refusal_of(result: LimitResult, families: Sequence[str], *, request_id: str = "") -> tuple[int, list[Field], bytes]:
    """Return status, fields and body of the answer to a refused request.

    What is told is what the client may know: its quota and when to come back, neither keys nor factors.

    Args:
        result: of the request.
        families: as of `fields_of`.
        request_id: told in the body along with a stable `code`, where it is given.
    """
    wait = retry_after(result.retry_after)
    kind, detail = _reason(result)
    status = 503 if kind is Problem.REDUCED_CAPACITY else 429
    body: dict[str, Any] = {"type": kind.value, "title": _TITLES[kind], "status": status}
    if math.isinf(result.retry_after):
        body["detail"] = (
            "This is more than the quota ever allows." if result.reason is Reason.QUOTA_EXCEEDED else detail
        )
    else:
        body["detail"] = f"{detail} Try again in {wait} s."
    if kind is Problem.QUOTA_EXCEEDED:
        body["violated-policies"] = [window.name for window, verdict in _windows(result) if not verdict[0]]
    if request_id:
        body["code"] = _CODES[kind]
        body["request_id"] = request_id
    encoded = msgspec.json.encode(body)
    fields = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(encoded)),
        (b"cache-control", b"no-store"),
        (b"retry-after", b"%d" % wait),
        *fields_of(result, families),
    ]
    return status, fields, encoded


_TITLES = {
    Problem.QUOTA_EXCEEDED: "Quota exceeded",
    Problem.ABNORMAL_USAGE: "Abnormal usage detected",
    Problem.REDUCED_CAPACITY: "Temporarily reduced capacity",
}


def _reason(result: LimitResult) -> tuple[Problem, str]:
    """Return the problem's type, and what to say about it."""
    if result.reason is Reason.SHED:
        return Problem.REDUCED_CAPACITY, "The server is overloaded and serves more important requests first."
    if result.reason is Reason.UNAVAILABLE:
        return Problem.REDUCED_CAPACITY, "Whether there is room for this request cannot be told at the moment."
    if result.reason is Reason.BLOCKED:
        return Problem.ABNORMAL_USAGE, "Requests from here are refused for a while."
    if result.reason is Reason.CONCURRENCY:
        limit = math.floor(result.limit)
        return Problem.QUOTA_EXCEEDED, f"At most {limit} requests may be in progress at the same time."
    return Problem.QUOTA_EXCEEDED, "The quota is used up."


def _windows(result: LimitResult) -> Iterable[tuple[Any, Any]]:
    for rule, _, _, _, verdicts in result.decisions:
        yield from zip(rule.windows, verdicts, strict=True)
