"""Header and response splitting: a line break, then something that the next reader takes for a line of its own."""

import re
from collections.abc import Sequence

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["DETECTOR"]

MAX_SIGNALS = 8
ONE_LINE = 160
"""Characters before the break that a value of one line has; a text of lines may quote header fields honestly."""

_TEXTUAL = frozenset(
    {PlaceKind.FORM, PlaceKind.JSON, PlaceKind.MULTIPART, PlaceKind.GRAPHQL, PlaceKind.BODY, PlaceKind.XML}
)
# Line breaks as they are, as escapes that a later layer decodes, and as characters whose low byte is CR or LF.
_BREAK = r"(?:[\r\n\x85\u2028\u2029\u560a\u560d]|%0[ad]|%25?0[ad]|\\[rn]|%e5%98%8[ad]|\u010a|\u010d){1,8}+"
_RESPONSES = (
        "set-cookie2?", "location", "content-(?:type|length|disposition|encoding)", "transfer-encoding", "refresh",
        "status", "x-xss-protection", r"access-control-allow-\w+", "content-security-policy", "last-modified",
        "www-authenticate", "link", "clear-site-data", "p3p",
)  # fmt: skip
_REQUESTS = (
        "host", r"x-forwarded-\w+", "x-original-url", "x-rewrite-url", "authorization", "cookie", "referer",
        "connection", r"proxy-\w+", "x-http-method-override",
)  # fmt: skip
_MAIL = "b?cc|to|from|subject|reply-to|return-path|mime-version|content-transfer-encoding|rcpt to|mail from|data"
_FIELD = re.compile(
    rf"{_BREAK}[ \t]{{0,4}}(?:(?P<response>{'|'.join(_RESPONSES)})"
    rf"|(?P<request>{'|'.join(_REQUESTS)})|(?P<mail>{_MAIL})"
    r"|(?P<any>x-[a-z][a-z0-9-]{1,40}"
    r"|[a-z]{2,20}-?(?:injected|injection|header|evil|test|crlf)[a-z-]{0,20}))[ \t]{0,4}:",
    re.IGNORECASE | re.ASCII,
)
_MESSAGE = re.compile(
    _BREAK + r"[ \t]{0,4}(?:HTTP/[0-9](?:\.[0-9])?[ \t]+\d{3}"
    r"|(?:GET|POST|PUT|DELETE|HEAD|OPTIONS|PATCH|TRACE|CONNECT)[ \t]+(?:/|https?:)\S{0,512}[ \t]+HTTP/\d"
    r"|(?:RCPT|MAIL|HELO|EHLO|QUIT|DATA)(?:[ \t]|\r|\n|$))",
    re.IGNORECASE | re.ASCII,
)
_MARKUP = re.compile(
    r"(?:[\r\n]|%0[ad]|\\[rn]){2,8}+[ \t]{0,4}<(?:html|script|svg|img|body|iframe)", re.IGNORECASE | re.ASCII
)
_LINE = re.compile(r"[\r\n]")
_REDIS = re.compile(
    _BREAK + r"(?:\*\d{1,3}[\r\n]|(?:SET|FLUSHALL|CONFIG SET|SLAVEOF|EVAL|AUTH|KEYS)\s{1,8}\S|stats\b|\$\d{1,6}[\r\n])"
)


def scan(text: str, kind: PlaceKind) -> Sequence[Signal]:
    """Judge one view of a value. Linear in the text."""
    signals = []
    textual = kind in _TEXTUAL
    field = _FIELD.search(text)
    if field:
        signals.append(_signal("header-field", _judge_field(text, field, textual=textual), field))
    message = _MESSAGE.search(text)
    if message:
        before = text[: message.start()]
        quoted = textual and (len(before) > ONE_LINE or " " in before.strip())
        signals.append(_signal("header-message", 0.5 if quoted else 0.93, message))
    body = _MARKUP.search(text)
    if body and not textual:
        signals.append(_signal("header-body", 0.86, body))
    command = _REDIS.search(text)
    if command and command.start() <= ONE_LINE and ("*" in command[0] or "://" in text[: command.start()]):
        signals.append(_signal("header-command", 0.86, command))
    signals.sort(key=_strength, reverse=True)
    return [signal for signal in signals[:MAX_SIGNALS] if signal.confidence >= 0.3]


def _judge_field(text: str, field: re.Match[str], *, textual: bool) -> float:
    """Confidence in a field behind a line break: a text of lines, such as a mail, has them honestly."""
    before = text[: field.start()]
    if text[field.end() : field.end() + 1] in {"/", "\\"}:
        return 0.2
    if len(before) > ONE_LINE or _LINE.search(before.strip()) or (textual and field["mail"] and " " in before.strip()):
        return 0.4
    if textual and before.count(" ") >= 3:
        return 0.6
    return 0.95 if field["response"] else 0.88


def _signal(rule: str, confidence: float, match: re.Match[str]) -> Signal:
    return Signal(rule, Severity.HIGH if confidence >= 0.6 else Severity.MEDIUM, confidence, match.start(), match.end())


def _strength(signal: Signal) -> float:
    return signal.confidence


_START = r"(?:[\r\n\x85\u2028\u2029\u560a\u560d\u010a\u010d]|%0[ad]|\\[rn]|%8[ad])[ \t]{0,4}"

DETECTOR = Detector(
    name="header",
    category=ThreatClass.HEADER_INJECTION,
    owasp="A03:2021",
    triggers=(
        _START + r"[a-z][a-z0-9 -]{1,48}[ \t]{0,4}:",
        _START + r"(?:http/[0-9]|(?:get|post|put|delete|head|options|patch|trace|connect)[ \t]"
        r"|(?:rcpt|mail|helo|ehlo|quit|data)[^a-z0-9])",
        _START + r"<[a-z]|(?:[\r\n]|%0[ad]|\\[rn])(?:\*[0-9]|\$[0-9]|flushall|config set|slaveof)",
    ),
    scan=scan,
)
