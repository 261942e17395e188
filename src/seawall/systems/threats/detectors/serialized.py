"""Recognise objects that languages write out and read back: of PHP, Java, .NET, Python and Ruby."""

import base64
import binascii
import re
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
_DOTNET: Final = re.compile(r"(?<![A-Za-z0-9+/=])AAEAAAD/{5}")
_PICKLE_TEXT: Final = re.compile(r"(?:\A|[\n(])c[a-z_][\w.]{1,60}\n[a-z_]\w{0,40}\n[p(q0-9S]", re.IGNORECASE)
_PICKLE_BASE64: Final = re.compile(r"(?<![A-Za-z0-9+/=])g(?:AS|AN|AJ|AR|AU)[A-Za-z0-9+/_-]{16,4000}={0,2}")
_PICKLE_CALLS: Final = re.compile(rb"system|popen|subprocess|builtin|eval|exec|posix|reduce|os\n|nt\n|commands")
_RUBY: Final = re.compile(r"\x04\x08[ouIeUcC\[{]|(?<![A-Za-z0-9+/=])BAh[vbo1ljV][A-Za-z0-9+/]{8}")
_RUBY_BASE64: Final = re.compile(r"(?<![A-Za-z0-9+/=])BA[hg][A-Za-z0-9+/_-]{9,4000}")
_RUBY_CALLS: Final = re.compile(
    rb"Gem::|ERB|Proc\b|Kernel|eval|system|ActiveSupport|ActiveModel|ActionDispatch|Instance|Net::|Rack::|Logger"
    rb"|[oce]:.[A-Z]\w+::|c.[A-Z]\w+"
)


_PHP_QUOTES: Final = (':"', ":'", ':\\"', ":&quot;")
_PICKLES: Final = ("gAS", "gAN", "gAJ", "gAR", "gAU")


def serialized(text: str) -> Iterator[Signal]:
    """Find objects of any of the languages. Linear in the text; what each needs is looked for first: that is fast."""
    if any(quote in text for quote in _PHP_QUOTES):
        yield from _php(text)
    if "rO0AB" in text or "aced0005" in text or "\xac\xed" in text:
        yield from _first(_JAVA, text, "code-java-object", 0.95)
    if "AAEAAAD" in text:
        yield from _first(_DOTNET, text, "code-dotnet-object", 0.95)
    if "\n" in text:
        yield from _first(_PICKLE_TEXT, text, "code-pickle", 0.93)
    if any(mark in text for mark in _PICKLES):
        match = _PICKLE_BASE64.search(text)
        if match is not None and _is_pickle(match[0]):
            yield Signal("code-pickle", _CRITICAL, 0.93, match.start(), match.end())
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


def _decoded(token: str) -> bytes:
    padded = token.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(padded[: len(padded) // 4 * 4])
    except (binascii.Error, ValueError):
        return b""


def _is_pickle(text: str) -> bool:
    """Tell whether a text in base64 is a pickle: its opcode for the protocol, and names of what it would call."""
    raw = _decoded(text)
    return raw[:1] == b"\x80" and len(raw) > 1 and raw[1] <= 5 and _PICKLE_CALLS.search(raw) is not None
