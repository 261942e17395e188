"""Which requests look alike to rules, and how much of that is remembered."""

from seawall.core.request import Request
from seawall.pipeline.limits import LimitStage
from seawall.pipeline.passage import Passage, Refusal
from seawall.pipeline.traits import Traits
from seawall.systems.ratelimit.condition import Condition
from seawall.systems.ratelimit.engine import RateLimitEngine
from seawall.systems.ratelimit.model import (
    EndpointFactor,
    PriorityRule,
    RateLimitSnapshot,
    RuleSnapshot,
    WindowSnapshot,
)


class Owner:
    def on_admitted(self, refusal: Refusal | None) -> None:
        raise AssertionError(refusal)

    def on_hold(self) -> None:
        raise AssertionError


def rule(name: str = "r", **fields) -> RuleSnapshot:
    window = WindowSnapshot(name="w", limit=100.0, window=60.0)
    return RuleSnapshot(**{"id": name, "key": ("client",), "windows": (window,)} | fields)


def traits(*rules: RuleSnapshot, priorities: tuple[PriorityRule, ...] = ()) -> Traits:
    return Traits(rules, priorities, lambda request: "route of " + request.path.decode())


def asking(path: bytes, *fields: tuple[bytes, bytes]) -> Request:
    return Request("GET", path, fields, client="192.0.2.1")


def test_paths_are_told_apart_by_the_conditions_that_they_meet():
    seen = traits(
        rule("a", match=Condition(paths=("/a",))),
        rule("b", match=Condition(paths=("/b",))),
        rule("c", endpoints=(EndpointFactor(factor=0.5, paths=("/a/c",)),)),
        priorities=(PriorityRule(tier=0, match=Condition(paths=("/pay",))),),
    )
    kinds = [seen.of(asking(path)) for path in (b"/a", b"/b", b"/a/c", b"/pay", b"/else")]
    assert len(set(kinds)) == 5
    assert seen.of(asking(b"/a/x")) == kinds[0]
    assert seen.of(asking(b"/b;v=1")) == kinds[1]
    assert seen.of(asking(b"/other", (b"x-team", b"blue"))) == kinds[4], "no rule looks at headers or routes"


def test_headers_and_routes_are_told_apart_where_rules_look_at_them():
    assert traits(rule()).none
    seen = traits(rule(key=("header:x-team", "route")))
    assert not seen.none
    blue = seen.of(asking(b"/", (b"x-team", b"blue")))
    assert blue == seen.of(asking(b"/", (b"accept", b"*/*"), (b"x-team", b"blue")))
    assert blue != seen.of(asking(b"/", (b"x-team", b"red")))
    assert blue != seen.of(asking(b"/", (b"x-team", b"red"), (b"x-team", b"blue"))), "the first counts"
    assert blue != seen.of(asking(b"/x", (b"x-team", b"blue")))


def test_what_is_remembered_of_paths_is_bounded():
    seen = traits(rule(match=Condition(paths=("/a",))))
    for number in range(10_000):
        seen.of(asking(b"/a/%d" % number))
    seen.of(asking(b"/a/" + b"x" * 5000))
    assert len(seen._seen) <= 8192
    assert max(map(len, seen._seen)) <= 256


def test_long_header_fields_are_decided_on_each_time():
    engine = RateLimitEngine(lambda: 0.0)
    stage = LimitStage(engine, lambda: 1000.0, lambda _: "", None)
    engine.apply(RateLimitSnapshot(version=1, rules=(rule(key=("header:x-team",)),), headers=("ratelimit",)))
    stage.refresh()
    for value in (b"short", b"x" * 5000):
        for _ in range(3):
            assert stage.enter(Passage(asking(b"/", (b"x-team", value)), "web", Owner())) is None
    assert [kind[2] for *_, kind in stage._places] == [((b"x-team", b"short"),)]
    assert engine.report(full=True).rules["r"].allowed == 6
