"""Find abuse of GraphQL in a document: introspection, and shapes that make one request cost like thousands.

The document is read once as tokens of the language (October 2021, section 2): names, strings, punctuation. Depth,
aliases and repetitions are counted as they come; nothing is resolved but which fragment spreads which.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["DETECTOR", "scan"]

_MEDIUM, _HIGH = Severity.MEDIUM, Severity.HIGH

_TOKEN: Final = re.compile(
    r"[\s,]*+(?:([a-z_]\w*+)"  # 1 name
    r"|(\"\"\"[\s\S]*?(?:\"\"\"|\Z)|\"(?:[^\"\\\n]++|\\.)*+\"?)"  # 2 string
    r"|(\#[^\n]*+)"  # 3 comment
    r"|(\.\.\.)"  # 4 spread
    r"|(\S)|\Z)",  # 5 punctuation
    re.IGNORECASE,
)
_TOKENS_CAP: Final = 20_000
_MAX_DEPTH: Final = 24
_MAX_ALIASES: Final = 40
_MAX_SAME: Final = 100
_MAX_DIRECTIVES: Final = 20
_MAX_OPERATIONS: Final = 20
_MAX_FRAGMENTS: Final = 500
_INTROSPECTION: Final = frozenset(("__schema", "__type"))


class _Shape(msgspec.Struct):
    """What was counted in a document."""

    depth: int = 0
    aliases: int = 0
    operations: int = 0
    directives: int = 0
    introspection: int = -1
    fields: Counter[str] = msgspec.field(default_factory=Counter)
    spreads: dict[str, set[str]] = msgspec.field(default_factory=dict)


def scan(text: str, _kind: PlaceKind) -> Sequence[Signal]:
    """Judge a document: signals of confidence 0.3 and above, the strongest first. Linear in the text."""
    shape = _read(text)
    return sorted(_signals(shape, len(text)), key=lambda signal: signal.confidence, reverse=True)[:8]


def _signals(shape: _Shape, length: int) -> Iterator[Signal]:
    if shape.introspection >= 0:
        yield Signal("graphql-introspection", _MEDIUM, 0.6, shape.introspection, length)
    if shape.depth > _MAX_DEPTH:
        yield Signal("graphql-depth", _HIGH, 0.93, 0, length)
    if shape.aliases > _MAX_ALIASES:
        yield Signal("graphql-aliases", _HIGH, 0.92, 0, length)
    if shape.directives > _MAX_DIRECTIVES:
        yield Signal("graphql-directives", _HIGH, 0.93, 0, length)
    if shape.operations > _MAX_OPERATIONS:
        yield Signal("graphql-operations", _HIGH, 0.8, 0, length)
    if shape.fields and max(shape.fields.values()) > _MAX_SAME:
        yield Signal("graphql-repetition", _HIGH, 0.92, 0, length)
    if _circular(shape.spreads):
        yield Signal("graphql-cycle", _HIGH, 0.97, 0, length)


def _read(text: str) -> _Shape:  # noqa: C901, PLR0912 - one pass over the tokens
    shape = _Shape()
    depth = brackets = run = 0
    before = last = ""
    fragment = ""
    for count, match in enumerate(_TOKEN.finditer(text)):
        group = match.lastindex
        if group is None or count >= _TOKENS_CAP:
            break
        word = match[group]
        if group == 5:
            if word == "{" and not brackets:
                depth += 1
                shape.depth = max(shape.depth, depth)
                shape.operations += depth == 1 and not fragment
            elif word == "}" and not brackets:
                depth -= 1
                fragment = fragment if depth > 0 else ""
            elif word in "([":
                brackets += 1
            elif word in ")]" and brackets:
                brackets -= 1
            elif word == ":" and not brackets and depth > 0:
                shape.aliases += 1
        elif group == 1:
            if before == "@":
                run += 1
                shape.directives = max(shape.directives, run)
            elif before == "..." and word != "on":
                if fragment and len(shape.spreads) < _MAX_FRAGMENTS:
                    shape.spreads.setdefault(fragment, set()).add(word)
                run = 0
            elif last == "fragment" and not depth:
                fragment = word
            elif depth and not brackets:
                shape.fields[word] += 1
                run = 0
                if word in _INTROSPECTION and shape.introspection < 0:
                    shape.introspection = match.start(1)
            last = word
        if group != 3:
            before = word
    return shape


def _circular(spreads: dict[str, set[str]]) -> bool:
    """Tell whether a fragment spreads itself, at once or through others.

    Those that spread none of those left are taken away in turn; a circle is what cannot be.
    """
    left = {name: names & spreads.keys() for name, names in spreads.items()}
    users: dict[str, list[str]] = {name: [] for name in left}
    for name, names in left.items():
        for used in names:
            users[used].append(name)
    done = [name for name, names in left.items() if not names]
    for name in done:
        for user in users[name]:
            left[user].discard(name)
            if not left[user]:
                done.append(user)
    return len(done) < len(left)


DETECTOR: Final = Detector(
    name="graphql",
    category=ThreatClass.GRAPHQL_ABUSE,
    owasp="A05:2021",
    triggers=(r"\{",),
    scan=scan,
    kinds=frozenset((PlaceKind.GRAPHQL,)),
)
