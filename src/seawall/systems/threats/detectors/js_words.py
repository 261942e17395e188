"""How much a piece of text is JavaScript that acts on a page, and which URLs run code.

The judgement is a sum of weights of what an attack needs: something to call, something to read, a way to hide either.
No single word decides: tickets, tutorials and error reports name them all.
"""

import re
from html import unescape
from typing import NamedTuple

__all__ = ["Script", "active_url", "judge", "looks_called", "symbols_only"]

MAX_URL = 512
"""Characters of a URL that are looked at for its scheme."""

# The first line spares the middles of words, where nothing starts, all the others.
_WORDS = re.compile(
    r"(?!(?<=[A-Za-z0-9_])[A-Za-z_])"
    r"(?:(?P<assign>(?<![\w$-])(?:window\s*\.\s*\w+|prototype\s*\.\s*\w+|tostring|valueof|tojson|on(?:error|load|focus|message|hashchange|unhandledrejection)|get|set|apply|[a-z_$])\s*[=:]\s*(?:alert|confirm|prompt|eval)\b(?!\s*[(`\w])"
    r"|\.\s*(?:foreach|map|filter|find\w*|some|every|sort|reduce|flatmap|replace\w*|from|then|catch|call|apply|bind)\s*\([^()]{0,40}?(?<!\w)(?:alert|confirm|prompt|eval)\s*[,)]"
    r"|(?<![\w.$-])(?:(?:window|self|top|parent|document)\s*\.\s*)?location\s*=\s*(?:name\b|location\s*\.\s*(?:hash|search)|window\s*\.\s*name|document\s*\.\s*(?:cookie|referrer|url)))"
    r"|(?P<dialog>(?<![\w.$])(?:(?:window|self|top|parent|this|globalThis|frames(?:\[\d{1,2}\])?|(?:\w{1,24}\.)?(?:defaultView|contentWindow|parentWindow)|\$event\.view)\s*(?:\.|\?\.)\s*)?"
    r"(?:alert|confirm|prompt|msgbox|print(?=\(\)))(?:/\*[^*]{0,40}\*/|\s|\\?\.(?:call|apply|bind)|\?\.){0,3}+[(`])"
    # A dialog that is called in a way nobody has a reason to write.
    r"|(?P<bare>\(\s*(?:\d\s*,\s*)?(?:alert|confirm|prompt|eval)\s*\)\s*(?:\?\.\s*)?[(`]|\$\{\s*(?:alert|confirm|prompt|eval)\s*\}"
    r"|\bobject\s*\.\s*(?:values|keys|entries|getownpropertynames)\s*\(\s*(?:window|self|top|parent|globalthis|document)\s*\)|\bfor\s*\(\s*(?:(?:var|let|const)\s+)?\w{1,16}\s+in\s+(?:self|window|top|globalthis)\s*\)"
    r"|(?<![\w.$])(?:new\s+)?function\s*(?:\(\s*[\"'`]\s*|`)(?:alert|confirm|prompt|eval|al\\|al[\"'`])|(?:defaultview|contentwindow|parentwindow)\s*\[\s*[\"'`]"
    r"|(?:\$|\bjquery)\.(?:gets?cript|globaleval)\s*\(\s*[\"'`])"
    r"|(?P<run>(?<![\w.$])(?:(?:window|self|top|parent|this|globalThis)\s*\.\s*)?(?:eval|execscript|set(?:timeout|interval|immediate)|function(?=\s{0,4}(?:\(\s{0,4}[\"'`]|`)))"
    r"(?:/\*[^*]{0,40}\*/|\s|\?\.){0,3}+[(`](?!\s*\)\s*\{))"
    r"|(?P<cookie>document\s*(?:\?\.|\.)\s*(?:cookie|domain|write(?:ln)?\s*[(`]|location|url\b|body\s*\.\s*(?:innerhtml|append)|baseuri|documenturi|referrer|implementation|defaultview|forms|scripts\b|createelement\s*\(|title\s*=)|\bwith\s*\(\s*(?:document|window|self|top|parent)\s*\)|\$\(\s*[\"'`][^()]{1,40}\)\.(?:html|append|prepend|after|before)\(\s*[\"'`]<)"
    r"|(?P<member>(?<![\w.$-])(?:window|self|top|parent|this|globalthis|frames|document|location|content|opener|\[\]|\"\"|'')\s*(?:\?\.)?\[\s*(?:[\"'`/(+!]|[a-z]+\s*[(`+.]|\d{1,3}e?\d*\s*\]\s*\[|\d+\s*\.\.?\s*tostring|\w+\]\s*\()|\[\s*(?:['\"`]\w{1,20}['\"`]\s*\+\s*){1,4}['\"`]\w{1,20}['\"`]\s*\])"
    r"|(?P<chars>string\s*(?:\.\s*fromcharcode|\.raw|\.fromcodepoint|\[\s*['\"`]fromcharcode)|\+\{\}\)\[\d|![01]\)\[\d|\batob\s*[(`]|unescape\s*\(|decodeuri(?:component)?\s*\()"
    r"|(?P<build>constructor\s*(?:\.\s*constructor|\.\s*prototype|\[|\()|\.\s*constructor\b|__proto__|\[\s*['\"`]constructor|reflect\s*\.\s*(?:apply|construct|get)|\bnew\s+function\b|\bextends\s+(?:function|eval|alert)\b|\bimport\s*\(\s*['\"`/]|\.source\b|symbol\s*[.\[]\s*(?:hasinstance|iterator|replace|toprimitive))"
    r"|(?P<place>(?<![\w.$-])(?:(?:window|self|top|parent|document|this)\s*\.\s*)?location\s*(?:=(?!=)|\.\s*(?:href|hash|search|assign|replace|pathname)\b|\[\s*['\"`])|\bname\s*\)|\burl\s*=\s*name\b|\bhistory\s*\.\s*(?:push|replace)state\b|\bwindow\s*\.\s*(?:open|name|onerror|onload)\b|\bopen\s*\(\s*[\"'`])"
    r"|(?P<page>(?:inner|outer)html|insertadjacenthtml|dangerouslysetinnerhtml|bypasssecuritytrust|\bsrcdoc\s*=)"
    r"|(?P<reach>new\s+(?:xmlhttprequest|image|websocket|activexobject)|\b(?:local|session)storage\s*[.\[]|navigator\s*\.\s*sendbeacon|\bimportscripts\s*\(|(?<![\w.$])fetch\s*[(`]\s*[\"'`/]|createobject\s*\(|xmldom)"
    r"|(?P<throw>\bthrow\s*(?:['\"`\d{]|onerror)|onerror\s*=\s*(?:alert|eval|prompt|confirm|print)|\btostring\s*=\s*(?:alert|eval)|valueof\s*=\s*(?:alert|eval|confirm|prompt)|(?:=|,|(?<=[\w\])])\()\s*(?:alert|eval|confirm|prompt)\s*[;,)\]}]|\(\s*(?:alert|confirm|prompt|eval)\s*\)\s*[(`]|\d\.\.?tostring\s*\(|\b(?:eval|alert|confirm|prompt)\s*\.\s*(?:call|apply|bind|source)\b|\[\s*(?:1|''|document\.\w+)\s*\]\s*\.\s*(?:find|map|some|every|filter|foreach|sort|flatmap)\s*\(\s*(?:alert|confirm|prompt|eval))"
    r"|(?P<quoted>['\"`](?:al|ale|aler|con|pro|ev|eva)['\"`]\s*(?:\+|\.concat|,)|/(?:al|ale|ev|con|pro)/\s*\.source))",
    re.IGNORECASE | re.ASCII,
)
# What every one of these words comes with: a quick look that spares the long one.
_ANY = re.compile(
    r"[(`\[]|\$\{|:\s*[aAeEcCpP]|[dD][oO][cC]|[cC][aA][tT][iI]|[cC][oO][nN][sS]|__|[rR][cC]|[hH][tT]|[tT][hH]|=\s*[aAeEcCpPnN]|[rR][lL]|[wW]|[sS][tT]|[nN][aA]|[.][sS]|[oO][nN]|[xX][mM][lL]"
)
_WEIGHTS = {
    "dialog": 0.45, "bare": 0.7, "run": 0.35, "cookie": 0.45, "member": 0.55, "chars": 0.5, "build": 0.45,
    "place": 0.35, "page": 0.4, "reach": 0.4, "assign": 0.75, "throw": 0.6, "quoted": 0.4,
}  # fmt: skip
# What demonstrations put between the parentheses of alert(...): a number, a word in quotes, what proves the origin.
_ARGUMENT = re.compile(
    r"\s*(?:\d[\w.]{0,20}\s*[)`;,]|['\"`\\/][^'\"`)(]{0,60}['\"`\\/]|\)|document\b|location\b|string\b|window\b|origin\b|self\b|this\b"
    r"|top\b|parent\b|null\b|cookie\b|unescape\b|name\s*\)|localstorage|xss|[\[({!+~-]|/|[^\x00-\x7f]|alert|[a-z]\)|&)",
    re.IGNORECASE | re.ASCII,
)
_BREAK_BEFORE = re.compile(
    r"(?:^|['\"`)\]};\\>/]|\b\d+|^\w{1,12})\s*[;+\-*/,|&^%?:<>={}()~!\n]+\s*(?:\w{1,6}=)?\(*$|^[\s(!+~-]*$|\$\{\s*$|javascript:\S*$"
)
_CALLED = re.compile(
    r"[(`]|=(?![\"']?\s*$)|javascript|;|\\[ux]|\$\{|&#|&\w+;|%28|//|\beval\b|\bname\b|\balert\b|\blocation\b|\bthrow\b",
    re.IGNORECASE | re.ASCII,
)
_IGNORED = re.compile(
    r"[\x00-\x20\x7f-\xa0\u200b-\u200f\u2028\u2029\ufeff]+|\\(?:[tnrfvb0]|x[01][0-9a-f]|u00[01][0-9a-f]|x20)",
    re.IGNORECASE | re.ASCII,
)
_SCHEME = re.compile(
    r"(?:\\x[0-9a-f]{2}|\\\d{1,3}|[\"'`(\\<]|url[=(:]|\d+\s*;(?:url=)?|feed:|view-source:|jar:|wyciwyg:|[^\x00-\x7f])*+"
    r"(?:(?P<code>(?:j(?:ava)?|vb|live|mocha|jav\w{1,2})script|mocha|vbs)\s*[:#]|"
    r"(?P<data>data:(?!image/(?:png|jpe?g|gif|webp|bmp|avif|x-icon))[^,]{0,120}?(?:html|svg|xml|script|,|base64))|"
    r"(?P<other>mhtml:|javascript&|about:<|ms-its:|res:/|resource:/|chrome:/))",
    re.IGNORECASE | re.ASCII,
)
_PASSED = re.compile(r"\s*(?:alert|confirm|prompt|eval)\s*[,)]", re.IGNORECASE)
_SENT = re.compile(r"location\s{0,4}(?:\.\s{0,4}href\s{0,4})?=\s{0,4}[\"'`]\s{0,4}(?:https?:)?//", re.IGNORECASE)
_ASSIGNED = re.compile(r"\s{0,4}=(?!=)|\s{0,4}[)+]")
_INVOKED = re.compile(r"\]\s{0,4}[(`=]")
_MARKUP = re.compile(r"\s{0,8}[\"'`]?\s{0,8}(?:<|\\|String|unescape|\d)")
_SYMBOLS = re.compile(r"[\[\]()!+{}~\-]{14,}")


class Script(NamedTuple):
    """How much a text is JavaScript: `weight` 0 to 1, where its words stand, whether something breaks out to there."""

    weight: float
    start: int
    end: int
    breaks_out: bool


def judge(text: str, start: int = 0, end: int | None = None) -> Script:
    """Weigh the words in a part of a text that act on a page.

    Each kind counts once and half for a second one, a call with a telling argument more, and a place directly after a
    quote, a bracket or an operator more. Linear in the text; at most 24 words are looked at.
    """
    stop = len(text) if end is None else end
    if _ANY.search(text, start, stop) is None:
        return Script(0.0, start, start, breaks_out=False)
    seen: dict[str, int] = {}
    weight = 0.0
    first = last = -1
    breaks_out = False
    for count, match in enumerate(_WORDS.finditer(text, start, stop)):
        if count >= 24:
            break
        kind = match.lastgroup or ""
        if first < 0:
            first = match.start()
            breaks_out = _BREAK_BEFORE.search(text[max(start, first - 40) : first]) is not None
        last = match.end()
        times = seen.get(kind, 0)
        seen[kind] = times + 1
        if times == 0:
            weight += _WEIGHTS[kind] + _telling(kind, match[0], text, last)
        elif times == 1:
            weight += _WEIGHTS[kind] * 0.4
    if first < 0:
        return Script(0.0, start, start, breaks_out=False)
    return Script(min(1.0, weight), first, last, breaks_out)


def _telling(kind: str, word: str, text: str, end: int) -> float:
    """What follows a word adds to, or takes from, its weight."""
    if kind in {"dialog", "run"}:
        if _ARGUMENT.match(text, end):
            return 0.3 if kind == "dialog" or _PASSED.match(text, end) else 0.15
        return -0.2 if word[-2:-1].isspace() else 0.0
    if kind == "build" and word[:6].lower() == "import":
        return 0.4 if text.startswith("//", end) else 0.25
    if kind == "cookie":
        told = (_MARKUP if word[-1] in "(`" else _ASSIGNED).match(text, end) is not None
    elif kind == "member":
        told = _INVOKED.search(text, end, end + 80) is not None
    elif kind == "place":
        told = _SENT.match(word + text[end : end + 16]) is not None
    else:
        told = False
    return 0.25 if told else 0.0


def looks_called(value: str) -> bool:
    """Tell whether the value of an event handler does something, rather than being a word."""
    return _CALLED.search(value) is not None


def symbols_only(text: str) -> tuple[int, int] | None:
    """Find a stretch of code written with brackets and operators alone (known as JSFuck): its start and end."""
    for match in _SYMBOLS.finditer(text):
        part = match[0]
        if (
            ("[]" in part or "{}" in part)
            and ("![" in part or "+[" in part or "+{" in part or "!+" in part)
            and "](" not in part[:2]
        ):
            return match.start(), match.end()
    return None


def active_url(value: str) -> tuple[str, str] | None:
    """Judge a URL as a browser reads its scheme: entities decoded, white space and control characters left out.

    Returns:
        ("code" | "data" | "other", what follows the scheme), or None for a URL that runs nothing.
    """
    head = value[:MAX_URL]
    if "&" in head:
        head = unescape(unescape(head))
    head = _IGNORED.sub("", head)
    match = _SCHEME.match(head)
    if match is None:
        return None
    return match.lastgroup or "other", head[match.end() :]
