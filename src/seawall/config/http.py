"""HTTP's words as they may stand in the configuration; each check returns the one spelling or says what is accepted."""

import re

from seawall.config.address import check_header_name

__all__ = [
    "check_field_value",
    "check_hash_key",
    "check_method",
    "check_path",
    "check_path_prefix",
    "check_statuses",
    "parse_statuses",
]

_STATUSES = re.compile(r"\s*([1-5]\d\d)(?:-([1-5]\d\d))?\s*", re.ASCII)


def check_path(text: str) -> str:
    """Return a request target in origin form; ValueError says what is accepted."""
    if not text.startswith("/") or not text.isascii() or any(c <= " " or c in "#\x7f" for c in text):
        raise ValueError('a path that starts with "/", printable ASCII without spaces or "#"')
    return text


def check_path_prefix(text: str) -> str:
    """Return a path without a query; ValueError says what is accepted."""
    if "?" in check_path(text):
        raise ValueError('a path that starts with "/", without a query')
    return text


def check_statuses(text: str) -> str:
    """Return a list of statuses and ranges as it is; ValueError says what is accepted."""
    parse_statuses(text)
    return text


def parse_statuses(text: str) -> tuple[tuple[int, int], ...]:
    """Return (lowest, highest) for each part of `200-399,404`; ValueError says what is accepted."""
    ranges = []
    for part in text.split(","):
        match = _STATUSES.fullmatch(part)
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if low > high:
            raise ValueError('statuses and ranges from low to high, such as "200-399" or "200,204,301-302"')
        ranges.append((low, high))
    return tuple(ranges)


def check_hash_key(text: str) -> str:
    """Return what a consistent hash is taken of, header names in lower case; ValueError says what is accepted."""
    kind, _, name = text.partition(":")
    if text == "client":
        return text
    if kind not in {"header", "cookie"} or not name:
        raise ValueError("client, header:NAME or cookie:NAME")
    check_header_name(name)
    return f"header:{name.lower()}" if kind == "header" else text


def check_method(text: str) -> str:
    """Return a method in upper case; ValueError says what is accepted."""
    return check_header_name(text).upper()


def check_field_value(text: str) -> str:
    """Return a field value that can be sent and compared as it is; ValueError says what is accepted."""
    if not text.isascii() or any(c < " " or c == "\x7f" for c in text) or text != text.strip():
        raise ValueError("printable ASCII without white space around it")
    return text
