"""Take refused values out of a tree of plain values, so that the rest can be looked at."""

from collections.abc import Callable
from typing import Any

from seawall.config.section import Path

__all__ = ["Pruner"]


class Pruner:
    """A tree that loses values, and remembers where the remaining list elements stood at first.

    Args:
        values: the tree; it is changed.
        is_named: tells whether a path is a table under a free name, to which other values may refer.
    """

    def __init__(self, values: dict[str, Any], is_named: Callable[[Path], bool]) -> None:
        self.values = values
        self._is_named = is_named
        self._gone: set[Path] = set()
        self._kept: dict[Path, list[int]] = {}
        """For lists that lost elements, by original path: the original indexes of those that remain."""

    def original(self, path: Path) -> Path:
        """Return the path that a place in the present tree had in the first one."""
        first: Path = ()
        for part in path:
            kept = self._kept.get(first, ())
            # An index past the end is one that something is said to be missing at; it has no other name.
            first = (*first, kept[part] if isinstance(part, int) and part < len(kept) else part)
        return first

    def remove(self, path: Path) -> None:
        """Remove what stands at an original path; when nothing does (a default was refused), its whole top table."""
        if self._is_gone(path) or self._remove(path) or not path:
            return
        if isinstance(self._node(path[:-1]), str):
            self._remove(path[:-1])  # the short form of a table
        else:
            self.values.pop(str(path[0]), None)

    def remove_around(self, path: Path) -> None:
        """Remove the table or list that lacks something at an original path."""
        if not self._is_gone(path[:-1]):
            self._remove(path[:-1])

    def _is_gone(self, path: Path) -> bool:
        return any(path[:length] in self._gone for length in range(1, len(path) + 1))

    def _remove(self, path: Path) -> bool:
        node = self._node(path[:-1])
        last = path[-1] if path else None
        if isinstance(node, dict) and last in node:
            # The name stays, so that what refers to it is not refused as well.
            if not isinstance(node[last], dict) and self._is_named(path):
                node[last] = {}
            else:
                del node[last]
                self._gone.add(path)
            return True
        if isinstance(node, list) and isinstance(last, int):
            kept = self._kept.setdefault(path[:-1], list(range(len(node))))
            if last in kept:
                del node[kept.index(last)]
                kept.remove(last)
                self._gone.add(path)
                return True
        return False

    def _node(self, path: Path) -> Any:  # noqa: ANN401 - a plain value
        node: Any = self.values
        for length, part in enumerate(path):
            node = self._below(node, path[:length], part)
        return node

    def _below(self, node: object, path: Path, part: str | int) -> object:
        if isinstance(node, dict):
            return node.get(part)
        if isinstance(node, list) and isinstance(part, int):
            kept = self._kept.get(path, range(len(node)))
            return node[kept.index(part)] if part in kept else None
        return None
