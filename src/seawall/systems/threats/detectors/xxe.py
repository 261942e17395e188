"""XML external entities: document types that make a parser read files, call hosts or grow without bound."""

import re
from collections.abc import Sequence

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.detectors.prose import in_code
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["DETECTOR"]

MAX_DECLARATIONS = 32
_ENTITY = re.compile(
    r"<!\s*entity\s+(?P<parameter>%|&#x?0*(?:37|25);)?\s*(?P<name>[^\s\"'>]{1,128})\s+(?:(?P<external>system|public)\b\s*(?P<where>[\"'][^\"'>]{0,400})?|(?P<value>[\"'][^\"']{0,400}))",
    re.IGNORECASE | re.ASCII,
)
_PARTIAL = re.compile(r"<!\s*entity\s", re.IGNORECASE | re.ASCII)
_DOCTYPE = re.compile(
    r"<!\s*doctype\s+(?P<name>[^\s\"'\[>]{1,128})\s*(?P<external>system|public)?\s*(?P<rest>[^>\[]{0,400})(?P<inner>\[)?",
    re.IGNORECASE | re.ASCII,
)
_REFERENCE = re.compile(r"\s{0,8}%[\w.-]{1,64};", re.ASCII)
_KNOWN = re.compile(
    r"-//(?:w3c|ietf|wapforum|apple|sun|oasis|apache|hibernate|mybatis|spring|tiger|softquad)|w3\.org|apple\.com/dtds|java\.sun\.com|about:legacy-compat|hibernate\.org|mybatis\.org|/(?:xhtml|svg|mathml)",
    re.IGNORECASE | re.ASCII,
)
# A declaration that can be read says that it cannot: in these, what ASCII shows is not what the parser will read.
_ENCODING = re.compile(
    r"<\?xml\b[^>]{0,200}\bencoding\s*=\s*[\"']\s*(?:utf-?7|cp037|ibm-?\d{3,4}|ebcdic[\w-]{0,24}|utf-?32\w{0,2})\s*[\"']",
    re.IGNORECASE | re.ASCII,
)
_INCLUDE = re.compile(
    r"<\s*(?:\w{1,32}:)?include\b[^>]{0,400}\bhref\s*=|xmlns:\w{1,32}\s*=\s*[\"']\s*https?://www\.w3\.org/2001/xinclude",
    re.IGNORECASE | re.ASCII,
)
_TRANSFORM = re.compile(
    r"<\s*xsl:(?:include|import)\b|\bdocument\s*\(\s*[\"'](?:file|https?|ftp|/)|unparsed-text\s*\(|<\s*xsl:value-of[^>]{0,200}(?:system-property|php:function|document\s*\()|xmlns:\w{1,32}\s*=\s*[\"'](?:http://php\.net/xsl|http://xml\.apache\.org/x[sa]l\w*/java|urn:schemas-microsoft-com:xslt)"
    r"|<\?xml-stylesheet[^>]{0,300}href\s*=\s*[\"']?(?:https?:|//|file:|data:)|schemalocation\s*=\s*[\"'][^\"']{0,200}(?:file:|ftp:)|<!\s*attlist\s",
    re.IGNORECASE | re.ASCII,
)
_LOCAL = re.compile(
    r"file:|php://|expect:|/etc/|c:[\\/]|gopher:|jar:|netdoc:|ftp:|data:|https?:|dict:|\\\\|/", re.IGNORECASE
)


def scan(text: str, kind: PlaceKind) -> Sequence[Signal]:  # noqa: ARG001 - the same text means the same in every place
    """Judge one view of a value. Linear in the text."""
    signals = _entities(text)
    doctype = _DOCTYPE.search(text)
    if doctype and not (
        doctype["name"].lower() == "html"
        and not doctype["inner"]
        and "legacy" not in doctype["rest"]
        and not doctype["external"]
    ):
        signals.extend(_doctype(doctype))
    encoding = _ENCODING.search(text)
    if encoding:
        signals.append(_signal("xxe-encoding", 0.86, encoding))
    include = _INCLUDE.search(text)
    if include and ("xinclude" in text.lower() or ":include" in include[0].lower()):
        signals.append(_signal("xxe-include", 0.93, include))
    transform = _TRANSFORM.search(text)
    if transform:
        signals.append(_signal("xxe-transform", 0.85, transform))
    if signals:
        signals.sort(key=_strength, reverse=True)
        if in_code(text, signals[0].start):
            return [signal._replace(confidence=min(signal.confidence, 0.55)) for signal in signals[:8]]
    return signals[:8]


def _entities(text: str) -> list[Signal]:
    signals: list[Signal] = []
    nested = 0
    for count, match in enumerate(_ENTITY.finditer(text)):
        if count >= MAX_DECLARATIONS:
            break
        if match["external"]:
            signals.append(
                _signal("xxe-external", 0.97 if match["where"] and _LOCAL.search(match["where"]) else 0.93, match)
            )
        elif match["parameter"]:
            signals.append(_signal("xxe-parameter", 0.93, match))
        else:
            value = match["value"] or ""
            references = value.count("&") + value.count("%")
            nested += references > 1
            signals.append(
                _signal("xxe-expansion" if references > 1 else "xxe-entity", 0.9 if references > 1 else 0.86, match)
            )
    if nested >= 2:
        first = signals[0]
        signals.insert(0, first._replace(rule="xxe-expansion", severity=Severity.CRITICAL, confidence=0.97))
    if not signals:
        partial = _PARTIAL.search(text)
        if partial:
            signals.append(_signal("xxe-entity", 0.75, partial))
    return signals


def _doctype(match: re.Match[str]) -> list[Signal]:
    if match["external"]:
        if _KNOWN.search(match["rest"]):
            return []
        return [_signal("xxe-doctype", 0.93 if match["external"].lower() == "system" else 0.75, match)]
    if match["inner"] is None:
        return []
    return [_signal("xxe-doctype", 0.86 if _REFERENCE.match(match.string, match.end()) else 0.6, match)]


def _signal(rule: str, confidence: float, match: re.Match[str]) -> Signal:
    severity = Severity.CRITICAL if confidence >= 0.9 else Severity.HIGH
    return Signal(rule, severity, confidence, match.start(), match.end())


def _strength(signal: Signal) -> float:
    return signal.confidence


DETECTOR = Detector(
    name="xxe",
    category=ThreatClass.XXE,
    owasp="A05:2021",
    triggers=(
        r"<!\s{0,8}(?:entity|doctype|attlist)",
        r"include[^>]{0,400}href|2001/xinclude",
        r"encoding\s{0,8}=\s{0,8}[\"']\s{0,8}(?:utf-?7|utf-?32|cp037|ibm-?[0-9]{3}|ebcdic)",
        r"xsl:|document\s{0,8}\(\s{0,8}[\"']|unparsed-text|xml-stylesheet|schemalocation|php\.net/xsl|apache\.org/x|microsoft-com:xslt",
    ),
    scan=scan,
)
