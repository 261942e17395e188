"""The command words of Unix and Windows, each with what makes its arguments plausible.

Many are ordinary words, too (cat, find, more, sort, type, host, who): only a command position and plausible arguments
make a command of them.
"""

import re
from collections.abc import Callable

from seawall.systems.threats.detectors.shell_reach import tells


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


__all__ = ["CARRIERS", "KINDS", "WORDS", "carried", "quality"]

_BY_KIND = {
    # No word of any language: telling in a command position even without arguments.
    "sharp": """
whoami uname telnetd reboot shutdown poweroff ifconfig ipconfig netstat systeminfo tasklist hostname getent lsof lsblk
printenv phpinfo nslookup lscpu ps pwd chmod chown chgrp mkdir rmdir mknod mkfifo crontab useradd userdel
usermod adduser groupadd visudo sudo su iptables sysctl systemctl uptime dmesg base64 base32 xxd hexdump gunzip
bunzip2 unzip certutil bitsadmin mshta regsvr32 rundll32 wmic cscript wscript schtasks taskkill msiexec icacls
vssadmin wevtutil attrib findstr netsh tracert traceroute nmap arp route busybox setenv unset xargs nohup chroot
insmod lsmod mount umount mysqldump psql sqlite3 apt-get dpkg rpm tcpdump socat ncat openssl lwp-download
lwp-request tftp rcp xcopy robocopy quser qwinsta dsquery nltest fdisk gzip egrep fgrep chattr pcalua forfiles
installutil regasm regsvcs msbuild odbcconf cmstp wbadmin bcdedit fsutil newgrp
""",
    # Telling without arguments only directly behind a separator.
    "term": "ls id dir env ver df du ss ip vol w last",
    # They read or change files: a path, an option or a wildcard follows.
    "file": """
cat tac nl more less head tail type sort uniq od strings rev cut paste diff cp mv rm del erase copy move ren
touch find locate grep sed awk gawk mawk tee tar zip vi vim nano ln stat file wc dd rd md source install cmp comm
fold split ed fmt pr shred truncate cpio ar nawk join read whereis which dog tr make
""",
    # They wait or knock at another's door: a number, an address or an option follows.
    "wait": "sleep usleep ping ping6 timeout waitfor fping choice",
    # They fetch or connect: an address follows.
    "net": """
wget curl nc netcat telnet ftp ftpget ftpput sftp ssh scp rsync dig host fetch lynx links w3m aria2c axel whois
finger drill
""",
    # They run what follows.
    "shell": """
sh bash dash ash zsh ksh csh tcsh fish rbash pwsh powershell cmd python python2 python3 perl ruby php
node nodejs lua gcc cc java tclsh pip pip3 npm gem go exec eval env script expect gdb
""",
    "echo": "echo print printf expr",
    # Only with the very words that follow in attacks.
    "phrase": """
net reg sc at start kill reboot shutdown halt poweroff history export set who finger mail sendmail killall pkill call
true false test nice ionice stdbuf setsid strace doas builtin command time trap alias declare typeset compgen exit
""",
    # PowerShell's verbs, a hyphen in them.
    "cmdlet": """
iex iwr irm invoke-expression invoke-webrequest invoke-restmethod invoke-command start-process get-process
get-content get-childitem gci get-service get-wmiobject new-object start-bitstransfer set-executionpolicy
add-type write-host start-sleep get-computerinfo get-netipaddress get-localuser resolve-dnsname test-connection
test-netconnection gwmi gc
""",
}
KINDS: dict[str, str] = {word: kind for kind, words in reversed(_BY_KIND.items()) for word in words.split()}
WORDS = frozenset(KINDS)

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
    r"^\s*(?:-\w{1,16}\s+){0,2}(?:-{1,2}(?:[a-z]*[ceirm]\b|enc|nop|ep|exec|command|file|version|w\b|sta\b|noprofile)|/[ckqv]\b|<(?!\d)|[\w./-]+\.(?:sh|py|pl|rb|php|js|ps1|bat)\b|\S*://|iex\b|(?:get|set|start|stop|new|add|out|test|write|remove|import|resolve)-[a-z]{3,20}\b)|invoke-|download(?:string|file)|[\"']import\s",
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
CARRIERS = _words(
    """
builtin busybox command doas env eval exec ionice nice nohup setsid stdbuf strace sudo time timeout trap xargs
"""
)
"""They run the command that follows them."""
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
    "killall": re.compile(r"\s*-?\w[\w.-]*\s*[\"';]?\s*(?:#.*)?$"),
    "pkill": re.compile(r"\s*-?\w[\w.-]*(?:\s+\S+)?\s*[\"';]?\s*(?:#.*)?$"),
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
}
"""What follows a word of the kind `phrase` that has orders of its own."""


def _ordered(arguments: str, word: str) -> bool:
    own = _ORDERS.get(word) or (_PHRASE if word in {"net", "reg", "sc"} else _PLAIN_ORDER)
    return own.match(arguments) is not None


_FITS: dict[str, Callable[[str, str], bool]] = {
    "cmdlet": lambda _arguments, _word: True,
    "echo": lambda arguments, _word: bool(_FILE.search(arguments[:80]) or _MESSAGE.match(arguments)),
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


def quality(word: str, arguments: str) -> int:
    """Rate how well arguments fit a command word: 0 none at all, 1 no fit, 2 plausible, 3 telling.

    Telling is what only attackers and administrators of the machine itself ask for, even when it is all of a value.
    """
    if _GIVEN.match(arguments):
        return 0
    kind = KINDS[word]
    fits = _FITS[kind](arguments, word)
    if tells(word, arguments):
        return 3 if fits or not arguments.lstrip()[:1].isalpha() else 2
    if kind != "phrase" and _SENSITIVE.search(arguments[:80] if kind in {"file", "term"} else arguments) is not None:
        return 3 if fits or not arguments.lstrip()[:1].isalpha() else 2
    return 2 if fits else 1
