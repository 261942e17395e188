"""JavaScript without markup around it: judged by what it does, and by what it breaks out of to do it."""

import re
from collections.abc import Iterator

from seawall.systems.threats.detector import Signal
from seawall.systems.threats.detectors.js_words import Script, judge
from seawall.systems.threats.detectors.prose import PROSE_AROUND, plain_words
from seawall.systems.threats.model import Severity

__all__ = ["code"]

_MARK = re.compile(r"^\s*(?:[\"'`)\]};\\]|-->|\*/)|//\s{0,8}[\"'`]?\s{0,8}$|<!--\s*$|[;)}\]`]\s*$|^[+\-;|&*,]")
# A value that ends a text in a script and goes on with it, and between them reads what only pages have.
_SPLICED = re.compile(
    r"^[\w.@ -]{0,24}(['\"`])\s{0,4}(?:[-+*/%^;,]|\|\|?|&&?|\?\?)\s{0,4}[!~(]{0,4}"
    r"(?:(?:window|self|top|parent|document|location|navigator|history|screen|frames|opener|globalthis|(?:local|session)storage)\s{0,2}(?:\??\.\s{0,2}\w{1,32}|\[[^\]]{1,40}\])(?:\??\.\s{0,2}\w{1,32}|\[[^\]]{1,40}\]|\([^()]{0,80}\)|`[^`]{0,80}`){0,6})"
    r"[\s)]{0,6}(?:[-+*/%^;,]|\|\|?|&&?|\?\?|==?=?)\s{0,4}(?:\1|//|/\*)",
    re.IGNORECASE,
)
# What is left of a script element when angle brackets are taken out of it, or turn into something else.
_BROKEN_TAG = re.compile(
    r"script[^a-z0-9\s]{0,8}\s{0,2}(?:(?:window|self|top)\.)?(?:alert|confirm|prompt|eval|document\.\w{1,16})\s{0,2}[(`=][^<\r\n]{0,200}?[^\s\w]{0,4}/\s{0,4}script",
    re.IGNORECASE,
)
# Encodings of whole scripts that are known by how they begin (aaencode, jjencode).
_FACES = re.compile(
    r"[\uff9f\u309a\u309c]\s?\u03c9\s?[\uff9f\u309a\u309c]\s?[\uff89\u30ce]\s{0,4}=|\u03c9\u3099?\uff9f?\u30ce\s{0,4}="
)
_SIGNS = re.compile(r"[\w$]{1,16}\s{0,4}=\s{0,4}~\s{0,4}\[\s{0,4}\]\s{0,4};\s{0,4}[\w$]{1,16}\s{0,4}=\s{0,4}\{")
# A message for people: three words or more, in which demonstrations are short.
_SENTENCE = re.compile(r"[(`]\s{0,4}(?P<quote>['\"`])[^\s'\"`<>]{1,40}(?:\s[^\s'\"`<>]{1,40}){2,}")
_STATED = re.compile(
    r"\s{0,8}(?!import\()(?:return|var|let|const|function|class|public|private|import|export|async|def|if|for|while)\b[\s(]"
)
# What makes nothing of the rest of a line, or ends a number that was due.
_HIDES = re.compile(r"^\s{0,8}\d{1,12}\s{0,4}[;,)+*/&|-]|(?://|/\*|<!--)\s{0,8}[\"'`]?\s{0,8}$")
_LINE = re.compile(r"^\s{0,8}[\w$](?:[^\r\n]{0,400})[;{})]\s{0,8}\r?\n\s{0,40}[\w$}/]")
# A function that is called where it is written, and nothing besides.
_AT_ONCE = re.compile(
    r"[\s;!+~(-]{0,8}(?:(?:void|async)\s{1,4}){0,2}(?:function\b[^{}()]{0,40}\([^()]{0,60}\)\s{0,4}\{|\(?[\w$\s,]{0,40}\)?\s{0,4}=>)"
    r"[^\r\n]{1,160}[)}]\s{0,4}(?:[\w$]{0,24}\([^()]{0,40}\)|``)[\s);]{0,4}"
)
_STATEMENT = 80
"""Characters before what acts on a page up to which it is what the text is about."""
_MESSAGE = 200
_ONE_LINE = 240
_CLOSING = frozenset("\"'`)]};\\")
"""What ends a text or a bracket that the value did not begin."""


def code(text: str) -> Iterator[Signal]:
    """Judge JavaScript without markup: it breaks out of the string, template or statement that it lands in."""
    yield from _written_otherwise(text)
    spliced = _SPLICED.search(text)
    if spliced is not None:
        yield Signal("xss-code", Severity.HIGH, 0.85, spliced.start(), spliced.end())
    script = judge(text)
    if script.weight < 0.4:
        return
    confidence = _sure(text, script)
    if confidence >= 0.3:
        yield Signal("xss-code", Severity.HIGH, confidence, script.start, script.end)


def _sure(text: str, script: Script) -> float:
    """Tell how sure code that acts on a page is, by what it breaks out of and what is around it."""
    words = plain_words(text)
    confidence = script.weight
    marked = _MARK.search(text) is not None
    at_once = len(text) <= _ONE_LINE and _AT_ONCE.fullmatch(text) is not None and _SENTENCE.search(text) is None
    if at_once:
        confidence += 0.15
    elif script.breaks_out and marked:
        confidence += 0.25 if words <= 1 and len(text) <= _ONE_LINE and text.lstrip()[:1] in _CLOSING else 0.2
    elif script.breaks_out or marked:
        confidence += 0.12
    else:
        confidence -= 0.12
    if words >= PROSE_AROUND:
        confidence -= 0.3
    elif words >= 3 and not script.breaks_out:
        confidence -= 0.15
    if len(text) > 400 and not script.breaks_out:
        confidence -= 0.15
    confidence = min(0.95, confidence)
    if not at_once and _is_program(text, script):
        confidence -= 0.3
    return confidence


def _is_program(text: str, script: Script) -> bool:
    """Tell whether what acts on a page is part of a program in which nothing is broken out of."""
    if _HIDES.search(text) is not None:
        return False
    before = text[: script.start]
    if any(before.count(quote) % 2 for quote in "'\"`"):
        return _STATED.match(text) is not None and script.start < _STATEMENT
    said = _SENTENCE.search(text, script.start, script.start + _MESSAGE) is not None
    lines = text.count("\n") >= 1 and _LINE.search(text) is not None
    return lines or (script.start < _STATEMENT and (said or _STATED.match(text) is not None))


def _written_otherwise(text: str) -> Iterator[Signal]:
    """Find scripts that were taken apart or encoded as a whole."""
    for pattern in (_BROKEN_TAG, _FACES, _SIGNS):
        match = pattern.search(text)
        if match is not None:
            prose = plain_words(text) >= PROSE_AROUND
            yield Signal("xss-code", Severity.HIGH, 0.55 if prose else 0.86, match.start(), match.end())
