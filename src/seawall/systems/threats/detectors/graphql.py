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
_MAX_SAME_ALIASES: Final = 5
"""Names that one field may be given where each asks for the same, as no argument tells them apart."""
_MAX_TYPES: Final = 3
"""Names that the type's name may be given; or documents of a batch that ask for nothing else."""
_MAX_TYPES_BATCHED: Final = 6
_MAX_SECRETS: Final = 2
"""Times that one document may ask for somebody's secret, each by another name."""
_INTROSPECTION: Final = frozenset(("__schema", "__type", "_service"))
_TYPENAME: Final = "__typename"
_SECRET: Final = re.compile(
    r"pass(?:word|wd|phrase|code)?(?:_?(?:hash|digest|salt))?|pwd|(?:hashed|encrypted)_?password|reset_?token|(?:access|refresh|auth|api|session)_?token"
    r"|api_?key|secret\w{0,12}|(?:two_?factor|totp|otp|mfa)_?secret|private_?key|ssn|credit_?card\w{0,12}|cvv|salt",
    re.IGNORECASE,
)
# What a caller runs on a host where an argument is for a command, though nothing has to be broken out of.
_COMMAND: Final = re.compile(
    r"(?<![\w])(?:cmd|command|exec|execute|shell|sh|bash|run|script|os_?cmd)\s{0,4}:\s{0,4}\"\s{0,4}(?:/\w{1,16}/){0,3}(?:id|whoami|uname|ls|cat|ifconfig|ipconfig|hostname"
    r"|ps|env|printenv|pwd|netstat|sleep|wget|curl|nc|ncat|ping|nslookup|dir|type|systeminfo|sh|bash|cmd|powershell|rm|touch)(?:\.exe)?(?:\s[^\"]{0,120})?\"",
    re.IGNORECASE,
)
# A secret that is looked for by a part of it, or by what it is not, gives itself away letter by letter.
_GUESSED: Final = re.compile(
    r"(?<![\w])(?:\w{0,16}pass(?:word|wd)?\w{0,12}|pwd|\w{0,12}token|\w{0,12}secret\w{0,8}|api_?key|otp|pin|ssn)\s{0,4}:\s{0,4}\{\s{0,4}_?"
    r"(?:i?like|i?regex|regexp|similar|matches|starts_?with|ends_?with|contains|gte?|lte?|neq?|not|nin?|in)\s{0,4}:",
    re.IGNORECASE,
)
_WRAPPERS: Final = frozenset(("edges", "node", "nodes", "items", "data", "results", "oftype", "on"))
"""Fields between others of which a path says no more with them than without."""
_GATES: Final = re.compile(
    r"(?:(?:apply|use|check|validate|confirm|submit|claim|enter|user|admin|customer|do)_?)?(?:log_?in|sign_?in|auth\w*|otp|totp|mfa|two_?factor|verif\w+|pass\w*|reset\w*|redeem\w*|coupon\w*|voucher\w*|pin|token\w*|session\w*)",
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
    named: Counter[str] = msgspec.field(default_factory=Counter)
    alike: Counter[str] = msgspec.field(default_factory=Counter)
    secrets: int = 0
    probes: int = 0
    spreads: dict[str, set[str]] = msgspec.field(default_factory=dict)


def scan(text: str, _kind: PlaceKind) -> Sequence[Signal]:
    """Judge a document, or several one after the other: signals of 0.3 and above, the strongest first. Linear."""
    shape = _Reader().read(text)
    return sorted((*_signals(shape, len(text)), *_arguments(text)), key=lambda signal: signal.confidence, reverse=True)[
        :8
    ]


def _signals(shape: _Shape, length: int) -> Iterator[Signal]:
    if shape.introspection >= 0:
        # Nobody who uses an application asks what there is to ask for: the application knows.
        yield Signal("graphql-introspection", _HIGH, 0.8, shape.introspection, length)
    most = max(shape.tries.values(), default=0)
    for rule, sure, abused in (
        ("graphql-depth", 0.93, shape.depth > _MAX_DEPTH),
        ("graphql-depth", 0.88, shape.turns > _MAX_TURNS or shape.nested > _MAX_NESTED),
        ("graphql-tries", 0.9 if most > _MAX_SAME // 10 else 0.85, most > _MAX_TRIES),
        ("graphql-aliases", 0.92, shape.aliases > _MAX_ALIASES),
        ("graphql-aliases", 0.85, max(shape.alike.values(), default=0) > _MAX_SAME_ALIASES),
        ("graphql-aliases", 0.85, shape.alike[_TYPENAME] > _MAX_TYPES or shape.probes > _MAX_TYPES_BATCHED),
        ("graphql-secrets", 0.82, shape.secrets > _MAX_SECRETS < max(shape.named.values(), default=0)),
        ("graphql-directives", 0.93, shape.directives > _MAX_DIRECTIVES or shape.same_directives > _MAX_SAME_DIRECTIVE),
        ("graphql-operations", 0.8, shape.operations > _MAX_OPERATIONS),
        ("graphql-repetition", 0.92, max(shape.fields.values(), default=0) > _MAX_SAME),
        ("graphql-cycle", 0.97, _circular(shape.spreads)),
    ):
        if abused:
            yield Signal(rule, _HIGH, sure, 0, length)


def _arguments(text: str) -> Iterator[Signal]:
    """What arguments say that is nothing by itself, but is with their names."""
    command = _COMMAND.search(text)
    if command is not None:
        yield Signal(
            "graphql-command", _HIGH, 0.82, command.start(), command.end(), category=ThreatClass.COMMAND_INJECTION
        )
    guessed = _GUESSED.search(text)
    if guessed is not None:
        yield Signal("graphql-guess", _HIGH, 0.82, guessed.start(), guessed.end())


class _Reader:
    """Reads a document token by token, and counts."""

    __slots__ = (
        "alias",
        "before",
        "brackets",
        "called",
        "field",
        "fragment",
        "last",
        "path",
        "probing",
        "run",
        "same",
        "shape",
    )

    def __init__(self) -> None:
        self.shape = _Shape()
        self.path: list[str] = []
        self.brackets = self.run = 0
        self.alias = self.probing = False
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
            if sign == "(" and self.path:
                self.called = self.field
                shape.alike[self.field] -= self.before == self.field and shape.alike[self.field] > 0
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
            self._leave()
        elif sign == ":":
            shape.aliases += bool(self.path)
            self.alias = bool(self.path)
            shape.fields[self.field] -= bool(self.field)
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

    def _leave(self) -> None:
        """Go up again."""
        if self.path:
            self.path.pop()
            self.shape.probes += self.probing and not self.path
        if not self.path:
            self.fragment = self.field = ""

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
            self._alias(word)
            self.field = word
            self._rest()
            if word in _INTROSPECTION and shape.introspection < 0:
                shape.introspection = start
        self.last = word

    def _alias(self, word: str) -> None:
        """Count a field that was given another name, and one that says who somebody is."""
        shape = self.shape
        if self.alias:
            shape.named[word] += 1
            shape.alike[word] += 1
        elif word == _TYPENAME == self.before:
            shape.alike[word] += 1
        self.probing = word == _TYPENAME and self.before in (word, "{")
        self.alias = False
        shape.secrets += _SECRET.fullmatch(word) is not None

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
