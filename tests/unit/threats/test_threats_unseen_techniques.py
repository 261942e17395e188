"""Techniques from lists by several hands are found: by class, in every place of a request, in every encoding."""

import base64

import pytest
from technique_places import CLASSES, ENCODINGS, PLACES, Built, rows

from seawall.adapters.patterns import cache_folder, compile_patterns
from seawall.core.request import Request
from seawall.systems.threats.engine import ThreatEngine
from seawall.systems.threats.inspection.policy import Policy
from seawall.systems.threats.model import Action

# The least share of rows, in percent, that is acted upon; `benchmarks/threats/techniques.py` prints today's.
_LEAST = {
    "code-injection": 95,
    "command-injection": 97,
    "header-injection": 88,
    "ldap-injection": 92,
    "lookup-injection": 99,
    "nosql-injection": 95,
    "path-traversal": 96,
    "prototype-pollution": 96,
    "sql-injection": 98,
    "ssrf": 91,
    "template-injection": 96,
    "web-shell": 99,
    "xpath-injection": 98,
    "xss": 99,
    "xxe": 99,
}
# Places in which a value is written as in a query, and read as the value of one.
_ALIKE = ("query", "query-name", "form", "cookie", "json", "json-key", "multipart", "xml", "graphql-variable")
_PASSED = {Action.ALLOW, Action.TAG}


@pytest.fixture(scope="module")
def engine() -> ThreatEngine:
    return ThreatEngine(Policy(), lambda groups: compile_patterns(groups, cache=cache_folder()))


def share(engine: ThreatEngine, built: list[Built]) -> float:
    return 100 * sum(engine.inspect(*each).action not in _PASSED for each in built) / len(built)


def test_every_class_has_a_floor() -> None:
    assert set(CLASSES) == set(_LEAST)


@pytest.mark.parametrize("place", _ALIKE)
@pytest.mark.parametrize("category", CLASSES)
def test_a_technique_is_found_wherever_a_value_stands(engine: ThreatEngine, category: str, place: str) -> None:
    assert share(engine, [PLACES[place](text) for text in rows(category)]) >= _LEAST[category] - 1


@pytest.mark.parametrize("encoding", ["percent-twice", "percent-all", "entities", "escapes", "wide", "base64"])
@pytest.mark.parametrize("category", CLASSES)
def test_an_encoding_hides_little(engine: ThreatEngine, category: str, encoding: str) -> None:
    texts = [text for text in rows(category) if encoding != "base64" or len(base64.b64encode(text.encode())) >= 16]
    built = [PLACES["query"](ENCODINGS[encoding](text)) for text in texts]
    assert share(engine, built) >= _LEAST[category] - 6


@pytest.mark.parametrize(
    "media", ["application/xml", "text/xml; charset=utf-8", "application/soap+xml", "text/plain", ""]
)
def test_a_document_type_is_found_in_the_body_that_it_is_of(engine: ThreatEngine, media: str) -> None:
    documents = [text for text in rows("xxe") if text.startswith("<")]
    built = [
        (Request("POST", b"/soap/service", [(b"content-type", media.encode())]), text.encode()) for text in documents
    ]
    assert len(documents) > 20
    assert share(engine, built) >= _LEAST["xxe"] - 1
