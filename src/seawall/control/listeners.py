"""The listening sockets of the workers; the supervisor owns them, so that they outlive a worker."""

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path

from seawall.config.address import ListenAddress, parse_listen
from seawall.core.errors import SeawallError

__all__ = ["Listeners"]


class Listeners:
    """One listening socket per worker slot on the same TCP port, or one shared by all on a Unix path.

    With `SO_REUSEPORT` the kernel spreads new connections evenly over the sockets that listen. The supervisor keeps
    each socket open while its worker is started again, so connections that wait in its queue are served by the new
    worker. A socket is bound here but begins to listen in the worker: before that, the kernel routes nothing to it.

    Args:
        listen: `host:port`, `[v6]:port` or `unix:/path`; port 0 takes a free one, the same for every slot.
        slots: how many workers there are.

    Raises:
        SeawallError: the address is taken, not permitted, or not one of this machine.
    """

    def __init__(self, listen: str, slots: int) -> None:
        self._listen = listen
        self._slots: list[socket.socket | None] = [None] * slots
        address = parse_listen(listen)
        self._path = Path(address.path) if address.path else None
        try:
            if self._path is not None:
                self._reserved = _bind_unix(self._path)
                self.url = f"unix:{self._path}"
            else:
                self._family, self._address = _resolve(address)
                self._reserved = self._reserve()
                # The port is known now, also when 0 was asked for.
                self._address = self._reserved.getsockname()
                self.url = _url_of(self._family, self._address)
        except OSError as error:
            raise _refusal(listen, error) from error

    def take(self, slot: int) -> socket.socket:
        """Return the slot's socket, bound again when it was closed.

        Raises:
            SeawallError: the address was taken by another process meanwhile.
        """
        if self._path is not None:
            return self._reserved
        held = self._slots[slot]
        if held is None:
            try:
                held = _bind_tcp(self._family, self._address, share=True)
            except OSError as error:
                raise _refusal(self._listen, error) from error
            self._slots[slot] = held
        return held

    def close_slot(self, slot: int) -> None:
        """Close a slot's socket, so that the kernel routes its share to the others; a shared one stays open."""
        held = self._slots[slot]
        if held is not None:
            held.close()
            self._slots[slot] = None

    def close(self) -> None:
        """Close everything: new connections are refused from now on, unless a worker still listens."""
        for slot in range(len(self._slots)):
            self.close_slot(slot)
        if self._path is not None and self._reserved.fileno() >= 0:
            self._path.unlink(missing_ok=True)
        self._reserved.close()

    def _reserve(self) -> socket.socket:
        """Bind a socket that never listens and keeps the port ours while slots are closed."""
        # SO_REUSEPORT would let a second gateway of the same user take half of the connections without a word; a first
        # bind without it finds out whether anyone listens.
        with _bind_tcp(self._family, self._address, share=False) as probe:
            address = probe.getsockname()
        return _bind_tcp(self._family, address, share=True)


def _resolve(address: ListenAddress) -> tuple[socket.AddressFamily, tuple[str | int, ...]]:
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
    )
    family, _, _, _, resolved = found[0]
    # The stubs allow for a build of Python without IPv6, where the address of such a family is raw bytes.
    return family, tuple(part if isinstance(part, int) else str(part) for part in resolved)


def _bind_tcp(family: socket.AddressFamily, address: tuple[str | int, ...], *, share: bool) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        # Lets us bind while connections of an earlier run are in TIME_WAIT; does not let two listen.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # [::] is the only way to listen on both families with one address.
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _bind_unix(path: Path) -> socket.socket:
    _remove_stale(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        bound.bind(str(path))
    except OSError:
        bound.close()
        raise
    return bound


def _remove_stale(path: Path) -> None:
    """Remove a socket file that nobody listens on; raise EADDRINUSE for anything else that stands there."""
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise OSError(errno.EADDRINUSE, "a file that is not a socket stands there")
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _url_of(family: socket.AddressFamily, address: tuple[str | int, ...]) -> str:
    host = f"[{address[0]}]" if family == socket.AF_INET6 else address[0]
    return f"http://{host}:{address[1]}"


def _refusal(listen: str, error: OSError) -> SeawallError:
    if isinstance(error, socket.gaierror):
        hint = "the host name has no address; use 127.0.0.1 for this machine only or 0.0.0.0 for every interface"
    elif error.errno == errno.EADDRINUSE:
        hint = "another process listens there: stop it, or choose another address with --listen or gateway.listen"
    elif error.errno in {errno.EACCES, errno.EPERM}:
        hint = "use a port from 1024 on, give the process CAP_NET_BIND_SERVICE, or make the socket's directory writable"
    elif error.errno == errno.EADDRNOTAVAIL:
        hint = "the address belongs to no interface of this machine; 0.0.0.0 and [::] stand for every one"
    else:
        hint = "choose another address with --listen or gateway.listen"
    reason = error.strerror or str(error)
    return SeawallError(f"cannot listen on {listen}: {reason}", hint=hint)
