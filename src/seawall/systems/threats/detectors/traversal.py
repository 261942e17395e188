"""Path traversal and file inclusion: paths that climb, files that only an attacker asks for, and wrappers around them.

A value is first brought to one spelling of dots and slashes; then its segments are read as a file system would.
"""

import re
from collections.abc import Iterator, Sequence

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.detectors.prose import plain_words
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["DETECTOR"]

MAX_SIGNALS = 8
MAX_HITS = 12

# What is left of dots and slashes when a decoder has not taken them for such: overlong UTF-8 as escapes, as bytes read
# as Latin-1 and as lone surrogates, hexadecimal as some servers take it, full-width and other look-alikes.
_DOTS = re.compile(
    r"%c0%(?:ae|2e)|%e0%80%ae|%uff0e|%25?2e|\xc0\xae|\udcc0\udcae|0x2e|[\uff0e\u3002\u2024\ufe52]", re.IGNORECASE
)
_SLASHES = re.compile(
    r"[/\\](?:[\x00/\\]|%00)*|(?:%c0%(?:af|2f|5c)|%c1%(?:9c|1c|8s|pc|af)|%e0%80%af|%u221[56]|%uff0f|%25?(?:2f|5c)|\xc0\xaf|\xc1\x9c|\udcc0\udcaf|\udcc1\udc9c"
    r"|0x(?:2f|5c)|[\uff0f\uff3c\u2215\u2216\u2044])+(?:[/\\])*",
    re.IGNORECASE | re.ASCII,
)
_CLIMB = re.compile(r"(?<![\w.])(?P<lead>/|%{1,4})?(?P<dots>\.{2,4})(?P<odd>;[^/]{0,16}|%00|\x00|\"{2}|'{2}|\s)?(?=/)")
_CLIMB_ANY = re.compile(r"\.\.(?:;[^/]{0,16})?/")
_STILL = re.compile(r"(?:/\.){4,}(?=/|$)|(?:\./){4,}|(?:/\.{3,}){2,}(?=/|$)|(?:^|/)\.{6,}/|(?:/\.{2,4}){3,64}$")
_SQUASHED = re.compile(
    r"(?<!\.)\.{4,}(?:etc|windows|winnt|b?oot\.ini|proc|web-inf|inetpub)|^(?:file:/?)?[a-z]:(?:windows|winnt|inetpub|boot\.ini|oot\.ini)",
    re.IGNORECASE | re.ASCII,
)
_WANTED = re.compile(
    r"(?<![A-Za-z0-9])(?:etc/(?:\./)*(?:passwd|shadow|group|gshadow|hosts|issue|motd|crontab|fstab|sudoers|ssh/|mysql/|apache2?/|httpd/|nginx/|php|environment|hostname|resolv\.conf"
    r"|os-release|[a-z]{2,10}-release|security/|init\.d/|rc\.|profile|bash\.?bashrc|inetd|exports|ldap|samba|network)"
    r"|proc/(?:self|version|cmdline|cpuinfo|mounts|net/|\d+/|sched_debug|environ)|root/\.|\.ssh/(?:id_|authorized|known|config)|\bid_(?:rsa|dsa|ecdsa|ed25519)\b"
    r"|\.bash_(?:history|profile)|\.mysql_history|\.aws/(?:credentials|config)|\.kube/config|\.docker/config|\.git/(?:config|head|index|logs)|\.svn/(?:entries|wc\.db)|\.ht(?:passwd|access)\b"
    r"|(?:web|meta)-inf\.?/|\bwp-config\.php|\b(?:boot|win|system|desktop|php)\.ini\b|windows/(?:system32|system|repair|panther|debug|win\.ini|temp|php|iis)|winnt/|inetpub/|system32/"
    r"|\bntds\.dit\b|\bunattend(?:ed)?\.xml|config/sam\b|sysprep/|\btomcat-users\.xml|conf/(?:server\.xml|httpd\.conf|web\.xml)|\bhttpd\.conf\b|\bnginx\.conf\b|\bmy\.cnf\b"
    r"|\bweb\.config\b|\bmachine\.config\b|\bglobal\.asax\b|\bappsettings\.json\b|\b(?:database|secrets|credentials)\.ya?ml\b|var/(?:log/(?:apache|httpd|nginx|auth|syslog|messages|mail|lastlog|secure|vsftpd|xferlog|faillog|access|error)|www/html/|run/secrets|lib/(?:mlocate|mysql|php))"
    r"|usr/local/(?:apache|etc/|php|nginx)|dev/(?:random|zero|tcp|fd/\d|stdin)\b|bin/(?:sh|bash|id|ls|cat|sleep)\b|\bcmd\.exe\b|/xampp/|/apache/logs?/|\bsecurity/passwd\b)",
    re.IGNORECASE | re.ASCII,
)
_ROOTED = re.compile(
    r"^[\s\"'(=]{0,3}(?:file:/*)?(?:(?:/|[a-z]:/?|%00|\x00|/\?\?/|~/)[^\s]*)$|[=:\x00]/?(?:etc|proc|windows|winnt)/",
    re.IGNORECASE | re.ASCII,
)
_WRAPPER = re.compile(
    r"(?<![\w.-])(?:(?P<php>php://(?:filter|input|stdin|fd|memory|temp|output)|phar://|expect://|zip://|rar://|ogg://|ssh2\.\w+://|glob://|compress\.(?:zlib|bzip2)://)"
    r"|(?P<file>file:(?:/{1,3}(?:\w|\.|%|~)|\\|[a-z]:|\.\.)|netdoc:/|jar:(?:file|https?):)"
    r"|(?P<data>data:(?://)?(?:text/(?:plain|x-php)|application/x-httpd-php)?;?(?:charset=[\w-]+)?(?:;?base64)?,\s*(?:PD9w|PD89|PD9|<\?)))",
    re.IGNORECASE | re.ASCII,
)
_FILTER = re.compile(r"convert\.|resource=|read=|string\.rot13|zlib\.|iconv", re.IGNORECASE | re.ASCII)
_REMOTE = re.compile(
    r"^[\s\"'=]{0,2}(?:https?|ftps?|hxxps?)?:?//[^\s/?#]{1,100}(?:/[^\s?#]*)?"
    r"(?:\.(?:txt|jpe?g|gif|png|dat|inc|log|pdf)\?+&?$|\.php\?\?+$|\x00|%00)"
    r"|^(?:https?|ftps?)://[^\s?#]{1,200}/(?:c99|r57|c100|shell|cmd|evil|backdoor|phpshell|webshell|safe\d?|test_?rfi|rfi\w*|inject\w*|bot|exploit|id\d?|inc|echo|fx29\w*)\.?(?:txt|php\d?|jpg|gif|asp|jsp|sh|pl|dat)(?:\?|$)",
    re.IGNORECASE | re.ASCII,
)
_SHARE = re.compile(
    r"^[\s\"']{0,2}\\\\(?:\?\\|\.\\|[\w-]+(?:\.[\w-]+)+(?:@\w+)?\\[\w$.-]+|[\w.-]+\\[a-z]\$)", re.IGNORECASE
)
_SUFFIX = re.compile(r"(?:\x00|%00|\\0|\\x00)(?:\.\w{2,5})?[\"']?$")
_ASSET = re.compile(
    r"\w\.(?:png|jpe?g|gif|svg|webp|css|js|mjs|tsx?|woff2?|ico|md|html?)[\"']?$", re.IGNORECASE | re.ASCII
)
_TEMPLATE = re.compile(r"[/\\]\.{2,}(?:[/\\]*)\{?(?:file(?:name)?|FILE)\}?[\"']?$")


def _normal(text: str) -> str:
    """One spelling: dots as ".", runs of slashes and backslashes as "/". Shorter than the text or as long."""
    return _SLASHES.sub("/", _DOTS.sub(".", text))


def _climbs(text: str, plain: str, kind: PlaceKind) -> Iterator[Signal]:
    climbs = list(_CLIMB.finditer(plain))[:64]
    wanted = _WANTED.search(plain)
    ups = len(climbs) or (1 if _CLIMB_ANY.search(plain) else 0)
    words = plain_words(text)
    whole = words <= 1 and len(text) <= 2048 and "\n" not in text.strip()
    if ups:
        first = climbs[0].start() if climbs else 0
        if not whole:
            confidence = (0.9 if words < 6 else 0.6) if wanted else (0.3, 0.4, 0.55)[min(ups, 3) - 1]
        elif wanted or ups >= 3:
            confidence = 0.97 if wanted else 0.93
        else:
            confidence = (0.45 if _ASSET.search(plain) else 0.86) if ups == 2 else _single(text, plain, climbs, kind)
            if any(map(_odd, climbs)) or _DOTS.search(text) or ".." not in text:
                confidence = max(confidence + 0.2, 0.86)
        end = wanted.end() if wanted else climbs[-1].end() if climbs else len(plain)
        yield _signal("traversal-climb", confidence, first, end, text)
    still = _STILL.search(plain)
    if still and whole:
        yield _signal("traversal-still", 0.95 if wanted else 0.86, still.start(), still.end(), text)
    if wanted and not ups:
        yield _signal(
            "traversal-file", _target(text, plain, wanted, whole=whole, words=words), wanted.start(), wanted.end(), text
        )


def _odd(climb: re.Match[str]) -> bool:
    """Tell whether a step up is written as no link is: with more dots, or with something that a server may ignore."""
    return bool(climb["odd"]) or len(climb["dots"]) > 2 or "%" in (climb["lead"] or "")


def _single(text: str, plain: str, climbs: list[re.Match[str]], kind: PlaceKind) -> float:
    """One step up alone: relative links are honest, a step up in a request's path is not."""
    if kind in {PlaceKind.PATH, PlaceKind.FILENAME}:
        return 0.8
    if climbs and climbs[0]["lead"] and climbs[0].start() == 0:
        return 0.75
    if "\\" in text and "/" in text.replace("\\/", ""):
        return 0.6
    return 0.45 if plain.lstrip("\"' ").startswith("../") or "://" in text else 0.5


def _target(text: str, plain: str, wanted: re.Match[str], *, whole: bool, words: int) -> float:
    """A wanted file without a climb: as the whole of a value it is telling, in prose it is a mention."""
    folder = plain[wanted.end() - 1 : wanted.end()] == "/" or "system32" in wanted[0].lower()
    if whole and _ROOTED.search(plain):
        return 0.6 if folder and not plain.startswith("/") else 0.93
    if whole and wanted.start() <= 1 and wanted.end() >= len(plain) - 12:
        return 0.8
    if whole and not text.startswith(("http:", "https:")):
        return 0.7 if len(text) < 200 and " " not in text.strip() else 0.5
    return 0.45 if words < 3 else 0.35


def _wrappers(text: str, place: PlaceKind) -> Iterator[Signal]:
    for count, match in enumerate(_WRAPPER.finditer(text)):
        if count >= MAX_HITS:
            return
        leading = not text[: match.start()].strip("\"'`( =&?<")
        prose = plain_words(text) >= 6
        kind = match.lastgroup
        if kind == "file":
            wanted = _WANTED.search(_normal(text[match.start() : match.start() + 300]))
            confidence = (0.9 if wanted else 0.4 if place == PlaceKind.HEADER else 0.86) if leading else 0.6
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


def _others(text: str, plain: str, kind: PlaceKind) -> Iterator[Signal]:
    """What needs no file name: remote scripts, network shares, cut-off suffixes, dots whose slashes were taken out."""
    if ":" in text:
        yield from _wrappers(text, kind)
    if "//" in text and kind != PlaceKind.HEADER:
        remote = _REMOTE.search(text)
        if remote:
            yield Signal(
                "traversal-remote", Severity.HIGH, 0.86, remote.start(), remote.end(), ThreatClass.FILE_INCLUSION
            )
    share = _SHARE.match(text)
    if share:
        yield _signal("traversal-share", 0.65, share.start(), share.end(), text)
    suffix = _SUFFIX.search(text)
    if suffix and ("." in text or "/" in text) and len(text) < 1024 and plain_words(text) <= 1:
        yield _signal("traversal-null", 0.86, suffix.start(), suffix.end(), text)
    squashed = _SQUASHED.search(text) or _TEMPLATE.search(plain)
    if squashed:
        yield _signal("traversal-climb", 0.86, squashed.start(), squashed.end(), text)


def scan(text: str, kind: PlaceKind) -> Sequence[Signal]:
    """Judge one view of a value. Linear in the text."""
    plain = _normal(text)
    signals = [signal for signal in _climbs(text, plain, kind) if signal.confidence >= 0.3]
    signals.extend(_others(text, plain, kind))
    if len(signals) > 1:
        signals.sort(key=_strength, reverse=True)
    return signals[:MAX_SIGNALS]


def _signal(rule: str, confidence: float, start: int, end: int, text: str) -> Signal:
    severity = Severity.CRITICAL if confidence >= 0.9 else Severity.HIGH if confidence >= 0.6 else Severity.MEDIUM
    size = len(text)
    return Signal(rule, severity, min(0.98, confidence), min(start, size), min(end, size))


def _strength(signal: Signal) -> float:
    return signal.confidence


DETECTOR = Detector(
    name="traversal",
    category=ThreatClass.PATH_TRAVERSAL,
    owasp="A01:2021",
    triggers=(
        r"\.\.(?:[/\\;%\x00]|[^\x00-\x7f]|0x|\"\"|'')",
        r"[/\\]\.\.",
        r"(?:[/\\]{1,4}\.){4}|(?:\.[/\\]{1,4}){4}|[/\\]\.{6}|\.{4}(?:etc|win|b?oot|proc|web-inf|inet)|[a-z]:(?:win|inet|b?oot)",
        r"0x2e|%c0%|%c1%|%e0%80|%uff0|%u221|%25?2e|[^\x00-\x7f]{1,3}[\./\\]",
        r"etc[/\\%]|proc[/\\]|root[/\\]\.|\.ssh|id_[rde][sdc]|\.bash_|\.mysql_|\.aws|\.kube|\.docker|\.git[/\\]|\.svn|\.ht(?:passwd|access)",
        r"(?:web|meta)-inf|wp-config|(?:boot|win|system|desktop|php)\.ini|windows[/\\]|winnt|inetpub|system32|ntds\.dit|unattend|sysprep|config[/\\]sam",
        r"tomcat-users|server\.xml|web\.xml|httpd\.conf|nginx\.conf|my\.cnf|web\.config|machine\.config|global\.asax|appsettings|(?:database|secrets|credentials)\.ya?ml",
        r"var[/\\](?:log|www|run|lib)|usr[/\\]local|dev[/\\][rztfs]|bin[/\\][sbilc]|cmd\.exe|xampp|apache[/\\]log|security[/\\]passwd",
        r"(?:php|phar|expect|zip|rar|ogg|glob|zlib|bzip2|ssh2\.[a-z]{3,6})://|file:|netdoc:|jar:|data:[^,]{0,60},\s{0,4}(?:pd9|<\?)",
        r"//[^\s]{1,400}(?:\?{1,4}&?$|\x00|%00)|/(?:c99|r57|c100|shell|cmd|evil|backdoor|phpshell|webshell|safe|test_?rfi|rfi|inject|bot|exploit|id|inc|echo|fx29)[a-z0-9_]{0,16}\.(?:txt|php|jpg|gif|asp|jsp|sh|pl|dat)",
        r"^[\s\"']{0,2}\\\\|[\x00]|%00|\\0$|\\x00",
        r"[/\\]\.{2,64}\{?file",
    ),
    scan=scan,
)
