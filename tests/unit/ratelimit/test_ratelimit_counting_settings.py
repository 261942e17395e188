"""Where counts are and what happens while they are away: for all rules, for one, and what `auto` means."""

import pytest

from seawall.config.loader import load
from seawall.control.tree import Settings
from seawall.core.errors import ConfigurationError
from seawall.systems.ratelimit.model import Counting, StoreFailure
from seawall.systems.ratelimit.plan import make_plan
from seawall.systems.ratelimit.settings import RateLimitSettings

RULES = [
    {"id": "a", "match": {"paths": ["/a"]}, "windows": [{"limit": 5}]},
    {
        "id": "b",
        "match": {"paths": ["/b"]},
        "windows": [{"limit": 5}],
        "counts": "strict",
        "on_store_failure": "closed",
    },
]


def planned(table, **options):
    plan = make_plan(RateLimitSettings.model_validate(table), **options)
    return {rule.id: (rule.counts, rule.on_store_failure) for rule in plan.rules}


def test_auto_is_leased_where_processes_share_a_limit_and_local_elsewhere():
    table = {"base": 10, "rules": RULES}
    strict = (Counting.STRICT, StoreFailure.CLOSED)
    local, leased = (Counting.LOCAL, StoreFailure.LOCAL), (Counting.LEASED, StoreFailure.LOCAL)
    assert planned(table) == {"a": local, "b": strict, "base": local}
    assert planned(table, shared=True) == {"a": leased, "b": strict, "base": leased}


def test_rules_inherit_both_and_so_does_the_base():
    table = {"base": 10, "counts": "local", "on_store_failure": "open", "rules": RULES}
    inherited = (Counting.LOCAL, StoreFailure.OPEN)
    assert planned(table, shared=True) == {
        "a": inherited,
        "b": (Counting.STRICT, StoreFailure.CLOSED),
        "base": inherited,
    }


def test_the_origin_of_an_inherited_value_is_told(tmp_path):
    file = tmp_path / "seawall.toml"
    file.write_text('[ratelimit]\ncounts = "strict"\n[[ratelimit.rules]]\nid = "a"\n')
    loaded = load(Settings, file=file, environ={}, overrides={})
    origins = {path.rpartition(".")[2]: origin for path, origin in loaded.origins.items() if "rules[0]" in path}
    assert origins["counts"] == f"{file}:2, inherited from ratelimit.counts"
    assert origins["on_store_failure"] == "default"


def test_an_unknown_place_is_refused(tmp_path):
    file = tmp_path / "seawall.toml"
    file.write_text('[ratelimit]\ncounts = "somewhere"\non_store_failure = "shut"\n')
    with pytest.raises(ConfigurationError) as refused:
        load(Settings, file=file, environ={}, overrides={})
    assert len(refused.value.problems) == 2
    assert "ratelimit.counts" in refused.value.problems[0]
