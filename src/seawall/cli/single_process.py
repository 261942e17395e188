"""Control plane and one worker in one process and loop, for development; no socket lies between them."""

import asyncio
import logging
from collections.abc import Callable

import uvloop

from seawall.cli.control_process import admin_api, admin_socket, control_plane, reloader
from seawall.cli.worker_process import Intake
from seawall.config.loader import Loaded
from seawall.control.channel_local import LocalChannel
from seawall.control.counts import open_counts
from seawall.control.listeners import Listeners
from seawall.control.signals import stop_requested
from seawall.control.supervisor import listening_line
from seawall.control.tree import Settings

__all__ = ["run_single"]

_log = logging.getLogger("seawall.serve")


def run_single(loaded: Loaded[Settings], announce: Callable[[str], None]) -> None:
    """Run the gateway in this process until SIGTERM or SIGINT.

    Args:
        loaded: the configuration; SIGHUP loads it again.
        announce: called with one line when it accepts.

    Raises:
        SeawallError: an address is taken, or the store stands in the way of a start.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(loaded, announce))


async def _serve(loaded: Loaded[Settings], announce: Callable[[str], None]) -> None:
    """Run the control plane and one worker on this loop until a signal; for development and tests."""
    settings = loaded.settings
    listeners = Listeners(settings.gateway.listen, 1)
    try:
        async with admin_socket(settings) as listener, control_plane(loaded) as plane:
            stop = stop_requested(on_hangup=reloader(plane))
            intake = Intake()
            interval = settings.control.report_interval_ms / 1000
            channel = LocalChannel(plane, "worker-0", intake.take, intake.collect, report_interval=interval)
            intake.counts = counts = open_counts(settings.state.url, channel)
            plane.subscribe(channel.announce)
            await channel.start()
            await intake.complete.wait()
            if intake.worker is None:
                raise RuntimeError("a complete intake has no worker")
            try:
                if counts is not None:
                    await counts.start()
                await intake.worker.start([listeners.take(0)])
                async with admin_api(plane, settings, listener) as address:
                    announce(listening_line(listeners.url, address, 1))
                    await stop.wait()
                    _log.info("draining, for at most %g s", settings.gateway.drain_timeout_ms / 1000)
                    await intake.worker.drain(settings.gateway.drain_timeout_ms / 1000)
            finally:
                await intake.worker.close()
                if counts is not None:
                    await counts.close()
                await channel.close()
    finally:
        listeners.close()
