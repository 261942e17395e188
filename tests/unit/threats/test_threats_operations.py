"""What operators ask: bans, lists, modes, exclusions, feedback; and the events that are kept, told and followed."""

import asyncio
import json

import msgspec
import pytest
from pydantic import ValidationError
from threat_sites import PATTERNS, W0, seen, told

from seawall.core.clock import SystemClock
from seawall.core.errors import ConflictError, InvalidError, NotFoundError, StateUnavailableError
from seawall.core.request import Request
from seawall.state.memory import MemoryStore
from seawall.systems.threats.guard import ThreatGuard
from seawall.systems.threats.inspection.policy import Exclusion
from seawall.systems.threats.model import Action, Level, Mode, PlaceKind, ThreatClass
from seawall.systems.threats.recorder import MAX_LISTENERS
from seawall.systems.threats.records import ExclusionsRecord, place_of
from seawall.systems.threats.settings import ThreatDetectionSettings
from seawall.testing.clock import FakeClock

pytestmark = pytest.mark.anyio

XSS = "<script>alert(1)</script>"


@pytest.fixture
async def site(threat_sites):
    return await threat_sites()


@pytest.mark.parametrize(
    ("given", "subject"),
    [
        ("192.0.2.7", "client:192.0.2.7"),
        ("client:192.0.2.7/32", "client:192.0.2.7"),
        ("192.0.2.7/24", "network:192.0.2.0/24"),
        ("network:2001:DB8::/32", "network:2001:db8::/32"),
        ("2001:0db8::0001", "client:2001:db8::1"),
        ("account:Alice", "account:alice"),
    ],
)
async def test_a_subject_has_one_spelling(site, given, subject):
    assert (await site.perform("block", subject=given)).target == subject
    await site.until(lambda one: set(one.bans) == {subject})
    assert (await site.perform("unblock", subject=given)).changed
    await site.until(lambda one: one.bans == {})
    assert not (await site.perform("unblock", subject=given)).changed


@pytest.mark.parametrize("subject", ["nobody", "client:", "account: ", "network:300.0.0.0/8", "host:example.com"])
async def test_what_names_nobody_is_refused(site, subject):
    with pytest.raises(InvalidError):
        await site.perform("block", subject=subject)


@pytest.mark.parametrize(
    ("action", "fields"),
    [
        ("block", {"subject": "x" * 513}),
        ("block", {"subject": "192.0.2.7", "ttl_ms": 0}),
        ("block", {"subject": "192.0.2.7", "ttl_ms": 367 * 86_400_000}),
        ("block", {"subject": "192.0.2.7", "reason": "x" * 257}),
        ("allow", {"network": "x" * 65}),
        ("set-mode", {"mode": "on"}),
        ("set-mode", {"mode": "log", "path": "no-slash"}),
        ("feedback", {"event": "x", "false_positive": True}),
        ("feedback", {"event": "0644f1b2c3d4e5-a-1", "false_positive": 1}),
        ("exclude", {"exclusion": {"rule": "xss", "example": XSS}, "remove": 0}),
        ("explode", {}),
    ],
)
async def test_what_is_out_of_bounds_is_refused(site, action, fields):
    with pytest.raises(ValidationError):
        await site.perform(action, **fields)


async def test_a_block_ends_by_itself(threat_sites):
    clock = FakeClock()
    site = await threat_sites(clock=clock)
    await site.perform("block", subject="192.0.2.7", ttl_ms=5000, reason="scraping")
    await site.until(lambda one: one.bans)
    (view,) = site.controller.status().bans
    assert (view.subject, view.reason, view.by, view.challenge) == ("client:192.0.2.7", "scraping", "operator", False)
    site.step(5.1)
    assert site.bans == {}
    assert site.controller.status().bans == []


async def test_what_an_operator_said_is_not_overruled(site):
    await site.perform("block", subject="192.0.2.7", ttl_ms=60_000, reason="by hand")
    site.controller.on_report(W0, told(seen(level=Level.CRITICAL)))
    await site.until(lambda one: one.bans)
    assert site.bans["client:192.0.2.7"].reason == "by hand"


async def test_a_ban_without_effect_is_refused(threat_sites):
    site = await threat_sites({"allow": ["192.0.2.0/24"]})
    with pytest.raises(ConflictError, match="would have no effect"):
        await site.perform("block", subject="192.0.2.7")
    with pytest.raises(ConflictError, match="allowed by the configuration"):
        await site.perform("disallow", network="192.0.2.0/24")
    await site.perform("allow", network="198.51.100.0/24")
    await site.until(lambda one: len(one.newest.entries) == 3)
    with pytest.raises(ConflictError, match="would have no effect"):
        await site.perform("block", subject="198.51.100.1")
    assert (await site.perform("disallow", network="198.51.100.0/24")).changed
    await site.until(lambda one: len(one.newest.entries) == 2)
    assert (await site.perform("block", subject="198.51.100.1")).changed


async def test_an_allowance_ends_by_itself(threat_sites):
    clock = FakeClock()
    site = await threat_sites(clock=clock)
    await site.perform("allow", network="192.0.2.7", ttl_ms=1000, reason="a test of ours")
    await site.until(lambda one: len(one.newest.entries) == 3)
    assert [(view.network, view.allowed) for view in site.controller.status().lists] == [("192.0.2.7", True)]
    site.step(1.1)
    site.controller.on_report(W0, told(seen(level=Level.CRITICAL)))
    await site.until(lambda one: one.bans)


async def test_modes_are_set_and_taken_back(threat_sites):
    table = {"rules": [{"rule": "xss", "mode": "off"}], "routes": [{"path": "/a", "mode": "off"}]}
    site = await threat_sites(table)
    await site.perform("set-mode", mode="log")
    await site.perform("set-mode", mode="block", path="/a")
    await site.perform("set-mode", mode="log", rule="xss")
    await site.until(lambda one: one.newest.policy.rules[:1] == (("xss", Mode.LOG),))
    assert (site.newest.policy.mode, dict(site.newest.routes)) == (Mode.LOG, {"/a": Mode.BLOCK})
    for fields in ({}, {"path": "/a"}, {"rule": "xss"}):
        assert (await site.perform("set-mode", mode=None, **fields)).changed
        assert not (await site.perform("set-mode", mode=None, **fields)).changed
    await site.until(lambda one: one.newest.policy.rules == (("xss", Mode.OFF),))
    assert (site.newest.policy.mode, dict(site.newest.routes)) == (Mode.BLOCK, {"/a": Mode.OFF})
    with pytest.raises(InvalidError, match="a path or for a rule"):
        await site.perform("set-mode", mode="log", path="/a", rule="xss")


@pytest.mark.parametrize("rule", ["xss", "file-inclusion", "sqli-tautology", "sqli*", "sqli-t*", "s*"])
async def test_a_rule_that_finds_something_has_a_mode(site, rule):
    assert (await site.perform("set-mode", mode="log", rule=rule)).changed


@pytest.mark.parametrize("rule", ["xs", "csrf", "brute-force", "sqlinjection", "nothing*"])
async def test_a_mode_without_effect_is_refused(site, rule):
    with pytest.raises(InvalidError, match="nothing finds anything"):
        await site.perform("set-mode", mode="log", rule=rule)
    assert not (await site.perform("set-mode", mode=None, rule=rule)).changed


async def test_modes_are_bounded(site, monkeypatch):
    monkeypatch.setattr("seawall.systems.threats.operations._MAX_MODES", 2)
    for name in ("/a", "/b", "/a"):
        await site.perform("set-mode", mode="log", path=name)
    with pytest.raises(InvalidError, match="2 modes already"):
        await site.perform("set-mode", mode="log", path="/c")


async def test_an_exclusion_is_proven_and_in_force_in_a_guard(site):
    exclusion = {"rule": "xss", "path": "/articles", "kinds": ["query"], "name": "body", "example": XSS}
    with pytest.raises(InvalidError, match="has no effect"):
        await site.perform("exclude", exclusion={**exclusion, "example": "hello"})
    assert (await site.perform("exclude", exclusion=exclusion)).target == "xss at /articles"
    assert not (await site.perform("exclude", exclusion=exclusion)).changed
    await site.until(lambda one: one.newest.policy.exclusions)
    clock = SystemClock()
    guard = ThreatGuard(clock.monotonic, clock.wall, lambda number: b"x" * number, PATTERNS)
    guard.apply(site.newest)

    def verdict(path):
        query = b"body=%3Cscript%3Ealert(1)%3C/script%3E"
        return guard.look(Request("GET", path + b"?" + query, client="192.0.2.7"))

    assert verdict(b"/articles").findings == ()
    assert verdict(b"/other").findings
    assert (await site.perform("exclude", exclusion={**exclusion, "example": "another"}, remove=True)).changed
    await site.until(lambda one: not one.newest.policy.exclusions)


async def test_exclusions_are_bounded(site, monkeypatch):
    monkeypatch.setattr("seawall.systems.threats.operations._MAX_EXCLUSIONS", 1)
    await site.perform("exclude", exclusion={"rule": "xss", "example": XSS})
    with pytest.raises(InvalidError, match="1 exclusions already"):
        await site.perform("exclude", exclusion={"rule": "xss", "path": "/b", "example": XSS})


async def test_a_stored_exclusion_that_lost_its_effect_is_left_out_and_told(threat_sites):
    store = MemoryStore(clock=SystemClock())
    kept, lost = Exclusion("xss", "/a", (PlaceKind.QUERY,), "", XSS), Exclusion("xss", "/b", (), "", "hello")
    record = ExclusionsRecord(exclusions=(kept, lost))
    await store.put(place_of(ExclusionsRecord, ""), msgspec.json.encode(record))
    site = await threat_sites(store=store)
    assert site.newest.policy.exclusions == (kept,)
    assert site.controller.health()["exclusions"].startswith("1 without effect are left out; of xss: in query")
    await site.controller.stop()
    await store.close()


# -- events ------------------------------------------------------------------------------------------------------------


async def test_feedback_is_kept_and_counted_once(site):
    event = seen(level=Level.HIGH)
    site.controller.on_report(W0, told(event))
    await site.events()
    assert (await site.perform("feedback", event=event.id, false_positive=True)).changed
    assert not (await site.perform("feedback", event=event.id, false_positive=True)).changed
    assert (await site.perform("feedback", event=event.id, false_positive=False)).changed
    assert (await site.controller.event(event.id)).false_positive is False
    status = site.controller.status()
    assert status.feedback == {"false-positive": 1, "attack": 1}
    samples = {(one.instrument.name, one.labels): one.value for one in site.controller.samples()}
    assert samples["threat_detection_feedback_total", ("false-positive",)] == 1
    for ask in (
        site.controller.event("0644f1b2c3d4e5-a-1"),
        site.perform("feedback", event="0644f1b2c3d4e5-a-1", false_positive=True),
    ):
        with pytest.raises(NotFoundError, match="no event 0644f1b2c3d4e5-a-1"):
            await ask


async def test_events_are_searched_by_everything(threat_sites):
    clock = FakeClock()
    site = await threat_sites(clock=clock)
    wall = clock.wall()
    one = seen(at=wall, route="shop", request_id="r-1", account="alice", client="192.0.2.1")
    two = seen(at=wall + 10, level=Level.LOW, action=Action.ALLOW, category=ThreatClass.XSS, client="192.0.2.2")
    site.controller.on_report(W0, told(one, two))
    assert await site.events() == [one, two]
    for query, found in (
        ({"since": wall + 5}, [two]),
        ({"until": wall + 5}, [one]),
        ({"category": ThreatClass.XSS}, [two]),
        ({"level": Level.MEDIUM}, [one]),
        ({"action": Action.ALLOW}, [two]),
        ({"client": "192.0.2.2"}, [two]),
        ({"account": "alice"}, [one]),
        ({"route": "shop"}, [one]),
        ({"request_id": "r-1"}, [one]),
        ({"route": "shop", "client": "192.0.2.2"}, []),
    ):
        assert await site.events(**query) == found, query


async def test_what_is_too_old_or_too_much_is_dropped(threat_sites):
    clock = FakeClock()
    site = await threat_sites({"events": {"max_age_ms": 60_000, "max_events": 100}}, clock=clock)
    store = site.controller.recorder.store
    old = [seen(at=clock.wall() - 61.0)]
    new = [seen(at=clock.wall(), id=f"{number:014x}-a-1") for number in range(0x7000000, 0x7000000 + 150)]
    await store.append([*old, *new])
    clock.advance(61.0)
    site.controller.on_report(W0, told(seen(at=clock.wall())))
    async with asyncio.timeout(5.0):
        while await store.count() > 100:  # noqa: ASYNC110 - pruned by a task of its own
            await asyncio.sleep(0.01)
    assert old[0] not in await site.events(limit=500)


async def test_totals_are_shown_by_everything(site):
    report = told(
        seen("192.0.2.1", route="shop", country="DE"),
        seen("192.0.2.1", route="shop", level=Level.LOW, action=Action.ALLOW),
        seen("192.0.2.2", category=ThreatClass.XSS),
        inspected=100,
        partial=3,
        lost=2,
        actions={"block": 2},
        shadowed={"tag": 1},
        classes={"xss": 4},
        refusals={"inspection": 2},
    )
    site.controller.on_report(W0, report)
    site.controller.on_report(W0, msgspec.structs.replace(report, events=(), inspected=110))
    status = site.controller.status(top=1)
    assert (status.inspected, status.partial, status.lost_events) == (110, 3, 2)
    assert (status.actions, status.shadowed, status.refusals) == ({"block": 2}, {"tag": 1}, {"inspection": 2})
    assert (status.classes, status.events) == ({"xss": 4}, {"sql-injection": 2, "xss": 1})
    assert (status.levels, status.routes, status.countries) == ({"high": 2, "low": 1}, {"shop": 2}, {"DE": 1})
    assert status.sources == {"192.0.2.1": 2}
    site.controller.on_worker_gone(W0)
    assert site.controller.status().inspected == 110
    samples = {(one.instrument.name, one.labels): one.value for one in site.controller.samples()}
    assert samples["threat_detection_inspected_total", ()] == 110
    assert samples["threat_detection_refusals_total", ("inspection",)] == 2


async def test_sources_are_bounded(site, monkeypatch):
    monkeypatch.setattr("seawall.systems.threats.tally._MAX_SOURCES", 10)
    for number in range(100):
        site.controller.on_report(W0, told(seen(f"192.0.2.{number}", level=Level.LOW), seen("198.51.100.1")))
    sources = site.controller.status(top=1000).sources
    assert len(sources) <= 10
    assert sources["198.51.100.1"] == 100


async def test_whoever_listens_hears_what_comes_from_now_on(site):
    site.controller.on_report(W0, told(seen()))
    heard = site.controller.recorder.listen(idle=0.01)
    events = [seen(), seen()]
    site.controller.on_report(W0, told(*events))
    assert [await anext(heard), await anext(heard), await anext(heard)] == [*events, None]
    await site.controller.stop()
    assert [event async for event in heard] == []


async def test_a_slow_listener_misses_the_oldest(site, monkeypatch):
    monkeypatch.setattr("seawall.systems.threats.recorder._LISTENER_QUEUE", 2)
    heard = site.controller.recorder.listen()
    events = [seen() for _ in range(5)]
    site.controller.on_report(W0, told(*events))
    assert [await anext(heard), await anext(heard)] == events[3:]


async def test_listeners_are_bounded_and_make_room_when_they_go(site):
    recorder = site.controller.recorder
    heard = [recorder.listen() for _ in range(MAX_LISTENERS)]
    with pytest.raises(StateUnavailableError, match="listen already"):
        recorder.listen()
    del heard[0]  # went before it read anything
    heard.append(recorder.listen())
    first = asyncio.ensure_future(anext(heard[0]))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    recorder.listen()


async def test_events_are_written_as_lines_for_other_tools(threat_sites, tmp_path):
    file = tmp_path / "threats.jsonl"
    site = await threat_sites({"events": {"log_file": str(file)}})
    event = seen(request_id="r-1")
    site.controller.on_report(W0, told(event))
    (line,) = map(json.loads, file.read_text().splitlines())
    assert (line["event"]["id"], line["source"]["ip"], line["observer"]["type"]) == (event.id, "192.0.2.7", "waf")
    file.rename(tmp_path / "threats.jsonl.1")
    site.controller.on_report(W0, told(seen()))
    assert len(file.read_text().splitlines()) == 1
    other = tmp_path / "other.jsonl"
    settings = ThreatDetectionSettings.model_validate({"events": {"log_file": str(other)}})
    await site.controller.reconfigure(settings)
    site.controller.on_report(W0, told(seen()))
    assert len(other.read_text().splitlines()) == 1


async def test_events_that_cannot_be_kept_wait_and_are_told(threat_sites, tmp_path):
    place = tmp_path / "not-a-directory"
    place.write_text("")
    site = await threat_sites({"events": {"file": str(place / "events.db")}})
    event = seen()
    site.controller.on_report(W0, told(event))
    await site.until(lambda one: "events" in one.controller.health())
    assert "cannot be used" in site.controller.health()["events"]
    place.unlink()
    assert await site.events() == [event]
    await site.until(lambda one: "events" not in one.controller.health())


async def test_a_defect_of_the_store_is_told_and_does_not_end_the_keeping_of_events(site, monkeypatch):
    store = site.controller.recorder.store
    append = store.append
    broken = True

    async def sometimes(events):
        if broken:
            raise ValueError("broken for the test")
        await append(events)

    monkeypatch.setattr(store, "append", sometimes)
    site.controller.on_report(W0, told(seen(level=Level.HIGH)))
    await site.until(lambda one: "broken for the test" in one.controller.health().get("events", ""))
    broken = False
    assert len(await site.events()) == 1
    await site.until(lambda one: "events" not in one.controller.health())


async def test_events_that_wait_are_bounded(threat_sites, tmp_path, monkeypatch):
    monkeypatch.setattr("seawall.systems.threats.recorder._MAX_WAITING", 3)
    site = await threat_sites()
    events = [seen() for _ in range(5)]
    site.controller.on_report(W0, told(*events))
    assert site.controller.status().lost_events == 2
    assert await site.events() == events[2:]


class Receiver:
    """A real HTTP server that takes alerts."""

    def __init__(self):
        self.bodies = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/hook"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r")[0])
        self.bodies.append(json.loads(await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def until(self, number):
        async with asyncio.timeout(5.0):
            while len(self.bodies) < number:  # noqa: ASYNC110 - sent by a task of its own
                await asyncio.sleep(0.01)


async def test_people_are_told_of_grave_events_once_and_elsewhere_after_a_reload(threat_sites):
    async with Receiver() as first, Receiver() as second:

        def table(receiver, **fields):
            return {"alerts": {"webhook": {"url": receiver.url, "secret": "s" * 32}}, **fields}

        site = await threat_sites(table(first))
        site.controller.on_report(W0, told(seen(level=Level.MEDIUM), seen(), seen(), seen("192.0.2.8")))
        await first.until(2)
        assert {body["data"]["event"]["client"] for body in first.bodies} == {"192.0.2.7", "192.0.2.8"}
        await site.controller.reconfigure(ThreatDetectionSettings.model_validate(table(second)))
        site.controller.on_report(W0, told(seen("192.0.2.9")))
        await second.until(1)
        silent = ThreatDetectionSettings.model_validate(table(second, alert_on_high=False))
        await site.controller.reconfigure(silent)
        site.controller.on_report(W0, told(seen("192.0.2.10")))
        await site.events()
        await site.controller.stop()  # which sends what waits
    assert (len(first.bodies), len(second.bodies)) == (2, 1)
