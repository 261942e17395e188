import pytest
from asking import asking
from lookalikes import AMBIGUOUS, PLAIN, generated

from seawall.systems.threats.detectors.header import DETECTOR
from seawall.systems.threats.model import PlaceKind

ask = asking(DETECTOR)

ATTACKS = (
    "x\r\nSet-Cookie: a=b",
    "x%0d%0aSet-Cookie:a=b",
    "\r\nLocation: http://evil.example",
    "a\nContent-Length: 0",
    "x\r\n\r\nHTTP/1.1 200 OK",
    "x\r\nX-Injected: yes",
    "嘊嘍Set-Cookie: a=b",
    "x\r\n\r\nGET /admin HTTP/1.1",
    "a@example.com\r\nBcc: b@example.com",
    "\r\nHost: evil.example",
    "x\\r\\nSet-Cookie: a=b",
    "x\r\n\r\n<html>hi</html>",
)
HONEST = (
    "Dear Anna,\nthe link is: here\nBest: me",
    "first line\nsecond line",
    "a: b",
    "To: be or not",
    "note\nhttp://example.com",
    "x\r\ny",
)


@pytest.mark.parametrize("text", ATTACKS)
def test_attacks_are_found(text):
    assert ask(text)[1] >= 0.85


@pytest.mark.parametrize("text", HONEST)
def test_what_only_looks_like_one_is_let_through(text):
    assert ask(text)[1] < 0.5


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("x\r\nSet-Cookie: a=b", "header-field"),
        ("x\r\n\r\nHTTP/1.1 200 OK", "header-message"),
        ("x\r\n\r\n<html>hi</html>", "header-body"),
    ],
)
def test_each_kind_of_attack_has_a_rule(text, rule):
    assert ask(text)[0] == rule


def test_honest_values_are_not_even_ambiguous():
    assert [text for text in PLAIN if ask(text)[1] >= 0.5] == []


def test_pasted_statements_stay_below_sure():
    assert [text for text in AMBIGUOUS if ask(text)[1] >= 0.9] == []


def test_generated_honest_values_are_not_suspected():
    suspected = [text for text in generated(1500, seed=4) if ask(text)[1] >= 0.7]
    assert suspected == []


MAIL = "Hello team,\nthis is what the customer wrote to us:\nFrom: a@example.com\nSubject: it is broken\n\nIt broke."


def test_a_forwarded_mail_in_a_form_is_no_attack():
    assert asking(DETECTOR, PlaceKind.FORM)(MAIL)[1] < 0.5


@pytest.mark.parametrize(
    "text",
    [
        "x\r\nCache-Control: no-store",
        "x\nFoo: bar",
        "%0d%0aAny-Name:1",
        "/a HTTP/1.1\r\nZ: 1",
        "x%%0a0aLocation: /b",
        "guest\n2031-02-03 04:05:06 WARN root logged in",
        'guest\r\n198.51.100.9 - - [01/Feb/2031:01:02:03 +0000] "GET /"',
        "k\r\nflushall\r\n",
        "k\r\nadd key 0 60 3\r\nabc",
        "k\r\nconfig set dir /tmp",
        "k\r\nEVAL 'x' 0",
    ],
)
def test_a_line_of_its_own_is_found_where_one_line_is_meant(text):
    assert ask(text)[1] >= 0.75


@pytest.mark.parametrize(
    "text",
    [
        "two words\nname: value",
        "first\nsecond: value\nthird: value",
        "title\nhttps://example.com/a",
        "2031-02-03 04:05:06 INFO up\n2031-02-03 04:05:07 INFO ready",
        "Error: it broke\n2031-02-03 04:05:06 INFO up",
        "we flush\nall pipes",
        "GET / HTTP/1.1\r\nAccept-Language: en",
    ],
)
def test_texts_of_lines_are_let_through(text):
    for kind in (PlaceKind.FORM, PlaceKind.JSON):
        assert asking(DETECTOR, kind)(text)[1] < 0.6


@pytest.mark.parametrize("text", ["Thanks\nTo: all of you", "\r\nBest: me", "Address:\nStreet: 5", "a\nSubject: hello"])
def test_short_notes_in_a_form_are_below_sure(text):
    assert asking(DETECTOR, PlaceKind.FORM)(text)[1] <= 0.6


def test_fields_that_a_client_lists_are_let_through():
    text = "X-Api-Client:a/1 b/2\r\nContent-Type:text/plain\r\nX-App-Id:1:2:web:3\r\n"
    assert asking(DETECTOR, PlaceKind.FORM)(text)[1] <= 0.5
    assert asking(DETECTOR, PlaceKind.FORM)("http://a.example/\r\nSet-Cookie: a=b")[1] >= 0.75


@pytest.mark.parametrize(
    "text",
    [
        "k\r\nSET a b\r\n",
        "k\r\nLPUSH jobs x",
        "k\nKEYS *",
        "k%0d%0aUSER a%0d%0aPASS b",
        "k\r\nRETR /x",
        "k\r\nget a\r\n",
        "k\r\nstats slabs\r\n",
        "k\r\na7 FETCH 1 all\r\n",
        "k\r\n.\r\n",
        "k\r\n\r\n<b>x</b>",
        "k HTTP/1.1\r\n\r\n",
        "k\x0bSet-Cookie: a=b",
        "anna\nERROR disk",
        "anna\nLogin succeeded for root",
        "anna\nUser root logged in",
        "anna\r\n03/Feb/2031:04:05:06 x",
        "a\x1b[2Jb",
        "a\x1b[1;32mb\x1b[0m",
        "\x1b]2;x\x07",
        "\\e[1A",
        "abc\x08\x08\x08xyz",
    ],
)
def test_lines_for_servers_and_for_who_reads_logs_are_found_in_a_word(text):
    assert ask(text)[1] >= 0.75


@pytest.mark.parametrize(
    ("text", "rule"),
    [("k\r\nSET a b\r\n", "header-command"), ("a\x1b[2Jb", "header-terminal"), ("a\nERROR disk", "header-log")],
)
def test_such_lines_have_rules(text, rule):
    assert ask(text)[0] == rule


@pytest.mark.parametrize(
    "text",
    [
        "k\r\nSET a b",
        "k\r\nRETR /x\r\n",
        "k\nUser root logged in",
        "k\r\nSec-Fetch-Mode: cors",
        "?\r\nX:1",
        "k\r\n\r\n<html>",
        "a\x1b[2Jb",
    ],
)
def test_they_are_found_in_a_field_behind_a_word(text):
    assert asking(DETECTOR, PlaceKind.FORM)(text)[1] >= 0.75


@pytest.mark.parametrize(
    "text",
    [
        "Anna\r\nAge: 30",
        "printer\r\nERROR 50.2",
        "Hello\r\nGET well soon",
        "todo\r\nSET up the tent\r\nbuy food\r\ncook",
        "steps:\nget a\nset b",
        "title\r\n\r\n<p>text</p>",
        "12 Main St\r\nBerlin",
        "Dear all\nlogin failed for me",
        "\x1b[31mFAIL\x1b[0m 3 tests\n\x1b[32mok\x1b[0m",
        "how to print \x1b[31m in bash",
    ],
)
def test_lines_that_people_write_are_let_through(text):
    assert asking(DETECTOR, PlaceKind.FORM)(text)[1] < 0.5


@pytest.mark.parametrize("text", ["\x1b[32mok\x1b[0m", "k\r\nSET a b", "k\nUser root logged in"])
def test_documents_hold_what_terminals_show(text):
    assert asking(DETECTOR, PlaceKind.JSON)(text)[1] < 0.5
