"""What each client did lately, as one guard saw it: for the second opinion on clients; bounded."""

from zlib import crc32

import msgspec

from seawall.core.request import Request

__all__ = ["ClientDeeds", "Deeds"]

_MAX_CLIENTS = 2000
_TOLD = 500
_MAX_PATHS = 32
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class ClientDeeds(msgspec.Struct, array_like=True):
    """What one client did since it was last told of.

    Attributes:
        errors: of the requests, those answered 400 and above.
        unsafe: of them, those that change something.
        bytes: of bodies that were held.
        paths: checksums of different paths, at most 32.
    """

    client: str
    requests: int = 0
    errors: int = 0
    unsafe: int = 0
    bytes: int = 0
    paths: tuple[int, ...] = ()


class Deeds:
    """Counts by client; about 0.6 us a request. Not for concurrent use."""

    def __init__(self) -> None:
        self._clients: dict[str, tuple[ClientDeeds, set[int]]] = {}

    def note(self, request: Request, status: int, held: int) -> None:
        """Count a request that has ended; of clients beyond the first 2000 nothing is known."""
        client = request.client
        found = self._clients.get(client)
        if found is None:
            if len(self._clients) >= _MAX_CLIENTS:
                return
            found = self._clients[client] = (ClientDeeds(client), set())
        deeds, paths = found
        deeds.requests += 1
        deeds.errors += status >= 400
        deeds.unsafe += request.method not in _SAFE
        deeds.bytes += held
        if len(paths) < _MAX_PATHS:
            paths.add(crc32(request.path))

    def told(self) -> tuple[ClientDeeds, ...]:
        """Return what the busiest 500 did, and forget all."""
        clients, self._clients = self._clients, {}
        busiest = sorted(clients.values(), key=lambda pair: -pair[0].requests)[:_TOLD]
        for deeds, paths in busiest:
            deeds.paths = tuple(paths)
        return tuple(deeds for deeds, _ in busiest)
