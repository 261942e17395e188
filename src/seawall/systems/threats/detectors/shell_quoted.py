"""The command that a call in a programming language is given in quotes."""

import re

from seawall.systems.threats.detectors.shell_lexer import commands
from seawall.systems.threats.detectors.shell_vocabulary import KINDS
from seawall.systems.threats.detectors.shell_words import quality

__all__ = ["KNOWN", "ORDINARY", "TELLING", "UNQUOTED", "quoted_command"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


UNQUOTED, ORDINARY, KNOWN, TELLING = 0, 1, 2, 3
"""How telling the argument of a call is: no text, some text, a command's name, and what an attacker would run."""

_QUOTED = re.compile(
    r"\s*(?P<list>\[|\{[^\"'`\n]{0,16}\[?|array\s*\()?\s*[furb]{0,2}[\"'`](?P<text>[^\n]{1,200})",
    re.IGNORECASE,
)
_PROBES = _words(
    """
id whoami uname ls dir pwd ps env hostname ifconfig ipconfig netstat systeminfo cat type nc ncat curl wget ping
nslookup sleep calc bash sh cmd powershell touch ver set
"""
)
_LISTED = _PROBES - _words("ls pwd ps env curl wget ping type dir touch set sleep hostname")
_ENDS = re.compile(r"[\"'`]\s*[),\]};]|[\"'`]\s*$")
_CALC = re.compile(r"(?:calc|notepad|mspaint|xcalc|gnome-calculator)(?:\.exe)?\b", re.IGNORECASE)


def quoted_command(text: str, start: int) -> int:
    """Rate what is quoted at an index. Constant time."""
    match = _QUOTED.match(text, start, start + 240)
    if match is None:
        return UNQUOTED
    inner = match["text"]
    end = _ENDS.search(inner)
    inner = inner[: end.start()] if end else inner
    if _CALC.match(inner):
        return TELLING
    first = next(commands(inner), None)
    if first is None or first.by or first.word not in KINDS:
        return ORDINARY
    known = _LISTED if match["list"] else _PROBES
    if first.path or first.word in known or quality(first.word, first.arguments) >= TELLING:
        return TELLING
    return KNOWN
