"""Whatever is reported in whatever order: nobody is refused who must not be, and nothing lasts longer than it may."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from seawall.state.memory import MemoryStore
from seawall.systems.threats.book import ThreatBook
from seawall.systems.threats.consequences import Consequences
from seawall.systems.threats.messages import ListEntry, ThreatSnapshot
from seawall.systems.threats.model import Severity
from seawall.systems.threats.networks import pack
from seawall.systems.threats.records import BanRecord, OffencesRecord
from seawall.systems.threats.response import ResponseLimits
from seawall.testing.clock import FakeClock

SUBJECTS = ("client:192.0.2.1", "client:198.51.100.1", "account:alice", "network:203.0.113.0/24", "client:operated")
ALLOWED = "client:198.51.100.1"

reports = st.tuples(st.sampled_from(SUBJECTS), st.sampled_from(Severity), st.floats(0.0, 300.0))


@given(st.lists(reports, max_size=60), st.booleans())
def test_consequences_stay_within_their_bounds(steps, critical):
    asyncio.run(_play(steps, ban_on_critical=critical))


async def _play(steps, *, ban_on_critical):
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    book = ThreatBook(store, clock, lambda before, after: None)
    limits = ResponseLimits(hold=60.0, ban=100.0, longest_ban=1000.0, ban_on_critical=ban_on_critical)
    consequences = Consequences(book, clock, limits)
    allow = pack([("198.51.100.0/24", 0)])
    consequences.follow(ThreatSnapshot(version=1, allow=allow, entries=(ListEntry(),)))
    told = []
    consequences.on_threat = lambda subject, severity: told.append((subject, severity))
    await book.put(BanRecord(name="client:operated", reason="by hand"))
    for subject, severity, pause in steps:
        shared = subject.startswith(("account:", "network:"))
        consequences.report(subject, severity, "a test", shared=shared)
        wall = clock.wall()
        for ban in book.records(BanRecord):
            if ban.name == "client:operated":
                assert (ban.by, ban.until) == ("operator", None)
                continue
            assert ban.name != ALLOWED
            assert wall < ban.until <= wall + limits.longest_ban
            assert ban.challenge or not ban.name.startswith(("account:", "network:"))
        for offences in book.records(OffencesRecord):
            assert offences.bans >= 1
            assert offences.until <= wall + limits.longest_ban + limits.forget
        clock.advance(pause)
        book.forget_expired()
        assert all(ban.until is None or ban.until > clock.wall() for ban in book.records(BanRecord))
    assert ALLOWED not in {subject for subject, _ in told}
    assert all(0.0 < severity <= 1.0 and subject.startswith("client:") for subject, severity in told)
    await store.close()
