"""Find injection into document databases: query operators where a value is due, and JavaScript that a database runs.

Three grammars, each read in one pass: names with operators in brackets (`user[$ne]`), objects with operators as keys
(`{"$gt": ""}`), and conditions in JavaScript after a quote or where a value is due (`' || this.pass != '`).
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.detectors.nosql_scripts import read, scripts
from seawall.systems.threats.detectors.nosql_stores import STORE_TRIGGERS, stores
from seawall.systems.threats.detectors.prose import plain_words
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["DETECTOR", "scan"]

_CRITICAL, _HIGH, _MEDIUM = Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM

_CODE: Final = frozenset(
    ("where", "function", "func", "accumulator", "expr", "eval", "jsonschema", "lookup", "mapreduce", "merge", "out")
)
"""Operators that run code or reach other collections."""
_BYPASSES: Final = frozenset(
    (
        *("ne", "nin", "regex", "not", "nor", "exists", "elemmatch", "mod", "unionwith", "size", "all", "options"),
        *("rand", "natural", "slice", "geowithin", "near", "bitsallset", "bitsanyset", "graphlookup"),
    )
)
"""Operators that are true of what an attacker does not know; other keys that begin with a dollar sign are common."""
_RANGES: Final = frozenset(("gt", "gte", "lt", "lte"))
_CHANGES: Final = frozenset(("set", "unset", "inc", "push", "pull", "rename", "addtoset", "setoninsert"))
"""Operators of updates, which some clients send; what they set tells."""
_MILD: Final = _RANGES | _CHANGES | frozenset(("in", "eq", "or", "and", "text", "query", "match", "group", "project"))
"""Operators that honest interfaces offer, such as `price[$gte]=10`."""
_COMPARISONS: Final = _BYPASSES | _MILD | frozenset(("type", "comment"))
_SECRETS: Final = re.compile(
    r"pass|pwd|user|login|e?mail|token|secret|code|otp|pin|session|auth|api_?key|reset", re.IGNORECASE
)
_HIDDEN: Final = re.compile(
    r"pass|pwd|token|secret|otp|^pin$|session|auth|api_?key|reset|hash|salt|ssn|card|cvv", re.IGNORECASE
)
"""Fields that nobody looks up or compares by order."""
_RIGHTS: Final = re.compile(
    r"role|admin|privilege|permission|is_?(?:staff|root|super)|balance|credit|scope", re.IGNORECASE
)
"""Fields that decide what somebody may do."""
_IDENTITY: Final = re.compile(r"_?(?:id|uid|uuid|oid|guid|key)|\w{1,32}[_I]d", re.ASCII)
_EVERYTHING: Final = re.compile(r"(?:0|-\d{1,9}|null|undefined|false|nan|\.?\*?|\^|~|['\"]{2}|[a-z!])$", re.IGNORECASE)
"""Values beside which every other one is greater, or that every text matches."""

_NAME: Final = re.compile(
    r"([\w.-]{0,64})((?:\[[\w.-]{0,64}\]){0,8}+)(?:\[\$(\w{2,16})\]|[.]\$(\w{2,16}))(?:\[[$\w.]{0,64}\]){0,8}+(=[^&]{0,64})?+"
)
_PROOFS: Final = re.compile(
    r"pass(?!eng|ing|ive|age|port)|pwd|token(?!s)|secret|otp|^pin$|api_?key|hash|salt|cvv|^code$", re.IGNORECASE
)
"""Fields that prove who somebody is: nobody asks which of them is greater, or how they begin."""
# Words of object mappers for what operators do, on such a field, or on one that says what somebody may do.
_WORDS_OF: Final = (
    r"(?:n?i?like|i?regexp?|matches|i?starts_?with|ends_?with|i?contains|exists|gte?|lte?|n(?:e|eq|in)|not|inq|between"
    r"|sw|ew|co)"
)
_BY_WORD: Final = re.compile(
    rf"(?:^|[\[.&?_])(?:(?:\w{{0,24}}_)?(?:pass(?:w(?:or)?d)?|passphrase|password_?hash|pwd|(?:\w{{1,16}}_?)?(?:token|secret)|api_?key|otp|pin|salt)\]?\[[_$]?{_WORDS_OF}\]"
    r"|(?:is_?)?(?:admin|staff|superuser|root)\]?\[[_$]?(?:gte?|lte?|n(?:e|eq|in)|not|n?i?like|i?regexp?)\]"
    r"|(?:user_?name|login)\]?\[(?:ne|neq|nin|regexp?)\])",
    re.IGNORECASE,
)
_BY_WORD_KEY: Final = re.compile(
    rf"[\"'](?:\w{{0,24}}_)?(?:pass(?:w(?:or)?d)?|passphrase|password_?hash|pwd|(?:\w{{1,16}}_?)?(?:token|secret)|api_?key|otp|pin|salt)[\"']\s{{0,4}}:\s{{0,4}}\{{\s{{0,4}}[\"']_?{_WORDS_OF}[\"']\s{{0,4}}:",
    re.IGNORECASE,
)
# An alternative that is about what somebody may do: `q[$or][0][role]`.
_INNER_FIELD: Final = re.compile(r"\$n?or\]?(?:\[\d{1,3}\])?\[([\w.]{1,64})\]")
# One of several conditions that is true of everything: nothing, or a thing compared with itself.
_ALWAYS: Final = re.compile(
    r"\{\s{0,4}\}|\{\s{0,4}[\"']?(\w{1,8})[\"']?\s{0,4}:\s{0,4}[\"']?\1[\"']?\s{0,4}\}|\{\s{0,4}[\"']\d[\"']\s{0,4}:"
)
_OTHERWISE: Final = re.compile(
    r"\{\s{0,4}[\"']?(\w{1,32})[\"']?\s{0,4}:\s{0,4}([\w\"'.-]{1,32})\s{0,4}\}\s{0,4},\s{0,4}\{\s{0,4}[\"']?\1[\"']?\s{0,4}:\s{0,4}\{\s{0,4}[\"']?\$ne[\"']?\s{0,4}:\s{0,4}\2(?![\w.])"
)
_NINES: Final = re.compile(r"9{4,}$")
_PART: Final = re.compile(r"[\w-]+")
_KEY: Final = re.compile(r"\$(\w{2,16})$")
_DIGITS: Final = re.compile(r"-?\d")
_FIELD: Final = frozenset(("s:", "w:"))
_CONDITIONS: Final = frozenset(("[{s:", "[{w:", "[{k["))
_BY_TEXT: Final = frozenset(("gt", "gte", "lt", "lte", "eq", "ne", "regex", "options", "text"))
_PLAIN: Final = re.compile(r"[\"'](?:\d[\w:. +-]*|\w[\w -]{2,}|\^\w[\w -]*|i)[\"']")
"""A word, a number or a date; not nothing, not a single letter, and no pattern that everything matches."""
_DATES: Final = re.compile(r".{1,32}(?:At|_at|On|_on|[Dd]ate|[Tt]ime)", re.DOTALL)
"""Fields that are set once something has happened, so that lists ask whether they are."""
_CHANGED: Final = 24
"""Tokens of an update that are read for the fields it sets."""
_OBJECT: Final = re.compile(r"[{\[,]k")


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
    words = _BY_WORD.search(text) if "[" in text else _BY_WORD_KEY.search(text) if "{" in text else None
    if words is None and "{" in text:
        words = _BY_WORD_KEY.search(text)
    if words is not None and plain_words(text, limit=4) < 4:
        yield Signal("nosql-operator", _HIGH, 0.82, words.start(), words.end())
    if "$" in text and '\\"' in text:  # a text within a text
        yield from _objects(text.replace('\\"', '"'), 0)
    if "$" in text:
        yield from _names(text)
        brace = text.find("{")
        # The slashes of an address would make a comment of the object that it carries.
        yield from _objects(text, brace if text.find("//", 0, max(brace, 0)) >= 0 else 0)
        quote = min((index for index in (text.find("'"), text.find('"')) if index >= 0), default=-1)
        whole = text.lstrip()[:1] in ("{", "[") and text.rstrip()[-1:] in ("}", "]")
        if quote >= 0 and not whole and text[:quote].rstrip()[-1:] not in ("{", "[", ",", ":", "("):
            # What follows the quote that ends a text early: `', $where: '1`.
            yield from _objects(text, quote + 1)
    yield from scripts(text)
    yield from stores(text)


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
    name = (match[3] or match[4]).lower()
    whole = match.start() == 0 and match.end() == len(text)
    sure = _on_field(name, _field(match[1] + match[2]), match[5])
    inner = _INNER_FIELD.search(text)
    if inner is not None and (_RIGHTS.search(inner[1]) or _PROOFS.search(inner[1])):
        sure = max(sure, 0.85)
    quoted = (match[4] is not None and not (whole and match[5])) or (not whole and plain_words(text, limit=6) >= 4)
    yield Signal("nosql-operator", _HIGH, sure - 0.35 if quoted else sure, match.start(), match.end())


def _field(path: str) -> str:
    """Return the last part of a name that is not a position in a list."""
    parts = [part for part in _PART.findall(path) if not part.isdigit()]
    return parts[-1] if parts else ""


def _on_field(name: str, field: str, value: str | None) -> float:
    """Tell how sure an operator in a field's name is: `value` is what it is set to, after `=`, where that is known."""
    if name in _CODE:
        return 0.95
    hidden = _HIDDEN.search(field) is not None
    known = hidden or _SECRETS.search(field) is not None
    if name in _BYPASSES:
        return 0.95 if known else 0.85
    if name in _RANGES:
        return 0.95 if known and field else _in_range(name, field, value or "=0")
    if name in _MILD:
        return 0.85 if hidden or (known and name == "in") else 0.55
    return 0.85 if hidden else 0.75 if name == "type" else 0.0


def _in_range(name: str, field: str, value: str) -> float:
    """Tell how sure a range of what anybody may know is, by whether everything is in it."""
    if not field:
        return 0.85  # all of what is asked for is the operator
    if (name == "lt" and _NINES.match(value, 1)) or (name == "gt" and value[1:2] in ("", "-")):
        return 0.82
    return 0.8 if len(value) > 1 and _EVERYTHING.match(value, 1) and _IDENTITY.fullmatch(field) else 0.55


def _objects(whole: str, start: int) -> Iterator[Signal]:
    """Operators as keys of objects within a value, from an index on, which an application may parse."""
    text = whole[start:] if start else whole
    if ":" not in text:
        return
    kinds, names, starts = read(text)
    best: Signal | None = _always(text, kinds, names, start)
    at = kinds.find("k")
    words = plain_words(text, limit=5) if at >= 0 else 0
    while at >= 0:
        name = names[at]
        within = _OBJECT.match(kinds, at - 1) is not None if at else False
        if (name in _CODE or name in _COMPARISONS) and (within or at == 0 or kinds[at - 1] in "st?,"):
            sure = _in_object(kinds, names, at, words)
            if best is None or sure > best.confidence:
                best = Signal(
                    "nosql-object", _CRITICAL if name in _CODE else _HIGH, sure, start + starts[at], len(whole)
                )
        at = kinds.find("k", at + 1)
    if best is not None:
        yield best


def _always(text: str, kinds: str, names: list[str], start: int) -> Signal | None:
    """Find conditions side by side of which one is true of everything, or all are of nearly everything."""
    operators = [at for at, kind in enumerate(kinds) if kind == "k"]
    if not operators or names[operators[0]] not in ("or", "and", "nor") or kinds[0] not in "{[k":
        return None
    sides = [at for at in operators if names[at] not in ("or", "and", "nor")]
    either = any(names[at] in ("or", "nor") for at in operators)
    vacant = len(sides) > 1 and all(names[at] == "ne" and names[at + 1 : at + 2] in _NOTHING for at in sides)
    if (
        vacant
        or (either and _OTHERWISE.search(text) is not None)
        or (either and not sides and _ALWAYS.search(text) is not None)
    ):
        return Signal("nosql-object", _HIGH, 0.85, start, start + len(text))
    return None


_NOTHING: Final = (["0"], ["1"], ["-1"], ["null"], ['""'], ["''"])


def _in_object(kinds: str, names: list[str], at: int, words: int) -> float:
    """Tell how sure an operator among the tokens of a text is, of which so many are plain words."""
    name = names[at]
    if kinds[0] in "st}]),":  # something is closed that the value did not open
        return 0.95
    if words >= 4:
        return 0.5
    sure = 0.95 if kinds[0] in "{[" else 0.9 if words <= 1 or (at == 0 and name in _CODE) else 0.55
    if name == "rename":
        return min(sure, 0.85)
    if name in _CHANGES:
        return sure if _changes_rights(kinds, names, at) else 0.5
    if name == "comment":
        others = [names[index] for index, kind in enumerate(kinds) if kind == "k" and index != at]
        telling = _COMPARISONS.issuperset(others) and not _BYPASSES.isdisjoint(others)
        return sure - 0.1 if telling else 0.5
    return 0.5 if _selects(kinds, names, at) else sure


def _changes_rights(kinds: str, names: list[str], at: int) -> bool:
    """Tell whether an update sets what somebody may do, or what proves who they are."""
    end = min(len(kinds) - 1, at + _CHANGED)
    return any(
        kinds[index : index + 2] in _FIELD
        and (_RIGHTS.search(names[index]) or _HIDDEN.search(names[index].strip("\"'")))
        for index in range(at + 1, end)
    )


def _selects(kinds: str, names: list[str], at: int) -> bool:  # noqa: C901, PLR0911 - one answer for each kind of operator
    """Tell whether an operator narrows a search as a filter does, rather than being true of whatever there is."""
    name, operand = names[at], kinds[at + 1 : at + 2]
    value = names[at + 1] if operand else ""
    brace = kinds.rfind("{", 0, at)
    field = names[brace - 2].strip("\"'") if brace >= 2 and kinds[brace - 2 : brace] in _FIELD else ""
    if name in ("match", "group", "project"):
        return True
    if name == "type":  # a string is a type's name in JSON of .NET
        return operand != "n" and not _HIDDEN.search(field)
    if name in _RANGES and field and _PROOFS.search(field):
        return False
    number = operand == "n" and _DIGITS.match(value) is not None
    if name in _MILD and number:
        return not (name in _RANGES and _IDENTITY.fullmatch(field) and _EVERYTHING.match(value))
    if name in ("and", "or"):
        return kinds[at + 1 : at + 5] in _CONDITIONS
    if not field or _HIDDEN.search(field):
        return False
    if name in ("in", "nin") and kinds[at + 1 : at + 3] in ("[s", "[n"):
        known = name == "in" and "mail" in field.lower()
        if known or _IDENTITY.fullmatch(field) or not _SECRETS.search(field):
            return len(names[at + 2]) > 2 - (kinds[at + 2] == "n")
    identity = _IDENTITY.fullmatch(field) is not None
    if _SECRETS.search(field) and not identity:
        return False
    if name == "exists" or (name == "size" and number):
        return operand == "n"
    if name == "ne" and operand == "n" and not identity:
        return number or value in ("true", "false") or _DATES.fullmatch(field) is not None
    return name in _BY_TEXT and operand == "s" and _PLAIN.fullmatch(value) is not None


DETECTOR: Final = Detector(
    name="nosql",
    category=ThreatClass.NOSQL_INJECTION,
    owasp="A03:2021",
    triggers=(
        (
            r"\$(?:where|func(?:tion)?|accumulator|expr|eval|jsonschema|lookup|ne|nin|regex|not|nor|exists|type|mod|elemmatch|size"
            r"|all|options|text|gte?|lte?|in|eq|x?or|and|comment|merge|out|mapreduce|slice|rand|natural|query|set|unset|inc"
            r"|push|pull|rename|unionwith|match|group|project|geowithin|near|bits(?:all|any)set|graphlookup|addtoset|setoninsert)\b"
        ),
        r"\[\$[a-z]{2,16}\]",
        r"\bdb\.[a-z0-9_]{1,64}(?:\.[a-z]{3,16})?\s{0,4}\(",
        r"\bdb\[['\"]|while\s{0,4}\(\s{0,4}(?:true|1|!0)|^\s{0,8}function\s{0,4}\(\s{0,4}[a-z0-9_]{0,16}\s{0,4}\)\s{0,4}\{\s{0,4}(?:return|sleep)",
        r"new\s{1,8}date|date\.now|sleep\s{0,4}\(\s{0,4}[0-9]{3}",
        r"['\"|&;})\]]\s{0,10}[!(]{0,4}this\.[a-z]|^\s{0,10}this\.[a-z]",
        r"[;'\"]\s{0,10}\}?\s{0,10}return[\s(!'\"]|keys\(\s{0,4}this\s{0,4}\)|tojson[a-z]{0,8}\(|['\"]\s{0,4}[)}\]]{1,4};?\s{0,4}(?:\|\||&&)|\bemit\s{0,4}\(",
        (
            r"(?:passw?o?r?d?|passphrase|hash|pwd|token|secret|api_?key|otp|pin|salt|admin|staff|superuser|root|username|user_name|login)"
            r"\]?\[[_$]?[a-z_]{2,12}\]"
        ),
        r"(?:passw?o?r?d?|passphrase|hash|pwd|token|secret|api_?key|otp|pin|salt)['\"]\s{0,4}:\s{0,4}\{\s{0,4}['\"]",
        *STORE_TRIGGERS,
    ),
    scan=scan,
)
