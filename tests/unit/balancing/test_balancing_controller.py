"""The controller over real small servers and a real store: what it publishes, and when."""

import asyncio
from contextlib import AsyncExitStack

import msgspec
import pytest
from balancing_sites import replying, report_row, response, serving

from seawall.core.clock import SystemClock
from seawall.core.errors import ConfigurationError, StateUnavailableError
from seawall.state.memory import MemoryStore
from seawall.systems.balancing.actions import Drain, Register, Unregister, Weigh
from seawall.systems.balancing.model import BalancingReport, BalancingSnapshot, InstanceState
from seawall.systems.balancing.settings import BalancingSettings

pytestmark = pytest.mark.anyio

FAST = {"interval_ms": 20, "timeout_ms": 500, "jitter": 0.0}
OFF = {"kind": "none"}
DEAD = "http://127.0.0.1:9"
"""Nothing listens on the discard port."""


def pool(*instances, **settings):
    return {"pools": {"default": {"instances": list(instances), "health": OFF, **settings}}}


async def test_checks_turn_starting_into_healthy_and_unhealthy(sites):
    async with serving(replying(response())) as port:
        good = f"http://127.0.0.1:{port}"
        site = await sites(pool(good, DEAD, health={"path": "/", **FAST}))
        assert set(site.states().values()) == {InstanceState.STARTING}
        await site.until(lambda site: site.states() == {good: InstanceState.HEALTHY, DEAD: InstanceState.UNHEALTHY})
        shown = {instance.id: instance for instance in site.controller.status().pools[0].instances}
        assert shown[DEAD].last_check.reason == "connect refused"
        assert shown[good].last_check.result == "ok"
        checks = {
            sample.labels[1:]: sample.value
            for sample in site.controller.samples()
            if sample.instrument.name == "load_balancer_health_checks_total"
        }
        assert checks[good, "ok"] >= 1
        assert checks[DEAD, "failed"] >= 1


async def test_an_instance_that_dies_is_left_out_and_comes_back(sites):
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(serving(replying(response())))
        url = f"http://127.0.0.1:{port}"
        site = await sites(pool(url, health=FAST))
        await site.until(lambda site: site.states()[url] is InstanceState.HEALTHY)
        await stack.aclose()
        await site.until(lambda site: site.states()[url] is InstanceState.UNHEALTHY)
        assert site.controller.health() == {"pool:default": "none of its 1 instances is healthy"}

        async def accept(reader, writer):
            writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", port)
        await site.until(lambda site: site.states()[url] is InstanceState.HEALTHY)
        server.close()
        assert site.controller.health() == {}


async def test_nothing_is_published_while_nothing_changes_and_versions_grow(sites):
    site = await sites(pool("http://a:1", "http://10.0.0.1:1"), resolve=lambda name: ["10.0.0.9"])
    await site.until(lambda site: site.states())
    published = len(site.published)
    await asyncio.sleep(0.25)
    assert len(site.published) == published
    await site.controller.perform(Weigh(action="weight", id="http://a:1", weight=3.0))
    await site.until(lambda site: site.published[-1].pools[0].instances[0].weight == 3.0)
    versions = [snapshot.version for snapshot in site.published]
    assert versions == sorted(set(versions))
    assert versions[0] > 1_700_000_000_000


async def test_a_burst_of_changes_is_published_once(sites):
    site = await sites(pool(DEAD))
    published = len(site.published)
    for number in range(50):
        await site.controller.perform(Register(action="register", url=f"http://10.0.0.1:{number + 1}", id=f"i{number}"))
    await site.until(lambda site: len(site.states()) == 51)
    assert len(site.published) - published < 20


async def test_five_errors_in_reports_eject_at_once(sites):
    site = await sites(pool("http://10.0.0.1:1", "http://10.0.0.2:1"))
    bad = "http://10.0.0.1:1"
    row = report_row(0, 5, run=5)
    site.controller.on_report(("worker-0", 1), BalancingReport(instances={f"default/{bad}": row}))
    await site.until(lambda site: site.states()[bad] is InstanceState.EJECTED)
    shown = next(shown for shown in site.controller.status("default").pools[0].instances if shown.id == bad)
    assert (shown.totals.requests, shown.totals.errors, shown.error_rate) == (5, 5, 1.0)
    assert shown.ejected_until is not None
    assert shown.latency_ms.p50 == pytest.approx(17.5)
    site.controller.on_worker_gone(("worker-0", 1))


async def test_an_ejected_instance_returns_by_itself(sites):
    outliers = {"base_ejection_ms": 150}
    site = await sites(pool("http://10.0.0.1:1", "http://10.0.0.2:1", outliers=outliers, slow_start_ms=100_000))
    bad = "http://10.0.0.1:1"
    row = report_row(0, 5, run=5)
    site.controller.on_report(("worker-0", 1), BalancingReport(instances={f"default/{bad}": row}))
    await site.until(lambda site: site.states()[bad] is InstanceState.EJECTED)
    await site.until(lambda site: site.states()[bad] is InstanceState.HEALTHY)
    weights = {instance.id: instance.weight for instance in site.published[-1].pools[0].instances}
    assert weights == {bad: 0.1, "http://10.0.0.2:1": 1.0}


async def test_names_become_instances_and_addresses(sites):
    answers = {"orders": ["10.0.0.2", "10.0.0.1"], "single": ["10.9.9.9"]}
    table = {
        "dns_interval_ms": 100,
        "pools": {"default": {"dns": ["http://orders:8080"], "instances": ["http://single:80"], "health": OFF}},
    }
    site = await sites(table, resolve=lambda name: answers[name])
    assert {instance.id: (instance.url, instance.addresses) for instance in site.published[0].pools[0].instances} == {
        "http://single:80": ("http://single:80", ("10.9.9.9",)),
        "orders@10.0.0.1:8080": ("http://orders:8080", ("10.0.0.1",)),
        "orders@10.0.0.2:8080": ("http://orders:8080", ("10.0.0.2",)),
    }
    answers["orders"] = ["10.0.0.3", "fd00::7"]
    await site.until(lambda site: {"orders@10.0.0.3:8080", "orders@[fd00::7]:8080"} < site.states().keys())
    assert len(site.states()) == 3
    del answers["orders"]
    answers["orders"] = []
    await site.until(lambda site: "dns:orders" in site.controller.health())
    assert len(site.states()) == 3


async def test_no_route_with_one_pool_takes_everything(sites):
    site = await sites(pool(DEAD))
    assert [(route.pool, route.path_prefix) for route in site.published[0].routes] == [("default", "/")]


async def test_reconfiguring_keeps_what_is_known(sites):
    site = await sites(pool("http://10.0.0.1:1", "http://10.0.0.2:1"))
    row = report_row(0, 5, run=5)
    site.controller.on_report(("w", 1), BalancingReport(instances={"default/http://10.0.0.1:1": row}))
    await site.until(lambda site: site.states()["http://10.0.0.1:1"] is InstanceState.EJECTED)
    table = pool("http://10.0.0.1:1", "http://10.0.0.3:1", strategy="least-connections")
    await site.controller.reconfigure(BalancingSettings.model_validate(table))
    assert site.states() == {
        "http://10.0.0.1:1": InstanceState.EJECTED,
        "http://10.0.0.3:1": InstanceState.HEALTHY,
    }
    assert site.published[-1].pools[0].strategy == "least-connections"
    assert site.controller.status().pools[0].instances[0].totals.errors == 5


async def test_a_section_that_cannot_be_provisioned_changes_nothing(sites, tmp_path):
    site = await sites(pool(DEAD))
    empty = tmp_path / "ca.pem"
    empty.write_text("")
    for path in (empty, tmp_path / "missing.pem"):
        table = pool("https://10.0.0.1:1", tls={"ca_file": str(path)})
        with pytest.raises(ConfigurationError, match="cannot be used"):
            await site.controller.reconfigure(BalancingSettings.model_validate(table))
    table = pool(DEAD, strategy="geographic", geoip_database=str(empty))
    with pytest.raises(ConfigurationError, match="cannot open the location database"):
        await site.controller.reconfigure(BalancingSettings.model_validate(table))
    assert site.states() == {DEAD: InstanceState.HEALTHY}
    assert len(site.published) == 1


async def test_affinity_keys_are_shared_through_the_store_or_taken_from_the_file(sites):
    store = MemoryStore(clock=SystemClock())
    one = await sites(pool(DEAD, affinity={}), store)
    two = await sites(pool(DEAD, affinity={}), store)
    own = await sites(pool(DEAD, affinity={"secret": "s3cret", "max_age_ms": 60_000}), store)
    keys = [site.published[0].pools[0].affinity.key for site in (one, two, own)]
    assert len(keys[0]) == 32
    assert keys[0] == keys[1]
    assert keys[2] == b"s3cret"
    assert own.published[0].pools[0].affinity.max_age == 60
    await store.close()


async def closed_store() -> MemoryStore:
    store = MemoryStore(clock=SystemClock())
    await store.close()
    return store


async def test_without_the_store_it_does_not_start(sites):
    with pytest.raises(StateUnavailableError):
        await sites(pool(DEAD), await closed_store())


async def test_with_a_last_known_snapshot_it_starts_without_the_store(sites):
    store = MemoryStore(clock=SystemClock())
    table = pool(DEAD, "http://10.0.0.2:1", affinity={})
    first = await sites(table, store)
    await first.controller.perform(Register(action="register", url="http://10.0.0.7:80", id="registered", region="eu"))
    await first.controller.perform(Drain(action="drain", id="http://10.0.0.2:1"))
    await first.until(lambda site: site.states().get("http://10.0.0.2:1") is InstanceState.DRAINING)
    last = msgspec.msgpack.decode(msgspec.msgpack.encode(first.published[-1]), type=BalancingSnapshot)
    await first.controller.stop()
    await store.close()

    resumed = await sites(table, await closed_store(), resume=last)
    assert resumed.states() == first.states()
    newest = resumed.published[-1]
    assert newest.version > last.version
    assert newest.pools[0].affinity == last.pools[0].affinity
    assert [instance.region for instance in newest.pools[0].instances] == ["", "", "eu"]
    assert resumed.controller.health()["state"].startswith("going on with the last known instances")
    with pytest.raises(StateUnavailableError):
        await resumed.controller.perform(Drain(action="drain", id="registered"))


async def test_a_start_without_the_store_revives_nothing_that_left_the_configuration(sites):
    gone, stays = "http://10.0.0.2:1", "http://10.0.0.3:1"
    table = pool(stays, gone, dns=["http://10.0.0.4:80", "http://10.0.0.5:80"])
    first = await sites(table)
    for name, ttl in (("kept", None), ("leaving", None), ("left", None), ("heartbeating", 60_000)):
        register = Register(action="register", url=f"http://{name}.test:80", id=name, ttl_ms=ttl)
        await first.controller.perform(register)
    for name in ("leaving", "left"):
        await first.controller.perform(Unregister(action="unregister", id=name))
    await first.controller.perform(Drain(action="drain", id=stays))
    drained = {"leaving", "left", stays}
    await first.until(lambda site: drained == {name for name, state in site.states().items() if state == "draining"})
    published = first.published[-1].pools[0]
    late = [msgspec.structs.replace(i, leaves_at=1.0) if i.id == "left" else i for i in published.instances]
    last = BalancingSnapshot(version=1, pools=(msgspec.structs.replace(published, instances=tuple(late)),))

    resumed = await sites(pool(stays, dns=["http://10.0.0.5:80"]), await closed_store(), resume=last)
    assert resumed.states().keys() == {stays, "10.0.0.5@10.0.0.5:80", "kept", "leaving", "heartbeating"}
    assert resumed.states()[stays] is InstanceState.DRAINING
    assert resumed.states()["leaving"] is InstanceState.DRAINING


async def test_a_resumed_verdict_holds_until_a_check_says_otherwise(sites):
    async with serving(replying(response())) as port:
        url = f"http://127.0.0.1:{port}"
        slow = {"kind": "tcp", "interval_ms": 60_000}
        first = await sites(pool(url, health=slow))
        await first.until(lambda site: site.states()[url] is InstanceState.HEALTHY)
        resumed = await sites(pool(url, health=slow), await closed_store(), resume=first.published[-1])
        assert {state for found in resumed.published for state in [found.pools[0].instances[0].state]} == {
            InstanceState.HEALTHY
        }


async def test_names_are_resumed_with_their_last_answer_while_dns_is_away_too(sites):
    table = {"pools": {"default": {"dns": ["http://orders:8080"], "instances": ["http://single:80"], "health": OFF}}}
    first = await sites(table, resolve=lambda name: ["10.0.0.2", "10.0.0.1"] if name == "orders" else ["10.9.9.9"])

    def away(name):
        raise OSError("no name server")

    resumed = await sites(table, await closed_store(), resume=first.published[-1], resolve=away)
    assert resumed.published[-1].pools == first.published[-1].pools
    await resumed.until(lambda site: site.controller.health().keys() == {"dns:orders", "dns:single", "state"})
