"""Who a request comes from: the client's address over trusted proxies only."""

import ipaddress
from collections.abc import Iterable, Sequence

from seawall.core.request import Header

__all__ = ["TrustedProxies", "forwarded_chain", "hop_address"]

_MAX_HOPS = 32

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedProxies:
    """The proxies whose word on the client's address is taken.

    Args:
        networks: addresses and networks in CIDR form; `unix:` trusts peers on a Unix socket.
        source: the field that these proxies maintain, `x-forwarded-for` or `forwarded`, lower case. The other one is
            never believed: a proxy that knows only one of them passes on whatever a client put into the other.

    Raises:
        ValueError: an entry is neither an address nor a network.
    """

    def __init__(self, networks: Iterable[str] = (), *, source: str = "x-forwarded-for") -> None:
        self.source = source.encode()
        self._unix = False
        self._networks: list[Network] = []
        self._known: dict[str, bool] = {}
        for entry in networks:
            if entry == "unix:":
                self._unix = True
            else:
                self._networks.append(ipaddress.ip_network(entry, strict=False))

    def __bool__(self) -> bool:
        return self._unix or bool(self._networks)

    def trusts(self, address: str) -> bool:
        """Return whether this peer is one of the proxies; an empty address is a Unix socket's peer."""
        if not address:
            return self._unix
        if not self._networks:
            return False
        known = self._known.get(address)
        if known is None:
            known = self._lookup(address)
            if len(self._known) >= 4096:
                self._known.clear()
            self._known[address] = known
        return known

    def client(self, peer: str, headers: Sequence[Header]) -> str:
        """Return the client's address: the chain read from right to left, over trusted hops only.

        Where a hop is no address (`unknown`, an obfuscated name of RFC 7239 section 6.3, rubbish), the last address
        that is known for sure is returned.
        """
        if not self.trusts(peer):
            return peer
        known = peer
        for hop in reversed(forwarded_chain(headers, self.source)[-_MAX_HOPS:]):
            address = hop_address(hop)
            if address is None:
                return known
            known = address
            if not self.trusts(address):
                return address
        return known

    def _lookup(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed.version == network.version and parsed in network for network in self._networks)


def forwarded_chain(headers: Sequence[Header], source: bytes) -> list[str]:
    """Return the hops, client first, that `forwarded` (the `for` of RFC 7239) or `x-forwarded-for` names."""
    chain: list[str] = []
    for name, value in headers:
        if name != source:
            continue
        elements = value.decode("latin-1").split(",")
        if source == b"x-forwarded-for":
            chain.extend(hop.strip() for hop in elements)
        else:
            chain.extend(_for(element) for element in elements)
    return chain


def _for(element: str) -> str:
    for pair in element.split(";"):
        key, _, content = pair.partition("=")
        if key.strip().lower() == "for":
            return content.strip().strip('"')
    return "unknown"


def hop_address(hop: str) -> str | None:
    """Return the address of `1.2.3.4`, `1.2.3.4:80`, `[2001:db8::1]:80` or `2001:db8::1`; None for anything else.

    A scope (`fe80::1%eth0`) is anything else: elsewhere it means nothing, and `ipaddress` takes any text for it.
    """
    if "%" in hop:
        return None
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        return str(ipaddress.ip_address(hop))
    except ValueError:
        return None
