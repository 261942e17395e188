"""Find prototype pollution: property paths that lead to the prototype that all objects of a program share.

A name is read as a path, in dots or in brackets (`a[__proto__][x]`, `constructor.prototype.x`), and a text as an object
literal; a word in a sentence is neither.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.detectors.prose import plain_words
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["DETECTOR", "scan"]

_HIGH: Final = Severity.HIGH
_SHORT: Final = 160
"""Characters up to which an assignment is all that a text is, rather than a line of a program."""
_PROTO: Final = "__proto__"
_SEGMENT: Final = re.compile(r"[.\[\]'\"]+")
_PATH: Final = re.compile(r"[\w$.\[\]'\"-]{1,512}")
_KEY: Final = re.compile(r"(['\"]?)(__proto__|constructor)\1\s{0,8}\]?\s{0,8}(:|=(?!=)|\[|\.)")
_INNER: Final = re.compile(r"\s{0,8}\{?\s{0,8}['\"]?prototype\b")
# What is left of names that a filter takes out once: `__pro__proto__to__`.
_NESTED: Final = re.compile(
    r"__(?:p|pr|pro|prot|proto|proto_)(?:__proto__|constructor|prototype)|con(?:constructor|prototype)structor"
)
# JSON Pointer and JSON Patch write paths with slashes (RFC 6901).
_POINTER: Final = re.compile(r"(?:/[\w~-]{1,64}){0,16}/(?:__proto__|constructor/prototype)(?:/[\w~-]{1,64}){0,16}/?")
_ASSIGNED: Final = re.compile(
    r"\b(?:object|array|function|string|number|boolean|date|regexp|promise|map|set|\w{1,32}\.constructor)\.prototype(?:\.\w{1,64}|\[[^\]\r\n]{1,64}\])\s{0,8}=(?!=)",
    re.IGNORECASE,
)
# The same for objects of Python: what leads from any of them to the variables of its module.
_PYTHON: Final = re.compile(r"__(?:globals|subclasses|mro|bases?)__")
_ACCESSORS: Final = re.compile(r"__(?:define|lookup)[GS]etter__")


def scan(text: str, _kind: PlaceKind) -> Sequence[Signal]:
    """Judge a name or a value: signals of confidence 0.3 and above, the strongest first. Linear in the text."""
    if "%20" in text:
        return ()  # its decoded view is judged; here prose would not look like prose
    best: dict[str, Signal] = {}
    for signal in _signals(text):
        known = best.get(signal.rule)
        if known is None or known.confidence < signal.confidence:
            best[signal.rule] = signal
    return sorted(best.values(), key=lambda signal: signal.confidence, reverse=True)[:8]


def _signals(text: str) -> Iterator[Signal]:
    whole = _PATH.match(text)
    if whole is not None:
        # `a[b][__proto__][c]=d`: the name, up to what it is set to.
        rest = text[whole.end() :]
        if not rest or rest[0] in "=:&":
            yield from _path(whole[0])
    for pattern, sure in ((_POINTER, 0.94), (_PYTHON, 0.85)):
        if pattern.fullmatch(text) is not None:
            yield Signal("prototype-path", _HIGH, sure, 0, len(text))
    words = plain_words(text, limit=6)
    assigned = _ASSIGNED.search(text)
    if assigned is not None:
        short = words <= 1 and len(text) <= _SHORT
        yield Signal("prototype-path", _HIGH, 0.85 if short else 0.45, assigned.start(), assigned.end())
    nested = _NESTED.search(text)
    if nested is not None:
        yield Signal("prototype-nested", _HIGH, 0.93, nested.start(), nested.end())
    accessor = _ACCESSORS.search(text)
    if accessor is not None:
        sure = 0.9 if accessor.start() == 0 and accessor.end() == len(text) else 0.7 if words <= 1 else 0.4
        yield Signal("prototype-accessor", _HIGH, sure, accessor.start(), accessor.end())
    yield from _keys(text, words)


def _keys(text: str, words: int) -> Iterator[Signal]:
    """Keys of object literals, and what is set by an assignment."""
    for count, key in enumerate(_KEY.finditer(text)):
        if count >= 8:
            return
        if key[2] == _PROTO or _INNER.match(text, key.end()):
            literal = key[3] == ":" and key[1] and "{" in text
            sure = 0.94 if literal and words <= 3 else 0.85 if words == 0 else 0.45
            yield Signal("prototype-path", _HIGH, sure, key.start(), key.end())


def _path(path: str) -> Iterator[Signal]:
    """A name that is nothing but a path."""
    segments = [segment for segment in _SEGMENT.split(path) if segment]
    if _PROTO in segments:
        sure = 0.95 if len(segments) > 1 else 0.85
        yield Signal("prototype-path", _HIGH, sure, 0, len(path))
        return
    for first, second in pairwise(segments):
        if first == "constructor" and second == "prototype":
            yield Signal("prototype-path", _HIGH, 0.94, 0, len(path))
            return


DETECTOR: Final = Detector(
    name="prototype",
    category=ThreatClass.PROTOTYPE_POLLUTION,
    owasp="A08:2021",
    triggers=(
        r"^__(?:globals|subclasses|mro|bases?)__$",
        r"__proto__|__pro|__(?:define|lookup)[gs]etter__",
        r"constructor['\"]?[\s\].\[:'\"{=]{1,20}prototype",
        r"con(?:constructor|prototype)structor|constructor/prototype|\.prototype[.\[][^=\r\n]{1,66}=",
    ),
    scan=scan,
)
