"""Judge values by their outer form: fragments that probe for an error, keywords taken apart or doubled, hexadecimal.

These are not SQL yet, or no longer: a quote and the beginning of a clause, a keyword that a filter is meant to put
together by taking another out of its middle, a text that a database reads out of digits.
"""

import re
from collections.abc import Iterator
from typing import Final

from seawall.systems.threats.detector import Signal
from seawall.systems.threats.detectors.sql_words import words
from seawall.systems.threats.model import Severity

__all__ = ["SPLIT", "fragments", "hexadecimal", "rejoined", "undoubled"]

_HIGH: Final = Severity.HIGH
_LENGTH_CAP: Final = 48
"""Characters; a longer value is no fragment."""

# Quotes and brackets in an order that nobody writes them in, as scanners send to see a query break.
_PUNCTUATION: Final = re.compile(r"[\w.%-]{0,12}+[.,;()\[\]'\"`\\]{2,24}+")
_BROKEN_PAIR: Final = re.compile(
    r"[^'\"`]*['\"`]+[)\]]|[^'\"`]*['\"`].{0,6}['\"`].{0,4}[()]|[^'\"`]*['\"`][.,]*\(|.*\(\W*['\"`]\W*\("
)
# A quote after nothing, a number or one word, and the beginning of a clause that does not go on.
# Both kinds of quotes and an angle bracket, as scanners send within random letters: `1'abc<'">def`.
_TAG: Final = re.compile(
    r"['\"]?[\w.%-]{0,24}+['\"]?\s?[\w.]{0,24}+(?:<(?:'\"|\"')>?|(?:'\"|\"')[<>]++)[\w.,;()<>'\"]{0,16}+"
)
_COMMENT_END: Final = re.compile(r"\d{0,6}['\"]?\)*+\*/")
_CLAUSE: Final = re.compile(
    r"(\d{0,9}|[a-z]\w{0,7})(?:['\"`]|%27)(?:[\s)]*+(?:;\s*+)?"
    r"(?:(?:and|or|xor)(?:\s++not|[\s(]*\()|(order|group)\s++by|union(?:\s++(?:all|select|distinct))*+|having)"
    r"|[\s);]++(?:limit|select|insert|drop|waitfor|rlike|(?:not\s++)?(?:like|in|between|regexp)))[\s(]*+"
)
# A number, and the beginning of what should follow a query's condition.
_STARTED: Final = re.compile(
    r"\d{1,9}['\"]?[\s)]*+(?:(?<=[\s)])(?:order|group)\s++by|\b(?:and|or)\s*+\(+\s*+(?:select)?|\b(?:and|or)\s++(?:not\s++)?exists\s*+\(?\s*+(?:select)?"
    r"|;\s?(?:select(?:\s\*)?|drop|insert\s++into|delete\s++from|update\s++\w{1,30}\s++set|waitfor|exec|(?:drop|alter|truncate|create)"
    r"\s++(?:table|user|database)))\s*+"
    r"|['\"]\)*+\s?;\s?(?:drop|alter|truncate|create)\s++(?:table|user|database|view)\s*+|['\"]\)*+\s++into\s++(?:out|dump)file\s*+"
    r"|['\"]\)*+\s++union\s++(?:all\s++)?select\s++(?:user|password|username|version|name|id|null)\s*+"
    r"|['\"]?\s?(?:or|and)\s?\(\s?(?:exists|select)\s?\)|['\"]\)*+\s?(?:or|and)\s++select(?:\s++\*)?"
    r"|\(++\s?select\s++(?:top\s++\d{1,4}+|\*|count\(\*?\)?)\s*+(?:from\s*+)?|\d{1,9}(?:or|and)\d{1,9}[=<>]\d{1,9}"
    r"|/\*!\d{0,6}[\w ]{0,24}+(?:\*/)?|\d{1,9}['\"]?(?:/\*[^*/]{0,8}\*/)++(?:union|order|having|select)"
)
# All signs that may break a query or a page, one after another.
_SIGNS: Final = re.compile(r"(?=[^'\"]*['\"])(?=[^<>]*[<>])(?=[^()]*[()])(?=[^;]*;)[^\w\s]{8,24}+")
_COMMENTED: Final = re.compile(
    r"(?:\s*+/\*[^*]{0,8}\*/)++\s*+(?:or|and|union|select|having|\|\||&&)(?:\s*+/\*[^*]{0,8}\*/)++\s*+"
)
_HEXADECIMAL: Final = re.compile(r"\s*+0x((?:[0-9a-f]{2}){4,400})\s*+\.{0,3}\s*+")
_PRINTED: Final = re.compile(r"[\x09\x0a\x0d\x20-\x7e]{4,}+")
_KEYWORDS: Final = ("union", "select", "from", "where", "order", "having", "and", "or", "information_schema")
# A keyword within itself: `selselectect`, of which a filter that takes out `select` leaves `select`.
_DOUBLED: Final = {word[:at] + word + word[at:]: word for word in _KEYWORDS for at in range(len(word))}
_LONG: Final = ("select", "union", "from", "where", "information_schema")
_DOUBLED_WORD: Final = re.compile(rf"(?<![a-z0-9_])(?:{'|'.join(_DOUBLED)})(?![a-z0-9_])")
SPLIT: Final = re.compile(r"(?<![a-z0-9_])([a-z]{1,7})(?:/\*[^*/]{0,24}\*/|[<>])([a-z]{1,7})(?![a-z0-9_])")
"""A keyword that a comment takes apart, or a character that is often taken out."""
_SPLIT_KEYWORDS: Final = words(
    "union select from where order having and insert update delete drop sleep benchmark waitfor delay exec like"
    " group limit table into"
)


def fragments(text: str) -> Iterator[Signal]:
    """Judge a value in lower case as a fragment: at most one signal; a glance unless it is short."""
    if len(text) > _LENGTH_CAP:
        return
    if _PUNCTUATION.fullmatch(text):
        brackets = "(" in text or ")" in text
        if brackets and _BROKEN_PAIR.match(text) and not _paired(text):
            yield Signal("sqli-probe", _HIGH, 0.86 if len(text) > 1 else 0.3, 0, len(text))
        return
    if _STARTED.fullmatch(text) or _SIGNS.fullmatch(text) or _TAG.fullmatch(text) or _COMMENT_END.fullmatch(text):
        yield Signal("sqli-probe", _HIGH, 0.86, 0, len(text))
        return
    if text.startswith("/*") and _COMMENTED.fullmatch(text):
        yield Signal("sqli-probe", _HIGH, 0.86, 0, len(text))
        return
    clause = _CLAUSE.fullmatch(text)
    if clause is not None:
        before, phrase = clause[1], clause[2]
        # After a word an apostrophe may be honest, as may what comes next, unless it is two words that go together.
        sure = not before or before.isdigit() or phrase or "select" in text
        yield Signal("sqli-probe", _HIGH, 0.86 if sure else 0.4, len(before), len(text))


def _paired(text: str) -> bool:
    """Tell whether brackets and quotes close what they open, as in `('.')`."""
    if text.count("'") % 2 or text.count('"') % 2 or text.count("`") % 2:
        return False
    depth = 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return False
    return depth == 0


def hexadecimal(text: str) -> str:
    """The text that a value in lower case stands for which is but a hexadecimal literal; empty where it is none."""
    match = _HEXADECIMAL.fullmatch(text)
    if match is None:
        return ""
    raw = bytes.fromhex(match[1])
    if raw[1::2].count(0) * 2 >= len(raw) - 1:
        raw = raw[::2]
    elif raw[::2].count(0) * 2 >= len(raw) - 1:
        raw = raw[1::2]
    told = raw.decode("latin-1")
    return told if _PRINTED.fullmatch(told) else ""


def undoubled(text: str) -> str:
    """Put the keywords of a text in lower case together as a filter would that takes each out once."""
    if not _is_doubled(text):
        return text
    return _DOUBLED_WORD.sub(lambda match: _DOUBLED[match[0]], text)


def _is_doubled(text: str) -> bool:
    """Tell at little cost whether a keyword may stand within letters, or twice."""
    for word in _LONG:
        at = text.find(word)
        for _ in range(4):
            if at < 0:
                break
            after = text[at + len(word) : at + len(word) + 1]
            if after.isalpha() and (text[at - 1 : at].isalpha() or text.startswith(word, at + len(word))):
                return True
            at = text.find(word, at + 1)
    return "oorr" in text or "andd" in text or "aandnd" in text


def rejoined(text: str) -> str:
    """Put keywords together that comments take apart: `sel/**/ect`; the text itself where there are none."""
    return SPLIT.sub(lambda match: match[1] + match[2] if match[1] + match[2] in _SPLIT_KEYWORDS else match[0], text)
