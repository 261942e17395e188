"""Decoding never raises and never grows without bound, whatever it is given."""

import base64
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.systems.threats.inspection.decoding import decode_bytes, views

PIECES = st.sampled_from(
    ["%", "%25", "%u00", "&", "&amp;", "&#", "&#x3", ";", "\\", "\\u", "\\u{", "\\x4", "/*", "*/", "/*!", "+", "=",
     "\x00", "\ufdfa", "\ud800", "\udcff", "ff", "1", "41", "c0", "af", "é", "Zm9v", ";base64,", " ", "a"]
)  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=200),
    st.lists(PIECES, max_size=80).map("".join),
    st.text(alphabet=st.characters(codec=None), max_size=80),
    st.binary(max_size=200).map(lambda raw: base64.b64encode(raw).decode()),
)


@given(TEXTS)
@settings(max_examples=400)
def test_views_are_few_and_no_longer_than_four_times_the_text(text):
    found = views(text)
    assert found[0] == (text, ())
    assert len(found) <= 30
    assert all(len(view) <= 4 * len(text) + 4 for view, _ in found)
    assert all(len(chain) <= 24 for _, chain in found)


@given(st.text(max_size=60), st.integers(1, 3))
def test_percent_codes_are_undone_up_to_three_times(text, times):
    encoded = text.encode("utf-8", "replace").decode()
    expected = encoded
    for _ in range(times):
        encoded = quote(encoded, safe="")
    assert expected in {view for view, _ in views(encoded)}


@given(st.binary(max_size=300))
def test_any_bytes_become_text(raw):
    assert len(decode_bytes(raw)) <= len(raw)
