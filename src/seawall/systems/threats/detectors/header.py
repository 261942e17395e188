"""Header and response splitting: a line break, then something that the next reader takes for a line of its own."""

import re
from collections.abc import Iterator, Sequence

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.detectors.prose import plain_words
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["DETECTOR"]

MAX_SIGNALS = 8
ONE_LINE = 160
"""Characters before the break that a value of one line has; a text of lines may quote header fields honestly."""

SHORT = 32
"""Characters of a name that somebody gives, such as that of an account."""

_TEXTUAL = frozenset(
    {PlaceKind.FORM, PlaceKind.JSON, PlaceKind.MULTIPART, PlaceKind.GRAPHQL, PlaceKind.BODY, PlaceKind.XML}
)
DOCUMENTS = _TEXTUAL - {PlaceKind.FORM}
# Line breaks as they are, as escapes that a later layer decodes, and as characters whose low byte is CR or LF.
_BREAK = (
    r"(?:[\r\n\x0b\x0c\x85\u2028\u2029\u560a\u560d\u010a\u010d]|%(?:25)?0[ad]|\\[rn]|%e5%98%8[ad]"
    r"|%[\r\n]0[ad]|%%0[ad]0[ad]){1,8}+"
)
_REAL_BREAK = r"(?:[\r\n\x85\u2028\u2029]|%(?:25)?0[ad]|\\[rn]){1,8}+"
_RESPONSES = (
    "set-cookie2?", "location", "content-(?:type|length|disposition|encoding|location)", "transfer-encoding", "refresh",
    "status", "x-xss-protection", r"access-control-[\w-]+", "content-security-policy", "last-modified", "expires",
    "www-authenticate", "link", "clear-site-data", "p3p", "cache-control", "etag", "vary", "server", "pragma",
    "strict-transport-security", "referrer-policy", "alt-svc", "keep-alive", "retry-after", "permissions-policy",
    r"cross-origin-[\w-]+", "server-timing", "report-to", "accept-ranges", "content-range", "feature-policy",
)  # fmt: skip
_REQUESTS = (
    "host", r"x-forwarded-\w+", "x-original-url", "x-rewrite-url", "authorization", "cookie", "referer", "user-agent",
    "connection", r"proxy-\w+", "x-http-method-override", "upgrade", "expect", "range", "x-real-ip", "accept", "te",
    r"accept-(?:encoding|language|charset)", r"sec-[\w-]+", r"if-(?:none-match|match|modified-since|range)", "trailer",
)  # fmt: skip
_MAIL = (
    "b?cc|to|from|sender|subject|reply-to|return-path|mime-version|content-transfer-encoding|rcpt to|mail from|data"
    "|x-mailer"
)
_FIELD = re.compile(
    rf"{_BREAK}[ \t]{{0,4}}(?:(?P<response>{'|'.join(_RESPONSES)})"
    rf"|(?P<request>{'|'.join(_REQUESTS)})|(?P<mail>{_MAIL})"
    r"|(?P<any>x-[a-z][a-z0-9-]{1,40}"
    r"|[a-z]{2,20}-?(?:injected|injection|header|evil|test|crlf)[a-z-]{0,20}))[ \t]{0,4}:",
    re.IGNORECASE | re.ASCII,
)
# A field of any name, behind a value of one word: nobody writes lines into what is meant for one.
_OTHER_FIELD = re.compile(
    _REAL_BREAK + r"[ \t]{0,4}[a-z][a-z0-9_-]{0,40}:(?![/\\])[ \t]{0,2}\S", re.IGNORECASE | re.ASCII
)
_MESSAGE = re.compile(
    _BREAK + r"[ \t]{0,4}(?:HTTP/[0-9](?:\.[0-9])?[ \t]+\d{3}"
    r"|(?:GET|POST|PUT|DELETE|HEAD|OPTIONS|PATCH|TRACE|CONNECT)[ \t]+(?:/|https?:)\S{0,512}[ \t]+HTTP/\d"
    r"|(?:RCPT|MAIL|HELO|EHLO|QUIT|DATA)(?:[ \t]|\r|\n|$))",
    re.IGNORECASE | re.ASCII,
)
# The end of a request's first line, so that what follows is read as its fields.
_FIRST_LINE = re.compile(
    r"(?:^|\s)HTTP/[0-9](?:\.[0-9])?" + _REAL_BREAK + r"[ \t]{0,4}(?:[a-z]|$)", re.IGNORECASE | re.ASCII
)
_ENDED = re.compile(r"(?:\r\n|\n|%0d%0a|\\r\\n){2}$", re.IGNORECASE)
_METHOD = re.compile(r"^\s{0,8}(?:GET|POST|PUT|DELETE|HEAD|OPTIONS|PATCH|TRACE|CONNECT)\s", re.ASCII)
_MARKUP = re.compile(
    r"(?:[\r\n]|%0[ad]|\\[rn]){2,8}+[ \t]{0,4}<"
    r"(?:(?P<page>html|head|body|!doctype html)\b|script|svg|img|iframe|h1|(?P<other>[a-z]))",
    re.IGNORECASE | re.ASCII,
)
# A line as logs have it: a date with a time, a level, or an address with what it asked for.
_LOG_LINE = re.compile(
    _REAL_BREAK + r"[ \t]{0,4}(?:\[?\d{4}[-/]\d{2}[-/]\d{2}[T ]\d{2}:\d{2}[^\r\n]{0,24}?\s"
    r"|\d{1,3}(?:\.\d{1,3}){3} - [\w-]{1,32} \["
    r"|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec) [ \d]\d \d{2}:\d{2}:\d{2} "
    r"|\[?\d{1,2}/(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|\d{2})/\d{4}[: ]\d{2}:\d{2}"
    r"|\[?(?:info|warn(?:ing)?|error|debug|notice|critical)\]?[ \t]{0,4}[:\]-])",
    re.IGNORECASE | re.ASCII,
)
# The same where a value is meant for one word: a level in capitals, and what systems say of who came in.
_CASED_BREAK = _REAL_BREAK.replace("[ad]", "[aAdD]")
_LOG_WORDS = re.compile(
    _CASED_BREAK
    + r"\[?(?:(?P<level>INFO|WARN|WARNING|ERROR|DEBUG|NOTICE|CRITICAL|FATAL|ALERT|AUDIT|TRACE)\]?[ \t]{1,4}\S"
    r"|[Ll]og(?:in|on) (?:attempt )?(?:succeeded|successful|success|failed|ok)\b"
    r"|[Uu]ser \S{1,64} (?:logged|signed) (?:in|out)\b|Accepted (?:password|publickey) for "
    r"|[Ss]ession opened for |[Aa]uthentication (?:succeeded|success|failure|failed)\b)",
    re.ASCII,
)
# Codes that a terminal obeys when somebody reads the log: colours, cursor, title, clipboard, links, what erases.
_TERMINAL = re.compile(
    r"\x1b(?:\[[0-9;?]{0,24}[A-Za-z]|\][0-9]{1,4};|[c78])|\\e\[[0-9;?]{1,24}[A-Za-z]|[^\x08]\x08{2}", re.ASCII
)
# Fields that a client has its server send on: the first line is one as well.
_LIST = re.compile(r"[ \t]{0,4}[a-z][a-z0-9]{0,20}(?:-[a-z0-9]{1,20}){1,6}:(?!//)", re.IGNORECASE | re.ASCII)
_ADDRESSED = re.compile(r"@|\bb?cc[ \t]{0,4}:", re.IGNORECASE)
_LINE = re.compile(r"[\r\n]")
_REDIS = re.compile(
    _BREAK + r"(?:\*\d{1,3}[\r\n]|(?:SET|FLUSHALL|CONFIG SET|SLAVEOF|EVAL|AUTH|KEYS)\s{1,8}\S|stats\b|\$\d{1,6}[\r\n])"
)
# Commands of stores that listen to lines, which no text has at the start of one.
_STORE = re.compile(
    _REAL_BREAK
    + r"(?:flush(?:all|db|_all)|config (?:set|get|rewrite) ?|slaveof |replicaof |bgsave|shutdown (?:no)?save"
    r"|eval (?=[\"'])"
    r"|(?:set|add|replace|append|cas) \S{1,250} \d{1,10} \d{1,10} \d{1,10})(?![a-z])",
    re.IGNORECASE | re.ASCII,
)
# A line for a server that is spoken to in lines (FTP, SMTP, POP3, IMAP, Redis, Memcached), where there is to be none.
_VERBS = (
    "SET|GET|DEL|KEYS|INFO|SAVE|AUTH|[LR]PUSH|SADD|HSET|EXPIRE|INCR|DECR|APPEND|PING|SELECT|SUBSCRIBE|PUBLISH|MIGRATE"
    "|MODULE|SCRIPT|CLUSTER|MONITOR|DEBUG|EVAL|USER|PASS|RETR|STOR|PORT|PASV|CWD|LIST|NLST|NOOP|QUIT|DELE|RSET|VRFY"
    "|EXPN|STAT|TYPE|MKD|RNFR|RNTO|STARTTLS"
)
_SMALL_VERBS = "gets?|delete|incr|decr|touch|verbosity"
_ORDERS = "stats(?: [a-z]{1,16})?|version|flush_all|quit"
_SPOKEN_END = r"(?:[\r\n]|%0[aAdD]|\\[rn]"
_SPOKEN = re.compile(
    rf"{_CASED_BREAK}(?:(?:{_VERBS}"
    r"|[A-Za-z]{1,2}[0-9]{1,4} (?:LOGIN|LIST|SELECT|EXAMINE|FETCH|DELETE|CREATE|LOGOUT|STATUS|STORE|COPY|SEARCH)"
    rf"|\.(?=[\r\n%\\]))(?P<words>(?:[ \t][^\s%\\]{{1,256}}){{0,6}})[ \t]{{0,4}}{_SPOKEN_END}|$)"
    rf"|(?:(?:{_SMALL_VERBS})(?:[ \t][^\s%\\]{{1,250}}){{1,3}}|{_ORDERS}){_SPOKEN_END}))",
    re.ASCII,
)
MAX_SPOKEN = 3
"""Lines of a field in which commands for a server are sought; a longer text is one that somebody wrote."""


def scan(text: str, kind: PlaceKind) -> Sequence[Signal]:
    """Judge one view of a value. Linear in the text."""
    signals = []
    textual = kind in _TEXTUAL
    field = _FIELD.search(text)
    if field:
        signals.append(_signal("header-field", _judge_field(text, field, textual=textual), field))
    other = _OTHER_FIELD.search(text)
    if other:
        signals.append(_signal("header-field", _judge_other(text, other, textual=textual), other))
    message = _MESSAGE.search(text)
    if message:
        before = text[: message.start()]
        quoted = textual and (len(before) > ONE_LINE or " " in before.strip())
        signals.append(_signal("header-message", 0.5 if quoted else 0.93, message))
    first = _FIRST_LINE.search(text)
    if first and first.start() <= ONE_LINE and (first.end() < len(text) or _ENDED.search(text)):
        signals.append(_signal("header-message", 0.4 if _METHOD.match(text) else 0.9, first))
    body = _MARKUP.search(text)
    if body and (body["page"] or body["other"] or textual):
        told = _word(text, body.start()) and "<" not in text[: body.start()] and not (textual and body["page"] is None)
        body = body if told else None
    if body:
        signals.append(_signal("header-body", 0.76 if textual else 0.86, body))
    line = _LOG_LINE.search(text)
    if line:
        signals.append(_signal("header-log", _judge_line(text, line, textual=textual), line))
    command = _REDIS.search(text)
    if command and command.start() <= ONE_LINE and ("*" in command[0] or "://" in text[: command.start()]):
        signals.append(_signal("header-command", 0.86, command))
    store = _STORE.search(text)
    if store and store.start() <= ONE_LINE and " " not in text[: store.start()].strip():
        signals.append(_signal("header-command", 0.86, store))
    signals.extend(_lines(text, kind, textual=textual))
    signals.sort(key=_strength, reverse=True)
    return [signal for signal in signals[:MAX_SIGNALS] if signal.confidence >= 0.3]


def _lines(text: str, kind: PlaceKind, *, textual: bool) -> Iterator[Signal]:
    """What is meant for who reads logs at a terminal, and for servers behind: places of one word have none of it."""
    terminal = _TERMINAL.search(text)
    if terminal and kind not in DOCUMENTS:
        short = len(text) <= ONE_LINE and _LINE.search(text.strip()) is None and plain_words(text) <= 1
        yield _signal("header-terminal", 0.86 if short else 0.4, terminal)
    for pattern, rule in ((_SPOKEN, "header-command"), (_LOG_WORDS, "header-log")):
        match = pattern.search(text)
        if match and _word(text, match.start()):
            yield _signal(rule, 0.8 if not textual else 0.76 if _meant(text, match, kind) else 0.0, match)


def _meant(text: str, match: re.Match[str], kind: PlaceKind) -> bool:
    """Tell whether a line of a field that may have several is for no reader: behind a word, with a carriage return."""
    if kind != PlaceKind.FORM or not text[: match.start()].strip() or match.start() > SHORT:
        return False
    if text.strip().count("\n") >= MAX_SPOKEN:
        return False
    words = match.groupdict()
    if "level" in words:
        return words["level"] is None
    told = (words["words"] or "").split()
    greeted = len(told) > 1 and "GET" in match[0]  # "GET well soon"
    return bool(told) and not greeted and "\r" in match[0][:2]


def _word(text: str, end: int) -> bool:
    """Tell whether what stands before a break is a word, an address, a path or nothing at all."""
    before = text[:end]
    return len(before) <= ONE_LINE and not _LINE.search(before.strip()) and " " not in before.strip()


def _judge_other(text: str, field: re.Match[str], *, textual: bool) -> float:
    """Confidence in a field of any name: lists of names and values are honest where texts of lines are."""
    if not _word(text, field.start()) or _LINE.search(text, field.end()):
        return 0.0
    if "\n" not in field[0] and "\r" not in field[0] and "%0" not in field[0]:
        return 0.0
    if not textual:
        return 0.78
    lonely = not text[: field.start()].strip(" \t?#/&=.") and " " not in text[field.end() :].strip()
    return 0.76 if lonely and "\r" in field[0] and " " not in field[0].rpartition(":")[2] else 0.0


def _judge_line(text: str, line: re.Match[str], *, textual: bool) -> float:
    """Confidence in a forged line of a log: a name that ends where the next entry seems to begin."""
    if not _word(text, line.start()) or not text[: line.start()].strip():
        return 0.0
    if not textual:
        return 0.8
    rest = text[line.end() :].strip()
    return 0.76 if line.start() <= SHORT and _LINE.search(rest) is None else 0.0


def _judge_field(text: str, field: re.Match[str], *, textual: bool) -> float:
    """Confidence in a field behind a line break: a text of lines, such as a mail, has them honestly."""
    before = text[: field.start()]
    if text[field.end() : field.end() + 1] in {"/", "\\"}:
        return 0.2
    if len(before) > ONE_LINE or _LINE.search(before.strip()) or (textual and field["mail"] and " " in before.strip()):
        return 0.4
    if textual and (_METHOD.match(text) or _LIST.match(text)):
        return 0.5
    if textual and (before.count(" ") >= 3 or (field["mail"] and not _ADDRESSED.search(text))):
        return 0.6
    return 0.95 if field["response"] else 0.88


def _signal(rule: str, confidence: float, match: re.Match[str]) -> Signal:
    return Signal(rule, Severity.HIGH if confidence >= 0.6 else Severity.MEDIUM, confidence, match.start(), match.end())


def _strength(signal: Signal) -> float:
    return signal.confidence


_START = (
    r"(?:%[\r\n]0[ad]|%%0[ad]0[ad]|[\r\n\x0b\x0c\x85\u2028\u2029\u560a\u560d\u010a\u010d]|%(?:25)?0[ad]|\\[rn]|%8[ad])"
    r"[ \t]{0,4}"
)

DETECTOR = Detector(
    name="header",
    category=ThreatClass.HEADER_INJECTION,
    owasp="A03:2021",
    triggers=(
        _START + r"[a-z][a-z0-9 _-]{0,48}[ \t]{0,4}:",
        _START + r"(?:http/[0-9]|(?:get|post|put|delete|head|options|patch|trace|connect)[ \t]"
        r"|(?:rcpt|mail|helo|ehlo|quit|data)(?:[^a-z0-9]|$))",
        _START + r"<[a-z]",
        r"(?:[\r\n]|%(?:25)?0[ad]|\\[rn])(?:\*[0-9]|\$[0-9]|stats|flush)",
        r"(?:[\r\n]|%(?:25)?0[ad]|\\[rn])(?:config |slaveof|replicaof|bgsave|shutdown |eval )",
        r"(?:[\r\n]|%(?:25)?0[ad]|\\[rn])(?:set|add|replace|append|cas) [^\s]{1,250} [0-9]",
        r"\x1b[\[\]c78]|\\e\[[0-9;?]|\x08\x08",
        rf"(?:[\r\n]|%(?:25)?0[ad]|\\[rn])(?:{_VERBS}|{_SMALL_VERBS}|stats|version|flush_all)(?:[ \t\r\n%\\]|$)",
        r"(?:[\r\n]|%(?:25)?0[ad]|\\[rn])(?:[a-z]{1,2}[0-9]{1,4} (?:lo|li|se|ex|fe|de|cr|st|co)|\.[\r\n%\\])",
        r"(?:[\r\n]|%(?:25)?0[ad]|\\[rn])[ \t]{0,4}\[?(?:(?:fatal|alert|audit|trace)[\] \t]|[0-9]{1,2}/[a-z0-9]{2,3}/)",
        r"(?:[\r\n]|%(?:25)?0[ad]|\\[rn])\[?(?:accepted p|session o|authentication [sf])",
        r"(?:[\r\n]|%(?:25)?0[ad]|\\[rn])\[?log(?:in|on) (?:att|succ|fail|ok)",
        r"(?:[\r\n]|%(?:25)?0[ad]|\\[rn])\[?user [^\s]{1,64} (?:log|sign)",
        r"http/[0-9](?:\.[0-9])?(?:[\r\n]|%(?:25)?0[ad]|\\[rn])",
        _START + r"(?:\[?[0-9]{4}[/-][0-9]{2}[/-][0-9]{2}[t ]|[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3} - "
        r"|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec) [ 0-9][0-9] [0-9]"
        r"|\[?(?:info|warn|error|debug|notice|critical))",
    ),
    scan=scan,
)
