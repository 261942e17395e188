"""What runs commands without a shell's separators: calls in the languages of the web, and forms with no other use."""

import re
from collections.abc import Iterator

from seawall.systems.threats.detector import Signal
from seawall.systems.threats.detectors.command_options import options
from seawall.systems.threats.detectors.prose import plain_words
from seawall.systems.threats.detectors.shell_context import is_blob
from seawall.systems.threats.detectors.shell_quoted import KNOWN, UNQUOTED, quoted_command
from seawall.systems.threats.model import Severity

__all__ = ["calls"]

_CALL = re.compile(
    r"(?!(?<=[A-Za-z0-9_])[A-Za-z_])"
    r"(?:(?P<php>\b(?:system|passthru|shell_exec|exec|popen|proc_open|pcntl_exec|expect_popen)\s*\(\s*)"
    r"|(?P<python>\bos\s*\.\s*(?:system|popen|exec\w{1,3}|spawn\w{1,3})\s*\(\s*|\bsubprocess\s*\.\s*(?:\w+)\s*\(\s*|\bcommands\.getoutput\s*\(|__import__\s*\(\s*[\"'](?:os|subprocess|commands|pty|platform)[\"']\s*\))"
    r"|(?P<java>getruntime\s*\(\s*\)\s*\.\s*exec\s*\(|new\s+(?:java\.lang\.)?processbuilder\s*\()"
    r"|(?P<node>require\s*\(\s*[\"'`](?:node:)?child_process[\"'`]\s*\)|child_process[\"'`)\]]*\s*\.\s*\w+|\b(?:exec|spawn)sync\s*\(\s*[\"'`])"
    r"|(?P<ruby>\b(?:kernel|io|process|open3)\s*\.\s*(?:exec|system|spawn|popen\w*|fork|exit|capture\w*)\s*\(|%x[({\[!|][^\n]{1,80}[)}\]!|]|\bqx[/{(!][^\n]{1,80}[/})!])"
    r"|(?P<windows>wscript\.shell|shell\.application|process\.start\s*\(|\bshellexecute\s*\(|new-object\s+(?:system\.)?net\.|frombase64string|-e(?:nc|ncodedcommand|c)?\s+[a-z0-9+/]{16,}={0,2})"
    r"|(?P<perl>@\{\s*\[\s*(?:system|exec)|\bopen\s*\(\s*(?:\w+\s*,\s*)?[\"'](?:\s*\||[^\"'|\n]{1,60}\|\s*[\"']))"
    r"|(?P<shock>\(\s*\)\s*\{[^}]{0,40}\}\s*(?:;|>_\[)|^[\s\"']{0,4}\(\)\s?\{\s*(?::|_|echo\b|/\w|\(\w{0,16}\)\s?=>))"
    r"|(?P<ssi><!--\s*#\s*(?:exec|include|echo|config|set|printenv|fsize|flastmod)\b|<esi:(?:include|inline|debug|vars|assign|eval|try|choose|remove|comment|text)\b)"
    r"|(?P<socket>/dev/(?:tcp|udp)/[\w.]|\b(?:nc|ncat|netcat)(?:\.\w+)?\s[^|;&]{0,60}-[a-z]*[ec]\b|\bbash\s+-i\b|\bsh\s+-i\b|\bmkfifo\s+/|\d?<&\s?\d|0>&\s?\d|[12]>&\s?(?:0|[3-9]|\d\d)|>&\s?/dev/|pty\.spawn)"
    r"|(?P<expand>%comspec%|\$\(\s*<\s*[/.~]|[;|&`]\s*\.\s+[/~]\w|[;|&`\n\r<]\s*\{cmd\}|%systemroot%[\\/]|%windir%[\\/]|\bcmd(?:\.exe)?[\s,;=]*/[ckv]\b|\$\{?IFS\b|\$\(\(\s*\d+\s*[+*-]\s*\d+\s*\)\)|\$\{?(?:PATH|HOME|SHELL|RANDOM)(?::0:1\})"
    r"|;\s*\$[a-z_]{1,12}\s*$|[;&|]\s*\$[a-z]\w{0,8}\$[a-z]|=\$?['\"][^'\"]{1,60}['\"]\s*;\s*\$\w|%\w{4,24}:~-?\d{1,3}(?:,-?\d{1,3})?%|\$\{?(?:SHELL|BASH|0)\}?(?:\s+-[a-z]*[cis]\b|\s?<<<|\s?<\s?[/(])|(?:^[\s\"']{0,4}|[;&|`(]\s{0,4})\$\{![#@*\w]{1,16}\}"
    r"|[;&|(]\s*\$\{\w{1,16}\[[\d@*]{1,3}\]\}|\b(?:[a-z]`){2,16}[a-z])"
    r"|(?P<dotnet>\[(?:system\.)?(?:net\.\w{2,24}|io\.(?:file|directory|compression)\w{0,12}|diagnostics\.process|reflection\.assembly|scriptblock|activator|convert|runtime\.interopservices\.\w{1,16}|text\.encoding)\]::\w{2,32}(?:\(|\.))"
    r"|(?P<preset>\b(?:ld_preload|ld_library_path|bash_env|prompt_command|git_ssh_command|dyld_insert_libraries)=\S|\bfor\s+/f\s[^\n]{0,40}%)"
    r"|(?P<info>\bphpinfo\s*\(\s*\d{0,2}\s*\)))",
    re.IGNORECASE | re.ASCII,
)
_CALLED = {
    "php": 0.55, "python": 0.8, "java": 0.93, "node": 0.88, "ruby": 0.8, "windows": 0.82, "perl": 0.85, "shock": 0.97,
    "ssi": 0.95, "socket": 0.88, "expand": 0.86, "info": 0.8, "preset": 0.82, "dotnet": 0.82,
}  # fmt: skip
_MARKS = (
    *(
        "system",
        "passthru",
        "exec",
        "popen",
        "proc_",
        "spawn",
        "subprocess",
        "commands.",
        "__import__",
        "processbuilder",
    ),
    *(
        "child_process",
        "kernel",
        "io.",
        "process",
        "open3",
        "%x",
        "qx",
        "wscript",
        "shell.",
        "shellexecute",
        "new-object",
    ),
    *(
        "frombase64",
        "powershell",
        "pwsh",
        " -e",
        "@{",
        "open",
        ") {",
        "){",
        "()",
        "<!--",
        "<esi",
        "/dev/",
        "nc ",
        "ncat",
        "netcat",
    ),
    *(
        "nc.",
        " -i",
        "mkfifo",
        "<&",
        ">&",
        "%comspec",
        "$",
        "{cmd}",
        "%systemroot",
        "%windir",
        "/c",
        "/k",
        "/v",
        ":~",
        "]::",
        "`",
    ),
    *("ld_", "bash_env", "prompt_command", "git_ssh", "dyld", "/f", "phpinfo", ". /", ". ~", "<(", "[["),
)
"""One of these is in all that `_CALL` finds, in lower case."""
_GIVEN = re.compile(
    r"\s*(?:(?P<input>\$_(?:get|post|request|cookie|server)|base64_decode|chr\()|\$?\w+\))", re.IGNORECASE
)


def _sure(kind: str, text: str, match: re.Match[str]) -> float:  # noqa: PLR0911 - one return for each kind of call
    """How likely a call is an attack, by what it is and by what it is to run; 0 for none."""
    told = quoted_command(text, match.end())
    if kind == "php":
        if told == UNQUOTED:
            given = _GIVEN.match(text, match.end())
            return 0.0 if given is None else 0.85 if given["input"] else 0.3
        return (0.0, 0.5, 0.6, 0.93)[told]
    if kind == "python":
        if match[0].startswith("__import__") or "__import__" in text:
            return 0.93
        return (0.45, 0.45, 0.45, 0.92)[told]
    if kind == "node":
        return 0.88 if "(" in text[match.end() : match.end() + 24] or match[0].endswith(("'", '"', "`")) else 0.5
    if kind == "ruby" and match[0][:1] in "%qQ":
        return 0.88 if quoted_command("'" + match[0][3:], 0) >= KNOWN else 0.3
    if kind == "ruby":
        return (0.45, 0.6, 0.7, 0.9)[told]
    if kind in {"expand", "socket"} and is_blob(text, match.start()):
        return 0.0
    if kind == "shock" and "function" in text[max(0, match.start() - 30) : match.start()].lower():
        return 0.0
    return _CALLED[kind]


def calls(text: str) -> Iterator[Signal]:
    """Functions that run commands, in the languages of the web, and other forms with no honest reading."""
    yield from options(text)
    lower = text.lower()
    if not any(mark in lower for mark in _MARKS):
        return
    words = -1
    for count, match in enumerate(_CALL.finditer(text)):
        if count >= 16:
            return
        kind = match.lastgroup or ""
        confidence = _sure(kind, text, match)
        words = plain_words(text) if words < 0 else words
        if words >= 6 and confidence < 0.95:
            confidence -= 0.25
        if confidence < 0.3:
            continue
        severity = Severity.CRITICAL if confidence >= 0.85 else Severity.HIGH
        yield Signal(f"command-{kind}", severity, confidence, match.start(), min(len(text), match.end() + 40))
