"""Find injection into document databases: query operators where a value is due, and JavaScript that a database runs.

Three grammars, each read in one pass: names with operators in brackets (`user[$ne]`), objects with operators as keys
(`{"$gt": ""}`), and conditions in JavaScript after a quote or where a value is due (`' || this.pass != '`).
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.detectors.prose import plain_words
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["DETECTOR", "scan"]

_CRITICAL, _HIGH, _MEDIUM = Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM

_CODE: Final = frozenset(
    ("where", "function", "accumulator", "expr", "eval", "jsonschema", "lookup", "mapreduce", "merge", "out")
)
"""Operators that run code or reach other collections."""
_COMPARISONS: Final = frozenset(
    (
        *("ne", "nin", "regex", "not", "nor", "exists", "type", "mod", "elemmatch", "size", "all", "options", "text"),
        *(
            "gt",
            "gte",
            "lt",
            "lte",
            "in",
            "eq",
            "or",
            "and",
            "comment",
            "slice",
            "rand",
            "natural",
            "query",
            "set",
            "unset",
        ),
        *("inc", "push", "pull", "rename", "unionwith", "match", "group", "project", "geowithin", "near", "bitsallset"),
    )
)
_MILD: Final = frozenset(
    ("gt", "gte", "lt", "lte", "in", "eq", "or", "and", "all", "size", "text", "query", "match", "set")
)
"""Operators that honest interfaces offer in names, such as `price[$gte]=10`."""
_BYPASSES: Final = frozenset(("ne", "nin", "regex", "not", "nor", "exists", "elemmatch", "mod", "unionwith"))
"""Operators that are true of what an attacker does not know; other keys that begin with a dollar sign are common."""
_SECRETS: Final = re.compile(
    r"pass|pwd|user|login|e?mail|token|secret|code|otp|pin|session|auth|api_?key|reset", re.IGNORECASE
)

_NAME: Final = re.compile(
    r"([\w.-]{0,64})(?:\[[\w.-]{0,64}\]){0,8}(?:\[\$(\w{2,16})\]|[.]\$(\w{2,16}))(?:\[[$\w.]{0,64}\]){0,8}=?"
)
_KEY: Final = re.compile(r"\$(\w{2,16})$")
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
_DIGITS: Final = re.compile(r"-?\d")
_FIELD: Final = frozenset(("s:", "w:"))
_CONDITIONS: Final = frozenset(("[{s:", "[{w:", "[{k["))
_BY_TEXT: Final = frozenset(("gt", "gte", "lt", "lte", "eq", "ne", "regex", "options", "text", "comment"))
_PLAIN: Final = re.compile(r"[\"'](?:\d[\w:. +-]*|\w[\w -]{2,}|i)[\"']")
"""A word, a number or a date; not nothing, not a single letter, and no pattern that everything matches."""
_TOKENS_CAP: Final = 400
_OBJECT: Final = re.compile(r"[{\[,]k")
_DATABASE: Final = re.compile(
    r"\bdb\.\w{1,64}\.(?:find\w*|insert\w*|remove|drop\w*|update\w*|save|count\w*|mapreduce|aggregate|delete\w*)\s*+\(",
    re.IGNORECASE,
)
# After a quote that ends a text in JavaScript, or where a value is due: a condition on `this`, or one of constants.
_OPERANDS: Final = r"(?:!*[(]*[wnsr][)]*(?:\([^()]{0,8}\))?)"
_CONDITION: Final = re.compile(rf"(?:[)}}\];]*)&{_OPERANDS}(?:=(?:{_OPERANDS}|t))?")
_RETURNS: Final = re.compile(r"\breturn\s*+(?:\(|true\b|1\b|!|this\.|\d++\s*+={2,3}|['\"])")


def scan(text: str, _kind: PlaceKind) -> Sequence[Signal]:
    """Judge a value or a name: signals of confidence 0.3 and above, the strongest first. Linear in the text."""
    if "%20" in text:
        return ()  # its decoded view is judged; here prose would not look like prose
    best: dict[str, Signal] = {}
    for signal in _signals(text):
        known = best.get(signal.rule)
        if signal.confidence >= 0.3 and (known is None or known.confidence < signal.confidence):
            best[signal.rule] = signal
    return sorted(best.values(), key=lambda signal: signal.confidence, reverse=True)[:8]


def _signals(text: str) -> Iterator[Signal]:
    if "$" in text:
        yield from _names(text)
        yield from _objects(text)
        quote = min((index for index in (text.find("'"), text.find('"')) if index >= 0), default=-1)
        if quote >= 0 and not (text.lstrip()[:1] in ("{", "[") and text.rstrip()[-1:] in ("}", "]")):
            # What follows the quote that ends a text early: `', $where: '1`.
            for signal in _objects(text[quote + 1 :]):
                yield signal._replace(start=signal.start + quote + 1, end=len(text))
    yield from _scripts(text)


def _names(text: str) -> Iterator[Signal]:
    """Operators in the names of fields."""
    key = _KEY.match(text)
    if key is not None:
        name = key[1].lower()
        if name in _CODE or name in _COMPARISONS:
            sure = 0.93 if name in _CODE else 0.85 if name in _BYPASSES else 0.45
            yield Signal("nosql-operator", _HIGH, sure, 0, len(text))
        return
    match = _NAME.match(text) or _NAME.search(text)
    if match is None:
        return
    name = (match[2] or match[3]).lower()
    if name not in _CODE and name not in _COMPARISONS:
        return
    whole = match.start() == 0 and match.end() == len(text)
    sure = 0.95 if name in _CODE or _SECRETS.search(match[1]) else 0.55 if name in _MILD else 0.85
    quoted = match[3] is not None or (not whole and plain_words(text, limit=6) >= 4)
    yield Signal("nosql-operator", _HIGH, sure - 0.35 if quoted else sure, match.start(), match.end())


def _read(text: str) -> tuple[str, list[str], list[int]]:
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


def _objects(text: str) -> Iterator[Signal]:
    """Operators as keys of objects within a value, which an application may parse."""
    if ":" not in text:
        return
    kinds, names, starts = _read(text)
    best: Signal | None = None
    at = kinds.find("k")
    while at >= 0:
        name = names[at]
        within = _OBJECT.match(kinds, at - 1) is not None if at else False
        if (name in _CODE or name in _COMPARISONS) and (within or at == 0 or kinds[at - 1] in "st?,"):
            words = plain_words(text, limit=5)
            broken = kinds[0] in "st}]),"
            sure = 0.95 if kinds[0] in "{[" or broken else 0.9 if words <= 1 else 0.55
            if (words >= 4 or _selects(kinds, names, at)) and not broken:
                # Prose, a type's name in JSON of .NET, or a filter as some interfaces offer.
                sure = 0.5
            if best is None or sure > best.confidence:
                best = Signal("nosql-object", _CRITICAL if name in _CODE else _HIGH, sure, starts[at], len(text))
        at = kinds.find("k", at + 1)
    if best is not None:
        yield best


def _selects(kinds: str, names: list[str], at: int) -> bool:
    """Tell whether an operator narrows a search as a filter does, rather than being true of whatever there is."""
    name, operand = names[at], kinds[at + 1 : at + 2]
    value = names[at + 1] if operand else ""
    brace = kinds.rfind("{", 0, at)
    field = names[brace - 2] if brace >= 2 and kinds[brace - 2 : brace] in _FIELD else ""
    if name == "type" or (name in _MILD and operand == "n" and _DIGITS.match(value)):
        return True
    if name in ("and", "or"):
        return kinds[at + 1 : at + 5] in _CONDITIONS
    if not field or _SECRETS.search(field):
        return False
    if name == "in":
        return kinds[at + 1 : at + 3] in ("[s", "[n") and len(names[at + 2]) > 2 - (kinds[at + 2] == "n")
    if name == "exists":
        return operand == "n"
    return name in _BY_TEXT and operand == "s" and _PLAIN.fullmatch(value) is not None


def _scripts(text: str) -> Iterator[Signal]:
    """JavaScript that a database runs."""
    words = plain_words(text, limit=8)
    call = _DATABASE.search(text)
    if call is not None:
        yield Signal("nosql-script", _CRITICAL, 0.92 if words <= 1 else 0.5, call.start(), len(text))
    this = text.find("this.")
    if this >= 0 or "return" in text:
        quote = min((index for index in (text.find("'"), text.find('"')) if index >= 0), default=-1)
        kinds, names, starts = _read(text[quote + 1 :])
        begins = kinds.lstrip(")}];,")[:1] in ("&", "w") and (quote >= 0 or kinds[:1] == "&")
        returns = _RETURNS.search(text)
        if begins and returns is not None and (";" in kinds or "}" in kinds):
            yield Signal("nosql-script", _CRITICAL, 0.93, returns.start(), len(text))
        elif returns is not None and text.lstrip(" ;'\"})0123456789").startswith("return") and ";" in text:
            yield Signal("nosql-script", _CRITICAL, 0.85, returns.start(), len(text))
        where = [at for at, name in enumerate(names) if name.startswith("this.")]
        if where and _CONDITION.match(kinds):
            yield Signal("nosql-condition", _HIGH, 0.93, quote + 1 + starts[0], len(text))
        elif where and where[0] == 0 and kinds[1:2] in ("=", "&") and words <= 2 and ";" not in kinds:
            yield Signal("nosql-condition", _HIGH, 0.75, quote + 1 + starts[0], len(text))


DETECTOR: Final = Detector(
    name="nosql",
    category=ThreatClass.NOSQL_INJECTION,
    owasp="A03:2021",
    triggers=(
        (
            r"\$(?:where|function|accumulator|expr|eval|jsonschema|lookup|ne|nin|regex|not|nor|exists|type|mod|elemmatch|size"
            r"|all|options|text|gte?|lte?|in|eq|x?or|and|comment|merge|out|mapreduce|slice|rand|natural|query|set|unset|inc"
            r"|push|pull|rename|unionwith|match|group|project|geowithin|near|bitsallset)\b"
        ),
        r"\bdb\.[a-z0-9_]{1,64}\.[a-z]{3,16}\s{0,4}\(",
        r"['\"|&;})\]]\s{0,10}[!(]{0,4}this\.[a-z]|^\s{0,10}this\.[a-z]",
        r"[;'\"]\s{0,10}\}?\s{0,10}return[\s(!'\"]",
    ),
    scan=scan,
)
