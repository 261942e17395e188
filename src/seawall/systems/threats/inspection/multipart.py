"""Multipart bodies as values: names, file names, fields, and the text of small files (RFC 7578)."""

import re

from seawall.systems.threats.inspection.decoding import decode_bytes
from seawall.systems.threats.inspection.files import is_worth_reading
from seawall.systems.threats.inspection.values import Basket, Scope
from seawall.systems.threats.model import PlaceKind

__all__ = ["add_multipart"]

_BOUNDARY = re.compile(r'boundary\s{0,8}=\s{0,8}(?:"([^"]{1,200})"|([^\s;,"]{1,200}))', re.IGNORECASE)
_PARAMETER = re.compile(
    r"""[;\s](filename|name)(\*?)\s{0,8}=\s{0,8}(?:"([^"\\]*+(?:\\.[^"\\]*+)*+)"?|([^;\r\n]*))""", re.IGNORECASE
)
_TEXT = re.compile(r"^content-type\s{0,8}:\s{0,8}text/", re.IGNORECASE | re.MULTILINE)
_MAX_HEAD = 8192


def add_multipart(content_type: str, body: bytes, basket: Basket) -> bool:
    """Take a multipart body apart; False when there is no boundary in it to go by."""
    named = _BOUNDARY.search(content_type)
    if named is None:
        return False
    delimiter = b"--" + (named[1] or named[2]).encode("utf-8", "replace")
    parts = body.split(delimiter, basket.caps.values + 1)
    if len(parts) < 2:
        return False
    granted = basket.room(len(parts) - 1)
    for part in parts[1 : granted + 1]:
        if part[:2] != b"--":  # the closing delimiter; what follows it belongs to nobody
            _add_part(part, basket)
    return True


def _add_part(part: bytes, basket: Basket) -> None:
    end, width = part.find(b"\r\n\r\n", 0, _MAX_HEAD), 4
    if end < 0:
        end, width = part.find(b"\n\n", 0, _MAX_HEAD), 2
    if end < 0:
        end, width = min(len(part), _MAX_HEAD), 0
    head = decode_bytes(part[:end])
    content = part[end + width :].removesuffix(b"\n").removesuffix(b"\r")
    name, is_file = "", False
    for which, _, quoted, bare in _PARAMETER.findall(head):
        value = quoted or bare
        if which.lower() == "name":
            name = value
            basket.add(PlaceKind.MULTIPART, name, name, is_name=True)
        else:
            is_file = True
            if value:
                basket.items.append((PlaceKind.FILENAME, name, value, False, Scope.ALL))
    if not is_file:
        basket.add(PlaceKind.MULTIPART, name, decode_bytes(content))
    elif content and len(content) <= basket.caps.part_bytes and (is_worth_reading(content) or _TEXT.search(head)):
        basket.items.append((PlaceKind.MULTIPART, name, decode_bytes(content), False, Scope.FILE))
