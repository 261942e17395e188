"""A defect of ours must show as one: logged, the connection ended, nothing blamed on either side, nothing left over."""

import pytest

from gateway_harness import Peer, gateway, get, until
from seawall.pipeline.failures import PIPELINE
from seawall.systems.balancing.engine import BalancingEngine
from seawall.systems.balancing.model import Outcome
from seawall.systems.ratelimit.engine import RateLimitEngine
from seawall.systems.ratelimit.model import RuleSnapshot, WindowSnapshot

pytestmark = pytest.mark.anyio


class DefectError(Exception):
    pass


def fail(*_: object) -> None:
    raise DefectError


async def test_a_defect_while_a_head_is_taken_ends_the_connection(monkeypatch):
    async with gateway(Peer.serve) as running:
        monkeypatch.setattr(BalancingEngine, "route", fail)
        client = await running.client()
        await client.send(get())
        await client.closed()
        await until(lambda: running.errors)
        assert isinstance(running.errors.pop()["exception"].__context__, DefectError)
        assert running.responses() == (0, 0, 0, 0, 0)
        monkeypatch.undo()
        assert (await running.ask(get())).status == 200


async def test_a_defect_while_a_response_is_taken_breaks_the_answer(monkeypatch):
    async with gateway(Peer.serve) as running:
        monkeypatch.setattr(BalancingEngine, "count_response", fail)
        client = await running.client()
        await client.send(get())
        await client.broken()
        await until(lambda: running.errors)
        assert isinstance(running.errors.pop()["exception"].__context__, DefectError)
        assert running.outcomes() == {Outcome.RESET: 1}
        monkeypatch.undo()
        assert (await running.ask(get())).status == 200


async def test_a_defect_in_one_connections_deadline_spares_the_others(monkeypatch, caplog):
    async with gateway(Peer.serve, settings={"keepalive_timeout_ms": 200}) as running:
        clients = [await running.client() for _ in range(3)]
        for client in clients:
            assert (await client.ask(get())).status == 200
        connections = list(running.worker.runtime.connections)
        monkeypatch.setattr(
            type(connections[0]), "_expire", lambda self, _: fail() if self is connections[0] else self.abort()
        )
        await until(lambda: not running.worker.runtime.connections)
        assert "looking at its deadline failed" in caplog.text


async def test_a_defect_of_a_stage_is_reported(monkeypatch):
    window = WindowSnapshot(name="calls", limit=100, window=60.0)
    async with gateway(Peer.serve) as running:
        running.limit(RuleSnapshot(id="calls", key=("client",), windows=(window,)))
        monkeypatch.setattr(RateLimitEngine, "begin", fail)
        assert (await running.ask(get())).status == 200, "limits fail open"
        assert dict(running.worker.collect(full=False))[PIPELINE].failures == {"ratelimit": 1}
        assert PIPELINE not in dict(running.worker.collect(full=False))
        assert dict(running.worker.collect(full=True))[PIPELINE].failures == {"ratelimit": 1}
