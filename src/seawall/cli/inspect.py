"""`seawall inspect`: requests as JSON lines in, one verdict a line out."""

import os
import sys
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from seawall.core.errors import InvalidError
from seawall.core.request import Request

if TYPE_CHECKING:
    from seawall.systems.threats.model import Verdict

__all__ = ["Asked", "answers", "register", "request_of"]

_CHUNK = 1_048_576
_MAX_LINE = 64 * 1_048_576
_SCHEMES = ("http://", "https://")
_EXIT_CUT = 141  # as the shell shows a program that a closed pipe ended

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="Configuration file; otherwise $SEAWALL_CONFIG, then ./seawall.toml."
    ),
]


class _Encoded(msgspec.Struct, forbid_unknown_fields=True):
    base64: str


class Asked(msgspec.Struct):
    """A request as a line gives it; unknown keys are passed over, so that a line may carry labels of its own.

    Attributes:
        url: in origin form or with scheme and host; percent-encoded or as text.
        headers: by name, a value or several.
        body: text, or `{"base64": ...}`.
    """

    url: str = "/"
    method: str = "GET"
    headers: dict[str, str | list[str]] | None = None
    body: str | _Encoded | None = None


class _UnusableError(Exception):
    """A line that is no request; the text says why."""


def register(app: typer.Typer) -> None:
    """Add the verb `inspect` to the command line."""
    app.command("inspect", help="Judge requests: JSON lines on standard input, a verdict a line on standard output.")(
        _inspect
    )


def answers(lines: Iterable[bytes], inspect: "Callable[[Request, bytes], Verdict]") -> Iterator[bytes]:
    """Yield one line of JSON for each line: a verdict, or an object with `error`; empty lines are passed over.

    A verdict without findings is the same bytes each time, as most are.
    """
    clean = b""
    for line in lines:
        if not line or line.isspace():
            continue
        try:
            request, body = _request(line)
        except _UnusableError as error:
            yield msgspec.json.encode({"error": str(error)})
            continue
        verdict = inspect(request, body)
        if verdict.findings or verdict.partial or verdict.score:
            yield msgspec.json.encode(_shown(verdict))
        else:
            clean = clean or msgspec.json.encode(_shown(verdict))
            yield clean


def request_of(line: bytes) -> tuple[Request, bytes]:
    """Return the request that a line of JSON gives, and its body.

    Raises:
        InvalidError: it is none.
    """
    try:
        return _request(line)
    except _UnusableError as error:
        raise InvalidError(f"this is no request: {error}", hint='give {"method": "GET", "url": "/?q=1"}') from None


def _inspect(config: Config = None) -> None:
    from seawall.adapters.patterns import cache_folder, compile_patterns  # noqa: PLC0415 - keeps `seawall --help` fast
    from seawall.config.loader import load  # noqa: PLC0415 - the same
    from seawall.control.tree import Settings  # noqa: PLC0415 - the same
    from seawall.systems.threats.engine import ThreatEngine  # noqa: PLC0415 - the same
    from seawall.systems.threats.plan import policy_of  # noqa: PLC0415 - the same

    settings = load(Settings, file=config, environ=os.environ, overrides={}).settings
    cache = cache_folder()
    engine = ThreatEngine(policy_of(settings.threats), lambda groups: compile_patterns(groups, cache=cache))
    unusable = 0
    try:
        for lines in _arriving(0):
            answered = [*answers(lines, engine.inspect), b""]
            unusable += sum(line.startswith(b'{"error"') for line in answered)
            _write(1, b"\n".join(answered))
    except BrokenPipeError:
        # Whoever read the verdicts has read enough.
        raise typer.Exit(_EXIT_CUT) from None
    if unusable:
        noun = "line is no request; its answer says" if unusable == 1 else "lines are no requests; their answers say"
        sys.stderr.write(f"seawall inspect: {unusable} {noun} why\n")
        raise typer.Exit(1)


def _arriving(source: int) -> Iterator[list[bytes]]:
    """Yield whole lines as they arrive, as many at once as there are.

    So a file is answered in large batches, and someone who writes one line and waits gets its answer.
    """
    rest: list[bytes] = []
    held = 0
    while chunk := os.read(source, _CHUNK):
        head, newline, tail = chunk.rpartition(b"\n")
        if newline:
            yield b"".join((*rest, head)).split(b"\n")
            rest, held = [], 0
        held += len(tail)
        if held > _MAX_LINE:
            raise InvalidError(
                f"a line of standard input is longer than {_MAX_LINE} bytes", hint="give one JSON object a line"
            )
        rest.append(tail)
    if held:
        yield [b"".join(rest)]


def _write(target: int, answer: bytes) -> None:
    view = memoryview(answer)
    while view:
        view = view[os.write(target, view) :]


def _request(line: bytes) -> "tuple[Request, bytes]":
    try:
        asked = _decode(line)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _UnusableError(str(error)) from None
    url, host = asked.url, b""
    if url[:8].lower().startswith(_SCHEMES):
        authority, slash, rest = url.partition("//")[2].partition("/")
        if not slash:
            authority, question, rest = authority.partition("?")
            rest = question + rest
        url, host = f"/{rest}", authority.lower().encode()
    headers: list[tuple[bytes, bytes]] = []
    for name, values in (asked.headers or {}).items():
        key = name.lower().encode()
        headers.extend((key, value.encode().strip()) for value in ([values] if isinstance(values, str) else values))
        if key == b"host" and not host:
            host = headers[-1][1].lower()
    body = b""
    if isinstance(asked.body, str):
        body = asked.body.encode()
    elif asked.body is not None:
        try:
            body = b64decode(asked.body.base64, validate=True)
        except ValueError as error:
            raise _UnusableError(f"body.base64: {error}") from None
    return Request(asked.method.upper(), url.encode(), headers, host=host), body


def _shown(verdict: "Verdict") -> dict[str, object]:
    shown: dict[str, object] = {
        "action": verdict.action,
        "severity": verdict.level,
        "score": verdict.score,
        "findings": [
            {
                "rule": finding.rule,
                "class": finding.category,
                "owasp": finding.owasp,
                "severity": finding.severity.name.lower(),
                "confidence": round(finding.confidence, 3),
                "place": {"kind": finding.place.kind, "name": _text(finding.place.name)},
                "span": _text(finding.span),
                "chain": finding.chain,
            }
            for finding in verdict.findings
        ],
    }
    if verdict.partial:
        shown["partial"] = verdict.partial
    return shown


def _text(text: str) -> str:
    """Return what can be encoded: escapes may stand for halves of a character."""
    return text.encode("utf-8", "replace").decode()


_decode = msgspec.json.Decoder(Asked).decode
