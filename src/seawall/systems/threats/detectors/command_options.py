"""Values that become options of the program which they are handed to, or that spreadsheets and converters run."""

import re
from collections.abc import Iterator

from seawall.systems.threats.detector import Signal
from seawall.systems.threats.detectors.prose import plain_words
from seawall.systems.threats.model import Severity

__all__ = ["options"]

_PLACED = r"[\"']?(?:/|~|\.{1,2}/|[a-z]:[\\/])"
_TAKEN = (
    r"(?:/etc/(?:passwd|shadow|hosts|group)|/proc/|/root/|~/\.ssh|/tmp/\w|/dev/(?:tcp|shm)"
    r"|\S{0,64}\.(?:php|jsp|aspx?)\b|[a-z]:\\windows)"
)
_OPTION = re.compile(
    # Options that name a command to run, of tar, git, rsync, ssh, wget, find.
    r"(?:^|(?<=[\s\"'=/]))(?:(?P<runs>--(?:checkpoint-action|to-command|use-askpass|upload-pack|receive-pack"
    r"|open-files-in-pager|exec|rsh|use-compress-program|unzip-command|rmt-command|rsh-command|info-script|pager|sshcommand)=\S"
    rf"|-exec\s+\S+\s+\\?[;+]|--(?:post-file|output|log-file|config|require|init-file|rcfile)={_PLACED}|ext::\w)"
    r"|(?P<ssh>-o\s*(?:proxy|local|permitlocal)command\b|-o\s*(?:userknownhostsfile|pkcs11provider|securitykeyprovider)=)"
    # git's settings that are commands; those of Java, Electron, npm and Ghostscript that load or start something.
    r"|(?P<sets>-c\s*(?:core\.(?:sshcommand|pager|editor|fsmonitor|hookspath|gitproxy|askpass)|alias\.\w{1,16}|diff\.external"
    r"|protocol\.ext\.allow|credential\.helper|uploadpack\.\w{1,24})=|-d(?:java|javax|jdk|com\.sun|log4j2?|sun)\.[\w.]{2,48}=\s?\S"
    r"|-(?:javaagent|agentlib|agentpath):\S|-xx:(?:onoutofmemoryerror|onerror)=|--(?:gpu|renderer-cmd|utility-cmd|ppapi-plugin|nacl-loader-cmd|plugin)"
    r"(?:-launcher|-prefix)=|--(?:browser-subprocess-path|unsafe-perm|script-shell|node-options|inspect-brk|load-extension)\b"
    r"|-dsafer=false|-dnosafer\b|-soutputfile=\W|%pipe%)"
    # sendmail's queue and log in a web root; options that read a file into a request, or run one.
    r"|(?P<mail>-oqueuedirectory=|-oq\s?/|-x\s?/\S{1,64}\.(?:php\d?|phtml|jsp|aspx?|sh)\b|-c\s?/\S{1,64}\s+-x)"
    rf"|(?P<file>-{{1,2}}[a-z][\w-]{{0,16}}[\s=@]{{0,2}}[\"']?@?{_TAKEN}))",
    re.IGNORECASE | re.ASCII,
)
_ONLY_OPTIONS = re.compile(
    r"(?:[\"'\s]*(?:ssh|git|svn\+ssh|hg)?(?::/{0,2})?|(?:\s*-{1,2}[\w.-]{1,32}(?:=\S{0,64})?)+\s+[\"']?)$",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"[\"'\s]*[\w.+-]{1,64}(?:@[\w.-]{1,64}|\\?\"?)\s+(?:-\S{1,64}\s+)*$")
_FORMULA = re.compile(
    r"^[\s\"',;]{0,8}[=+@-]{1,2}[^\n]{0,60}?(?:\b(?:dde|webservice|importxml|importhtml|importdata|importfeed|importrange|filterxml|rtd|register\.id)\s*\(\s*(?:[\"']\s*\w|[\w&$])"
    r"|\b(?:cmd|powershell|pwsh|mshta|rundll32|regsvr32|certutil|wscript|cscript|calc|msexcel|excel|winword)(?:\.exe)?\s*\|\s*'[^'\n]{1,200}'?\s*!)"
    r"|^[\s\"',;]{0,8}[=+@-]{1,2}hyperlink\s*\([^\n]{0,100}[&?][^\n]{0,20}[a-z]{1,2}\d",
    re.IGNORECASE | re.ASCII | re.MULTILINE,
)
_RUNS = re.compile(r"\||\b(?:dde|rtd|register)", re.IGNORECASE)
_CELL = re.compile(r"&\s*\$?[a-z]{1,2}\$?\d", re.IGNORECASE)
_CONVERTED = re.compile(
    r"push\s+graphic-context[^\x00]{0,400}?(?:url\(|image\s+over)|<image[^>]{0,100}(?:href\s*=\s*[\"'](?:msl|text|caption|label|ephemeral|vid|mvg|https?:[^\"']{0,200}\|))"
    r"|\b(?:msl|ephemeral|mvg|caption|label|text):@?/(?:etc|tmp|proc|var)/|/outputfile\s*\(\s*%pipe%|%pipe%",
    re.IGNORECASE | re.ASCII,
)
_CONFIDENT = {"runs": 0.82, "ssh": 0.85, "sets": 0.82, "mail": 0.85, "file": 0.8}


def options(text: str) -> Iterator[Signal]:
    """Find what gives a command to a program other than a shell. Linear in the text."""
    if (
        "-" not in text
        and "%" not in text
        and "::" not in text
        and "(" not in text
        and "!" not in text
        and ":" not in text
    ):
        return
    words = -1
    for count, match in enumerate(_OPTION.finditer(text)):
        if count >= 8:
            break
        kind = match.lastgroup or ""
        before = text[max(0, match.start() - 200) : match.start()]
        first = match.start() <= 200 and _ONLY_OPTIONS.match(before) is not None
        if not first and kind == "mail":
            first = _ADDRESS.match(before) is not None
        words = plain_words(text) if words < 0 else words
        confidence = _CONFIDENT[kind] if first and words < 4 else 0.4
        severity = Severity.CRITICAL if confidence >= 0.8 else Severity.HIGH
        yield Signal("command-option", severity, confidence, match.start(), min(len(text), match.end() + 40))
    formula = _FORMULA.search(text) if "(" in text or "!" in text else None
    if formula is not None:
        # Sheets that people keep fetch and link, too; none of theirs starts a program or fetches what cells hold.
        link = "hyperlink" in formula[0].lower()
        leaks = not link and _CELL.search(text, formula.end(), formula.end() + 200) is not None
        runs = leaks or _RUNS.search(formula[0]) is not None
        severity, confidence = (Severity.CRITICAL, 0.86) if runs else (Severity.HIGH, 0.6)
        yield Signal("command-formula", severity, confidence, formula.start(), formula.end())
    converted = _CONVERTED.search(text) if ":" in text or "%" in text or "(" in text else None
    if converted is not None:
        yield Signal("command-converter", Severity.CRITICAL, 0.84, converted.start(), converted.end())
