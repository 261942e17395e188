"""Honest requests that read like attacks are let through, and the same places still show the attacks."""

import json
from urllib.parse import quote, urlencode

import pytest

from seawall.adapters.patterns import compile_patterns
from seawall.core.request import Request
from seawall.systems.threats.engine import ThreatEngine
from seawall.systems.threats.inspection.nested import is_json, nested
from seawall.systems.threats.inspection.policy import Policy
from seawall.systems.threats.model import Action, PlaceKind

PASSED = {Action.ALLOW, Action.TAG}
JSON = (b"content-type", b"application/json")
TEXT = (b"content-type", b"text/plain;charset=UTF-8")


@pytest.fixture(scope="module")
def engine():
    return ThreatEngine(Policy(), lambda groups: compile_patterns(groups, backend="re"))


def query(value):
    return Request("GET", f"/items?{urlencode({'where': value})}".encode(), ()), b""


def cookie(value):
    return Request("GET", b"/", [(b"cookie", b"state=" + quote(value).encode())]), b""


def json_body(value):
    return Request("POST", b"/items", [JSON]), json.dumps(value).encode()


def text_body(value):
    return Request("POST", b"/items", [TEXT]), value.encode()


HONEST = {
    "a filter in JSON": query('{"status": {"$in": ["open", "new"]}, "price": {"$gt": 3}}'),
    "a filter by date": query('{"created": {"$gte": "2024-01-01", "$lt": "2025-01-01"}}'),
    "a search by word": query('{"$or": [{"title": {"$regex": "boots", "$options": "i"}}, {"stock": {"$gt": 0}}]}'),
    "state in a cookie": cookie(json.dumps({"note": "James' or Tom's; more", "list": ["it's", "#1"]})),
    "an address twice encoded": cookie(quote("https://example.com/?a=O%27Brien&b=1%252C2")),
    "records in lines": text_body(
        "\n".join(
            json.dumps({"type": "view", "url": "https://example.com/a?b=c", "at": "f (app.js:1)"}) for _ in range(3)
        )
    ),
    "a query of a monitoring tool": json_body({"targets": [{"url": "http://db-1.internal:9100/metrics"}]}),
    "hosts in a log": json_body({"caller": "http://orders.svc.cluster.local:8080/health", "level": "info"}),
    "a data source": json_body({"text": "[db]\nspring.datasource.url=jdbc:mysql://localhost:3306/shop\npool=5\n"}),
    "an icon": json_body({"icon": "data:image/svg+xml;utf8,<svg xmlns='x'><path d='M1 2'/></svg>"}),
    "a word that begins a statement": json_body({"title": "Alter the form, select password"}),
    "a having clause in a report": json_body(
        {"text": "It's the report\nSELECT a FROM t WHERE b = 2 GROUP BY a HAVING COUNT(*) > 1"}
    ),
    "a case in a report": json_body({"sql": "SELECT CASE WHEN x IS NOT NULL THEN 'yes' ELSE 'no' END FROM server"}),
    "a quotation before a dash": json_body({"text": "\"Having delete #730 in a script chart committee\", 'Łukasz'"}),
    "a diff": json_body({"diff": "diff --git a/b.py b/b.py\n--- a/b.py\n+++ b/b.py\n@@ -1 +1 @@\n-a\n+b\n"}),
    "a console's prompt": json_body({"text": "PS C:\\Users\\ann> Get-ChildItem"}),
    "an error of a script": json_body({"message": "Script error. total <https://cdn.example.com/app.js>"}),
    "a stack": json_body({"stack": "TypeError: x\n    at eval (eval at <anonymous> (webpack:///./src/total.js))"}),
    "code that an editor escaped": json_body({"html": "<p>Use this:</p><pre>&lt;?php echo 'Hello'; ?&gt;</pre>"}),
    "type names": json_body({"$type": "Shop.Order, Shop", "$set": {"plan": "pro"}, "$comment": "x"}),
}  # fmt: skip


@pytest.mark.parametrize("case", HONEST)
def test_what_honest_clients_send_is_let_through(engine, case):
    verdict = engine.inspect(*HONEST[case])
    assert verdict.action in PASSED, verdict.findings


ATTACKS = {
    "an operator that is true of anything": query('{"status": {"$ne": null}}'),
    "an operator on a secret": query('{"username": {"$in": ["admin", "root"]}}'),
    "an empty comparison": query('{"name": {"$gt": ""}}'),
    "code in a filter": query('{"$where": "sleep(5000)"}'),
    "a string within a document": query(json.dumps({"a": ["b", {"c": "x' OR 1=1 --"}]})),
    "a document within a document": json_body({"state": json.dumps({"inner": json.dumps(["<svg onload=alert(1)>"])})}),
    "a key of a document": cookie(json.dumps({"x' UNION SELECT password FROM users --": 1})),
    "a line of records": text_body('{"a": 1}\n{"b": "; cat /etc/passwd"}\n'),
    "an object that replaces a prototype": query('{"__proto__": {"isAdmin": true}}'),
    "an object of a serialiser": query('{"rce": "_$$ND_FUNC$$_function (){require(1).exec(2)}()"}'),
    "metadata in a record": json_body({"target": "http://169.254.169.254/latest/meta-data/"}),
    "an address within": json_body({"url": "http://127.0.0.1:6379/"}),
    "a picture that runs": json_body({"icon": "data:image/svg+xml;utf8,<svg xmlns='x' onload='alert(1)'></svg>"}),
    "markup behind entities": json_body({"text": "&lt;script&gt;alert(1)&lt;/script&gt;"}),
    "an attribute behind entities": json_body({"html": "<p>a</p><a href='java&#115;cript:alert(1)'>b</a>"}),
    "a password of another": json_body({"q": "alter user root identified by 'x'"}),
}  # fmt: skip


@pytest.mark.parametrize("case", ATTACKS)
def test_the_same_places_show_attacks(engine, case):
    assert engine.inspect(*ATTACKS[case]).action is Action.BLOCK


def test_a_string_of_a_document_is_named_as_the_value_is(engine):
    request, body = query('["x", "1 UNION SELECT a, b FROM users --"]')
    place = engine.inspect(request, body).findings[0].place
    assert (place.kind, place.name) == (PlaceKind.QUERY, "where")


def test_strings_of_a_document_come_unescaped_with_their_keys():
    assert nested('{"a": ["b\\u0027", 1], "c": null}') == [("a", True), ("b'", False), ("c", True)]


@pytest.mark.parametrize("text", ["", "{", "[x]", "{a}", '{"a": 1', '{"a": 1} x', "[1] [2]", "{{name}}", '"a"', "5"])
def test_what_is_no_document_has_no_strings(text):
    assert nested(text) is None


@pytest.mark.parametrize(("text", "expected"), [("[1]", True), ("{}\n{}\n", True), ("{}\nx", False), ("x", False)])
def test_json_is_one_value_or_lines_of_them(text, expected):
    assert is_json(text) is expected


def test_depth_of_documents_within_documents_is_bounded(engine):
    value = "<script>alert(1)</script>"
    for _ in range(12):
        value = json.dumps([value])
    assert engine.inspect(*query(value)).action is Action.BLOCK
