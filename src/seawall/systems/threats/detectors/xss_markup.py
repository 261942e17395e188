"""What a page's markup may carry out: judging tags and attributes that `html_lexer` found."""

import re
from collections.abc import Callable, Iterator

from seawall.systems.threats.detector import Signal
from seawall.systems.threats.detectors.html_lexer import Attribute, Tag, tags
from seawall.systems.threats.detectors.js_words import active_url, judge, looks_called
from seawall.systems.threats.detectors.xss_pages import Page, across, is_page
from seawall.systems.threats.detectors.xss_style import STYLE_HOST, Course, active_style, carries
from seawall.systems.threats.model import Severity

__all__ = ["EVENTS", "markup"]

# Names without their "on"; a name outside of this list counts when its value looks like code.
_EVENT_NAMES = """
abort activate afterprint afterscriptexecute afterupdate animationcancel animationend animationiteration
animationstart auxclick beforeactivate beforecopy beforecut beforedeactivate beforeeditfocus beforeinput
beforematch beforepaste beforeprint beforescriptexecute beforetoggle beforeunload beforeupdate begin blur
bounce cancel canplay canplaythrough cellchange change click close command compositionend compositionstart
contentvisibilityautostatechange contextmenu controlselect copy cuechange cut dataavailable datasetchanged
datasetcomplete dblclick deactivate drag dragend dragenter dragexit dragleave dragover dragstart drop
durationchange emptied end ended error errorupdate filterchange finish focus focusin focusout formchange
formdata forminput fullscreenchange fullscreenerror gotpointercapture hashchange help input invalid keydown
keypress keyup languagechange layoutcomplete load loadeddata loadedmetadata loadend loadstart location
losecapture lostpointercapture mediacomplete mediaerror message messageerror mousedown mouseenter mouseleave
mousemove mouseout mouseover mouseup mousewheel move moveend movestart offline online orientationchange
outofsync page pagehide pagereveal pageshow pageswap paste pause play playing pointercancel pointerdown
pointerenter pointerleave pointermove pointerout pointerover pointerrawupdate pointerup popstate progress
propertychange ratechange readystatechange redo repeat reset resize resizeend resizestart resume reverse
rowdelete rowenter rowexit rowinserted rowsdelete rowsenter scroll scrollend scrollsnapchange search
securitypolicyviolation seek seeked seeking select selectionchange selectstart show slotchange stalled start
stop storage submit suspend syncrestored timeerror timeupdate toggle touchcancel touchend touchmove touchstart
trackchange transitioncancel transitionend transitionrun transitionstart undo unhandledrejection unload
urlflip volumechange waiting webkitanimationend webkitanimationiteration webkitanimationstart
webkitmouseforcechanged webkitmouseforcedown webkittransitionend wheel zoom zoomin zoomout
"""
EVENTS = frozenset(_EVENT_NAMES.split())
_URL_NAMES = """
action archive background cite classid code codebase content data dynsrc folder formaction from href icon
imagesrcset longdesc lowsrc manifest object ping poster profile src srcset to usemap value values url
xlink:href xml:base by begin implementation file
"""
_URLS = frozenset(_URL_NAMES.split())
# Attributes of client-side frameworks whose values are expressions.
_FRAMEWORKS = ("v-", "x-", "ng-", "hx-on", "data-bind", "data-on", "data-ng-", "data-v-", "wire:", "up-on")
# Names that a page's script would find in place of what the browser has there.
_CLOBBERED = re.compile(
    r"(?:getelement(?:byid|s\w+)|queryselector\w*|createelement\w*|currentscript|defaultview|documentelement|(?:inner|outer)(?:html|text)"
    r"|attributes|node(?:name|type|value)|parent(?:node|element)|(?:first|last|next|previous)(?:child|sibling|element\w+)|child(?:nodes|ren)"
    r"|ownerdocument|appendchild|removechild|replacechild|insertbefore|(?:set|get|remove|has)attribute\w*|addeventlistener|textcontent"
    r"|baseuri|tostring|valueof|hasownproperty|__proto__|prototype|constructor|implementation|importnode|adoptnode)",
    re.IGNORECASE,
)
_NAMEABLE = frozenset(
    {
        *("a", "area", "form", "img", "input", "iframe", "embed", "object", "button", "output", "textarea", "select"),
        *("fieldset", "image", "map", "svg"),
    }
)
# Properties of the document itself, which elements of these kinds take the place of.
_TAKEN = frozenset(
    {
        *("cookie", "domain", "body", "forms", "scripts", "referrer", "readystate", "defaultview", "implementation"),
        "plugins",
    }
)
_TAKES = frozenset({"form", "img", "image", "embed", "object", "iframe"})
# What a form without an address of its own gives to scripts that look for settings: `<form id=config><input name=url`.
_SETTINGS = re.compile(
    r"\s{0,8}[\"']?>?\s{0,8}<form\s{1,4}(?:(?:id|name)\s{0,4}=\s{0,4}[\"']?[\w-]{1,64}[\"']?\s{0,4}){1,2}>\s{0,8}"
    r"<(?:input|output|button|textarea|select|fieldset|img|object)\s[^<>]{0,80}\b(?:id|name)\s{0,4}=[^<>]{0,200}>"
    r"[^<>]{0,80}(?:</\w{1,16}>\s{0,4}){0,2}",
    re.IGNORECASE,
)
_REMOTE = re.compile(r"\s{0,8}(?:https?:)?[\\/]{2}[^\s/\\]", re.IGNORECASE)
_LATE_VALUE = re.compile(r"[\s\x00-\x20]{0,16}=")
# Attributes that act by themselves; those that bind data were Internet Explorer's.
_ACTIVE = {
    "allowscriptaccess": 0.86,
    "dataformatas": 0.86,
    "datafld": 0.8,
    "datasrc": 0.86,
    "srcdoc": 0.93,
}
_TEXTUAL = frozenset({"a", "p", "span", "div", "td", "img"})
_MEDIA_HOSTS = re.compile(
    r"(?:https?:)?//(?:(?:www|player|m|open|w)\.)?(?:youtube(?:-nocookie)?\.com/embed/|vimeo\.com/|youtu\.be/|google\.[a-z.]{2,6}/maps"
    r"|maps\.google\.|spotify\.com/embed|soundcloud\.com/player|dailymotion\.com/embed|facebook\.com/plugins|codepen\.io/)",
    re.IGNORECASE | re.ASCII,
)
_INSTRUCTION = re.compile(
    r"<\?(?:import\b|xml:namespace|xml-stylesheet[^>]{0,200}(?:script|expression))", re.IGNORECASE
)
_CODE = re.compile(r"[(;=`\[{]|//|\+\+")
# Elements that rich text does not have: (confidence, with what attribute it rises, to which confidence).
_ELEMENTS: dict[str, tuple[float, frozenset[str], float]] = {
    "iframe": (0.6, frozenset({"src", "srcdoc"}), 0.86),
    "frame": (0.6, frozenset({"src"}), 0.86),
    "frameset": (0.7, frozenset(), 0.7),
    "object": (0.6, frozenset({"data", "classid", "type", "codebase"}), 0.86),
    "embed": (0.6, frozenset({"src", "code", "type"}), 0.86),
    "applet": (0.75, frozenset({"code", "archive", "codebase"}), 0.88),
    "base": (0.4, frozenset({"href"}), 0.88),
    "bgsound": (0.7, frozenset({"src"}), 0.86),
    "layer": (0.5, frozenset({"src"}), 0.88),
    "ilayer": (0.6, frozenset({"src"}), 0.88),
    "portal": (0.3, frozenset({"src"}), 0.8),
    "isindex": (0.75, frozenset({"action", "formaction", "type"}), 0.88),
    "plaintext": (0.86, frozenset(), 0.86),
    "event-source": (0.6, frozenset({"src"}), 0.86),
    "marquee": (0.5, frozenset(), 0.5),
    "form": (0.45, frozenset({"action"}), 0.75),
    "button": (0.3, frozenset({"formaction", "form"}), 0.86),
    "input": (0.3, frozenset({"formaction", "autofocus"}), 0.75),
    "meta": (0.3, frozenset(), 0.3),
    "link": (0.3, frozenset(), 0.3),
    "style": (0.45, frozenset(), 0.45),
    "svg": (0.4, frozenset(), 0.4),
    "math": (0.3, frozenset({"href", "xlink:href"}), 0.6),
    "xml": (0.3, frozenset({"src", "id"}), 0.86),
    "animate": (0.3, frozenset({"attributename"}), 0.5),
    "set": (0.3, frozenset({"attributename"}), 0.86),
    "xss": (0.88, frozenset(), 0.85),
    "import": (0.3, frozenset({"namespace", "implementation"}), 0.85),
    "comment": (0.3, frozenset(), 0.3),
    "x": (0.3, frozenset(), 0.3),
}


def _attribute(tag: Tag, attribute: Attribute) -> Signal | None:
    name, value = attribute.name, attribute.value
    if name.startswith("on") and len(name) > 4:
        return _handler(attribute)
    if name == "style" or name in _ACTIVE:
        return _styled(attribute) if name == "style" else _signal(f"xss-{name}", _ACTIVE[name], attribute)
    if name[:1] in {"@", ":"} or name.startswith(_FRAMEWORKS):
        return _signal("xss-event-handler", 0.85, attribute) if judge(value).weight >= 0.4 else None
    if value and (
        name in _URLS or name == "ping" or name.endswith((":href", ":src")) or ":" in value or name.startswith("&")
    ):
        return _url(tag, attribute)
    if name in {"id", "name"} and _clobbers(tag.name, value):
        return _signal("xss-clobbering", 0.85, attribute)
    code = name if not value and "(" in name else value if tag.name not in _TEXTUAL else ""
    return _signal("xss-attribute", 0.75, attribute) if code and judge(code).weight >= 0.7 else None


def _styled(attribute: Attribute) -> Signal | None:
    if active_style(attribute.value):
        return _signal("xss-style", 0.93, attribute)
    return _signal("xss-style", 0.8, attribute) if carries(attribute.value) else None


def _clobbers(element: str, name: str) -> bool:
    """Tell whether an element of that name is found in place of what scripts look for."""
    if element in _NAMEABLE and _CLOBBERED.fullmatch(name) is not None:
        return True
    return element in _TAKES and name.lower() in _TAKEN


def _handler(attribute: Attribute) -> Signal | None:
    event = attribute.name[2:].rstrip("0123456789._:#-")
    called = looks_called(attribute.value)
    if event in EVENTS:
        return _signal("xss-event-handler", 0.97 if called else 0.86 if attribute.value else 0.45, attribute)
    if not event.isalpha() or not attribute.value:
        return None
    return _signal("xss-event-handler", 0.88 if called else 0.75, attribute)


def _url(tag: Tag, attribute: Attribute) -> Signal | None:
    found = active_url(attribute.value)
    if found is None and attribute.name == "ping":
        return _signal("xss-attribute", 0.78, attribute) if _REMOTE.match(attribute.value) else None
    if found is None:
        if attribute.value.startswith("&{") or (
            attribute.name in {"src", "dynsrc", "lowsrc", "poster", "background"}
            and judge(attribute.value).weight >= 0.7
        ):
            return _signal("xss-url", 0.85, attribute)
        return None
    kind, rest = found
    expected = attribute.name in _URLS or attribute.name.endswith(("href", "src"))
    if kind == "code":
        harmless = rest.rstrip(";").lower() in {"", "void(0)", "void0", "//"}
        return _signal("xss-url", 0.5 if harmless else 0.97 if expected else 0.85, attribute)
    if kind == "data":
        lowered = attribute.value[:64].lower()
        image = (
            "image/svg" in lowered
            and tag.name in {"img", "image"}
            and "script" not in rest.lower()
            and "onload" not in rest.lower()
        )
        return _signal("xss-data-url", 0.4 if image else 0.93, attribute) if expected else None
    return _signal("xss-url", 0.8, attribute)


def _signal(rule: str, confidence: float, at: Attribute | Tag) -> Signal:
    severity = Severity.HIGH if confidence >= 0.7 else Severity.MEDIUM
    return Signal(rule, severity, confidence, at.start, at.end)


def _script(text: str, tag: Tag, course: Course) -> Signal:
    """A script element: what follows its tag, or its source, tells code from a mention in prose."""
    stop = text.find("<", tag.end)
    body = text[tag.end : tag.end + 400 if stop < 0 else min(stop, tag.end + 400)]
    names = {attribute.name for attribute in tag.attributes}
    ends = text[stop : stop + 12].replace(" ", "").lower().startswith("</script") if stop >= 0 else False
    if "[^>]" in text[tag.start : tag.end + 4]:  # an expression that finds script elements
        confidence = 0.5
    elif names & {"src", "href", "xlink:href", "data", "type", "language", "defer"} and tag.closed:
        confidence = 0.86 if course.words(text) >= 4 else 0.95
    elif ends or judge(body).weight > 0.3:
        confidence = 0.97
    elif _CODE.search(body) or tag.attributes:
        confidence = 0.85
    elif body.strip():
        confidence = 0.5
    else:
        confidence = 0.75
    return Signal(
        "xss-script",
        Severity.CRITICAL if confidence > 0.9 else Severity.HIGH,
        confidence,
        tag.start,
        tag.end + min(len(body), 60),
    )


def _element(text: str, tag: Tag, course: Course) -> Signal | None:
    name = tag.name
    if name == "script" or name.endswith(":script"):
        return _script(text, tag, course)
    entry = _ELEMENTS.get(name)
    if entry is None:
        return None
    confidence, raising, raised = entry
    names = {attribute.name: attribute.value for attribute in tag.attributes}
    if raising and not raising.isdisjoint(names):
        confidence = raised
    raises = _RAISERS.get(name)
    if raises is not None:
        confidence = raises(names) or confidence
    elif name == "style" and course.runs(text, tag):
        confidence = 0.9
    return _signal("xss-element", confidence, tag) if confidence >= 0.4 else None


def _embedded(names: dict[str, str]) -> float:
    return 0.4 if _MEDIA_HOSTS.match(names.get("src", "") or names.get("data", "")) else 0.0


def _meta(names: dict[str, str]) -> float:
    equivalent = names.get("http-equiv", "").lower().strip("\\\"'")
    if equivalent in {"refresh", "set-cookie", "link", "content-security-policy"}:
        return 0.88
    return 0.9 if "utf-7" in (names.get("content", "") + names.get("charset", "")).lower() else 0.0


def _link(names: dict[str, str]) -> float:
    relation = names.get("rel", "").lower().strip("\\\"'")
    if relation in {"import", "prefetch", "preload", "dns-prefetch", "manifest"}:
        return 0.86
    if "stylesheet" not in relation or "href" not in names:
        return 0.0
    return 0.45 if STYLE_HOST.match(names["href"]) else 0.86


def _input(names: dict[str, str]) -> float:
    return 0.7 if names.get("type", "").lower() == "image" and "src" in names else 0.0


_RAISERS: dict[str, Callable[[dict[str, str]], float]] = {
    "embed": _embedded,
    "iframe": _embedded,
    "input": _input,
    "link": _link,
    "meta": _meta,
    "object": _embedded,
}
"""What the attributes of an element say beyond its name: a confidence, or 0 for nothing."""


def _instruction(text: str, tag: Tag) -> Signal | None:
    """A processing instruction that old browsers carried out."""
    match = _INSTRUCTION.match(text, tag.start)
    return _signal("xss-element", 0.88, tag) if match else None


def _attributes(text: str, tag: Tag) -> Iterator[Signal]:
    pending: Attribute | None = None
    for attribute in tag.attributes:
        if pending is not None and (
            (not attribute.name and looks_called(attribute.value))
            or (pending.value and judge(text, attribute.start, attribute.end).weight)
        ):
            # Characters that some browsers skip between an event's name and its value.
            yield _signal("xss-event-handler", 0.93, pending)
        signal = _attribute(tag, attribute)
        if signal is not None:
            yield signal
        if _is_event(text, attribute):
            pending = attribute
        elif attribute.name or attribute.value:  # not a lone sign between them
            pending = None


def _is_event(text: str, attribute: Attribute) -> bool:
    """Tell whether an attribute is an event whose value is still to come, or has one for its value."""
    if not attribute.value:
        return attribute.name[2:] in EVENTS
    last = attribute.value.replace("/", " ").rpartition(" ")[2].lower()
    return last[:2] == "on" and last[2:] in EVENTS and _LATE_VALUE.match(text, attribute.end) is not None


def markup(text: str) -> Iterator[Signal]:
    """Judge every tag of a text: its element, then each of its attributes. Linear in the text."""
    page = Page() if is_page(text) else None
    course = Course()
    for tag in tags(text):
        for signal in _tag(text, tag, course):
            yield page.softened(text, tag, signal) if page else signal
    yield from across(text)
    settings = _SETTINGS.fullmatch(text) if "form" in text[:24].lower() else None
    if settings is not None:
        yield Signal("xss-clobbering", Severity.HIGH, 0.78, 0, len(text))


def _tag(text: str, tag: Tag, course: Course) -> Iterator[Signal]:
    if not tag.closing:
        signal = _instruction(text, tag) if tag.name == "?" else _element(text, tag, course)
        if signal is not None:
            yield signal
    yield from _attributes(text, tag)
