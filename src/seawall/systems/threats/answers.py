"""The answers to requests that may not go on: a refusal that gives nothing away, and the page of a challenge."""

import math
from collections.abc import Sequence
from importlib import resources

import msgspec

from seawall.systems.threats.model import Action
from seawall.systems.threats.ruling import CHALLENGE_PATH, PASS_COOKIE, Ruling

__all__ = ["Answer", "answer_of"]

Field = tuple[bytes, bytes]

_COOKIE_SECONDS = 3600
_TITLES = {403: "Forbidden", 429: "Too Many Requests"}
_DETAILS = {
    "csrf": "This request was made on behalf of another site.",
    "flood": "There are too many requests from here at the moment.",
    "unsolved": "This does not solve the challenge, or it came too late.",
}
_DETAIL = "This request was refused. If you think it should not have been, tell the operators the event's id."
_CODES = {"csrf": "cross-site-request", "flood": "too-many-requests", "unsolved": "challenge-unsolved"}


class Answer(msgspec.Struct, frozen=True):
    """A whole answer; `fields` hold `content-type` and `content-length`."""

    status: int
    fields: tuple[Field, ...]
    body: bytes


def answer_of(ruling: Ruling, request_id: str = "", *, secure: bool = False, wants_page: bool = True) -> Answer:
    """Return the answer to a request that a ruling stops.

    What the client is told is that it was refused and under which id operators find out why; never which rule it met.

    Args:
        ruling: with the action `block` or `challenge`.
        request_id: as sent in `X-Request-Id`.
        secure: whether the client speaks https, so that a cookie may be kept to it.
        wants_page: whether the client takes HTML; others are told in JSON that they are challenged.
    """
    if ruling.why == "redeemed":
        return _redeemed(ruling, secure=secure)
    if ruling.action is Action.CHALLENGE and wants_page:
        return _page(ruling)
    status = 429 if ruling.why == "flood" else 403
    code = "challenged" if ruling.action is Action.CHALLENGE else _CODES.get(ruling.why, "request-blocked")
    body: dict[str, object] = {
        "type": f"urn:seawall:problem:{code}",
        "title": _TITLES[status],
        "status": status,
        "detail": _DETAILS.get(ruling.why, _DETAIL),
        "code": code,
    }
    if ruling.event:
        body["event"] = ruling.event
    if request_id:
        body["request_id"] = request_id
    encoded = msgspec.json.encode(body)
    fields: list[Field] = [*_head(b"application/problem+json", len(encoded))]
    if ruling.why == "flood":
        fields.append((b"retry-after", b"%d" % max(math.ceil(ruling.wait), 1)))
    return Answer(status, tuple(fields), encoded)


def _redeemed(ruling: Ruling, *, secure: bool) -> Answer:
    cookie = b"%b=%b; Max-Age=%d; Path=/; HttpOnly; SameSite=Lax" % (
        PASS_COOKIE,
        ruling.cookie.encode("ascii"),
        _COOKIE_SECONDS,
    )
    if secure:
        cookie += b"; Secure"
    return Answer(204, ((b"set-cookie", cookie), (b"cache-control", b"no-store")), b"")


def _page(ruling: Ruling) -> Answer:
    template = resources.files("seawall.systems.threats").joinpath("challenge.html").read_bytes()
    body = (
        template.replace(b"@CHALLENGE@", ruling.challenge.encode("ascii"))
        .replace(b"@BITS@", b"%d" % ruling.bits)
        .replace(b"@PATH@", CHALLENGE_PATH)
        .replace(b"@EVENT@", ruling.event.encode("ascii", "replace"))
    )
    policy = b"default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'"
    fields: Sequence[Field] = (
        *_head(b"text/html; charset=utf-8", len(body)),
        (b"content-security-policy", policy),
        (b"x-robots-tag", b"noindex"),
        (b"referrer-policy", b"same-origin"),
    )
    return Answer(403, tuple(fields), body)


def _head(media: bytes, length: int) -> tuple[Field, ...]:
    return (
        (b"content-type", media),
        (b"content-length", b"%d" % length),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    )
