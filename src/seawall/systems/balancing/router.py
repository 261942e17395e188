"""Which pool takes a request: routes compiled once per snapshot, the first match in file order wins."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from seawall.core.errors import ConfigurationError
from seawall.core.request import Request
from seawall.systems.balancing.counters import Pool
from seawall.systems.balancing.model import RouteSnapshot

__all__ = ["Router", "host_name"]


class _Compiled(NamedTuple):
    name: str
    pool: Pool
    suffix: bytes  # ".example.org" of a wildcard host, else empty
    exact: bytes  # path that matches as a whole; empty when every path matches
    prefix: bytes  # path with a closing slash, so that only whole segments match
    methods: frozenset[str]
    headers: tuple[tuple[bytes, bytes], ...]


def host_name(authority: bytes) -> bytes:
    """Return the host of a lower-case authority: without port, and without the dot that ends an absolute name."""
    if authority[:1] == b"[":
        return authority[: authority.find(b"]") + 1]
    return authority.partition(b":")[0].rstrip(b".")


class Router:
    """Match on host (exact, or `*.` suffix), path prefix on whole segments, method and headers.

    Exact hosts are found by one dictionary lookup, so thousands of virtual hosts cost what one does; routes without a
    host or with a wildcard are kept in their place among them. Paths are compared as received, not percent-decoded.

    Args:
        routes: in file order; when empty and there is one pool only, everything goes to it.
        pools: by name.

    Raises:
        ConfigurationError: a route names a pool that does not exist.
    """

    __slots__ = ("_anywhere", "_by_host", "_everything", "_everything_name")

    def __init__(self, routes: Sequence[RouteSnapshot], pools: Mapping[str, Pool]) -> None:
        compiled = [(route.host.encode(), _compile(route, pools)) for route in routes]
        self._by_host: dict[bytes, tuple[_Compiled, ...]] = {}
        for host, _ in compiled:
            if host and host[:2] != b"*." and host not in self._by_host:
                self._by_host[host] = tuple(route for other, route in compiled if _may_match(other, host))
        self._anywhere = tuple(route for host, route in compiled if not host or host[:2] == b"*.")
        self._everything: Pool | None = None
        self._everything_name = ""
        if not routes and len(pools) == 1:
            self._everything = next(iter(pools.values()))
        elif compiled and not compiled[0][0] and compiled[0][1][2:] == _MATCH_ALL:
            self._everything = compiled[0][1].pool
            self._everything_name = compiled[0][1].name

    def route(self, request: Request) -> Pool | None:
        """Return the pool of the first matching route, or None."""
        if self._everything is not None:
            return self._everything
        found = self._find(request)
        return None if found is None else found.pool

    def name(self, request: Request) -> str:
        """Return the name of the first matching route; empty where there is none."""
        if self._everything is not None:
            return self._everything_name
        found = self._find(request)
        return "" if found is None else found.name

    def _find(self, request: Request) -> _Compiled | None:
        host = host_name(request.host)
        path = request.path
        for compiled in self._by_host.get(host, self._anywhere):
            _, _, suffix, exact, prefix, methods, headers = compiled
            if (
                (not suffix or host.endswith(suffix))
                and (not exact or path == exact or path.startswith(prefix))
                and (not methods or request.method in methods)
                and (not headers or all(request.header(name) == value for name, value in headers))
            ):
                return compiled
        return None


_MATCH_ALL: tuple[bytes, bytes, bytes, frozenset[str], tuple[tuple[bytes, bytes], ...]] = (
    b"",
    b"",
    b"",
    frozenset(),
    (),
)


def _compile(route: RouteSnapshot, pools: Mapping[str, Pool]) -> _Compiled:
    pool = pools.get(route.pool)
    if pool is None:
        raise ConfigurationError(
            f"route {route.name!r} names the pool {route.pool!r}, which does not exist",
            hint=f"pools are: {', '.join(sorted(pools)) or 'none'}",
        )
    path = route.path_prefix.encode().rstrip(b"/")
    return _Compiled(
        name=route.name,
        pool=pool,
        suffix=route.host[1:].encode() if route.host.startswith("*.") else b"",
        exact=path,
        prefix=path + b"/" if path else b"",
        methods=frozenset(route.methods),
        headers=tuple((name.encode(), value.encode()) for name, value in route.headers.items()),
    )


def _may_match(route_host: bytes, host: bytes) -> bool:
    return not route_host or route_host == host or (route_host[:2] == b"*." and host.endswith(route_host[1:]))
