"""A hash ring that changes in place: points of all members, sorted."""

import math
import struct
from bisect import bisect_left
from collections.abc import Sequence
from hashlib import blake2b, shake_128

from seawall.systems.balancing.counters import Instance

__all__ = ["HashRing", "ring_position"]

_POINTS = 100
"""Points of an instance of mean weight: keys are spread to within about 10 % (one standard deviation) of even."""
_MAX_POINTS = 1600
_SLOT_BITS = 20
_SLOT_MASK = (1 << _SLOT_BITS) - 1
_HASH_BYTES = 5


def ring_position(key: bytes) -> int:
    """Return where a key lies on the ring: BLAKE2b, the same in every process and not open to easy collisions."""
    return int.from_bytes(blake2b(key, digest_size=_HASH_BYTES).digest()) << _SLOT_BITS


class HashRing:
    """Consistent hashing with virtual nodes (Karger et al., 1997).

    A ring rather than Maglev's table: a change of membership touches only the points of who came or went and costs a
    linear merge, where Maglev refills its whole table (100 ms of Python at 1000 instances), and a weight is a number of
    points. A point is one integer, 40 bits of position above 20 bits naming the member, so that a lookup is one
    bisection.

    Attributes:
        points: sorted.
        members: by the low bits of a point.
    """

    __slots__ = ("_free", "_placed", "members", "points")

    def __init__(self) -> None:
        self.points: list[int] = []
        self.members: list[Instance | None] = []
        self._placed: dict[str, tuple[int, list[int]]] = {}
        self._free: list[int] = []

    def owner(self, index: int) -> Instance:
        """Return the member whose point is at this index."""
        member = self.members[self.points[index] & _SLOT_MASK]
        if member is None:
            raise AssertionError("a point on the ring without a member")
        return member

    def set_members(self, instances: Sequence[Instance]) -> None:
        """Make the ring hold exactly these, each with points in proportion to its weight."""
        wanted = dict(zip((instance.id for instance in instances), _point_counts(instances), strict=True))
        gone = [name for name, (_, placed) in self._placed.items() if wanted.get(name) != len(placed)]
        removed: list[int] = []
        for name in gone:
            slot, placed = self._placed.pop(name)
            removed += placed
            self.members[slot] = None
            self._free.append(slot)
        if removed:
            removed.sort()
            self._cut(removed)
        added: list[int] = []
        for instance in instances:
            known = self._placed.get(instance.id)
            if known is None:
                slot = self._take_slot()
                positions = _positions(instance.id, wanted[instance.id])
                known = self._placed[instance.id] = (slot, [position << _SLOT_BITS | slot for position in positions])
                added += known[1]
            self.members[known[0]] = instance
        if added:
            added.sort()
            # Two sorted runs: Python's sort merges them in linear time.
            self.points += added
            self.points.sort()

    def _cut(self, removed: Sequence[int]) -> None:
        # Copying what lies between the cuts is ten times as fast as looking at every point.
        points = self.points
        kept: list[int] = []
        start = 0
        for point in removed:
            index = bisect_left(points, point, start)
            kept += points[start:index]
            start = index + 1
        kept += points[start:]
        self.points = kept

    def _take_slot(self) -> int:
        if self._free:
            return self._free.pop()
        self.members.append(None)
        return len(self.members) - 1


def _point_counts(instances: Sequence[Instance]) -> list[int]:
    if not instances:
        return []
    mean = sum(instance.weight for instance in instances) / len(instances)
    # A power of two near the mean: one instance that comes or goes must not change the number of everyone's points.
    reference = 2.0 ** round(math.log2(mean))
    return [min(max(round(_POINTS * instance.weight / reference), 1), _MAX_POINTS) for instance in instances]


def _positions(name: str, count: int) -> list[int]:
    # An extendable hash: fewer points are a prefix of more, so a change of weight moves only the difference.
    digest = shake_128(name.encode()).digest(count * 8)
    shift = 64 - _HASH_BYTES * 8
    return [word >> shift for word in struct.unpack(f">{count}Q", digest)]
