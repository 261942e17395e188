"""Each mistake in a file is refused with its place, what was given and what is accepted."""

import textwrap
from pathlib import Path

import pytest

from seawall.config.loader import load
from seawall.control.tree import Settings
from seawall.core.errors import ConfigurationError

URL_FORMS = "http://host:port, https://host:port or unix:/absolute/path"
LISTEN_FORMS = 'host:port, [IPv6 address]:port or unix:/absolute/path, such as "127.0.0.1:8080"'
STRATEGIES = (
    '"round-robin", "least-connections", "weighted", "latency-based", "geographic", "consistent-hash", "random", '
    '"adaptive"'
)

VALUES = [
    ("gateway.wrkers = 1", 'gateway.wrkers: unknown key; did you mean "workers"?'),
    ("gateway.max-headers = 1", 'gateway.max-headers: unknown key; did you mean "max_headers"?'),
    ("workers = 1", "workers: unknown key here; did you mean gateway.workers?"),
    (
        "admin.zzz = 1",
        "admin.zzz: unknown key; accepted: enabled, listen, token, open_health_ready, open_metrics",
    ),
    ('gateway.workers = "2"', 'gateway.workers: given "2"; accepted: a whole number from 0 to 1024 (processes)'),
    ("gateway.workers = 2.0", "gateway.workers: given 2.0; accepted: a whole number from 0 to 1024 (processes)"),
    ("gateway.workers = true", "gateway.workers: given true; accepted: a whole number from 0 to 1024 (processes)"),
    ("gateway.workers = 1025", "gateway.workers: given 1025; accepted: a whole number from 0 to 1024 (processes)"),
    (
        "gateway.workers = [1]",
        "gateway.workers: given a list of 1; accepted: a whole number from 0 to 1024 (processes)",
    ),
    ("gateway.max_body_bytes = -1", "gateway.max_body_bytes: given -1; accepted: a whole number of at least 0 (bytes)"),
    (
        "gateway.body_timeout_ms = 0",
        "gateway.body_timeout_ms: given 0; accepted: a number above 0 and up to 86400000 (ms)",
    ),
    (
        "gateway.body_timeout_ms = inf",
        "gateway.body_timeout_ms: given Infinity; accepted: a number above 0 and up to 86400000 (ms)",
    ),
    (
        'gateway.body_timeout_ms = "1s"',
        'gateway.body_timeout_ms: given "1s"; accepted: a number above 0 and up to 86400000 (ms)',
    ),
    ("gateway = 3", "gateway: given 3; accepted: a table"),
    (
        'gateway.forwarded = "apend"',
        'gateway.forwarded: given "apend"; accepted: "append", "replace"; did you mean "append"?',
    ),
    ("gateway.listen = 8080", "gateway.listen: given 8080; accepted: text"),
    ('gateway.listen = ":8080"', f'gateway.listen: given ":8080"; accepted: {LISTEN_FORMS}'),
    ('gateway.listen = "localhost"', f'gateway.listen: given "localhost"; accepted: {LISTEN_FORMS}'),
    (
        'gateway.listen = "localhost:65536"',
        f'gateway.listen: given "localhost:65536"; accepted: {LISTEN_FORMS}; the port is at most 65535',
    ),
    (
        'gateway.listen = "[::g]:80"',
        f'gateway.listen: given "[::g]:80"; accepted: {LISTEN_FORMS}; what stands in brackets is an IPv6 address',
    ),
    ('gateway.listen = "unix:run/x"', f'gateway.listen: given "unix:run/x"; accepted: {LISTEN_FORMS}'),
    (
        'gateway.trusted_proxies = ["::1", "10.0.0.1/8"]',
        (
            'gateway.trusted_proxies[1]: given "10.0.0.1/8"; accepted: a network without host bits; '
            'did you mean "10.0.0.0/8"?'
        ),
    ),
    (
        'gateway.trusted_proxies = ["lan"]',
        'gateway.trusted_proxies[0]: given "lan"; accepted: an IP address or network, such as 10.0.0.1 or 10.0.0.0/8',
    ),
    (
        'gateway.via = "sea wall"',
        'gateway.via: given "sea wall"; accepted: a name of letters, digits and !#$%&\'*+-.^_`|~',
    ),
    ("admin.open_metrics = 1", "admin.open_metrics: given 1; accepted: true or false"),
    (
        'admin.token = "two words of many letters"',
        (
            "admin.token: given (hidden); accepted: 16 to 4096 printable ASCII characters without spaces, "
            "for example from: openssl rand -hex 32"
        ),
    ),
    (
        'admin.token = "of-15-charactrs"',
        (
            "admin.token: given (hidden); accepted: 16 to 4096 printable ASCII characters without spaces, "
            "for example from: openssl rand -hex 32"
        ),
    ),
    ("admin.token = 5", "admin.token: given (hidden); accepted: text"),
    (
        'state.url = "postgres://me:secret@h/x"',
        (
            'state.url: given "postgres://(hidden)@h/x"; accepted: memory://, sqlite:///path, '
            "redis://host:port/database, rediss://..., or nothing for SQLite"
        ),
    ),
    (
        "control.report_interval_ms = 1",
        "control.report_interval_ms: given 1; accepted: a number from 10 to 86400000 (ms)",
    ),
    (
        'balancing.strategy = "round_robin"',
        f'balancing.strategy: given "round_robin"; accepted: {STRATEGIES}; did you mean "round-robin"?',
    ),
    (
        "balancing.health.healthy_threshold = 0",
        "balancing.health.healthy_threshold: given 0; accepted: a whole number from 1 to 1000 (checks)",
    ),
    (
        'balancing.health.expect_status = "399-200"',
        (
            'balancing.health.expect_status: given "399-200"; accepted: statuses and ranges from low to high, '
            'such as "200-399" or "200,204,301-302"'
        ),
    ),
    (
        'balancing.health.path = "healthz"',
        (
            'balancing.health.path: given "healthz"; accepted: a path that starts with "/", '
            'printable ASCII without spaces or "#"'
        ),
    ),
    (
        'balancing.health.host = "a\\nb"',
        'balancing.health.host: given "a\\nb"; accepted: printable ASCII without white space around it',
    ),
    (
        "balancing.outliers.max_ejected = 1.5",
        "balancing.outliers.max_ejected: given 1.5; accepted: a number from 0 to 1 (share)",
    ),
    (
        '[balancing.pools."a b"]',
        'balancing.pools."a b": given the name "a b"; accepted: a name of the form ^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$',
    ),
    ("balancing.pools.web = 1", "balancing.pools.web: given 1; accepted: a table"),
    ("balancing.routes = 1", "balancing.routes: given 1; accepted: a list of at most 10000"),
]

POOL_VALUES = [
    ('instances = ["h:1"]', f'instances[0].url: given "h:1"; accepted: {URL_FORMS}'),
    ('instances = ["ftp://h"]', f'instances[0].url: given "ftp://h"; accepted: {URL_FORMS}'),
    ("instances = [1]", "instances[0]: given 1; accepted: text or a table"),
    (
        'instances = ["http://h:1/api"]',
        (
            f'instances[0].url: given "http://h:1/api"; accepted: {URL_FORMS}, without a path or query; '
            "requests keep their own path, routes choose by it"
        ),
    ),
    (
        'instances = ["http://h?x"]',
        (
            f'instances[0].url: given "http://h?x"; accepted: {URL_FORMS}, without a path or query; '
            "requests keep their own path, routes choose by it"
        ),
    ),
    (
        'instances = ["https://me:secret@h:1"]',
        (
            f'instances[0].url: given "https://(hidden)@h:1"; accepted: {URL_FORMS}, without user name or password; '
            "let the client or the upstream authenticate"
        ),
    ),
    (
        'instances = ["http://h:0"]',
        f'instances[0].url: given "http://h:0"; accepted: {URL_FORMS}; the port is 1 to 65535',
    ),
    (
        'instances = ["http://h:99999"]',
        f'instances[0].url: given "http://h:99999"; accepted: {URL_FORMS}; the port is 1 to 65535',
    ),
    ('instances = ["http://"]', f'instances[0].url: given "http://"; accepted: {URL_FORMS}; the port is 1 to 65535'),
    (
        'instances = ["http://a b"]',
        (
            f'instances[0].url: given "http://a b"; accepted: {URL_FORMS}, without spaces; '
            "write an international name in its xn-- form"
        ),
    ),
    (
        f'instances = ["unix:/{"x" * 107}"]',
        (
            f'instances[0].url: given "unix:/{"x" * 53}... (115 characters); accepted: {URL_FORMS}; '
            "the path is at most 107 bytes"
        ),
    ),
    (
        "instances = [{ weight = 1 }]",
        "instances[0].url: missing; required: Where it answers: http://host:port, https://host:port or unix:/path.",
    ),
    *(
        (
            f'instances = [{{ url = "http://h", weight = {weight} }}]',
            f"instances[0].weight: given {given}; accepted: a number above 0 and up to 1000000 (relative)",
        )
        for weight, given in (("0", "0"), ("-1", "-1"), ("nan", "NaN"), ("inf", "Infinity"), ("-inf", "-Infinity"))
    ),
    (
        'instances = [{ url = "http://h", location = [91, 0] }]',
        "instances[0].location[0]: given 91; accepted: a number from -90 to 90",
    ),
    (
        'instances = [{ url = "http://h", location = [1, 2, 3] }]',
        "instances[0].location: given a list of 3; accepted: a list of 2",
    ),
    (
        'instances = [{ url = "http://h", id = "a b" }]',
        'instances[0].id: given "a b"; accepted: text of the form ^[!-~]{0,200}$',
    ),
    ('dns = ["unix:/x"]', 'dns[0]: given "unix:/x"; accepted: http://name:port or https://name:port'),
    (
        'probe_path = "load"',
        'probe_path: given "load"; accepted: a path that starts with "/", printable ASCII without spaces or "#"',
    ),
    ('hash_key = "header:"', 'hash_key: given "header:"; accepted: client, header:NAME or cookie:NAME'),
    ('hash_key = "ip"', 'hash_key: given "ip"; accepted: client, header:NAME or cookie:NAME'),
    (
        'region_header = "x region"',
        'region_header: given "x region"; accepted: a name of letters, digits and !#$%&\'*+-.^_`|~',
    ),
    ("hash_load_bound = 1", "hash_load_bound: given 1; accepted: a number above 1 and up to 100 (multiple)"),
    ('regions = { "" = [1, 2] }', 'regions."": given the name ""; accepted: a name of 1 to 128 characters'),
    ('affinity = { secret = ["x"] }', "affinity.secret: given (hidden); accepted: text"),
    (
        'affinity = { cookie = "a b" }',
        'affinity.cookie: given "a b"; accepted: a name of letters, digits and !#$%&\'*+-.^_`|~',
    ),
    (
        'tls.server_name = "a:b"',
        (
            'tls.server_name: given "a:b"; accepted: a host name without port, *.example.org for any subdomain, '
            "or nothing for any host"
        ),
    ),
    ('health = "http"', 'health: given "http"; accepted: a table'),
    ("retry.attempts = 11", "retry.attempts: given 11; accepted: a whole number from 0 to 10 (attempts)"),
]

POOL_COMBINATIONS = [
    (
        'instances = ["http://h:1", "http://H:1/"]',
        'instances[1].url: "http://h:1" is also the url of balancing.pools.web.instances[0]; give each its own id',
    ),
    (
        'instances = [{ url = "http://h:1", id = "a" }, { url = "http://h:2", id = "a" }]',
        'instances[1].id: "a" is also the id of balancing.pools.web.instances[0]; give each its own id',
    ),
    (
        'strategy = "geographic"',
        'strategy: "geographic" needs to know where a client is; set region_header or geoip_database',
    ),
    (
        (
            'strategy = "geographic"\nregion_header = "x-region"\nregions = { eu = [50, 8] }\n'
            'instances = [{ url = "http://h", region = "us" }]'
        ),
        'instances[0].region: "us" is not among the regions of the pool (eu); add it or give a location',
    ),
    ("outliers.max_ejection_ms = 5", "outliers.max_ejection_ms: 5 is below base_ejection_ms, 30000"),
    ('health = { kind = "tcp", path = "/x" }', 'health.path: is for kind = "http", and kind is "tcp"; remove one'),
]

ROUTES = [
    ('pool = "wbe"', 'routes[0].pool: there is no pool "wbe"; pools: web; did you mean "web"?'),
    (
        'pool = "web"\nname = "a b"',
        'routes[0].name: given "a b"; accepted: text of the form ^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$',
    ),
    ('path = "/x"', "routes[0].pool: missing; required: Name of the pool that takes what matches."),
    (
        'pool = "web"\nhost = "*.*.org"',
        (
            'routes[0].host: given "*.*.org"; accepted: a host name without port, *.example.org for any subdomain, '
            "or nothing for any host"
        ),
    ),
    (
        'pool = "web"\npath = "x"',
        'routes[0].path: given "x"; accepted: a path that starts with "/", printable ASCII without spaces or "#"',
    ),
    (
        'pool = "web"\npath = "/x?y"',
        'routes[0].path: given "/x?y"; accepted: a path that starts with "/", without a query',
    ),
    (
        'pool = "web"\nmethods = ["G T"]',
        'routes[0].methods[0]: given "G T"; accepted: a name of letters, digits and !#$%&\'*+-.^_`|~',
    ),
    (
        'pool = "web"\nheaders = { "x y" = "1" }',
        'routes[0].headers."x y": given the name "x y"; accepted: a header name: letters, digits and !#$%&\'*+-.^_`|~',
    ),
    ('pool = "web"\nheaders = { x = 1 }', "routes[0].headers.x: given 1; accepted: text"),
    (
        'pool = "web"\nmethods = ["GET", "HEAD"]\n[[balancing.routes]]\npool = "web"\nmethods = ["head", "get"]',
        "routes[1]: the same condition as balancing.routes[0], which always wins; remove or change one",
    ),
    (
        'pool = "web"\nname = "all"\n[[balancing.routes]]\npool = "web"\npath = "/x"',
        (
            'routes[1]: "route-2" never matches, since balancing.routes[0] ("all") comes first and takes all that it '
            "would; move it up or remove it"
        ),
    ),
    (
        'pool = "web"\nname = "x"\npath = "/y"\n[[balancing.routes]]\npool = "web"\nname = "x"\npath = "/x"',
        'routes[1].name: "x" is also the name of balancing.routes[0]; names are unique',
    ),
]


@pytest.mark.parametrize(("text", "problem"), VALUES)
def test_a_wrong_value_is_refused(refuse, text: str, problem: str) -> None:
    assert refuse(f"\n{text}\n") == [f"seawall.toml:2: {problem}"]


@pytest.mark.parametrize(("text", "problem"), [*POOL_VALUES, *POOL_COMBINATIONS])
def test_a_wrong_pool_is_refused(refuse, text: str, problem: str) -> None:
    (line,) = refuse(f"[balancing.pools.web]\n{text}")
    place, _, rest = line.partition(": ")
    assert rest == f"balancing.pools.web.{problem}"
    assert place.startswith("seawall.toml:")


@pytest.mark.parametrize(("text", "problem"), ROUTES)
def test_a_wrong_route_is_refused(refuse, text: str, problem: str) -> None:
    (line,) = refuse(f"[balancing.pools.web]\n[[balancing.routes]]\n{text}")
    assert line.partition(": ")[2] == f"balancing.{problem}"


def test_a_route_without_any_pool(refuse) -> None:
    assert refuse('[[balancing.routes]]\npool = "web"') == [
        'seawall.toml:2: balancing.routes[0].pool: there is no pool "web"; pools: there is none'
    ]


def test_a_strategy_inherited_from_the_defaults_is_held_against_the_pool(refuse) -> None:
    assert refuse('balancing.strategy = "geographic"\n[balancing.pools.web]') == [
        (
            'seawall.toml:2: balancing.pools.web.strategy: "geographic" needs to know where a client is; '
            "set region_header or geoip_database"
        )
    ]


@pytest.mark.parametrize(
    ("gateway", "admin"),
    [
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("0.0.0.0:8080", "127.0.0.1:8080"),
        ("[::]:8080", "127.0.0.1:8080"),
        ("unix:/run/x", "unix:/run/x"),
    ],
)
def test_two_listeners_at_one_address(refuse, gateway: str, admin: str) -> None:
    assert refuse(f'gateway.listen = "{gateway}"\nadmin.listen = "{admin}"') == [
        f'seawall.toml:2: admin.listen: "{admin}" is taken by gateway.listen = "{gateway}"; change one'
    ]


@pytest.mark.parametrize(
    ("gateway", "admin", "more"),
    [
        ("127.0.0.1:0", "127.0.0.1:0", ""),
        ("127.0.0.1:8080", "127.0.0.2:8080", ""),
        ("unix:/run/x", "unix:/run/y", ""),
        ("127.0.0.1:8080", "127.0.0.1:8080", "admin.enabled = false"),
    ],
)
def test_listeners_that_do_not_collide(load_text, gateway: str, admin: str, more: str) -> None:
    loaded = load_text(f'gateway.listen = "{gateway}"\nadmin.listen = "{admin}"\n{more}')
    assert loaded.settings.gateway.listen == gateway


def test_several_pools_without_a_route(refuse) -> None:
    assert refuse("[balancing.pools.a]\n[balancing.pools.b]") == [
        "seawall.toml:1: balancing.routes: no route chooses among the 2 pools (a, b); add [[balancing.routes]]"
    ]


def test_too_many_instances(refuse) -> None:
    urls = ", ".join(f'"http://h{number}"' for number in range(10_001))
    assert refuse(f"balancing.pools.web.instances = [{urls}]") == [
        "seawall.toml:1: balancing.pools.web.instances: given a list of 10001; accepted: a list of at most 10000"
    ]


@pytest.mark.parametrize(
    ("value", "kind"), [("2020-01-01", "a date"), ("2020-01-01T01:02:03Z", "a date"), ("01:02:03", "a time")]
)
def test_dates_and_times(refuse, value: str, kind: str) -> None:
    assert refuse(f"balancing.health.host = {value}") == [
        f"seawall.toml:1: balancing.health.host: given {kind}; no setting takes one, put text in quotes"
    ]


def test_every_mistake_is_found_at_once(refuse) -> None:
    text = """\
        [gateway]
        wrkers = 3
        max_headers = "many"

        [admin]
        listen = "127.0.0.1:8080"

        [balancing]
        strategy = "fastest"

        [balancing.pools.web]
        instances = [
          "http://h/path",
          { weight = nan },
          { url = "http://a:1" },
          "http://a:1",
        ]
        strategy = "geographic"
        regions = { eu = [100, 0] }

        [balancing.pools.other.outliers]
        base_ejection_ms = 400_000

        [[balancing.routes]]
        pool = "wbe"
        path = "/z"

        [[balancing.routes]]
        path = "/x"

        [[balancing.routes]]
        pool = "web"
        path = "/y"

        [[balancing.routes]]
        pool = "web"
        path = "/y"
        """
    lines = refuse(textwrap.dedent(text), environ={"LB_STRATEGY": "slow", "SEAWALL_ADMIN__TOKN": "x"})
    assert [line.split(": ")[:2] for line in lines] == [
        ["environment SEAWALL_ADMIN__TOKN", "sets nothing; did you mean SEAWALL_ADMIN__TOKEN?"],
        ["seawall.toml:3", "gateway.max_headers"],
        ["seawall.toml:2", "gateway.wrkers"],
        ["environment LB_STRATEGY", "balancing.strategy"],
        ["seawall.toml:13", "balancing.pools.web.instances[0].url"],
        ["seawall.toml:14", "balancing.pools.web.instances[1].url"],
        ["seawall.toml:14", "balancing.pools.web.instances[1].weight"],
        ["seawall.toml:19", "balancing.pools.web.regions.eu[0]"],
        ["seawall.toml:28", "balancing.routes[1].pool"],
        ["seawall.toml:16", "balancing.pools.web.instances[3].url"],
        ["seawall.toml:21", "balancing.pools.other.outliers.max_ejection_ms"],
        ["seawall.toml:25", "balancing.routes[0].pool"],
        ["seawall.toml:35", "balancing.routes[3]"],
        ["seawall.toml:6", "admin.listen"],
    ]
    assert "is also the url of balancing.pools.web.instances[2]" in lines[9]
    assert "the same condition as balancing.routes[2]" in lines[12]


def test_the_error_counts_the_problems(load_text) -> None:
    with pytest.raises(ConfigurationError, match=r"the configuration is refused: 2 problems") as caught:
        load_text("a = 1\nb = 2")
    assert str(caught.value).count("unknown key") == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[gateway]\nlisten 3", r"seawall\.toml:2:8: not valid TOML: expected '='"),
        ("a = 1\na = 2", r"seawall\.toml:2: not valid TOML: cannot overwrite a value"),
        ('a = "x', r"seawall\.toml:1(:\d+)?: not valid TOML: "),
        ("a = " + "[" * 100_000, r"nested too deeply|not valid TOML"),
        ("a = " + "[" * 40 + "]" * 40, "nested more than 32 deep"),
        ("a = " + "9" * 5000, "nested too deeply or too long"),
        ("#" * 1_048_577, "larger than 1048576 bytes"),
    ],
    ids=["syntax", "twice", "open", "bomb", "deep", "long number", "large"],
)
def test_what_is_not_a_configuration(load_text, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_text(text)


def test_not_utf_8(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(b"# fine\na = '\xff'\n")
    with pytest.raises(ConfigurationError, match=r"x\.toml:2: not UTF-8"):
        load(Settings, file=file, environ={}, overrides={})


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a folder, not a configuration file"):
        load(Settings, file=tmp_path, environ={}, overrides={})


def test_an_unreadable_file() -> None:
    with pytest.raises(ConfigurationError, match=r"/proc/self/mem cannot be read: "):
        load(Settings, file=Path("/proc/self/mem"), environ={}, overrides={})


@pytest.mark.parametrize("key", ["model_config", "_private", "__class__", "model_dump", ""])
def test_keys_that_are_names_within_python(refuse, key: str) -> None:
    (line,) = refuse(f'"{key}" = 1')
    assert "unknown key" in line
