"""What is refused, how, and that a refusal neither reaches an upstream nor leaves the connection out of step."""

import asyncio

import pytest

from gateway_harness import Client, Gateway, Peer, chunked, gateway, get, ok, post, until

pytestmark = pytest.mark.anyio

HOST = b"Host: example.test\r\n"
CHUNKED = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"


async def refused(running: Gateway, data: bytes) -> tuple[int, str]:
    """Send bytes followed by a request that must never be seen; return the one answer's status and code."""
    client = await running.client()
    client.write(data + get(b"/smuggled"))
    answer = await client.response()
    assert answer.get(b"connection") == b"close"
    assert answer.get(b"cache-control") == b"no-store"
    code = answer.problem["code"]
    assert await client.rest() == b""
    return answer.status, code


HEADS = {
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400, "bad-request"),
    "two Hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "bad-request"),
    "Host with user": (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, "bad-request"),
    "Host with path": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "bad-request"),
    "Host with quote": (b'GET / HTTP/1.1\r\nHost: a";proto=https\r\n\r\n', 400, "bad-request"),
    "Host list": (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "bad-request"),
    "Host port": (b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400, "bad-request"),
    "TE and CL": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
        400,
        "",
    ),
    "CL and TE": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        400,
        "",
    ),
    "two CL": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400, ""),
    "equal CL": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400, ""),
    "CL list": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3, 3\r\n\r\nabc", 400, ""),
    "CL sign": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +3\r\n\r\nabc", 400, ""),
    "CL minus": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -3\r\n\r\nabc", 400, ""),
    "CL hex": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0x3\r\n\r\nabc", 400, ""),
    "CL underscore": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1_0\r\n\r\nabc", 400, ""),
    "CL too long": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999\r\n\r\n", 400, ""),
    "CL empty": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length:\r\n\r\n", 400, ""),
    "TE gzip": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, ""),
    "TE twice": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
        501,
        "",
    ),
    "TE chunked twice": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
        "",
    ),
    "TE identity": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: identity\r\n\r\n", 501, ""),
    "TE quoted": (b"POST / HTTP/1.1\r\n" + HOST + b'Transfer-Encoding: "chunked"\r\n\r\n', 501, ""),
    "TE prefix": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n", 501, ""),
    "TE in 1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad-request"),
    "folded": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n", 400, "bad-request"),
    "folded first": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "bad-request"),
    "bare LF": (b"GET / HTTP/1.1\nHost: a\n\n", 400, "bad-request"),
    "bare LF in fields": (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400, "bad-request"),
    "bare LF at the end": (b"GET / HTTP/1.1\r\n" + HOST + b"\n", 400, "bad-request"),
    "bare CR": (b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400, "bad-request"),
    "NUL in value": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n", 400, "bad-request"),
    "NUL in name": (b"GET / HTTP/1.1\r\n" + HOST + b"X\0: ab\r\n\r\n", 400, "bad-request"),
    "space before colon": (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "bad-request"),
    "no name": (b"GET / HTTP/1.1\r\n" + HOST + b": a\r\n\r\n", 400, "bad-request"),
    "no colon": (b"GET / HTTP/1.1\r\n" + HOST + b"rubbish\r\n\r\n", 400, "bad-request"),
    "control in target": (b"GET /\x01 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad-request"),
    "tab in target": (b"GET /a\tb HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad-request"),
    "byte in target": (b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad-request"),
    "space in target": (b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad-request"),
    "fragment": (b"GET /#x HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad-request"),
    "asterisk": (b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad-request"),
    "other scheme": (b"GET ftp://a/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad-request"),
    "no authority": (b"GET http:///x HTTP/1.1\r\n" + HOST + b"\r\n", 400, ""),
    "user in target": (b"GET http://u:p@a/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, ""),
    "relative": (b"GET x HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad-request"),
    "HTTP/0.9": (b"GET /\r\n\r\n", 505, "http-version-not-supported"),
    "HTTP/0.9 spelt": (b"GET / HTTP/0.9\r\n\r\n", 505, "http-version-not-supported"),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505, "http-version-not-supported"),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "http-version-not-supported"),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", 400, "bad-request"),
    "version in lower case": (b"GET / http/1.1\r\n" + HOST + b"\r\n", 400, "bad-request"),
    "unknown method": (b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n", 501, "method-not-implemented"),
    "method in lower case": (b"get / HTTP/1.1\r\n" + HOST + b"\r\n", 501, "method-not-implemented"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 501, "method-not-implemented"),
    "CONNECT": (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501, "method-not-implemented"),
    "RTSP": (b"DESCRIBE / RTSP/1.0\r\n\r\n", 501, "method-not-implemented"),
    "Icecast": (b"SOURCE / ICE/1.0\r\n\r\n", 501, "method-not-implemented"),
    "Connection names Host": (get(b"/", b"Connection: close, Host"), 400, "bad-request"),
    "Connection names CL": (post(b"abc", b"Connection: content-length"), 400, "bad-request"),
    "Connection names TE": (
        get(b"/", b"Connection: Transfer-Encoding", b"Transfer-Encoding: chunked") + chunked(b"abc"),
        400,
        "bad-request",
    ),
}


@pytest.mark.parametrize(("data", "status", "code"), HEADS.values(), ids=HEADS)
async def test_a_bad_head_is_refused_and_nothing_of_it_goes_on(data, status, code):
    async with gateway(Peer.serve) as running:
        expected = {400: "bad-request", 501: "transfer-coding-unknown"}.get(status, "")
        assert await refused(running, data) == (status, code or expected)
        assert running.upstreams[0].peers == []


LIMITS = {
    "one long field": (get(b"/", b"X: " + b"a" * 3000), 431, "head-too-large"),
    "many bytes": (get(b"/", *[b"X-%d: %b" % (number, b"a" * 120) for number in range(18)]), 431, "head-too-large"),
    "never ending": (get(b"/")[:-2] + b"X: " + b"a" * 400_000, 431, "head-too-large"),
    "many fields": (get(b"/", *[b"X: a"] * 30), 431, "too-many-fields"),
    "long target": (get(b"/" + b"a" * 300), 414, "target-too-long"),
    "never ending target": (b"GET /" + b"a" * 400_000, 431, "head-too-large"),
    "empty lines": (b"\r\n" * 200_000, 431, "head-too-large"),
}


@pytest.mark.parametrize(("data", "status", "code"), LIMITS.values(), ids=LIMITS)
async def test_a_head_beyond_the_limits_is_refused(data, status, code):
    settings = {"max_header_bytes": 2048, "max_headers": 20, "max_target_bytes": 256}
    async with gateway(Peer.serve, settings=settings) as running:
        client = await running.client()
        client.write(data)
        answer = await client.response()
        assert (answer.status, answer.problem["code"]) == (status, code)
        assert answer.get(b"connection") == b"close"
        assert await client.rest() == b""
        assert running.upstreams[0].peers == []
        assert (await running.ask(get(b"/" + b"a" * 255))).status == 200
        assert (await running.ask(get(b"/", *[b"X: a"] * 19))).status == 200
        assert (await running.ask(get(b"/", b"X: " + b"a" * 1900))).status == 200


BODIES = {
    "chunk size": (CHUNKED + b"3\r\nabc\r\nxyz\r\n", 400),
    "chunk size with prefix": (CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n", 400),
    "chunk size with sign": (CHUNKED + b"-1\r\nabc\r\n0\r\n\r\n", 400),
    "chunk size with space": (CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n", 400),
    "huge chunk size": (CHUNKED + b"fffffffffffffffff\r\nabc", 400),
    "chunk longer than said": (CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", 400),
    "bare LF after size": (CHUNKED + b"3\nabc\r\n0\r\n\r\n", 400),
    "bare LF in extension": (CHUNKED + b"3;a\nb\r\nabc\r\n0\r\n\r\n", 400),
    "length in trailers": (CHUNKED + b"0\r\nContent-Length: 3\r\n\r\n", 400),
    "never ending extension": (CHUNKED + b"3;" + b"a" * 400_000, 431),
    "never ending trailers": (CHUNKED + b"3\r\nabc\r\n0\r\nX: " + b"a" * 400_000, 431),
}


@pytest.mark.parametrize(("data", "status"), BODIES.values(), ids=BODIES)
async def test_a_bad_body_is_refused_and_the_upstream_sees_no_end(data, status):
    ends = []

    async def script(peer: Peer) -> None:
        try:
            ends.append(await peer.request())
        except (asyncio.IncompleteReadError, ConnectionError):
            return

    async with gateway(script) as running:
        client = await running.client()
        client.write(data + get(b"/smuggled"))
        answer = await client.response()
        assert answer.status == status
        assert answer.problem["code"] == ("bad-request" if status == 400 else "head-too-large")
        assert await client.rest() == b""
        await until(lambda: all(peer.reader.at_eof() for peer in running.upstreams[0].peers))
        assert ends == []


async def test_garbage_in_a_body_whose_answer_has_begun_breaks_the_connection():
    async def script(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await peer.closed()

    async with gateway(script) as running:
        client = await running.client()
        await client.send(CHUNKED)
        await client.read_head()
        await client.read_chunk()
        client.write(b"rubbish\r\n")
        assert b"0\r\n" not in await client.broken()


@pytest.mark.parametrize("body", [b"3\r\nabc\r\n0\r\nX: y\r\n", b"3" + b";e=f" * 100 + b"\r\nabc\r\n0\r\n"])
async def test_extensions_and_trailers_within_the_limit_pass_byte_by_byte(body):
    async with gateway(Peer.serve) as running:
        client = await running.client()
        for byte in CHUNKED + body + b"\r\n":
            client.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.response()).status == 200
        assert (await client.ask(get())).status == 200


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_body_beyond_the_limit_is_refused(framing):
    async def script(peer: Peer) -> None:
        try:
            await peer.request()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        raise AssertionError("the refused body looks whole")

    async with gateway(script, settings={"max_body_bytes": 1000}) as running:
        client: Client = await running.client()
        head = get(
            b"/", b"Content-Length: 1001" if framing == "length" else b"Transfer-Encoding: chunked", method=b"PUT"
        )
        client.write(head + (b"a" * 1001 if framing == "length" else chunked(b"a" * 600, b"b" * 401)))
        answer = await client.response()
        assert (answer.status, answer.problem["code"]) == (413, "body-too-large")
        assert answer.get(b"connection") == b"close"
        assert await client.rest() == b""


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_body_at_the_limit_passes(framing):
    async with gateway(Peer.serve, settings={"max_body_bytes": 1000}) as running:
        whole = post(b"a" * 1000) if framing == "length" else CHUNKED + chunked(b"a" * 600, b"b" * 400)
        assert (await running.ask(whole)).status == 200


async def test_a_refused_large_body_does_not_destroy_its_answer():
    """The client is still sending when it is refused: the answer must survive, which a plain close would reset."""
    async with gateway(Peer.serve, settings={"max_body_bytes": 1000}) as running:
        client = await running.client()
        client.write(get(b"/", b"Content-Length: 8000000", method=b"POST"))
        for _ in range(200):
            client.write(b"x" * 40_000)
        answer = await client.response()
        assert answer.status == 413
        assert await client.rest() == b""


async def test_too_many_connections_are_told_so():
    async with gateway(Peer.serve, settings={"max_connections": 2}) as running:
        kept = [await running.client() for _ in range(2)]
        for client in kept:
            assert (await client.ask(get())).status == 200
        third = await running.client()
        answer = await third.response()
        assert (answer.status, answer.problem["code"], answer.get(b"retry-after")) == (
            503,
            "too-many-connections",
            b"1",
        )
        assert await third.rest() == b""
        third.close()
        kept.pop().close()
        await until(lambda: len(running.worker.runtime.connections) == 1)
        assert (await running.ask(get())).status == 200


async def test_an_absolute_target_gives_the_authority_and_goes_on_in_origin_form():
    async with gateway(Peer.serve) as running:
        client = await running.client()
        for line in (
            b"GET http://Real.test:8000/p?q HTTP/1.1",
            b"GET HTTP://real.test?q HTTP/1.1",
            b"GET http://real.test HTTP/1.1",
            b"OPTIONS http://real.test HTTP/1.1",
            b"OPTIONS * HTTP/1.1",
        ):
            assert (await client.ask(line + b"\r\nHost: other.test\r\n\r\n")).status == 200
        seen = [(request.line.split(b" ")[1], request.get(b"host")) for request in running.upstreams[0].requests]
        assert seen == [
            (b"/p?q", b"real.test:8000"),
            (b"/?q", b"real.test"),
            (b"/", b"real.test"),
            (b"*", b"real.test"),
            (b"*", b"other.test"),
        ]


async def test_a_refusal_of_head_has_no_body():
    async with gateway(preserve_host=True) as running:
        client = await running.client()
        answer = await client.ask(get(method=b"HEAD"), head=True)
        assert answer.status == 503
        assert int(answer.get(b"content-length") or b"0") > 0
        assert (await client.ask(get())).problem["code"] == "no-instance"


async def test_a_complete_answer_survives_a_client_that_goes_on_sending():
    async def script(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(ok(b"y" * 300_000, status=b"403 Forbidden"))
        await peer.closed()

    async with gateway(script) as running:
        client = await running.client()
        client.write(get(b"/", b"Content-Length: 8000000", method=b"POST") + b"x" * 4_000_000)
        answer = await client.response()
        assert (answer.status, len(answer.body)) == (403, 300_000)
        assert await client.rest() == b""
