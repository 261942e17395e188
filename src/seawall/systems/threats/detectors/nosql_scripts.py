"""JavaScript that a document database runs: tokens of it, and conditions and calls where a value is due."""

import re
from collections.abc import Iterator
from typing import Final

from seawall.systems.threats.detector import Signal
from seawall.systems.threats.detectors.prose import plain_words
from seawall.systems.threats.model import Severity

__all__ = ["read", "scripts"]

_CRITICAL, _HIGH = Severity.CRITICAL, Severity.HIGH

_TOKEN: Final = re.compile(
    r"\s*+(?:([\"']?\$(\w{2,16})[\"']?\s*+:)"  # 1 operator as a key, 2 its name
    r"|(\"(?:[^\"\\]++|\\.)*+\"|'(?:[^'\\]++|\\.)*+')"  # 3 string
    r"|(/(?:[^/\\\n]++|\\.)++/[gimsuy]*+)"  # 4 regular expression
    r"|(\|\||&&)"  # 5 logical
    r"|(===?|!==?|[<>]=?)"  # 6 comparison
    r"|([\w$]++(?:\.[\w$]++)*+)"  # 7 word or chain
    r"|([{}\[\](),:;!])"  # 8 punctuation
    r"|(['\"][\s\S]*+)"  # 9 string that the end cuts off
    r"|(//[\s\S]*+|<!--[\s\S]*+|\x00[\s\S]*+)"  # 10 comment to the end
    r"|(\S)|\Z)"  # 11 anything else
)
_KINDS: Final = ("", "k", "k", "s", "r", "&", "=", "w", "", "t", "d", "?")
_NUMBER: Final = re.compile(r"\d++(?:\.\d*+)?$|true$|false$|null$")
_TOKENS_CAP: Final = 400
_DATABASE: Final = re.compile(
    r"\bdb(?:\.|(?=\[))(?:(?:\w{1,64}|\[['\"]\w{1,64}['\"]\])\.(?:find\w*|insert\w*|remove|drop\w*|update\w*|save|count\w*|mapreduce|aggregate|delete\w*|copyto"
    r"|renamecollection)|(?:getcollection(?:names|infos)?|getusers?|getroles?|getsiblingdb|getname|dropdatabase|dropuser"
    r"|createuser|updateuser|changeuserpassword|grantrolestouser|createcollection|admincommand|runcommand|eval|shutdownserver"
    r"|currentop|killop|serverstatus|hostinfo|listcommands|auth|version|stats|copydatabase|clonedatabase))\s*+\(",
    re.IGNORECASE,
)
# A loop until some time has passed, which is how a condition in JavaScript waits.
_WAITS: Final = re.compile(
    r"\bwhile\s*+\([^;{}]{0,120}(?:[<>]=?\s*+\w{0,24}\s*+[+-]?\s*+\d{3,}|new\s++date|date\.now)|\bwhile\s*+\(\s*+(?:true|1|!0)\s*+\)|\bsleep\s*+\(\s*+\d{3,}\s*+\)\s*+(?:\|\||&&|;\s*+return\b)",
    re.IGNORECASE,
)
# A condition that is a function of its own, true of everything, or slow.
_FUNCTION: Final = re.compile(
    r"\s{0,8}function\s{0,4}\(\s{0,4}\w{0,16}\s{0,4}\)\s{0,4}\{\s{0,4}(?:return\s{0,4}\(?\s{0,4}(?:(?:true|1|!0)\b|!?this\b|['\"]?\w{1,8}['\"]?\s{0,4}={2,3}\s{0,4}['\"]?\w{1,8}['\"]?\s{0,4};?\s{0,4}\})|emit\s{0,4}\(|sleep\s{0,4}\(\s{0,4}\d)(?:(?<=\})|[^{}]{0,160}\})\s{0,4};?\s{0,4}\Z"
)
# What a document is made of, read by a condition that runs for each.
_ITSELF: Final = re.compile(
    r"\bobject\.(?:keys|values|entries)\(\s{0,4}this\s{0,4}\)|\btojson\w{0,8}\(\s{0,4}(?:this|db)\b|\bin\s{1,4}this\s{0,4}\)\s{0,4}\{?\s{0,4}emit\s{0,4}\("
    r"|['\"]\s{0,4}[)}\]]{1,4};?\s{0,4}(?:\|\||&&)\s{0,4}(['\"]?)(\w{1,16})\1\s{0,4}={2,3}\s{0,4}\1\2\b",
    re.IGNORECASE,
)
_CLOSES: Final = re.compile(r"\s{0,8}(?:[\w.@-]{0,40}['\"]\s{0,4}[)\]};+|&,]|[;)\]}|&])")
_SHORT: Final = 240
# After a quote that ends a text in JavaScript, or where a value is due: a condition on `this`, or one of constants.
_OPERANDS: Final = r"(?:!*[(]*[wnsr][)]*(?:\([^()]{0,8}\))?)"
_CONDITION: Final = re.compile(rf"(?:[)}}\];]*)&{_OPERANDS}(?:=(?:{_OPERANDS}|t))?")
_GUESSED: Final = re.compile(r"w\([rs]\)(?:[d&=]|$)")
_TESTS: Final = frozenset(("match", "test", "startsWith", "endsWith", "includes", "indexOf", "search", "charAt"))
_RETURNS: Final = re.compile(
    r"\breturn\s*+(?:\(|true\b|1\b|!|this\b|\d++\s*+={2,3}|['\"]|tojson|json\.|db\.|object\.|new\s|sleep\()",
    re.IGNORECASE,
)


def read(text: str) -> tuple[str, list[str], list[int]]:
    """Return the kinds of a text's tokens, a character each, their texts, and where they start."""
    kinds: list[str] = []
    names: list[str] = []
    starts: list[int] = []
    for match in _TOKEN.finditer(text):
        group = match.lastindex
        if group is None or len(kinds) >= _TOKENS_CAP:
            break
        if group == 2:
            group = 1
        token = match[group]
        kind = _KINDS[group] or token
        if group == 1:
            token = match[2].lower()
        elif group == 7 and _NUMBER.match(token):
            kind = "n"
        kinds.append(kind)
        names.append(token)
        starts.append(match.start(group))
    return "".join(kinds), names, starts


def scripts(text: str) -> Iterator[Signal]:
    """JavaScript that a database runs: signals in no order. Linear in the text."""
    words = plain_words(text, limit=8)
    if _FUNCTION.match(text) is not None:
        yield Signal("nosql-script", _CRITICAL, 0.8, 0, len(text))
    for pattern, sure, most in ((_DATABASE, 0.92, 1), (_ITSELF, 0.85, 2)):
        call = pattern.search(text)
        if call is not None:
            yield Signal("nosql-script", _CRITICAL, sure if words <= most else 0.5, call.start(), len(text))
    waits = _WAITS.search(text) if "while" in text or "sleep" in text else None
    if waits is not None:
        closed = _CLOSES.match(text) is not None and len(text) <= _SHORT
        alone = text.lstrip()[:8] == "function" and len(text) <= _SHORT
        sure = 0.9 if alone or words <= (7 if closed else 2) else 0.5
        yield Signal("nosql-script", _CRITICAL, sure, waits.start(), len(text))
    if "this." in text or "return" in text:
        yield from _conditions(text, words)


def _conditions(text: str, words: int) -> Iterator[Signal]:
    """What a text goes on with after the quote that ends it, or where a value is due."""
    quote = min((index for index in (text.find("'"), text.find('"')) if index >= 0), default=-1)
    if text.lstrip(" (!").startswith("this."):
        quote = -1  # nothing comes before it that could end a text
    kinds, names, starts = read(text[quote + 1 :])
    begins = kinds.lstrip(")}];,")[:1] in ("&", "w") and (quote >= 0 or kinds[:1] == "&")
    returns = _RETURNS.search(text)
    if begins and returns is not None and (";" in kinds or "}" in kinds):
        near = returns.start() - quote <= _SHORT
        yield Signal("nosql-script", _CRITICAL, 0.93 if near and words < 8 else 0.5, returns.start(), len(text))
    elif returns is not None and text.lstrip(" ;'\"})0123456789").startswith("return") and ";" in text:
        yield Signal("nosql-script", _CRITICAL, 0.85, returns.start(), len(text))
    where = [at for at, name in enumerate(names) if name.startswith("this.")]
    if where and _CONDITION.match(kinds):
        yield Signal("nosql-condition", _HIGH, 0.93, quote + 1 + starts[0], len(text))
    elif where and where[0] == 0 and kinds[1:2] in ("=", "&") and words <= 2 and ";" not in kinds:
        yield Signal("nosql-condition", _HIGH, 0.75, quote + 1 + starts[0], len(text))
    elif where and where[0] == 0 and words <= 2 and _GUESSED.match(kinds) and names[0].rpartition(".")[2] in _TESTS:
        yield Signal("nosql-condition", _HIGH, 0.8, quote + 1 + starts[0], len(text))
