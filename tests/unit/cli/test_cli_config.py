"""`seawall config`, and how the command line ends."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import jsonschema_rs
import pytest
import typer

from identity_tokens import ED, RSA, jwks
from seawall.cli import root
from seawall.core.errors import StateUnavailableError


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def seawall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run the command line in an empty folder, without variables that concern it."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("SEAWALL_", "LB_")):
            monkeypatch.delenv(name)

    def run(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as exit_:
            root.run(arguments)
        captured = capsys.readouterr()
        return Done(int(exit_.value.code or 0), captured.out, captured.err)

    return run


_NO_POOL = (
    "balancing.pools: there is no pool, so no request can be passed on; "
    "give --upstream URL or add [balancing.pools.NAME]"
)


def write(text: str, name: str = "seawall.toml") -> None:
    Path(name).write_text(text)
    Path(name).chmod(0o600)


def test_check_without_a_file(seawall) -> None:
    assert seawall("config", "check") == Done(
        0,
        "OK: no file, defaults and environment\n"
        "  gateway on 127.0.0.1:8080, admin API on 127.0.0.1:8081\n"
        "  0 pools, 0 instances, 0 routes, strategy round-robin\n",
        f"warning: {_NO_POOL}\n",
    )


def test_check_sums_up(seawall, monkeypatch) -> None:
    write(
        "admin.enabled = false\n[balancing.pools.web]\n"
        'instances = ["http://a"]\ndns = ["http://b"]\n[[balancing.routes]]\npool = "web"',
        "other.toml",
    )
    monkeypatch.setenv("LB_STRATEGY", "random")
    assert seawall("config", "check", "-c", "other.toml") == Done(
        0,
        "OK: other.toml\n  gateway on 127.0.0.1:8080, admin API off\n  1 pool, 2 instances, 1 route, strategy random\n",
        "",
    )


def test_check_prints_every_problem_and_ends_with_2(seawall, monkeypatch) -> None:
    write("[gateway]\nwrkers = 1\nmax_headers = 0")
    monkeypatch.setenv("SEAWALL_STATE__URL", "x")
    assert seawall("config", "check") == Done(
        2,
        "",
        "seawall: the configuration is refused: 3 problems\n"
        "  hint: correct each line below, then run `seawall config check`\n"
        "  - seawall.toml:3: gateway.max_headers: given 0; accepted: a whole number from 1 to 10000 (fields)\n"
        '  - seawall.toml:2: gateway.wrkers: unknown key; did you mean "workers"?\n'
        '  - environment SEAWALL_STATE__URL: state.url: given "x"; accepted: memory://, sqlite:///path, '
        "redis://host:port/database, rediss://..., or nothing for SQLite\n",
    )


def test_check_warns_of_a_pool_that_no_route_reaches(seawall) -> None:
    write('[balancing.pools.web]\n[balancing.pools.lost]\n[[balancing.routes]]\npool = "web"')
    done = seawall("config", "check")
    assert done.code == 0
    assert done.err == (
        "warning: seawall.toml:2: balancing.pools.lost: no route leads to this pool, so it gets no requests; "
        'add a route with pool = "lost"\n'
    )


def test_serve_warns_of_upstreams_that_no_route_reaches(seawall) -> None:
    write('admin.listen = "192.0.2.1:0"\n[balancing.pools.web]\n[[balancing.routes]]\npool = "web"')
    # It ends at the admin API's address, which is one of another machine.
    done = seawall(
        "serve", "--single-process", "--listen", "127.0.0.1:0", "--state", "memory://", "--upstream", "http://a"
    )
    assert done.code == 1
    assert done.err.count("warning: ") == 1
    assert (
        "warning: command line: balancing.pools.default: no route leads to this pool, so it gets no requests; "
        'add a route with pool = "default", which is also where --upstream puts its instances\n'
    ) in done.err


@pytest.mark.parametrize("command", [("config", "check"), ("serve",), ("serve", "--single-process")])
def test_a_short_admin_token_is_refused_before_anything_starts(seawall, monkeypatch, command) -> None:
    monkeypatch.setenv("SEAWALL_ADMIN_TOKEN", "short")
    done = seawall(*command)
    assert (done.code, done.out) == (2, "")
    assert "environment SEAWALL_ADMIN_TOKEN: admin.token: given (hidden); accepted: 16 to 4096" in done.err
    assert "listening" not in done.err
    assert "short" not in done.err


@pytest.mark.parametrize("flags", [(), ("--single-process",)], ids=["processes", "single process"])
@pytest.mark.timeout(60)
def test_a_state_file_that_cannot_be_written_is_told_as_such(tmp_path: Path, flags: tuple[str, ...]) -> None:
    (tmp_path / "blocker").touch()
    path = tmp_path / "blocker" / "y.sqlite"
    environ = {"PATH": os.environ["PATH"], "XDG_STATE_HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "seawall.cli", "serve", "--state", f"sqlite:///{path}", *flags]
    command += ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", "http://127.0.0.1:9"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"cannot use the state file {path}: the path cannot be written (" in done.stderr
    assert "set state.url (--state) to a path that is" in done.stderr
    assert "is away" not in done.stderr
    assert "start the store" not in done.stderr
    assert "listening on" not in done.stderr


def test_a_file_that_is_not_there(seawall) -> None:
    done = seawall("config", "check", "-c", "gone.toml")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("seawall: there is no configuration file 'gone.toml', which -c names\n  hint: ")


def test_limits_are_nothing_to_warn_of(seawall, monkeypatch) -> None:
    write("[balancing.pools.web]")
    monkeypatch.setenv("RATE_LIMIT_BASE", "5")
    done = seawall("config", "check")
    assert (done.code, done.err) == (0, "")


def test_warnings_go_to_standard_error(seawall, monkeypatch) -> None:
    write("[balancing.pools.web]")
    monkeypatch.setenv("GRAPHQL_MAX_DEPTH", "5")
    done = seawall("config", "check")
    assert done.code == 0
    assert done.err == "warning: environment GRAPHQL_MAX_DEPTH: this version does not use it yet; it changes nothing\n"


def test_show_tells_origins_and_hides_secrets(seawall, monkeypatch) -> None:
    write('[gateway]\nlisten = "[::1]:80"\n[balancing.pools.web]\ninstances = [{ url = "http://a", weight = 2.5 }]')
    monkeypatch.setenv("SEAWALL_ADMIN_TOKEN", "s3cret-s3cret-s3cret")
    done = seawall("config", "show")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert 'gateway.listen = "[::1]:80"  # seawall.toml:2' in lines
    assert "gateway.workers = 0  # default" in lines
    assert 'admin.token = "(hidden)"  # environment SEAWALL_ADMIN_TOKEN' in lines
    assert "balancing.pools.web.instances[0].weight = 2.5  # seawall.toml:4" in lines
    assert "balancing.pools.web.instances[0].location is not set  # default" in lines
    assert "balancing.pools.web.regions = {}  # default" in lines
    assert "s3cret" not in done.out


def test_show_as_json(seawall, monkeypatch) -> None:
    write('[gateway]\ntrusted_proxies = ["::1"]')
    monkeypatch.setenv("SEAWALL_ADMIN_TOKEN", "s3cret-s3cret-s3cret")
    monkeypatch.setenv("GRAPHQL_CACHE_TTL", "5")
    done = seawall("config", "show", "--json")
    document = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert document["file"] == "seawall.toml"
    assert document["warnings"] == [
        "environment GRAPHQL_CACHE_TTL: this version does not use it yet; it changes nothing",
        _NO_POOL,
    ]
    settings = document["settings"]
    assert settings["gateway.trusted_proxies"] == {"value": ["::1"], "origin": "seawall.toml:2"}
    assert settings["admin.token"] == {"value": "(hidden)", "origin": "environment SEAWALL_ADMIN_TOKEN"}
    assert settings["state.timeout_ms"] == {"value": 250, "origin": "default"}
    assert "s3cret" not in done.out


def test_schema(seawall) -> None:
    done = seawall("config", "schema")
    schema = json.loads(done.out)
    assert done.code == 0
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    validator = jsonschema_rs.validator_for(schema)
    assert validator.is_valid({"gateway": {"workers": 2}})
    assert not validator.is_valid({"gateway": {"wrkers": 2}})


def test_version(seawall) -> None:
    assert seawall("--version") == Done(0, f"seawall {metadata.version('seawall')}\n", "")


def test_help_lists_every_verb(seawall) -> None:
    done = seawall("--help")
    assert done.code == 0
    assert set(root.VERBS) <= set(done.out.split())


@pytest.mark.parametrize("arguments", [("confg",), ("config", "chek"), ("config", "check", "--nope"), ("--nope",)])
def test_a_command_that_does_not_exist(seawall, arguments: tuple[str, ...]) -> None:
    done = seawall(*arguments)
    assert done.code == 2
    assert "No such" in done.err


def test_an_error_that_is_not_about_configuration_ends_with_1(seawall, monkeypatch) -> None:
    def fail() -> None:
        raise StateUnavailableError("the store is away", hint="start it")

    def build(_: object) -> typer.Typer:
        app = typer.Typer()
        app.callback()(lambda: None)
        app.command("fail")(fail)
        return app

    monkeypatch.setattr(root, "build_app", build)
    assert seawall("fail") == Done(1, "", "seawall: the store is away\n  hint: start it\n")


@pytest.mark.parametrize(
    "command", [[sys.executable, "-m", "seawall.cli"], [str(Path(sys.executable).with_name("seawall"))]]
)
def test_both_ways_to_start(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "seawall.toml").write_text("a = 1")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("SEAWALL_", "LB_"))}
    done = subprocess.run(
        [*command, "config", "check"], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown key" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_verb_starts_without_the_others() -> None:
    code = (
        "import sys\nfrom seawall.cli.root import build_app\nbuild_app(['config'])\n"
        "heavy = {'fastapi', 'uvloop', 'pydantic_settings', 'seawall.control.tree', 'seawall.cli.serve'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


_JWT = """\
[balancing.pools.default]
instances = ["http://127.0.0.1:9001"]

[identity.jwt]
enabled = true
issuer = "https://issuer.example/"
audience = ["orders"]
"""


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("jwks_file", None, "No such file"),
        ("jwks_file", "{", "not JSON"),
        ("jwks_file", '{"keys": []}', "it is empty"),
        ("secret_file", "short", "needs at least 32"),
    ],
)
def test_check_reads_the_keys_of_tokens(seawall, name: str, content: str | None, said: str) -> None:
    write(f'{_JWT}{name} = "keys"\n')
    if content is not None:
        write(content, "keys")
    done = seawall("config", "check")
    assert done.code == 2
    assert f"seawall.toml:8: identity.jwt.{name}: the keys in keys cannot be used: " in done.err
    assert said in done.err
    assert not done.out


def test_check_only_warns_of_a_secret_that_is_not_on_this_machine(seawall) -> None:
    write(f'{_JWT}secret_file = "keys"\n')
    done = seawall("config", "check")
    assert done.code == 0
    assert "warning: " in done.err
    assert "identity.jwt.secret_file: the keys in keys cannot be used: [Errno 2] No such file" in done.err


def test_check_names_keys_that_are_not_used(seawall) -> None:
    write(f'{_JWT}jwks_file = "keys"\n')
    write(jwks(RSA, ED).decode(), "keys")
    done = seawall("config", "check")
    assert done.code == 0
    assert "identity.jwt.jwks_file: not used: key 2 ('ed-1'): its algorithm" in done.err


def test_check_leaves_keys_alone_that_nobody_uses(seawall) -> None:
    write(f'{_JWT}jwks_file = "keys"\n'.replace("true", "false"))
    assert seawall("config", "check").code == 0
