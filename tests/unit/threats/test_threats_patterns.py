"""Many patterns at once: every library tells the same groups, and every trigger suits all of them."""

import functools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.adapters.patterns import BACKENDS, HyperscanMatcher, compile_patterns
from seawall.core.errors import ConfigurationError
from seawall.systems.threats.detectors.registry import DETECTORS

_HYPERSCAN = functools.cache(HyperscanMatcher)
GROUPS = (("select\\s", "union"), ("<script",), (), ("^start", "end$"), ("a.b",))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("", set()),
        ("nothing here", set()),
        ("UNION and SELECT ", {0}),
        ("one\nSTART", {3}),
        ("the end\nof it", {3}),
        ("a\nb <ScRiPt", {1, 4}),
        ("é < \ud800 union", {0}),
        ("a" * 100_000 + "union", {0}),
    ],
)
def test_groups_that_match_are_named_once(backend, text, groups):
    found = compile_patterns(GROUPS, backend=backend).match(text)
    assert set(found) == groups
    assert len(found) == len(groups)


@pytest.mark.parametrize("backend", BACKENDS)
def test_characters_beyond_ascii_are_characters(backend):
    match = compile_patterns(((r"a[\r\u2028\uff0e]b",), (r"\xc0\xae",), (r"x\udcc0",), ("é+$",)), backend=backend).match
    assert set(match("a\u2028b")) == {0}
    assert set(match("A\uff0eB")) == {0}
    assert set(match("\xc0\xae")) == {1}
    assert set(match("\xc3\x80")) == set()
    assert set(match("caféé")) == {3}
    assert set(match("a\u2029b")) == set()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("a[^b]c", "a\U0001f600c"),
        ("a.c", "a\u20acc"),
        (r"a\Wc", "a\u00e9c"),
        ("a[^b]?c", "a\u20acc"),
        ("a[^b]{2}c", "a\u20ac\U0001f600c"),
        ("a[^b]{1,3}c", "a\u20ac\U0001f600\u00e9c"),
        (r"a[\W_]{2,3}c", "a\u20ac\U0001f600_c"),
        (r"a(?:[^b]x){0,2}c", "a\u20acx\u20acxc"),
        (r"a[^]b]c", "a\u20acc"),
        (r"a\.[^b]", "a.\u20ac"),
    ],
)
def test_a_class_that_takes_any_character_takes_the_bytes_of_one(backend, pattern, text):
    assert list(compile_patterns(((pattern,),), backend=backend).match(text)) == [0]


PIECES = (
    "select", " from ", "\u20ac", "\U0001f600", "\u00e9", "'", "or", " ", "(", "1", "=", "--", ";", "<a", "union", "/*",
    "like", "/etc", "id", "|", "\n", "${", "{{", "and", "&&",
)  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
@settings(deadline=None)  # the first compiles the patterns
def test_hyperscan_names_every_group_that_re_names(text):
    triggers = tuple(detector.triggers for detector in DETECTORS)
    matching = set(_HYPERSCAN(triggers).match(text))
    for index, patterns in enumerate(triggers):
        if any(_compiled(pattern).search(text) for pattern in patterns):
            assert index in matching, DETECTORS[index].name


@functools.cache
def _compiled(pattern):
    return re.compile(pattern, re.IGNORECASE | re.DOTALL | re.MULTILINE | re.ASCII)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_patterns_match_nothing(backend):
    assert list(compile_patterns((), backend=backend).match("anything")) == []
    assert list(compile_patterns(((), ()), backend=backend).match("anything")) == []


def test_the_first_library_that_runs_is_taken():
    assert compile_patterns(GROUPS).backend in BACKENDS


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_pattern_that_no_library_takes_is_an_error_that_names_it(backend):
    with pytest.raises(ConfigurationError, match="no library can match"):
        compile_patterns((("(",),), backend=backend)


def test_what_was_compiled_is_taken_from_the_cache(tmp_path):
    compile_patterns(GROUPS, backend="hyperscan", cache=tmp_path)
    kept = max(tmp_path.iterdir())
    written = kept.stat().st_mtime_ns
    assert set(compile_patterns(GROUPS, backend="hyperscan", cache=tmp_path).match("union <script")) == {0, 1}
    assert kept.stat().st_mtime_ns == written


def test_other_patterns_are_another_entry_of_the_cache_and_few_are_kept(tmp_path):
    for number in range(12):
        HyperscanMatcher(((f"word{number}",),), tmp_path)
    assert len(list(tmp_path.iterdir())) == 8


@pytest.mark.parametrize("backend", BACKENDS)
def test_candidates_are_the_texts_that_match(backend):
    matcher = compile_patterns((*GROUPS, ("x\\s$",)), backend=backend)
    assert list(matcher.candidates([])) == []
    assert list(matcher.candidates(["", "plain", ""])) == []
    texts = ["plain", "union", "é" * 9, "éé <script", "", "select ", "an end", "more", "ax "]
    assert list(matcher.candidates(texts)) == [1, 3, 5, 6, 8]


@given(st.lists(st.text(alphabet="ab<sé \n", max_size=8), max_size=12))
def test_no_text_that_matches_is_passed_over(texts):
    groups = (("a b", "^<", "s$"), ("é+a",), ("b.s",))
    exact = compile_patterns(groups, backend="re")
    matching = [index for index, text in enumerate(texts) if exact.match(text)]
    assert list(exact.candidates(texts)) == matching
    assert set(matching) <= set(_HYPERSCAN(groups).candidates(texts))


def test_very_many_matches_make_every_text_a_candidate():
    texts = ["plain", "union " * 10_000, "plain"]
    assert list(compile_patterns(GROUPS, backend="hyperscan").candidates(texts)) == [0, 1, 2]
    assert list(compile_patterns(GROUPS, backend="hyperscan").match(texts[1])) == [0, 1, 3, 4]


def test_a_damaged_entry_of_the_cache_is_compiled_anew(tmp_path):
    compile_patterns(GROUPS, backend="hyperscan", cache=tmp_path)
    kept = max(tmp_path.iterdir())
    for entry in tmp_path.iterdir():
        entry.write_bytes(b"damaged")
    assert set(compile_patterns(GROUPS, backend="hyperscan", cache=tmp_path).match("union")) == {0}
    assert kept.stat().st_size > 1000


def test_a_pattern_that_is_too_large_is_approximated():
    large = "[;|&][a-z ]{0,64}(?:" + "|".join(f"word{n}[a-z]{{0,40}}x" for n in range(300)) + ")"
    found = HyperscanMatcher(((large,), ("plain",))).match("; word7abcx plain")
    assert set(found) == {0, 1}


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)
def test_triggers_suit_every_library(detector):
    for trigger in detector.triggers:
        assert not re.search(r"\(\?[=!<]|(?<!\\)\\[1-9]", trigger), trigger
        for backend in BACKENDS:
            assert list(compile_patterns(((trigger,),), backend=backend).match("")) in ([], [0])
