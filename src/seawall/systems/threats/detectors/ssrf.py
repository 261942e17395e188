"""Server-side request forgery: addresses that a server can reach and a stranger has no business with."""

import re
from collections.abc import Iterator, Sequence

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.detectors.addresses import Reach, disguised, numeric, reach, unusual
from seawall.systems.threats.detectors.prose import plain_words
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["DETECTOR"]

MAX_SIGNALS = 8
MAX_URLS = 16
_URL = re.compile(
    r"(?P<scheme>(?<![a-z0-9.+-])[a-z][a-z0-9.+-]{1,24}|)(?P<slashes>:[/\\]{1,4}|(?:^|(?<=[=\s\"'(,]))[/\\]{2})(?P<authority>[^\s/\\?#\"'<>()|]{0,256})(?=(?P<rest>[^\s\"'<>]{0,256}))",
    re.IGNORECASE | re.ASCII,
)
_BARE = re.compile(
    r"^\s*(?P<host>localhost|\[[0-9a-f:.]{2,45}\]|(?:0x[0-9a-f]{1,8}|\d{1,10})(?:\.(?:0x[0-9a-f]{1,2}|\d{1,10})){0,3}|[\w.-]{1,200}\.(?:nip\.io|sslip\.io|xip\.io|localtest\.me|burpcollaborator\.net|oastify\.com|oast\.\w{2,6}|interact\.sh))(?P<port>:\d{1,5})?(?P<rest>/\S{0,200})?\s*$",
    re.IGNORECASE | re.ASCII,
)
# What clients of other protocols than HTTP can be made to say to services within.
_SCHEMES = {
    "dict": 0.93, "dns": 0.6, "expect": 0.93, "fd": 0.86, "finger": 0.86, "gopher": 0.95, "imap": 0.75, "jar": 0.86,
    "ldap": 0.75, "ldaps": 0.75, "local-file": 0.93, "local_file": 0.93, "memcached": 0.86, "mysql": 0.5, "netdoc": 0.9,
    "ogg": 0.86, "pop3": 0.75, "redis": 0.6, "rmi": 0.86, "rtsp": 0.4, "sftp": 0.5, "smb": 0.7, "smtp": 0.86,
    "ssh2": 0.86, "telnet": 0.75, "tftp": 0.88,
}  # fmt: skip
_ALSO_HONEST = frozenset({"dns", "imap", "ldap", "ldaps", "mysql", "pop3", "redis", "rtsp", "sftp", "smb", "telnet"})
_HTTP = frozenset({"http", "https", "ftp", "ftps", "ws", "wss", "", "url", "feed"})
_DEVELOPMENT = re.compile(r"^:(?:[3-9]\d{3}|[1-6]\d{4})$")
_SERVICE_PORT = re.compile(
    r"^:(?:2[1235]|53|80|110|111|139|143|389|443|445|587|631|873|1433|1521|2049|2181|237[59]|3306|3389|4444|5000|543[23]|5601|5672|5984|5985|6379|6443|7001|7077|8009|808\d|8443|8500|8888|9000|9042|9090|9092|9200|9300|10250|10255|11211|15672|27017|50000|50070)$"
)
_METADATA_PATH = re.compile(
    r"latest/(?:meta-data|user-data|dynamic|api/token)|computemetadata|metadata/(?:v1|instance|identity)|opc/v[12]|openstack/(?:latest|20)|hetzner/v1|v1\.json|iam/security-credentials",
    re.IGNORECASE | re.ASCII,
)
_FETCHED = re.compile(
    r"admin|server-status|\.env|actuator|console|manager|phpmyadmin|internal|private|secret|metrics|debug|config|passwd|_cat|v1/|api|status|flag",
    re.IGNORECASE | re.ASCII,
)
_AUTH_REPLY = re.compile(
    r"(?:callback|oauth|code=|state=|token=|login|signin|auth|dev|webpack|sockjs|hot-update)", re.IGNORECASE
)

_DOCUMENTS = frozenset({PlaceKind.JSON, PlaceKind.XML, PlaceKind.BODY, PlaceKind.MULTIPART})


def _host(authority: str) -> tuple[str, str, str]:
    """Split an authority into user information, host and port, as the last "@" does."""
    user, _, location = authority.rpartition("@")
    if location.startswith("["):
        host, _, port = location.partition("]")
        return user, host + "]", port
    host, colon, port = location.partition(":")
    return user, host, colon + port


def _judge_host(host: str, port: str, rest: str) -> float:
    kind = reach(host)
    strange = numeric(host) is not None and unusual(host)
    if kind in {Reach.LOOPBACK, Reach.PRIVATE}:
        return 0.93 if strange else _judge_internal(kind, host, port, rest)
    if kind == Reach.METADATA:
        return 0.97 if _METADATA_PATH.search(rest) or strange or "." in host else 0.75
    if kind:
        return 0.9 if kind == Reach.MIRROR else 0.88
    return 0.86 if strange and disguised(host) else 0.0


def _judge_internal(kind: str, host: str, port: str, rest: str) -> float:
    """An internal host in its usual spelling: what a developer's browser is sent back to, or a service's port."""
    if _AUTH_REPLY.search(rest):
        return 0.4
    if _SERVICE_PORT.match(port):
        return 0.88
    if _DEVELOPMENT.match(port):
        return 0.72 if _FETCHED.search(rest) else 0.45
    return 0.86 if kind == Reach.LOOPBACK or numeric(host) is not None else 0.6


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


def _judge_url(match: re.Match[str]) -> tuple[str, float, str]:
    """The rule, its confidence and what the host leads to."""
    scheme = match["scheme"].lower()
    user, host, port = _host(match["authority"])
    rest = match["rest"]
    kind = reach(host)
    if scheme in _SCHEMES:
        return "ssrf-scheme", 0.88 if kind and scheme in _ALSO_HONEST else _SCHEMES[scheme], kind
    if scheme not in _HTTP or not (scheme or "/" in match["slashes"]):
        return "", 0.0, kind
    confidence = max(_judge_host(host, port, rest), _judge_user(user, host))
    if confidence < 0.9 and rest.startswith(("#@", "\\@", "&@")):
        return "ssrf-confusion", 0.86, kind
    return "ssrf-address", confidence, kind


def _urls(text: str, place: PlaceKind) -> Iterator[Signal]:
    lead = len(text) - len(text.lstrip("\"' \t(<="))
    prose = plain_words(text) >= 4
    lines = text.strip().count("\n") > 1  # a text of lines, such as a configuration, is no address that is fetched
    for count, match in enumerate(_URL.finditer(text)):
        if count >= MAX_URLS:
            return
        rule, confidence, kind = _judge_url(match)
        if not confidence:
            continue
        if match.start() > lead + 8 and "=" not in text[max(0, match.start() - 24) : match.start()]:
            confidence -= 0.05 if kind == Reach.METADATA else 0.2
        if prose or (lines and kind != Reach.METADATA):
            confidence -= 0.3
        elif rule == "ssrf-scheme" and text[max(0, match.start() - 5) : match.start()].lower() == "jdbc:":
            confidence = min(confidence, 0.45)
        if kind == Reach.PRIVATE and place in _DOCUMENTS and rule == "ssrf-address":
            # Records of what happens in a network: its hosts by name are honest, its addresses may be.
            confidence = min(confidence, 0.45 if numeric(_host(match["authority"])[1]) is None else 0.6)
        if place == PlaceKind.HEADER and rule == "ssrf-address" and kind in {Reach.LOOPBACK, Reach.PRIVATE}:
            # Where a page came from, or what a client calls us, on a network of one's own.
            confidence = min(confidence, 0.25)
        if confidence >= 0.3:
            yield _signal(rule, confidence, match.start(), match.end())


def _bare(text: str) -> Iterator[Signal]:
    """A host without a scheme, as the whole value: only what nobody would type into a form."""
    match = _BARE.match(text)
    if match is None:
        return
    host, port, rest = match["host"].lower(), match["port"] or "", match["rest"] or ""
    kind = reach(host)
    if not kind or (host.isdigit() and len(host) < 8) or (host.startswith("0x") and len(host) < 10):
        return
    if kind == Reach.METADATA:
        confidence = 0.9
    elif kind in {Reach.CALLBACK, Reach.MIRROR}:
        confidence = 0.86
    elif host != "localhost" and unusual(host):
        # "1.5" and "10.2.3" are numbers and versions; so are ten digits.
        confidence = 0.8 if "0x" in host or host.startswith("[") else 0.45 if port or rest else 0.2
    else:
        confidence = 0.7 if _SERVICE_PORT.match(port) or rest else 0.45 if port else 0.3
    if confidence >= 0.3:
        yield _signal("ssrf-address", confidence, match.start("host"), match.end())


def scan(text: str, kind: PlaceKind) -> Sequence[Signal]:
    """Judge one view of a value. Linear in the text."""
    signals = list(_urls(text, kind)) if "//" in text or "\\\\" in text or ":/" in text else []
    if not signals and len(text) <= 512 and kind not in {PlaceKind.HEADER, PlaceKind.PATH}:
        signals.extend(_bare(text))
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
        r"(?:[/\\:][/\\]|[@=])(?:0x[0-9a-f]{1,20}|[0-9]{1,20})(?:\.(?:0x[0-9a-f]{1,20}|[0-9]{1,20})){0,3}\.?(?:[:/\\?#&;@\s]|$)",
        r"^\s{0,8}(?:0x[0-9a-f]{1,8}|[0-9]{1,10})(?:\.(?:0x[0-9a-f]{1,8}|[0-9]{1,10})){0,3}(?::[0-9]{1,5})?(?:/|\s{0,8}$)",
        r"\[[0-9a-f:.%]{2,64}\]",
        r"localhost|169[.-]254|metadata|instance-data|kubernetes\.default|host\.docker|loopback",
        r"\.(?:nip\.io|sslip\.io|xip\.io|xip\.name|localtest\.me|lvh\.me|vcap\.me|lacolhost\.com|yoogle\.com|rbndr\.us|1u\.ms|rebind\.network|traefik\.me|local\.gd)|localtest\.me|lvh\.me",
        r"burpcollaborator|oastify|oast\.|interact\.?sh|dnslog|ceye\.io|canarytokens|requestbin|bxss\.me|xss\.ht|ezxss|r87\.me|beeceptor|pipedream|requestcatcher|webhook\.site|dnsbin|watchtowr",
        r"//[^\s/]{1,128}\.(?:internal|local|localdomain|lan|intranet|corp|home|svc|consul)(?:[:/?#]|$)",
        r"(?:gopher|dict|tftp|ldaps?|netdoc|jar|rmi|sftp|ssh2|imap|pop3|smtp|telnet|redis|finger|rtsp|smb|local[_-]file|ogg|expect|memcached|mysql|fd|dns):[/\\]",
        r"//[^\s/?#@]{1,128}@|#@|\\@",
    ),
    scan=scan,
    kinds=frozenset(PlaceKind) - {PlaceKind.PATH},
)
