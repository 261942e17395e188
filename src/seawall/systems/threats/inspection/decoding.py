"""Decoding: one value in every form that some layer behind us may see it in, each with the way that leads there."""

import base64
import binascii
import re
import unicodedata
from collections.abc import Callable
from html.entities import html5

__all__ = ["MAX_ROUNDS", "Steps", "View", "decode_bytes", "from_base64", "percent_decoded", "plain_form", "views"]

View = tuple[str, tuple[str, ...]]
"""(text, names of the steps that led to it)."""

Steps = tuple[tuple[str, Callable[[str], str]], ...]
"""(name, step) in order."""

MAX_ROUNDS = 3
"""Percent, HTML and escape decoding are repeated until nothing changes, at most this often."""

_SPECIAL = re.compile(r"[%&\\\x00+]|/\*|[^\x00-\x7f]")
_EXCEPT_PERCENT = re.compile(r"[&\\\x00+]|/\*|[^\x00-\x7f]")
_EARLY = re.compile(r"[%&\\]")  # what the repeated steps begin with
_LATE = re.compile(r"[\x00+]|/\*|[^\x00-\x7f]")  # and the steps after them
_HEX = {(a + b).encode(): bytes([int(a + b, 16)]) for a in "0123456789abcdefABCDEF" for b in "0123456789abcdefABCDEF"}
_PERCENT_U = re.compile(r"%u([0-9a-f]{4})", re.IGNORECASE)
_OVERLONG = re.compile(
    rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f][\x80-\xbf]|\xf0[\x80-\x8f][\x80-\xbf]{2}|\xf8[\x80-\x87][\x80-\xbf]{3}"
    rb"|\xfc[\x80-\x83][\x80-\xbf]{4}"
)
_PERCENT_OVERLONG = re.compile(r"%(?:c[01]%[89ab]|e0%[89]|f0%8|f8%8|fc%8)", re.IGNORECASE)
_OVERLONG_BITS = {0xC0: 0x1F, 0xC1: 0x1F, 0xE0: 0x0F, 0xF0: 0x07, 0xF8: 0x03, 0xFC: 0x01}
# Bounded digits: an unbounded run would go to int(), which is quadratic and refuses what is longer than 4300.
_ENTITY = re.compile(r"&(?:#0{0,16}([0-9]{1,7})|#x0{0,16}([0-9a-f]{1,6})|([a-z][a-z0-9]{1,30}));?", re.IGNORECASE)
_RICH = re.compile(
    r"<(?:p|div|br|pre|code|span|table|t[dr]|[ou]l|li|h[1-6]|strong|em|blockquote|figure)(?:\s[^<>]{0,400})?>[^<]",
    re.IGNORECASE,
)
_ESCAPE = re.compile(
    r"\\(?:(?-i:U)00([0-9a-f]{6})|x([0-9a-f]{2})|u([0-9a-f]{4})|u\{0{0,8}([0-9a-f]{1,6})\}"
    r"|0{2,4}([2-7][0-9a-f])\s?|([0-7]{2,3}))",
    re.IGNORECASE,
)
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{12,}|[A-Za-z0-9_-]{12,})={0,2}")
_DATA_URL = re.compile(r";base64,([A-Za-z0-9+/_-]{8,}={0,2})")
_PLUS = re.compile(r"[^\W\d]\+[^\s+]|[^\s+]\+[^\W\d]")
_SPLIT_WORD = re.compile(r"[A-Za-z]/\*[^*]{0,64}\*/[A-Za-z]")
_MYSQL_VERSION = re.compile(r"!\d{0,6}")
# What renders as nothing, and so splits a word for the filter alone.
_INVISIBLE = re.compile("[\x00\xad\u200b-\u200f\u2060\ufeff]")
# Databases and proxies that convert to a single-byte character set turn these into quotes and angle brackets; NFKC
# does not.
_BEST_FIT = str.maketrans({"\u02b9": "'", "\u02bc": "'", "\u2032": "'", "\u2018": "'", "\u2019": "'", "\u2039": "<",
                           "\u203a": ">", "\u3008": "<", "\u3009": ">", "\u2329": "<", "\u232a": ">"})  # fmt: skip
_PROBE = 64
_GROWTH = 4
_LAST_CODE_POINT = 0x10FFFF


def views(text: str, chain: tuple[str, ...] = ()) -> list[View]:
    """Return the value and every other form that decoding leads to, each once.

    Percent (also `%uXXXX`), HTML entities and escapes of JavaScript, CSS and Unicode are decoded in turn until nothing
    changes, at most `MAX_ROUNDS` times; what results is also shown without invisible characters, in NFKC, with `+` for
    spaces, without C comments, and decoded from base64 where that gives text. Overlong UTF-8 is read as
    what it stands for.

    Returns at most 30 views, of which none is longer than four times the text. Linear; never raises.
    """
    found = [(text, chain)]
    if _SPECIAL.search(text) is not None:
        text, chain = _unwrapped(text, chain, found)
    if len(text) >= _BASE64_MIN:
        _add_base64(text, chain, found)
    return found


def _unwrapped(text: str, chain: tuple[str, ...], found: list[View]) -> View:
    """Add every form that decoding leads to, and return the innermost."""
    if _EXCEPT_PERCENT.search(text) is None and _PERCENT_OVERLONG.search(text) is None:
        decoded = percent_decoded(text)
        if _SPECIAL.search(decoded) is None:  # the usual case: one layer of percent codes
            found.append((decoded, (*chain, "percent")))
            return found[-1]
    known = {text}
    for _ in range(MAX_ROUNDS):
        before = text
        for name, marker, step in _STEPS:
            decoded = step(text) if marker in text else text
            if decoded != text:
                chain = (*chain, "overlong-utf8" if marker == "%" and _PERCENT_OVERLONG.search(text) else name)
                text = decoded
                if text not in known:
                    known.add(text)
                    found.append((text, chain))
        if text == before or _EARLY.search(text) is None:
            break
    if _LATE.search(text) is None:
        return text, chain
    text, chain = _through(_LAST_STEPS, (text, chain), known, found)
    _through(_SIDE_STEPS, (text, chain), known, found)  # both what these change and what they leave may be meant
    if _SPLIT_WORD.search(text) is not None:
        _through(_JOINING_STEPS, (text, chain), known, found)
    return text, chain


def _through(steps: Steps, view: View, known: set[str], found: list[View]) -> View:
    """Add what each step makes of the one before, and return the last."""
    text, chain = view
    for name, step in steps:
        changed = step(text)
        if changed != text:
            text, chain = changed, (*chain, name)
            if text not in known:
                known.add(text)
                found.append((text, chain))
    return text, chain


def plain_form(text: str) -> str:
    """Return a text without invisible characters and in NFKC, as the last of its views has it."""
    return _nfkc(_without_invisible(text))


def decode_bytes(raw: bytes) -> str:
    """Return bytes as text: UTF-8, overlong forms as what they stand for, other bytes as Latin-1."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        pass
    try:
        return _OVERLONG.sub(_shortest, raw).decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def percent_decoded(text: str) -> str:
    """Return the text with `%XX` and `%uXXXX` decoded once; what is no valid code stays."""
    if "%u" in text or "%U" in text:
        text = _PERCENT_U.sub(_from_hex, text)
    first, *rest = text.encode("utf-8", "surrogatepass").split(b"%")
    if not rest:
        return text
    parts = [first]
    append = parts.append
    for item in rest:
        byte = _HEX.get(item[:2])
        if byte is None:
            append(b"%")
            append(item)
        else:
            append(byte)
            append(item[2:])
    return decode_bytes(b"".join(parts))


def from_base64(token: str) -> str:
    """Return what a base64 or base64url token says, or nothing when that is no text of use."""
    token = token.rstrip("=").replace("-", "+").replace("_", "/")
    probe = _decoded(token[:_PROBE])
    if not _is_text(probe):
        return ""
    whole = _decoded(token) if len(token) > _PROBE else probe
    text = decode_bytes(whole)
    return "" if text.isalnum() else text


def _decoded(token: str) -> bytes:
    if len(token) % 4 == 1:
        token = token[:-1]
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _is_text(probe: bytes) -> bool:
    try:
        text = probe.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(probe) - 3:
            return False
        text = probe[: error.start].decode("utf-8")
    return bool(text) and all(character.isprintable() or character in "\t\r\n" for character in text)


def _add_base64(text: str, chain: tuple[str, ...], found: list[View]) -> None:
    """Add what a base64 value, or a data URL within it, says; its own decodings too, but no base64 within base64."""
    if "base64" in chain:
        return
    stripped = text.strip(" \t\r\n\f\v")
    token = stripped if _BASE64.fullmatch(stripped) else ""
    if not token and ";base64," in text:
        data = _DATA_URL.search(text)
        token = data[1] if data else ""
    decoded = from_base64(token) if token else ""
    if decoded:
        found.extend(views(decoded, (*chain, "base64")))


def _html(text: str) -> str:
    """Decode entities; in markup as editors write it, an escaped bracket is text, and stays as it is."""
    if "<" in text and _RICH.search(text) is not None:
        return _ENTITY.sub(_from_entity_in_text, text)
    return _ENTITY.sub(_from_entity, text)


def _escapes(text: str) -> str:
    return _ESCAPE.sub(_from_escape, text)


def _joined(text: str) -> str:
    """Take C comments out, as style sheets and filters do: `exp/**/ression` is a word."""
    return _without_comments(text, "")


def _without_comments(text: str, space: str = " ") -> str:
    """Replace each C comment by a space; what MySQL runs in `/*! */` stays."""
    start = text.find("/*")
    if start < 0:
        return text
    parts, at = [], 0
    while start >= 0:
        end = text.find("*/", start + 2)
        if end < 0:
            break
        parts.append(text[at:start])
        version = _MYSQL_VERSION.match(text, start + 2)
        parts.append(f"{space}{text[version.end() : end]}{space}" if version else space)
        at = end + 2
        start = text.find("/*", at)
    parts.append(text[at:])
    return "".join(parts)


def _without_invisible(text: str) -> str:
    return _INVISIBLE.sub("", text)


def _without_pluses(text: str) -> str:
    """Read `+` as a space in a text that has no spaces but pluses between words: it may be a form encoded twice."""
    return text if " " in text or _PLUS.search(text) is None else text.replace("+", " ")


def _nfkc(text: str) -> str:
    # A few code points stand for 18 characters; no attack needs the room that a text of them takes.
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", text)[: _GROWTH * len(text)].translate(_BEST_FIT)


def _shortest(match: re.Match[bytes]) -> bytes:
    raw = match[0]
    point = raw[0] & _OVERLONG_BITS[raw[0]]
    for byte in raw[1:]:
        point = point << 6 | byte & 0x3F
    return chr(point).encode("utf-8", "replace")


def _character(point: int, otherwise: str) -> str:
    return otherwise if point > _LAST_CODE_POINT or 0xD800 <= point < 0xE000 else chr(point)


def _from_hex(match: re.Match[str]) -> str:
    return _character(int(match[1], 16), match[0])


def _from_entity(match: re.Match[str]) -> str:
    decimal, hexadecimal, name = match.groups()
    if name is None:
        return _character(int(decimal) if decimal else int(hexadecimal, 16), match[0])
    return html5.get(name + ";") or html5.get(name.lower() + ";") or match[0]


def _from_entity_in_text(match: re.Match[str]) -> str:
    decoded = _from_entity(match)
    return match[0] if decoded in {"<", ">"} else decoded


def _from_escape(match: re.Match[str]) -> str:
    octal = match[6]
    return _character(int(octal, 8) if octal else int(match[match.lastindex or 1], 16), match[0])


_BASE64_MIN = 12
_STEPS = (("percent", "%", percent_decoded), ("html", "&", _html), ("escape", "\\", _escapes))
_LAST_STEPS = (("invisible", _without_invisible), ("nfkc", _nfkc))
_JOINING_STEPS = (("joined", _joined),)
_SIDE_STEPS = (("plus", _without_pluses), ("comments", _without_comments))
