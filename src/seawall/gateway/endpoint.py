"""The connections to one instance: pooled, capped, with a bounded queue of requests that wait for one."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from seawall.gateway.upstream import ConnectionUser, EndpointAddress, UpstreamConnection

__all__ = ["Endpoint"]

_UNSAFE_IDLE = 1.0
"""Seconds after which an idle connection is no longer trusted with a request that cannot be repeated."""


class Endpoint:
    """The connections to one instance: a stack of idle ones, a cap, a bounded queue of requests that wait.

    Args:
        address: where to connect.
        max_connections: open connections at most.
        max_queue: requests that may wait for one.
        keepalive: seconds that an idle connection is kept.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        address: EndpointAddress,
        *,
        max_connections: int,
        max_queue: int,
        keepalive: float,
        connect_timeout: float,
    ) -> None:
        self.address = address
        self.generation = 0
        """Raised whenever the instance moves: a connection made for an earlier address is closed after its request."""
        self.origin: object = None
        """What the address was made from, for the owner to compare."""
        self.max_connections = max_connections
        self.max_queue = max_queue
        self.keepalive = keepalive
        self.connect_timeout = connect_timeout
        self.open = 0
        self.closed = False
        self._loop = loop
        self._clock = clock
        self._idle: list[UpstreamConnection] = []
        self._waiting: deque[ConnectionUser] = deque()
        self._connecting: dict[ConnectionUser, asyncio.Task[None]] = {}

    def __repr__(self) -> str:
        return f"Endpoint(open={self.open}, idle={len(self._idle)}, waiting={len(self._waiting)})"

    def take(self, *, repeatable: bool) -> UpstreamConnection | None:
        """Return an idle connection, the most recently used first; None when a new one must be opened.

        A request that cannot be repeated gets none that has been idle for over a second: the instance may just be
        closing it.
        """
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.transport.is_closing():
                continue
            if not repeatable and self._clock() - connection.idle_since > _UNSAFE_IDLE:
                connection.close()
                continue
            return connection
        return None

    def request_connection(self, user: ConnectionUser) -> bool:
        """Open a connection for this user, or queue it; False when the queue is full."""
        if self.open < self.max_connections:
            self._open(user)
            return True
        if len(self._waiting) >= self.max_queue:
            return False
        self._waiting.append(user)
        if self._idle:
            self._idle.pop(0).close()  # who wants a connection of its own gets the room of one that nobody uses
        return True

    def is_waiting(self, user: ConnectionUser) -> bool:
        """Return whether this user waits for a connection to become free."""
        return user in self._waiting

    def forget(self, user: ConnectionUser) -> None:
        """Stop waiting on behalf of this user; a connection under way for it is given up."""
        task = self._connecting.pop(user, None)
        if task is not None:
            task.cancel()  # possibly before its first step, so that it can clean up nothing
            self.open -= 1
            self._serve_waiting()
        elif user in self._waiting:
            self._waiting.remove(user)

    def move(self, address: EndpointAddress) -> None:
        """Connect here from now on; connections that lead elsewhere are closed, those in use after their request."""
        moved = not self.address.is_same_place(address)
        self.address = address
        if moved:
            self.generation += 1
            self._close_idle()

    def on_idle(self, connection: UpstreamConnection) -> None:
        """Take a connection back, to hand it to whoever waits or to keep it."""
        if connection.generation != self.generation:
            connection.close()  # whoever waits gets a new one in its room
            return
        if self._waiting:
            self._waiting.popleft().on_connected(connection)
            return
        if self.closed or self.open > self.max_connections:
            connection.close()
            return
        connection.idle_since = self._clock()
        self._idle.append(connection)

    def on_closed(self, connection: UpstreamConnection) -> None:
        """Count a connection that is gone, and open one for whoever waits."""
        self.open -= 1
        if connection.user is None and connection in self._idle:
            self._idle.remove(connection)
        self._serve_waiting()

    def sweep(self, now: float) -> None:
        """Close connections that have been idle for too long; the oldest are at the bottom of the stack."""
        idle = self._idle
        expired = 0
        while expired < len(idle) and now - idle[expired].idle_since > self.keepalive:
            expired += 1
        if expired:
            old, self._idle = idle[:expired], idle[expired:]
            for connection in old:
                connection.close()

    def close(self) -> None:
        """Close what is idle; connections in use close when their response is complete."""
        self.closed = True
        self._close_idle()

    def _close_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _serve_waiting(self) -> None:
        while self._waiting and self.open < self.max_connections:
            self._open(self._waiting.popleft())

    def _open(self, user: ConnectionUser) -> None:
        self.open += 1
        self._connecting[user] = self._loop.create_task(self._connect(user))

    async def _connect(self, user: ConnectionUser) -> None:
        connection: UpstreamConnection | None = None
        reason, timed_out = "", False
        try:
            async with asyncio.timeout(self.connect_timeout):
                connection = await self._dial()
        except TimeoutError:
            reason, timed_out = f"no connection within {self.connect_timeout:g} s", True
        except (OSError, ValueError) as error:  # a name that is no host name raises UnicodeError
            reason = str(error) or type(error).__name__
        if self._connecting.get(user) is not asyncio.current_task():  # `forget` came first and gave the room back
            if connection is not None:
                connection.close()
            return
        del self._connecting[user]
        if connection is not None and not connection.lost:
            connection.counted = True  # from here on its loss is told through `on_closed`
        else:
            self.open -= 1
            self._serve_waiting()
        if connection is None:
            user.on_connect_failed(reason, timed_out=timed_out)
        elif connection.transport.is_closing():
            user.on_connect_failed("closed the connection at once", timed_out=False)
        else:
            user.on_connected(connection)

    async def _dial(self) -> UpstreamConnection:
        address, generation = self.address, self.generation
        if address.defect:
            raise OSError(address.defect)
        tls: dict[str, Any] = {}
        if address.tls is not None:
            tls = {"ssl": address.tls, "server_hostname": address.server_name}
        if address.path:
            _, connection = await self._loop.create_unix_connection(
                lambda: UpstreamConnection(self, generation), address.path
            )
            return connection
        failure: OSError | None = None
        for host in address.hosts:
            try:
                _, connection = await self._loop.create_connection(
                    lambda: UpstreamConnection(self, generation), host, address.port, **tls
                )
            except OSError as error:
                failure = error
            else:
                return connection
        raise failure or OSError(f"no address is known for {address.authority.decode('latin-1')}")
