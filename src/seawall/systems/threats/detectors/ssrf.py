"""Server-side request forgery: addresses that a server can reach and a stranger has no business with."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.detectors.addresses import Reach, canonical, disguised, numeric, reach, unusual
from seawall.systems.threats.detectors.prose import plain_words
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["DETECTOR"]

MAX_SIGNALS = 8
MAX_URLS = 16
_URL = re.compile(
    r"(?P<scheme>(?<![a-z0-9.+-])[a-z][a-z0-9.+-]{1,24}|)(?P<slashes>:[/\\]{1,8}|(?:(?<=http)|(?<=https)|(?<=ftp)):(?=[\d\[l@])|(?:^|(?<=[=\s\"'(,]))[/\\]{2,8})(?P<authority>[^\s/\\?#\"'<>()|]{0,256})(?=(?P<rest>[^\s\"'<>]{0,256}))",
    re.IGNORECASE | re.ASCII,
)
_BARE = re.compile(
    r"^\s*(?P<host>localhost|\[[0-9a-f:.]{2,45}\]|(?:0x[0-9a-f]{1,8}|\d{1,10})(?:\.(?:0x[0-9a-f]{1,2}|\d{1,10})){0,3}|metadata(?:\.[\w.-]{1,64})?(?=/)|instance-data(?=/)|[\w.-]{1,200}\.(?:nip\.io|sslip\.io|xip\.io|localtest\.me|burpcollaborator\.net|oastify\.com|oast\.\w{2,6}|interact\.sh))(?P<port>:\d{1,5})?(?P<rest>/\S{0,200})?\s*$",
    re.IGNORECASE | re.ASCII,
)
# What clients of other protocols than HTTP can be made to say to services within.
_SCHEMES = {
    "dict": 0.93, "dns": 0.6, "expect": 0.93, "fd": 0.86, "finger": 0.86, "gopher": 0.95, "imap": 0.75, "jar": 0.86,
    "ldap": 0.75, "ldaps": 0.75, "local-file": 0.93, "local_file": 0.93, "memcached": 0.86, "mysql": 0.5, "netdoc": 0.9,
    "ogg": 0.86, "pop3": 0.75, "redis": 0.6, "rmi": 0.86, "rtsp": 0.4, "sftp": 0.5, "smb": 0.7, "smtp": 0.86,
    "amqp": 0.3, "amqps": 0.3, "mongodb": 0.3, "postgres": 0.3, "postgresql": 0.3, "ssh": 0.3,
    "ssh2": 0.86, "telnet": 0.75, "tftp": 0.88, "http+unix": 0.93, "https+unix": 0.93, "unix": 0.75, "npipe": 0.75,
}  # fmt: skip
_ALSO_HONEST = frozenset(
    {"dns", "imap", "ldap", "ldaps", "mysql", "npipe", "pop3", "redis", "rtsp", "sftp", "smb", "telnet", "unix"}
) | {"amqp", "amqps", "mongodb", "postgres", "postgresql", "ssh"}
# What settings of programs are full of.
_CONNECTIONS = frozenset({"amqp", "amqps", "mongodb", "mysql", "postgres", "postgresql", "ssh"})
_NESTED_SCHEMES = ("url:", "view-source:", "feed:", "iris:", "blob:", "pview:")
_HTTP = frozenset({"http", "https", "ftp", "ftps", "ws", "wss", "", "url", "feed"})
_DEVELOPMENT = re.compile(r"^:(?:[3-9]\d{3}|[1-6]\d{4})$")
_SLASHES = re.compile(r"[/\\]{2}")
_SERVICE_PORT = re.compile(
    r"^:(?:2[1235]|53|80|110|111|139|143|389|443|445|587|631|873|1433|1521|2049|2181|237[59]|3306|3389|4444|5000|543[23]|5601|5672|5984|5985|6379|6443|7001|7077|8009|8200|808[0-46-9]|8443|8500|8888|9000|9042|9090|9092|9200|9300|10250|10255|11211|15672|27017|50000|50070)$"
)
# Services that speak no HTTP, or that only machines talk to: no page and no record of requests has an URL of them.
_WIRE_PORT = re.compile(
    r"^:(?:2[1235]|53|110|111|139|143|389|445|587|631|873|1433|1521|2049|2181|237[59]|3306|3389|543[23]|5672|6379|10250|10255|11211|27017)$"
)
_METADATA_PATH = re.compile(
    r"latest/(?:meta-data|user-data|dynamic|api/token)|computemetadata|metadata/(?:v1|instance|identity)|opc/v[12]|openstack/(?:latest|20)|hetzner/v1|v1\.json|iam/security-credentials",
    re.IGNORECASE | re.ASCII,
)
_NEEDLESS_PORTS = frozenset({("http", ":80"), ("https", ":443")})  # clients leave these out
_PROBED = re.compile(
    r"/(?:admin\b|server-(?:status|info)|actuator/(?:env|heapdump)|_cat/|containers/json|images/json|cgi-bin/|phpmyadmin|manager/html"
    r"|v1/(?:agent|kv|secret)|v2/keys|jolokia|solr/admin|script\b|api/v1/(?:namespaces|secrets)|latest/(?:meta|user)-data|secret|flag\b|\.env|\.git)",
    re.IGNORECASE | re.ASCII,
)
_FETCHED = re.compile(
    r"admin|server-status|\.env|actuator|console|manager|phpmyadmin|internal|private|secret|metrics|debug|config|passwd|_cat|v1/|api|status|flag",
    re.IGNORECASE | re.ASCII,
)
_AUTH_REPLY = re.compile(
    r"(?:callback|oauth|code=|state=|token=|login|signin|auth|dev|webpack|sockjs|hot-update)", re.IGNORECASE
)

_DOCUMENTS = frozenset({PlaceKind.JSON, PlaceKind.XML, PlaceKind.BODY, PlaceKind.MULTIPART, PlaceKind.GRAPHQL})
_NARROW = frozenset({PlaceKind.QUERY, PlaceKind.FORM, PlaceKind.COOKIE})
_LABEL = re.compile(r"[a-z][a-z0-9_-]{1,30}", re.ASCII)
# What no client encodes in a host: letters, digits and dots, and what ends a host elsewhere.
_CODED_HOST = re.compile(r"%(?:25)?(?:3[0-9af]|4[0-9a-f]|6[1-9a-f]|[57][0-9ac]|2[3ef]|0[09ad])", re.IGNORECASE)
_ODD_PORT = re.compile(r":[+-]?[0-9]{1,8}[a-z]|:[+-]", re.IGNORECASE | re.ASCII)
_ENDED = re.compile(r"[;,&$!]")
_SPLITTING = re.compile(r"/?[^?#]{0,80}(?:%0[ad]|[\r\n])", re.IGNORECASE)
# One reader takes what is before the blank or the mark for the host, another what is behind the "@".
_CONFUSED = re.compile(
    r"^\s{0,8}[a-z][a-z0-9.+-]{1,24}:[/\\]{1,4}[^\s/?#@]{1,128}(?:\s{1,4}[&#?]?|[&#?\\;,]\s{1,4})@[^\s]{1,256}",
    re.IGNORECASE | re.ASCII,
)
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
        or _CODED_HOST.search(host) is not None
        or _ODD_PORT.match(port) is not None
        or match.string[max(0, match.start() - 16) : match.start()].lower().endswith(_NESTED_SCHEMES)
    )
    return _Url(scheme, user, host, port, match["rest"], reach(host), strange, not scheme)


def _host(authority: str) -> tuple[str, str, str]:
    """Split an authority into user information, host and port, as the last "@" does."""
    user, _, location = authority.rpartition("@")
    if location.startswith("["):
        host, _, port = location.partition("]")
        return user, host + "]", port
    host, colon, port = location.partition(":")
    return user, canonical(host), colon + port


def _judge_host(url: _Url) -> float:
    kind, host = url.kind, url.host
    if kind in {Reach.LOOPBACK, Reach.PRIVATE}:
        return 0.93 if url.strange else _judge_internal(url)
    if kind == Reach.METADATA:
        return 0.97 if _METADATA_PATH.search(url.rest) or url.strange or "." in host else 0.75
    if kind:
        return 0.9 if kind in {Reach.MIRROR, Reach.PLATFORM} else 0.88
    if not url.bare and _CODED_HOST.search(host):
        return 0.88
    return 0.86 if url.strange and disguised(host) else 0.0


def _judge_internal(url: _Url) -> float:
    """An internal host in its usual spelling: what a developer's browser is sent back to, or a service's port."""
    if _AUTH_REPLY.search(url.rest):
        return 0.4
    if _SERVICE_PORT.match(url.port):
        return 0.88
    by_name = numeric(url.host) is None
    if _DEVELOPMENT.match(url.port):
        return 0.76 if url.kind == Reach.PRIVATE and not by_name else 0.72 if _FETCHED.search(url.rest) else 0.45
    return 0.86 if url.kind == Reach.LOOPBACK or not by_name else 0.6


def _judge_user(user: str, host: str) -> float:
    """A host name before "@" pretends to be the host; a password in a URL is merely unwise."""
    if not user:
        return 0.0
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
    if scheme not in _HTTP or not (scheme or "/" in slashes):
        return "", 0.0
    if url.host == "unix" and url.port.startswith(":") and (url.rest.startswith("/") or url.port != ":"):
        return "ssrf-scheme", 0.9
    confidence = max(_judge_host(url), _judge_user(url.user, url.host))
    if confidence < 0.9 and url.rest.startswith(("#@", "\\@", "&@")):
        return "ssrf-confusion", 0.86
    if not confidence and place in _NARROW and _LABEL.fullmatch(url.host) and _SERVICE_PORT.match(url.port):
        return "ssrf-address", 0.4 if _AUTH_REPLY.search(
            url.rest
        ) else 0.78  # the name of a container or of a colleague
    return "ssrf-address", confidence


def _in_place(url: _Url, rule: str, confidence: float, place: PlaceKind) -> float:
    """What is left of a confidence where addresses within a network are honest, as they are in records about it."""
    if rule != "ssrf-address" or url.strange or url.user:
        return confidence
    if place == PlaceKind.HEADER:
        # Where a page came from, or what a client calls us, on a network of one's own.
        split = _SPLITTING.match(url.rest) is not None
        return confidence if split or url.kind not in {Reach.LOOPBACK, Reach.PRIVATE} else min(confidence, 0.25)
    most = 1.0 if place not in _DOCUMENTS or url.bare else _most_in_document(url)
    return min(confidence, most)


def _most_in_document(url: _Url) -> float:
    """What monitors, traces and pages of applications in a shell tell of: services that speak HTTP, by their ports."""
    by_name = numeric(url.host) is None
    if url.kind not in {Reach.PRIVATE, Reach.PLATFORM, Reach.LOOPBACK}:
        return 1.0
    if not (by_name and url.kind == Reach.PRIVATE):
        if _WIRE_PORT.match(url.port) or (url.scheme, url.port) in _NEEDLESS_PORTS:
            return 1.0
        if _PROBED.match(url.rest) or (url.kind == Reach.LOOPBACK and not by_name and not url.port):
            return 0.8
    return 0.45 if by_name and url.kind == Reach.PRIVATE else 0.55


def _urls(text: str, place: PlaceKind) -> Iterator[Signal]:
    lead = len(text) - len(text.lstrip("\"' \t(<="))
    prose = plain_words(text) >= 4
    lines = text.strip().count("\n") > 1  # a text of lines, such as a configuration, is no address that is fetched
    for count, match in enumerate(_URL.finditer(text)):
        if count >= MAX_URLS:
            return
        url = _read(match)
        rule, confidence = _judge_url(url, match["slashes"], place)
        if not confidence:
            continue
        metadata = url.kind == Reach.METADATA
        within = match.start() > lead + 8 and not url.strange
        if within and "=" not in text[max(0, match.start() - 24) : match.start()]:
            confidence -= 0.05 if metadata else 0.2
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


def _bare(text: str, place: PlaceKind) -> Iterator[Signal]:
    """A host without a scheme, as the whole value: only what nobody would type into a form."""
    match = _BARE.match(text)
    if match is None:
        return
    host, port, rest = match["host"].lower(), match["port"] or "", match["rest"] or ""
    kind = reach(host)
    if not kind or (host.isdigit() and len(host) < 8) or (host.startswith("0x") and len(host) < 10):
        return
    if kind == Reach.METADATA:
        confidence = 0.5 if place in _DOCUMENTS and not rest else 0.9
    elif kind in {Reach.CALLBACK, Reach.MIRROR}:
        confidence = 0.86
    elif host != "localhost" and unusual(host):
        # "1.5" and "10.2.3" are numbers and versions; so are ten digits.
        confidence = 0.8 if "0x" in host or host.startswith("[") else 0.45 if port or rest else 0.2
    else:
        told = 0.78 if rest and _FETCHED.search(rest) else 0.7
        confidence = told if _SERVICE_PORT.match(port) or rest else 0.45 if port else 0.3
        if place in _DOCUMENTS:
            confidence = min(confidence, 0.45)  # where a service listens, as monitors and traces say
    if confidence >= 0.3:
        yield _signal("ssrf-address", confidence, match.start("host"), match.end())


def scan(text: str, kind: PlaceKind) -> Sequence[Signal]:
    """Judge one view of a value. Linear in the text."""
    signals = list(_urls(text, kind)) if ":" in text or _SLASHES.search(text) else []
    signals.extend(_tricks(text))
    if not signals and len(text) <= 512 and kind not in {PlaceKind.HEADER, PlaceKind.PATH}:
        signals.extend(_bare(text, kind))
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
        r"(?:[/\\:][/\\]|[@=])(?:0x[0-9a-f]{1,20}|[0-9]{1,20})(?:\.(?:0x[0-9a-f]{1,20}|[0-9]{1,20})){0,3}\.?(?:[:/\\?#&;@!\s]|$)",
        r"^\s{0,8}(?:0x[0-9a-f]{1,8}|[0-9]{1,10})(?:\.(?:0x[0-9a-f]{1,8}|[0-9]{1,10})){0,3}(?::[0-9]{1,5})?(?:/|\s{0,8}$)",
        r"(?:https?|ftp):[0-9\[l@]|//[0-9a-fx.]{0,32}[^\x00-\x7f]|//[^\s/?#]{0,64}%(?:25)?(?:3[0-9af]|4[0-9a-f]|6[1-9a-f]|[57][0-9ac]|2[3ef]|0[09ad])",
        r"\[[0-9a-f:.]{2,45}(?:%[0-9a-z%]{1,24})?\]",
        r"localhost|169[.-]254|metadata|instance-data|kubernetes\.default|host\.(?:docker|containers|minikube)|gateway\.docker|loopback",
        r"(?:^|[^0-9])(?:127|10|169|172|192|100)\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?:\.[a-z0-9-]|,[a-z0-9])|127-[0-9]{1,3}-[0-9]{1,3}-[0-9]",
        r"\.(?:nip\.io|sslip\.io|xip\.io|xip\.name|localtest\.me|lvh\.me|vcap\.me|lacolhost\.com|yoogle\.com|rbndr\.us|1u\.ms|rebind\.network|traefik\.me|local\.gd)|localtest\.me|lvh\.me",
        r"burpcollaborator|oastify|oast\.|interact\.?sh|dnslog|ceye\.io|canarytokens|requestbin|bxss\.me|xss\.ht|ezxss|r87\.me|beeceptor|pipedream|requestcatcher|webhook\.site|dnsbin|watchtowr",
        r"//[^\s/]{1,128}\.(?:internal|local|localdomain|lan|intranet|corp|home|svc|consul)(?:[:/?#]|$)",
        r"(?:gopher|dict|tftp|ldaps?|netdoc|jar|rmi|sftp|ssh2|imap|pop3|smtp|telnet|redis|finger|rtsp|smb|local[_-]file|ogg|expect|memcached|mysql|fd|dns|unix|npipe|amqps?|mongodb|postgres(?:ql)?|ssh):[/\\]|unix:[^\s/]{0,256}\||//unix:",
        rf"(?:[\r\n]|\\[rn]|%0[ad])(?:{_VERBS})(?:_?all)?(?:[\s%]|$)",
        r"//[^\s/?#@]{1,128}@|[#&\\\s]@|@\s|//[a-z][a-z0-9_-]{1,30}:[0-9]{2,5}(?:[/?#]|$)",
    ),
    scan=scan,
    kinds=frozenset(PlaceKind) - {PlaceKind.PATH},
)
