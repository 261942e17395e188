"""How sure it is that a statement of SQL begins at a token."""

from collections.abc import Callable
from typing import Final

from seawall.systems.threats.detectors.sql_grammar import follow, is_package
from seawall.systems.threats.detectors.sql_lexer import Tokens
from seawall.systems.threats.detectors.sql_words import CATALOGUE, OBJECTS, SQL_FUNCTIONS, TELLING_NAMES, words

__all__ = ["STATEMENTS", "select_list", "statement"]

_SURE, _LIKELY, _FAIR, _UNSURE = 0.96, 0.85, 0.65, 0.3
_GIVEN: Final = frozenset(("password", "superuser", "encrypted", "identified", "createrole", "createdb"))
_PRIVILEGES: Final = words(
    "all select insert update delete create execute usage dba connect resource super file alter drop index references"
    " trigger grant process reload shutdown replication role unlimited impersonate control sysadmin"
)
_PROSE_ALIASES: Final = 1
"""Words without a comma between them that a query still has; more are prose."""


def _listed(tokens: Tokens, index: int) -> int:
    """Index of the token where the list begins that a query asks for, after ALL, DISTINCT and TOP."""
    kinds = tokens.kinds
    while kinds[index : index + 1] in ("A", "!", "("):
        index += 1
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


def _next(tokens: Tokens, index: int, offset: int = 1) -> tuple[str, str]:
    """Kind and text of the token after the one at an index, or two empty texts."""
    at = index + offset
    return (tokens.kinds[at], tokens.texts[at]) if at < len(tokens.kinds) else ("", "")


def _select(tokens: Tokens, index: int) -> float:
    return select_list(tokens, index + 1)


def _insert(tokens: Tokens, index: int) -> float:
    if _next(tokens, index)[1] != "into":
        return 0.0
    kind, name = _next(tokens, index, 2)
    if name in ("mysql", "sys", "master"):
        return 0.9
    rest = tokens.kinds[index + 3 : index + 60]
    if kind in ("w", "i", "f") and ("values" in tokens.texts[index + 3 : index + 60] or "S" in rest or rest[:1] == "("):
        return _LIKELY
    return _UNSURE


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
    if _next(tokens, index)[0] != "F" or _next(tokens, index, 2)[0] not in ("w", "i"):
        return 0.0
    after = tokens.kinds[index + 3 : index + 6]
    if after[:1] in ("", "d", ";") and tokens.texts[index + 2] in TELLING_NAMES:
        return 0.88
    if after[:1] in ("", "d", ";", "."):
        return _LIKELY
    return _LIKELY if after[0] == "W" and after[2:3] not in ("w", "") else 0.4


def _define(tokens: Tokens, index: int) -> float:  # noqa: C901, PLR0911 - one return for each form
    """CREATE, ALTER, DROP, TRUNCATE, RENAME."""
    at = index + 1
    texts, kinds = tokens.texts, tokens.kinds
    while at < len(kinds) and (texts[at] in ("or", "replace", "if", "not", "exists", "global") or texts[at] in OBJECTS):
        at += 1
    if at > index + 2 and kinds[at : at + 1] in ("", "d", ";"):
        at -= 1
    if "identified" in texts[at : at + 3]:
        return 0.9
    if (
        at > index + 1
        and texts[index + 1] in ("user", "login", "role")
        and not _GIVEN.isdisjoint(texts[at + 1 : at + 5])
    ):
        return 0.9
    if texts[at - 1] not in OBJECTS and texts[at - 1] not in ("exists", "replace", "truncate"):
        return 0.0
    if at == index + 1 and texts[index] != "truncate":
        return 0.0
    after = kinds[at : at + 2]
    if after in ("w", "wd", "w;", "i", "id", "i;", "f(", "i(") or _dotted(tokens, at):
        table = texts[at - 1] == "table" or texts[at - 3 : at] == ["table", "if", "exists"]
        if texts[index] in ("drop", "truncate", "alter") and (texts[at] in TELLING_NAMES or not table):
            return 0.88
        if after == "w" and not index and texts[at] not in TELLING_NAMES:
            return 0.45
        return _LIKELY if at > index + 1 else _UNSURE
    if (
        texts[index] == "alter"
        and kinds[at : at + 1] in ("w", "i")
        and _next(tokens, at)[1] in ("add", "drop", "modify", "rename")
        and len(kinds) - at > 2
    ):
        return _LIKELY if texts[at + 1 : at + 2] in (["add"], ["rename"], ["modify"]) else 0.88
    if _next(tokens, at)[1] in (
        "identified",
        "add",
        "as",
        "returns",
        "cascade",
        "modify",
        "rename",
        "drop",
        "set",
        "to",
    ):
        return _LIKELY if "identified" in texts or len(kinds) - at > 3 else _UNSURE
    return _UNSURE


def _dotted(tokens: Tokens, at: int) -> bool:
    """Tell whether a name with an owner stands at an index, without spaces."""
    if tokens.kinds[at : at + 3] not in ("w.w", "w.i", "i.i"):
        return False
    return tokens.starts[at + 2] == tokens.starts[at + 1] + 1


def _execute(tokens: Tokens, index: int) -> float:
    kind, text = _next(tokens, index)
    if kind in ("w", "f", "i", "s") and text.lstrip("['\"").startswith(("xp_", "sp_", "master", "sys")):
        return _SURE
    if text == "immediate" and _next(tokens, index, 2)[0] in ("s", "t"):
        return 0.88
    if text == "immediate" or (kind == "v" and tokens.kinds[index] == "w"):
        return _LIKELY
    if tokens.kinds[index] == "f" and tokens.kinds[index + 2 : index + 3] == "v":
        return _SURE
    if tokens.kinds[index] == "f" or kind == "s":
        text_only = kind in ("s", "t") and _next(tokens, index, 2)[0] in ("", "d", ";", ",", "+", "&")
        return _LIKELY if tokens.kinds[index + 2 : index + 3] in ("s", "v", "t") or text_only else _UNSURE
    return _FAIR if _dotted(tokens, index + 1) else _UNSURE


def _declare(tokens: Tokens, index: int) -> float:
    kind = _next(tokens, index)[0]
    return _SURE if kind == "v" else _UNSURE


def _waitfor(tokens: Tokens, index: int) -> float:
    text = _next(tokens, index)[1]
    kind = _next(tokens, index, 2)[0]
    return _SURE if text in ("delay", "time") and kind in ("s", "t", "v", "n", "") else 0.0


def _shutdown(tokens: Tokens, index: int) -> float:
    kind, text = _next(tokens, index)
    return _LIKELY if kind in ("d", ";") or text == "with" or (kind == "" and index) else 0.0


def _set(tokens: Tokens, index: int) -> float:
    kind = _next(tokens, index)[0]
    if kind == "v":
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
    if course.constant and "then" in rest:
        after = rest.index("then") + index + 2
        if (
            tokens.kinds[after : after + 1] == "f"
            or _next(tokens, after, 0)[1] in STATEMENTS
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
    text = _next(tokens, index)[1]
    if rest[:3] == "w.f":
        return _LIKELY
    return _LIKELY if rest[:2] == "f(" and (text in SQL_FUNCTIONS or ")" in rest) else _UNSURE * (rest[:2] == "w.")


def _words(*after: str, confidence: float = _LIKELY) -> Callable[[Tokens, int], float]:
    """A statement that is told by the words after its first."""

    def judge(tokens: Tokens, index: int) -> float:
        return confidence if _next(tokens, index)[1] in after else 0.0

    return judge


def _grant(tokens: Tokens, index: int) -> float:
    rest = tokens.texts[index + 1 : index + 14]
    if not rest or rest[0] not in _PRIVILEGES:
        return 0.0
    target = "to" if tokens.texts[index] == "grant" else "from"
    return 0.88 if target in rest and ("on" in rest or rest.index(target) <= 3) else 0.0


def _backup(tokens: Tokens, index: int) -> float:
    """BACKUP DATABASE x TO, or nothing after the name."""
    if _next(tokens, index)[1] not in ("database", "log"):
        return 0.0
    after = _next(tokens, index, 3)
    return 0.88 if after[1] == "to" or after[0] in ("", "d", ";") else _UNSURE


def _handler(tokens: Tokens, index: int) -> float:
    return _LIKELY if _next(tokens, index, 2)[1] in ("open", "read", "close") else 0.0


def _do(tokens: Tokens, index: int) -> float:
    """DO and a block of PostgreSQL, or a call."""
    at = index + 1
    if tokens.texts[at : at + 1] == ["language"]:
        at += 2
    if tokens.kinds[at : at + 1] == "s" and tokens.texts[at].startswith("$"):
        return _SURE
    return _call(tokens, index)


def _use(tokens: Tokens, index: int) -> float:
    name, after = _next(tokens, index)[1], _next(tokens, index, 2)[0]
    return _LIKELY if after in ("", "d", ";") and CATALOGUE.match(name) else 0.4 * (after in ("d", ";") and name != "")


def _prepare(tokens: Tokens, index: int) -> float:
    return _LIKELY if tokens.kinds[index + 1 : index + 4] in ("wFs", "wFv", "wKs", "wKS", "wFn", "wF") else 0.0


def _copy(tokens: Tokens, index: int) -> float:
    rest = tokens.texts[index + 1 : index + 12]
    return _SURE if "program" in rest else _LIKELY * ("to" in rest and tokens.kinds[index + 1 : index + 2] in "w(f")


def _print(tokens: Tokens, index: int) -> float:
    return _SURE * (_next(tokens, index)[0] == "v" and _next(tokens, index)[1].startswith("@@"))


def _with(tokens: Tokens, index: int) -> float:
    kinds = tokens.kinds[index + 1 : index + 5]
    return _LIKELY if kinds in ("wK(S", "fK(S") or kinds == "w(w)" else 0.0


STATEMENTS: Final[dict[str, Callable[[Tokens, int], float]]] = {
    "alter": _define,
    "attach": _words("database", confidence=0.88),
    "backup": _backup,
    "begin": _begin,
    "bulk": _words("insert", confidence=_SURE),
    "call": _call,
    "copy": _copy,
    "create": _define,
    "dbcc": _words("traceon", "addextendedproc", "dropextendedproc", "page"),
    "declare": _declare,
    "delete": _delete,
    "do": _do,
    "drop": _define,
    "exec": _execute,
    "execute": _execute,
    "explain": _words("select"),
    "grant": _grant,
    "handler": _handler,
    "if": _if,
    "insert": _insert,
    "load": _words("data", confidence=0.92),
    "desc": _words("users", "user", "admin", "information_schema", confidence=_FAIR),
    "describe": _words("users", "user", "admin", "information_schema", confidence=_FAIR),
    "merge": _words("into"),
    "pragma": _words("table_info", "database_list", "table_list", "key"),
    "prepare": _prepare,
    "print": _print,
    "rename": _define,
    "replace": _insert,
    "restore": _words("database"),
    "revoke": _grant,
    "select": _select,
    "set": _set,
    "show": _words("tables", "databases", "columns", "grants", "variables", "processlist", confidence=_FAIR),
    "shutdown": _shutdown,
    "truncate": _define,
    "update": _update,
    "use": _use,
    "vacuum": _words("into", "full", "analyze"),
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
