"""Upstreams that fail: what is retried, what the client sees, what the engine is told."""

import asyncio
import contextlib
import logging

import pytest

from gateway_harness import (
    DEADLINE,
    Client,
    Peer,
    Upstream,
    chunked,
    closed_port,
    gateway,
    get,
    ok,
    post,
    until,
)
from seawall.systems.balancing.model import Outcome

pytestmark = pytest.mark.anyio


async def hang_up(peer: Peer) -> None:
    """Read a request, then close without a word."""
    peer.upstream.requests.append(await peer.request())


async def reset(peer: Peer) -> None:
    await peer.request()
    peer.reset()


@pytest.mark.parametrize("fault", [hang_up, reset])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS"])
async def test_a_repeatable_request_is_repeated_on_another_instance(fault, method):
    async with gateway(fault, Peer.serve) as running:
        for _ in range(2):
            answer = await running.ask(post(b"body", method=method), head=method == b"HEAD")
            assert answer.status == 200
        assert running.outcomes(0) == {Outcome.RESET: 1}
        assert running.outcomes(1) == {Outcome.SUCCESS: 2}
        assert {request.body for request in running.upstreams[1].requests} == {b"body"}
        report = running.engine.report(full=True)
        assert report is not None
        assert (report.pools["default"].retries, report.pools["default"].requests) == (1, 2)


@pytest.mark.parametrize("method", [b"POST", b"PATCH"])
async def test_a_request_that_may_have_taken_effect_is_not_repeated(method):
    async with gateway(hang_up, hang_up) as running:
        client = await running.client()
        answer = await client.ask(post(b"body", method=method))
        assert (answer.status, answer.problem["code"]) == (502, "upstream-reset")
        assert sum(len(upstream.requests) for upstream in running.upstreams) == 1
        assert (await client.ask(post(b"body", method=method))).status == 502


async def test_attempts_are_bounded():
    async with gateway(*[hang_up] * 5, retry_attempts=2) as running:
        assert (await running.ask(get())).status == 502
        assert sum(len(upstream.requests) for upstream in running.upstreams) == 3


async def test_retries_are_bounded_by_their_budget():
    async with gateway(*[hang_up] * 2, retry_budget=0.0, retry_floor=1, retry_attempts=1) as running:
        for _ in range(30):
            assert (await running.ask(get())).status == 502
        report = running.engine.report(full=True)
        assert report is not None
        pool = report.pools["default"]
        assert pool.retries + pool.retries_refused == 30
        assert pool.retries_refused > 0


async def test_a_body_beyond_the_replay_limit_is_not_repeated():
    async with gateway(hang_up, hang_up, replay_limit=1000) as running:
        assert (await running.ask(post(b"x" * 1001, method=b"PUT"))).status == 502
        assert sum(len(upstream.requests) for upstream in running.upstreams) == 1
    async with gateway(hang_up, Peer.serve, replay_limit=1000) as running:
        for _ in range(2):
            assert (await running.ask(post(b"x" * 1000, method=b"PUT"))).status == 200
            coded = get(b"/", b"Transfer-Encoding: chunked", method=b"PUT") + chunked(b"ab", b"c")
            assert (await running.ask(coded)).status == 200


async def test_a_retry_goes_on_with_a_body_that_is_still_coming():
    async def script(peer: Peer) -> None:
        await peer.read_head()
        await timely_read(peer, 5)
        peer.reset()

    async def timely_read(peer: Peer, size: int) -> None:
        await asyncio.wait_for(peer.reader.readexactly(size), DEADLINE)

    async with gateway(script, Peer.serve) as running:
        client = await running.client()
        await client.send(get(b"/", b"Content-Length: 10", method=b"PUT") + b"first")
        await until(lambda: running.upstreams[1].peers)
        assert (await client.ask(b"then!")).status == 200
        assert running.upstreams[1].requests[0].body == b"firstthen!"


def broken_bodies() -> dict[str, bytes]:
    return {
        "length": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        "within a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf",
        "between chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "before the last line": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
        "garbage for a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nxyz\r\n",
    }


@pytest.mark.parametrize("answer", broken_bodies().values(), ids=broken_bodies())
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_a_response_that_breaks_off_never_looks_whole(answer, version):
    gate = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        await gate.wait()  # else the gateway learns of both at once, and the client may never see the head

    async with gateway(script) as running:
        client = await running.client()
        await client.send(get().replace(b"1.1", version))
        if b"xyz" not in answer:
            assert (await client.read_head()).status == 200
        gate.set()
        got = await client.broken()
        assert not got.endswith(b"0\r\n\r\n")
        assert running.outcomes() == {Outcome.RESET: 1}


async def test_a_close_delimited_response_that_is_reset_never_looks_whole():
    gate = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await gate.wait()
        peer.reset()

    for version in (b"1.0", b"1.1"):
        gate.clear()
        async with gateway(script) as running:
            client = await running.client()
            await client.send(get().replace(b"1.1", version))
            await client.read_head()
            gate.set()
            assert not (await client.broken()).endswith(b"0\r\n\r\n")


MALFORMED = {
    "rubbish": b"rubbish\r\n\r\n",
    "TE and CL": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
    "CL and TE": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
    "two CL": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "bad CL": b"HTTP/1.1 200 OK\r\nContent-Length: 3x\r\n\r\nabc",
    "gzip, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "gzip and chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and gzip": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    "identity": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nabc",
    "folded": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "bare CR": b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
    "NUL": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
    "status below 100": b"HTTP/1.1 099 X\r\n\r\n",
    "status 000": b"HTTP/1.1 000 X\r\n\r\n",
    "long status": b"HTTP/1.1 2000 OK\r\n\r\n",
    "huge head": b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 600_000,
    "endless 1xx": b"HTTP/1.1 103 Early Hints\r\n\r\n" + b"X" * 10,
}


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED)
async def test_what_is_not_http_is_a_502_and_never_repeated(answer):
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.write(answer)
        await peer.closed()

    async with gateway(script, script) as running:
        client = await running.client()
        await client.send(get())
        response = await client.response()
        if response.status == 103:
            response = await client.response()
        assert (response.status, response.problem["code"]) == (502, "upstream-malformed")
        assert sum(len(upstream.peers) for upstream in running.upstreams) == 1
        assert (await client.ask(get(b"/", b"Connection: close"))).status in {103, 502}


async def test_never_ending_trailers_of_a_response_break_the_connection():
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
        peer.write(b"0\r\nX: " + b"a" * 600_000)
        await peer.closed()

    async with gateway(script) as running:
        client = await running.client()
        await client.send(get())
        await client.read_head()
        assert not (await client.broken()).endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    "surplus",
    [b"extra", ok(b"smuggled"), b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n", b"\0", b"HTTP/1.1 100 C\r\n\r\n"],
)
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_bytes_beyond_a_response_belong_to_nobody(surplus, method):
    async def script(peer: Peer) -> None:
        request = await peer.request()
        answer = ok(b"right")
        await peer.send((answer[:-5] if request.method == b"HEAD" else answer) + surplus)
        await peer.closed()

    async with gateway((script, Peer.serve)) as running:
        client = await running.client()
        assert (await client.ask(get(method=method), head=method == b"HEAD")).status == 200
        assert (await client.ask(get())).body == b"a"
        assert len(running.upstreams[0].peers) == 2
        assert sum(running.outcomes().values()) == 2


async def test_bytes_on_an_idle_connection_belong_to_nobody():
    gate = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ok(b"right"))
        await gate.wait()
        await peer.send(ok(b"smuggled"))
        await peer.closed()

    async with gateway((script, Peer.serve)) as running:
        client = await running.client()
        assert (await client.ask(get())).body == b"right"
        gate.set()
        endpoint = running.instances[0].transport
        await until(lambda: endpoint.open == 0)
        assert (await client.ask(get())).body == b"a"


async def test_stale_connections_are_no_fault_of_anybody():
    """All pooled connections are closed by the upstream just as they are used: nobody may notice, however many."""

    async def once(peer: Peer) -> None:
        await peer.request()
        await peer.send(ok(b"once"))
        await peer.request()  # and close without an answer: what a keep-alive time-out looks like from here

    async with gateway((*[once] * 4, Peer.serve), retry_attempts=0) as running:
        clients = [await running.client() for _ in range(4)]
        for client in clients:
            client.write(get())
        await asyncio.gather(*[client.response() for client in clients])
        assert len(running.upstreams[0].peers) == 4
        for client in clients:
            client.write(post(b"body", method=b"PUT"))
        assert [(await client.response()).body for client in clients] == [b"a"] * 4
        assert running.outcomes() == {Outcome.SUCCESS: 8, Outcome.CANCELLED: 4}
        report = running.engine.report(full=True)
        assert report is not None
        assert report.pools["default"].retries == 0


async def test_a_stale_connection_is_made_room_for_at_the_cap():
    """The repeated request wants a connection of its own, though the only one allowed there is idle."""

    async def once(peer: Peer) -> None:
        await peer.request()
        await peer.send(ok(b"once"))
        await peer.request()

    async with gateway((once, Peer.serve), (Peer.serve,), max_connections=1, queue_timeout=5.0) as running:
        client = await running.client()
        for _ in range(2):
            assert (await client.ask(get())).status == 200
        for _ in range(3):
            assert (await client.ask(get())).status == 200


async def test_a_post_is_not_risked_on_a_connection_that_was_idle_for_long():
    async with gateway(Peer.serve) as running:
        client = await running.client()
        assert (await client.ask(get())).status == 200
        for connection in running.instances[0].transport._idle:
            connection.idle_since -= 2.0
        assert (await client.ask(post(b"x"))).status == 200
        assert len(running.upstreams[0].peers) == 2
        assert (await client.ask(post(b"x"))).status == 200
        assert len(running.upstreams[0].peers) == 2


async def test_refused_connections_are_503_and_logged(caplog):
    with caplog.at_level(logging.WARNING, "seawall.gateway"):
        async with gateway(f"http://127.0.0.1:{closed_port()}", f"http://127.0.0.1:{closed_port()}") as running:
            client = await running.client()
            for data in (get(), get(b"/", method=b"POST"), post(b"x" * 200_000)):
                answer = await client.ask(data)
                assert (answer.status, answer.problem["code"]) == (503, "upstream-unreachable")
                assert answer.get(b"retry-after") == b"1"
            assert running.outcomes(0).keys() | running.outcomes(1).keys() == {Outcome.CONNECT_FAILED}
            for instance in running.instances:
                assert instance.transport.open == 0
                assert not instance.transport._waiting
    assert [record for record in caplog.records if "cannot connect" in record.getMessage()]


@pytest.mark.parametrize("url", ["http://" + "a" * 70 + ".test:80", "unix:/nonexistent/socket", "http://[::1]:1"])
async def test_an_address_that_cannot_be_is_503(url):
    async with gateway(url, connect_timeout=5.0) as running:
        assert (await running.ask(get())).problem["code"] == "upstream-unreachable"
        assert running.instances[0].transport.open == 0


async def test_a_post_goes_to_another_instance_when_the_first_refuses():
    async with gateway(f"http://127.0.0.1:{closed_port()}", Peer.serve, retry_floor=100) as running:
        for size in (1, 200_000):
            for _ in range(2):
                client = await running.client()
                assert (await client.ask(post(b"x" * size))).status == 200
                assert (await client.ask(get())).status == 200  # reading goes on after a body that had to wait


async def test_the_client_leaves_and_the_upstream_is_told():
    async with gateway(lambda peer: peer.closed()) as running:
        for leave in (Client.close, Client.reset):
            client = await running.client()
            await client.send(get())
            await until(lambda: running.instances[0].active == 1)
            leave(client)
            await until(lambda: running.instances[0].active == 0)
        assert running.outcomes() == {Outcome.CANCELLED: 2}
        await until(lambda: len(running.upstreams[0].peers) == 2)
        await until(lambda: all(peer.reader.at_eof() for peer in running.upstreams[0].peers))


async def test_a_client_that_leaves_while_its_body_waits_for_a_connection_leaves_nothing():
    async with gateway(Peer.serve) as running:
        for data in (get(), post(b"x" * 100_000), get(b"/", b"Content-Length: 9", method=b"PUT")):
            client = await running.client()
            client.write(data)
            client.close()
        await until(lambda: running.worker.runtime.connections or not running.instances[0].active)


async def test_a_client_that_leaves_after_a_large_body_is_noticed():
    """The body was buffered and reading paused: that must not last while the answer is awaited."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.closed()

    async with gateway(script) as running:
        client = await running.client()
        await client.send(post(b"x" * 200_000))
        await until(lambda: running.upstreams[0].peers)
        await asyncio.sleep(0.05)
        client.close()
        await until(lambda: running.instances[0].active == 0)
        assert running.outcomes() == {Outcome.CANCELLED: 1}


async def test_the_next_request_is_read_after_a_large_body():
    async with gateway(Peer.serve) as running:
        client = await running.client()
        for size in (70_000, 250_000, 3_000_000):
            assert (await client.ask(post(b"x" * size))).status == 200
            assert (await client.ask(get())).status == 200


async def test_an_instance_that_answers_before_it_has_read_stays_in_step():
    async def early(peer: Peer) -> None:
        head = await peer.read_head()
        await peer.send(ok(b"early"))
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await peer.read_body(head)
            await peer.serve()

    async with gateway((early, Peer.serve)) as running:
        client = await running.client()
        client.write(post(b"x" * 8_000_000))
        assert (await client.response()).body == b"early"
        assert (await running.ask(get())).body == b"a"


async def test_a_server_error_goes_through_and_is_counted():
    async with gateway(lambda peer: peer.serve(ok(b"oops", status=b"503 Busy"))) as running:
        answer = await running.ask(get())
        assert (answer.line, answer.body) == (b"HTTP/1.1 503 Service Unavailable", b"oops")
        assert running.outcomes() == {Outcome.SERVER_ERROR: 1}
        assert running.responses()[4] == 1


async def test_an_unlisted_status_goes_through():
    async with gateway(lambda peer: peer.serve(ok(b"x", status=b"599 Odd"))) as running:
        assert (await running.ask(get())).line == b"HTTP/1.1 599 "


async def test_no_instance_at_all():
    async with gateway() as running:
        client = await running.client()
        for _ in range(3):
            answer = await client.ask(get())
            assert (answer.status, answer.problem["code"]) == (503, "no-instance")
            assert answer.get(b"retry-after") == b"1"
        report = running.engine.report(full=True)
        assert report is not None
        assert (report.pools["default"].no_instance, report.pools["default"].responses[4]) == (3, 3)


async def test_an_instance_may_leave_and_come_while_requests_are_under_way():
    gate = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await gate.wait()
        await peer.send(ok(b"late"))
        await peer.closed()

    async with gateway(script) as running:
        client = await running.client()
        await client.send(get())
        await until(lambda: running.upstreams[0].peers)
        other = await Upstream("z", (Peer.serve,)).start()
        running.upstreams.append(other)
        running.apply([other.url])
        assert (await running.ask(get())).body == b"z"
        gate.set()
        assert (await client.response()).body == b"late"
        assert (await client.ask(get())).body == b"z"
