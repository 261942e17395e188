import sqlite3
import uuid

import msgspec
import pytest

from seawall.adapters.events_redis import RedisEvents
from seawall.adapters.events_sqlite import SQLiteEvents
from seawall.core.errors import StateCorruptError, StateUnavailableError
from seawall.systems.threats.events import EventQuery, ThreatEvent
from seawall.systems.threats.model import Action, Finding, Level, Place, PlaceKind, Severity, ThreatClass

pytestmark = pytest.mark.anyio

FINDING = Finding(
    rule="sqli-tautology",
    category=ThreatClass.SQL_INJECTION,
    owasp="A03:2021",
    severity=Severity.HIGH,
    confidence=0.95,
    place=Place(PlaceKind.QUERY, "id"),
    span="' or 1=1",
    chain=("percent",),
)


def event(number, **fields):
    default = {
        "id": f"{number:08d}",
        "at": float(number),
        "category": ThreatClass.SQL_INJECTION,
        "level": Level.HIGH,
        "action": Action.BLOCK,
        "client": f"192.0.2.{number % 3}",
        "route": "/a" if number % 2 else "/b",
        "findings": (FINDING,),
    }
    return ThreatEvent(**{**default, **fields})


@pytest.fixture(params=["sqlite", "redis"])
async def events(request, tmp_path):
    if request.param == "sqlite":
        store = SQLiteEvents(tmp_path / "sub" / "events.db")
    else:
        url = request.getfixturevalue("redis_url")
        store = RedisEvents(url, shown_url=url, prefix=f"{uuid.uuid4().hex}:", timeout=5.0)
    try:
        yield store
    finally:
        await store.close()


async def test_what_was_kept_comes_back_whole(events):
    kept = [event(number) for number in range(5)]
    await events.append(kept)
    assert await events.get("00000003") == kept[3]
    assert await events.get("missing") is None
    assert (await events.search(EventQuery())).events == tuple(reversed(kept))
    assert await events.count() == 5


async def test_appending_again_replaces(events):
    await events.append([event(1)])
    await events.append([event(1, account="alice")])
    assert await events.count() == 1
    assert (await events.get("00000001")).account == "alice"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (EventQuery(since=3, until=6), [5, 4, 3]),
        (EventQuery(client="192.0.2.1"), [7, 4, 1]),
        (EventQuery(route="/a", until=4), [3, 1]),
        (EventQuery(category=ThreatClass.XSS), [9]),
        (EventQuery(level=Level.CRITICAL), [9]),
        (EventQuery(level=Level.LOW, since=7), [9, 8, 7]),
        (EventQuery(action=Action.TAG), [8]),
        (EventQuery(account="alice"), [8]),
        (EventQuery(request_id="r-9"), [9]),
        (EventQuery(client="nobody"), []),
        (EventQuery(client="192.0.2.1", since=5, until=7), []),
    ],
)
async def test_it_finds_what_is_looked_for(events, query, found):
    kept = [event(number) for number in range(8)]
    kept.append(event(8, action=Action.TAG, account="alice", client="x"))
    kept.append(event(9, category=ThreatClass.XSS, level=Level.CRITICAL, request_id="r-9", client="y"))
    await events.append(kept)
    page = await events.search(query)
    assert [int(one.id) for one in page.events] == found
    assert page.more == ""


async def test_pages_follow_one_another_without_a_gap(events):
    await events.append([event(number, at=float(number // 4)) for number in range(25)])
    seen, before = [], ""
    while True:
        page = await events.search(EventQuery(limit=10, before=before))
        seen += [int(one.id) for one in page.events]
        before = page.more
        if not before:
            break
    assert seen == list(range(24, -1, -1))


async def test_a_search_returns_500_at_most(events):
    await events.append([event(number) for number in range(520)])
    assert len((await events.search(EventQuery(limit=10_000))).events) == 500
    assert len((await events.search(EventQuery(limit=-5))).events) == 1


async def test_it_is_pruned_by_age_and_by_number(events):
    await events.append([event(number) for number in range(1200)])
    assert await events.prune(older_than=100.0, keep=10_000) == 100
    assert await events.prune(older_than=0.0, keep=50) == 1050
    assert [int(one.id) for one in (await events.search(EventQuery())).events] == list(range(1199, 1149, -1))
    assert await events.prune(older_than=0.0, keep=50) == 0


async def test_an_operator_can_judge_an_event(events):
    await events.append([event(1)])
    assert await events.judge("00000001", false_positive=True)
    assert (await events.get("00000001")).false_positive is True
    assert not await events.judge("missing", false_positive=True)
    assert await events.count() == 1


async def test_sqlite_survives_a_restart_and_keeps_to_its_owner(tmp_path):
    path = tmp_path / "events.db"
    first = SQLiteEvents(path)
    await first.append([event(1)])
    await first.close()
    assert path.stat().st_mode & 0o077 == 0
    second = SQLiteEvents(path)
    assert await second.get("00000001") == event(1)
    await second.close()
    await second.close()
    with pytest.raises(StateUnavailableError, match="closed"):
        await second.count()


async def test_a_file_that_is_not_ours_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE other (x)")
    connection.close()
    rubbish = tmp_path / "rubbish.db"
    rubbish.write_bytes(b"rubbish" * 1000)
    for file in (path, rubbish):
        store = SQLiteEvents(file)
        with pytest.raises(StateCorruptError, match=file.name):
            await store.count()
        await store.close()
    assert rubbish.read_bytes() == b"rubbish" * 1000


async def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    store = SQLiteEvents(tmp_path / "file" / "events.db")
    with pytest.raises(StateUnavailableError, match=r"events\.db"):
        await store.append([event(1)])
    await store.close()


async def test_a_redis_that_is_away_is_named_without_its_password():
    store = RedisEvents("redis://:hunter2@127.0.0.1:1/0", shown_url="redis://:***@127.0.0.1:1/0", timeout=0.5)
    with pytest.raises(StateUnavailableError) as caught:
        await store.append([event(1)])
    assert "hunter2" not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)
    await store.close()


def test_an_event_travels_as_msgpack():
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(event(1)), type=ThreatEvent) == event(1)
