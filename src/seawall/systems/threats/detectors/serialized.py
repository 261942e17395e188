"""Recognise objects that languages write out and read back: of PHP, Java, .NET, Python and Ruby."""

import base64
import binascii
import re
import zlib
from collections.abc import Iterator
from typing import Final

from seawall.systems.threats.detector import Signal
from seawall.systems.threats.model import Severity

__all__ = ["serialized"]

_CRITICAL, _HIGH = Severity.CRITICAL, Severity.HIGH

_PHP_OBJECT: Final = re.compile(
    r"(?<![A-Za-z0-9])([OCE]):[+]?(\d{1,5}):(\\?\"|&quot;|')([\w\\ :\x00]{1,200})\3:(?:(\d{1,6}):\{|\d)"
)
_PHP_CUT: Final = re.compile(r"(?:^|[;{|\s])[OC]:[+]?\d{1,5}:\\?\"[A-Za-z_\\]")
_JAVA: Final = re.compile(r"(?<![A-Za-z0-9+/=])rO0AB[A-Za-z0-9+/]{3}|\baced0005(?:7[0-9a-f]|$)|\xac\xed\x00\x05")
_DOTNET: Final = re.compile(r"(?<![A-Za-z0-9+/=])AAEAAAD/{5}|AQAAAP/{4}8BAAAA|AABAAAA/{6}wEAA")
"""The header of .NET's binary format in base64, at each of three offsets: alone, or within the state of a page."""
_PACKED: Final = re.compile(r"(?<![A-Za-z0-9+/=_-])(?:H4sI|eJ[wxyz])[A-Za-z0-9+/_-]{16,4000}")
_PACKED_OBJECTS: Final = re.compile(
    rb"\xac\xed\x00\x05|\A\x80[\x02-\x05][\x95c(}\])]|\x00\x01\x00\x00\x00\xff\xff\xff\xff\x01|\A\x04\x08[ouIeC\[{]|(?:\A|[;{])[OC]:\d{1,4}:\"|\Ac\w{1,40}\n\w{1,40}\n"
)
_PIECE: Final = 16
MAX_UNPACKED: Final = 2048
"""Bytes that are read of what is compressed: objects tell by how they begin."""
_STORABLE: Final = re.compile(
    r"(?<![A-Za-z0-9+/=])(?:cHN0MA|BAoIMTIzNDU2Nzg|BAsIMTIzNDU2Nzg|BAgIMTIzNDU2Nzg|BQ[ks]DAAAA|BAcIMTIzNDU2Nzg)[A-Za-z0-9+/]{8}"
)
_PICKLE_TEXT: Final = re.compile(r"(?:\A|[\n(])c[a-z_][\w.]{1,60}\n[a-z_]\w{0,40}\n[p(q0-9S]", re.IGNORECASE)
_PICKLE_BASE64: Final = re.compile(r"(?<![A-Za-z0-9+/=])g(?:AS|AN|AJ|AR|AU)[A-Za-z0-9+/_-]{8,4000}={0,2}")
_PICKLE_CALLS: Final = re.compile(rb"system|popen|subprocess|builtin|eval|exec|posix|reduce|os\n|nt\n|commands")
_RUBY: Final = re.compile(r"\x04\x08[ouIeUcC\[{]|(?<![A-Za-z0-9+/=])BAh[vbo1ljV][A-Za-z0-9+/]{8}")
_RUBY_BASE64: Final = re.compile(r"(?<![A-Za-z0-9+/=])BA[hg][A-Za-z0-9+/_-]{9,4000}")
_RUBY_CALLS: Final = re.compile(
    rb"Gem::|ERB|Proc\b|Kernel|eval|system|ActiveSupport|ActiveModel|ActionDispatch|Instance|Net::|Rack::|Logger"
    rb"|[oce]:.[A-Z]\w+::|c.[A-Z]\w+"
)


_PROTOCOLS: Final = frozenset(bytes((number,)) for number in range(2, 6))
_FIRST_OPCODES: Final = frozenset(bytes((opcode,)) for opcode in b"}])(cXUKMJ\x95\x8c\x88\x89NGCB")
_PHP_QUOTES: Final = (':"', ":'", ':\\"', ":&quot;")
_PICKLES: Final = ("gAS", "gAN", "gAJ", "gAR", "gAU")


def serialized(text: str) -> Iterator[Signal]:  # noqa: C901 - one condition for each language
    """Find objects of any of the languages. Linear in the text; what each needs is looked for first: that is fast."""
    if any(quote in text for quote in _PHP_QUOTES):
        yield from _php(text)
    if "rO0AB" in text or "aced0005" in text or "\xac\xed" in text:
        yield from _first(_JAVA, text, "code-java-object", 0.95)
    if "AAEAAAD" in text or "AQAAAP////8B" in text or "AABAAAA//////" in text:
        yield from _first(_DOTNET, text, "code-dotnet-object", 0.95)
    if "\n" in text:
        yield from _first(_PICKLE_TEXT, text, "code-pickle", 0.93)
    if any(mark in text for mark in _PICKLES):
        match = _PICKLE_BASE64.search(text)
        if match is not None and _is_pickle(match[0]):
            yield Signal("code-pickle", _CRITICAL, 0.93, match.start(), match.end())
        elif match is not None and _is_pickled(match[0]):
            yield Signal("code-pickle", _CRITICAL, 0.84, match.start(), match.end())
    if "H4sI" in text or "eJ" in text:
        yield from _packed(text)
    if "IMTIzNDU2Nzg" in text or "cHN0MA" in text or "DAAAA" in text:
        yield from _first(_STORABLE, text, "code-perl-object", 0.82)
    if "\x04\x08" in text or "BAh" in text:
        yield from _ruby(text)


def _first(pattern: re.Pattern[str], text: str, rule: str, confidence: float) -> Iterator[Signal]:
    match = pattern.search(text)
    if match is not None:
        yield Signal(rule, _CRITICAL, confidence, match.start(), match.end())


def _php(text: str) -> Iterator[Signal]:
    match = _PHP_OBJECT.search(text)
    if match is not None:
        exact = int(match[2]) == len(match[4].replace("\\\\", "\\"))
        yield Signal("code-php-object", _CRITICAL, 0.96 if exact or match[5] else 0.85, match.start(), match.end())
        return
    cut = _PHP_CUT.search(text)
    if cut is not None:
        yield Signal("code-php-object", _HIGH, 0.8, cut.start(), cut.end())


def _ruby(text: str) -> Iterator[Signal]:
    """An object of Ruby: surer when it names classes that do something on being read."""
    yield from _first(_RUBY, text, "code-ruby-object", 0.7)
    match = _RUBY_BASE64.search(text)
    raw = _decoded(match[0]) if match is not None else text.encode("utf-8", "replace")
    start, end = match.span() if match is not None else (max(0, text.find("\x04\x08")), len(text))
    if raw[:2] == b"\x04\x08" and _RUBY_CALLS.search(raw) is not None:
        yield Signal("code-ruby-object", _CRITICAL, 0.93, start, end)


def _packed(text: str) -> Iterator[Signal]:
    """An object behind gzip or zlib, in base64: the first bytes are unpacked, as they tell what it is."""
    match = _PACKED.search(text)
    if match is None:
        return
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    packed = _decoded(match[0])
    raw = b""
    try:
        # In pieces, as what is cut off or has a wrong sum at its end tells by how it begins all the same.
        for start in range(0, len(packed), _PIECE):
            raw += unpacker.decompress(packed[start : start + _PIECE], MAX_UNPACKED)
            if len(raw) >= MAX_UNPACKED:
                break
    except zlib.error:
        pass
    if _PACKED_OBJECTS.search(raw) is not None:
        yield Signal("code-packed-object", _CRITICAL, 0.93, match.start(), match.end())


def _decoded(token: str) -> bytes:
    bare = token.rstrip("=").replace("-", "+").replace("_", "/")
    if len(bare) % 4 == 1:
        bare = bare[:-1]
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4))
    except (binascii.Error, ValueError):
        return b""


def _is_pickle(text: str) -> bool:
    """Tell whether a text in base64 is a pickle: its opcode for the protocol, and names of what it would call."""
    raw = _decoded(text)
    return raw[:1] == b"\x80" and len(raw) > 1 and raw[1] <= 5 and _PICKLE_CALLS.search(raw) is not None


def _is_pickled(text: str) -> bool:
    """Tell whether a text in base64 is a pickle from its first opcode to its last, whatever it holds."""
    raw = _decoded(text)
    return raw[:1] == b"\x80" and raw[1:2] in _PROTOCOLS and raw[2:3] in _FIRST_OPCODES and raw.endswith(b".")
