"""What of a request the rules of the limiter look at, besides its client, method and pool."""

from collections.abc import Callable, Sequence

from seawall.core.request import Header, Request
from seawall.systems.ratelimit.condition import Condition
from seawall.systems.ratelimit.keys import LimitContext
from seawall.systems.ratelimit.model import PriorityRule, RuleSnapshot
from seawall.systems.ratelimit.rules import path_test

__all__ = ["Kind", "Traits"]

_MAX_PATHS = 8192
"""Paths of which it is remembered what rules see in them, of `_MAX_PATH` bytes at most: 4 MiB."""
_MAX_PATH = 256
_MAX_VALUES = 512
"""Bytes of the header fields of one kind that is worth remembering."""

Kind = tuple[int, str, tuple[Header, ...]]
"""Conditions on paths that hold, as bits; name of the route; the header fields that rules look at."""


class Traits:
    """What rules look at, and which requests look alike to them.

    Args:
        rules: those that are not off.
        priorities: what gives requests a priority.
        route_name: names the route that takes a request; asked only where a rule wants to know.

    Attributes:
        none: whether they look at nothing of it.
    """

    def __init__(
        self,
        rules: Sequence[RuleSnapshot],
        priorities: Sequence[PriorityRule],
        route_name: Callable[[Request], str],
    ) -> None:
        conditions = [*(rule.match for rule in rules), *(one.match for one in priorities)]
        parts = {part for rule in rules for part in rule.key}
        paths = {condition.paths for condition in conditions if condition.paths}
        paths |= {endpoint.paths for rule in rules for endpoint in rule.endpoints if endpoint.paths}
        self._tests = [(1 << place, path_test(one)) for place, one in enumerate(sorted(paths))]
        self._seen: dict[bytes, int] = {}
        self._headers = _header_names(parts, conditions)
        self._routes = "route" in parts or any(condition.routes for condition in conditions)
        self._route_name = route_name
        self.none = not (self._tests or self._headers or self._routes)

    def of(self, request: Request) -> Kind:
        """Return what rules see; they cannot tell requests of one kind apart."""
        bits = 0
        if self._tests:
            seen = self._seen.get(request.path)
            bits = self._look(request.path) if seen is None else seen
        wanted = self._headers
        return (
            bits,
            self._route_name(request) if self._routes else "",
            tuple([field for field in request.headers if field[0] in wanted]) if wanted else (),
        )

    def worth(self, kind: Kind) -> bool:
        """Tell whether a kind is small enough to be remembered."""
        return sum(len(value) for _, value in kind[2]) <= _MAX_VALUES

    def tell(self, context: LimitContext, request: Request) -> None:
        """Write what rules look at into a context."""
        if self._tests:
            context.path = request.path.decode("latin-1")
        if self._headers:
            context.headers = self._pick(request.headers)
        if self._routes:
            context.route = self._route_name(request)

    def _look(self, path: bytes) -> int:
        text = path.decode("latin-1")
        bits = 0
        for bit, holds in self._tests:
            if holds(text):
                bits |= bit
        if len(path) <= _MAX_PATH:
            if len(self._seen) >= _MAX_PATHS:
                self._seen.clear()
            self._seen[path] = bits
        return bits

    def _pick(self, fields: Sequence[Header]) -> dict[str, str]:
        """Return the first field of each name that rules look at."""
        wanted = self._headers
        found: dict[str, str] = {}
        for name, value in fields:
            text = wanted.get(name)
            if text is not None:
                found.setdefault(text, value.decode("latin-1"))
        return found


def _header_names(parts: set[str], conditions: Sequence[Condition]) -> dict[bytes, str]:
    names = {part.removeprefix("header:") for part in parts if part.startswith("header:")}
    for condition in conditions:
        names.update(condition.headers)
    return {name.encode("latin-1", "replace"): name for name in names}
