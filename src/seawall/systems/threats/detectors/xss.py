"""Cross-site scripting: markup that runs code, and code that breaks out of the markup or script it lands in."""

import re
from collections.abc import Iterator, Sequence

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.detectors.js_words import active_url, judge, looks_called, symbols_only
from seawall.systems.threats.detectors.prose import PROSE_AROUND, in_code, plain_words
from seawall.systems.threats.detectors.xss_code import code
from seawall.systems.threats.detectors.xss_markup import EVENTS, markup
from seawall.systems.threats.detectors.xss_style import STYLE_HOST, active_style
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["DETECTOR"]

MAX_SIGNALS = 8
_RULE = 400
"""Characters of a style sheet after what may run code in which that code is looked for."""
_DOCUMENT = 2048
"""Characters of a document in a URL that are read."""
_TAG = re.compile(r"<[\s\x00]*[a-z!/?%]", re.IGNORECASE | re.ASCII)
_BREAK_OUT = re.compile(
    r"[\"'`]\s{0,3}/?>\s{0,3}<(?:[a-z!?%]|/(?:script|style|title|textarea|noscript|iframe|xmp|svg|body|html|a|div))",
    re.IGNORECASE | re.ASCII,
)
_CLOSES = re.compile(
    r"</(?:script|style|title|textarea|noscript|xmp|iframe|noembed|noframes|plaintext|svg|math)\b", re.IGNORECASE
)
_HANDLER = re.compile(
    r"(?<![a-z0-9_.$-])on([a-z]{3,24})(?:[^a-z0-9>=\n]{0,12}|\[[a-z]\])=\s*([^>]{0,80})", re.IGNORECASE
)
_QUOTE_BEFORE = re.compile(r"(?:^|[\"'`])[^\"'`<>=]{0,24}$")
_ENTITY_CODE = re.compile(r"&\{([^}]{1,200})\}")
_UTF7 = re.compile(r"\+adw-|\+/v[89+/]|\+ADw", re.IGNORECASE | re.ASCII)
_ODD = re.compile(r"\xbc\s{0,4}/?\s{0,4}(?:script|img|svg|iframe)", re.IGNORECASE | re.ASCII)
_STYLE = re.compile(
    r"expression\s*(?:\(|\\28)|-moz-binding|behaviou?r\s*:\s*url|expr/\*|@im\\?port\s*[\"'u(]|-o-link|\[style\]",
    re.IGNORECASE | re.ASCII,
)
_PROPRIETARY = re.compile(r"-moz-binding|behaviou?r|-o-link|expr/|\[style\]", re.IGNORECASE | re.ASCII)
_URL = re.compile(
    r"(?:j\W{0,3}a\W{0,3}v\W{0,3}a|vb|live|mocha)\W{0,3}s\W{0,6}c\W{0,3}r\W{0,3}i\W{0,3}p\W{0,3}t\W{0,3}[:#]|data:[^,\s]{0,60}(?:html|svg|xml|javascript)|mhtml:|base64_{0,9},\s*phnj|base64_{0,9},\s*pgltz",
    re.IGNORECASE | re.ASCII,
)
_URL_BEFORE = re.compile(r"[=(\"'`\s,;:/?>\]]|^")
_AUTOFOCUS = re.compile(
    r"[\"'`\s/](?:autofocus|accesskey|tabindex|contenteditable|formaction|srcdoc)\s*(?:=|$|\s)", re.IGNORECASE
)


def _loose_handlers(text: str) -> Iterator[Signal]:
    """Event handlers outside of any tag: the value closes the attribute that it lands in and opens another."""
    for count, match in enumerate(_HANDLER.finditer(text)):
        if count >= 16:
            return
        called = looks_called(match[2])
        known = match[1].lower() in EVENTS
        weight = judge(text, match.start(2), match.end(2)).weight if called else 0.0
        broken = _QUOTE_BEFORE.search(text[max(0, match.start() - 25) : match.start()]) is not None
        quoted = any(quote in text[: match.start()] for quote in "\"'`")
        focused = _AUTOFOCUS.search(text) is not None
        if known and broken and (called or focused):
            sure = 0.93 if weight else 0.85 if quoted or focused else 0.6
            yield Signal("xss-attribute-break", Severity.HIGH, sure, match.start(), match.end())
        elif known and called and weight >= 0.4:
            yield Signal("xss-attribute-break", Severity.HIGH, 0.85, match.start(), match.end())
        elif weight >= 0.4:
            yield Signal("xss-attribute-break", Severity.HIGH, 0.75, match.start(), match.end())


def _urls(text: str) -> Iterator[Signal]:
    for count, match in enumerate(_URL.finditer(text)):
        if count >= 8:
            return
        start = match.start()
        found = active_url(text[start:]) or active_url(match[0])
        if found is None:
            if match[0].lower().startswith("base64"):
                yield Signal("xss-data-url", Severity.HIGH, 0.8, start, match.end())
            continue
        kind, rest = found
        leading = not text[:start].strip("\"'`( \t\r\n<\x00=\\")
        if kind == "code":
            weight = judge(rest).weight
            harmless = rest.rstrip(";").lower() in {"", "void(0)", "void0", "//"}
            called = looks_called(rest[:60]) and not text[match.end() : match.end() + 1].isspace()
            if weight >= 0.3:
                confidence = 0.95 if leading else 0.85
            elif harmless:
                confidence = 0.45
            elif leading and called:
                confidence = 0.9
            else:
                confidence = 0.6 if called and _URL_BEFORE.match(text[start - 1 : start]) else 0.25
        elif kind == "data":
            confidence = (0.9 if leading else 0.75) if _active_data(text, match, rest) else 0.45
        else:
            confidence = 0.86 if leading else 0.6
        yield Signal("xss-url", Severity.HIGH, confidence, start, min(len(text), match.end() + 60))


def _active_data(text: str, match: re.Match[str], rest: str) -> bool:
    """Tell whether a document in a URL runs something; icons are pictures of lines and shapes, which do not."""
    if "script" in rest.lower() or "html" in match[0].lower() or judge(rest).weight >= 0.4:
        return True
    if "<" not in rest:
        return False
    return "image/svg" not in match[0].lower() or any(
        signal.confidence >= 0.6 for signal in markup(text[match.end() : match.end() + _DOCUMENT])
    )


def _breaks(text: str) -> Iterator[Signal]:
    """Find what closes the attribute or element that the value lands in."""
    match = _BREAK_OUT.search(text)
    if match and text.find("<") > match.start():
        yield Signal("xss-attribute-break", Severity.HIGH, 0.85, match.start(), match.end())
    match = _CLOSES.search(text)
    if (
        match
        and text.find("<") != match.start()
        and "script" in match[0].lower()
        and judge(text, 0, match.start()).weight >= 0.6
    ):
        # A start tag that a filter would put together by what it takes out.
        confidence = 0.86 if plain_words(text) < PROSE_AROUND else 0.55
        yield Signal("xss-script", Severity.HIGH, confidence, match.start(), match.end())
    elif match and text.find("<") == match.start():
        confidence = 0.86 if "<" in text[match.end() :] or "script" in match[0].lower() else 0.75
        yield Signal("xss-element-break", Severity.HIGH, confidence, match.start(), match.end())


def scan(text: str, kind: PlaceKind) -> Sequence[Signal]:  # noqa: ARG001 - the same text means the same in every place
    """Judge one view of a value. Linear in the text."""
    signals: list[Signal] = []
    if "<" in text and _TAG.search(text):
        signals.extend(markup(text))
        signals.extend(_breaks(text))
    if "=" in text and not signals:
        signals.extend(_loose_handlers(text))
    if not signals or max(signals, key=_strength).confidence < 0.9:
        if ":" in text or "#" in text or "64" in text:
            signals.extend(_urls(text))
        signals.extend(code(text))
        symbols = symbols_only(text) if "[" in text else None
        if symbols:
            length = symbols[1] - symbols[0]
            signals.append(Signal("xss-symbols", Severity.HIGH, 0.93 if length > 40 else 0.8, *symbols))
        signals.extend(_oddities(text))
    if signals:
        signals.sort(key=_strength, reverse=True)
        del signals[MAX_SIGNALS:]
        if in_code(text, signals[0].start):
            return [signal._replace(confidence=min(signal.confidence, 0.55)) for signal in signals]
    return signals


def _oddities(text: str) -> Iterator[Signal]:
    match = _UTF7.search(text) or _ODD.search(text)
    if match:
        yield Signal("xss-charset", Severity.HIGH, 0.9, match.start(), match.end())
    match = _ENTITY_CODE.search(text)
    if match and judge(match[1]).weight >= 0.4:
        yield Signal("xss-code", Severity.HIGH, 0.9, match.start(), match.end())
    match = _STYLE.search(text)
    if match and active_style(text) and not STYLE_HOST.search(text, match.start(), match.start() + 60):
        sure = judge(text, match.start(), match.start() + _RULE).weight or _PROPRIETARY.match(match[0])
        yield Signal("xss-style", Severity.HIGH, 0.9 if sure else 0.6, match.start(), match.end())


def _strength(signal: Signal) -> float:
    return signal.confidence


DETECTOR = Detector(
    name="xss",
    category=ThreatClass.XSS,
    owasp="A03:2021",
    triggers=(
        r"<[\s\x00]{0,8}/?[a-z!?%]",
        r"on[a-z]{3,24}[^a-z0-9>=]{0,12}=",
        r"(?:alert|confirm|prompt|eval|msgbox|settimeout|setinterval|setimmediate|execscript|function|fetch|atob|unescape|import|importscripts|decodeuri|decodeuricomponent|createobject|\bopen|\bprint)[^a-z0-9_]{0,12}[(`]",
        r"(?:alert|confirm|prompt|eval)[^a-z0-9_]|[=:]\s{0,8}(?:alert|confirm|prompt|eval)$",
        r"['\"`]\s{0,4}[-+*/%^;,|&?]{1,2}\s{0,4}[!~(]{0,4}(?:location|navigator|history|screen|opener|(?:local|session)storage|window|self|top|parent)\s{0,2}\??[.\[]",
        r"\$\.(?:getscript|parsehtml|globaleval)|jquery\.(?:getscript|parsehtml|globaleval)|object\.(?:values|keys|entries|getownpropertynames)\s{0,4}\(|defaultview|contentwindow|parentwindow|\bin\s{1,4}(?:self|window|top|globalthis)\s{0,4}\)",
        "\u03c9\uff9f|\u03c9\u309a|=\\s{0,4}~\\s{0,4}\\[\\s{0,4}\\]\\s{0,4};",
        r"script[^a-z0-9]{0,8}[:#]",
        r"s\W{0,6}c\W{0,3}r\W{0,3}i\W{0,3}p\W{0,3}t\W{0,3}:",
        r"data:[^,]{0,60}(?:html|svg|xml|javascript|base64)",
        r"mhtml:|mocha:|base64_{0,9},\s{0,3}p[hg]",
        r"document\s{0,8}\??\.|location\s{0,8}[=.\[]|history\.(?:push|replace)|(?:inner|outer)html|insertadjacenthtml|srcdoc|bypasssecuritytrust",
        r"(?:window|self|top|parent|this|globalthis|frames|document|content|opener|\[\]|''|\"\")\s{0,8}\??\.?\s{0,8}\[",
        r"fromcharcode|fromcodepoint|string\.raw|constructor|__proto__|reflect\.|\.source|symbol[.\[]|xmlhttprequest|activexobject|storage[.\[]|sendbeacon|new\s{1,8}(?:image|websocket|function)",
        r"onerror|throw\s|tostring\s{0,4}=|valueof\s{0,4}=|=\s{0,4}name\b",
        r"expression\s{0,8}[(\\]|-moz-binding|behaviou?r\s{0,8}:|expr/\*|@im\\?port|-o-link",
        r"\+adw-|\+/v[89+/]|\xbc\s{0,4}/?\s{0,4}(?:script|img|svg|iframe)",
        r"[\[\]()!+{}~\-]{14}",
        r"[\"'`](?:al|ale|aler|con|pro|ev|eva)[\"'`]",
    ),
    scan=scan,
)
