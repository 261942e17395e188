"""What an upstream learns of a request, what a client learns of a response, and whose word is taken."""

import pytest

from gateway_harness import Message, Peer, gateway, get, ok, until
from seawall.systems.balancing.model import AffinitySnapshot

pytestmark = pytest.mark.anyio

LOCAL = {"trusted_proxies": ("127.0.0.1", "10.0.0.0/8")}


async def seen(data: bytes, *, settings: dict | None = None, **pool) -> Message:
    """Return the request as the upstream saw it."""
    async with gateway(Peer.serve, settings=settings, **pool) as running:
        assert (await running.ask(data)).status == 200
        return running.upstreams[0].requests[0]


async def test_hop_by_hop_fields_stay_here():
    request = await seen(
        get(
            b"/",
            b"Connection: X-One, close",
            b"Connection:  x-two , Keep-Alive",
            b"X-One: 1",
            b"X-Two: 2",
            b"X-Three: 3",
            b"Keep-Alive: timeout=5",
            b"Proxy-Connection: keep-alive",
            b"Proxy-Authorization: Basic eDp5",
            b"Proxy-Authenticate: Basic",
            b"TE: trailers",
            b"Trailer: X-One",
            b"Cookie: a=b",
            b"Accept: x",
            b"accept: y",
        )
    )
    names = [name for name, _ in request.fields]
    assert names == [
        b"host",
        b"x-three",
        b"cookie",
        b"accept",
        b"accept",
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-real-ip",
        b"via",
        b"x-request-id",
    ]
    assert request.all(b"accept") == [b"x", b"y"]


async def test_naming_our_fields_in_connection_takes_nothing_from_the_upstream():
    """`Connection: X-Forwarded-For` must not be a way to hide."""
    request = await seen(get(b"/", b"Connection: X-Forwarded-For, Forwarded, Via, X-Request-Id, X-Real-IP"))
    assert request.get(b"x-forwarded-for") == b"127.0.0.1"
    assert request.get(b"x-real-ip") == b"127.0.0.1"
    assert request.get(b"forwarded") == b'for=127.0.0.1;host="example.test";proto=http'
    assert request.get(b"via") == b"1.1 seawall"
    assert request.get(b"x-request-id")


async def test_response_fields_of_this_hop_stay_here():
    async def script(peer: Peer) -> None:
        await peer.request()
        fields = [
            b"Connection: X-Hop",
            b"X-Hop: 1",
            b"Keep-Alive: timeout=5",
            b"Proxy-Authenticate: Basic",
            b"Upgrade: h2c",
            b"Trailer: X",
            b"Server: up",
            b"Set-Cookie: a=1",
            b"Set-Cookie: b=2",
            b"Via: 1.1 other",
            b"X-Request-Id: theirs",
        ]
        await peer.send(ok(b"x", *fields))
        await peer.closed()

    async with gateway(script) as running:
        answer = await running.ask(get())
        assert [name.lower() for name, _ in answer.fields] == [
            b"server",
            b"set-cookie",
            b"set-cookie",
            b"via",
            b"content-length",
            b"via",
            b"x-request-id",
        ]
        assert answer.all(b"via") == [b"1.1 other", b"1.1 seawall"]
        assert answer.get(b"x-request-id") != b"theirs"


async def test_a_response_cannot_take_its_own_framing_away():
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ok(b"body", b"Connection: content-length, via, x-request-id"))
        await peer.serve()

    async with gateway(script) as running:
        client = await running.client()
        answer = await client.ask(get())
        assert (answer.get(b"content-length"), answer.get(b"via")) == (b"4", b"1.1 seawall")
        assert (await client.ask(get())).status == 200


SPOOFED = (
    b"Forwarded: for=6.6.6.6;proto=https;host=evil",
    b"X-Forwarded-For: 6.6.6.6",
    b"X-Forwarded-Host: evil",
    b"X-Forwarded-Proto: https",
    b"X-Forwarded-Port: 443",
    b"X-Real-IP: 6.6.6.6",
    b"X-Request-Id: chosen",
    b"Via: 1.0 before",
)


@pytest.mark.parametrize("settings", [{}, {"trusted_proxies": ("10.0.0.0/8",)}])
async def test_forwarding_fields_of_strangers_are_replaced(settings):
    request = await seen(get(b"/", *SPOOFED), settings=settings)
    assert request.get(b"forwarded") == b'for=127.0.0.1;host="example.test";proto=http'
    assert request.get(b"x-forwarded-for") == b"127.0.0.1"
    assert request.get(b"x-forwarded-host") == b"example.test"
    assert request.get(b"x-forwarded-proto") == b"http"
    assert request.get(b"x-forwarded-port") is None
    assert request.get(b"x-real-ip") == b"127.0.0.1"
    assert request.get(b"x-request-id") != b"chosen"
    assert request.all(b"via") == [b"1.0 before", b"1.1 seawall"]


async def test_forwarding_fields_of_trusted_proxies_are_extended():
    request = await seen(
        get(
            b"/",
            b"X-Forwarded-For: 6.6.6.6, 203.0.113.9",
            b"X-Forwarded-For: 10.0.0.7",
            b"X-Forwarded-Host: public.test",
            b"X-Forwarded-Proto: https",
            b"X-Request-Id: chosen",
        ),
        settings=LOCAL,
    )
    assert request.get(b"x-forwarded-for") == b"6.6.6.6, 203.0.113.9, 10.0.0.7, 127.0.0.1"
    assert request.get(b"forwarded") == (
        b'for=6.6.6.6, for=203.0.113.9, for=10.0.0.7, for=127.0.0.1;host="example.test";proto=http'
    )
    assert request.get(b"x-forwarded-host") == b"public.test"
    assert request.get(b"x-forwarded-proto") == b"https"
    assert request.get(b"x-real-ip") == b"203.0.113.9"  # from right to left, the first that is not trusted
    assert request.get(b"x-request-id") != b"chosen"


async def test_forwarded_of_a_trusted_proxy_is_extended():
    settings = {**LOCAL, "client_address_from": "forwarded"}
    fields = (b'Forwarded: for="[2001:db8::1]:4711";proto=https', b"X-Forwarded-For: 6.6.6.6")
    request = await seen(get(b"/", *fields), settings=settings)
    assert request.get(b"forwarded") == (
        b'for="[2001:db8::1]:4711";proto=https, for=127.0.0.1;host="example.test";proto=http'
    )
    assert request.get(b"x-forwarded-for") == b"2001:db8::1, 127.0.0.1"
    assert request.get(b"x-real-ip") == b"2001:db8::1"


@pytest.mark.parametrize(
    ("forwarded", "proto", "host"),
    [
        (
            b'for=203.0.113.9;proto=HTTPS;host="public.test:8443", for=127.0.0.1;proto=http',
            b"https",
            b"public.test:8443",
        ),
        (b"for=6.6.6.6;proto=https;host=forged.test, for=203.0.113.9", b"http", b"example.test"),
        (b'for=203.0.113.9;proto="a b";host="a, b"', b"http", b"example.test"),
        (b"for=203.0.113.9", b"http", b"example.test"),
    ],
)
async def test_scheme_and_host_come_from_the_field_that_the_proxies_maintain(forwarded, proto, host):
    settings = {**LOCAL, "client_address_from": "forwarded"}
    forged = (b"X-Forwarded-Proto: gopher", b"X-Forwarded-Host: evil.test")
    request = await seen(get(b"/", b"Forwarded: " + forwarded, *forged), settings=settings)
    assert (request.get(b"x-forwarded-proto"), request.get(b"x-forwarded-host")) == (proto, host)
    assert request.get(b"x-real-ip") == b"203.0.113.9"


async def test_an_open_quotation_does_not_swallow_this_hop():
    settings = {**LOCAL, "client_address_from": "forwarded"}
    request = await seen(get(b"/", b'Forwarded: for=6.6.6.6;x=", for=203.0.113.9;host="h"'), settings=settings)
    assert request.get(b"forwarded") == b'for=unknown, for=127.0.0.1;host="example.test";proto=http'
    assert request.get(b"x-real-ip") == b"127.0.0.1"


async def test_the_field_that_a_trusted_proxy_does_not_maintain_is_made_anew():
    fields = (b"Forwarded: for=6.6.6.6", b"X-Forwarded-For: 203.0.113.9, nonsense")
    request = await seen(get(b"/", *fields), settings=LOCAL)
    assert request.get(b"forwarded") == (b'for=203.0.113.9, for=unknown, for=127.0.0.1;host="example.test";proto=http')


async def test_replacing_starts_the_chain_at_the_client():
    settings = {**LOCAL, "forwarded": "replace", "via": ""}
    request = await seen(get(b"/", b"X-Forwarded-For: 203.0.113.9, 10.0.0.7"), settings=settings)
    assert request.get(b"x-forwarded-for") == b"203.0.113.9"
    assert request.get(b"via") is None


@pytest.mark.parametrize(
    ("given", "kept"),
    [(b"abc-123", True), (b"a" * 128, True), (b"a" * 129, False), (b"\xff", False), (b"", False), (b"a\tb", False)],
)
async def test_a_request_id_is_kept_from_a_trusted_proxy_when_that_is_allowed(given, kept):
    settings = {**LOCAL, "request_id_header_trusted": True}
    async with gateway(Peer.serve, settings=settings) as running:
        answer = await running.ask(get(b"/", b"X-Request-Id: " + given))
        assert (answer.get(b"x-request-id") == given) is kept
        assert answer.get(b"x-request-id") == running.upstreams[0].requests[0].get(b"x-request-id")


async def test_request_ids_differ():
    async with gateway(Peer.serve) as running:
        client = await running.client()
        ids = {(await client.ask(get())).get(b"x-request-id") for _ in range(5)}
        assert len(ids) == 5


async def test_the_host_is_kept_or_the_instances_own():
    assert (await seen(get(host=b"Example.TEST:81"))).get(b"host") == b"example.test:81"
    async with gateway(Peer.serve, preserve_host=False) as running:
        await running.ask(get(host=b"example.test"))
        request = running.upstreams[0].requests[0]
        assert request.get(b"host") == b"127.0.0.1:%d" % running.upstreams[0].port
        assert request.get(b"x-forwarded-host") == b"example.test"


async def test_a_request_without_a_host_gets_the_instances():
    async with gateway(Peer.serve) as running:
        await running.ask(b"GET / HTTP/1.0\r\n\r\n")
        assert running.upstreams[0].requests[0].get(b"host") == b"127.0.0.1:%d" % running.upstreams[0].port


async def test_reported_load_is_read_and_kept_from_the_client():
    async with gateway(
        lambda peer: peer.serve(ok(b"x", b"Endpoint-Load-Metrics: TEXT cpu_utilization=0.7"))
    ) as running:
        answer = await running.ask(get())
        assert answer.get(b"endpoint-load-metrics") is None
        report = running.engine.report(full=True)
        assert report is not None
        assert report.instances["default/a"].load == 0.7


async def test_a_session_stays_with_its_instance_by_cookie():
    affinity = AffinitySnapshot(cookie="sticky", key=b"k" * 32)
    async with gateway(Peer.serve, Peer.serve, affinity=affinity) as running:
        client = await running.client()
        first = await client.ask(get())
        cookie = (first.get(b"set-cookie") or b"").partition(b";")[0]
        assert cookie.startswith(b"sticky=")
        for _ in range(4):
            answer = await client.ask(get(b"/", b"Cookie: a=b; " + cookie))
            assert answer.body == first.body
            assert answer.get(b"set-cookie") is None
        forged = await client.ask(get(b"/", b"Cookie: " + cookie[:-4] + b"0000"))
        assert forged.get(b"set-cookie") is not None


async def test_adaptive_pools_are_probed_and_the_answers_used():
    async def script(peer: Peer) -> None:
        while not peer.reader.at_eof():
            request = await peer.request()
            peer.upstream.requests.append(request)
            busy = peer.upstream.name == "a"
            if request.target == b"/load":
                await peer.send(ok(b'{"in_flight": %d, "latency_ms": %d}' % ((90, 900) if busy else (1, 10))))
            else:
                await peer.send(ok(peer.upstream.name.encode()))

    async def patient(peer: Peer) -> None:
        import asyncio

        try:
            await script(peer)
        except asyncio.IncompleteReadError:
            return

    async with gateway(patient, patient, strategy="adaptive", probe_path="/load") as running:
        client = await running.client()

        def probed() -> list[bool]:
            return [any(r.target == b"/load" for r in upstream.requests) for upstream in running.upstreams]

        for _ in range(20):
            await client.ask(get())
        await until(lambda: all(probed()))
        probe = next(r for r in running.upstreams[0].requests if r.target == b"/load")
        assert probe.get(b"host") == b"127.0.0.1:%d" % running.upstreams[0].port
        await until(lambda: not running.worker.runtime.probes)
        answers = [(await client.ask(get())).body for _ in range(20)]
        assert answers.count(b"b") > answers.count(b"a")


@pytest.mark.parametrize(
    "answer",
    [
        ok(b"{}"),
        ok(b"\xff\xfe"),
        ok(b'{"in_flight": "x", "latency_ms": 1}'),
        ok(b"x" * 10_000),
        ok(b"", status=b"404 Not Found"),
        b"rubbish\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"",
    ],
)
async def test_a_bad_probe_answer_harms_nobody(answer):
    async def script(peer: Peer) -> None:
        while not peer.reader.at_eof():
            head = await peer.reader.readuntil(b"\r\n\r\n")
            await peer.send(answer if b"/load" in head else ok(b"fine"))
            if not answer and b"/load" in head:
                return

    async def patient(peer: Peer) -> None:
        import asyncio

        try:
            await script(peer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return

    async with gateway(patient, strategy="adaptive", probe_path="/load") as running:
        client = await running.client()
        for _ in range(8):
            assert (await client.ask(get())).body == b"fine"
        await until(lambda: not running.worker.runtime.probes)
