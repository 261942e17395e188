"""Attacks on pages, shells and paths, written otherwise: what is tried when the plain form is refused."""

import random
import re
from collections.abc import Callable
from urllib.parse import quote

__all__ = ["commands_mutated", "markup_mutated", "paths_mutated"]

Way = Callable[[str, random.Random], str]
_TAG = re.compile(r"<(/?)([a-z]+)")
_SCHEME = re.compile(r"javascript:", re.IGNORECASE)
_WORD = re.compile(r"[a-z]{2,}")


def _case(text: str, draw: random.Random) -> str:
    return "".join(letter.upper() if draw.random() < 0.5 else letter for letter in text)


def _tag_case(text: str, draw: random.Random) -> str:
    return _TAG.sub(lambda match: f"<{match[1]}{_case(match[2], draw)}", text)


def _slashes(text: str, draw: random.Random) -> str:
    return re.sub(
        r"(<[a-z]+) (?=[a-z])", lambda match: match[1] + draw.choice(("/", "\t", "\n", "//", " /", "\x0c")), text
    )


def _equals(text: str, draw: random.Random) -> str:
    return re.sub(r"\b(on[a-z]+)=", lambda match: match[1] + draw.choice((" =", "= ", "\n=\n", "\t=")), text)


def _entities(text: str, draw: random.Random) -> str:
    form = draw.choice(("&#{};", "&#x{:x};", "&#0000{};"))
    return _SCHEME.sub(lambda match: "".join(form.format(ord(letter)) for letter in match[0]), text)


def _blanks(text: str, draw: random.Random) -> str:
    blank = draw.choice(("\t", "\n", "\r", "&Tab;", "&NewLine;", "&#9;"))
    return _SCHEME.sub(lambda match: match[0][:4] + blank + match[0][4:], text)


def _percent(text: str, draw: random.Random) -> str:
    return quote(text, safe="")


def _twice(text: str, draw: random.Random) -> str:
    return quote(quote(text, safe=""), safe="")


def _escapes(text: str, draw: random.Random) -> str:
    form = draw.choice(("\\x{:02x}", "\\u{:04x}"))
    return re.sub(r"[<>\"']", lambda match: form.format(ord(match[0])), text)


def _prefixed(text: str, draw: random.Random) -> str:
    return draw.choice(("", "x", '">', "'>", "1", "</title>", "</textarea>", "-->")) + text


def _fullwidth(text: str, draw: random.Random) -> str:
    return "".join(chr(ord(letter) + 0xFEE0) if letter in "<>()" else letter for letter in text)


def _in_quotes(text: str, draw: random.Random) -> str:
    mark = draw.choice("'\"")

    def split(match: re.Match[str]) -> str:
        return f"{match[0][0]}{mark}{match[0][1]}{mark}{match[0][2:]}"

    return re.sub(r"(?<![a-z/.])(?:cat|whoami|wget|curl|uname|nslookup|netstat)\b", split, text)


def _no_blank(text: str, draw: random.Random) -> str:
    blank = draw.choice(("${IFS}", "$IFS$9", "$IFS", "\t", "  "))
    return re.sub(r"(?<=[a-z]) (?=[/-])", lambda _: blank, text)


def _chained(text: str, draw: random.Random) -> str:
    return (
        draw.choice((";", "|", "||", "&&", "& ", "; ", " | ", "1;", "a||", "x' ; ", '" && ', "\n", "127.0.0.1; "))
        + text
    )


def _inside(text: str, draw: random.Random) -> str:
    return draw.choice(("$({})", "`{}`", "x$({})", '"`{}`"', ";$({});")).format(text)


def _nothing(text: str, draw: random.Random) -> str:
    return re.sub(
        r"\b(wh|cu|ca|un|ws)(?=[a-z])", lambda match: match[1] + draw.choice(("$@", "''", '""', "$*")), text, count=1
    )


def _backslashes(text: str, draw: random.Random) -> str:
    return text.replace("/", "\\")


def _doubled(text: str, draw: random.Random) -> str:
    return text.replace("../", draw.choice(("....//", "..//", "..././", "..;/", ".././")))


def _dots(text: str, draw: random.Random) -> str:
    return text.replace("..", draw.choice(("%2e%2e", "%252e%252e", ".%2e", "%c0%ae%c0%ae", "%u002e%u002e")))


def _slash_codes(text: str, draw: random.Random) -> str:
    return text.replace("/", draw.choice(("%2f", "%252f", "%5c", "%c0%af", "%255c", "%u2215")))


def _suffix(text: str, draw: random.Random) -> str:
    return text + draw.choice(("%00", "%00.jpg", "\x00", "", "?", "#"))


def _same(text: str, draw: random.Random) -> str:
    return text


_MARKUP: tuple[Way, ...] = (
    _tag_case,
    _slashes,
    _equals,
    _entities,
    _blanks,
    _percent,
    _twice,
    _escapes,
    _prefixed,
    _fullwidth,
    _same,
)
_COMMANDS: tuple[Way, ...] = (_in_quotes, _no_blank, _chained, _inside, _nothing, _percent, _same)
_PATHS: tuple[Way, ...] = (_backslashes, _doubled, _dots, _slash_codes, _suffix, _percent, _same)


def _mutated(text: str, ways: tuple[Way, ...], seed: int, count: int) -> str:
    draw = random.Random(seed)
    for way in sorted(draw.sample(ways, count), key=ways.index):
        text = way(text, draw)
    return text


def markup_mutated(text: str, seed: int) -> str:
    """Write an attack on a page in two other ways at once; the same for the same seed."""
    return _mutated(text, _MARKUP, seed, 2)


def commands_mutated(text: str, seed: int) -> str:
    """Write a command line in two other ways at once; the same for the same seed."""
    return _mutated(text, _COMMANDS, seed, 2)


def paths_mutated(text: str, seed: int) -> str:
    """Write a path in two other ways at once; the same for the same seed."""
    return _mutated(text, _PATHS, seed, 2)
