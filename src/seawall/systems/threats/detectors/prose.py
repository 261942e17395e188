"""Telling text written for people from text written for machines: what surrounds a match decides what it means."""

import re

__all__ = ["PROSE_AROUND", "in_code", "is_sentence", "plain_words"]

_WORD = re.compile(r"(?:^|(?<=[\s(\"'*]))[^\W\d_](?:[^\W\d_]|['\u2019])*[,.:;?!)\"'*]{0,2}(?=\s|$)")
_FENCE = re.compile(r"```|~~~")
PROSE_AROUND = 6
"""Plain words around a piece of code that make it a quotation rather than the whole of the value."""
# Letters and digits of any script, and the punctuation that sentences have; an apostrophe only within a word.
_SENTENCE = re.compile(r"[\w\s.,:?!/()%$\u20ac-]*+(?:(?<=[^\W\d])['\u2019](?=[^\W\d])[\w\s.,:?!/()%$\u20ac-]++)*+")
_GLUE = tuple(
    map(" {} ".format, ("the", "to", "a", "of", "is", "for", "you", "with", "my", "your", "it", "that", "this", "are"))
)
_GLUE_LEAST = 2


def is_sentence(text: str) -> bool:
    """Tell at a glance whether a text in lower case is English prose and nothing else.

    It is where its characters are those of sentences only (no quotes but apostrophes within words, no operators, no
    brackets after a word) and at least two kinds of words hold it together that no programming language has. About
    1 us for 200 characters.
    """
    missing = _GLUE_LEAST
    for word in _GLUE:
        if word in text:
            missing -= 1
            if not missing:
                break
    if missing or "--" in text or "_" in text:
        return False
    if "(" in text and text.count("(") != text.count(" (") + text.count("\n("):
        return False
    return _SENTENCE.fullmatch(text) is not None


def plain_words(text: str, start: int = 0, end: int | None = None, limit: int = 12) -> int:
    """Count the words of a natural language, up to `limit`: letters between spaces, with punctuation after them.

    Linear in the text up to the limit.
    """
    count = 0
    for _ in _WORD.finditer(text, start, len(text) if end is None else end):
        count += 1
        if count >= limit:
            break
    return count


def in_code(text: str, index: int) -> bool:
    """Tell whether an index stands in a fenced block or between backticks of a text that is otherwise prose.

    Honest tickets and comments quote code that way. An attacker can, too: take it as a reason for doubt, not for trust.
    """
    if "`" not in text and "~~~" not in text and "<code" not in text and "<pre" not in text:
        return False
    fences = sum(1 for _ in _FENCE.finditer(text, 0, index))
    line = text.rfind("\n", 0, index) + 1
    inline = text.count("`", line, index) % 2 == 1 and "`" in text[index : index + 400]
    tagged = max(text.rfind("<code", 0, index), text.rfind("<pre", 0, index)) > max(
        text.rfind("</code", 0, index), text.rfind("</pre", 0, index)
    )
    if fences % 2 == 0 and not inline and not tagged:
        return False
    first = text.find("```")
    outside = plain_words(text, 0, min(index, first) if 0 <= first < index else index)
    if outside < PROSE_AROUND:
        outside += plain_words(text, index)
    return outside >= PROSE_AROUND
