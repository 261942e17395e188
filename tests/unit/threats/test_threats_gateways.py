"""Several gateways on one store: what one knows the others know within a second, and a restart forgets no ban."""

import asyncio
import uuid

import msgspec
import pytest
from threat_sites import W0, seen, told

from seawall.core.clock import SystemClock
from seawall.core.errors import StateUnavailableError
from seawall.state.memory import MemoryStore
from seawall.state.open import open_store
from seawall.systems.threats.book import MAX_RECORDS, ThreatBook
from seawall.systems.threats.model import Level, Mode
from seawall.systems.threats.networks import NOT_FOUND, NetworkTable
from seawall.systems.threats.records import BanRecord, ListRecord, OffencesRecord, place_of
from seawall.testing.clock import FakeClock

pytestmark = pytest.mark.anyio

CRITICAL = Level.CRITICAL
SUBJECT = "client:192.0.2.7"


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def store(request, tmp_path):
    if request.param == "memory":
        url = "memory://"
    elif request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/state.sqlite"
    else:
        url = f"{request.getfixturevalue('redis_url')}?prefix=test-{uuid.uuid4().hex}:"
    store = open_store(url, timeout=5.0)
    yield store
    await store.close()


class Unreliable:
    """A store that can be away."""

    def __init__(self, store):
        self._store = store
        self.away = False
        self.url = store.url

    def _check(self):
        if self.away:
            raise StateUnavailableError("the store is away for the test")

    async def get(self, key):
        self._check()
        return await self._store.get(key)

    async def put(self, key, value, *, ttl=None):
        self._check()
        await self._store.put(key, value, ttl=ttl)

    async def delete(self, key):
        self._check()
        return await self._store.delete(key)

    async def run(self, script, keys, args):
        self._check()
        return await self._store.run(script, keys, args)

    async def scan(self, prefix):
        self._check()
        async for entry in self._store.scan(prefix):
            yield entry

    async def watch(self, prefix):
        self._check()
        async for change in self._store.watch(prefix):
            self._check()
            yield change

    async def ping(self):
        self._check()

    async def close(self):
        await self._store.close()


async def test_a_ban_is_in_force_everywhere_within_a_second_and_so_is_its_end(threat_sites, store):
    here, there = await threat_sites(store=store), await threat_sites(store=store)
    here.controller.on_report(W0, told(seen(level=CRITICAL)))
    await here.until(lambda site: SUBJECT in site.bans)
    await there.until(lambda site: SUBJECT in site.bans)
    assert there.bans[SUBJECT].reason == "sql-injection"
    result = await there.perform("unblock", subject="192.0.2.7")
    assert result.changed
    await here.until(lambda site: SUBJECT not in site.bans)
    # What led to it is forgotten, too: once more is a first time.
    here.controller.on_report(W0, told(seen(level=Level.HIGH)))
    await there.until(lambda site: SUBJECT in site.bans)
    assert there.bans[SUBJECT].challenge


async def test_what_operators_say_reaches_every_gateway(threat_sites, store):
    here, there = await threat_sites(store=store), await threat_sites(store=store)
    await here.perform("allow", network="198.51.100.0/24")
    await here.perform("set-mode", mode="log", path="/legacy")
    await there.perform("block", subject="network:203.0.113.0/24", ttl_ms=60_000, reason="scraping")
    for site in (here, there):
        await site.until(lambda one: NetworkTable(one.newest.allow).find("198.51.100.7") != NOT_FOUND)
        await site.until(lambda one: "network:203.0.113.0/24" in one.bans)
        await site.until(lambda one: dict(one.newest.routes) == {"/legacy": Mode.LOG})


async def test_modes_and_exclusions_are_in_force_everywhere_within_a_second(threat_sites, store):
    here, there = await threat_sites(store=store), await threat_sites(store=store)
    exclusion = {"rule": "xss", "path": "/articles", "name": "body", "example": "<script>alert(1)</script>"}
    await here.perform("set-mode", mode="log")
    await there.until(lambda one: one.newest.policy.mode is Mode.LOG, 1.0)
    await here.perform("exclude", exclusion=exclusion)
    await there.until(lambda one: one.newest.policy.exclusions, 1.0)
    await there.perform("set-mode", mode=None)
    await there.perform("exclude", exclusion=exclusion, remove=True)
    for site in (here, there):
        await site.until(lambda one: one.newest.policy.mode is Mode.BLOCK and not one.newest.policy.exclusions, 1.0)


async def test_a_restart_keeps_bans_and_lists(threat_sites, store):
    site = await threat_sites({"bans": {"base_ms": 60_000}}, store)
    site.controller.on_report(W0, told(seen(level=CRITICAL)))
    await site.perform("block", subject="account:Mallory")
    await site.perform("allow", network="2001:db8::/32")
    await site.until(lambda one: SUBJECT in one.bans)
    await site.controller.stop()
    again = await threat_sites({"bans": {"base_ms": 60_000}}, store)
    first = again.published[0]
    assert set(first.bans) == {SUBJECT, "account:mallory"}
    assert len(first.entries) == 3


async def test_the_second_ban_is_longer_even_after_a_restart(threat_sites):
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    site = await threat_sites({}, store, clock=clock)
    site.controller.on_report(W0, told(seen(level=CRITICAL)))
    await site.until(lambda one: SUBJECT in one.bans)
    await site.controller.stop()
    clock.advance(601.0)
    again = await threat_sites({}, store, clock=clock)
    assert again.bans == {}
    again.controller.on_report(W0, told(seen(level=CRITICAL)))
    await again.until(lambda one: SUBJECT in one.bans)
    assert again.bans[SUBJECT].until - clock.wall() == 1200.0
    assert again.controller.status().bans[0].bans == 2
    await again.controller.stop()
    await store.close()


async def test_without_the_store_bans_go_on_and_are_told_when_it_is_back(threat_sites):
    store = Unreliable(MemoryStore(clock=SystemClock()))
    here = await threat_sites(store=store)
    there = await threat_sites(store=store)
    store.away = True
    here.controller.on_report(W0, told(seen(level=CRITICAL)))
    await here.until(lambda site: SUBJECT in site.bans)
    await here.until(lambda site: {"state", "unsent"} <= site.controller.health().keys())
    assert "2 records are known to this gateway only" in here.controller.health()["unsent"]
    with pytest.raises(StateUnavailableError):
        await here.perform("block", subject="192.0.2.9")
    assert "client:192.0.2.9" not in here.bans
    store.away = False
    await there.until(lambda site: SUBJECT in site.bans)
    assert SUBJECT in here.bans
    # Reading it anew says that it is back.
    await here.controller._book.load()
    assert here.controller.health() == {}
    assert SUBJECT in here.bans


async def test_a_start_without_the_store_goes_on_from_the_last_snapshot(threat_sites):
    store = Unreliable(MemoryStore(clock=SystemClock()))
    first = await threat_sites(store=store)
    await first.perform("block", subject="192.0.2.1")
    await first.perform("allow", network="198.51.100.0/24")
    await first.perform("set-mode", mode="log")
    await first.until(lambda site: site.newest.policy.mode is Mode.LOG and site.bans and len(site.newest.entries) == 3)
    await first.controller.stop()
    last = first.newest
    store.away = True
    with pytest.raises(StateUnavailableError):
        await threat_sites(store=store)
    # Bans travel through the wire between two lives.
    resumed = msgspec.msgpack.decode(msgspec.msgpack.encode(last), type=type(last))
    site = await threat_sites(store=store, resume=resumed)
    newest = site.newest
    assert newest.version > last.version
    assert msgspec.structs.replace(newest, version=last.version) == last
    assert "state" in site.controller.health()
    site.controller.on_report(W0, told(seen(level=CRITICAL)))
    await site.until(lambda one: SUBJECT in one.bans)
    store.away = False
    await site.until(lambda one: not one.controller.health())
    assert set(site.bans) == {SUBJECT, "client:192.0.2.1"}
    assert site.newest.policy.mode is Mode.LOG


async def test_a_record_that_cannot_be_read_is_left_out_and_told(threat_sites, caplog):
    store = MemoryStore(clock=SystemClock())
    await store.put(place_of(BanRecord, "client:192.0.2.1"), b"{nonsense")
    await store.put(place_of(ListRecord, "x"), b'{"kind":"list","name":"not-a-network","allowed":true}')
    site = await threat_sites(store=store)
    assert site.controller.health() == {"records": "2 records cannot be read"}
    assert site.bans == {}
    assert "cannot be read and is left out" in caplog.text
    await site.controller.stop()
    await store.close()


async def test_a_ban_of_a_newer_time_outlives_the_news_that_the_older_one_is_over():
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    book = ThreatBook(store, clock, lambda before, after: None)
    await book.load()
    await book.put(BanRecord(name="client:192.0.2.7", until=clock.wall() + 1.0))
    book.start()
    book.take(place_of(BanRecord, "client:192.0.2.7"), None)  # late news of an older one
    await book.put(BanRecord(name="client:192.0.2.8"))
    await store.delete(place_of(BanRecord, "client:192.0.2.8"))
    async with asyncio.timeout(5.0):
        while book.find(BanRecord, "client:192.0.2.8") is not None:  # noqa: ASYNC110 - settled by a task of its own
            await asyncio.sleep(0.01)
    assert book.find(BanRecord, "client:192.0.2.7") is not None
    await store.delete(place_of(BanRecord, "client:192.0.2.7"))
    async with asyncio.timeout(5.0):
        while book.find(BanRecord, "client:192.0.2.7") is not None:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.01)
    await book.stop()
    await store.close()


async def test_what_waits_for_the_store_is_bounded(monkeypatch):
    monkeypatch.setattr("seawall.systems.threats.book._MAX_UNSENT", 3)
    store = Unreliable(MemoryStore(clock=SystemClock()))
    store.away = True
    clock = FakeClock()
    book = ThreatBook(store, clock, lambda before, after: None)
    for number in range(5):
        book.hold(BanRecord(name=f"client:192.0.2.{number}", until=clock.wall() + 60))
    assert (book.unsent, book.lost, len(book.records(BanRecord))) == (3, 2, 5)
    book.hold(OffencesRecord(name="client:192.0.2.4", until=clock.wall() + 60, bans=1), minor=True)
    assert (book.unsent, book.lost, len(book.records(OffencesRecord))) == (3, 3, 1)
    store.away = False
    book.start()
    async with asyncio.timeout(5.0):
        while book.unsent:  # noqa: ASYNC110 - sent by a task of its own
            await asyncio.sleep(0.01)
    await book.stop()
    assert len([entry async for entry in store.scan("threats/")]) == 3
    await store.close()


async def test_an_operator_cannot_fill_the_book_without_end(monkeypatch, threat_sites):
    assert MAX_RECORDS == 100_000
    monkeypatch.setattr("seawall.systems.threats.book.MAX_RECORDS", 2)
    site = await threat_sites()
    for number in range(2):
        await site.perform("block", subject=f"192.0.2.{number}")
    await site.perform("block", subject="192.0.2.1", reason="again")
    with pytest.raises(Exception, match="there are 2 of them already"):
        await site.perform("block", subject="192.0.2.9")


async def test_of_too_many_bans_those_that_last_longest_are_told(monkeypatch, threat_sites):
    monkeypatch.setattr("seawall.systems.threats.controller._MAX_BANS_SENT", 2)
    site = await threat_sites()
    for number, ttl in enumerate((5000, None, 1000, 9000)):
        await site.perform("block", subject=f"192.0.2.{number}", ttl_ms=ttl)
    await site.until(lambda one: set(one.bans) == {"client:192.0.2.1", "client:192.0.2.3"})
    assert site.controller.status().bans_total == 4
