"""Hosts in every spelling that a URL library takes, and what they lead to from within a network."""

import re
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, ip_network
from unicodedata import normalize

__all__ = ["Reach", "canonical", "disguised", "numeric", "reach", "unusual"]

_NUMERIC = re.compile(
    r"(?:0x[0-9a-f]{0,20}|[0-9]{1,20})(?:\.(?:0x[0-9a-f]{0,20}|[0-9]{1,20})){0,3}\.?", re.IGNORECASE | re.ASCII
)
_PADDED = re.compile(r"(?:^|[\[:])0[0-9a-f]", re.IGNORECASE | re.ASCII)
_PLAIN = re.compile(r"(?:0|[1-9]\d{0,2})(?:\.(?:0|[1-9]\d{0,2})){3}")
_METADATA_NETWORKS = tuple(
    ip_network(text) for text in ("169.254.0.0/16", "100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32")
)
_METADATA_V6 = frozenset(
    map(IPv6Address, ("fd00:ec2::254", "fd00:ec2::23", "fe80::a9fe:a9fe", "fd20:ce::254")),
)
_SHARED = IPv4Network("100.64.0.0/10")  # RFC 6598: what is behind a carrier's or a cloud's translator
_METADATA_NAMES = (
    "metadata.google.internal", "metadata.goog", "metadata.azure.com", "metadata.tencentyun.com", "metadata.packet.net",
    "metadata.platformequinix.com", "instance-data", "instance-data.ec2.internal", "metadata.oraclecloud.com",
    "rancher-metadata", "metadata", "metadata.nic.cz", "metadata.ec2.internal", "metadata.internal", "ec2-metadata",
    "instance-metadata",
)  # fmt: skip
# What a container calls the machine that it runs on, and a pod the cluster.
_PLATFORM_NAMES = frozenset(
    {
        "host.docker.internal", "gateway.docker.internal", "host.containers.internal", "host.minikube.internal",
        "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
    }
)  # fmt: skip
_LOOPBACK_NAMES = frozenset(
    {"localhost", "localhost.localdomain", "localhost6", "ip6-localhost", "ip6-loopback", "loopback"}
)
# Names in public zones that lead to the address written in them, or always to this machine.
_MIRRORS = (
    ".nip.io", ".sslip.io", ".xip.io", ".xip.name", ".localtest.me", ".lvh.me", ".vcap.me", ".lacolhost.com",
    ".yoogle.com", ".rbndr.us", ".1u.ms", ".rebind.network", ".traefik.me", ".local.gd",
)  # fmt: skip
_MIRROR_NAMES = frozenset({"localtest.me", "lvh.me", "vcap.me", "spoofed.burpcollaborator.net"})
# Services that tell their owner who called: nobody else gives their names to a stranger's server.
_CALLBACKS = (
    ".burpcollaborator.net", ".oastify.com", ".oast.pro", ".oast.live", ".oast.site", ".oast.online", ".oast.fun",
    ".oast.me", ".interact.sh", ".interactsh.com", ".dnslog.cn", ".ceye.io", ".canarytokens.com", ".requestbin.net",
    ".bxss.me", ".xss.ht", ".ezxss.com", ".r87.me", ".beeceptor.com", ".pipedream.net", ".requestcatcher.com",
    ".webhook.site", ".dnsbin.zhack.ca", ".dns.outbound.watchtowr.com",
)  # fmt: skip
_INTERNAL = (
    ".internal",
    ".local",
    ".localdomain",
    ".lan",
    ".intranet",
    ".corp",
    ".home",
    ".cluster.local",
    ".svc",
    ".consul",
)
# Dots that registries of names take for such (RFC 3490, section 3.1).
_OTHER_DOTS = re.compile("[\u3002\uff0e\uff61]")
# An address as labels of a longer name, which is what a server that rebinds names is told to answer.
_LABELS = re.compile(
    r"(?<!\d)((?:127|10|169|172|192|100)(?:\.\d{1,3}){3})(?=\.[^.]{0,63}[a-z])", re.IGNORECASE | re.ASCII
)
_DASHED = re.compile(r"(?:^|[.-])(127-\d{1,3}-\d{1,3}-\d{1,3}|169-254-169-254)(?=[.-])", re.ASCII)


class Reach:
    """What a host leads to; the names are part of rules."""

    METADATA = "metadata"
    PLATFORM = "platform"
    LOOPBACK = "loopback"
    PRIVATE = "private"
    CALLBACK = "callback"
    MIRROR = "mirror"


def numeric(host: str) -> IPv4Address | IPv6Address | None:
    """Read a host as C libraries and browsers do: decimal, octal and hexadecimal parts, one to four of them, IPv6."""
    if host.startswith("["):
        inner = host.strip("[]").partition("%")[0]
        try:
            return IPv6Address(inner)
        except (AddressValueError, ValueError):
            return None
    if _NUMERIC.fullmatch(host) is None:
        return None
    parts = [_number(part) for part in host.rstrip(".").split(".")]
    value = 0
    for part in parts[:-1]:
        # Some parsers wrap a part around instead of refusing it; the attack is the same.
        value = value << 8 | (part & 0xFF)
    rest = 4 - len(parts) + 1
    return IPv4Address((value << 8 * rest | (parts[-1] & (1 << 8 * rest) - 1)) & 0xFFFFFFFF)


def _number(part: str) -> int:
    if part[:2].lower() == "0x":
        return int(part[2:] or "0", 16)
    if part[0] == "0" and part.strip("01234567") == "":
        return int(part, 8)
    return int(part)


def unusual(host: str) -> bool:
    """Tell whether a numeric host is spelled as no person and no program writes it."""
    if host.startswith("["):
        address = numeric(host)
        embedded = isinstance(address, IPv6Address) and _embedded(address) is not None
        return embedded or "." in host or "%" in host or host.count(":") == 7 or _PADDED.search(host) is not None
    return _PLAIN.fullmatch(host) is None


def disguised(host: str) -> bool:
    """Tell whether a numeric host is spelled with hexadecimal or octal parts, or as one large number."""
    return (
        "0x" in host.lower()
        or (host.isdigit() and len(host) >= 8 and int(host) >> 32 == 0)
        or any(part[:1] == "0" and len(part) > 1 for part in host.split("."))
    )


def canonical(host: str) -> str:
    """Return a host as a resolver takes it: in lower case and in NFKC, with full stops of other scripts as dots."""
    return host.lower() if host.isascii() else _OTHER_DOTS.sub(".", normalize("NFKC", host[:256])).lower()


def reach(host: str) -> str:
    """Tell what a host leads to, as one of the names in `Reach`; "" for a public one."""
    host = canonical(host).rstrip(".")
    address = numeric(host)
    if address is not None:
        return _reach(address)
    return _reach_of_name(host)


def _reach_of_name(host: str) -> str:
    dotted = "." + host
    if host in _LOOPBACK_NAMES or dotted.endswith(".localhost"):
        return Reach.LOOPBACK
    if host in _METADATA_NAMES or "169.254.169.254" in host or "169-254-169-254" in host:
        return Reach.METADATA
    if host in _PLATFORM_NAMES:
        return Reach.PLATFORM
    if dotted.endswith(_CALLBACKS) and host not in _MIRROR_NAMES:
        return Reach.CALLBACK
    if dotted.endswith(_MIRRORS) or host in _MIRROR_NAMES or _carries_address(host):
        return Reach.MIRROR
    return Reach.PRIVATE if dotted.endswith(_INTERNAL) else ""


def _carries_address(host: str) -> bool:
    """Tell whether an internal address is part of a longer name; those of reverse look-ups are no hosts."""
    if host.endswith(".in-addr.arpa"):
        return False
    return _DASHED.search(host) is not None or any(reach(labels) for labels in _LABELS.findall(host))


def _reach(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv6Address):
        if address in _METADATA_V6:
            return Reach.METADATA
        embedded = _embedded(address)
        if embedded is not None:
            return _reach(embedded)
    elif any(address in network for network in _METADATA_NETWORKS):
        return Reach.METADATA
    if address.is_loopback or address.is_unspecified or (isinstance(address, IPv4Address) and int(address) >> 24 == 0):
        return Reach.LOOPBACK
    shared = isinstance(address, IPv4Address) and address in _SHARED
    return Reach.PRIVATE if address.is_private or address.is_link_local or shared else ""


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a mapped, translated or tunnelled one stands for."""
    embedded = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    if embedded is None and int(address) >> 32 in {0, 0x64FF9B << 64, 0xFFFF << 16} and int(address) > 1:
        embedded = IPv4Address(int(address) & 0xFFFFFFFF)
    return embedded
