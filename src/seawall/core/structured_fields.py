"""Structured Field Values for HTTP (RFC 9651): one strict parser and one serialiser, linear in the input.

Bare items map to Python as follows; the first match of `isinstance` in this order decides how a value is written.

| RFC 9651       | Python                                         |
|----------------|------------------------------------------------|
| Boolean        | `bool`                                         |
| Date           | `Date`, seconds since the Unix epoch           |
| Integer        | `int`, at most 15 digits                       |
| Decimal        | `float` (`decimal.Decimal` is written as well) |
| Byte Sequence  | `bytes`                                        |
| Token          | `Token`                                        |
| Display String | `DisplayString`                                |
| String         | `str`                                          |
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from types import MappingProxyType
from typing import NamedTuple

from seawall.core.errors import SeawallError

__all__ = [
    "BareItem",
    "Date",
    "DisplayString",
    "InnerList",
    "Item",
    "Member",
    "Parameters",
    "StructuredFieldError",
    "Token",
    "parse_dictionary",
    "parse_item",
    "parse_list",
    "serialise_dictionary",
    "serialise_item",
    "serialise_list",
]

_MAX_INTEGER = 999_999_999_999_999
_MAX_DECIMAL_WHOLE = 10**12
_THOUSANDTH = Decimal("0.001")

_KEY = re.compile(r"[a-z*][a-z0-9_.*-]*")
_TOKEN = re.compile(r"[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*")
_NUMBER = re.compile(r"(-?)([0-9]+)(?:(\.)([0-9]*))?")
_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_PLAIN_STRING = re.compile(r"[ -~]*")
_BYTES = re.compile(r":([A-Za-z0-9+/=]*):")
_DISPLAY = re.compile(r'%"((?:[ !#$&-~]|%[0-9a-f]{2})*)"')
_ESCAPE = re.compile(r"%([0-9a-f]{2})")
_SPACES = re.compile(r" *")
_OWS = re.compile(r"[ \t]*")


class StructuredFieldError(SeawallError):
    """A field value is malformed, or a value cannot be written as a structured field; RFC 9651 section 4."""

    code = "structured-field-invalid"


class Token(str):
    """A short word without quotes, such as `gzip`; RFC 9651 section 3.3.4."""

    __slots__ = ()


class DisplayString(str):
    """Text for people, any Unicode; RFC 9651 section 3.3.8."""

    __slots__ = ()


class Date(int):
    """Whole seconds since the Unix epoch; RFC 9651 section 3.3.7."""

    __slots__ = ()


BareItem = bool | int | float | Decimal | str | bytes
Parameters = Mapping[str, BareItem]

_NO_PARAMETERS: Parameters = MappingProxyType({})


class Item(NamedTuple):
    """A bare item and its parameters, in order."""

    value: BareItem
    parameters: Parameters = _NO_PARAMETERS


class InnerList(NamedTuple):
    """A list within a list or dictionary, and the parameters of the whole; RFC 9651 section 3.1.1."""

    items: tuple[Item, ...]
    parameters: Parameters = _NO_PARAMETERS


Member = Item | InnerList


def parse_item(field: str) -> Item:
    """Parse one Item; RFC 9651 section 4.2.3.

    Several lines of one field are joined by `, ` before parsing, here and in the other two parsers.

    Raises:
        StructuredFieldError: anything but exactly one Item.
    """
    parser = _Parser(field)
    parser.skip(_SPACES)
    item = parser.item()
    parser.skip(_SPACES)
    if parser.at < len(field):
        raise parser.refusal("nothing after the item")
    return item


def parse_list(field: str) -> list[Member]:
    """Parse a List; an empty field gives an empty list; RFC 9651 section 4.2.1.

    Raises:
        StructuredFieldError: the field is malformed anywhere; nothing of it is to be used then.
    """
    parser = _Parser(field)
    parser.skip(_SPACES)
    members: list[Member] = []
    while parser.at < len(field):
        members.append(parser.member())
        parser.next_member()
    return members


def parse_dictionary(field: str) -> dict[str, Member]:
    """Parse a Dictionary; of a repeated key the last value wins, at its first place; RFC 9651 section 4.2.2.

    Raises:
        StructuredFieldError: the field is malformed anywhere; nothing of it is to be used then.
    """
    parser = _Parser(field)
    parser.skip(_SPACES)
    members: dict[str, Member] = {}
    while parser.at < len(field):
        key = parser.expect(_KEY, "a key").group()
        if parser.take("="):
            members[key] = parser.member()
        else:
            members[key] = Item(True, parser.parameters())
        parser.next_member()
    return members


class _Parser:
    """A position in a field; each method reads one production of RFC 9651 section 4.2 and moves on."""

    __slots__ = ("at", "field")

    def __init__(self, field: str) -> None:
        self.field = field
        self.at = 0

    def refusal(self, wanted: str) -> StructuredFieldError:
        found = repr(self.field[self.at : self.at + 20]) if self.at < len(self.field) else "the end"
        return StructuredFieldError(f"structured field: {wanted} was expected at position {self.at}, found {found}")

    def take(self, text: str) -> bool:
        if self.field.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def expect(self, pattern: re.Pattern[str], wanted: str) -> re.Match[str]:
        found = pattern.match(self.field, self.at)
        if found is None:
            raise self.refusal(wanted)
        self.at = found.end()
        return found

    def skip(self, pattern: re.Pattern[str]) -> None:
        self.at = self.expect(pattern, "whitespace").end()

    def next_member(self) -> None:
        self.skip(_OWS)
        if self.at == len(self.field):
            return
        if not self.take(","):
            raise self.refusal("a comma")
        self.skip(_OWS)
        if self.at == len(self.field):
            raise self.refusal("a member after the comma")

    def member(self) -> Member:
        if not self.take("("):
            return self.item()
        items: list[Item] = []
        while True:
            self.skip(_SPACES)
            if self.take(")"):
                return InnerList(tuple(items), self.parameters())
            items.append(self.item())
            if not self.field.startswith((" ", ")"), self.at):
                raise self.refusal("a space or ')'")

    def item(self) -> Item:
        return Item(self.bare(), self.parameters())

    def parameters(self) -> dict[str, BareItem]:
        parameters: dict[str, BareItem] = {}
        while self.take(";"):
            self.skip(_SPACES)
            key = self.expect(_KEY, "a parameter's key").group()
            parameters[key] = self.bare() if self.take("=") else True
        return parameters

    def bare(self) -> BareItem:  # noqa: PLR0911 - one return per type of section 4.2.3.1
        first = self.field[self.at : self.at + 1]
        if first == '"':
            text = self.expect(_STRING, "a string of printable ASCII in quotes").group(1)
            return re.sub(r"\\(.)", r"\1", text)
        if first == "-" or "0" <= first <= "9":
            return self.number()
        if first == ":":
            return self.binary()
        if first == "?":
            return self.boolean()
        if first == "@":
            return self.date()
        if first == "%":
            return self.display_string()
        return Token(self.expect(_TOKEN, "an item").group())

    def number(self) -> int | float:
        start = self.at
        sign, whole, point, fraction = self.expect(_NUMBER, "a number").groups()
        if not point:
            if len(whole) <= 15:
                return int(sign + whole)
        elif len(whole) <= 12 and 1 <= len(fraction) <= 3:
            return float(f"{sign}{whole}.{fraction}")
        self.at = start
        raise self.refusal("a number of at most 15 digits, or 12 before and 1 to 3 after the point,")

    def binary(self) -> bytes:
        start = self.at
        encoded = self.expect(_BYTES, "base64 between colons").group(1)
        body = encoded.rstrip("=")
        try:
            # Missing padding and non-zero pad bits are accepted, as section 4.2.7 advises; `=` elsewhere is not.
            return base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
        except binascii.Error:
            self.at = start
            raise self.refusal("valid base64") from None

    def boolean(self) -> bool:
        if self.take("?1"):
            return True
        if self.take("?0"):
            return False
        raise self.refusal("?0 or ?1")

    def date(self) -> Date:
        self.at += 1
        seconds = self.number()
        if isinstance(seconds, float):
            raise self.refusal("a date in whole seconds before this")
        return Date(seconds)

    def display_string(self) -> DisplayString:
        start = self.at
        text = self.expect(_DISPLAY, "a display string with lower-case %-escapes").group(1)
        octets = _ESCAPE.sub(lambda escape: chr(int(escape.group(1), 16)), text).encode("latin-1")
        try:
            return DisplayString(octets.decode())
        except UnicodeDecodeError:
            self.at = start
            raise self.refusal("a display string in UTF-8") from None


def serialise_item(item: Item) -> str:
    """Write an Item in canonical form; RFC 9651 section 4.1.3.

    Raises:
        StructuredFieldError: a value or a parameter's key cannot be written.
    """
    return _bare(item.value) + _parameters(item.parameters)


def serialise_list(members: Iterable[Member]) -> str:
    """Write a List in canonical form; an empty result means that the field is left out; RFC 9651 section 4.1.1.

    Raises:
        StructuredFieldError: a value or a key cannot be written.
    """
    return ", ".join(map(_member, members))


def serialise_dictionary(members: Mapping[str, Member]) -> str:
    """Write a Dictionary in canonical form; an empty result means that the field is left out; RFC 9651 section 4.1.2.

    Raises:
        StructuredFieldError: a value or a key cannot be written.
    """
    written = []
    for key, member in members.items():
        if isinstance(member, Item) and member.value is True:
            written.append(_key(key) + _parameters(member.parameters))
        else:
            written.append(f"{_key(key)}={_member(member)}")
    return ", ".join(written)


def _member(member: Member) -> str:
    if isinstance(member, InnerList):
        return f"({' '.join(map(serialise_item, member.items))}){_parameters(member.parameters)}"
    return serialise_item(member)


def _parameters(parameters: Parameters) -> str:
    return "".join(
        f";{_key(key)}" if value is True else f";{_key(key)}={_bare(value)}" for key, value in parameters.items()
    )


def _key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise StructuredFieldError(
            f"{key!r} cannot be a key of a structured field", hint="Keys are a-z, 0-9 and _-.*, starting with a-z or *."
        )
    return key


def _bare(value: BareItem) -> str:  # noqa: PLR0911 - one return per type of section 4.1.3.1
    if isinstance(value, bool):
        return "?1" if value else "?0"
    if isinstance(value, int):
        if not -_MAX_INTEGER <= value <= _MAX_INTEGER:
            raise StructuredFieldError(f"{int(value)} has more digits than a structured field's 15")
        return f"@{int(value)}" if isinstance(value, Date) else f"{int(value)}"
    if isinstance(value, float | Decimal):
        return _decimal(value)
    if isinstance(value, bytes):
        return f":{base64.b64encode(value).decode()}:"
    if isinstance(value, Token):
        if not _TOKEN.fullmatch(value):
            raise StructuredFieldError(f"{str(value)!r} cannot be a token of a structured field")
        return str(value)
    if isinstance(value, DisplayString):
        return _display(value)
    if not _PLAIN_STRING.fullmatch(value):
        raise StructuredFieldError(
            f"{value!r} cannot be a string of a structured field",
            hint="Strings are printable ASCII; use DisplayString for other text.",
        )
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _decimal(value: float | Decimal) -> str:
    # `str` gives the shortest decimal that means the float, so that halves round to even as section 4.1.5 wants.
    exact = Decimal(str(value))
    if not exact.is_finite() or abs(exact) >= _MAX_DECIMAL_WHOLE:
        raise StructuredFieldError(f"{value} cannot be a decimal of a structured field: 12 digits before the point")
    rounded = exact.quantize(_THOUSANDTH, rounding=ROUND_HALF_EVEN)
    if abs(rounded) >= _MAX_DECIMAL_WHOLE:
        raise StructuredFieldError(f"{value} rounds to more than 12 digits before the point")
    text = f"{rounded:f}".rstrip("0")
    return f"{text}0" if text.endswith(".") else text


def _display(value: str) -> str:
    try:
        octets = value.encode()
    except UnicodeEncodeError as error:
        raise StructuredFieldError(f"a display string holds a lone surrogate at position {error.start}") from error
    escaped = "".join(chr(byte) if 0x20 <= byte <= 0x7E and byte not in b'%"' else f"%{byte:02x}" for byte in octets)
    return f'%"{escaped}"'
