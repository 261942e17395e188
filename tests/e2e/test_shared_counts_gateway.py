"""Gateways with several workers: one limit for all of them, in the control process or in Redis, and over its end."""

import http.client
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import Gateway, Upstream, eventually

from seawall.testing.redis import RedisServer

LIMIT = 40

CONFIGURATION = """
[ratelimit]
base = 0
counts = "{counts}"
adaptive = false
[ratelimit.ladder]
enabled = false
[[ratelimit.rules]]
id = "all"
key = ["header:x-caller"]
roles = {{ anonymous = 1 }}
endpoints = []
windows = [{{ limit = {limit}, window_ms = 3_600_000 }}]
"""

Start = Callable[..., Gateway]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    upstream = Upstream("a")
    started: list[Gateway] = []

    def start_one(*, counts: str = "strict", state: str = "memory://", workers: int = 2) -> Gateway:
        folder = tmp_path / f"gateway-{len(started)}"
        folder.mkdir()
        (folder / "seawall.toml").write_text(CONFIGURATION.format(counts=counts, limit=LIMIT))
        options = ("--state", state, "--workers", str(workers), "--upstream", upstream.url)
        gateway = Gateway(folder, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", *options)
        started.append(gateway)
        return gateway.wait_ready()

    yield start_one
    for gateway in started:
        gateway.destroy()
    upstream.kill()


def ask(gateway: Gateway, caller: str = "alice") -> tuple[int, dict[str, str]]:
    """Ask over a connection of its own, so that the kernel picks a worker."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    try:
        connection.request("GET", "/", headers={"x-caller": caller})
        response = connection.getresponse()
        response.read()
        return response.status, dict(response.getheaders())
    finally:
        connection.close()


def asked(gateways: list[Gateway], times: int, caller: str = "alice") -> Counter[int]:
    return Counter(ask(gateways[turn % len(gateways)], caller)[0] for turn in range(times))


def counted_together(gateway: Gateway) -> None:
    """Wait until both workers ask: what one has taken the other sees."""
    attempts = iter(range(10_000))

    def together() -> bool:
        caller = f"warm-{next(attempts)}"
        return asked([gateway], LIMIT + 10, caller) == Counter({200: LIMIT, 429: 10})

    eventually(together, "workers count together")


@pytest.mark.parametrize("counts", ["strict", "leased"])
@pytest.mark.parametrize("where", ["control", "redis"])
def test_all_workers_of_all_gateways_share_one_limit(
    where: str, counts: str, start: Start, request: pytest.FixtureRequest
) -> None:
    state = "memory://"
    if where == "redis":
        server = request.getfixturevalue("own_redis")
        state = server.url
    gateways = [start(counts=counts, state=state) for _ in range(2 if where == "redis" else 1)]
    for gateway in gateways:
        if counts == "strict":
            counted_together(gateway)
    seen = asked(gateways, LIMIT + 40)
    assert set(seen) == {200, 429}
    if counts == "strict":
        assert seen[200] == LIMIT
    else:
        assert LIMIT / 2 <= seen[200] <= LIMIT


def test_workers_go_on_without_their_control_process_and_share_again_with_the_next(start: Start) -> None:
    gateway = start()
    counted_together(gateway)
    os.kill(gateway.children()["control"], signal.SIGKILL)
    seen = asked([gateway], 20, "bob")
    assert set(seen) <= {200, 429}, "the end of the control process is nobody's error"
    assert seen[200] >= LIMIT / 2 / 2
    counted_together(gateway)


def test_a_redis_that_ends_is_nobodys_error(start: Start, own_redis: RedisServer) -> None:
    gateway = start(state=own_redis.url)
    counted_together(gateway)
    own_redis.kill()
    seen = asked([gateway], 60, "bob")
    assert set(seen) <= {200, 429}
    assert 1 <= seen[200] <= LIMIT
    own_redis.start()
    counted_together(gateway)


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server
