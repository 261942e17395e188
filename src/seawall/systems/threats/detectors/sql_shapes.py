"""Judge a whole value by the order of its tokens, where that alone tells: `(5=5)*1`, `1 natural join users`."""

import re
from collections.abc import Iterator
from typing import Final

from seawall.systems.threats.detector import Signal
from seawall.systems.threats.detectors.sql_lexer import Tokens
from seawall.systems.threats.detectors.sql_terse import terse
from seawall.systems.threats.model import Severity

__all__ = ["shapes"]

_HIGH: Final = Severity.HIGH
_ARITHMETIC: Final = re.compile(r"\(n=n\)\+n$")
_ROWS: Final = re.compile(r"[nsN](?:,[nsN])*+\),\((?:f|v|\(S|[nsN],)")
_ASSIGNED: Final = re.compile(r"[nN](?:,[wi]=[nsvN])++d$")
_JOINED: Final = re.compile(r"\(*+[ns]\)*+(K?K)[wif(]")
_CONSTANTS: Final = re.compile(r"n(?:=n&n|!=\(n(?:,n)*\)|=n)$")
_JOINS: Final = frozenset(("natural", "cross", "left", "right", "inner", "outer"))


def shapes(tokens: Tokens, length: int, *, strict: bool = False) -> Iterator[Signal]:  # noqa: C901 - one branch for each shape
    """Judge the tokens of a value that is so many characters long: at most two signals.

    Args:
        tokens: of it.
        length: of it.
        strict: whether it stands where no statements are due, so that even the tersest condition tells.
    """
    kinds, texts = tokens.kinds, tokens.texts
    first = kinds[0]
    if len(kinds) < 40:
        sure = terse(tokens, strict=strict)
        if sure:
            yield Signal("sqli-terse", _HIGH, sure, 0, length)
    if first not in "(nsNi":
        return
    if _ARITHMETIC.match(kinds):
        # A comparison of numbers where a number is due: `(5=5)*1`.
        yield Signal("sqli-boolean", _HIGH, 0.86, 0, length)
    elif _ROWS.match(kinds):
        # The end of one row of values, and the beginning of another: `1),(version(),1`.
        yield Signal("sqli-clause", _HIGH, 0.86, 0, length)
    elif _ASSIGNED.match(kinds):
        # What else an UPDATE is to set: `5, admin=1--`.
        yield Signal("sqli-clause", _HIGH, 0.88, 0, length)
    elif kinds == "i=i" and texts[0] == texts[2] and texts[0][0] == "`":
        yield Signal("sqli-tautology", _HIGH, 0.86, 0, length)
    elif first == "n" and _CONSTANTS.match(kinds):
        # Numbers compared as SQL alone writes it; `1=1` and `5 in 6` are left to people.
        if texts[1] in ("<=>", "between") or texts[2] == "in":
            yield Signal("sqli-boolean", _HIGH, 0.86, 0, length)
    elif len(kinds) < 40:
        yield from _joined(tokens, length)


def _joined(tokens: Tokens, length: int) -> Iterator[Signal]:
    """Another table after an operand: `1 natural join users`."""
    match = _JOINED.match(tokens.kinds)
    if match is None:
        return
    join = match.end(1) - 1
    if tokens.texts[join] != "join" or (join > match.start(1) and tokens.texts[join - 1] not in _JOINS):
        return
    rest = tokens.kinds[join + 1 :]
    related = "on" in tokens.texts[join:] or "using" in tokens.texts[join:]
    if rest in ("w", "i", "wd", "id") and join > match.start(1):
        yield Signal("sqli-clause", _HIGH, 0.86, 0, length)
    elif rest[0] == "(" and "S" in rest[:3]:
        yield Signal("sqli-subquery", _HIGH, 0.9, 0, length)
    elif related and "=" in rest and join > match.start(1):
        yield Signal("sqli-clause", _HIGH, 0.86, 0, length)
