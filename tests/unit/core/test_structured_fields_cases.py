"""Every case of the HTTP working group's structured-field-tests."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

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

CASES = Path(__file__).parents[4] / "shared" / "data" / "http" / "structured-field-tests"
PARSE = {"item": parse_item, "list": parse_list, "dictionary": parse_dictionary}
SERIALISE = {"item": serialise_item, "list": serialise_list, "dictionary": serialise_dictionary}

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"the structured-field-tests are not at {CASES}")


def cases(folder: Path) -> list[Any]:
    return [
        pytest.param(case, id=f"{file.stem}: {case['name']}")
        for file in sorted(folder.glob("*.json"))
        for case in json.loads(file.read_text())
    ]


def bare(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    match value["__type"]:
        case "token":
            return Token(value["value"])
        case "binary":
            return base64.b32decode(value["value"])
        case "date":
            return Date(value["value"])
        case "displaystring":
            return DisplayString(value["value"])
    raise AssertionError(value)


def member(value: Any) -> Item | InnerList:
    parameters = {key: bare(parameter) for key, parameter in value[1]}
    if isinstance(value[0], list):
        return InnerList(tuple(member(item) for item in value[0]), parameters)
    return Item(bare(value[0]), parameters)


def structure(kind: str, expected: Any) -> Any:
    if kind == "item":
        return member(expected)
    if kind == "list":
        return [member(value) for value in expected]
    return {key: member(value) for key, value in expected}


def typed(value: Any) -> Any:
    """Tell 1 from True and from 1.0, a Token from a String, and one order of keys from another."""
    if isinstance(value, Item | InnerList):
        return type(value).__name__, typed(value[0]), typed(value.parameters)
    if isinstance(value, dict):
        return [(key, typed(content)) for key, content in value.items()]
    if isinstance(value, list | tuple):
        return [typed(content) for content in value]
    return type(value).__name__, value


@pytest.mark.parametrize("case", cases(CASES))
def test_parses_and_serialises(case: dict[str, Any]) -> None:
    kind = case["header_type"]
    field = ", ".join(case["raw"])
    if case.get("must_fail"):
        with pytest.raises(StructuredFieldError):
            PARSE[kind](field)
        return
    parsed = PARSE[kind](field)
    expected = structure(kind, case["expected"])
    assert typed(parsed) == typed(expected)
    assert SERIALISE[kind](expected) == ", ".join(case.get("canonical", case["raw"]))


@pytest.mark.parametrize("case", cases(CASES / "serialisation-tests"))
def test_serialises_or_refuses(case: dict[str, Any]) -> None:
    kind = case["header_type"]
    value = structure(kind, case["expected"])
    if case.get("must_fail"):
        with pytest.raises(StructuredFieldError):
            SERIALISE[kind](value)
    else:
        assert SERIALISE[kind](value) == ", ".join(case["canonical"])


def test_the_cases_are_all_there() -> None:
    assert len(cases(CASES)) >= 1500
    assert len(cases(CASES / "serialisation-tests")) >= 500
