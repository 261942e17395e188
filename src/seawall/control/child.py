"""One child of the supervisor over its lives: started, ready, ended, started again."""

import os
import signal
import subprocess
from collections.abc import Callable, Sequence

import msgspec

from seawall.control.backoff import RestartBackoff
from seawall.core.clock import Clock

__all__ = ["Child", "ChildDescriptors"]


class ChildDescriptors(msgspec.Struct, frozen=True):
    """File descriptors that a child inherits.

    Attributes:
        lifeline: reads end of file when the supervisor is gone.
        status: the child writes one line here when it is ready: `ready`, or `ready <admin address>`.
        listener: socket to accept on; -1 for the control process.
    """

    lifeline: int
    status: int
    listener: int = -1


class Child:
    """A named process that is started again when it ends.

    Attributes:
        ready: this life has said that it is ready.
        was_ready: some life has.
        restart_at: monotonic seconds of the next start; None while it runs.
        start_deadline: monotonic seconds until which it must be ready; None when nobody waits for it.
        exit_status: how the last life ended, as `subprocess.Popen.returncode`.
    """

    def __init__(self, name: str, clock: Clock, *, restart_cap: float) -> None:
        self.name = name
        self.ready = False
        self.was_ready = False
        self.restart_at: float | None = None
        self.start_deadline: float | None = None
        self.exit_status: int | None = None
        self.pid = 0
        self._clock = clock
        self._backoff = RestartBackoff(clock, cap=restart_cap)
        self._process: subprocess.Popen[bytes] | None = None
        self._status = -1
        self._line = b""

    @property
    def alive(self) -> bool:
        """Return whether it runs, as far as `reap` knows."""
        return self._process is not None

    @property
    def status(self) -> int:
        """Return the descriptor on which the child says that it is ready; -1 when it is closed."""
        return self._status

    def start(
        self, command: Callable[[ChildDescriptors], Sequence[str]], lifeline: int, listeners: tuple[int, ...]
    ) -> None:
        """Start a new life; raise OSError when the system refuses."""
        self.restart_at = None
        self.ready = False
        self._line = b""
        self._backoff.started()
        self._status, written = os.pipe()
        try:
            descriptors = ChildDescriptors(lifeline, written, *listeners)
            self._process = subprocess.Popen(  # noqa: S603 - argv is made by us, without a shell
                list(command(descriptors)),
                stdin=subprocess.DEVNULL,
                pass_fds=(lifeline, written, *listeners),
                # A group of its own: Ctrl-C in a terminal reaches the supervisor only, which drains in order.
                process_group=0,
            )
        except OSError:
            os.close(self._status)
            self._status = -1
            raise
        finally:
            os.close(written)
        self.pid = self._process.pid

    def expect_ready(self, within: float) -> None:
        """Give the child this many seconds from now to be ready."""
        if self.alive and not self.ready:
            self.start_deadline = self._clock.monotonic() + within

    def hear(self) -> str | None:
        """Read the status pipe: return the line that says the child is ready, or None while it is incomplete.

        Raises:
            EOFError: the child has closed its end.
        """
        received = os.read(self._status, 4096)
        if not received:
            raise EOFError
        self._line += received
        if b"\n" not in self._line:
            return None
        self.ready = True
        self.was_ready = True
        self.start_deadline = None
        return self._line.partition(b"\n")[0].decode()

    def close_status(self) -> None:
        """Close the status pipe."""
        if self._status >= 0:
            os.close(self._status)
            self._status = -1

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; return whether there is a process to take it."""
        if self._process is None:
            return False
        self._process.send_signal(number)
        return True

    def reap(self) -> str | None:
        """Return how the process ended when it has, once; None while it runs."""
        if self._process is None or self._process.poll() is None:
            return None
        self.exit_status = self._process.returncode
        self._process = None
        self.ready = False
        self.start_deadline = None
        if self.exit_status < 0:
            return f"was killed by {signal.Signals(-self.exit_status).name}"
        return f"ended with status {self.exit_status}"

    def schedule_restart(self) -> float:
        """Set `restart_at` by the backoff and return the seconds until then."""
        delay = self._backoff.ended()
        self.restart_at = self._clock.monotonic() + delay
        return delay

    def kill(self) -> None:
        """Kill the process and wait until it is gone; nothing when it is not there."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
