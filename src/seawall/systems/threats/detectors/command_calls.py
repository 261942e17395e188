"""What runs commands without a shell's separators: calls in the languages of the web, and forms with no other use."""

import re
from collections.abc import Iterator

from seawall.systems.threats.detector import Signal
from seawall.systems.threats.detectors.prose import plain_words
from seawall.systems.threats.detectors.shell_lexer import commands
from seawall.systems.threats.detectors.shell_words import WORDS
from seawall.systems.threats.model import Severity

__all__ = ["calls"]

_CALL = re.compile(
    r"(?!(?<=[A-Za-z0-9_])[A-Za-z_])"
    r"(?:(?P<php>\b(?:system|passthru|shell_exec|exec|popen|proc_open|pcntl_exec|expect_popen)\s*\(\s*)"
    r"|(?P<python>\bos\s*\.\s*(?:system|popen|exec\w{1,3}|spawn\w{1,3})\s*\(\s*|\bsubprocess\s*\.\s*(?:\w+)\s*\(\s*|\bcommands\.getoutput\s*\(|__import__\s*\(\s*[\"'](?:os|subprocess|commands|pty|platform)[\"']\s*\))"
    r"|(?P<java>getruntime\s*\(\s*\)\s*\.\s*exec\s*\(|new\s+(?:java\.lang\.)?processbuilder\s*\()"
    r"|(?P<node>require\s*\(\s*[\"'`](?:node:)?child_process[\"'`]\s*\)|child_process[\"'`)\]]*\s*\.\s*\w+|\b(?:exec|spawn)sync\s*\(\s*[\"'`])"
    r"|(?P<ruby>\b(?:kernel|io|process|open3)\s*\.\s*(?:exec|system|spawn|popen\w*|fork|exit|capture\w*)\s*\(|%x[({\[!|]|\bqx[/{(!])"
    r"|(?P<windows>wscript\.shell|shell\.application|process\.start\s*\(|\bshellexecute\s*\(|new-object\s+(?:system\.)?net\.|frombase64string|-e(?:nc|ncodedcommand|c)?\s+[a-z0-9+/]{16,}={0,2})"
    r"|(?P<perl>@\{\s*\[\s*(?:system|exec)|\bopen\s*\(\s*\w+\s*,\s*[\"']\s*\|)"
    r"|(?P<shock>\(\s*\)\s*\{[^}]{0,40}\}\s*;)"
    r"|(?P<ssi><!--\s*#\s*(?:exec|include|echo|config|set|printenv|fsize|flastmod)\b)"
    r"|(?P<socket>/dev/(?:tcp|udp)/[\w.]|\b(?:nc|ncat|netcat)(?:\.\w+)?\s[^|;&]{0,60}-[a-z]*[ec]\b|\bbash\s+-i\b|\bsh\s+-i\b|\bmkfifo\s+/|0<&\d|\d>&\d|pty\.spawn)"
    r"|(?P<expand>%comspec%|\$\(\s*<\s*[/.~]|[;|&`]\s*\.\s+[/~]\w|[;|&`\n\r<]\s*\{cmd\}|%systemroot%[\\/]|%windir%[\\/]|\bcmd(?:\.exe)?\s*/[ckv]\b|\$\{?IFS\b|\$\(\(\s*\d+\s*[+*-]\s*\d+\s*\)\)|\$\{?(?:PATH|HOME|SHELL|RANDOM)(?::0:1\})|;\s*\$[a-z_]{1,12}\s*$|[;&|]\s*\$[a-z]\w{0,8}\$[a-z]|=\$?['\"][^'\"]{1,60}['\"]\s*;\s*\$\w)"
    r"|(?P<option>(?:^|(?<=[\s\"'=]))(?:--(?:checkpoint-action|to-command|use-askpass|upload-pack|receive-pack|open-files-in-pager|exec|rsh|use-compress-program|post-file|output)=|-exec\s+\S+\s+\\?[;+]|-o[qQ]/|-o\s*(?:proxy|local|permitlocal)command\b|ext::\w))"
    r"|(?P<preset>\b(?:ld_preload|ld_library_path|bash_env|prompt_command|git_ssh_command|dyld_insert_libraries)=\S|\bfor\s+/f\s[^\n]{0,40}%)"
    r"|(?P<info>\bphpinfo\s*\(\s*\d{0,2}\s*\)))",
    re.IGNORECASE | re.ASCII,
)
_CALLED = {
    "php": 0.55, "python": 0.8, "java": 0.93, "node": 0.88, "ruby": 0.8, "windows": 0.82, "perl": 0.85, "shock": 0.97,
    "ssi": 0.95, "socket": 0.88, "expand": 0.86, "info": 0.8, "option": 0.55, "preset": 0.82,
}  # fmt: skip
_PLACED = re.compile(r"[\"']?(?:/|~|\.{1,2}/|[a-z]:[\\/])", re.IGNORECASE)
_QUOTED_COMMAND = re.compile(
    r"\s*(?:[\"'`]|\$_(?:get|post|request|cookie|server)|base64_decode|\[?[\"']|chr\(|\w+\)|\$\w+\))", re.IGNORECASE
)


def _option(text: str, match: re.Match[str]) -> float:
    """At the start of a value it becomes an option of the program that the value is handed to."""
    if match[0].endswith("output=") and not _PLACED.match(text, match.end()):
        return 0.0
    return 0.82 if not text[: match.start()].strip() and plain_words(text) < 4 else 0.4


def calls(text: str) -> Iterator[Signal]:
    """Functions that run commands, in the languages of the web, and other forms with no honest reading."""
    for count, match in enumerate(_CALL.finditer(text)):
        if count >= 16:
            return
        kind = match.lastgroup or ""
        confidence = _CALLED[kind]
        if kind == "php":
            if not _QUOTED_COMMAND.match(text, match.end()):
                continue
            quoted = text[match.end() : match.end() + 60]
            first = quoted.strip("\"'` ")
            known = next(commands(first), None)
            if known and known.word in WORDS:
                confidence = 0.93
            elif first.startswith(("$_", "base64", "chr")):
                confidence = 0.85
            else:
                confidence = 0.6 if first != quoted else 0.3
        elif kind == "option":
            confidence = _option(text, match)
        elif kind == "shock" and "function" in text[max(0, match.start() - 30) : match.start()].lower():
            continue
        if plain_words(text) >= 6 and confidence < 0.95:
            confidence -= 0.25
        severity = Severity.CRITICAL if confidence >= 0.85 else Severity.HIGH
        yield Signal(f"command-{kind}", severity, confidence, match.start(), min(len(text), match.end() + 40))
