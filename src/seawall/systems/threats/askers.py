"""Who asks a route: the addresses and networks that ask most, how many there are, and how alike their requests look."""

from zlib import crc32

from seawall.core.request import Request
from seawall.systems.threats.distinct import DistinctCounter
from seawall.systems.threats.heavy import HeavyHitters
from seawall.systems.threats.networks import subject_of_address
from seawall.systems.threats.suspects import MANY_FACES, Talker

__all__ = ["Askers", "network_of"]

_FEW = 2
_LOOKED_AT = 64
_MAX_FACED = 8192
_DOTS = 2
_FACE = frozenset({b"authorization", b"cookie", b"user-agent"})


class Askers:
    """What one guard saw of those who asked one route since its last report; bounded.

    Whoever asks more than twice in that time is looked at a little closer: many people behind one address differ in
    browser, cookies or credentials, one program that asks on and on does not. A face is a checksum of these three.

    Args:
        capacity: clients, and networks, that are counted one by one.
    """

    __slots__ = ("_clients", "_faces", "_networks", "_sources", "_told", "requests")

    def __init__(self, capacity: int = 4096) -> None:
        self.requests = 0
        self._told = max(min(100, capacity // 16), 10)
        self._clients = HeavyHitters(capacity, self._group)
        self._networks = HeavyHitters(capacity)
        self._faces: dict[str, set[int]] = {}
        self._sources = DistinctCounter()

    def note(self, request: Request) -> None:
        """Count a request; about 0.2 us, the third to the sixty-fourth of a client 1 us."""
        self.requests += 1
        client = request.client
        counts = self._clients.counts
        count = counts.get(client)
        if count is None:
            self._clients.add(client)
            return
        counts[client] = count + 1
        if _FEW <= count < _LOOKED_AT:
            self._look_at(client, request)

    @property
    def sources(self) -> DistinctCounter:
        """The different clients, once `talkers` was called."""
        return self._sources

    def talkers(self) -> tuple[Talker, ...]:
        """Return those who asked most: IPv4 addresses and their /24, IPv6 by /64. To be called once, at the end."""
        for client, count in self._clients.counts.items():
            self._group(client, count)
        clients = []
        for client, count in self._clients.most(self._told):
            subject = subject_of_address(client)
            if subject.startswith("client:"):
                clients.append(Talker(subject, count, tuple(self._faces.get(subject, ()))))
        networks = [
            Talker(subject, count, tuple(self._faces.get(subject, ())))
            for subject, count in self._networks.most(self._told // 2)
        ]
        return (*clients, *networks)

    def _look_at(self, client: str, request: Request) -> None:
        subject = subject_of_address(client)
        faces = self._faces.get(subject)
        if faces is None:
            if len(self._faces) >= _MAX_FACED:
                return
            faces = self._faces[subject] = set()
        if len(faces) < MANY_FACES:
            face = 0
            for name, value in request.headers:
                if name in _FACE:
                    face = crc32(value, face)
            faces.add(face)

    def _group(self, client: str, count: int) -> None:
        subject = subject_of_address(client)
        self._sources.add(subject)
        if subject.startswith("network:"):
            self._networks.add(subject, count)
        elif (network := network_of(subject)) is not None:
            self._networks.add(network, count)


def network_of(subject: str) -> str | None:
    """Return the /24 that an IPv4 client is in, as a subject; None for any other."""
    head, dot, _ = subject.rpartition(".")
    return (
        f"network:{head[7:]}.0/24" if dot and head.count(".") == _DOTS and head[7:].replace(".", "").isdigit() else None
    )
