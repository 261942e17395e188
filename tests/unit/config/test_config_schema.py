"""The JSON Schema accepts what the loader accepts and refuses mistakes; every property is described, with its unit."""

import tomllib

import jsonschema_rs
import pytest

from seawall.config.schema import DIALECT, json_schema
from seawall.control.tree import Settings

SCHEMA = json_schema(Settings)
GOOD = """
[gateway]
listen = "0.0.0.0:8080"
[balancing]
strategy = "adaptive"
[balancing.pools.web]
instances = ["http://a", { url = "http://b", weight = 2, location = [1, 2.5] }]
health.path = "/x"
affinity = {}
regions = { eu = [50, 8] }
[[balancing.routes]]
pool = "web"
headers = { x-a = "b" }
"""


def test_it_is_a_schema_of_the_dialect_that_it_names() -> None:
    assert SCHEMA["$schema"] == DIALECT == "https://json-schema.org/draft/2020-12/schema"
    assert jsonschema_rs.meta.is_valid(SCHEMA)


def test_a_good_file_is_valid() -> None:
    document = tomllib.loads(GOOD)
    Settings.model_validate(document)
    assert jsonschema_rs.validator_for(SCHEMA).is_valid(document)


@pytest.mark.parametrize(
    "text",
    [
        "gateway.wrkers = 1",
        'gateway.workers = "1"',
        "gateway.workers = -1",
        'balancing.strategy = "fast"',
        "balancing.pools.web.instances = [1]",
        "balancing.pools.web.instances = [{ weight = 1 }]",
        'balancing.pools.web.instances = [{ url = "http://a", weight = 0 }]',
        'balancing.pools."a b" = {}',
        "[[balancing.routes]]\npath = '/'",
        "balancing.pools.web.regions.eu = [1]",
        "other = 1",
    ],
)
def test_a_bad_file_is_not(text: str) -> None:
    assert not jsonschema_rs.validator_for(SCHEMA).is_valid(tomllib.loads(text))


def properties() -> list[tuple[str, str, dict[str, object]]]:
    found = []
    for name, table in (("Settings", SCHEMA), *SCHEMA["$defs"].items()):
        for branch in table.get("anyOf", [table]):
            found += [(name, key, field) for key, field in branch.get("properties", {}).items()]
    return found


@pytest.mark.parametrize(
    ("table", "key", "field"), properties(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_property_is_described(table: str, key: str, field: dict[str, object]) -> None:
    assert str(field["description"]).endswith((".", ")"))
    if field.get("type") in {"integer", "number"}:
        assert f"({field['x-unit']})" in str(field["description"])
    if key.endswith("_ms"):
        assert field["x-unit"] == "ms"
    if key.endswith("_bytes"):
        assert field["x-unit"] == "bytes"


def test_nothing_was_left_out() -> None:
    assert len(properties()) > 80
