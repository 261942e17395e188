"""The data that threat detection is fitted and measured on, as requests with what they are known to be.

The folder is `../shared/data/threats` beside the project, or what `--data` names; it is no part of the project.
"""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from seawall.core.request import Request

__all__ = ["BENIGN", "DATA", "Sample", "apache_log", "grananqvist", "httpparams", "naughty", "samples"]

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "threats"

BENIGN = "benign"

_HTTPPARAMS = {
    "norm": BENIGN,
    "sqli": "sql-injection",
    "xss": "xss",
    "cmdi": "command-injection",
    "path-traversal": "path-traversal",
}
_GRANANQVIST = {"LEGAL": BENIGN, "SQL": "sql-injection", "XSS": "xss", "SHELL": "command-injection"}
_LOG_LINE = re.compile(r'^\S+ \S+ \S+ \[[^\]]*\] "(\S+) (.*?)(?: HTTP/[\d.]+)?" \d+ \S+ "(.*?)" "(.*)"$')
_HEADERS = (
    (b"host", b"shop.example.com"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    (b"accept-language", b"en-US,en;q=0.5"),
    (b"connection", b"keep-alive"),
)


class Sample(NamedTuple):
    """One request of a set.

    Attributes:
        truth: a class of attack, or `benign`, as the set has it.
        text: what to show of it.
    """

    group: str
    truth: str
    text: str
    request: Request
    body: bytes = b""


def samples(folder: Path) -> Iterator[Sample]:
    """Yield all sets, one after the other."""
    yield from httpparams(folder)
    yield from grananqvist(folder)
    yield from apache_log(folder)
    yield from naughty(folder)


def httpparams(folder: Path) -> Iterator[Sample]:
    """Yield the values of HttpParamsDataset, each as a query parameter."""
    with (folder / "httpparams.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield _as_query("httpparams", _HTTPPARAMS[row["attack_type"]], row["payload"])


def grananqvist(folder: Path) -> Iterator[Sample]:
    """Yield the strings of grananqvist's set, each as a query parameter; some come percent-encoded and stay so."""
    csv.field_size_limit(1 << 24)
    with (folder / "grananqvist.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            truth = _GRANANQVIST.get(row["injection_type"].strip().upper())
            if truth is not None:
                yield _as_query("grananqvist", truth, row["payload"])


def apache_log(folder: Path) -> Iterator[Sample]:
    """Yield the requests of a public web site's log with their referer and user agent, as benign."""
    with (folder / "apache_access.log").open(encoding="utf-8", errors="replace") as file:
        for line in file:
            match = _LOG_LINE.match(line.rstrip("\n"))
            if match is None:
                continue
            method, target, referer, agent = match.groups()
            headers = [(b"host", b"www.example.org"), (b"accept", b"*/*")]
            headers += [
                (name, value.encode())
                for name, value in ((b"referer", referer), (b"user-agent", agent))
                if value != "-"
            ]
            yield Sample("apache", BENIGN, f"{target} {referer} {agent}", Request(method, target.encode(), headers))


def naughty(folder: Path) -> Iterator[Sample]:
    """Yield naughty strings as JSON fields; attacks are among them, so they say nothing of right or wrong."""
    headers = (*_HEADERS, (b"content-type", b"application/json"))
    for text in json.loads((folder / "blns.json").read_text(encoding="utf-8")):
        yield Sample(
            "naughty", "mixed", text, Request("POST", b"/comments", headers), json.dumps({"text": text}).encode()
        )


def _as_query(group: str, truth: str, value: str) -> Sample:
    return Sample(group, truth, value, Request("GET", b"/search?q=" + quote(value, safe="").encode(), _HEADERS))
