"""DynamicLoadBalancer with nothing around it."""

import asyncio
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
from balancing_sites import replying, response, serving

from seawall import DynamicLoadBalancer
from seawall.balancer import NoInstanceError
from seawall.core.errors import ConfigurationError, NotFoundError
from seawall.core.request import Request
from seawall.systems.balancing.model import InstanceState, Outcome
from seawall.systems.balancing.settings import BalancingSettings
from seawall.testing.clock import FakeClock

pytestmark = pytest.mark.anyio

A, B, C = "http://10.0.0.1:80", "http://10.0.0.2:80", "http://10.0.0.3:80"


def states(balancer: DynamicLoadBalancer) -> dict[str, InstanceState]:
    return {instance.id: instance.state for instance in balancer.pool().instances}


def picks(balancer: DynamicLoadBalancer, times: int = 30, **options) -> Counter:
    return Counter(balancer.select_instance(**options).url for _ in range(times))


def test_a_list_of_urls_is_enough():
    assert picks(DynamicLoadBalancer([A, B, C])) == {A: 10, B: 10, C: 10}


@pytest.mark.parametrize("kind", ["mapping", "settings", "file", "path"])
def test_every_form_of_configuration_gives_the_same(kind, tmp_path):
    table = {"pools": {"default": {"instances": [{"url": A, "weight": 2}, B], "strategy": "weighted"}}}
    file = tmp_path / "seawall.toml"
    file.write_text(
        f'[balancing.pools.default]\nstrategy = "weighted"\ninstances = [{{url = "{A}", weight = 2}}, "{B}"]\n'
    )
    config = {"mapping": table, "settings": BalancingSettings.model_validate(table), "file": str(file), "path": file}
    assert DynamicLoadBalancer(config[kind]).pool().instances[0].weight == 2.0


@pytest.mark.parametrize(
    ("config", "finding"),
    [
        (["ftp://a"], "pools.default.instances.0"),
        ({"pools": {"default": {"instnaces": []}}}, "instnaces"),
        ({"strategy": "fastest"}, "strategy"),
    ],
)
def test_a_bad_configuration_is_refused_with_its_place(config, finding):
    with pytest.raises(ConfigurationError) as refused:
        DynamicLoadBalancer(config)
    assert finding in refused.value.problems[0]


def test_excluded_instances_are_not_picked():
    balancer = DynamicLoadBalancer([A, B])
    first = balancer.select_instance()
    assert {balancer.select_instance(exclude=[first]).id for _ in range(5)} == {A, B} - {first.id}
    with pytest.raises(NoInstanceError, match="was tried"):
        balancer.select_instance(exclude=[A, B])


def test_a_key_always_leads_to_the_same_instance():
    for hash_key in ("client", "header:x-user", "cookie:session"):
        pool = {"instances": [A, B, C], "strategy": "consistent-hash", "hash_key": hash_key}
        balancer = DynamicLoadBalancer({"pools": {"default": pool}})
        chosen = {key: balancer.select_instance(key=key).id for key in map(str, range(50))}
        assert len(set(chosen.values())) == 3
        assert all(balancer.select_instance(key=key).id == owner for key, owner in chosen.items())


def test_routes_and_names_choose_the_pool():
    table = {
        "pools": {"web": {"instances": [A]}, "api": {"instances": [B]}},
        "routes": [{"pool": "api", "path": "/api"}],
    }
    balancer = DynamicLoadBalancer(table)
    assert balancer.select_instance(Request("GET", b"/api/orders")).pool == "api"
    assert balancer.select_instance(pool="web").url == A
    with pytest.raises(NotFoundError, match="no route takes GET /other"):
        balancer.select_instance(Request("GET", b"/other"))
    with pytest.raises(NotFoundError, match="several pools"):
        balancer.select_instance()
    with pytest.raises(NotFoundError, match="no pool 'nope'"):
        balancer.select_instance(pool="nope")


def test_failures_in_a_row_eject_and_time_brings_back():
    clock = FakeClock()
    balancer = DynamicLoadBalancer([A, B, C], clock=clock)
    for _ in range(15):
        with pytest.raises(ConnectionRefusedError), balancer.use(exclude=[B, C]):
            raise ConnectionRefusedError
        if states(balancer)[A] is InstanceState.EJECTED:
            break
    assert states(balancer)[A] is InstanceState.EJECTED
    assert set(picks(balancer)) == {B, C}
    shown = balancer.status()[0].instances[0]
    assert (shown.totals.errors, shown.error_rate) == (5, 1.0)
    clock.advance(31.0)
    assert set(picks(balancer)) == {A, B, C}


def test_reported_outcomes_count_as_used_ones_do():
    balancer = DynamicLoadBalancer([A, B])
    chosen = balancer.select_instance()
    balancer.report(chosen, 0.010)
    for _ in range(5):
        balancer.report(chosen, 0.010, ok=False)
    assert states(balancer)[chosen.id] is InstanceState.EJECTED
    totals = next(shown.totals for shown in balancer.status()[0].instances if shown.id == chosen.id)
    assert (totals.requests, totals.errors) == (6, 5)


@pytest.mark.parametrize(
    ("error", "status", "counted"),
    [
        (None, 0, Outcome.SUCCESS),
        (None, 404, Outcome.SUCCESS),
        (None, 503, Outcome.SERVER_ERROR),
        (ValueError("raise_for_status"), 404, Outcome.SUCCESS),
        (ValueError("raise_for_status"), 500, Outcome.SERVER_ERROR),
        (TimeoutError(), 0, Outcome.TIMEOUT),
        (ConnectionRefusedError(), 0, Outcome.CONNECT_FAILED),
        (ConnectionResetError(), 0, Outcome.RESET),
        (asyncio.CancelledError(), 0, Outcome.CANCELLED),
        (asyncio.CancelledError(), 200, Outcome.CANCELLED),
    ],
)
def test_how_a_block_ends_is_counted(error, status, counted):
    balancer = DynamicLoadBalancer([A])
    expected = nullcontext() if error is None else pytest.raises(type(error))
    with expected, balancer.use() as attempt:
        assert (attempt.id, attempt.url) == (A, A)
        assert attempt.instance.pool == "default"
        attempt.status = status
        if error is not None:
            raise error
    report = balancer._engine.report(full=True)
    counts = report.instances[f"default/{A}"].counts
    assert dict(zip(Outcome, counts, strict=False))[counted] == 1
    assert sum(counts[: len(Outcome)]) == 1
    assert report.instances[f"default/{A}"].active == 0


def test_requests_in_flight_steer_least_connections():
    balancer = DynamicLoadBalancer([A, B], strategy="least-connections")
    with balancer.use() as one, balancer.use() as two:
        assert {one.id, two.id} == {A, B}


def test_retries_have_a_budget():
    balancer = DynamicLoadBalancer(
        {"pools": {"default": {"instances": [A], "retry": {"budget": 0, "floor_per_second": 1}}}}
    )
    allowed = [balancer.may_retry() for _ in range(50)]
    assert allowed[0]
    assert not allowed[-1]


def test_threads_may_share_one():
    balancer = DynamicLoadBalancer([A, B, C])

    def work(_):
        for _ in range(200):
            with balancer.use():
                pass

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    totals = [shown.totals.requests for shown in balancer.status()[0].instances]
    assert sum(totals) == 1600
    assert [shown.active for shown in balancer.status()[0].instances] == [0, 0, 0]


async def until(condition) -> None:
    async with asyncio.timeout(5.0):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0.005)


async def test_on_a_loop_it_checks_health():
    async with serving(replying(response())) as port:
        good, dead = f"http://127.0.0.1:{port}", "http://127.0.0.1:9"
        health = {"path": "/", "interval_ms": 20, "unhealthy_threshold": 2}
        balancer = DynamicLoadBalancer({"pools": {"default": {"instances": [good, dead], "health": health}}})
        assert set(picks(balancer)) == {good, dead}
        async with balancer:
            await until(lambda: states(balancer)[dead] is InstanceState.UNHEALTHY)
            assert states(balancer)[good] is InstanceState.HEALTHY
            assert balancer.status()[0].instances[1].last_check.reason == "connect refused"
        assert set(picks(balancer)) == {good, dead}


async def test_on_a_loop_it_resolves_names():
    table = {"pools": {"default": {"dns": ["http://orders:8080"], "health": {"kind": "none"}}}}
    balancer = DynamicLoadBalancer(table, resolve=lambda name: ["10.0.0.1", "10.0.0.2"])
    with pytest.raises(NoInstanceError, match="async with"):
        balancer.select_instance()
    async with balancer:
        assert {balancer.select_instance().addresses for _ in range(4)} == {("10.0.0.1",), ("10.0.0.2",)}


def test_importing_seawall_loads_next_to_nothing():
    code = "import sys, seawall; print([m for m in sys.modules if m.startswith(('seawall.', 'pydantic', 'msgspec'))])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_balancer_needs_no_extra_and_no_server():
    code = (
        "import sys; from seawall import DynamicLoadBalancer; DynamicLoadBalancer(['http://a:1']).select_instance();"
        "others = ('fastapi', 'httpx', 'maxminddb', 'redis', 'starlette', 'uvicorn', 'uvloop');"
        "print([m for m in others if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_unknown_names_are_unknown():
    import seawall

    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = seawall.nope
    assert {"DynamicLoadBalancer", "__version__"} <= set(dir(seawall))
