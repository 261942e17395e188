"""Inspection of a whole request: which values are found where, what caps do, and what policy makes of a score."""

import gzip
import json
import re
import zlib

import pytest

from seawall.adapters.patterns import compile_patterns
from seawall.core.errors import ConfigurationError
from seawall.core.request import Request
from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.engine import ThreatEngine
from seawall.systems.threats.inspection.policy import Caps, Exclusion, OverCap, Policy
from seawall.systems.threats.model import Action, Level, Mode, Place, PlaceKind, Severity, ThreatClass

MARK = "<evil>"
K = PlaceKind


def marker(rule="mark-evil", word=MARK, confidence=0.95, severity=Severity.CRITICAL, **fields):
    """A detector that finds a word."""

    def scan(text, kind):
        at = text.lower().find(word)
        return [Signal(rule, severity, confidence, at, at + len(word))] if at >= 0 else []

    given = {
        "name": rule.partition("-")[0],
        "category": ThreatClass.XSS,
        "owasp": "A03:2021",
        "triggers": (re.escape(word),),
        "scan": scan,
    }
    return Detector(**{**given, **fields})


def engine(policy=None, detectors=None):
    return ThreatEngine(
        policy or Policy(), lambda groups: compile_patterns(groups, backend="re"), detectors or (marker(),)
    )


def request(target="/", headers=(), method="POST"):
    return Request(method, target.encode(), [(name, value.encode()) for name, value in headers])


def places(verdict):
    return [(finding.place.kind, finding.place.name, finding.place.is_name) for finding in verdict.findings]


def found(target="/", headers=(), body=b"", **fields):
    return places(engine(**fields).inspect(request(target, headers), body))


JSON = ((b"content-type", "application/json"),)
FORM = ((b"content-type", "application/x-www-form-urlencoded"),)
XML = ((b"content-type", "text/xml; charset=utf-8"),)


@pytest.mark.parametrize(
    ("target", "headers", "body", "place"),
    [
        ("/a/<evil>/b", (), b"", [(K.PATH, "", False)]),
        ("/a/%3Cevil%3E", (), b"", [(K.PATH, "", False)]),
        ("/?a=1&b=x<evil>", (), b"", [(K.QUERY, "b", False)]),
        ("/?a=1&b=%253Cevil%253E", (), b"", [(K.QUERY, "b", False)]),
        ("/?<evil>=1", (), b"", [(K.QUERY, "<evil>", True)]),
        ("/?<evil>", (), b"", [(K.QUERY, "<evil>", False)]),
        ("/", ((b"cookie", "a=1; b=<evil>"),), b"", [(K.COOKIE, "b", False)]),
        ("/", ((b"cookie", "<evil>=1"),), b"", [(K.COOKIE, "<evil>", True)]),
        ("/", ((b"x-anything", "<evil>"),), b"", [(K.HEADER, "x-anything", False)]),
        ("/", ((b"host", "<evil>"),), b"", [(K.HEADER, "host", False)]),
        ("/", FORM, b"a=1&b=%3Cevil%3E", [(K.FORM, "b", False)]),
        ("/", (), b"a=1&b=%3Cevil%3E", [(K.FORM, "b", False)]),
        ("/", JSON, b'{"a": {"b": [1, "x", "<evil>"]}}', [(K.JSON, "a.b[2]", False)]),
        ("/", JSON, b'[{"a": "x"}, {"a": "\\u003cevil>"}]', [(K.JSON, "[1].a", False)]),
        ("/", JSON, b'{"x": {"<evil>": 1}}', [(K.JSON, "x.<evil>", True)]),
        ("/", JSON, b'{"a": "<evil>", "a": "x"}', [(K.JSON, "a", False)]),
        ("/", (), b' {"a": "<evil>"}', [(K.JSON, "a", False)]),
        ("/", JSON, b'"<evil>"', [(K.JSON, "", False)]),
        ("/", JSON, b"{'a': '<evil>'}", [(K.BODY, "", False)]),
        ("/", JSON, b'{"a": "<evil>', [(K.BODY, "", False), (K.JSON, "a", False)]),
        ("/", FORM, b'{"a": "<evil>"}', [(K.JSON, "a", False)]),
        ("/", XML, b"<a><b>x &lt;evil&gt;</b></a>", [(K.XML, "b", False)]),
        ("/", XML, b"<a><b c='&lt;evil>'/></a>", [(K.XML, "b@c", False)]),
        ("/", XML, b"<a><![CDATA[<evil>]]></a>", [(K.XML, "a", False)]),
        ("/", ((b"content-type", "text/plain"),), b"this is <evil>", [(K.BODY, "", False)]),
        ("/", (), b"this is <evil>", [(K.BODY, "", False)]),
        ("/", ((b"content-type", "application/json; charset=utf-16"),), '{"a": "<evil>"}'.encode("utf-16"),
         [(K.JSON, "a", False)]),
        ("/", ((b"content-type", "application/json; charset=cp037"),), '{"a": "<evil>"}'.encode("cp037"),
         [(K.JSON, "a", False)]),
    ],
)  # fmt: skip
def test_a_value_is_found_where_it_is(target, headers, body, place):
    assert found(target, headers, body) == place


@pytest.mark.parametrize("more", ["", "&a=1&b=2&c=3"])
def test_a_value_without_a_name_is_read_whole_though_it_has_an_equals_sign(more):
    split = (marker(word="or b=1"),)
    assert found("/", FORM, f"a' or b=1{more}".encode(), detectors=split) == [(K.FORM, "a' or b", True)]
    assert found(f"/?a'%20or%20b=1{more}", detectors=split) == [(K.QUERY, "a'%20or%20b", True)]
    assert found(f"/?filter%5Bor b=1{more}", detectors=split) == [(K.QUERY, "filter%5Bor b", True)]
    assert found(f"/?filter%5Bb%5D=1{more}", detectors=(marker(word="b]=1"),)) == []
    assert found(f"/?price%5B%24gte%5D=1{more}", detectors=(marker(word="gte]=1"),)) != []
    # The end of a name is an end as well.
    ending = (marker(word="' or b", triggers=("' or b$",)),)
    assert found(f"/?a'%20or%20b=1{more}", detectors=ending) == [(K.QUERY, "a'%20or%20b", True)]


def test_operators_are_judged_in_the_object_that_they_are_keys_of():
    operator = marker("nosql-operator", word="$ne", category=ThreatClass.NOSQL_INJECTION)
    body = b'{"user": {"$ne": null}, "a": 1, "b": 2, "c": "x"}'
    assert found("/", JSON, body, detectors=(operator,)) == [(K.JSON, "", False)]
    assert found("/", JSON, body, detectors=(marker(word="$ne"),)) == []


def test_json_one_after_the_other_is_json():
    for between in (b"", b" ", b"\n"):
        body = between.join((b'{"a": "x"}', b'{"a": "<evil>"}', b'{"b": {}}'))
        assert found("/", JSON, body) == [(K.JSON, "a", False)]
    assert found("/", JSON, b'{"a": "x}{y"}\n{"a": "<evil>"}') == [(K.JSON, "a", False)]


def test_a_string_in_a_document_is_read_as_what_it_says():
    body = json.dumps({"query": '{ user(id: "1\\" or <evil>") { id } }'}).encode()
    assert (K.GRAPHQL, "query", False) in found("/", JSON, body, detectors=(marker(word='" or <evil>'),))


def test_a_batch_of_documents_is_looked_at_as_a_whole():
    batch = b"[" + b",".join([b'{"query": "mutation { a }"}'] * 3) + b"]"
    whole = marker(word="a }\nmutation", kinds=frozenset({K.GRAPHQL}))
    assert found("/", JSON, batch, detectors=(whole,)) == [(K.GRAPHQL, "query", False)]


def test_a_packed_body_that_does_not_say_so_is_unpacked():
    assert found("/", JSON, gzip.compress(b'{"a": "<evil>"}')) == [(K.JSON, "a", False)]
    assert found("/", FORM, gzip.compress(b"a=%3Cevil%3E")) == [(K.FORM, "a", False)]


@pytest.mark.parametrize("between", [b"", b"\r\n"])
def test_what_stands_beside_a_packed_body_is_read_as_well(between):
    packed = gzip.compress(b"a=1") + between
    assert found("/", FORM, packed + b"&a=%3Cevil%3E") == [(K.FORM, "a", False)]
    part = b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\n<evil>\r\n--b--\r\n'
    multipart = ((b"content-type", "multipart/form-data; boundary=b"),)
    assert found("/", multipart, packed + part) == [(K.MULTIPART, "f", False)]


@pytest.mark.parametrize("declared", [(), ((b"content-encoding", "gzip"),)])
def test_all_members_of_a_packed_body_are_read(declared):
    body = gzip.compress(b"a=1") + gzip.compress(b"&b=%3Cevil%3E")
    assert found("/", (*FORM, *declared), body) == [(K.FORM, "b", False)]


def test_a_raw_upload_is_a_file():
    upload = ((b"content-type", "application/octet-stream"),)
    shell = marker("web-shell", category=ThreatClass.WEB_SHELL)
    for body in (b"<html><evil></html>", b"<?xml version='1.0'?><svg><evil></svg>", b"a text with <evil> in it"):
        assert found("/", upload, body) == []
        assert found("/", upload, body, detectors=(shell,)) == [(K.BODY, "", False)]
    assert found("/", ((b"content-type", "image/png"),), b"\x89PNG\x00\x00<evil><?php", detectors=(shell,)) != []


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"a": "<evil>"}', (K.JSON, "a", False)),
        (b'{"a": "<evil>",}', (K.BODY, "", False)),
        (b"a=%3Cevil%3E", (K.FORM, "a", False)),
        (b"<a><b>x &lt;evil&gt;</b></a>", (K.XML, "b", False)),
    ],
)
def test_octets_that_an_interface_may_read_are_read(body, place):
    assert found("/", ((b"content-type", "application/octet-stream"),), body) == [place]


@pytest.mark.parametrize("noise", [b"\x01" * 30, b"%PDF-1.7\n"])
def test_what_is_said_to_be_text_is_read_as_text(noise):
    assert found("/", ((b"content-type", "text/plain"),), noise + b"<evil>") == [(K.BODY, "", False)]


@pytest.mark.parametrize(
    ("content", "read"),
    [
        (b"AddType application/x-httpd-php .jpg <evil>", True),
        (b"GIF89a\x00\x01<?php <evil> ?>", True),
        (b"%PDF-1.7\n<evil>", False),
        (b"\x89PNG\r\n\x1a\n\x00\x00<evil>", False),
    ],
)
def test_the_text_of_a_file_is_read_whatever_it_is_said_to_be(content, read):
    part = b'--b\r\nContent-Disposition: form-data; name="f"; filename="a.bin"\r\n'
    body = part + b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n--b--\r\n"
    shell = marker("web-shell", category=ThreatClass.WEB_SHELL)
    expected = [(K.MULTIPART, "f", False)] if read else []
    assert found("/", ((b"content-type", "multipart/form-data; boundary=b"),), body, detectors=(shell,)) == expected


def test_what_begins_as_an_object_of_java_is_no_digest():
    assert found("/?a=aced00057372001e", detectors=(marker(word="aced0005"),)) == [(K.QUERY, "a", False)]
    assert found("/?a=aced00067372001e", detectors=(marker(word="aced0006"),)) == []


def test_what_is_no_text_is_not_read_as_one():
    noise = bytes((number * 37) % 256 for number in range(2000)) + b"<evil>"
    assert found("/", JSON, noise) != [], "whatever is said to be JSON is read"
    assert found("/", ((b"content-type", "application/x-ndarray"),), noise) == [], "there is a null byte in it"
    assert found("/", (), b"\x1f\x8b\x08 is how gzip begins, and this is none: <evil>, as it is written") == [
        (K.BODY, "", False)
    ]


@pytest.mark.parametrize("content_type", ["image/png", "application/octet-stream", "video/mp4"])
def test_binary_bodies_are_not_read(content_type):
    assert found("/", ((b"content-type", content_type),), b"\x89PNG\x00\x00<evil>") == []


def multipart(*parts):
    body = b"".join(b"--bb\r\n" + head + b"\r\n\r\n" + content + b"\r\n" for head, content in parts) + b"--bb--\r\n"
    return ((b"content-type", 'multipart/form-data; boundary="bb"'),), body


FIELD = b'Content-Disposition: form-data; name="a"'
FILE = b'Content-Disposition: form-data; name="f"; filename="x.txt"\r\nContent-Type: text/plain'


@pytest.mark.parametrize(
    ("part", "place"),
    [
        ((FIELD, MARK.encode()), [(K.MULTIPART, "a", False)]),
        ((b'Content-Disposition: form-data; name="<evil>"', b"x"), [(K.MULTIPART, "<evil>", True)]),
        ((FILE.replace(b"x.txt", b"<evil>"), b"x"), [(K.FILENAME, "f", False)]),
        ((FILE, MARK.encode()), []),
    ],
)
def test_parts_of_multipart_are_values(part, place):
    headers, body = multipart((FIELD, b"first"), part)
    assert found("/", headers, body) == place


def test_the_text_of_a_file_is_shown_to_those_who_care_for_files():
    headers, body = multipart((FILE, MARK.encode()))
    detector = marker(category=ThreatClass.WEB_SHELL)
    assert found("/", headers, body, detectors=(detector,)) == [(K.MULTIPART, "f", False)]
    small = Policy(caps=Caps(part_bytes=3))
    assert found("/", headers, body, detectors=(detector,), policy=small) == []


def test_a_multipart_body_without_its_boundary_is_read_as_text():
    assert found("/", ((b"content-type", "multipart/form-data"),), b"hello <evil>") == [(K.BODY, "", False)]


GRAPHQL = '{ user(name: "<evil>") { id } }'


@pytest.mark.parametrize(
    ("target", "headers", "body"),
    [
        ("/graphql", JSON, json.dumps({"query": GRAPHQL}).encode()),
        ("/graphql", ((b"content-type", "application/graphql"),), GRAPHQL.encode()),
    ],
)
def test_strings_in_graphql_are_values(target, headers, body):
    assert found(target, headers, body) == [(K.GRAPHQL, "query", False)]


def test_a_document_is_shown_as_a_whole_to_detectors_that_name_its_kind():
    whole = marker("doc-word", "user(", kinds=frozenset({K.GRAPHQL}))
    other = marker("other-word", "user(")
    verdict = engine(detectors=(whole, other)).inspect(
        request("/graphql", JSON), json.dumps({"query": GRAPHQL}).encode()
    )
    assert [finding.rule for finding in verdict.findings] == ["doc-word"]


def test_graphql_variables_are_json():
    body = json.dumps({"query": "query Q($n: String) { a(n: $n) }", "variables": {"n": MARK}}).encode()
    assert found("/graphql", JSON, body) == [(K.JSON, "variables.n", False)]


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "GZIP"])
def test_compressed_bodies_are_read(encoding):
    packed = zlib.compress(b"a=<evil>") if encoding == "deflate" else gzip.compress(b"a=<evil>")
    assert found("/", (*FORM, (b"content-encoding", encoding)), packed) == [(K.FORM, "a", False)]


@pytest.mark.parametrize(("encoding", "body"), [("br", b"whatever"), ("gzip", b"no gzip"), ("deflate", b"\xff\xff")])
def test_what_cannot_be_decompressed_is_said(encoding, body):
    verdict = engine().inspect(request("/", (*FORM, (b"content-encoding", encoding))), body)
    assert verdict.partial == "encoding"


def test_a_body_that_grows_without_end_is_cut():
    packed = gzip.compress(b"a" * 10_000_000)
    verdict = engine(Policy(caps=Caps(bytes=5000))).inspect(
        request("/", (*FORM, (b"content-encoding", "gzip"))), packed
    )
    assert verdict.partial == "bytes"


LONG = json.dumps({"a": MARK, "b": ["x y"] * 200, "c": [[[[[["z z"]]]]]]}).encode()


@pytest.mark.parametrize(
    ("caps", "why"), [(Caps(bytes=1024), "bytes"), (Caps(values=20), "values"), (Caps(depth=3), "depth")]
)
def test_over_a_cap_policy_decides_and_the_verdict_says_so(caps, why):
    asked = request("/", JSON)
    prefix = engine(Policy(caps=caps)).inspect(asked, LONG)
    assert (prefix.partial, prefix.action) == (why, Action.BLOCK)
    rejected = engine(Policy(caps=caps, over_cap=OverCap.REJECT)).inspect(asked, LONG.replace(b"evil", b"good"))
    assert (rejected.partial, rejected.action) == (why, Action.BLOCK)
    passed = engine(Policy(caps=caps, over_cap=OverCap.PASS)).inspect(asked, LONG)
    assert (passed.partial, passed.action, passed.findings) == (why, Action.ALLOW, ())


def test_over_a_cap_a_head_is_still_judged_when_the_body_is_left_out():
    policy = Policy(caps=Caps(bytes=1024), over_cap=OverCap.PASS)
    verdict = engine(policy).inspect(request("/?a=<evil>", JSON), LONG)
    assert (verdict.partial, verdict.action) == ("bytes", Action.BLOCK)


def test_what_detectors_read_is_capped():
    detectors = [marker(f"a{number}-x") for number in range(10)]
    body = b"x" * 5000 + b" <evil>"
    text = ((b"content-type", "text/plain"),)
    few = engine(Policy(caps=Caps(work=20_100)), detectors).inspect(request("/", text), body)
    assert (few.partial, len(few.findings)) == ("work", 4)
    assert engine(Policy(caps=Caps(work=100_000)), detectors).inspect(request("/", text), body).partial == ""
    rejected = Policy(caps=Caps(work=100), over_cap=OverCap.REJECT)
    assert engine(rejected, detectors).inspect(request("/", text), body).action is Action.BLOCK


@pytest.mark.parametrize("at", [0, 15_350, 16_380, 16_384, 99_000])
def test_a_long_text_is_read_to_its_end(at):
    text = " ".join(["word"] * 20_000)
    verdict = engine().inspect(
        request("/", ((b"content-type", "text/plain"),)), (text[:at] + MARK + text[at:]).encode()
    )
    assert ([finding.span for finding in verdict.findings], verdict.partial) == ([MARK], "")


def test_under_the_caps_a_verdict_is_whole():
    assert engine().inspect(request("/", JSON), LONG).partial == ""


def test_a_finding_tells_span_and_chain():
    (finding,) = engine().inspect(request("/?a=xx%253Cevil%253Eyy")).findings
    assert (finding.span, finding.chain) == ("<evil>", ("percent", "percent"))
    assert finding.owasp == "A03:2021"


def test_a_value_that_was_clean_is_not_asked_about_again_and_one_that_was_not_is():
    asked = []

    def scan(text, kind):
        asked.append(text)
        return [Signal("evil-x", Severity.HIGH, 0.9, 0, 1)] if "evil" in text else []

    inspecting = engine(detectors=(marker(scan=scan, triggers=("some",)),))
    for _ in range(3):
        inspecting.inspect(request("/", ((b"x-a", "some value"),)))
        assert inspecting.inspect(request("/", ((b"x-a", "some evil"),))).findings
    assert asked == ["some value", "some evil", "some evil", "some evil"]


@pytest.mark.parametrize("name", [b"cookie", b"host", b"user-agent"])
def test_what_is_clean_in_one_field_may_not_be_in_another(name):
    inspecting = engine(detectors=(marker("scanner-x", "nikto"),))
    pairs = engine(detectors=(marker("pair-x", "a=1; b"),))
    for other in (b"x-a", name, b"x-b"):
        first = inspecting.inspect(request("/", ((other, "nikto"),)))
        assert bool(first.findings) == (other == b"user-agent")
    assert pairs.inspect(request("/", ((name, "a=1; b=2"),))).findings == () or name != b"cookie"
    assert pairs.inspect(request("/", ((b"x-a", "a=1; b=2"),))).findings


def test_graphql_is_seen_where_the_same_text_was_clean_before():
    inspecting = engine(detectors=(marker("doc-x", "secret", kinds=frozenset({K.GRAPHQL})),))
    assert inspecting.inspect(request("/?x={ secret }")).findings == ()
    assert inspecting.inspect(request("/?query={ secret }")).findings
    assert inspecting.inspect(request("/", JSON), b'{"x": "{ secret }"}').findings == ()
    assert inspecting.inspect(request("/", JSON), b'{"query": "{ secret }"}').findings


def test_one_clean_value_beside_an_attack_says_nothing_about_the_attack():
    inspecting = engine()
    target = "/?a=plain+words&b=<evil>"
    assert inspecting.inspect(request(target)) == inspecting.inspect(request(target))
    assert inspecting.inspect(request(target)).findings


def test_a_detector_is_asked_about_its_kinds_only():
    assert found("/?a=<evil>", detectors=(marker(kinds=frozenset({K.FORM})),)) == []
    assert found("/?a=<evil>", detectors=(marker(kinds=frozenset({K.QUERY})),)) != []


def test_doubt_below_a_third_is_no_finding():
    assert found("/?a=<evil>", detectors=(marker(confidence=0.29),)) == []


@pytest.mark.parametrize(
    ("rules", "action", "findings"),
    [
        ((), Action.BLOCK, 1),
        ((("mark-evil", Mode.LOG),), Action.ALLOW, 1),
        ((("mark-*", Mode.OFF),), Action.ALLOW, 0),
        ((("xss", Mode.OFF),), Action.ALLOW, 0),
        ((("other", Mode.OFF),), Action.BLOCK, 1),
        ((("mark-evil", Mode.BLOCK), ("xss", Mode.OFF)), Action.BLOCK, 1),
    ],
)
def test_modes_of_rules(rules, action, findings):
    verdict = engine(Policy(rules=rules)).inspect(request("/?a=<evil>"))
    assert (verdict.action, len(verdict.findings)) == (action, findings)


def test_log_tells_the_level_and_allows():
    blocked = engine().inspect(request("/?a=<evil>"))
    logged = engine(Policy(mode=Mode.LOG)).inspect(request("/?a=<evil>"))
    assert blocked.action is Action.BLOCK
    assert (logged.action, logged.level, logged.score) == (Action.ALLOW, blocked.level, blocked.score)
    assert engine(Policy(mode=Mode.OFF)).inspect(request("/?a=<evil>")).findings == ()


EXCLUSION = Exclusion(rule="mark-*", path="/articles", kinds=(K.QUERY,), name="body", example="an <evil>")


@pytest.mark.parametrize(
    ("target", "headers", "excluded"),
    [
        ("/articles?body=<evil>", (), True),
        ("/articles/7?body=<evil>", (), True),
        ("/articlesx?body=<evil>", (), False),
        ("/articles?other=<evil>", (), False),
        ("/articles", ((b"body", "<evil>"),), False),
    ],
)
def test_an_exclusion_holds_at_its_place_alone(target, headers, excluded):
    verdict = engine(Policy(exclusions=(EXCLUSION,))).inspect(request(target, headers))
    assert (verdict.action is Action.ALLOW) == excluded


@pytest.mark.parametrize("changed", [{"example": "nothing"}, {"rule": "other-*"}, {"rule": "sql-injection"}])
def test_an_exclusion_that_does_nothing_is_refused(changed):
    fields = {**{name: getattr(EXCLUSION, name) for name in EXCLUSION.__struct_fields__}, **changed}
    with pytest.raises(ConfigurationError, match=r"exclusions\[0\] has no effect"):
        engine(Policy(exclusions=(Exclusion(**fields),)))


def test_many_findings_are_cut_after_they_were_ranked():
    detectors = [marker(f"a{number}-x", confidence=0.5 + number / 200) for number in range(40)]
    verdict = engine(detectors=detectors).inspect(request("/?a=<evil>"))
    assert len(verdict.findings) == 32
    assert verdict.findings[0].rule == "a39-x"


def test_a_place_is_named_in_at_most_128_characters():
    (finding,) = engine().inspect(request(f"/?{'n' * 500}=<evil>")).findings
    assert finding.place == Place(K.QUERY, "n" * 128)


def test_nothing_to_say_is_allowed():
    verdict = engine().inspect(request("/a/b?c=d", ((b"accept", "*/*"),)))
    assert (verdict.action, verdict.level, verdict.score, verdict.findings) == (Action.ALLOW, Level.NONE, 0.0, ())


@pytest.mark.parametrize("name", ["__proto__", "constructor"])
def test_names_that_lead_to_prototypes_are_shown_as_paths(name):
    body = json.dumps({name: {"prototype": {"admin": True}}}).encode()
    detector = marker("proto-x", f"{name}.prototype")
    assert found("/", JSON, body, detectors=(detector,)) == [(K.JSON, f"{name}.prototype", True)]
