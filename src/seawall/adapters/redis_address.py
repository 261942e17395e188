"""Where a Redis server is, and as whom to speak to it, out of a URL."""

import re
import ssl
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from seawall.core.errors import ConfigurationError
from seawall.state.open import redact_url

__all__ = ["RedisAddress", "parse_redis_url"]

_ACCEPTED = (
    "use redis://[user:password@]host[:port][/database][?prefix=seawall:], rediss:// for TLS, or "
    "unix:///path/to/socket[?db=0]"
)
_PREFIX = re.compile(r"[A-Za-z0-9_.:{}/-]{1,64}")
_DATABASE = re.compile(r"[0-9]{1,5}")
_COMMON = frozenset({"client_name", "password", "prefix", "username"})
_TLS = frozenset({"ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile", "ssl_password"})
_VERIFY = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on", "t", "y"}), frozenset({"0", "false", "no", "off", "f", "n"})


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A server and the credentials for it; its `repr` and `shown` hold no secret.

    Attributes:
        shown: the URL with `***` in place of passwords.
        path: of the Unix socket; empty for TCP.
        prefix: before every key.
        tls: the context for `rediss://`.
    """

    shown: str
    host: str = "localhost"
    port: int = 6379
    path: str = ""
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    database: int = 0
    prefix: str = "seawall:"
    client_name: str = ""
    tls: ssl.SSLContext | None = None


def parse_redis_url(url: str) -> RedisAddress:
    """Return what the URL says; touches no network, but reads the certificates that it names.

    Args:
        url: as `state.url` takes it, or `unix:///path/to/socket`; user and password are percent-decoded, and may also
            stand in the query, as may `prefix`, `client_name` and the `ssl_*` parameters of `rediss://`.

    Raises:
        ConfigurationError: it names no Redis server, or a certificate cannot be read; the message holds no secret.
    """
    shown = redact_url(url)
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise ConfigurationError(f"{shown!r} names no Redis server", hint=_ACCEPTED)
    local = parts.scheme == "unix"
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    accepted = _COMMON | (frozenset({"db"}) if local else _TLS if parts.scheme == "rediss" else frozenset())
    if unknown := sorted(set(query) - accepted):
        raise ConfigurationError(
            f"{shown!r} has unknown parameters: {', '.join(unknown)}",
            hint=f"accepted are {', '.join(sorted(accepted))}",
        )
    database = (query.get("db", "") if local else parts.path.removeprefix("/")) or "0"
    if _DATABASE.fullmatch(database) is None:
        raise ConfigurationError(f"{shown!r} names no database by its number", hint=_ACCEPTED)
    prefix = query.get("prefix", "seawall:")
    if _PREFIX.fullmatch(prefix) is None:
        raise ConfigurationError(
            f"{shown!r} has the prefix {prefix!r}", hint="use 1 to 64 letters, digits and any of _ . : { } / -"
        )
    try:
        port = parts.port or 6379
    except ValueError as error:
        raise ConfigurationError(f"{shown!r} has no port that can be used", hint=_ACCEPTED) from error
    if local and not parts.path:
        raise ConfigurationError(f"{shown!r} names no socket", hint=_ACCEPTED)
    return RedisAddress(
        shown=shown,
        host=parts.hostname or "localhost",
        port=port,
        path=unquote(parts.path) if local else "",
        username=query.get("username", unquote(parts.username or "")),
        password=query.get("password", unquote(parts.password or "")),
        database=int(database),
        prefix=prefix,
        client_name=query.get("client_name", ""),
        tls=_tls(shown, query) if parts.scheme == "rediss" else None,
    )


def _tls(shown: str, query: dict[str, str]) -> ssl.SSLContext:
    verify = _VERIFY.get(query.get("ssl_cert_reqs", "required"))
    check = query.get("ssl_check_hostname", "true").lower()
    if verify is None or check not in _TRUE | _FALSE:
        raise ConfigurationError(
            f"{shown!r} does not say how to verify the server",
            hint="ssl_cert_reqs is required, optional or none; ssl_check_hostname true or false",
        )
    try:
        context = ssl.create_default_context(cafile=query.get("ssl_ca_certs") or None)
        if query.get("ssl_certfile"):
            context.load_cert_chain(
                query["ssl_certfile"], query.get("ssl_keyfile") or None, query.get("ssl_password") or None
            )
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigurationError(
            f"a certificate of {shown!r} cannot be read: {error}", hint="see to ssl_ca_certs, ssl_certfile, ssl_keyfile"
        ) from error
    context.check_hostname = check in _TRUE and verify is not ssl.CERT_NONE
    context.verify_mode = verify
    return context
