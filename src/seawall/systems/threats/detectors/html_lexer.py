"""A tokeniser of HTML tags and attributes, as lenient as the browsers that run what attackers write.

It follows the tag states of the HTML standard (section 13.2.5) and then forgives more: a slash, a control character or
nothing at all separates attributes, quotes may be missing or escaped, a tag may never end, and tags are found within
the attribute values of others, since the text may land in a page that is already inside an attribute.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Attribute", "Tag", "tags"]

MAX_ATTRIBUTES = 48
"""Attributes of one tag that are read; the rest of a longer tag is read as text."""
MAX_VALUE = 2048
"""Characters of an attribute's value that are kept."""
MAX_NESTED = 6
"""Tags inside of one tag's attributes that are read nearly like any other."""
NESTED_ATTRIBUTES = 16
"""Attributes read of each of those."""
DEEP_ATTRIBUTES = 3
"""Attributes read of each tag after those."""

NESTED_REACH = 1024
"""Characters after the name of a nested tag that are read; they are read again for each tag within them."""
DEEP_REACH = 96
"""The same for tags past `MAX_NESTED`, which are read no further than to the next one."""

_GAP = r"[\s\x00-\x20]*+"
# A name directly after "<", as in the standard; with a gap before it only for elements that are never prose, because
# filters are often tried with "< script >".
_OPEN = re.compile(
    r"<(?:(/?)([a-z][a-z0-9:._-]*+)"
    rf"|{_GAP}(/?){_GAP}((?:script|iframe|svg|img|object|embed|body)(?![a-z0-9]))"
    r"|([!?%]))",
    re.IGNORECASE | re.ASCII,
)
_ATTRIBUTE = re.compile(
    r"[\s/\x00-\x20]*+"
    r"(?:(>)|([^\s\x00-\x20/>=<][^\s\x00-\x20/>=]*+|[=<])"
    rf"(?:{_GAP}={_GAP}(?:\\?\"([^\"]*+)\"?|\\?'([^']*+)'?|\\?`([^`]*+)`?|([^\s\x00-\x20>]*+)))?+)"
)
_NAME = re.compile(r"[^a-z@:#_]*([a-z0-9@:#_.-]*)", re.IGNORECASE | re.ASCII)


class Attribute(NamedTuple):
    """An attribute: its name in lower case without stray quotes, its value ("" without one) and where it stands."""

    name: str
    value: str
    start: int
    end: int


class Tag(NamedTuple):
    """A tag: its name in lower case ("!", "?" or "%" for declarations), its attributes and where it stands.

    `closing` tells an end tag; `closed` whether a ">" ended it.
    """

    name: str
    attributes: tuple[Attribute, ...]
    start: int
    end: int
    closing: bool
    closed: bool


def _read(text: str, opening: re.Match[str], most: int, limit: int) -> Tag:
    slash, name, slash2, name2, mark = opening.groups()
    attributes: list[Attribute] = []
    position = opening.end()
    closed = False
    if mark:
        end = text.find(">", position)
        closed = end >= 0
        position = end + 1 if closed else min(len(text), position + MAX_VALUE)
        return Tag(mark, (), opening.start(), position, closing=False, closed=closed)
    for _ in range(most):
        match = _ATTRIBUTE.match(text, position, limit)
        if match is None:
            break
        position = match.end()
        if match[1]:
            closed = True
            break
        value = match[3] or match[4] or match[5] or match[6] or ""
        if position == len(text) and match.lastindex in {3, 4, 5} and text[-1] not in "\"'`":
            # A quote that nothing closes: what follows may be text, so that tags in it count as tags of their own.
            position = match.start(match.lastindex)
        cleaned = _NAME.match(match[2])
        attributes.append(
            Attribute(
                cleaned[1].lower() if cleaned else match[2],
                value if len(value) <= MAX_VALUE else value[:MAX_VALUE],
                match.start(2),
                position,
            )
        )
    return Tag(
        (name or name2).lower(), tuple(attributes), opening.start(), position, bool(slash or slash2), closed=closed
    )


def tags(text: str) -> Iterator[Tag]:
    """Find the tags of a text, those inside of other tags' attributes among them, in order of their start.

    Args:
        text: anything; it need be neither HTML nor whole.

    Returns:
        An iterator. The cost is linear in the text: of tags within a tag, only the first six are read further.
    """
    read_to = 0
    nested = 0
    for opening in _OPEN.finditer(text):
        if opening.start() < read_to:
            nested += 1
            if nested > MAX_NESTED:
                most, limit = DEEP_ATTRIBUTES, opening.end() + DEEP_REACH
                following = text.find("<", opening.end(), limit)
                limit = limit if following < 0 else following
            else:
                most, limit = NESTED_ATTRIBUTES, opening.end() + NESTED_REACH
            yield _read(text, opening, most, limit)
        else:
            tag = _read(text, opening, MAX_ATTRIBUTES, len(text))
            read_to = tag.end
            nested = 0
            yield tag
