"""Web shells: script that a server runs on upload, the shells' own names, and the file names that bring them in."""

import re
from collections.abc import Iterator, Sequence

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.detectors.prose import in_code, plain_words
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["DETECTOR"]

MAX_SIGNALS = 8
_OPEN = re.compile(
    r"<\?(?:php\b|=|(?=[\s@$]))|<%(?:[@=!]|(?=[\s\w]))|<script[^>]{0,64}(?:runat\s*=|language\s*=\s*[\"']?php)",
    re.IGNORECASE,
)
MAX_CODE = 2000
"""Characters after an opening tag that are read as its code."""

_INPUT = re.compile(
    r"\$_(?:get|post|request|cookie|server|files|session)\b|\$http_(?:get|post)_vars|php://input|getallheaders|request\s*[.(\[]|getparameter|request\.(?:item|form|querystring)|\$\{?\s*[_\"']|\$GLOBALS",
    re.IGNORECASE | re.ASCII,
)
_RUNS = re.compile(
    r"(?<![\w$])(?<!->)(?:@?(?:eval|assert|system|exec|shell_exec|passthru|popen|proc_open|pcntl_exec|create_function|preg_replace|call_user_func(?:_array)?|array_map|array_filter|usort|base64_decode|gzinflate|gzuncompress|str_rot13|unserialize|file_put_contents|move_uploaded_file|phpinfo|show_source|highlight_file|readfile|execute(?:global|statement)?|getruntime|processbuilder|process\.start|createobject|fsockopen|hex2bin|register_shutdown_function|defineclass|fileoutputstream|scriptenginemanager)\s*[(\s\"'`])|`[^`\x00-\x08]{1,100}`|\$\w{1,20}\s*\(\s*[@$]|\$_\w+\[[^\]]{1,40}\]\s*\(|(?:echo|print)\s*\(?\s*[\"'][^\"'<>]{0,8}<[a-z]{1,8}\)?[\"']|\bextends\s+classloader\b|\bclass\s*=\s*[\"']\w{1,40}[\"']\s*(?:codebehind|src)",
    re.IGNORECASE | re.ASCII,
)
"""What runs commands, code or files, or writes them."""
_PRINTS = re.compile(
    r"(?<![\w$])(?<!->)(?:@?(?:include(?:_once)?|require(?:_once)?|fwrite|fputs|ini_set|error_reporting|file_get_contents|response\.write|out\.print(?:ln)?|md5|print_r|var_dump|die|curl_exec|chr|pack|parse_str|extract|mail)\s*[(\s\"'`])",
    re.IGNORECASE | re.ASCII,
)
"""What honest pages do, too, though not with what a request says."""
_BYTES = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_HANDLER = re.compile(r"\s{0,8}web(?:handler|service)\b", re.IGNORECASE)
_IMAGE = re.compile(r"\A\s{0,4}(?:GIF8[79]|\x89?PNG\r|\xff\xd8\xff|BM|%PDF-|PK\x03\x04|\ufffd{1,4}PNG)")
_CGI = re.compile(
    r"\A(?:\s{0,4}GIF8[79]a\W{0,4})?\s{0,4}#!\s{0,4}/[\w/.]{1,40}[\s\S]{0,2000}?(?:QUERY_STRING|HTTP_[A-Z]{2,24}|FieldStorage|param\(|content-type\s?:\s?text/|/dev/tcp/|\bsocket\b)",
    re.IGNORECASE,
)
_SYMBOLS = re.compile(
    r"(?:\$_+\s{0,4}[=.\[][^;]{0,60};\s{0,4}){2}|\$\{\$_{1,4}\}\s?[\[{(]|\$_{1,8}\s?=\s?\(?\s?['\"][^'\"\n]{1,40}['\"]\s?[\^|&]\s?['\"]"
)
"""Code that has no letters in it."""
_ASKS = (
    r"(?:cgi\.fieldstorage|flask\.request|request\.(?:args|form|values|get|post|params|query|getparameter|querystring|body|headers|cookies|item|json|data)|req\.(?:query|body|params|headers|url)"
    r"|\bparams\s?[.\[(]|param\s?\(|query_string|path_info|(?:os\.)?(?:environ|env)\b[\[.({'\"\s]{1,4}(?:get\b)?[\['\"({]{0,3}(?:query_string|path_info|http_)|ngx\.(?:req|var)\b|r\.(?:args|url\.query|formvalue)"
    r"|\bcgi\s?(?:->|::|\.)\s?(?:new|param)|fieldstorage\s?\(|\burl\.query|searchparams|\bc\.(?:query|param)\s?\(|self\.get_argument|sys\.argv|(?:url|form|cgi)\.\w{1,16}#|\$_(?:get|post|request|cookie|server)|request\s?[\[(])"
)
_DOES = (
    r"(?:os\.(?:popen\d?|system|exec[lv]\w{0,2}|execute)\s?\(|subprocess\.\w{3,16}\s?\(|commands\.get\w{0,16}\s?\(|child_process|exec(?:sync|file)?\s?\(|spawn(?:sync)?\s?\(|io\.popen\s?\(|(?<![\w.])system\s?[({'\"]?|kernel\.\w{3,8}"
    r"|open3|%x[({\[|]|qx[/{(]|`[^`\n]{1,60}`|\.execute\s?\(|getruntime|processbuilder|process\.start|exec\.command|cfexecute|loadstring\s?\(|dofile\s?\(|(?<![\w.])eval\s?\(?|instance_eval|__import__|popen\s?\()"
)
_ELSEWHERE = re.compile(
    rf"`[^`\n]{{0,40}}?{_ASKS}|{_DOES}[^\x00]{{0,120}}?{_ASKS}|{_ASKS}[^\x00]{{0,120}}?{_DOES}",
    re.IGNORECASE | re.ASCII,
)
"""A script of Python, Ruby, Perl, Node, Lua, Go, Groovy or ColdFusion that runs what a request says."""
_PROBE = re.compile(
    r"\A\W{0,4}<[?%](?:php\b|=)?[^>]{0,200}?\b(?:unlink\s?\(\s?__file__|(?:echo|print|die|exit|var_dump|print_r)\b\s?\(?\s?(?:md5|sha1|strrev|str_rot13|base64_\w+|getenv|phpversion|php_uname|get_\w+|getcwd|\d{1,9}\s?[*+-]|__\w+__)|response\.write|out\.print)",
    re.IGNORECASE | re.ASCII,
)
"""A page that a scanner puts in place to see whether it is run."""
_FIELDS = frozenset((PlaceKind.PATH, PlaceKind.QUERY, PlaceKind.COOKIE, PlaceKind.HEADER))
_UPLOADED = _FIELDS | {PlaceKind.MULTIPART, PlaceKind.FILENAME, PlaceKind.BODY}
MAX_PROBE = 300
"""Characters of a page of that kind."""
_SETTINGS = re.compile(
    r"(?:^|[\s;,>\"'])(?:php_(?:admin_)?(?:value|flag)\s+)?(?:auto_(?:append|prepend)_file\s*[=\s]|(?:addtype|addhandler|sethandler|forcetype)\s+[\"']?(?:application/x-httpd-(?:ea-)?php|php\d?-script|cgi-script|application/x-httpd-cgi|server-parsed)"
    r"|options\s[^\n]{0,40}\+execcgi|(?:disable_functions|open_basedir|allow_url_include|suhosin\.executor\.disable_eval)\s*=|scriptprocessor\s*=\s*[\"']|<buildproviders>)",
    re.IGNORECASE | re.ASCII | re.MULTILINE,
)
"""Settings of a folder that make scripts of its files, or load one before each."""
_DIRECT = re.compile(
    r"(?:eval|assert|system|exec|shell_exec|passthru|popen|execute|include|require|create_function|preg_replace)\s{0,8}[(\s]\s{0,8}(?:@?(?:base64_decode|gzinflate|gzuncompress|str_rot13|strrev|urldecode|hex2bin|stripslashes|unescape|request|response)\s{0,8}[(.\[]\s{0,8}){0,4}[\"']?\s{0,8}(?:\$_(?:get|post|request|cookie|server)|\$http_|request\b|chr\s{0,8}\(\d|[\"'][a-z0-9+/=]{24,}|\$\{|php://input)"
    r"|\$_(?:get|post|request|cookie)\s{0,8}\[[^\]]{1,40}\]\s{0,8}\(|getruntime\s{0,8}\(\s{0,8}\)\s{0,8}\.\s{0,8}exec\s{0,8}\(\s{0,8}request|(?:assert|eval)\s{0,8}\(\s{0,8}\$_|@eval\s{0,8}\(|@assert\s{0,8}\(|unserialize\s{0,8}\(\s{0,8}\$_",
    re.IGNORECASE | re.ASCII,
)
_NAMES = re.compile(
    r"(?:^|[/\\=\s\"'])(?:c99(?:shell|madshell)?|r57(?:shell)?|b374k[\w.-]{0,12}|wso\d?[\w.-]{0,8}|weevely\d?|webadmin|phpspy\w{0,8}|antichat|locus7s|gny|c100|phpremoteview|nstview|alfa(?:shell|_?v?\d|cgiapi)|indoxploit|mini_?shell|simple-?backdoor|php-?backdoor|perlcmd|cmdasp|aspxspy\w{0,6}|aspydrv|jspspy|jsp(?:file)?browser|cmd_?jsp|reGeorg|neoreg|tunnel\.nosocket|p0wny(?:shell|@shell)?|china_?chopper|behinder|godzilla|antsword|shell\d{0,3}|backdoor\d?|bypass\d?|up(?:load)?shell|sh3ll|marijuana|leafmailer|gel4y|wp-(?:vcd|tmp|feed|cd)|wikindex|about\.php7|fw\.php|lock360|0x1ed\w*|xleet\w*|priv8\w*|an0nym0us\w*)\.(?:php\d?|phtml|asp|aspx|ashx|asmx|jsp|jspx|cfm|pl|cgi|txt)\b",
    re.IGNORECASE | re.ASCII,
)
_TELLING = re.compile(
    r"c99|r57|b374k|wso\d|weevely|phpspy|alfa|indoxploit|backdoor|aspxspy|jspspy|cmdasp|regeorg|p0wny|chopper|behinder|godzilla|antsword|c100|sh3ll|antichat",
    re.IGNORECASE | re.ASCII,
)
_SCRIPT_FILE = re.compile(
    r"\.(?:php\d?|pht|phtm|phtml|phar|phps|pgif|shtml|inc|asp|aspx|ashx|asmx|asa|cer|cdx|jsp|jspx|jspf|jsw|jsv|war|cfm|cfml|cgi|pl|htaccess|user\.ini)(?P<more>[\s.;:%\x00/\\].{0,64}|::\$data.{0,16})?$|^\.(?:htaccess|user\.ini)$|^web\.config$",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
_DISGUISED = re.compile(
    r"(?:^|[/\\=])[\w.()\x20-]{1,80}\.(?:php\d?|pht|phtml|phar|asp|aspx|ashx|asa|cer|jsp|jspx|cfm|pl|cgi)(?:(?:[;:]|%00|\x00)\.?[a-z]{2,4}\d?|[;:]\.[\w.]{1,10}|\x00|%00|::\$data|\.{2,})\s*$"
    r"|(?:^|[/\\=])[\w()\x20-]{1,80}\.(?:jpe?g|png|gif|pdf|txt|docx?|bmp|ico)\.(?:php\d?|pht|phtml|phar|aspx?|ashx|jspx?|cfm|cgi)(?:[;:%\x00.].{0,10})?$"
    r"|(?:^|[/\\=])[\w()\x20-]{1,40}\.(?:php\d?|pht|phtml|phar|aspx?|ashx|jspx?|cfm|cgi|pl)\.(?:jpe?g|png|gif|bmp|ico|webp)$",
    re.IGNORECASE | re.ASCII,
)
"""A script's name that passes for an image's or a text's."""
_DRIVEN = re.compile(
    r"^[\s\"'?&]*(?:cmd|c|exec|command|shell|pass|code|z0|ant)=[^&]{0,400}(?:;|\(|whoami|uname|\bid\b)|@ini_set\s*\(\s*[\"']display_errors|z\d=|edoced_46esab|eval\(base64_decode\(|\be=base64_decode",
    re.IGNORECASE | re.ASCII,
)


def scan(text: str, kind: PlaceKind) -> Sequence[Signal]:
    """Judge one view of a value. Linear in the text."""
    signals: list[Signal] = []
    prose = plain_words(text) >= 8
    signals.extend(_written(text, kind, prose=prose))
    if kind in {PlaceKind.PATH, PlaceKind.QUERY, PlaceKind.FILENAME, PlaceKind.FORM} and not prose:
        signals.extend(_named(text))
    script = _SCRIPT_FILE.search(text) if kind == PlaceKind.FILENAME else None
    if script:
        confidence = 0.93 if script["more"] or text.startswith(".") else 0.86
        signals.append(_signal("webshell-upload", confidence, script.start(), script.end()))
    signals = [signal for signal in signals if signal.confidence >= 0.3]
    signals.sort(key=_strength, reverse=True)
    if signals and in_code(text, signals[0].start):
        return [signal._replace(confidence=min(signal.confidence, 0.55)) for signal in signals[:MAX_SIGNALS]]
    return signals[:MAX_SIGNALS]


def _written(  # noqa: C901 - one condition for each form
    text: str, kind: PlaceKind, *, prose: bool
) -> Iterator[Signal]:
    """Code that runs on arrival, and settings that make it run."""
    direct = _DIRECT.search(text)
    if direct:
        yield _signal("webshell-direct", 0.6 if prose else 0.93, direct.start(), direct.end())
    for count, opening in enumerate(_OPEN.finditer(text)):
        if count >= 8:
            break
        if opening[0][:2] != "<%" or _BYTES.search(text, opening.end(), opening.end() + 40) is None:
            yield _code(text, opening, prose=prose)
    if len(text) <= MAX_PROBE and (kind in _FIELDS or kind == PlaceKind.MULTIPART):
        probe = _PROBE.match(text)
        if probe:
            yield _signal("webshell-probe", 0.85, 0, probe.end())
    if not prose and len(text) <= MAX_CODE and kind in _UPLOADED:
        elsewhere = _ELSEWHERE.search(text)
        if elsewhere:
            yield _signal("webshell-script", 0.86, elsewhere.start(), elsewhere.end())
    symbols = _SYMBOLS.search(text) if "$_" in text else None
    if symbols:
        yield _signal("webshell-symbols", 0.88, symbols.start(), symbols.end())
    settings = _SETTINGS.search(text)
    if settings:
        yield _signal("webshell-settings", 0.5 if prose else 0.88, settings.start(), settings.end())
    script = _CGI.match(text) if "#!" in text[:16] and kind in {PlaceKind.MULTIPART, PlaceKind.BODY} else None
    if script:
        yield _signal("webshell-cgi", 0.86, 0, script.end())
    driven = _DRIVEN.search(text) if "base64" in text or "46esab" in text or "ini_set" in text else None
    if driven:
        yield _signal("webshell-driven", 0.88, driven.start(), driven.end())


def _named(text: str) -> Iterator[Signal]:
    """The names of shells that are known, and those of scripts that pass for something else."""
    name = _NAMES.search(text)
    if name:
        confidence = 0.88 if _TELLING.search(name[0]) else 0.45 if name[0].endswith(".txt") else 0.6
        yield _signal("webshell-name", confidence, name.start(), name.end())
    disguised = _DISGUISED.search(text)
    if disguised:
        yield _signal("webshell-disguise", 0.86, disguised.start(), disguised.end())


def _code(text: str, opening: re.Match[str], *, prose: bool) -> Signal:
    """Script between the tags of a server's language: what it takes from the request, and what it runs."""
    stop = min(len(text), opening.end() + MAX_CODE)
    close = text.find("</script" if opening[0][:2] == "<s" else opening[0][1] + ">", opening.end(), stop)
    stop = close if close >= 0 else stop
    runs = _RUNS.search(text, opening.end(), stop)
    takes = _INPUT.search(text, opening.end(), stop)
    language = opening[0].lower()
    if runs and takes:
        confidence = 0.96
    elif runs:
        confidence = 0.9
    elif takes and _PRINTS.search(text, opening.end(), stop):
        confidence = 0.8
    elif _IMAGE.match(text) and (language.startswith("<?p") or takes):
        confidence = 0.9
    elif language == "<%@" and _HANDLER.match(text, opening.end()):
        confidence = 0.8
    elif "runat" in language:
        confidence = 0.6
    elif language.startswith("<?") or takes:
        confidence = 0.45
    else:
        confidence = 0.2
    if prose:
        confidence -= 0.25
    return _signal("webshell-code", confidence, opening.start(), runs.end() if runs else opening.end())


def _signal(rule: str, confidence: float, start: int, end: int) -> Signal:
    return Signal(
        rule,
        Severity.CRITICAL if confidence >= 0.85 else Severity.HIGH if confidence >= 0.6 else Severity.MEDIUM,
        confidence,
        start,
        end,
    )


def _strength(signal: Signal) -> float:
    return signal.confidence


DETECTOR = Detector(
    name="webshell",
    category=ThreatClass.WEB_SHELL,
    owasp="A04:2021",
    triggers=(
        r"auto_(?:append|prepend)_file|addtype\s|addhandler\s|sethandler\s|forcetype\s|\+execcgi|disable_functions|open_basedir|allow_url_include|disable_eval|scriptprocessor|buildproviders|^\s{0,4}#!|^gif8[79]a\W{0,4}#!",
        r"<\?(?:php|=|[\s@$])|<%|<script[^>]{0,64}(?:runat|php)",
        r"(?:eval|assert|system|exec|passthru|popen|execute|include|require|create_function|preg_replace|unserialize)\s{0,8}[(\s]\s{0,8}[@\"'$(a-z]{1,24}[^a-z]{0,4}(?:\$|\(|request|\[)",
        r"cgi\.fieldstorage|flask|query_string|path_info|req(?:uest)?\.(?:args|form|values|get|post|params|query|getparam|body|headers|cookies|url|item|json|data)|\bparams\s?[.\[(]|param\s?\(|ngx\.|formvalue|url\.query|cgi(?:->|::|\.)|fieldstorage|get_argument|searchparams|cfexecute|\$\{\$_",
        r"\$_{1,8}\s{0,4}[=.]|\$_(?:get|post|request|cookie)|getruntime|@eval|@assert|edoced_46esab|base64_decode|ini_set",
        r"c99|r57|b374k|wso|weevely|webadmin\.|phpspy|antichat|locus7s|gny\.|c100|phpremoteview|nstview|alfa|indoxploit|mini_?shell|backdoor|perlcmd|cmdasp|aspxspy|aspydrv|jsp(?:spy|browser|filebrowser)|cmd_?jsp|regeorg|neoreg|tunnel\.|p0wny|chopper|behinder|godzilla|antsword",
        r"(?:shell[0-9]{0,3}|bypass[0-9]?|sh3ll|marijuana|leafmailer|gel4y|wp-(?:vcd|tmp|feed|cd)|wikindex|fw|lock360|xleet[a-z0-9_]{0,16}|priv8[a-z0-9_]{0,16}|an0nym0us[a-z0-9_]{0,16})\.(?:ph|as|js|cf|pl|cg|txt)",
        r"\.(?:php[0-9]?|pht|phtm|phtml|phar|phps|pgif|shtml|inc|asp|aspx|ashx|asmx|asa|cer|cdx|jsp|jspx|jspf|jsw|jsv|war|cfm|cfml|cgi|pl|htaccess|user\.ini)(?:[\s.;:%\x00/\\]|$)|^web\.config$",
    ),
    scan=scan,
)
