"""Find injection into XPath and XQuery: node functions, axes and paths where a value would end.

The value is read as XPath, after a quote or bracket that closes what the application opened, or where a number is due.
SQL has conditions of the same shape; what counts here are things that only XPath has.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.detectors.prose import plain_words
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["DETECTOR", "scan"]

_HIGH, _MEDIUM = Severity.HIGH, Severity.MEDIUM

_TOKEN: Final = re.compile(
    r"\s*+(?:((?:ancestor|ancestor-or-self|attribute|child|descendant|descendant-or-self|following|following-sibling"
    r"|namespace|parent|preceding|preceding-sibling|self)::)"  # 1 axis
    r"|((?:text|node|comment|processing-instruction|position|last|name|local-name|namespace-uri|document-uri|base-uri)"
    r"\(\s*+(?=\)|/|\.|@|\*))"  # 2 function of nodes
    r"|((?:count|string-length|substring|substring-before|substring-after|contains|starts-with|ends-with|concat"
    r"|normalize-space|translate|string|number|boolean|not|sum|id|matches|tokenize|replace|string-to-codepoints"
    r"|codepoints-to-string|encode-for-uri|exists|true|false|upper-case|lower-case)\()"  # 3 function
    r"|((?:doc|doc-available|document|collection|unparsed-text|unparsed-text-lines|environment-variable"
    r"|system-property|static-base-uri|current-dateTime|fn:\w+|saxon:\w+|xdmp:\w+)\()"  # 4 function that reaches out
    r"|(//?(?=[\w*@.]|$)|//?)"  # 5 path
    r"|((?:or|and|div|mod)(?![\w-]))"  # 6 logical
    r"|(\"[^\"]*+\"|'[^']*+')"  # 7 string
    r"|([<>!]?=|[<>])"  # 8 comparison
    r"|(@?[\w.:-]++|\.\.?|@\*)"  # 9 name or number
    r"|([\[\]()|*,+])"  # 10 punctuation
    r"|(['\"][\s\S]*+)"  # 11 string that the end cuts off
    r"|(\S)|\Z)",  # 12 anything else
    re.IGNORECASE,
)
_KINDS: Final = ("", "x", "N", "f", "D", "/", "&", "s", "=", "w", "", "t", "?")
_TOKENS_CAP: Final = 400
_CLOSES: Final = re.compile(r"[\s)\]]*+(?:or\b|and\b|\]|\[|\||/|,\s*+[\w:-]++\()", re.IGNORECASE)
# A path or node function within a condition; or another path after the one that the value ended.
_NODES: Final = re.compile(r"N|x[*wNf]|D|f\(*(?:/|N|x|f\(*(?:N|/|x))")
_PREDICATE: Final = re.compile(r"\]\[[wNxfsD]+[\](=]")
_JOINED: Final = re.compile(r"[\])s]*\|/[*w/x@]?")
_BOOLEAN: Final = re.compile(
    r"['\"][\s)\]]{0,8}(?:or|and)\s{1,8}(?:not\s{0,4}\(\s{0,4}){0,4}(?:true|false)\s{0,4}\(\s{0,4}\)|^\s{0,4}\d{1,8}\s{1,4}(?:or|and)\s{1,4}(?:true|false)\(\)",
    re.IGNORECASE,
)
_TESTS: Final = (
    r"(?:contains|starts-with|ends-with|exists|empty|matches|string-length|normalize-space|translate|boolean|lower-case"
    r"|upper-case)"
)
# After a quote that ends the value: a function in a condition, or a path that goes on from there.
_GOES_ON: Final = re.compile(
    rf"['\"][\s)\]]{{0,8}}(?:(?:or|and)\s{{1,8}}(?:not\s{{0,4}}\(\s{{0,4}})?(?:{_TESTS}\s{{0,4}}\(|\.{{1,2}}/[\w*@./]|php:function\w{{0,8}}\("
    r"|[a-z][a-z:-]{1,30}\(\s{0,4}(?:/|\.{1,2}\s{0,4}[)/]|@)|\.{1,2}\s{0,4}(?:!?=|[<>]|(?:or|and)\b)|@(?:\*|\w{1,32})\s{0,4}(?:\[|(?:or|and)\b))"
    r"|(?:(?:union|intersect|except)\s{1,8}|!?=\s{0,4})//[\w*@]|/(?:\.\.(?:/|\[|$)|/\*|[a-z-]{1,24}::)|\}\s{0,4}<\w{1,32}>\s{0,4}\{)",
    re.IGNORECASE,
)
# A predicate or path that the application began, and another one after it.
_LEAVES: Final = re.compile(
    r"^[^\[\]'\"]{0,48}\]\s{0,4}(?:or\s{1,4}|and\s{1,4}|\|\s{0,4})//?[\w*@.]|^[\w.]{1,24}\s?\|\s?//[\w*@]{1,48}(?:$|[\[/|])",
    re.IGNORECASE,
)
# A path between two words of a condition, with nothing around it; "and/or" is none.
_BETWEEN: Final = re.compile(
    r"['\"][\s)\]]{0,8}(?:or|and)\s{0,8}(?:/\*|//(?:\*|[a-z_][\w.-]{0,32})|/(?!or\b|and\b)[a-z_][\w.-]{0,32}(?=\s{1,8}(?:or|and)\b)"
    r"|(?<=\s)[a-z_]\w{0,24}(?:/[\w*@.]{1,24}){1,4}\[[^\]'\"]{1,40}\])\s{0,8}(?:or\b|and\b|['\"=|\]])",
    re.IGNORECASE,
)
# A query of XQuery over a document, as a whole.
_QUERY: Final = re.compile(
    r"\b(?:let\s{1,8}\$\w{1,32}\s{0,8}:=|(?:for|some|every)\s{1,8}\$\w{1,32}\s{1,8}in)\s{0,8}\(?\s{0,8}(?://?[\w*@]|(?:fn:)?(?:doc|collection)\(|db:\w)",
    re.IGNORECASE,
)
# Functions of databases and processors of XQuery that leave the document.
_MODULES: Final = re.compile(
    r"(?<![\w:])(?:proc:(?:system|execute|fork)|file:(?:read-\w{1,12}|write(?:-\w{1,12})?|append\w{0,8}|list|exists|delete|children)|db:(?:open|list|get|drop\w{0,8}|create\w{0,8}|put|add|delete|info|system)"
    r"|(?:xmldb|sm|admin|repo|user):[a-z]{3,12}(?:-[a-z]{2,12}){0,3}|(?:util|xquery):eval(?:-\w{1,12})?|http:send-request|fetch:(?:text|xml|binary|doc)|sql:(?:execute|connect|init)|system:[a-z]{3,12}-[a-z-]{2,24})\s{0,4}\((?=\s{0,4}[)'\"<$\d/])",
)
_SECRET_PATH: Final = re.compile(
    r"\s{0,4}/{1,2}[\w:*-]{1,32}\[[^\]\r\n]{1,80}\](?:/[\w:*-]{1,32}){0,3}/(?:\w{0,16}passw\w{0,8}|pwd|secret|token|api_?key|ssn)\s{0,4}",
    re.IGNORECASE,
)
_GLUED: Final = re.compile(
    r"\b(?:concat|string-join|contains|substring)\(\s{0,4}['\"][^'\"]{0,24}['\"]\s{0,4},\s{0,4}//?[\w*]", re.IGNORECASE
)
_COMMENT: Final = re.compile(r"\(:[^:]{0,80}:\)")
# A query of XQuery after a quote that ends the value.
_FLOWER: Final = re.compile(
    r"['\"][\s)\]},]{0,8}(?:or\s{1,8}|and\s{1,8}|return\s{1,8}(?:\$\w{1,32}\s{0,8},\s{0,8})?)?[\s(]{0,8}(?:let\s{1,8}\$\w{1,32}\s{0,8}:=|for\s{1,8}\$\w{1,32}\s{1,8}in\s|(?:some|every)\s{1,8}\$\w{1,32}\s{1,8}in\s)"
)
_ALWAYS: Final = re.compile(
    r"/[\w.:*-]{1,64}\[\s{0,4}(?:[^\]\r\n]{0,120}?\b(?:or|and)\s{1,8})?(['\"]?)([\w.-]{0,16})\1\s{0,4}=\s{0,4}\1\2\1\s{0,4}\]",
    re.IGNORECASE,
)
# What reads a document step by step, without knowing what is in it; and what a document should not tell.
_COUNTS: Final = re.compile(
    r"\bposition\(\)\s{0,4}[=<>]|\bchild::node\(\)|::\*|/\*\[\d{1,4}\]|\b(?:local-)?name\(\s{0,4}[/.*]", re.IGNORECASE
)
_NAMES: Final = re.compile(r"(?:(?:local-)?name|namespace-uri)\(\s{0,4}(?://?[\w*]|\.\.)", re.IGNORECASE)
_HIDDEN: Final = re.compile(r"/[\w:-]{0,24}(?:passw|passwd|pwd|secret|token|ssn|salary|credit|apikey)", re.IGNORECASE)
# Paths into pages are what people who test or read them write all day.
_PAGE: Final = re.compile(
    r"/{1,2}(?:html|head|body|div|span|p|a|[ou]l|li|d[ltd]|table|t(?:body|head|foot|[rdh])|h[1-6]|img|form|input|button|section|article|main"
    r"|header|footer|nav|script|meta|link|title|option|select|label|iframe|item|entry|url|loc)(?![\w-])|@",
    re.IGNORECASE,
)
_CONDITION: Final = re.compile(r"&[(!]*(?:N|f|x|D|/)")


def scan(text: str, _kind: PlaceKind) -> Sequence[Signal]:
    """Judge a value: signals of confidence 0.3 and above, the strongest first. Linear in the text."""
    if "%20" in text:
        return ()  # its decoded view is judged; here prose would not look like prose
    if "(:" in text:
        text = _COMMENT.sub(_blank, text)
    best: dict[str, Signal] = {}
    for signal in _signals(text):
        known = best.get(signal.rule)
        if known is None or known.confidence < signal.confidence:
            best[signal.rule] = signal
    return sorted(best.values(), key=lambda signal: signal.confidence, reverse=True)[:8]


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


def _read(text: str, start: int) -> tuple[str, list[int]]:
    kinds: list[str] = []
    starts: list[int] = []
    for match in _TOKEN.finditer(text, start):
        group = match.lastindex
        if group is None or len(kinds) >= _TOKENS_CAP:
            break
        kinds.append(_KINDS[group] or match[group])
        starts.append(match.start(group))
    return "".join(kinds), starts


def _signals(text: str) -> Iterator[Signal]:
    length = len(text)
    yield from _phrases(text)
    for quote in "'\"":
        at = text.find(quote)
        if at >= 0 and _CLOSES.match(text, at + 1):
            kinds, starts = _read(text, at + 1)
            if starts:
                # Sentences quote words, and go on with paths and comments.
                prose = plain_words(text, 0, at, limit=3) >= 3 or plain_words(text, limit=7) >= 7
                for signal in _broken(text, kinds, at, length):
                    yield signal._replace(confidence=signal.confidence - 0.35) if prose else signal
    kinds, starts = _read(text, 0)
    if not starts:
        return
    words = plain_words(text, limit=6)
    joined = kinds.find("|/")
    if joined >= 0:
        bracketed = joined > 0 and kinds[joined - 1] == "]"
        node = kinds[joined + 2 : joined + 3] in ("*", "w", "/", "x", "@")
        sure = 0.93 if bracketed else 0.85 if node and words <= 1 and kinds[joined + 2 : joined + 3] != "w" else 0.4
        yield Signal("xpath-path", _HIGH, sure, starts[joined], length)
    condition = _CONDITION.search(kinds)
    nodes = _NODES.search(kinds)
    compared = "=" in kinds or "/" in kinds or "," in kinds
    if condition is not None and nodes is not None and words <= 2 and compared:
        yield Signal(
            "xpath-condition", _HIGH, 0.85 if condition.start() <= 2 else 0.6, starts[condition.start()], length
        )
    elif nodes is not None:
        sure = _alone(text[starts[0] :], kinds, nodes, words)
        if sure >= 0.3:
            yield Signal("xpath-function", _HIGH if sure > 0.8 else _MEDIUM, sure, starts[nodes.start()], length)


def _alone(text: str, kinds: str, nodes: re.Match[str], words: int) -> float:
    """How sure nodes are without a condition."""
    if words > 2:
        return 0.3
    found = nodes[0]
    if found[0] == "x" and found[1] == "w":
        return 0.3 if kinds[nodes.end() : nodes.end() + 1] == "(" else 0.6
    if found[0] in "fx":
        return 0.85 if "=" in kinds or ("/" in found and "[" not in kinds[: nodes.start()]) or found[0] == "x" else 0.55
    if found == "D":
        return 0.85 if nodes.start() <= 1 and ("//" in text or "concat" in text) else 0.3
    if kinds[0] == "/" and _PAGE.search(text) is None and (_COUNTS.search(text) or _HIDDEN.search(text)):
        return 0.85
    return (
        0.85
        if _NAMES.match(text)
        else 0.75
        if "/" in kinds and "[" in kinds
        else 0.6
        if kinds[0] in "/N" and "=" in kinds
        else 0.3
    )


def _phrases(text: str) -> Iterator[Signal]:
    """Find what only XPath and XQuery say, wherever it stands."""
    if _SECRET_PATH.fullmatch(text) is not None:
        yield Signal("xpath-path", _HIGH, 0.82, 0, len(text))
    for rule, pattern in _PHRASES:
        for count, match in enumerate(pattern.finditer(text)):
            quote = match[0][0]
            if count >= _QUOTES or (quote in "'\"" and text.count(quote, 0, match.start()) % 2):
                continue  # this quote ends a text that the value began
            prose = plain_words(text, 0, match.start(), limit=3) >= 3 or plain_words(text, limit=6) >= 6
            yield Signal(rule, _HIGH, 0.5 if prose and rule != "xpath-query" else 0.9, match.start(), len(text))
            break


_PHRASES: Final = (
    ("xpath-condition", _BOOLEAN),
    ("xpath-query", _FLOWER),
    ("xpath-condition", _BETWEEN),
    ("xpath-over", _QUERY),
    ("xpath-module", _MODULES),
    ("xpath-function", _GLUED),
    ("xpath-condition", _ALWAYS),
    ("xpath-path", _GOES_ON),
    ("xpath-path", _LEAVES),
)
_QUOTES: Final = 8


def _broken(text: str, kinds: str, at: int, length: int) -> Iterator[Signal]:
    """What follows a quote that ended the value."""
    rest = kinds.lstrip(")")
    if _JOINED.match(rest):
        yield Signal("xpath-path", _HIGH, 0.95, at, length)
    elif rest.startswith(",D"):
        yield Signal("xpath-function", _HIGH, 0.9, at, length)
    elif rest.startswith("]") and ("/" in rest or _PREDICATE.match(rest) is not None):
        yield Signal("xpath-path", _HIGH, 0.9, at, length)
    elif rest[:1] in ("&", "]") and _NODES.search(rest):
        yield Signal("xpath-condition", _HIGH, 0.94, at, length)
    elif rest[:2] == "&/" and rest[2:3] in ("*", "w", "@", "x") and "/* " not in text:
        yield Signal("xpath-path", _HIGH, 0.85, at, length)
    elif rest[:1] == "&" and "&[" not in rest and ("f" in rest and "@" not in rest[:1] and "/" in rest):
        yield Signal("xpath-condition", _HIGH, 0.8, at, length)


DETECTOR: Final = Detector(
    name="xpath",
    category=ThreatClass.XPATH_INJECTION,
    owasp="A03:2021",
    triggers=(
        r"\]\s{0,8}(?:\||/)|\|\s{0,8}//?[a-z*@.]|\|\s{0,8}//",
        r"\b(?:ancestor|attribute|child|descendant|following|namespace|parent|preceding|self)[a-z-]{0,16}::",
        r"\b(?:text|node|comment|position|last|name|local-name|namespace-uri|processing-instruction)\(\s{0,4}[)/.@*]",
        (
            r"\b(?:count|string-length|substring|contains|starts-with|normalize-space|string|name|boolean|not|sum|concat)\(\s{0,4}"
            r"(?:/|\.|[a-z-]{2,24}\(|[a-z]{4,12}::|@)"
        ),
        r"\b(?:doc|doc-available|document|unparsed-text|collection)\(\s{0,4}['\"c]",
        rf"['\"][\s)\]]{{0,8}}(?:or|and)\s{{1,8}}(?:not\s{{0,4}}\(\s{{0,4}})?(?:{_TESTS}\s{{0,4}}\(|\.|php:function|@|[a-z][a-z:-]{{1,30}}\(\s{{0,4}}[/.@])",
        r"['\"][\s)\]]{0,8}(?:(?:union|intersect|except)\s{1,8}|!?=\s{0,4})//|['\"][\s)\]]{0,8}/(?:\.\.(?:/|\[|$)|/\*|[a-z-]{1,24}::)|\}\s{0,4}<[a-z0-9_]{1,32}>\s{0,4}\{",
        r"(?:true|false)\s{0,4}\(\s{0,4}\)|(?:let|for|some|every)\s{1,8}\$[a-z0-9_]{1,32}\s{0,8}(?::=|in\s)",
        r"/[a-z0-9_.:*-]{1,64}\[|system-property\(|environment-variable\(|current-datetime\(|static-base-uri\(|\b(?:fn|saxon|xdmp):[a-z-]{1,32}\(|['\"]\s{0,4}\]\s{0,4}\[",
        r"['\"][\s)\]]{0,8}(?:or|and)\s{0,8}//?[a-z_*]|['\"][\s)\]]{0,8}(?:or|and)\s{1,8}[a-z0-9_]{1,25}/[a-z0-9_*@./]{1,99}\[|\(:[^:]{0,80}:\)",
        r"(?:proc|file|db|xmldb|sm|admin|repo|user|util|xquery|http|fetch|sql|system):[a-z-]{3,48}\s{0,4}\(|(?:concat|string-join|contains|substring)\(\s{0,4}['\"][^'\"]{0,24}['\"]\s{0,4},\s{0,4}/",
        r"['\"]\s{0,8}[)\]]{1,8}\s{0,8}(?:/|\||or\b|and\b)|\b(?:or|and)\s{1,8}//?[a-z*@]",
    ),
    scan=scan,
)
