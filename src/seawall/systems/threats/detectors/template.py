"""Server-side template injection: expressions in the delimiters of template engines that compute, call or reach inside.

Delimiters alone mean nothing: mail merges, documentation and front ends are full of them. What stands between them is
read as an expression.
"""

import re
from collections.abc import Iterator, Sequence

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.detectors.prose import in_code, plain_words
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["DETECTOR"]

MAX_SIGNALS = 8
MAX_EXPRESSIONS = 24
MAX_LENGTH = 600
"""Characters of an expression that are read."""

_OPEN = re.compile(
    r"\{\{|\{%|\$\{|#\{|<%|\*\{|@\{|@\(|~\{|%\{|\{\$|\{php\}|\{#|<#|\[\[|\$!?\{|\{(?=\s*\d+\s*[*+])|\{@|@(?=\d+[*+]\d)|\$\$\{|\[="
)
_CLOSE = {"{{": "}}", "{%": "%}", "<%": "%>", "{php}": "{/php}", "<#": ">", "[[": "]]", "@(": ")", "@": "", "[=": "]"}
_SUM = re.compile(
    r"^[\s=\-'\"(]*\d{1,12}\s*(?:[*+^-]|\*\*)\s*['\"]?\d{1,12}['\"]?\s*\)*[\s};)|'\"]*$|\d\s*\*\s*['\"]?\d{1,12}['\"]?(?:\s*[|})]|$)"
)
_INSIDE = re.compile(
    r"(?!(?<=[A-Za-z0-9_])[A-Za-z_])"
    r"(?:__(?:class|mro|base|bases|subclasses|globals|init|builtins|import|dict|getattribute|getitem|self|code|name|doc|call|reduce)__|\\x5f\\x5f|_TemplateReference|\blipsum\b|\bcycler\b|\bjoiner\b"
    r"|\|\s*attr\s*\(|\.\s*(?:getclass|forname|getruntime|getmethod|newinstance|getdeclared\w+|getprotectiondomain|classloader|getresource\w*)\b|\bT\s*\(\s*(?:java|org|javax|\")|java\.lang|java\.util|javax\.|java\.io|org\.(?:apache|springframework)"
    r"|freemarker\.template|\?\s*new\s*\(|\?api\b|objectconstructor|jythonruntime|#(?:_memberaccess|context|this|parameters|request|application|rt|set\b)|@[a-z.]+@\w+"
    r"|_self\b|registerundefinedfiltercallback|getfilter\s*\(|\|\s*(?:filter|map|sort|reduce)\s*\(\s*(?:\[\s*)?['\"](?:system|exec|passthru|shell_exec|assert|phpinfo|id|call_user_func|popen|file_put_contents)|\bsource\s*\(\s*['\"]/|file_excerpt|app\.request"
    r"|\bconfig\b\s*(?:\.|\[|\}|\)|$)|\brequest\.(?:application|environ|args|cookies|headers|form|values|mro|class)|\burl_for\b|get_flashed_messages|\bself\.\w|\bnamespace\b\.__|current_app|\bdict\.mro|settings\.secret_key"
    r"|constructor\s*(?:\.|\[|\()|\bprocess\s*(?:\.|\[)|mainmodule|\brequire\s*\(|global\.process|child_process|\breturn\s+process|with\s+\"s\"\s+as|lookup\s+string\.sub|conslist|\bthis\.(?:push|pop|constructor)"
    r"|\bruntime\b\s*\.|processbuilder|scriptengine|nashorn|\beval\s*\(|\bexec\s*\(|\bsystem\s*\(|\bpopen\s*\(|shell_exec|passthru|file_get_contents|\bfile\.(?:open|read)|\bdir\.(?:entries|glob)|\bio\.popen|\bkernel\b|%x[({\[]|\bopen\s*\(|\breadlines?\b"
    r"|\$smarty\b|smarty_internal|\{\s*literal|include\s+file=|\binclude\s*\(|getenv|\benviron\b|\bimport\s+(?:os|subprocess|sys)|\bos\.(?:system|popen|environ)|subprocess|\bclass\.(?:forname|inspect|type)|\$class\b|\$\w+\.(?:class|getclass|inspect)"
    r"|<#(?:assign|include|import|list|macro)|#(?:set|include|parse|evaluate|foreach)\s*\(|\bdebug\s*\(?\s*\)?\s*$|\bphpinfo\b|\bdump\s*\(|system\.(?:diagnostics|io|reflection)|html\.raw|methodinfo|assembly\.load|\bcat\s+/etc|/etc/passwd|\bwhoami\b"
    r"|\$eval|\$on\b|tostring\s*\(\s*\)\s*\.\s*(?:constructor|chars)|\[\s*['\"]\w+['\"]\s*\]\s*\[\s*['\"]|~\s*['\"]\w{1,4}['\"]\s*~|\"\"\s*\.|''\s*\.|\(\)\s*\.\s*__|\[\]\s*\.|\{\}\s*\.)",
    re.IGNORECASE | re.ASCII,
)
_DIRECTIVE = re.compile(
    r"<#assign\s+\w+\s*=\s*|#set\s*\(\s*\$\w+\s*=|\{php\}|\{%\s*(?:import|include|extends|for\s+\w+\s+in\s+\(?(?:\(\)|\[\]|''|\"\"|config|self|request|dict|lipsum))|\{%\s*(?:debug|load\s+log)\s*%\}"
    r"|<%=?\s*(?:system|exec|`|file|dir|io|require|global|process|class|self|kernel|response|request|runtime|@|eval|\d+\s*[*+]\s*\d+)|\{system\(|\{if\s+\w*(?:system|phpinfo|exec|readfile|passthru)|\$\{\s*@(?:print|system|eval|phpinfo)|#evaluate|__\$\{|__::|\[\[\$?\{|~\{[^}]{0,200}::|\{\$smarty\.|\{self::|\{Smarty_|@\{\s*\w+\s*=|\*\{\s*T\(",
    re.IGNORECASE | re.ASCII,
)
_NAME = re.compile(r"\s{0,8}[#/^>!&]?\s{0,8}[\w.-]{1,64}\s{0,8}(?:\|\s{0,8}\w+\s{0,8}(?:[:(][^{}]{0,40})?)?$")
# What a lone name, or a name with a filter, must be to matter.
_NAMED = re.compile(
    r"config\b|__|attr\s*\(|secret_key|_self|app\.request|filter\s*\(|map\s*\(|class|url_for", re.IGNORECASE
)
_MARKS = frozenset({"[[", "{#", "{@", "[="})
_ERROR = re.compile(r"^\s{0,8}(?:\$\{\{|\{\{)?\s{0,8}<%\[?%?['\"]|\$\{\{<%|\{\{\{\{|^\s{0,8}\{\{\s{0,8}\}\}\s{0,8}$")


def _expressions(text: str) -> Iterator[tuple[str, str, int, int]]:
    """The text between each pair of delimiters: (opening, expression, start, end)."""
    position = 0
    for _ in range(MAX_EXPRESSIONS):
        opening = _OPEN.search(text, position)
        if opening is None:
            return
        closing = _CLOSE.get(opening[0], "}")
        start = opening.end()
        stop = text.find(closing, start, start + MAX_LENGTH) if closing else -1
        end = stop if stop >= 0 else min(len(text), start + MAX_LENGTH)
        yield opening[0], text[start:end], opening.start(), min(len(text), end + len(closing))
        position = start


def _judge(opening: str, expression: str) -> tuple[str, float]:
    if _SUM.search(expression) and not (opening == "[[" or (opening == "{" and "}" in expression)):
        return "template-arithmetic", 0.93 if opening not in {"{#", "[=", "@{"} else 0.8
    if opening not in _MARKS and _NAME.match(expression) and not _NAMED.search(expression):
        return "", 0.0
    inside = _INSIDE.search(expression)
    if inside is None:
        return "", 0.0
    more = _INSIDE.search(expression, inside.end())
    known = "__" in inside[0] or "(" in expression or "java" in expression.lower()
    return "template-reach", 0.97 if more and known else 0.93 if known else 0.86


def scan(text: str, kind: PlaceKind) -> Sequence[Signal]:  # noqa: ARG001 - the same text means the same in every place
    """Judge one view of a value. Linear in the text."""
    signals = []
    prose = plain_words(text) >= 8
    for opening, expression, start, end in _expressions(text):
        rule, confidence = _judge(opening, expression)
        if confidence:
            signals.append(
                _signal(
                    rule, confidence - (0.25 if prose and rule == "template-reach" else 0.1 if prose else 0), start, end
                )
            )
    directive = _DIRECTIVE.search(text)
    if directive:
        telling = (
            _INSIDE.search(text, directive.start()) is not None
            or _SUM.search(text[directive.end() - 8 : directive.end() + 24]) is not None
        )
        signals.append(
            _signal(
                "template-directive",
                (0.93 if telling else 0.6) - (0.25 if prose else 0),
                directive.start(),
                directive.end(),
            )
        )
    error = _ERROR.search(text)
    if error and not prose:
        signals.append(_signal("template-probe", 0.86, error.start(), error.end()))
    if signals:
        signals.sort(key=_strength, reverse=True)
        del signals[MAX_SIGNALS:]
        if in_code(text, signals[0].start):
            return [signal._replace(confidence=min(signal.confidence, 0.55)) for signal in signals]
    return signals


def _signal(rule: str, confidence: float, start: int, end: int) -> Signal:
    return Signal(rule, Severity.CRITICAL if confidence >= 0.85 else Severity.HIGH, confidence, start, end)


def _strength(signal: Signal) -> float:
    return signal.confidence


DETECTOR = Detector(
    name="template",
    category=ThreatClass.TEMPLATE_INJECTION,
    owasp="A03:2021",
    triggers=(
        r"[{$#*@~%\[]\{|\{[%$#@]|<%|<#|@\(|\[\[|\[=|\{php\}",
        r"\{\s{0,8}[0-9]{1,12}\s{0,8}[*+]|@[0-9]{1,12}[*+][0-9]|#(?:set|include|parse|evaluate|foreach)\s{0,8}\(|\{(?:system|if|self|smarty)",
        r"__::|__\$",
    ),
    scan=scan,
)
