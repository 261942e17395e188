"""Decoding: each form that a layer behind us may see, and the way that leads to it."""

import base64

import pytest

from seawall.systems.threats.inspection.decoding import decode_bytes, from_base64, percent_decoded, views

ATTACK = "<script>alert(1)</script>"


def texts(value):
    return {text for text, _ in views(value)}


@pytest.mark.parametrize(
    ("value", "text", "chain"),
    [
        ("%3Cscript%3E", "<script>", ("percent",)),
        ("%253Cscript%253E", "<script>", ("percent", "percent")),
        ("%25253Cscript%25253E", "<script>", ("percent", "percent", "percent")),
        ("%u003cscript%U003E", "<script>", ("percent",)),
        ("%%32%65%%32%65/", "../", ("percent", "percent")),
        ("&lt;script&gt;", "<script>", ("html",)),
        ("&#60;script&#x3e;", "<script>", ("html",)),
        ("&#0000060script&#x0003E", "<script>", ("html",)),
        ("&LT;script&GT;", "<script>", ("html",)),
        ("&amp;lt;script>", "<script>", ("html", "html")),
        ("%26lt%3Bscript%3E", "<script>", ("percent", "html")),
        ("&#37;3Cscript>", "<script>", ("html", "percent")),
        (r"\x3cscript\x3e", "<script>", ("escape",)),
        (r"\u003cscript\u{3e}", "<script>", ("escape",)),
        (r"\u{00003c}script\U0000003e", "<script>", ("escape",)),
        (r"\74script\76", "<script>", ("escape",)),
        (r"\00003c script", "<script", ("escape",)),
        ("%c0%ae%c0%ae%c0%af", "../", ("overlong-utf8",)),
        ("%e0%80%ae%e0%80%ae/", "../", ("overlong-utf8",)),
        ("%f0%80%80%aex", ".x", ("overlong-utf8",)),
        ("\uff1cscript\uff1e", "<script>", ("nfkc",)),
        ("O\u02bcBrien", "O'Brien", ("nfkc",)),
        ("un\x00ion", "union", ("invisible",)),
        ("un%00ion", "union", ("percent", "invisible")),
        ("un\u200bion", "union", ("invisible",)),
        ("union/**/select", "union select", ("comments",)),
        ("/*!50000union*/ select", " union  select", ("comments",)),
        ("exp/*x*/ression(1)", "expression(1)", ("joined",)),
        ("1+or+1", "1 or 1", ("plus",)),
        (base64.b64encode(ATTACK.encode()).decode(), ATTACK, ("base64",)),
        (base64.urlsafe_b64encode(b"<<??>>~~ select ???>").decode().rstrip("="), "<<??>>~~ select ???>", ("base64",)),
        ("data:text/html;base64," + base64.b64encode(ATTACK.encode()).decode(), ATTACK, ("base64",)),
        (base64.b64encode(b"%3Cscript%3E").decode(), "<script>", ("base64", "percent")),
    ],
)
def test_a_form_is_shown_with_its_chain(value, text, chain):
    assert (text, chain) in views(value)


@pytest.mark.parametrize("value", ["", "plain", "two words", "1 + 1 = 2", "a+b c", "100%", "AT&T", "C:\\dir", "2+2"])
def test_what_is_not_encoded_has_one_form(value):
    assert views(value) == [(value, ())]


def test_forms_on_the_way_are_kept():
    assert texts("%253Cb%253E") == {"%253Cb%253E", "%3Cb%3E", "<b>"}


def test_a_fourth_round_of_decoding_is_not_made():
    value = "%2525253C"
    assert "%3C" in texts(value)
    assert "<" not in texts(value)


def test_a_comment_that_never_ends_stays():
    assert texts("a /* b") == {"a /* b"}


def test_base64_is_decoded_once():
    inner = base64.b64encode(ATTACK.encode())
    assert ATTACK not in texts(base64.b64encode(inner).decode())
    assert ATTACK in texts(inner.decode())


@pytest.mark.parametrize(
    "token",
    ["independence", "0123456789abcdef0123", base64.b64encode(bytes(range(200, 248))).decode(), "aaaaaaaaaaaaa", ""],
)
def test_base64_of_no_text_is_none(token):
    assert from_base64(token) == ""


def test_long_base64_is_decoded_whole():
    text = "select a, b from c; " * 500
    assert from_base64(base64.b64encode(text.encode()).decode()) == text


def test_base64_with_a_character_cut_in_the_probe():
    text = "x" * 47 + "é!" * 20
    assert from_base64(base64.b64encode(text.encode()).decode()) == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", "plain"),
        ("é".encode(), "é"),
        (b"\xe9", "é"),
        (b"\xc0\xaf", "/"),
        (b"\xff\xfe\x00", "ÿþ\x00"),
        (b"\xed\xa0\x80", "í\xa0\x80"),
    ],
)
def test_bytes_become_text(raw, text):
    assert decode_bytes(raw) == text


def test_invalid_percent_codes_stay():
    assert percent_decoded("%zz%4%%41%uZZZZ%ud800") == "%zz%4%A%uZZZZ%ud800"


def test_digits_without_end_cost_no_arithmetic():
    value = "&#" + "9" * 100_000 + ";"
    assert texts(value) <= {value, value.replace("&#9999999", "\ufffd")}


def test_what_stands_for_many_characters_grows_within_bounds():
    value = "\ufdfa" * 1000
    assert max(map(len, texts(value))) <= 4 * len(value)
