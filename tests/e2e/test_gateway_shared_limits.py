"""Limits through `seawall serve`: exact over its workers and over gateways, fair to others, and deaf to tricks."""

import asyncio
import json
import signal
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from processes import Gateway, Upstream, eventually, eventually_async

from seawall.testing.redis import RedisServer

pytestmark = pytest.mark.anyio

ANYWHERE = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "2")


class Answer(NamedTuple):
    status: int
    fields: dict[str, str]
    body: str


@pytest.fixture
def upstream():
    started = Upstream("up")
    yield started
    started.kill()


@pytest.fixture
def redis():
    with RedisServer() as server:
        yield server


@pytest.fixture
def serve(tmp_path, upstream):
    """Start gateways with these `[ratelimit]` lines; end them all."""
    started: list[Gateway] = []

    def start(limits: str, *arguments: str) -> Gateway:
        folder = tmp_path / f"gateway{len(started)}"
        folder.mkdir()
        write(folder, upstream, limits)
        gateway = Gateway(folder, "-c", "seawall.toml", *ANYWHERE, *arguments)
        started.append(gateway)
        return gateway.wait_ready()

    yield start
    for gateway in started:
        gateway.destroy()


def write(folder: Path, upstream: Upstream, limits: str) -> None:
    folder.joinpath("seawall.toml").write_text(
        f'[balancing.pools.web]\ninstances = ["{upstream.url}"]\nhealth = {{ kind = "none" }}\n'
        f"[ratelimit]\nroles = {{ anonymous = 1.0 }}\nadaptive = false\nladder = {{ enabled = false }}\n{limits}"
    )


def rule(limit: int, *, counts: str, more: str = "", name: str = "calls", away: str = "closed") -> str:
    """`limit` requests an hour, all at once; refused while the counts are away, so that the count is exact."""
    return (
        f'[[ratelimit.rules]]\nid = "{name}"\nkey = ["client"]\ncounts = "{counts}"\non_store_failure = "{away}"\n'
        f"windows = [{{ limit = {limit}, window_ms = 3_600_000 }}]\n{more}\n"
    )


class Client:
    """Asks from an address of its own, always on new connections, so that every worker gets some."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.statuses: Counter[int] = Counter()
        self.workers: set[str] = set()

    async def ask(self, gateway: Gateway, path: str = "/", fields: str = "") -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, local_addr=(self.address, 0))
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nhost: example.org\r\nconnection: close\r\n{fields}\r\n".encode())
            head, _, body = (await asyncio.wait_for(reader.read(-1), 10)).decode().partition("\r\n\r\n")
        finally:
            writer.close()
        line, *rest = head.split("\r\n")
        found = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in rest)}
        status = int(line.split()[1])
        self.statuses[status] += 1
        self.workers.add(found["x-request-id"][:16])
        return Answer(status, found, body)

    async def flood(self, requests: int, *gateways: Gateway, path: str = "/", at_once: int = 8) -> None:
        turns = iter(range(requests))

        async def keep_asking() -> None:
            for turn in turns:
                await self.ask(gateways[turn % len(gateways)], path)

        await asyncio.gather(*[keep_asking() for _ in range(at_once)])

    async def use_up(self, *gateways: Gateway) -> None:
        """Ask until a whole round brings nothing but refusals."""
        passed = -1
        while self.statuses[200] + self.statuses[503] > passed:
            passed = self.statuses[200] + self.statuses[503]
            await self.flood(40, *gateways)

    def got(self, limit: int, *, more: int = 0) -> bool:
        """Tell whether exactly `limit` requests passed, and up to `more` that the test cannot rule out.

        On a busy machine an answer of the counts may come too late: the client then gets 503, and what goes back comes
        after another was refused, for whom that refusal is remembered.
        """
        return limit - self.statuses[503] <= self.statuses[200] <= limit + more


async def test_workers_share_one_exact_limit_and_one_clients_flood_hurts_nobody_else(serve):
    gateway = serve(rule(40, counts="strict"))
    flooding, other = Client("127.0.0.2"), Client("127.0.0.3")
    await asyncio.gather(flooding.use_up(gateway), other.use_up(gateway))
    assert flooding.got(40), flooding.statuses
    assert set(flooding.statuses) <= {200, 429, 503}
    assert len(flooding.workers) == 2, "the kernel spreads the connections over both workers"
    refused = await flooding.ask(gateway)
    while refused.status == 503:
        refused = await flooding.ask(gateway)
    problem = json.loads(refused.body)
    assert refused.status == 429
    assert refused.fields["content-type"] == "application/problem+json"
    assert refused.fields["ratelimit-policy"] == '"calls";q=40;w=3600'
    assert refused.fields["ratelimit"].startswith('"calls";r=0;t=')
    assert 1 <= int(refused.fields["retry-after"]) <= 90
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert problem["violated-policies"] == ["calls"]
    assert problem["request_id"] == refused.fields["x-request-id"]
    assert other.got(40), other.statuses
    assert await asyncio.to_thread(gateway.stop) == 0


async def test_no_field_makes_a_client_another_and_shadow_refuses_nobody(serve):
    shadow = rule(1, counts="local", name="shadow", more='mode = "shadow"\nmatch = { paths = ["/shadow"] }')
    exempt = '[[ratelimit.rules]]\nid = "exempt"\nmatch = { paths = ["/shadow"] }\n'
    gateway = serve(shadow + exempt + rule(10, counts="strict", away="local"))
    client = Client("127.0.0.2")
    for number in range(60):
        disguise = (
            f"x-forwarded-for: 192.0.2.{number}\r\nforwarded: for=192.0.2.{number}\r\nx-real-ip: 192.0.2.{number}\r\n"
        )
        await client.ask(gateway, fields=disguise)
    # Where counts do not answer in time, each of the two workers has its half of the limit.
    assert 10 <= client.statuses[200] <= 20
    shadowed = Client("127.0.0.3")
    await shadowed.flood(30, gateway, path="/shadow")
    assert shadowed.statuses == {200: 30}
    await eventually_async(
        lambda: json.loads(gateway.ask("/api/system/rate-limit")[1])["rules"][0]["totals"]["shadow"] >= 28,
        "the shadow rule reports what it would have refused",
    )


async def test_a_reload_changes_limits_and_keeps_the_counts(serve, upstream):
    gateway = serve(rule(40, counts="strict"))
    client = Client("127.0.0.2")
    while client.statuses[200] < 20:
        await client.ask(gateway)
    write(gateway.folder, upstream, rule(20, counts="strict"))
    gateway.process.send_signal(signal.SIGHUP)
    await eventually_async(lambda: gateway.total("seawall_reloads_total", result="ok") == 1, "the reload")
    await eventually_async(lambda: limit_of(gateway) == 20, "the new limit")
    # Half of the old quota was used, so half of the new one is left; a worker may hear of it some requests later.
    await client.use_up(gateway)
    assert client.got(30, more=3), client.statuses


@pytest.mark.parametrize("counts", ["strict", "leased"])
async def test_gateways_on_one_redis_share_a_limit(serve, redis, counts):
    limit = 60
    gateways = [serve(rule(limit, counts=counts), "--state", redis.url) for _ in range(2)]
    client = Client("127.0.0.2")
    if counts == "strict":
        await client.use_up(*gateways)
        assert client.got(limit), client.statuses
    else:
        for _ in range(5):
            await client.flood(100, *gateways)
        # Paid in advance, so never more; what is leased where nobody asks is not used.
        assert 0.8 * limit <= client.statuses[200] <= limit
    assert len(client.workers) == 4


async def test_redis_may_die_and_come_back_under_load(serve, redis):
    gateway = serve(rule(1_000_000, counts="strict", away="local"), "--state", redis.url)
    client = Client("127.0.0.2")
    stop = False

    async def keep_asking() -> None:
        while not stop:
            await client.ask(gateway)

    async def more(count: int) -> None:
        goal = client.statuses[200] + count
        await eventually_async(lambda: client.statuses[200] >= goal, f"{count} more answers")

    tasks = [asyncio.create_task(keep_asking()) for _ in range(8)]
    await more(100)
    redis.kill()
    await more(200)
    await eventually_async(lambda: away(gateway) > 0, "decisions without Redis are counted")
    await asyncio.to_thread(redis.start)
    await eventually_async(lambda: "answer again" in gateway.log, "the counts are back")
    asked = eventually(lambda: counts_of(gateway)["asked"], "the API")
    await eventually_async(lambda: counts_of(gateway)["asked"] > asked + 50, "Redis is asked again")
    await more(100)
    stop = True
    await asyncio.gather(*tasks)
    assert set(client.statuses) == {200}


def counts_of(gateway: Gateway) -> dict[str, int]:
    status, body = gateway.ask("/api/system/rate-limit")
    return json.loads(body)["counts"] if status == 200 else {"asked": 0, "away": 0}


def limit_of(gateway: Gateway) -> float:
    return json.loads(gateway.ask("/api/system/rate-limit")[1])["rules"][0]["windows"][0]["limit"]


def away(gateway: Gateway) -> int:
    return counts_of(gateway)["away"]
