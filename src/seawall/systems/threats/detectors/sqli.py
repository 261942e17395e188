"""Find SQL injection: a value read as SQL, as it is and as what breaks out of each kind of quotes."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.detectors.prose import PROSE_AROUND, plain_words
from seawall.systems.threats.detectors.sql_bare import bare
from seawall.systems.threats.detectors.sql_breaks import broken
from seawall.systems.threats.detectors.sql_lexer import lowered, read
from seawall.systems.threats.model import PlaceKind, ThreatClass

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
_DOUBLED: Final = re.compile(r'""[\s)]*+(?:or|and|union|having|order|--|;|=|\|\|)')
_SIGNALS_CAP: Final = 8
_SENTENCE_LENGTH: Final = 24
"""Characters that so many words take at least."""
_SURE: Final = 0.9
_CERTAIN: Final = 0.95
"""Nothing more is looked for then."""


def scan(text: str, _kind: PlaceKind) -> Sequence[Signal]:
    """Judge a value: signals of confidence 0.3 and above, the strongest first, one a rule.

    About 10 us for 50 characters; linear in the text, of which the first 1,500 tokens are read.
    """
    if "%" in text and _ENCODED.search(text):
        return ()  # its decoded view is judged; here words would run into digits
    lower = _folded(text)
    best: dict[str, Signal] = {}
    sure = False
    for signal in _breaks(lower):
        sure |= signal.confidence >= _SURE
        _keep(best, signal)
    if not sure:
        if '""' in lower and _DOUBLED.search(lower):
            lower = lower.replace('""', '"')
        for signal in _outside(lower):
            _keep(best, signal)
    return sorted(best.values(), key=_confidence, reverse=True)[:_SIGNALS_CAP]


def _outside(lower: str) -> list[Signal]:
    """Judge a value as what stands without quotes, where nothing but a number or a name is due: no sentence is."""
    found: list[Signal] = []
    for signal in bare(read(lower), len(lower)):
        found.append(signal)
        if signal.confidence >= _CERTAIN:
            break
    first = min((signal.start for signal in found), default=0)
    if first > _SENTENCE_LENGTH and plain_words(lower, 0, first) >= PROSE_AROUND:
        return [signal._replace(confidence=min(signal.confidence, 0.5)) for signal in found]
    return found


def _breaks(lower: str) -> Iterator[Signal]:
    """Judge a value as what leaves each kind of quotes that are in it."""
    for quote in "'\"":
        if quote in lower:
            yield from broken(lower, quote)
    if "`" in lower:
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
    if not lower.isascii():
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
    triggers=(
        # A quote and what may follow it in a query.
        (
            "(?:['\"]|\u2019|\u2018)"
            r"[\s)\x00-\x20]{0,20}(?:--|/\*|#[^'\"<>]{0,200}$|;|=|<=>|\|\||&&|!=|<>"
            r"|(?:[<>]=?|[|&+*/%^~,-])[\s(!~+-]{0,12}(?:['\"0-9@(]|null\b|\w{1,30}\s{0,8}\()"
            r"|(?:x?or|and|div|not|[ri]?like|regexp|glob|between|in|is|union|select|having|group|order|limit|into|where|as"
            r"|waitfor|exec|if|begin|declare|procedure|sounds|minus|grant|revoke|truncate|alter|call|except|intersect"
            r"|collate|create|drop|insert|update|delete|shutdown|escape)\b|[0-9a-z_]{1,30}\s{0,8}(?:\(|or\b|and\b|\|\|)"
            r"|\(\s{0,9}(?:select|case))"
        ),
        r"`[\s)]{0,9}(?:(?:or|and|union|where|from|limit|order|having|group|as|in|is|like)\b|;|--|#|/\*|=|\|\||&&)",
        # A condition after a logical operator: a comparison, a call, or a constant and a comment.
        r"(?:\b(?:x?or|and|having|where)\b|\|\||&&)[^a-z][^;]{0,80}[=<>~]",
        (
            r"(?:\b(?:x?or|and|having|where)\b|\|\||&&)[^a-z][^;]{0,60}\b(?:(?:r?like|between|regexp|glob|similar)[^a-z]{1,12}[\w'\"(]"
            r"|is\s{1,8}(?:not\s{1,8})?(?:null|true|false))"
        ),
        r"(?:\b(?:x?or|and|having|where)\b|\|\||&&)[^a-z]{1,40}(?:[a-z0-9_.@'\"]{1,40}[^a-z0-9]{0,12}(?:\(|--|#|/\*)|[(!~-])|\d\s{0,8}(?:x?or|and)\s{0,8}[!~+-]|\bxor\b",
        r"\bunion(?:\W{1,40}|[^;]{0,60}\*/\W{0,9})(?:all|distinct|select|values|table)|\bunion(?:\(|/\*)",
        r"\b(?:except|intersect|minus)\W{1,20}(?:all\W{1,20})?select",
        r"\d(?:union|or|and|order|group|having)\b",
        r"select(?:\W{0,20}[0-9*@'\"(+~!-]|\W{1,20}(?:null|true|distinct|all|top|case|\w{1,30}_user|current_\w{1,20})\b|[\s\S]{1,400}\bfrom\b)",
        r"\b(?:union|all|distinct)\W{1,20}select|select/\*|\bfrom\s{1,8}(?:sys|all_|user_|dba_|v\$|pg_|master\b)",
        # Statements.
        (
            r";\s{0,20}\(?(?:select|insert|update|delete|drop|create|alter|exec|declare|waitfor|shutdown|truncate|set|if|begin"
            r"|call|copy|merge|load|attach|grant|revoke|backup|use|show|do|rename|handler|prepare|while|with|iif|bulk|print"
            r"|vacuum|replace)"
        ),
        (
            r"^\s{0,20}(?:insert|update|delete|drop|create|alter|exec|execute|declare|shutdown|truncate|set|if|load|print|bulk"
            r"|backup|grant|revoke|attach)\b"
        ),
        r"\bwaitfor\b|\b(?:xp|sp)_|\b(?:outfile|dumpfile)\b|@@[a-z]",
        r"\b(?:order|group)[\s+]{1,20}by[\s+]{1,20}[0-9(]",
        (
            r"\b(?:pg_sleep|sleep|exec|execute|benchmark|extractvalue|updatexml|load_file|randomblob|generate_series|name_const|make_set"
            r"|elt|gtid_subset|char|chr|concat|concat_ws|group_concat|if|iif|ascii|substr|substring|mid|hex|unhex|version"
            r"|database|user|convert|cast|regexp_substring|lo_import|lo_export|dblink\w{0,10}|sqlite_version|xmltype)"
            r"(?:\s|/\*[\s\S]{0,40}\*/){0,8}\("
        ),
        r"\b(?:dbms|utl|ctxsys|user_lock)[_.]\w",
        r"\d\)*\s{0,8}(?:;|--|#|/\*)|\d\s{0,4}\)\s{0,4},\s{0,4}\(|\(\d{1,9}\s?=\s?\d",
        r"/\*!|\banalyse\s{0,20}\(",
        r"\bcase\b[\s\S]{0,200}\bwhen\b",
        r"information_schema|sysobjects|syscolumns|pg_catalog|sqlite_master",
    ),
    scan=scan,
)
