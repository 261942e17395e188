"""Which pool takes a request."""

import random

import pytest
from balancing_pools import Hand, get

from seawall.systems.balancing.engine import BalancingEngine
from seawall.systems.balancing.model import BalancingSnapshot, PoolSnapshot, RouteSnapshot
from seawall.systems.balancing.router import host_name


def engine(*routes, pools=("a", "b", "c")):
    made = BalancingEngine(Hand(), random.Random(1))
    made.apply(
        BalancingSnapshot(version=1, pools=tuple(PoolSnapshot(name=name) for name in pools), routes=tuple(routes))
    )
    return made


def route(pool, **fields):
    return RouteSnapshot(name=f"to-{pool}", pool=pool, **fields)


def taken(made, request):
    pool = made.route(request)
    return None if pool is None else pool.name


def test_one_pool_without_routes_takes_everything():
    assert taken(engine(pools=("a",)), get(target=b"/any", host=b"")) == "a"


def test_several_pools_without_routes_take_nothing():
    assert taken(engine(), get()) is None


def test_before_the_first_snapshot_nothing_matches():
    assert BalancingEngine(Hand(), random.Random(1)).route(get()) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/api", "a"),
        (b"/api/", "a"),
        (b"/api/v1?x=/", "a"),
        (b"/api?x=1", "a"),
        (b"/apix", "b"),
        (b"/ap", "b"),
        (b"/", "b"),
        (b"*", "b"),
    ],
)
@pytest.mark.parametrize("prefix", ["/api", "/api/"])
def test_a_prefix_matches_whole_segments(prefix, path, expected):
    assert taken(engine(route("a", path_prefix=prefix), route("b")), get(target=path)) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (b"example.org", "a"),
        (b"example.org:8080", "a"),
        (b"example.org.", "a"),
        (b"www.example.org", "b"),
        (b"a.b.example.org:1", "b"),
        (b"notexample.org", "c"),
        (b"", "c"),
        (b"[::1]:80", "c"),
    ],
)
def test_hosts_match_exactly_or_by_suffix(host, expected):
    made = engine(route("a", host="example.org"), route("b", host="*.example.org"), route("c"))
    assert taken(made, get(host=host)) == expected


def test_an_ipv6_literal_is_a_host():
    assert taken(engine(route("a", host="[::1]")), get(host=b"[::1]:8080")) == "a"
    assert host_name(b"[2001:db8::1]:443") == b"[2001:db8::1]"


def test_the_first_match_in_file_order_wins_across_kinds_of_host():
    first = engine(route("c"), route("a", host="example.org"), route("b", host="*.example.org"))
    assert taken(first, get()) == "c"
    wild = engine(route("b", host="*.example.org"), route("a", host="www.example.org"))
    assert taken(wild, get(host=b"www.example.org")) == "b"
    assert taken(wild, get(host=b"example.org")) is None


def test_methods_and_headers_must_all_match():
    made = engine(
        route("a", methods=("POST", "PUT"), headers={"x-tenant": "gold", "x-beta": "1"}),
        route("b", methods=("POST",)),
    )
    both = ((b"x-beta", b"1"), (b"x-tenant", b"gold"))
    assert taken(made, get(*both, method="PUT")) == "a"
    assert taken(made, get(both[0], method="POST")) == "b"
    assert taken(made, get((b"x-tenant", b"Gold"), both[0], method="POST")) == "b"
    assert taken(made, get(*both)) is None
