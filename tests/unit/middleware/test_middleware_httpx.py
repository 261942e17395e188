"""What the httpx transport repeats, and what it counts a failure as; the wire below is scripted."""

import httpx
import pytest

from seawall import DynamicLoadBalancer
from seawall.core.request import IDEMPOTENT_METHODS
from seawall.middleware.httpx import BalancingTransport
from seawall.systems.balancing.model import Outcome

pytestmark = pytest.mark.anyio


class Failing(httpx.AsyncBaseTransport):
    """A wire on which every request fails alike."""

    def __init__(self, error: type[httpx.TransportError]) -> None:
        self.error = error
        self.sent = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent += 1
        raise self.error("scripted", request=request)


async def fail(error: type[httpx.TransportError], method: str) -> tuple[int, set[Outcome]]:
    """Send one request over two instances; return how often it went out, and what its attempts counted as."""
    wire = Failing(error)
    balancer = DynamicLoadBalancer({"pools": {"api": {"instances": ["http://127.0.0.1:1", "http://127.0.0.1:2"]}}})
    transport = BalancingTransport(balancer, make_transport=lambda *_: wire)
    async with httpx.AsyncClient(transport=transport) as client:
        with pytest.raises(error):
            await client.request(method, "http://api/")
    counts = [instance.counts for instance in balancer._engine.pools["api"].instances]
    return wire.sent, {outcome for row in counts for outcome, count in zip(Outcome, row, strict=False) if count}


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (httpx.ConnectError, Outcome.CONNECT_FAILED),
        (httpx.ConnectTimeout, Outcome.TIMEOUT),
        (httpx.ReadTimeout, Outcome.TIMEOUT),
        (httpx.ReadError, Outcome.RESET),
        (httpx.PoolTimeout, Outcome.CANCELLED),
    ],
)
async def test_a_failure_counts_as_it_does_in_the_gateway(error, outcome):
    assert (await fail(error, "GET"))[1] == {outcome}


@pytest.mark.parametrize("method", [*sorted(IDEMPOTENT_METHODS), "POST", "PATCH", "LOCK"])
async def test_what_may_have_been_sent_is_repeated_where_the_gateway_would(method):
    sent, _ = await fail(httpx.ReadError, method)
    assert sent == (2 if method in IDEMPOTENT_METHODS else 1)


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout])
async def test_what_was_not_sent_is_repeated_for_any_method(error):
    assert (await fail(error, "POST"))[0] == 2
