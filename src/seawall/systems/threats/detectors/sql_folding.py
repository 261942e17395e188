"""Put rare spellings of SQL into common ones, which the grammar knows: `{x 1}`, `array[1]`, `1 collate c`.

Each is replaced by as many characters as it had, so that indexes into the text stay true.
"""

import re
from collections.abc import Callable
from typing import Final

__all__ = ["folded"]

_ANY: Final = re.compile(
    r"\{\s?`?\w|\barray\s?\[|\)\[\d|\b(?:collate|member|zone|escape|isnull|notnull|interval|returning|fetch|option|format|allow)\b"
    r"|\bfor\s|\bwith\s(?:ur|cs|rs|rr)\b|`\w+`\s?\(|(?:or|and)\s{1,4}\w{2,12}\s?'|[=<>(,]\s?\w{2,12}\s?'|@@\s?[('t]|@\?|\?[|&]|#>"
)
_NEXT: Final = r"(?=\s*+(?:(?:or|and|xor|union|like|in|is|between|order|limit|group|having)\b|[=<>|&)+*]|-(?!-)))"
_END: Final = r"(?=\s*+(?:;|--|#|/\*|\Z))"


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


def _inner(match: re.Match[str]) -> str:
    """The first group where it was, and blanks around it."""
    start, end = match.start(1) - match.start(), match.end() - match.end(1)
    return " " * start + match[1] + " " * end


def _listed(match: re.Match[str]) -> str:
    return " " * (len(match[0]) - len(match[1]) - 2) + "(" + match[1] + ")"


def _matched(match: re.Match[str]) -> str:
    return "rlike".ljust(len(match[0]))


def _compared(match: re.Match[str]) -> str:
    return "=".ljust(len(match[0]))


_FOLDS: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...]] = tuple(
    (re.compile(pattern), fold)
    for pattern, fold in (
        # ODBC's escapes, which hold what an operand is or a keyword.
        (
            r"\{\s?(?:(?!return|throw|import|export)\w{1,16}\s{1,4}|`\w{1,16}`\s{0,4})([^{}\s;:=]{1,60}+|'[^'{}]{1,40}')\s?\}",
            _inner,
        ),
        (r"\barray\s?\[([^\[\]]{0,60}+)\]", _listed),
        (r"(?<=\))\[\d{1,3}\]", _blank),
        # What follows an operand and changes nothing in it.
        (r"\bcollate\s{1,4}[\"'`]?[\w.]{1,40}+[\"'`]?" + _NEXT, _blank),
        (r"\bat\s{1,4}time\s{1,4}zone\s{1,4}'[\w/+:-]{1,30}+'", _blank),
        (r"\bescape\s{0,4}'[^']'(?=\s*+(?:or|and|union)\b)", _blank),
        (r"(?<=[\d'\")]\s)(?:isnull|notnull)\b(?=\s*+(?:or|and|union|--|#))", _blank),
        # Operators of one dialect, and literals that tell their type.
        (r"\bmember\s{1,4}of(?=\s*+\()", _matched),
        (r"@@(?=\s?[('t])|@\?|\?[|&](?=\s{0,9}[a(])|#>>?(?=\s?'\{)", _compared),
        (r"\binterval\s{1,4}(['\"]?\d{1,9}['\"]?)\s{1,4}(?:second|minute|hour|day|week|month|year)s?\b", _inner),
        (
            (
                r"(?:(?<=\bor\s)|(?<=\band\s)|(?<=[=<>(,])|(?<=[=<>(,]\s))"
                r"(?!(?:r?like|in|is|not|or|and|select|between|glob|any|all|regexp)\b)[a-z]\w{1,11}\s?"
                r"('[^']{0,60}+')(?=\s*+(?:is|in|or|and|[=<>:@+]|\)|\}|--|#|\Z))"
            ),
            _inner,
        ),
        (r"`(\w{2,30})`(?=\s?\()", _inner),
        # What ends a query and is no condition.
        (
            (
                r"(?<=[\w'\")`*])\s++(?:for\s++(?:update|share|key\s++share|no\s++key\s++update|xml|json|browse)\b"
                r"[\w ()]{0,40}"
                r"|fetch\s++(?:first|next)\b[\w ]{0,24}|with\s(?:ur|cs|rs|rr)|option\s?\([\w ,]{1,40}\)"
                r"|returning\s++[\w*,]{1,24}|format\s++(?:json|xml)|allow\s++filtering)" + _END
            ),
            _blank,
        ),
    )
)


def folded(lower: str) -> str:
    """Return a text in lower case with its rare spellings as common ones; as long as it was, in linear time."""
    if _ANY.search(lower) is None:
        return lower
    for pattern, fold in _FOLDS:
        lower = pattern.sub(fold, lower)
    return lower
