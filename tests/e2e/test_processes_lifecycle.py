"""`seawall serve` from start to end: refusals, drain, reload, a store that is away, no orphans."""

import asyncio
import os
import signal
import socket
import urllib.request

import pytest
from processes import DEADLINE, Gateway, Load, Upstream, eventually, eventually_async, fetch, runs

from seawall.testing.redis import RedisServer

pytestmark = pytest.mark.anyio

ANYWHERE = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")


@pytest.fixture
def upstream():
    started = Upstream("a")
    yield started
    started.kill()


@pytest.fixture
def serve(tmp_path):
    made = []

    def serve(*arguments: str, folder: str = "gateway") -> Gateway:
        made.append(Gateway(tmp_path / folder, *arguments))
        return made[-1]

    yield serve
    for gateway in made:
        gateway.destroy()


def ended(gateway: Gateway) -> int:
    return gateway.process.wait(DEADLINE)


@pytest.mark.parametrize("mode", [("--workers", "2"), ("--single-process",)], ids=["processes", "single process"])
async def test_sigterm_finishes_what_is_in_flight_and_exits_with_nought(serve, upstream, mode):
    gateway = serve("--upstream", upstream.url, *ANYWHERE, *mode).wait_ready()
    assert await fetch(gateway.port) == 200
    slow = [asyncio.create_task(fetch(gateway.port, "/slow/1500")) for _ in range(6)]
    await eventually_async(lambda: gateway.total("load_balancer_active_requests") == 6, "six requests are in flight")
    children = gateway.children()
    gateway.process.send_signal(signal.SIGTERM)
    await eventually_async(lambda: refused(gateway.port), "new connections are refused")
    assert not any(task.done() for task in slow)
    assert await asyncio.gather(*slow) == [200] * 6
    assert await asyncio.to_thread(ended, gateway) == 0
    assert not any(runs(pid) for pid in children.values())
    assert list((gateway.folder / "run").iterdir()) == []
    assert "Traceback" not in gateway.log


def refused(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


async def test_requests_above_the_drain_time_are_broken_off(serve, upstream, tmp_path):
    config = tmp_path / "seawall.toml"
    config.write_text("[gateway]\ndrain_timeout_ms = 200\n")
    gateway = serve("-c", str(config), "--upstream", upstream.url, *ANYWHERE, "--workers", "1").wait_ready()
    slow = asyncio.create_task(fetch(gateway.port, "/slow/20000"))
    await eventually_async(lambda: gateway.total("load_balancer_active_requests") == 1, "a request is in flight")
    gateway.process.send_signal(signal.SIGTERM)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await slow
    assert await asyncio.to_thread(ended, gateway) == 0


async def test_a_second_signal_ends_at_once(serve, upstream):
    gateway = serve("--upstream", upstream.url, *ANYWHERE, "--workers", "1").wait_ready()
    slow = asyncio.create_task(fetch(gateway.port, "/slow/20000"))
    await eventually_async(lambda: gateway.total("load_balancer_active_requests") == 1, "a request is in flight")
    children = gateway.children()
    gateway.process.send_signal(signal.SIGINT)
    await eventually_async(lambda: "SIGINT: draining" in gateway.log, "it drains")
    gateway.process.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(ended, gateway) == 1
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await slow
    assert not any(runs(pid) for pid in children.values())


async def test_without_its_supervisor_nothing_lingers(serve, upstream):
    gateway = serve("--upstream", upstream.url, *ANYWHERE, "--workers", "2").wait_ready()
    children = gateway.children()
    assert sorted(children) == ["control", "worker-0", "worker-1"]
    slow = asyncio.create_task(fetch(gateway.port, "/slow/500"))
    await eventually_async(lambda: gateway.total("load_balancer_active_requests") == 1, "a request is in flight")
    gateway.process.kill()
    assert await slow == 200, "what was in flight is finished"
    await eventually_async(lambda: not any(runs(pid) for pid in children.values()), "no child lives on")
    assert refused(gateway.port)
    await eventually_async(lambda: list((gateway.folder / "run").iterdir()) == [], "its directory is removed")


@pytest.mark.parametrize("mode", [("--workers", "1"), ("--single-process",)], ids=["processes", "single process"])
@pytest.mark.parametrize("flag", ["--listen", "--admin"])
def test_a_taken_port_is_named(serve, upstream, mode, flag):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        gateway = serve("--upstream", upstream.url, *ANYWHERE, flag, address, *mode)
        assert ended(gateway) == 1
    assert address in gateway.log
    assert "hint:" in gateway.log
    assert "Traceback" not in gateway.log
    assert list((gateway.folder / "run").iterdir()) == []


def test_a_refused_configuration_exits_with_two(serve):
    gateway = serve("--upstream", "ftp://127.0.0.1", *ANYWHERE)
    assert ended(gateway) == 2
    assert 'given "ftp://127.0.0.1"' in gateway.log


def test_an_unwritable_state_directory_is_named(serve, upstream, tmp_path):
    (tmp_path / "file").write_text("")
    config = tmp_path / "seawall.toml"
    config.write_text(f'[state]\ndirectory = "{tmp_path}/file/state"\n')
    gateway = serve("-c", str(config), "--upstream", upstream.url, *ANYWHERE, "--workers", "1")
    assert ended(gateway) == 1
    assert f"the state directory {tmp_path}/file/state cannot be made" in gateway.log
    assert gateway.log.count("cannot be made") == 1, "the control process is not started again and again"


def test_a_damaged_state_file_is_named_and_left_alone(serve, upstream, tmp_path):
    path = tmp_path / "state.sqlite"
    path.write_bytes(b"this is no database, it is a diary" * 100)
    before = path.read_bytes()
    gateway = serve("--upstream", upstream.url, *ANYWHERE, "--workers", "1", "--state", f"sqlite:///{path}")
    assert ended(gateway) == 1
    assert str(path) in gateway.log
    assert path.read_bytes() == before


def test_redis_away_at_the_start_without_a_last_snapshot(serve, upstream):
    gateway = serve("--upstream", upstream.url, *ANYWHERE, "--workers", "1", "--state", "redis://127.0.0.1:1/0")
    assert ended(gateway) == 1
    assert "the state store redis://127.0.0.1:1/0 is away" in gateway.log
    assert "no last known snapshot of balancing" in gateway.log


async def test_redis_away_at_the_start_with_a_last_snapshot(serve, upstream):
    with RedisServer() as redis:
        arguments = ("--upstream", upstream.url, *ANYWHERE, "--workers", "1", "--state", redis.url)
        first = serve(*arguments).wait_ready()
        await eventually_async(
            lambda: list(first.folder.glob("state/seawall/last-snapshot-balancing.msgpack")), "the snapshot is kept"
        )
        await eventually_async(lambda: first.health().get("findings") == {}, "all is well")
        assert await asyncio.to_thread(first.stop) == 0
        redis.stop()
        second = serve(*arguments).wait_ready()
        assert await fetch(second.port) == 200
        assert "started from the last known snapshots" in second.log
        await eventually_async(lambda: second.health().get("status") == "ready", "it is ready all the same")
        assert "is away" in second.health()["findings"]["state"]
        redis.start()
        await eventually_async(
            lambda: second.health().get("findings", {"state": ""}).get("state") is None, "the store is back"
        )
        assert await fetch(second.port) == 200
        assert await asyncio.to_thread(second.stop) == 0


async def test_sighup_takes_a_good_file_and_refuses_a_bad_one(serve, upstream, tmp_path):
    other = Upstream("bb")
    try:
        config = tmp_path / "seawall.toml"

        def write(url: str, via: str = "seawall") -> None:
            config.write_text(
                f'[gateway]\nvia = "{via}"\n[balancing.pools.main]\ninstances = ["{url}"]\n'
                '[balancing.pools.main.health]\nkind = "none"\n'
            )

        write(upstream.url)
        gateway = serve("-c", str(config), *ANYWHERE, "--workers", "1").wait_ready()
        async with Load(gateway.port, connections=4) as load:
            await load.more(50)

            config.write_text('[balancing.pools.main]\ninstances = ["gopher://x"]\n')
            gateway.process.send_signal(signal.SIGHUP)
            await eventually_async(lambda: "the running one stays in force" in gateway.log, "the refusal is logged")
            assert 'given "gopher://x"' in gateway.log
            assert "reload was refused" in gateway.health()["findings"]["configuration"]
            await load.more(50)

            write(other.url, via="harbour")
            gateway.process.send_signal(signal.SIGHUP)
            await eventually_async(lambda: answer_of(gateway.port) == ("bb", "1.1 harbour"), "the new file is taken")
            await load.more(50)
            await eventually_async(lambda: gateway.health().get("findings") == {}, "all is well")
            assert gateway.total("seawall_reloads_total", result="ok") == 1
            assert gateway.total("seawall_reloads_total", result="refused") == 1
        assert (load.refused, load.lost.total(), load.unreachable) == ([], 0, 0)
        assert await asyncio.to_thread(gateway.stop) == 0
    finally:
        other.kill()


def answer_of(port: int) -> tuple[str, str]:
    """Return the body, which names the upstream, and the Via field of one answer."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
        return response.read().decode(), response.headers["via"]


async def test_workers_share_a_unix_socket(serve, upstream, tmp_path):
    path = tmp_path / "gateway.sock"
    gateway = serve(
        "--upstream", upstream.url, "--listen", f"unix:{path}", "--admin", "127.0.0.1:0", "--workers", "2"
    ).wait_ready()
    assert gateway.url == f"unix:{path}"
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()
    assert await asyncio.to_thread(gateway.stop) == 0
    assert not path.exists()


def test_without_an_admin_api(serve, upstream, tmp_path):
    config = tmp_path / "seawall.toml"
    config.write_text("[admin]\nenabled = false\n")
    gateway = serve("-c", str(config), "--upstream", upstream.url, "--listen", "127.0.0.1:0", "--workers", "1")
    gateway.wait_ready()
    assert gateway.admin == ""
    assert gateway.stop() == 0


def test_the_log_level_never_hides_the_line_that_says_it_is_ready(serve, upstream):
    gateway = serve("--upstream", upstream.url, *ANYWHERE, "--workers", "1", "--log-level", "error").wait_ready()
    assert " INFO " not in gateway.log
    assert gateway.stop() == 0


def test_a_hang_up_while_the_control_process_is_away_ends_nothing(serve, upstream):
    gateway = serve("--upstream", upstream.url, *ANYWHERE, "--workers", "1").wait_ready()
    control = gateway.children()["control"]
    os.kill(control, signal.SIGKILL)
    gateway.process.send_signal(signal.SIGHUP)
    gateway.replacement_of("control", control)
    eventually(lambda: "SIGHUP:" in gateway.log, "the hang-up is answered for")
    eventually(lambda: gateway.health().get("status") == "ready", "the worker is connected again")
    assert gateway.stop() == 0
