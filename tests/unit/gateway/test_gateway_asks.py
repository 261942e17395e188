"""Requests that wait for shared counts: what happens to them, and around them, until the answer is there."""

import asyncio
import time
from collections.abc import Sequence

import pytest

from gateway_harness import Gateway, Peer, chunked, gateway, get, post, until
from seawall.gateway.exchange import Phase
from seawall.systems.ratelimit.counts import CountAsk, GiveBack, Reply
from seawall.systems.ratelimit.embedded import EmbeddedCounts
from seawall.systems.ratelimit.model import Algorithm, Counting, RuleSnapshot, StoreFailure, WindowSnapshot
from seawall.systems.ratelimit.shared import give_back

pytestmark = pytest.mark.anyio


class HeldCounts:
    """Real counts that answer when the test says so, or at the loop's next turn."""

    def __init__(self, *, at_once: bool = False) -> None:
        self.available = True
        self.at_once = at_once
        self.held: list[tuple[tuple[CountAsk, ...], Reply]] = []
        self.returned: list[GiveBack] = []
        self.asked = 0
        self._table = EmbeddedCounts(time.monotonic)

    def take(self, asks: tuple[CountAsk, ...], reply: Reply) -> None:
        self.asked += 1
        if self.at_once:
            answers = self._table.take(asks, time.monotonic())
            asyncio.get_running_loop().call_soon(reply, answers)
        else:
            self.held.append((asks, reply))

    def give_back(self, refunds: Sequence[GiveBack]) -> None:
        self.returned.extend(refunds)
        now = time.monotonic()
        for refund in refunds:
            change = give_back(self._table._states, refund, now)
            if change is not None:
                self._table._keep(change, now)

    async def answer(self, *, away: bool = False) -> None:
        """Answer the oldest question, once it is asked."""
        await until(lambda: self.held, "a question")
        asks, reply = self.held.pop(0)
        reply(None if away else self._table.take(asks, time.monotonic()))


def strict(limit: float = 1, **fields) -> RuleSnapshot:
    window = WindowSnapshot(name="calls", limit=limit, window=3600.0)
    return RuleSnapshot(id="calls", key=("client",), windows=(window,), counts=Counting.STRICT, **fields)


def slots(limit: float = 1) -> RuleSnapshot:
    window = WindowSnapshot(name="slots", limit=limit, window=3600.0, algorithm=Algorithm.CONCURRENCY)
    return RuleSnapshot(id="slots", key=("client",), windows=(window,), counts=Counting.STRICT)


async def settled(running: Gateway) -> None:
    """Let the loop take what has been written."""
    client = await running.client()
    client.close()


async def test_a_request_waits_for_the_answer_and_goes_on():
    counts = HeldCounts()
    async with gateway(Peer.serve, counts=counts) as running:
        running.limit(strict(1))
        client = await running.client()
        await client.send(get(b"/first"))
        await until(lambda: counts.held, "the question")
        assert running.upstreams[0].requests == []
        await counts.answer()
        answer = await client.response()
        assert (answer.status, answer.get(b"ratelimit-policy")) == (200, b'"calls";q=1;w=3600')
        assert answer.get(b"ratelimit").startswith(b'"calls";r=0')
        await client.send(get(b"/second"))
        await counts.answer()
        assert (await client.response()).status == 429
        # The refusal is remembered: nobody is asked again.
        assert (await client.ask(get(b"/third"))).status == 429
        assert counts.asked == 2
        assert [request.target for request in running.upstreams[0].requests] == [b"/first"]


@pytest.mark.parametrize("size", [5, 200_000])
async def test_the_body_comes_meanwhile_and_is_bounded(size):
    counts = HeldCounts()
    async with gateway(Peer.serve, counts=counts) as running:
        running.limit(strict(1))
        client = await running.client()
        body = bytes(range(256)) * (size // 256 + 1)
        client.write(post(body))
        await until(lambda: counts.held, "the question")
        exchange = next(iter(running.worker.runtime.connections))._exchange
        assert exchange is not None
        await until(lambda: exchange.request_complete or next(iter(running.worker.runtime.connections)).held)
        assert exchange._body_bytes < 600_000
        await counts.answer()
        assert (await client.response()).status == 200
        assert running.upstreams[0].requests[0].body == body


async def test_a_body_that_comes_in_drops_does_not_put_the_decision_off():
    counts = HeldCounts()
    async with gateway(Peer.serve, counts=counts) as running:
        running.limit(strict(1))
        client = await running.client()
        client.write(get(b"/", b"Content-Length: 10", method=b"POST"))
        await until(lambda: counts.held, "the question")
        exchange = next(iter(running.worker.runtime.connections))._exchange
        assert exchange is not None
        client.write(b"drop")
        await until(lambda: exchange._body_bytes == 4, "the drop")
        exchange.sweep(time.monotonic())
        exchange.sweep(time.monotonic() + 0.3)
        assert exchange.phase is not Phase.ADMITTING
        client.write(b" after")
        assert (await client.response()).status == 200
        await counts.answer()
        assert counts.returned, "the answer came too late, and what it took went back"


async def test_a_chunked_body_is_whole_after_the_wait():
    counts = HeldCounts()
    async with gateway(Peer.serve, counts=counts) as running:
        running.limit(strict(1))
        client = await running.client()
        await client.send(get(b"/", b"Transfer-Encoding: chunked", method=b"POST") + chunked(b"ab", b"cde"))
        await counts.answer()
        assert (await client.response()).status == 200
        assert running.upstreams[0].requests[0].body == b"abcde"


async def test_a_refusal_keeps_the_connection_only_when_the_body_has_come():
    counts = HeldCounts()
    async with gateway(Peer.serve, counts=counts) as running:
        running.limit(strict(1))
        counts.available = False  # count in this process meanwhile
        assert (await running.ask(get())).status == 200
        counts.available = True
        whole, half = await running.client(), await running.client()
        await whole.send(post(b"whole"))
        await counts.answer()
        assert (await whole.response()).status == 200
        await half.send(get(b"/", b"Content-Length: 10", method=b"POST") + b"half")
        await counts.answer()
        answer = await half.response()
        assert (answer.status, answer.get(b"connection")) == (429, b"close")
        again = await whole.ask(post(b"whole"))
        assert (again.status, again.get(b"connection")) == (429, b"close")


async def test_pipelined_requests_wait_in_line():
    counts = HeldCounts()
    async with gateway(Peer.serve, counts=counts) as running:
        running.limit(strict(2))
        client = await running.client()
        await client.send(get(b"/1") + get(b"/2") + get(b"/3") + get(b"/4"))
        for _ in range(3):
            await counts.answer()
            assert len(counts.held) <= 1
        assert [(await client.response()).status for _ in range(4)] == [200, 200, 429, 429]


async def test_an_expected_body_waits_for_the_decision():
    counts = HeldCounts()
    async with gateway(Peer.serve, counts=counts) as running:
        running.limit(strict(1))
        client = await running.client()
        head = get(b"/", b"Content-Length: 5", b"Expect: 100-continue", method=b"POST")
        counts.available = False
        await running.ask(get())
        counts.available = True
        await client.send(head)
        await counts.answer()
        other = await running.client()
        await other.send(head)
        await counts.answer()
        answer = await other.response()
        assert (answer.status, answer.get(b"connection")) == (429, b"close")
        client.write(b"hello")
        assert (await client.response()).status == 200


@pytest.mark.parametrize(
    ("failure", "statuses"),
    [
        (StoreFailure.LOCAL, [200, 429]),
        (StoreFailure.OPEN, [200, 200]),
        (StoreFailure.CLOSED, [503, 503]),
    ],
)
@pytest.mark.parametrize("how", ["away", "unavailable"])
async def test_while_the_counts_are_away_each_rule_does_as_it_says(failure, statuses, how):
    counts = HeldCounts()
    counts.available = how == "away"
    async with gateway(Peer.serve, counts=counts) as running:
        running.limit(strict(1, on_store_failure=failure))
        client = await running.client()
        seen = []
        for _ in range(2):
            await client.send(get())
            if how == "away":
                await counts.answer(away=True)
            seen.append((await client.response()).status)
        assert seen == statuses
        assert running.limits().away == 2


async def test_without_any_shared_counts_this_process_counts():
    async with gateway(Peer.serve) as running:
        running.limit(strict(1))
        client = await running.client()
        assert [(await client.ask(get())).status for _ in range(2)] == [200, 429]


async def test_an_answer_that_never_comes_is_not_waited_for_and_a_late_one_is_given_back():
    counts = HeldCounts()
    async with gateway(Peer.serve, counts=counts) as running:
        running.limit(strict(5))
        client = await running.client()
        await client.send(get())
        assert (await client.response()).status == 200
        assert running.limits().away == 1
        await counts.answer()
        assert [refund.key for refund in counts.returned] == ["calls\nclient:127.0.0.1"]
        assert [window.cost for window in counts.returned[0].windows] == [1.0]


async def test_a_client_that_leaves_while_it_waits_gives_its_permit_back():
    counts = HeldCounts()
    async with gateway(Peer.serve, counts=counts) as running:
        running.limit(slots(1))
        client = await running.client()
        await client.send(get())
        await until(lambda: counts.held, "the question")
        client.reset()
        await until(lambda: not running.worker.runtime.connections, "the end of the connection")
        await counts.answer()
        assert running.upstreams[0].requests == []
        other = await running.client()
        await other.send(get())
        await counts.answer()
        assert (await other.response()).status == 200


async def test_permits_that_are_shared_come_back_at_the_end_of_each_request():
    counts = HeldCounts()
    async with gateway(Peer.serve, counts=counts) as running:
        running.limit(slots(1))
        client = await running.client()
        for number in range(1, 4):
            await client.send(get())
            await counts.answer()
            assert (await client.response()).status == 200
            assert len(counts.returned) == number


async def test_a_body_that_grows_too_large_during_the_wait_is_refused():
    counts = HeldCounts()
    async with gateway(Peer.serve, counts=counts, settings={"max_body_bytes": 10}) as running:
        running.limit(slots(1))
        client = await running.client()
        await client.send(get(b"/", b"Transfer-Encoding: chunked", method=b"POST") + chunked(b"a" * 8, b"b" * 8))
        answer = await client.response()
        assert answer.problem["code"] == "body-too-large"
        await counts.answer()
        assert len(counts.returned) == 1
        assert running.upstreams[0].requests == []


async def test_a_drain_waits_for_the_answer():
    counts = HeldCounts()
    async with gateway(Peer.serve, counts=counts) as running:
        running.limit(strict(1))
        client = await running.client()
        await client.send(get())
        await until(lambda: counts.held, "the question")
        running.worker.runtime.drain()
        await counts.answer()
        answer = await client.response()
        assert (answer.status, answer.get(b"connection")) == (200, b"close")


async def test_leases_pay_without_asking_and_go_back_at_the_end():
    counts = HeldCounts(at_once=True)
    async with gateway(Peer.serve, counts=counts) as running:
        window = WindowSnapshot(name="calls", limit=100_000, window=3600.0)
        running.limit(RuleSnapshot(id="calls", key=("client",), windows=(window,), counts=Counting.LEASED))
        client = await running.client()
        for number in range(1, 51):
            assert (await client.ask(get())).status == 200
            report = running.limits()
            assert (report.asked + report.leased, report.away) == (number, 0)
        assert 0 < counts.asked < 50
        before = len(counts.returned)
    assert len(counts.returned) > before
