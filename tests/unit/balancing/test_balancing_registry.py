"""Instances that register themselves, and operators that change them, over gateways that share a store."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from balancing_sites import report_row
from pydantic import TypeAdapter, ValidationError

from seawall.core.clock import SystemClock
from seawall.core.errors import ConflictError, NotFoundError
from seawall.state.memory import MemoryStore
from seawall.state.open import open_store
from seawall.systems.balancing.actions import Action
from seawall.systems.balancing.model import BalancingReport, InstanceState

pytestmark = pytest.mark.anyio

FILE = "http://10.0.0.1:80"
TABLE = {"pools": {"default": {"instances": [FILE], "health": {"kind": "none"}}}}
ACTIONS = TypeAdapter(Action)


@pytest.fixture
async def store():
    made = MemoryStore(clock=SystemClock())
    yield made
    await made.close()


async def perform(site, action: str, **fields):
    return await site.controller.perform(ACTIONS.validate_python({"action": action, **fields}))


async def stored(store) -> dict[str, bytes]:
    return {entry.key: entry.value async for entry in store.scan("balancing/")}


async def test_a_registration_reaches_every_gateway_on_the_store_within_a_second(sites, store):
    one, two = await sites(TABLE, store), await sites(TABLE, store)
    result = await perform(one, "register", url="http://10.0.0.7:8080/", id="web-7", weight=2, region="eu")
    assert result.instance.url == "http://10.0.0.7:8080"
    assert result.instance.source == "registry"
    await two.until(lambda site: "web-7" in site.states())
    found = two.published[-1].pools[0].instances[1]
    assert (found.url, found.weight, found.region) == ("http://10.0.0.7:8080", 2.0, "eu")


async def test_a_registration_survives_a_restart(sites, store):
    first = await sites(TABLE, store)
    await perform(first, "register", url="http://10.0.0.7:8080")
    await first.controller.stop()
    second = await sites(TABLE, store)
    assert set(second.states()) == {FILE, "http://10.0.0.7:8080"}


async def test_a_registration_without_heartbeats_ends_and_one_with_them_stays(sites, store):
    one, two = await sites(TABLE, store), await sites(TABLE, store)
    for name in ("silent", "alive"):
        result = await perform(one, "register", url=f"http://{name}.internal:80", id=name, ttl_ms=400)
        assert 0 < result.instance.ttl_ms <= 400
    await two.until(lambda site: {"silent", "alive"} < site.states().keys())
    published = len(two.published)
    for _ in range(9):
        await asyncio.sleep(0.1)
        await perform(one, "heartbeat", id="alive")
    assert set(two.states()) == {FILE, "alive"}
    # Heartbeats are no news to the data plane: only the end of the other one was.
    assert len(two.published) == published + 1
    with pytest.raises(NotFoundError, match="no instance 'silent'"):
        await perform(one, "heartbeat", id="silent")


async def test_unregistering_drains_first_and_forgets_when_idle(sites, store):
    one, two = await sites(TABLE, store), await sites(TABLE, store)
    await perform(one, "register", url="http://10.0.0.7:80", id="web")
    busy = BalancingReport(instances={"default/web": report_row(1, active=1)})
    one.controller.on_report(("w", 1), busy)
    await perform(one, "unregister", id="web")
    await two.until(lambda site: site.states().get("web") is InstanceState.DRAINING)
    await asyncio.sleep(1.2)
    assert one.states()["web"] is InstanceState.DRAINING
    one.controller.on_report(("w", 1), BalancingReport(instances={"default/web": report_row(2)}))
    await one.until(lambda site: "web" not in site.states())
    await two.until(lambda site: "web" not in site.states())
    assert await stored(store) == {}


async def test_a_drain_has_a_time_limit(sites, store):
    site = await sites(TABLE, store)
    await perform(site, "register", url="http://10.0.0.7:80", id="web")
    site.controller.on_report(("w", 1), BalancingReport(instances={"default/web": report_row(1, active=1)}))
    await perform(site, "unregister", id="web", drain_ms=200)
    assert site.controller.describe("default", "web")["leaving"] is True
    await site.until(lambda site: "web" not in site.states())


async def test_without_time_to_drain_it_is_gone_at_once(sites, store):
    site = await sites(TABLE, store)
    await perform(site, "register", url="http://10.0.0.7:80", id="web")
    assert (await perform(site, "unregister", id="web", drain_ms=0)).instance is None


async def test_an_unregistration_can_be_taken_back(sites, store):
    site = await sites(TABLE, store)
    await perform(site, "register", url="http://10.0.0.7:80", id="web")
    await perform(site, "unregister", id="web", drain_ms=300)
    with pytest.raises(ConflictError, match="being unregistered"):
        await perform(site, "heartbeat", id="web")
    result = await perform(site, "undrain", id="web")
    assert result.instance.state is InstanceState.HEALTHY
    assert result.instance.ttl_ms is None
    await asyncio.sleep(0.5)
    assert "web" in site.states()


async def test_draining_and_weights_persist_for_every_kind_of_instance(sites, store):
    first = await sites(TABLE, store)
    await perform(first, "register", url="http://10.0.0.7:80", id="web", ttl_ms=60_000)
    for name in (FILE, "web"):
        assert (await perform(first, "drain", id=name)).instance.state is InstanceState.DRAINING
        assert (await perform(first, "weight", id=name, weight=0.5)).instance.weight == 0.5
    await perform(first, "heartbeat", id="web")
    # An instance that restarts registers again; that must not undo what the operator did.
    await perform(first, "register", url="http://10.0.0.7:80", id="web", weight=0.5, ttl_ms=60_000)
    await first.controller.stop()
    second = await sites(TABLE, store)
    assert second.states() == {FILE: InstanceState.DRAINING, "web": InstanceState.DRAINING}
    assert [instance.weight for instance in second.published[-1].pools[0].instances] == [0.5, 0.5]
    for name in (FILE, "web"):
        assert (await perform(second, "undrain", id=name)).instance.state is InstanceState.HEALTHY
    await perform(second, "weight", id=FILE, weight=4)
    assert second.controller.describe("default", FILE)["weight"] == 4.0


async def test_what_is_refused_and_why(sites, store):
    site = await sites(TABLE, store)
    await perform(site, "register", url="http://10.0.0.7:80", id="web")
    for error, text, action, fields in [
        (NotFoundError, "there is no pool 'nope'", "drain", {"pool": "nope", "id": "web"}),
        (NotFoundError, "has no instance 'ghost'", "drain", {"id": "ghost"}),
        (NotFoundError, "has no instance 'ghost'", "unregister", {"id": "ghost"}),
        (ConflictError, "comes from the configuration file", "unregister", {"id": FILE}),
        (ConflictError, "needs no heartbeat", "heartbeat", {"id": FILE}),
        (ConflictError, "from the configuration file already", "register", {"url": "http://10.0.0.8:80", "id": FILE}),
        (
            ConflictError,
            "registered at http://10.0.0.7:80 already",
            "register",
            {"url": "http://10.0.0.8:80", "id": "web"},
        ),
    ]:
        with pytest.raises(error, match=text):
            await perform(site, action, **fields)
    with pytest.raises(NotFoundError, match="there is no pool"):
        site.controller.status("nope")


@pytest.mark.parametrize(
    "body",
    [
        {"action": "register"},
        {"action": "register", "url": "ftp://a"},
        {"action": "register", "url": "http://a/path"},
        {"action": "register", "url": "http://a", "weight": 0},
        {"action": "register", "url": "http://a", "id": "with space"},
        {"action": "register", "url": "http://a", "id": "x" * 201},
        {"action": "register", "url": "http://a", "ttl_ms": 5},
        {"action": "register", "url": "http://a", "location": [91, 0]},
        {"action": "register", "url": "http://a", "location": [0, False]},
        {"action": "register", "url": "http://a", "weight": "2"},
        {"action": "register", "url": "http://a", "surprise": 1},
        {"action": "weight", "id": "a"},
        {"action": "explode", "id": "a"},
        {"action": "drain", "id": "a", "pool": "a/b"},
    ],
)
def test_malformed_actions_are_refused(body):
    with pytest.raises(ValidationError):
        ACTIONS.validate_python(body)


async def test_a_full_pool_takes_no_more(sites, store):
    table = {"pools": {"default": {"instances": [f"http://10.0.0.1:{port}" for port in range(1, 10_001)]}}}
    table["pools"]["default"]["health"] = {"kind": "none"}
    site = await sites(table, store)
    with pytest.raises(ConflictError, match="10000 instances, which is the limit"):
        await perform(site, "register", url="http://10.0.0.7:80")


async def test_an_unreadable_record_is_told_and_mended_by_registering(sites, store):
    await store.put("balancing/instances/default/web", b"{not json")
    site = await sites(TABLE, store)
    assert set(site.states()) == {FILE}
    assert "registry:balancing/instances/default/web" in site.controller.health()
    await perform(site, "register", url="http://10.0.0.7:80", id="web")
    await site.until(lambda site: "web" in site.states())


class FlakyStore:
    """A store in memory that can be away."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.away = False

    @property
    def url(self):
        return self._store.url

    def scan(self, prefix):
        self._check()
        return self._store.scan(prefix)

    def watch(self, prefix):
        self._check()
        return self._watched(self._store.watch(prefix))

    async def _watched(self, changes):
        async for change in changes:
            self._check()
            yield change

    async def get(self, key):
        self._check()
        return await self._store.get(key)

    async def run(self, script, keys, args):
        self._check()
        return await self._store.run(script, keys, args)

    def _check(self):
        from seawall.core.errors import StateUnavailableError

        if self.away:
            raise StateUnavailableError("the state store is away")


@asynccontextmanager
async def outage(flaky: FlakyStore, site):
    flaky.away = True
    await flaky._store.put("balancing/instances/default/nudge", b'{"url":"http://10.0.0.9:80"}')
    await site.until(lambda site: "state" in site.controller.health())
    yield
    flaky.away = False
    await site.until(lambda site: "state" not in site.controller.health())


async def test_an_outage_costs_freshness_only(sites, store):
    flaky = FlakyStore(store)
    site = await sites(TABLE, flaky)
    await perform(site, "register", url="http://10.0.0.7:80", id="web", ttl_ms=100)
    await site.until(lambda site: "web" in site.states())
    async with outage(flaky, site):
        await asyncio.sleep(0.3)
        assert set(site.states()) == {FILE, "web"}
    await site.until(lambda site: set(site.states()) == {FILE, "nudge"})


async def test_two_operators_at_once_lose_no_change(sites, store):
    one, two = await sites(TABLE, store), await sites(TABLE, store)
    await perform(one, "register", url="http://10.0.0.7:80", id="web")
    await two.until(lambda site: "web" in site.states())
    await asyncio.gather(
        perform(one, "drain", id="web"),
        perform(two, "weight", id="web", weight=7),
        perform(one, "heartbeat", id="web"),
    )
    for site in (one, two):
        await site.until(
            lambda site: (
                site.controller.describe("default", "web")["weight"] == 7.0
                and site.controller.describe("default", "web")["draining"]
            )
        )


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_gateways_follow_one_another_over_every_shared_store(sites, kind, tmp_path, request):
    url = f"sqlite:///{tmp_path}/state.db" if kind == "sqlite" else request.getfixturevalue("leakproof_redis_url")
    stores = [open_store(url) for _ in range(2)]
    one, two = [await sites(TABLE, store) for store in stores]
    await perform(one, "register", url="http://10.0.0.7:80", id="web", ttl_ms=60_000)
    await two.until(lambda site: site.states().get("web") is InstanceState.HEALTHY)
    await perform(two, "drain", id="web")
    await one.until(lambda site: site.states()["web"] is InstanceState.DRAINING)
    await perform(one, "unregister", id="web", drain_ms=0)
    await two.until(lambda site: "web" not in site.states())
    await perform(one, "drain", id=FILE)
    await two.until(lambda site: site.states()[FILE] is InstanceState.DRAINING)
    await perform(two, "undrain", id=FILE)
    for site in (one, two):
        await site.controller.stop()
    assert await stored(stores[0]) == {}
    for store in stores:
        await store.close()
