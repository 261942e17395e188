"""What needs no look at all: values of inert bytes, and values that were found clean a moment ago."""

import re
from collections.abc import Iterable

__all__ = ["INERT", "INERT_TEXT", "Seen"]

_FORMS = (
    r"[A-Za-z0-9]{0,15}"
    r"|[a-z0-9]{1,32}(?:[_-][a-z0-9]{1,32}){1,16}"  # slugs; in lower case, so it is no base64url that says anything
    r"|[A-Z]{1,15}(?:_[A-Z]{1,15}){1,8}"  # constants
    r"|(?![aA][cC][eE][dD]0005)[0-9a-fA-F]{16,128}"  # digests; not what an object of Java begins with
    r"|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    r"|-?[0-9]{1,18}(?:\.[0-9]{1,18})?"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
INERT = re.compile(_FORMS.encode())
"""Identifiers, numbers, digests, UUIDs, dates; to be used with `fullmatch`."""

INERT_TEXT = re.compile(_FORMS)


class Seen:
    """Hashes of values that were found clean: the most recent ones, in two generations.

    A value's hash is kept and never the value, so that no secret stays in memory; hashes are keyed per process, so
    nobody can aim at a collision. When the younger generation is full it becomes the older one, which is dropped: a
    value in use is therefore found again, and memory is bounded by twice the size.

    Args:
        size: values of a generation.
    """

    __slots__ = ("_size", "old", "young")

    def __init__(self, size: int = 8192) -> None:
        self._size = size
        self.young: set[int] = set()
        self.old: set[int] = set()

    def add(self, hashes: Iterable[int]) -> None:
        """Take note of clean values by their hashes."""
        self.young.update(hashes)
        if len(self.young) > self._size:
            self.old, self.young = self.young, set()

    def __contains__(self, key: int) -> bool:
        return key in self.young or key in self.old

    def __len__(self) -> int:
        return len(self.young) + len(self.old)
