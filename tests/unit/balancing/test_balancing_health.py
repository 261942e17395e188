"""Verdicts, and single checks against real servers that behave and misbehave."""

import ssl
import subprocess
from pathlib import Path

import pytest
from balancing_sites import replying, response, serving

from seawall.core.clock import SystemClock
from seawall.systems.balancing.checks import CheckTarget, check
from seawall.systems.balancing.endpoint import Endpoint
from seawall.systems.balancing.health import CheckPolicy, CheckResult, HealthTrack
from seawall.systems.balancing.model import InstanceState

pytestmark = pytest.mark.anyio

GOOD = CheckResult(True, "connected", 0.001)
BAD = CheckResult(False, "connect refused", 0.001)
HTTP = CheckPolicy(kind="http", path="/health", timeout=0.5)


def verdicts(results):
    track = HealthTrack()
    seen = []
    for result in results:
        track.record(result, 1.0, CheckPolicy())
        seen.append(track.state.value)
    return seen


def test_the_first_result_decides_at_once():
    assert verdicts([GOOD]) == ["healthy"]
    assert verdicts([BAD]) == ["unhealthy"]


def test_later_it_takes_a_threshold_in_a_row():
    assert verdicts([GOOD, BAD, BAD, GOOD, BAD, BAD, BAD]) == ["healthy"] * 6 + ["unhealthy"]
    assert verdicts([BAD, GOOD, BAD, GOOD, GOOD]) == ["unhealthy"] * 4 + ["healthy"]


def test_the_last_result_is_kept_with_its_time():
    track = HealthTrack()
    assert track.record(GOOD, 5.0, CheckPolicy())
    assert not track.record(BAD, 6.0, CheckPolicy())
    assert track.last is not None
    assert (track.last.at, track.last.result.reason) == (6.0, "connect refused")
    assert track.state is InstanceState.HEALTHY


async def run(port: int, policy: CheckPolicy = HTTP, **target) -> CheckResult:
    return await check(CheckTarget(Endpoint.parse(f"http://127.0.0.1:{port}"), **target), policy, SystemClock())


def policy(**changes) -> CheckPolicy:
    return CheckPolicy(kind="http", timeout=0.5, **changes)


async def test_an_http_check_asks_for_the_path_with_the_host():
    heads = []

    async def answer(reader, writer):
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(response(204, b""))

    async with serving(answer) as port:
        result = await run(port)
        assert result.ok
        assert 0.0 < result.duration < 0.5
        await run(port, policy(path="/ready?deep=1", host="shop.example"))
    assert heads[0].startswith(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n" % port)
    assert heads[1].startswith(b"GET /ready?deep=1 HTTP/1.1\r\nhost: shop.example\r\n")


@pytest.mark.parametrize(
    ("payload", "ok", "reason"),
    [
        (response(200), True, "status as expected (200-399)"),
        (response(399), True, "status as expected (200-399)"),
        (response(503), False, "status 503, expected 200-399"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + response(200), True, "status as expected (200-399)"),
        (b"", False, "connection closed before a response"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 40_000, False, "response head above 32 KiB"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", False, "malformed response"),
    ],
)
async def test_what_a_server_answers_decides(payload, ok, reason):
    async with serving(replying(payload)) as port:
        result = await run(port)
    assert result.ok is ok
    assert result.reason.startswith(reason)


async def test_only_listed_statuses_are_accepted():
    strict = policy(expect_status="200,204", expect_ranges=((200, 200), (204, 204)))
    async with serving(replying(response(201))) as port:
        assert (await run(port, strict)).reason == "status 201, expected 200,204"
    async with serving(replying(response(204, b""))) as port:
        assert (await run(port, strict)).ok


@pytest.mark.parametrize(
    ("body", "ok"),
    [(b'{"status":"UP"}', True), (b'{"status":"DOWN"}', False), (b"x" * 65_537 + b"UP", False)],
)
async def test_a_body_must_hold_the_expected_text_early(body, ok):
    async with serving(replying(response(200, body))) as port:
        result = await run(port, policy(expect_body=b"UP"))
    assert result.ok is ok
    assert ok or result.reason == "body lacks the expected text in its first 64 KiB"


async def test_text_that_is_split_over_chunks_is_found():
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nall\r\n")
        await writer.drain()
        writer.write(b"5\r\n well\r\n0\r\n\r\n")

    async with serving(answer) as port:
        assert (await run(port, policy(expect_body=b"all well"))).ok


async def test_an_endless_body_is_not_read_to_its_end():
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"z" * 16_384)
            await writer.drain()

    async with serving(answer) as port:
        assert (await run(port, policy(expect_body=b"UP"))).reason.startswith("body lacks")


async def test_a_server_that_never_answers_times_out():
    async def answer(reader, writer):
        await reader.read()

    async with serving(answer) as port:
        result = await run(port, CheckPolicy(kind="http", timeout=0.05))
        assert not result.ok
        assert result.reason == "timed out after 50 ms"
        assert (await run(port, CheckPolicy(kind="tcp", timeout=0.5))).reason == "connected"


async def test_a_refused_connection_says_so():
    async with serving(replying(b"")) as port:
        pass
    assert (await run(port)).reason == "connect refused"


async def test_addresses_are_tried_in_order():
    async with serving(replying(response())) as port:
        assert (await run(port, addresses=("127.0.0.9", "127.0.0.1"))).ok


async def test_a_unix_socket_is_checked(tmp_path: Path):
    path = tmp_path / "app.sock"
    target = CheckTarget(Endpoint.parse(f"unix:{path}"))
    assert (await check(target, HTTP, SystemClock())).reason == "socket does not exist"
    async with serving(replying(response()), path=str(path)):
        assert (await check(target, HTTP, SystemClock())).ok


@pytest.fixture
def own_certificate(tmp_path: Path) -> tuple[Path, Path]:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate]
    names = ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:orders.internal"]
    subprocess.run([*command, *names], check=True, capture_output=True)
    return key, certificate


async def test_https_is_verified(own_certificate):
    key, certificate = own_certificate
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=str(certificate))
    async with serving(replying(response()), ssl=server) as port:
        endpoint = Endpoint.parse(f"https://127.0.0.1:{port}")

        async def verdict(tls, name):
            return await check(CheckTarget(endpoint, (), tls, name), HTTP, SystemClock())

        assert (await verdict(trusting, "orders.internal")).ok
        assert (await verdict(trusting, "")).reason.startswith("TLS verification failed: IP address mismatch")
        unknown = await verdict(ssl.create_default_context(), "orders.internal")
        assert unknown.reason.startswith("TLS verification failed: self-signed certificate")
