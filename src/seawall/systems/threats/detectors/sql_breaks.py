"""Judge a value as if it stood between quotes in a query. Long: a list of what may follow a quote, each a few lines.

It is about what comes after the quote that ends the text early.

Only what follows the first such quote counts, as the query has ended there; an honest apostrophe is followed by
letters, a space and a word, or nothing.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

from seawall.systems.threats.detector import Signal
from seawall.systems.threats.detectors.sql_bare import bare
from seawall.systems.threats.detectors.sql_grammar import Course, follow, truth
from seawall.systems.threats.detectors.sql_lexer import Tokens, read
from seawall.systems.threats.detectors.sql_statements import select_list, statement
from seawall.systems.threats.detectors.sql_words import VERBS
from seawall.systems.threats.model import Severity

__all__ = ["broken"]

_CUT_SPACES: Final = 3
_OPENS: Final = re.compile(
    r"[\s\x00-\x20)\u200b]*+(?:/\*|--|[#;,=<>!|&+\-*/%^~?@]"
    r"|(?:or|and|x?or|div|mod|not|like|rlike|regexp|i?like|glob|between|in|is|similar|sounds|match|union|intersect|except"
    r"|minus|select|having|group|order|limit|offset|fetch|procedure|into|where|as|collate|waitfor|exec|execute|if|begin"
    r"|declare|shutdown|set|from|on|escape|insert|update|delete|drop|create|alter|grant|revoke|truncate|call|copy|print|when|then|returning|for|lock)(?!\w)|\w+\s*+\(|[{(]|\d+\s*+(?:or|and|\|\||&&|union)(?!\w))"
)
"""What may come after the quote, if the value is more than text; tells most apostrophes apart at little cost."""

_QUOTED_WORD: Final = re.compile(r"[\w ]*+(['\"`])(?=$|[\s,;|:)\]}&.?!>])(?!\s*+=)")
_WEAK: Final = frozenset(("sqli-probe", "sqli-comment", "sqli-condition", "sqli-clause", "sqli-function"))
_SYMBOLS: Final = frozenset("!@#$^&*+=[]{}|;:,.<>?~\\/`")
_NOISY: Final = 3
_NOISE_LENGTH: Final = 32
_VALUE_LENGTH: Final = 24
_CODE: Final = re.compile(r"[\s=(:,\[{<>'\"]")
_ARGUMENT: Final = re.compile(r"(?:\w\(|\w\s?=\s?|\w,\s)$")
_SET: Final = re.compile(r"[wi]=(?:t$|[nsN](?:,[wi]=[nsN])*+(?:,[wi]=t)?(?:$|d))")
# `1'or'1`, which closes the quotes before it and opens those after it; `rock'and'roll` is a name.
_ENCLOSED: Final = re.compile(
    r"(\w{0,12})(['\"])\)*+(?:x?or|and|\|\||&&)(['\"])(?:\1(?<=\w)|\d{1,6})|\d{1,6}(['\"])(?:x?or|and)(['\"])\w{1,12}"
)
_ODD_OPERAND: Final = re.compile(r"\s*+(?:or|and|xor|\|\||&&)\s*+(?:[!~+-]\s*+\d|\.\d|[01]$|/\*).*+")
_PATTERNS: Final = frozenset(("regexp", "rlike", "ilike", "similar", "glob"))
_AFTER: Final = ("", " ", ",", ";", ":", ".", ")", "]", "}", "!", "?", "|", "\t", "\n", "\r", "&")
_CRITICAL, _HIGH, _MEDIUM = Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM


def broken(text: str, quote: str) -> Iterator[Signal]:
    """Judge a value in lower case that may have left the quotes around it.

    Args:
        text: the value.
        quote: the kind of quotes.
    """
    at = text.find(quote)
    for _ in range(3):
        if at < 0:
            return
        rest = at + 1
        if _OPENS.match(text, rest) and not _opening(text, at):
            tokens = read(text, rest)
            sure = False
            doubtful = _is_noise(text, at) or _is_apostrophe(tokens, text, at)
            for signal in _judge(tokens, text, at):
                if doubtful and signal.rule in _WEAK and signal.confidence < 0.97:
                    signal = signal._replace(confidence=min(signal.confidence, 0.6))  # noqa: PLW2901 - the same, in doubt
                sure |= signal.confidence >= 0.9
                yield signal
            if not sure:
                yield from bare(tokens, len(text), statement_first=False)
        escaped = (at > 0 and text[at - 1] == "\\") or text[rest : rest + 1] == quote
        if not escaped:
            return
        at = text.find(quote, rest + (text[rest : rest + 1] == quote))


def _opening(text: str, at: int) -> bool:
    """Tell whether the quote at an index opens a text, as in JSON."""
    if text[at + 1 : at + 2].isalpha():
        word = _QUOTED_WORD.match(text, at + 1)
        if word is not None and word[1] == text[at]:
            return not (text[at - 1 : at].isalnum() and text[at + 1 : word.start(1)].strip() in _PATTERNS)
        close = text.find(text[at], at + 1)
        if (
            at
            and close > 0
            and (text[at - 1].isspace() or text[at - 1] in ":,;|(=[")
            and text[close + 1 : close + 2] in _AFTER
        ):
            return True
    if at == 0:
        return len(text) > 4 and text[2:4] == text[0] + "," and not text[1].isalnum()
    before = text[at - 1]
    if before in "{[":
        return True
    if before in " \t(=,:":
        inside = text[at + 1 : at + 6].partition(text[at])
        after = text[at + 2 + len(inside[0]) :][:1]
        if inside[1] and after in _AFTER and not any(letter.isalnum() for letter in inside[0]) and inside[0].strip():
            return True
    return before in ":," and text[0] in "{["


def _judge(tokens: Tokens, text: str, at: int) -> Iterator[Signal]:
    kinds = tokens.kinds
    index = _closed(kinds, 0)
    if tokens.texts[index : index + 3] in (["in", "boolean", "mode"], ["with", "query", "expansion"]):
        # What may follow the text in MATCH ... AGAINST.
        index = _closed(kinds, index + 3)
    judge = _JUDGES.get(kinds[index : index + 1])
    if judge is not None:
        yield from judge(tokens, text, at, index)


def _closed(kinds: str, index: int) -> int:
    """Index of the first token that is no closing bracket."""
    while kinds[index : index + 1] == ")":
        index += 1
    return index


def _number(tokens: Tokens, text: str, at: int, index: int) -> Iterator[Signal]:
    """A number after a quote that came first: `'1 or 1=1`."""
    course = follow(tokens, index)
    if course.certain or course.select or (course.constant and "&" in tokens.kinds):
        yield Signal("sqli-condition", _CRITICAL, 0.93, at, len(text))


def _statement(tokens: Tokens, text: str, at: int, index: int) -> Iterator[Signal]:
    """A statement right after the quote, which SQL Server takes."""
    confidence = statement(tokens, index)
    if tokens.texts[index : index + 4] == ["lock", "in", "share", "mode"]:
        confidence = 0.84
    if confidence < 0.9 and _is_argument(text, at):
        confidence = 0.3
    yield Signal("sqli-stacked", _CRITICAL, min(0.95, confidence + 0.08 * (confidence > 0)), at, len(text))


def _is_noise(text: str, at: int) -> bool:
    """Tell whether what stands before the quote looks like a password that was made at random."""
    return at >= _NOISY and at <= _NOISE_LENGTH and " " not in text[:at] and len(set(text[:at]) & _SYMBOLS) >= _NOISY


def _is_apostrophe(tokens: Tokens, text: str, at: int) -> bool:
    """Tell whether the quote ends a word of a sentence, and nothing closes what comes after it."""
    if text[at + 1 : at + 2] not in (" ", "+") or not text[at - 1 : at].isalpha():
        return False
    if text.count(" ", 0, at) + text.count("+", 0, at) < _CUT_SPACES:
        return False
    last = tokens.texts[-1]
    return not (tokens.kinds[-1] == "d" and not last.strip("-#/*! +;")) and "t" not in tokens.kinds


def _is_argument(text: str, at: int) -> bool:
    """Tell whether the quote at an index opens an argument or a constant of a program, as in `query('select ...')`."""
    return _ARGUMENT.search(text, max(0, at - 24), at) is not None and text.find(text[at], at + 1) > 0


def _bare_value(text: str, at: int) -> bool:
    """Tell whether what stands before the quote is nothing or one value, rather than a sentence or code."""
    return at <= _VALUE_LENGTH and not _CODE.search(text, 0, at)


def _paired(text: str, at: int) -> bool:
    """Tell whether quotes of the kind at an index come in pairs, as they do in honest text."""
    return text.count(text[at]) % 2 == 0


def _short(text: str) -> bool:
    """Tell whether a text is so short and plain that it is a value, not the rest of a sentence."""
    return len(text) <= 24 and text.count(" ") <= 1 and text[:1] not in (":", ",", ".")


def _condition(tokens: Tokens, text: str, at: int, index: int) -> Iterator[Signal]:
    """AND, OR and the like after the quote."""
    course = follow(tokens, index + 1)
    end = tokens.starts[course.end] if course.end < len(tokens.starts) else len(text)
    whole = course.by != "?"
    if course.certain:
        yield Signal("sqli-function", _CRITICAL, 0.97, at, end)
    if course.constant or course.same:
        rule = "sqli-boolean" if truth(tokens, index + 1) is False else "sqli-tautology"
        yield Signal(rule, _CRITICAL, 0.97 if whole else 0.85, at, end)
    elif course.select:
        yield Signal("sqli-subquery", _CRITICAL, 0.95 if whole or course.calls else 0.6, at, end)
    elif not course.column and index + 1 < len(tokens.kinds) and _is_called(tokens, text, at, index + 1):
        yield Signal("sqli-condition", _HIGH, 0.9, at, len(text))
    elif course.column or course.calls:
        sure = course.calls > 0 or course.by in ("d", "t", ";")
        yield Signal("sqli-condition", _HIGH, (0.94 if sure else 0.75) if whole else 0.3, at, end)
    elif course.literal and whole:
        yield Signal("sqli-condition", _HIGH, _literal(tokens, text, at, course), at, end)
    elif course.by == "d" and index == 0:
        yield Signal("sqli-condition", _HIGH, 0.4, at, end)
    elif course.end >= len(tokens.kinds) and course.end == index + 1:
        # The value ends with the operator: a probe, or cut off.
        plural = text[at + 1].isalpha() or text[:at].endswith("s")
        chance = 0.35 if plural else 0.86 if tokens.texts[index] in ("or", "||", "xor", "&&") else 0.6
        yield Signal("sqli-probe", _HIGH, chance, at, end)


def _is_called(tokens: Tokens, text: str, at: int, index: int) -> bool:
    """Tell whether a function, whichever it is, is called at an index, and a comment cuts off what follows."""
    ends = tokens.kinds[-1] == "d" and not tokens.texts[-1].strip("-#/*! +\x00\t\r\n;")
    return tokens.kinds[index] == "f" and ends and ")" in tokens.kinds[index:] and _bare_value(text, at)


def _literal(tokens: Tokens, text: str, at: int, course: Course) -> float:  # noqa: PLR0911 - one return for each form
    if _ENCLOSED.fullmatch(text) is not None:
        return 0.86
    if course.by == "t":
        tail = tokens.texts[course.end]
        if tail[0] != text[at]:
            return 0.4
        if tokens.starts[0] == at + 1 and text[at + 1].isalpha() and course.end == 1:
            # Directly between quotes, as a quoted word is.
            return 0.7 if at == 0 and len(tail) == 1 else 0.4
        if text[at - 1 : at].isdigit() and tokens.kinds[course.end - 1] == "n":
            return 0.4
        return 0.92 if _short(tail[1:]) else 0.3
    if course.by == "d":
        return 0.94
    if text[at - 1 : at].isdigit() and _ODD_OPERAND.fullmatch(text, at + 1):
        return 0.86
    feet = text[at - 1 : at].isdigit() and tokens.kinds.endswith("n")
    return 0.45 if feet or tokens.kinds.endswith("s") else 0.9


def _operator(tokens: Tokens, text: str, at: int, index: int) -> Iterator[Signal]:
    """An operator after the quote: `'='`, `'||(select ...`, `' like '%`."""
    course = follow(tokens, index + 1)
    if course.by == "?" and not course.select:
        return
    kinds = tokens.kinds
    end = tokens.starts[course.end] if course.end < len(tokens.starts) else len(text)
    if text[at - 1 : at].isdigit() and kinds[index + 1 : index + 2] == "n" and course.by != "d" and len(kinds) <= 3:
        return  # feet and inches
    if course.certain or (course.calls and course.by != "?") or course.select:
        yield Signal("sqli-subquery" if course.select else "sqli-function", _CRITICAL, 0.95, at, end)
    elif course.by == "t":
        tail = tokens.texts[course.end][1:]
        plain = tokens.texts[course.end][0] == text[at] and (_short(tail) or tokens.texts[index] in _PATTERNS)
        word = "w" in kinds[index : course.end] or "f" in kinds[index : course.end]
        more = "&" in kinds[index:] or course.end - index > 1
        yield Signal(
            "sqli-probe",
            _HIGH,
            (
                0.86
                if tokens.texts[index] in _PATTERNS
                else 0.4
                if word
                else 0.92
                if more
                else 0.86
                if kinds[index] == "=" or len(text) == 3
                else 0.75
            )
            if plain
            else 0.3,
            at,
            end,
        )
    elif course.by == "d" and _cuts(tokens.texts[course.end]):
        operand = kinds[index + 1 : course.end].lstrip("+!=(")[:1]
        sure = 0.9 if operand and operand in "nsvNf(" else 0.5 if kinds[index] == "=" else 0.3
        yield Signal("sqli-condition", _HIGH, sure, at, end)
    elif course.constant or (kinds[index] == "=" and kinds[index + 1 :] in ("n", "s", "N")):
        yield Signal("sqli-condition", _HIGH, 0.8 if kinds[index] == "=" else 0.5, at, end)


def _cuts(comment: str) -> bool:
    """Tell whether a comment cuts off the rest of a query, rather than being a dash or a number sign in a sentence."""
    return comment.startswith("/*") or comment.count(" ") <= _CUT_SPACES


def _comment(tokens: Tokens, text: str, at: int, index: int) -> Iterator[Signal]:
    """A comment right after the quote: `admin'--`."""
    comment = tokens.texts[index]
    if comment[:1] == "#" and comment[1:2].isalnum() and (at or comment[1:2].isdigit()):
        return  # a number, or a word that is marked
    if text[at + 1 : at + 2] == " " and text.count(" ", 0, at) >= _CUT_SPACES:
        return  # a dash after a sentence
    told = comment.lstrip("-#/*! +\x00\t\r\n;")
    if not told:
        confidence = 0.93 if not tokens.hidden or "\n" not in text else 0.5
    elif _paired(text, at) and index == 0:
        confidence = 0.2
    else:
        brief = len(told) <= 12 and told.count(" ") == 0 and (index or at == 0 or text[at + 1].isspace())
        confidence = 0.85 if brief or len(told) <= 2 else 0.45
    if confidence >= 0.3:
        yield Signal("sqli-comment", _HIGH, confidence, at, tokens.starts[index] + len(comment))


def _stacked(tokens: Tokens, text: str, at: int, index: int) -> Iterator[Signal]:
    """Another statement after the quote."""
    kinds = tokens.kinds
    follows = index + 1
    while kinds[follows : follows + 1] == ";":
        follows += 1
    if kinds[follows : follows + 1] == "d":
        if not tokens.texts[follows].lstrip("-#/*! +"):
            yield Signal("sqli-comment", _HIGH, 0.93, at, len(text))
        return
    confidence = statement(tokens, follows)
    last = tokens.texts[-1]
    if kinds[-1] == "d" and tokens.texts[follows] in VERBS and not last.strip("-#/*! +\x00\t\r\n;"):
        # Whatever it is, what the query had left is cut off.
        confidence = max(confidence, 0.84)
    if confidence >= 0.3:
        yield Signal("sqli-stacked", _CRITICAL, min(0.98, confidence + 0.1), at, len(text))
    elif follows >= len(kinds) and at and index:
        yield Signal("sqli-probe", _MEDIUM, 0.6, at, len(text))


def _union(tokens: Tokens, text: str, at: int, index: int) -> Iterator[Signal]:
    """UNION and the like after the quote."""
    kinds = tokens.kinds
    follows = index + 1
    while kinds[follows : follows + 1] in ("A", "(", "!"):
        follows += 1
    if kinds[follows : follows + 1] == "S":
        query = select_list(tokens, follows + 1)
        closed = query > 0.4 and follow(tokens, follows + 1, select=True).by == "d"
        sure = query >= 0.5 or closed or kinds[follows + 1 : follows + 2] in ("d", "")
        sure |= kinds[follows + 1 :] == "t" and _bare_value(text, at)
        yield Signal("sqli-union", _CRITICAL, 0.97 if sure else query + 0.05, at, len(text))
    elif tokens.texts[follows : follows + 1] in (["values"], ["table"]) and follows + 1 < len(kinds):
        # MySQL's TABLE and VALUES are queries; after a word, `the workers' union table` is English.
        course = follow(tokens, follows + 1, select=True)
        closed = course.by == "d" and _cuts(tokens.texts[course.end])
        sure = closed or (course.by in ("", "t", ")") and (kinds[follows + 1] in "(f" or _bare_value(text, at)))
        yield Signal("sqli-union", _CRITICAL, 0.93 if closed else 0.86 if sure else 0.3, at, len(text))
    elif follows >= len(kinds) and follows > index + 1:
        yield Signal("sqli-union", _HIGH, 0.85, at, len(text))


def _query(tokens: Tokens, text: str, at: int, index: int) -> Iterator[Signal]:
    """A query right after the quote."""
    query = select_list(tokens, index + 1)
    if query > 0.4 and (query > 0.9 or not _is_argument(text, at)):
        yield Signal("sqli-query", _CRITICAL, min(0.95, query + 0.1), at, len(text))


def _more(tokens: Tokens, text: str, at: int, index: int) -> Iterator[Signal]:
    """A comma after the quote."""
    if (
        _SET.match(tokens.kinds, index + 1)
        or (index and tokens.kinds[index + 1 : index + 2] == "(")
        or (index and tokens.kinds[-1] == "d" and tokens.kinds[index + 1 : index + 2] in ("N", "n", "s"))
    ) and _bare_value(text, at):
        # What else an INSERT or UPDATE is to set: `x', role='admin`.
        yield Signal("sqli-clause", _HIGH, 0.86, at, len(text))
    else:
        yield from _clause(tokens, text, at, index)


def _ending(tokens: Tokens, text: str, at: int, index: int) -> Iterator[Signal]:
    """What ends an INSERT or a comparison after the quote, or is within a CASE."""
    confidence = _ended(tokens, index)
    if confidence:
        yield Signal("sqli-clause", _HIGH, confidence, at, len(text))
    else:
        yield from _clause(tokens, text, at, index)


def _clause(tokens: Tokens, text: str, at: int, index: int) -> Iterator[Signal]:
    """A clause, a list or a call after the quote."""
    kinds = tokens.kinds
    kind = kinds[index]
    if kind == "G" and kinds[index + 1 : index + 2] != "B":
        return
    follows = index + {"G": 2, "f": 0, "(": 0}.get(kind, 1)
    if tokens.texts[index] in ("offset", "fetch") and kinds[-1] == "d" and _bare_value(text, at):
        yield Signal("sqli-clause", _HIGH, 0.86, at, len(text))
        return
    course = follow(tokens, follows, select=kind in "GK")
    whole = course.by != "?"
    if course.certain or (course.calls and whole):
        yield Signal("sqli-function", _CRITICAL, 0.95, at, len(text))
    elif course.constant or course.select:
        yield Signal("sqli-clause", _CRITICAL, 0.95 if whole else 0.7, at, len(text))
    elif whole and follows < len(kinds):
        value = kinds[follows] in "nN"
        closed = course.by in ("d", "t", ";")
        telling = {"G": 0.9, "H": 0.9, "L": 0.85, "W": 0.7, "I": 0.93}.get(kind, 0.0)
        if course.by == "d" and not _cuts(tokens.texts[course.end]):
            return
        if kind == "," and (closed or course.by == ""):
            count = kinds[index : course.end].count(",")
            value = value and count > 1
            telling = 0.92 if course.by == "d" else 0.75 if value else 0.35
        if telling and (value or closed or kind == "I"):
            yield Signal("sqli-clause", _HIGH, telling if value or course.by == "d" else telling - 0.4, at, len(text))


def _ended(tokens: Tokens, index: int) -> float:
    """How sure a clause is that ends INSERT or a comparison: RETURNING, ON CONFLICT, COLLATE, ESCAPE."""
    word, second = tokens.texts[index], tokens.texts[index + 1 : index + 2]
    closed = tokens.kinds[-1] == "d" and _cuts(tokens.texts[-1])
    if word == "on" and second in (["conflict"], ["duplicate"]):
        return 0.93 if closed or "update" in tokens.texts else 0.86 if "nothing" in tokens.texts else 0.4
    if word == "for":
        return 0.9 if closed and second in (["update"], ["share"], ["json"], ["xml"]) else 0.0
    if word == "returning":
        return 0.93 if closed else 0.4
    if word in ("collate", "escape") and len(tokens.kinds) - index <= 4:
        return 0.9 if closed else 0.86 if tokens.kinds[index + 1 :] == "t" else 0.0
    return 0.0


_JUDGES: Final[dict[str, Callable[[Tokens, str, int, int], Iterator[Signal]]]] = {
    "&": _condition,
    "d": _comment,
    ";": _stacked,
    "U": _union,
    "n": _number,
    "w": _statement,
    **dict.fromkeys("=+!", _operator),
    "S": _query,
    ",": _more,
    "K": _ending,
    **dict.fromkeys("GHLWIFf(", _clause),
}
