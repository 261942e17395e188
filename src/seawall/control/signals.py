"""How a child process learns that it shall end or reload: signals, and the supervisor's lifeline."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable

__all__ = ["say_ready", "stop_requested"]

_log = logging.getLogger("seawall.control.signals")


def stop_requested(*, lifeline: int = -1, on_hangup: Callable[[], None] | None = None) -> asyncio.Event:
    """Return an event that is set by SIGTERM, SIGINT, or the end of the supervisor.

    Args:
        lifeline: descriptor of a pipe that only the supervisor holds open for writing: it ends when that process does,
        even by
            SIGKILL; -1 for none.
        on_hangup: called at SIGHUP; without it the signal is ignored.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, on_hangup or _ignored)

    def supervisor_ended() -> None:
        loop.remove_reader(lifeline)
        _log.warning("the supervisor is gone; ending")
        stop.set()

    if lifeline >= 0:
        loop.add_reader(lifeline, supervisor_ended)
    return stop


def say_ready(status: int, note: str = "") -> None:
    """Tell the supervisor that this process is ready, with a note for it, and close the pipe."""
    os.write(status, f"ready {note}".rstrip().encode() + b"\n")
    os.close(status)


def _ignored() -> None:
    _log.debug("ignored a SIGHUP")
