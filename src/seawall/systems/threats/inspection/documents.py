"""JSON and XML as values, by tokens rather than by a parser: what a parser refuses is read as well, at any depth."""

import re
from collections.abc import Sequence

from seawall.systems.threats.inspection.fastexit import INERT_TEXT
from seawall.systems.threats.inspection.nested import unescaped
from seawall.systems.threats.inspection.sweep import worth_reading
from seawall.systems.threats.inspection.values import (
    GRAPHQL_DOCUMENT,
    NAMES_SEEN_AS_PATHS,
    Basket,
    Scope,
    add_graphql,
    add_nested,
    is_operator,
)
from seawall.systems.threats.model import PlaceKind

__all__ = ["add_json", "add_xml", "json_paths"]

# A string that never ends is one as well, so that each character is looked at once.
_STRING = re.compile(r'"([^"\\]*+(?:\\.[^"\\]*+)*+)(?:"(\s*+:)?|\\?\Z)', re.DOTALL)
_STRUCTURE = re.compile(r'"([^"\\]*+(?:\\.[^"\\]*+)*+)(?:"(\s*+:)?|\\?\Z)|([\[\]{},])', re.DOTALL)
_ATTRIBUTE = re.compile(r"""([^\s=<>"'/]{1,64})\s*+=\s*+(?:"([^"]*)"?|'([^']*)'?|([^\s>"']++))""")
_TAG_NAME = re.compile(r"[^\s/>]{1,128}")
_MAX_PATH = 128
_MAX_ATTRIBUTES = 2048
_MAX_EXTENDED = 64
_SHORT = 16
"""Characters from which on letters and digits may be more than an identifier."""


def add_json(text: str, basket: Basket, *, valid: bool) -> None:  # noqa: C901, PLR0912 - one flat loop, in which a call would cost most
    """Add keys and strings of a JSON text that are worth reading; GraphQL where a field `query` holds it.

    Each string's name is its number for now: most values are never named, and `json_paths` tells a path when asked.

    Args:
        text: the document.
        basket: takes them.
        valid: whether it is JSON indeed; else each string is read, as nobody knows where a lenient parser sees them.
    """
    names_count = '"query"' in text or "constructor" in text or "proto" in text
    if text.count("{") + text.count("[") > basket.caps.depth and _depth(text) > basket.caps.depth:
        basket.partial = basket.partial or "depth"
    basket.json_text = text
    items = basket.items
    operators = valid and '"$' in text
    if operators:  # they are judged in the object, beside what they are given
        items.append((PlaceKind.JSON, "", text, False, Scope.OBJECT))
    strings, behind = _strings(text)
    granted = basket.room(len(strings))
    if granted < len(strings):
        strings = strings[:granted]
    numbers: Sequence[int] = range(granted)
    if valid and not names_count:
        numbers = _worth_reading(strings, basket)
    seen, keys = basket.fresh(PlaceKind.JSON)
    young, old = seen.young, seen.old
    inert = INERT_TEXT.fullmatch
    key_name = ""
    paths: set[int] = set()
    documents: list[str] = []
    for index in numbers:
        content = strings[index]
        if names_count and behind[index].lstrip()[:1] == ":":
            key_name = content
            if content in NAMES_SEEN_AS_PATHS:
                paths.add(index)
        # The first of the inert forms, which most keys have, is told at half the cost.
        if (len(content) < _SHORT and content.isalnum() and content.isascii()) or inert(content) is not None:
            continue
        key = hash(content)
        known = key in young or key in old
        if known and key_name != "query":
            continue
        value = unescaped(content) if "\\" in content else content
        colon = behind[index].lstrip()[:1] == ":"
        if key_name == "query" and not colon and GRAPHQL_DOCUMENT.match(value):
            documents.append(value)
        elif not known and not (operators and colon and is_operator(value)):
            if colon or value[:1] not in "{[" or not add_nested(PlaceKind.JSON, index, value, basket):
                items.append((PlaceKind.JSON, index, value, colon, Scope.ALL))
            keys.append(key)
    if documents:  # of a batch, all together: what one of them may ask, hundreds may not
        add_graphql("\n".join(documents), basket)
    if paths:
        items.extend((PlaceKind.JSON, index, path, True, Scope.ALL) for index, path in json_paths(text, paths).items())


def _worth_reading(strings: list[str], basket: Basket) -> Sequence[int]:
    """Return the numbers of the strings in which anything may be."""
    # What is short and has nothing but letters and digits is inert.
    numbers = [
        index
        for index, content in enumerate(strings)
        if len(content) >= _SHORT or not content.isalnum() or not content.isascii()
    ]
    lines = "\n".join([strings[index] for index in numbers])
    worth = worth_reading(lines, basket.ends) if lines.count("\n") == len(numbers) - 1 else None
    return numbers if worth is None else [numbers[line] for line in sorted(worth)]


def _strings(text: str) -> tuple[list[str], list[str]]:
    """Return the strings of a JSON text as they are written, and of each what stands behind it."""
    if "\\" in text:
        found = _STRING.findall(text)
        return [content for content, _ in found], [colon for _, colon in found]
    # Without escapes each quotation mark begins a string or ends one.
    parts = text.split('"')
    if not len(parts) % 2:
        parts.append("")
    return parts[1::2], parts[2::2]


def json_paths(text: str, wanted: set[int]) -> dict[int, str]:  # noqa: C901 - a state machine reads best in one piece
    """Return the paths, such as `user.tags[2]`, of strings of a JSON text by their numbers; of a key with itself.

    Linear in the text up to the last one wanted. Paths are cut at 128 characters.
    """
    found: dict[int, str] = {}
    last = max(wanted, default=-1)
    stack: list[str | int] = []
    index = -1
    for content, colon, sign in _STRUCTURE.findall(text):
        if not sign:
            index += 1
            if colon and stack and isinstance(stack[-1], str):
                stack[-1] = content
            if index in wanted:
                found[index] = _path(stack)
            if index >= last:
                break
        elif sign == "{":
            stack.append("")
        elif sign == "[":
            stack.append(0)
        elif stack:
            if sign == ",":
                top = stack[-1]
                if isinstance(top, int):
                    stack[-1] = top + 1
            else:
                stack.pop()
    return found


def add_xml(text: str, basket: Basket) -> None:
    """Add text, attributes and CDATA of an XML text, and the whole of it for those that look at its declarations."""
    items = basket.items
    items.append((PlaceKind.XML, "", text, False, Scope.WHOLE))
    kind = PlaceKind.XML
    at, depth, extended, name = 0, 0, 0, ""
    for _ in range(basket.room(text.count("<"))):
        start = text.find("<", at)
        if start < 0:
            break
        _add_text(text[at:start], name, basket)
        if text.startswith("<![CDATA[", start):
            end = text.find("]]>", start)
            end = len(text) if end < 0 else end
            _add_text(text[start + 9 : end], name, basket)
            at = end + 3
            continue
        if text.startswith("<!--", start):
            end = text.find("-->", start)
            at = len(text) if end < 0 else end + 3
            continue
        at = text.find(">", start) + 1 or len(text)
        if text[start + 1 : start + 2] in {"/", "?", "!"}:
            depth -= text[start + 1] == "/"
            continue
        tag = text[start + 1 : at - 1]
        named = _TAG_NAME.match(tag)
        name = named[0] if named else ""
        depth += not tag.endswith("/")
        if depth > basket.caps.depth:
            basket.partial = basket.partial or "depth"
        if "=" in tag:
            if extended < _MAX_EXTENDED and (tag.count('"') | tag.count("'")) & 1:
                # `>` may stand in an attribute. What follows it is read as text as well, so nothing hides behind it.
                tag = text[start + 1 : at + _MAX_ATTRIBUTES]
                extended += 1
            for attribute, double, single, bare in _ATTRIBUTE.findall(tag):
                basket.add(kind, f"{name}@{attribute}", double or single or bare)
    _add_text(text[at:], name, basket)


def _add_text(text: str, name: str, basket: Basket) -> None:
    text = text.strip()
    if text:
        basket.add(PlaceKind.XML, name, text)


def _depth(text: str) -> int:
    depth = deepest = 0
    for _, _, sign in _STRUCTURE.findall(text):
        if sign in {"{", "["}:
            depth += 1
            deepest = max(deepest, depth)
        elif sign in {"}", "]"}:
            depth -= 1
    return deepest


def _path(stack: list[str | int]) -> str:
    path = ""
    for part in stack:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
        if len(path) > _MAX_PATH:
            return path[:_MAX_PATH]
    return path
