"""The body of a request as values, by its type, or by its looks where the type says nothing."""

import re
import zlib

from seawall.core.request import Request
from seawall.systems.threats.inspection.decoding import decode_bytes
from seawall.systems.threats.inspection.documents import add_json, add_xml
from seawall.systems.threats.inspection.files import is_binary, is_worth_reading
from seawall.systems.threats.inspection.multipart import add_multipart
from seawall.systems.threats.inspection.nested import is_json
from seawall.systems.threats.inspection.policy import OverCap
from seawall.systems.threats.inspection.values import Basket, Scope, add_graphql, add_pairs
from seawall.systems.threats.model import PlaceKind

__all__ = ["add_body"]

_CHARSET = re.compile(r"charset\s{0,8}=\s{0,8}\"?([a-z0-9_-]{1,24})", re.IGNORECASE)
# Those in which a parser behind us may read what looks like nothing in ASCII; others are read as UTF-8.
_CHARSETS = frozenset(
    {"utf-16", "utf-16le", "utf-16be", "utf-32", "utf-32le", "utf-32be", "utf-7"}
    | {"cp037", "ibm037", "cp500", "ibm500", "cp1026", "ibm1026", "cp875"}
)
_FORM = re.compile(r"[\w.%\[\]$*-]{1,128}=")
_BINARY = frozenset({"image", "audio", "video", "font"})
_FILES = frozenset({"application/octet-stream", "binary/octet-stream", "application/pdf", "application/zip"})
_PROBE = 512
_OPENS = frozenset("{[")
# A file that people upload; interfaces take other documents.
_PAGE = re.compile(r"\s{0,64}<(?:!doctype\s{1,8}html|html|svg|\?xml[^>]{0,128}\?>\s{0,64}<svg)\b", re.IGNORECASE)
_GZIP = b"\x1f\x8b\x08"
_GZIP_WINDOWS = (16 + zlib.MAX_WBITS,)


def add_body(request: Request, body: bytes, basket: Basket, over_cap: OverCap) -> None:
    """Take a body apart.

    Args:
        request: its head; Content-Type and Content-Encoding are looked at.
        body: all of it, or its beginning.
        basket: takes the values, and why not everything was read.
        over_cap: `pass` leaves a body over the caps out altogether.
    """
    encoding = request.header(b"content-encoding")
    if encoding is not None and encoding.strip().lower() not in {b"", b"identity"}:
        body = _decompressed(body, encoding.strip().lower(), basket)
    elif body[:3] == _GZIP:
        # Beacons are packed by scripts that cannot say so, as it would make them ask first.
        unpacked = _unpacked(body, _GZIP_WINDOWS, basket.caps.bytes + 1)
        if unpacked:
            _add_capped(request, unpacked, basket, over_cap)
            media = (request.header(b"content-type") or b"").lower()
            if b"form" not in media:
                return
            # Who knows of no packing finds fields in it as it is.
    _add_capped(request, body, basket, over_cap)


def _add_capped(request: Request, body: bytes, basket: Basket, over_cap: OverCap) -> None:
    if len(body) > basket.caps.bytes:
        basket.partial = "bytes"
        body = body[: basket.caps.bytes]
    if basket.partial and over_cap is not OverCap.INSPECT_PREFIX:
        return
    if body:
        _add_by_type(request, body, basket)


def _add_by_type(request: Request, body: bytes, basket: Basket) -> None:  # noqa: C901 - one branch for each kind
    declared = decode_bytes(request.header(b"content-type") or b"")
    media = declared.partition(";")[0].strip().lower()
    if media.startswith("multipart/") and add_multipart(declared, body, basket):
        return
    text = _text(body, declared)
    start = text[:64].lstrip("\ufeff \t\r\n")[:1]
    if media == "application/x-www-form-urlencoded" and start not in "{[<":
        add_pairs(text, PlaceKind.FORM, basket)
    elif media == "application/graphql":
        add_graphql(text, basket)
    elif media.endswith("json") or (start and start in "{[" and is_json(text)):
        valid = is_json(text)
        add_json(text, basket, valid=valid)
        if not valid:
            basket.items.append((PlaceKind.BODY, "", text, False, Scope.ALL))
    elif media.endswith("xml") or (start == "<" and not media.startswith("text/plain") and not _is_page(media, text)):
        add_xml(text, basket)
    elif media.partition("/")[0] in _BINARY or b"\x00" in body[:_PROBE] or (media in _FILES and is_binary(body)):
        if is_worth_reading(body):
            basket.items.append((PlaceKind.BODY, "", text, False, Scope.FILE))
    elif _FORM.match(text) and media not in {"text/plain", "text/html", "text/csv", "text/markdown"}:
        add_pairs(text, PlaceKind.FORM, basket)
    elif media in _FILES and start not in _OPENS:
        basket.items.append((PlaceKind.BODY, "", text, False, Scope.FILE))
    else:
        basket.items.append((PlaceKind.BODY, "", text, False, Scope.ALL))


def _is_page(media: str, text: str) -> bool:
    return media in _FILES and _PAGE.match(text) is not None


def _text(body: bytes, declared: str) -> str:
    if "charset" in declared.lower():
        named = _CHARSET.search(declared)
        if named and named[1].lower() in _CHARSETS:
            return body.decode(named[1], "replace")
    if body[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return body.decode("utf-16", "replace")
    return decode_bytes(body)


def _decompressed(body: bytes, encoding: bytes, basket: Basket) -> bytes:
    """Return at most one byte more than the cap, so that a small body that grows without end costs no more."""
    bound = basket.caps.bytes + 1
    if encoding in {b"gzip", b"x-gzip"}:
        windows: tuple[int, ...] = _GZIP_WINDOWS
    elif encoding == b"deflate":
        windows = (zlib.MAX_WBITS, -zlib.MAX_WBITS)  # RFC 9110 section 8.4.1.2: some send it without the wrapper
    else:
        windows = ()
    unpacked = _unpacked(body, windows, bound)
    if unpacked is None:
        basket.partial = "encoding"
        return b""
    return unpacked


def _unpacked(body: bytes, windows: tuple[int, ...], bound: int) -> bytes | None:
    """Return what a body unpacks to, all of its members one after the other (RFC 1952 section 2.2), up to a bound."""
    for window in windows:
        parts: list[bytes] = []
        left, rest = bound, body
        try:
            while rest and left > 0:
                stream = zlib.decompressobj(window)
                parts.append(stream.decompress(rest, left))
                left -= len(parts[-1])
                rest = stream.unused_data
        except zlib.error:
            if not parts:
                continue
        return b"".join(parts)
    return None
