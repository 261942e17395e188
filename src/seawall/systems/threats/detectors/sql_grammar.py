"""Follow SQL's grammar through tokens: how far an expression goes, what it compares, and whether it is true.

The grammar is that of operands and operators, in turn, with clauses between them. It is deliberately wider than any
dialect; what it refuses is what makes prose prose: two operands next to one another.
"""

import operator
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from seawall.systems.threats.detectors.sql_lexer import Tokens
from seawall.systems.threats.detectors.sql_words import (
    CATALOGUE,
    GLOBALS,
    INJECTOR_FUNCTIONS,
    PACKAGES,
    SQL_FUNCTIONS,
    TELLING_NAMES,
)

__all__ = ["Course", "follow", "is_package", "truth"]


class Course(NamedTuple):
    """Where the grammar led, and what was met on the way.

    Attributes:
        end: index of the token where it ended.
        by: what ended it: `` at the end of the text, `d` comment, `t` a string cut off, `;` end of the statement, `)` a
            closing bracket too many with nothing after it, `?` something that is not SQL.
        constant: a comparison, all of whose operands are constants.
        same: a comparison of a name with itself.
        column: a comparison with a name.
        literal: a condition that is but a constant.
        select: SELECT was met.
        source: FROM and a name were met.
        calls: functions of SQL that were called.
        certain: a function or catalogue was met that only attackers use.
        names: names that an attacker would ask for.
        aliases: words that can only be aliases; prose has many.
        sums: arithmetic was met.
    """

    end: int
    by: str
    constant: bool
    same: bool
    column: bool
    literal: bool
    select: bool
    source: bool
    calls: int
    certain: bool
    names: int
    aliases: int
    sums: int


_COURSE_CAP: Final = 160
"""Tokens that an expression is followed for; many begin within one another in the worst of texts."""
_OPERANDS: Final = frozenset("nsviN")
_CLAUSES: Final = frozenset("FWHGBLIKU")
_WITH: Final = (["rollup"], ["cube"], ["ties"])
_LEADING: Final = frozenset(("case", "when", "then", "else", "top", "values"))


def is_package(tokens: Tokens, index: int) -> bool:
    """Tell whether the function at an index is a procedure of one of the packages that servers bring."""
    if PACKAGES.match(tokens.texts[index]):
        return True
    while index >= 2 and tokens.kinds[index - 1] == ".":
        index -= 2
        if PACKAGES.match(tokens.texts[index]):
            return True
    return False


def _negated(tokens: Tokens, at: int) -> bool:
    """Tell whether a comparison goes on from the word before it: NOT LIKE, SOUNDS LIKE."""
    if tokens.kinds[at] != "=" or not at:
        return False
    before = tokens.kinds[at - 1]
    return before == "!" or (before == "=" and tokens.texts[at - 1] in ("is", "sounds", "similar"))


def _is_titled(tokens: Tokens, at: int) -> bool:
    """Tell whether the text at an index is a field's title that a filter compares: `"Story Points" > 3`."""
    return (
        tokens.kinds[at + 1 : at + 3] == "=n"
        and " " in tokens.texts[at].strip("'\" ")
        and tokens.texts[at][1].isalpha()
    )


def _is_open(tokens: Tokens, at: int) -> bool:
    """Tell whether what ends with the operator at an index is English: `24/7 between`, `50%`, `then`."""
    kind = tokens.kinds[at]
    return (
        kind in "!K"
        or (kind == "=" and tokens.texts[at].isalpha())
        or (kind == "+" and "%" in tokens.texts[at - 1 : at + 1])
    )


def _is_same(tokens: Tokens, at: int) -> bool:
    """Tell whether the names on both sides of a comparison are one, with what owns them."""
    kinds, texts = tokens.kinds, tokens.texts
    left, right = kinds[at - 2 : at - 1] == ".", kinds[at + 2 : at + 3] == "."
    if left and right:
        return texts[at - 3 : at] == texts[at + 1 : at + 4]
    return not left and not right and texts[at - 1] == texts[at + 1]


def follow(tokens: Tokens, index: int, *, select: bool = False) -> Course:  # noqa: C901, PLR0912, PLR0915 - one pass, kept free of calls for speed
    """Follow an expression from the token at an index, where an operand is due.

    Args:
        tokens: of the value.
        index: of the first token of the expression.
        select: whether a SELECT stands before it, so that aliases are to be expected.

    Costs about 0.2 us a token, of which it looks at 160 at most.
    """
    kinds, texts = tokens.kinds, tokens.texts
    length = min(len(kinds), index + _COURSE_CAP)
    due = True
    depth = calls = names = aliases = sums = words = literals = 0
    constant = same = column = literal = source = certain = compared = nested = False
    aliased = False
    by = ""
    first = index
    at = index
    while at < length:
        kind = kinds[at]
        if kind in "d;":
            by = kind
            break
        if due:
            if kind in _OPERANDS:
                due = False
                literals += 1
                if kind == "s" and _is_titled(tokens, at):
                    words += 1
                if kind == "i" and texts[at].strip("`[]") in TELLING_NAMES:
                    names += 1
                if kind == "v" and GLOBALS.match(texts[at]):
                    certain = True
            elif kind == "w":
                if texts[at] == "to" and texts[at - 1] == "similar":
                    at += 1
                    continue
                due = False
                words += 1
                aliased = False
                text = texts[at]
                if text in TELLING_NAMES:
                    names += 1
                if (select and CATALOGUE.match(text)) or (text[3:4] == "_" and text.startswith("utl_")):
                    certain = True
            elif kind == "f":
                if texts[at] == "count" and texts[at + 2 : at + 3] == ["*"]:
                    calls += 1
                    words += 1  # rows are counted, which is no constant
                elif texts[at] in SQL_FUNCTIONS or is_package(tokens, at):
                    calls += 1
                    told = kinds[at + 2 : at + 3] != ")" or "_version" in texts[at]
                    certain |= told and (texts[at] in INJECTOR_FUNCTIONS or is_package(tokens, at))
                else:
                    words += 1
            elif kind == "(":
                depth += 1
            elif kind == "!":
                pass
            elif kind == ")" and at > index and kinds[at - 1] == "(":
                depth -= 1
                due = False
                literals += 1
            elif kind == "+" and texts[at] in "-+*&":
                due = texts[at] != "*"
            elif kind == "K" and texts[at] == "top" and kinds[at + 1 : at + 2] == "n":
                at += 1 + (texts[at + 2 : at + 3] == ["percent"])
            elif kind == "S" and at and kinds[at - 1] in "(UA!K":
                select = nested = True
            elif (
                kind == "B"
                or (kind == "K" and texts[at] in _LEADING)
                or (kind in "AFWLGUIH" and select)
                or _negated(tokens, at)
            ):
                pass
            elif kind == "t":
                by = "t"
                literals += 1
                break
            else:
                by = "?"
                break
        elif kind == "=":
            due = True
            if compared and not words:
                constant = True
            compared = True
            if at + 1 < length and kinds[at + 1] == kinds[at - 1] == "w":
                same |= _is_same(tokens, at)
        elif kind in "+,.":
            due = True
            aliased = False
            sums += kind == "+"
            if kind == "," and compared:
                constant |= not words
                column |= words > 0
                compared = False
                words = literals = 0
        elif kind == "&":
            due = True
            if compared:
                constant |= not words
                column |= words > 0
            else:
                literal |= literals > 0 and not words
            compared = False
            words = literals = 0
        elif kind == ")":
            depth -= 1
        elif kind == "!":
            due = texts[at] == "~"
            compared |= due
        elif texts[at] == "?" and kinds[at + 1 : at + 2] == "s":
            due = compared = True
        elif kind == "G" and kinds[at + 1 : at + 2] not in ("B", ""):
            by = "?"
            break
        elif kind in _CLAUSES:
            if kind == "F":
                source |= at + 1 < length and kinds[at + 1] in "wif("
            due = kind != "L" or texts[at] != "procedure"
            if kind == "K" and texts[at] in ("end", "asc", "desc"):
                due = False
            if kind in "WHGU" or texts[at] in ("when", "then"):
                if compared:
                    constant |= not words
                    column |= words > 0
                compared = False
                words = literals = 0
            aliased = False
            nested |= kind == "U" and "S" in kinds[at + 1 : at + 5]
            select |= nested
        elif kind == "w" and texts[at] == "with" and texts[at + 1 : at + 2] in _WITH:
            at += 1
        elif kind in "wi" and select and not aliased and kinds[at - 1] in "wi)":
            aliased = True
            aliases += kind == "w" and kinds[at - 1] == "w"
        elif kind == "s" and kinds[at - 1] == "s":
            pass
        elif kind == "t":
            by = "t" if kinds[at - 1] in "s)Ni" or len(texts[at]) == 1 else "?"
            break
        elif kind == "w" and texts[at] == "waitfor" and texts[at + 1 : at + 2] == ["delay"]:
            by = ";"
            certain = True
            break
        elif kind == "(" and kinds[at - 1] in "nsi":
            depth += 1
            due = True
        else:
            by = "?"
            break
        at += 1
    if due and by in ("", "?") and at > first and _is_open(tokens, at - 1):
        compared = False
        by = by or "?"
    if compared:
        constant |= not words and at > first
        column |= words > 0
    else:
        literal |= literals > 0 and not words and not calls
    if by == "" and due and at > index and kinds[at - 1] == "w":
        by = "?"
    return Course(
        at, by, constant, same, column and not same, literal, nested, source, calls, certain, names, aliases, sums
    )


_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "=": operator.eq, "==": operator.eq, "<=>": operator.eq, "like": operator.eq, "is": operator.eq, "<>": operator.ne,
    "!=": operator.ne, "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge,
}  # fmt: skip
_NUMBER: Final = re.compile(r"\d{1,15}(?:\.\d{1,9})?(?:e[+-]?\d{1,2})?$")


def _value(kind: str, text: str) -> float | None:
    """The number that a constant stands for; a text's is that of its letters, which will do to compare."""
    if kind == "n":
        if _NUMBER.match(text):
            return float(text)
        return float(int(text[2:] or "0", 16)) if text.startswith("0x") and len(text) <= 16 else None
    inner = text.strip("nx'\"").strip("% ")
    if _NUMBER.match(inner):
        return float(inner)
    return float(int.from_bytes(inner.encode("utf-8", "replace")[:6], "big"))


def truth(tokens: Tokens, index: int) -> bool | None:
    """Tell whether the comparison of two constants at an index holds; nothing if it is not as simple as that."""
    kinds, texts = tokens.kinds, tokens.texts
    negated = False
    while index < len(kinds) and kinds[index] in "(!":
        negated ^= texts[index] in ("not", "!")
        index += 1
    if kinds[index + 1 : index + 2] != "=" or len(kinds) < index + 3:
        return None
    left, right = kinds[index], kinds[index + 2]
    compare = _COMPARE.get(texts[index + 1])
    if compare is None or left not in "ns" or right not in "nst":
        return None
    one, other = _value(left, texts[index]), _value(right, texts[index + 2])
    if one is None or other is None:
        return None
    return compare(one, other) ^ negated
