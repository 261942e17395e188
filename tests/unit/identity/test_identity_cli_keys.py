"""`seawall keys`."""

import asyncio
import json
from typing import NamedTuple

import pytest

from seawall.cli import root
from seawall.state.open import open_store
from seawall.systems.identity.apikeys import is_secret_of, split_key
from seawall.systems.identity.records import list_keys
from seawall.systems.identity.usage import USED_PREFIX


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
            root.run(["keys", *arguments])
        return Result(ended.value.code or 0, *capsys.readouterr())

    return run


def on_store(state, work):
    async def worked():
        store = open_store(state)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(worked())


def test_create_prints_the_key_alone_and_keeps_its_digest(run, state):
    options = ("--user", "bob", "--tenant", "acme", "--role", "partner", "--expires-days", "2")
    result = run("create", "--name", "ci", *options, "--state", state)
    assert result.exit_code == 0, result.stderr
    key_id, secret = split_key(result.stdout.strip().encode())
    [record] = on_store(state, list_keys)
    assert (record.id, record.name, record.user, record.tenant, record.role) == (
        key_id,
        "ci",
        "bob",
        "acme",
        "partner",
    )
    assert is_secret_of(record.snapshot(), secret)
    assert record.expires_at == pytest.approx(record.created_at + 2 * 86_400)
    assert "command line" in record.created_by
    assert secret.decode() not in result.stderr


def test_the_list_shows_everything_but_secrets(run, state):
    key = run("create", "--name", "ci", "--role", "partner", "--state", state).stdout.strip()
    key_id, secret = split_key(key.encode())
    on_store(state, lambda store: store.put(USED_PREFIX + key_id, b"1700000000"))
    result = run("list", "--state", state)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["ID", "NAME", "USER", "TENANT", "ROLE", "CREATED", "EXPIRES", "LAST", "USED"]
    assert lines[1].split()[:5] == [key_id, "ci", "-", "-", "partner"]
    assert "2023-11-14T22:13:20+00:00" in lines[1]
    assert secret.decode() not in result.stdout
    row = json.loads(run("list", "--json", "--state", state).stdout)
    assert (row["id"], row["expired"], row["expires_at"]) == (key_id, False, None)


def test_an_empty_list_says_what_to_do(run, state):
    result = run("list", "--state", state)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "seawall keys create" in result.stderr


def test_revoke_removes_it_and_what_is_known_of_its_use(run, state):
    key_id, _ = split_key(run("create", "--name", "ci", "--state", state).stdout.strip().encode())
    on_store(state, lambda store: store.put(USED_PREFIX + key_id, b"1700000000"))
    assert run("revoke", key_id, "--state", state).exit_code == 0

    async def left(store):
        return [entry.key async for entry in store.scan("")]

    assert on_store(state, left) == []
    again = run("revoke", key_id, "--state", state)
    assert again.exit_code == 1
    assert "seawall keys list" in again.stderr


@pytest.mark.parametrize("key_id", ["x", "x" * 600, "a b"])
def test_revoke_names_what_does_not_exist(run, state, key_id):
    result = run("revoke", key_id, "--state", state)
    assert result.exit_code == 1
    assert "there is no API key" in result.stderr


def test_a_key_that_nobody_would_look_for_is_noted(run, state, tmp_path):
    assert "api_keys.enabled is false" in run("create", "--name", "ci", "--state", state).stderr
    (tmp_path / "seawall.toml").write_text("[identity.api_keys]\nenabled = true\n")
    assert "api_keys.enabled" not in run("create", "--name", "ci", "--state", state).stderr


def test_names_are_checked(run, state):
    result = run("create", "--name", "a b", "--state", state)
    assert result.exit_code == 1
    assert "not acceptable" in result.stderr


def test_a_store_within_a_process_cannot_be_reached(run):
    result = run("list", "--state", "memory://")
    assert result.exit_code == 2
    assert "POST /api/system/identity" in result.stderr
