"""Addresses and names as they may stand in the configuration: parsed once, refused with what is accepted."""

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import urlsplit

__all__ = [
    "ListenAddress",
    "check_dns_url",
    "check_header_name",
    "check_host_pattern",
    "check_network",
    "check_upstream_url",
    "parse_listen",
]

LISTEN_FORMS = 'host:port, [IPv6 address]:port or unix:/absolute/path, such as "127.0.0.1:8080"'
URL_FORMS = "http://host:port, https://host:port or unix:/absolute/path"

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.IGNORECASE)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_UNIX_PATH_BYTES = 107  # sun_path is 108 bytes with its terminating zero


class ListenAddress(NamedTuple):
    """Where to listen: a host and port, or the path of a Unix socket (then host is empty and port 0)."""

    host: str
    port: int
    path: str = ""


def parse_listen(text: str) -> ListenAddress:
    """Return the parts of `host:port`, `[v6]:port` or `unix:/path`; ValueError says what is accepted."""
    if text.startswith("unix:"):
        return ListenAddress("", 0, _unix_path(text.removeprefix("unix:"), LISTEN_FORMS))
    host, separator, port = text.rpartition(":")
    if not separator or not port.isascii() or not port.isdigit() or len(port) > 5:
        raise ValueError(LISTEN_FORMS)
    if int(port) > 65_535:
        raise ValueError(f"{LISTEN_FORMS}; the port is at most 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not _is_ip(host, 6):
            raise ValueError(f"{LISTEN_FORMS}; what stands in brackets is an IPv6 address")
    elif not _is_host(host):
        raise ValueError(LISTEN_FORMS)
    return ListenAddress(host.lower(), int(port))


def check_upstream_url(text: str) -> str:
    """Return a url in its one spelling (lower-case host, no trailing slash); ValueError says what is accepted."""
    if text.startswith("unix:"):
        return f"unix:{_unix_path(text.removeprefix('unix:'), URL_FORMS)}"
    if not text.isascii() or any(character <= " " or character == "\x7f" for character in text):
        raise ValueError(f"{URL_FORMS}, without spaces; write an international name in its xn-- form")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f"{URL_FORMS}; the port is 1 to 65535") from None
    if parts.scheme not in {"http", "https"}:
        raise ValueError(URL_FORMS)
    if "@" in parts.netloc:
        raise ValueError(f"{URL_FORMS}, without user name or password; let the client or the upstream authenticate")
    if parts.path not in {"", "/"} or "?" in text or "#" in text:
        raise ValueError(f"{URL_FORMS}, without a path or query; requests keep their own path, routes choose by it")
    host = parts.hostname or ""
    bracketed = "[" in parts.netloc
    if port == 0 or parts.netloc.endswith(":") or not (_is_ip(host, 6) if bracketed else _is_host(host)):
        raise ValueError(f"{URL_FORMS}; the port is 1 to 65535")
    authority = f"[{host}]" if bracketed else host
    return f"{parts.scheme}://{authority}" if port is None else f"{parts.scheme}://{authority}:{port}"


def check_dns_url(text: str) -> str:
    """Return a url whose host name can be looked up; ValueError says what is accepted."""
    url = check_upstream_url(text)
    if url.startswith("unix:"):
        raise ValueError("http://name:port or https://name:port")
    return url


def check_network(text: str) -> str:
    """Return an address or network in its one spelling; ValueError says what is accepted."""
    try:
        return str(ipaddress.ip_network(text)) if "/" in text else str(ipaddress.ip_address(text))
    except ValueError:
        pass
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("an IP address or network, such as 10.0.0.1 or 10.0.0.0/8") from None
    raise ValueError(f'a network without host bits; did you mean "{network}"?')


def check_host_pattern(text: str) -> str:
    """Return a route's host in lower case; ValueError says what is accepted."""
    name = text.lower()
    if name.startswith("[") and name.endswith("]") and _is_ip(name[1:-1], 6):
        return name
    if not name or _is_host(name.removeprefix("*.")):
        return name
    raise ValueError("a host name without port, *.example.org for any subdomain, or nothing for any host")


def check_header_name(text: str) -> str:
    """Return a field or cookie name when it is a token; RFC 9110 section 5.6.2."""
    if not _TOKEN.fullmatch(text):
        raise ValueError("a name of letters, digits and !#$%&'*+-.^_`|~")
    return text


def _unix_path(path: str, accepted: str) -> str:
    # unix:///path is how a url with an empty authority is written; with any other authority it means nothing.
    path = path[2:] if path.startswith("///") else path
    if not path.startswith("/") or path.startswith("//") or "\0" in path:
        raise ValueError(accepted)
    if len(path.encode()) > _UNIX_PATH_BYTES:
        raise ValueError(f"{accepted}; the path is at most {_UNIX_PATH_BYTES} bytes")
    return path


def _is_ip(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def _is_host(text: str) -> bool:
    """Tell whether this is an IPv4 address or a DNS name; RFC 1123 section 2.1, and the underscores in use."""
    labels = text.removesuffix(".").split(".")
    if labels[-1].isdigit():
        return _is_ip(text, 4)
    return len(text) <= 253 and all(_LABEL.fullmatch(label) for label in labels)
