"""What threat detection's controller is given: where events go, and patterns that are compiled once."""

import random

import pytest

from mmdb import write_database
from seawall.adapters.events_redis import RedisEvents
from seawall.adapters.events_sqlite import SQLiteEvents
from seawall.adapters.pattern_cache import PatternCache
from seawall.adapters.threat_tools import ThreatTools
from seawall.core.clock import SystemClock
from seawall.systems.threats.events import EventQuery, ThreatEvent
from seawall.systems.threats.guard import ThreatGuard
from seawall.systems.threats.model import Action, Level, ThreatClass
from seawall.systems.threats.plan import snapshot_of
from seawall.systems.threats.proof import Proof
from seawall.systems.threats.settings import ThreatDetectionSettings

pytestmark = pytest.mark.anyio

EVENT = ThreatEvent(id="0644f1b2c3d4e5-a-1", at=1.0, category=ThreatClass.XSS, level=Level.HIGH, action=Action.BLOCK)


class NeverCompiles:
    """Fails when patterns are asked for."""

    def __call__(self, groups):
        raise AssertionError("patterns are compiled")


def settings(**table):
    return ThreatDetectionSettings.model_validate(table)


async def test_events_are_kept_where_state_is(tmp_path, redis_url):
    tools = {url: ThreatTools(url, tmp_path, PatternCache(None)) for url in ("memory://", "sqlite:///x", redis_url)}
    kept = {url: found.events(settings()) for url, found in tools.items()}
    assert isinstance(kept[redis_url], RedisEvents)
    await kept["sqlite:///x"].append([EVENT])
    assert (tmp_path / "events.db").stat().st_mode & 0o777 == 0o600
    await kept["memory://"].append([EVENT])
    assert (await kept["memory://"].search(EventQuery())).events == (EVENT,)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("events.db")] == []
    named = tools[redis_url].events(settings(events={"file": str(tmp_path / "own" / "mine.db")}))
    assert isinstance(named, SQLiteEvents)
    await named.append([EVENT])
    assert (tmp_path / "own" / "mine.db").exists()
    for store in (*kept.values(), named):
        await store.close()


async def test_nobody_is_told_where_nothing_says_whom(tmp_path):
    tools = ThreatTools("memory://", tmp_path, PatternCache(None))
    assert tools.alerts(settings(), SystemClock(), random.Random(1)) is None
    assert tools.log(settings()) is None
    webhook = {"alerts": {"webhook": {"url": "https://example.com/hook", "secret": "s" * 24}}}
    sender = tools.alerts(settings(**webhook), SystemClock(), random.Random(1))
    assert sender is not None
    await sender.stop()


def test_the_same_patterns_are_compiled_once():
    cache = PatternCache(None)
    first = cache([["a+b"], ["c"]])
    assert cache((("a+b",), ("c",))) is first
    assert list(first.match("xxc")) == [1]
    assert cache([["d"]]) is not first


def test_a_folder_that_is_not_safe_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "seawall").mkdir()
    (tmp_path / "seawall").chmod(0o777)
    instead = tmp_path / "run"
    instead.mkdir(mode=0o700)
    PatternCache.open(instead)([["seawall"]])
    assert list((tmp_path / "seawall").iterdir()) == []


def test_nothing_is_compiled_where_nothing_is_looked_at():
    snapshot = snapshot_of(settings(enabled=False))
    Proof(NeverCompiles(), random.randbytes).check(snapshot)
    guard = ThreatGuard(lambda: 0.0, lambda: 0.0, random.randbytes, NeverCompiles())
    guard.apply(snapshot)
    assert not guard.active
    with pytest.raises(AssertionError, match="patterns are compiled"):
        Proof(NeverCompiles(), random.randbytes).check(snapshot_of(settings()))


def test_countries_are_told_by_the_database_of_the_settings_or_else_by_that_of_a_pool(tmp_path):
    record = {"192.0.2.0/24": {"country": ({"iso_code": ("DE",)},)}}
    pool = write_database(tmp_path / "pool.mmdb", record, 4)
    own = write_database(tmp_path / "own.mmdb", {"192.0.2.0/24": {"country": ({"iso_code": ("FR",)},)}}, 4)
    tools = ThreatTools("memory://", tmp_path, PatternCache(None), geoip_database=str(pool))
    assert tools.countries(settings())("192.0.2.1") == "DE"
    assert tools.countries(settings(events={"geoip_database": str(own)}))("192.0.2.1") == "FR"
    assert ThreatTools("memory://", tmp_path, PatternCache(None)).countries(settings()) is None
