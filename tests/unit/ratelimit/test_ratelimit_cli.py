"""`seawall limits` against a real admin API on a loop of its own."""

import asyncio
import json
import random
import threading
from typing import NamedTuple

import pytest
from pydantic import SecretStr

from seawall.admin.server import AdminServer
from seawall.cli import root
from seawall.cli.admin_client import AdminClient
from seawall.config.admin import AdminSettings
from seawall.config.loader import load
from seawall.control.plane import ControlPlane
from seawall.control.systems import SYSTEMS
from seawall.control.tree import Settings
from seawall.core.clock import SystemClock
from seawall.state.memory import MemoryStore
from seawall.systems.ratelimit.keys import LimitContext, compile_key
from seawall.systems.ratelimit.model import Offence, RateLimitReport, RuleReport

TOKEN = "a-token-for-the-command-line"
CONFIGURATION = """
[state]
directory = "{directory}"

[ratelimit]
base = 100

[ratelimit.ladder]
warn_at = 2
"""
WORKER = ("worker-0", 4711)


class Result(NamedTuple):
    exit_code: int
    stdout: str
    stderr: str


class _Gateway(threading.Thread):
    """A control plane with its admin API, and one worker that reports when a test says so."""

    def __init__(self, directory, listen):
        super().__init__(name="gateway-under-test")
        self._directory = directory
        self._listen = listen
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self.address = ""
        self.plane = None

    def run(self):
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._ready.set()
            self._loop.close()

    def report(self, report):
        async def tell():
            self.plane.controllers["ratelimit"].on_report(WORKER, report)

        asyncio.run_coroutine_threadsafe(tell(), self._loop).result(10)

    async def _serve(self):
        config = self._directory / "gateway.toml"
        config.write_text(CONFIGURATION.format(directory=self._directory))
        loaded = load(Settings, file=config, environ={}, overrides={})
        clock = SystemClock()
        store = MemoryStore(clock=clock)
        self.plane = ControlPlane(loaded.settings, loaded, store, SYSTEMS, clock, random.Random(1))
        await self.plane.start()
        server = AdminServer(self.plane, AdminSettings(listen=self._listen, token=SecretStr(TOKEN)))
        await server.start()
        self.address = server.address
        self._ready.set()
        await self._over.wait()
        await server.stop()
        await self.plane.stop()
        await store.close()

    def __enter__(self):
        self.start()
        self._ready.wait(30)
        assert self.address
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._over.set)
        self.join(30)


@pytest.fixture(params=["tcp", "unix"])
def gateway(tmp_path, request):
    listen = "127.0.0.1:0" if request.param == "tcp" else f"unix:{tmp_path}/admin.sock"
    with _Gateway(tmp_path, listen) as running:
        yield running


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEAWALL_CONFIG", raising=False)
    monkeypatch.setenv("SEAWALL_ADMIN_TOKEN", TOKEN)

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            root.run(["limits", *arguments])
        return Result(ended.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def limits(run, gateway):
    return lambda *arguments: run(*arguments, "--admin", gateway.address)


def test_a_rule_is_set_listed_and_removed(limits):
    login = ["--limit", "5", "--path", "/login", "--method", "POST", "--key", "client/24", "--before", "base"]
    done = limits("set", "login", *login, "--burst", "2", "--version", "0")
    assert (done.exit_code, done.stdout) == (0, "set-rule login: done, now at version 1\n"), done.stderr
    again = limits("set", "login", *login, "--burst", "2")
    assert again.stdout == "set-rule login: nothing to change, now at version 1\n"
    listed = limits("list")
    lines = [line.split() for line in listed.stdout.splitlines()]
    assert "; one process counts each limit\n" in listed.stdout
    assert lines[0][:4] == ["RULE", "SOURCE", "MODE", "KEY"]
    assert lines[1][:8] == ["login", "run-time", "enforce", "client/24", "5", "in", "60", "s,"]
    assert lines[2][:4] == ["base", "base", "enforce", "identity"]
    document = json.loads(limits("list", "--json").stdout)
    rule = document["rules"][0]
    assert (rule["id"], rule["match"]) == ("login", {"paths": ["/login"], "methods": ["POST"]})
    assert rule["windows"][0]["burst"] == 2
    conflict = limits("remove", "login", "--version", "0")
    assert conflict.exit_code == 1
    assert "at version 1, and this change was made for version 0" in conflict.stderr
    assert "version 2" in limits("remove", "login").stdout
    assert "there is no rule 'login'" in limits("remove", "login").stderr


def test_a_rule_comes_from_a_file_too(limits, tmp_path, monkeypatch):
    (tmp_path / "rule.toml").write_text('mode = "shadow"\nmatch.paths = ["/a"]\nwindows = [{ limit = 3 }]\n')
    assert limits("set", "toml", "--file", str(tmp_path / "rule.toml")).exit_code == 0
    (tmp_path / "rule.json").write_text('{"match": {"paths": ["/b"]}}')
    assert limits("set", "json", "--file", str(tmp_path / "rule.json")).exit_code == 0
    rules = {rule["id"]: rule for rule in json.loads(limits("list", "--json").stdout)["rules"]}
    assert (rules["toml"]["mode"], rules["json"]["windows"]) == ("shadow", [])
    assert "exempt" in limits("list").stdout
    (tmp_path / "broken.json").write_text("[1")
    for name, reason in {"broken.json": "cannot be read", "missing.json": "cannot be read"}.items():
        refused = limits("set", "x", "--file", str(tmp_path / name))
        assert (refused.exit_code, reason in refused.stderr) == (1, True)
    (tmp_path / "broken.json").write_text("[1]")
    assert "holds no table" in limits("set", "x", "--file", str(tmp_path / "broken.json")).stderr


def test_every_finding_of_a_refused_rule_is_told(limits, tmp_path):
    refused = limits("set", "x", "--limit", "-1", "--mode", "sometimes")
    assert refused.exit_code == 1
    assert "rule.windows.0.limit" in refused.stderr
    assert "rule.mode" in refused.stderr
    (tmp_path / "rule.json").write_text('{"windows": [{"limit": 5, "min": 9, "max": 2}]}')
    combined = limits("set", "x", "--file", str(tmp_path / "rule.json"))
    assert "rule.windows.0.min: 9 is above the limit itself, 5" in combined.stderr
    assert "rule.windows.0.max: 2 is below the limit itself, 5" in combined.stderr
    assert "needs either a limit or --exempt" in limits("set", "x").stderr
    assert limits("set", "all", "--exempt").exit_code == 0
    assert "can never match" in limits("set", "late", "--limit", "5", "--path", "/late").stderr


def test_subjects_are_blocked_and_given_limits_of_their_own(limits):
    assert limits("block", "client:192.0.2.0/24", "--for", "600", "--reason", "[red]scraping[/]").exit_code == 0
    assert limits("override", "user:alice", "--limit", "5000", "--rule", "base").exit_code == 0
    listed = limits("list").stdout
    assert "blocked client:192.0.2.0/24 until 20" in listed
    assert "[red]scraping[/]" in listed
    assert "override user:alice: 5000 under base for good" in listed
    assert limits("unblock", "client:192.0.2.0/24").stdout.startswith("unblock client:192.0.2.0/24: done")
    assert limits("override", "user:alice").stdout.startswith("override user:alice: done")
    assert "blocked" not in limits("list").stdout.replace("0 blocked", "")
    assert "names no subject" in limits("block", "nobody").stderr


def test_the_keys_that_were_refused_most_are_shown_and_reset(limits, gateway):
    assert limits("top").stdout == "nobody was refused in the last minutes\n"
    offences = (Offence("client:192.0.2.7", "base", 7), Offence("user:eve", "base", 3, 1))
    gateway.report(RateLimitReport(rules={"base": RuleReport(9, 10, 0, 0)}, offences=offences))
    lines = [line.split() for line in limits("top", "-n", "5").stdout.splitlines()]
    assert lines[1] == ["client:192.0.2.7", "7", "7"]
    assert lines[2] == ["user:eve", "2", "2"]  # one of the three is not certain
    assert ["client:192.0.2.7", "warn"] in [line[:2] for line in lines]
    assert [hit["key"] for hit in json.loads(limits("top", "-n", "1", "--json").stdout)["top"]] == ["client:192.0.2.7"]
    assert limits("reset", "client:192.0.2.7").exit_code == 0
    assert "warn" not in limits("top").stdout.split("OFFENDER")[-1].split("client:192.0.2.7")[-1]


def test_an_api_key_that_was_refused_is_shown_by_its_name(limits, gateway):
    made = AdminClient(gateway.address, TOKEN).post("/api/system/identity", {"action": "create-key", "name": "acme"})
    key_id = made["key"]["id"]
    key, gone = compile_key(["api-key"])(LimitContext(api_key=key_id)), "api-key:#" + "0" * 32
    route = f"{key}|route:orders"
    offences = (Offence(key, "base", 7), Offence(route, "routes", 6), Offence(gone, "base", 5))
    gateway.report(RateLimitReport(rules={"base": RuleReport(9, 12, 0, 0)}, offences=offences))
    shown = {line.split()[0]: line.split()[-2:] for line in limits("top").stdout.partition("\n\n")[0].splitlines()[1:]}
    assert shown == {key: ["acme", f"({key_id})"], route: ["acme", f"({key_id})"], gone: ["5", "5"]}
    assert f"acme ({key_id})" in limits("top").stdout.split("OFFENDER")[-1]


def test_what_stands_in_the_way_is_told(run, tmp_path, monkeypatch):
    away = run("list", "--admin", "127.0.0.1:9")
    assert (away.exit_code, "does not answer" in away.stderr) == (1, True)
    monkeypatch.delenv("SEAWALL_ADMIN_TOKEN")
    missing = run("list", "--admin", "127.0.0.1:9")
    assert (missing.exit_code, "seawall token create" in missing.stderr) == (2, True)
    nowhere = run("list", "--admin", "nowhere")
    assert (nowhere.exit_code, "is no address" in nowhere.stderr) == (2, True)
    (tmp_path / "seawall.toml").write_text('[admin]\nlisten = "127.0.0.1:0"\n')
    assert "takes a free port" in run("list").stderr


def test_a_wrong_token_is_refused_in_the_words_of_the_admin_api(limits, monkeypatch):
    monkeypatch.setenv("SEAWALL_ADMIN_TOKEN", "not-the-token-of-anybody")
    refused = limits("list")
    assert refused.exit_code == 1
    assert "token" in refused.stderr
    assert "Traceback" not in refused.stderr
