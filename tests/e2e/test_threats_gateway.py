"""Threat detection through `seawall serve`: attackers are contained in seconds, and a crowd does not notice."""

import asyncio
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from processes import Gateway, eventually_async

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

ANYWHERE = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "1")
ATTACK = "/shop/search?q=%27%20OR%201%3D1--%20"
BAD = b'{"name": "x\' UNION SELECT password FROM users-- "}'
JSON = "content-type: application/json\r\n"
CROWD, GUESSER, SCANNER = "127.0.0.1", "127.0.1.1", "127.0.1.2"
FLOOD = [f"127.0.2.{number}" for number in range(1, 31)]
PATIENT = "block_on_critical = false\nbans = { throttle_at = 1e6, challenge_at = 1e6, block_at = 1e6, ban_at = 1e6 }\n"


class Upstream:
    """A server that remembers whom it saw."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("threats_upstream.py")
        self._process = subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def seen(self) -> dict[str, dict[str, float]]:
        """By client: requests, the time of the last one, bytes of bodies."""
        with urllib.request.urlopen(f"{self.url}/-/seen", timeout=5) as response:
            return json.loads(response.read())

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


@pytest.fixture
def upstream():
    started = Upstream()
    yield started
    started.kill()


@pytest.fixture
def serve(tmp_path, upstream):
    """Start gateways with these lines of `[threats]`, and others before it; end them all."""
    started: list[Gateway] = []

    def start(threats: str, others: str = "") -> Gateway:
        folder = tmp_path / f"gateway{len(started)}"
        folder.mkdir()
        folder.joinpath("seawall.toml").write_text(
            f'{others}\n[balancing.pools.web]\ninstances = ["{upstream.url}"]\nhealth = {{ kind = "none" }}\n'
            f"[threats]\n{threats}"
        )
        gateway = Gateway(folder, "-c", "seawall.toml", *ANYWHERE)
        started.append(gateway)
        return gateway.wait_ready()

    yield start
    for gateway in started:
        gateway.destroy()


class Client:
    """A connection from an address of the test's choice; a new one where the last one was closed."""

    def __init__(self, port: int, address: str = CROWD) -> None:
        self._port = port
        self._address = address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.connections = 0

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self.connections += 1
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(self._address, 0))
        return self._streams

    async def ask(self, head: str, *parts: bytes) -> int:
        """Send a head without its last line end, then each part of the body by itself; return the status."""
        reader, writer = await self.open()
        writer.write(f"{head}host: example.org\r\n\r\n".encode())
        for part in parts:
            await asyncio.sleep(0.001)
            writer.write(part)
        return await self.answer(reader)

    async def answer(self, reader: asyncio.StreamReader) -> int:
        lines = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode("latin-1").lower()
        size = re.search(r"^content-length: (\d+)", lines, re.MULTILINE)
        await reader.readexactly(int(size[1]) if size else 0)
        if "\r\nconnection: close" in lines:
            self.close()
        return int(lines.split(" ", 2)[1])

    async def get(self, target: str, fields: str = "") -> int:
        return await self.ask(f"GET {target} HTTP/1.1\r\n{fields}")

    async def log_in(self, account: str, password: str) -> int:
        body = json.dumps({"username": account, "password": password}).encode()
        return await self.ask(f"POST /login HTTP/1.1\r\n{JSON}content-length: {len(body)}\r\n", body)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


@asynccontextmanager
async def client_of(gateway: Gateway, address: str = CROWD) -> AsyncIterator[Client]:
    client = Client(gateway.port, address)
    try:
        yield client
    finally:
        client.close()


async def test_an_attack_never_reaches_the_upstream_and_the_connection_goes_on(serve, upstream):
    gateway = serve(PATIENT)
    async with client_of(gateway) as client:
        assert await client.get("/shop") == 200
        assert await client.get(ATTACK) == 403
        length = f"POST /shop HTTP/1.1\r\n{JSON}content-length: {len(BAD)}\r\n"
        assert await client.ask(length, *(BAD[i : i + 5] for i in range(0, len(BAD), 5))) == 403
        chunks = [b"%x\r\n%b\r\n" % (len(BAD[i : i + 3]), BAD[i : i + 3]) for i in range(0, len(BAD), 3)]
        assert (
            await client.ask(f"POST /shop HTTP/1.1\r\n{JSON}transfer-encoding: chunked\r\n", *chunks, b"0\r\n\r\n")
            == 403
        )
        assert await client.get("/shop", "connection: upgrade\r\nupgrade: websocket\r\n") == 200
        assert client.connections == 1
    assert upstream.seen() == {CROWD: {"requests": 2, "last": upstream.seen()[CROWD]["last"], "bytes": 0}}
    async with client_of(gateway) as client:
        await eventually_async(lambda: gateway.total("threat_detection_inspected_total") > 0, "the counts are told")


async def test_log_changes_nothing(serve, upstream):
    gateway = serve('mode = "log"')
    async with client_of(gateway) as client:
        for _ in range(3):
            assert await client.get(ATTACK) == 200
            assert await client.ask(f"POST /shop HTTP/1.1\r\n{JSON}content-length: {len(BAD)}\r\n", BAD) == 200
    assert upstream.seen()[CROWD]["requests"] == 6
    assert upstream.seen()[CROWD]["bytes"] == 3 * len(BAD)


async def test_a_large_clean_upload_streams_with_bounded_memory(serve, upstream):
    gateway = serve("")
    block = b"A clean line of text, such as people write.\n" * 1024
    size = 240 * len(block)  # more than 10 MiB

    def memory() -> int:
        status = Path(f"/proc/{gateway.children()['worker-0']}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024

    async with client_of(gateway) as client:
        assert await client.get("/shop") == 200
        before = memory()
        reader, writer = await client.open()
        head = f"POST /shop HTTP/1.1\r\nhost: example.org\r\ncontent-type: text/plain\r\ncontent-length: {size}\r\n\r\n"
        writer.write(head.encode())
        for _ in range(size // len(block)):
            writer.write(block)
            await writer.drain()
        assert await client.answer(reader) == 200
        assert memory() - before < 4 * 2**20
    assert upstream.seen()[CROWD]["bytes"] == size


async def test_an_address_made_up_bans_nobody_and_helps_nobody(serve):
    gateway = serve("")
    async with client_of(gateway, GUESSER) as attacker, client_of(gateway) as victim:
        for number in range(5):
            assert await attacker.get(ATTACK, f"x-forwarded-for: {CROWD}\r\nforwarded: for={CROWD}\r\n") == 403
            assert await attacker.get("/shop", f"x-forwarded-for: 192.0.2.{number}\r\n") == 403
            assert await victim.get("/shop") == 200


async def test_guessing_a_password_is_refused_and_another_client_is_unhurt(serve, upstream):
    gateway = serve('logins = { paths = ["/login"] }')
    async with client_of(gateway, GUESSER) as guesser, client_of(gateway) as other:
        statuses = [await guesser.log_in("alice", f"guess-{number}") for number in range(30)]
        first = statuses.index(403)
        assert first < 15
        assert statuses == [401] * first + [403] * (30 - first)
        assert [await other.log_in("bob", password) for password in ("wrong", "right")] == [401, 200]
        assert await other.get("/shop") == 200
    assert upstream.seen()[GUESSER]["requests"] == first


async def test_a_crawl_for_what_is_not_there_is_refused_and_a_few_dead_links_are_not(serve, upstream):
    gateway = serve("floods = { enabled = false }")
    async with client_of(gateway, SCANNER) as scanner, client_of(gateway) as reader:
        statuses = [await crawl(scanner, number) for number in range(100)]
        assert statuses[0] == 404
        assert statuses[60:] == [403] * 40
        for number in range(60):
            assert await reader.get("/shop") == 200
            assert await reader.get(f"/dead-link-{number % 20}") == 404
    assert upstream.seen()[SCANNER]["requests"] == statuses.count(404) < 60


async def test_whoever_holds_connections_open_is_refused_and_another_client_is_unhurt(serve):
    gateway = serve("slow = 3", "[gateway]\nheader_timeout_ms = 300\n")
    async with client_of(gateway) as other:
        for _ in range(2):
            slow = [Client(gateway.port, GUESSER) for _ in range(6)]
            for client in slow:
                (await client.open())[1].write(b"GET /shop HTTP/1.1\r\nhost: exam")
            assert [await client.answer((await client.open())[0]) for client in slow] == [408] * 6
            assert await other.get("/shop") == 200

        def refused() -> bool:
            return gateway.total("threat_detection_bans", by="seawall") == 1

        await eventually_async(refused, "the ban")
        async with client_of(gateway, GUESSER) as slow_client:
            assert await slow_client.get("/shop") == 403
        assert await other.get("/shop") == 200

    def told() -> set[tuple[str, str]]:
        page = json.loads(gateway.ask("/api/system/threat-detection/events?category=ddos")[1])
        return {(event["client"], event["action"]) for event in page["events"]}

    await eventually_async(lambda: (GUESSER, "block") in told(), "the event")
    assert {client for client, _ in told()} == {GUESSER}


# all at once


class Crowd:
    """People behind one address: they read, write, mistype a password, follow a dead link."""

    def __init__(self, port: int) -> None:
        self.asked = 0
        self.failed: list[str] = []
        self._port = port

    async def visit(self, number: int, until: Callable[[], bool]) -> None:
        client = Client(self._port)
        note = json.dumps({"note": f"O'Brien & sons select {number} items from the union menu, 5 < 7"}).encode()
        session = f"cookie: session={number:04x}0123456789abcdef\r\n"
        post = f"POST /shop/notes HTTP/1.1\r\n{JSON}content-length: {len(note)}\r\n"
        steps: list[tuple[Callable[[], Coroutine[Any, Any, int]], int]] = [
            (lambda: client.get(f"/shop/item?id={number}&sort=price", session), 200),
            (lambda: client.get("/shop?q=rock+%27n%27+roll", session), 200),
            (lambda: client.ask(post + session, note), 200),
            (lambda: client.get("/shop/basket", session), 200),
            (lambda: client.log_in(f"person-{number}", "right"), 200),
        ]
        if number == 0:
            steps += [(lambda: client.log_in("person-0", "mistyped"), 401), (lambda: client.get("/old-link"), 404)]
        at = 0
        try:
            while not until():
                step, expected = steps[at % len(steps)]
                at += 1
                self.asked += 1
                status = await step()
                if status != expected:
                    self.failed.append(f"{status} instead of {expected} at step {at % len(steps)}")
                await asyncio.sleep(0.2)
        finally:
            client.close()


async def attack(
    port: int, address: str, pause: float, until: Callable[[], bool], step: Callable[[Client, int], Any]
) -> list[tuple[float, int]]:
    """Ask on until the end; return when each answer came, and its status."""
    client, answers, at = Client(port, address), [], 0
    try:
        while not until():
            status = await step(client, at)
            answers.append((time.monotonic(), status))
            at += 1
            await asyncio.sleep(pause)
    finally:
        client.close()
    return answers


def crawl(client: Client, at: int) -> Any:
    words = ("admin", "backup", "old", "test", "config", "db", "dump", "private", "tmp", "dev")
    return client.get(f"/{words[at % 10]}{at // 10}.{'php' if at % 2 else 'zip'}")


async def test_attackers_are_contained_within_two_seconds_and_a_crowd_does_not_notice(serve, upstream):
    gateway = serve(
        'logins = { paths = ["/login"] }\nfloods = { floor = 100.0, stranger = 1.0 }\n',
        '[ratelimit]\nmode = "off"\n',
    )
    crowd, over, started = Crowd(gateway.port), asyncio.Event(), time.monotonic()
    people = [asyncio.create_task(crowd.visit(number, over.is_set)) for number in range(16)]
    # What is usual has to be learned first, for ten seconds.
    await eventually_async(lambda: time.monotonic() - started > 12.0, "ordinary traffic")
    begun = time.monotonic()
    attackers = [
        asyncio.create_task(
            attack(gateway.port, GUESSER, 0.03, over.is_set, lambda one, at: one.log_in("alice", f"guess{at}"))
        ),
        asyncio.create_task(attack(gateway.port, SCANNER, 0.015, over.is_set, crawl)),
        *(
            asyncio.create_task(attack(gateway.port, address, 0.03, over.is_set, lambda one, _: one.get("/shop")))
            for address in FLOOD
        ),
    ]
    await eventually_async(lambda: time.monotonic() - begun > 5.0, "the attack")
    over.set()
    guessed, crawled, *flooded = await asyncio.gather(*attackers)
    await asyncio.gather(*people)
    seen, contained = upstream.seen(), begun + 2.0
    assert {status for at, status in guessed if at > contained} == {403}
    assert seen[GUESSER]["last"] < contained
    assert seen[GUESSER]["requests"] < 15  # so many passwords were tried
    assert {status for at, status in crawled if at > contained} <= {403, 429}
    assert seen[SCANNER]["last"] < contained
    assert seen[SCANNER]["requests"] < 100
    late = [status for one in flooded for at, status in one if at > contained]
    assert late.count(200) <= 0.02 * len(late)
    assert min(len(late), crowd.asked) > 300
    assert len(crowd.failed) <= 0.01 * crowd.asked, crowd.failed[:5]


async def test_a_flood_right_after_the_start_is_contained_within_two_seconds_and_a_crowd_is_not(serve, upstream):
    gateway = serve("floods = { floor = 100.0, stranger = 1.0, source = 40.0 }\n", '[ratelimit]\nmode = "off"\n')
    crowd, over, begun = Crowd(gateway.port), asyncio.Event(), time.monotonic()
    people = [asyncio.create_task(crowd.visit(number, over.is_set)) for number in range(16)]
    attackers = [
        asyncio.create_task(attack(gateway.port, address, 0.01, over.is_set, lambda one, _: one.get("/shop")))
        for address in FLOOD[:3]
        for _ in range(3)
    ]
    await eventually_async(lambda: time.monotonic() - begun > 6.0, "the attack")
    over.set()
    flooded = await asyncio.gather(*attackers)
    await asyncio.gather(*people)
    contained = begun + 2.0
    early = [status for one in flooded for at, status in one if at <= contained]
    late = [status for one in flooded for at, status in one if at > contained]
    assert early.count(200) > 100, "it was a flood"
    assert len(late) > 300
    assert late.count(200) <= 0.05 * len(late)
    assert crowd.asked > 200
    assert len(crowd.failed) <= 0.01 * crowd.asked, crowd.failed[:5]
    assert json.loads(gateway.ask("/api/system/threat-detection")[1])["clients"] == 4
