import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.admin.access import AdminAccess, Change
from seawall.admin.audit import AUDIT_PREFIX, TRIM_EVERY, AuditEntry, AuditQuery, AuditTrail, redact
from seawall.admin.instruments import AdminCounters
from seawall.admin.problems import ProblemError
from seawall.core.access import Caller, Role
from seawall.state.memory import MemoryStore
from seawall.testing.clock import FakeClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def store(clock):
    return MemoryStore(clock=clock)


@pytest.fixture
def trail(store, clock):
    return AuditTrail(store, clock, AdminCounters(), max_entries=100)


def _entry(trail, **changes):
    entry_id, at = trail.new_id()
    given = {
        "id": entry_id,
        "at": at,
        "actor": "alice",
        "token_id": "0" * 12,
        "role": "operator",
        "address": "127.0.0.1",
        "action": "drain",
        "target": "default/a",
    }
    return AuditEntry(**(given | changes))


async def _write(trail, **changes):
    entry = _entry(trail, **changes)
    await trail.write(entry)
    return entry


async def test_entries_come_back_newest_first_in_pages(trail, clock):
    written = []
    for number in range(7):
        written.append(await _write(trail, target=str(number)))
        if number % 2:
            clock.advance(0.000001)
    seen, cursor = [], ""
    while True:
        page = await trail.read(AuditQuery(limit=3, cursor=cursor))
        seen += page.entries
        assert len(page.entries) <= 3
        cursor = page.cursor
        if not cursor:
            break
    assert seen == list(reversed(written))


async def test_a_page_can_be_narrowed(trail, clock):
    first = await _write(trail, actor="alice", action="drain")
    clock.advance(10)
    second = await _write(trail, actor="bob", action="drain")
    clock.advance(10)
    third = await _write(trail, actor="bob", action="weight")

    async def read(**query):
        return (await trail.read(AuditQuery(**query))).entries

    assert await read(actor="bob") == [third, second]
    assert await read(action="drain") == [second, first]
    assert await read(actor="bob", action="drain") == [second]
    assert await read(since=second.at) == [third, second]
    assert await read(until=second.at) == [first]
    assert await read(limit=1) == [third]


async def test_ids_are_unique_and_sort_by_time_also_between_processes(store, clock):
    trails = [AuditTrail(store, clock, AdminCounters()) for _ in range(2)]
    ids = [trail.new_id()[0] for trail in trails for _ in range(1000)]
    assert len(set(ids)) == len(ids)
    clock.advance(0.001)
    assert trails[0].new_id()[0] > max(ids)


async def test_the_trail_is_trimmed_by_count_and_by_age(trail, store, clock):
    for _ in range(100 + 2 * TRIM_EVERY):
        await _write(trail)
        clock.advance(0.001)
    kept = [item.key async for item in store.scan(AUDIT_PREFIX)]
    assert 100 <= len(kept) < 100 + TRIM_EVERY
    newest = (await trail.read(AuditQuery(limit=1))).entries[0]
    assert kept[-1] == AUDIT_PREFIX + newest.id
    clock.advance(91 * 86_400)
    assert (await trail.read(AuditQuery())).entries == []


async def test_an_entry_that_cannot_be_decoded_is_counted_not_hidden(trail, store):
    entry = await _write(trail)
    await store.put(f"{AUDIT_PREFIX}0", b"rubbish")
    page = await trail.read(AuditQuery())
    assert (page.entries, page.unreadable) == ([entry], 1)


async def test_a_value_too_large_for_an_entry_is_replaced_by_its_size(trail):
    entry = await _write(trail, after={"names": ["x" * 1000] * 100})
    [read] = (await trail.read(AuditQuery())).entries
    assert read.id == entry.id
    assert read.after["omitted"]
    assert read.after["bytes"] > 100_000


async def test_a_trail_that_cannot_be_written_refuses(trail, store):
    await store.close()
    with pytest.raises(ProblemError) as caught:
        await _write(trail)
    assert (caught.value.status, caught.value.code) == (503, "audit-unavailable")


async def _begun(trail):
    intent = _entry(trail, action="POST /x", target="/x", outcome="intended")
    await trail.write(intent)
    return intent, Change(trail, intent)


async def _trail_of(trail):
    return [(entry.action, entry.outcome, entry.status) for entry in (await trail.read(AuditQuery())).entries]


async def test_a_recorded_change_completes_its_intent(trail):
    intent, change = await _begun(trail)
    await change.record("drain", "default/a", {"state": "healthy"}, {"state": "draining"})
    await change.settle(200)
    [entry] = (await trail.read(AuditQuery())).entries
    assert entry.id == intent.id
    assert (entry.action, entry.outcome, entry.after) == ("drain", "done", {"state": "draining"})


async def test_two_records_of_one_request_are_two_entries(trail):
    _, change = await _begun(trail)
    await change.record("drain", "default/a", None, None)
    await change.record("drain", "default/b", None, None)
    await change.settle(200)
    assert [entry.target for entry in (await trail.read(AuditQuery())).entries] == ["default/b", "default/a"]


@pytest.mark.parametrize("status", [200, 404, 422])
async def test_a_request_that_changed_nothing_leaves_nothing(trail, status):
    _, change = await _begun(trail)
    await change.settle(status)
    assert await _trail_of(trail) == []


async def test_a_request_that_failed_leaves_an_entry_that_says_so(trail):
    _, change = await _begun(trail)
    await change.settle(500)
    assert await _trail_of(trail) == [("POST /x", "failed", 500)]


async def test_a_change_recorded_before_it_failed_is_marked_as_failed(trail):
    _, change = await _begun(trail)
    await change.record("drain", "default/a", None, None)
    await change.settle(503)
    assert await _trail_of(trail) == [("drain", "failed", 503)]


@pytest.mark.parametrize("status", [200, 500])
async def test_settling_survives_a_store_that_went_away_meanwhile(trail, store, status, caplog):
    intent, change = await _begun(trail)
    await store.close()
    await change.settle(status)
    assert intent.id in caplog.text


def test_secrets_are_taken_out_wherever_they_are():
    value = {
        "url": "http://user:pass@host/x",
        "affinity": {"secret": "abc", "cookie": "name"},
        "list": [{"api_key": "k"}, {"Authorization": "Bearer x"}],
        "token": "",
        "tokens": 3,
        "weight": 1.5,
    }
    assert redact(value) == {
        "url": "http://[redacted]@host/x",
        "affinity": {"secret": "[redacted]", "cookie": "[redacted]"},
        "list": [{"api_key": "[redacted]"}, {"Authorization": "[redacted]"}],
        "token": "",
        "tokens": 3,
        "weight": 1.5,
    }


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(_json, st.text("abcdefgh", min_size=8, max_size=8))
def test_no_secret_survives_at_any_depth(value, secret):
    planted = {"outer": [value, {"deep": {"password": secret, "url": f"redis://x:{secret}@h"}}]}
    assert secret.encode() not in msgspec.json.encode(redact(planted)) or secret in msgspec.json.encode(value).decode()


@given(_json)
def test_what_holds_no_secret_is_kept_as_it_is(value):
    clean = {"value": value}
    text = msgspec.json.encode(clean).decode().lower()
    words = (
        "token",
        "secret",
        "passw",
        "authorization",
        "cookie",
        "credential",
        "private",
        "api",
        "digest",
        "salt",
        "://",
    )
    if not any(word in text for word in words):
        assert redact(clean) == clean


async def test_a_plain_caller_is_recorded_too_and_what_is_the_same_is_not(trail):
    access = AdminAccess(trail)
    caller = Caller(name="a schedule", role=Role.OPERATOR, address="127.0.0.1")
    await access.record(caller, "weight", "default/a", {"weight": 1}, {"weight": 1})
    assert await _trail_of(trail) == []
    await access.record(caller, "weight", "default/a", {"weight": 1}, {"weight": 2})
    [entry] = (await trail.read(AuditQuery())).entries
    assert (entry.actor, entry.role, entry.before, entry.after) == (
        "a schedule",
        "operator",
        {"weight": 1},
        {"weight": 2},
    )


async def test_a_store_that_goes_away_after_the_intent_leaves_the_change_unfinished(trail, store):
    _, change = await _begun(trail)
    await store.close()
    with pytest.raises(ProblemError, match="cannot be written"):
        await change.record("drain", "default/a", None, None)
