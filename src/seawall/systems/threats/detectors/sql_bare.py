"""Judge a value as if it stood without quotes in a query, as numbers, names and directions of sorting do."""

import re
from collections.abc import Callable, Iterator
from typing import Final

from seawall.systems.threats.detector import Signal
from seawall.systems.threats.detectors.sql_calls import called, end_of, is_alone, prose_before, reaches
from seawall.systems.threats.detectors.sql_grammar import Course, follow, truth
from seawall.systems.threats.detectors.sql_lexer import Tokens
from seawall.systems.threats.detectors.sql_shapes import shapes
from seawall.systems.threats.detectors.sql_statements import select_list, statement, wanted
from seawall.systems.threats.detectors.sql_words import CATALOGUE, GLOBALS, SECRETS
from seawall.systems.threats.model import Severity

__all__ = ["bare"]

_CRITICAL, _HIGH, _MEDIUM = Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM
_ANCHOR: Final = re.compile(r"[&U;HIfWFSv]|G(?=B)|K(?=.{0,40}K)|L(?=[wf])|(?<=[)n])d$")
_ANCHOR_OR_NAME: Final = re.compile(_ANCHOR.pattern + "|(?<=w)w")
_BEFORE_NAMES: Final = frozenset(("waitfor", "exec", "execute"))
_ABOUT: Final = frozenset(("version", "user", "database", "current_database", "current_user", "schema", "db_name"))
_COMMENT: Final = re.compile(r"(?:--|#|/\*)[^\w\n]*+\w*+[^\w\n]*+$")
"""One that cuts off what follows, of a word at most; notes have more."""
_NULLS: Final = re.compile(r"N(?:,N)+$")
_TOLD: Final = 0.86
"""A statement that nobody but who administers a server writes."""
_ARROWS: Final = frozenset(("->", "->>", "@>", "<@"))
_PSEUDO: Final = frozenset(("rownum", "rowid", "systimestamp", "ctid", "_rowid_", "gen_id", "sys_extract_utc"))
_ASKED: Final = re.compile(r"S[wN]d?$")
_STRICT: Final = 0.6
_GROUPED: Final = re.compile(r"S.*GB")
_ANCHORS_CAP: Final = 24


def bare(tokens: Tokens, length: int, *, statement_first: bool = True, strict: bool = False) -> Iterator[Signal]:
    """Judge the tokens of a value that may stand in a query as it is.

    Args:
        tokens: of the value.
        length: of the value in characters.
        statement_first: whether the value may begin with a statement.
        strict: whether it stands where no statements are due, as in a query string or a header.
    """
    kinds = tokens.kinds
    if not kinds:
        return
    opening = 1 if kinds[0] in "();" else 0
    if statement_first and kinds[opening : opening + 1] in ("w", "K", "f", "S"):
        yield from _opening(tokens, opening, length, strict=strict)
    yield from shapes(tokens, length, strict=strict)
    anchor = _ANCHOR if _BEFORE_NAMES.isdisjoint(tokens.texts) else _ANCHOR_OR_NAME
    for count, match in enumerate(anchor.finditer(kinds)):
        if count >= _ANCHORS_CAP:
            return
        judge = _JUDGES.get(match[0])
        if judge is not None:
            yield from judge(tokens, match.start(), length)


def _opening(tokens: Tokens, index: int, length: int, *, strict: bool) -> Iterator[Signal]:
    """A value that begins with a statement."""
    if tokens.kinds[index] == "f" and tokens.texts[index] not in ("exec", "execute", "if"):
        return
    confidence = statement(tokens, index)
    if confidence < 0.3:
        return
    certain = confidence > 0.9
    if not certain:
        told = (
            confidence >= _TOLD or tokens.conditional or (tokens.kinds[index] == "S" and _about_server(tokens, index))
        )
        if told:
            yield Signal("sqli-statement", _HIGH, 0.86, tokens.starts[index], length)
            return
        if confidence >= 0.6 and tokens.kinds[-1] == "d" and _COMMENT.match(tokens.texts[-1]):
            # What it cuts off is the rest of somebody else's query.
            yield Signal("sqli-statement", _HIGH, 0.86, tokens.starts[index], length)
            return
        if strict and confidence >= _STRICT and wanted(tokens, index):
            yield Signal("sqli-statement", _HIGH, _TOLD, tokens.starts[index], length)
            return
        source = tokens.kinds[index] != "S" or "F" in tokens.kinds or "f" in tokens.kinds or "v" in tokens.kinds
        confidence = min(confidence, 0.65 if source and confidence > 0.6 else 0.45) if confidence > 0.4 else 0.3
    yield Signal("sqli-statement", _HIGH, confidence, tokens.starts[index], length)


def _about_server(tokens: Tokens, index: int) -> bool:
    """Tell whether a query asks for the server, its database or the account alone, or for what is elsewhere."""
    rest = tokens.kinds[index + 1 :].rstrip(";d")
    name = tokens.texts[index + 1 : index + 2]
    if reaches(tokens, index + 1) or reaches(tokens, tokens.kinds.find("F", index) + 1):
        return True
    return bool(name) and (
        (rest == "f()" and name[0] in _ABOUT)
        or _NULLS.match(rest) is not None
        or (rest == "N" and name[0].endswith("_user"))
        or (rest == "v" and "@@" in name[0])
    )


def _logical(tokens: Tokens, index: int, length: int) -> Iterator[Signal]:
    """AND, OR and the like, and the condition after it."""
    course = follow(tokens, index + 1)
    if course.end == index + 1 or (tokens.kinds[index + 1] == "K" and tokens.texts[index + 1] != "case"):
        return
    simple = is_alone(tokens, index)
    whole = course.by != "?"
    start, end = tokens.starts[0 if simple else index], end_of(tokens, course, length)
    if course.certain and not course.select:
        yield Signal("sqli-function", _CRITICAL, 0.96 if whole or simple else 0.7, start, end)
    elif course.constant or course.same:
        false = truth(tokens, index + 1) is False
        confidence = _constant(tokens, index, course, simple=simple)
        yield Signal("sqli-boolean" if false else "sqli-tautology", _CRITICAL, confidence, start, end)
    elif course.select:
        query = course.source or course.calls > 0 or course.certain
        yield Signal("sqli-subquery", _CRITICAL, 0.95 if whole and query else 0.4, start, end)
    elif course.calls:
        yield Signal("sqli-condition", _HIGH, _called(tokens, course, simple=simple), start, end)
    elif (
        course.column and simple and whole and tokens.kinds[index - 1 : index] == "n" and tokens.kinds[index + 1] == "f"
    ):
        yield Signal("sqli-condition", _HIGH, 0.86, start, end)
    elif course.column and simple and whole:
        number = tokens.kinds[index - 1 : index] in ("n", ")", "s")
        closed = course.by == "d" or tokens.texts[course.end - 1].startswith("0x")
        closed |= index == 0 and course.by in ("t", "") and "%" in tokens.texts[min(course.end, len(tokens.texts) - 1)]
        closed |= number and not _ARROWS.isdisjoint(tokens.texts[index:])
        named = number and course.names > 0 and course.by in ("", "t") and tokens.kinds[index + 1] in "wi("
        named |= number and course.by == "" and tokens.texts[-1] in ("user", "current_user", "session_user")
        closed |= number and course.by == "" and not _PSEUDO.isdisjoint(tokens.texts[index:])
        closed |= number and course.by == "" and "f" in tokens.kinds[index:] and "user" in tokens.texts[index + 3 :]
        yield Signal("sqli-condition", _HIGH, 0.86 if closed or named else 0.5 if number else 0.3, start, end)
    elif course.literal and simple and whole:
        closed = course.by == "d" and tokens.kinds[index + 1 : course.end] != "s"
        closed |= "~" in tokens.texts[index + 1 : course.end] or tokens.texts[index] == "xor"
        # A literal that tells its character set or base: `1 or x'31'`.
        based = tokens.texts[index + 1][0].isalpha() or tokens.texts[index + 1][0] == "_"
        closed |= based and index > 0 and tokens.kinds[index - 1 : index + 2] == "n&s"
        glued = tokens.starts[index + 1] == tokens.starts[index] + len(tokens.texts[index])
        closed |= glued and index > 0 and tokens.kinds[index - 1] == "n" and tokens.kinds[index + 1] in "+!("
        # `5 or true`: a word that nobody puts after a number.
        closed |= index > 0 and tokens.kinds[index - 1] in "ns)v" and "N" in tokens.kinds[index + 1 : course.end]
        yield Signal("sqli-condition", _HIGH, 0.88 if closed else 0.3, start, end)


def _constant(tokens: Tokens, index: int, course: Course, *, simple: bool) -> float:  # noqa: PLR0911 - one for each form
    """How sure a comparison of constants is."""
    before = tokens.kinds[:index]
    if simple:
        lone_name = course.same and not course.constant and before == "w" and course.by == ""
        if course.by == "?" and before in ("w", ""):
            return 0.5
        return 0.96 if course.by != "?" and not lone_name else 0.75
    words = prose_before(tokens, index)
    sure = course.by in ("d", ";", "t") or (truth(tokens, index + 1) is not None and not course.sums)
    if words == 0 and "=" in before and "n=n" not in before and "+" not in before:
        return 0.93 if sure else 0.7
    if course.by == "?":
        return 0.45
    if course.by not in ("d", ";"):
        if "n=n" in before and "&" not in before:
            return 0.6 if sure and words == 0 else 0.4
        if "&" in before and words == 0:
            return 0.9 if sure else 0.6
    return 0.93 if course.by in ("d", ";") else 0.85 if words <= 3 and sure else 0.45


def _called(tokens: Tokens, course: Course, *, simple: bool) -> float:
    if course.by == "?":
        return 0.6 if simple and course.calls > 1 else 0.3
    timed = "sleep" in tokens.texts
    if simple and (course.column or course.constant or course.calls > 1 or timed or course.by == "d"):
        return 0.94
    return 0.8 if simple else 0.85 if timed else 0.45


def _union(tokens: Tokens, index: int, length: int) -> Iterator[Signal]:
    kinds = tokens.kinds
    follows = index + 1
    while kinds[follows : follows + 1] in ("A", "(", "!"):
        follows += 1
    words = prose_before(tokens, index)
    start = tokens.starts[index]
    simple = index > 0 and is_alone(tokens, index) and kinds[index - 1] in "n)sNv"
    if simple and tokens.texts[follows : follows + 1] in (["values"], ["table"]) and follows + 1 < len(kinds):
        yield Signal("sqli-union", _CRITICAL, 0.9, start, length)
    elif kinds[follows : follows + 1] == "S":
        certain = simple or tokens.conditional or (tokens.squeezed > 0 and words <= 1)
        confidence = 0.95 if certain else _combined(tokens, index, follows + 1)
        if not certain and _hosted(tokens, index, follows + 1):
            confidence = 0.45
        if words > 1 and not simple:
            confidence -= 0.2
        yield Signal("sqli-union", _CRITICAL, confidence, start, length)
    elif simple and kinds[index + 1 : index + 2] == "A" and index + 2 >= len(kinds):
        yield Signal("sqli-union", _HIGH, 0.8, start, length)


def _hosted(tokens: Tokens, index: int, query: int) -> bool:
    """Tell whether UNION joins two queries of the value's own, neither of which asks for what an attacker wants."""
    kinds = tokens.kinds
    source = kinds.rfind("F", 0, index)
    begin = kinds.rfind("S", 0, source) if source > 0 else -1
    if begin < 0 or (begin and kinds[begin - 1] == "(") or kinds[query : query + 1] in ("n", "N", "s", "v", "f"):
        return False
    if kinds[source + 1] not in "wi" or ";" in kinds[begin:index] or "?" in kinds[begin:index]:
        return False
    listed = max(kinds.find("F", query), query)
    return not follow(tokens, query, select=True).certain and SECRETS.isdisjoint(tokens.texts[query:listed])


def _combined(tokens: Tokens, index: int, query: int) -> float:
    """How sure UNION and SELECT are, where neither what stands before them nor how they are written tells."""
    if query >= len(tokens.kinds):
        return 0.8 if query > index + 2 else 0.45
    confidence = select_list(tokens, query)
    if confidence >= 0.55 and (query > index + 2 or follow(tokens, query, select=True).by == "d"):
        return 0.95
    return min(confidence + 0.13, 0.98) if confidence >= 0.6 else confidence


def _sorted(tokens: Tokens, index: int) -> bool:
    """Tell whether what stands before an index is a column and a direction, as a request sorts by."""
    return index == 2 and tokens.kinds[:2] == "wK" and tokens.texts[1] in ("asc", "desc")


def _semicolon(tokens: Tokens, index: int, length: int) -> Iterator[Signal]:
    follows = index + 1
    confidence = statement(tokens, follows)
    if tokens.kinds[0] == "n" and is_alone(tokens, index) and _ASKED.match(tokens.kinds, follows):
        confidence = max(confidence, _TOLD)
    if confidence < 0.3:
        if tokens.kinds[follows : follows + 1] == "d" and index and is_alone(tokens, index):
            bare_end = not tokens.texts[follows].lstrip("-#/*! +")
            yield Signal("sqli-comment", _HIGH, 0.86 if bare_end else 0.3, tokens.starts[index], length)
        return
    simple = is_alone(tokens, index)
    if not simple and confidence < 0.88 and index and tokens.kinds[0] in "SwK" and statement(tokens, 0) >= 0.4:
        # One statement after another: nothing is broken out of.
        yield Signal("sqli-stacked", _CRITICAL, 0.45, tokens.starts[index], length)
        return
    cut = tokens.kinds[-1] == "d" and _COMMENT.match(tokens.texts[-1])
    if (
        not simple
        and confidence < 0.88
        and tokens.kinds[index - 1] not in "nsv)N"
        and not cut
        and not _sorted(tokens, index)
    ):
        # What stands before it ends no value.
        yield Signal("sqli-stacked", _CRITICAL, min(confidence, 0.6), tokens.starts[index], length)
        return
    sentence = (prose_before(tokens, index) > 1 and statement(tokens, 0) < 0.6) or confidence <= 0.5
    confidence = min(0.98, confidence + 0.1) if simple and confidence > 0.4 else confidence - (0.25 if sentence else 0)
    if not simple and not sentence:
        confidence = min(confidence, 0.8) if confidence < 0.95 else confidence
    yield Signal("sqli-stacked", _CRITICAL, max(confidence, 0.3), tokens.starts[index], length)


def _having(tokens: Tokens, index: int, length: int) -> Iterator[Signal]:
    if _GROUPED.search(tokens.kinds, 0, index) and tokens.texts[index + 1 : index + 2] == ["count"]:
        return  # how many rows a group must have is no condition of constants
    course = follow(tokens, index + 1)
    counted = course.calls > 0 and index > 0 and is_alone(tokens, index)
    if course.constant or course.same or course.certain or counted:
        sure = prose_before(tokens, index) <= 1 and course.by != "?"
        yield Signal("sqli-clause", _HIGH, 0.94 if sure else 0.5, tokens.starts[index], end_of(tokens, course, length))


def _where(tokens: Tokens, index: int, length: int) -> Iterator[Signal]:
    course = follow(tokens, index + 1)
    if tokens.kinds[index + 1 : index + 2] in ("K", "G") and tokens.texts[index + 1] != "case":
        return
    if course.constant or course.same or course.certain:
        sure = prose_before(tokens, index) <= 2 and (course.by != "?" or course.certain)
        yield Signal(
            "sqli-tautology", _HIGH, 0.94 if sure else 0.5, tokens.starts[index], end_of(tokens, course, length)
        )


def _into(tokens: Tokens, index: int, length: int) -> Iterator[Signal]:
    if tokens.texts[index + 1 : index + 2] in (["outfile"], ["dumpfile"]):
        string = tokens.kinds[index + 2 : index + 3] in ("s", "t", "n", "v")
        yield Signal("sqli-file", _CRITICAL, 0.97 if string else 0.4, tokens.starts[index], length)
    elif tokens.kinds[index - 1 : index] in ("n", "s") and tokens.kinds[index + 1 : index + 2] == "v":
        yield Signal("sqli-clause", _HIGH, 0.88, tokens.starts[index], length)


def _order(tokens: Tokens, index: int, length: int) -> Iterator[Signal]:
    """ORDER BY 5, which asks how many columns there are."""
    course = follow(tokens, index + 2)
    if index == 0 and course.by == "d" and tokens.kinds[2:3] == "n" and not tokens.texts[course.end].lstrip("-#/*! +"):
        yield Signal("sqli-clause", _HIGH, 0.88, 0, length)
    if index == 0 or not is_alone(tokens, index) or tokens.kinds[index - 1] not in "n)svw":
        return
    number = tokens.kinds[index + 2 : index + 3] in ("n", "(", "f", "N")
    if course.by == "?" or (tokens.kinds[index - 1] == "w" and not (number and course.by == "d")):
        return
    confidence = 0.93 if course.by in ("d", ";") or course.calls or course.constant else 0.85 if number else 0.5
    yield Signal("sqli-clause", _HIGH, confidence, tokens.starts[0], end_of(tokens, course, length))


def _query(tokens: Tokens, index: int, length: int) -> Iterator[Signal]:
    """A query within an expression, or one that reads a catalogue."""
    kinds = tokens.kinds
    if index and kinds[index - 1] not in "=+(,&f" and "F" not in kinds and tokens.squeezed <= 1:
        return
    query = select_list(tokens, index + 1)
    before = kinds[max(0, index - 2) : index]
    if before == "K(" and tokens.texts[index - 2] == "as" and _is_named(tokens, index - 4) and query <= 0.9:
        return
    if before.endswith("(") and query >= 0.45:
        within = len(before) == 2 and before[0] in "=+&,(!f"
        yield Signal(
            "sqli-subquery", _CRITICAL, max(query, 0.93) if within else max(query, 0.75), tokens.starts[index], length
        )
    elif tokens.squeezed and query >= 0.6 and index and kinds[index + 1 : index + 2] != "d":
        yield Signal("sqli-query", _CRITICAL, 0.8, tokens.starts[index], length)
    elif query > 0.9:
        sure = prose_before(tokens, index) <= 1
        yield Signal("sqli-catalogue", _CRITICAL, 0.95 if sure else 0.7, tokens.starts[index], length)


def _is_named(tokens: Tokens, at: int) -> bool:
    """Tell whether WITH at an index names a query, on its own rather than in brackets."""
    return at >= 0 and tokens.texts[at] == "with" and (not at or tokens.kinds[at - 1] not in "(&")


def _case(tokens: Tokens, index: int, length: int) -> Iterator[Signal]:
    if tokens.texts[index] != "case":
        return
    words = tokens.texts[index + 1 : index + 40]
    if "when" not in words or "then" not in words:
        return
    course = follow(tokens, index)
    if course.by != "?" or course.calls or course.constant:
        # The whole of a query may rightly ask for a case that depends on its columns.
        query = (
            tokens.kinds[index - 1 : index] in ("S", ",")
            and "S" in tokens.kinds[:index]
            and not (course.calls or course.constant)
        )
        yield Signal(
            "sqli-condition", _HIGH, 0.45 if query else 0.93, tokens.starts[index], end_of(tokens, course, length)
        )


def _comment(tokens: Tokens, index: int, length: int) -> Iterator[Signal]:
    """A number or a bracket, and nothing but a comment: `1)--`."""
    kinds = tokens.kinds
    if is_alone(tokens, index) and not tokens.texts[index].lstrip("-#/*! +"):
        bracket = kinds[index - 1] == ")"
        yield Signal(
            "sqli-comment",
            _HIGH if bracket and kinds[0] == "n" else _MEDIUM,
            0.8 if bracket else 0.45,
            tokens.starts[0],
            length,
        )


def _variable(tokens: Tokens, index: int, length: int) -> Iterator[Signal]:
    if GLOBALS.match(tokens.texts[index]):
        sure = 0.9 if tokens.kinds[index - 1 : index] in ("=", "+", "(", ",", "&", "S") else 0.86 if index == 0 else 0.5
        yield Signal("sqli-variable", _HIGH, sure, tokens.starts[index], length)


def _names(tokens: Tokens, index: int, length: int) -> Iterator[Signal]:
    """WAITFOR DELAY, or XP_CMDSHELL, without anything that ends what came before."""
    name = tokens.texts[index]
    if tokens.texts[index - 1] == "waitfor" and tokens.kinds[index + 1 : index + 2] in ("s", "t", "v"):
        yield Signal("sqli-time", _CRITICAL, 0.96, tokens.starts[index - 1], length)
    elif tokens.texts[index - 1] in ("exec", "execute") and name.startswith(("xp_", "sp_", "master")):
        yield Signal("sqli-stacked", _CRITICAL, 0.96, tokens.starts[index - 1], length)


def _source(tokens: Tokens, index: int, length: int) -> Iterator[Signal]:
    """FROM and a catalogue, where the beginning of the query was cut off."""
    tables = [
        text
        for text in tokens.texts[index + 1 : index + 5]
        if "_" in text or "$" in text or (text.startswith("sys") and text != "sys")
    ]
    if tables and CATALOGUE.match(tables[-1]) and prose_before(tokens, index) <= 1:
        yield Signal("sqli-catalogue", _HIGH, 0.85, tokens.starts[index], length)


def _limit(tokens: Tokens, index: int, length: int) -> Iterator[Signal]:
    if tokens.texts[index] == "procedure" and tokens.texts[index + 1] == "analyse":
        yield Signal("sqli-function", _CRITICAL, 0.95, tokens.starts[index], length)


_JUDGES: Final[dict[str, Callable[[Tokens, int, int], Iterator[Signal]]]] = {
    "&": _logical,
    ";": _semicolon,
    "F": _source,
    "G": _order,
    "H": _having,
    "I": _into,
    "K": _case,
    "L": _limit,
    "S": _query,
    "U": _union,
    "W": _where,
    "d": _comment,
    "f": called,
    "v": _variable,
    "w": _names,
}
