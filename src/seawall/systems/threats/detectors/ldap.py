"""Find injection into LDAP filters (RFC 4515): brackets that close a condition which the value did not open.

The value is read as the middle of a filter. What gives an attack away is the depth of brackets: it falls below zero,
and then a condition or an operator opens where the application's filter would have ended.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.detectors.prose import plain_words
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["DETECTOR", "scan"]

_HIGH, _MEDIUM = Severity.HIGH, Severity.MEDIUM

# An attribute, with options or a matching rule (`cn;lang-de`, `userAccountControl:1.2.840.113556.1.4.803:`).
_TOKEN: Final = re.compile(
    r"\s*+(?:([a-z][\w.;-]{0,63}(?::[\w.]{0,40}:?)?\s?(?:[~<>:]=|=(?!=)))"  # 1 attribute and what it is compared by
    r"|([()])"  # 2 bracket
    r"|([&|!]\s*+(?=[()]|\Z|[a-z]{1,40}=))"  # 3 operator of a filter
    r"|(\x00|%00|\\00)"  # 4 the end of the text in C
    r"|(\*)"  # 5 wildcard
    r"|([^()&|!*\x00%\\\s]++|.)|\Z)",  # 6 value
    re.IGNORECASE | re.DOTALL,
)
_KINDS: Final = ("", "a", "", "o", "0", "*", "v")
_TOKENS_CAP: Final = 400
_KNOWN: Final = re.compile(
    r"(?:uid|cn|sn|ou|dc|mail|objectclass|objectcategory|password|userpassword|samaccountname|memberof|member|givenname"
    r"|telephonenumber|description|admincount|useraccountcontrol|homedirectory|title|name|displayname|department"
    r"|directory|user|username|login|security_level|zone|type|role|pass|email|surname|commonname|o|c|l|street|id"
    r"|uidnumber|gidnumber|gecos|loginshell|pwdlastset|lastlogon(?:timestamp)?|badpwdcount|logoncount|accountexpires"
    r"|whencreated|whenchanged|distinguishedname|entrydn|userprincipalname|serviceprincipalname|proxyaddresses|manager"
    r"|employee(?:id|number|type)|objectsid|objectguid|primarygroupid|groupmembership|memberuid|sshpublickey|ds-\w+"
    r"|unicodepwd|ntpassword|lmpassword|sambantpassword|krb\w+|shadow\w+|mobile|initials|postaladdress|facsimile\w*)(?::[\w.]{1,40}:?)?\s?[~<>:]?=",
    re.IGNORECASE,
)
_REOPENED: Final = re.compile(r"\)+\(+(?:o|a|!)")
_EMPTIED: Final = re.compile(r"\)+\(?o?\(?o?\)")
# Attributes that a filter never asks for, and the beginning of a value, so that it is guessed by and by.
_PROOFS: Final = re.compile(
    r"(?:user)?pass\w*|unicodepwd|\w*ntpassword|lmpassword|krb\w*key|sshpublickey|\w*secret\w*", re.IGNORECASE
)
_OPENED: Final = re.compile(r"\((?:o\(|a).*\(o?$|.*\(o\(?o?$", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(?:28|29|2a|26|7c|21)", re.IGNORECASE)
# A filter whose first bracket the application wrote, and a name that goes on where the application's part begins.
_HEADLESS: Final = re.compile(r"[&|!]\([a-z][\w.;-]{0,40}[~<>]?=[^()]{0,80}\)(?:\(|$)", re.IGNORECASE)
_SUFFIX: Final = re.compile(
    r",\s{0,2}(?:dc|ou|cn|o|uid)=[\w .-]{1,64}(?:,\s{0,2}(?:dc|ou|cn|o|c)=[\w .-]{1,64}){0,8}", re.IGNORECASE
)
_WILD: Final = re.compile(r"[^()*]{0,40}\*\)\s{0,2}\(\s{0,2}(?:[&|!]\(?)?\d{1,8}[~<>]?=")
# Nothing but the characters of the language, as whoever looks for an error sends them. Passwords that go along a
# keyboard's row have others between.
_SIGNS: Final = re.compile(r"['\"\w]{0,8}(?=[^&]*&)(?=[^|]*\|)[*()&|!=]{4,16}['\"]?", re.ASCII)
_SIGNS_TRIGGER: Final = r"\(\)[|&]|[|&]\(\)|\)\([|&]|\*\(\)"
_WHOLE: Final = re.compile(r"\((?:o\(|a)")


def scan(text: str, _kind: PlaceKind) -> Sequence[Signal]:
    """Judge a value: signals of confidence 0.3 and above, the strongest first. Linear in the text."""
    if "%20" in text:
        return ()  # its decoded view is judged; here prose would not look like prose
    best: dict[str, Signal] = {}
    for signal in _signals(text):
        known = best.get(signal.rule)
        if known is None or known.confidence < signal.confidence:
            best[signal.rule] = signal
    return sorted(best.values(), key=lambda signal: signal.confidence, reverse=True)[:8]


def _read(text: str) -> tuple[str, list[str], list[int]]:
    kinds: list[str] = []
    tokens: list[str] = []
    starts: list[int] = []
    for match in _TOKEN.finditer(text):
        group = match.lastindex
        if group is None or len(kinds) >= _TOKENS_CAP:
            break
        kinds.append(_KINDS[group] or match[group])
        tokens.append(match[group])
        starts.append(match.start(group))
    return "".join(kinds), tokens, starts


def _signals(text: str) -> Iterator[Signal]:
    if _SIGNS.fullmatch(text) and "(" in text and ")" in text:
        yield Signal("ldap-signs", _HIGH, 0.8, 0, len(text))
    if _WILD.match(text):
        yield Signal("ldap-filter", _HIGH, 0.88, 0, len(text))
    if _HEADLESS.match(text) and "*" in text:
        yield Signal("ldap-filter", _HIGH, 0.8, 0, len(text))
    if _SUFFIX.fullmatch(text):
        yield Signal("ldap-name", _HIGH, 0.8, 0, len(text))
    if "\\" in text:
        text = _ESCAPED.sub(_unescaped, text)
    kinds, tokens, starts = _read(text)
    depth = 0
    for index, kind in enumerate(kinds):
        if kind == "(":
            depth += 1
        elif kind == ")":
            depth -= 1
            if depth < 0:
                yield from _broken(text, kinds, tokens, starts, index)
                return
    yield from _balanced(text, kinds, tokens, starts)


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match[0][1:], 16))


def _broken(text: str, kinds: str, tokens: list[str], starts: list[int], index: int) -> Iterator[Signal]:
    """What follows a bracket that closes more than the value opened."""
    start = starts[index]
    reopened = _REOPENED.match(kinds, index)
    before = kinds[:index]
    if reopened is not None:
        at = reopened.end() - 1
        known = kinds[at] == "o" or _KNOWN.match(tokens[at]) is not None
        tight = text[start:].replace(" ", "")[:2] in (")(", "))") and (known or " " not in text)
        guessed = tight and before[-1:] == "*"
        sure = 0.96 if known and tight else 0.88 if guessed else 0.7 if tight else 0.4
        if plain_words(text, limit=6) >= 4:
            sure -= 0.3
        yield Signal("ldap-filter", _HIGH, sure, start, len(text))
    elif kinds[-1] == "0" or (_EMPTIED.match(kinds, index) and "o" in kinds[index:]):
        yield Signal("ldap-filter", _HIGH, 0.9, start, len(text))
    elif "*" in before[-1:] and kinds[index:] == ")" * (len(kinds) - index):
        yield Signal("ldap-filter", _MEDIUM, 0.45 if index <= 2 else 0.3, start, len(text))


def _balanced(text: str, kinds: str, tokens: list[str], starts: list[int]) -> Iterator[Signal]:
    """Conditions that open within the value: `*(|(mail=*))`, or a filter as a whole."""
    if _OPENED.match(kinds) and kinds.count("(") > kinds.count(")") and _any_known(kinds, tokens):
        sure = 0.9 if plain_words(text, limit=6) <= 1 else 0.4
        yield Signal("ldap-filter", _HIGH, sure, starts[0], len(text))
        return
    proof = next((index for index, token in enumerate(tokens) if kinds[index] == "a" and _PROOFS.match(token)), -1)
    if proof > 0 and kinds[proof - 1] == "(" and "*" in kinds[proof + 1 : proof + 3] and kinds[0] == "(":
        yield Signal("ldap-filter", _HIGH, 0.9 if plain_words(text, limit=6) <= 1 else 0.5, starts[proof], len(text))
    at = kinds.find("(")
    words = plain_words(text, limit=6) if at >= 0 else 0
    while at >= 0:
        whole = _WHOLE.match(kinds, at)
        if whole is not None:
            inner = kinds.find("a", at)
            if inner >= 0 and _KNOWN.match(tokens[inner]) and "o" not in kinds[at + 2 : inner].replace("o(", ""):
                after_value = at > 0 and starts[at] > 0 and text[starts[at] - 1] not in " \t\r\n=:\"'`>"
                nested = kinds[at + 1] == "o"
                if nested or after_value:
                    sure = 0.93 if after_value and nested else 0.6 if nested and words == 0 else 0.4
                    yield Signal("ldap-filter", _HIGH, sure - (0.3 if words >= 4 else 0.0), starts[at], len(text))
                    return
        at = kinds.find("(", at + 1)
    if kinds[:1] == "*" and kinds[1:2] in ("(", "o") and len(kinds) <= 3:
        yield Signal("ldap-filter", _MEDIUM, 0.4, 0, len(text))


def _any_known(kinds: str, tokens: list[str]) -> bool:
    return any(kind == "a" and _KNOWN.match(token) for kind, token in zip(kinds, tokens, strict=True))


DETECTOR: Final = Detector(
    name="ldap",
    category=ThreatClass.LDAP_INJECTION,
    owasp="A03:2021",
    triggers=(
        r"\)\s{0,4}\(\s{0,4}(?:[&|!]|[a-z][a-z0-9.;:_-]{0,80}\s?[~<>:]?=)",
        r"\*\)|\)\s{0,4}(?:\x00|%00|\\00)",
        r"\(\s{0,4}[&|!]\s{0,4}(?:[()]|$|[a-z]{1,40}=)",
        r"[*a-z0-9]\(\s{0,4}[a-z]{1,32}[~<>]?=",
        r"\\[2][89a]|\(\s{0,4}[a-z]{0,8}pass[a-z]{0,8}=|\(\s{0,4}[a-z]{0,16}(?:pwd|secret|key)[a-z]{0,8}=",
        _SIGNS_TRIGGER,
        r"^[&|!]\([a-z]|^,\s{0,2}(?:dc|ou|cn|o|uid)=",
    ),
    scan=scan,
)
