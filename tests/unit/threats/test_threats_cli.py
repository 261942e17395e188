"""`seawall threats` against a real admin API on a loop of its own."""

import asyncio
import io
import json
import random
import threading
import time
from typing import NamedTuple

import pytest
from pydantic import SecretStr

from seawall.admin.server import AdminServer
from seawall.cli import root
from seawall.config.admin import AdminSettings
from seawall.config.loader import load
from seawall.control.plane import ControlPlane
from seawall.control.systems import SYSTEMS
from seawall.control.tree import Settings
from seawall.core.clock import SystemClock
from seawall.state.memory import MemoryStore
from seawall.systems.threats.events import ThreatEvent
from seawall.systems.threats.messages import ThreatReport
from seawall.systems.threats.model import Action, Finding, Level, Place, PlaceKind, Severity, ThreatClass

TOKEN = "a-token-for-the-command-line"
CONFIGURATION = '[state]\ndirectory = "{directory}"\n'
WORKER = ("worker-0", 4711)
FINDING = Finding(
    rule="sqli-tautology",
    category=ThreatClass.SQL_INJECTION,
    owasp="A03:2021",
    severity=Severity.CRITICAL,
    confidence=0.97,
    place=Place(PlaceKind.QUERY, "id"),
    span="' or 1=1",
    chain=("percent", "percent"),
)


class Result(NamedTuple):
    exit_code: int
    stdout: str
    stderr: str

    @property
    def lines(self):
        return self.stdout.splitlines()


class _Gateway(threading.Thread):
    """A control plane with its admin API, and one worker that reports when a test says so."""

    def __init__(self, directory):
        super().__init__(name="gateway-under-test")
        self._directory = directory
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

    def report(self, *events, **fields):
        async def tell():
            controller = self.plane.controllers["threats"]
            controller.on_report(WORKER, ThreatReport(events=events, **fields))
            while controller.recorder.waiting:  # noqa: ASYNC110 - written by a task of its own
                await asyncio.sleep(0.01)

        asyncio.run_coroutine_threadsafe(tell(), self._loop).result(10)

    async def _serve(self):
        config = self._directory / "gateway.toml"
        config.write_text(CONFIGURATION.format(directory=self._directory))
        loaded = load(Settings, file=config, environ={}, overrides={})
        clock = SystemClock()
        store = MemoryStore(clock=clock)
        self.plane = ControlPlane(loaded.settings, loaded, store, SYSTEMS, clock, random.Random(1))
        await self.plane.start()
        server = AdminServer(self.plane, AdminSettings(listen="127.0.0.1:0", token=SecretStr(TOKEN)))
        await server.start()
        self.address = server.address
        self._ready.set()
        await self._over.wait()
        await server.stop()
        await self.plane.stop()
        await store.close()

    def __enter__(self):
        self.start()
        self._ready.wait(60)
        assert self.address
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._over.set)
        self.join(30)


@pytest.fixture
def gateway(tmp_path):
    with _Gateway(tmp_path) as running:
        yield running


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEAWALL_CONFIG", raising=False)
    monkeypatch.setenv("SEAWALL_ADMIN_TOKEN", TOKEN)

    def run(*arguments, stdin=b""):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            root.run(["threats", *arguments])
        return Result(ended.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def threats(run, gateway):
    return lambda *arguments: run(*arguments, "--admin", gateway.address)


def event(number=1, **fields):
    default = {
        "id": f"0644f1b2c3d4e5-aabb-{number:x}",
        "at": time.time(),
        "category": ThreatClass.SQL_INJECTION,
        "level": Level.CRITICAL,
        "action": Action.BLOCK,
        "score": 19.5,
        "client": "192.0.2.7",
        "method": "GET",
        "target": "/?id=%2527%20or%201=1",
        "route": "shop",
        "request_id": "r-1",
        "findings": (FINDING,),
    }
    return ThreatEvent(**{**default, **fields})


def test_top_shows_counts_sources_and_bans(threats, gateway):
    assert threats("top").lines == ["mode block, paranoia 1; 0 requests looked into"]
    gateway.report(event(), event(2, client="192.0.2.8"), inspected=7, actions={"block": 2}, lost=3)
    lines = threats("top", "-n", "1").lines
    assert lines[:4] == [
        "mode block, paranoia 1; 7 requests looked into",
        "done: 2 block",
        "events by class: 2 sql-injection",
        "events by level: 2 critical",
    ]
    assert [line.split() for line in lines[5:7]] == [["CLIENT", "EVENTS"], ["192.0.2.7", "1"]]
    banned = [line.split() for line in lines if line.startswith("client:")]
    assert sorted(row[:2] + row[-1:] for row in banned) == [
        ["client:192.0.2.7", "seawall", "sql-injection"],
        ["client:192.0.2.8", "seawall", "sql-injection"],
    ]
    assert lines[-1] == "3 events were lost, as there was no room for them"
    assert json.loads(threats("top", "--json").stdout)["bans_total"] == 2


def test_events_are_searched(threats, gateway):
    assert threats("events").lines == ["there are no such events"]
    gateway.report(event(1, at=time.time() - 3600.0), event(2, client="2001:db8::1", level=Level.LOW, shadow=True))
    lines = threats("events").lines
    assert [line.split()[0] for line in lines[:1]] == ["TIME"]
    assert lines[1].endswith("0644f1b2c3d4e5-aabb-1")
    assert "would block  2001:db8::1" in lines[2]
    assert threats("events", "--last", "60", "--client", "192.0.2.7").lines == ["there are no such events"]
    asked = ["--class", "sql-injection", "--level", "high", "--route", "shop", "--request", "r-1", "--json"]
    page = json.loads(threats("events", *asked).stdout)
    assert [one["id"] for one in page["events"]] == ["0644f1b2c3d4e5-aabb-1"]
    assert threats("events", "-n", "1").lines[-1].startswith("there are earlier ones")
    refused = threats("events", "--class", "nonsense")
    assert refused.exit_code == 1
    assert "category" in refused.stderr


def test_somebody_is_banned_and_let_in_again(threats):
    assert threats("ban", "192.0.2.9", "--for", "60", "--reason", "scraping").lines == ["client:192.0.2.9: banned"]
    assert "scraping" in threats("top").stdout
    assert threats("unban", "client:192.0.2.9").lines == ["client:192.0.2.9: no longer banned"]
    assert threats("unban", "client:192.0.2.9").lines == ["client:192.0.2.9: nothing to change"]
    assert json.loads(threats("ban", "account:Bob", "--json").stdout)["target"] == "account:bob"
    for network in ("203.0.113.0/24", "2001:db8:5::/64", "2001:db8:ff00::/40"):
        assert threats("ban", network).lines == [f"network:{network}: banned"]
        assert threats("unban", network).lines == [f"network:{network}: no longer banned"]
    refused = threats("ban", "nobody")
    assert refused.exit_code == 1
    assert "nobody" in refused.stderr


def test_an_event_is_explained_with_its_evidence(threats, gateway):
    gateway.report(event(user_agent="curl\x1b[31m/8", account="alice"))
    lines = threats("explain", "0644f1b2c3d4e5-aabb-1").lines
    assert lines[0] == "critical threat, sql-injection: block, score 19.5"
    assert "  user agent: curl\\x1b[31m/8" in lines
    assert lines[-2:] == [
        "   sqli-tautology (sql-injection, A03:2021): critical, 97% sure",
        "     in query id, decoded by percent, then percent: ' or 1=1",
    ]
    assert json.loads(threats("explain", "0644f1b2c3d4e5-aabb-1", "--json").stdout)["account"] == "alice"
    missing = threats("explain", "0644f1b2c3d4e5-aabb-2")
    assert missing.exit_code == 1
    assert "there is no event" in missing.stderr


def test_a_request_is_judged_step_by_step_without_a_gateway(run):
    asked = {"url": "/?q=%2527%20or%201%3D1--", "method": "POST", "headers": {"content-type": "application/json"}}
    request = json.dumps({**asked, "body": '{"a": {"b": "<script>alert(1)</script>"}}'}).encode()
    lines = run("explain", "-", stdin=request).lines
    assert lines[0].startswith("1. values that are not inert: ")
    assert "   query q" in lines
    assert "     decoded by percent, then percent: ' or 1=1--" in lines
    assert "   json a.b" in lines
    assert any(line.startswith("   sqli-tautology (sql-injection, A03:2021): critical") for line in lines)
    assert lines[-1] == "4. level critical, action block, in mode block"
    steps = json.loads(run("explain", "-", "--json", stdin=request).stdout)
    assert steps["thresholds"] == {"low": 1.0, "medium": 3.0, "high": 5.0, "critical": 8.0}
    honest = run("explain", "-", stdin=b'{"url": "/products/12"}').lines
    assert honest[-1] == "4. level none, action allow, in mode block"


@pytest.mark.parametrize(
    ("stdin", "told"), [(b"", "holds no request"), (b"{nonsense", "this is no request"), (b"[]", "this is no request")]
)
def test_what_is_no_request_is_refused(run, stdin, told):
    result = run("explain", "-", stdin=stdin)
    assert result.exit_code == 1
    assert told in result.stderr


def test_a_request_of_many_values_is_shown_in_part(run):
    query = "&".join(f"a{number}=%3Cb%3E{number}" for number in range(300))
    steps = json.loads(run("explain", "-", "--json", stdin=json.dumps({"url": f"/?{query}"}).encode()).stdout)
    assert len(steps["values"]) == 200
    assert steps["left_out"] >= 100
