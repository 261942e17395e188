"""What style sheets can do to a page: run code, load more style, or tell somebody what is on it."""

import re

from seawall.systems.threats.detectors.html_lexer import Tag
from seawall.systems.threats.detectors.js_words import judge
from seawall.systems.threats.detectors.prose import plain_words

__all__ = ["STYLE_HOST", "Course", "active_style", "carries"]

MAX_SHEET = 2000
"""Characters of a style sheet that are looked at."""
SHEET_OVERLAP = 256
"""Characters of a style sheet's window that may be looked at again with the next one."""
SHEETS_AGAIN = 4
"""Style sheets that begin within another one and go on past its window, and are looked at nevertheless."""

STYLE_HOST = re.compile(
    r"(?:https?:)?//(?:fonts\.googleapis\.com|cdn\.jsdelivr\.net|cdnjs\.cloudflare\.com|unpkg\.com|\w+\.bootstrapcdn\.com"
    r"|use\.(?:fontawesome|typekit)\.(?:com|net)|code\.jquery\.com)/",
    re.IGNORECASE | re.ASCII,
)
# An attribute selector, and an address that tells somebody that it matched.
_LEAKS = re.compile(
    r"\[\s{0,4}[\w-]{1,32}\s{0,4}[\^$*~|]?=[^\]]{0,80}\][^{}]{0,200}\{[^{}]{0,400}(?:url\s{0,4}\(|image-set\s{0,4}\()\s{0,4}[\"']?\s{0,4}(?:https?:)?//",
    re.IGNORECASE,
)
# A style sheet's address that waits for what it is to carry away.
_CARRIES = re.compile(
    r"url\s{0,4}\(\s{0,4}[\"']?\s{0,4}(?:https?:)?//[^\s\"')]{1,200}[?=&]\s{0,4}[\"']?\s{0,4}\)", re.IGNORECASE
)
_CSS_HIDES = re.compile(r"/\*.{0,200}?\*/|\\0{0,4}(?=[a-z])|[\x00-\x1f]", re.IGNORECASE | re.ASCII | re.DOTALL)
_CSS_ESCAPE = re.compile(r"\\([0-9a-f]{1,6})\s?", re.IGNORECASE | re.ASCII)
_CSS_ACTIVE = re.compile(
    r"expression\s*(?:\(|\\28)|javascript\s*:|vbscript\s*:|behaviou?r\s*:\s*url|-moz-binding|binding\s*:\s*url|-o-link|@import|script\s*:"
    r"|url\s{0,8}\(\s{0,8}[\"']?\s{0,8}data:(?:text|application)|data:[^,)]{0,40}html",
    re.IGNORECASE | re.ASCII,
)


class Course:
    """What is known of a text while its tags are read, so that nothing is judged once for each of them."""

    __slots__ = ("_again", "_judged_to", "_words")

    def __init__(self) -> None:
        self._again = SHEETS_AGAIN
        self._judged_to = 0
        self._words = -1

    def words(self, text: str) -> int:
        """Return how many plain words are in the text; they are counted once."""
        if self._words < 0:
            self._words = plain_words(text)
        return self._words

    def runs(self, text: str, tag: Tag) -> bool:
        """Tell whether a style sheet can run code or tells somebody what is on the page.

        A sheet that never ends has all style elements after it within it: those are judged with it, so that
        but for a few of them each character is looked at hardly more than once.
        """
        limit = min(len(text), tag.end + MAX_SHEET)
        stop = text.find("</", tag.end, limit)
        end = limit if stop < 0 else stop
        if end <= self._judged_to:
            return False
        if tag.end + SHEET_OVERLAP <= self._judged_to:
            self._again -= 1
            if self._again < 0:
                return False
        self._judged_to = end
        sheet = text[tag.end : end]
        return active_style(sheet) or judge(sheet).weight >= 0.4 or _LEAKS.search(sheet) is not None


def active_style(style: str) -> bool:
    """Tell whether a style sheet or attribute can run code or load more style, comments and escapes taken out."""
    plain = _CSS_ESCAPE.sub(_unescape_css, style)
    return _CSS_ACTIVE.search(_CSS_HIDES.sub("", plain)) is not None


def _unescape_css(match: re.Match[str]) -> str:
    code = int(match[1], 16)
    return chr(code) if 0 < code < 0x110000 else ""


def carries(style: str) -> bool:
    """Tell whether a style's address waits for what it is to carry away."""
    return _CARRIES.search(style) is not None
