"""A request's way there and back: framing in both directions, order, interim responses."""

import asyncio

import pytest

from gateway_harness import Peer, Upstream, chunked, gateway, get, ok, post, until
from seawall.systems.balancing.model import RouteSnapshot

pytestmark = pytest.mark.anyio


async def echo(peer: Peer) -> None:
    """Answer with the method, target and body."""
    while not peer.reader.at_eof():
        try:
            request = await peer.request()
        except asyncio.IncompleteReadError:
            return
        peer.upstream.requests.append(request)
        await peer.send(ok(request.line.rsplit(b" ", 1)[0] + b" " + request.body))


async def test_requests_on_one_connection_are_answered_one_after_the_other():
    async with gateway(Peer.serve) as running:
        client = await running.client()
        for number in range(3):
            answer = await client.ask(get(b"/%d?q=1" % number))
            assert (answer.line, answer.body) == (b"HTTP/1.1 200 OK", b"a")
            assert answer.get(b"connection") is None
        assert [request.target for request in running.upstreams[0].requests] == [b"/0?q=1", b"/1?q=1", b"/2?q=1"]
        assert len(running.upstreams[0].peers) == 1


async def test_the_client_may_end_its_connection():
    async with gateway(Peer.serve) as running:
        client = await running.client()
        answer = await client.ask(get(b"/", b"Connection: close"))
        assert answer.get(b"connection") == b"close"
        assert await client.rest() == b""


async def test_a_connection_ends_after_its_share_of_requests():
    async with gateway(Peer.serve, settings={"max_requests_per_connection": 2}) as running:
        client = await running.client()
        first = await client.ask(get())
        second = await client.ask(get())
        assert (first.get(b"connection"), second.get(b"connection")) == (None, b"close")
        assert await client.rest() == b""


@pytest.mark.parametrize("size", [0, 1, 100_000])
@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH", b"DELETE", b"GET"])
async def test_a_body_with_a_length_keeps_its_framing(method, size):
    async with gateway(echo) as running:
        body = bytes(range(256)) * (size // 256 + 1)
        answer = await running.ask(post(body[:size], method=method))
        assert answer.body == method + b" / " + body[:size]
        seen = running.upstreams[0].requests[0]
        assert not seen.chunked
        if size or method in {b"POST", b"PUT", b"PATCH"}:
            assert seen.get(b"content-length") == b"%d" % size


async def test_a_chunked_body_stays_chunked_in_both_directions():
    async def script(peer: Peer) -> None:
        request = await peer.request()
        assert request.chunked
        assert request.body == b"hello world"
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"ab", b"c" * 5000))
        await peer.closed()

    async with gateway(script) as running:
        request = get(b"/", b"Transfer-Encoding: chunked", method=b"POST") + chunked(b"hello", b" ", b"world")
        answer = await running.ask(request)
        assert answer.chunked
        assert answer.body == b"ab" + b"c" * 5000


async def test_chunk_extensions_and_trailers_end_here_in_both_directions():
    async def script(peer: Peer) -> None:
        request = await peer.request()  # this reader would choke on an extension or a trailer
        assert request.body == b"hello"
        assert request.all(b"x-check") == []
        body = b"3;ext=1\r\nabc\r\n0;last\r\nX-Check: 1\r\n\r\n"
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Check\r\n\r\n" + body)
        request = await peer.request()
        await peer.send(ok(request.target))
        await peer.closed()

    async with gateway(script) as running:
        client = await running.client()
        head = get(b"/", b"Transfer-Encoding: chunked", b"Trailer: X-Check", method=b"POST")
        answer = await client.ask(head + b"5;a=b;c\r\nhello\r\n0\r\nX-Check: 1\r\n\r\n")
        assert answer.body == b"abc"
        assert answer.get(b"trailer") is None
        assert (await client.ask(get(b"/next"))).body == b"/next"
        assert len(running.upstreams[0].peers) == 1


async def test_the_response_streams_as_it_comes():
    gate = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await gate.wait()
        await peer.send(b"6\r\nsecond\r\n0\r\n\r\n")
        await peer.closed()

    async with gateway(script) as running:
        client = await running.client()
        await client.send(get())
        await client.read_head()
        assert await client.read_chunk() == b"first"
        gate.set()
        assert await client.read_chunk() == b"second"
        assert await client.read_chunk() == b""


async def test_the_request_streams_as_it_comes_and_the_response_may_begin_before_its_end():
    async def script(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while chunk := await peer.read_chunk():
            await peer.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        await peer.send(b"0\r\n\r\n")
        await peer.serve()

    async with gateway(script) as running:
        client = await running.client()
        await client.send(get(b"/", b"Transfer-Encoding: chunked", method=b"POST"))
        await client.read_head()
        for word in (b"one", b"two"):
            await client.send(b"%x\r\n%b\r\n" % (len(word), word))
            assert await client.read_chunk() == word
        await client.send(b"0\r\n\r\n")
        assert await client.read_chunk() == b""
        assert (await client.ask(get())).status == 200


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"Content-Length: 5\r\n\r\n", (b"5", None)),
        (b"Content-Length: 0\r\n\r\n", (None, None)),
        (b"Transfer-Encoding: chunked\r\n\r\n", (None, b"chunked")),
        (b"\r\n", (None, None)),
    ],
)
async def test_an_answer_to_head_has_no_body_whatever_it_announces(answer, expected):
    async def script(peer: Peer) -> None:
        while (await peer.read_head()).method == b"HEAD":
            await peer.send(b"HTTP/1.1 200 OK\r\n" + answer)
            if answer == b"\r\n":
                return
        await peer.send(ok(b"body"))
        await peer.closed()

    async def last(peer: Peer) -> None:
        await peer.request()
        await peer.send(ok(b"body"))
        await peer.closed()

    async with gateway((script, last)) as running:
        client = await running.client()
        for _ in range(2):
            head = await client.ask(get(method=b"HEAD"), head=True)
            assert (head.get(b"content-length"), head.get(b"transfer-encoding")) == expected
            if answer == b"\r\n":
                break
        assert (await client.ask(get())).body == b"body"


@pytest.mark.parametrize(
    ("head", "length", "coding"),
    [
        (b"204 No Content\r\n\r\n", None, None),
        (b"204 No Content\r\nContent-Length: 0\r\n\r\n", None, None),
        (b"204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", None, None),
        (b"304 Not Modified\r\nETag: x\r\n\r\n", None, None),
        (b"304 Not Modified\r\nContent-Length: 9\r\n\r\n", b"9", None),
        (b"304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", None, b"chunked"),
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_a_bodiless_status_has_no_body_and_the_connection_stays_in_step(head, length, coding, method):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 " + head)
        await peer.serve()

    async with gateway(script) as running:
        client = await running.client()
        answer = await client.ask(get(method=method), head=True)
        assert answer.status == int(head[:3])
        assert (answer.get(b"content-length"), answer.get(b"transfer-encoding")) == (length, coding)
        assert (await client.ask(get())).body == b"a"


async def test_a_204_to_head_says_nothing_about_a_coding():
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.closed()

    async with gateway(script) as running:
        answer = await running.ask(get(method=b"HEAD"), head=True)
        assert answer.get(b"transfer-encoding") is None  # RFC 9112 section 6.1


async def early_hints(peer: Peer) -> None:
    await peer.request()
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n"
    await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" + hint + hint + ok(b"done"))
    await peer.serve()


async def test_interim_responses_pass_but_a_100_that_nobody_waits_for():
    async with gateway(early_hints) as running:
        client = await running.client()
        await client.send(get())
        for _ in range(2):
            hint = await client.read_head()
            assert hint.line == b"HTTP/1.1 103 Early Hints"
            assert hint.fields == [(b"Link", b"</a>; rel=preload")]
        assert (await client.response()).body == b"done"
        assert (await client.ask(get())).body == b"a"


async def test_no_interim_response_reaches_an_http_1_0_client():
    async with gateway(early_hints) as running:
        answer = await running.ask(b"GET / HTTP/1.0\r\n\r\n")
        assert (answer.status, answer.body) == (200, b"done")


async def test_expect_100_continue_is_asked_of_the_upstream():
    async def script(peer: Peer) -> None:
        head = await peer.read_head()
        assert head.get(b"expect") == b"100-continue"
        await peer.silent()
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert (await peer.read_body(head)).body == b"hello"
        await peer.send(ok(b"thanks"))
        await peer.serve()

    async with gateway(script) as running:
        client = await running.client()
        await client.send(get(b"/", b"Expect: 100-continue", b"Content-Length: 5", method=b"POST"))
        assert (await client.read_head()).line == b"HTTP/1.1 100 Continue"
        assert (await client.ask(b"hello")).body == b"thanks"
        assert (await client.ask(get())).body == b"a"


async def test_an_early_final_answer_in_place_of_100_ends_the_connection():
    async def script(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(ok(b"no", status=b"401 Unauthorized"))
        await peer.closed()

    async with gateway(script) as running:
        client = await running.client()
        answer = await client.ask(get(b"/", b"Expect: 100-continue", b"Content-Length: 5", method=b"POST"))
        assert (answer.status, answer.body) == (401, b"no")
        assert answer.get(b"connection") == b"close"
        # What follows could be the body or a request: it must be taken for neither.
        client.write(get(b"/smuggled"))
        assert await client.rest() == b""
        await running.upstreams[0].peers[0].closed()
        assert len(running.upstreams[0].peers) == 1


async def test_an_unknown_expectation_is_refused():
    async with gateway(Peer.serve) as running:
        answer = await running.ask(get(b"/", b"Expect: tea"))
        assert (answer.status, answer.problem["code"]) == (417, "expectation-failed")


async def test_pipelined_requests_are_answered_in_order_though_the_first_is_slow():
    gate = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            try:
                request = await peer.request()
            except asyncio.IncompleteReadError:
                return
            if request.target == b"/slow":
                await gate.wait()
            await peer.send(ok(request.target + request.body))

    async with gateway(script) as running:
        client = await running.client()
        batch = [get(b"/slow"), get(b"/1"), post(b"xyz", target=b"/2"), get(b"/3", method=b"HEAD"), get(b"/4")]
        await client.send(b"".join(batch))
        await client.silent()
        gate.set()
        assert (await client.response()).body == b"/slow"
        assert (await client.response()).body == b"/1"
        assert (await client.response()).body == b"/2xyz"
        assert (await client.response(head=True)).get(b"content-length") == b"2"
        assert (await client.response()).body == b"/4"


async def test_refusals_between_pipelined_requests_keep_their_place():
    gate = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await gate.wait()
        await peer.send(ok(b"first"))
        await peer.serve(ok(b"second"))

    async with gateway(script, settings={"max_body_bytes": 4}, retry_attempts=0) as running:
        client = await running.client()
        await client.send(get(b"/1") + get(b"/2") + get(b"/\\", b"Expect: x") + get(b"/3"))
        await client.silent()
        gate.set()
        assert [(await client.response()).body for _ in range(2)] == [b"first", b"second"]
        answer = await client.response()
        assert (answer.status, answer.get(b"connection")) == (417, b"close")
        assert await client.rest() == b""


async def test_a_pipelined_body_that_is_too_large_is_refused_in_its_turn():
    gate = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await gate.wait()
        await peer.send(ok(b"first"))
        await peer.closed()

    async with gateway(script, settings={"max_body_bytes": 4}) as running:
        client = await running.client()
        large = get(b"/2", b"Transfer-Encoding: chunked", method=b"POST") + chunked(b"toolarge")
        await client.send(get(b"/1") + large + get(b"/3"))
        await client.silent()
        gate.set()
        assert (await client.response()).body == b"first"
        answer = await client.response()
        assert (answer.status, answer.problem["code"], answer.get(b"connection")) == (413, "body-too-large", b"close")
        assert await client.rest() == b""


async def test_more_pipelined_requests_than_are_taken_end_the_connection_in_order():
    gate = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await gate.wait()
        await peer.send(ok(b"/0"))
        await echo_target(peer)

    async def echo_target(peer: Peer) -> None:
        while True:
            try:
                await peer.send(ok((await peer.request()).target))
            except (asyncio.IncompleteReadError, ConnectionError):
                return

    async with gateway(script) as running:
        client = await running.client()
        await client.send(b"".join(get(b"/%d" % number) for number in range(400)))
        gate.set()
        answers = []
        while not answers or answers[-1].get(b"connection") is None:
            answers.append(await client.response())
        assert [answer.body for answer in answers] == [b"/%d" % number for number in range(len(answers))]
        assert 256 <= len(answers) < 300
        assert await client.rest() == b""


async def test_any_number_of_pipelined_refusals_in_one_read():
    routes = (RouteSnapshot(name="none", pool="default", path_prefix="/none"),)
    async with gateway(Peer.serve, routes=routes) as running:
        client = await running.client()
        await client.send(get(b"/", b"Upgrade: x", b"Connection: upgrade") * 3000)
        answers = [await client.response()]
        while len(answers) < 3000 and answers[-1].get(b"connection") is None:
            answers.append(await client.response())
        assert {answer.status for answer in answers} == {404}
        assert len(answers) >= 256


async def test_an_upgrade_is_ignored_and_the_connection_stays_in_step():
    async with gateway(echo) as running:
        client = await running.client()
        wish = (b"Upgrade: websocket", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIA")
        smuggled = get(b"/smuggled")
        coded = get(b"/4", *wish, b"Transfer-Encoding: chunked", method=b"PUT") + chunked(b"in", b"parts")
        await client.send(get(b"/1", *wish) + post(smuggled, *wish, target=b"/2") + get(b"/3") + coded + get(b"/5"))
        for expected in (b"GET /1 ", b"POST /2 " + smuggled, b"GET /3 ", b"PUT /4 inparts", b"GET /5 "):
            assert (await client.response()).body == expected
        for request in running.upstreams[0].requests:
            assert not [name for name, _ in request.fields if name in {b"upgrade", b"connection", b"http2-settings"}]


async def test_a_protocol_switch_that_nobody_asked_for_is_a_bad_response():
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nrubbish")
        await peer.closed()

    async with gateway(script) as running:
        answer = await running.ask(get())
        assert (answer.status, answer.problem["code"]) == (502, "upstream-malformed")


async def test_http_1_0_clients_get_what_they_can_read():
    async def script(peer: Peer) -> None:
        while True:
            try:
                request = await peer.request()
            except asyncio.IncompleteReadError:
                return
            assert request.line.endswith(b"HTTP/1.1")
            if request.target == b"/chunked":
                await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"abc", b"def"))
            else:
                await peer.send(ok(b"whole"))

    async with gateway(script) as running:
        client = await running.client()
        kept = await client.ask(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        assert (kept.body, kept.get(b"connection")) == (b"whole", b"keep-alive")
        last = await client.ask(b"GET /chunked HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        assert (last.body, last.until_close, last.get(b"transfer-encoding")) == (b"abcdef", True, None)
        client = await running.client()
        once = await client.ask(b"GET / HTTP/1.0\r\n\r\n")
        assert (once.body, once.get(b"connection")) == (b"whole", b"close")
        assert await client.rest() == b""


async def test_a_response_that_ends_with_its_connection():
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nall that ")
        await peer.send(b"there is")

    async with gateway(script) as running:
        client = await running.client()
        answer = await client.ask(get())
        assert answer.chunked
        assert answer.body == b"all that there is"
        assert (await client.ask(get())).body == b"all that there is"
        old = await running.ask(b"GET / HTTP/1.0\r\n\r\n")
        assert (old.body, old.until_close) == (b"all that there is", True)
        assert running.instances[0].transport.open <= 1


@pytest.mark.parametrize("split", [1, 2, 3, 7])
async def test_bytes_may_come_in_any_portions(split):
    async with gateway(echo) as running:
        client = await running.client()
        data = (
            get(b"/1") + post(b"hello", target=b"/2") + get(b"/3", b"Transfer-Encoding: chunked") + chunked(b"ab", b"c")
        )
        for start in range(0, len(data), split):
            await client.send(data[start : start + split])
            await asyncio.sleep(0)
        assert [(await client.response()).body for _ in range(3)] == [b"GET /1 ", b"POST /2 hello", b"GET /3 abc"]


async def test_a_unix_socket_on_both_sides(tmp_path):
    upstream = await Upstream("a", (Peer.serve,)).start(path=str(tmp_path / "upstream.sock"))
    async with gateway(upstream, path=str(tmp_path / "gateway.sock"), preserve_host=False) as running:
        client = await running.client()
        for _ in range(2):
            assert (await client.ask(get())).body == b"a"
        assert upstream.requests[0].get(b"host") == b"localhost"
        assert upstream.requests[0].get(b"x-forwarded-for") == b"unknown"
        assert len(upstream.peers) == 1


async def test_without_a_route_the_answer_is_404_and_the_connection_goes_on():
    routes = (RouteSnapshot(name="api", pool="default", path_prefix="/api", host="example.test"),)
    async with gateway(Peer.serve, routes=routes) as running:
        client = await running.client()
        for target, host in ((b"/", b"example.test"), (b"/apis", b"example.test"), (b"/api/../x", b"example.test")):
            answer = await client.ask(get(target, host=host))
            assert (answer.status, answer.problem["code"]) == (404, "no-route")
        assert (await client.ask(get(b"/api/x", host=b"EXAMPLE.test:80"))).status == 200
        assert (await client.ask(get(b"/x/%2e%2E/api", host=b"example.test."))).status == 200
        head = await client.ask(get(b"/", method=b"HEAD"), head=True)
        assert head.status == 404
        assert (await client.ask(get(b"/api"))).status == 200
        assert running.upstreams[0].requests[1].target == b"/x/%2e%2E/api"
        await until(lambda: running.responses()[1] == 3)
