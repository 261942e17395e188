"""JSON within values: cookies, parameters and strings that hold a document of their own, as applications keep state."""

import json
import re
from typing import NamedTuple

import msgspec

__all__ = ["Nested", "is_json", "nested", "unescaped"]

_STRING = re.compile(r'"([^"\\]*+(?:\\.[^"\\]*+)*+)"(\s*+:)?', re.DOTALL)
_LOOKS = re.compile(r"\s{0,16}(?:\{\s{0,16}[\"}]|\[\s{0,16}[\[\]{\"0-9tfn-])")
_BETWEEN = re.compile(r"\}\s*+\{")
_MAX_LENGTH = 262_144


class Nested(NamedTuple):
    """A string of a document: its text, and whether it is a key."""

    text: str
    is_key: bool


def nested(text: str) -> list[Nested] | None:
    """Return the strings of a value that is a JSON object or array from its first to its last character, or None.

    What such a value says is in its strings; its quotes, braces and commas are punctuation between them, which read as
    text look like the ends of strings in other languages. Linear in the text.
    """
    if _LOOKS.match(text) is None or len(text) > _MAX_LENGTH or not is_json(text):
        return None
    return [
        Nested(unescaped(content) if "\\" in content else content, bool(colon))
        for content, colon in _STRING.findall(text)
    ]


def is_json(text: str) -> bool:
    """Tell whether a text is one JSON value, or one after the other, in lines or with nothing between them."""
    try:
        msgspec.json.decode(text.lstrip("\ufeff"), type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        if "\n" in text and _is_lines(text):
            return True
        lines = _BETWEEN.sub("}\n{", text)
        return lines != text and _is_lines(lines)
    return True


def unescaped(content: str) -> str:
    """Return what the inside of a JSON string says; as it is when it says nothing valid."""
    try:
        value: str = json.loads(f'"{content}"', strict=False)
    except ValueError:
        return content
    return value


def _is_lines(text: str) -> bool:
    try:
        _LINES.decode_lines(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return False
    return True


_LINES = msgspec.json.Decoder(msgspec.Raw)
