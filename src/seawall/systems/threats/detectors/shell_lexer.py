"""A reader of shell text: what hides a command is taken away, then each command position gives a word and arguments.

It covers what POSIX shells, Bash and the Windows command interpreter have in common with attacks on them: separators,
substitutions, quotes within words, blanks written as variables, brace lists, slices of variables, wildcards, carets.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Command", "commands", "reveal"]

MAX_COMMANDS = 64
_BLANK = re.compile(
    r"\$\{?IFS(?:%\?\?|%\?|:\d+:\d+)?\}?(?:\$(?:\d|[@*]|\(\)))?|%(?:ProgramFiles|CommonProgramFiles):~10,(?:1|-5)%|\$\{?BLANK\}?|\xa0|%0[9bc]",
    re.IGNORECASE | re.ASCII,
)
_SLASH = re.compile(
    r"\$\{(?:PATH|HOME|PWD|SHELL|OLDPWD)(?::0:1|%%\w{1,12}\*?|:~0,1)\}|\$\((?:echo\s+\.\s*\|\s*tr\s[^)]{0,30}|tr\s[^)]{0,30}<<<\s*\.\s*)\)|%HOMEPATH:~0,-?\d{1,2}%",
    re.IGNORECASE | re.ASCII,
)
_SLICE = re.compile(
    r"\$\{#?[A-Z_@*!][A-Z0-9_]*(?::~?-?\d*(?::-?\d*)?|[#%/^,@]{1,2}[^}]{0,20})\}|%[A-Z_]+:~-?\d+(?:,-?\d+)?%",
    re.IGNORECASE | re.ASCII,
)
_NOTHING = re.compile(
    r"\\\n|(?<=[a-z/.\-])(?:\$[@*!#?\d]|\$\(\)|``|\$\{[@*!\w]{1,12}\}|''|\"\"|\$[a-z](?=[^a-z0-9_]|$))(?=[a-z/.\s\-]|$|[^\x00-\x7f])"
    r"|(?<=[;|&\s(])(?:''|\"\"|\$@|\$\*)(?=[a-z])",
    re.IGNORECASE | re.ASCII,
)
_QUOTED = re.compile(
    r"(?<=[a-z/])(?:'([a-z./-]{1,8})'|\"([a-z./-]{1,8})\")|(?<![a-z0-9='\":,\[{(])(?:'([a-z]{1,6})'|\"([a-z]{1,6})\")(?=[a-z'\"/])",
    re.IGNORECASE | re.ASCII,
)
_ESCAPED = re.compile(r"(?<=[\s;|&`(/a-z\\^])[\\^](?=[a-z/])|^[\\^](?=[a-z])", re.IGNORECASE | re.ASCII)
_HAS_ESCAPE = re.compile(
    r"[a-z](?:[\\^][a-z]{1,3}){2}|[;|&`(][\\^][a-z][\\^]?[a-z]|(?:^|[\s;|&(`])[a-z]{1,3}[\\^][a-z]{1,8}(?=\s+[/\\.~-]|\s*$)|/e\\tc|pass\\wd|pas\\s",
    re.IGNORECASE | re.ASCII,
)
_WRITTEN_BREAK = re.compile(r"^(?:\\[nr](?=\\|/|[a-z]))+")
_WRITTEN_END = re.compile(r"(?<=[a-z])(?:\\[nr])+$", re.IGNORECASE)
_BRACES = re.compile(r"\{([a-z./]{2,16}(?:,[^{},\s]{1,64}){1,8})\}", re.IGNORECASE | re.ASCII)
_ASSIGNED = re.compile(
    r"(?:^|[;&|(\s'\"`])([A-Za-z_]\w{0,15})=\$?(?:'([^'\n]{1,64})'|\"([^\"\n]{1,64})\"|([^\s;&|'\"`()$<>]{1,64}))(?=[;&\s|]|$)",
    re.ASCII,
)
_USED = re.compile(r"\$(?:\{(\w{1,16})\}|([A-Za-z_]\w{0,15}))", re.ASCII)
MAX_VARIABLES = 16
_ANSI = re.compile(r"\$'((?:[^'\\]|\\.){1,64})'")

_POSITION = re.compile(
    r"(?P<by>\$\(|`|\|\|?|&&?|;|[\n\r]|[<>]\(|\$\{IFS\}|[({!](?=\s*[a-z/.]{2})|^(?![\s\"'@(!{+,\\]{0,24}[\n\r])|\b(?:then|do|else|sudo|exec|nohup|xargs|-exec|time)\s|\$\{[@!*]?(?=[a-z]{2,16}[\s}]))"
    r"[\s\"'@(!{+,\\]{0,24}+(?:(?:then|do|else|if|while|until|begin)\s+)?(?:\w{1,32}=[^\s&;|]{0,64}\s+){0,3}"
    r"(?P<path>(?:[a-z]:)?(?:[\w.?*~\[\]-]*[/\\]){0,8})(?P<word>[a-z?*\[][a-z0-9?*\[\]._-]{0,30})"
    r"(?!\w)",
    re.IGNORECASE | re.ASCII,
)
_STOP = re.compile(r"[;|`\n\r]|(?<![<>])&|\)(?=\s*[\"']?\s*$)")
MAX_ARGUMENTS = 240
"""Characters after a command word that are read as its arguments."""


class Command(NamedTuple):
    """A word in a command position.

    Attributes:
        by: what made the position: "" the start of the text, otherwise the separator or the opening of a substitution.
        path: the folder before the word, with its last slash.
        word: in lower case, without ".exe".
        arguments: up to the next separator.
        start: index of the separator.
        end: index after the arguments.
    """

    by: str
    path: str
    word: str
    arguments: str
    start: int
    end: int


def reveal(text: str) -> tuple[str, int]:
    """Undo what hides commands from readers: the plain text, and how many tricks were undone. Linear in the text."""
    tricks = 0
    if "\\" in text:
        text = _WRITTEN_BREAK.sub("\n", text)
        text = _WRITTEN_END.sub("\n", text)
    if "$" in text and "=" in text:
        text, count = _resolved(text)
        tricks += count
    if "$" in text or "%" in text or "\xa0" in text:
        text, count = _SLASH.subn("/", text)
        tricks += count
        text, count = _BLANK.subn(" ", text)
        tricks += count
        text, count = _SLICE.subn("?", text)
        tricks += count
        text, count = _ANSI.subn(r"\1", text)
        tricks += count
    if "{" in text:
        text, count = _BRACES.subn(lambda match: " ".join(match[1].split(",")) + " ", text)
        tricks += count
    if "$" in text or "`" in text or "''" in text or '""' in text or "\\\n" in text:
        text, count = _NOTHING.subn("", text)
        tricks += count
    if "'" in text or '"' in text:
        text, count = _QUOTED.subn(lambda match: match[1] or match[2] or match[3] or match[4], text)
        tricks += count
    if ("\\" in text or "^" in text) and _HAS_ESCAPE.search(text):
        text, count = _ESCAPED.subn("", text)
        tricks += count
    return text, tricks


def _resolved(text: str) -> tuple[str, int]:
    """Put in the values of variables that the text itself sets; how many uses there were."""
    values: dict[str, str] = {}
    for match in _ASSIGNED.finditer(text):
        values[match[1]] = match[2] or match[3] or match[4]
        if len(values) >= MAX_VARIABLES:
            break
    if not values:
        return text, 0
    uses = 0

    def value(match: re.Match[str]) -> str:
        nonlocal uses
        known = values.get(match[1] or match[2])
        uses += known is not None
        return match[0] if known is None else known

    return _USED.sub(value, text, count=MAX_COMMANDS), uses


def commands(text: str) -> Iterator[Command]:
    """Read the words in command positions. Linear in the text; at most 64, each with 240 characters of arguments."""
    for count, match in enumerate(_POSITION.finditer(text)):
        if count >= MAX_COMMANDS:
            return
        word = match["word"].lower().rstrip(".")
        if word.endswith((".exe", ".com", ".bat")):
            word = word[:-4]
        begin = match.end("word")
        stop = _STOP.search(text, begin, begin + MAX_ARGUMENTS)
        end = stop.start() if stop else min(len(text), begin + MAX_ARGUMENTS)
        yield Command(match["by"].strip(" \t"), match["path"], word, text[begin:end], match.start(), end)
