"""What holds for every rule, every request and every history."""

import math

from hypothesis import given
from hypothesis import strategies as st

from seawall.systems.ratelimit.condition import Condition, covers
from seawall.systems.ratelimit.engine import RateLimitEngine
from seawall.systems.ratelimit.keys import LimitContext, compile_key, parse_subject
from seawall.systems.ratelimit.model import (
    Algorithm,
    EndpointFactor,
    Mode,
    Override,
    Penalty,
    RateLimitSnapshot,
    RuleSnapshot,
    WindowSnapshot,
)
from seawall.systems.ratelimit.rules import compile_condition

PATHS = ["/", "/a", "/a/", "/a/b", "/a/bc", "/ab", "/b"]
METHODS = ["GET", "POST", "PUT"]
NAMES = ["", "x", "y"]
CLIENTS = ["10.0.0.1", "10.0.1.1", "2001:db8::1", "::ffff:10.0.0.1", "unknown", ""]
NETWORKS = ["10.0.0.0/24", "10.0.0.0/8", "10.0.0.1/32", "2001:db8::/32", "0.0.0.0/0"]


def some(values: list[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), max_size=2, unique=True).map(tuple)


conditions = st.builds(
    Condition,
    routes=some(NAMES[1:]),
    paths=some(PATHS),
    methods=some(METHODS),
    headers=st.dictionaries(st.sampled_from(["h", "i"]), st.sampled_from(["*", "1", "2"]), max_size=2),
    roles=some(["anonymous", "user", "admin"]),
    users=some(NAMES[1:]),
    tenants=some(NAMES[1:]),
    clients=some(NETWORKS),
)
contexts = st.builds(
    LimitContext,
    client=st.sampled_from(CLIENTS),
    user=st.sampled_from(NAMES),
    tenant=st.sampled_from(NAMES),
    role=st.sampled_from(["", "admin", "anonymous"]),
    route=st.sampled_from(NAMES),
    method=st.sampled_from(METHODS),
    path=st.sampled_from(PATHS),
    headers=st.dictionaries(st.sampled_from(["h", "i"]), st.sampled_from(["1", "2", "3"]), max_size=2),
)


def takes(condition: Condition, context: LimitContext) -> bool:
    matches = compile_condition(condition)
    return matches is None or matches(context)


@given(conditions, conditions, st.lists(contexts, min_size=1, max_size=20))
def test_what_covers_a_condition_takes_all_of_its_requests(
    wide: Condition, narrow: Condition, requests: list[LimitContext]
) -> None:
    if covers(wide, narrow):
        assert all(takes(wide, request) for request in requests if takes(narrow, request))


@given(conditions)
def test_a_condition_covers_itself_and_nothing_is_wider_than_nothing_asked(condition: Condition) -> None:
    assert covers(condition, condition)
    assert covers(Condition(), condition)


parts = st.lists(
    st.sampled_from(["identity", "client", "client/24", "user", "tenant", "api-key", "role", "route", "header:h"]),
    min_size=1,
    max_size=4,
)
texts = st.text(max_size=300)


@given(parts, texts, texts, texts, texts)
def test_keys_are_short_printable_and_the_same_for_the_same_request(
    key: list[str], identifier: str, user: str, secret: str, client: str
) -> None:
    build = compile_key(key)
    context = LimitContext(
        identifier=identifier, user=user, api_key=secret, client=client, tenant=user, route=secret, headers={"h": user}
    )
    made = build(context)
    assert made == build(context)
    assert len(made) <= 150 * len(key)


@given(st.sampled_from(["user", "tenant", "identity", "role"]), st.text(min_size=1, max_size=300))
def test_a_subject_of_a_value_is_the_key_of_its_requests(kind: str, value: str) -> None:
    field = {"identity": "identifier"}.get(kind, kind)
    assert compile_key([kind])(LimitContext(**{field: value})) == parse_subject(f"{kind}:{value}")


amounts = st.floats(min_value=0.5, max_value=1000)
factors = st.floats(min_value=0.01, max_value=1.0)


@given(
    limit=amounts,
    bounds=st.tuples(factors, st.floats(min_value=1, max_value=10)),
    role=st.floats(min_value=0.01, max_value=100),
    endpoint=st.floats(min_value=0.01, max_value=100),
    load=factors,
    threat=factors,
    own=factors,
    throttle=st.sampled_from([None, 0.5]),
    algorithm=st.sampled_from(list(Algorithm)),
)
def test_effective_limits_never_leave_their_bounds(
    limit: float,
    bounds: tuple[float, float],
    role: float,
    endpoint: float,
    load: float,
    threat: float,
    own: float,
    throttle: float | None,
    algorithm: Algorithm,
) -> None:
    window = WindowSnapshot(
        name="w", limit=limit, window=60.0, algorithm=algorithm, min=limit * bounds[0], max=limit * bounds[1]
    )
    rule = RuleSnapshot(
        id="r",
        key=("user",),
        windows=(window,),
        roles={"user": role},
        endpoints=(EndpointFactor(factor=endpoint),),
    )
    engine = RateLimitEngine(lambda: 0.0)
    engine.apply(RateLimitSnapshot(version=1, rules=(rule,), load={"": load}, threat=threat, threats={"user:x": own}))
    if throttle is not None:
        engine.penalise("user:x", Penalty(throttle, math.inf))
    result = engine.check(LimitContext(user="x", cost=0.0), 0.0)
    assert window.min <= result.limit <= window.max
    product = limit * role * endpoint * load * threat * own * (throttle or 1.0)
    assert math.isclose(result.limit, min(max(product, window.min), window.max), rel_tol=1e-9)


rules = st.lists(
    st.builds(
        lambda algorithm, limit, seconds, key, mode: (algorithm, float(limit), float(seconds), key, mode),
        st.sampled_from([Algorithm.GCRA, Algorithm.SLIDING_WINDOW, Algorithm.FIXED_WINDOW]),
        st.integers(1, 6),
        st.integers(1, 20),
        st.sampled_from(["user", "global", "client"]),
        st.sampled_from([Mode.ENFORCE, Mode.ENFORCE, Mode.SHADOW]),
    ),
    min_size=1,
    max_size=4,
)
histories = st.lists(
    st.tuples(
        st.floats(min_value=-5, max_value=30, allow_nan=False),
        st.sampled_from(["x", "y"]),
        st.sampled_from([0.0, 1.0, 2.0, 7.0]),
    ),
    max_size=40,
)


def build_engine(shapes: list[tuple[Algorithm, float, float, str, Mode]]) -> RateLimitEngine:
    engine = RateLimitEngine(lambda: 0.0)
    engine.apply(
        RateLimitSnapshot(
            version=1,
            rules=tuple(
                RuleSnapshot(
                    id=f"r{index}",
                    key=(key,),
                    windows=(WindowSnapshot(name=f"w{index}", limit=limit, window=seconds, algorithm=algorithm),),
                    mode=mode,
                    fallthrough=True,
                )
                for index, (algorithm, limit, seconds, key, mode) in enumerate(shapes)
            ),
        )
    )
    return engine


@given(rules, histories)
def test_what_is_refused_takes_nothing_and_shadows_never_refuse(
    shapes: list[tuple[Algorithm, float, float, str, Mode]], history: list[tuple[float, str, float]]
) -> None:
    """An engine that is asked everything equals one that is asked only what was admitted."""
    asked, told = build_engine(shapes), build_engine(shapes)
    now = 1000.0
    for elapsed, user, cost in history:
        now = max(now + max(elapsed, 0.0), 0.0)
        context = LimitContext(user=user, client="10.0.0.1", cost=cost)
        result = asked.check(context, now)
        if result.allowed:
            same = told.check(context, now)
            assert same.allowed
            assert same.remaining == result.remaining
        elif all(mode is Mode.SHADOW for *_, mode in shapes):
            raise AssertionError("a shadow refused")


@given(rules, histories)
def test_no_history_of_the_clock_locks_a_client_out(
    shapes: list[tuple[Algorithm, float, float, str, Mode]], history: list[tuple[float, str, float]]
) -> None:
    """Whatever the clock did, a request passes within twice the longest window of trying, for each rule that it meets.

    A rule behind one that refuses is not looked at, so each may learn only in its turn that the clock went backwards.
    """
    engine = build_engine(shapes)
    now = 1000.0
    for elapsed, user, cost in history:
        now += elapsed * 100.0 if elapsed < 0 else elapsed
        engine.check(LimitContext(user=user, client="10.0.0.1", cost=cost), now)
    longest = max(seconds for _, _, seconds, _, _ in shapes)
    context = LimitContext(user="x", client="10.0.0.1")
    for _ in shapes:
        engine.check(context, now)
        now += 2.0 * longest + 0.001
    assert engine.check(context, now).allowed


@given(
    st.floats(min_value=0.1, max_value=1e6),
    st.floats(min_value=0.1, max_value=1e6),
    st.sampled_from(["", "r", "other"]),
)
def test_an_override_gives_its_limit_exactly(limit: float, base: float, rule: str) -> None:
    engine = RateLimitEngine(lambda: 0.0)
    window = WindowSnapshot(name="w", limit=base, window=60.0, min=base / 10, max=base * 10)
    engine.apply(
        RateLimitSnapshot(
            version=1,
            rules=(RuleSnapshot(id="r", key=("user",), windows=(window,), roles={"user": 3.0}),),
            overrides={"user:x": Override(limit=limit, rule=rule)},
        )
    )
    result = engine.check(LimitContext(user="x", cost=0.0), 0.0)
    assert math.isclose(result.limit, base * 3.0 if rule == "other" else limit, rel_tol=1e-9)
