"""Judging markup and templates is linear in the text: counted in characters, as time would depend on the machine."""

import pytest

from seawall.systems.threats.detectors import (
    js_words,
    ldap,
    prose,
    template,
    xss,
    xss_code,
    xss_markup,
    xss_pages,
    xss_style,
)
from seawall.systems.threats.model import PlaceKind

_SIZE = 16_384
_TIMES = 6
"""Times that a character may be judged on the whole, for what a text may be read as."""


class _Counted:
    """Stands for a pattern, and counts the characters that it was shown."""

    def __init__(self, pattern):
        self._pattern = pattern
        self.characters = 0

    def search(self, text, start=0, end=None):
        stop = len(text) if end is None else min(end, len(text))
        self.characters += max(stop - start, 0)
        return self._pattern.search(text, start, stop)


@pytest.fixture
def judged(monkeypatch):
    """Count the characters that are judged as JavaScript, or counted as words."""
    characters = []

    def judge(text, start=0, end=None):
        characters.append((len(text) if end is None else end) - start)
        return js_words.judge(text, start, end)

    def words(text, start=0, end=None, limit=12):
        characters.append((len(text) if end is None else end) - start)
        return prose.plain_words(text, start, end, limit)

    for module in (xss, xss_code, xss_markup, xss_pages, xss_style):
        monkeypatch.setattr(module, "judge", judge)
    for module in (xss, xss_code, xss_style, ldap):
        monkeypatch.setattr(module, "plain_words", words)
    return characters


@pytest.mark.parametrize(
    "piece",
    [
        "$<style=", "<style>", "<style", "<style>a{b:c}", "<style>'", "<script", "<script>", "<script src=a>", "<title",
        "<script>a", "<title>", "<textarea>", "<noscript>", "<xmp>", "<svg", "<svg><style>", "<math", "<!--", "<a b=`",
        "<!--<style>", "<![CDATA[", "<![CDATA[<style>", "<a href='", '<a b="', "<a b='\"`", "<a b=<", "<x on=",
        "</on=$", "<img src=x onerror=a", "{=<math", "<a id=a name=b>", "data:image/svg,<style>", "onload=a ",
        "data:text/html,<script>",
    ],
)  # fmt: skip
@pytest.mark.parametrize("around", ["", "${CLICK_URL}", "<a b='", "the first line of a letter to you: "])
def test_what_is_judged_of_markup_grows_with_its_length(judged, piece, around):
    text = around + piece * (_SIZE // len(piece))
    xss.scan(text, PlaceKind.FORM)
    assert sum(judged) <= _TIMES * len(text)


@pytest.mark.parametrize("piece", ["(uid=", "(&(uid=", "(uid=a", "(uid=&; ", "*(cn="])
def test_words_around_a_filter_are_counted_once(judged, piece):
    ldap.scan(piece * (_SIZE // len(piece)), PlaceKind.FORM)
    assert sum(judged) <= 4 * _SIZE


@pytest.mark.parametrize("piece", ["{{", "{{7*7", "{%", "${", "{{a", "[[", "<%", "{{a|b ", "#{", "$(7*", "{#", "@("])
@pytest.mark.parametrize("closed", ["", "}}", "%}", "}"])
def test_expressions_within_others_are_not_judged_once_for_each(monkeypatch, piece, closed):
    counted = _Counted(template._INSIDE)
    monkeypatch.setattr(template, "_INSIDE", counted)
    template.scan(piece * (1000 // len(piece)) + closed, PlaceKind.FORM)
    assert counted.characters <= 3 * 1000


def test_a_style_sheet_after_many_is_still_judged():
    for filler in ("<style>a{b:c}</style>" * 200, "<style>" * 300 + "</style>"):
        found = xss.scan(filler + "<style>@import '//evil.example/a.css';</style>", PlaceKind.FORM)
        assert max(signal.confidence for signal in found) >= 0.9


def test_a_handler_after_many_tags_in_an_attribute_is_still_judged():
    found = xss.scan("<a b='" + "<b>" * 100 + "<img src=x onerror=alert(1)>'>", PlaceKind.FORM)
    assert max(signal.confidence for signal in found) >= 0.9
