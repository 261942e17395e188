"""Command injection: a command line that breaks out of, or is the whole of, a value."""

import re
from collections.abc import Sequence
from fnmatch import translate
from functools import lru_cache

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.detectors.command_calls import calls
from seawall.systems.threats.detectors.prose import in_code, plain_words
from seawall.systems.threats.detectors.shell_lexer import Command, commands, reveal
from seawall.systems.threats.detectors.shell_words import KINDS, WORDS, quality
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["DETECTOR"]

MAX_SIGNALS = 8
# Confidence by how the command position came about and by how well the arguments fit (0 to 3, see `quality`): for the
# start of a value, behind a separator, and within a substitution.
_BARE: dict[str, tuple[float, float, float, float]] = {
    "cmdlet": (0.4, 0.8, 0.8, 0.9),
    "echo": (0.1, 0.1, 0.3, 0.8),
    "file": (0.1, 0.1, 0.76, 0.93),
    "net": (0.1, 0.1, 0.8, 0.9),
    "phrase": (0.1, 0.1, 0.55, 0.78),
    "sharp": (0.4, 0.3, 0.8, 0.93),
    "shell": (0.2, 0.1, 0.8, 0.9),
    "term": (0.2, 0.1, 0.78, 0.92),
    "wait": (0.1, 0.1, 0.78, 0.86),
}
_BEHIND: dict[str, tuple[float, float, float, float]] = {
    "cmdlet": (0.85, 0.9, 0.92, 0.97),
    "echo": (0.4, 0.45, 0.82, 0.95),
    "file": (0.35, 0.15, 0.88, 0.97),
    "net": (0.5, 0.3, 0.92, 0.97),
    "phrase": (0.3, 0.15, 0.85, 0.9),
    "sharp": (0.88, 0.5, 0.9, 0.97),
    "shell": (0.6, 0.3, 0.92, 0.97),
    "term": (0.85, 0.2, 0.88, 0.96),
    "wait": (0.5, 0.25, 0.92, 0.96),
}
_INSIDE: dict[str, tuple[float, float, float, float]] = {
    "cmdlet": (0.9, 0.93, 0.95, 0.98),
    "echo": (0.6, 0.8, 0.9, 0.97),
    "file": (0.5, 0.4, 0.93, 0.98),
    "net": (0.6, 0.5, 0.95, 0.98),
    "phrase": (0.75, 0.4, 0.9, 0.95),
    "sharp": (0.93, 0.7, 0.95, 0.98),
    "shell": (0.7, 0.6, 0.95, 0.98),
    "term": (0.9, 0.4, 0.93, 0.98),
    "wait": (0.6, 0.3, 0.95, 0.97),
}
_GLOBBED = (
    "cat", "ls", "id", "nc", "sh", "bash", "whoami", "wget", "curl", "uname", "tac", "head", "tail", "less", "more",
    "sort", "base64", "ping", "sleep", "python", "perl", "php",
)  # fmt: skip
_BIN = re.compile(
    r"(?:^|/)(?:usr/|local/|opt/)*s?bin/$|system32[\\/]+$|^/+[?*\w]*[?*][?*\w/]*/$|^[./]*(?:usr/)?s?bin/$",
    re.IGNORECASE | re.ASCII,
)
_LAST = re.compile(r"[\s=&?,/]")
_LISTED = re.compile(r"[\w \-]{1,40}(?:\|[\w \-]{0,40}){3,64}$|[\w &.-]{1,40}(?:\|\s{0,2}\w[\w &.-]{0,40}){2,64}$")
_PAIRS = re.compile(r"(?:^|[?&])[\w.\[\]-]+=[^&\s]*$")
_PROMPT = re.compile(r"\s[A-Z]:\\[^>|&;]{0,200}>")
_GLUE = frozenset("=:-@_,(")
"""What makes a part of a longer word of what stands directly before it."""
LINE = 40
"""Characters before a line break that a value may have for the break to be an attack, rather than a text of lines."""


@lru_cache(maxsize=256)
def _wildcard(word: str) -> str:
    """Find a command word that a shell's wildcards stand for; "" for none. Only what attackers choose is tried."""
    pattern = re.compile(translate(word))
    for known in (
        "cat",
        "ls",
        "id",
        "nc",
        "sh",
        "bash",
        "whoami",
        "wget",
        "curl",
        "uname",
        "tac",
        "head",
        "tail",
        "less",
        "more",
        "sort",
        "base64",
        "ping",
        "sleep",
        "python",
        "perl",
        "php",
    ):
        if pattern.match(known):
            return known
    return ""


def _known(command: Command, tricks: int) -> tuple[str, int]:
    """The command word, and the tricks with those of its own; "" for no command."""
    word, path = command.word, command.path
    glued = command.arguments[:1] in _GLUE and not (command.arguments[0] == "(" and KINDS.get(word) == "cmdlet")
    if glued or (word == "ps" and _PROMPT.match(command.arguments)):
        return "", tricks
    if path and not _BIN.search(path) and "?" not in path and "*" not in path:
        return "", tricks
    if word in WORDS:
        return word, tricks
    if ("?" in word or "*" in word or "[" in word) and (path[:1] in {"/", "."} or tricks):
        return _wildcard(word), tricks + 1
    return "", tricks


def _rate(text: str, command: Command, kind: str, fit: int) -> tuple[str, float]:
    """The rule and its confidence by how the command position came about."""
    before = text[: command.start]
    by = command.by
    if by in {"$(", "`", "<(", ">("}:
        return "command-substitution", _INSIDE[kind][fit]
    if by[:1] in {";", "|", "&"} or (by in {"\n", "\r"} and len(before) <= LINE and plain_words(before) < 3):
        return "command-chain", _BEHIND[kind][fit]
    if fit == 0 and kind in {"term", "sharp"} and text[command.end :].strip() in {"|", ";", "&"}:
        return "command-line", 0.75
    return "command-line", _BARE[kind][fit] - (0 if not before.strip() else 0.35 if by in {"\n", "\r"} else 0.2)


def _judge(text: str, command: Command, tricks: int) -> Signal | None:
    word, tricks = _known(command, tricks)
    if not word:
        return None
    fit = quality(word, command.arguments)
    rule, confidence = _rate(text, command, KINDS[word], fit)
    if command.path:
        confidence = max(confidence + 0.1, 0.82 if rule == "command-line" else 0.9)
    if tricks:
        confidence = max(confidence + 0.15, 0.85)
        rule = "command-hidden"
    confidence = _context(text, command, rule, confidence, fit)
    if confidence < 0.3:
        return None
    severity = Severity.CRITICAL if confidence >= 0.7 else Severity.HIGH if confidence >= 0.6 else Severity.MEDIUM
    return Signal(rule, severity, min(0.98, confidence), command.start, command.end)


def _context(text: str, command: Command, rule: str, confidence: float, fit: int) -> float:
    """What stands around a command: lists, pairs of a query and prose make it unlikely."""
    before = text[max(0, command.start - 400) : command.start]
    if rule == "command-chain" and fit == 0 and not command.path:
        most = _listed(text, before, command)
        if most:
            return most
    words = plain_words(before) if rule != "command-line" else 0
    if words >= 4:
        confidence -= 0.3
    elif words >= 2 and fit < 2 and not command.path:
        confidence -= 0.2
    if KINDS.get(command.word) not in {"echo", "cmdlet"} and plain_words(command.arguments) >= 4:
        confidence -= 0.3
    behind = plain_words(text, command.end, command.end + 400)
    if command.by == "`" and words + behind >= 4 and text.count("`") >= 2:
        return min(confidence, 0.45)
    lines = text.count("\n", command.end, command.end + 400)
    if rule == "command-line" and lines and (behind >= 4 or lines > 2):
        confidence -= 0.3
    return confidence


def _listed(text: str, before: str, command: Command) -> float:
    """Words between separators that are a list, or the pairs of a query: their confidence, or 0."""
    if command.by == "|" and _LISTED.match(text):
        return 0.3
    if command.by == "&" and _PAIRS.search(before[-120:]):
        return 0.35
    first = _LAST.split(before.strip().lower())[-1]
    return 0.45 if KINDS.get(first, "phrase") != "phrase" and first != "id" else 0.0


def scan(text: str, kind: PlaceKind) -> Sequence[Signal]:  # noqa: ARG001 - the same text means the same in every place
    """Judge one view of a value. Linear in the text."""
    plain, tricks = reveal(text)
    signals = []
    for command in commands(plain):
        signal = _judge(plain, command, tricks)
        if signal is not None:
            signals.append(signal)
            if len(signals) >= MAX_SIGNALS:
                break
    if plain is not text:
        # Spans are those of the value as it came, as near as taking the tricks out allows.
        signals = [signal._replace(start=min(signal.start, len(text)), end=len(text)) for signal in signals]
    signals.extend(calls(text))
    if signals:
        signals.sort(key=_strength, reverse=True)
        del signals[MAX_SIGNALS:]
        if signals[0].rule != "command-substitution" and in_code(text, signals[0].start):
            return [signal._replace(confidence=min(signal.confidence, 0.55)) for signal in signals]
    return signals


def _strength(signal: Signal) -> float:
    return signal.confidence


# Sorted twice, so that it is the same text in every process: compiled forms are kept by it.
_ANY = "|".join(sorted(sorted(WORDS - {"w"}), key=len, reverse=True))
_SHARP = "|".join(
    sorted(
        sorted(word for word, kind in KINDS.items() if kind in {"sharp", "net", "cmdlet", "shell"}),
        key=len,
        reverse=True,
    )
)

DETECTOR = Detector(
    name="command",
    category=ThreatClass.COMMAND_INJECTION,
    owasp="A03:2021",
    triggers=(
        # A separator, then a command word, perhaps with a folder, assignments or quotes before it.
        rf"[;|&`\n\r(][\s\"'@(!{{+,\\]{{0,16}}(?:[a-z0-9_]{{1,16}}=[^\s]{{0,32}}\s{{1,4}})?(?:[a-z0-9_.:?*~/\\-]{{0,40}}[/\\])?(?:{_ANY})(?:[^a-z0-9_=:]|$)",
        rf"^[\s\"'+@!]{{0,8}}(?:[a-z:./\\]{{0,32}}[/\\])?(?:{_ANY})(?:\.exe)?[\s+<]{{1,8}}[^\s]",
        r"^[\s\"']{0,8}(?:id|ls|dir|env|ps|pwd|whoami|uname|ifconfig|ipconfig|netstat|hostname)\s{0,4}[|;&]\s{0,4}$",
        r"^[\s\"']{0,8}/{0,2}(?:usr/)?(?:local/)?s?bin/[a-z]",
        rf"(?:then|do|else|sudo|exec|nohup|xargs)\s{{1,8}}(?:[a-z0-9_./]{{0,32}}/)?(?:{_SHARP})[^a-z0-9_]",
        r"/[a-z?*]{0,8}[?*][a-z?*]{0,8}/[a-z?*]|[;|&`(]\s{0,4}/(?:usr/)?s?bin/[a-z]{0,8}[?*]",
        r"^\\[nr]/?[a-z]",
        r"--(?:checkpoint-action|to-command|use-askpass|upload-pack|receive-pack|open-files-in-pager|exec|rsh|use-compress-program|post-file|output)=|-o\s{0,4}(?:proxy|local|permitlocal)command|ext::[a-z]",
        r"\{cmd\}|[;|&`]\s{0,4}\.\s{1,4}[/~]|^-o[q/]|-exec\s|ld_preload=|ld_library_path=|bash_env=|prompt_command=|git_ssh_command=|dyld_insert|for\s{1,4}/f\s",
        r"[;|&`(\s][a-z/]{1,16}(?:''|\"\"|\\[a-z]|\$[@*!a-z0-9{(]|``|'[a-z]{1,8}'|\"[a-z]{1,8}\"|\^[a-z])",
        r"^[a-z/]{1,16}(?:''|\"\"|\\[a-z]|\$[@*!a-z0-9{(]|``|'[a-z]{1,8}'|\"[a-z]{1,8}\"|\^[a-z])[a-z\\\"'^]",
        r"[;|&`(\s'\"](?:['\"][a-z]{1,6}['\"]|[\\^][a-z][\\^]?)[a-z'\"]",
        r"\$\{?ifs|\$\(|\$\{#?[a-z_@*!]{1,16}[:#%/^,@]|%[a-z_]{3,20}:~|\{[a-z./]{2,16},|\$'|%0[9bc]",
        r"(?:system|passthru|exec|popen|proc_open|os\.[a-z]{4,8}|subprocess\.[a-z_]{1,16}|processbuilder|spawnsync|execsync|getoutput)\s{0,8}\(",
        r"__import__|child_process|getruntime|wscript\.shell|shell\.application|process\.start|shellexecute|new-object|frombase64string|-e(?:nc|ncodedcommand|c)?\s{1,4}[a-z0-9+/]{16}",
        r"(?:kernel|io|process|open3)\.[a-z]{3,9}\s{0,4}\(|%x[({\[!|]|qx[/{(!]|@\{\s{0,4}\[",
        r"\(\s{0,4}\)\s{0,4}\{|<!--\s{0,4}#|/dev/(?:tcp|udp)|[a-z]\s{1,4}-i\b|0<&|[0-9]>&[0-9]|pty\.spawn|mkfifo",
        r"%comspec%|%systemroot%|%windir%|cmd(?:\.exe)?\s{0,4}/[ckv]|[;&|]\s{0,4}\$[a-z_]{1,12}(?:\s{0,8}$|\$)|phpinfo",
    ),
    scan=scan,
)
