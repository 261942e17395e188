"""Which earlier route takes everything that a later one would, so that the later one can never match."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

__all__ = ["Condition", "EarlierRoutes"]

_Item = tuple[str, str] | None


class Condition(Protocol):
    """What a route asks of a request, in the one spelling that the settings give it."""

    @property
    def host(self) -> str:
        """Exact, `*.` and a suffix, or empty for any."""
        ...

    @property
    def path(self) -> str:
        """Prefix of whole segments."""
        ...

    @property
    def methods(self) -> Sequence[str]:
        """Empty for any."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """All of them must have these values."""
        ...


class _Route(NamedTuple):
    position: int
    methods: frozenset[str]
    headers: frozenset[tuple[str, str]]


class EarlierRoutes:
    """The routes so far, found by what a wider condition must look like rather than by comparing each with each.

    A route is covered by one other whose host, path, methods and headers are each as wide or wider; that several
    together may cover it is not looked for. A look costs the labels of the host times the segments of the path, not the
    number of routes.
    """

    def __init__(self) -> None:
        self._routes: dict[tuple[str, str, _Item], list[_Route]] = {}

    def add(self, index: int, route: Condition) -> None:
        """Take note of a route."""
        # Whatever a request must have for this one, it has for a narrower one, so one header finds it again.
        item = min(route.headers.items(), default=None)
        found = _Route(index, frozenset(route.methods), frozenset(route.headers.items()))
        self._routes.setdefault((route.host, route.path.rstrip("/"), item), []).append(found)

    def covering(self, route: Condition) -> int | None:
        """Return the index of the first route so far that takes everything that this one would, or None."""
        methods, headers = frozenset(route.methods), frozenset(route.headers.items())
        items: tuple[_Item, ...] = (None, *headers)
        covering = (
            earlier.position
            for host in _wider_hosts(route.host)
            for path in _wider_paths(route.path)
            for item in items
            for earlier in self._routes.get((host, path, item), ())
            if (not earlier.methods or (methods and methods <= earlier.methods)) and earlier.headers <= headers
        )
        return min(covering, default=None)


def _wider_hosts(host: str) -> Iterator[str]:
    yield ""
    if host:
        yield host
        labels = host.removeprefix("*.").split(".")
        for start in range(1, len(labels)):
            yield f"*.{'.'.join(labels[start:])}"


def _wider_paths(path: str) -> Iterator[str]:
    path = path.rstrip("/")
    while path:
        yield path
        path = path.rpartition("/")[0].rstrip("/")
    yield ""
