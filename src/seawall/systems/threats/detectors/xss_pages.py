"""What the tags of a text are together: a page as a browser has it, or markup of which one tag serves another."""

import re
from collections.abc import Iterator

from seawall.systems.threats.detector import Signal
from seawall.systems.threats.detectors.html_lexer import Tag
from seawall.systems.threats.detectors.js_words import judge
from seawall.systems.threats.model import Severity

__all__ = ["Page", "across", "is_page"]

_PAGE = re.compile(r"\s{0,16}(?:<!doctype\s{1,8}html[^>]{0,200}>\s{0,16})?<html[\s>]", re.IGNORECASE)
# Where advertisements come from, and what is filled in when one is shown.
_ADS = re.compile(
    r"//(?:[\w-]{1,63}\.){0,4}(?:googlesyndication|doubleclick|googletagservices|googletagmanager|google-analytics|2mdn|adnxs|amazon-adsystem"
    r"|criteo|taboola|outbrain|rubiconproject|pubmatic|openx|moatads|adsafeprotected|doubleverify|smartadserver|casalemedia|teads|serving-sys"
    r"|flashtalking)\.(?:com|net|org|tv)/",
    re.IGNORECASE,
)
_FILLED_IN = re.compile(r"\$\{(?:CLICK|AUCTION|CACHEBUSTER|GDPR|ADID)[A-Z_]{0,24}\}|%%[A-Z_]{4,32}%%")
_CALLED_BACK = re.compile(r"callback|jsonp|[?&](?:cb|call|func)\w{0,8}=", re.IGNORECASE)
_REMOTE = re.compile(r"\s{0,8}(?:[a-z][a-z0-9+.-]{0,16}:|[\\/]{2})", re.IGNORECASE)
_SOFT = frozenset({"xss-script", "xss-event-handler", "xss-element"})
_EMBEDS = frozenset({"iframe", "embed", "object"})
_LONGEST = 4000
"""Characters of a script that are looked at."""
_MOST = 48_000
"""Characters of all scripts of a text that are looked at; the engine shows texts in pieces shorter than that."""


def is_page(text: str) -> bool:
    """Tell whether a text is a document from its first tag to its last, or the markup of an advertisement.

    Recorders of sessions and programs that look after advertisements send these all day, with the scripts that they
    have. A script is judged there by what it does, rather than for being one.
    """
    if _PAGE.match(text) is not None:
        lowered = text.lower()
        return "<head" in lowered and "<body" in lowered and lowered.rstrip().endswith("</html>")
    return _ADS.search(text) is not None or _FILLED_IN.search(text) is not None


class Page:
    """Softens signals of a page's tags as long as there is room to look at what they do."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = _MOST

    def softened(self, text: str, tag: Tag, signal: Signal) -> Signal:
        """Return a signal of a page's tag, in doubt when the tag does nothing that attacks do."""
        if signal.rule not in _SOFT or signal.confidence < 0.5 or tag.name in {"meta", "base"} or self._left <= 0:
            return signal
        stop = text.find("</", tag.end, tag.start + _LONGEST) if tag.name == "script" else tag.end
        end = min(len(text) if stop < 0 else stop, tag.start + _LONGEST)
        self._left -= end - tag.start
        if judge(text, tag.start, end).weight >= 0.3:
            return signal
        for attribute in tag.attributes:
            if attribute.name in {"src", "href", "data", "srcdoc"} and _REMOTE.match(attribute.value):
                known = _ADS.search(attribute.value[:256]) is not None and _CALLED_BACK.search(attribute.value) is None
                embedded = tag.name in _EMBEDS and attribute.value[:8].lower() == "https://"
                if not known and not embedded:
                    return signal
        return signal._replace(confidence=0.45, severity=Severity.MEDIUM)


def across(text: str) -> Iterator[Signal]:
    """Judge what tags do together, and one that swallows what follows it."""
    found = list(_ANCHORS.finditer(text)) if "id" in text.lower() else []
    names = [match["id"].lower() for match in found]
    if len(found) > len(set(names)) and any(match["name"] for match in found):
        yield Signal("xss-clobbering", Severity.HIGH, 0.8, found[0].start(), found[-1].end())
    open_end = _DANGLING.search(text, max(0, len(text) - _TAIL)) if text.rstrip()[-1:] in _WAITING else None
    if open_end is not None:
        yield Signal("xss-dangling", Severity.HIGH, 0.8, open_end.start(), open_end.end())


_WAITING = frozenset("?=&/#")
_TAIL = 512
_ANCHORS = re.compile(
    r"<(?:a|form)\s[^<>]{0,200}?\bid\s{0,4}=\s{0,4}[\"']?(?P<id>[\w-]{1,64})[\"']?(?P<name>[^<>]{0,200}?\sname\s{0,4}=)?[^<>]{0,400}>",
    re.IGNORECASE,
)
# The quote around an address never closes, and the address waits for what it is to carry away.
_DANGLING = re.compile(
    r"<[a-z][a-z0-9]{0,15}\s(?:[^<>\"']{0,80}\s)?(?:src|href|background|action|formaction|poster|data|srcset|content)\s{0,4}=\s{0,4}([\"'])(?:\d{1,3}\s{0,4};\s{0,4}url\s{0,4}=\s{0,4})?(?:https?:)?//"
    r"[^\s\"'<>]{1,200}[?=&/#]\s{0,8}\Z",
    re.IGNORECASE,
)
