"""Command line over environment over file over default, key by key; and where the file is looked for."""

from pathlib import Path

import pytest

from seawall.config.flags import serve_overrides
from seawall.config.loader import load
from seawall.control.tree import Settings
from seawall.core.errors import ConfigurationError

FILE = "gateway.max_headers = 1"
ENVIRONMENT = {"SEAWALL_GATEWAY__MAX_HEADERS": "2"}
FLAGS = {"gateway": {"max_headers": 3}}


@pytest.mark.parametrize(
    ("text", "environ", "overrides", "value", "origin"),
    [
        (None, None, None, 100, "default"),
        (FILE, None, None, 1, "seawall.toml:1"),
        (None, ENVIRONMENT, None, 2, "environment SEAWALL_GATEWAY__MAX_HEADERS"),
        (None, None, FLAGS, 3, "command line"),
        (FILE, ENVIRONMENT, None, 2, "environment SEAWALL_GATEWAY__MAX_HEADERS"),
        (FILE, None, FLAGS, 3, "command line"),
        (None, ENVIRONMENT, FLAGS, 3, "command line"),
        (FILE, ENVIRONMENT, FLAGS, 3, "command line"),
    ],
)
def test_the_stronger_layer_wins(load_text, text, environ, overrides, value, origin) -> None:
    loaded = load_text(text, environ, overrides)
    assert loaded.settings.gateway.max_headers == value
    assert loaded.origins["gateway.max_headers"] == origin


def test_layers_are_merged_key_by_key(load_text) -> None:
    loaded = load_text(
        "[balancing.pools.web]\nslow_start_ms = 1\nmax_queue = 1\npanic_threshold = 0.1",
        {"SEAWALL_BALANCING__POOLS__WEB__MAX_QUEUE": "2", "SEAWALL_BALANCING__POOLS__WEB__PANIC_THRESHOLD": "0.2"},
        {"balancing": {"pools": {"web": {"panic_threshold": 0.3}}}},
    )
    web = loaded.settings.balancing.pools["web"]
    assert (web.slow_start_ms, web.max_queue, web.panic_threshold) == (1, 2, 0.3)


def test_a_list_replaces_a_list_and_brings_its_own_origins(load_text) -> None:
    loaded = load_text(
        '[balancing.pools.default]\nmax_queue = 7\ninstances = [{ url = "http://a", weight = 3 }, "http://b"]',
        overrides=serve_overrides(upstream=["http://c"]),
    )
    pool = loaded.settings.balancing.pools["default"]
    assert [(instance.url, instance.weight) for instance in pool.instances] == [("http://c", 1.0)]
    assert pool.max_queue == 7
    assert loaded.origins["balancing.pools.default.instances[0].url"] == "command line"
    assert loaded.origins["balancing.pools.default.instances[0].weight"] == "default"


def test_upstreams_replace_the_names_of_the_pool_too(load_text) -> None:
    loaded = load_text('balancing.pools.default.dns = ["http://x"]', overrides=serve_overrides(upstream=["http://c"]))
    assert loaded.settings.balancing.pools["default"].dns == ()


def test_every_flag_of_serve() -> None:
    assert serve_overrides() == {}
    assert serve_overrides(
        upstream=["http://a", "http://b"],
        listen="127.0.0.1:1",
        admin="127.0.0.1:2",
        workers=3,
        strategy="random",
        state="memory://",
    ) == {
        "gateway": {"listen": "127.0.0.1:1", "workers": 3},
        "admin": {"listen": "127.0.0.1:2"},
        "state": {"url": "memory://"},
        "balancing": {
            "strategy": "random",
            "pools": {
                "default": {
                    "instances": [{"url": "http://a"}, {"url": "http://b"}],
                    "dns": [],
                }
            },
        },
    }


def test_wrong_flags_are_refused_as_such(refuse) -> None:
    assert refuse(overrides=serve_overrides(upstream=["h"], strategy="randm")) == [
        (
            'command line: balancing.strategy: given "randm"; accepted: "round-robin", "least-connections", '
            '"weighted", "latency-based", "geographic", "consistent-hash", "random", "adaptive"; did you mean "random"?'
        ),
        (
            'command line: balancing.pools.default.instances[0].url: given "h"; accepted: http://host:port, '
            "https://host:port or unix:/absolute/path"
        ),
    ]


POOLS = 'strategy = "random"\n[balancing.pools.web]\nstrategy = "weighted"\n[balancing.pools.other]'


@pytest.mark.parametrize(
    ("environ", "flag", "web", "other", "origin"),
    [
        ({}, None, "weighted", "random", "seawall.toml:4"),
        (
            {"LB_STRATEGY": "adaptive"},
            None,
            "adaptive",
            "adaptive",
            "environment LB_STRATEGY, inherited from balancing.strategy",
        ),
        (
            {"SEAWALL_BALANCING": '{"strategy": "adaptive"}'},
            None,
            "adaptive",
            "adaptive",
            "environment SEAWALL_BALANCING, inherited from balancing.strategy",
        ),
        (
            {"LB_STRATEGY": "adaptive", "SEAWALL_BALANCING__POOLS__WEB__STRATEGY": "latency-based"},
            None,
            "latency-based",
            "adaptive",
            "environment SEAWALL_BALANCING__POOLS__WEB__STRATEGY",
        ),
        (
            {"LB_STRATEGY": "adaptive", "SEAWALL_BALANCING__POOLS__WEB__STRATEGY": "latency-based"},
            "least-connections",
            "least-connections",
            "least-connections",
            "command line, inherited from balancing.strategy",
        ),
        (
            {},
            "least-connections",
            "least-connections",
            "least-connections",
            "command line, inherited from balancing.strategy",
        ),
    ],
)
def test_a_strategy_for_all_pools_wins_over_one_of_a_pool_in_a_weaker_layer(
    load_text, environ, flag, web, other, origin
) -> None:
    text = (
        f'[balancing]\n{POOLS}\n[[balancing.routes]]\npool = "web"\npath = "/a"\n[[balancing.routes]]\npool = "other"'
    )
    loaded = load_text(text, environ, serve_overrides(strategy=flag))
    pools = loaded.settings.balancing.pools
    assert (pools["web"].strategy, pools["other"].strategy) == (web, other)
    assert loaded.origins["balancing.pools.web.strategy"] == origin


def test_a_field_of_the_defaults_wins_over_that_of_a_pool_in_a_weaker_layer_and_leaves_the_others(load_text) -> None:
    loaded = load_text(
        "balancing.pools.web.health = { interval_ms = 100, timeout_ms = 50 }", {"LB_HEALTH_CHECK_INTERVAL": "700"}
    )
    health = loaded.settings.balancing.pools["web"].health
    assert (health.interval_ms, health.timeout_ms) == (700, 50)
    assert loaded.origins["balancing.pools.web.health.interval_ms"] == (
        "environment LB_HEALTH_CHECK_INTERVAL, inherited from balancing.health.interval_ms"
    )


def test_overrides_may_be_dotted(load_text) -> None:
    loaded = load_text(overrides={"gateway.workers": 2, "gateway": {"max_headers": 3}, "state.url": "memory://"})
    assert (loaded.settings.gateway.workers, loaded.settings.gateway.max_headers) == (2, 3)
    assert loaded.settings.state.url == "memory://"


def test_the_command_line_names_the_file_before_the_environment_and_the_folder(load_text, tmp_path: Path) -> None:
    for name, number in (("flag.toml", 1), ("variable.toml", 2), ("seawall.toml", 3)):
        Path(name if tmp_path == Path.cwd() else tmp_path / name).write_text(f"gateway.max_headers = {number}")
    environ = {"SEAWALL_CONFIG": str(tmp_path / "variable.toml")}

    def loaded_from(file: Path | None, variables: dict[str, str]) -> tuple[int, Path | None]:
        loaded = load(Settings, file=file, environ=variables, overrides={})
        return loaded.settings.gateway.max_headers, loaded.file

    assert loaded_from(tmp_path / "flag.toml", environ) == (1, tmp_path / "flag.toml")
    assert loaded_from(None, environ) == (2, tmp_path / "variable.toml")
    assert loaded_from(None, {}) == (3, Path("seawall.toml"))
    assert loaded_from(None, {"SEAWALL_CONFIG": ""}) == (3, Path("seawall.toml"))


def test_no_file_is_fine(load_text) -> None:
    loaded = load_text()
    assert loaded.file is None
    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {"default"}


def test_a_file_that_is_named_must_exist(load_text) -> None:
    with pytest.raises(ConfigurationError, match=r"no configuration file 'a.toml', which -c names"):
        load(Settings, file=Path("a.toml"), environ={}, overrides={})
    with pytest.raises(ConfigurationError, match=r"no configuration file 'b.toml', which environment SEAWALL_CONFIG"):
        load(Settings, file=None, environ={"SEAWALL_CONFIG": "b.toml"}, overrides={})


def test_loading_again_sees_the_file_as_it_is_now(load_text) -> None:
    first = load_text(FILE, {"SEAWALL_GATEWAY__WORKERS": "4"}, {"state.url": "memory://"})
    Path("seawall.toml").write_text("gateway.max_headers = 9")
    second = first.again()
    assert (second.settings.gateway.max_headers, second.settings.gateway.workers) == (9, 4)
    assert second.settings.state.url == "memory://"
    Path("seawall.toml").write_text("gateway.max_headers = 0")
    with pytest.raises(ConfigurationError):
        second.again()


def test_what_is_loaded_does_not_show_the_environment(load_text) -> None:
    assert "s3cret" not in repr(load_text(environ={"SEAWALL_ADMIN_TOKEN": "s3cret-s3cret-s3cret"}))
