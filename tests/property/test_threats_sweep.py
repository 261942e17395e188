"""The one look over a whole body leaves out nothing that a look at each of its values finds."""

import base64
import json
import string
from pathlib import Path
from urllib.parse import quote, quote_plus

from hypothesis import example, given
from hypothesis import strategies as st

from seawall.adapters.patterns import compile_patterns
from seawall.core.request import Request
from seawall.systems.threats.engine import ThreatEngine
from seawall.systems.threats.inspection.policy import Policy
from seawall.systems.threats.inspection.sweep import worth_reading

ROWS = [
    row.replace("\u23ce", "\n")
    for path in sorted((Path(__file__).parents[1] / "unit" / "threats" / "techniques").glob("*.txt"))
    for row in path.read_text(encoding="utf-8").split("\n")
    if row and not row.startswith("## ") and len(row) < 120
]


class _Blind:
    """A matcher that tells of no body as a whole."""

    def __init__(self, matcher):
        self.backend, self.match, self.candidates = matcher.backend, matcher.match, matcher.candidates

    def ends(self, raw):
        return None


SWEEPING = ThreatEngine(Policy(), compile_patterns)
READING = ThreatEngine(Policy(), lambda groups: _Blind(compile_patterns(groups)))

PLAIN = st.sampled_from(
    ["blue", "a longer text, of words", "O'Neil & sons", "caf\u00e9", "100 %", "+1 415", "2026-01-02"]
)
ATTACKS = st.integers(0, len(ROWS) - 1).map(lambda number: ROWS[number])
CODED = ATTACKS.map(lambda text: f" {base64.b64encode(text.encode()).decode()} ")
NESTED = st.lists(ATTACKS | CODED.map(str.strip), min_size=1, max_size=2).map(json.dumps)
VALUES = PLAIN | ATTACKS | CODED | NESTED | st.text(string.printable, max_size=20) | st.text(max_size=12)
JSON = st.recursive(
    VALUES | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PLAIN | ATTACKS, inner, max_size=4),
    max_leaves=10,
)
PAIRS = st.lists(st.tuples(VALUES, VALUES), min_size=4, max_size=12)


def check(media, body):
    request = Request("POST", b"/orders", [(b"content-type", media)])
    raw = body.encode("utf-8", "replace")
    assert SWEEPING.inspect(request, raw) == READING.inspect(request, raw)


def test_the_sweeping_engine_has_something_to_sweep_with():
    assert SWEEPING.backend == "hyperscan"


@given(JSON, st.booleans(), st.booleans())
@example({"a": "\u02b9 or 1=1 --", "b": "x" * 20}, False, False)  # an apostrophe only once it is folded
@example({"a": 'he said "x" \\', "b": "' or 1=1 -- "}, False, False)
@example({"a": "PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==", "b": "blue"}, False, False)
@example({"a": " PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg== ", "b": "x"}, False, False)
@example({"a": "\uff02, \uff02 or 1=1"}, False, False)  # what folds to a quotation mark
def test_a_json_body_is_judged_as_by_reading_each_string(document, escaped, indented):
    check(b"application/json", json.dumps(document, ensure_ascii=escaped, indent=1 if indented else None))


@given(st.lists(VALUES | st.sampled_from(['"', "\\", ",", ":", "{", "}", "\n"]), max_size=30).map("".join))
@example('{"a": 1, \\"b": "\' or 1=1 -- ", "c": "x"}')
def test_what_is_no_json_is_judged_alike(text):
    check(b"application/json", text)


@given(PAIRS, st.sampled_from([quote, quote_plus, lambda text: text]))
@example([("a", "1"), ("b", "x\n"), ("c", "' or 1=1 -- "), ("d", "")], quote)
@example([("a", "%c0%ae%c0%ae/etc/passwd"), ("b", "1"), ("c", "2"), ("d", "3")], lambda text: text)
@example([("a", "1"), ("b", "PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg=="), ("c", "2"), ("d", "3")], quote_plus)
@example([("a", "1"), ("b", '["PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg=="]'), ("c", "2"), ("d", "3")], quote_plus)
@example([("a", "1"), ("b", '["10.1.2.3/admin"]'), ("c", "2"), ("d", "3")], quote)
@example([("a", "a&b"), ("b", "c=d"), ("c", "\u02b9 or 1=1 --"), ("d", "3")], quote_plus)
def test_a_form_is_judged_as_by_reading_each_pair(pairs, encode):
    body = "&".join(f"{encode(name)}={encode(value)}" for name, value in pairs)
    check(b"application/x-www-form-urlencoded", body)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=12), min_size=1))
def test_what_is_worth_reading_is_told_by_line(lines):
    text = "\n".join(lines)
    raw = text.encode()
    at = [index + 1 for index, byte in enumerate(raw) if byte == ord("q")]
    found = worth_reading(text, lambda _: at)
    if found is not None:
        assert {number for number, line in enumerate(lines) if "q" in line or "%" in line} <= found
    assert worth_reading(text, lambda _: None) is None
