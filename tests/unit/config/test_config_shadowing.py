"""A route that an earlier one leaves nothing to is refused; one that may still match is not."""

import pytest

from seawall.config.shadowing import EarlierRoutes
from seawall.systems.balancing.settings import RouteSettings


def covered(earlier: dict[str, object], later: dict[str, object]) -> bool:
    routes = EarlierRoutes()
    routes.add(7, RouteSettings.model_validate({"pool": "a", **earlier}))
    found = routes.covering(RouteSettings.model_validate({"pool": "b", **later}))
    assert found in {None, 7}
    return found is not None


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({}, {"path": "/x"}),
        ({}, {"host": "a.org", "methods": ["GET"], "headers": {"x": "1"}, "path": "/x"}),
        ({"path": "/x"}, {"path": "/x/y"}),
        ({"path": "/x/"}, {"path": "/x"}),
        ({"path": "/x"}, {"path": "/x//y"}),
        ({"host": "a.org"}, {"host": "A.org", "path": "/x"}),
        ({"host": "*.org"}, {"host": "a.b.org"}),
        ({"host": "*.b.org"}, {"host": "*.a.b.org"}),
        ({"methods": ["GET", "PUT"]}, {"methods": ["put"]}),
        ({"headers": {"X-B": "1"}}, {"headers": {"x-a": "2", "x-b": "1"}}),
    ],
)
def test_what_is_as_narrow_or_narrower_is_covered(earlier, later) -> None:
    assert covered(earlier, later)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({"path": "/x"}, {}),
        ({"path": "/x"}, {"path": "/xy"}),
        ({"path": "/x/y"}, {"path": "/x"}),
        ({"host": "a.org"}, {"host": "b.org"}),
        ({"host": "a.org"}, {}),
        ({"host": "*.a.org"}, {"host": "a.org"}),
        ({"host": "a.b.org"}, {"host": "*.b.org"}),
        ({"host": "*.a.b.org"}, {"host": "*.b.org"}),
        ({"methods": ["GET"]}, {}),
        ({"methods": ["GET"]}, {"methods": ["GET", "PUT"]}),
        ({"headers": {"x": "1"}}, {}),
        ({"headers": {"x": "1"}}, {"headers": {"x": "2"}}),
        ({"headers": {"x": "1", "y": "1"}}, {"headers": {"x": "1"}}),
        ({"path": "/x", "methods": ["GET"]}, {"path": "/x/y"}),
    ],
)
def test_what_may_still_match_is_not(earlier, later) -> None:
    assert not covered(earlier, later)


def test_the_first_of_several_is_named() -> None:
    routes = EarlierRoutes()
    for index, path in enumerate(["/other", "/x", "/x/y"]):
        routes.add(index, RouteSettings(pool="a", path=path))
    assert routes.covering(RouteSettings(pool="b", path="/x/y/z")) == 1
