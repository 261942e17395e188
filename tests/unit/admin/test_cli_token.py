import asyncio
import json
from typing import NamedTuple

import pytest

from seawall.admin.tokens import list_tokens, parse_token
from seawall.cli import root
from seawall.core.access import Role
from seawall.state.open import open_store


class Result(NamedTuple):
    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture
def state(tmp_path):
    return f"sqlite:///{tmp_path / 'state.sqlite'}"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SEAWALL_CONFIG", raising=False)

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            root.run(["token", *arguments])
        return Result(ended.value.code or 0, *capsys.readouterr())

    return run


def _stored(state):
    async def read():
        store = open_store(state)
        try:
            return await list_tokens(store)
        finally:
            await store.close()

    return asyncio.run(read())


def test_create_prints_the_token_alone_and_keeps_its_hash(run, state):
    result = run("create", "--name", "ci", "--role", "operator", "--expires-days", "2", "--state", state)
    assert result.exit_code == 0, result.stderr
    parsed = parse_token(result.stdout.strip())
    assert parsed is not None
    [record] = _stored(state)
    assert (record.id, record.name, record.role) == (parsed[0], "ci", Role.OPERATOR)
    assert record.matches(parsed[1])
    assert record.expires_at == pytest.approx(record.created_at + 2 * 86_400)
    assert "command line" in record.created_by


def test_a_token_has_the_least_role_unless_asked(run, state):
    assert run("create", "--name", "ci", "--state", state).exit_code == 0
    assert _stored(state)[0].role is Role.VIEWER


def test_the_list_shows_everything_but_secrets(run, state):
    token = run("create", "--name", "ci", "--role", "admin", "--state", state).stdout.strip()
    result = run("list", "--state", state)
    assert result.exit_code == 0
    token_id, secret = parse_token(token)
    for shown in (token_id, "ci", "admin", "never"):
        assert shown in result.stdout
    assert secret not in result.stdout
    [row] = [json.loads(line) for line in run("list", "--json", "--state", state).stdout.splitlines()]
    assert (row["id"], row["role"], row["expires_at"], row["expired"]) == (token_id, "admin", None, False)


def test_revoke_removes_one_and_knows_when_there_is_none(run, state):
    token_id = parse_token(run("create", "--name", "a", "--state", state).stdout.strip())[0]
    assert run("create", "--name", "b", "--state", state).exit_code == 0
    assert run("revoke", token_id, "--state", state).exit_code == 0
    assert [record.name for record in _stored(state)] == ["b"]
    result = run("revoke", token_id, "--state", state)
    assert result.exit_code == 1
    assert token_id in result.stderr
    assert "seawall token list" in result.stderr


def test_an_empty_list_says_how_to_make_one(run, state):
    result = run("list", "--state", state)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "seawall token create" in result.stderr


def test_the_store_is_that_of_the_configuration(run, state, tmp_path):
    (tmp_path / "other.toml").write_text(f'[state]\nurl = "{state}"\n')
    assert run("create", "--name", "ci", "-c", str(tmp_path / "other.toml")).exit_code == 0
    assert len(_stored(state)) == 1


def test_without_configuration_it_is_the_default_directory(run, tmp_path):
    assert run("create", "--name", "ci").exit_code == 0
    [file] = (tmp_path / "home" / "seawall").glob("*.sqlite")
    assert len(_stored(f"sqlite:///{file}")) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("create", "--name", "ci", "--state", "memory://"), "one process"),
        (("create", "--name", "a b", "--state", "{state}"), "not acceptable"),
        (("list", "--state", "nonsense://x"), "accepted: memory://"),
        (("list", "-c", "absent.toml"), "absent.toml"),
    ],
)
def test_a_refusal_tells_what_to_do(run, state, arguments, message):
    result = run(*(argument.replace("{state}", state) for argument in arguments))
    assert result.exit_code in {1, 2}
    assert result.stderr.startswith("seawall: ")
    assert message in result.stderr
    assert "hint:" in result.stderr
    assert result.stdout == ""


def test_a_damaged_store_is_told_and_left_alone(run, tmp_path):
    path = tmp_path / "state.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    result = run("list", "--state", f"sqlite:///{path}")
    assert result.exit_code == 1
    assert str(path) in result.stderr
    assert path.read_bytes() == b"not a database at all" * 100


def test_an_unknown_role_is_refused(run, state):
    result = run("create", "--name", "ci", "--role", "root", "--state", state)
    assert result.exit_code == 2
    assert "Invalid value for '--role': 'root' is not one of 'viewer', 'operator', 'admin'." in result.stderr
