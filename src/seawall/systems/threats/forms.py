"""The few form fields that the guard itself reads."""

from typing import Any

import msgspec

from seawall.core.request import Request

__all__ = ["account_of", "query_of"]


def account_of(request: Request, body: bytes, fields: tuple[str, ...]) -> str:
    """Return the account in a form or a flat JSON object, in lower case, at most 256 characters; empty without one."""
    media = (request.header(b"content-type") or b"").lower()
    values: dict[str, Any]
    if b"json" in media or body[:1] == b"{":
        try:
            decoded = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            return ""
        values = decoded if isinstance(decoded, dict) else {}
    else:
        values = query_of(body[:65_536])
    for field in fields:
        value = values.get(field)
        if isinstance(value, str) and value:
            return value.strip().lower()[:256]
    return ""


def query_of(query: bytes) -> dict[str, str]:
    """Return the first value of each name of a query or form; `+` and percent escapes decoded."""
    found: dict[str, str] = {}
    for pair in query[:65_536].split(b"&", 1000)[:1000]:
        name, _, value = pair.partition(b"=")
        found.setdefault(_unquoted(name), _unquoted(value))
    return found


def _unquoted(raw: bytes) -> str:
    raw = raw.replace(b"+", b" ")
    if b"%" not in raw:
        return raw.decode("utf-8", "replace")
    head, *parts = raw.split(b"%")
    decoded = [head]
    for part in parts:
        try:
            decoded.append(bytes([int(part[:2], 16)]) + part[2:])
        except ValueError:
            decoded.append(b"%" + part)
    return b"".join(decoded).decode("utf-8", "replace")
