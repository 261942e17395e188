"""Server-side request forgery: addresses that a server can reach and a stranger has no business with."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.detectors.addresses import Reach, canonical, disguised, numeric, reach, unusual
from seawall.systems.threats.detectors.prose import plain_words
from seawall.systems.threats.detectors.ssrf_bare import FETCHED, METADATA_PATH, SERVICE_NAMES, bare
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["DETECTOR"]

MAX_SIGNALS = 8
MAX_URLS = 16
MAX_BARE = 512
"""Characters of a value that may be an address as a whole."""
_URL = re.compile(
    r"(?P<scheme>(?<![a-z0-9.+-])[a-z][a-z0-9.+-]{1,24}|)(?P<slashes>:[/\\]{1,8}|(?:(?<=http)|(?<=https)|(?<=ftp)|(?<=gopher)|(?<=dict)|(?<=ldap)):(?=[\d\[l@])|(?:^|(?<=[=\s\"'(,]))[/\\]{2,8})(?P<authority>[^\s/\\?#\"'<>()|]{0,256})(?=(?P<rest>[^\s\"'<>]{0,256}))",
    re.IGNORECASE | re.ASCII,
)
# What clients of other protocols than HTTP can be made to say to services within.
_SCHEMES = {
    "dict": 0.93, "dns": 0.6, "expect": 0.93, "fd": 0.86, "finger": 0.86, "gopher": 0.95, "imap": 0.75, "jar": 0.86,
    "ldap": 0.75, "ldaps": 0.75, "local-file": 0.93, "local_file": 0.93, "memcached": 0.86, "mysql": 0.5, "netdoc": 0.9,
    "ogg": 0.86, "pop3": 0.75, "redis": 0.6, "rmi": 0.86, "rtsp": 0.4, "sftp": 0.5, "smb": 0.7, "smtp": 0.86,
    "gophers": 0.95, "imaps": 0.4, "pop3s": 0.4, "smtps": 0.4, "telnets": 0.4, "scp": 0.4, "smbs": 0.4, "cifs": 0.4,
    "nfs": 0.3, "afp": 0.3, "git": 0.3, "svn": 0.3, "rtmp": 0.3, "mqtt": 0.3, "mqtts": 0.3, "rediss": 0.3, "vnc": 0.3,
    "rdp": 0.3, "nntp": 0.3, "irc": 0.3, "kafka": 0.3, "zookeeper": 0.3, "clickhouse": 0.3, "mssql": 0.3,
    "sqlserver": 0.3, "mongodb+srv": 0.3, "amqp": 0.3, "amqps": 0.3, "mongodb": 0.3,
    "postgres": 0.3, "postgresql": 0.3, "ssh": 0.3,
    "ssh2": 0.86, "telnet": 0.75, "tftp": 0.88, "http+unix": 0.93, "https+unix": 0.93, "unix": 0.75, "npipe": 0.75,
}  # fmt: skip
_ALSO_HONEST = frozenset(
    {"dns", "imap", "ldap", "ldaps", "mysql", "npipe", "pop3", "redis", "rtsp", "sftp", "smb", "telnet", "unix"}
) | {name for name, confidence in _SCHEMES.items() if confidence <= 0.4}
# What settings of programs are full of.
_CONNECTIONS = frozenset({"mysql"}) | {name for name, confidence in _SCHEMES.items() if confidence <= 0.4}
_NESTED_SCHEMES = ("url:", "view-source:", "feed:", "iris:", "blob:", "pview:")
_HTTP = frozenset({"http", "https", "ftp", "ftps", "ws", "wss", "", "url", "feed"})
_DEVELOPMENT = re.compile(r"^:(?:[3-9]\d{3}|[1-6]\d{4})$")
_SLASHES = re.compile(r"[/\\]{2}")
_SERVICE_PORT = re.compile(
    r"^:(?:2[1235]|53|80|110|111|139|143|389|443|445|587|631|873|1433|1521|2049|2181|237[59]|3306|3389|4444|5000|543[23]|5601|5672|5984|5985|6379|6443|7001|7077|8009|8200|808[0-46-9]|8443|8500|8888|9000|9042|9090|9092|9200|9300|10250|10255|11211|15672|27017|50000|50070|61616)$"
)
# Services that speak no HTTP, or that only machines talk to: no page and no record of requests has an URL of them.
_WIRE_PORT = re.compile(
    r"^:(?:2[1235]|53|110|111|139|143|389|445|587|631|873|1433|1521|2049|2181|237[59]|3306|3389|543[23]|5672|6379|10250|10255|11211|27017)$"
)
# Clients leave out what goes without saying, and services do not answer at the other's port.
_NEEDLESS_PORTS = frozenset({("http", ":80"), ("https", ":443"), ("http", ":443"), ("https", ":80")})
_MACHINE_PORT = re.compile(r"^:(?:2379|10250|10255|5672)$")
_PROBED = re.compile(
    r"/(?:admin\b|server-(?:status|info)|actuator/(?:env|heapdump)|_cat/|containers/json|images/json|_all_dbs|_cluster/|_nodes\b|pods\b|api/overview\b|cgi-bin/|phpmyadmin|manager/html"
    r"|v1/(?:agent|kv|secret)|v2/keys|jolokia|solr/admin|script\b|api/v1/(?:namespaces|secrets)|latest/(?:meta|user)-data|secret|flag\b|\.env|\.git)",
    re.IGNORECASE | re.ASCII,
)
# What a developer's browser is sent back to with an answer.
_AUTH_REPLY = re.compile(
    r"callback|oauth|openid|oidc|saml|[?&](?:code|state|token)=|/auth(?:[/?]|$)|sign-?(?:in|out)|log-?out|webpack|sockjs|hot-update",
    re.IGNORECASE | re.ASCII,
)
_LOGIN = re.compile(r"/(?:login|dev)(?:[/?#]|$)", re.IGNORECASE | re.ASCII)
# Parts of names that only those within a network use.
_INNER = re.compile(
    rf"(?:^|[.-])(?:internal|intranet|admin|private|secrets?|backend|staging|api|gateway|gitlab|server|corp|{SERVICE_NAMES})(?:[.-]|$)",
    re.IGNORECASE | re.ASCII,
)
# Pages of applications in a shell.
_SHELLS = frozenset({"tauri.localhost", "ipc.localhost", "asset.localhost"})

_DOCUMENTS = frozenset({PlaceKind.JSON, PlaceKind.XML, PlaceKind.BODY, PlaceKind.MULTIPART, PlaceKind.GRAPHQL})
_NARROW = frozenset({PlaceKind.QUERY, PlaceKind.FORM, PlaceKind.COOKIE})
_LABEL = re.compile(r"[a-z][a-z0-9_-]{1,30}", re.ASCII)
# What no client encodes in a host: letters, digits and dots, and what ends a host elsewhere.
_CODED_HOST = re.compile(r"%(?:25)?(?:3[0-9af]|4[0-9a-f]|6[1-9a-f]|[57][0-9ac]|2[3ef]|0[09ad])", re.IGNORECASE)
_ODD_PORT = re.compile(
    r":[+-]?[0-9]{1,8}[a-z]|:[+-]|:[0-9]{1,5}:[0-9]|:0*(?:[7-9][0-9]{4}|6[6-9][0-9]{3}|65[6-9][0-9]{2}|[1-9][0-9]{5})",
    re.IGNORECASE | re.ASCII,
)
_WEB = frozenset({"http", "https"})
# Libraries put right what has too few slashes, too many or others; `\\/\\/` is how JSON may have them.
_ODD_START = re.compile(r":(?!\\/\\/$)(?:[/\\]|[/\\]{3,}|\\{2}|/\\|\\/|)")
_ODD_CASE = re.compile(r"(?=.{0,4}[a-z])(?=.{1,4}[A-Z])[A-Za-z]{3,5}", re.ASCII)
_DOTTED = re.compile("[\u3002\uff0e\uff61\uff1a]")
_ENDED = re.compile(r"[;,&$!]")
_APPENDED = re.compile(r"[#&\\][?&\\]?@")
_SPLITTING = re.compile(r"/?[^?#]{0,80}(?:%0[ad]|[\r\n])", re.IGNORECASE)
# One reader takes what is before the blank or the mark for the host, another what is behind the "@".
_CONFUSED = re.compile(
    r"^\s{0,8}[a-z][a-z0-9.+-]{1,24}:[/\\]{1,4}[^\s/?#@]{1,128}(?:\s{1,4}[&#?]?|[&#?\\;,]\s{1,4})@[^\s]{1,256}",
    re.IGNORECASE | re.ASCII,
)
_BROKEN_UP = re.compile(
    r"^\s{0,8}(?:[a-z]{1,8}[\t\r\n]{1,4}[a-z]{0,8}[\t\r\n]{0,4}:|[a-z]{2,8}:[/\\]{0,4}(?:[0-9a-z.\[]{1,64})?[\t\r\n]{1,4}[^\s])",
    re.IGNORECASE | re.ASCII,
)
_BLANK = re.compile(r"[\s+]|%20")
_BREAKS = str.maketrans("", "", "\t\r\n")
# Lines for a server that is spoken to in lines, behind an address.
_VERBS = "helo|ehlo|user|pass|mail|rcpt|quit|data|stor|retr|list|port|set|get|stats|flush|config|slaveof|auth|eval|keys"
_COMMANDED = re.compile(
    rf"^\s{{0,8}}[a-z][a-z0-9+.-]{{1,24}}:/{{1,4}}[^\s?#]{{1,200}}(?:[\r\n]|\\[rn]|%0[ad]){{1,4}}(?:{_VERBS})(?:_?all)?(?:[\s%]|$)",
    re.IGNORECASE | re.ASCII,
)
_SOCKET = re.compile(r"\bunix:[^|\s]{0,8192}\|[a-z]{2,16}:", re.IGNORECASE | re.ASCII)


class _Url(NamedTuple):
    """An address as it is written, and what its host leads to."""

    scheme: str
    written: str
    user: str
    host: str
    port: str
    rest: str
    kind: str
    strange: bool
    """Whether its host is written as nobody writes it who means it."""
    bare: bool
    """Whether there is no scheme."""


def _read(match: re.Match[str]) -> _Url:
    authority = match["authority"]
    user, host, port = _host(authority)
    ended = _ENDED.search(host)
    host = host[: ended.start()] if ended else host
    scheme = match["scheme"].lower()
    strange = (
        (numeric(host) is not None and unusual(host))
        or (ended is not None and ended.end() < len(authority) - len(user) - len(port))
        or (host.isascii() and not authority.isascii())
        or host.endswith(".")
        or "@" in user
        or (host.startswith("[") and ":" not in host)
        or (scheme in _WEB and _ODD_START.fullmatch(match["slashes"]) is not None)
        or _ODD_CASE.fullmatch(match["scheme"]) is not None
        or ("localhost" in host and "localhost" not in authority and "Localhost" not in authority)
        or _dressed(authority)
        or _CODED_HOST.search(host) is not None
        or _ODD_PORT.match(port) is not None
        or match.string[max(0, match.start() - 16) : match.start()].lower().endswith(_NESTED_SCHEMES)
    )
    return _Url(scheme, authority, user, host, port, match["rest"], reach(host), strange, not scheme)


def _dressed(authority: str) -> bool:
    """Tell whether a host is written in letters that merely look like those of names, such as encircled ones."""
    if authority.isascii():
        return False
    return canonical(authority).isascii() and not _DOTTED.sub(".", authority).isascii()


def _host(authority: str) -> tuple[str, str, str]:
    """Split an authority into user information, host and port, as the last "@" does."""
    user, _, location = authority.rpartition("@")
    if location.startswith("["):
        host, _, port = location.partition("]")
        return user, host + "]", port
    host, colon, port = location.partition(":")
    return user, canonical(host), colon + port


def _judge_host(url: _Url, place: PlaceKind) -> float:
    kind, host = url.kind, url.host
    if kind in {Reach.LOOPBACK, Reach.PRIVATE}:
        return 0.93 if url.strange else _judge_internal(url, place)
    if kind == Reach.METADATA:
        return 0.97 if METADATA_PATH.search(url.rest) or url.strange or "." in host else 0.75
    if kind:
        return 0.9 if kind in {Reach.MIRROR, Reach.PLATFORM} else 0.88
    if not url.bare and _CODED_HOST.search(host):
        return 0.88
    dressed = url.scheme in {"http", "https", "ftp"} and _dressed(url.written)
    return 0.86 if url.strange and (dressed or (numeric(host) is not None and disguised(host))) else 0.0


def _judge_internal(url: _Url, place: PlaceKind) -> float:
    """An internal host in its usual spelling: what a developer's browser is sent back to, or a service's port."""
    development = _DEVELOPMENT.match(url.port) is not None
    service = _SERVICE_PORT.match(url.port) is not None
    reply = _AUTH_REPLY.search(url.rest) or (development and not service and _LOGIN.search(url.rest))
    if reply and _WIRE_PORT.match(url.port) is None:
        return 0.4
    if service:
        return 0.88
    by_name = numeric(url.host) is None
    narrow = place in _NARROW
    if development:
        # Programs on a desktop listen at a port that they draw, and are told of by it (RFC 8252, section 7.3).
        drawn = url.kind == Reach.LOOPBACK and len(url.port) > len(":9999") and not FETCHED.search(url.rest)
        if (narrow and not drawn) or (url.kind == Reach.PRIVATE and not by_name):
            return 0.76
        return 0.76 if _PROBED.match(url.rest) else 0.72 if FETCHED.search(url.rest) else 0.45
    if url.kind == Reach.LOOPBACK or not by_name:
        return 0.86
    # Companies have their own pages under such names, and send people from one to another.
    return 0.78 if narrow and (url.scheme != "https" or url.port or _INNER.search(url.host.rpartition(".")[0])) else 0.6


def _judge_user(user: str, host: str) -> float:
    """A host name before "@" pretends to be the host; a password in a URL is merely unwise."""
    if not user:
        return 0.0
    if "@" in user:
        return 0.86
    lowered = user.lower()
    if reach(lowered.partition(":")[0]):
        return 0.9
    return (
        0.75 if "." in lowered and host and not lowered.startswith(("mailto", "user")) and ":" not in lowered else 0.0
    )


def _judge_url(url: _Url, slashes: str, place: PlaceKind) -> tuple[str, float]:
    """The rule and its confidence, by the address alone."""
    scheme = url.scheme
    if scheme in _SCHEMES:
        return "ssrf-scheme", 0.88 if url.kind and scheme in _ALSO_HONEST else _SCHEMES[scheme]
    if scheme not in _HTTP:
        return "", 0.0
    if not (scheme or "/" in slashes):
        return "ssrf-address", _shared_name(url) if place in _NARROW else 0.0
    if url.host == "unix" and url.port.startswith(":") and (url.rest.startswith("/") or url.port != ":"):
        return "ssrf-scheme", 0.9
    confidence = max(_judge_host(url, place), _judge_user(url.user, url.host))
    if confidence < 0.9 and _APPENDED.match(url.rest):
        return "ssrf-confusion", 0.86
    if not confidence and place in _NARROW and _neighbour(url):
        confidence = 0.4 if _AUTH_REPLY.search(url.rest) else 0.78
    return "ssrf-address", confidence


def _neighbour(url: _Url) -> bool:
    """Tell whether a host has the name of a container or of a colleague."""
    if _LABEL.fullmatch(url.host) is None:
        return False
    return url.port[1:].isdigit() or bool(url.scheme and not url.port and _INNER.search(url.host))


def _shared_name(url: _Url) -> float:
    """The name of a machine as Windows has it, behind two backslashes."""
    plain = url.host.count(".") == 3 or "localhost" in url.host or url.kind == Reach.METADATA
    return 0.8 if plain and url.kind and url.kind != Reach.CALLBACK else 0.0


def _in_place(url: _Url, rule: str, confidence: float, place: PlaceKind) -> float:
    """What is left of a confidence where addresses within a network are honest, as they are in records about it."""
    if rule != "ssrf-address" or url.strange or url.user:
        return confidence
    if place == PlaceKind.HEADER:
        # Where a page came from, or what a client calls us, on a network of one's own.
        telling = _SPLITTING.match(url.rest) or _WIRE_PORT.match(url.port)
        return confidence if telling or url.kind not in {Reach.LOOPBACK, Reach.PRIVATE} else min(confidence, 0.25)
    most = 1.0 if place not in _DOCUMENTS or url.bare else _most_in_document(url)
    return min(confidence, most)


def _most_in_document(url: _Url) -> float:
    """What monitors, traces and pages of applications in a shell tell of: services that speak HTTP, by their ports."""
    by_name = numeric(url.host) is None
    if url.kind not in {Reach.PRIVATE, Reach.PLATFORM, Reach.LOOPBACK}:
        return 1.0
    if by_name and url.kind == Reach.PRIVATE and url.scheme in _WEB and _WIRE_PORT.match(url.port):
        return 0.45 if _MACHINE_PORT.match(url.port) else 0.8
    if not (by_name and url.kind == Reach.PRIVATE):
        if _WIRE_PORT.match(url.port) or (url.scheme, url.port) in _NEEDLESS_PORTS:
            return 1.0
        if url.kind == Reach.LOOPBACK and by_name and not url.port and url.host != "localhost":
            return 0.55 if url.host in _SHELLS else 0.8
        if _PROBED.match(url.rest) or (url.kind == Reach.LOOPBACK and not by_name and not url.port):
            return 0.8
    return 0.45 if by_name and url.kind == Reach.PRIVATE else 0.55


def _urls(text: str, place: PlaceKind) -> Iterator[Signal]:
    lead = len(text) - len(text.lstrip("\"' \t(<="))
    prose = plain_words(text) >= 4
    one = _BLANK.search(text.strip()) is None
    lines = text.strip().count("\n") > 1  # a text of lines, such as a configuration, is no address that is fetched
    for count, match in enumerate(_URL.finditer(text)):
        if count >= MAX_URLS:
            return
        if not match["scheme"] and match["slashes"][0] == ":" and text[match.start() - 1 : match.start()].isalnum():
            continue  # a drive of Windows
        url = _read(match)
        rule, confidence = _judge_url(url, match["slashes"], place)
        if not confidence:
            continue
        metadata = url.kind == Reach.METADATA
        within = match.start() > lead + 8 and not url.strange
        if within and "=" not in text[max(0, match.start() - 24) : match.start()]:
            confidence -= 0.05 if metadata or (one and place in _NARROW) else 0.2
        if prose or (lines and not metadata):
            confidence -= 0.3
        elif rule == "ssrf-scheme" and text[max(0, match.start() - 5) : match.start()].lower() == "jdbc:":
            confidence = min(confidence, 0.45)
        elif rule == "ssrf-scheme" and url.scheme in _ALSO_HONEST and place in _DOCUMENTS:
            # What a program connects to, in its code, its environment or its settings.
            honest = match.start() > lead or url.kind in {"", Reach.PRIVATE}
            most = 0.45 if honest else 0.55 if url.scheme in _CONNECTIONS else 1.0
            confidence = min(confidence, most)
        confidence = _in_place(url, rule, confidence, place)
        if confidence >= 0.3:
            yield _signal(rule, confidence, match.start(), match.end())


def _tricks(text: str) -> Iterator[Signal]:
    """Addresses that only make sense to who takes them apart unlike others."""
    confused = _CONFUSED.match(text)
    if confused:
        yield _signal("ssrf-confusion", 0.86, confused.start(), confused.end())
    commanded = _COMMANDED.match(text)
    if commanded:
        yield _signal("ssrf-confusion", 0.86, commanded.start(), commanded.end())
    if "|" in text:
        socket = _SOCKET.search(text)
        if socket:
            yield _signal("ssrf-scheme", 0.93, socket.start(), socket.end())


def _broken_up(text: str, place: PlaceKind) -> Iterator[Signal]:
    """An address with line breaks and tabs in it, which browsers and libraries leave out (WHATWG URL, section 4.4)."""
    if _BROKEN_UP.match(text) is None:
        return
    joined = text.strip().translate(_BREAKS)
    if any(signal.start <= 8 and signal.confidence >= 0.75 for signal in _urls(joined, place)):
        yield _signal("ssrf-confusion", 0.86, 0, len(text))


def scan(text: str, kind: PlaceKind) -> Sequence[Signal]:
    """Judge one view of a value. Linear in the text."""
    signals = list(_urls(text, kind)) if ":" in text or _SLASHES.search(text) else []
    signals.extend(_tricks(text))
    if not signals and len(text) <= MAX_BARE and ":" in text:
        signals.extend(_broken_up(text, kind))
    if not signals and len(text) <= MAX_BARE and kind != PlaceKind.HEADER:
        found = bare(text, narrow=kind in _NARROW)
        if found:
            signals.append(_signal("ssrf-address", *found))
    signals.sort(key=_strength, reverse=True)
    return signals[:MAX_SIGNALS]


def _signal(rule: str, confidence: float, start: int, end: int) -> Signal:
    severity = Severity.CRITICAL if confidence >= 0.93 else Severity.HIGH if confidence >= 0.6 else Severity.MEDIUM
    return Signal(rule, severity, confidence, start, end)


def _strength(signal: Signal) -> float:
    return signal.confidence


DETECTOR = Detector(
    name="ssrf",
    category=ThreatClass.SSRF,
    owasp="A10:2021",
    triggers=(
        # A numeric host in any spelling, which ends the authority.
        r"(?:[/\\:][/\\]|[@=])(?:0x[0-9a-f]{0,20}|[0-9]{1,20})(?:\.(?:0x[0-9a-f]{0,20}|[0-9]{1,20})){0,3}\.?(?:[:/\\?#&;@!,\s\"'<>()|$]|$)",
        r"(?:[/\\@]|[/\\@.](?:0x)?)0{12}",
        r"^\s{0,8}(?:[0-9]{1,10}\.){3}[0-9]{1,10}(?:[:/?#]|\s{0,8}$)|^\s{0,8}[0-9][0-9.]{0,43}(?::[0-9]|[/?#])",
        r"^\s{0,8}(?:[0-9]{1,10}\.){0,3}0x[0-9a-f][0-9a-fx.]{0,40}(?:[:/?#]|\s{0,8}$)",
        r"(?:https?|ftp|gopher|dict|ldap):[0-9\[l@]|[/\\:][/\\][0-9a-z.-]{0,32}[^\x00-\x7f]|[/\\][/\\][^\s/?#]{0,64}%(?:25)?(?:3[0-9af]|4[0-9a-f]|6[1-9a-f]|[57][0-9ac]|2[3ef]|0[09ad])",
        r"\[[0-9a-f:.]{2,45}(?:%[0-9a-z%]{1,24})?\]",
        r"localhost|169[.-]254|metadata|instance-data|kubernetes\.d|host\.(?:docker|containers|minikube|lima|rancher|k3d|orb)|gateway\.docker|docker\.for\.|loopback|softlayer\.com",
        r"(?:^|[^0-9])(?:127|10|169|172|192|100)\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?:\.[a-z0-9-]|,[a-z0-9])|127-[0-9]{1,3}-[0-9]{1,3}-[0-9]|(?:^|[/.@-])(?:10-[0-9]{1,3}|192-168|172-[0-9]{2})-[0-9]{1,3}-[0-9]{1,3}[.-]",
        r"(?:^|[/.@-])(?:0x)?(?:7f0000[0-9a-f]{2}|a9fea9fe|c0a8[0-9a-f]{4}|ac1[0-9a-f]00[0-9a-f]{2}|0a0000[0-9a-f]{2}|2130706433|2852039166|017700000001|025177524776)\.",
        r"(?:^|[/.@])[0-9a-f]{8}\.[0-9a-f]{8}\.",
        r"\.(?:nip\.io|sslip\.io|xip\.io|xip\.name|localtest\.me|lvh\.me|vcap\.me|lacolhost\.com|yoogle\.com|rbndr\.us|1u\.ms|rebind\.network|traefik\.me|local\.gd)|localtest\.me|lvh\.me|vcap\.me|fuf\.me|localho\.st|mail\.ebc\.apple",
        r"burpcollaborator|oastify|oast\.|interact\.?sh|dnslog|ceye\.io|canarytokens|requestbin|bxss\.me|xss\.ht|ezxss|r87\.me|beeceptor|pipedream|requestcatcher|webhook\.site|dnsbin|watchtowr",
        r"(?:^|[/.@-])(?:oast|oastify|burp(?:collab(?:orator)?)?|interactsh|rbndr|rebind(?:er|ing)?|dnsrebind(?:ing)?|ssrf|xsshunter)[.-]",
        r"(?:[/\\][/\\]|^\s{0,8})[^\s/]{1,128}\.(?:internal|local|localdomain|lan|intranet|corp|home|home\.arpa|svc|consul|private)(?:[:/?#]|\s{0,8}$)|fritz\.box",
        rf":[/\\]{{1,4}}[a-z0-9_-]{{0,24}}(?:internal|intranet|admin|private|secret|backend|staging|api|gateway|gitlab|server|corp|{SERVICE_NAMES})[a-z0-9_-]{{0,24}}(?:[/?#]|$)",
        rf"^\s{{0,8}}(?:{SERVICE_NAMES}):[0-9]{{2,5}}(?:[/?#]|\s{{0,8}}$)|(?:https?|ftp|gopher|dict|ldap|tftp):[/\\]{{0,4}}(?:[0-9a-z.\[]{{1,64}})?[\t\r\n]|^\s{{0,8}}[a-z]{{1,8}}[\t\r\n]{{1,4}}[a-z]{{0,8}}[\t\r\n]{{0,4}}:",
        r"(?:gophers?|dict|tftp|ldaps?|netdoc|jar|rmi|sftp|ssh2|imap|pop3|smtp|telnet|redis|finger|rtsp|smb|local[_-]file|ogg|expect|memcached|mysql|fd|dns|unix|npipe|amqps?|mongodb(?:\+srv)?|postgres(?:ql)?|ssh|imaps|pop3s|smtps|telnets|scp|smbs|cifs|nfs|afp|git|svn|rtmp|mqtts?|rediss|vnc|rdp|nntp|irc|kafka|zookeeper|clickhouse|mssql|sqlserver):[/\\]|unix:[^\s/]{0,256}\||//unix:",
        rf"(?:[\r\n]|\\[rn]|%0[ad])(?:{_VERBS})(?:_?all)?(?:[\s%]|$)",
        r"//[^\s/?#@]{1,128}@|[#&\\\s]@|[#&\\][?&\\]@|@\s|[/\\]{2}[a-z][a-z0-9_-]{1,30}:[0-9]",
    ),
    scan=scan,
    kinds=frozenset(PlaceKind) - {PlaceKind.PATH},
)
