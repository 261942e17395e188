"""The parent process: it owns the listening sockets and keeps one control process and the workers alive."""

import logging
import os
import selectors
import signal
import socket
from collections.abc import Callable, Sequence
from enum import Enum
from types import FrameType

from seawall.control.child import Child, ChildDescriptors
from seawall.control.listeners import Listeners
from seawall.core.clock import Clock
from seawall.core.errors import SeawallError

__all__ = ["EXIT_CONFIGURATION", "EXIT_START", "Supervisor", "listening_line"]

_log = logging.getLogger("seawall.supervisor")

EXIT_CONFIGURATION = 78
"""Exit status of a control process that refuses its configuration (EX_CONFIG of sysexits.h)."""
EXIT_START = 69
"""Exit status of a control process that cannot start for another reason that it has printed (EX_UNAVAILABLE)."""

_CLOSE_SLOT_ABOVE = 1.0
"""Seconds: a slot that stays without a worker for longer is taken out of the kernel's spreading."""
_GRACE = 2.0
"""Seconds beyond the drain time before a worker that does not end is killed."""
_CONTROL_STOP = 5.0
"""Seconds for the control process to flush and end."""


class _Phase(Enum):
    RUNNING = "running"
    DRAINING = "draining"
    """Workers finish what is in flight; the control process still serves the admin API and takes their last reports."""
    STOPPING = "stopping"
    """The workers are gone, the control process ends."""
    DONE = "done"


class Supervisor:
    """Start, watch and restart the other processes until a signal ends them.

    Args:
        listeners: sockets of the worker slots, already bound; closed when the supervisor begins to stop.
        command: argv of a child: (role `control` or `worker`, slot name, its descriptors, admin address or nothing).
        workers: how many.
        drain_timeout: seconds that requests in flight get after SIGTERM.
        start_timeout: seconds for a worker to accept connections once the control process is ready.
        restart_cap: longest pause in seconds before a process that keeps dying is started again.
        announce: called once with one line when every worker accepts.

    Not for use beside other code in one process: it takes over the signal handlers of the main thread.
    """

    def __init__(
        self,
        listeners: Listeners,
        command: Callable[[str, str, ChildDescriptors, str], Sequence[str]],
        *,
        workers: int,
        drain_timeout: float,
        start_timeout: float,
        restart_cap: float,
        announce: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._listeners = listeners
        self._command = command
        self._drain_timeout = drain_timeout
        self._start_timeout = start_timeout
        self._announce = announce
        self._clock = clock
        self._control = Child("control", clock, restart_cap=restart_cap)
        self._workers = [Child(f"worker-{slot}", clock, restart_cap=restart_cap) for slot in range(workers)]
        self._admin = ""
        self._phase = _Phase.RUNNING
        self._deadline = 0.0
        self._exit_code = 0
        self._announced = False
        self._selector = selectors.DefaultSelector()
        # Children read the one end; its end of file tells them that this process is gone, however it ended.
        self._lifeline, self._lifeline_held = os.pipe()

    def run(self) -> int:
        """Run until everything has ended; return the exit code of `seawall serve`."""
        wake, restore = _catch_signals()
        self._selector.register(wake, selectors.EVENT_READ)
        try:
            self._start(self._control)
            for worker in self._workers:
                self._start(worker)
            while self._phase is not _Phase.DONE:
                for key, _ in self._selector.select(self._patience()):
                    if key.fileobj is wake:
                        for number in wake.recv(4096):
                            self._signalled(signal.Signals(number))
                    else:
                        self._heard(key.data)
                self._reap()
                self._keep_time()
                self._advance()
        finally:
            for child in self._children():
                child.kill()
            self._listeners.close()
            self._selector.close()
            os.close(self._lifeline)
            os.close(self._lifeline_held)
            restore()
            wake.close()
        return self._exit_code

    def _children(self) -> list[Child]:
        return [self._control, *self._workers]

    def _patience(self) -> float | None:
        """Return the seconds until something is due, None when nothing is."""
        now = self._clock.monotonic()
        if self._phase is not _Phase.RUNNING:
            return max(0.0, self._deadline - now)
        due = [child.restart_at for child in self._children() if child.restart_at is not None]
        due += [worker.start_deadline for worker in self._workers if worker.start_deadline is not None]
        return max(0.0, min(due) - now) if due else None

    def _signalled(self, number: signal.Signals) -> None:
        if number in {signal.SIGTERM, signal.SIGINT}:
            if self._phase is _Phase.RUNNING:
                workers = _counted(len(self._workers))
                _log.info("%s: draining %s, for at most %g s", number.name, workers, self._drain_timeout)
                self._drain()
            else:
                _log.warning("%s again: ending at once", number.name)
                self._exit_code = 1
                self._phase = _Phase.DONE
        elif number == signal.SIGHUP and self._phase is _Phase.RUNNING:
            # Before it is ready the signal would end it.
            if self._control.ready and self._control.send(signal.SIGHUP):
                _log.info("SIGHUP: the control process reloads the configuration")
            else:
                _log.warning("SIGHUP: the control process is away and reads the configuration when it is back")

    def _heard(self, child: Child) -> None:
        """Take what a child wrote to its status pipe: one line when it is ready."""
        try:
            line = child.hear()
        except EOFError:
            self._forget_status(child)
            return
        if line is None:
            return
        if child is self._control:
            self._admin = line.partition(" ")[2] or self._admin
            for worker in self._workers:
                worker.expect_ready(self._start_timeout)
        _log.info("%s (pid %d) is ready", child.name, child.pid)
        if not self._announced and all(other.ready for other in self._children()):
            self._announced = True
            self._announce(listening_line(self._listeners.url, self._admin, len(self._workers)))

    def _reap(self) -> None:
        for child in self._children():
            how = child.reap()
            if how is not None:
                self._forget_status(child)
                self._ended(child, how)

    def _forget_status(self, child: Child) -> None:
        if child.status >= 0:
            self._selector.unregister(child.status)
            child.close_status()

    def _ended(self, child: Child, how: str) -> None:
        if self._phase is not _Phase.RUNNING:
            _log.info("%s (pid %d) %s", child.name, child.pid, how)
            return
        if child is self._control and not child.was_ready and child.exit_status in {EXIT_CONFIGURATION, EXIT_START}:
            # It has said why; starting it again would say it again.
            self._exit_code = 2 if child.exit_status == EXIT_CONFIGURATION else 1
            self._drain()
            return
        self._restart_later(child, how)

    def _restart_later(self, child: Child, how: str) -> None:
        delay = child.schedule_restart()
        when = f"in {delay:g} s" if delay else "now"
        _log.warning("%s (pid %d) %s; starting it again %s", child.name, child.pid, how, when)
        if child is not self._control and delay > _CLOSE_SLOT_ABOVE:
            self._listeners.close_slot(self._workers.index(child))

    def _keep_time(self) -> None:
        """Do what is due by now."""
        if self._phase is not _Phase.RUNNING:
            return
        now = self._clock.monotonic()
        for worker in self._workers:
            if worker.start_deadline is not None and now >= worker.start_deadline:
                _log.warning("%s (pid %d) accepts nothing after %g s", worker.name, worker.pid, self._start_timeout)
                worker.kill()
        for child in self._children():
            if child.restart_at is not None and now >= child.restart_at:
                self._start(child)

    def _start(self, child: Child) -> None:
        role = "control" if child is self._control else "worker"
        passed: tuple[int, ...] = ()
        try:
            if child is not self._control:
                passed = (self._listeners.take(self._workers.index(child)).fileno(),)
            child.start(
                lambda descriptors: self._command(role, child.name, descriptors, self._admin), self._lifeline, passed
            )
        except (OSError, SeawallError) as error:
            delay = child.schedule_restart()
            _log.error("%s cannot be started (%s); next try in %g s", child.name, error, delay)
            return
        self._selector.register(child.status, selectors.EVENT_READ, child)
        if child is not self._control and self._control.ready:
            child.expect_ready(self._start_timeout)

    def _drain(self) -> None:
        self._phase = _Phase.DRAINING
        self._deadline = self._clock.monotonic() + self._drain_timeout + _GRACE
        for worker in self._workers:
            worker.send(signal.SIGTERM)
        # Ours would keep connections waiting that nobody accepts any more.
        self._listeners.close()

    def _advance(self) -> None:
        """Go to the next phase of stopping when this one is over."""
        if self._phase is _Phase.DRAINING:
            left = [worker for worker in self._workers if worker.alive]
            if left and not self._late():
                return
            for worker in left:
                _log.warning("%s (pid %d) did not end in time; killing it", worker.name, worker.pid)
                worker.kill()
                self._exit_code = self._exit_code or 1
            self._phase = _Phase.STOPPING
            self._deadline = self._clock.monotonic() + _CONTROL_STOP
            self._control.send(signal.SIGTERM)
        if self._phase is _Phase.STOPPING and (not self._control.alive or self._late()):
            self._control.kill()
            self._phase = _Phase.DONE

    def _late(self) -> bool:
        return self._clock.monotonic() >= self._deadline


def listening_line(url: str, admin: str, workers: int) -> str:
    """Return the line that `seawall serve` prints when it is ready; programs that start it wait for it.

    Args:
        url: where clients connect.
        admin: the admin API as `host:port` or `unix:/path`, empty when it is off.
        workers: how many accept.
    """
    if admin and not admin.startswith("unix:"):
        admin = f"http://{admin}"
    return f"listening on {url}, admin {f'on {admin}' if admin else 'off'}, {_counted(workers)}"


def _counted(workers: int) -> str:
    return f"{workers} worker{'s' * (workers != 1)}"


def _catch_signals() -> tuple[socket.socket, Callable[[], None]]:
    """Turn signals into bytes on a socket; return it and what puts the old handlers back."""
    wake, written = socket.socketpair()
    wake.setblocking(False)
    written.setblocking(False)
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
    before = {number: signal.signal(number, _only_wake) for number in numbers}
    before_fd = signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)

    def restore() -> None:
        signal.set_wakeup_fd(before_fd)
        for number, handler in before.items():
            signal.signal(number, handler)
        written.close()

    return wake, restore


def _only_wake(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the interpreter has already written the number to the wake-up socket."""
