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
_GZIP = b"\x1f\x8b\x08"


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
    elif body[:3] == _GZIP:  # beacons are packed by scripts that cannot say so, as it would make them ask first
        body = _unpacked(body, (16 + zlib.MAX_WBITS,), basket.caps.bytes + 1) or body
    if len(body) > basket.caps.bytes:
        basket.partial = "bytes"
        body = body[: basket.caps.bytes]
    if basket.partial and over_cap is not OverCap.INSPECT_PREFIX:
        return
    if body:
        _add_by_type(request, body, basket)


def _add_by_type(request: Request, body: bytes, basket: Basket) -> None:
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
    elif media.endswith("xml") or (start == "<" and not media.startswith("text/plain") and media not in _FILES):
        add_xml(text, basket)
    elif media.partition("/")[0] in _BINARY or media in _FILES or is_binary(body):
        if is_worth_reading(body):
            basket.items.append((PlaceKind.BODY, "", text, False, Scope.FILE))
    elif _FORM.match(text) and media not in {"text/plain", "text/html", "text/csv", "text/markdown"}:
        add_pairs(text, PlaceKind.FORM, basket)
    else:
        basket.items.append((PlaceKind.BODY, "", text, False, Scope.ALL))


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
        windows: tuple[int, ...] = (16 + zlib.MAX_WBITS,)
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
    for window in windows:
        try:
            return zlib.decompressobj(window).decompress(body, bound)
        except zlib.error:
            continue
    return None
