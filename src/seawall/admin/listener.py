"""The admin API's own listening socket."""

import asyncio
import errno
import os
import socket
import stat
from pathlib import Path
from typing import Self

from seawall.config.address import parse_listen
from seawall.core.errors import SeawallError

__all__ = ["Listener"]

_BACKLOG = 128


class Listener:
    """A listening socket and where it listens.

    Attributes:
        address: `host:port`, `[v6]:port` or `unix:/path`, as the configuration has it; the port is the one taken.
    """

    def __init__(self, listening: socket.socket) -> None:
        self.socket = listening
        name = listening.getsockname()
        self._path = Path(name) if isinstance(name, str) else None
        if self._path is not None:
            self.address = f"unix:{self._path}"
        else:
            self.address = f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"

    @classmethod
    async def open(cls, listen: str) -> Self:
        """Listen; a Unix socket is made for this user only, and replaces one that nobody listens on any more.

        Raises:
            SeawallError: it cannot be listened there; names the address and what to do.
        """
        address = parse_listen(listen)
        try:
            if address.path:
                return cls(_listen_unix(Path(address.path)))
            found = await asyncio.get_running_loop().getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            family, _, _, _, target = found[0]
            return cls(_listen_tcp(socket.AddressFamily(family), target))
        except OSError as error:
            raise SeawallError(
                f"the admin API cannot listen on {listen}: {error.strerror or error}", hint=_remedy(error.errno)
            ) from error

    def close(self) -> None:
        """Free the address; twice is harmless."""
        self.socket.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None


def _listen_tcp(family: socket.AddressFamily, target: tuple[object, ...]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        # Lets a restarted control process have its port again while old connections are in TIME_WAIT.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(target)
        listening.listen(_BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def _listen_unix(path: Path) -> socket.socket:
    _remove_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        listening.bind(str(path))
        # Nobody can connect before listen, so there is no moment at which others could.
        path.chmod(0o600)
        listening.listen(_BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def _remove_stale(path: Path) -> None:
    """Remove the socket file of a process that is gone; raise EADDRINUSE for anything else that stands there."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EADDRINUSE, "a file that is not a socket stands there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _remedy(number: int | None) -> str:
    if number == errno.EADDRINUSE:
        return "another process listens there: stop it, or choose another address with admin.listen or --admin"
    if number in {errno.EACCES, errno.EPERM}:
        return "choose a port above 1023 or a path that this user may write, with admin.listen or --admin"
    return "choose an address of this machine with admin.listen or --admin"
