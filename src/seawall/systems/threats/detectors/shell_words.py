"""What makes the arguments of a command word plausible, by its kind."""

import re
from collections.abc import Callable

from seawall.systems.threats.detectors.shell_reach import tells
from seawall.systems.threats.detectors.shell_vocabulary import CARRIERS, KINDS, WORDS

__all__ = ["carried", "quality"]

_SENSITIVE = re.compile(
    r"/etc/(?!nginx/|apache2/|cron\.d/|systemd/)|/etc$|/proc/(?:self|\d|version|cpuinfo|net|mounts)|/var/(?:mail|spool)|/root/"
    r"|/dev/(?:tcp|udp|shm|stdin)|/inet/(?:tcp|udp)/|\.ssh\b|\bid_(?:rsa|dsa|ed25519)\b|\.bash_history|\.htpasswd|wp-config|web\.config"
    r"|\b[a-z]:[\\/]+(?:windows|winnt|boot|inetpub|users[\\/]+(?:admin|public)|$)|(?:boot|win|system)\.ini|passwd\b|/shadow\b"
    r"|/bin/(?:ba|z|k|c|da)?sh\b|%(?:systemroot|windir|comspec)%|\bhk(?:lm|cu|ey_)",
    re.IGNORECASE | re.ASCII,
)
_PATH = re.compile(
    r"(?:^|[\s\"'=<>])(?:/(?:etc|var|tmp|home|usr|s?bin|proc|root|dev|opt|sys|boot|lib(?:64)?|mnt|srv|run|media|www|data|app)\b|/(?:\s|$|\*(?!\s)|[\"'])"
    r"|\.{1,2}/|~/?(?:\s|$|\w)|[a-z]:(?:[\\/\"',]|$|\s)|\\\\\w|/(?!\*\s)[?*\w.]*[?*\[]|\.(?:\s|$)|[\w*?-]+/\*)",
    re.IGNORECASE | re.ASCII,
)
_OPTION = re.compile(r"^\s*(?:-{1,2}[a-z0-9]|a?ux\b|auxw|/[a-z?]{1,4}(?:\s|:|$))", re.IGNORECASE | re.ASCII)
_FILE = re.compile(
    r"^\s*[\"']?[\w*?./\\-]*\.(?:txt|log|conf|cfg|ini|php\d?|py|sh|pl|rb|js|jsp|aspx?|xml|json|ya?ml|env|db|sql|bak|key|pem|exe|bat|ps1|c|so|passwd|htaccess|html?|csv|dat|sqlite)\b"
    r"|^\s*[\"']?[\w.?-]*\*(?:\s|$|[\"'])|(?<![=<-])>\s*[\w./\\&]|(?<!<)<(?!/?[a-z]\w{0,12}>)\s*[a-z./~\\&$]|<<<",
    re.IGNORECASE | re.ASCII,
)
_ADDRESS = re.compile(
    r"(?:https?|ftp|tftp|smb|gopher|file)://|\b\d{1,3}(?:\.\d{1,3}){3}\b|\blocalhost\b|\b(?:[a-z0-9_-]{1,63}\.)+[a-z]{2,12}\b|\$[({a-z_]|`|\b0x[0-9a-f]{8}\b|::1",
    re.IGNORECASE | re.ASCII,
)
_NUMBER = re.compile(
    r"^\s*(?:/t\s+)?[\"'(]?\d+(?:\.\d+)?[smhd]?[\"')]?\s*(?:$|[#>&;|\")}]|-- |'(?:\s*(?:$|[#;|&])))",
    re.IGNORECASE | re.ASCII,
)
_RUN = re.compile(
    r"^\s*(?:-\w{1,16}\s+){0,2}(?:-{1,2}(?:[a-z]*[ceirmv]\b|enc|nop|ep|exec|command|file|version|help|w\b|sta\b|noprofile)|/[ckqv]\b|<(?!\d)|[\w./-]+\.(?:sh|py|pl|rb|php|js|ps1|bat)\b|\S*://|iex\b|(?:get|set|start|stop|new|add|out|test|write|remove|import|resolve)-[a-z]{3,20}\b)|invoke-|download(?:string|file)|[\"']import\s",
    re.IGNORECASE | re.ASCII,
)
_PHRASE = re.compile(
    r"^\s*(?:user|users|localgroup|group|view|share|start|stop|use|accounts|session|add|query|delete|save|-9|-kill|-[a-z]{1,2}\b|/[a-z]\b|now\b|\S+@\S+\.\S+|path=|powershell|cmd|calc|notepad|-c\s|&&|\|\|)",
    re.IGNORECASE | re.ASCII,
)
_GIVEN = re.compile(r"^(?:[\s)}\"'`#/*,\]-]|\\[nrt]?)*$")
_ADMINISTERS = re.compile(
    r"^\s*(?:/[a-z]{1,16}\b|[0-7]{3,4}\s|[ugoa]{0,4}[+-][rwxst]{1,4}\s|(?:process|os|service|useraccount|product|qfe|logicaldisk|computersystem"
    r"|bios|startup|cpu)(?:\s+(?:list|get|call|where)\b|\s*$)|javascript:|\w{1,32}\.dll\b)",
    re.IGNORECASE | re.ASCII,
)
_CARRIED = re.compile(
    r"^(?:\s+(?:-{1,2}[\w{}=-]{1,24}|\d+(?:\.\d+)?[smhd]?|\w{1,32}=\S{0,64}))*\s+[\"']?(?:[\w./-]*/)?([a-z][\w-]{0,24})(?:\.exe)?(?![\w-])",
    re.IGNORECASE | re.ASCII,
)
_MESSAGE = re.compile(
    r"^\s*(?:-[ne]+\s|\d+\s+\\?[*+/-]|(?<=\s)[\"'](?=\S)|[$`(]|[^\s,!?]*[\d_][^\s,!?]*\s*$|[\w$%@{\\-][^\s+.,!?:]{0,39}\s*$|\S+\s*(?<![=-])>(?!=))"
)

_SIGNAL = re.compile(r"[\"']?\s+(?:EXIT|DEBUG|ERR|RETURN|(?:SIG)?(?:INT|TERM|HUP)|\d{1,2})\s*$")


def _named(arguments: str, _word: str) -> bool:
    if _OPTION.match(arguments) or _FILE.search(arguments[:80]):
        return True
    first = " ".join(arguments[:80].split()[:3])
    return _PATH.search(first) is not None and not first.endswith((" /", " ."))


def _waits(arguments: str, word: str) -> bool:
    if _NUMBER.match(arguments) or _OPTION.match(arguments) or (word == "waitfor" and "/t" in arguments.lower()):
        return True
    return word != "sleep" and _ADDRESS.search(arguments) is not None


def _connects(arguments: str, word: str) -> bool:
    return _ADDRESS.search(arguments[:200]) is not None or (word != "host" and _OPTION.match(arguments) is not None)


def _any(arguments: str, word: str) -> bool:
    return (
        _named(arguments, word) or _ADDRESS.search(arguments) is not None or _ADMINISTERS.match(arguments) is not None
    )


_PLAIN_ORDER = re.compile(r"\s*(?:-{1,2}[a-z]|/[a-z]\b|\S+@\S+\.\S+)", re.IGNORECASE)
_ORDERS: dict[str, re.Pattern[str]] = {
    "alias": re.compile(r"\s*\w{1,24}="),
    "at": re.compile(r"\s*(?:now|\d{1,2}:\d\d)\b", re.IGNORECASE),
    "compgen": re.compile(r"\s*-"),
    "declare": re.compile(r"\s*-[a-z]"),
    "exit": re.compile(r"\s*\d{1,3}\s*$"),
    "export": re.compile(r"\s*(?:-p\b|\w{1,24}=)"),
    "killall": re.compile(r"\s*(?:-\w{1,12}\s+){0,3}\w[\w.-]*\s*[\"';]?\s*(?:#.*)?$"),
    "pkill": re.compile(r"\s*(?:-\w{1,12}\s+){0,3}\w[\w.-]*(?:\s+\S+)?\s*[\"';]?\s*(?:#.*)?$"),
    "call": re.compile(r"\s*\S+\.(?:bat|cmd|exe)\b|\s*:\w", re.IGNORECASE),
    "halt": re.compile(r"\s*(?:-|now\b)"),
    "poweroff": re.compile(r"\s*(?:-|now\b)"),
    "reboot": re.compile(r"\s*(?:-|now\b)"),
    "set": re.compile(r"\s*(?:/[ap]\b|[-+][a-z]\b|\w{1,24}=)", re.IGNORECASE),
    "shutdown": re.compile(r"\s*(?:[-/]|now\b)"),
    "start": re.compile(
        r"\s*(?:\"[^\"]{0,24}\"\s+)?(?:/\w|(?:cmd|calc|powershell|notepad|mshta)\b|\S+\.(?:exe|bat|cmd|ps1)\b|https?:)",
        re.IGNORECASE,
    ),
    "typeset": re.compile(r"\s*-[a-z]"),
    "ip": re.compile(r"\s*(?:-|(?:a|addr|address|r|route|l|link|neigh|rule|netns)(?:\s|$))"),
    "pip": re.compile(r"\s*(?:-|(?:list|freeze|show|install|config|download)\b)"),
    "npm": re.compile(r"\s*(?:-|(?:list|ls|config|install|exec|root|bin)\b)"),
    "tmux": re.compile(r"\s*(?:-|ls\b|list-|new\b)"),
    "screen": re.compile(r"\s*-[a-z]"),
    "kill": re.compile(r"\s*-(?:\d{1,2}|[a-z]{1,7})\s"),
    "net1": _PHRASE,
    "docker": re.compile(r"\s*(?:-|(?:ps|images?|info|version|inspect|exec|run|container|volume|network)\b)"),
    "podman": re.compile(r"\s*(?:-|(?:ps|images?|info|version|inspect|exec|run)\b)"),
    "kubectl": re.compile(r"\s*(?:-|(?:get|exec|config|describe|auth|run|cp|version)\b)"),
    "git": re.compile(r"\s*(?:-|(?:log|status|config|clone|show|diff|remote|branch|grep|archive|help)\b)"),
    "service": re.compile(r"\s*(?:-{2}|[\w@.-]{1,32}\s+(?:start|stop|status|restart|reload)\b)"),
    "apt": re.compile(r"\s*(?:-|(?:install|update|upgrade|list|remove|purge|show|search)\b)"),
    "snap": re.compile(r"\s*(?:-|(?:install|list|remove|info|run)\b)"),
    "brew": re.compile(r"\s*(?:-|(?:install|list|info|update)\b)"),
    "pkg": re.compile(r"\s*(?:-|(?:install|info|update|query)\b)"),
    "port": re.compile(r"\s*(?:-|(?:install|installed)\b)"),
    "yes": re.compile(r"\s*(?:$|>|\w{1,8}\s*$)"),
    "seq": re.compile(r"\s*(?:-\w+\s+)?\d+(?:\s+-?\d+){0,2}\s*$"),
    "factor": re.compile(r"\s*\d{3,}\s*$"),
    "bc": re.compile(r"\s*(?:<<<|-)"),
    "passwd": re.compile(r"\s*(?:-|root\b)"),
    "query": re.compile(r"\s*(?:user|session|process|termserver)\b"),
    "install": re.compile(r"\s*-\w"),
    "init": re.compile(r"\s*[0-6]\s*$"),
    "wait": re.compile(r"\s*-n\b|\s*\d+\s*$"),
    "help": re.compile(r"\s*(?:/|net\b|dir\b)"),
    "time": re.compile(r"\s*(?:/t\b|-p\b)"),
    "logger": re.compile(r"\s*(?:-\w|[\w-]{1,24}\s*$)"),
    "bind": re.compile(r"\s*-[a-z]\b"),
    "let": re.compile(r"\s*\w{1,16}(?:=|\+\+)"),
}
"""What follows a word of the kind `phrase` that has orders of its own."""


def _ordered(arguments: str, word: str) -> bool:
    own = _ORDERS.get(word) or (_PHRASE if word in {"net", "reg", "sc"} else _PLAIN_ORDER)
    return own.match(arguments) is not None


_COMMENT = re.compile(r"[\"')]{0,2}\s+#[^\n]{0,40}$")


def _prints(arguments: str, _word: str) -> bool:
    message = _COMMENT.sub("", arguments)
    return _FILE.search(arguments[:80]) is not None or _MESSAGE.match(message) is not None


_FITS: dict[str, Callable[[str, str], bool]] = {
    "cmdlet": lambda _arguments, _word: True,
    "echo": _prints,
    "file": _named,
    "net": _connects,
    "phrase": _ordered,
    "sharp": _any,
    "shell": lambda arguments, _word: _RUN.search(arguments[:200]) is not None,
    "term": _named,
    "wait": _waits,
}


def carried(word: str, arguments: str) -> tuple[str, str]:
    """Return the command that a command such as `timeout` runs, with its arguments; empty where there is none."""
    if word not in CARRIERS:
        return "", ""
    match = _CARRIED.match(arguments[:120])
    if match is None or match[1].lower() not in WORDS:
        return "", ""
    rest = arguments[match.end() :]
    return match[1].lower(), "" if word == "trap" and _SIGNAL.match(rest) else rest


_ALL_FILES = re.compile(r"\s{1,4}\*\s*[\"')]?\s*")
_REDIRECTED = re.compile(r"\s*(?<![=-])[0-9&]?>{1,2}\s?(?:&\s?[\d-]|[\"']?/(?:dev|tmp|var)/|nul\b)", re.IGNORECASE)
_FEW = 4
"""Words before a redirection: more of them are prose."""


def quality(word: str, arguments: str) -> int:
    """Rate how well arguments fit a command word: 0 none at all, 1 no fit, 2 plausible, 3 telling.

    Telling is what only attackers and administrators of the machine itself ask for, even when it is all of a value.
    """
    if _GIVEN.match(arguments):
        return 2 if _ALL_FILES.fullmatch(arguments) and KINDS[word] in {"file", "term", "echo"} else 0
    fit = _quality(word, arguments)
    if fit <= 1 and ">" in arguments:
        redirected = _REDIRECTED.search(arguments[:120])
        if redirected is not None and len(arguments[: redirected.start()].split()) < _FEW:
            return 2
    return fit


def _quality(word: str, arguments: str) -> int:
    kind = KINDS[word]
    own = _ORDERS.get(word) if kind != "phrase" else None
    fits = (own is not None and own.match(arguments) is not None) or _FITS[kind](arguments, word)
    if tells(word, arguments):
        return 3 if fits or not arguments.lstrip()[:1].isalpha() else 2
    if kind != "phrase" and _SENSITIVE.search(arguments[:80] if kind in {"file", "term"} else arguments) is not None:
        return 3 if fits or not arguments.lstrip()[:1].isalpha() else 2
    return 2 if fits else 1
