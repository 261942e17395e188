"""The heads that go on: hop-by-hop fields taken off, who forwarded what put on; RFC 9110 section 7.6, RFC 7239."""

import re
from collections.abc import Sequence

from seawall.core.identity import TrustedProxies, forwarded_chain, hop_address, read_forwarded
from seawall.core.request import Header, Request
from seawall.gateway.framing import CHUNKED, NO_BODY, RequestHead, connection_tokens
from seawall.gateway.problem import REASONS
from seawall.gateway.upstream import UNTIL_CLOSE
from seawall.pipeline.passage import Rewrite

__all__ = ["RESPONSE_DROPPED", "ForwardingPolicy", "RequestFields", "response_head"]

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_FORWARDING = frozenset(
    {
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-real-ip",
    }
)
_REQUEST_DROPPED = _HOP_BY_HOP | _FORWARDING | {b"host", b"content-length", b"x-request-id"}
RESPONSE_DROPPED = _HOP_BY_HOP | {b"content-length", b"endpoint-load-metrics", b"x-request-id"}
"""Fields of a response that are for this hop, or that the gateway sets itself."""
_LOAD = b"endpoint-load-metrics"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}")
_HOST = re.compile(r'[^\s,;"\\]{1,255}')
_MAX_KNOWN = 4096
"""Clients whose forwarding fields are remembered."""

_STATUS_LINES = {status: b"HTTP/1.1 %d %b\r\n" % (status, phrase) for status, phrase in REASONS.items()}


class RequestFields:
    """A request head on its way upstream, in parts around the Host field so that a retry can change the authority."""

    __slots__ = ("fields", "host", "start")

    def __init__(self, start: bytes, host: bytes, fields: bytes) -> None:
        self.start = start
        self.host = host
        self.fields = fields

    def encode(self, authority: bytes) -> bytes:
        """Return the head with this authority, or with the client's own when empty."""
        return b"%b%b\r\n%b" % (self.start, authority or self.host, self.fields)


class ForwardingPolicy:
    """How the gateway names itself and whose word on earlier hops it takes.

    Args:
        trusted: proxies whose forwarding fields are kept and extended; everybody else's are replaced.
        append: keep the chain that a trusted proxy sent; otherwise start it anew with the client's address.
        via: pseudonym for `Via`; empty leaves `Via` as it is.
        trust_request_id: take `X-Request-Id` from trusted proxies.

    Attributes:
        dropped: names, in lower case, of request fields that do not go on as they came.
    """

    def __init__(self, trusted: TrustedProxies, *, append: bool, via: str, trust_request_id: bool) -> None:
        self.dropped = _REQUEST_DROPPED
        self.trusted = trusted
        self.trust_request_id = trust_request_id
        self.via = f"via: 1.1 {via}\r\n".encode("latin-1") if via else b""
        """The encoded `Via` field, for requests and responses; empty without a pseudonym."""
        self._extends = append and bool(trusted)
        self._known: dict[tuple[str, bytes, str], bytes] = {}

    def keep(self, names: frozenset[bytes]) -> None:
        """Let request fields of these names, in lower case, end here besides those that always do."""
        self.dropped = _REQUEST_DROPPED | names

    def request_fields(
        self, request: Request, head: RequestHead, id_field: bytes, rewrite: Rewrite | None = None
    ) -> RequestFields:
        """Return the upstream head of this request.

        Args:
            request: as it came.
            head: what it says about the message.
            id_field: its X-Request-Id, encoded.
            rewrite: how its fields change besides; None for not at all.
        """
        headers = request.headers
        dropped = head.dropped if rewrite is None else head.dropped | rewrite.dropped
        stays = self.dropped | dropped if dropped else self.dropped
        fields = [b"%b: %b\r\n" % field for field in headers if field[0] not in stays]
        if rewrite is not None:
            fields += [b"%b: %b\r\n" % field for field in rewrite.added]
        if head.length > 0:
            fields.append(b"content-length: %d\r\n" % head.length)
        elif head.length == CHUNKED:
            fields.append(b"transfer-encoding: chunked\r\n")
        elif request.method in {"POST", "PUT", "PATCH"}:
            fields.append(b"content-length: 0\r\n")
        if self._extends and self.trusted.trusts(request.peer):
            fields.append(self._extended(request))
        else:
            fields.append(self._anew(request))
        fields.append(id_field)
        fields.append(b"\r\n")
        return RequestFields(
            b"%b %b HTTP/1.1\r\nhost: " % (request.method.encode(), request.target), request.host, b"".join(fields)
        )

    def _anew(self, request: Request) -> bytes:
        """Return the fields for a peer that is not believed; remembered, since a client's requests share them."""
        key = (request.client, request.host, request.scheme)
        fields = self._known.get(key)
        if fields is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            client = request.client or "unknown"
            fields = self._known[key] = self._encode(
                request, [_element(request, client)], [client.encode()], request.scheme.encode(), request.host
            )
        return fields

    def _extended(self, request: Request) -> bytes:
        """Return the forwarding fields with this hop added to what the trusted proxy sent."""
        peer = request.peer or "unknown"
        lists: dict[bytes, list[bytes]] = {}
        for name, value in request.headers:
            if name in _FORWARDING:
                lists.setdefault(name, []).append(value)
        source = self.trusted.source
        hops = [hop_address(hop) or "unknown" for hop in forwarded_chain(request.headers, source)]
        if source == b"forwarded":
            # An open quotation would swallow what follows it, our own element too.
            forwarded = [
                value if read_forwarded(value) is not None else b"for=unknown" for value in lists.get(source, [])
            ]
            chain = [hop.encode() for hop in hops]
            element = self.trusted.client_element(request.headers)
            scheme, host = element.get("proto", ""), element.get("host", "")
            protos = [scheme.lower().encode() if _SCHEME.fullmatch(scheme) else request.scheme.encode()]
            hosts = [host.encode("latin-1") if _HOST.fullmatch(host) else request.host]
        else:
            forwarded = [b"for=" + _node(hop) for hop in hops]
            chain = lists.get(source, [])
            protos = lists.get(b"x-forwarded-proto", [request.scheme.encode()])
            hosts = lists.get(b"x-forwarded-host", [request.host])
        return self._encode(
            request,
            [*forwarded, _element(request, peer)],
            [*chain, peer.encode()],
            protos[-1],
            hosts[-1],
        )

    def _encode(
        self, request: Request, forwarded: list[bytes], chain: list[bytes], scheme: bytes, host: bytes
    ) -> bytes:
        client = (request.client or "unknown").encode()
        return (
            b"forwarded: %b\r\nx-forwarded-for: %b\r\nx-forwarded-proto: %b\r\nx-forwarded-host: %b\r\n"
            b"x-real-ip: %b\r\n%b" % (b", ".join(forwarded), b", ".join(chain), scheme, host, client, self.via)
        )


def _node(address: str) -> bytes:
    return f'"[{address}]"'.encode() if ":" in address else address.encode()  # RFC 7239 section 6


def _element(request: Request, address: str) -> bytes:
    return b'for=%b;host="%b";proto=%b' % (_node(address), request.host, request.scheme.encode())


def response_head(
    status: int,
    headers: Sequence[Header],
    length: int,
    extra: bytes,
    *,
    modern: bool,
    bodiless: bool,
    dropped: frozenset[bytes] = RESPONSE_DROPPED,
) -> tuple[bytes, bytes | None]:
    """Return the client's response head and the reported load, if the upstream sent one.

    Args:
        status: as the upstream sent it.
        headers: as the upstream sent them.
        length: bytes of body, `CHUNKED`, `NO_BODY` or `UNTIL_CLOSE`.
        extra: further fields, encoded.
        modern: the client speaks HTTP/1.1, so that a body of unknown length can be chunked.
        bodiless: the response has no body whatever `length` says (HEAD, 204, 304).
        dropped: fields that stay here, lower case: `RESPONSE_DROPPED`, and those that give way to fields in `extra`.
    """
    fields: list[bytes] = []
    load: bytes | None = None
    named: frozenset[bytes] = frozenset()
    for name, value in headers:
        lowered = name.lower()
        if lowered in dropped:
            if lowered == b"connection":
                named |= connection_tokens(value)
            elif lowered == _LOAD:
                load = value
        else:
            fields.append(b"%b: %b\r\n" % (name, value))
    if named:
        fields = [field for field in fields if field.partition(b":")[0].lower() not in named]
    if length >= NO_BODY:
        if status != 204 and (length or not bodiless or status == 304):
            fields.append(b"content-length: %d\r\n" % length)
    elif modern and status != 204 and (length == CHUNKED or not bodiless):
        fields.append(b"transfer-encoding: chunked\r\n")
    line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
    return b"%b%b%b\r\n" % (line, b"".join(fields), extra), load


assert UNTIL_CLOSE < CHUNKED < NO_BODY
