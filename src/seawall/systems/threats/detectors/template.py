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
MAX_OPEN = 200
"""The same of one that nothing closes."""

_OPEN = re.compile(
    r"\{\{|\{%|\$\{|\$\((?=\s*\d+\s*\*)|#\{|<%|\*\{|@\{|@\(|~\{|%\{|\{\$|\{php\}|\{#|<#|\[\[|\[%|\$!?\{|\{(?=\s*\d+\s*[*+])"
    r"|\{(?=\s*['\"]\w{1,24}['\"]\s*\*\s*\d)|\{(?=[\w.\[\]]{0,64}__[a-z]{2,16}__)|\{@|@(?=\d+[*+]\d)|\$\$\{|\[=|\{!!|\[\((?=\s*\d{1,9}\s*\*\s*\d{1,9}\s*\)\])|\$\[(?=\s*\d{1,9}\s*\*\s*\d{1,9}\s*\])|\{\[(?=\s*\d+\s*\*)|<\?=(?=\s*\d)|\{=(?=\s*['\"]?\d)|#(?=\d{1,9}\s{0,4}[*+]\s{0,4}\d{1,9}#)"
)
_CLOSE = {"{{": "}}", "{%": "%}", "<%": "%>", "{php}": "{/php}", "<#": ">", "[[": "]]", "@(": ")", "@": "", "[=": "]"}
_CLOSE |= {"[(": ")]", "$[": "]", "{[": "]}", "<?=": "?>", "$(": ")", "[%": "%]", "{!!": "!!}", "#": "#"}
_SUM = re.compile(
    r"^(?:\s*(?:print|echo|return|if)\b)?[\s=:!\-'\"(@#\[~>&^]*\d{1,12}(?:\.\d{1,6})?['\"]?\s*(?:[*+^/-]|\*\*)\s*['\"]?-?\d{1,12}(?:\.\d{1,6})?['\"]?\s*\)*(?:\s*==\s*\d{1,12})?[\s};)|'\"=#\]]*$|\d\s*\*\s*['\"]?\d{1,12}['\"]?(?:\s*[|})\]]|$)"
    # One that is kept in a variable, and a constant that a function or a filter computes something of.
    r"|^\s*(?:set|assign|var)\s+\$?\w{1,32}\s*=\s*\d{1,12}\s*(?:\*|\|\s*times\s*:)\s*\d{1,12}\s*;?\s*$"
    r"|^[\s=:!-]*(?:['\"]\w{1,24}['\"]|\d{1,12})\s*(?:\|\s*(?:upper|lower|up_?case|down_?case|capitalize|reverse|length|size|times|plus|minus"
    r"|divided_by|modulo|add|abs|int|float|string|ucfirst|md5|sha1|base64_encode|b64encode)\b|\?\s*[a-z_]{1,24}\b)"
    r"|^\s*(?:upper|lower|len|length|print(?:f|ln)?|html|js|urlquery|exists|max|min|str|int)\s*\(?\s*(?:['\"][\w%]{0,24}['\"]|\d{1,12})(?:[\s,]+(?:['\"]\w{0,24}['\"]|\d{1,12}))*\s*\)?\s*$"
    # A text times a number, two texts joined, a division by zero.
    r"|^[\s=:(-]*['\"]\w{1,24}['\"]\s*(?:\*\s*\d{1,12}|[+~.]\s*['\"]\w{1,24}['\"])\s*\)*[\s}|]*$|^[\s=:(-]*\d{1,12}\s*/\s*0+\s*\)*[\s}|]*$"
)
_INSIDE = re.compile(
    r"(?!(?<=[A-Za-z0-9_])[A-Za-z_])"
    r"(?:__(?:class|mro|base|bases|subclasses|globals|init|builtins|import|dict|getattribute|getitem|self|code|name|doc|call|reduce|proto|module|loader|spec|file|closure|defineGetter|lookupGetter)__|\\x5f\\x5f|_TemplateReference|\blipsum\b|\bcycler\b|\bjoiner\b"
    r"|\|\s*attr\s*\(|\|\s*string\s*\|\s*list\b|\b(?:lookup|query|q)\s*\(\s*['\"](?:\w{1,24}\.\w{1,24}\.)?(?:pipe|file|env|url|lines|password|unvault|ini|fileglob|template|vars)['\"]\s*,"
    r"|\bsalt\s*(?:\.\s*(?:cmd|file|cp|state|grains|pillar|network)\b|\[\s*['\"]\w{1,24}\.\w)|\bexec\s+['\"`]|(?-i:(?<![\w)])\.Env\b)|\.\s*class\s*\.\s*(?:module|classloader|forname|protectiondomain|getresource)|\)\s*\.\s*class\b|servletcontext"
    r"|\.\s*(?:getclass|forname|getruntime|getmethod|newinstance|getdeclared\w+|getprotectiondomain|classloader|getresource\w*)\b|\bT\s*\(\s*(?:java|org|javax|\")|java\.lang|java\.util|javax\.|java\.io|org\.(?:apache|springframework)"
    r"|freemarker\.template|\?\s*new\s*\(|\?api\b|objectconstructor|jythonruntime|#(?:_memberaccess|context|this|parameters|request|application|rt|set\b)|@[a-z.]+@\w+"
    r"|_self\b|registerundefinedfiltercallback|getfilter\s*\(|\|\s*(?:filter|map|sort|reduce)\s*\(\s*(?:\[\s*)?['\"](?:system|exec|passthru|shell_exec|assert|phpinfo|id|call_user_func|popen|file_put_contents)|\bsource\s*\(\s*['\"]/|file_excerpt|app\.request"
    r"|\bconfig\b\s*(?:\.|\[|\}|\)|$)|\brequest\.(?:application|environ|args|cookies|headers|form|values|mro|class)|\burl_for\b|get_flashed_messages|\bself\.\w|\bnamespace\b\.__|current_app|\bdict\.mro|settings\.secret_key"
    r"|constructor\s*(?:\.|\[|\()|\bprocess\s*(?:\.|\[)|mainmodule|\brequire\s*\(|global\.process|child_process|\breturn\s+process|with\s+\"s\"\s+as|lookup\s+string\.sub|conslist|\bthis\.(?:push|pop|constructor)"
    r"|\bruntime\b\s*\.|processbuilder|scriptengine|nashorn|\beval\s*\(|\bexec\s*\(|\bsystem\s*\(|\bpopen\s*\(|shell_exec|passthru|file_get_contents|\bfile\.(?:open|read)|\bdir\.(?:entries|glob)|\bio\.popen|\bkernel\b|%x[({\[]|\bopen\s*\(|\breadlines?\b"
    r"|\$smarty\b|smarty_internal|\{\s*literal|include\s+file=|\binclude\s*\(|getenv|\benviron\b|\bimport\s+(?:os|subprocess|sys)|\bos\.(?:system|popen|environ)|subprocess|\bclass\.(?:forname|inspect|type)|\$class\b|\$\w+\.(?:class|getclass|inspect)"
    r"|<#(?:assign|include|import|list|macro)|#(?:set|include|parse|evaluate|foreach)\s*\(|\bdebug\s*\(?\s*\)?\s*$|\bphpinfo\b|\bdump\s*\(|system\.(?:diagnostics|io|reflection)|html\.raw|methodinfo|assembly\.load|\bcat\s+/etc|/etc/passwd|\bwhoami\b"
    r"|\$eval|\$on\b|tostring\s*\(\s*\)\s*\.\s*(?:constructor|chars)|\[\s*['\"]\w+['\"]\s*\]\s*\[\s*['\"]|~\s*['\"]\w{1,4}['\"]\s*~|\"\"\s*\.|''\s*\.|\(\)\s*\.\s*__|\[\]\s*\.|\{\}\s*\."
    # A method of a text, and a name put together from texts: nobody who knows what they say writes them so.
    r"|['\"]\w{0,32}['\"]\s*\)?\s*\.\s*\w{2,32}\s*\(|\[\s*['\"]\w{0,32}['\"]\s*(?:[+~]|\.\s*concat)|\bdict\s*\([^()]{1,80}\)\s*\|\s*(?:join|list|first)\b"
    r"|\bfacescontext\b|\b(?:page|external|servlet|application)context\b\s*\.|\b(?:request|session|application|page)scope\b|@\w{1,32}\.\w{1,32}\s*\("
    r"|\brequest\s*\.\s*(?:getsession|getservletcontext|setattribute|session)\b|\.\s*(?:globals|data_model|main|vars)\s*(?:\?|\.\s*\w)|\bnew\s+(?:file|java|javax|groovy|processbuilder|url)\b"
    r"|(?<=\s)\.\s?(?:system|exec|shell|command|cmd|run|readfile|writefile|os|eval)\w{0,12}\s+['\"`(]|\bcall\s+\.\w|\bsystem\.(?:get\w+|exit|load\w*|cmd)\s*\(|:os\.cmd"
    r"|\benv(?:iron)?\s*\(?\s*['\"][\w]*(?:key|secret|token|pass|pwd)|\)\s*->\s*\w{1,32}\s*\(|__tera_context|____int\w{1,24}|(?<!\w)_context\b|\bhandler\s*\.\s*(?:settings|application|request)|get_template_attribute|\bget_env\s*\(|cookie_secret|\.\s*gettype\s*\("
    r"|\bconstructor\s*(?:$|['\"])|\bconsole\.\w{2,8}\s*\(|\|\s*(?:shell|exec|system|popen|eval|passthru|shell_exec|cmd|command)\b|\$\w{1,32}\.(?:available|exec|read)\s*\(|(?-i:\bENV)\s*[.\[]|\brails\s*\.\s*(?:application|root|env)\b|:erlang\b"
    r"|\b(?:request|session|response|application)\s*\.\s*(?:(?:set|add|remove)attribute|invalidate)\s*\(|(?-i:\bSystem\.Environment|\bEnvironment\.(?:Get|Exit|Current|OSVersion|Machine))|\bapp\s*\(\s*\)|\bconstant\s*\(\s*['\"]|\bsigner\.key|\.storages\.)",
    re.IGNORECASE | re.ASCII,
)
_DIRECTIVE = re.compile(
    r"<#assign\s+\w+\s*=\s*|#set\s*\(\s*\$\w+\s*=|\{php\}|\{%\s*(?:import|include|extends|for\s+\w+\s+in\s+\(?(?:\(\)|\[\]|''|\"\"|config|self|request|dict|lipsum))|\{%\s*(?:debug|load\s+log)\s*%\}"
    r"|<%=?\s*(?:system|exec|`|file|dir|io|require|global|process|class|self|kernel|response|request|runtime|@|eval|\d+\s*[*+]\s*\d+)|\{system\(|\{if\s+\w*(?:system|phpinfo|exec|readfile|passthru)|\$\{\s*@(?:print|system|eval|phpinfo)|#evaluate|__\$\{|__::|\[\[\$?\{|~\{[^}]{0,200}::|\{\$smarty\.|\{self::|\{Smarty_|@\{\s*\w+\s*=|@\{\s*(?:var|int|string)\s+\w+\s*=|\*\{\s*T\("
    # A variable that is given an object which leads out of the template, or the name of a function.
    r"|\{%[-+]?\s*(?:with|set)\s+\w{1,32}\s*=\s*(?:request|config|self|session|url_for|lipsum|cycler|joiner|namespace|get_flashed_messages|app|_self|_context|current_app)\s*[-+]?%\}"
    r"|\{%[-+]?\s*if\s+(?:config|self|request|lipsum|cycler|_self)\s*[-+]?%\}|\{(?:var|assign|capture|do|php|default|\$\w{1,32})\b[^{}]{0,60}['\"=\s(]\s*(?:system|exec|passthru|shell_exec|popen|assert|phpinfo|proc_open|file_get_contents|readfile)\b"
    r"|\{\$\w{1,32}\(\s*['\"`]|\{[=_]\s*['\"][^'\"{}]{0,40}['\"]\s*\|\s*(?:system|exec|passthru|shell_exec|popen|assert|eval|phpinfo|readfile|file_get_contents)\b|\{(?:include|extends|import|layout|sandbox|embed)\s+['\"](?:/|\.\./|\w{2,8}:)"
    r"|(?-i:(?<![\w.])T)\s{0,4}\(\s{0,4}(?:java|javax|org|com|sun|jdk|groovy|ognl|freemarker)\.[\w.$]{2,120}\s{0,4}\)\s{0,4}\.\s{0,4}\w|#\w{1,24}\s{0,4}=\s{0,4}(?:\(\s{0,4})?(?:#\w{1,24}\s{0,4}[.\[]|@[a-z]\w{0,24}\.[\w.$]{1,120}@|new\s{1,4}[a-z]\w{0,24}\.\w)"
    r"|struts\.valuestack|com\.opensymphony\.xwork|ognl\.ognlcontext|#foreach\s*\(\s*\$\w{1,32}\s+in\s+\[\s*\d|\{\{\s*\w{1,8}\s*=\s*(?:object|global|globalthis|process|root|require)\s*\}\}|<%=\s*(?-i:ENV|binding|session|instance_variables|global_variables)(?:\.\w{1,24})?\s*%>"
    r"|\{@(?:math\s|contextdump\b|if\s+cond\s*=)|\{eval\s+var\s*=|\{(?:fetch|include|include_php|config_load)\s+file\s*=\s*['\"]?(?:/|\.\.|file:|php:|https?:|string:|eval:)|\{math\s+equation\s*="
    r"|\{\$\w{1,32}\s*\|\s*@?\s*(?:system|exec|passthru|shell_exec|popen|assert|eval|phpinfo|readfile|file_get_contents|call_user_func)\b"
    r"|#(?:include|parse)\s*\(\s*['\"](?:/|\.\.|\w{2,8}:)|<#list\s+\.\w|\{%\s*(?:evaluate|execute|eval|exec|php|perl|python|script|get_admin_log|ssi|load\s+log)\b|\[%\s*(?:perl|rawperl|include\s+/|insert\s+/|use\s+\w{1,24}\s*=\s*perl)|<&\s*/|<cf(?:execute|file|include|invoke|http|directory|registry|object)\b|^%\s*import\s+(?:os|sys|subprocess|socket|shutil)\b|\{(?:var|capture)\s[^}]{0,40}\d\s*\*\s*\d|\[#(?:assign|include|import|list)\s"
    r"|@Environment\.\w{1,32}\("
    r"|(?<![\w.])@(?:(?-i:System\.[A-Z]\w{1,24}[.(])|Html\.Raw|HttpContext\.|(?-i:Request\.[A-Z])|DateTime\.Now)|\$(?:request|session|application|response|context|velocity\w{0,12})\.(?:get|set)\w{2,32}\("
    r"|\\write18\b|\\(?:lstinputlisting|verbatiminput)\b|\\(?:input|include|openin\d{0,2}=?|openout\d{0,2}=?)\s{0,4}\{?\s{0,4}(?:/|\.\./|\|)",
    re.IGNORECASE | re.ASCII,
)
_NAME = re.compile(r"\s{0,8}[#/^>!&]?\s{0,8}[\w.-]{1,64}\s{0,8}(?:\|\s{0,8}\w+\s{0,8}(?:[:(][^{}]{0,40})?)?$")
# What a lone name, or a name with a filter, must be to matter.
_NAMED = re.compile(
    r"config\b|__|get_flashed_messages|\bg\.pop\b|self\.(?:module|template|context|attr)\b|request\.servletcontext|attr\s*\(|secret_key|_self|app\.request|filter\s*\(|map\s*\(|class|url_for"
    r"|request\.(?:environ|session|application)|signer|storages|environment\.[cegmo]|constructor\s*$|^\W*constructor\.|__tera|____int|_context\b|handler\.|(?:faces|page|external|servlet)context|(?:request|session|application|page)scope\b",
    re.IGNORECASE,
)
# Names that only one kind of template has; in others they are anybody's.
_SPECIAL = {
    "${": re.compile(
        r"\s{0,8}(?:\.(?:version|now|data_model|globals|main|vars|locale\w{0,8}|template_name|current_template_name|lang|output_\w{1,12})\b|initparam\b|this\.(?:env|class|constructor|getclass)\b)",
        re.IGNORECASE,
    ),
    "{{": re.compile(r"\s{0,8}process\.(?:env|version|platform|argv|mainmodule)\b", re.IGNORECASE),
}
_MARKS = frozenset({"[[", "{#", "{@", "[="})
_RARE = frozenset({"{#", "[=", "@{", "[%"})
# Directives that are attacks whatever follows.
_TELLING = re.compile(
    r"\{%[-+]?\s*(?:with|set|if)|\{(?:var|assign|capture|do|php|default|extends|import|layout|sandbox|embed)\s|\{[=_]|\{\$\w{1,32}\(|T\s{0,4}\(|#\w{1,24}\s{0,4}=|struts\.|com\.|ognl\.|#foreach|\{\{|<%=\s*(?-i:ENV|binding|session|instance|global)|\{@|\{eval|\{(?:fetch|include|config_load|math)|\{\$\w{1,32}\s*\||#(?:include|parse)|<#list|\{%\s*(?:evaluate|execute|eval|exec|php|perl|python|script|get_admin_log|load\s+log)|\[%|<[&c]|%|\{(?:var|capture)|@\{\s*(?:var|int|string)|@\w|\$|\\",
    re.IGNORECASE,
)
# What authors of templates write as well: a setting, an address, a header of the request. A value that is nothing else
# is no template.
_USUAL = re.compile(
    r"\s{0,8}(?:config\b|url_for\b|request\.(?:args|cookies|headers|form|values)\b)[\w.]{0,80}\s?(?:\([\w\s.,='\"/:-]{0,80}\))?"
    r"(?:\s{0,4}\|\s{0,4}\w{1,32}(?:\([^()]{0,40}\))?)?\s{0,8}",
    re.IGNORECASE,
)
_ANEW = 64
"""Characters of what another expression has as well that are read once more."""
_LONE = 12
"""Characters around an expression with which a value is still little more than that."""
# Options that a view engine of Node compiles into its code, where the parameters of a request are given to it whole.
_OPTIONS = re.compile(r"(?:outputfunctionname|escapefunction|destructuredlocals|localsname)\b", re.IGNORECASE)
_ERROR = re.compile(r"^\s{0,8}(?:\$\{\{|\{\{)?\s{0,8}<%\[?%?['\"]|\$\{\{<%|\{\{\{\{|^\s{0,8}\{\{\s{0,8}\}\}\s{0,8}$")


def _expressions(text: str) -> Iterator[tuple[str, str, int, int, int]]:
    """The text between each pair of delimiters: (opening, expression, start, end, how much another one has of it)."""
    position = read_to = 0
    for _ in range(MAX_EXPRESSIONS):
        opening = _OPEN.search(text, position)
        if opening is None:
            return
        closing = _CLOSE.get(opening[0], "}")
        start = opening.end()
        stop = text.find(closing, start, start + MAX_LENGTH) if closing else -1
        end = stop if stop >= 0 else min(len(text), start + MAX_OPEN)
        yield opening[0], text[start:end], opening.start(), min(len(text), end + len(closing)), max(0, read_to - start)
        read_to = max(read_to, end)
        position = start


def _judge(opening: str, expression: str, *, known: int, alone: bool) -> tuple[str, float]:
    if _SUM.search(expression) and not ((opening == "[[" and not alone) or (opening == "{" and "}" in expression)):
        return "template-arithmetic", 0.93 if opening not in _RARE else 0.8
    if opening not in _MARKS and _NAME.match(expression) and not _NAMED.search(expression):
        special = _SPECIAL.get(opening)
        return ("template-reach", 0.86) if special and special.match(expression) else ("", 0.0)
    inside = _INSIDE.search(expression, max(0, known - _ANEW) if len(expression) > _ANEW else 0)
    if inside is None:
        return "", 0.0
    more = _INSIDE.search(expression, inside.end())
    sure = "__" in inside[0] or "(" in expression or "java" in expression.lower()
    return "template-reach", 0.97 if more and sure else 0.93 if sure else 0.86


def scan(text: str, kind: PlaceKind) -> Sequence[Signal]:  # noqa: ARG001 - the same text means the same in every place
    """Judge one view of a value. Linear in the text."""
    signals = []
    prose = plain_words(text) >= 8
    for opening, expression, start, end, known in _expressions(text):
        rule, confidence = _judge(opening, expression, known=known, alone=len(text) == end - start)
        if confidence:
            doubt = 0.0 if not prose else 0.25 if rule == "template-reach" else 0.1
            if len(text) > end - start + _LONE and _USUAL.fullmatch(expression):
                doubt = 0.3
            signals.append(_signal(rule, confidence - doubt, start, end))
    directive = _DIRECTIVE.search(text)
    whole = text.rstrip().endswith("%}")  # a template from its first character to its last
    if directive:
        telling = (
            len(directive[0]) == len(text.strip())
            or _TELLING.match(directive[0]) is not None
            or _INSIDE.search(text, directive.start()) is not None
            or _SUM.search(text[directive.end() - 8 : directive.end() + 24]) is not None
        )
        signals.append(
            _signal(
                "template-directive",
                (0.93 if telling else 0.6) - (0.25 if prose and not (whole and directive.start() == 0) else 0),
                directive.start(),
                directive.end(),
            )
        )
    options = _OPTIONS.search(text)
    if options:
        signals.append(_signal("template-options", 0.93 - (0.4 if prose else 0), options.start(), options.end()))
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
        r"[{$#*@~%\[]\{|\{[%$#@]|<%|<#|@\(|\[[\[%=]|\{php\}|\$\(\s{0,8}[0-9]{1,12}\s{0,8}\*",
        r"\{\s{0,8}[0-9]{1,12}\s{0,8}[*+]|@[0-9]{1,12}[*+][0-9]|#(?:set|include|parse|evaluate|foreach)\s{0,8}\(|\{(?:system|if|self|smarty)",
        r"\{\s{0,8}['\"][a-z0-9_]{1,24}['\"]\s{0,8}\*|\{[a-z0-9_.\[\]]{0,64}__[a-z]{2,16}__|\{(?:eval|fetch|include|include_php|config_load|math)\s",
        r"\{!!|\{=\s{0,8}['\"]?[0-9]|#[0-9]{1,9}\s{0,4}[*+]\s{0,4}[0-9]{1,9}#|<&\s{0,8}/|<cf[a-z]|^%\s{0,8}import\s|\{(?:var|capture)\s|\[#[ail]|@environment\.",
        r"outputfunctionname|escapefunction|destructuredlocals|localsname",
        r"__::|__\$|@(?:system|html|httpcontext|request|datetime)\.|\$(?:request|session|application|response|context|velocity[a-z0-9_]{0,12})\.[gs]et",
        r"\[\(\s{0,4}[0-9]|\$\[\s{0,4}[0-9]|\{\[\s{0,4}[0-9]{1,12}\s{0,4}\*|<\?=\s{0,4}[0-9]|\{(?:assign|do|extends|layout|sandbox|embed|import)\s|\{[=_]\s{0,4}['\"]",
        r"\bt\s{0,4}\(\s{0,4}(?:java|org|com|sun|jdk|groovy|ognl|freemarker)[a-z]{0,4}\.|#[a-z0-9_]{1,24}\s{0,4}=\s{0,4}\(?\s{0,4}(?:#[a-z_]|@[a-z]|new\s)|struts\.valuestack|opensymphony\.xwork|ognl\.ognlcontext",
        r"\\write18|\\lstinputlisting|\\verbatiminput|\\(?:input|include|openin|openout)[0-9]{0,2}=?\s{0,4}\{?\s{0,4}[/.|]",
    ),
    scan=scan,
)
