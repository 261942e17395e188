import asyncio
import contextlib
import io
import signal
import socket
import stat

import httpx
import pytest
from pydantic import SecretStr

from seawall.admin import protocol, server
from seawall.admin.server import AdminServer
from seawall.admin.tokens import list_tokens
from seawall.config.admin import AdminSettings
from seawall.core.errors import SeawallError

pytestmark = pytest.mark.anyio

_TOKEN = "a-long-enough-token"


@contextlib.asynccontextmanager
async def _running(stage, **settings):
    given = {"listen": "127.0.0.1:0", "token": SecretStr(_TOKEN)} | settings
    running = AdminServer(stage.plane, AdminSettings(**given), out=io.StringIO())
    await running.start()
    try:
        yield running
    finally:
        await running.stop()


async def _exchange(address, data, *, chunks=1):
    """Send raw bytes, return everything until the server closes."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for start in range(chunks):
            size = -(-len(data) // chunks)
            writer.write(data[start * size : (start + 1) * size])
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_it_serves_on_a_free_port_and_stops(stage):
    before = signal.getsignal(signal.SIGTERM)
    async with _running(stage) as running:
        assert running.address.startswith("127.0.0.1:")
        assert not running.address.endswith(":0")
        assert signal.getsignal(signal.SIGTERM) is before
        async with httpx.AsyncClient(base_url=f"http://{running.address}") as client:
            assert (await client.get("/health/live")).json() == {"status": "ok"}
            assert (await client.get("/api/system")).status_code == 401
            response = await client.get("/api/system", headers={"Authorization": f"Bearer {_TOKEN}"})
            assert response.status_code == 200
            assert "server" not in response.headers
    with pytest.raises(OSError, match=r"refused|Connect"):
        await asyncio.open_connection(*running.address.rsplit(":", 1))
    await running.stop()


async def test_ipv6_has_brackets(stage):
    async with _running(stage, listen="[::1]:0") as running:
        assert running.address.startswith("[::1]:")
        async with httpx.AsyncClient(base_url=f"http://{running.address}") as client:
            assert (await client.get("/health/live")).status_code == 200


async def test_a_unix_socket_is_for_this_user_only_and_goes_away(stage, tmp_path):
    path = tmp_path / "admin.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    async with _running(stage, listen=f"unix:{path}") as running:
        assert running.address == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport, base_url="http://anything") as client:
            response = await client.get("/api/system", headers={"Authorization": f"Bearer {_TOKEN}"})
            assert response.status_code == 200
            made = await client.post(
                "/api/system/tokens",
                json={"name": "a", "role": "viewer"},
                headers={"Authorization": f"Bearer {_TOKEN}"},
            )
            assert made.status_code == 201
            audit = await client.get("/api/system/audit", headers={"Authorization": f"Bearer {_TOKEN}"})
            assert audit.json()["entries"][0]["address"] == "unix"
        with pytest.raises(SeawallError, match="listen on unix:"):
            await AdminServer(stage.plane, AdminSettings(listen=f"unix:{path}")).start()
    assert not path.exists()


async def test_a_file_in_the_way_of_a_unix_socket_is_kept(stage, tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(SeawallError, match="not a socket"):
        await AdminServer(stage.plane, AdminSettings(listen=f"unix:{path}")).start()
    assert path.read_text() == "data"


async def test_a_taken_port_is_named_with_what_to_do(stage):
    async with _running(stage) as running:
        second = AdminServer(stage.plane, AdminSettings(listen=running.address))
        with pytest.raises(SeawallError) as caught:
            await second.start()
        await second.stop()
    assert running.address in caught.value.message
    assert "admin.listen" in caught.value.hint
    # No token was made for a server that never ran.
    assert await list_tokens(stage.store) == []


async def test_an_address_of_another_machine_is_refused(stage):
    with pytest.raises(SeawallError, match=r"192\.0\.2\.1"):
        await AdminServer(stage.plane, AdminSettings(listen="192.0.2.1:0")).start()


async def test_the_first_start_prints_a_token_that_works_and_the_second_prints_none(stage, caplog):
    caplog.set_level("DEBUG")
    for start in range(2):
        out = io.StringIO()
        running = AdminServer(stage.plane, AdminSettings(listen="127.0.0.1:0"), out=out)
        await running.start()
        try:
            printed = [word for word in out.getvalue().split() if word.startswith("sw_")]
            assert len(printed) == 1 - start
            for token in printed:
                assert token not in caplog.text
                async with httpx.AsyncClient(base_url=f"http://{running.address}") as client:
                    response = await client.get("/api/system/tokens", headers={"Authorization": f"Bearer {token}"})
                    assert [entry["name"] for entry in response.json()["tokens"]] == ["first-start"]
        finally:
            await running.stop()


async def test_a_store_that_is_away_at_start_gets_its_first_token_when_it_is_back(stage, monkeypatch):
    monkeypatch.setattr(server, "TOKEN_RETRY", 0.01)
    working, stage.plane.store = stage.plane.store, type(stage.store)(clock=stage.clock)
    await stage.plane.store.close()
    out = io.StringIO()
    running = AdminServer(stage.plane, AdminSettings(listen="127.0.0.1:0"), out=out)
    try:
        await running.start()
        assert out.getvalue() == ""
        async with httpx.AsyncClient(base_url=f"http://{running.address}") as client:
            assert (await client.get("/health/live")).status_code == 200
        stage.plane.store = working
        async with asyncio.timeout(10):
            while "sw_" not in out.getvalue():  # noqa: ASYNC110 - a stream has no event
                await asyncio.sleep(0.01)
    finally:
        stage.plane.store = working
        await running.stop()


async def test_requests_in_flight_finish_when_it_stops(stage):
    running = AdminServer(stage.plane, AdminSettings(listen="127.0.0.1:0", token=SecretStr(_TOKEN)))
    await running.start()
    host, port = running.address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    body = b'{"name":"a","role":"viewer"}'
    writer.write(
        b"POST /api/system/tokens HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + _TOKEN.encode() + b"\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:5]
    )
    await writer.drain()
    async with asyncio.timeout(10):
        while running._server is not None and not running._server.server_state.tasks:  # noqa: ASYNC110 - nor has uvicorn
            await asyncio.sleep(0.005)
        stopping = asyncio.create_task(running.stop())
        await asyncio.sleep(0)
        writer.write(body[5:])
        answer = await reader.read()
        await stopping
    assert answer.startswith(b"HTTP/1.1 201")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 100) for n in range(1000)) + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 50_000,
    ],
    ids=["many fields", "long field", "long target", "two lengths", "space before colon", "tls", "zeros"],
)
async def test_a_flooded_or_malformed_head_is_refused_and_the_connection_ends(stage, head):
    async with _running(stage) as running:
        with contextlib.suppress(ConnectionError):
            answer = await _exchange(running.address, head)
            # What is sent after the server closed may cost us the answer, but never gets another than this.
            if answer:
                assert answer.startswith(b"HTTP/1.1 400")
                assert b"application/problem+json" in answer
                assert b"malformed-request" in answer
        async with httpx.AsyncClient(base_url=f"http://{running.address}") as client:
            assert (await client.get("/health/live")).status_code == 200


async def test_a_client_that_is_slow_with_its_head_is_cut_off(stage, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT", 0.05)
    async with _running(stage) as running:
        assert await _exchange(running.address, b"") == b""
        assert await _exchange(running.address, b"GET /health/live HT") == b""
        # The same holds for the second request of a connection.
        reader, writer = await asyncio.open_connection(*running.address.rsplit(":", 1))
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await reader.readuntil(b'"ok"}')).startswith(b"HTTP/1.1 200")
        writer.write(b"GET /health/l")
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_a_client_that_is_slow_with_its_body_is_refused(stage, monkeypatch):
    monkeypatch.setattr("seawall.admin.guard.BODY_TIMEOUT", 0.05)
    async with _running(stage) as running:
        head = (
            b"POST /api/system/tokens HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer " + _TOKEN.encode() + b"\r\nContent-Length: 100\r\n\r\n{"
        )
        answer = await _exchange(running.address, head)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"request-timeout" in answer


async def test_a_brute_force_over_the_wire_is_braked(stage):
    async with _running(stage) as running, httpx.AsyncClient(base_url=f"http://{running.address}") as client:
        statuses = [
            (await client.get("/api/system", headers={"Authorization": f"Bearer guess-{number}-xxxxxxxxx"})).status_code
            for number in range(15)
        ]
        # X-Forwarded-For is nobody's to choose here.
        forwarded = await client.get(
            "/api/system", headers={"Authorization": "Bearer guess-xxxxxxxxxxxx", "X-Forwarded-For": "192.0.2.77"}
        )
    assert statuses == [401] * 10 + [429] * 5
    assert forwarded.status_code == 429


async def test_too_many_requests_at_once_are_refused_but_liveness_answers(stage, monkeypatch):
    monkeypatch.setattr("seawall.admin.guard.MAX_IN_FLIGHT", 0)
    response = await stage.call("GET", "/api/system")
    assert response.status_code == 503
    assert response.json()["code"] == "overloaded"
    assert (await stage.call("GET", "/health/live")).status_code == 200
