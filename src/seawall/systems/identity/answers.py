"""What a refused caller is answered: a problem (RFC 9457) and how to authenticate (RFC 9110 section 11.6.1)."""

import math

import msgspec

from seawall.core.request import Header
from seawall.systems.identity.model import IdentityRefusal

__all__ = ["refusal_of"]

_TITLES = {401: "Unauthorized", 503: "Service Unavailable"}


def refusal_of(found: IdentityRefusal, request_id: str = "") -> tuple[int, tuple[Header, ...], bytes]:
    """Return (status, fields, body) of the answer to a refused request.

    Args:
        found: why it is refused.
        request_id: id of the request, for the reader of logs; empty leaves it out.
    """
    problem: dict[str, object] = {
        "type": f"urn:seawall:problem:{found.code}",
        "title": _TITLES.get(found.status, "Error"),
        "status": found.status,
        "detail": found.detail,
        "code": found.code,
    }
    if request_id:
        problem["request_id"] = request_id
    body = msgspec.json.encode(problem)
    fields = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    if found.challenge:
        fields.append((b"www-authenticate", found.challenge.encode("latin-1")))
    if found.retry_after:
        fields.append((b"retry-after", b"%d" % max(math.ceil(found.retry_after), 1)))
    return found.status, tuple(fields), body
