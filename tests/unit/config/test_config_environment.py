"""Environment variables: fixed names, generic names, and what is refused."""

import pytest

from seawall.config.environment import PROMISED_VARIABLES
from seawall.config.shape import fixed_variables
from seawall.control.tree import Settings


@pytest.mark.parametrize(
    ("name", "text", "path", "value"),
    [
        ("LB_STRATEGY", "random", "balancing.strategy", "random"),
        ("LB_HEALTH_CHECK_INTERVAL", "250", "balancing.health.interval_ms", 250),
        ("SEAWALL_BALANCING__HEALTH__INTERVAL_MS", "2.5e2", "balancing.health.interval_ms", 250),
        ("SEAWALL_GATEWAY__WORKERS", " 3 ", "gateway.workers", 3),
        ("SEAWALL_GATEWAY__VIA", "", "gateway.via", ""),
        ("SEAWALL_ADMIN__OPEN_METRICS", "Yes", "admin.open_metrics", True),
        ("SEAWALL_ADMIN__OPEN_METRICS", "0", "admin.open_metrics", False),
        ("SEAWALL_GATEWAY__TRUSTED_PROXIES", '["10.0.0.0/8"]', "gateway.trusted_proxies", ("10.0.0.0/8",)),
        ("SEAWALL_GATEWAY", '{"max_headers": 5}', "gateway.max_headers", 5),
        ("SEAWALL_STATE__URL", "memory://", "state.url", "memory://"),
    ],
)
def test_a_variable_sets(load_text, name: str, text: str, path: str, value: object) -> None:
    loaded = load_text(environ={name: text})
    found = loaded.settings
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value
    assert loaded.origins[path] == f"environment {name}"


def test_the_token(load_text) -> None:
    loaded = load_text(environ={"SEAWALL_ADMIN_TOKEN": "s3cret-s3cret-s3cret"})
    assert loaded.settings.admin.token.get_secret_value() == "s3cret-s3cret-s3cret"
    assert "s3cret" not in repr(loaded.settings)


def test_pools_by_name(load_text) -> None:
    loaded = load_text(
        "[balancing.pools.Web-1]\n[[balancing.routes]]\npool = 'Web-1'",
        {
            "SEAWALL_BALANCING__POOLS__WEB_1__INSTANCES": '["http://a", {"url": "http://b", "weight": 2}]',
            "SEAWALL_BALANCING__POOLS__WEB_1__RETRY__ATTEMPTS": "0",
            "SEAWALL_BALANCING__POOLS__NEW__REGIONS__EU": "[50, 8]",
        },
    )
    pools = loaded.settings.balancing.pools
    assert [(instance.url, instance.weight) for instance in pools["Web-1"].instances] == [
        ("http://a", 1),
        ("http://b", 2),
    ]
    assert pools["Web-1"].retry.attempts == 0
    assert pools["new"].regions == {"eu": (50, 8)}
    variable = "environment SEAWALL_BALANCING__POOLS__WEB_1__INSTANCES"
    assert loaded.origins["balancing.pools.Web-1.instances[1].weight"] == variable
    assert loaded.origins["balancing.pools.Web-1.instances[0].weight"] == "default"


def test_the_narrower_variable_wins_over_a_whole_table(load_text) -> None:
    gateway = load_text(
        environ={"SEAWALL_GATEWAY__MAX_HEADERS": "7", "SEAWALL_GATEWAY": '{"max_headers": 5, "workers": 2}'}
    ).settings.gateway
    assert (gateway.max_headers, gateway.workers) == (7, 2)


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        (
            {"SEAWALL_GATEWAY__WORKRS": "1"},
            "SEAWALL_GATEWAY__WORKRS: sets nothing; did you mean SEAWALL_GATEWAY__WORKERS?",
        ),
        (
            {"SEAWALL_GATEWAY_WORKERS": "1"},
            "SEAWALL_GATEWAY_WORKERS: sets nothing; did you mean SEAWALL_GATEWAY__WORKERS?",
        ),
        ({"SEAWALL_ADMIN_TOKN": "1"}, "SEAWALL_ADMIN_TOKN: sets nothing; did you mean SEAWALL_ADMIN_TOKEN?"),
        ({"SEAWALL_CONFG": "1"}, "SEAWALL_CONFG: sets nothing; did you mean SEAWALL_CONFIG?"),
        (
            {"SEAWALL_XYZ": "1"},
            (
                "SEAWALL_XYZ: sets nothing; the configuration has gateway, admin, state, control, balancing, identity, "
                "ratelimit, threats"
            ),
        ),
        (
            {"SEAWALL_BALANCING__POOLS__WEB__STRATGY": "random"},
            (
                "SEAWALL_BALANCING__POOLS__WEB__STRATGY: sets nothing; "
                "did you mean SEAWALL_BALANCING__POOLS__WEB__STRATEGY?"
            ),
        ),
        (
            {"SEAWALL_BALANCING__ROUTES__0__POOL": "x"},
            (
                "SEAWALL_BALANCING__ROUTES__0__POOL: sets nothing: balancing.routes has no named parts; "
                "give all of it as SEAWALL_BALANCING__ROUTES"
            ),
        ),
        (
            {"SEAWALL_BALANCING__POOLS____X": "x"},
            (
                "SEAWALL_BALANCING__POOLS____X: sets nothing: balancing.pools has no named parts; "
                "give all of it as SEAWALL_BALANCING__POOLS"
            ),
        ),
        (
            {"SEAWALL_GATEWAY__TRUSTED_PROXIES": "10.0.0.1"},
            (
                "SEAWALL_GATEWAY__TRUSTED_PROXIES: gateway.trusted_proxies: not valid JSON; "
                'accepted: JSON such as ["a", "b"]'
            ),
        ),
        (
            {"SEAWALL_GATEWAY": "workers=3"},
            'SEAWALL_GATEWAY: gateway: not valid JSON; accepted: JSON such as {"key": "value"}',
        ),
        (
            {"SEAWALL_GATEWAY": "[" * 40 + "]" * 40},
            "SEAWALL_GATEWAY: gateway: nested more than 32 deep",
        ),
        (
            {"SEAWALL_GATEWAY": "[1]", "SEAWALL_GATEWAY__WORKERS": "1"},
            "SEAWALL_GATEWAY: gateway: given a list of 1; accepted: a table",
        ),
        (
            {"SEAWALL_GATEWAY__WORKERS": "many"},
            (
                'SEAWALL_GATEWAY__WORKERS: gateway.workers: given "many"; '
                "accepted: a whole number from 0 to 1024 (processes)"
            ),
        ),
        (
            {"LB_HEALTH_CHECK_INTERVAL": "5s"},
            (
                'LB_HEALTH_CHECK_INTERVAL: balancing.health.interval_ms: given "5s"; '
                "accepted: a number from 10 to 86400000 (ms)"
            ),
        ),
        (
            {"SEAWALL_ADMIN__ENABLED": "maybe"},
            'SEAWALL_ADMIN__ENABLED: admin.enabled: given "maybe"; accepted: true or false',
        ),
        (
            {"LB_STRATEGY": "random", "SEAWALL_BALANCING__STRATEGY": "weighted"},
            (
                "LB_STRATEGY and SEAWALL_BALANCING__STRATEGY: balancing.strategy: given two different values "
                '("random" and "weighted"); unset one'
            ),
        ),
        (
            {"LB_STRATEGY": "random", "SEAWALL_BALANCING": '{"strategy": "weighted"}'},
            (
                "LB_STRATEGY and SEAWALL_BALANCING: balancing.strategy: given two different values "
                '("random" and "weighted"); unset one'
            ),
        ),
        (
            {"SEAWALL_ADMIN_TOKEN": "1" * 16, "SEAWALL_ADMIN__TOKEN": "2" * 16},
            "SEAWALL_ADMIN_TOKEN and SEAWALL_ADMIN__TOKEN: admin.token: given two different values; unset one",
        ),
    ],
)
def test_a_variable_is_refused(refuse, environ: dict[str, str], problem: str) -> None:
    assert refuse(environ=environ) == [f"environment {problem}"]


def test_a_name_that_could_mean_two_pools(refuse) -> None:
    assert refuse(
        "[balancing.pools.web-1]\n[balancing.pools.web_1]\n[[balancing.routes]]\npool = 'web_1'",
        {"SEAWALL_BALANCING__POOLS__WEB_1__MAX_QUEUE": "1"},
    ) == [
        (
            'environment SEAWALL_BALANCING__POOLS__WEB_1__MAX_QUEUE: could mean "web-1" and "web_1" '
            "in balancing.pools; set it in the file"
        )
    ]


def test_the_same_value_twice_is_no_conflict(load_text) -> None:
    loaded = load_text(environ={"LB_HEALTH_CHECK_INTERVAL": "50", "SEAWALL_BALANCING__HEALTH__INTERVAL_MS": "50.0"})
    assert loaded.settings.balancing.health.interval_ms == 50


def test_names_of_later_versions_are_answered_by_one_warning_each(load_text) -> None:
    used = fixed_variables(Settings)
    environ = {name: "1" for name in PROMISED_VARIABLES if name not in used}
    loaded = load_text("[balancing.pools.web]", environ)
    assert len(environ) == 8
    assert loaded.warnings == tuple(
        f"environment {name}: this version does not use it yet; it changes nothing" for name in sorted(environ)
    )
    assert loaded.settings == load_text().settings


@pytest.mark.parametrize(
    "name",
    [
        "SEAWALL_SERVICE_HOST",
        "SEAWALL_SERVICE_PORT",
        "SEAWALL_SERVICE_PORT_HTTP",
        "SEAWALL_PORT",
        "SEAWALL_PORT_8080_TCP",
        "SEAWALL_PORT_8080_TCP_ADDR",
    ],
)
def test_what_kubernetes_sets_for_a_service_called_seawall_is_left_alone(load_text, name: str) -> None:
    assert load_text("[balancing.pools.web]", {name: "tcp://10.0.0.1:8080"}).warnings == ()


def test_other_variables_are_none_of_our_business(load_text) -> None:
    assert load_text("[balancing.pools.web]", {"PATH": "/bin", "seawall_x": "1", "MY_SEAWALL_X": "1"}).warnings == ()


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("192.0.2.7", ["192.0.2.7"]),
        (" 192.0.2.7, 2001:db8::/32 ,", ["192.0.2.7", "2001:db8::/32"]),
        ('["192.0.2.7"]', ["192.0.2.7"]),
        ("", []),
    ],
)
def test_a_list_under_a_fixed_name_may_be_parted_by_commas(load_text, text, networks) -> None:
    loaded = load_text(environ={"THREAT_IP_WHITELIST": text})
    assert list(loaded.settings.threats.allow) == networks
