"""Hosts in every spelling that a URL library takes, and what they lead to from within a network."""

import re
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, ip_network
from unicodedata import normalize

__all__ = ["Reach", "canonical", "disguised", "numeric", "reach", "unusual"]

MAX_NUMERIC = 160
"""Characters of an address that is spelled in numbers."""

_NUMERIC = re.compile(
    r"(?:0x0{0,64}[0-9a-f]{0,16}|0{0,64}[0-9]{1,20})(?:\.(?:0x0{0,64}[0-9a-f]{0,16}|0{0,64}[0-9]{1,20})){0,3}\.?",
    re.IGNORECASE | re.ASCII,
)
_PADDED = re.compile(r"(?:^|[\[:])0[0-9a-f]", re.IGNORECASE | re.ASCII)
_PLAIN = re.compile(r"(?:0|[1-9]\d{0,2})(?:\.(?:0|[1-9]\d{0,2})){3}")
_METADATA_NETWORKS = tuple(
    ip_network(text) for text in ("169.254.0.0/16", "100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32")
)
_METADATA_V6 = frozenset(
    map(
        IPv6Address,
        ("fd00:ec2::254", "fd00:ec2::23", "fe80::a9fe:a9fe", "fd20:ce::254", "fd00:42::42", "fd00:c1::a9fe:a9fe"),
    ),
)
_SHARED = IPv4Network("100.64.0.0/10")  # RFC 6598: what is behind a carrier's or a cloud's translator
_METADATA_NAME = re.compile(
    r"(?:(?:ec2|gce|gcp|aws|azure|rancher|instance|cloud|vm)-)?(?:metadata|instance-data)(?:-(?:server|service))?"
    r"(?:(?:\.[a-z0-9-]{1,32}){0,2}\.internal|\.(?:local|svc(?:\.cluster\.local)?|goog|azure\.com|tencentyun\.com|packet\.net"
    r"|platformequinix\.com|equinix\.com|oraclecloud\.com|nic\.cz|vultr\.com|exoscale\.com|ibmcloud\.com|scaleway\.com))?"
    r"|api\.(?:private\.)?metadata\.cloud\.ibm\.com|api\.service\.softlayer\.com",
    re.ASCII,
)
# What a container calls the machine that it runs on, and a pod the cluster.
_PLATFORM_NAMES = frozenset(
    {
        "host.docker.internal", "gateway.docker.internal", "host.containers.internal", "host.minikube.internal",
        "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "kubernetes",
        "kubernetes.docker.internal", "docker.for.mac.host.internal", "docker.for.win.host.internal",
        "host.lima.internal",
        "host.rancher-desktop.internal", "host.k3d.internal", "host.orb.internal", "dockerhost",
    }
)  # fmt: skip
_LOOPBACK_NAMES = frozenset(
    {"localhost", "localhost.localdomain", "localhost6", "ip6-localhost", "ip6-loopback", "loopback"}
)
# Names in public zones that lead to the address written in them, or always to this machine.
_MIRRORS = (
    ".nip.io", ".sslip.io", ".xip.io", ".xip.name", ".localtest.me", ".lvh.me", ".vcap.me", ".lacolhost.com",
    ".yoogle.com", ".rbndr.us", ".1u.ms", ".rebind.network", ".rebind.it", ".traefik.me", ".local.gd", ".fuf.me",
    ".localho.st",
)  # fmt: skip
_MIRROR_NAMES = frozenset(
    {"localtest.me", "lvh.me", "vcap.me", "fuf.me", "localho.st", "spoofed.burpcollaborator.net", "mail.ebc.apple.com"}
)
# Services that tell their owner who called: nobody else gives their names to a stranger's server.
_CALLBACKS = (
    ".burpcollaborator.net", ".oastify.com", ".oast.pro", ".oast.live", ".oast.site", ".oast.online", ".oast.fun",
    ".oast.me", ".interact.sh", ".interactsh.com", ".dnslog.cn", ".ceye.io", ".canarytokens.com", ".requestbin.net",
    ".bxss.me", ".xss.ht", ".ezxss.com", ".r87.me", ".beeceptor.com", ".pipedream.net", ".requestcatcher.com",
    ".webhook.site", ".dnsbin.zhack.ca", ".dns.outbound.watchtowr.com",
)  # fmt: skip
# What such services are called wherever they run, as labels of a name.
_CALLBACK_LABEL = re.compile(
    r"(?:^|[.-])(?:oast|oastify|burp(?:collab(?:orator)?)?|interactsh|rbndr|rebind(?:er|ing)?|dnsrebind(?:ing)?|ssrf|xsshunter)\.",
    re.ASCII,
)
_INTERNAL = (
    ".internal", ".local", ".localdomain", ".lan", ".intranet", ".corp", ".home", ".cluster.local", ".svc", ".consul",
    ".home.arpa", ".private", ".fritz.box",
)  # fmt: skip
# Dots that registries of names take for such (RFC 3490, section 3.1).
_OTHER_DOTS = re.compile("[\u3002\uff0e\uff61]")
# An address as labels of a longer name, which is what a server that rebinds names is told to answer.
_LABELS = re.compile(
    r"(?<!\d)((?:127|10|169|172|192|100)(?:\.\d{1,3}){3})(?=\.[^.]{0,63}[a-z])", re.IGNORECASE | re.ASCII
)
_DASHED = re.compile(r"(?:^|[.-])(127-\d{1,3}-\d{1,3}-\d{1,3}|169-254-169-254)(?=[.-])", re.ASCII)
_DASHED_PRIVATE = re.compile(
    r"(?:^|[.-])(?:10-\d{1,3}|192-168|172-(?:1[6-9]|2\d|3[01]))-\d{1,3}-\d{1,3}(?=[.-])", re.ASCII
)
# As one number, or as the hexadecimal digits that servers which rebind names are told.
_ONE_NUMBER = re.compile(
    r"(?:^|[.-])(?:0x)?(?:7f0000[0-9a-f]{2}|a9fea9fe|c0a8[0-9a-f]{4}|ac1[0-9a-f]00[0-9a-f]{2}|0a0000[0-9a-f]{2}|2130706433|2852039166|017700000001|025177524776)\."
    r"|(?:^|\.)(?:7f[0-9a-f]{6}|0a[0-9a-f]{6})\.[0-9a-f]{8}\.|(?:^|\.)[0-9a-f]{8}\.(?:7f[0-9a-f]{6}|0a[0-9a-f]{6})\.",
    re.ASCII,
)
# The name of this machine as labels of a longer one, but for what lends out tunnels and certificates under it.
_LOCAL_LABEL = re.compile(r"(?:^|\.)localhost\.(?!(?:run|direct|localdomain)$)", re.ASCII)
# What names are made of that no reader sees.
_UNSEEN = str.maketrans("", "", "\u00ad\u200b\u200c\u200d\u2060\ufeff\ufe0f")


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
    if len(host) > MAX_NUMERIC or _NUMERIC.fullmatch(host) is None:
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
        if address is None:
            return True
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
    if host.isascii():
        return host.lower()
    return _OTHER_DOTS.sub(".", normalize("NFKC", host[:256].translate(_UNSEEN))).lower()


def reach(host: str) -> str:
    """Tell what a host leads to, as one of the names in `Reach`; "" for a public one."""
    host = canonical(host).rstrip(".")
    address = numeric(host)
    if address is None and host.startswith("["):
        host = host.strip("[]")  # some readers take any host between brackets
        address = numeric(host)
    return _reach(address) if address is not None else _reach_of_name(host)


def _reach_of_name(host: str) -> str:
    dotted = "." + host
    if host in _LOOPBACK_NAMES or dotted.endswith(".localhost"):
        return Reach.LOOPBACK
    if _METADATA_NAME.fullmatch(host) or "169.254.169.254" in host or "169-254-169-254" in host:
        return Reach.METADATA
    if host in _PLATFORM_NAMES:
        return Reach.PLATFORM
    if dotted.endswith(_MIRRORS) or host in _MIRROR_NAMES or _carries_address(host):
        return Reach.MIRROR
    if dotted.endswith(_CALLBACKS) or _CALLBACK_LABEL.search(host):
        return Reach.CALLBACK
    within = dotted.endswith(_INTERNAL) or (_DASHED_PRIVATE.search(host) and not host.endswith(".plex.direct"))
    return Reach.LOOPBACK if _LOCAL_LABEL.search(host) else Reach.PRIVATE if within else ""


def _carries_address(host: str) -> bool:
    """Tell whether an internal address is part of a longer name; those of reverse look-ups are no hosts."""
    if host.endswith(".in-addr.arpa"):
        return False
    return (_DASHED.search(host) or _ONE_NUMBER.search(host)) is not None or any(
        reach(labels) for labels in _LABELS.findall(host)
    )


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
    within = address.is_private or address.is_link_local or address.is_multicast or shared
    return Reach.PRIVATE if within or (isinstance(address, IPv6Address) and address.is_site_local) else ""


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a mapped, translated or tunnelled one stands for."""
    embedded = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    if embedded is None and int(address) >> 32 in {0, 0x64FF9B << 64, 0xFFFF << 16} and int(address) > 1:
        embedded = IPv4Address(int(address) & 0xFFFFFFFF)
    return embedded
