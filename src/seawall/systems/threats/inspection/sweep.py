"""One look over a whole body, before it is taken apart: which of its values are worth reading at all."""

import re
from collections.abc import Callable, Sequence

from seawall.systems.threats.inspection.decoding import plain_form
from seawall.systems.threats.inspection.fastexit import INERT

__all__ = ["Ends", "blind", "worth_reading"]

Ends = Callable[[bytes], "Sequence[int] | None"]
"""Indexes after each match of a trigger, ascending; None where that is not told, so that anything may match."""

# A value without any of these is decoded to nothing else, unless it is base64 as a whole.
_MARKS = (b"%", b"&", b"\\", b"+", b"/*", b"\x00", b";base64,")
# Begun by a character rather than by an anchor, for which a search would stop at each place.
_BASE64_LINE = re.compile(rb"\n([ \t\r\f\v]*+(?:[A-Za-z0-9+/]{12,}|[A-Za-z0-9_-]{12,})={0,2}[ \t\r\f\v]*+)(?=\n)")


def blind(_raw: bytes) -> None:
    """Tell nothing, so that everything is read."""
    return


def worth_reading(lines: str, ends: Ends) -> set[int] | None:
    """Return the numbers of those lines that may hold anything; None when that cannot be told.

    The other lines match no trigger, and no decoding makes anything else of them. It is one scan, and a search for
    each mark, with no loop over lines: some 10 us for 1 KiB where nothing is found.

    Args:
        lines: values, none of which has a line break in it.
        ends: scans for triggers. What is anchored matches in a line as it does in the value alone; what matches beyond
            a line's end is seen as well, and only costs another look.
    """
    raw = lines.encode("utf-8", "replace")
    found: set[int] = set()
    if not _add_matches(raw, ends, found):
        return None
    if not lines.isascii():
        other = plain_form(lines)
        if other != lines:
            folded = other.encode("utf-8", "replace")
            if folded.count(b"\n") != raw.count(b"\n") or not _add_matches(folded, ends, found):
                return None
    for special in _MARKS:
        if special in raw:
            _add_marked(raw, special, found)
    raw = b"\n%b\n" % raw
    line = at = 0
    for match in _BASE64_LINE.finditer(raw):
        line += raw.count(b"\n", at, match.start())
        at = match.start()
        if INERT.fullmatch(match[1]) is None:
            found.add(line)
    return found


def _add_matches(raw: bytes, ends: Ends, found: set[int]) -> bool:
    matches = ends(raw)
    if matches is None:
        return False
    line = at = 0
    for end in matches:
        if end > at:
            # `end` is the index after a match; what matches may end with the line break.
            line += raw.count(b"\n", at, end - 1)
            at = end - 1
            found.add(line)
    return True


def _add_marked(raw: bytes, special: bytes, found: set[int]) -> None:
    line = counted = 0
    at = raw.find(special)
    while at >= 0:
        line += raw.count(b"\n", counted, at)
        counted = at
        found.add(line)
        at = raw.find(b"\n", at)
        if at >= 0:
            at = raw.find(special, at)
