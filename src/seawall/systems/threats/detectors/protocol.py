"""Protocol oddities: bytes and encodings that no browser and no library puts into a request."""

import re
from collections.abc import Iterator, Sequence

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["DETECTOR"]

_NULL = re.compile(r"\x00|%00|%u0000", re.IGNORECASE | re.ASCII)
# Two to six bytes for a character that needs fewer (RFC 3629, section 10), before and after percent decoding.
_OVERLONG = re.compile(
    r"%(?:c[01]%[89ab][0-9a-f]|e0%[89][0-9a-f]%[89ab]|f0%8[0-9a-f]%[89ab]|f8%8[0-7]|fc%8[0-3])|\xc0[\xa2\xa7\xae\xaf\xbc\xbe]|\xc1\x9c|[\udcc0\udcc1][\udc80-\udcbf]",
    re.IGNORECASE | re.ASCII,
)
_BROKEN = re.compile(r"%c[01]%(?:[0-7][0-9a-f])|%%[0-9a-f]{2}%?[0-9a-f]{2}|%25%(?:2e|5c|2f)", re.IGNORECASE | re.ASCII)
_WIDE = re.compile(r"%u(?:00[0-7][0-9a-f]|ff[0-5][0-9a-f]|221[56])", re.IGNORECASE | re.ASCII)
_DOUBLE = re.compile(r"%25(?:25)?(?:2[2-9ef]|3[ce]|5c|0[0ad])", re.IGNORECASE | re.ASCII)
_CONTROL = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]")
_SURROGATE = re.compile(r"[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udc7f\udd00-\udfff]")

_NARROW = frozenset({PlaceKind.PATH, PlaceKind.QUERY, PlaceKind.COOKIE, PlaceKind.HEADER, PlaceKind.FILENAME})
_NESTING = frozenset({PlaceKind.COOKIE, PlaceKind.HEADER})


def _found(text: str, kind: PlaceKind) -> Iterator[Signal]:
    match = _NULL.search(text)
    if match:
        # Binary files and their text forms hold null bytes, escaped ones are in code; paths and cookies hold neither.
        yield Signal("protocol-null", Severity.HIGH, 0.86 if kind in _NARROW else 0.4, match.start(), match.end())
    match = _OVERLONG.search(text)
    if match:
        # Bytes that no percent code tells of are as likely those of a file, or letters of Latin-1.
        confidence = 0.9 if match[0][0] == "%" or kind in _NARROW else 0.4
        confidence = min(confidence, 0.6) if match[0][0] in "\xc0\xc1" else confidence
        yield Signal("protocol-overlong", Severity.HIGH, confidence, match.start(), match.end())
    if "%" in text:
        match = _BROKEN.search(text)
        if match:
            yield Signal("protocol-encoding", Severity.MEDIUM, 0.6, match.start(), match.end())
        match = _WIDE.search(text)
        if match:
            yield Signal("protocol-encoding", Severity.MEDIUM, 0.6, match.start(), match.end())
        # Cookies and fields such as Referer hold addresses and what scripts encoded before.
        match = None if kind in _NESTING else _DOUBLE.search(text)
        if match and "://" not in text and "%3a%2f" not in text.lower():
            yield Signal("protocol-double", Severity.LOW, 0.4, match.start(), match.end())
    match = _CONTROL.search(text)
    if match and kind in _NARROW:
        yield Signal("protocol-control", Severity.LOW, 0.35, match.start(), match.end())
    match = _SURROGATE.search(text)
    if match:
        yield Signal("protocol-surrogate", Severity.LOW, 0.35, match.start(), match.end())


def scan(text: str, kind: PlaceKind) -> Sequence[Signal]:
    """Judge one view of a value. Linear in the text."""
    return sorted(_found(text, kind), key=_strength, reverse=True)


def _strength(signal: Signal) -> float:
    return signal.confidence


DETECTOR = Detector(
    name="protocol",
    category=ThreatClass.PROTOCOL,
    owasp="A05:2021",
    triggers=(
        r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|%00|%u00",
        r"%c[01]%|%e0%[89]|%f0%8|%f8%8|%fc%8|[^\x00-\x7f]",
        r"%%[0-9a-f]|%25|%u[0-9a-f]{4}",
    ),
    scan=scan,
)
