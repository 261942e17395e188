"""A verdict is about what is in a request, and not about how it was written down; and there always is one."""

import json
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.adapters.patterns import compile_patterns
from seawall.core.request import Request
from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.engine import ThreatEngine
from seawall.systems.threats.inspection.policy import Caps, Policy
from seawall.systems.threats.model import Action, Severity, ThreatClass


def _detector(name, word, confidence, severity):
    def scan(text, kind):
        at = text.lower().find(word)
        return [Signal(f"{name}-word", severity, confidence, at, at + len(word))] if at >= 0 else []

    return Detector(name=name, category=ThreatClass(name), owasp="A03:2021", triggers=(word,), scan=scan)


DETECTORS = (
    _detector("xss", "<script", 0.9, Severity.HIGH),
    _detector("sql-injection", "' or", 0.6, Severity.CRITICAL),
    _detector("scanner", "sqlmap", 0.8, Severity.LOW),
)
ENGINE = ThreatEngine(
    Policy(caps=Caps(bytes=20_000, values=200, depth=8)),
    lambda groups: compile_patterns(groups, backend="re"),
    DETECTORS,
)

VALUES = st.one_of(
    st.sampled_from(
        ["<script>", "1' or 1", "sqlmap/1.5", "%3Cscript", "\\u003cscript", "plain", "two words", "42", ""]
    ),
    st.text(st.characters(codec="utf-8"), max_size=30),
)
NAMES = st.sampled_from(["x-a", "x-b", "referer", "user-agent", "cookie", "accept", "content-encoding"])
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=8)
TYPES = st.sampled_from(
    ["", "application/json", "application/x-www-form-urlencoded", "text/xml", "text/plain", "application/graphql",
     "multipart/form-data; boundary=b", "application/json; charset=utf-7", "image/png"]
)  # fmt: skip
JSON = st.recursive(
    st.one_of(VALUES, st.integers(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(VALUES, inner, max_size=4)),
    max_leaves=12,
)
BODIES = st.one_of(
    st.binary(max_size=200),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.lists(
        st.sampled_from(['"', "\\", "{", "[", "]", "}", ",", ":", "<", ">", "--b", "\r\n", "=", "&", "name=", "]]>",
                         "<![CDATA[", "<!--", "/", "'", "<script>", "filename=", "query", "\ufeff"]),
        max_size=60,
    ).map(lambda pieces: "".join(pieces).encode()),
)  # fmt: skip


def _fields(headers):
    return [(name.encode(), value.encode()) for name, value in headers]


@given(VALUES, HEADERS, TYPES, BODIES)
@settings(max_examples=300)
def test_there_always_is_a_verdict(query, headers, content_type, body):
    fields = [*_fields(headers), (b"content-type", content_type.encode())]
    verdict = ENGINE.inspect(Request("POST", f"/a/b?q={query}".encode(), fields), body)
    assert verdict.score >= 0
    assert (verdict.action is Action.ALLOW) or verdict.findings
    assert verdict == ENGINE.inspect(Request("POST", f"/a/b?q={query}".encode(), fields), body)


@given(HEADERS, st.randoms(use_true_random=False))
def test_the_order_of_fields_does_not_matter(headers, random):
    fields = _fields(headers)
    shuffled = fields[:]
    random.shuffle(shuffled)
    assert ENGINE.inspect(Request("GET", b"/", fields)) == ENGINE.inspect(Request("GET", b"/", shuffled))


@given(VALUES, st.sampled_from(["sqlmap/1.5", "<script", "1' or 1"]))
def test_an_attack_is_seen_beside_anything(value, attack):
    beside = {"a": value, "b": [value, {"c": f"{attack} {value}"}]}
    as_json = ENGINE.inspect(
        Request("POST", b"/", [(b"content-type", b"application/json")]), json.dumps(beside).encode()
    )
    as_form = ENGINE.inspect(
        Request("POST", b"/", [(b"content-type", b"application/x-www-form-urlencoded")]),
        f"a={quote(value)}&b={quote(attack)}".encode(),
    )
    assert as_json.findings
    assert as_form.findings


@given(st.integers(0, 3), st.integers(1, 4))
def test_more_paranoia_is_never_more_lenient(which, paranoia):
    values = ["nothing", "1' or 1", "<script>", "sqlmap"]
    request = Request("GET", f"/?a={quote(values[which])}".encode())
    order = list(Action)
    strictness = [
        order.index(
            ThreatEngine(
                Policy(paranoia=level), lambda groups: compile_patterns(groups, backend="re"), DETECTORS
            ).inspect(request).action
        )
        for level in (max(paranoia - 1, 1), paranoia)
    ]  # fmt: skip
    assert strictness == sorted(strictness)
