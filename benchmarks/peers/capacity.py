"""An upstream of fixed capacity: so many requests at once, so long for each, and all others wait their turn.

`python capacity.py PORT SLOTS SERVICE_MS`. It waits with a clock and not with the processor, so that its capacity does
not depend on what else runs. A request whose client has gone is served all the same, as by most real servers: that is
what makes an overloaded service collapse.
"""

import asyncio
import sys
from collections import deque
from typing import Any

import uvloop

__all__ = ["main"]

_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nok\n"


class Capacity:
    """The slots and the queue in front of them."""

    def __init__(self, slots: int, seconds: float) -> None:
        self._free = slots
        self._seconds = seconds
        self._waiting: deque[asyncio.Transport] = deque()

    def ask(self, transport: asyncio.Transport) -> None:
        """Serve a request now, or when it is its turn."""
        if self._free:
            self._free -= 1
            asyncio.get_running_loop().call_later(self._seconds, self._served, transport)
        else:
            self._waiting.append(transport)

    def _served(self, transport: asyncio.Transport) -> None:
        if not transport.is_closing():
            transport.write(_ANSWER)
        self._free += 1
        if self._waiting:
            self.ask(self._waiting.popleft())


class Connection(asyncio.Protocol):
    """One client; requests have no body, and come one after the other."""

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._received = b""

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvloop's transport is no asyncio.Transport
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Count heads by their empty lines."""
        self._received += data
        while b"\r\n\r\n" in self._received:
            _, _, self._received = self._received.partition(b"\r\n\r\n")
            self._capacity.ask(self._transport)


async def _serve(port: int, slots: int, seconds: float) -> None:
    capacity = Capacity(slots, seconds)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(capacity), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def main() -> None:
    """Serve until killed."""
    port, slots, milliseconds = sys.argv[1:]
    uvloop.run(_serve(int(port), int(slots), float(milliseconds) / 1000))


if __name__ == "__main__":
    main()
