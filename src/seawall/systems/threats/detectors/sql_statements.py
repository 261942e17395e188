"""How sure it is that a statement of SQL begins at a token."""

import re
from collections.abc import Callable
from typing import Final

from seawall.systems.threats.detectors.sql_commands import COMMANDS, following, told_by
from seawall.systems.threats.detectors.sql_definitions import define, dotted
from seawall.systems.threats.detectors.sql_grammar import follow, is_package
from seawall.systems.threats.detectors.sql_lexer import Tokens
from seawall.systems.threats.detectors.sql_words import CATALOGUE, SQL_FUNCTIONS, TELLING_NAMES, words

__all__ = ["STATEMENTS", "select_list", "statement", "wanted"]

_SURE, _LIKELY, _FAIR, _UNSURE = 0.96, 0.85, 0.65, 0.3
_PRIVILEGES: Final = words(
    "all select insert update delete create execute usage dba connect resource super file alter drop index references"
    " trigger grant process reload shutdown replication role unlimited impersonate control sysadmin"
)
_TRIED: Final = 24
"""Tokens of a statement that is tried."""
_ALL_OF_IT: Final = 5
_WRITING: Final = words("insert replace update delete create alter drop truncate merge")
_CONSTANTS: Final = re.compile(r"S[nNsv](?:,[nNsv])*+|S[nN]?v|Sf\(.*\)")
_PROSE_ALIASES: Final = 1
"""Words without a comma between them that a query still has; more are prose."""


def _listed(tokens: Tokens, index: int) -> int:
    """Index of the token where the list begins that a query asks for, after ALL, DISTINCT and TOP."""
    kinds = tokens.kinds
    while kinds[index : index + 1] in ("A", "!", "("):
        index += 1
    if kinds[index : index + 2] == "wn" and tokens.texts[index] in ("first", "skip"):
        index += 2
    if kinds[index : index + 2] == "Kn" and tokens.texts[index] == "top":
        index += 2 + (tokens.texts[index + 2 : index + 3] == ["percent"])
    return index


def select_list(tokens: Tokens, index: int) -> float:  # noqa: PLR0911 - one return for each form of a query
    """Judge what follows SELECT, from the token after it: 0 to 1 that it is a query."""
    kinds = tokens.kinds
    length = len(kinds)
    index = _listed(tokens, index)
    if index >= length:
        return 0.25
    kind = kinds[index]
    if kind == "+" and tokens.texts[index] not in "+-*~":
        return _UNSURE
    course = follow(tokens, index, select=True)
    complete = course.by != "?"
    if course.certain:
        return _SURE if complete or course.calls or kind in "nNvsf" else 0.91
    if complete and course.source:
        return _with_source(course.names, course.aliases, plain=kind in "ws" and kinds[index + 1 : index + 2] == "F")
    if complete:
        if course.calls or course.constant or course.select or kind in "nNvd":
            return _LIKELY if kind in "nNvsfd" or course.calls else _FAIR
        if tokens.texts[index] == "*":
            return 0.75
        if kind == "s" and "," in kinds[index : course.end]:
            return 0.7
        return 0.55 if kind in "sf+" or (kind == "w" and course.names and course.by == "d") else _UNSURE
    if course.end - index >= 3 and (kind in "nNv" or course.calls) and course.aliases <= _PROSE_ALIASES:
        return _LIKELY
    return _FAIR if course.source and course.end - index >= 4 and course.aliases == 0 and course.names else _UNSURE


def _with_source(names: int, aliases: int, *, plain: bool) -> float:
    if aliases > _PROSE_ALIASES:
        return _UNSURE
    if names >= 2 or not plain:
        return _LIKELY
    return _FAIR if names and not aliases else 0.42


def _select(tokens: Tokens, index: int) -> float:
    return select_list(tokens, index + 1)


def _insert(tokens: Tokens, index: int) -> float:
    """INSERT and REPLACE, which MySQL and SQL Server let be without INTO."""
    at = index + 1
    while tokens.texts[at : at + 1] in (["ignore"], ["delayed"], ["low_priority"], ["high_priority"], ["overwrite"]):
        at += 1
    into = tokens.texts[at : at + 1] == ["into"]
    at += into
    while tokens.kinds[at + 1 : at + 2] == ".":
        at += 2
    kind, name = following(tokens, at, 0)
    if name in ("mysql", "sys", "master"):
        return 0.9
    rest = tokens.kinds[at + 1 : at + 60]
    valued = "values" in tokens.texts[at + 1 : at + 60]
    if not into:
        listed = tokens.texts[at + 1 : at + 2] == ["values"] or (kind == "f" and valued)
        return _LIKELY if kind in ("w", "i", "f") and listed and ("(" in rest or "f" in rest) else 0.0
    if kind in ("w", "i", "f") and (valued or "S" in rest or rest[:1] == "("):
        return _LIKELY
    return _LIKELY if tokens.texts[at + 1 : at + 2] == ["set"] and "=" in rest else _UNSURE


def _update(tokens: Tokens, index: int) -> float:
    texts = tokens.texts[index + 1 : index + 8]
    if "set" not in texts:
        return 0.0
    at = index + 1 + texts.index("set")
    every = "W" not in tokens.kinds[at:] and tokens.texts[index + 1] in TELLING_NAMES
    if every and tokens.kinds[at + 1 : at + 4] in ("w=s", "w=n", "w=N"):
        return 0.88
    return _LIKELY if tokens.kinds[at + 1 : at + 3] in ("w=", "i=", "n=") else _UNSURE


def _delete(tokens: Tokens, index: int) -> float:
    if index and tokens.kinds[index + 1 : index + 2] in ("w", "i"):
        # SQL Server lets FROM out.
        after, name = following(tokens, index, 2)[0], tokens.texts[index + 1]
        return _LIKELY if (after in ("", "d", ";") and name in TELLING_NAMES) or after == "W" else _UNSURE
    if tokens.texts[index + 1 : index + 2] == ["*"] and tokens.kinds[index + 2 : index + 4] in ("Fw", "Fi"):
        return _LIKELY
    if following(tokens, index)[0] != "F" or following(tokens, index, 2)[0] not in ("w", "i"):
        return 0.0
    after = tokens.kinds[index + 3 : index + 6]
    if after[:1] in ("", "d", ";") and tokens.texts[index + 2] in TELLING_NAMES:
        return 0.88
    if after[:1] in ("", "d", ";", "."):
        return _LIKELY
    return _LIKELY if after[0] == "W" and after[2:3] not in ("w", "") else 0.4


def _execute(tokens: Tokens, index: int) -> float:  # noqa: PLR0911 - one return for each form
    kind, text = following(tokens, index)
    if kind in ("w", "f", "i", "s") and text.lstrip("['\"").startswith(("xp_", "sp_", "master", "sys")):
        return _SURE
    if text == "immediate" and following(tokens, index, 2)[0] in ("s", "t"):
        return 0.88
    if text == "immediate" or (kind == "v" and tokens.kinds[index] == "w"):
        return _LIKELY
    if tokens.kinds[index] == "f" and tokens.kinds[index + 2 : index + 3] == "v":
        return _SURE
    if tokens.kinds[index] == "f" or kind == "s":
        text_only = kind in ("s", "t") and following(tokens, index, 2)[0] in ("", "d", ";", ",", "+", "&")
        return _LIKELY if tokens.kinds[index + 2 : index + 3] in ("s", "v", "t") or text_only else _UNSURE
    if kind == "w" and tokens.texts[index - 1 : index] == [";"] and following(tokens, index, 2)[0] in ("", "d", ";"):
        return _FAIR
    return _FAIR if dotted(tokens, index + 1) else _UNSURE


def _declare(tokens: Tokens, index: int) -> float:
    kind = following(tokens, index)[0]
    typed = following(tokens, index, 2)[1] in (
        "int",
        "integer",
        "varchar",
        "varchar2",
        "number",
        "text",
        "cursor",
        "char",
    )
    return _SURE if kind == "v" else _LIKELY if typed else _UNSURE


def _waitfor(tokens: Tokens, index: int) -> float:
    text = following(tokens, index)[1]
    kind = following(tokens, index, 2)[0]
    return _SURE if text in ("delay", "time") and kind in ("s", "t", "v", "n", "") else 0.0


def _shutdown(tokens: Tokens, index: int) -> float:
    kind, text = following(tokens, index)
    return _LIKELY if kind in ("d", ";") or text in ("with", "abort", "immediate") or (kind == "" and index) else 0.0


def _set(tokens: Tokens, index: int) -> float:
    kind, name = following(tokens, index)
    if kind == "v":
        return _LIKELY
    after, text = following(tokens, index, 2)
    if name in ("global", "session", "local", "persist"):
        return _LIKELY if after == "w" and following(tokens, index, 3)[0] in ("=", "w") else 0.0
    if index and name in ("names", "role", "transaction", "search_path"):
        return _LIKELY if after in ("w", "s", "n", "=", "N") and text else 0.0
    if index and name == "password" and after in ("=", "K"):
        return _LIKELY
    return _UNSURE if tokens.kinds[index + 1 : index + 3] == "w=" else 0.0


def _if(tokens: Tokens, index: int) -> float:
    rest = tokens.texts[index + 1 : index + 60]
    kinds = tokens.kinds[index : index + 60]
    if any(word in rest for word in ("waitfor", "benchmark", "select", "pg_sleep", "exec")) and "{" not in rest:
        course = follow(tokens, index + 1)
        then = tokens.texts[course.end : course.end + 1]
        compared = course.constant or course.column or course.same
        asks = course.select or course.certain or (compared and then != [] and then[0] in STATEMENTS)
        return _SURE if kinds[0] == "f" or asks else 0.0
    course = follow(tokens, index + (kinds[0] == "w"))
    if index and tokens.texts[index] == "while" and course.constant:
        return _LIKELY
    if course.constant and "then" in rest:
        after = rest.index("then") + index + 2
        if (
            tokens.kinds[after : after + 1] == "f"
            or following(tokens, after, 0)[1] in STATEMENTS
            or is_package(tokens, after - 1)
        ):
            return _SURE
    if kinds[0] == "f" or "!" in kinds[:3]:
        return _LIKELY if course.constant and "," in kinds else 0.0
    return 0.0


def _begin(tokens: Tokens, index: int) -> float:
    for at in range(index + 1, min(index + 4, len(tokens.kinds))):
        if tokens.kinds[at] == "f" and is_package(tokens, at):
            return _SURE
        if tokens.texts[at] in STATEMENTS and tokens.texts[at] != "begin":
            return statement(tokens, at)
    return 0.0


def _call(tokens: Tokens, index: int) -> float:
    rest = tokens.kinds[index + 1 : index + 5]
    text = following(tokens, index)[1]
    if rest[:3] == "w.f":
        return _LIKELY
    return _LIKELY if rest[:2] == "f(" and (text in SQL_FUNCTIONS or ")" in rest) else _UNSURE * (rest[:2] == "w.")


def _grant(tokens: Tokens, index: int) -> float:
    rest = tokens.texts[index + 1 : index + 14]
    if not rest or rest[0] not in _PRIVILEGES:
        return 0.0
    target = "to" if tokens.texts[index] == "grant" else "from"
    return 0.88 if target in rest and ("on" in rest or rest.index(target) <= 3) else 0.0


def _backup(tokens: Tokens, index: int) -> float:
    """BACKUP DATABASE x TO, or nothing after the name."""
    if following(tokens, index)[1] not in ("database", "log"):
        return 0.0
    after = following(tokens, index, 3)
    return 0.88 if after[1] == "to" or after[0] in ("", "d", ";") else _UNSURE


def _handler(tokens: Tokens, index: int) -> float:
    return _LIKELY if index and following(tokens, index, 2)[1] in ("open", "read", "close") else 0.0


def _do(tokens: Tokens, index: int) -> float:
    """DO and a block of PostgreSQL, or a call."""
    at = index + 1
    if tokens.texts[at : at + 1] == ["language"]:
        at += 2
    if tokens.kinds[at : at + 1] == "s" and tokens.texts[at].startswith("$"):
        return _SURE
    return _call(tokens, index)


def _use(tokens: Tokens, index: int) -> float:
    name, after = following(tokens, index)[1], following(tokens, index, 2)[0]
    return _LIKELY if after in ("", "d", ";") and CATALOGUE.match(name) else 0.4 * (after in ("d", ";") and name != "")


def _prepare(tokens: Tokens, index: int) -> float:
    return _LIKELY if tokens.kinds[index + 1 : index + 4] in ("wFs", "wFv", "wKs", "wKS", "wFn", "wF") else 0.0


def _copy(tokens: Tokens, index: int) -> float:
    rest = tokens.texts[index + 1 : index + 12]
    if "program" in rest:
        return _SURE
    if "to" not in rest or tokens.kinds[index + 1 : index + 2] not in ("w", "(", "f"):
        return 0.0
    kind, text = following(tokens, index + 2 + rest.index("to"), 0)
    return _LIKELY if kind in ("s", "t", "v") or text in ("stdout", "stdin") else 0.0


def _print(tokens: Tokens, index: int) -> float:
    return _SURE * (following(tokens, index)[0] == "v" and following(tokens, index)[1].startswith("@@"))


def _show(tokens: Tokens, index: int) -> float:
    """SHOW TABLES, or SHOW COLUMNS FROM t."""
    name = following(tokens, index)[1]
    if name not in ("tables", "databases", "columns", "grants", "variables", "processlist", "schemas"):
        return 0.0
    kind, text = following(tokens, index, 2)
    if kind in ("F", "d", ";") or text in ("like", "for", "where"):
        return _FAIR
    return _FAIR if kind == "" and (index or name != "columns") else 0.0


def _merge(tokens: Tokens, index: int) -> float:
    return _LIKELY if following(tokens, index)[1] == "into" or "matched" in tokens.texts[index + 4 :] else 0.0


def _with(tokens: Tokens, index: int) -> float:
    kinds = tokens.kinds[index + 1 : index + 5]
    return _LIKELY if kinds in ("wK(S", "fK(S") or kinds == "w(w)" else 0.0


STATEMENTS: Final[dict[str, Callable[[Tokens, int], float]]] = {
    **COMMANDS,
    "alter": define,
    "backup": _backup,
    "begin": _begin,
    "bulk": told_by("insert", confidence=_SURE),
    "call": _call,
    "copy": _copy,
    "create": define,
    "declare": _declare,
    "delete": _delete,
    "do": _do,
    "drop": define,
    "exec": _execute,
    "execute": _execute,
    "explain": told_by("select"),
    "grant": _grant,
    "handler": _handler,
    "if": _if,
    "insert": _insert,
    "load": told_by("data", confidence=0.92),
    "desc": told_by("users", "user", "admin", "information_schema", confidence=_FAIR),
    "describe": told_by("users", "user", "admin", "information_schema", confidence=_FAIR),
    "merge": _merge,
    "prepare": _prepare,
    "print": _print,
    "replace": _insert,
    "restore": told_by("database"),
    "revoke": _grant,
    "select": _select,
    "set": _set,
    "show": _show,
    "shutdown": _shutdown,
    "truncate": define,
    "update": _update,
    "use": _use,
    "vacuum": told_by("into", "full", "analyze"),
    "waitfor": _waitfor,
    "while": _if,
    "with": _with,
}
"""How each statement is judged, by its first word."""


def statement(tokens: Tokens, index: int) -> float:
    """Judge whether a statement begins at the token at an index: 0 to 1."""
    while tokens.kinds[index : index + 1] == "(":
        index += 1
    if index >= len(tokens.kinds):
        return 0.0
    text = tokens.texts[index]
    judge = STATEMENTS.get(text)
    if judge is not None:
        return judge(tokens, index)
    if tokens.kinds[index] in "fw" and is_package(tokens, index):
        return 0.9 if tokens.kinds[index + 1 : index + 2] in ("s", "t") else _LIKELY
    if tokens.kinds[index] == "f" and text in SQL_FUNCTIONS:
        course = follow(tokens, index)
        return _LIKELY if course.by != "?" and (course.certain or course.constant or "," in tokens.kinds) else 0.4
    return 0.0


def wanted(tokens: Tokens, index: int) -> bool:  # noqa: PLR0911 - one return for each kind
    """Tell whether a whole statement at an index is of the kind that is tried rather than meant.

    It is short, and about accounts, orders and the like, or about all of a table.
    """
    kinds, texts = tokens.kinds[index:].rstrip(";d"), tokens.texts[index:]
    if kinds[:2] == "wv" and texts[0] in ("set", "declare"):
        return True
    if len(kinds) > _TRIED:
        return False
    if texts[0] in ("insert", "replace") or (texts[0] == "create" and "f(" in kinds):
        return True
    if texts[0] in _WRITING:
        return not TELLING_NAMES.isdisjoint(texts[1:4])
    if kinds[0] != "S":
        return texts[0] not in ("explain", "with", "begin")
    source = kinds.find("F")
    if source < 0:
        return _CONSTANTS.fullmatch(kinds) is not None
    all_of_it = texts[1] == "*" and len(kinds) <= _ALL_OF_IT
    return all_of_it or not TELLING_NAMES.isdisjoint(texts[source : source + 4])
