"""States by keys of text: `StateTable`, for keys that `seawall.systems.ratelimit.keys` made short."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar, cast

from seawall.systems.ratelimit.table import StateTable

__all__ = ["KeyedStates", "keyed_states"]

State = TypeVar("State")


class KeyedStates(Protocol[State]):
    """What `StateTable` does, for keys of text."""

    forgotten_limiting: int

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[tuple[str, State]]: ...

    def get(self, key: str) -> State | None:
        """Return a key's state, or None."""
        ...

    def put(self, key: str, state: State, now: float) -> None:
        """Keep a key's state."""
        ...

    def remove(self, key: str) -> None:
        """Forget a key."""
        ...


def keyed_states(max_keys: int, idle: float, limiting: Callable[[State, float], bool]) -> KeyedStates[State]:
    """Return an empty table; arguments as of `StateTable`, which asks of keys only that they can be hashed."""
    table: StateTable[Any] = StateTable(max_keys, idle, limiting)
    return cast("KeyedStates[State]", table)
