"""The stage of limits remembers what decides on requests alike, and decides as the engine does on each by itself."""

from hypothesis import given, reject
from hypothesis import strategies as st

from seawall.core.errors import ConfigurationError
from seawall.core.request import Request
from seawall.pipeline.limits import LimitStage
from seawall.pipeline.passage import Passage, Refusal
from seawall.systems.ratelimit.condition import Condition
from seawall.systems.ratelimit.engine import RateLimitEngine
from seawall.systems.ratelimit.keys import LimitContext
from seawall.systems.ratelimit.model import (
    EndpointFactor,
    LimitResult,
    RateLimitSnapshot,
    RuleSnapshot,
    WindowSnapshot,
)

PATHS = [b"/", b"/login", b"/login;a=1", b"/login/x", b"/api/a", b"/api/b", b"/api/..;/login", b"/a" * 200]
FIELDS = [(b"x-team", b"blue"), (b"x-team", b"red"), (b"x-team", b"r" * 600), (b"x-plan", b"free"), (b"accept", b"*/*")]

conditions = st.builds(
    Condition,
    paths=st.lists(st.sampled_from(["/login", "/api", "/api/a", "/"]), max_size=2).map(tuple),
    methods=st.sampled_from([(), ("POST",)]),
    routes=st.sampled_from([(), ("api",)]),
    headers=st.sampled_from([{}, {"x-team": "blue"}, {"x-team": "*"}, {"x-plan": "free"}]),
)
keys = st.lists(st.sampled_from(["client", "route", "header:x-team", "global"]), min_size=1, max_size=2, unique=True)
endpoints = st.lists(
    st.builds(EndpointFactor, factor=st.sampled_from([0.5, 0.25]), paths=st.sampled_from([(), ("/api",), ("/login",)])),
    max_size=2,
)
rules = st.lists(st.tuples(conditions, keys, endpoints, st.integers(1, 12)), min_size=1, max_size=4)
requests = st.lists(
    st.tuples(
        st.sampled_from(["192.0.2.1", "192.0.2.2"]),
        st.sampled_from(["GET", "POST"]),
        st.sampled_from(PATHS),
        st.lists(st.sampled_from(FIELDS), max_size=3),
        st.sampled_from([0.0, 0.0, 0.5]),
    ),
    min_size=1,
    max_size=60,
)


class Owner:
    def on_admitted(self, refusal: Refusal | None) -> None:
        raise AssertionError(refusal)

    def on_hold(self) -> None:
        raise AssertionError


def made(number: int, table) -> RuleSnapshot:
    match, key, factors, limit = table
    window = WindowSnapshot(name="w", limit=float(limit), window=10.0)
    return RuleSnapshot(id=f"r{number}", key=tuple(key), windows=(window,), match=match, endpoints=tuple(factors))


def route_name(request: Request) -> str:
    return "api" if request.path.startswith(b"/api") else "rest"


def context_of(request: Request) -> LimitContext:
    first: dict[str, str] = {}
    for name, value in request.headers:
        first.setdefault(name.decode(), value.decode())
    return LimitContext(
        client=request.client,
        method=request.method,
        path=request.path.decode(),
        headers=first,
        pool="web",
        route=route_name(request),
    )


@given(rules, requests)
def test_the_stage_decides_as_the_engine_does(tables, asked):
    snapshot = RateLimitSnapshot(
        version=1, rules=tuple(made(number, table) for number, table in enumerate(tables)), headers=("ratelimit",)
    )
    usual, staged = RateLimitEngine(lambda: 0.0), RateLimitEngine(lambda: 0.0)
    now = 1000.0
    stage = LimitStage(staged, lambda: now, route_name, None)
    try:
        usual.apply(snapshot)
    except ConfigurationError:  # a rule stands in the way of a later one
        reject()
    staged.apply(snapshot)
    stage.refresh()
    for client, method, path, fields, pause in asked:
        now += pause
        request = Request(method, path, fields, client=client)
        expected = usual.begin(context_of(request), now)
        assert isinstance(expected, LimitResult)
        passage = Passage(request, "web", Owner())
        verdict = stage.enter(passage)
        assert (verdict is None) is expected.allowed
        if passage.admission is not None:
            rule, key, _, limits, *_ = passage.admission
            assert (rule.id, key, limits[0]) == (expected.rule, expected.key, expected.limit)
        elif passage.limit is not None:
            assert (passage.limit.rule, passage.limit.key) == (expected.rule, expected.key)
            assert passage.limit.remaining == expected.remaining
    assert usual.report(full=True).rules == staged.report(full=True).rules
