"""Path traversal and file inclusion: paths that climb, files that only an attacker asks for, and wrappers around them.

A value is first brought to one spelling of dots and slashes; then its segments are read as a file system would.
"""

import re
from collections.abc import Iterator, Sequence

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.detectors.prose import plain_words
from seawall.systems.threats.detectors.traversal_files import DOCUMENTS, Named, globbed, judge_file, wanted
from seawall.systems.threats.detectors.traversal_remote import inclusions
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["DETECTOR"]

MAX_SIGNALS = 8
MAX_SHORT = 2048
"""Characters of a value that may be a path as a whole."""

# What is left of dots and slashes when a decoder has not taken them for such: overlong UTF-8 as escapes, well-formed or
# not, as bytes read as Latin-1 and as lone surrogates, hexadecimal as some servers take it, full-width and other
# look-alikes, escapes within escapes.
_DOTS = re.compile(
    r"%c0%(?:ae|2e|5e|ee|fe)|%c0\.|%e0%(?:80|40)%ae|%f0%80%80%ae|%f8(?:%80){3}%ae|%fc(?:%80){4}%ae|%uff0e|%u002e|%u2024"
    r"|%25?2e|%%32%(?:65|%65)|\xc0\xae|\udcc0\udcae|0?x2e|[\uff0e\u3002\uff61\u2024\ufe52]",
    re.IGNORECASE,
)
_CODED_SLASH = (
    r"%(?:c[01]|bg)%[0-9a-z]{2}|%e0%[48]0%[0-9a-z]{2}|%f0%80%80%[0-9a-z]{2}|%f8(?:%80){3}%[0-9a-z]{2}"
    r"|%fc(?:%80){4}%[0-9a-z]{2}|%u(?:221[56]|ff0f|ff3c|efc8|f025|002f|005c|2044)|%%(?:32%66|35%63|32%%66|35%%63)"
    r"|%25?(?:2f|5c)|\xc0\xaf|\xc1\x9c|\udcc0\udcaf|\udcc1\udc9c|0x(?:2f|5c)|[\uff0f\uff3c\u2215\u2216\u2044\u29f8\u29f5]"
)
_SLASHES = re.compile(
    rf"(?:/|\\(?![\"']))(?:[\x00/\\]|%00)*|(?:{_CODED_SLASH})+(?:[/\\])*|(?:(?<=[^.]\.\.)|(?<=^\.\.))(?:%[0-9a-z]{{2}}){{1,6}}(?=\.\.|/)",
    re.IGNORECASE | re.ASCII,
)
_CLIMB = re.compile(
    r"(?<![\w.])(?P<lead>/|%{1,4})?(?P<dots>\.{2,4})"
    r"(?:(?P<odd>;[^/]{0,16}|%00|\x00|\"{2}|'{2}|\s|%[0-9a-z]{2})|(?P<junk>[^\w\s./]{1,3}))?(?=/)",
    re.IGNORECASE,
)
_CLIMB_ANY = re.compile(r"\.\.(?:;[^/]{0,16})?/")
_STILL = re.compile(r"(?:/\.){4,}(?=/|$)|(?:\./){4,}|(?:/\.{3,}){2,}(?=/|$)|(?:^|/)\.{6,}/|(?:/\.{2,4}){3,64}$")
_STILL_FEW = re.compile(r"^[\s\"'=]{0,2}(?:\./){2,}")
# A step that goes nowhere, with a parameter that hides it from who matches the path's beginning.
_HIDDEN_STEP = re.compile(r"^/(?:[\w.~-]{1,64}/){0,6}\.?;[^/\s]{0,16}/", re.ASCII)
_SQUASHED = re.compile(
    r"(?<!\.)\.{4,}(?:etc|windows|winnt|b?oot\.ini|proc|web-inf|inetpub)|^(?:file:/?)?[a-z]:(?:windows|winnt|inetpub|boot\.ini|oot\.ini)"
    r"|(?:\.\.)?(?:web|meta|boot)-inf(?:web\.xml|classes|manifest)",
    re.IGNORECASE | re.ASCII,
)
_SUFFIX = re.compile(r"(?:\x00|%00|\\0|\\x00)(?:\.\w{2,5})?[\"']?$")
_ASSET = re.compile(
    r"\w\.(?:png|jpe?g|gif|svg|webp|avif|css|s[ac]ss|less|[cm]?js|[cm]?ts|[jt]sx|vue|svelte|map|woff2?|ico|mdx?|html?)(?:[?#:][\w=&.:-]{0,160})?[\"']?$",
    re.IGNORECASE | re.ASCII,
)
# A list of paths to try has these where the name of a file is to be put; a pattern of paths has one after a slash.
_PLACEHOLDER = re.compile(
    r"^(?P<before>[/\\][^{}\s]{0,1024})(?:\{file(?:_?name)?\}|\[file(?:name)?\])[\"']?$", re.IGNORECASE | re.ASCII
)
_PREPARED = re.compile(r"[/\\]{2}|\.{2}|[/\\]\.(?:[/\\]|$)|0x2|%|[^\x00-\x7f]|^/([a-z0-9])\1{0,1023}$", re.IGNORECASE)
# Long enough that what is appended is cut off, where names have an end.
_FILLED = re.compile(r"^[\"']?[/\\]?([A-Za-z0-9])\1{127,}+(?:$|[/\\.])")
_FETCHED = frozenset({PlaceKind.QUERY, PlaceKind.FORM, PlaceKind.COOKIE})
_ASKED = _FETCHED | {PlaceKind.PATH}
# What lies one step up and is no page: settings, keys, what a program has written, or all that there is.
_BESIDE = re.compile(
    r"/(?:[\w.-]{1,64}/){0,6}(?:[\w.-]{0,64}\.(?:ini|conf|cfg|ya?ml|toml|env|sql|bak|old|log|db|sqlite3?|key|pem|inc|properties|py|rb|sh)"
    r"|(?:config(?:uration)?|settings|secrets?|credentials|database|passwords?|passwd|backup|private)(?:\.\w{1,8})?|\*(?:\.\w{1,4})?)[\"']?$",
    re.IGNORECASE | re.ASCII,
)
_INNER_UP = re.compile(r"[\w.-]{0,64}\w/(?:[\w.-]{1,64}/){0,6}\.\./")
_QUOTED = re.compile(
    r"[\w$)]\s{0,2}\(\s{0,2}[\"'`]?$|\b(?:from|import|require|include|url)\s{0,2}[\"'`(]{1,2}$|\b(?:src|href|from|to)=[\"']$",
    re.IGNORECASE | re.ASCII,
)
_SETTINGS = re.compile(r"/\.env(?:\.[\w-]{1,24})?(?<!\.example)(?<!\.sample)[\"']?$", re.IGNORECASE | re.ASCII)
_ALARMING = re.compile(r"etc/(?:passwd|shadow|hosts)|(?:win|boot)\.ini|proc/self|windows/|-inf/", re.IGNORECASE)
_MANY = 3
_PROSE = 6


def _normal(text: str) -> str:
    """One spelling: dots as ".", runs of slashes and backslashes as "/". Shorter than the text or as long."""
    return _SLASHES.sub("/", _DOTS.sub(".", text))


def _climbs(text: str, plain: str, kind: PlaceKind) -> Iterator[Signal]:
    climbs = list(_CLIMB.finditer(plain))[:64]
    named = wanted(plain)
    if len(climbs) < _MANY and not named:
        climbs = [climb for climb in climbs if climb["junk"] is None]
    ups = len(climbs) or (1 if _CLIMB_ANY.search(plain) else 0)
    words = plain_words(text)
    whole = words <= 1 and len(text) <= MAX_SHORT and "\n" not in text.strip()
    if ups:
        first = climbs[0].start() if climbs else 0
        confidence = _judge_climbs(text, plain, climbs, ups, named, kind, whole=whole, words=words)
        end = named[2] if named else climbs[-1].end() if climbs else len(plain)
        yield _signal("traversal-climb", confidence, first, end, text)
    still = _STILL.search(plain) or (_STILL_FEW.match(plain) if named else None)
    if still and whole:
        yield _signal("traversal-still", 0.95 if named else 0.86, still.start(), still.end(), text)
    hidden = _HIDDEN_STEP.match(plain) if whole and ";" in plain and kind in _ASKED else None
    if hidden:
        yield _signal("traversal-still", 0.86, 0, hidden.end(), text)
    if not ups:
        confidence, start, end = judge_file(text, plain, named, kind, whole=whole, words=words)
        yield _signal("traversal-file", confidence, start, end, text)
        if whole and ("*" in plain or "?" in plain or "[" in plain) and globbed(plain):
            yield _signal("traversal-file", 0.9, 0, len(plain), text)


def _judge_climbs(
    text: str,
    plain: str,
    climbs: list[re.Match[str]],
    ups: int,
    named: Named | None,
    kind: PlaceKind,
    *,
    whole: bool,
    words: int,
) -> float:
    """How telling steps up are: by their number, by what they lead to and by how they are written."""
    odd = any(map(_odd, climbs)) or _DOTS.search(text) is not None or ".." not in text
    quoted = bool(climbs) and not odd and _QUOTED.search(plain, max(0, climbs[0].start() - 16), climbs[0].start())
    if quoted and (named is None or _ALARMING.search(plain) is None):
        return 0.6 if named else 0.4  # a string in a line of code
    if not whole:
        return (0.9 if words < _PROSE else 0.6) if named else (0.3, 0.4, 0.55)[min(ups, 3) - 1]
    asset = _ASSET.search(plain) is not None
    if named:
        return 0.97
    if _SETTINGS.search(plain):
        return 0.7 if kind in DOCUMENTS and ups == 1 else 0.93
    if ups >= _MANY:
        told = not odd and kind in DOCUMENTS and _relative(text, plain)
        return 0.5 if told and asset else 0.7 if told and ups == _MANY and "." not in plain.lstrip("./") else 0.93
    confidence = (0.45 if asset else 0.86) if ups == 2 else _single(text, plain, climbs, kind, asset=asset)
    return max(confidence + 0.2, 0.86) if odd else confidence


def _relative(text: str, plain: str) -> bool:
    """Tell whether all that climbs is at the start, as links between a program's own files have it."""
    return "\\" not in text and ".." not in plain.removeprefix("webpack:/").lstrip("\"'./")


def _odd(climb: re.Match[str]) -> bool:
    """Tell whether a step up is written as no link is: with more dots, or with something that a server may ignore."""
    return bool(climb["odd"]) or len(climb["dots"]) > 2 or "%" in (climb["lead"] or "")


def _single(text: str, plain: str, climbs: list[re.Match[str]], kind: PlaceKind, *, asset: bool) -> float:
    """One step up alone: relative links are honest, a step up in a request's path is not."""
    if kind in {PlaceKind.PATH, PlaceKind.FILENAME}:
        return 0.5 if asset and kind == PlaceKind.PATH else 0.8
    if climbs and climbs[0]["lead"] and climbs[0].start() == 0:
        return 0.75
    # People write a relative path into a form, where they talk of one.
    beside = kind != PlaceKind.FORM and ((_INNER_UP.match(plain) and "://" not in text) or _BESIDE.search(plain))
    if kind in _FETCHED and not asset and (plain.startswith("/") or beside):
        return 0.78  # a client resolves what it is given, and sends what results
    if "\\" in text and "/" in text.replace("\\/", ""):
        return 0.6
    return 0.45 if plain.lstrip("\"' ").startswith("../") or "://" in text else 0.5


def _others(text: str, plain: str, kind: PlaceKind) -> Iterator[Signal]:
    """What needs no file name: cut-off suffixes, dots whose slashes were taken out, names of endless length."""
    yield from inclusions(text, kind)
    suffix = _SUFFIX.search(text)
    if suffix and ("." in text or "/" in text) and len(text) < 1024 and plain_words(text) <= 1:
        yield _signal("traversal-null", 0.86, suffix.start(), suffix.end(), text)
    squashed = _SQUASHED.search(text)
    if squashed:
        yield _signal("traversal-climb", 0.86, squashed.start(), squashed.end(), text)
    placeholder = _PLACEHOLDER.match(text)
    if placeholder and _PREPARED.search(placeholder["before"]):
        yield _signal("traversal-placeholder", 0.86, 0, placeholder.end(), text)
    filled = _FILLED.match(text)
    if filled and ("/" in filled[0] or "\\" in filled[0] or "." in plain[filled.end() - 1 : filled.end() + 64]):
        yield _signal("traversal-filled", 0.8, 0, filled.end(), text)


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
    end = min(end, len(text))
    return Signal(rule, severity, min(0.98, confidence), min(start, end), end)


def _strength(signal: Signal) -> float:
    return signal.confidence


DETECTOR = Detector(
    name="traversal",
    category=ThreatClass.PATH_TRAVERSAL,
    owasp="A01:2021",
    triggers=(
        r"\.\.(?:[/\\;%\x00]|[^\x00-\x7f]|0x|\"\"|''|[^a-z0-9\s.]{1,3}[/\\])",
        r"[/\\]\.\.",
        r"[/\\](?:\.|%(?:25)?2e)?;[^/\s]{0,16}/|(?:\.[/\\]{1,4}){2}",
        r"[a-z]:[/\\][^~]{0,64}~[0-9]|^[\s\"']{0,2}//[^\s/]{1,100}/(?:[a-z]|admin|ipc|print|fax)\$|classpath\*?:|(?:war|vfs(?:zip|file)?):[a-z/]|bundleresource:",
        r"^[\s\"'=]{0,2}[/\\]{1,4}usr[/\\](?:share|src|lib|sbin|include)|tmp[/\\]{1,4}(?:sess_|php)|[/\\]flag\.txt|(?:dump|backup|db|database|mysql)\.sql$",
        r"(?:[/\\]{1,4}\.){4}|(?:\.[/\\]{1,4}){4}|[/\\]\.{6}|\.{4}(?:etc|win|b?oot|proc|web-inf|inet)|[a-z]:(?:win|inet|b?oot)",
        r"0x2e|%c0%|%c1%|%bg%|%e0%[48]0|%f0%80|%f8%80|%fc%80|%uff|%u002|%u221|%uefc|%uf02|%25?2e|%%32|[^\x00-\x7f]{1,3}[\./\\]|[\uff0e\u3002\uff61\u2024\ufe52]{2}",
        r"etc[/\\%]|proc[/\\]|root[/\\]|boot[/\\]|sys[/\\][ckdfb]|config\.sys|sysprep|\.ssh|id_[rde][sdc]|sh_(?:history|profile)|(?:sql|cli|sqlite|python)_history|\.(?:aws|azure|kube|docker|gnupg)|\.git[/\\c-]|\.(?:svn|hg|bzr|cvs|idea)[/\\]|\.ht(?:passwd|access)",
        r"\.(?:bashrc|bash_profile|zshrc|profile|netrc|pgpass|s3cfg|my\.cnf|pypirc|npmrc|viminfo|rhosts|ds_store|terraform|ftpconfig|remote-sync|vscode)|[/\\]\.env(?:$|[^a-z0-9])|\.sw[opn]$",
        r"(?:web|meta|boot)-inf|wp-config|(?:boot|win|system|desktop|php|my)\.ini|windows[/\\]|winnt|inetpub|inetsrv|system32|ntds\.dit|ntuser\.dat|pagefile|hiberfil|unattend|(?:config|repair)[/\\](?:sam|sec|sys)|autoexec\.bat|consolehost|program(?:data|\sfiles)",
        r"tomcat-users|server\.xml|web\.xml|context\.xml|hibernate\.cfg|struts|(?:httpd|apache2?|nginx)\.conf|my\.cnf|web\.config|machine\.config|host\.config|global\.asa|appsettings|config\.inc|localsettings|(?:database|secrets|credentials|parameters)\.ya?ml",
        r"var[/\\](?:log|www|run|lib|spool|mail|backup|adm|db)|run[/\\](?:secrets|docker)|serviceaccount|usr[/\\]local|dev[/\\][rztfskmu]|logs?[/\\](?:access|error|ssl|other)|bin[/\\][sbilc]|cmd\.exe|xampp|wamp|lampp|mamp[/\\]|opt[/\\](?:tomcat|bitnami)|apache[/\\]log|security[/\\]passwd|library[/\\](?:webs|pref|logs)|systemversion|systemconfig",
        r"\.(?:php[0-9]?|phtml|aspx?|jspx?|cgi|config|inc|env)(?:\.[a-z0-9]{1,6}|~|[_-](?:bak|old|backup))\s{0,4}$|\.sql\.|actuator[/\\]|jolokia[/\\]|v2[/\\]_catalog|_ignition[/\\]|\.(?:conf|cnf|cfg|ini|properties|key|pem|crt|p12|pfx|jks|keytab|kdbx|ovpn)(?:\.[a-z0-9]{1,8})?[\"\']?$",
        r"(?:php|phar|expect|zip|rar|ogg|glob|zlib|bzip2|data|ssh2\.[a-z]{3,6})://|file:|netdoc:|jar:|data:[^,]{0,60},\s{0,4}(?:pd9|<\?)",
        r"//[^\s]{1,400}(?:\?{1,4}&?$|\x00|%00|\?\.[a-z]{2,5}$)|[?&](?:cmd|exec|command)=|[/\\](?:c99|r57|c100|b374k|p0wny|wso|shell|cmd|evil|backdoor|phpshell|webshell|safe|test_?rfi|rfi|inject|bot|exploit|id|inc|echo|fx29|malicious|payload|pwn|hack|rev)[a-z0-9_-]{0,16}\.(?:txt|php|jpg|gif|asp|jsp|sh|pl|dat|inc)",
        r"(?://|\\\\)[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?::[0-9]{1,5})?[/\\]",
        r"^[\s\"']{0,2}\\\\|[\x00]|%00|\\0$|\\x00|::\$(?:data|index)|(?:con|aux|nul|prn|com[1-9]|lpt[1-9])(?:\.(?:asp|jsp|php|cfm)|:\.)|[*?]~[0-9]|~[0-9]{1,2}[*?]",
        r"(?:\{|\[)file(?:_?name)?[\]}][\"']?$|^[\"']?[/\\]?(?:a{128}|x{128}|b{128}|z{128}|0{128}|1{128})",
        r"^[\s\"'=]{0,2}/(?:usr/)?[a-z*]{0,12}[?*\[][a-z?*\[\]!-]{0,16}/",
    ),
    scan=scan,
)
