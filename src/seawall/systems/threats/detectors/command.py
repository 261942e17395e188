"""Command injection: a command line that breaks out of, or is the whole of, a value."""

import re
from collections.abc import Iterable, Sequence
from fnmatch import translate
from functools import lru_cache

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.detectors.command_calls import calls
from seawall.systems.threats.detectors.command_lone import as_line, behind_little, inside_little
from seawall.systems.threats.detectors.prose import in_code, plain_words
from seawall.systems.threats.detectors.shell_context import is_blob, is_script, is_value
from seawall.systems.threats.detectors.shell_lexer import Command, commands, reveal
from seawall.systems.threats.detectors.shell_vocabulary import CARRIERS, KINDS, WORDS
from seawall.systems.threats.detectors.shell_words import carried, quality
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["DETECTOR"]

MAX_SIGNALS = 8
# Confidence by how the command position came about and by how well the arguments fit (0 to 3, see `quality`): for the
# start of a value, behind a separator, and within a substitution.
_BARE: dict[str, tuple[float, float, float, float]] = {
    "cmdlet": (0.4, 0.5, 0.5, 0.9),
    "echo": (0.1, 0.1, 0.3, 0.8),
    "file": (0.1, 0.1, 0.5, 0.93),
    "net": (0.1, 0.1, 0.5, 0.9),
    "phrase": (0.1, 0.1, 0.45, 0.78),
    "sharp": (0.4, 0.3, 0.5, 0.93),
    "shell": (0.2, 0.1, 0.5, 0.9),
    "term": (0.2, 0.1, 0.5, 0.92),
    "wait": (0.1, 0.1, 0.5, 0.86),
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
_BIN = re.compile(
    r"(?:^|/)(?:usr/|local/|opt/)*s?bin/$|system32[\\/]+$|^/+[?*\w]*[?*][?*\w/]*/$|^[./]*(?:usr/)?s?bin/$",
    re.IGNORECASE | re.ASCII,
)
_LAST = re.compile(r"[\s=&?,/]")
_LISTED = re.compile(
    r"[\w \-]{1,40}(?:\|[\w \-]{0,40}){3,64}$|[\w \"'&.-]{1,40}(?:\|\s{0,2}[\"']?\w[\w \"'&.-]{0,40}){2,64}$"
)
_END_TAG = re.compile(r"\s*</[a-z][a-z0-9]{0,15}>", re.IGNORECASE)  # and no file to read from
_PAIRS = re.compile(r"(?:^|[?&])[\w.\[\]-]+=[^&\s]*$")
_PROMPT = re.compile(r"\s[A-Z]:\\[^>|&;]{0,200}>")
_CLASS = re.compile(r"[a-z]{0,8}\[[a-z-]{1,6}\][a-z]{0,8}|(?=\w*\?)(?=\w{0,3}\w\?{0,3}\w)[a-z?]{3,8}")
"""A word of the current folder by a set of letters."""
_GIVEN_NOTHING = re.compile(r"\s*(?:$|[;|&#\"')}]|\s[-/])")
_GLUE = frozenset("=:-@_,(![]?~")
"""What makes a part of a longer word of what stands directly before it."""
_OPENINGS = frozenset(("$(", "`", "<(", ">(", "${", "${@", "${!", "${*"))
_PAIR = re.compile(r"&[\w.\[\]-]{1,64}=")
_TELLING = frozenset(("whoami", "ifconfig", "ipconfig", "netstat", "uname", "systeminfo", "printenv"))
_SHELLS = frozenset(
    ("sh", "bash", "dash", "zsh", "ksh", "ash", "python", "python3", "perl", "ruby", "php", "cmd", "powershell", "pwsh")
)
_LONE = frozenset(("net", "sharp", "shell", "term", "wait"))
_SETS = frozenset(("alias", "declare", "export", "history", "set", "typeset"))
DOUBTFUL = 0.5
"""Below it a command is not worth a word: honest text has many of them."""
NEAR = 400
"""Characters before a command that say what it stands in."""
MIN_HIDDEN = 2
SHORT = 4
"""Letters of a word that bytes at random spell now and then."""
ROW = 3
"""Further separators behind a word that make a row of a table of it."""
PLAUSIBLE, TELLING = 2, 3
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


def _known(  # noqa: PLR0911 - one return for each way to write a word
    command: Command, original: str
) -> tuple[str, bool]:
    """The command word, and whether it was hidden in the text as it came; "" for no command."""
    word, path = command.word, command.path
    glued = command.arguments[:1] in _GLUE and not (command.arguments[0] == "(" and KINDS.get(word) == "cmdlet")
    if (command.arguments and glued) or (word == "ps" and _PROMPT.match(command.arguments)):
        return "", False
    if _END_TAG.match(command.arguments) or (path and not _BIN.search(path) and "?" not in path and "*" not in path):
        return "", False
    if word in WORDS:
        return word, bool(original) and _is_hidden(command, original)
    if ("?" in word or "*" in word or "[" in word) and path[:1] in {"/", "."}:
        return _wildcard(word), True
    if _CLASS.fullmatch(word) and command.by and _GIVEN_NOTHING.match(command.arguments):
        return _wildcard(word), True
    if word[:1] == "?" and original and word.lstrip("?") in WORDS:
        return word.lstrip("?"), True
    return "", False


def _is_hidden(command: Command, original: str) -> bool:
    """Tell whether a command word, or what parts it from its arguments, is not in the text as it came."""
    if len(command.word) < MIN_HIDDEN:
        return False
    if command.word not in original:
        return True
    gap = command.arguments[:1].isspace() and command.arguments.strip() != ""
    return gap and not any(
        command.word + space in original for space in (" ", "\t", "\n", "\x0b", "\x0c", "\r", "+", '"', "'", ".")
    )


def _rate(text: str, command: Command, kind: str, fit: int) -> tuple[str, float]:
    """The rule and its confidence by how the command position came about."""
    before = text[max(0, command.start - NEAR) : command.start]
    by = command.by
    if by[:2] == "${":
        if len(by) > 2:
            return "command-substitution", 0.85 if fit != 1 else 0.3
        return "command-substitution", 0.9 if fit >= PLAUSIBLE or (fit == 0 and command.word in _TELLING) else 0.2
    if by in _OPENINGS:
        rate = _BARE if is_script(before) else _INSIDE
        return "command-substitution", rate[kind][fit]
    if by[:1] in {";", "|", "&"} or by in {"\n", "\r"}:
        return _behind(text, command, kind, fit)
    if fit == 0 and kind in {"term", "sharp"} and not before.strip() and text[command.end :].strip() in {"|", ";", "&"}:
        return "command-line", 0.75
    return "command-line", _BARE[kind][fit] - (0 if not before.strip() else 0.2)


def _behind(text: str, command: Command, kind: str, fit: int) -> tuple[str, float]:
    """The confidence of what stands behind a separator: it breaks out of a value, or a script goes on."""
    before = text[max(0, command.start - NEAR) : command.start]
    by = command.by
    lines = by in {"\n", "\r"} or (by == ";" and text[command.start + 1 : command.start + 2] in {"\n", "\r"})
    if lines and (not (len(before) <= LINE and is_value(before) and plain_words(before) < 3) or is_script(before)):
        return "command-line", _BARE[kind][fit] - (0.15 if fit == TELLING else 0.3)
    if by == "|" and kind == "shell" and fit == 0 and command.word in _SHELLS:
        return "command-chain", 0.9
    if before.strip() and _BEHIND[kind][fit] >= DOUBTFUL and is_script(before):
        return "command-chain", _BARE[kind][fit]
    if not before.strip("\"' )") and fit == 0 and not text[command.end :].strip("\"'|&;# "):
        return "command-chain", max(0.78 if kind in _LONE or command.word in _SETS else 0.0, _BEHIND[kind][fit])
    return "command-chain", _BEHIND[kind][fit]


def _judge(text: str, command: Command, original: str, place: PlaceKind) -> Signal | None:
    word, hidden = _known(command, original)
    if not word or (len(word) <= SHORT and not command.path and is_blob(text, command.start)):
        return None
    if command.by == "&" and _PAIR.match(text, command.start):
        return None
    kind, fit = KINDS[word], quality(word, command.arguments)
    lone = _lone(text, command, place, fit)
    if not (hidden or lone or command.path) and _is_idle(command, word, kind, fit):
        return None
    rule, confidence = _rate(text, command, kind, fit)
    confidence = max(confidence, lone)
    inner, arguments = carried(word, command.arguments)
    if inner:
        kind = KINDS[inner]
        fit = quality(inner, arguments)
        fit = PLAUSIBLE if fit == 0 and kind in _LONE else fit
        confidence = max(confidence, _rate(text, command, kind, fit)[1])
    if command.path:
        confidence = max(confidence + 0.1, 0.82 if rule == "command-line" else 0.9)
    if hidden:
        confidence = max(confidence + 0.15, 0.85)
        rule = "command-hidden"
    if confidence >= DOUBTFUL and not (lone and confidence == lone):  # what stands around it only takes from it
        confidence = _context(text, command, rule, confidence, fit)
    if confidence < DOUBTFUL:
        return None
    severity = Severity.CRITICAL if confidence >= 0.7 else Severity.HIGH if confidence >= 0.6 else Severity.MEDIUM
    return Signal(rule, severity, min(0.98, confidence), command.start, command.end)


def _lone(text: str, command: Command, place: PlaceKind, fit: int) -> float:
    """The confidence of a command that is all that a short value says, or adds to another; 0 for others."""
    if command.word not in KINDS:
        return 0.0
    if command.by == "":
        return as_line(text, command, place, fit)
    if command.by[0] in ";|&\n\r":
        return behind_little(text, command, place, text[: command.start], fit)
    if command.by in {"$(", "`"}:
        return inside_little(text, command, fit)
    return 0.0


def _is_idle(command: Command, word: str, kind: str, fit: int) -> bool:
    """Tell at once whether a word can be no attack, as most words of prose in a command position."""
    if command.by in {"\n", "\r"} and command.start > LINE:
        return fit < TELLING
    if fit >= PLAUSIBLE or word in CARRIERS or word in _SETS or (fit == 0 and kind in _LONE):
        return False
    return (_INSIDE if command.by in _OPENINGS else _BEHIND)[kind][fit] < DOUBTFUL


def _context(text: str, command: Command, rule: str, confidence: float, fit: int) -> float:
    """What stands around a command: lists, pairs of a query and prose make it unlikely."""
    before = text[max(0, command.start - NEAR) : command.start]
    if rule == "command-chain" and fit == 0 and not command.path:
        most = _listed(text, before, command)
        if most:
            return most
    if command.by == "&" and fit < TELLING and KINDS.get(command.word) in {"echo", "file", "phrase"}:
        confidence = 0.35 if _PAIRS.search(before[-120:]) else confidence
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
    """Words between separators that are a list, the pairs of a query or bytes at random: their confidence, or 0."""
    if command.by == "|" and text[command.end : command.end + 1] == "|" and text.count("|", command.end) > ROW:
        return 0.45
    if command.by == "|" and _LISTED.match(text):
        return 0.3
    if command.by == "&" and _PAIRS.search(before[-120:]):
        return 0.35
    first = _LAST.split(before.strip().lower())[-1]
    return 0.45 if KINDS.get(first, "phrase") != "phrase" and first != "id" else 0.0


def scan(text: str, kind: PlaceKind) -> Sequence[Signal]:
    """Judge one view of a value. Linear in the text."""
    plain, tricks = reveal(text)
    original = text.lower() if tricks else ""
    signals = []
    for command in commands(plain):
        signal = _judge(plain, command, original, kind)
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


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _either(words: Iterable[str]) -> str:
    # Sorted, so that it is the same text in every process: compiled forms are kept by it.
    return "|".join(sorted(words))


_SURE = frozenset(word for word, kind in KINDS.items() if kind in {"cmdlet", "sharp", "term"} and word != "w") | _SHELLS
"""Words that are telling by themselves where a command may stand."""
_OTHERS = WORDS - _SURE
"""Words that are also those of a language: what follows decides."""
_ORDERED = (CARRIERS - _SURE) | _words(
    """
net net1 sc reg killall pkill kill declare typeset service docker podman kubectl git apt snap brew pkg port query
passwd seq factor init logger yes wait bc help let which whereis type finger locate mv cp cat ls find grep head tail
rm touch cd pip npm node tmux
"""
)
"""Words with orders that need no option, path or number."""
_OFTEN = (
    "sh|bash|dash|zsh|id|ls|cat|whoami|uname|hostname|curl|wget|nc|ncat|ping|sleep|nslookup|dig|env|python|python3|perl"
    "|ruby|php|node|cmd"
    "|powershell|pwsh|ifconfig|ipconfig|netstat|ps|pwd|dir|telnet|socat|busybox|rm|chmod|touch|base64|systeminfo|tasklist|certutil"
)
"""Words that attackers run behind a word that runs others, or behind the setting of a variable."""
_PLACE = r"(?:^|[;|&`\n\r(])[\s\"'@(!{+,\\]{0,16}"
# An option, a path, a number, an address, a redirection or a quotation within the next words.
_FOLLOWED = (
    r"[\s+<>\"'$`]{1,4}(?:[^\s]{1,32}[\s+]{1,4}){0,2}[^\s]{0,24}(?:-[a-z0-9-]|[/\\<>*~$`0-9\"'|={(%]|[.:][a-z0-9/\\])"
)

DETECTOR = Detector(
    name="command",
    category=ThreatClass.COMMAND_INJECTION,
    owasp="A03:2021",
    triggers=(
        # A separator or the start of a value, then a command word. Few long lists: each costs time on all traffic.
        rf"{_PLACE}(?:{_either(_SURE)})(?:[^a-z0-9_=:]|$)",
        rf"{_PLACE}(?:{_either(_OTHERS)})(?:\.exe)?(?:{_FOLLOWED}|[\s+\"'|&;#`)]{{0,8}}$)",
        rf"{_PLACE}(?:{_either(_ORDERED)})[\s+]",
        r"[;|&`\n\r]\s{0,4}(?:echo|print|printf)[\s+]{1,4}[a-z0-9_$%{}-]{1,40}[\s\"'#;|&)]{0,4}$",
        rf"[;|&`\n\r(]\s{{0,4}}[a-z0-9_]{{1,16}}=[^\s]{{0,32}}\s{{1,4}}(?:{_OFTEN})[^a-z0-9_=:]",
        rf"(?:then|do|else|sudo|exec|nohup|xargs)\s{{1,8}}(?:[a-z0-9_./]{{0,32}}/)?(?:{_OFTEN})[^a-z0-9_]",
        # What is reached for.
        r"/etc/|/etc$|/proc/|/dev/(?:tcp|udp|shm|stdin)|/inet/(?:tcp|udp)|/root/|\.ssh/|id_rsa|bash_history|htpasswd|wp-config|web\.config|(?:boot|win|system)\.ini|passwd|/shadow|[a-z]:[\\/]{1,2}(?:windows|winnt|boot|inetpub|users)|\bhklm|\bhkcu",
        r"s?bin/[a-z?*\[]|system32[\\/]{1,2}[a-z]",
        # Wildcards, quotes, escapes and variables that hide a word.
        r"/[a-z?*]{0,8}[?*][a-z?*]{0,8}/[a-z?*]|[;|&`(]\s{0,4}[a-z]{0,8}(?:\[[a-z-]{1,6}\]|\?[a-z?])",
        r"^\\[nr]/?[a-z]",
        r"[a-z/](?:''|\"\"|``|\$[@*!(]|\$\{[@*!a-z0-9]|\$[0-9])[a-z/\s]|[a-z/](?:'[a-z]{1,8}'|\"[a-z]{1,8}\"|[\\^][a-z])|\\\n[a-z]|[a-z]`[a-z]`[a-z]",
        r"[;|&`(\s'\"](?:['\"][a-z]{1,6}['\"]|[\\^][a-z][\\^]?)[a-z'\"]",
        r"\$\{[@!*#]|\$\{?(?:shell|bash|0)\}?\s?<",
        r"\$\{?ifs|\$\(|\$\{#?[a-z_@*!]{1,16}[:#%/^,@\[]|%[a-z_]{3,24}:~|\{[a-z./]{2,16},|\$'|%0[9bc]|[;&|(]\s{0,4}\$\{?[a-z_]|\$\{[a-z]{2,16}\s",
        # Calls that run commands, and forms with no other use.
        r"(?:system|passthru|exec|popen|proc_open|os\.[a-z]{4,8}|subprocess\.[a-z_]{1,16}|processbuilder|spawnsync|execsync|getoutput)\s{0,8}\(",
        r"__import__|child_process|getruntime|wscript\.shell|shell\.application|process\.start|shellexecute|new-object|frombase64string|-e(?:nc|ncodedcommand|c)?\s{1,4}[a-z0-9+/]{16}",
        r"(?:kernel|io|process|open3)\.[a-z]{3,9}\s{0,4}\(|%x[({\[!|]|qx[/{(!]|@\{\s{0,4}\[|open\s{0,4}\([^)]{1,60}\||\]::[a-z]",
        r"\(\s{0,4}\)\s{0,4}\{|<!--\s{0,4}#|<esi:|/dev/(?:tcp|udp)|(?:ba|\b)sh\s{1,4}-i\b|<&\s?[0-9]|0>&|[12]>&\s?[03-9]|>&\s?/dev|pty\.spawn|mkfifo|\b(?:nc|ncat|netcat)(?:\.[a-z]{1,12})?\s",
        r"\{cmd\}|[;|&`]\s{0,4}\.\s{1,4}[/~]|-exec\s|ld_preload=|ld_library_path=|bash_env=|prompt_command=|git_ssh_command=|dyld_insert|for\s{1,4}/f\s",
        r"%comspec%|%systemroot%|%windir%|cmd(?:\.exe)?[\s,;=]{0,4}/[ckv]|\$\{?(?:shell|bash|0)\}?\s{1,4}-|;\s{0,4}\$[a-z_]|phpinfo",
        # Options of programs, formulas of spreadsheets, drawings of converters.
        r"--(?:checkpoint-action|to-command|use-askpass|upload-pack|receive-pack|open-files-in-pager|exec|rsh|use-compress-program|unzip-command|rmt-command|rsh-command|info-script|pager|sshcommand|post-file|output|log-file|config|require|init-file|rcfile)=|-o\s{0,4}(?:proxy|local|permitlocal)command|-o\s{0,4}(?:userknownhosts|pkcs11p|securitykeyp)|ext::[a-z]",
        r"-c\s{0,4}(?:core|alias|diff|protocol|credential|uploadpack)\.|-d(?:java|javax|jdk|com\.sun|log4j2?|sun)\.|-(?:javaagent|agentlib|agentpath):|-xx:on|-(?:launcher|prefix)=|--(?:browser-subprocess|unsafe-perm|script-shell|node-options|inspect-brk|load-extension)|-d(?:no)?safer|%pipe%",
        r"-oqueue|-oq\s?/|-x\s?/|^[\s\"']{0,4}--?[a-z][a-z0-9-]{0,16}[\s=@]{0,2}[\"']?@?[^\s]{0,48}(?:/etc/|/proc/|/tmp/|/root/|\.php|\.jsp|\.asp)",
        r"[=+@-](?:dde|webservice|importxml|importhtml|importdata|importfeed|importrange|filterxml|rtd|register\.id|hyperlink)\s{0,4}\(|\|\s{0,4}'[^'\n]{1,100}'?\s{0,4}!",
        r"push\s{1,4}graphic-context|<image[^>]{1,60}=\s{0,4}[\"'](?:msl|text|caption|label|ephemeral|vid|mvg)|(?:msl|ephemeral|mvg|caption|label|text):@?/(?:etc|tmp|proc|var)/",
    ),
    scan=scan,
)
