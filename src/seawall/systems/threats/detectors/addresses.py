"""Hosts in every spelling that a URL library takes, and what they lead to from within a network."""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_network

__all__ = ["Reach", "disguised", "numeric", "reach", "unusual"]

_NUMERIC = re.compile(
    r"(?:0x[0-9a-f]{0,20}|[0-9]{1,20})(?:\.(?:0x[0-9a-f]{0,20}|[0-9]{1,20})){0,3}\.?", re.IGNORECASE | re.ASCII
)
_PLAIN = re.compile(r"(?:0|[1-9]\d{0,2})(?:\.(?:0|[1-9]\d{0,2})){3}")
_METADATA_NETWORKS = tuple(
    ip_network(text) for text in ("169.254.0.0/16", "100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32")
)
_METADATA_V6 = frozenset({IPv6Address("fd00:ec2::254"), IPv6Address("fe80::a9fe:a9fe"), IPv6Address("fd20:ce::254")})
_METADATA_NAMES = (
    "metadata.google.internal", "metadata.goog", "metadata.azure.com", "metadata.tencentyun.com", "metadata.packet.net",
    "metadata.platformequinix.com", "instance-data", "instance-data.ec2.internal", "metadata.oraclecloud.com",
    "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "rancher-metadata",
    "metadata", "host.docker.internal", "metadata.nic.cz",
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


class Reach:
    """What a host leads to; the names are part of rules."""

    METADATA = "metadata"
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
        return "." in host or "ffff" in host.lower() or host.count(":") == 7
    return _PLAIN.fullmatch(host) is None


def disguised(host: str) -> bool:
    """Tell whether a numeric host is spelled with hexadecimal or octal parts, or as one large number."""
    return (
        "0x" in host.lower()
        or (host.isdigit() and len(host) >= 8 and int(host) >> 32 == 0)
        or any(part[:1] == "0" and len(part) > 1 for part in host.split("."))
    )


def reach(host: str) -> str:
    """Tell what a host leads to, as one of the names in `Reach`; "" for a public one."""
    host = host.lower().rstrip(".")
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
    if dotted.endswith(_MIRRORS) or host in _MIRROR_NAMES:
        return Reach.MIRROR
    if dotted.endswith(_CALLBACKS):
        return Reach.CALLBACK
    return Reach.PRIVATE if dotted.endswith(_INTERNAL) else ""


def _reach(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv6Address):
        if address in _METADATA_V6:
            return Reach.METADATA
        embedded = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if embedded is None and int(address) >> 32 in {0, 0x64FF9B << 64, 0xFFFF << 16} and int(address) > 1:
            embedded = IPv4Address(int(address) & 0xFFFFFFFF)
        if embedded is not None:
            return _reach(embedded)
    elif any(address in network for network in _METADATA_NETWORKS):
        return Reach.METADATA
    if address.is_loopback or address.is_unspecified or (isinstance(address, IPv4Address) and int(address) >> 24 == 0):
        return Reach.LOOPBACK
    return Reach.PRIVATE if address.is_private or address.is_link_local else ""
