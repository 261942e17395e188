"""Addresses within a network that come without a scheme, as the whole of a value: `127.0.0.1:6379`, `@10.0.0.1`."""

import re
from typing import NamedTuple

from seawall.systems.threats.detectors.addresses import Reach, canonical, numeric, reach, unusual

__all__ = ["FETCHED", "METADATA_PATH", "SERVICES", "SERVICE_NAMES", "Bare", "bare"]

METADATA_PATH = re.compile(
    r"latest/(?:meta-data|user-data|dynamic|api/token)|computemetadata|metadata/(?:v1|instance|identity)|opc/v[12]|openstack/(?:latest|20)|hetzner/v1|v1\.json|iam/security-credentials",
    re.IGNORECASE | re.ASCII,
)
FETCHED = re.compile(
    r"admin|server-status|\.env|actuator|console|manager|phpmyadmin|internal|private|secret|metrics|debug|config|passwd|_cat|v1/|api|status|flag",
    re.IGNORECASE | re.ASCII,
)
SERVICE_NAMES = (
    "redis|mysql|mariadb|postgres(?:ql)?|mongo(?:db)?|memcached?|elastic(?:search)?|kibana|rabbitmq|kafka|zookeeper|etcd|consul|vault"
    "|cassandra|clickhouse|couchdb|influxdb|minio|database|db|kubernetes|docker|jenkins|grafana|prometheus"
)
"""What containers with services in them are called, which is how their neighbours reach them."""
SERVICES = re.compile(rf"(?:{SERVICE_NAMES})", re.ASCII)

_BARE = re.compile(
    r"^\s{0,8}(?:(?P<user>[\w.+-]{0,64})@)?(?P<host>\[[0-9a-f:.]{2,45}(?:%[0-9a-z%]{1,24})?\]|[\w.-]{1,200})(?P<port>:\d{1,5})?(?P<rest>[/?#]\S{0,200})?\s{0,8}$",
    re.IGNORECASE | re.ASCII,
)
_ZONE = re.compile(
    r"\.(?:nip\.io|sslip\.io|xip\.io|localtest\.me|burpcollaborator\.net|oastify\.com|oast\.\w{2,6}|interact\.sh)$",
    re.ASCII,
)
# The addresses that networks are given (RFC 1918) and this machine's; those of documentation are no target.
_USUAL = re.compile(r"(?:127|10|192\.168|172\.(?:1[6-9]|2\d|3[01])|169\.254)\.", re.ASCII)
# What routers, gateways and first servers have from the factory; others are what people look up, and versions
# of programs begin with a ten as well.
_DEFAULT = re.compile(
    r"(?:10\.(?:0\.0|10\.10|96\.0|43\.0)|192\.168\.[01]|172\.(?:16|17|18|31)\.0)\.\d|10\.\d{1,3}\.\d{1,3}\.25[45]$",
    re.ASCII,
)
_NETWORK = re.compile(r"/\d{1,3}$", re.ASCII)
_TELLING_NAME = re.compile(
    rf"(?:^|[.-])(?:internal|intranet|admin|private|secret|backend|staging|{SERVICE_NAMES})[.-]", re.ASCII
)


class Bare(NamedTuple):
    """What was found, and how telling it is."""

    confidence: float
    start: int
    end: int


def bare(text: str, *, narrow: bool) -> Bare | None:
    """Judge a value that is a host, and perhaps a port and a path: only what nobody would type into a form.

    Args:
        text: the whole of a value.
        narrow: whether it is a parameter's; records of machines and of networks are full of such addresses.
    """
    match = _BARE.match(text)
    if match is None:
        return None
    host, port, rest = canonical(match["host"]), match["port"] or "", match["rest"] or ""
    user: str | None = match["user"]
    confidence = _judge(host, port, rest, narrow=narrow)
    if user is not None and (port or rest or not user or numeric(host) is not None):
        confidence = max(confidence, 0.78) if narrow and reach(host) and confidence >= 0.3 else 0.0
    elif user is not None:
        return None  # an account at a host
    return Bare(confidence, match.start("host"), match.end()) if confidence >= 0.3 else None


def _judge(host: str, port: str, rest: str, *, narrow: bool) -> float:
    kind = reach(host)
    if not kind:
        return 0.76 if narrow and port and SERVICES.fullmatch(host) else 0.0
    if numeric(host) is None:
        return _judge_name(host, port, rest, kind, narrow=narrow)
    if (host.isdigit() and len(host) < 8) or (host.startswith("0x") and "." not in host and len(host) < 10):
        return 0.0
    if kind == Reach.METADATA:
        return 0.9 if narrow or rest else 0.5
    judge = _judge_unusual if unusual(host) else _judge_number
    return judge(host, port, rest, narrow=narrow)


def _judge_unusual(host: str, port: str, rest: str, *, narrow: bool) -> float:
    """A numeric host in a spelling of its own: "1.5" and "10.2.3" are numbers and versions; so are ten digits."""
    if host.startswith("["):
        return 0.8
    if "0x" in host:
        return 0.8 if max(map(len, host.split("."))) <= len("0x7f000001") else 0.0  # else a hash, or an account
    octal = host.count(".") == 3 and any(len(part) > 1 and part[0] == "0" for part in host.split("."))
    if narrow and (octal or (port and (host.startswith("127.") or host.isdigit()))):
        return 0.78
    return 0.45 if port or rest else 0.2


def _judge_name(host: str, port: str, rest: str, kind: str, *, narrow: bool) -> float:
    if kind == Reach.METADATA:
        told = METADATA_PATH.search(rest) or (narrow and (port or "." in host))
        return 0.9 if told or (rest and "." in host) else 0.5 if "." in host else 0.0
    if kind in {Reach.CALLBACK, Reach.MIRROR}:
        return 0.86 if narrow or _ZONE.search(host) else 0.45
    if host != "localhost" and "." not in host and not port:
        return 0.0
    if not narrow:
        return 0.45 if port or rest else 0.3
    if port or rest[:1] == "/" or kind == Reach.PLATFORM or (host != "localhost" and _TELLING_NAME.search(host)):
        return 0.78 if FETCHED.search(rest) else 0.76
    return 0.3


def _judge_number(host: str, port: str, rest: str, *, narrow: bool) -> float:
    if not narrow:
        return 0.45 if port or rest else 0.3
    if not port and (host.startswith("0.") or (_NETWORK.match(rest) and not host.startswith("["))):
        return 0.45 if rest else 0.3  # no address at all, and those of a network
    if port or rest:
        return 0.78 if FETCHED.search(rest) else 0.76
    if host.startswith("[") or _DEFAULT.match(host):
        return 0.76
    return 0.45 if _USUAL.match(host) else 0.3
