"""Statements that define or remove what a database consists of: tables, users, functions."""

from typing import Final

from seawall.systems.threats.detectors.sql_commands import following
from seawall.systems.threats.detectors.sql_lexer import Tokens
from seawall.systems.threats.detectors.sql_words import OBJECTS, TELLING_NAMES

__all__ = ["define", "dotted"]

_LIKELY, _UNSURE = 0.85, 0.3
_GIVEN: Final = frozenset(("password", "superuser", "encrypted", "identified", "createrole", "createdb"))
_WHEN: Final = frozenset(("before", "after", "instead"))


def define(tokens: Tokens, index: int) -> float:  # noqa: C901, PLR0911, PLR0912 - one return for each form
    """CREATE, ALTER, DROP, TRUNCATE, RENAME."""
    at = index + 1
    texts, kinds = tokens.texts, tokens.kinds
    if texts[index] == "drop" and texts[at : at + 2] in (["all", "objects"], ["owned", "by"]):
        return 0.9
    if (
        texts[index] == "alter"
        and texts[at : at + 1] in (["system"], ["session"])
        and texts[at + 1 : at + 2] == ["set"]
    ):
        return 0.88
    if index and texts[at : at + 1] == ["index"] and kinds[at + 1 : at + 4] in ("wKw", "iKi"):
        return _LIKELY
    if texts[index] == "create" and texts[at : at + 1] == ["alias"]:
        return 0.88 if "as" in texts[at + 2 : at + 4] or "for" in texts[at + 2 : at + 4] else 0.0
    if texts[index] == "create" and texts[at : at + 1] == ["trigger"] and not _WHEN.isdisjoint(texts[at + 2 : at + 4]):
        return 0.88
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
    if after in ("w", "wd", "w;", "i", "id", "i;", "f(", "i(") or dotted(tokens, at):
        table = texts[at - 1] == "table" or texts[at - 3 : at] == ["table", "if", "exists"]
        if texts[index] in ("drop", "truncate", "alter") and (texts[at] in TELLING_NAMES or not table):
            return 0.88
        if after == "w" and not index and texts[at] not in TELLING_NAMES:
            return 0.45
        return _LIKELY if at > index + 1 else _UNSURE
    if (
        texts[index] == "alter"
        and kinds[at : at + 1] in ("w", "i")
        and following(tokens, at)[1] in ("add", "drop", "modify", "rename")
        and len(kinds) - at > 2
    ):
        return _LIKELY if texts[at + 1 : at + 2] in (["add"], ["rename"], ["modify"]) else 0.88
    if following(tokens, at)[1] in (
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
        "enable",
        "disable",
    ):
        return _LIKELY if "identified" in texts or len(kinds) - at > (1 if index else 3) else _UNSURE
    return _UNSURE


def dotted(tokens: Tokens, at: int) -> bool:
    """Tell whether a name with an owner stands at an index, without spaces."""
    if tokens.kinds[at : at + 3] not in ("w.w", "w.i", "i.i"):
        return False
    return tokens.starts[at + 2] == tokens.starts[at + 1] + 1
