"""A flood of offenders is bounded everywhere: in the log, in what other gateways are told, in what workers get."""

import asyncio
import logging

import pytest
from ratelimit_sites import limit_report, offence

from seawall.core.clock import SystemClock
from seawall.core.errors import StateUnavailableError
from seawall.state.memory import MemoryStore
from seawall.systems.ratelimit import courier as courier_module
from seawall.systems.ratelimit.composition import blocks_of, overrides_of, resets_of
from seawall.systems.ratelimit.courier import Courier
from seawall.systems.ratelimit.records import BlockRecord, OverrideRecord, PenaltyRecord, ResetRecord
from seawall.systems.ratelimit.rulebook import MAX_SUBJECTS, Rulebook
from seawall.testing.clock import FakeClock

pytestmark = pytest.mark.anyio

W0 = ("worker-0", 11)
LADDER = {"warn_at": 2, "throttle_at": 5, "block_at": 10}


async def test_only_so_many_escalations_are_logged_each_second(limit_sites, caplog):
    caplog.set_level(logging.WARNING, "seawall.ratelimit")
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    site = await limit_sites({"base": 100, "ladder": LADDER}, store, clock=clock)
    offences = tuple(offence(f"user:u{number}", 50) for number in range(100))
    site.controller.on_report(W0, limit_report(offences=offences))
    assert len(caplog.messages) == 20
    clock.advance(2.0)
    site.controller.on_report(W0, limit_report(offences=(offence("user:late", 50),)))
    assert caplog.messages[20] == "80 further keys went up the ladder of violations"
    assert caplog.messages[21].startswith("user:late: block")
    samples = {(one.instrument.name, one.labels): one.value for one in site.controller.samples()}
    assert samples["rate_limit_escalations_total", ("block",)] == 101
    clock.advance(0.1)
    site.controller.step(clock.monotonic())
    assert len(site.newest.penalties) == 101
    await store.close()


async def test_messages_wait_in_a_bounded_line_and_what_is_lost_is_told(monkeypatch):
    monkeypatch.setattr(courier_module, "_MOST", 3)
    store = MemoryStore(clock=SystemClock())
    book = Rulebook(store, SystemClock(), lambda *_: None)
    courier = Courier(book)
    for number in range(5):
        courier.note(PenaltyRecord(name=f"k{number}"), 60.0)
    assert courier.lost == 2
    courier.start()
    await _delivered(courier)
    assert len([entry async for entry in store.scan("ratelimit/")]) == 3
    courier.forget(PenaltyRecord, "k0")
    await _delivered(courier)
    assert len([entry async for entry in store.scan("ratelimit/")]) == 2
    await store.close()
    courier.note(PenaltyRecord(name="later"), 60.0)
    await _delivered(courier)
    assert courier.lost == 3
    await courier.stop()
    with pytest.raises(StateUnavailableError):
        await book.load()


async def test_what_was_lost_or_dropped_is_told_for_a_while(limit_sites):
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    site = await limit_sites({"base": 100}, store, clock=clock)
    site.controller._courier.lost = 4
    site.controller._penalties.let_off = 2
    site.controller.step(clock.monotonic())
    assert set(site.controller.health()) == {"gateways", "penalties"}
    assert "that this gateway is alive" in site.controller.health()["gateways"]  # a sign of life may be what was lost
    clock.advance(11.0)
    site.controller.step(clock.monotonic())
    assert site.controller.health() == {}
    await store.close()


def test_a_snapshot_holds_so_many_subjects_at_most():
    crowd = range(MAX_SUBJECTS + 5)
    assert len(blocks_of(BlockRecord(name=f"user:{number}") for number in crowd)) == MAX_SUBJECTS
    assert len(overrides_of(OverrideRecord(name=f"user:{number}", limit=1) for number in crowd)) == MAX_SUBJECTS
    resets = resets_of(ResetRecord(name=f"k{number}", at=float(number)) for number in crowd)
    assert len(resets) == MAX_SUBJECTS
    assert "k0" not in resets


async def _delivered(courier):
    """Let the courier work until nothing waits; a store in memory answers without waiting."""
    import anyio

    with anyio.fail_after(5):
        while courier._line or courier._waiting.is_set():
            await anyio.lowlevel.checkpoint()


async def test_one_message_that_fails_does_not_silence_those_that_follow(limit_sites, caplog):
    site = await limit_sites({"base": 2, "ladder": LADDER})
    book = site.controller._book
    note, failed = book.note, []

    async def fail_once(record, *, ttl):
        if not failed:
            failed.append(record)
            raise RuntimeError("a defect of the book")
        await note(record, ttl=ttl)

    book.note = fail_once
    for key in ("user:a", "user:b"):
        site.controller.on_report(W0, limit_report(offences=(offence(key, 100),)))
    async with asyncio.timeout(10):
        while book.find(PenaltyRecord, "user:b") is None:  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0.005)
    assert book.find(PenaltyRecord, "user:a") is None
    assert "a defect of the book" in caplog.text
