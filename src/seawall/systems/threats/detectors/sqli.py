"""Find SQL injection: a value read as SQL, as it is and as what breaks out of each kind of quotes."""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.detectors.prose import PROSE_AROUND, is_sentence, plain_words
from seawall.systems.threats.detectors.sql_bare import bare
from seawall.systems.threats.detectors.sql_breaks import broken
from seawall.systems.threats.detectors.sql_folding import folded
from seawall.systems.threats.detectors.sql_fragments import fragments, hexadecimal, rejoined, undoubled
from seawall.systems.threats.detectors.sql_lexer import Tokens, lowered, read
from seawall.systems.threats.detectors.sql_scripts import accounts, script
from seawall.systems.threats.detectors.sql_statements import wanted
from seawall.systems.threats.detectors.sql_triggers import TRIGGERS
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["DETECTOR", "scan"]

_ENCODED: Final = re.compile(r"%(?:2[0-9a-fA-F]|3[b-fB-F]|0[09aAdD])")
# A plus sign that was a space in a URL, next to a keyword.
_PLUS: Final = re.compile(
    r"\+{0,8}(?:/\*!?\d{0,6})?\b(?:or|and|union|all|select|from|where|order|group|having|by|like|not|waitfor|delay|exec|update|set"
    r"|insert|into|values|delete|drop|table|limit|sleep|as|in|is|between|rlike|regexp|case|when|then|else|end)\b(?:\*/)?\+{0,8}"
    r"|\+(?=--|#|/\*)|--\+"
)
# Servers that convert to a narrower character set turn these into apostrophes.
_QUOTES: Final = {0x2018: "'", 0x2019: "'", 0x02BC: "'", 0x2032: "'", 0xB4: "'", 0xFF07: "'", 0xFF02: '"'}
_CURLY: Final = re.compile("[" + "".join(map(chr, _QUOTES)) + "]")
_DOUBLED: Final = re.compile(r'""[\s)]*+(?:or|and|union|having|order|--|;|=|\|\|)')
_SIGNALS_CAP: Final = 8
_SENTENCE_LENGTH: Final = 24
"""Characters that so many words take at least."""
_SURE: Final = 0.9
_ACTED_UPON: Final = 0.75
_STRICT: Final = 0.6
"""Sure enough of a whole statement to act upon it where none is due."""
_SCRIPT: Final = 0.55
_SCRIPT_ELSEWHERE: Final = 0.65
_WORDS: Final = 2
_QUOTED: Final = 0.45
"""Not enough to act upon, however many values of a request are so."""
_STATEMENT: Final = re.compile(
    r"\s*+(?:select|insert|update|delete|create|alter|drop|with|explain|replace|begin)[\s`'\"(*]"
)
_VERBS: Final = (
    "select ",
    "insert ",
    "update ",
    "delete ",
    "drop ",
    "create ",
    "alter ",
    "exec",
    "truncate ",
    "grant ",
)
_QUERY_WITHIN: Final = re.compile(r"(?:union|all|distinct|except|intersect|minus|\()\s*+select\b")
_AFTER_APOSTROPHE: Final = re.compile(
    r"'(?:x?or|and|union|[ri]?like|regexp|glob|in|is|between|not|div|mod|having|group|order|limit|where|procedure|into"
    r"|select|as|collate|escape|sounds|similar)\b"
)
_BODIES: Final = frozenset(
    (PlaceKind.JSON, PlaceKind.FORM, PlaceKind.MULTIPART, PlaceKind.XML, PlaceKind.GRAPHQL, PlaceKind.BODY)
)
"""Places where developers' tools put statements; nothing runs what stands in a path or a query as one."""
_DOUBT: Final = 0.3
# White space that keyboards do not have, next to an operator.
_ODD_SPACE: Final = re.compile(r"\d[\x0b\x0c](?:or|and|union|x?or|\|\||&&)[\x0b\x0c]")
# Keywords that a function is to turn round, or without a space between them after an operand.
_BACKWARDS: Final = re.compile(
    r"reverse\s?\(\W{0,3}(?:noinu|tceles|morf|erehw|redro|retfa|peels|dna|ro)\b|^\W{0,6}\d{1,9}\W{0,6}unionselect\b"
)
_VALUES_CAP: Final = 16
_VALUE: Final = re.compile(r"(?<==)([^&#]{3,200}+)")
_CERTAIN: Final = 0.95
"""Nothing more is looked for then."""


def scan(text: str, kind: PlaceKind) -> Sequence[Signal]:  # noqa: C901 - one step after another
    """Judge a value: signals of confidence 0.3 and above, the strongest first, one a rule.

    About 10 us for 50 characters; linear in the text, of which the first 1,500 tokens are read.
    """
    if "%" in text and _ENCODED.search(text):
        return ()  # its decoded view is judged; here words would run into digits
    lower = folded(_folded(text))
    if is_sentence(lower) and not _in_words(lower):
        return ()
    best: dict[str, Signal] = {}
    for signal in _breaks(lower):
        _keep(best, signal)
    strongest = max((signal.confidence for signal in best.values()), default=0.0)
    whole = _whole(text, lower, kind) if strongest < _ACTED_UPON and _STATEMENT.match(lower) else None
    if whole is not None:
        if whole.confidence <= _SCRIPT_ELSEWHERE:
            return (whole,)
        _keep(best, whole)
    for signal in _hidden(lower):
        _keep(best, signal)
    if strongest < _SURE:
        if '""' in lower and _DOUBLED.search(lower):
            lower = lower.replace('""', '"')
        for signal in _outside(lower, strict=kind not in _BODIES):
            _keep(best, signal)
        for signal in _asked(lower):
            _keep(best, signal)
    return sorted(best.values(), key=_confidence, reverse=True)[:_SIGNALS_CAP]


def _whole(text: str, lower: str, kind: PlaceKind) -> Signal | None:
    """Judge a value that begins with a statement and may be nothing else."""
    tokens = read(lower)
    if len(tokens.kinds) <= _WORDS:
        return None
    if accounts(tokens, strict=kind not in _BODIES):
        return Signal("sqli-statement", Severity.HIGH, 0.86, 0, len(lower))
    sure = script(lower, tokens, strict=kind not in _BODIES)
    if sure:
        if kind not in _BODIES and sure >= _STRICT and wanted(tokens, 0) and not _is_object(tokens, text):
            return Signal("sqli-statement", Severity.HIGH, 0.86, 0, len(lower))
        most = _SCRIPT if kind in _BODIES else _SCRIPT_ELSEWHERE
        return Signal("sqli-statement", Severity.HIGH, min(sure, most), 0, len(lower))
    return None


def _is_object(tokens: Tokens, text: str) -> bool:
    """Tell whether a query asks for what is named as classes are, as the interfaces of some services take it."""
    source = tokens.kinds.find("F") + 1
    if not source or source >= len(tokens.starts) or tokens.texts[1] == "*" or len(text) < tokens.starts[-1]:
        return False
    name = text[tokens.starts[source] :][: len(tokens.texts[source])]
    return tokens.kinds[source] == "s" or (name[:1].isupper() and name[1:2].islower())


def _in_words(lower: str) -> bool:
    """Tell whether a text without operators and quotes may still be SQL."""
    if "select" in lower and _QUERY_WITHIN.search(lower):
        return True
    if "waitfor" in lower or "true" in lower or "null" in lower or "false" in lower:
        return True
    if "'" in lower and _AFTER_APOSTROPHE.search(lower):
        return True
    return lower.lstrip().startswith(_VERBS)


def _hidden(lower: str) -> Iterator[Signal]:
    """Judge the form of a value: a fragment that probes, or what a filter or a database is to put together."""
    yield from fragments(lower)
    if lower.startswith("0x"):
        told = hexadecimal(lower)
        if told:
            best = max((signal.confidence for signal in scan(told, PlaceKind.QUERY)), default=0.0)
            yield Signal("sqli-hidden", Severity.HIGH, best, 0, len(lower))
        return
    if _BACKWARDS.search(lower):
        yield Signal("sqli-hidden", Severity.HIGH, 0.9, 0, len(lower))
    if ("/*" in lower or "<" in lower or ">" in lower) and rejoined(lower) != lower:
        yield Signal("sqli-hidden", Severity.HIGH, 0.9, 0, len(lower))
    whole = undoubled(lower)
    if whole != lower:
        best = max((signal.confidence for signal in (*_breaks(whole), *_outside(whole))), default=0.0)
        yield Signal("sqli-hidden", Severity.HIGH, 0.9 if best >= _DOUBT else 0.4, 0, len(lower))
    elif ("\x0b" in lower or "\x0c" in lower) and _ODD_SPACE.search(lower):
        best = max((signal.confidence for signal in _outside(lower)), default=0.0)
        yield Signal("sqli-hidden", Severity.HIGH, 0.86 if best >= _DOUBT else 0.0, 0, len(lower))


def _outside(lower: str, *, strict: bool = False) -> list[Signal]:
    """Judge a value as what stands without quotes, where nothing but a number or a name is due: no sentence is."""
    found: list[Signal] = []
    for signal in bare(read(lower), len(lower), strict=strict):
        found.append(signal)
        if signal.confidence >= _CERTAIN:
            break
    first = min((signal.start for signal in found), default=0)
    if first > _SENTENCE_LENGTH and plain_words(lower, 0, first) >= PROSE_AROUND:
        best = max(found, key=_confidence)
        return [best._replace(confidence=min(best.confidence, _QUOTED))]
    return found


def _asked(lower: str) -> Iterator[Signal]:
    """Judge the values in the query of an address, as a referer is."""
    if not lower.startswith("http"):
        return
    at = max(lower.find("?"), 0)
    for part in islice(_VALUE.finditer(lower, at), _VALUES_CAP):
        value = part[1]
        if plain_words(value) >= PROSE_AROUND - 1:
            continue
        for signal in (*_breaks(value), *_hidden(value), *_outside(value)):
            yield signal._replace(start=part.start(1), end=part.end(1))


def _breaks(lower: str) -> Iterator[Signal]:
    """Judge a value as what leaves each kind of quotes that are in it."""
    for quote in "'\"":
        if quote in lower:
            yield from broken(lower, quote)
    if "`" in lower and "```" not in lower:
        # Of backticks, of which Markdown is full, only what is sure.
        yield from (signal for signal in broken(lower, "`") if signal.confidence >= _SURE)
    if '""' in lower and _DOUBLED.search(lower):
        # Quotes that were doubled on the way, as in CSV. Spans are about those of the text as it came.
        for signal in broken(lower.replace('""', '"'), '"'):
            yield signal._replace(end=len(lower))


def _folded(text: str) -> str:
    """Put a value in lower case, with apostrophes and spaces where a database would see them; as long as it was."""
    lower = lowered(text)
    if "+" in lower and _PLUS.search(lower):
        lower = _PLUS.sub(_spaced, lower)
    if not lower.isascii() and _CURLY.search(lower):
        lower = lower.translate(_QUOTES)
    return lower


def _spaced(match: re.Match[str]) -> str:
    return match[0].replace("+", " ")


def _keep(best: dict[str, Signal], signal: Signal) -> None:
    if signal.confidence >= 0.3:
        known = best.get(signal.rule)
        if known is None or known.confidence < signal.confidence:
            best[signal.rule] = signal


def _confidence(signal: Signal) -> float:
    return signal.confidence


DETECTOR: Final = Detector(
    name="sqli",
    category=ThreatClass.SQL_INJECTION,
    owasp="A03:2021",
    triggers=TRIGGERS,
    scan=scan,
)
