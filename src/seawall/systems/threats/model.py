"""Threat detection's words: places, views, findings and the verdict on a request."""

from enum import IntEnum, StrEnum

import msgspec

__all__ = ["Action", "Finding", "Level", "Mode", "Place", "PlaceKind", "Severity", "ThreatClass", "Verdict"]


class ThreatClass(StrEnum):
    """What an attack aims at; the names are part of the configuration, of events and of metrics."""

    SQL_INJECTION = "sql-injection"
    XSS = "xss"
    COMMAND_INJECTION = "command-injection"
    PATH_TRAVERSAL = "path-traversal"
    FILE_INCLUSION = "file-inclusion"
    SSRF = "ssrf"
    TEMPLATE_INJECTION = "template-injection"
    XXE = "xxe"
    NOSQL_INJECTION = "nosql-injection"
    LDAP_INJECTION = "ldap-injection"
    XPATH_INJECTION = "xpath-injection"
    HEADER_INJECTION = "header-injection"
    LOOKUP_INJECTION = "lookup-injection"
    """Look-ups that a logging library carries out, such as those of Log4j."""
    CODE_INJECTION = "code-injection"
    """PHP, Java or JavaScript code, serialised objects among it."""
    PROTOTYPE_POLLUTION = "prototype-pollution"
    WEB_SHELL = "web-shell"
    SCANNER = "scanner"
    GRAPHQL_ABUSE = "graphql-abuse"
    PROTOCOL = "protocol"
    """A request that no browser or library makes, such as overlong UTF-8 or a null byte."""
    CSRF = "csrf"
    BRUTE_FORCE = "brute-force"
    DDOS = "ddos"
    RATE_ABUSE = "rate-abuse"
    PROBING = "probing"
    ANOMALY = "anomaly"
    BLOCKED = "blocked"
    """The client stands on a block-list, or is banned."""


class Severity(IntEnum):
    """How bad it is when it is what it seems to be."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


class Level(StrEnum):
    """How threatening a whole request is."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Action(StrEnum):
    """What is done with a request; each is stricter than those before it."""

    ALLOW = "allow"
    TAG = "tag"
    """Passed on with a header field that tells the verdict."""
    THROTTLE = "throttle"
    CHALLENGE = "challenge"
    BLOCK = "block"


class Mode(StrEnum):
    """What a rule does with what it finds."""

    OFF = "off"
    LOG = "log"
    """Find and report, change nothing."""
    BLOCK = "block"


class PlaceKind(StrEnum):
    """Which part of a request a value was in."""

    PATH = "path"
    QUERY = "query"
    COOKIE = "cookie"
    HEADER = "header"
    FORM = "form"
    JSON = "json"
    MULTIPART = "multipart"
    FILENAME = "filename"
    XML = "xml"
    GRAPHQL = "graphql"
    BODY = "body"
    """A body of a type that is not taken apart."""


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where in a request a value was.

    Attributes:
        name: of the parameter, field or header, in lower case for headers; a path such as `user.tags[2]` within JSON or
            XML; empty for path segments. Cut at 128 characters.
        is_name: whether the value is the name itself, which attackers fill as well.
    """

    kind: PlaceKind
    name: str = ""
    is_name: bool = False


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that no honest client would send.

    Attributes:
        rule: stable id such as `sqli-tautology`.
        category: the class of attack.
        owasp: category of the OWASP Top Ten 2021, such as `A03:2021`.
        severity: if it is what it seems to be.
        confidence: probability 0 to 1 that it is an attack, judged by this finding alone.
        place: where it was.
        span: the text that matched, as it was after decoding, at most 128 characters; secrets are not taken out here.
        chain: how the value was decoded to get there, such as `("percent", "html")`.
    """

    rule: str
    category: ThreatClass
    owasp: str
    severity: Severity
    confidence: float
    place: Place
    span: str
    chain: tuple[str, ...] = ()


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What inspection says of one request.

    Attributes:
        score: 0 and above; what policy compares with its thresholds.
        partial: why not everything was inspected; empty when all was.
    """

    action: Action
    level: Level
    score: float
    findings: tuple[Finding, ...] = ()
    partial: str = ""
