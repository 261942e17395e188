"""The `[ratelimit]` table: what it means, what it inherits, and what it refuses with an explanation."""

from pathlib import Path

import pytest

from seawall.config.loader import load
from seawall.control.tree import Settings
from seawall.core.errors import ConfigurationError
from seawall.systems.ratelimit.plan import make_plan
from seawall.systems.ratelimit.settings import RateLimitSettings


def problems(text: str, tmp_path: Path, **environ: str) -> tuple[str, ...]:
    file = tmp_path / "seawall.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        load(Settings, file=file, environ=environ, overrides={})
    return refused.value.problems


def test_nothing_is_limited_by_default() -> None:
    assert make_plan(RateLimitSettings()).rules == ()


def test_the_fixed_environment_names_set_the_base_limit() -> None:
    environ = {
        "RATE_LIMIT_BASE": "200",
        "RATE_LIMIT_WINDOW": "30000",
        "RATE_LIMIT_ADAPTIVE": "false",
        "RATE_LIMIT_MIN": "20",
        "RATE_LIMIT_MAX": "400",
    }
    loaded = load(Settings, file=None, environ=environ, overrides={})
    assert not any("does not use it yet" in warning for warning in loaded.warnings)
    (base,) = make_plan(loaded.settings.ratelimit).rules
    (window,) = base.windows
    assert (base.id, base.adaptive, base.key) == ("base", False, ("identity",))
    assert (window.limit, window.window, window.min, window.max) == (200.0, 30.0, 20.0, 400.0)


def test_bounds_of_factors_follow_the_limit_where_none_are_given() -> None:
    settings = RateLimitSettings(base=100)
    (base,) = make_plan(settings).rules
    assert (base.windows[0].min, base.windows[0].max) == (10.0, 1000.0)
    (tiny,) = make_plan(RateLimitSettings.model_validate({"base": 0.5})).rules
    assert tiny.windows[0].min == 0.5


def test_rules_inherit_what_they_do_not_say() -> None:
    settings = RateLimitSettings.model_validate(
        {
            "adaptive": False,
            "roles": {"partner": 3, "admin": 10},
            "endpoints": [{"factor": 0.1, "paths": ["/export"]}],
            "rules": [
                {"id": "a", "match": {"paths": ["/a"]}, "windows": [{"limit": 5}]},
                {"id": "b", "adaptive": True, "roles": {"admin": 1}, "endpoints": [], "windows": [{"limit": 5}]},
            ],
        }
    )
    one, other = make_plan(settings).rules
    assert (one.adaptive, other.adaptive) == (False, True)
    assert one.roles == {"admin": 10, "user": 1, "viewer": 0.5, "anonymous": 0.3, "partner": 3}
    assert other.roles == {"admin": 1, "user": 1, "viewer": 0.5, "anonymous": 0.3, "partner": 3}
    assert [endpoint.paths for endpoint in one.endpoints] == [("/export",)]
    assert other.endpoints == ()


def test_the_base_stands_last_and_gives_way_to_a_rule_for_everything() -> None:
    table = {"base": 10, "rules": [{"id": "a", "match": {"paths": ["/a"]}, "windows": [{"limit": 5}]}]}
    assert [rule.id for rule in make_plan(RateLimitSettings.model_validate(table)).rules] == ["a", "base"]
    table["rules"] = [{"id": "a", "windows": [{"limit": 5}]}]
    assert [rule.id for rule in make_plan(RateLimitSettings.model_validate(table)).rules] == ["a"]


def test_policies_are_named_after_their_rule() -> None:
    table = {"rules": [{"id": "api", "windows": [{"limit": 5}, {"limit": 9, "name": "day"}, {"limit": 7}]}]}
    (rule,) = make_plan(RateLimitSettings.model_validate(table)).rules
    assert [window.name for window in rule.windows] == ["api-1", "day", "api-3"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "[ratelimit.load]\nfloor = 0",
            "ratelimit.load.floor: given 0; accepted: a number above 0 and up to 1 (share)",
        ),
        (
            "[[ratelimit.rules]]\nid = 'a'\nkey = ['ip']",
            (
                'ratelimit.rules[0].key[0]: given "ip"; accepted: identity, client, client/PREFIX, user, tenant, '
                "api-key, role, route, header:NAME or global"
            ),
        ),
    ],
)
def test_one_mistake_is_told_once_and_as_it_is(tmp_path, text: str, told: str) -> None:
    file = tmp_path / "seawall.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load(Settings, file=file, environ={}, overrides={})
    (problem,) = caught.value.problems
    assert problem.endswith(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("base = -1", "ratelimit.base: given -1"),
        ("base = nan", "ratelimit.base: given"),
        ("base = inf", "ratelimit.base: given"),
        ("base = 10\nmin = 11", "ratelimit.min: 11 is above the limit itself, base = 10"),
        ("base = 10\nmax = 9", "ratelimit.max: 9 is below the limit itself, base = 10"),
        ('headers = ["nonsense"]', "ratelimit.headers[0]: given"),
        ("[[ratelimit.rules]]\nid = 'a'\nkey = ['ip']", "accepted: identity, client, client/PREFIX"),
        ("[[ratelimit.rules]]\nid = 'a'\nkey = ['client/200']", "with a prefix of 1 to 128"),
        ("[[ratelimit.rules]]\nid = 'base'", '"base" is the id of the base limit'),
        ("[[ratelimit.rules]]\nid = 'a'\nwindows = [{limit = 0}]", "windows[0].limit: given 0"),
        ("[[ratelimit.rules]]\nid = 'a'\nwindows = [{limit = 5, cost = 6}]", "no request could ever pass"),
        (
            "[[ratelimit.rules]]\nid = 'a'\nwindows = [{limit = 5, burst = 2, algorithm = 'fixed-window'}]",
            'burst: is for algorithm = "gcra"',
        ),
        (
            "[[ratelimit.rules]]\nid = 'a'\nwindows = [{limit = 5, cost = 2, algorithm = 'concurrency'}]",
            "concurrency counts requests in flight",
        ),
        (
            "[[ratelimit.rules]]\nid = 'a'\nwindows = [{limit = 5, name = 'x'}, {limit = 6, name = 'x'}]",
            '"x" is also the name of',
        ),
        (
            "[[ratelimit.rules]]\nid = 'a'\nmatch.paths = ['/a']\n[[ratelimit.rules]]\nid = 'a'",
            '"a" is also the id of ratelimit.rules[0]',
        ),
        (
            "[[ratelimit.rules]]\nid = 'a'\nmatch.roles = ['admn']",
            'nobody has the role "admn", so this can never match; did you mean "admin"?',
        ),
        ("[[ratelimit.priorities]]\ntier = 6", "tier: given 6"),
        ("[ratelimit.ladder]\nblock_at = 50", "block_at: 50 is not above throttle_at, 100"),
        ("[ratelimit.ladder]\nlongest_block_ms = 1", "longest_block_ms: 1 is below block_ms"),
    ],
)
def test_what_cannot_work_is_named(text: str, told: str, tmp_path: Path) -> None:
    found = problems(f"[ratelimit]\n{text}\n", tmp_path)
    assert any(told in line for line in found), found


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("", ""),
        ("", "match.methods = ['GET']"),
        ("match.paths = ['/api']", "match.paths = ['/api/v1', '/api']"),
        ("match.paths = ['/api']", "match.paths = ['/api/']"),
        ("match.methods = ['GET', 'HEAD']", "match.methods = ['get']"),
        ("match.headers = {x-team = '*'}", "match.headers = {X-Team = 'blue'}"),
        ("match.clients = ['10.0.0.0/8']", "match.clients = ['10.1.2.3']"),
        ("match.roles = ['admin', 'user']", "match = {roles = ['user'], users = ['alice']}"),
    ],
)
def test_a_rule_that_can_never_match_is_refused(earlier: str, later: str, tmp_path: Path) -> None:
    text = f"[[ratelimit.rules]]\nid = 'a'\n{earlier}\n[[ratelimit.rules]]\nid = 'b'\n{later}\n"
    (found,) = problems(text, tmp_path)
    assert "ratelimit.rules[1]: can never match, because ratelimit.rules[0] takes all of its requests" in found


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("fallthrough = true", ""),
        ("mode = 'shadow'", ""),
        ("mode = 'off'", ""),
        ("match.paths = ['/api']", "match.paths = ['/apix']"),
        ("match.paths = ['/api']", ""),
        ("match.headers = {x-team = 'red'}", "match.headers = {x-team = 'blue'}"),
        ("match.clients = ['10.1.0.0/16']", "match.clients = ['10.0.0.0/8']"),
    ],
)
def test_a_rule_that_can_match_is_taken(earlier: str, later: str, tmp_path: Path) -> None:
    file = tmp_path / "seawall.toml"
    file.write_text(f"[[ratelimit.rules]]\nid = 'a'\n{earlier}\n[[ratelimit.rules]]\nid = 'b'\n{later}\n")
    assert len(load(Settings, file=file, environ={}, overrides={}).settings.ratelimit.rules) == 2


def test_settings_name_every_algorithm_and_mode_of_the_model() -> None:
    from typing import get_args

    from seawall.systems.ratelimit.model import Algorithm, Mode
    from seawall.systems.ratelimit.settings import AlgorithmSetting, ModeSetting

    assert set(get_args(AlgorithmSetting)) == set(Algorithm)
    assert set(get_args(ModeSetting)) == set(Mode)
