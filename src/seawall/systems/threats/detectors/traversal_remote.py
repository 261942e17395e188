"""File inclusion without a step up: wrappers of PHP and Java, remote scripts, shares and devices of Windows."""

import re
from collections.abc import Iterator

from seawall.systems.threats.detector import Signal
from seawall.systems.threats.detectors.prose import plain_words
from seawall.systems.threats.detectors.traversal_files import DOCUMENTS, wanted
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["inclusions"]

MAX_HITS = 12
MAX_NAME = 256

_WRAPPER = re.compile(
    r"(?<![\w.-])(?:(?P<php>php://(?:filter|input|stdin|fd|memory|temp|output)|phar://|expect://|zip://|rar://|ogg://|ssh2\.\w+://|glob://|compress\.(?:zlib|bzip2)://)"
    r"|(?P<file>file:(?:/{1,3}(?:\w|\.|%|~)|/{4,16}|//\\|\\|[a-z]:|\.{1,2}/|\.\.)|netdoc:/|(?:jar|war):(?:file|https?):|vfs(?:zip|file)?:/|bundleresource://|(?P<own>classpath\*?:[\w./*]))"
    r"|(?P<data>data://|data:(?:text/(?:plain|x-php)|application/x-httpd-php)?;?(?:charset=[\w-]+)?(?:;?base64)?,\s*(?:PD9w|PD89|PD9|<\?)))",
    re.IGNORECASE | re.ASCII,
)
_FILTER = re.compile(r"convert\.|resource=|read=|string\.rot13|zlib\.|iconv", re.IGNORECASE | re.ASCII)
# Where a script was loaded from, as stack traces and pages that were saved to a disk say.
_SOURCE = re.compile(
    r"^file:/{2,3}[^\s?#]{1,400}\.(?:[cm]?[jt]sx?|vue|svelte|s?css|html?|py|png|jpe?g|svg|pdf)(?:[?#:]\S{0,200})?$",
    re.IGNORECASE | re.ASCII,
)
# A wrapper of a name rather than an address: no page comes from there.
_NAMELESS = re.compile(r"^\s{0,4}file://[\w-]{1,32}(?:\.php\d?)?\s{0,4}$", re.IGNORECASE | re.ASCII)
# What a server runs, which no browser ever opens.
_PROGRAM_TEXT = re.compile(
    r"^[\s\"']{0,2}file:/{2,3}(?:[^\s?#]{1,400}\.(?:py|vue|svelte|ts|tsx)|(?:app|code|srv|workspace|usr/src|var/www)/[^\s?#]{1,400})[\"']?$",
    re.IGNORECASE | re.ASCII,
)
_FETCHED = frozenset({PlaceKind.QUERY, PlaceKind.FORM, PlaceKind.COOKIE})
_SCRIPT = r"(?:txt|php\d?|phtml|inc|aspx?|jspx?|cgi|sh|pl|dat)"
_REMOTE = re.compile(
    # The query that is cut off what the server appends.
    r"^[\s\"'=]{0,2}(?:https?|ftps?|hxxps?)?:?//[^\s/?#]{1,100}(?:/[^\s?#]*)?"
    rf"(?:\.(?:txt|jpe?g|gif|png|dat|inc|log|pdf)\?+&?$|\.php\?\?+$|/raw/[\w./-]{{1,80}}\?$|\x00|%00|\?\.{_SCRIPT}$)"
    r"|^(?:(?:https?|ftps?):)?//[^\s?#]{1,200}/(?:c99|r57|c100|shell|cmd|evil|backdoor|phpshell|webshell|safe\d?|test_?rfi|rfi\w*|inject\w*|bot|exploit|id\d?|inc|echo|fx29\w*|malicious|payload|pwn(?:ed)?|hack(?:ed)?|rev(?:erse)?(?:[_-]?shell)?|b374k|wso|p0wny)\.?(?:txt|php\d?|jpg|gif|asp|jsp|sh|pl|dat|inc)(?:\?|$)"
    rf"|=(?:https?|ftps?)://[^\s?#&=]{{1,200}}\.{_SCRIPT}\?+$"
    r"|^(?:https?|ftps?)://[^\s?#]{1,200}\?&?(?:cmd|exec|command)=(?:id|ls|uname|cat|whoami|dir|wget|curl|nc|pwd|ps|ifconfig|sh|bash|phpinfo)\b",
    re.IGNORECASE | re.ASCII,
)
_BY_ADDRESS = re.compile(
    rf"^[\s\"'=]{{0,2}}(?:https?:|ftps?:)?(?://|\\\\)\d{{1,3}}(?:\.\d{{1,3}}){{3}}(?::\d{{1,5}})?[/\\](?:[^\s?#/\\]{{1,80}}[/\\]){{0,6}}[^\s?#/\\]{{1,80}}\.{_SCRIPT}(?:\?|$)"
    r"|^\\\\\d{1,3}(?:\.\d{1,3}){3}/\S",
    re.IGNORECASE | re.ASCII,
)
_SHARE = re.compile(
    r"^[\s\"']{0,2}\\\\(?:(?P<device>\?\\|\.\\)|(?P<host>[\w-]+(?:\.[\w-]+)*)(?P<dav>@(?:ssl|\d{1,5}|ssl@\d{1,5}))?\\(?P<folder>[\w$.-]+))",
    re.IGNORECASE,
)
_ADMINISTRATIVE = re.compile(r"^(?:[a-z]|admin|ipc|print|fax)\$$", re.IGNORECASE)
_ADMINISTRATIVE_URL = re.compile(
    r"^[\s\"']{0,2}//[\w.-]{1,100}/(?:[c-h]|admin|ipc|print|fax)\$(?:/|$)", re.IGNORECASE | re.ASCII
)
_SHELL_URL = re.compile(
    r"/(?:c99|r57|b374k|wso|p0wny|webshell|backdoor|phpshell)\.|\?&?(?:cmd|exec|command)=", re.IGNORECASE
)
_DEVICE = re.compile(
    r"^[\s\"']{0,2}(?:[\w.-]{0,40}[/\\]){0,4}(?:con|aux|nul|prn|com[1-9]|lpt[1-9])(?::\.\w{1,8}|\.(?:aspx?|jspx?|php|cfm))$",
    re.IGNORECASE | re.ASCII,
)
# Servers of Microsoft tell by their answer whether a short name begins so.
_SHORT_NAME = re.compile(r"[/\\]\w{0,8}(?:[*?]{1,8}~\d{1,2}(?:[*?/.]|$)|~\d{1,2}[*?])", re.ASCII)
_STREAM = re.compile(
    r"\w\.(?:aspx?|php\d?|jspx?|config|inc|asa)::\$(?:data|index_allocation)", re.IGNORECASE | re.ASCII
)


def inclusions(text: str, kind: PlaceKind) -> Iterator[Signal]:
    """Find what includes a file without climbing to it. Linear in the text."""
    if ":" in text:
        yield from _wrappers(text, kind)
        stream = _STREAM.search(text)
        if stream:
            yield _signal("traversal-stream", 0.86, stream)
    if "//" in text or "\\\\" in text:
        yield from _remote(text, kind)
    device = _DEVICE.match(text)
    if device:
        yield _signal("traversal-device", 0.8, device)
    if "~" in text:
        short = _SHORT_NAME.search(text)
        if short and len(text) <= MAX_NAME and plain_words(text) <= 1:
            yield _signal("traversal-short", 0.86, short)


def _wrappers(text: str, place: PlaceKind) -> Iterator[Signal]:
    prose = plain_words(text) >= 6
    for count, match in enumerate(_WRAPPER.finditer(text)):
        if count >= MAX_HITS:
            return
        leading = not text[: match.start()].strip("\"'`( =&?<")
        kind = match.lastgroup
        if match["own"]:
            confidence = 0.45 if place in DOCUMENTS or place == PlaceKind.HEADER else 0.86 if leading else 0.5
        elif kind == "file":
            confidence = _judge_local(text, match, place, leading=leading)
        else:
            filtered = _FILTER.search(text, match.end(), match.end() + 200)
            confidence = 0.93 if kind == "data" or leading or filtered else 0.8
        if prose:
            confidence = min(confidence, 0.5)
        yield Signal(
            "traversal-wrapper",
            Severity.HIGH,
            confidence,
            match.start(),
            min(len(text), match.end() + 60),
            ThreatClass.FILE_INCLUSION,
        )


def _judge_local(text: str, match: re.Match[str], place: PlaceKind, *, leading: bool) -> float:
    """A file of this machine as an address, unless it is a source that a browser or a runtime tells of."""
    named = wanted(text[match.start() : match.start() + 300].replace("\\", "/"))
    if not leading:
        return 0.6
    if named and (named[0] == "secret" or place not in DOCUMENTS):
        return 0.9
    if place == PlaceKind.HEADER and _NAMELESS.match(text):
        return 0.8
    if place in _FETCHED and _PROGRAM_TEXT.match(text):
        return 0.86
    if place == PlaceKind.HEADER or _SOURCE.match(text.strip("\"' \t\r\n")):
        return 0.4
    return 0.86


def _remote(text: str, kind: PlaceKind) -> Iterator[Signal]:
    remote = _REMOTE.search(text)
    if remote and (kind != PlaceKind.HEADER or remote[0].startswith("=") or _SHELL_URL.search(text)):
        yield _signal("traversal-remote", 0.86, remote, ThreatClass.FILE_INCLUSION)
    elif kind not in DOCUMENTS and kind != PlaceKind.HEADER:
        remote = _BY_ADDRESS.match(text)
        if remote:
            yield _signal("traversal-remote", 0.8, remote, ThreatClass.FILE_INCLUSION)
    share = _SHARE.match(text)
    confidence = _judge_share(share, kind) if share else 0.0
    if share and share["device"] and (named := wanted(text[:MAX_NAME].replace("\\", "/"))) and named[0] == "secret":
        confidence = 0.86
    if share is None:
        share = _ADMINISTRATIVE_URL.match(text)
        confidence = 0.86
    if share and confidence:
        yield _signal("traversal-share", confidence, share)


def _judge_share(share: re.Match[str], kind: PlaceKind) -> float:
    """A share of Windows: a server by its plain name is a colleague's link, one with an address or a domain is not."""
    if share["device"]:
        return 0.55 if kind in DOCUMENTS else 0.8
    host = share["host"]
    if share["dav"]:
        return 0.9
    if _ADMINISTRATIVE.match(share["folder"]):
        return 0.86
    if host.startswith("127.") or host.lower() == "localhost":
        return 0.86
    if "." not in host:
        return 0.0
    return 0.65 if kind in DOCUMENTS and not host.replace(".", "").isdigit() else 0.8


def _signal(rule: str, confidence: float, match: re.Match[str], category: ThreatClass | None = None) -> Signal:
    severity = Severity.CRITICAL if confidence >= 0.9 else Severity.HIGH if confidence >= 0.6 else Severity.MEDIUM
    return Signal(rule, severity, confidence, match.start(), match.end(), category)
