"""Strings of a JSON text are the same however they are found."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from seawall.systems.threats.inspection.documents import _STRING, _strings

PIECES = st.sampled_from(['"', ":", " ", "\\", "{", "}", "[", ",", "query", "a", "\n", "1", "é", "\x1c"])


def check(text: str) -> None:
    strings, behind = _strings(text)
    is_key = [following.lstrip()[:1] == ":" for following in behind]
    expected = [(content, bool(colon)) for content, colon in _STRING.findall(text)]
    assert list(zip(strings, is_key, strict=True)) == expected


@given(st.lists(PIECES, max_size=40).map("".join))
def test_any_text_is_read_alike_with_and_without_escapes(text):
    check(text)
    check(text.replace("\\", ""))


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_documents_give_their_keys_and_strings(document):
    for text in (json.dumps(document), json.dumps(document, ensure_ascii=False, indent=1)):
        check(text)
        strings, _ = _strings(text)
        assert len(strings) == len(re.findall(r'"(?:[^"\\]|\\.)*"', text))
