"""Who a request comes from: the client's address over trusted proxies only."""

import ipaddress
import re
from collections.abc import Iterable, Sequence

from seawall.core.request import Header

__all__ = ["TrustedProxies", "forwarded_chain", "forwarded_elements", "hop_address", "read_forwarded"]

_MAX_HOPS = 32
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_SOUND = re.compile(rf'(?:[^"]|{_QUOTED})*+', re.DOTALL)
_ELEMENT = re.compile(rf'(?:[^,"]|{_QUOTED})++', re.DOTALL)
_PAIR = re.compile(rf'(?:[^;"]|{_QUOTED})++', re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)

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

    def client_element(self, headers: Sequence[Header]) -> dict[str, str]:
        """Return the parameters of the `Forwarded` element that tells of the client; empty without the field.

        That is the first element, unless the client sent elements of its own: then the first that a trusted proxy
        wrote, whose `for` is what `client` returns.
        """
        elements = forwarded_elements(headers)[-_MAX_HOPS:]
        for element in reversed(elements):
            address = hop_address(_for(element))
            if address is None or not self.trusts(address):
                return element
        return elements[0] if elements else {}

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
    if source == b"forwarded":
        return [_for(element) for element in forwarded_elements(headers)]
    chain: list[str] = []
    for name, value in headers:
        if name == source:
            chain.extend(hop.strip() for hop in value.decode("latin-1").split(","))
    return chain


def forwarded_elements(headers: Sequence[Header]) -> list[dict[str, str]]:
    """Return the parameters of each element of `Forwarded`, client first, names in lower case; RFC 7239 section 4.

    A field with a quotation that does not end is one element without parameters: a client can leave one open, so that
    what a proxy appends to it seems to be quoted.
    """
    elements: list[dict[str, str]] = []
    for name, value in headers:
        if name == b"forwarded":
            elements.extend(read_forwarded(value) or ({},))
    return elements


def read_forwarded(value: bytes) -> list[dict[str, str]] | None:
    """Return the parameters of each element of one `Forwarded` field; None for one whose quotation does not end."""
    text = value.decode("latin-1")
    if '"' in text and _SOUND.fullmatch(text) is None:
        return None
    elements = []
    for element in _ELEMENT.findall(text):
        parameters: dict[str, str] = {}
        for pair in _PAIR.findall(element):
            key, _, content = pair.partition("=")
            content = content.strip()
            if content[:1] == '"':
                content = _QUOTED_PAIR.sub(r"\1", content[1:-1])
            parameters.setdefault(key.strip().lower(), content)
        elements.append(parameters)
    return elements


def _for(element: dict[str, str]) -> str:
    return element.get("for", "unknown")


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
