"""Judge conditions and clauses that are a few tokens long, as probes are: `1 or 1`, `1) or (1`, `id from users--`.

Some are what people type as well, if seldom: `2 or 3`. What tells is what people do not write: the same number twice,
operators without a space, brackets that close nothing, comments that cut off what follows.
"""

import re
from typing import Final

from seawall.systems.threats.detectors.sql_lexer import Tokens
from seawall.systems.threats.detectors.sql_words import CATALOGUE, SQL_FUNCTIONS, TELLING_NAMES

__all__ = ["terse"]

_TOLD: Final = 0.86
_NUMBERS: Final = re.compile(r"(?:\+?n|N)(?:&!*+n)++d?$")
_UNBALANCED: Final = re.compile(r"n?\)++&[!(]*+(?:[nNs]\)*+(?:=[(]*+(?:[nNs]\)*+|t))?d?|t)$")
_ENCLOSED: Final = re.compile(r"\(*+n\)*+&\(++n\)*+d?$|\(++n\)++&n$|n\([&]\)n$")
_GLUED: Final = re.compile(r"n&[!+]*+(?:[svNt(]|n)")
_CALLED: Final = re.compile(r"\)*+[+(]*+[nsN]\)*+&[!(]*+f\([^;?]*\)\)*+d?$")
_ALIKE: Final = re.compile(r"n!?=(?:=|w|!)?[ns(]")
_LIMITED: Final = re.compile(r"[nN]\)*+L(?:n(?:,n|Ln)?|n,n)(?:d|Iv(?:,v)*+)?$")
_ORDERED: Final = re.compile(r"GBn(?:,n)*+K?d?$")
_SORTED: Final = re.compile(r"(?:[wi]K?|[nN](?:,[nN])++|[wi](?:,[wi])++)(?:L?n?)d$")
_SOURCE: Final = re.compile(r"((?:[winNv]|\+|f\([^()]*\))(?:,(?:[winNv]|f\([^()]*\)))*+)F[wi](?:\.[wi])?(W.*|d)?$")
_ROWS: Final = re.compile(r"[nN](?:,[nN])*+\),\((?:[nN],?)*+\)?$")
_ARGUMENTS: Final = {"if": 2, "iif": 2, "decode": 3, "choose": 2, "nullif": 1, "coalesce": 1, "ifnull": 1, "nvl": 1}
_SUMMED: Final = re.compile(r"n(?:\+f\([ns]?\))++$")
_MATHS: Final = frozenset(
    (
        "abs",
        "min",
        "max",
        "sum",
        "sqrt",
        "round",
        "pow",
        "power",
        "floor",
        "ceil",
        "log",
        "exp",
        "ln",
        "mod",
        "sign",
        "pi",
        "rand",
    )
)
_WORDED: Final = frozenset(("sounds", "rlike", "regexp", "glob", "similar", "ilike", "member"))
_GAP: Final = 6
_LONG_NUMBER: Final = 18


def terse(tokens: Tokens, *, strict: bool) -> float:
    """How sure it is that all of a value is a condition or clause of an injection; 0 where nothing says so.

    Args:
        tokens: of it.
        strict: whether it stands where a request names what it wants, not in a body.
    """
    kinds, texts = tokens.kinds, tokens.texts
    first = kinds[0]
    sure = 0.0
    if first in "nN+(":
        sure = _number_first(tokens, strict=strict)
    elif first == ")":
        sure = _TOLD * (_UNBALANCED.match(kinds) is not None)
    elif first == "f":
        sure = _TOLD * (strict and _chosen(tokens))
    elif first == "G":
        sure = _TOLD * (strict and _ORDERED.match(kinds) is not None and _closed(tokens))
    elif first == "&":
        sure = _TOLD * (strict and kinds in ("&N", "&!N", "&Nd"))
    elif first == "U" and strict:
        listed = "(" in kinds[:4] and texts[1 + (kinds[1:2] == "A")] == "values" if len(kinds) > 2 else False
        alone = kinds in ("US", "UAS") and tokens.starts[0] <= 1 and tokens.starts[1] == tokens.starts[0] + 6
        sure = _TOLD * (listed or alone)
    elif kinds == "S+" and strict:
        sure = _TOLD * (texts[1] == "*")
    elif first == "L" and strict and texts[0] == "limit":
        sure = _TOLD * (kinds in ("Ln,n", "Ln,nd"))
    if not sure and (strict or kinds[-1] == "d"):
        sure = _TOLD * _is_list(tokens, strict=strict)
    return sure


def _number_first(tokens: Tokens, *, strict: bool) -> float:  # noqa: C901, PLR0911, PLR0912 - one return for each form
    kinds, texts = tokens.kinds, tokens.texts
    if _GLUED.match(kinds) and _is_glued(tokens):
        return _TOLD
    if _ROWS.match(kinds):
        return _TOLD
    if _UNBALANCED.match(kinds) and kinds.count("(") != kinds.count(")") and (not kinds.endswith(")") or "(" in kinds):
        return _TOLD * (kinds[-1] != "n" or "(" in kinds or texts[-1] in ("0", "1", texts[0]))
    if _ENCLOSED.match(kinds):
        return _TOLD
    if _NUMBERS.match(kinds):
        certain = tokens.hidden > 0 or any(text[:2] in ("0x", "0b") for text in texts)
        return _TOLD * (certain or (strict and _is_odd(tokens)))
    if _CALLED.match(kinds):
        return _TOLD * _is_called(tokens)
    if _ALIKE.match(kinds):
        worded = not _WORDED.isdisjoint(texts[1:3]) or texts[1:3] == ["not", "between"]
        listed = texts[1] == "in" and kinds[2:3] == "(" and tokens.starts[2] == tokens.starts[1] + 2
        return _TOLD * (len(kinds) < 9 and (worded or (listed and kinds in ("n=(n)", "n=(n,n)"))))
    if kinds in ("n=N", "n=!N") and texts[1] == "is":
        return _TOLD * strict
    if kinds == "n&n+n" and "/" in texts[3] and texts[4] == "0":
        return _TOLD
    if kinds[:3] == "n&n" and kinds[3:5] == "+n" and len(texts[2]) >= _LONG_NUMBER:
        return _TOLD
    if _SUMMED.match(kinds) and "-" not in texts[2]:
        return _TOLD * (strict and texts[2] in SQL_FUNCTIONS - _MATHS)
    if kinds == "n+n" and texts[1] == "div":
        return _TOLD * strict
    if kinds == "nd":
        # `1-- -`: a comment as MySQL needs it.
        return _TOLD * (strict and re.fullmatch(r"--[\s+]+-?\s*|--\s*", texts[1]) is not None and len(texts[0]) <= 4)
    return _TOLD * (strict and _LIMITED.match(kinds) is not None and "limit" in texts and len(kinds) > 4)


def _is_glued(tokens: Tokens) -> bool:
    """Tell whether neither side of a logical operator is apart from it: `1or.1`, `1and'1'`, `1or@a`."""
    starts, texts, kinds = tokens.starts, tokens.texts, tokens.kinds
    if not texts[1].isalpha():
        return False
    together = starts[1] == starts[0] + len(texts[0]) and starts[2] == starts[1] + len(texts[1])
    return together and (kinds[2] != "n" or texts[2][0] == ".") and (kinds[2] != "t" or len(texts[2]) <= 12)


def _is_odd(tokens: Tokens) -> bool:
    """Tell whether numbers with logical operators between them are no choice that a person gives: `1 or 1`."""
    texts, kinds = tokens.texts, tokens.kinds
    numbers = [text for kind, text in zip(kinds, texts, strict=True) if kind == "n"]
    if tokens.hidden or kinds[-1] == "d" or "!" in kinds or kinds[0] == "N":
        return True
    if any(not number.replace(".", "", 1).isdigit() for number in numbers):
        return True
    worded = texts[kinds.index("&")].isalpha()
    if len(set(numbers)) < len(numbers):
        return worded or numbers[0] in ("0", "1")
    worded &= kinds[0] == "n"
    if tokens.starts[1] - tokens.starts[0] - len(texts[0]) > _GAP:
        return True  # something stood between that was folded
    return worded and (numbers[0] == "0" or numbers[-1] == "0" or tokens.starts[1] == len(texts[0]))


def _is_called(tokens: Tokens) -> bool:
    """Tell whether a function is called as condition, with constants or nothing: `1 or json_valid('{}')`."""
    at = tokens.kinds.index("f")
    name = tokens.texts[at]
    if len(name) <= 3 and name not in SQL_FUNCTIONS:
        return False
    return (
        tokens.starts[at + 1] == tokens.starts[at] + len(name)
        and tokens.kinds.count("w") <= 2
        and (tokens.kinds[at + 2] in "nsNvf)(+" or "_" in name or name in SQL_FUNCTIONS)
    )


def _chosen(tokens: Tokens) -> bool:
    """Tell whether a value is a choice by constants, where the name of a column is due: `if(1,id,name)`."""
    kinds = tokens.kinds
    least = _ARGUMENTS.get(tokens.texts[0])
    if least is None or kinds[-1] not in ")d" or kinds[1:4] not in ("(n,", "(N,"):
        return False
    return kinds.count(",") >= least and kinds.count("(") == kinds.count(")")


def _closed(tokens: Tokens) -> bool:
    """Tell whether nothing but a comment's mark is in the comment at the end, if there is one."""
    return tokens.kinds[-1] != "d" or not tokens.texts[-1].lstrip("-#/*! +")


def _is_list(tokens: Tokens, *, strict: bool) -> bool:
    """Tell whether a value is the rest of a query after SELECT or ORDER BY: `id from users--`, `id desc--`."""
    kinds, texts, starts = tokens.kinds, tokens.texts, tokens.starts
    if not _closed(tokens):
        return False
    source = _SOURCE.match(kinds)
    if source is not None:
        telling = any(text in TELLING_NAMES or CATALOGUE.match(text) for text in texts[source.end(1) + 1 :][:3])
        several = "," in source[1] or texts[0] == "*" or source[1][0] in "nN"
        return (
            (texts[0] == "*" and telling)
            or (kinds[-1] == "d" and (telling or several))
            or (several and telling and "," in source[1])
            or "dual" in texts
        )
    if not _SORTED.match(kinds) or not (strict or texts[-1].startswith("--")):
        return False
    if "," in kinds:
        at = kinds.index(",")
        return starts[at + 1] == starts[at] + 1
    return "desc" in texts or "asc" in texts or "limit" in texts
