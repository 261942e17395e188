"""What makes a message acceptable: exact framing, one authority, a target in a known form; anything else is refused.

The parser (llhttp, strict) has already refused bare line feeds, folded fields, white space before a colon, bytes
outside the grammar, repeated or malformed Content-Length, and Transfer-Encoding together with Content-Length. What is
left to check is stated here, with its section of RFC 9110 or RFC 9112.
"""

import re
from collections.abc import Sequence

from seawall.core.request import Header
from seawall.gateway.problem import Problem

__all__ = ["CHUNKED", "NO_BODY", "RequestHead", "connection_tokens", "read_request_head", "routing_path"]

NO_BODY = 0
CHUNKED = -1

_AUTHORITY = re.compile(rb"(?:\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._~!$&'()*+,;=%-]{1,255})(?::[0-9]{1,5})?\Z")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([/?].*)?\Z", re.IGNORECASE | re.DOTALL)
_DOT_SEGMENT = re.compile(rb"/\.{1,2}(?:/|\Z)|//")
_UNRESERVED = re.compile(
    rb"(?:%[0-9A-F]?(?=%))+(?:%[0-9A-F]{2})?"
    rb"|%(2[DE]|3[0-9]|[46][1-9A-F]|[57][0-9A]|5F|7E)",
    re.IGNORECASE,
)
"""A malformed escape with the sound one that follows it, which decoded could complete it; or an escaped unreserved."""
_REFUSED_METHODS = frozenset(
    {
        "ANNOUNCE",
        "CONNECT",
        "DESCRIBE",
        "FLUSH",
        "GET_PARAMETER",
        "PAUSE",
        "PLAY",
        "RECORD",
        "REDIRECT",
        "SETUP",
        "SET_PARAMETER",
        "SOURCE",
        "TEARDOWN",
    }
)
"""CONNECT, and the methods of RTSP and Icecast, which the parser takes too with versions that look like HTTP's."""
_SIGNIFICANT = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"})
_MAX_AUTHORITIES = 4096
_sound_authorities: set[bytes] = set()
"""Authorities found well-formed lately: nearly every request repeats one, and the pattern costs 0.3 us."""
_REQUIRED = frozenset({b"content-length", b"host", b"transfer-encoding"})


class RequestHead:
    """What the head says about the message: its origin-form target, its authority and the length of its body.

    Attributes:
        length: bytes of body, `CHUNKED`, or `NO_BODY`.
        dropped: fields that `Connection` names for this hop only, lower case; empty for most requests.
        expects_continue: whether the client waits for a 100 before it sends the body.
    """

    __slots__ = ("dropped", "expects_continue", "host", "length", "target")

    def __init__(self, target: bytes, host: bytes, length: int) -> None:
        self.target = target
        self.host = host
        self.length = length
        self.dropped: frozenset[bytes] = frozenset()
        self.expects_continue = False


def _bad(detail: str, *, status: int = 400, code: str = "bad-request") -> Problem:
    return Problem(status, code, detail)


def read_request_head(  # noqa: C901, PLR0911, PLR0912 - one branch for each rule, in the order of the message
    method: str, target: bytes, version: str, headers: Sequence[Header]
) -> RequestHead | Problem:
    """Return what the head means, or the problem to refuse it with."""
    if version not in {"1.1", "1.0"}:
        return _bad(f"HTTP/{version} is not spoken here; use HTTP/1.1", status=505, code="http-version-not-supported")
    host: bytes | None = None
    length = NO_BODY
    dropped: frozenset[bytes] = frozenset()
    expects_continue = False
    for name, value in headers:
        if name not in _SIGNIFICANT:
            continue
        if name == b"host":
            if host is not None:
                return _bad("more than one Host field")
            host = value.strip()
        elif name == b"content-length":
            # The parser has refused repeats and anything but digits; llhttp keeps it below 2^64.
            length = int(value)
        elif name == b"transfer-encoding":
            if version == "1.0":
                return _bad("Transfer-Encoding is not defined for HTTP/1.0")  # RFC 9112 section 6.1
            if value.strip().lower() != b"chunked":
                return _bad(
                    "the only transfer coding spoken here is chunked", status=501, code="transfer-coding-unknown"
                )
            length = CHUNKED
        elif name == b"connection":
            tokens = connection_tokens(value)
            if tokens & _REQUIRED:
                return _bad("Connection names a field that frames or routes the message")
            dropped |= tokens
        elif name == b"expect":
            if value.strip().lower() != b"100-continue":
                return _bad("the only expectation known is 100-continue", status=417, code="expectation-failed")
            expects_continue = version == "1.1"
    if host is None and version == "1.1":
        return _bad("HTTP/1.1 needs a Host field")  # RFC 9112 section 3.2
    head = _read_target(method, target, host or b"")
    if isinstance(head, Problem):
        return head
    head.length = length
    head.dropped = dropped
    head.expects_continue = expects_continue
    return head


def _read_target(method: str, target: bytes, host: bytes) -> RequestHead | Problem:  # noqa: C901 - as above
    if method in _REFUSED_METHODS:
        return _bad("this gateway opens no tunnels and speaks no RTSP", status=501, code="method-not-implemented")
    if target[:1] != b"/":
        absolute = _ABSOLUTE.match(target)
        if absolute is not None:
            host = absolute.group(1)  # RFC 9112 section 3.2.2: the target's authority wins over Host
            target = absolute.group(2) or (b"*" if method == "OPTIONS" else b"/")  # RFC 9112 section 3.2.4
            if target[:1] == b"?":
                target = b"/" + target
            if not host:
                return _bad("the request target has no authority")
        elif target != b"*" or method != "OPTIONS":
            return _bad("the request target must be a path or an http(s) URL")
    if b"#" in target:
        return _bad("a request target has no fragment")
    if host and host not in _sound_authorities:
        if _AUTHORITY.match(host) is None:
            return _bad("the authority is malformed")
        if len(_sound_authorities) >= _MAX_AUTHORITIES:
            _sound_authorities.clear()
        _sound_authorities.add(host)
    return RequestHead(target, host.lower(), NO_BODY)


def connection_tokens(value: bytes) -> frozenset[bytes]:
    """Return the lower-case field names that a Connection field names, without `close` and `keep-alive`."""
    lowered = value.strip().lower()
    if lowered in {b"keep-alive", b"close"}:
        return frozenset()
    return frozenset(token.strip() for token in lowered.split(b",")) - {b"", b"close", b"keep-alive"}


def routing_path(path: bytes) -> bytes:
    """Return the path that routes are matched on: unreserved characters decoded, dot segments resolved, slashes merged.

    RFC 3986 sections 6.2.2.2 and 5.2.4. The upstream gets the target as it came. Matching on the resolved path keeps
    `/public/../admin` and `/public/%2e%2e/%61dmin` from being taken for something under `/public`. Other escapes,
    `%2f` above all, and malformed ones stay as they are.
    """
    if b"%" in path:
        path = _UNRESERVED.sub(_decoded, path)
    if _DOT_SEGMENT.search(path) is None:
        return path
    resolved: list[bytes] = []
    segments = path.split(b"/")
    for segment in segments:
        if segment == b"..":
            if resolved:
                resolved.pop()
        elif segment not in {b"", b"."}:
            resolved.append(segment)
    tail = b"/" if resolved and segments[-1] in {b"", b".", b".."} else b""
    return b"/" + b"/".join(resolved) + tail


def _decoded(escape: re.Match[bytes]) -> bytes:
    digits = escape[1]
    return escape[0] if digits is None else bytes.fromhex(digits.decode())
