"""Where an instance's url leads: scheme, host, port or socket path."""

from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec

from seawall.config.address import check_upstream_url
from seawall.core.errors import InvalidError

__all__ = ["Endpoint"]

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Endpoint(msgspec.Struct, frozen=True):
    """A parsed instance url.

    Attributes:
        url: the url in its one spelling.
        scheme: `http`, `https` or `unix`.
        host: name or address without brackets; empty for a Unix socket.
        port: 0 for a Unix socket.
        path: the socket's path for `unix`, else empty.
    """

    url: str
    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, url: str) -> "Endpoint":
        """Read `http://host[:port]`, `https://host[:port]` or `unix:/path`; raise `InvalidError` for anything else."""
        return _parse(url)

    @property
    def authority(self) -> str:
        """Return what belongs into `Host`: the host, and the port unless it is the scheme's own."""
        if self.scheme == "unix":
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def is_name(self) -> bool:
        """Return whether the host must be resolved before one can connect."""
        return self.scheme != "unix" and _is_name(self.host)


@lru_cache(maxsize=32_768)  # a pool of 10,000 is gone through at every change of its membership
def _parse(url: str) -> Endpoint:
    try:
        text = check_upstream_url(url)
    except ValueError as error:
        raise InvalidError(f"instance url {url[:200]!r} is not accepted", hint=f"give {error}") from error
    if text.startswith("unix:"):
        return Endpoint(text, "unix", path=text.removeprefix("unix:"))
    parts = urlsplit(text)
    return Endpoint(text, parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme])


@lru_cache(maxsize=32_768)
def _is_name(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return True
    return False
