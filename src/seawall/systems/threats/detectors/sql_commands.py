"""Statements that administer a server, each told by its first words."""

from collections.abc import Callable
from typing import Final

from seawall.systems.threats.detectors.sql_lexer import Tokens

__all__ = ["COMMANDS", "following", "told_by"]

_SURE, _TOLD, _LIKELY, _FAIR = 0.96, 0.88, 0.85, 0.65


def following(tokens: Tokens, index: int, offset: int = 1) -> tuple[str, str]:
    """Kind and text of the token after the one at an index, or two empty texts."""
    at = index + offset
    return (tokens.kinds[at], tokens.texts[at]) if at < len(tokens.kinds) else ("", "")


def told_by(*after: str, confidence: float = _LIKELY, least: int = 0) -> Callable[[Tokens, int], float]:
    """A statement that is told by the word after its first, and has so many tokens after that at least."""

    def judge(tokens: Tokens, index: int) -> float:
        told = following(tokens, index)[1] in after and len(tokens.kinds) > index + 1 + least
        return confidence if told else 0.0

    return judge


def _alone(tokens: Tokens, index: int) -> float:
    """A statement of one word, after another."""
    return _LIKELY if index and following(tokens, index)[0] in ("", "d", ";") else 0.0


def _kill(tokens: Tokens, index: int) -> float:
    kinds = tokens.kinds[index + 1 : index + 4].rstrip(";d")
    query = following(tokens, index)[1] in ("query", "connection")
    return _LIKELY if index and (kinds == "n" or (query and kinds == "wn")) else 0.0


def _pragma(tokens: Tokens, index: int) -> float:
    kind, name = following(tokens, index)
    after = following(tokens, index, 2)[0]
    if kind == "f" or (kind == "w" and after in ("=", ".")):
        return _TOLD
    return _LIKELY if "_" in name and after in ("", "d", ";") else 0.0


def _attach(tokens: Tokens, index: int) -> float:
    kind, text = following(tokens, index)
    return _TOLD if text == "database" or (kind == "s" and following(tokens, index, 2)[1] == "as") else 0.0


def _raise(tokens: Tokens, index: int) -> float:
    return _TOLD if tokens.kinds[index] == "f" and tokens.kinds[index + 2 : index + 3] in ("s", "n", "v") else 0.0


def _lock(tokens: Tokens, index: int) -> float:
    """LOCK TABLES t WRITE, or LOCK TABLE t IN EXCLUSIVE MODE."""
    if following(tokens, index)[1] not in ("table", "tables"):
        return 0.0
    rest = tokens.texts[index + 3 : index + 8]
    return _TOLD if "write" in rest or "read" in rest or "mode" in rest or (index and not rest) else 0.0


def _rename(tokens: Tokens, index: int) -> float:
    """RENAME TABLE a TO b."""
    if following(tokens, index)[1] not in ("table", "user", "tables"):
        return 0.0
    return _TOLD if "to" in tokens.texts[index + 3 : index + 8] and len(tokens.kinds) <= index + 12 else 0.0


def _values(tokens: Tokens, index: int) -> float:
    """VALUES ROW(1), or TABLE t, after another statement."""
    if not index:
        return 0.0
    kind, text = following(tokens, index)
    if tokens.texts[index] == "values":
        return _LIKELY if kind == "(" or text == "row" else 0.0
    return _LIKELY if kind in ("w", "i") and following(tokens, index, 2)[0] in ("", "d", ";") else 0.0


def _script(tokens: Tokens, index: int) -> float:
    """H2's statements that write and read files."""
    due = "to" if tokens.texts[index] == "script" else "from"
    return _SURE if following(tokens, index)[1] == due and following(tokens, index, 2)[0] in ("s", "t") else 0.0


def _savepoint(tokens: Tokens, index: int) -> float:
    return _LIKELY if index and following(tokens, index, 2)[0] in ("", "d", ";") else 0.0


def _comment(tokens: Tokens, index: int) -> float:
    on = following(tokens, index)[1] == "on" and following(tokens, index, 2)[1] in ("table", "column", "database")
    return _TOLD if on and following(tokens, index, 4)[1] in ("is", ".") else 0.0


def _dbcc(tokens: Tokens, index: int) -> float:
    return _TOLD if following(tokens, index)[0] in ("w", "f") else 0.0


def _throw(tokens: Tokens, index: int) -> float:
    return _TOLD if tokens.kinds[index + 1 : index + 5] == "n,s," else 0.0


COMMANDS: Final[dict[str, Callable[[Tokens, int], float]]] = {
    "analyze": told_by("table", least=1),
    "attach": _attach,
    "check": told_by("table", least=1),
    "checkpoint": _alone,
    "checksum": told_by("table", least=1),
    "comment": _comment,
    "commit": _alone,
    "dbcc": _dbcc,
    "deallocate": told_by("prepare", "all", confidence=_TOLD),
    "detach": told_by("database", confidence=_TOLD),
    "discard": told_by("all", "plans", "sequences", "temp"),
    "flush": told_by(
        "privileges", "tables", "logs", "hosts", "status", "query", "binary", "user_resources", confidence=_TOLD
    ),
    "kill": _kill,
    "lock": _lock,
    "optimize": told_by("table", least=1),
    "pragma": _pragma,
    "purge": told_by("binary", "master"),
    "raiserror": _raise,
    "reconfigure": _alone,
    "reindex": told_by("database", "table", "index", "schema", "system", least=1),
    "rename": _rename,
    "repair": told_by("table", least=1),
    "reset": told_by("master", "slave", "query", "role", "all", "replica"),
    "rollback": _alone,
    "runscript": _script,
    "savepoint": _savepoint,
    "script": _script,
    "start": told_by("transaction", "slave", "replica"),
    "stop": told_by("slave", "replica"),
    "table": _values,
    "throw": _throw,
    "unlock": told_by("tables", confidence=_TOLD),
    "values": _values,
}
"""How each statement is judged, by its first word."""
