"""What differs between two trees, and what of it needs a restart."""

import pytest

from seawall.config.changes import RESTART_ONLY, changed_paths, needs_restart
from seawall.config.shape import static_fields
from seawall.control.tree import Settings


def tree(**sections: object) -> Settings:
    return Settings.model_validate(sections)


@pytest.mark.parametrize(
    ("old", "new", "paths"),
    [
        ({}, {}, []),
        ({}, {"gateway": {"max_headers": 100}}, []),
        ({}, {"gateway": {"max_headers": 1, "listen": "127.0.0.1:1"}}, ["gateway.listen", "gateway.max_headers"]),
        ({"admin": {"token": "a" * 16}}, {"admin": {"token": "b" * 16}}, ["admin.token"]),
        ({}, {"balancing": {"pools": {"a.b": {}}}}, ['balancing.pools."a.b"']),
        ({"balancing": {"pools": {"a": {}}}}, {}, ["balancing.pools.a"]),
        (
            {"balancing": {"pools": {"a": {}}}},
            {"balancing": {"pools": {"a": {"instances": ["http://h"], "regions": {"eu": [1, 2]}}}}},
            ["balancing.pools.a.instances", "balancing.pools.a.regions.eu"],
        ),
        (
            {"balancing": {"pools": {"a": {}}}},
            {"balancing": {"pools": {"a": {}}, "health": {"interval_ms": 50}}},
            ["balancing.health.interval_ms", "balancing.pools.a.health.interval_ms"],
        ),
    ],
)
def test_changed_paths(old, new, paths: list[str]) -> None:
    assert changed_paths(tree(**old), tree(**new)) == paths


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("gateway.listen", True),
        ("gateway.workers", True),
        ("admin.listen", True),
        ("state.url", True),
        ("gateway.max_headers", False),
        ("administration", False),
        ("balancing.pools.web.instances", False),
    ],
)
def test_what_needs_a_restart(path: str, expected) -> None:
    assert needs_restart(path) is expected


def test_the_restart_list_names_settings_that_exist() -> None:
    assert {".".join(map(str, path)) for path, _ in static_fields(Settings)} >= RESTART_ONLY
