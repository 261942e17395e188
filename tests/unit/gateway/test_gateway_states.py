"""States that need one exact order of callbacks: protocols on transports that the test drives, without a socket."""

import asyncio
import random
from collections.abc import Callable
from typing import cast

import pytest

from gateway_harness import get, ok, post
from seawall.config.gateway import GatewaySettings
from seawall.gateway.runtime import Runtime
from seawall.gateway.server import ClientConnection
from seawall.gateway.upstream import UpstreamConnection
from seawall.systems.balancing.engine import BalancingEngine
from seawall.systems.balancing.model import BalancingSnapshot, InstanceSnapshot, PoolSnapshot, RouteSnapshot

pytestmark = pytest.mark.anyio


class Pipe(asyncio.Transport):
    """A transport without another end: it keeps what is written and shows how it stands."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.unsent = 0
        self.reading = True
        self.end = ""
        self.on_write: Callable[[], None] = lambda: None

    def write(self, data: bytes) -> None:
        assert not self.end, "written after the end"
        self.written += data
        self.on_write()

    def write_eof(self) -> None:
        self.end = "eof"

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.end = "closed"

    def abort(self) -> None:
        self.end = "aborted"

    def is_closing(self) -> bool:
        return self.end in {"closed", "aborted"}

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return self.unsent


class Stage:
    """One client and one idle upstream connection of the only instance."""

    def __init__(self) -> None:
        engine = BalancingEngine(lambda: 0.0, random.Random(1))
        pool = PoolSnapshot(name="default", instances=(InstanceSnapshot(id="a", url="http://127.0.0.1:1"),))
        engine.apply(BalancingSnapshot(version=1, pools=(pool,), routes=(RouteSnapshot(name="all", pool="default"),)))
        self.runtime = Runtime(GatewaySettings(), engine, asyncio.get_running_loop())
        self.instance = engine.pools["default"].instances[0]
        self.endpoint = self.runtime.endpoint(self.instance)
        self.up = Pipe()
        self.upstream = UpstreamConnection(self.endpoint)
        self.upstream.connection_made(self.up)
        self.upstream.counted = True
        self.endpoint.open = 1
        self.endpoint.on_idle(self.upstream)
        self.down = Pipe()
        self.client = ClientConnection(self.runtime)
        self.client.connection_made(self.down)

    def fill(self) -> None:
        """Let the instance take nothing: the next write of body fills its buffer."""

        def pause() -> None:
            if b"xxx" in self.up.written and not self.up.unsent:
                self.up.unsent = 100_000
                self.upstream.pause_writing()

        self.up.on_write = pause

    def empty(self) -> None:
        self.up.unsent = 0
        self.upstream.resume_writing()


async def test_reading_goes_on_when_the_instance_has_taken_the_end_of_a_body():
    stage = Stage()
    stage.fill()
    stage.client.data_received(post(b"xxx"))
    assert not stage.down.reading
    stage.empty()
    assert stage.down.reading  # else the client could leave unnoticed
    stage.upstream.data_received(ok(b"done"))
    assert stage.down.written.endswith(b"done")
    assert stage.instance.active == 0
    assert stage.endpoint._idle == [stage.upstream]


async def test_an_answer_to_a_request_that_was_not_taken_frees_the_client_and_ends_the_connection():
    stage = Stage()
    stage.fill()
    stage.client.data_received(post(b"xxx"))
    stage.upstream.data_received(ok(b"early"))
    assert stage.down.written.endswith(b"early")
    assert stage.down.reading
    assert (stage.down.end, stage.up.end) == ("", "aborted")
    assert stage.endpoint._idle == []
    assert stage.instance.active == 0


async def test_a_pipelined_body_is_held_back_when_its_turn_comes():
    stage = Stage()
    stage.client.data_received(get(b"/first") + post(b"xxxyyy")[:-3])
    assert not stage.down.reading  # one request waits
    stage.fill()
    stage.upstream.data_received(ok(b"first"))
    assert b"POST" in stage.up.written
    assert not stage.down.reading  # the instance takes nothing
    stage.empty()
    assert stage.down.reading
    stage.client.data_received(b"yyy")
    stage.upstream.data_received(ok(b"second"))
    assert stage.down.written.endswith(b"second")


async def test_what_follows_a_refusal_in_the_same_read_does_not_prolong_the_end():
    stage = Stage()
    stage.client.data_received(get(b"/", b"Expect: x") + get())
    assert (b" 417 " in stage.down.written, stage.down.end) == (True, "eof")
    stage.runtime.now += 3
    stage.client.sweep(stage.runtime.now)
    assert stage.down.end == "aborted"


async def test_a_client_that_is_behind_when_an_attempt_is_repeated_holds_the_new_connection_back():
    stage = Stage()
    stage.client.data_received(get())
    stage.upstream.data_received(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    stage.client.pause_writing()
    assert not stage.up.reading
    exchange = stage.client._exchange
    assert exchange is not None
    other = UpstreamConnection(stage.endpoint)
    pipe = Pipe()
    other.connection_made(pipe)
    exchange._connection = None
    exchange.on_connected(other)
    assert not pipe.reading
    stage.client.resume_writing()
    assert pipe.reading


async def test_a_client_that_stops_taking_has_from_then_on_as_long_as_its_body_time_out():
    stage = Stage()
    stage.client.data_received(get())
    stage.upstream.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    stage.client.sweep(stage.runtime.now)
    stage.client.pause_writing()
    stage.client.sweep(stage.runtime.now)
    stage.runtime.now += 29  # body_timeout_ms is 30 s, the instance's idle time-out 60 s
    stage.client.sweep(stage.runtime.now)
    assert stage.down.end == ""
    stage.runtime.now += 2
    stage.client.sweep(stage.runtime.now)
    assert (stage.down.end, stage.up.end) == ("aborted", "aborted")


async def test_closing_ends_probes_too():
    from seawall.gateway.probe import Probe

    stage = Stage()
    probe = Probe(stage.runtime, stage.instance)
    stage.runtime.probes.add(probe)
    probe.start()
    assert b"GET" in stage.up.written
    stage.runtime.close()
    assert not stage.runtime.probes
    assert stage.up.end == "aborted"


async def test_every_byte_of_a_request_may_be_the_last_of_a_read():
    whole = post(b"abc", b"X: y") + get(b"/next")
    for cut in range(1, len(whole)):
        stage = Stage()
        stage.client.data_received(whole[:cut])
        stage.client.data_received(whole[cut:])
        stage.upstream.data_received(ok(b"1"))
        stage.upstream.data_received(ok(b"2"))
        assert stage.up.written.count(b"HTTP/1.1\r\n") == 2
        assert stage.down.written.count(b"200 OK") == 2
        assert cast("int", stage.instance.active) == 0
