"""Judge calls of functions in a value that may stand in a query as it is, and what stands before them."""

import re
from collections.abc import Iterator
from typing import Final

from seawall.systems.threats.detector import Signal
from seawall.systems.threats.detectors.sql_grammar import Course, follow, is_package
from seawall.systems.threats.detectors.sql_lexer import Tokens
from seawall.systems.threats.detectors.sql_words import INJECTOR_FUNCTIONS, SQL_FUNCTIONS, words
from seawall.systems.threats.model import Severity

__all__ = ["called", "end_of", "is_alone", "prose_before", "reaches"]

_CRITICAL, _HIGH = Severity.CRITICAL, Severity.HIGH
_OPERAND: Final = re.compile(r"\(*+[-+]?[nswivNt]?(?:\(\))?\)*(?:\+\(*[ns]\)*)?$")
_HEAD: Final = re.compile(r"(?:[-+(]*+[nsv]\)*+[=+&])?[(!]*+$")
_TELLING: Final = words(
    "version user database current_user session_user system_user db_name user_name host_name current_database"
    " schema_name current_schema suser_name suser_sname schema"
)
"""What tells about the server or the account, as a name or called."""
_SENTENCE: Final = re.compile(r"[wn](?=[wn])|\?")
_CONVERTING: Final = frozenset(("cast", "convert", "try_cast", "try_convert", "to_number"))
_AGGREGATES: Final = frozenset(("count", "sum", "avg", "min", "max"))
_ORDINARY: Final = frozenset(("max", "min", "abs", "round", "floor", "sqrt", "pow", "exp", "now"))


def prose_before(tokens: Tokens, index: int) -> int:
    """How many places before the token at an index are not SQL."""
    return len(_SENTENCE.findall(tokens.kinds, 0, index))


def is_alone(tokens: Tokens, index: int) -> bool:
    """Tell whether but an operand, or nothing, stands before the token at an index."""
    return index <= 12 and _OPERAND.match(tokens.kinds[:index]) is not None


def end_of(tokens: Tokens, course: Course, length: int) -> int:
    """Index of the character where an expression ended, in a value so long."""
    return tokens.starts[course.end] if course.end < len(tokens.starts) else length


def called(tokens: Tokens, index: int, length: int) -> Iterator[Signal]:
    """A call: of what only attackers call, or of much at once."""
    name = tokens.texts[index]
    package = is_package(tokens, index)
    if name in ("exec", "execute") and tokens.kinds[index + 2 : index + 3] == "v":
        yield Signal("sqli-stacked", _CRITICAL, 0.93, tokens.starts[index], length)
    if name not in SQL_FUNCTIONS and not package:
        return
    if tokens.kinds[index - 1 : index] == "." and not package:
        return
    if name in INJECTOR_FUNCTIONS or package:
        yield Signal("sqli-function", _CRITICAL, _injector(tokens, index), tokens.starts[index], length)
        return
    if name in _AGGREGATES and tokens.kinds[index - 1 : index] in ("S", ","):
        return  # what a query asks for, which is judged as a query
    course = follow(tokens, index)
    end = end_of(tokens, course, length)
    if name == "sleep":
        rule, sure = "sqli-time", _sleep(tokens, index)
    elif course.certain and course.by != "?":
        rule, sure = "sqli-function", 0.93
    elif course.select:
        rule, sure = "sqli-subquery", 0.9 if course.source else 0.7
    else:
        rule, sure = _composed(tokens, index, course)
    yield Signal(rule, _HIGH, sure, tokens.starts[index], end)


def reaches(tokens: Tokens, index: int) -> bool:
    """Tell whether the call at an index is given an address or a path, as functions are that read from elsewhere."""
    if tokens.kinds[index : index + 3] != "f(s":
        return False
    text = tokens.texts[index + 2].strip("'\"")
    return "://" in text or text.startswith(("/", "\\\\", "c:"))


def _injector(tokens: Tokens, index: int) -> float:
    """How sure a call of a function is that only attackers use."""
    kinds, name = tokens.kinds, tokens.texts[index]
    argument = kinds[index + 2 : index + 3]
    if name == "benchmark" and "," not in kinds[index:]:
        return 0.3
    if argument == "w" and tokens.texts[index + 2].startswith("__"):
        return 0.94
    if argument not in ("n", "s", "t", "N", "v", "(", "S", "f", "!", "+", "K", "i", "") and "_version" not in name:
        return 0.4
    return 0.94 if prose_before(tokens, index) <= 2 else 0.6


def _sleep(tokens: Tokens, index: int) -> float:
    """How sure a call of SLEEP is, which many languages have."""
    kinds = tokens.kinds
    argument = kinds[index + 2 : index + 3]
    if argument not in ("n", "(", "f", "w") or kinds[index + 3 : index + 4] not in (")", "", "+", "("):
        return 0.0
    if argument == "w" and not tokens.texts[index + 2].startswith("__"):
        return 0.4
    alone = index == 0 or kinds[index - 1] in "=+(,&;!SBAWH" or (is_alone(tokens, index) and kinds[index - 1] in "n)s")
    return 0.9 if alone else 0.4


def _composed(tokens: Tokens, index: int, course: Course) -> tuple[str, float]:  # noqa: PLR0911 - one return for each form
    """Rule and confidence for calls within calls, and for texts that are built of numbers."""
    kinds, name = tokens.kinds, tokens.texts[index]
    if name in _CONVERTING and course.by != "?" and _HEAD.match(kinds[:index]):
        told = not _TELLING.isdisjoint(tokens.texts[index + 1 : course.end])
        return "sqli-function", 0.86 if told else 0.0
    if name in ("if", "iif"):
        if kinds.count(",", index) > 1 and (course.constant or (course.calls > 2 and "=" in kinds)):
            return "sqli-condition", 0.93 if kinds[index + 2 : index + 5] == "n=n" else 0.88
    elif course.calls > 1 and name not in _ORDINARY:
        texts = name in ("char", "chr", "nchar") and tokens.texts.count(name) > 1
        built = texts or name in ("unhex", "concat") or (course.constant and course.by != "?")
        return "sqli-function", 0.85 if built else 0.4
    elif name in ("char", "concat", "chr") and _many_numbers(kinds, index):
        return "sqli-function", 0.85
    elif name in ("user", "database", "version", "schema", "current_user", "db_name"):
        if kinds[index + 2 : index + 3] != ")":
            return "sqli-function", 0.0
        compared = index > 1 and course.by != "?" and _HEAD.match(kinds[:index]) and kinds[0] in "nsv("
        return "sqli-function", 0.86 if compared else 0.5 if index else 0.3
    return "sqli-function", 0.0


def _many_numbers(kinds: str, index: int) -> bool:
    return kinds[index + 1 : index + 6] in ("(n,n,", "(n,n)") or kinds[index + 1 : index + 4] == "(n,"
