"""What a rule may say: which requests it takes, whether one condition covers another, and what requests count by."""

import ipaddress
from collections.abc import Iterable

import msgspec

from seawall.core.paths import compared_path

__all__ = ["KEY_FORMS", "MAX_VALUE", "Condition", "check_key_part", "covers", "segment_prefix"]

KEY_FORMS = "identity, client, client/PREFIX, user, tenant, api-key, role, route, header:NAME or global"

MAX_VALUE = 128
"""Characters of a value that are kept as they are; a longer one is replaced by a digest of 128 bits."""

_PLAIN = frozenset({"identity", "client", "user", "tenant", "api-key", "role", "route", "global"})


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """What a request must be; an empty field asks for nothing, and every field given must hold.

    Attributes:
        routes: names of routes.
        paths: prefixes matched on whole segments, without the segments' parameters; the gateway compares paths with
            unreserved characters decoded and dot segments resolved, the middleware those that the application sees.
        methods: upper case.
        headers: lower-case name to the exact value; `*` for any value.
        roles: roles, `anonymous` for callers without an identity.
        users: names of users.
        tenants: names of tenants.
        clients: addresses and networks in CIDR form of the client.
    """

    routes: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    roles: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()


def check_key_part(text: str) -> str:
    """Return a key part in its one spelling; ValueError says what is accepted."""
    kind, separator, name = text.partition(":")
    if kind == "header" and separator and name and len(name) <= MAX_VALUE:
        return f"header:{name.lower()}"
    kind, separator, prefix = text.partition("/")
    if kind == "client" and separator:
        if prefix.isascii() and prefix.isdigit() and 1 <= int(prefix) <= 128:
            return f"client/{int(prefix)}"
        raise ValueError("client/PREFIX with a prefix of 1 to 128, such as client/24 or client/56")
    if text not in _PLAIN:
        raise ValueError(KEY_FORMS)
    return text


def covers(wide: Condition, narrow: Condition) -> bool:
    """Tell whether every request that `narrow` takes is taken by `wide` as well.

    Field by field, hence never true by mistake; several conditions that cover another only together are not seen.
    """
    return (
        all(_holds(getattr(wide, name), getattr(narrow, name)) for name in ("routes", "methods", "roles"))
        and all(_holds(getattr(wide, name), getattr(narrow, name)) for name in ("users", "tenants"))
        and _paths_hold(wide.paths, narrow.paths)
        and all(narrow.headers.get(name) == value or _any(value, name, narrow) for name, value in wide.headers.items())
        and _networks_hold(wide.clients, narrow.clients)
    )


def segment_prefix(path: str) -> str:
    """Return a prefix without the slash that ends it, so that `/a/` and `/a` are the same prefix; `/` is empty."""
    return compared_path(path).rstrip("/")


def _holds(wide: Iterable[str], narrow: Iterable[str]) -> bool:
    """Tell whether a list of accepted values takes all that the other takes; an empty list takes everything."""
    accepted = set(wide)
    return not accepted or (bool(wanted := set(narrow)) and wanted <= accepted)


def _paths_hold(wide: tuple[str, ...], narrow: tuple[str, ...]) -> bool:
    prefixes = [segment_prefix(path) for path in wide]
    if not prefixes or "" in prefixes:
        return True
    return bool(narrow) and all(
        any(f"{segment_prefix(path)}/".startswith(f"{prefix}/") for prefix in prefixes) for path in narrow
    )


def _any(value: str, name: str, narrow: Condition) -> bool:
    return value == "*" and name in narrow.headers


def _networks_hold(wide: tuple[str, ...], narrow: tuple[str, ...]) -> bool:
    if not wide:
        return True
    outer = [ipaddress.ip_network(text) for text in wide]
    return bool(narrow) and all(_within(ipaddress.ip_network(text), outer) for text in narrow)


def _within(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network,
    outer: list[ipaddress.IPv4Network | ipaddress.IPv6Network],
) -> bool:
    return any(
        network.version == other.version and other.prefixlen <= network.prefixlen and network.network_address in other
        for other in outer
    )
