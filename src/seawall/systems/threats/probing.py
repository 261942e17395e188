"""Whoever asks for what is not there: many paths in vain, more so with changing names and in the order of a list.

A crowd behind one address asks for much that is not there, too, but for far more that is: what counts is that most of
what was asked since the first miss was in vain. Two signs of a scanner halve the number of paths that are borne, each
by itself: that it changes its user agent as it goes, and that it asks in the order of a sorted word list.
"""

from math import ceil
from zlib import crc32

import msgspec

from seawall.core.request import Request
from seawall.systems.threats.distinct import DistinctCounter
from seawall.systems.threats.networks import subject_of_address

__all__ = ["ProbeWatch", "Probing"]

_PERIOD = 60.0
"""Seconds over which paths asked for in vain are counted."""
_MAX_PROBERS = 10_000
_MOSTLY, _NEARLY_ALL = 0.5, 0.8
_IN_VAIN = frozenset({400, 403, 404, 405})
_AGENTS = 5
"""A browser keeps its name; behind one address with so many names most of what is asked is there."""
_MAX_AGENTS = 32
_STEPS, _IN_ORDER = 9, 0.9
"""So many steps from one path to the next, so many of them forwards or backwards in the alphabet: by chance that
happens twice in a hundred times for nine of nine or none, and a crawl by links jumps to and fro."""


class Probing(msgspec.Struct, frozen=True):
    """Somebody looks for what is not there.

    Attributes:
        subject: whom this is about.
        nearly_all: whether hardly anything of what it asked was there.
        detail: for people.
    """

    subject: str
    nearly_all: bool
    detail: str


class ProbeWatch:
    """What one guard remembers of those who asked in vain; bounded, pure, not for concurrent use.

    Args:
        borne: different paths that one client may ask for in vain within a minute.
    """

    def __init__(self, borne: int = 40) -> None:
        self.borne = borne
        self._probers: dict[str, _Prober] = {}

    def answered(self, request: Request, status: int, now: float) -> Probing | None:
        """Take note of an answer, and return what is too much."""
        client = subject_of_address(request.client)
        prober = self._probers.get(client)
        if prober is not None:
            prober.asked += 1
            if not 0.0 <= now - prober.since < _PERIOD:
                del self._probers[client]
                prober = None
        if status not in _IN_VAIN:
            return None
        if prober is None:
            self._make_room()
            prober = self._probers[client] = _Prober(now)
        prober.miss(request)
        share = prober.missed / prober.asked
        signs = prober.signs()
        count = prober.paths.count()
        if count <= ceil(self.borne / 2 ** len(signs)) or share <= _MOSTLY:
            return None
        del self._probers[client]
        what = f"{count} paths asked for in vain within {_PERIOD:.0f} s, {share:.0%} of its requests"
        return Probing(client, share > _NEARLY_ALL, ", ".join([what, *signs]))

    def _make_room(self) -> None:
        if len(self._probers) >= _MAX_PROBERS:
            for oldest in list(self._probers)[: _MAX_PROBERS // 8]:
                del self._probers[oldest]


class _Prober:
    """What a client asked since its first miss."""

    __slots__ = ("_agents", "_forwards", "_last", "_steps", "asked", "missed", "paths", "since")

    def __init__(self, now: float) -> None:
        self.paths = DistinctCounter()
        self.since = now
        self.asked = 1
        self.missed = 0
        self._agents: set[int] = set()
        self._last = b""
        self._steps = self._forwards = 0

    def miss(self, request: Request) -> None:
        """Take note of a request that was in vain."""
        path = request.path[:256]
        self.missed += 1
        self.paths.add(path.decode("latin-1"))
        if len(self._agents) < _MAX_AGENTS:
            self._agents.add(crc32(request.header(b"user-agent") or b""))
        if self._last and path != self._last:
            self._steps += 1
            self._forwards += path > self._last
        self._last = path

    def signs(self) -> list[str]:
        """Return in words what else tells a scanner."""
        found = []
        if len(self._agents) >= _AGENTS:
            found.append(f"under {len(self._agents)} names")
        if self._steps >= _STEPS and not 1 - _IN_ORDER < self._forwards / self._steps < _IN_ORDER:
            found.append("in the order of a list")
        return found
