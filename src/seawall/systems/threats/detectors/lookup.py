"""Look-ups that logging and text libraries carry out, such as those of Log4j, however deep they are nested.

The inner look-ups that hide the outer one are carried out here as far as they need nothing from the machine, as the
library would: `${lower:J}` gives "j", and so does `${::-j}`.
"""

import re
from collections.abc import Callable, Sequence

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.detectors.prose import in_code, plain_words
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["DETECTOR", "resolved"]

MAX_ROUNDS = 24
"""Levels of nesting that are carried out."""
MAX_LENGTH = 8192
"""Characters from the first look-up on that are carried out."""

_INNER = re.compile(r"[$%]\{([^${}%]{0,512})\}")
_JNDI = re.compile(
    r"[$%#]\{?\s{0,4}\{?\s{0,4}j\s{0,4}n\s{0,4}d\s{0,4}i\s{0,4}:|\bjndi\s*:\s*(?:ldaps?|rmi|dns|iiop|corba|nds|nis|https?)",
    re.IGNORECASE | re.ASCII,
)
_EXTERNAL = re.compile(
    r"[$%]\{\s*(?:script|dns|url|file|const|xml|resourcebundle|base64decoder)\s*:", re.IGNORECASE | re.ASCII
)
_KNOWN = re.compile(
    r"[$%]\{\s*(?:env|sys|java|ctx|main|map|sd|event|docker|k8s|kubernetes|spring|web|log4j|bundle|jvmrunargs|hostname|date|marker|lower|upper|sysproperty|base64|base64encoder|urldecoder|urlencoder|properties|localhost)\s*:(?!-)|\$\{::?-|\$\{hostname\}",
    re.IGNORECASE | re.ASCII,
)
# What is cut off, or sent in parts: a look-up by that name and nothing else.
_BEGUN = re.compile(r"[$%#]\{\s{0,4}jndi(?![\w.])", re.IGNORECASE | re.ASCII)
_CODE_POINT = re.compile(r"(?:u\+|0x|\\u)?[0-9a-f]{4}", re.IGNORECASE | re.ASCII)
# The name with a letter or more that only the machine knows, and what follows that name alone.
_MASKED = re.compile(r"(?=[jndi]{0,3}\x01)[jndi\x01]{2,4}")
_PROTOCOL = re.compile(r"\s{0,4}(?:ldaps?|rmi|dns|iiop|corba|nds|nis|https?|\x01)[\x01:]", re.IGNORECASE | re.ASCII)
_START = re.compile(r"[$%]\{|jndi", re.IGNORECASE | re.ASCII)


def _value(body: str) -> str:
    """What a look-up without inner ones gives, or a mark for what only the machine knows."""
    if not body:
        return ""
    kind, colon, rest = body.partition(":")
    kind = kind.strip().lower()
    if not colon or kind in {"base64", "base64decoder"}:
        return "\x01"
    if kind in _TRANSFORMS:
        return _TRANSFORMS[kind](rest)
    if kind in {"jndi", "script", "dns", "url", "file", "const"}:
        return f"\x02{body}\x03"
    if _MASKED.fullmatch(kind) and _PROTOCOL.match(rest):
        return f"\x02jndi:{rest}\x03"
    _, default, fallback = body.partition(":-")
    return fallback if default else "\x01"


def _character(rest: str) -> str:
    return chr(int(rest[-4:], 16)) if _CODE_POINT.fullmatch(rest) else "\x01"


def _quoted(rest: str) -> str:
    return rest.strip("'\"")


_TRANSFORMS: dict[str, Callable[[str], str]] = {
    "lower": str.lower,
    "upper": str.lower,
    "date": _quoted,
    "unicode": _character,
}


def resolved(text: str) -> tuple[str, int]:
    """Carry out the innermost look-ups until none is left: the text that results, and how many had hidden something.

    What a library would do harm with stays, in the form that it has by then. At most 24 levels and 8 Ki characters.
    """
    text = text.replace("\x02", "").replace("\x03", "")
    hidden = 0
    for _ in range(MAX_ROUNDS):
        count = 0

        def carried_out(match: re.Match[str]) -> str:
            nonlocal count
            count += ":" in match[1]
            return _value(match[1])

        changed = _INNER.sub(carried_out, text)
        if changed == text:
            break
        text = changed
        hidden += count
    return text.replace("\x02", "${").replace("\x03", "}"), hidden


def scan(text: str, kind: PlaceKind) -> Sequence[Signal]:  # noqa: ARG001 - the same text means the same in every place
    """Judge one view of a value. Linear in the text, up to a constant number of levels."""
    start = _START.search(text)
    if start is None:
        return ()
    part = text[start.start() : start.start() + MAX_LENGTH]
    found = _JNDI.search(part)
    plain, hidden = resolved(part) if "{" in part else (part, 0)
    harmful = found or _JNDI.search(plain)
    where = (start.start(), min(len(text), start.start() + len(part)))
    prose = plain_words(text) >= 6
    if harmful:
        confidence = 0.75 if "{" not in part else 0.8 if found and prose else 0.98
        if in_code(text, start.start()):
            confidence = 0.75
        return [Signal("lookup-jndi", Severity.CRITICAL, confidence, *where)]
    external = _EXTERNAL.search(part) or _EXTERNAL.search(plain)
    if external:
        return [Signal("lookup-code", Severity.CRITICAL, 0.6 if prose else 0.93, *where)]
    begun = _BEGUN.search(part)
    if begun:
        return [Signal("lookup-jndi", Severity.HIGH, 0.5 if prose else 0.86, *where)]
    known = _KNOWN.search(part)
    if known:
        confidence = 0.9 if hidden >= 2 else 0.86
        return [
            Signal(
                "lookup-nested" if hidden >= 2 else "lookup-value", Severity.HIGH, 0.5 if prose else confidence, *where
            )
        ]
    return ()


DETECTOR = Detector(
    name="lookup",
    category=ThreatClass.LOOKUP_INJECTION,
    owasp="A03:2021",
    triggers=(r"[$%]\{[^}]{0,64}[:$%]|[$%]\{[a-z]{0,16}[$%:]|jndi\s{0,4}:|[$%#]\{\s{0,4}jndi|\$\{hostname\}",),
    scan=scan,
)
