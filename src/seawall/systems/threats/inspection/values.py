"""The head of a request as values: path, query, cookies and header fields; and the basket that values are put in."""

import re
from collections.abc import Sequence
from enum import IntEnum

from seawall.core.request import Header, Request
from seawall.systems.threats.inspection.decoding import decode_bytes, percent_decoded
from seawall.systems.threats.inspection.fastexit import INERT, INERT_TEXT, Seen
from seawall.systems.threats.inspection.nested import nested, unescaped
from seawall.systems.threats.inspection.policy import Caps
from seawall.systems.threats.inspection.sweep import Ends, blind, worth_reading
from seawall.systems.threats.model import PlaceKind

__all__ = [
    "GRAPHQL_DOCUMENT",
    "NAMES_SEEN_AS_PATHS",
    "ODD_CODES",
    "Basket",
    "Item",
    "Scope",
    "add_graphql",
    "add_head",
    "add_nested",
    "add_pairs",
    "is_operator",
]


class Scope(IntEnum):
    """Whom a value is shown to."""

    ALL = 0
    WHOLE = 1
    """A document as a whole, of which the strings are values by themselves: to detectors that name its kind."""
    FILE = 2
    """The text of an uploaded file, which may rightly be anything that is not run on arrival."""
    OBJECT = 3
    """A value that is a JSON document, whose strings are values by themselves: to detectors of what objects may do."""


Item = tuple[PlaceKind, "str | int", str, bool, Scope]
"""(kind, name or the number of a string in a JSON body, text, whether it is a name, scope)."""

GRAPHQL_DOCUMENT = re.compile(
    r"\s{0,64}(?:#[^\n]{0,512}\n\s{0,64}){0,8}(?:\{|(?:query|mutation|subscription|fragment)\b[^{\"']{0,512}\{)"
)
_GRAPHQL_STRING = re.compile(r'"""(.*?)(?:"""|\Z)|"([^"\\\n]*+(?:\\.[^"\\\n]*+)*+)"?', re.DOTALL)
ODD_CODES = re.compile(r"%(?:[^0-9a-fA-F]|[01][^9aAdD]|25|[cC][01]|[eEfF][08]%[89]|[fF][89a-fA-F])")
"""Percent codes that no client makes."""
_PLAIN_PATH = re.compile(rb"(?:/[A-Za-z0-9_-]{0,64}){0,64}(?:\.[A-Za-z0-9]{1,8})?")
# Fields that are read unlike others, so that what is clean in one of them may not be so elsewhere.
_READ_BY_NAME = frozenset({b"cookie", b"host", b"user-agent"})
_BRACKETS = frozenset("{[")
_OPENS = frozenset("{[%")
_NESTING = 3
_MANY = 4
"""Pairs from which on one look at all of them costs less than one at each."""
_SHORT = 16
_DOCUMENTS = ("{", "[", "%7b", "%5b")
# In a name, these begin an expression that goes on in the value; or an operator, which means nothing without it.
_SPLIT = re.compile(r"['\"`\s()<>;|$]|%(?:2[0247-9]|3[bBcCeE]|60|7[cC]|0[9aAdD])")
_HOST = re.compile(rb"[A-Za-z0-9.:_\[\]-]{0,255}")
NAMES_SEEN_AS_PATHS = frozenset({"constructor", "prototype", "__proto__"})
"""Names that mean something only as part of a path; where keys are nested, the path is shown in their place."""


class Basket:
    """What is to be looked at in one request, after inert and known values were left out.

    Args:
        seen: hashes of values known to be clean, by kind of place.
        caps: bounds.
        ends: scans for triggers, so that a body's values need not all be read.

    Attributes:
        items: the values.
        keys: hashes of those that may be remembered when the request turns out to be clean, by kind.
        partial: why not everything was read; empty when all was.
        json_text: the JSON body that numbered names point into.
    """

    __slots__ = ("_left", "_seen", "_work", "caps", "ends", "items", "json_text", "keys", "partial")

    def __init__(self, seen: dict[PlaceKind, Seen], caps: Caps, ends: Ends = blind) -> None:
        self._seen = seen
        self._left = caps.values
        self._work = caps.work
        self.caps = caps
        self.ends = ends
        self.items: list[Item] = []
        self.keys: list[tuple[Seen, list[int]]] = []
        self.partial = ""
        self.json_text = ""

    def room(self, wanted: int) -> int:
        """Return how many more values may be read, at most as many as wanted; note it when those are fewer."""
        granted = min(wanted, self._left)
        self._left -= granted
        if granted < wanted:
            self.partial = self.partial or "values"
        return granted

    def affords(self, characters: int) -> bool:
        """Tell whether a detector may read so many more characters; note it when it may not."""
        self._work -= characters
        if self._work < 0:
            self.partial = self.partial or "work"
            return False
        return True

    def fresh(self, kind: PlaceKind) -> tuple[Seen, list[int]]:
        """Return what is known of a kind, and the list that takes hashes that may be remembered."""
        seen = self._seen[kind]
        keys: list[int] = []
        self.keys.append((seen, keys))
        return seen, keys

    def remember(self) -> None:
        """Remember all values as clean."""
        for seen, keys in self.keys:
            if keys:
                seen.add(keys)

    def add(self, kind: PlaceKind, name: "str | int", text: str, *, is_name: bool = False) -> None:
        """Add a value unless it is inert."""
        if INERT_TEXT.fullmatch(text) is None or (is_name and text in NAMES_SEEN_AS_PATHS):
            self.items.append((kind, name, text, is_name, Scope.ALL))


def add_head(request: Request, basket: Basket) -> None:
    """Add path, query, cookies and header fields."""
    granted = basket.room(len(request.headers))
    _add_fields(request.headers if granted == len(request.headers) else request.headers[:granted], basket)
    seen, keys = basket.fresh(PlaceKind.PATH)
    key = hash(request.target)
    if key in seen:
        return
    keys.append(key)
    text = decode_bytes(request.path)
    basket.items.append((PlaceKind.PATH, "", text, False, Scope.ALL))
    if _PLAIN_PATH.fullmatch(request.path) is None:
        segments = text.split("/")
        for segment in segments[: basket.room(len(segments))]:
            if segment != text:
                basket.add(PlaceKind.PATH, "", segment)
    if request.query:
        add_pairs(decode_bytes(request.query), PlaceKind.QUERY, basket)


def _add_fields(headers: Sequence[Header], basket: Basket) -> None:
    items = basket.items
    seen, keys = basket.fresh(PlaceKind.HEADER)
    young, old = seen.young, seen.old
    for name, value in headers:
        key = hash(value)
        if name in _READ_BY_NAME:
            key = ~key
        if key in young or key in old:
            continue
        if name == b"cookie":
            _add_cookies(value, basket)
        elif name == b"host" and _HOST.fullmatch(value):
            pass
        elif name == b"user-agent" or INERT.fullmatch(value) is None:  # a scanner's name may be one plain word
            items.append((PlaceKind.HEADER, decode_bytes(name), decode_bytes(value), False, Scope.ALL))
        keys.append(key)


def add_pairs(pairs_text: str, kind: PlaceKind, basket: Basket) -> None:  # noqa: C901 - a flat loop, in which a call costs most
    """Add the names and values of `name=value&...`, `+` read as a space; they are percent-decoded as views later."""
    pairs = pairs_text.replace("+", " ").split("&")
    granted = basket.room(len(pairs))
    if granted < len(pairs):
        pairs = pairs[:granted]
    if len(pairs) >= _MANY:
        pairs = _worth_reading(pairs, basket.ends)
    items = basket.items
    seen, keys = basket.fresh(kind)
    young, old = seen.young, seen.old
    inert = INERT_TEXT.fullmatch
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if separator and inert(name) is None:
            # What is no name at all may be a value that was split at its first `=`.
            for text in (name, pair) if _SPLIT.search(name) is not None else (name,):
                key = hash(text)
                if key not in young and key not in old:
                    items.append((kind, name, text, True, Scope.ALL))
                    keys.append(key)
        if not separator:
            value = name
        if inert(value) is None:
            key = hash(value)
            if name == "query" and ("{" in value or "%7" in value):
                _add_if_graphql(value, basket)
            if key not in young and key not in old:
                if value[0] not in _OPENS or not _add_document(kind, name, value, basket):
                    items.append((kind, name, value, False, Scope.ALL))
                keys.append(key)


def _worth_reading(pairs: list[str], ends: Ends) -> list[str]:
    """Return those of many pairs in which anything may be, each name and each value looked at by itself.

    They are decoded all at once, which tells the same as one by one where that makes no line of its own.
    """
    names, _, values = zip(*(pair.partition("=") for pair in pairs), strict=True)
    if "query" in names:
        return pairs
    parts = names + values
    numbers = [
        index
        for index, part in enumerate(parts)
        if part and (len(part) >= _SHORT or not part.isalnum() or not part.isascii())
    ]
    lines = "\n".join([parts[index] for index in numbers])
    if lines.count("\n") >= max(len(numbers), 1):
        return pairs
    if "%" in lines:
        if "%0" in lines or "\\" in lines or ODD_CODES.search(lines) is not None:
            return pairs
        lines = percent_decoded(lines)
    worth = worth_reading(lines, ends)
    if worth is None:
        return pairs
    count = len(pairs)
    wanted = {numbers[line] % count for line in worth} if numbers else set()
    wanted.update(index for index in numbers if index < count and _SPLIT.search(names[index]) is not None)
    # The strings of a document are values by themselves.
    wanted.update(index for index, value in enumerate(values) if value[:3].lower().startswith(_DOCUMENTS))
    return [pairs[index] for index in sorted(wanted)]


def add_nested(kind: PlaceKind, name: "str | int", text: str, basket: Basket, depth: int = _NESTING) -> bool:
    """Add the strings of a value that is a JSON document, and those of documents in them; False when it is none."""
    strings = nested(text)
    if strings is None:
        return False
    basket.items.append((kind, name, text, False, Scope.OBJECT))
    for value, is_key in strings[: basket.room(len(strings))]:
        if depth and value[:1] in _BRACKETS and not is_key and add_nested(kind, name, value, basket, depth - 1):
            continue
        if not (is_key and is_operator(value)):  # it is judged in the object, beside what it is given
            basket.add(kind, name, value, is_name=is_key)
    return True


def is_operator(key: str) -> bool:
    """Tell whether a key is an operator, such as `$ne`."""
    return key[:1] == "$" and key[1:].isidentifier()


def _add_document(kind: PlaceKind, name: str, value: str, basket: Basket) -> bool:
    decoded = percent_decoded(value) if "%" in value else value
    return decoded[0] in _BRACKETS and add_nested(kind, name, decoded, basket)


def add_graphql(document: str, basket: Basket) -> None:
    """Add a GraphQL document as a whole, and the strings in it."""
    kind = PlaceKind.GRAPHQL
    basket.items.append((kind, "query", document, False, Scope.WHOLE))
    strings = _GRAPHQL_STRING.findall(document) if '"' in document else ()
    for block, plain in strings[: basket.room(len(strings))]:
        basket.add(kind, "query", block or (unescaped(plain) if "\\" in plain else plain))


def _add_if_graphql(value: str, basket: Basket) -> None:
    from_url = value if "%" not in value else percent_decoded(value)
    if GRAPHQL_DOCUMENT.match(from_url):
        add_graphql(from_url, basket)


def _add_cookies(value: bytes, basket: Basket) -> None:
    pairs = value.split(b";")
    seen, keys = basket.fresh(PlaceKind.COOKIE)
    for pair in pairs[: basket.room(len(pairs))]:
        name, separator, content = pair.strip().partition(b"=")
        if not separator:
            name, content = b"", name
        for raw, is_name in ((name, True), (content, False)):
            if INERT.fullmatch(raw) is None:
                key = hash(raw)
                if key not in seen:
                    called, text = decode_bytes(name), decode_bytes(raw)
                    if is_name or text[0] not in _OPENS or not _add_document(PlaceKind.COOKIE, called, text, basket):
                        basket.items.append((PlaceKind.COOKIE, called, text, is_name, Scope.ALL))
                    keys.append(key)
