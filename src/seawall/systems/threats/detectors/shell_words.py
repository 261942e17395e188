"""The command words of Unix and Windows, each with what makes its arguments plausible.

Many are ordinary words, too (cat, find, more, sort, type, host, who): only a command position and plausible arguments
make a command of them.
"""

import re
from collections.abc import Callable

__all__ = ["KINDS", "WORDS", "is_sensitive", "quality"]

_BY_KIND = {
    # No word of any language: telling in a command position even without arguments.
    "sharp": """
whoami uname reboot shutdown poweroff ifconfig ipconfig netstat systeminfo tasklist hostname getent lsof lsblk
printenv phpinfo nslookup lscpu ps pwd chmod chown chgrp mkdir rmdir mknod mkfifo crontab useradd userdel
usermod adduser groupadd visudo sudo su iptables sysctl systemctl uptime dmesg base64 base32 xxd hexdump gunzip
bunzip2 unzip certutil bitsadmin mshta regsvr32 rundll32 wmic cscript wscript schtasks taskkill msiexec icacls
vssadmin wevtutil attrib findstr netsh tracert traceroute nmap arp route busybox setenv unset xargs nohup chroot
insmod lsmod mount umount mysqldump psql sqlite3 apt-get dpkg rpm tcpdump socat ncat openssl lwp-download
lwp-request tftp rcp xcopy robocopy quser qwinsta dsquery nltest fdisk gzip egrep fgrep chattr
""",
    # Telling without arguments only directly behind a separator.
    "term": "ls id dir env ver df du ss ip vol w last",
    # They read or change files: a path, an option or a wildcard follows.
    "file": """
cat tac nl more less head tail type sort uniq od strings rev cut paste diff cp mv rm del erase copy move ren
touch find locate grep sed awk gawk tee tar zip vi vim nano ln stat file wc dd rd md source install cmp comm
fold split ed fmt pr shred truncate cpio ar nawk join read whereis which dog date tr
""",
    # They wait or knock at another's door: a number, an address or an option follows.
    "wait": "sleep usleep ping ping6 timeout waitfor fping",
    # They fetch or connect: an address follows.
    "net": """
wget curl nc netcat telnet ftp sftp ssh scp rsync dig host fetch lynx links w3m aria2c axel whois finger drill
""",
    # They run what follows.
    "shell": """
sh bash dash ash zsh ksh csh tcsh fish rbash pwsh powershell cmd command python python2 python3 perl ruby php
node nodejs lua gcc java tclsh pip pip3 npm gem go exec eval env script expect gdb
""",
    "echo": "echo print printf expr",
    # Only with the very words that follow in attacks.
    "phrase": """
net reg sc at start kill killall pkill reboot shutdown halt poweroff history export set who finger mail sendmail
call true false test
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
    r"/etc/|/proc/(?:self|\d|version|cpuinfo|net|mounts)|/var/(?:log|mail|spool)|/root/|/dev/(?:tcp|udp|null|shm)|\.ssh\b|\.bash_history"
    r"|\.htpasswd|wp-config|web\.config|\b[a-z]:[\\/]+(?:windows|winnt|boot|inetpub|users|/|$)|(?:boot|win|system)\.ini|passw|shadow|/bin/(?:ba|z|k|c|da)?sh\b"
    r"|%(?:systemroot|windir|comspec|temp)%|/etc$|/tmp/",
    re.IGNORECASE | re.ASCII,
)
_PATH = re.compile(
    r"(?:^|[\s\"'=<>])(?:/(?:etc|var|tmp|home|usr|s?bin|proc|root|dev|opt|sys|boot|lib(?:64)?|mnt|srv|run|media|www|data|app)\b|/(?:\s|$|\*(?!\s)|[\"'])"
    r"|\.{1,2}/|~/?(?:\s|$|\w)|[a-z]:(?:[\\/]|$|\s)|\\\\\w|/[?*\w.]*[?*\[]|\.(?:\s|$)|[\w*?-]+/\*)",
    re.IGNORECASE | re.ASCII,
)
_OPTION = re.compile(r"^\s*(?:-{1,2}[a-z0-9]|a?ux\b|auxw|/[a-z?]{1,4}(?:\s|:|$))", re.IGNORECASE | re.ASCII)
_FILE = re.compile(
    r"^\s*[\"']?[\w*?./\\-]*\.(?:txt|log|conf|cfg|ini|php\d?|py|sh|pl|rb|js|jsp|aspx?|xml|json|ya?ml|env|db|sql|bak|key|pem|exe|bat|ps1|c|so|passwd|htaccess|html?|csv|dat|sqlite)\b"
    r"|^\s*[\"']?[\w.?-]*\*(?:\s|$|[\"'])|[<>]\s*[\w./\\&]|<<<",
    re.IGNORECASE | re.ASCII,
)
_ADDRESS = re.compile(
    r"(?:https?|ftp|tftp|smb|gopher|file)://|\b\d{1,3}(?:\.\d{1,3}){3}\b|\blocalhost\b|\b(?:[a-z0-9_-]{1,63}\.)+[a-z]{2,12}\b|\$|`|\b0x[0-9a-f]{8}\b|::1",
    re.IGNORECASE | re.ASCII,
)
_NUMBER = re.compile(
    r"^\s*(?:/t\s+)?[\"'(]?\d+(?:\.\d+)?[smhd]?[\"')]?\s*(?:$|[#>&;|\"'()}/])", re.IGNORECASE | re.ASCII
)
_RUN = re.compile(
    r"^\s*(?:-\w{1,16}\s+){0,2}(?:-{1,2}(?:[a-z]*[ceirm]\b|enc|nop|ep|exec|command|file|version|w\b|sta\b|noprofile)|/[ckqv]\b|<|[\w./-]+\.(?:sh|py|pl|rb|php|js|ps1|bat)\b|\S*://|iex\b|(?:get|set|start|stop|new|add|out|test|write|remove|import|resolve)-[a-z]{3,20}\b)|invoke-|download(?:string|file)|[\"']import\s",
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
_ACCOUNTS = re.compile(r"^\s*(?:user\s+\w\S*|localgroup\b[^.!?,]{0,60})\s*$", re.IGNORECASE | re.ASCII)
_CARRIERS = frozenset({"busybox", "command", "env", "eval", "exec", "nohup", "sudo", "xargs"})
"""They run the command that follows them."""
_MESSAGE = re.compile(r"^\s*(?:-[ne]+\s|\d+\s+\\?[*+/-]|[\"'$`(\S*[\d_]\S*\s*$|\S{1,40}\s*$|\S+\s*>)")


def is_sensitive(arguments: str) -> bool:
    """Tell whether arguments name something that only an attacker or an administrator asks for."""
    return _SENSITIVE.search(arguments) is not None


def _named(arguments: str, _word: str) -> bool:
    if _OPTION.match(arguments) or _FILE.search(arguments[:80]):
        return True
    first = " ".join(arguments[:80].split()[:3])
    return _PATH.search(first) is not None and not first.endswith((" /", " ."))


def _waits(arguments: str, word: str) -> bool:
    if _NUMBER.match(arguments) or _OPTION.match(arguments):
        return True
    return word != "sleep" and _ADDRESS.search(arguments) is not None


def _connects(arguments: str, word: str) -> bool:
    return _ADDRESS.search(arguments[:200]) is not None or (word != "host" and _OPTION.match(arguments) is not None)


def _any(arguments: str, word: str) -> bool:
    return (
        _named(arguments, word) or _ADDRESS.search(arguments) is not None or _ADMINISTERS.match(arguments) is not None
    )


_FITS: dict[str, Callable[[str, str], bool]] = {
    "cmdlet": lambda _arguments, _word: True,
    "echo": lambda arguments, _word: bool(_FILE.search(arguments[:80]) or _MESSAGE.match(arguments)),
    "file": _named,
    "net": _connects,
    "phrase": lambda arguments, _word: _PHRASE.match(arguments) is not None,
    "sharp": _any,
    "shell": lambda arguments, _word: _RUN.search(arguments[:200]) is not None,
    "term": _named,
    "wait": _waits,
}


def quality(word: str, arguments: str) -> int:
    """Rate how well arguments fit a command word: 0 none at all, 1 no fit, 2 plausible, 3 telling."""
    if _GIVEN.match(arguments):
        return 0
    kind = KINDS[word]
    fits = _FITS[kind](arguments, word)
    if word in _CARRIERS and not fits:
        carried = arguments[:40].strip("\"' ").partition(" ")[0].rpartition("/")[2].rstrip("\"'")
        fits = KINDS.get(carried, "phrase") in {"net", "sharp", "shell", "term", "wait"}
    if word == "net" and _ACCOUNTS.match(arguments):
        return 3
    if kind != "phrase" and is_sensitive(arguments[:80] if kind in {"file", "term"} else arguments):
        return 3 if fits or not arguments.lstrip()[:1].isalpha() else 2
    return 2 if fits else 1
