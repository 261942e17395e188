"""Injection into other stores than document databases.

Commands of Redis and memcached on a line of their own, and clauses of graph and wide-column databases after a quote or
bracket that ends what the application wrote.
"""

import re
from collections.abc import Iterator
from typing import Final

from seawall.systems.threats.detector import Signal
from seawall.systems.threats.detectors.prose import plain_words
from seawall.systems.threats.model import Severity

__all__ = ["STORE_TRIGGERS", "stores"]

_HIGH, _CRITICAL = Severity.HIGH, Severity.CRITICAL

_PROSE: Final = 4
"""Plain words from which on a text is about a store rather than sent to one."""
_REDIS: Final = re.compile(
    r"[\r\n]\s{0,4}(?:flush(?:all|db)(?:\s{1,4}a?sync)?|(?:slaveof|replicaof)\s{1,4}\S{1,64}\s{1,4}\w{1,5}|config\s{1,4}(?:set|get)\s{1,4}"
    r"[^\r\n]{1,128}|config\s{1,4}(?:rewrite|resetstat)|eval(?:sha)?\s{1,4}[\"'\w][^\r\n]{0,256}\s\d{1,3}[^\r\n]{0,64}|module\s{1,4}load\s{1,4}[^\r\n]{1,128}"
    r"|script\s{1,4}(?:flush|kill|load[^\r\n]{0,128})|debug\s{1,4}(?:sleep|segfault|reload|object)[^\r\n]{0,64}|bgsave|bgrewriteaof|shutdown(?:\s{1,4}(?:no)?save)?"
    r"|acl\s{1,4}setuser[^\r\n]{0,128}|client\s{1,4}(?:kill|list)[^\r\n]{0,64}|keys\s{1,4}\S{1,64}|monitor|(?:set|append|lpush|rpush|publish)\s{1,4}\S{1,64}\s{1,4}[\"'][^\r\n]{0,256}[\"'])"
    r"\s{0,4}(?:[\r\n]|$)",
    re.IGNORECASE,
)
# The protocol itself: a list of so many strings, the first of so many bytes (Redis serialization protocol).
_PROTOCOL: Final = re.compile(r"(?:^|[\r\n])\*\d{1,3}\r?\n\$\d{1,4}\r?\n[a-z]", re.IGNORECASE)
_MEMCACHED: Final = re.compile(
    r"[\r\n](?:(?:set|add|replace|append|prepend)\s\S{1,250}\s\d{1,10}\s-?\d{1,10}\s\d{1,10}(?:\s\d{1,20})?(?:\snoreply)?[\r\n]"
    r"|flush_all(?:\s\d{1,10})?\s{0,4}(?:[\r\n]|$)|stats\s(?:items|slabs|cachedump\s\d{1,4}\s\d{1,6})\s{0,4}(?:[\r\n]|$))",
    re.IGNORECASE,
)
# Commands that are all of a value: nobody types these by accident, as long as they are in capitals.
_LONE: Final = re.compile(
    r"\s{0,4}(?:FLUSH(?:ALL|DB)(?:\sA?SYNC)?|CONFIG\s(?:SET|GET|RESETSTAT|REWRITE)\b[^\r\n]{0,128}|(?:SLAVEOF|REPLICAOF)\s\S{1,64}\s\S{1,5}|MODULE\sLOAD\s[^\r\n]{1,128}"
    r"|EVAL(?:SHA)?\s[\"'\w][^\r\n]{0,256}\s\d{1,3}(?:\s[^\r\n]{0,64})?|KEYS\s\S{0,32}\*|SCRIPT\s(?:FLUSH|KILL|LOAD\s[^\r\n]{1,128})|DEBUG\s(?:SLEEP|SEGFAULT|RELOAD)[^\r\n]{0,32}|BGSAVE"
    r"|BGREWRITEAOF|SHUTDOWN (?:NO)?SAVE|ACL SETUSER [^\r\n]{1,128}|CLIENT KILL [^\r\n]{1,64})\s{0,4}"
)
_SCRIPTED: Final = re.compile(r"\bredis\.p?call\s{0,4}\(\s{0,4}['\"\[]", re.IGNORECASE)
# Traversals of graphs (Gremlin), whole queries of ArangoDB, parsers that a query of Solr names, scripts and secrets in
# queries of Elasticsearch.
_WHOLE: Final = re.compile(
    r"\bg\.(?:V|E)\([^()]{0,64}\)\.\s{0,4}\w{1,32}\(|\A\s{0,8}FOR\s\w{1,32}\sIN\s\w{1,64}\s(?:[^\r\n]{1,200}\s)?(?:RETURN|REMOVE|UPDATE)\s{1,4}[\w{\[]|\A\s{0,4}\{!(?:xmlparser|func|frange|join|raw"
    r"|e?dismax|graph|parent|child|boost|collapse|rerank)\b[^{}]{0,200}\}|\bctx\._source\.(?i:\w{0,16}(?:role|admin|passw|permission|privilege|balance|scope)\w{0,16})\s{0,4}=(?!=)|(?:\A|\b(?:AND|OR|NOT)\s|[(+])(?i:\w{0,8}(?:passw(?:or)?d|passwd|secret|api_?key)\w{0,8}):[\w/^.\[(]{0,16}\*|\A_exists_:\w{1,64}\Z"
)
_ENDS: Final = r"['\"][\s)}\]]{0,8}"
_CYPHER: Final = re.compile(
    rf"(?:{_ENDS}|[)}}\]]\s{{0,8}})(?:(?:optional\s{{1,8}})?match\s{{0,8}}\(\w{{0,32}}[:)]|return\s{{1,8}}[\w.*(]{{1,64}}\)?(?:\s{{1,8}}as\s{{1,8}}\w{{1,32}})?"
    rf"\s{{0,8}}(?:union\b|limit\b|//|$|;|,)|(?:merge|create)\s{{0,8}}\(\w{{0,32}}:\w)"
    rf"|^[^'\"]{{0,64}}{_ENDS}(?:or\s|and\s|\|\||&&)[^\r\n]{{1,80}}\breturn\s{{1,4}}[\w.*(]{{1,64}}\)?\s{{0,4}}//",
    re.IGNORECASE,
)
_CALLS: Final = re.compile(
    r"\bload\s{1,8}csv\s{1,8}(?:with\s{1,8}headers\s{1,8})?from\s{1,8}['\"$\w]|\bcall\s{1,8}(?:db|apoc|dbms|gds|algo)\.[\w.]{1,64}\s{0,4}[({]?"
    r"|\bunion\s{1,8}(?:all\s{1,8})?(?:match\s{0,8}\(|call\s{1,8}\w{1,32}\.|unwind\b)|\bdetach\s{1,8}delete\s{1,8}\w",
    re.IGNORECASE,
)
_CLAUSE: Final = re.compile(
    rf"{_ENDS}(?:[^\r\n]{{0,200}}?\s)?allow\s{{1,8}}filtering\b"  # Cassandra
    rf"|{_ENDS}(?:\|\||&&|for)\s{{1,8}}\w{{1,32}}\s{{1,8}}in\s{{1,8}}\w{{1,64}}\s"  # ArangoDB
    r"[^\r\n]{0,200}?\b(?:return|remove|update)\s{1,8}\w"
    r"|^[^{]{0,64}\}\s{0,8}(?:union\s{0,8}\{|optional\s{0,8}\{|;\s{0,8}(?:drop|clear|delete|insert)\b)",  # SPARQL
    re.IGNORECASE,
)

STORE_TRIGGERS: Final = (
    r"^\s{0,4}(?:flush(?:all|db)|config\s(?:set|get|re)|(?:slaveof|replicaof)\s|module\sload|eval(?:sha)?\s|keys\s|script\s(?:flush|kill|load)|debug\s|bgsave|bgrewriteaof|shutdown\s|acl\ssetuser|client\skill)",
    r"redis\.p?call\s{0,4}\(|\bg\.[ve]\(|^\s{0,8}for\s[a-z0-9_]{1,32}\sin\s|\{![a-z]|ctx\._source\.|(?:passw(?:or)?d|passwd|secret|api_?key)[a-z0-9_]{0,8}:[a-z0-9_/^.\[(]{0,16}\*|^_exists_:",
    r"[\r\n]\s{0,4}(?:flush(?:all|db|_all)|slaveof|replicaof|config\s|eval|module\s|script\s|debug\s|bgsave|bgrewriteaof|shutdown|acl\s|client\s|keys\s|monitor)",
    r"[\r\n]\s{0,4}(?:(?:set|add|replace|append|prepend|lpush|rpush|publish)\s{1,4}\S{1,64}\s|stats\s(?:items|slabs|cachedump))",
    r"\*[0-9]{1,3}\r?\n\$[0-9]",
    r"[)}\]'\"]\s{0,8}(?:return\s{1,8}[\w.*(]|(?:optional\s{1,8})?match\s{0,8}\(\w{0,32}[:)]|(?:merge|create)\s{0,8}\(\w{0,32}:\w)",
    r"\breturn\s{1,4}[\w.*(]{1,64}\)?\s{0,4}//|['\"]\s{0,8}(?:\|\||&&|for)\s{1,8}\w{1,32}\s{1,8}in\s",
    r"load\s{1,8}csv|detach\s{1,8}delete|call\s{1,8}(?:db|apoc|dbms|gds|algo)\.|union\s{1,8}(?:all\s{1,8})?(?:match|call|unwind)",
    r"allow\s{1,8}filtering|\}\s{0,8}(?:union|optional)\s{0,8}\{|\}\s{0,8};\s{0,8}(?:drop|clear|delete|insert)\b",
)
"""Patterns, one of which is in every value that `stores` finds anything in."""


def stores(text: str) -> Iterator[Signal]:
    """Find commands and clauses of other stores: signals in no order. Linear in the text."""
    lone = _LONE.fullmatch(text)
    if lone is not None:
        yield Signal("nosql-command", _CRITICAL, 0.82, 0, len(text))
    for rule, pattern, sure in (("nosql-command", _SCRIPTED, 0.88), ("nosql-clause", _WHOLE, 0.82)):
        whole = pattern.search(text)
        if whole is not None:
            prose = plain_words(text, limit=_PROSE + 4) >= _PROSE + 4
            yield Signal(rule, _HIGH, 0.5 if prose else sure, whole.start(), whole.end())
    lowered = text.lower()
    for rule, severity, patterns in _RULES:
        for pattern, needed in patterns:
            match = pattern.search(text) if any(word in lowered for word in needed) else None
            if match is None:
                continue
            if rule == "nosql-clause":
                # Those without are queries as a whole, as consoles send them. Clauses have many words of their own.
                broken = _breaks_out(text, match)
                end = match.start()
            else:
                broken, end = True, len(text)
            prose = plain_words(text, 0, end, limit=_PROSE) >= _PROSE
            yield Signal(rule, severity, 0.9 if broken and not prose else 0.5, match.start(), match.end())
            break


def _breaks_out(text: str, match: re.Match[str]) -> bool:
    """Tell whether a quote or bracket is closed, up to the first characters of a match, that the value did not open."""
    head = text[: match.start() + 2]
    return (
        any(head.count(quote) % 2 for quote in "'\"")
        or head.count(")") > head.count("(")
        or head.count("}") > head.count("{")
    )


# Each with what one of is in every text that it matches, which spares looking from each quote on.
_RULES: Final = (
    ("nosql-command", _CRITICAL, ((_REDIS, "\r\n"), (_PROTOCOL, "$"), (_MEMCACHED, "\r\n"))),
    (
        "nosql-clause",
        _HIGH,
        (
            (_CYPHER, ("return", "match", "merge", "create")),
            (_CALLS, ("csv", "call", "union", "detach")),
            (_CLAUSE, ("filtering", " in ", "union", "optional", "drop", "clear", "delete", "insert")),
        ),
    ),
)
