"""Tell values that are nothing but ordinary statements of SQL, as developers' tools send them.

Query consoles, migrations, log collectors and traces carry whole statements. They break out of nothing: where they are
not run as they are, they do no harm, and where they are, it is meant. What counts is therefore whether the value is
complete from its first word to its last, and whether it reaches for what only an attacker wants.
"""

import re
from typing import Final

from seawall.systems.threats.detectors.sql_calls import reaches
from seawall.systems.threats.detectors.sql_grammar import is_package
from seawall.systems.threats.detectors.sql_lexer import Tokens
from seawall.systems.threats.detectors.sql_statements import statement
from seawall.systems.threats.detectors.sql_words import CATALOGUE, GLOBALS, INJECTOR_FUNCTIONS, SECRETS, TELLING_NAMES

__all__ = ["accounts", "script"]

_FAIR: Final = 0.4
_HARMFUL: Final = frozenset(("sleep", "exec", "execute", "shell", "eval", "system", "version", "database", "user"))
# Constants compared, as an attacker does who wants a condition to hold.
_CONSTANT: Final = re.compile(r"[WH&!K(][!(]*+(?:n=n|s=s|n=s|s=n|N=N|v=v)(?![+,])|[WH&][!(]*+[nsN]\)*+(?:[&;)]|$)")
_MADE_UP: Final = re.compile(r"UA?\(?S(?:[nNsv](?:,[nNsv])*+|f\()")
# A comment where white space would do.
_SQUEEZED: Final = re.compile(r"\w/\*[^*]{0,40}\*/\w|/\*!")
_PLACEHOLDERS: Final = ("?", "$", "{", "}", "%")
_BEFORE_NAMES: Final = frozenset(("from", "join", "into", "update", "table", "."))
_NOTE: Final = re.compile(r"--\s\w{3}")
_RANGE: Final = re.compile(r"=[nsv]&[nsv]")
_PARTS: Final = re.compile(r"[^;]+")
_SECRET_TABLE: Final = re.compile(r"(?:\w{2,6}_)(?:users?|usermeta|members?|admins?|logins?|accounts?)$")


def accounts(tokens: Tokens, *, strict: bool) -> bool:
    """Tell whether a value is a query for passwords and the like, or without a space between its words.

    Args:
        tokens: of it, all of them.
        strict: whether tables of accounts are telling as well: `select * from wp_users`.
    """
    source = tokens.kinds.find("F")
    if tokens.kinds[0] != "S" or source < 0 or statement(tokens, 0) < _FAIR:
        return False
    glued = all(
        start + len(text) == after
        for start, text, after in zip(tokens.starts, tokens.texts, tokens.starts[1:], strict=False)
    )
    return (
        glued
        or not SECRETS.isdisjoint(tokens.texts[:source])
        or (strict and _is_telling(tokens, source + 1, strict=True))
    )


def script(lower: str, tokens: Tokens, *, strict: bool) -> float:
    """How sure it is that a value is but ordinary statements, none of which reaches for anything telling; 0 if not.

    Args:
        lower: the value in lower case.
        tokens: of it, all of them.
        strict: whether tables of accounts are telling as well, by the names that well-known programs give them.
    """
    kinds, texts = tokens.kinds, tokens.texts
    plain = _RANGE.sub(lambda match: "=n" if texts[match.start()] == "between" else match[0], kinds)
    if not strict and kinds[-2:] == ";d" and _NOTE.match(texts[-1]):
        kinds, texts = kinds[:-1], texts[:-1]
    if tokens.conditional or kinds[-1] in "td" or _CONSTANT.search(plain) or _MADE_UP.search(kinds):
        return 0.0
    if "t" in kinds or ("/*" in lower and _SQUEEZED.search(lower)):
        return 0.0
    if any(_is_telling(tokens, at, strict=strict) for at in range(len(kinds))):
        return 0.0
    parts = [match.span() for match in _PARTS.finditer(kinds)]
    if not parts or not all(_is_ordinary(kinds[start:end], texts[start:end]) for start, end in parts):
        return 0.0
    sure = min(_statement(tokens, start) for start, _ in parts)
    return sure if sure >= _FAIR else 0.0


def _statement(tokens: Tokens, at: int) -> float:
    """How sure it is that SQL begins at a token, rather than a sentence that begins with one of its verbs."""
    if tokens.texts[at] == "explain":
        at = tokens.texts.index("select", at)
    return 1.0 if tokens.texts[at] in ("begin", "commit") else statement(tokens, at)


def _is_telling(tokens: Tokens, at: int, *, strict: bool) -> bool:  # noqa: PLR0911 - one return for each kind
    """Tell whether the token at an index is what only an attacker reaches for."""
    if at >= len(tokens.kinds):
        return False
    kind, text = tokens.kinds[at], tokens.texts[at]
    if kind == "f":
        return text in INJECTOR_FUNCTIONS or text in _HARMFUL or is_package(tokens, at) or reaches(tokens, at)
    if kind == "v":
        return GLOBALS.match(text) is not None or text.startswith("@@")
    if kind == "?":
        return text not in _PLACEHOLDERS
    if kind == "I":
        return tokens.texts[at + 1 : at + 2] in (["outfile"], ["dumpfile"])
    if kind in "wi" and at:
        name = text.strip("`[]")
        if name.startswith(("xp_", "sp_", "utl_", "dbms_")):
            return True
        if tokens.texts[at - 1] in _BEFORE_NAMES and (strict or not name.startswith("pg_stat_")):
            return CATALOGUE.match(name) is not None or (strict and _SECRET_TABLE.match(name) is not None)
    return False


def _is_ordinary(kinds: str, texts: list[str]) -> bool:  # noqa: C901, PLR0911 - one return for each statement
    """Tell whether the tokens of one statement are of a kind that tools send, and complete."""
    verb = texts[0]
    if verb == "explain":
        verb = next((text for text in texts[1:4] if text not in ("analyze", "query", "plan", "for")), "")
        return verb == "select" and "F" in kinds
    if kinds.count("(") != kinds.count(")") or kinds[-1] in "&=+,!UFWHGBS.":
        return False
    if verb == "select" or (verb == "with" and "S" in kinds and "K(" in kinds):
        if verb == "select" and ("F" not in kinds or kinds[1:2] == "F"):
            return False
        source = kinds.find("F")
        return SECRETS.isdisjoint(texts[:source]) and ("U" not in kinds or SECRETS.isdisjoint(texts))
    if verb in ("insert", "replace"):
        return texts[1:2] == ["into"] and ("values" in texts or "S" in kinds)
    if verb == "update":
        some = "W" in kinds or texts[1] not in TELLING_NAMES
        return some and "set" in texts[2:8] and "=" in kinds and SECRETS.isdisjoint(texts)
    if verb == "delete":
        return kinds[1:2] == "F" and kinds[2:3] in ("w", "i") and (len(kinds) > 3 or texts[2] not in TELLING_NAMES)
    if verb == "create":
        kind = next((word for word in texts[1:6] if word in ("table", "index", "view")), "")
        return kind != "" and ("(" in kinds or "f" in kinds or "S" in kinds)
    if verb == "alter":
        return texts[1] == "table" and texts[3:4] in (["add"], ["rename"], ["modify"]) and len(texts) > 5
    if verb == "drop":
        return "exists" in texts[2:4] and texts[1] in ("table", "view", "index") and texts[-1] not in TELLING_NAMES
    return verb in ("begin", "commit") and len(kinds) <= 2
