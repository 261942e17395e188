"""Where each key of a TOML document stands: `tomllib` gives values without lines, this gives lines without values."""

import bisect
import re
import tomllib

from seawall.config.section import Path

__all__ = ["find_lines"]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]}#\n]+")
_BASIC = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_LITERAL = re.compile(r"'[^'\n]*'")


def find_lines(text: str) -> dict[Path, int]:
    """Return the line, counted from 1, of every table, key and list element.

    The document must be one that `tomllib` has accepted, nested a few dozen levels at most.
    """
    return _Finder(text.replace("\r\n", "\n")).document()


class _Finder:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line_ends = [match.start() for match in re.finditer("\n", text)]
        self._lines: dict[Path, int] = {}
        self._newest: dict[Path, int] = {}
        """Index of the newest element of each array of tables."""

    def document(self) -> dict[Path, int]:
        table: Path = ()
        while True:
            self._skip(_BLANK)
            if self._at >= len(self._text):
                return self._lines
            if self._text.startswith("[[", self._at):
                table = self._table(2)
            elif self._text[self._at] == "[":
                table = self._table(1)
            else:
                self._pair(table)

    def _table(self, brackets: int) -> Path:
        line = self._line()
        self._at += brackets
        *parents, last = self._keys()
        self._at += brackets
        path: Path = ()
        for key in parents:
            path = self._inside((*path, key))
            self._lines.setdefault(path, line)
        path = (*path, last)
        if brackets == 1:
            self._lines[path] = line
            return path
        self._lines.setdefault(path, line)
        self._newest[path] = self._newest.get(path, -1) + 1
        path = self._inside(path)
        self._lines[path] = line
        return path

    def _inside(self, path: Path) -> Path:
        return (*path, self._newest[path]) if path in self._newest else path

    def _pair(self, table: Path) -> None:
        line = self._line()
        path = table
        for key in self._keys():
            path = (*path, key)
            self._lines.setdefault(path, line)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _keys(self) -> list[str]:
        """Read a dotted key up to what ends it: an equals sign or a bracket."""
        keys = []
        while True:
            self._skip(_SPACE)
            if self._text[self._at] in "\"'":
                quoted = self._take(_BASIC if self._text[self._at] == '"' else _LITERAL)
                keys.append(tomllib.loads(f"key = {quoted}")["key"])
            else:
                keys.append(self._take(_BARE_KEY))
            self._skip(_SPACE)
            if self._text[self._at] != ".":
                return keys
            self._at += 1

    def _value(self, path: Path) -> None:
        start = self._text[self._at]
        if self._text.startswith(('"""', "'''"), self._at):
            self._long_string(self._text[self._at : self._at + 3])
        elif start == '"':
            self._skip(_BASIC)
        elif start == "'":
            self._skip(_LITERAL)
        elif start == "[":
            self._list(path)
        elif start == "{":
            self._inline_table(path)
        else:
            self._skip(_SCALAR)

    def _long_string(self, quotes: str) -> None:
        at = self._at + 3
        while not self._text.startswith(quotes, at):
            at += 2 if quotes == '"""' and self._text[at] == "\\" else 1
        at += 3
        # Up to two quotes may stand right before the closing three.
        while at < len(self._text) and self._text[at] == quotes[0]:
            at += 1
        self._at = at

    def _list(self, path: Path) -> None:
        self._at += 1
        for index in range(len(self._text)):
            self._skip(_BLANK)
            if self._text[self._at] == "]":
                break
            self._lines[*path, index] = self._line()
            self._value((*path, index))
            self._skip(_BLANK)
            if self._text[self._at] == ",":
                self._at += 1
        self._at += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while True:
            self._skip(_BLANK)
            if self._text[self._at] == "}":
                break
            self._pair(path)
            self._skip(_BLANK)
            if self._text[self._at] == ",":
                self._at += 1
        self._at += 1

    def _line(self) -> int:
        return bisect.bisect_left(self._line_ends, self._at) + 1

    def _skip(self, pattern: re.Pattern[str]) -> None:
        if match := pattern.match(self._text, self._at):
            self._at = match.end()

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise AssertionError(f"not TOML at offset {self._at}")
        self._at = match.end()
        return match[0]
