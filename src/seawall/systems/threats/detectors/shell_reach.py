"""What a command reaches for: what tells an attack from the commands that people paste, run in builds and look up."""

import re

from seawall.systems.threats.detectors.shell_vocabulary import INTERPRETERS


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


__all__ = ["tells"]

_OUTSIDE = re.compile(
    r"\bhttp://(?!localhost\b|127\.|\[::1|0\.0\.0\.0)|(?<![\d.])(?!127\.|0\.0\.0\.0)\d{1,3}(?:\.\d{1,3}){3}(?![\d.])|\b0x[0-9a-f]{8}\b"
    r"|\bhttps?://\S*\.(?:sh|exe|ps1|hta|sct|elf|pl|py|bin|arm\d?|mips|bat|vbs|dll|jsp|php)\b|[`@]/|`|\$\((?!date|pwd|git)|=@|--post-file"
    r"|\.(?:oast|interact|burpcollaborator|dnslog|ceye|requestbin|ngrok|oastify|bxss|canarytokens)\b|\b(?:oast|oastify|interactsh|dnslog)\.",
    re.IGNORECASE | re.ASCII,
)
_ADDRESS = re.compile(
    r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])|`|\$\(|::1|\b0x[0-9a-f]{8}\b|\boast", re.IGNORECASE | re.ASCII
)
_INNER = re.compile(
    r"\b(?:id|whoami|uname|ls|cat|nc|ncat|curl|wget|ping|nslookup|ifconfig|ipconfig|dir|type|env|hostname|netstat|systeminfo)\b(?![=:(.])"
    r"|\b(?:bash|sh)\s+-|\b(?:system|passthru|popen|eval|exec\w*|spawn\w*|sleep|fsockopen|check_output|getoutput)\s*\(?|\bsocket\b|child_process|subprocess"
    r"|\bimport\s+(?:os|pty|time|urllib|requests|base64)\b|/dev/tcp|`|\b(?:ztcp|zmodload|runtime|processbuilder)\b|(?<![\d.])(?!127\.|0\.0\.0\.0)\d{1,3}(?:\.\d{1,3}){3}(?![\d.])|>&\s?[\d$]|print\s.{0,8}<[a-z/]",
    re.IGNORECASE | re.ASCII,
)
_POWERSHELL = re.compile(
    r"(?:^|\s)-(?:e|ec|en|enc|encodedcommand|nop|noprofile|noni|noninteractive|w|windowstyle|ep|exec|executionpolicy)\b|\biex\b|\biwr\b|\birm\b|invoke-|download(?:string|file)"
    r"|\b(?:get-(?:process|content|wmiobject|service|localuser)|start-(?:process|sleep|bitstransfer)|new-object|whoami|net\.)|-c(?:ommand)?\s+[\"'&]?\s*(?:[\"{&$]|(?:id|whoami|ls|dir|cat|type|ps|hostname|ipconfig|ifconfig|uname|env|calc|gci|gc)\b)",
    re.IGNORECASE | re.ASCII,
)
_TOLD_BY: dict[str, re.Pattern[str]] = {
    word: re.compile(pattern, re.IGNORECASE | re.ASCII)
    for words, pattern in (
        ("bash sh dash ash zsh ksh rbash", r"^\s*-[a-z]*i\b"),
        ("cmd", r"^[\s,;=]*/[ckrv]\b"),
        ("chmod", r"^\s*(?:-\w+\s+)?(?:[0-7]?[0-7]77\b|[ugoa]*\+[rwx]*s|\+x\s+/(?:tmp|dev/shm|var)/)"),
        ("rm", r"^\s*(?:-\w+\s+)*(?:--no-preserve-root\s+)?[\"']?(?:/|\*|~/?|/\*|\$HOME)(?:\s|$|[\"';&|])"),
        ("find", r"^\s*/(?:\s|$)|-perm\s+[-/]?\d"),
        ("ls dir", r"^\s*(?:-\w+\s+)*(?:/|[a-z]:\\*)\s*[\"']?\s*$"),
        ("kill", r"^\s*-(?:9|kill)\s+-?1\b"),
        ("awk gawk mawk nawk", r"\bsystem\s*\(|/inet/|\bgetline\b"),
        ("sed", r"\d+e\s"),
        ("vi vim nano ed", r":!"),
        ("tar zip", r"--(?:checkpoint-action|to-command|use-compress-program|unzip-command)|-TT"),
        (
            "nc ncat netcat socat telnet",
            r"(?<!\S)-\w*[elc]|\bexec:|\d{1,3}(?:\.\d{1,3}){3}|\b0x[0-9a-f]{8}\b|\b\d{9,10}\b",
        ),
        ("openssl", r"\d{1,3}(?:\.\d{1,3}){3}:\d|enc\b.*/etc"),
        ("ssh", r"(?<!\S)-[RDo]|\bProxyCommand"),
        ("sleep usleep", r"^\s*[\"'(]?\d+(?:\.\d+)?[smhd]?[\"')]?\s*(?:#.*|[\"')}]?\s*)$"),
        ("timeout choice waitfor", r"/t\s+\d"),
        (
            "net",
            r"^\s*(?:users?\s*(?:\W*|\w\S*.*/add.*|\w\S*\W*)$|localgroup\b[^.!?,]{0,60}$|(?:view|accounts)\W*$|group\s.*admin)",
        ),
        ("reg", r"^\s*(?:query|add|save|delete|export)\s+[\"']?hk"),
        ("xterm rxvt uxterm gnome-terminal konsole", r"(?<!\S)-(?:display|e|x|-)"),
        (
            "echo printf",
            r">\s?[\"']?(?:/(?:tmp|dev/shm|var/(?:www|tmp)|srv/|etc/|root/|usr/)|\S{1,64}\.(?:php\d?|phtml|jspx?|aspx?|sh|cgi|htaccess)\b|\S{0,64}[\\/](?:inetpub|htdocs|wwwroot)[\\/])",
        ),
        ("expr", r"^\s*\d+\s+\\?[*+/-]\s+\d+\s*$"),
        ("getent", r"\b(?:passwd|shadow|group|hosts)\b"),
        ("useradd adduser usermod userdel groupadd", r"(?<!\S)(?:-[a-zA-Z]|/add\b)"),
        ("go", r"^\s*run\s+/(?:tmp|dev/shm|var)/"),
        ("gdb", r"-ex\b|-batch\b"),
        ("gcc cc", r"^\s*-x\s"),
        ("make", r"-f\s*/dev/|--eval"),
        ("set-executionpolicy", r"bypass|unrestricted"),
        ("invoke-webrequest iwr irm invoke-restmethod curl", r"-outfile\b|\biex\b"),
    )
    for word in words.split()
}
_ALWAYS = _words(
    """
whoami uname netstat ifconfig systeminfo tasklist telnetd getent certutil bitsadmin mshta regsvr32 rundll32 wmic
schtasks vssadmin wevtutil icacls nltest dsquery quser qwinsta pcalua forfiles odbcconf cmstp installutil regasm
regsvcs mkfifo invoke-expression iex invoke-command start-process start-bitstransfer get-wmiobject gwmi
get-computerinfo get-localuser get-netipaddress resolve-dnsname get-process start-sleep add-type lwp-download
tftp ftpget ftpput
"""
)
"""With arguments that fit, what only attackers and administrators run."""
_FETCHERS = _words(
    """
wget curl fetch lynx links w3m aria2c axel lwp-request iwr irm invoke-webrequest invoke-restmethod
"""
)
_KNOCKERS = _words(
    """
ping ping6 fping nslookup dig host whois drill finger test-connection test-netconnection
"""
)


def tells(word: str, arguments: str) -> bool:
    """Tell whether a command reaches for what honest ones do not. Linear in the arguments."""
    if word in _ALWAYS:
        return True
    own = _TOLD_BY.get(word)
    if own is not None and own.search(arguments) is not None:
        return True
    if word in _FETCHERS:
        return _OUTSIDE.search(arguments) is not None
    if word in _KNOCKERS:
        return _ADDRESS.search(arguments) is not None
    if word in {"powershell", "pwsh"}:
        return _POWERSHELL.search(arguments) is not None
    return word in INTERPRETERS and _runs(word, arguments)


_CODE = re.compile(r"(?:^|\s)(?:-[a-z]*[cer]\b|<<<)\s*(.*)", re.DOTALL)


def _runs(word: str, arguments: str) -> bool:
    """Tell whether an interpreter is given code, on its command line, that does something telling."""
    if word in {"exec", "eval"}:
        return False
    code = _CODE.search(arguments)
    return code is not None and _INNER.search(code[1]) is not None
