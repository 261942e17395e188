"""A gateway in a process of its own: `gateway_process.py <upstream url>` prints its port and runs until it is ended."""

import asyncio
import random
import socket
import sys

import msgspec
import uvloop

from seawall.config.gateway import GatewaySettings
from seawall.core.clock import SystemClock
from seawall.core.system import System
from seawall.gateway.worker import Worker
from seawall.systems.balancing.engine import BalancingEngine
from seawall.systems.balancing.model import (
    BalancingReport,
    BalancingSnapshot,
    InstanceSnapshot,
    PoolSnapshot,
    RouteSnapshot,
)


async def main(urls: list[str]) -> None:
    balancing = System(
        name="balancing",
        settings=object,
        snapshot=BalancingSnapshot,
        report=BalancingReport,
        engine=lambda context: BalancingEngine(context.clock.monotonic, context.rng),
        controller=lambda _: (_ for _ in ()).throw(AssertionError("no controller in a worker")),
        instruments=(),
    )
    instances = tuple(InstanceSnapshot(id=str(index), url=url) for index, url in enumerate(urls))
    snapshot = BalancingSnapshot(
        version=1,
        pools=(PoolSnapshot(name="default", instances=instances),),
        routes=(RouteSnapshot(name="all", pool="default"),),
    )
    worker = Worker(GatewaySettings(), [balancing], SystemClock(), random.Random(1))
    worker.apply("balancing", msgspec.msgpack.encode(snapshot))
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    listener.setblocking(False)
    await worker.start([listener])
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    # The parent keeps our standard input open for as long as it needs us; its end is ours.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await worker.close()


uvloop.run(main(sys.argv[1:]))
