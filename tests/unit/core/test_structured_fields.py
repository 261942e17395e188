"""What the published cases do not show: round trips, refusals that explain, and nothing but our error on rubbish."""

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core.errors import SeawallError
from seawall.core.structured_fields import (
    Date,
    DisplayString,
    InnerList,
    Item,
    StructuredFieldError,
    Token,
    parse_dictionary,
    parse_item,
    parse_list,
    serialise_dictionary,
    serialise_item,
    serialise_list,
)

integers = st.integers(-999_999_999_999_999, 999_999_999_999_999)
keys = st.from_regex(r"\A[a-z*][a-z0-9_.*-]{0,8}\Z")
bare_items = st.one_of(
    st.booleans(),
    integers,
    integers.map(lambda thousandths: thousandths / 1000),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12),
    st.from_regex(r"\A[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]{0,8}\Z").map(Token),
    st.binary(max_size=12),
    integers.map(Date),
    st.text(max_size=12).map(DisplayString),
)
parameters = st.dictionaries(keys, bare_items, max_size=3)
items = st.builds(Item, bare_items, parameters)
members = st.one_of(items, st.builds(InnerList, st.lists(items, max_size=3).map(tuple), parameters))
fields = st.one_of(
    st.text(max_size=30),
    st.text(st.sampled_from('abA*019.-;,=() \t"\\:?@%/é\x00'), max_size=30),
)


def typed(value: object) -> object:
    if isinstance(value, Item | InnerList):
        return type(value), typed(value[0]), typed(dict(value.parameters))
    if isinstance(value, dict):
        return [(key, typed(content)) for key, content in value.items()]
    if isinstance(value, list | tuple):
        return [typed(content) for content in value]
    return type(value), value


@given(items)
def test_an_item_comes_back(item: Item) -> None:
    assert typed(parse_item(serialise_item(item))) == typed(item)


@given(st.lists(members, max_size=4))
def test_a_list_comes_back(value: list[Item | InnerList]) -> None:
    assert typed(parse_list(serialise_list(value))) == typed(value)


@given(st.dictionaries(keys, members, max_size=4))
def test_a_dictionary_comes_back(value: dict[str, Item | InnerList]) -> None:
    assert typed(parse_dictionary(serialise_dictionary(value))) == typed(value)


@given(fields)
def test_anything_is_parsed_canonically_or_refused(field: str) -> None:
    try:
        parsed = parse_list(field)
    except StructuredFieldError:
        pass
    else:
        assert typed(parse_list(serialise_list(parsed))) == typed(parsed)
    try:
        members = parse_dictionary(field)
    except StructuredFieldError:
        pass
    else:
        assert typed(parse_dictionary(serialise_dictionary(members))) == typed(members)


def test_a_refusal_says_where_and_what() -> None:
    with pytest.raises(StructuredFieldError, match=r"a comma was expected at position 7, found 'b=2'") as refused:
        parse_dictionary("a=1;c  b=2")
    assert isinstance(refused.value, SeawallError)
    assert refused.value.code == "structured-field-invalid"


def test_a_repeated_key_keeps_its_first_place_and_its_last_value() -> None:
    assert list(parse_dictionary("a=1, b=2, a=3").items()) == [("a", Item(3)), ("b", Item(2))]


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, 1e12, Decimal("999999999999.9996"), 10**15, Date(-(10**15))],
)
def test_numbers_out_of_range_are_refused(value: float) -> None:
    with pytest.raises(StructuredFieldError):
        serialise_item(Item(value))


@pytest.mark.parametrize("value", ["é", "line\n", Token("9lives"), Token(""), DisplayString("\ud800")])
def test_text_that_cannot_be_written_is_refused(value: str) -> None:
    with pytest.raises(StructuredFieldError):
        serialise_item(Item(value))


def test_a_decimal_is_written_exactly() -> None:
    assert serialise_item(Item(Decimal("999999999999.999"))) == "999999999999.999"
    assert serialise_item(Item(1e-7)) == "0.0"
    assert serialise_item(Item(2.0)) == "2.0"


def test_a_huge_field_costs_linear_time() -> None:
    members = parse_list(", ".join(["a;b=1"] * 20_000))
    assert len(members) == 20_000
    with pytest.raises(StructuredFieldError):
        parse_item('"' + "\\" * 100_001)
