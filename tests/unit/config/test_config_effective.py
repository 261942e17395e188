"""Effective values of pools and routes: what is inherited, what is put into its one spelling."""

import pytest

from seawall.systems.balancing.model import StrategyName
from seawall.systems.balancing.settings import BalancingSettings, HealthSettings, PoolSettings, StrategySetting


def settings(**values: object) -> BalancingSettings:
    return BalancingSettings.model_validate(values)


def test_the_strategies_are_those_of_the_model() -> None:
    assert list(StrategySetting.__args__) == [name.value for name in StrategyName]


def test_a_pool_takes_what_it_does_not_say_from_the_defaults() -> None:
    found = settings(
        strategy="random",
        health={"interval_ms": 70, "timeout_ms": 20},
        outliers={"enabled": False},
        pools={"a": {"health": {"timeout_ms": 30}}, "b": {"strategy": "weighted", "outliers": {"enabled": True}}},
    )
    a, b = found.pools["a"], found.pools["b"]
    assert (a.strategy, a.health.interval_ms, a.health.timeout_ms, a.outliers.enabled) == ("random", 70, 30, False)
    assert (b.strategy, b.health.interval_ms, b.health.timeout_ms, b.outliers.enabled) == ("weighted", 70, 20, True)


@pytest.mark.parametrize(
    ("defaults", "own", "kind"),
    [
        ({}, {}, "tcp"),
        ({"path": "/"}, {}, "http"),
        ({}, {"path": "/"}, "http"),
        ({"kind": "tcp"}, {"path": "/"}, "http"),
        ({"path": "/"}, {"kind": "none"}, "none"),
        ({"kind": "http"}, {}, "http"),
        ({"kind": "none"}, {"interval_ms": 50}, "none"),
    ],
)
def test_a_path_makes_the_check_an_http_check(defaults, own, kind: str) -> None:
    assert settings(health=defaults, pools={"a": {"health": own}}).pools["a"].health.kind == kind


def test_settling_twice_changes_nothing() -> None:
    once = settings(
        health={"interval_ms": 70, "path": "/x"}, pools={"a": {"instances": ["http://h"]}}, routes=[{"pool": "a"}]
    )
    again = BalancingSettings(strategy=once.strategy, health=once.health, pools=once.pools, routes=once.routes)
    assert again == once


def test_several_pools_without_routes_are_fine_without_a_gateway() -> None:
    assert list(settings(pools={"a": {}, "b": {}}).pools) == ["a", "b"]


def test_routes_without_a_name_are_numbered() -> None:
    routes = [{"pool": "a", "path": "/1"}, {"pool": "a", "path": "/2", "name": "two"}, {"pool": "a"}]
    assert [route.name for route in settings(pools={"a": {}}, routes=routes).routes] == ["route-1", "two", "route-3"]


def test_one_spelling() -> None:
    pool = PoolSettings.model_validate(
        {
            "instances": ["HTTP://Host:80/", "https://[2001:DB8::1]:443", "unix:/run/X.sock", "http://10.0.0.1"],
            "hash_key": "header:X-Tenant",
            "region_header": "X-Region",
        }
    )
    assert [instance.url for instance in pool.instances] == [
        "http://host:80",
        "https://[2001:db8::1]:443",
        "unix:/run/X.sock",
        "http://10.0.0.1",
    ]
    assert (pool.hash_key, pool.region_header) == ("header:x-tenant", "x-region")
    route = settings(
        pools={"a": {}}, routes=[{"pool": "a", "host": "*.Example.ORG", "methods": ["get"], "headers": {"X-A": "B"}}]
    ).routes[0]
    assert (route.host, route.methods, route.headers) == ("*.example.org", ("GET",), {"x-a": "B"})


def test_status_ranges() -> None:
    health = HealthSettings(path="/", expect_status="200-204, 301,400-499")
    assert health.status_ranges == ((200, 204), (301, 301), (400, 499))


def test_sections_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        HealthSettings().interval_ms = 1
