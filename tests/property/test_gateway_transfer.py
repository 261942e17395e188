"""Whatever is sent, in whatever portions: the other end gets the same bytes, and the connection stays in step."""

import asyncio
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_harness import Client, Message, Peer, gateway

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


chunks = st.lists(
    st.binary(min_size=1, max_size=300) | st.integers(1, 100_000).map(lambda size: b"x" * size), max_size=4
)
splits = st.lists(st.integers(0, 1_000_000), max_size=8)
extensions = st.sampled_from([b"", b";a", b";a=b", b';a="b c";d=e'])
trailers = st.sampled_from([b"", b"X-Sum: 1\r\n", b"X-Sum: 1\r\nX-More: y z\r\n"])


@dataclass
class Exchange:
    """One request and its answer, each with its framing, and where their bytes are torn apart."""

    method: bytes
    coded: bool
    parts: list[bytes]
    status: int
    framing: str
    answer: list[bytes]
    extension: bytes
    trailer: bytes
    splits: list[int]
    answer_splits: list[int]

    def frame(self, parts: list[bytes]) -> bytes:
        return (
            b"".join(b"%x%b\r\n%b\r\n" % (len(part), self.extension, part) for part in parts)
            + b"0\r\n"
            + self.trailer
            + b"\r\n"
        )

    def request(self, number: int, *, last: bool) -> bytes:
        head = b"%b /%d HTTP/1.1\r\nHost: a\r\n" % (self.method, number)
        if last:
            head += b"Connection: close\r\n"
        if self.coded:
            return head + b"Transfer-Encoding: chunked\r\n\r\n" + self.frame(self.parts)
        body = b"".join(self.parts)
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body

    @property
    def bodiless(self) -> bool:
        return self.method == b"HEAD" or self.status in {204, 304}

    def response(self) -> bytes:
        head = b"HTTP/1.1 %d X\r\n" % self.status
        body = b"".join(self.answer)
        if self.framing == "chunked":
            return head + b"Transfer-Encoding: chunked\r\n\r\n" + (b"" if self.bodiless else self.frame(self.answer))
        if self.framing == "close":
            return head + b"Connection: close\r\n\r\n" + (b"" if self.bodiless else body)
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + (b"" if self.bodiless else body)


exchanges = st.builds(
    Exchange,
    method=st.sampled_from([b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS"]),
    coded=st.booleans(),
    parts=chunks,
    status=st.sampled_from([200, 200, 201, 204, 304, 404, 500]),
    framing=st.sampled_from(["length", "chunked", "close"]),
    answer=chunks,
    extension=extensions,
    trailer=trailers,
    splits=splits,
    answer_splits=splits,
)


async def send_torn(wire: Client | Peer, data: bytes, at: list[int]) -> None:
    cuts = sorted({position % (len(data) + 1) for position in at} | {0, len(data)})
    for start, end in pairwise(cuts):
        await wire.send(data[start:end])
        await asyncio.sleep(0)


@given(plan=st.lists(exchanges, min_size=1, max_size=4), pipelined=st.booleans())
@settings(max_examples=120, deadline=None)
async def test_both_ends_see_the_same_bytes(plan, pipelined):  # noqa: C901 - both ends are scripted here
    seen: list[Message] = []

    async def script(peer: Peer) -> None:
        while True:
            try:
                request = await peer.request()
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            seen.append(request)
            exchange = plan[int(request.target[1:])]
            await send_torn(peer, exchange.response(), exchange.answer_splits)
            if exchange.framing == "close":
                return

    async with gateway(script) as running:
        client = await running.client()
        requests = [exchange.request(i, last=i == len(plan) - 1) for i, exchange in enumerate(plan)]

        async def send_all() -> None:
            for request, exchange in zip(requests, plan, strict=True):
                await send_torn(client, request, exchange.splits)

        sender = asyncio.ensure_future(send_all()) if pipelined else None
        for request, exchange in zip(requests, plan, strict=True):
            if sender is None:
                await send_torn(client, request, exchange.splits)
            answer = await client.response(head=exchange.bodiless)
            assert answer.status == exchange.status
            if not exchange.bodiless:
                assert answer.body == b"".join(exchange.answer)
                assert answer.chunked is (exchange.framing != "length")
        if sender is not None:
            await sender
        assert await client.rest() == b""
        assert [request.target for request in seen] == [b"/%d" % number for number in range(len(plan))]
        for request, exchange in zip(seen, plan, strict=True):
            assert request.method == exchange.method
            assert request.body == b"".join(exchange.parts)
            assert request.chunked is exchange.coded


@given(
    answer=exchanges.filter(lambda exchange: not exchange.bodiless and exchange.answer and exchange.framing != "close"),
    keep=st.integers(0, 1_000_000),
    old=st.booleans(),
)
@settings(max_examples=120, deadline=None)
async def test_an_answer_that_is_cut_anywhere_never_looks_whole(answer, keep, old):
    """The upstream closes after any number of bytes of a framed answer, short of all of them."""
    whole = answer.response()

    async def script(peer: Peer) -> None:
        try:
            await peer.request()
            await send_torn(peer, whole[: keep % len(whole)], answer.answer_splits)
        except (asyncio.IncompleteReadError, ConnectionError):
            return

    async with gateway(script, retry_attempts=0) as running:
        client = await running.client()
        await client.send(b"POST / HTTP/1.%d\r\nHost: a\r\nContent-Length: 0\r\n\r\n" % (not old))
        try:
            message = await client.response()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        assert message.status == 502
        assert message.problem["code"] == "upstream-reset"
