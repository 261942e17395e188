"""A million networks looked up by address: disjoint ranges in flat arrays, found by bisection.

A network is a range of addresses, and two networks either contain one another or do not meet. So any set of them can be
cut into disjoint ranges, each of which belongs to its narrowest network. The ranges' first addresses in one sorted
array and their owners in another take 8 bytes a range for IPv4 and 12 for IPv6, at most two ranges a network; a tree of
Python objects takes many times as much, and a look-up walks it node by node.
"""

import ipaddress
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache

import msgspec

from seawall.core.errors import InvalidError

__all__ = ["NOT_FOUND", "NetworkTable", "PackedNetworks", "pack", "parse_network", "subject_of_address"]

NOT_FOUND = -1

_OCTETS = {str(number): number for number in range(256)}
_LENGTHS = {str(number): number for number in range(33)}
_V4_BITS = 32
_HALF_BITS = 64
_HALF = (1 << _HALF_BITS) - 1
_MAX_NETWORKS = 4_000_000
_V4 = 4
_GROUPS = 8
_MAPPED = 0xFFFF
_LINK = 0xFE80 >> 6
_SITE = 0xFC00 >> 9
_TRANSLATED = 0x0064FF9B
"""fe80::/10, fc00::/7 and 64:ff9b::/32, which holds all of IPv4 (RFC 6052, RFC 8215), as their first bits."""

Range = tuple[int, int, int]
"""(first address, last address, owner)."""


class PackedNetworks(msgspec.Struct, frozen=True, array_like=True):
    """Networks as they travel: native-endian arrays as bytes; both ends run on the same machine.

    Attributes:
        v4: first addresses of the ranges, 4 bytes each, ascending.
        v4_owners: owner of each range plus one, 4 bytes each; 0 where a gap begins.
        v6: the same for upper halves of IPv6 addresses, 8 bytes each.
        v6_owners: as `v4_owners`.
        narrow: IPv6 networks of more than 64 bits: (prefix length, first address as hexadecimal digits, owner).
    """

    v4: bytes = b""
    v4_owners: bytes = b""
    v6: bytes = b""
    v6_owners: bytes = b""
    narrow: tuple[tuple[int, str, int], ...] = ()


def parse_network(text: str) -> tuple[int, int, int]:
    """Return (version, first address, prefix length) of an address or a network; host bits are cut off.

    IPv4 addresses within IPv6 (`::ffff:192.0.2.1`) are IPv4.

    Raises:
        InvalidError: it is neither.
    """
    quad, slash, digits = text.partition("/")
    value = _plain_v4(quad)
    length = _LENGTHS.get(digits) if slash else _V4_BITS
    if value is not None and length is not None:
        return 4, value >> (_V4_BITS - length) << (_V4_BITS - length), length
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise InvalidError(
            f"{text[:80]!r} is neither an address nor a network", hint="Give 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32."
        ) from error
    if isinstance(network, ipaddress.IPv6Network):
        mapped = network.network_address.ipv4_mapped
        if mapped is not None and network.prefixlen >= 96:
            return 4, int(mapped), network.prefixlen - 96
    return network.version, int(network.network_address), network.prefixlen


@lru_cache(maxsize=65_536)
def subject_of_address(address: str) -> str:
    """Return whom an address stands for: `client:192.0.2.7`, or `network:2001:db8::/64` for one of IPv6.

    A host has a whole /64 of IPv6 to itself and may change its address within it at will (RFC 6177, RFC 8981), so that
    what is done to one of its addresses alone is done to nobody. On a link, within a site, and where an address of IPv4
    was translated, the address counts: there many hosts share the network. What is no address stands for itself.
    """
    version, value = _parse_address(address)
    if version == _V4:
        return f"client:{ipaddress.IPv4Address(value)}"
    if not version:
        return f"client:{address}"
    if value >> 64 == 0 or value >> 118 == _LINK or value >> 121 == _SITE or value >> 96 == _TRANSLATED:
        return f"client:{address}"
    return f"network:{ipaddress.IPv6Address(value >> _HALF_BITS << _HALF_BITS)}/{_HALF_BITS}"


def pack(networks: Iterable[tuple[str, int]]) -> PackedNetworks:
    """Return networks in their travelling form; of equal networks the last one's owner counts.

    Args:
        networks: address or network, and its owner: a number of the caller's own, 0 and above.

    Raises:
        InvalidError: an entry is neither address nor network, or there are more than 4,000,000.

    Takes some 4 us a network, so for long lists it belongs off the event loop.
    """
    v4: dict[tuple[int, int], int] = {}
    v6: dict[tuple[int, int], int] = {}
    narrow: dict[tuple[int, int], int] = {}
    for text, owner in networks:
        version, first, length = parse_network(text)
        if version == 4:
            v4[first, length] = owner
        elif length <= _HALF_BITS:
            v6[first >> _HALF_BITS, length] = owner
        else:
            narrow[length, first] = owner
        if len(v4) + len(v6) + len(narrow) > _MAX_NETWORKS:
            raise InvalidError(
                f"there are more than {_MAX_NETWORKS:,} networks", hint="Name wider networks in place of addresses."
            )
    v4_starts, v4_owners = _flatten(v4, _V4_BITS, "I")
    v6_starts, v6_owners = _flatten(v6, _HALF_BITS, "Q")
    return PackedNetworks(
        v4=v4_starts.tobytes(),
        v4_owners=v4_owners.tobytes(),
        v6=v6_starts.tobytes(),
        v6_owners=v6_owners.tobytes(),
        narrow=tuple((length, f"{first:x}", owner) for (length, first), owner in narrow.items()),
    )


class NetworkTable:
    """Networks to look addresses up in; frozen.

    A look-up costs one parse and one bisection, 1 to 2 us in a million networks, whatever their prefix lengths.

    Args:
        packed: from `pack`.
    """

    __slots__ = ("_narrow", "_v4", "_v4_owners", "_v6", "_v6_owners")

    def __init__(self, packed: PackedNetworks) -> None:
        self._v4, self._v4_owners = _unpack(packed.v4, "I"), _unpack(packed.v4_owners, "I")
        self._v6, self._v6_owners = _unpack(packed.v6, "Q"), _unpack(packed.v6_owners, "I")
        self._narrow: dict[int, dict[int, int]] = {}
        for length, first, owner in sorted(packed.narrow, reverse=True):
            self._narrow.setdefault(length, {})[int(first, 16)] = owner

    def __bool__(self) -> bool:
        return bool(self._v4 or self._v6 or self._narrow)

    @property
    def nbytes(self) -> int:
        """Bytes that the arrays take; what a network of more than 64 bits takes besides is some 200 bytes."""
        arrays = (self._v4, self._v4_owners, self._v6, self._v6_owners)
        return sum(len(one) * one.itemsize for one in arrays)

    def find(self, address: str) -> int:
        """Return the owner of the narrowest network that holds an address, `NOT_FOUND` for none and for no address."""
        value: int | None
        if ":" in address:
            value = _plain_v6(address)
            if value is not None and value >> _V4_BITS != _MAPPED:
                return self._find_v6(value)
            value = None
        else:
            value = _plain_v4(address)
        if value is None:
            version, value = _parse_address(address)
            if version == 6:
                return self._find_v6(value)
            if not version:
                return NOT_FOUND
        at = bisect_right(self._v4, value)
        return self._v4_owners[at - 1] - 1 if at else NOT_FOUND

    def _find_v6(self, value: int) -> int:
        for length, firsts in self._narrow.items():
            owner = firsts.get(value >> (128 - length) << (128 - length))
            if owner is not None:
                return owner
        at = bisect_right(self._v6, value >> _HALF_BITS)
        return self._v6_owners[at - 1] - 1 if at else NOT_FOUND


def _plain_v4(text: str) -> int | None:
    """Return the number of a dotted quad, None for anything else; several times as fast as `ipaddress`."""
    try:
        first, second, third, fourth = text.split(".")
        return _OCTETS[first] << 24 | _OCTETS[second] << 16 | _OCTETS[third] << 8 | _OCTETS[fourth]
    except (KeyError, ValueError):
        return None


def _plain_v6(text: str) -> int | None:
    """Return the number of an address in groups, None for anything else; four times as fast as `ipaddress`."""
    head, gap, tail = text.partition("::")
    groups = head.split(":") if head else []
    if gap:
        last = tail.split(":") if tail else []
        missing = _GROUPS - len(groups) - len(last)
        if missing < 1:
            return None
        groups += ["0000"] * missing
        groups += last
    if len(groups) != _GROUPS or "" in groups:
        return None
    digits = "".join([group.rjust(4, "0") for group in groups])
    if len(digits) != 4 * _GROUPS or not digits.isalnum():  # white space would count for nothing
        return None
    try:
        return int.from_bytes(bytes.fromhex(digits), "big")
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def _parse_address(text: str) -> tuple[int, int]:
    """Return (version, number) of an address, (0, 0) for what is none."""
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return 0, 0
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return parsed.version, int(parsed)


def _flatten(networks: dict[tuple[int, int], int], bits: int, code: str) -> "tuple[array[int], array[int]]":
    """Return the starts of disjoint ranges and their owners plus one; a gap is a range of owner 0."""
    starts: array[int] = array(code)
    owners: array[int] = array("I")
    for start, owner in _cuts(networks, bits):
        if starts and starts[-1] == start:
            owners[-1] = owner
        elif not owners or owners[-1] != owner:
            starts.append(start)
            owners.append(owner)
        if len(owners) > 1 and owners[-1] == owners[-2]:
            starts.pop()
            owners.pop()
    return starts, owners


def _cuts(networks: dict[tuple[int, int], int], bits: int) -> Iterator[tuple[int, int]]:
    """Yield (first address, owner plus one) wherever the narrowest network changes, ascending."""
    open_: list[tuple[int, int]] = []
    end = 1 << bits
    for first, length in sorted(networks):
        while open_ and open_[-1][0] <= first:
            closed = open_.pop()[0]
            yield closed, open_[-1][1] if open_ else 0
        owner = networks[first, length] + 1
        yield first, owner
        open_.append((first + (1 << (bits - length)), owner))
    while open_:
        closed = open_.pop()[0]
        if closed < end:
            yield closed, open_[-1][1] if open_ else 0


def _unpack(raw: bytes, code: str) -> "array[int]":
    values: array[int] = array(code)
    values.frombytes(raw)
    return values
