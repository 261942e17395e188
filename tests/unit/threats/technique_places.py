"""Techniques of attack, each in every place of a request and in the encodings that testers' tools have.

The rows are in `techniques/<class>.txt`, one a line as it is sent, a line break within a row written as U+23CE; lines
that begin with `## ` are headings. They were written for this purpose from what each attack has to do. Misses among the
first were looked at when detectors were improved; those under the last heading of each file came after all of that,
from somebody who had seen neither, so what is found of them is what to expect of others.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote
from xml.sax.saxutils import escape

from seawall.core.request import Request

__all__ = ["CLASSES", "ENCODINGS", "PLACES", "Built", "rows"]

Built = tuple[Request, bytes]
"""(head, body)."""

_FOLDER: Final = Path(__file__).resolve().parent / "techniques"
CLASSES: Final = tuple(sorted(path.stem for path in _FOLDER.glob("*.txt")))
_CODED: Final = re.compile(r"%(?:[0-9a-f]{2}|u[0-9a-f]{4})", re.IGNORECASE)
_BROWSER: Final = (
    (b"host", b"shop.example.com"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    (b"accept", b"text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"),
    (b"accept-language", b"en-GB,en;q=0.5"),
)


def rows(category: str) -> Iterator[str]:
    """Yield the rows of a class of attack."""
    for line in (_FOLDER / f"{category}.txt").read_text(encoding="utf-8").split("\n"):
        if line and not line.startswith("## "):
            yield line.replace("\u23ce", "\n")


def _on_the_wire(text: str) -> str:
    """Percent-encode what a URL cannot hold; rows that are encoded by themselves stay as they are."""
    return quote(text, safe="%" if _CODED.search(text) else "")


def _get(target: str, *more: tuple[bytes, bytes]) -> Built:
    named = {name for name, _ in more}
    return Request("GET", target.encode(), [*(pair for pair in _BROWSER if pair[0] not in named), *more]), b""


def _post(media: str, body: str) -> Built:
    return Request("POST", b"/orders", [*_BROWSER, (b"content-type", media.encode())]), body.encode(
        "utf-8", "surrogatepass"
    )


def _raw(text: str) -> bytes:
    return text.replace("\n", " ").encode("utf-8", "surrogatepass")


def _multipart(name: str, content: str, file_name: str = "") -> Built:
    file = f'; filename="{file_name}"\r\nContent-Type: application/octet-stream' if file_name else ""
    part = f'--b0undary\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n{content}\r\n--b0undary--\r\n'
    return _post("multipart/form-data; boundary=b0undary", part)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "%0A")


def _graphql(text: str) -> Built:
    query = "query Find($name: String!) { find(name: $name) { id } }"
    return _post("application/json", json.dumps({"query": query, "variables": {"name": text}}))


PLACES: Final[dict[str, Callable[[str], Built]]] = {
    "query": lambda text: _get(f"/search?page=2&q={_on_the_wire(text)}"),
    "query-name": lambda text: _get(f"/search?{_on_the_wire(text)}=1"),
    "path": lambda text: _get(f"/files/{_on_the_wire(text)}/view"),
    "cookie": lambda text: _get("/", (b"cookie", f"theme=dark; tracking={_on_the_wire(text)}; lang=en".encode())),
    "user-agent": lambda text: _get("/", (b"user-agent", _raw(text))),
    "referer": lambda text: _get("/", (b"referer", f"https://shop.example.com/?q={_on_the_wire(text)}".encode())),
    "forwarded": lambda text: _get("/", (b"x-forwarded-for", _raw(text))),
    "form": lambda text: _post("application/x-www-form-urlencoded", f"id=7&note={_on_the_wire(text)}"),
    "json": lambda text: _post("application/json", json.dumps({"order": {"id": 7, "notes": ["ok", text]}})),
    "json-key": lambda text: _post("application/json", json.dumps({"filter": {text: 1}})),
    "multipart": lambda text: _multipart("note", text),
    "multipart-name": lambda text: _multipart(_quoted(text), "1"),
    "file-name": lambda text: _multipart("file", "x", _quoted(text)),
    "xml": lambda text: _post("application/xml", f"<order><id>7</id><note>{escape(text)}</note></order>"),
    "xml-attribute": lambda text: _post(
        "text/xml", f'<order note="{escape(text, {chr(34): "&quot;", chr(10): "&#10;"})}"/>'
    ),
    "graphql-variable": _graphql,
}
"""How each place is filled."""


def _each(text: str, form: str) -> str:
    return "".join(character if character.isalnum() else form.format(ord(character)) for character in text)


def _wide(text: str) -> str:
    return "".join(
        chr(ord(character) + 0xFEE0) if character in "<>'\"()=;/.|&$`{}" else character for character in text
    )


ENCODINGS: Final[dict[str, Callable[[str], str]]] = {
    "percent-twice": lambda text: quote(quote(text, safe=""), safe=""),
    "percent-thrice": lambda text: quote(quote(quote(text, safe=""), safe=""), safe=""),
    "percent-all": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "percent-u": lambda text: _each(text, "%u{:04x}"),
    "entities": lambda text: _each(text, "&#{};"),
    "entities-hex": lambda text: _each(text, "&#x{:x};"),
    "escapes": lambda text: _each(text, "\\u{:04x}"),
    "escapes-hex": lambda text: _each(text, "\\x{:02x}"),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64-url": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "wide": _wide,
    "upper": str.upper,
    "plus": lambda text: text.replace(" ", "+"),
    "tabs": lambda text: text.replace(" ", "\t"),
}
"""How a row may be written otherwise; each is tried in a query parameter."""
