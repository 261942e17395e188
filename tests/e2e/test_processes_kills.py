"""Processes are killed under load: only what cannot be saved is lost."""

import asyncio
import os
import signal

import pytest
from processes import Gateway, Load, Upstream, eventually, eventually_async

pytestmark = pytest.mark.anyio

MANY = 24
"""Connections of which at least one reaches each of two workers, but for one run in eight million."""


@pytest.fixture
def upstreams():
    started = [Upstream(name) for name in ("a", "b", "c")]
    yield started
    for upstream in started:
        upstream.kill()


@pytest.fixture
def gateway(tmp_path, upstreams):
    arguments = [argument for upstream in upstreams for argument in ("--upstream", upstream.url)]
    serve = Gateway(
        tmp_path,
        *arguments,
        *("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "2"),
    )
    try:
        yield serve.wait_ready()
    finally:
        serve.destroy()


async def test_a_killed_worker_loses_only_what_it_had_in_flight(gateway):
    async with Load(gateway.port, connections=MANY) as load:
        await load.more(300)
        assert len(load.succeeded) == 2, "the kernel spreads the connections over both workers"
        victim = gateway.children()["worker-0"]
        os.kill(victim, signal.SIGKILL)
        await asyncio.to_thread(gateway.replacement_of, "worker-0", victim)
        await load.more(300)
    assert load.refused == []
    assert load.unreachable == 0, "the supervisor keeps the sockets open: no connection is refused"
    assert len(load.lost) <= 1, "connections of the other worker lose nothing"
    assert load.lost.total() <= MANY, "at most one request in flight on each connection of the victim"
    async with Load(gateway.port, connections=MANY) as again:
        await eventually_async(lambda: len(again.succeeded) == 2, "the new worker serves its share")
    assert (again.refused, again.lost.total(), again.unreachable) == ([], 0, 0)
    assert gateway.stop() == 0


async def test_totals_stay_when_a_worker_is_replaced(gateway):
    async with Load(gateway.port, connections=MANY) as before:
        await before.more(300)
    await eventually_async(
        lambda: gateway.total("load_balancer_requests_total", outcome="success") == before.total, "all is counted"
    )
    victim = gateway.children()["worker-0"]
    os.kill(victim, signal.SIGKILL)
    await asyncio.to_thread(gateway.replacement_of, "worker-0", victim)
    async with Load(gateway.port, connections=MANY) as after:
        await after.more(300)
    # Nothing was in flight and everything was reported when the worker was killed: not one request may be missing.
    await eventually_async(
        lambda: gateway.total("load_balancer_requests_total", outcome="success") == before.total + after.total,
        "the requests of the dead worker and those of its successor add up",
    )
    assert gateway.total("load_balancer_active_requests") == 0
    assert gateway.stop() == 0


async def test_a_killed_control_process_costs_no_request_and_the_totals_are_right_again(gateway):
    async with Load(gateway.port) as load:
        await load.more(200)
        for _ in range(2):
            victim = gateway.children()["control"]
            os.kill(victim, signal.SIGKILL)
            await eventually_async(lambda: gateway.ask("/health/live")[0] == 0, "the control process is away")
            await load.more(100)
            await asyncio.to_thread(gateway.replacement_of, "control", victim)
            await load.more(100)
    assert (load.refused, load.lost.total(), load.unreachable) == ([], 0, 0)
    await eventually_async(
        lambda: gateway.total("load_balancer_requests_total", outcome="success") == load.total,
        "the new control process counts every request of the workers that lived on",
    )
    await eventually_async(
        lambda: gateway.total("seawall_workers", state="connected") == 2,
        "both workers are back, also the one whose connections carried nothing",
    )
    await eventually_async(lambda: gateway.health().get("findings") == {}, "all is well")
    assert gateway.stop() == 0


async def test_a_killed_instance_costs_no_idempotent_request(gateway, upstreams):
    async with Load(gateway.port) as load:
        await load.more(100)  # hardly a history that would earn retries
        upstreams[0].kill()
        await load.more(500)
        upstreams[0].start()
        await load.more(500)
    assert (load.refused, load.lost.total(), load.unreachable) == ([], 0, 0)
    assert gateway.stop() == 0


async def test_a_worker_starts_on_the_last_snapshot_while_the_control_process_hangs(gateway):
    control = gateway.children()["control"]
    eventually(lambda: list(gateway.folder.glob("run/*/snapshots/last-snapshot-*.msgpack")), "snapshots are kept")
    os.kill(control, signal.SIGSTOP)
    try:
        victim = gateway.children()["worker-1"]
        os.kill(victim, signal.SIGKILL)
        await asyncio.to_thread(gateway.replacement_of, "worker-1", victim)
        async with Load(gateway.port, connections=MANY) as load:
            await eventually_async(lambda: len(load.succeeded) == 2, "both workers serve")
        assert (load.refused, load.lost.total(), load.unreachable) == ([], 0, 0)
    finally:
        os.kill(control, signal.SIGCONT)
    await eventually_async(
        lambda: gateway.total("seawall_workers", state="connected") == 2, "the new worker is connected"
    )
    assert gateway.stop() == 0
