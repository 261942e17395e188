"""One pipelined connection to Redis (RESP2): commands leave as they come, replies are matched by their order."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis

from seawall.adapters.redis_address import RedisAddress
from seawall.core.errors import SeawallError

__all__ = ["OnReply", "RedisReplyError", "RedisWire", "open_wire", "pack"]

OnReply = Callable[[Any, Any, int], None]
"""Called with (reply, context, index): what the server says, and what was given with the command.

The reply is bytes, an integer, a list, None, or a `RedisReplyError`.
"""

RedisReplyError = hiredis.ReplyError

_INCOMPLETE = object()


class RedisWire(asyncio.Protocol):
    """A connection as `asyncio` drives it; never blocks, and holds what the socket does not take yet.

    Args:
        on_lost: called once, with the reason, when the connection has ended, however it did; replies that were still to
            come never do.

    Attributes:
        waiting: what to call for each reply that is still to come, in order.
        ended: set when the connection is over.
    """

    def __init__(self, on_lost: Callable[["RedisWire", str], None]) -> None:
        self.waiting: deque[tuple[OnReply, Any, int]] = deque()
        self._on_lost = on_lost
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._transport: asyncio.Transport | None = None
        self._reason = ""
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        """Hand over every reply that is complete."""
        reader = self._reader
        waiting = self.waiting
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _INCOMPLETE:
                if not waiting:
                    self.abort("it answered what nobody asked")
                    return
                on_reply, context, index = waiting.popleft()
                on_reply(reply, context, index)
        except hiredis.ProtocolError as error:
            self.abort(f"it does not speak Redis' protocol: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that it is over."""
        self._transport = None
        self.ended.set()
        reason = self._reason or (f"the connection broke: {exc}" if exc is not None else "it closed the connection")
        self._on_lost(self, reason)

    def write(self, data: bytes) -> None:
        """Send; `waiting` must have been told first."""
        if self._transport is not None:
            self._transport.write(data)

    async def close(self, patience: float) -> None:
        """Send what was written, then end; at once where that takes more than `patience` seconds."""
        self._reason = self._reason or "closed"
        if self._transport is not None:
            self._transport.close()
        try:
            async with asyncio.timeout(patience):
                await self.ended.wait()
        except TimeoutError:
            self.abort("closed")
            await self.ended.wait()

    def abort(self, reason: str) -> None:
        """End the connection at once; `on_lost` is told the reason soon."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    async def ask(self, *commands: bytes) -> list[Any]:
        """Send packed commands together and return their replies; errors are among them, never raised.

        Raises:
            ConnectionError: the connection ended before every reply was here.
        """
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in commands]
        for future in futures:
            self.waiting.append((_set_result, future, 0))
        self.write(b"".join(commands))
        return [await future for future in futures]


def pack(*words: bytes) -> bytes:
    """Return a command as it travels."""
    return b"*%d\r\n%b" % (len(words), b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words]))


async def open_wire(address: RedisAddress, on_lost: Callable[[RedisWire, str], None], *load: bytes) -> RedisWire:
    """Connect, log in, select the database, and run the packed commands `load`.

    Args:
        address: where, and as whom.
        on_lost: called as by `RedisWire`, only for a connection that was returned.
        *load: commands to run before it is returned; an error that one answers is raised.

    Raises:
        OSError: there is no connection.
        SeawallError: the server refuses us; the message holds no secret.
    """
    loop = asyncio.get_running_loop()
    lost: asyncio.Future[Any] = loop.create_future()
    established = False

    def on_end(wire: RedisWire, reason: str) -> None:
        if established:
            on_lost(wire, reason)
        elif not lost.done():
            lost.set_result(reason)

    wire = RedisWire(on_end)
    if address.path:
        await loop.create_unix_connection(lambda: wire, address.path)
    else:
        await loop.create_connection(lambda: wire, address.host, address.port, ssl=address.tls)
    commands = [*_log_in(address), *(("a script", command) for command in load)]
    asking = loop.create_task(  # noqa: RUF006 - it is waited for below, or cancelled
        wire.ask(*(command for _, command in commands))
    )
    waits: list[asyncio.Future[Any]] = [asking, lost]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        _check([name for name, _ in commands], asking.result() if asking.done() else [], lost)
    except BaseException:
        asking.cancel()
        wire.abort("given up while connecting")
        raise
    established = True
    return wire


def _log_in(address: RedisAddress) -> list[tuple[str, bytes]]:
    """Return what must be said first, by name."""
    commands = []
    if address.password:
        user = [address.username.encode()] if address.username else []
        commands.append(("AUTH", pack(b"AUTH", *user, address.password.encode())))
    if address.database:
        commands.append((f"SELECT {address.database}", pack(b"SELECT", b"%d" % address.database)))
    if address.client_name:
        commands.append(("CLIENT SETNAME", pack(b"CLIENT", b"SETNAME", address.client_name.encode())))
    return commands


def _check(names: list[str], replies: list[Any], lost: "asyncio.Future[Any]") -> None:
    for name, reply in zip(names, replies, strict=False):
        if isinstance(reply, RedisReplyError):
            # A server may repeat the words of a command in its error, so those of a log-in are kept back.
            said = str(reply).partition(" ")[0] if name == "AUTH" else str(reply)
            raise SeawallError(f"it answers {name} with: {said}", hint="see to user, password and database")
    if lost.done():
        raise ConnectionError(lost.result())


def _set_result(reply: object, future: "asyncio.Future[object]", _: int) -> None:
    if not future.done():
        future.set_result(reply)
