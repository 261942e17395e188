"""Shared counts in Redis while it is away, slow, wrong or refusing: nobody waits for longer than the budget."""

import asyncio
import logging
import math
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis import Redis

from seawall.adapters.redis_counts import RedisCounts
from seawall.core.errors import ConfigurationError
from seawall.systems.ratelimit.counts import GiveBack
from seawall.systems.ratelimit.shared_lua import SHARED_SCRIPT
from seawall.testing.redis import RedisServer
from shared_counts_harness import Road, ask, asking, eventually, gcra, taken, until

pytestmark = pytest.mark.anyio

BUDGET = 1.0
"""Seconds; generous, so that a busy machine is not taken for a slow server."""
PATIENT = 20.0
PASSWORD = "s3cretw0rd"  # a secret that no message may show

Open = Callable[..., RedisCounts]


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RedisServer]:
    with RedisServer(password=PASSWORD) as server:
        yield server


@pytest.fixture
def server(shared_server: RedisServer) -> Iterator[RedisServer]:
    """A server of this module's own, running and empty."""
    with Redis.from_url(shared_server.url) as client:
        client.flushall()
    yield shared_server
    shared_server.thaw()
    shared_server.start() if shared_server._process is None else None


@pytest.fixture
async def open_counts() -> AsyncIterator[Open]:
    opened: list[RedisCounts] = []

    def open_one(url: str, *, budget: float = BUDGET, **options: object) -> RedisCounts:
        opened.append(RedisCounts(url, budget=budget, **options))
        return opened[-1]

    yield open_one
    for counts in opened:
        await counts.close()


@pytest.fixture
async def road(server: RedisServer) -> AsyncIterator[Road]:
    parts = urlsplit(server.url)
    road = await Road(parts.hostname, parts.port).build()
    yield road
    await road.close()


def through(road: Road, server: RedisServer) -> str:
    return server.url.replace(str(urlsplit(server.url).port), str(road.port))


async def test_a_killed_server_answers_nobody_and_a_new_one_counts_again(
    server: RedisServer, open_counts: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    counts = open_counts(server.url)
    await counts.start()
    assert (await taken(counts, ask("k")))[0].allowed
    server.freeze()
    waiting = [asking(counts, ask("k")) for _ in range(5)]
    await asyncio.sleep(0)
    server.thaw()
    server.kill()
    async with asyncio.timeout(10):
        for one in waiting:
            await one
    await until(lambda: not counts.available)
    assert await taken(counts, ask("k")) is None
    server.start()
    await until(lambda: counts.available)
    (answer,) = await taken(counts, ask("k"))
    assert answer.windows[0].remaining == pytest.approx(9.0, abs=0.1)
    assert [record.levelname for record in caplog.records if "away" in record.message] == ["WARNING"]
    assert "answer again after" in caplog.text
    assert PASSWORD not in caplog.text
    assert counts.reason == ""


async def test_a_start_without_a_server_returns_and_finds_it_later(server: RedisServer, open_counts: Open) -> None:
    server.kill()
    counts = open_counts(server.url)
    await counts.start()
    assert not counts.available
    assert "no connection" in counts.reason
    assert await taken(counts, ask("k")) is None
    server.start()
    await until(lambda: counts.available)


async def test_asking_before_the_start_connects_by_itself(server: RedisServer, open_counts: Open) -> None:
    counts = open_counts(server.url)
    assert not counts.available
    assert await taken(counts, ask("k")) is None
    await until(lambda: counts.available)
    assert (await taken(counts, ask("k")))[0].allowed


async def test_late_answers_are_handed_back(server: RedisServer, road: Road, open_counts: Open) -> None:
    counts = open_counts(through(road, server), budget=0.05)
    await counts.start()
    await until(lambda: counts.available)
    road.hold()
    asks = (ask("k", lease=3.0), ask("shadow", binding=False))
    assert await taken(counts, *asks) is None
    assert await taken(counts, *asks) is None
    assert counts.unanswered == 2
    road.let_through()
    await until(lambda: counts.late == 2)
    patient = open_counts(server.url, budget=PATIENT)
    await patient.start()

    async def whole() -> bool:
        look = await taken(patient, ask("k", gcra(cost=0.0)), ask("shadow", gcra(cost=0.0), binding=False))
        return look is not None and all(answer.windows[0].remaining > 9.99 for answer in look)

    await eventually(whole)


async def test_after_some_silence_nobody_waits_any_more(server: RedisServer, road: Road, open_counts: Open) -> None:
    counts = open_counts(through(road, server), budget=0.02)
    await counts.start()
    await until(lambda: counts.available)
    road.hold()
    while counts.available:
        assert await taken(counts, ask("k")) is None
    assert "no answer within 20 ms, 3 times in a row" in counts.reason
    asked = counts.asked
    waiting = [asking(counts, ask("k")) for _ in range(100)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert all(one.done() and one.result() is None for one in waiting), "somebody waits for counts that are away"
    assert counts.asked == asked
    road.let_through()
    await until(lambda: counts.available)
    assert counts.reason == ""


async def test_a_server_that_is_too_slow_is_left_alone(server: RedisServer, road: Road, open_counts: Open) -> None:
    counts = open_counts(through(road, server), budget=0.02, connect_timeout=PATIENT)
    await counts.start()
    await until(lambda: counts.available)
    road.hold()
    while counts.available:
        await taken(counts, ask("k"))
    probes = counts.probes
    await until(lambda: counts.probes == probes + 1)
    await asyncio.sleep(0.05)  # the probe is late by now, whenever it is answered
    road.let_through()
    await until(lambda: counts.available)
    assert counts.probes >= probes + 2, "a late answer to a probe was taken for a good one"


async def test_one_probe_at_a_time_ever_more_rarely(server: RedisServer, open_counts: Open) -> None:
    many = [open_counts(server.url) for _ in range(10)]
    await asyncio.gather(*(counts.start() for counts in many))
    await until(lambda: all(counts.available for counts in many))
    server.kill()
    await until(lambda: not any(counts.available for counts in many))
    loop = asyncio.get_running_loop()
    began, before = loop.time(), [counts.probes for counts in many]
    while loop.time() - began < 1.5:
        for counts in many:
            counts.take((ask("k"),), lambda _: None)  # nobody's request is a probe
        await asyncio.sleep(0.005)
    elapsed = loop.time() - began
    # Waits grow from 10 ms to half a second at least.
    most = math.log2(0.5 / 0.01) + 1 + elapsed / 0.5
    for counts, probes in zip(many, before, strict=True):
        assert 1 <= counts.probes - probes <= most + 1
    waits = {round(counts._retry.when(), 4) for counts in many if counts._retry is not None}
    assert len(waits) > 5, "all come back at the same moment"
    server.start()
    await until(lambda: all(counts.available for counts in many))
    with Redis.from_url(server.url) as client:
        assert client.info("stats")["total_connections_received"] <= 4 * len(many) + 5


async def test_flapping_does_not_bring_the_first_wait_back(server: RedisServer, road: Road, open_counts: Open) -> None:
    counts = open_counts(through(road, server))
    await counts.start()
    for _ in range(4):
        await until(lambda: counts.available)
        road.cut()
        await until(lambda: not counts.available)
    assert counts._attempts >= 3


async def test_a_script_that_was_flushed_is_loaded_again(server: RedisServer, open_counts: Open) -> None:
    counts = open_counts(server.url, budget=PATIENT)
    await counts.start()
    with Redis.from_url(server.url) as client:
        client.script_flush()
        waiting = [asking(counts, ask("k"), ask("other")) for _ in range(12)]
        answers = [await one for one in waiting]
        assert sum(one is not None and one[0].allowed for one in answers) == 10
        assert client.info("commandstats")["cmdstat_script|load"]["calls"] >= 2
    assert counts.failed == 0
    assert counts.available


async def test_a_lost_connection_is_made_again(server: RedisServer, road: Road, open_counts: Open) -> None:
    counts = open_counts(through(road, server))
    await counts.start()
    road.hold()
    waiting = asking(counts, ask("k"))
    await asyncio.sleep(0)
    road.cut()
    assert await waiting is None
    assert not counts.available
    road.let_through()
    await until(lambda: counts.available)
    assert road.connections == 2


async def test_a_replica_is_not_asked_until_it_is_the_primary(server: RedisServer, open_counts: Open) -> None:
    counts = open_counts(server.url)
    await counts.start()
    with Redis.from_url(server.url) as client:
        client.replicaof("127.0.0.1", "1")
        try:
            assert await taken(counts, ask("k")) is None
            await until(lambda: "READONLY" in counts.reason or "MASTERDOWN" in counts.reason)
        finally:
            client.replicaof("NO", "ONE")

    async def answered() -> bool:
        return await taken(counts, ask("k")) is not None

    await eventually(answered)


async def test_a_key_that_something_else_wrote_harms_its_own_requests_only(
    server: RedisServer, open_counts: Open, caplog: pytest.LogCaptureFixture
) -> None:
    counts = open_counts(server.url, budget=PATIENT)
    await counts.start()
    with Redis.from_url(server.url) as client:
        client.set("seawall:ratelimit/counts/g3600:short", b"x")
        client.lpush("seawall:ratelimit/counts/g3600:list", b"x")
        assert await taken(counts, ask("short")) is None
        assert await taken(counts, ask("list")) is None
        assert (await taken(counts, ask("sound")))[0].allowed
    assert counts.available
    assert counts.failed == 2
    assert len([record for record in caplog.records if "is refused by" in record.message]) == 1


async def test_a_server_without_room_refuses_and_is_left_alone(server: RedisServer, open_counts: Open) -> None:
    counts = open_counts(server.url)
    await counts.start()
    with Redis.from_url(server.url) as client:
        client.config_set("maxmemory", "1mb")
        try:
            assert await taken(counts, ask("k")) is None
            await until(lambda: not counts.available)
            assert "OOM" in counts.reason
        finally:
            client.config_set("maxmemory", "0")
    await until(lambda: counts.available)


async def test_what_does_not_speak_the_protocol_is_left_alone(
    server: RedisServer, road: Road, open_counts: Open
) -> None:
    road.answer = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    counts = open_counts(through(road, server))
    await counts.start()
    assert not counts.available
    assert "protocol" in counts.reason


async def test_a_server_that_never_answers_a_log_in_is_given_up(
    server: RedisServer, road: Road, open_counts: Open
) -> None:
    road.hold()
    counts = open_counts(through(road, server), connect_timeout=0.05)
    await counts.start()
    assert not counts.available
    assert "no connection within 0.05 s" in counts.reason


async def test_closing_ends_a_start_that_is_under_way(server: RedisServer, road: Road, open_counts: Open) -> None:
    road.hold()
    counts = open_counts(through(road, server), connect_timeout=PATIENT)
    starting = asyncio.create_task(counts.start())
    await until(lambda: road.connections)
    await counts.close()
    async with asyncio.timeout(10):
        await starting
    assert counts.reason == "closed"


async def test_what_is_given_back_right_before_the_end_still_arrives(server: RedisServer, open_counts: Open) -> None:
    counts, other = open_counts(server.url), open_counts(server.url)
    await counts.start()
    await other.start()
    ((answer,), window) = await taken(counts, ask("k", gcra(cost=10.0))), gcra(cost=4.0)
    assert answer.allowed
    counts.give_back([GiveBack("k", (window,), answer.at)])
    await counts.close()
    (look,) = await taken(other, ask("k", gcra(cost=0.0)))
    assert look.windows[0].remaining == pytest.approx(4.0, abs=0.1)


async def test_a_frozen_server_does_not_keep_anybody_from_closing(server: RedisServer, open_counts: Open) -> None:
    counts = open_counts(server.url)
    await counts.start()
    server.freeze()
    counts.give_back([GiveBack("k", (gcra(),), 0.0)] * 512)
    async with asyncio.timeout(10):
        await counts.close()
    server.thaw()


@pytest.mark.parametrize("url", ["redis://:{secret}@{host}/0", "redis://{host}/0?password={secret}"])
async def test_no_secret_is_ever_said(
    url: str, server: RedisServer, open_counts: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = "wr0ngs3cret"
    counts = open_counts(url.format(secret=wrong, host=f"127.0.0.1:{urlsplit(server.url).port}"))
    await counts.start()
    assert not counts.available
    assert "WRONGPASS" in counts.reason
    for text in (caplog.text, counts.reason, counts.name, repr(counts._address)):
        assert wrong not in text


async def test_a_server_that_repeats_the_password_does_not_make_us_repeat_it(
    server: RedisServer, road: Road, open_counts: Open, caplog: pytest.LogCaptureFixture
) -> None:
    road.answer = f"-ERR unknown command 'AUTH', with args beginning with: '{PASSWORD}'\r\n".encode() * 3
    counts = open_counts(through(road, server))
    await counts.start()
    assert "AUTH with: ERR" in counts.reason
    assert PASSWORD not in caplog.text + counts.reason


async def test_user_database_and_prefix_come_from_the_url(server: RedisServer, open_counts: Open) -> None:
    with Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "us%er", "on", ">pa/ss", "~mine:*", "+@all")
        try:
            host = f"127.0.0.1:{urlsplit(server.url).port}"
            counts = open_counts(
                f"redis://us%25er:pa%2Fss@{host}/3?prefix=mine:&client_name=seawall-test", budget=PATIENT
            )
            await counts.start()
            assert (await taken(counts, ask("base\nuser:x")))[0].allowed
            assert "seawall-test" in {one["name"] for one in client.client_list()}
            with Redis.from_url(server.url.replace("/0", "/3")) as third:
                key = b"mine:ratelimit/counts/g3600:base\nuser:x"
                assert set(third.keys()) - {b"mine:ratelimit/counts/g1:#probe"} == {key}
                assert 300_000 < third.pttl(key) <= 360_002
        finally:
            client.execute_command("ACL", "DELUSER", "us%er")


async def test_a_unix_socket_and_tls_are_ways_too(server: RedisServer, open_counts: Open, tmp_path: Path) -> None:
    parts = urlsplit(server.url)
    certificate = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, tmp_path / "key.pem")
    local = await Road(parts.hostname, parts.port).build(path=tmp_path / "redis sock")
    secured = await Road(parts.hostname, parts.port).build(tls=context)
    try:
        tls = f"rediss://:{PASSWORD}@localhost:{secured.port}/0"
        for url in (
            f"unix://:{PASSWORD}@{str(tmp_path).replace(' ', '%20')}/redis%20sock?db=0",
            f"{tls}?ssl_ca_certs={certificate}",
            f"{tls}?ssl_cert_reqs=none",
        ):
            counts = open_counts(url, budget=PATIENT, connect_timeout=PATIENT)
            await counts.start()
            assert counts.available, counts.reason
            assert (await taken(counts, ask("k")))[0].allowed
        stranger = open_counts(tls)
        await stranger.start()
        assert not stranger.available
        assert "certificate" in stranger.reason.lower()
    finally:
        await local.close()
        await secured.close()


def make_certificate(folder: Path) -> Path:
    if shutil.which("openssl") is None:
        pytest.fail("certificates are made by the openssl command: install the package openssl")
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subprocess.run(["openssl", "req", "-x509", *kind, *names, *files], check=True, capture_output=True, timeout=30)
    return folder / "certificate.pem"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1/0", "names no Redis server"),
        ("redis://127.0.0.1/zero", "database"),
        ("redis://127.0.0.1/0/1", "database"),
        ("redis://127.0.0.1:99999/0", "port"),
        ("redis://127.0.0.1/0?prefix=a b", "prefix"),
        ("redis://127.0.0.1/0?budget=5", "unknown parameters: budget"),
        ("redis://127.0.0.1/0?ssl_cert_reqs=none", "unknown parameters: ssl_cert_reqs"),
        ("rediss://127.0.0.1/0?ssl_cert_reqs=perhaps", "verify"),
        ("rediss://127.0.0.1/0?ssl_ca_certs=/nowhere/ca.pem", "cannot be read"),
        ("unix://", "names no socket"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        RedisCounts(url)
    secret = url.replace("://", "://user:hunter2@", 1)
    with pytest.raises(ConfigurationError) as refused:
        RedisCounts(secret)
    assert "hunter2" not in str(refused.value)


def test_the_script_keeps_to_what_a_server_limits() -> None:
    assert len(SHARED_SCRIPT) < 16_384
