"""Key to state, bounded in number and bytes, forgetting what is idle without ever pausing.

Entries live in generations: a touch moves an entry to the young one; every `idle` seconds young becomes old and old
becomes doomed; each insertion sweeps two doomed entries, so nothing is ever scanned at once. An entry is forgotten
after it was idle for between one and two `idle` spans (and was then swept), except while it limits: its client must
not be let off by others' traffic. When the table is full, the oldest go first, idle ones before limiting ones.

**Bound.** At most `max_keys` entries. An entry takes `BYTES_PER_KEY` at most, all included, with 16-byte keys and a
float or a tuple of three as state; measured in tests/unit/ratelimit. So a million one-shot addresses in a table of
65,536 keys stay under 20 MiB.
"""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from seawall.systems.ratelimit.verdict import require_positive

__all__ = ["BYTES_PER_KEY", "StateTable"]

BYTES_PER_KEY = 320
"""Bound on the bytes of one entry: its place in a dict that may just have grown, its key and its state."""

_SWEPT_PER_INSERT = 2
_TRIES_WHEN_FULL = 8
"""Limiting entries passed over before one is forgotten nevertheless: bounds the work of an insertion."""

State = TypeVar("State")


class StateTable(Generic[State]):
    """States by key, for one thread. `get` and `put` are constant time.

    Args:
        max_keys: entries at most.
        idle: seconds without a touch after which an entry may be forgotten; at least the time in which a state becomes
            as good as none, such as a window or a bucket's filling time.
        limiting: tells whether a state would refuse a request at a time; such entries outlive others.

    Raises:
        SeawallError: `max_keys` or `idle` is not above 0.
    """

    __slots__ = (
        "_doomed",
        "_idle",
        "_limiting",
        "_old",
        "_pressed",
        "_turned",
        "_young",
        "forgotten",
        "forgotten_limiting",
        "max_keys",
    )

    def __init__(self, max_keys: int, idle: float, limiting: Callable[[State, float], bool]) -> None:
        require_positive(max_keys=max_keys, idle=idle)
        self.max_keys = max_keys
        self.forgotten = 0
        """Entries forgotten, because they were idle or the table was full."""
        self.forgotten_limiting = 0
        """Those of them that still limited: above 0, the table is too small for its traffic."""
        self._idle = idle
        self._limiting = limiting
        self._young: dict[bytes, State] = {}
        self._old: dict[bytes, State] = {}
        self._doomed: dict[bytes, State] = {}
        self._turned: float | None = None
        self._pressed = False
        """The doomed were doomed by want of room before their time, and go one by one as room is wanted."""

    def __len__(self) -> int:
        return len(self._young) + len(self._old) + len(self._doomed)

    def __iter__(self) -> Iterator[tuple[bytes, State]]:
        """Yield every entry, in no order; the table must not change meanwhile."""
        for generation in (self._young, self._old, self._doomed):
            yield from generation.items()

    def get(self, key: bytes) -> State | None:
        """Return a key's state, or None; only `put` counts as a touch."""
        state = self._young.get(key)
        if state is None:
            state = self._old.get(key)
            if state is None:
                state = self._doomed.get(key)
        return state

    def put(self, key: bytes, state: State, now: float) -> None:
        """Keep a state; `now` in seconds on a clock that does not go backwards (if it does, entries live longer)."""
        if key not in self._young and self._old.pop(key, None) is None and self._doomed.pop(key, None) is None:
            self._make_room(now)
        self._young[key] = state

    def remove(self, key: bytes) -> None:
        """Forget a key, when an operator resets it."""
        for generation in (self._young, self._old, self._doomed):
            generation.pop(key, None)

    def clear(self) -> None:
        """Forget every key."""
        self._young, self._old, self._doomed = {}, {}, {}

    def sweep(self, now: float, entries: int) -> None:
        """Forget up to `entries` idle ones; for a quiet table, whose insertions would not do it."""
        self._turn_when_due(now)
        for _ in range(min(entries, len(self._doomed))):
            self._sweep_one(now)

    def _make_room(self, now: float) -> None:
        """Forget what must go before one entry is added."""
        self._turn_when_due(now)
        if not self._pressed:
            for _ in range(min(_SWEPT_PER_INSERT, len(self._doomed))):
                self._sweep_one(now)
        spared = 0
        while len(self) >= self.max_keys:
            if not self._doomed:
                self._turn(now)
                self._pressed = True
            elif not self._sweep_one(now, spare=spared < _TRIES_WHEN_FULL):
                spared += 1

    def _sweep_one(self, now: float, *, spare: bool = True) -> bool:
        """Take the latest of the doomed and forget it, unless it limits and is spared; tell whether it went."""
        key, state = self._doomed.popitem()
        if not self._doomed:
            self._doomed = {}  # an emptied dict keeps the bytes of what it held
        if self._limiting(state, now):
            if spare:
                self._young[key] = state
                return False
            self.forgotten_limiting += 1
        self.forgotten += 1
        return True

    def _turn_when_due(self, now: float) -> None:
        if self._turned is None or now < self._turned:
            self._turned = now
        elif now - self._turned >= self._idle:
            self._pressed = False
            if not self._doomed:
                self._turn(now)

    def _turn(self, now: float) -> None:
        self._doomed = self._old or {}
        self._old = self._young
        self._young = {}
        self._turned = now
