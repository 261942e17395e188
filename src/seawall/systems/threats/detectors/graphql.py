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
_MAX_SAME_DIRECTIVE: Final = 4
_MAX_OPERATIONS: Final = 20
_MAX_TRIES: Final = 2
"""Times that one document may ask to be let in; a batch of documents counts as one."""
_MAX_TURNS: Final = 4
"""Times that a path may come back to a field by way of another; by itself (`children {children`) it may more often."""
_MAX_NESTED: Final = 12
_MAX_FRAGMENTS: Final = 500
_INTROSPECTION: Final = frozenset(("__schema", "__type"))
_WRAPPERS: Final = frozenset(("edges", "node", "nodes", "items", "data", "results", "oftype", "on"))
"""Fields between others of which a path says no more with them than without."""
_GATES: Final = re.compile(
    r"log_?in|sign_?in|auth\w*|otp|totp|mfa|two_?factor|verif\w+|pass\w*|reset\w*|redeem\w*|coupon\w*|voucher\w*|pin|token\w*|session\w*",
    re.IGNORECASE,
)
"""What the name of a field begins with that lets somebody in, or pays, when the right words are given to it."""
_PROOFS: Final = re.compile(
    r"(?:pass\w*|pwd|p|pw|otp|pin|code|token|secret|totp|mfa\w*|\w*(?:code|pass(?:word)?|pin|otp))", re.IGNORECASE
)
"""Arguments that somebody without the right words has to guess."""


class _Shape(msgspec.Struct):
    """What was counted in a document."""

    depth: int = 0
    aliases: int = 0
    operations: int = 0
    directives: int = 0
    same_directives: int = 0
    introspection: int = -1
    turns: int = 0
    nested: int = 0
    tries: Counter[str] = msgspec.field(default_factory=Counter)
    fields: Counter[str] = msgspec.field(default_factory=Counter)
    spreads: dict[str, set[str]] = msgspec.field(default_factory=dict)


def scan(text: str, _kind: PlaceKind) -> Sequence[Signal]:
    """Judge a document, or several one after the other: signals of 0.3 and above, the strongest first. Linear."""
    shape = _Reader().read(text)
    return sorted(_signals(shape, len(text)), key=lambda signal: signal.confidence, reverse=True)[:8]


def _signals(shape: _Shape, length: int) -> Iterator[Signal]:
    if shape.introspection >= 0:
        # Tools of developers ask for it; on its own it is worth a mark, and no more.
        yield Signal("graphql-introspection", _MEDIUM, 0.8, shape.introspection, length)
    most = max(shape.tries.values(), default=0)
    for rule, sure, abused in (
        ("graphql-depth", 0.93, shape.depth > _MAX_DEPTH),
        ("graphql-depth", 0.88, shape.turns > _MAX_TURNS or shape.nested > _MAX_NESTED),
        ("graphql-tries", 0.9 if most > _MAX_SAME // 10 else 0.85, most > _MAX_TRIES),
        ("graphql-aliases", 0.92, shape.aliases > _MAX_ALIASES),
        ("graphql-directives", 0.93, shape.directives > _MAX_DIRECTIVES or shape.same_directives > _MAX_SAME_DIRECTIVE),
        ("graphql-operations", 0.8, shape.operations > _MAX_OPERATIONS),
        ("graphql-repetition", 0.92, max(shape.fields.values(), default=0) > _MAX_SAME),
        ("graphql-cycle", 0.97, _circular(shape.spreads)),
    ):
        if abused:
            yield Signal(rule, _HIGH, sure, 0, length)


class _Reader:
    """Reads a document token by token, and counts."""

    __slots__ = ("before", "brackets", "called", "field", "fragment", "last", "path", "run", "same", "shape")

    def __init__(self) -> None:
        self.shape = _Shape()
        self.path: list[str] = []
        self.brackets = self.run = 0
        self.before = self.last = self.field = self.fragment = self.called = ""
        self.same: Counter[str] = Counter()

    def read(self, text: str) -> _Shape:
        """Return what was counted in a text, up to a number of tokens."""
        for count, match in enumerate(_TOKEN.finditer(text)):
            group = match.lastindex
            if group is None or count >= _TOKENS_CAP:
                break
            word = match[group]
            if group == 5:
                self._sign(word)
            elif group == 1:
                self._name(word, match.start(1))
            if group != 3:
                self.before = word
        return self.shape

    def _sign(self, sign: str) -> None:
        shape = self.shape
        if sign in "([":
            self.brackets += 1
            self.called = self.field if sign == "(" and self.path else self.called
        elif sign in ")]":
            self.brackets -= self.brackets > 0
        elif self.brackets:
            if sign == ":" and _PROOFS.fullmatch(self.last) and _GATES.match(self.called):
                shape.tries[self.called] += 1
                self.called = ""  # once for each call
        elif sign == "{":
            shape.operations += not self.path and not self.fragment
            self._enter(self.field)
        elif sign == "}":
            if self.path:
                self.path.pop()
            if not self.path:
                self.fragment = self.field = ""
        elif sign == ":":
            shape.aliases += bool(self.path)
            self.field = ""

    def _enter(self, field: str) -> None:
        """Go down into a field, and see how often the path to it has come this way."""
        shape, path = self.shape, self.path
        if field and field.lower() not in _WRAPPERS and len(path) <= _MAX_DEPTH:
            known = [name for name in path if name and name.lower() not in _WRAPPERS]
            times = known.count(field)
            if times and known[-1] == field:
                shape.nested = max(shape.nested, times + 1)
            elif times:
                shape.turns = max(shape.turns, times + 1)
        path.append(field)
        shape.depth = max(shape.depth, len(path))

    def _name(self, word: str, start: int) -> None:
        shape = self.shape
        if self.before == "@":
            self.run += 1
            self.same[word] += 1
            shape.directives = max(shape.directives, self.run)
            shape.same_directives = max(shape.same_directives, self.same[word])
        elif self.before == "..." and word != "on":
            if self.fragment and len(shape.spreads) < _MAX_FRAGMENTS:
                shape.spreads.setdefault(self.fragment, set()).add(word)
            self._rest()
        elif self.last == "fragment" and not self.path:
            self.fragment = word
            self._rest()
        elif self.path and not self.brackets:
            shape.fields[word] += 1
            self.field = word
            self._rest()
            if word in _INTROSPECTION and shape.introspection < 0:
                shape.introspection = start
        self.last = word

    def _rest(self) -> None:
        """Begin a new row of directives."""
        self.run = 0
        if self.same:
            self.same.clear()


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
