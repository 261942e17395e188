"""A command that is all of a short value, or all that follows a separator in one."""

import re

from seawall.systems.threats.detectors.prose import plain_words
from seawall.systems.threats.detectors.shell_lexer import Command
from seawall.systems.threats.detectors.shell_vocabulary import INTERPRETERS, KINDS, PLAIN_LANGUAGE
from seawall.systems.threats.model import PlaceKind

__all__ = ["as_line", "behind_little", "inside_little"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FIELDS = frozenset(
    (
        PlaceKind.PATH,
        PlaceKind.QUERY,
        PlaceKind.COOKIE,
        PlaceKind.HEADER,
        PlaceKind.FORM,
        PlaceKind.FILENAME,
        PlaceKind.JSON,
    )
)
"""Places whose values are short, and no documents or scripts."""
_ADDRESSED = frozenset((PlaceKind.QUERY, PlaceKind.COOKIE, PlaceKind.HEADER))
SHORT = 160
"""Characters of a value that nobody keeps a script in."""
_LITTLE = re.compile(
    r"[\s\"'(\[{]{0,4}(?:[\w.-]{0,3}|(?:foo|bar|baz|test|abc|value|admin|user|name|file|data|host|true|null|none|ping|query)\d{0,4}"
    r"|\d[\d.:/-]{0,44}|[\w/\\:@%+~-]{0,60}(?:\.[\w/\\:@%+~-]{1,60}){1,8}|localhost)[\s\"')\]};,]{0,6}",
    re.IGNORECASE,
)
"""What an attack goes on from: nothing, a number, an address, a file, a word that testers write."""
_SETS = _words(
    """
alias declare env export history mount set typeset jobs users groups top free date w who last help ver vol dir tree
time title cls path locale seq at jobs hash cal sync halt init wait times dirs sar enable help logger tty arch lp tree
exit reboot
"""
)
_COLUMN = re.compile(r"[\s\"']{0,4}[A-Za-z_]{2,24}[\s\"']{0,4}")
"""The name of a column, as the first line of a table has it: `id;title`."""
_REST = re.compile(r"[\s\"'|&;#`)}\]]*(?:(?:#|--|//|\bor\b|\brem\b).{0,20})?$", re.IGNORECASE)
_TOKENS = re.compile(r"\s{1,4}(?:[\w@.:/\\*-]{1,40})(?:\s{1,4}[\w@.:/\\*=-]{1,40}){0,2}\s{0,4}[\"'`)#]{0,3}\s{0,4}")
_TALK = re.compile(
    r"(?<![-\w.])(?:is|the|to|for|and|or|of|in|it|on|was|a|are|as|at|not|you|your|i|we|he|has|have|will|can|with|from|by|this|that|if)\b",
    re.IGNORECASE,
)
_OPTION = re.compile(
    r"\s{1,4}(?:-{1,2}[a-z0-9]|/[a-z?]{1,8}(?:\s|:|$)|a?ux\b|/(?:etc|proc|var|tmp|root|home|usr|dev|opt)\b|[a-z]:\\|\.\./|~/|/\s*$|\*)",
    re.IGNORECASE,
)
_SOUGHT = frozenset(("cmdlet", "net", "shell", "echo", "phrase"))


_TAKING = _words(
    """
which whereis type finger locate mv cp mkdir php perl python python3 node npm pip git docker kubectl service ip yum
apk apt tmux screen openssl redis-cli net1 kill sc cat ls find grep head tail cd get-content
"""
)
"""What takes a word or two without an option."""
_RUNS = re.compile(r"\s{1,4}-{1,2}(?:[a-z]{0,3}[cer]\b\s|version\b)", re.IGNORECASE)
_WRITTEN = re.compile(r"[./:*<>@=\\$\d|]")
_WITH_OPTION = _words(
    """
export declare typeset kill killall pkill free top ulimit sysctl mail history ss ps df du ip w lp passwd service net
net1 sc reg
"""
)
"""Words of a language that with an option or an order are those of a shell."""
_ORDERING = _words("getent net net1 sc systemctl wmic netsh ip reg schtasks useradd userdel query sudo su passwd")


def behind_little(text: str, command: Command, place: PlaceKind, before: str, fit: int) -> float:
    """The confidence of a command that goes on from little or nothing in a short field; 0 for others."""
    if place not in _FIELDS or len(text) > SHORT or _LITTLE.fullmatch(before.rstrip(";|& \t\r\n")) is None:
        return 0.0
    if place == PlaceKind.JSON and command.by in {"\n", "\r"}:
        return 0.0  # texts of several lines
    kind = KINDS[command.word]
    if fit == 0 and _REST.match(text, command.end) is not None:
        if command.word in PLAIN_LANGUAGE and _COLUMN.fullmatch(before):
            return 0.0
        if not before.strip(" \t\r\n\"')") or command.word in _SETS or kind in {"sharp", "term"}:
            return 0.8
    elif fit == 1:
        return _with_words(command, kind)
    return 0.0


def inside_little(text: str, command: Command, fit: int) -> float:
    """The confidence of a command with a word or two in a substitution that is most of a short value; 0 for others."""
    if fit != 1 or len(text) > SHORT // 2:
        return 0.0
    return _with_words(command, KINDS[command.word])


def _with_words(command: Command, kind: str) -> float:
    if kind != "sharp" and command.word not in _TAKING:
        return 0.0
    return 0.82 if _TOKENS.fullmatch(command.arguments) and not _TALK.search(command.arguments) else 0.0


def as_line(  # noqa: PLR0911 - one return for each kind of word
    text: str, command: Command, place: PlaceKind, fit: int
) -> float:
    """The confidence of a command with plausible arguments that is all of a short value; 0 for others."""
    if place not in _ADDRESSED or fit < 2 or len(text) > SHORT or text[: command.start].strip():
        return 0.0
    word, arguments = command.word, command.arguments
    if text[command.end :].strip(" )\"'") or _TALK.search(arguments) or plain_words(arguments) > 1:
        return 0.0
    if word in INTERPRETERS:
        return 0.8 if _RUNS.match(arguments) else 0.0
    if word in _WITH_OPTION:
        return 0.8 if _OPTION.match(arguments) or word in _ORDERING else 0.0
    if KINDS[word] in _SOUGHT or (word in PLAIN_LANGUAGE and not _OPTION.match(arguments)):
        return 0.8 if word == "expr" else 0.0
    if arguments.lstrip()[:1].isalpha() and word not in _ORDERING and not _WRITTEN.search(arguments):
        return 0.0
    return 0.8
